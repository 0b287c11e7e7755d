//! The protected side: an app that records every byte that reaches it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::websocket;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    /// Names as they arrived.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What stands behind a body in chunks, as it arrived.
    pub trailers: Vec<String>,
}

impl Seen {
    /// Returns every value of a header, whatever the case of its name.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter();
        let named = named.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    #[must_use]
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    streams: AtomicUsize,
}

/// How long the answer to `/slow` takes.
pub const SLOW: Duration = Duration::from_secs(9);

/// A recording app: `/ws` echoes WebSocket messages, `/download`, `/counted` and `/events` never end, `/slow` is answered late,
/// `/set-cookie` tries to set ours, anything else is answered with one line.
#[derive(Debug)]
pub struct Recorder {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Recorder {
    /// Listens on loopback of the namespace of the calling thread.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it opens a socket")]
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let for_all = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = for_all.clone();
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { addr, shared }
    }

    /// Returns the address for `upstream`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns what has arrived so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Returns the last request; panics when there is none.
    #[must_use]
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("nothing reached the app")
    }

    /// Returns the number of open WebSockets and downloads.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.shared.streams.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read_request(&mut reader) {
        shared.seen.lock().unwrap().push(seen.clone());
        let path = seen.target().split('?').next().unwrap().to_owned();
        let done = match path.as_str() {
            "/ws" => {
                stream_of(shared, || websocket::echo(&mut reader, &seen));
                true
            }
            "/download" => {
                stream_of(shared, || download(reader.get_mut(), &[0x55; 4096]));
                true
            }
            "/events" => {
                stream_of(shared, || events(reader.get_mut()));
                true
            }
            "/counted" => {
                stream_of(shared, || counted(reader.get_mut()));
                true
            }
            _ => answer(reader.get_mut(), &seen, &path).is_err(),
        };
        if done {
            return;
        }
    }
}

fn stream_of(shared: &Shared, work: impl FnOnce()) {
    shared.streams.fetch_add(1, Ordering::SeqCst);
    work();
    shared.streams.fetch_sub(1, Ordering::SeqCst);
}

pub(crate) fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok().filter(|n| *n > 0)?;
        let field = field.trim_end_matches(['\r', '\n']);
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(':')?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut seen = Seen {
        line: line.trim_end().to_owned(),
        headers,
        body: Vec::new(),
        trailers: Vec::new(),
    };
    read_body(reader, &mut seen)?;
    Some(seen)
}

fn read_body(reader: &mut BufReader<TcpStream>, seen: &mut Seen) -> Option<()> {
    if let Some(length) = seen.values("content-length").first() {
        let length: usize = length.parse().ok()?;
        seen.body.resize(length, 0);
        return reader.read_exact(&mut seen.body).ok();
    }
    if seen.values("transfer-encoding").is_empty() {
        return Some(());
    }
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return read_trailers(reader, seen);
        }
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        seen.body.extend_from_slice(&chunk[..size]);
    }
}

fn read_trailers(reader: &mut BufReader<TcpStream>, seen: &mut Seen) -> Option<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            return Some(());
        }
        seen.trailers.push(line.to_owned());
    }
}

/// Writes an answer in one piece; to HEAD without its body, which would stand before the next answer.
pub(crate) fn write_answer(
    stream: &mut TcpStream,
    asked: &Seen,
    head: String,
    body: &str,
) -> std::io::Result<()> {
    let body = if asked.line.starts_with("HEAD ") {
        ""
    } else {
        body
    };
    stream.write_all((head + body).as_bytes())
}

fn answer(stream: &mut TcpStream, asked: &Seen, path: &str) -> std::io::Result<()> {
    if path == "/slow" {
        thread::sleep(SLOW);
    }
    let extra = match path {
        "/set-cookie" => concat!(
            "Set-Cookie: __Host-postern=evil; Secure; Path=/\r\n",
            "Set-Cookie: theirs=1; Path=/\r\n",
            "Set-Cookie: wide=1; Domain=localhost; Path=/\r\n",
            "Strict-Transport-Security: max-age=1\r\n",
            "Server: recorder\r\n"
        ),
        _ => "",
    };
    let body = format!("the recorder saw {path}\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{extra}\r\n",
        body.len()
    );
    write_answer(stream, asked, head, &body)
}

const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
    Content-Length: 109951162777600\r\n\r\n";

/// Sends for ever, until the other side closes.
fn download(stream: &mut TcpStream, block: &[u8]) {
    let mut open = stream.write_all(ENDLESS).is_ok();
    while open {
        thread::sleep(Duration::from_millis(10));
        open = stream.write_all(block).is_ok();
    }
}

/// Sends events for ever, until the other side closes.
fn events(stream: &mut TcpStream) {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n";
    let mut open = stream.write_all(head).is_ok();
    while open {
        thread::sleep(Duration::from_millis(10));
        open = stream.write_all(b"data: tick\n\n").is_ok();
    }
}

/// Sends the numbers from 0, each in eight bytes, so that a lost or doubled byte shows.
fn counted(stream: &mut TcpStream) {
    let mut open = stream.write_all(ENDLESS).is_ok();
    let mut next = 0_u64;
    while open {
        thread::sleep(Duration::from_millis(10));
        let block: Vec<u8> = (next..next + 512).flat_map(u64::to_be_bytes).collect();
        next += 512;
        open = stream.write_all(&block).is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::{Recorder, TcpStream};
    use crate::raw;
    use crate::websocket::Socket;

    #[test]
    fn the_recorder_keeps_what_arrived_and_echoes_websockets() {
        let recorder = Recorder::new();
        let mut stream = TcpStream::connect(recorder.addr).unwrap();
        let text = b"POST /a?b HTTP/1.1\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /x";
        stream
            .set_read_timeout(Some(std::time::Duration::from_millis(300)))
            .unwrap();
        assert_eq!(raw::exchange(&mut stream, text).status(), Some(200));
        let seen = recorder.last();
        assert_eq!((seen.target(), seen.body.as_slice()), ("/a?b", &b"hi"[..]));
        assert_eq!(seen.values("x-a"), ["1"]);
        assert!(seen.trailers.is_empty());
        let mut behind = TcpStream::connect(recorder.addr).unwrap();
        behind
            .set_read_timeout(Some(std::time::Duration::from_millis(300)))
            .unwrap();
        let text = b"POST /t HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n";
        assert_eq!(raw::exchange(&mut behind, text).status(), Some(200));
        assert_eq!(recorder.last().trailers, ["X-Sum: 1"]);
        let twice = b"HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
        let mut fresh = TcpStream::connect(recorder.addr).unwrap();
        fresh
            .set_read_timeout(Some(std::time::Duration::from_millis(300)))
            .unwrap();
        let both = raw::exchange(&mut fresh, twice);
        let text = String::from_utf8_lossy(&both.bytes);
        assert!(
            !text.contains("saw /a") && text.contains("saw /b"),
            "{text}"
        );
        let stream = TcpStream::connect(recorder.addr).unwrap();
        let mut socket = Socket::open(stream, "h", "/ws", None).unwrap();
        assert_eq!(socket.echo("hello").unwrap(), "hello");
        assert_eq!(recorder.open_streams(), 1);
        let plain = TcpStream::connect(recorder.addr).unwrap();
        assert!(Socket::open(plain, "h", "/no", None).is_err());
    }
}
