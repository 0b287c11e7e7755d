//! The PROXY protocol, versions 1 and 2: who stands behind a connection of a proxy that the configuration lists.
//!
//! A listed source must begin every connection with the header; from anybody else it ends the connection. Source:
//! haproxy.org, "The PROXY protocol", 2020-03-05.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What version 2 begins with. Source: section 2.2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with. Source: section 2.1.
const WORD: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included.
const LINE: usize = 107;
/// The longest header of version 2 that is read: addresses and the fields behind them.
const MOST: usize = 2048;
/// What stands before the addresses in version 2.
const FIXED: usize = 16;

/// Connections that were closed for their header.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    unlisted: AtomicU64,
    bad: AtomicU64,
}

impl Refusals {
    /// Counts a header of a source that is not listed.
    pub(super) fn unlisted(&self) {
        self.unlisted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a listed source without a sound header.
    pub(super) fn bad(&self) {
        self.bad.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns both counts, those of sources not listed first.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let unlisted = self.unlisted.load(Ordering::Relaxed);
        (unlisted, self.bad.load(Ordering::Relaxed))
    }
}

/// Tells whether a source may say who stands behind it.
pub(super) fn is_listed(listed: &[IpNet], source: IpAddr) -> bool {
    listed
        .iter()
        .any(|net| net.contains(&source.to_canonical()))
}

/// Reads the header that a listed source begins with, and not one byte more. `None` is the proxy itself.
///
/// # Errors
/// When there is none, or the connection broke.
pub(super) async fn read(stream: &mut TcpStream) -> std::io::Result<Option<SocketAddr>> {
    let mut bytes = Vec::with_capacity(LINE);
    loop {
        let wanted = match step(&bytes).map_err(std::io::Error::other)? {
            Step::Done(source) => return Ok(source),
            Step::Need(wanted) => wanted,
            Step::Line(most) => up_to_line(stream, most).await?,
        };
        let before = bytes.len();
        bytes.resize(before + wanted, 0);
        let (_, more) = bytes.split_at_mut(before);
        stream.read_exact(more).await?;
    }
}

/// Tells whether a connection begins with a header, as far as its first bytes show; they stay unread.
pub(super) async fn begins(stream: &TcpStream) -> bool {
    let mut bytes = [0; SIGNATURE.len()];
    let read = stream.peek(&mut bytes).await.unwrap_or(0);
    is_begun(bytes.get(..read).unwrap_or_default())
}

fn is_begun(bytes: &[u8]) -> bool {
    bytes.len() >= WORD.len() && (bytes.starts_with(WORD) || SIGNATURE.starts_with(bytes))
}

/// How many of the bytes that came belong to the line: to its end, or all.
async fn up_to_line(stream: &TcpStream, most: usize) -> std::io::Result<usize> {
    let mut ahead = [0; LINE];
    let (ahead, _) = ahead.split_at_mut(most.min(LINE));
    let read = stream.peek(ahead).await?;
    let came = ahead.get(..read).unwrap_or_default();
    let end = came.iter().position(|b| *b == b'\n');
    match end.map_or(read, |at| at + 1) {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        wanted => Ok(wanted),
    }
}

/// What is to be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Exactly so many bytes more.
    Need(usize),
    /// The rest of a line, at most so many bytes.
    Line(usize),
    /// Nothing: the header is whole and names this source; `None` is the proxy itself.
    Done(Option<SocketAddr>),
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Bad {
    #[error("no PROXY header")]
    None,
    #[error("a PROXY header that is too long")]
    Long,
    #[error("a PROXY header of another version, command or family")]
    Kind,
    #[error("a PROXY header without sound addresses")]
    Addresses,
}

/// Reads what came so far.
fn step(bytes: &[u8]) -> Result<Step, Bad> {
    if bytes.len() < SIGNATURE.len() {
        return Ok(Step::Need(SIGNATURE.len() - bytes.len()));
    }
    if let Some(rest) = bytes.strip_prefix(&SIGNATURE) {
        return binary(bytes, rest);
    }
    let line = bytes.strip_prefix(WORD).ok_or(Bad::None)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) if bytes.len() <= LINE => text(line).map(Step::Done),
        _ if bytes.contains(&b'\n') => Err(Bad::Addresses),
        _ if bytes.len() >= LINE => Err(Bad::Long),
        _ => Ok(Step::Line(LINE - bytes.len())),
    }
}

fn binary(bytes: &[u8], rest: &[u8]) -> Result<Step, Bad> {
    let [kind, family, high, low, body @ ..] = rest else {
        return Ok(Step::Need(FIXED - bytes.len()));
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if FIXED + length > MOST {
        return Err(Bad::Long);
    }
    if body.len() < length {
        return Ok(Step::Need(length - body.len()));
    }
    let source = match (kind, family) {
        // the proxy asks for itself, or does not know; what else it says does not count
        (0x20, _) | (0x21, 0x00) => None,
        (0x21, 0x11) => Some(source4(body).ok_or(Bad::Addresses)?),
        (0x21, 0x21) => Some(source6(body).ok_or(Bad::Addresses)?),
        _ => return Err(Bad::Kind),
    };
    Ok(Step::Done(source))
}

fn source4(body: &[u8]) -> Option<SocketAddr> {
    let (ip, rest) = body.split_first_chunk::<4>()?;
    let port = rest.get(4..)?.first_chunk::<2>()?;
    rest.get(6..8)?;
    let ip = Ipv4Addr::from(*ip);
    Some(SocketAddr::new(ip.into(), u16::from_be_bytes(*port)))
}

fn source6(body: &[u8]) -> Option<SocketAddr> {
    let (ip, rest) = body.split_first_chunk::<16>()?;
    let port = rest.get(16..)?.first_chunk::<2>()?;
    rest.get(18..20)?;
    let ip = IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical();
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// Reads `TCP4 192.0.2.7 192.0.2.1 40000 443`.
fn text(line: &[u8]) -> Result<Option<SocketAddr>, Bad> {
    let line = std::str::from_utf8(line).map_err(|_| Bad::Addresses)?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let words: Vec<&str> = line.split(' ').collect();
    let [family, source, to, from_port, to_port] = words.as_slice() else {
        return Err(Bad::Addresses);
    };
    let ip = |text: &str| -> Option<IpAddr> {
        match *family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let found = || Some((ip(source)?, ip(to)?, port(from_port)?, port(to_port)?));
    let (ip, _, port, _) = found().ok_or(Bad::Addresses)?;
    Ok(Some(SocketAddr::new(ip.to_canonical(), port)))
}

/// Digits without a sign or a leading zero.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests;
