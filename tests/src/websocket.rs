//! WebSocket (RFC 6455) as far as an echo needs it, over any stream.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;

use data_encoding::BASE64;

use crate::curl::{Client, host};
use crate::gateway::Gateway;
use crate::raw::{self, Tls};
use crate::upstream::Seen;
use crate::wait::PATIENCE;

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The key that clients here send. Source: RFC 6455 section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A client's side of an open WebSocket.
#[derive(Debug)]
pub struct Socket<S> {
    stream: S,
}

impl Socket<Tls> {
    /// Opens a WebSocket to a path of the demo's app, as whoever the client is signed in.
    ///
    /// # Errors
    /// The status line when the answer is not 101.
    pub fn to_app(gateway: &Gateway, client: &Client, path: &str) -> Result<Self, String> {
        let tcp = TcpStream::connect(("127.0.0.1", gateway.https_port())).unwrap();
        let name = host(&gateway.facts.app);
        let tls = raw::tls_over(tcp, name, &gateway.facts.ca_root, PATIENCE);
        let cookie = client.cookie(name, "__Host-postern").unwrap();
        let authority = format!("{name}:{}", gateway.https_port());
        let cookie = format!("__Host-postern={cookie}");
        Self::open(tls, &authority, path, Some(&cookie))
    }
}

impl<S: Read + Write> Socket<S> {
    /// Opens a WebSocket over a connected stream.
    ///
    /// # Errors
    /// The status line when the answer is not 101.
    pub fn open(stream: S, host: &str, path: &str, cookie: Option<&str>) -> Result<Self, String> {
        Self::offer(stream, host, path, cookie, "").map(|(socket, _)| socket)
    }

    /// Opens a WebSocket with more lines in the head; returns the head of the answer, too.
    ///
    /// # Errors
    /// The status line when the answer is not 101.
    pub fn offer(
        stream: S,
        host: &str,
        path: &str,
        cookie: Option<&str>,
        lines: &str,
    ) -> Result<(Self, String), String> {
        let cookie = cookie.map_or(String::new(), |c| format!("Cookie: {c}\r\n"));
        Self::begin(
            stream,
            host,
            path,
            &format!("Origin: https://{host}\r\n{cookie}{lines}"),
        )
    }

    /// Asks for a WebSocket with these lines in the head and no other that says who asks.
    ///
    /// # Errors
    /// The status line when the answer is not 101.
    pub fn ask(stream: S, host: &str, path: &str, lines: &str) -> Result<Self, String> {
        Self::begin(stream, host, path, lines).map(|(socket, _)| socket)
    }

    fn begin(mut stream: S, host: &str, path: &str, lines: &str) -> Result<(Self, String), String> {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{lines}\r\n"
        );
        stream
            .write_all(head.as_bytes())
            .map_err(|e| e.to_string())?;
        stream.flush().map_err(|e| e.to_string())?;
        let answer = read_head(&mut stream).map_err(|e| e.to_string())?;
        if !answer.starts_with("HTTP/1.1 101") {
            return Err(answer.lines().next().unwrap_or_default().to_owned());
        }
        let accept = format!("sec-websocket-accept: {}", accept(KEY).to_lowercase());
        assert!(answer.to_lowercase().contains(&accept), "{answer}");
        Ok((Self { stream }, answer))
    }

    /// Sends a text of at most 125 bytes and returns the text that comes back.
    ///
    /// # Errors
    /// When the stream has ended or a close frame came.
    pub fn echo(&mut self, text: &str) -> io::Result<String> {
        write_frame(&mut self.stream, TEXT, text.as_bytes(), true)?;
        match read_frame(&mut self.stream)? {
            (TEXT, text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            (CLOSE, _) => Err(io::ErrorKind::ConnectionAborted.into()),
            (kind, _) => panic!("frame of kind {kind}"),
        }
    }

    /// Sends at most 125 bytes.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_frame(&mut self.stream, BINARY, bytes, true)
    }

    /// Reads frames until one holds this text, and returns that one as text.
    ///
    /// # Errors
    /// When the stream has ended or a close frame came before.
    pub fn read_until(&mut self, text: &str) -> io::Result<String> {
        loop {
            let (kind, data) = read_frame(&mut self.stream)?;
            if kind == CLOSE {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if data.windows(text.len()).any(|part| part == text.as_bytes()) {
                return Ok(String::from_utf8_lossy(&data).into_owned());
            }
        }
    }

    /// Reads until the other side closes.
    pub fn wait_closed(&mut self) {
        while !matches!(read_frame(&mut self.stream), Err(_) | Ok((CLOSE, _))) {}
    }

    /// Gives the stream back for frames of one's own.
    #[must_use]
    pub fn into_stream(self) -> S {
        self.stream
    }

    #[must_use]
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

/// Answers a request for a WebSocket; `false` where it is none or the client is gone.
fn agree(stream: &mut TcpStream, request: &Seen) -> bool {
    let Some(key) = request.values("sec-websocket-key").first().copied() else {
        return false;
    };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept(key)
    );
    stream.write_all(head.as_bytes()).is_ok()
}

/// Sends `tick` ten times a second and reads nothing, until the client is gone.
pub fn push(stream: &mut TcpStream, request: &Seen) {
    let mut open = agree(stream, request);
    while open {
        std::thread::sleep(std::time::Duration::from_millis(100));
        open = write_frame(stream, TEXT, b"tick", false).is_ok();
    }
}

/// Serves an echo until the client closes.
pub fn echo(reader: &mut BufReader<TcpStream>, request: &Seen) {
    if !agree(reader.get_mut(), request) {
        return;
    }
    while let Ok((kind, data)) = read_frame(reader) {
        let sent = write_frame(reader.get_mut(), kind, &data, false);
        if kind == CLOSE || sent.is_err() {
            return;
        }
    }
}

/// RFC 6455 section 4.2.2.
pub fn accept(key: &str) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let text = format!("{key}{MAGIC}");
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

pub fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn write_frame(stream: &mut impl Write, kind: u8, data: &[u8], masked: bool) -> io::Result<()> {
    let length = u8::try_from(data.len()).unwrap();
    assert!(length < 126);
    let mut frame = vec![0x80 | kind, length | if masked { 0x80 } else { 0 }];
    if masked {
        // the zero mask is a legal one
        frame.extend([0; 4]);
    }
    frame.extend_from_slice(data);
    stream.write_all(&frame)?;
    stream.flush()
}

fn read_frame(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut length = usize::from(head[1] & 0x7f);
    if length > 125 {
        let mut long = [0; 8];
        let at = if length == 126 { 6 } else { 0 };
        stream.read_exact(&mut long[at..])?;
        length = usize::try_from(u64::from_be_bytes(long)).unwrap();
        assert!(length < 1 << 24, "a frame of {length} bytes");
    }
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        stream.read_exact(&mut mask)?;
    }
    let mut data = vec![0; length];
    stream.read_exact(&mut data)?;
    for (byte, mask) in data.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((head[0] & 0xf, data))
}
