//! One of several copies of an app: it says who it is, can die and come back, and can be made to fail in many ways.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use crate::upstream::{Seen, write_answer};
use crate::websocket;

/// How a replica answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    Well,
    /// As it should, a second later.
    Late,
    /// By a reset after the request came.
    Reset,
    /// Never.
    Silent,
    /// With a head and a part of the body, and then nothing.
    Stalled,
    /// With something that is not HTTP.
    Garbage,
    /// With this status.
    Status(u16),
}

#[derive(Debug)]
struct Shared {
    name: String,
    mode: Mutex<Mode>,
    /// The status of `/health` and its body.
    health: Mutex<(u16, String)>,
    connections: Mutex<HashMap<usize, TcpStream>>,
    next: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    probes: AtomicUsize,
}

/// A copy of an app. `/ws` echoes WebSocket messages, `/push` only sends some, `/health` is for probes, anything else says its name.
#[derive(Debug)]
pub struct Replica {
    addr: SocketAddr,
    shared: Arc<Shared>,
    running: Option<(TcpListener, JoinHandle<()>)>,
}

impl Replica {
    /// Starts one on loopback.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::at(name, Ipv4Addr::LOCALHOST)
    }

    /// Starts one on an address of the namespace of the calling thread.
    #[must_use]
    pub fn at(name: &str, address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            mode: Mutex::new(Mode::Well),
            health: Mutex::new((200, "{\"status\":\"ok\"}".to_owned())),
            connections: Mutex::default(),
            next: AtomicUsize::new(0),
            seen: Mutex::default(),
            probes: AtomicUsize::new(0),
        });
        let running = Some(accept(listener, &shared));
        Self {
            addr,
            shared,
            running,
        }
    }

    /// Returns the address for `upstream`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Sets what `/health` answers.
    pub fn set_health(&self, status: u16, body: &str) {
        *self.shared.health.lock().unwrap() = (status, body.to_owned());
    }

    /// Returns what came, probes left out.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Returns how many requests came, probes left out.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    #[must_use]
    pub fn probes(&self) -> usize {
        self.shared.probes.load(Ordering::SeqCst)
    }

    /// Dies: nothing listens any more, and every connection breaks.
    pub fn kill(&mut self) {
        let Some((listener, thread)) = self.running.take() else {
            return;
        };
        // whatever namespace it is in, this wakes who accepts
        nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both).unwrap();
        thread.join().unwrap();
        for (_, stream) in self.shared.connections.lock().unwrap().drain() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Comes back on the same port.
    pub fn revive(&mut self) {
        assert!(self.running.is_none());
        let listener = TcpListener::bind(self.addr).unwrap();
        self.running = Some(accept(listener, &self.shared));
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

fn accept(listener: TcpListener, shared: &Arc<Shared>) -> (TcpListener, JoinHandle<()>) {
    let shared = shared.clone();
    let own = listener.try_clone().unwrap();
    let thread = thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let id = shared.next.fetch_add(1, Ordering::SeqCst);
            let copy = stream.try_clone().unwrap();
            shared.connections.lock().unwrap().insert(id, copy);
            let shared = shared.clone();
            thread::spawn(move || {
                serve(stream, &shared);
                shared.connections.lock().unwrap().remove(&id);
            });
        }
    });
    (own, thread)
}

fn serve(stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some(seen) = crate::upstream::read_request(&mut reader) {
        let path = seen.target().split('?').next().unwrap().to_owned();
        if path == "/health" {
            shared.probes.fetch_add(1, Ordering::SeqCst);
            let (status, body) = shared.health.lock().unwrap().clone();
            if answer(reader.get_mut(), &seen, status, &body).is_err() {
                return;
            }
            continue;
        }
        shared.seen.lock().unwrap().push(seen.clone());
        let mode = *shared.mode.lock().unwrap();
        let done = match mode {
            Mode::Well if path == "/ws" => {
                websocket::echo(&mut reader, &seen);
                true
            }
            Mode::Well if path == "/push" => {
                websocket::push(reader.get_mut(), &seen);
                true
            }
            Mode::Well | Mode::Late => {
                if mode == Mode::Late {
                    thread::sleep(Duration::from_secs(1));
                }
                let body = format!("replica {} saw {path}\n", shared.name);
                answer(reader.get_mut(), &seen, 200, &body).is_err()
            }
            Mode::Status(status) => {
                let body = format!("replica {} says {status}\n", shared.name);
                answer(reader.get_mut(), &seen, status, &body).is_err()
            }
            Mode::Reset => reset(reader.get_mut()),
            Mode::Silent => wait_for_end(&mut reader),
            Mode::Stalled => {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning";
                drop(reader.get_mut().write_all(head.as_bytes()));
                wait_for_end(&mut reader)
            }
            Mode::Garbage => {
                drop(
                    reader
                        .get_mut()
                        .write_all(b"\x15\x03\x01 what is this\r\n\r\n"),
                );
                true
            }
        };
        if done {
            return;
        }
    }
}

fn answer(stream: &mut TcpStream, asked: &Seen, status: u16, body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Any\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    write_answer(stream, asked, head, body)
}

fn reset(stream: &TcpStream) -> bool {
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(stream, sockopt::Linger, &at_once).unwrap();
    true
}

fn wait_for_end(reader: &mut BufReader<TcpStream>) -> bool {
    let limit = Some(Duration::from_secs(60));
    reader.get_ref().set_read_timeout(limit).unwrap();
    let mut byte = [0];
    while matches!(reader.read(&mut byte), Ok(n) if n > 0) {}
    true
}

/// Answers every connection to a socket of the file system with one line, on a thread of its own.
pub fn serve_unix(path: &std::path::Path, text: &'static str) {
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|n| n > 0) && line != "\r\n" {
                line.clear();
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            drop(stream.write_all(answer.as_bytes()));
        }
    });
}
