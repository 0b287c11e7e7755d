//! HTTP/2 frame by frame, as it should be and as it should not. Source: RFC 9113, RFC 7541.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::raw::{self, Tls};

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITIZED: u8 = 0x20;

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Returns the number that a reset, a GOAWAY or a window update carries.
    #[must_use]
    pub fn number(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let bytes = self.payload.get(at..at + 4);
        bytes.map_or(u32::MAX, |b| u32::from_be_bytes(b.try_into().unwrap()))
    }

    /// Returns the status a head carries; `None` where it is written in a way that is not read here.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let mut at = 0;
        // updates of the table's size may stand before it
        while self.payload.get(at)? & 0xe0 == 0x20 {
            at += 1;
        }
        match self.payload.get(at)? {
            // the static table, RFC 7541 appendix A
            index @ 0x88..=0x8e => {
                Some([200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)])
            }
            // a literal under the name of one of these
            0x48..=0x4e | 0x08..=0x0e | 0x18..=0x1e => {
                let length = self.payload.get(at + 1)?;
                let text = self
                    .payload
                    .get(at + 2..at + 2 + usize::from(length & 0x7f))?;
                if length & 0x80 == 0 {
                    return std::str::from_utf8(text).ok()?.parse().ok();
                }
                digits(text)
            }
            _ => None,
        }
    }
}

/// Reads digits written in the code of RFC 7541 appendix B.
fn digits(bytes: &[u8]) -> Option<u16> {
    let bits: Vec<bool> = bytes
        .iter()
        .flat_map(|b| (0..8).map(move |at| b & (0x80 >> at) != 0))
        .collect();
    let (mut at, mut number) = (0, 0_u16);
    while bits.len() - at >= 5 {
        let take = |count: usize| {
            let part = bits.get(at..at + count)?;
            Some(
                part.iter()
                    .fold(0_u16, |all, bit| all << 1 | u16::from(*bit)),
            )
        };
        let digit = match (take(5), take(6)) {
            (Some(short), _) if short <= 2 => {
                at += 5;
                short
            }
            (_, Some(long)) if (0x19..=0x1f).contains(&long) => {
                at += 6;
                long - 0x19 + 3
            }
            // what fills the last byte
            _ => break,
        };
        number = number * 10 + digit;
    }
    Some(number)
}

/// Writes a frame; the length is that of the payload.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Writes a frame of settings.
#[must_use]
pub fn settings(all: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in all {
        payload.extend(id.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// Writes fields as literals without indexing and without a code.
#[must_use]
pub fn fields(all: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in all {
        out.push(0);
        for text in [name, value] {
            integer(&mut out, text.len(), 0x7f);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// Source: RFC 7541 section 5.1.
fn integer(out: &mut Vec<u8>, value: usize, most: usize) {
    if value < most {
        out.push(u8::try_from(value).unwrap());
        return;
    }
    out.push(u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
        rest /= 0x80;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// A connection to the gateway that speaks HTTP/2 byte by byte.
pub struct Wire {
    tls: Tls,
    ahead: Vec<u8>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire")
            .field("ahead", &self.ahead.len())
            .finish_non_exhaustive()
    }
}

impl Wire {
    /// Opens one with nothing said yet; a read takes at most `limit`.
    #[must_use]
    pub fn bare(addr: SocketAddr, name: &str, root: &Path, limit: Duration) -> Self {
        Self::over(TcpStream::connect(addr).unwrap(), name, root, limit)
    }

    /// As [`Wire::bare`], over a connected socket.
    #[must_use]
    pub fn over(tcp: TcpStream, name: &str, root: &Path, limit: Duration) -> Self {
        tcp.set_read_timeout(Some(limit)).unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(raw::client_config(root, &["h2"]), name).unwrap();
        Self {
            tls: StreamOwned::new(connection, tcp),
            ahead: Vec::new(),
        }
    }

    /// Opens one and says the preface with empty settings.
    #[must_use]
    pub fn open(addr: SocketAddr, name: &str, root: &Path, limit: Duration) -> Self {
        let mut wire = Self::bare(addr, name, root, limit);
        wire.send(&[PREFACE, &settings(&[])].concat());
        wire
    }

    /// Sends bytes; that the other side closed shows when it is read from.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.tls.write_all(bytes);
        let _ = self.tls.flush();
    }

    /// Sets how long a read may take from here on.
    pub fn patience(&mut self, limit: Duration) {
        self.tls.sock.set_read_timeout(Some(limit)).unwrap();
    }

    /// Reads the next frame; `None` when the other side closed.
    ///
    /// # Errors
    /// When nothing came in time.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        if !self.fill(9)? {
            return Ok(None);
        }
        let head: [u8; 9] = self.ahead[..9].try_into().unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if !self.fill(9 + length)? {
            return Ok(None);
        }
        let all: Vec<u8> = self.ahead.drain(..9 + length).collect();
        Ok(Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..9].try_into().unwrap()) & 0x7fff_ffff,
            payload: all[9..].to_vec(),
        }))
    }

    /// Reads until a stream has its whole answer, as every client does: pings are answered, and what a GOAWAY says is
    /// the last stream taken is kept in `last`. `None` where the stream is reset or not taken, or the connection ends.
    pub fn answer(&mut self, stream: u32, last: &mut Option<u32>) -> Option<u16> {
        let mut status = None;
        while let Ok(Some(came)) = self.next_frame() {
            match came.kind {
                PING if !came.has(ACK) => self.send(&frame(PING, ACK, 0, &came.payload)),
                GOAWAY => {
                    let said = u32::from_be_bytes(came.payload[..4].try_into().unwrap());
                    *last = Some(said & 0x7fff_ffff);
                }
                HEADERS if came.stream == stream => status = came.status(),
                RST_STREAM if came.stream == stream => return None,
                _ => {}
            }
            let whole = matches!(came.kind, HEADERS | DATA) && came.has(END_STREAM);
            if came.stream == stream && whole {
                return status;
            }
            if last.is_some_and(|last| stream > last) {
                return None;
            }
        }
        None
    }

    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        let mut block = [0; 16 * 1024];
        while self.ahead.len() < wanted {
            match self.tls.read(&mut block) {
                Ok(0) => return Ok(false),
                Ok(count) => self.ahead.extend_from_slice(&block[..count]),
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Err(e);
                }
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, HEADERS, digits, fields, frame};

    #[test]
    fn statuses_are_read_as_a_server_writes_them() {
        let status = |payload: &[u8]| {
            let frame = Frame {
                kind: HEADERS,
                flags: 0,
                stream: 1,
                payload: payload.to_vec(),
            };
            frame.status()
        };
        assert_eq!(status(&[0x88, 0]), Some(200));
        assert_eq!(status(&[0x3f, 0xe1]), None);
        assert_eq!(status(&[0x20, 0x8c]), Some(400));
        assert_eq!(status(b"\x48\x03401"), Some(401));
        // RFC 7541 appendix C.6.1
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        assert_eq!(digits(&[0x64, 0x0e, 0xff]), Some(307));
    }

    #[test]
    fn frames_and_fields_are_written_as_the_standard_says() {
        assert_eq!(frame(6, 1, 3, b"ab"), b"\0\0\x02\x06\x01\0\0\0\x03ab");
        assert_eq!(fields(&[("a", "bc")]), b"\0\x01a\x02bc");
        let long = "x".repeat(300);
        assert_eq!(&fields(&[("a", &long)])[..6], b"\0\x01a\x7f\xad\x01");
    }
}
