//! An app that sends as fast as it can, or reads nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::wait::PATIENCE;

/// `GET /flood` never ends, `POST /deaf` is not read, anything else is answered.
#[derive(Debug)]
pub struct Firehose {
    port: u16,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicUsize,
    cut: AtomicUsize,
}

impl Firehose {
    /// Listens on loopback.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it opens a socket")]
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &counts));
            }
        });
        Self { port, counts }
    }

    /// Returns the address for `upstream`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Counts the bytes that were taken of it.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.counts.sent.load(Ordering::SeqCst)
    }

    /// Counts the floods that the other side ended.
    #[must_use]
    pub fn cut(&self) -> usize {
        self.counts.cut.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, counts: &Counts) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    if head.starts_with(b"POST /deaf") {
        // it holds the connection and reads nothing
        thread::sleep(PATIENCE);
        return;
    }
    if !head.starts_with(b"GET /flood") {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        return;
    }
    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 109951162777600\r\n\r\n"));
    let block = vec![b'x'; 64 * 1024];
    while let Ok(count) = stream.write(&block) {
        counts.sent.fetch_add(count, Ordering::SeqCst);
    }
    counts.cut.fetch_add(1, Ordering::SeqCst);
}
