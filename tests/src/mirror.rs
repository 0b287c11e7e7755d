//! An app that takes WebSockets and gives every byte back as it came.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::websocket::{accept, read_head};

/// What `/bye` says of itself: a close frame, "going away".
pub const BYE: &[u8] = b"\x88\x05\x03\xe9bye";

#[derive(Debug, Default)]
struct Shared {
    came: Mutex<Vec<u8>>,
    head: Mutex<String>,
    ended: AtomicUsize,
}

/// The app: `/bye` closes at once, any other path gives back what comes. Of what a client offers it takes the first
/// protocol, and compression.
#[derive(Debug)]
pub struct Mirror {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Mirror {
    /// Listens on loopback.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it opens a socket")]
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let for_all = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&for_all);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { addr, shared }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Takes what came through WebSockets so far.
    #[must_use]
    pub fn came(&self) -> Vec<u8> {
        std::mem::take(&mut *self.shared.came.lock().unwrap())
    }

    /// Returns the head of the last WebSocket that was opened.
    #[must_use]
    pub fn head(&self) -> String {
        self.shared.head.lock().unwrap().clone()
    }

    /// Returns how many WebSockets ended.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.shared.ended.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    while let Ok(head) = read_head(&mut stream) {
        let Some(key) = field(&head, "sec-websocket-key") else {
            let page = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nmirror\n";
            drop(stream.write_all(page));
            continue;
        };
        shared.head.lock().unwrap().clone_from(&head);
        let protocol = field(&head, "sec-websocket-protocol").unwrap_or_default();
        let protocol = match protocol.split(',').next() {
            Some(first) if !first.is_empty() => format!("Sec-WebSocket-Protocol: {first}\r\n"),
            _ => String::new(),
        };
        let deflate = match field(&head, "sec-websocket-extensions") {
            Some(_) => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"
            }
            None => "",
        };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             {protocol}{deflate}Sec-WebSocket-Accept: {}\r\n\r\n",
            accept(key)
        );
        drop(stream.write_all(answer.as_bytes()));
        if head.starts_with("GET /bye ") {
            drop(stream.write_all(BYE));
        } else {
            give_back(&mut stream, shared);
        }
        shared.ended.fetch_add(1, Ordering::SeqCst);
        return;
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn give_back(stream: &mut TcpStream, shared: &Shared) {
    let mut block = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut block) {
        shared
            .came
            .lock()
            .unwrap()
            .extend_from_slice(&block[..count]);
        if stream.write_all(&block[..count]).is_err() {
            return;
        }
    }
}
