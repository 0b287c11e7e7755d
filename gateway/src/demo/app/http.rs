//! As much of HTTP/1.1 as the trial's application needs behind the gateway.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt};

/// The longest head in bytes.
const HEAD_MAX: usize = 64 << 10;
/// The most header fields.
const FIELDS_MAX: usize = 128;

/// A request head.
#[derive(Debug)]
pub(super) struct Request {
    /// The method as sent.
    pub(super) method: String,
    target: String,
    /// Header fields in order.
    pub(super) fields: Vec<(String, String)>,
}

impl Request {
    /// Returns the path of the target.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("/")
    }

    /// Returns the value of a query parameter, undecoded.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, v)| v).next()
    }

    /// Returns the first value of a header field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    /// Says whether the client asks for a WebSocket.
    pub(super) fn is_websocket(&self) -> bool {
        self.field("upgrade")
            .is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
    }

    /// Says whether the connection ends with this request.
    pub(super) fn closes(&self) -> bool {
        self.field("connection")
            .is_some_and(|v| v.to_ascii_lowercase().contains("close"))
    }
}

/// Reads a request head; `None` if the client is gone.
///
/// # Errors
/// For a head that is broken or too long.
pub(super) async fn read_head<R: AsyncBufRead + Unpin>(
    stream: &mut R,
) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    loop {
        let mut line = (&mut *stream).take(u64::try_from(HEAD_MAX).unwrap_or(u64::MAX));
        let read = line.read_until(b'\n', &mut head).await?;
        if read == 0 {
            return if head.is_empty() {
                Ok(None)
            } else {
                Err(broken())
            };
        }
        if head.len() > HEAD_MAX {
            return Err(broken());
        }
        if head.ends_with(b"\r\n\r\n") {
            return parse(&head).map(Some);
        }
    }
}

fn parse(head: &[u8]) -> io::Result<Request> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    parsed.parse(head).map_err(|_| broken())?;
    let field = |h: &httparse::Header<'_>| {
        let value = String::from_utf8_lossy(h.value).into_owned();
        (h.name.to_owned(), value)
    };
    Ok(Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or("/").to_owned(),
        fields: parsed.headers.iter().map(field).collect(),
    })
}

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Sized(u64),
    /// Chunks, until one of no size.
    Chunked,
}

impl Body {
    /// Tells from the head.
    pub(super) fn new(request: &Request) -> Self {
        if request.field("transfer-encoding").is_some() {
            return Self::Chunked;
        }
        let length = request.field("content-length");
        Self::Sized(length.and_then(|n| n.parse().ok()).unwrap_or(0))
    }

    /// Reads the body away and returns its size in bytes.
    ///
    /// # Errors
    /// If it is broken or ends early.
    pub(super) async fn drain<R: AsyncBufRead + Unpin>(self, stream: &mut R) -> io::Result<u64> {
        match self {
            Self::Sized(length) => {
                skip(stream, length).await?;
                Ok(length)
            }
            Self::Chunked => {
                let mut total: u64 = 0;
                loop {
                    let size = chunk_size(&read_line(stream).await?)?;
                    if size == 0 {
                        while read_line(stream).await? != "\r\n" {}
                        return Ok(total);
                    }
                    skip(stream, size).await?;
                    skip(stream, 2).await?;
                    total = total.saturating_add(size);
                }
            }
        }
    }
}

fn chunk_size(line: &str) -> io::Result<u64> {
    let digits = line.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).map_err(|_| broken())
}

async fn read_line<R: AsyncBufRead + Unpin>(stream: &mut R) -> io::Result<String> {
    let mut line = Vec::new();
    let read = (&mut *stream)
        .take(8 << 10)
        .read_until(b'\n', &mut line)
        .await?;
    if read == 0 || !line.ends_with(b"\n") {
        return Err(broken());
    }
    String::from_utf8(line).map_err(|_| broken())
}

async fn skip<R: AsyncRead + Unpin>(stream: &mut R, mut left: u64) -> io::Result<()> {
    let mut block = vec![0_u8; 64 << 10];
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        let part = block.get_mut(..want).ok_or_else(broken)?;
        let read = stream.read(part).await?;
        if read == 0 {
            return Err(broken());
        }
        left = left.saturating_sub(u64::try_from(read).unwrap_or(left));
    }
    Ok(())
}
