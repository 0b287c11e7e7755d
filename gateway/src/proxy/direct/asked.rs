//! One exchange with an upstream of HTTP/1: the head of a request out, the parts of its answer in.
//!
//! The connection has judged every byte before it is seen here, so what is read can be read in one way only.
//! Source: RFC 9112 sections 6.3, 7.1, 9.3.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use pingora_core::protocols::http::HttpTask;
use pingora_error::{Error, ErrorType, OrErr as _, Result, RetryType};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::judge::Behind;
use super::judged::Judged;
use crate::proxy::head::MAX_FIELDS;
use crate::proxy::headers::connection_says;
use crate::proxy::stream::chunks::{Chunks, Run};

/// Room for a head that is written; few are larger.
const HEAD: usize = 1024;
/// Room for what is read first, and the most for what is read at once.
const ROOM: usize = 4 * 1024;
const MOST: usize = 64 * 1024;
/// Room for the fields that the gateway adds to an answer.
const ADDED: usize = 24;

/// An exchange over one connection.
pub(super) struct Asked {
    judged: Box<Judged>,
    /// What came and is not taken yet.
    came: BytesMut,
    /// Up to where no head ends.
    looked: usize,
    /// How much is read at once: more where more comes.
    room: usize,
    at: At,
    /// Whether a byte of an answer came.
    answered: bool,
    keeps: bool,
    limits: Limits,
}

/// How long one read and one write may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) read: Option<Duration>,
    pub(super) write: Option<Duration>,
}

/// Where in an answer the bytes stand.
#[derive(Debug)]
enum At {
    Head,
    /// So many bytes of a body are left.
    Length(u64),
    Chunks(Chunks),
    /// The body ends with the connection.
    Open,
    /// What follows is no answer.
    Tunnel,
    Done,
}

impl Asked {
    /// Begins an exchange.
    pub(super) fn new(judged: Box<Judged>, limits: Limits) -> Self {
        Self {
            judged,
            came: BytesMut::new(),
            looked: 0,
            room: ROOM,
            at: At::Head,
            answered: false,
            keeps: false,
            limits,
        }
    }

    /// Tells whether what follows is another protocol.
    pub(super) fn was_upgraded(&self) -> bool {
        matches!(self.at, At::Tunnel)
    }

    /// Ends the exchange: the connection, what came behind the head of an upgrade, and whether both sides would use it for
    /// another request.
    pub(super) fn into_parts(self) -> (Box<Judged>, Bytes, bool) {
        let keeps = self.keeps && matches!(self.at, At::Done) && self.came.is_empty();
        // of its own size: what comes after it may come for hours
        (self.judged, Bytes::copy_from_slice(&self.came), keeps)
    }

    /// Sends the head of a request that has no body.
    ///
    /// # Errors
    /// A target that would be more than one word, and a connection that takes nothing.
    pub(super) async fn ask(&mut self, head: &RequestHeader) -> Result<()> {
        let target = head.raw_path();
        if !is_word(target) {
            let why = "a target that is not one word";
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, why));
        }
        let mut wire = BytesMut::with_capacity(HEAD);
        wire.put_slice(head.method.as_str().as_bytes());
        wire.put_u8(b' ');
        wire.put_slice(target);
        wire.put_slice(b" HTTP/1.1\r\n");
        head.header_to_h1_wire(&mut wire);
        wire.put_slice(b"\r\n");
        let judged = &mut self.judged;
        let write = async {
            judged.write_all(&wire).await?;
            judged.flush().await
        };
        match self.limits.write {
            Some(limit) => timeout(limit, write)
                .await
                .or_err(ErrorType::WriteTimedout, "the head of a request")?,
            None => write.await,
        }
        .or_err(ErrorType::WriteError, "the head of a request")
    }

    /// Waits for the next part of the answer. Nothing is lost where nobody waits any longer.
    ///
    /// # Errors
    /// A connection that ends within an answer, breaks, or is silent for too long.
    pub(super) async fn next(&mut self) -> Result<HttpTask> {
        self.part(self.limits.read).await
    }

    /// Returns the next part of the answer where it is here already.
    pub(super) fn here(&mut self) -> Option<Result<HttpTask>> {
        use futures_util::FutureExt as _;
        tokio::task::unconstrained(self.part(None)).now_or_never()
    }

    async fn part(&mut self, limit: Option<Duration>) -> Result<HttpTask> {
        loop {
            if let Some(part) = self.take()? {
                return Ok(part);
            }
            let mut room = self.room;
            if let At::Length(left) = self.at {
                room = room.min(usize::try_from(left).unwrap_or(MOST));
            }
            if self.came.is_empty() && self.came.capacity() > self.room * 2 {
                // it would keep the size it once had
                self.came = BytesMut::new();
            }
            self.came.reserve(room);
            let read = self.judged.read_buf(&mut self.came);
            let read = match limit {
                Some(limit) => timeout(limit, read)
                    .await
                    .or_err(ErrorType::ReadTimedout, "an answer")?,
                None => read.await,
            };
            self.answered |= read.as_ref().is_ok_and(|more| *more > 0);
            match read {
                Ok(0) => return self.ended(),
                Ok(more) if more >= self.room => self.room = (self.room * 4).min(MOST),
                Ok(more) if more < self.room / 4 => self.room = (self.room / 2).max(ROOM),
                Ok(_) => {}
                Err(error) => return Err(self.broke(error)),
            }
        }
    }

    /// Judges the end of the connection.
    fn ended(&mut self) -> Result<HttpTask> {
        match self.at {
            At::Open => {
                self.at = At::Done;
                Ok(HttpTask::Body(None, true))
            }
            At::Head => {
                let mut error = Error::explain(ErrorType::ConnectionClosed, "before an answer");
                if !self.answered {
                    error.retry = RetryType::ReusedOnly;
                }
                Err(error)
            }
            At::Length(_) | At::Chunks(_) | At::Tunnel | At::Done => {
                let why = "within the body of an answer";
                Err(Error::explain(ErrorType::ConnectionClosed, why))
            }
        }
    }

    fn broke(&self, error: std::io::Error) -> Box<Error> {
        // what TLS says of a connection is no sign that the request was not read
        let of_system = error.raw_os_error().is_some();
        let mut error = Error::because(ErrorType::ReadError, "an answer", error);
        if of_system && !self.answered {
            error.retry = RetryType::ReusedOnly;
        }
        error
    }

    /// Takes the next part from what came.
    fn take(&mut self) -> Result<Option<HttpTask>> {
        match &mut self.at {
            At::Head => self.head(),
            At::Length(left) => {
                if self.came.is_empty() {
                    return Ok(None);
                }
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let part = split(&mut self.came, most);
                *left = left.saturating_sub(u64::try_from(part.len()).unwrap_or(*left));
                let end = *left == 0;
                if end {
                    self.at = At::Done;
                }
                Ok(Some(HttpTask::Body(Some(part), end)))
            }
            At::Chunks(chunks) => {
                let part = data(chunks, &mut self.came)?;
                let end = chunks.is_done();
                if end {
                    self.at = At::Done;
                }
                Ok((end || part.is_some()).then_some(HttpTask::Body(part, end)))
            }
            At::Open if self.came.is_empty() => Ok(None),
            At::Open => {
                let part = split(&mut self.came, usize::MAX);
                Ok(Some(HttpTask::Body(Some(part), false)))
            }
            At::Tunnel => Err(bad("what follows an upgrade is no answer")),
            At::Done => Ok(Some(HttpTask::Done)),
        }
    }

    /// Takes a head, if one is whole.
    fn head(&mut self) -> Result<Option<HttpTask>> {
        let from = self.looked.saturating_sub(3);
        let behind = self.came.get(from..).unwrap_or_default();
        let Some(end) = behind.windows(4).position(|four| four == b"\r\n\r\n") else {
            self.looked = self.came.len();
            return Ok(None);
        };
        self.looked = 0;
        // of its own size: values stay where they are, and may be kept for long
        let bytes = Bytes::copy_from_slice(self.came.get(..from + end + 4).unwrap_or_default());
        self.came.advance(bytes.len());
        let head = parse(&bytes)?;
        self.at = self.behind(&head)?;
        let open = matches!(self.at, At::Open | At::Tunnel);
        self.keeps = !open && keeps(head.version, &head.headers);
        let ends = matches!(self.at, At::Done);
        Ok(Some(HttpTask::Header(Box::new(head), ends)))
    }

    /// Tells what stands behind a head. What was judged may be further on, but no head stands behind the last one of an
    /// answer.
    fn behind(&self, head: &ResponseHeader) -> Result<At> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // to who asked for it; others get none
            return match head.version {
                Version::HTTP_11 => Ok(At::Tunnel),
                _ => Err(bad("an upgrade in HTTP/1.0")),
            };
        }
        if head.status.is_informational() {
            return Ok(At::Head);
        }
        Ok(match self.judged.behind() {
            Behind::Nothing => At::Done,
            Behind::Head => return Err(bad("a head behind the last one")),
            Behind::Length(length) => At::Length(length),
            Behind::Chunks => At::Chunks(Chunks::behind(0)),
            Behind::Open => At::Open,
        })
    }
}

/// Takes as many bytes as there are, at most so many. Few of a large buffer are copied: who holds them, a slow client's
/// queue say, would hold all of it.
fn split(came: &mut BytesMut, most: usize) -> Bytes {
    let room = came.capacity();
    let part = came.split_to(most.min(came.len())).freeze();
    if part.len() < room / 2 {
        return Bytes::copy_from_slice(&part);
    }
    part
}

/// Takes the next data of a body in chunks, and what frames them on both sides.
fn data(chunks: &mut Chunks, came: &mut BytesMut) -> Result<Option<Bytes>> {
    let mut data = None;
    // one piece at a time; what frames the next one may come with it
    while !came.is_empty() && !chunks.is_done() && (data.is_none() || !chunks.is_data()) {
        match chunks.run(came).map_err(|_| bad("chunks"))? {
            Run::Frame(length) => came.advance(length),
            Run::Data(length) => data = Some(split(came, length)),
        }
    }
    Ok(data)
}

/// Reads a whole head.
fn parse(bytes: &Bytes) -> Result<ResponseHeader> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut read = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut read, bytes, &mut fields)
        .or_err(ErrorType::InvalidHTTPHeader, "the head of an answer")?;
    if parsed != httparse::Status::Complete(bytes.len()) {
        return Err(bad("a head that ends within"));
    }
    let status = read.code.and_then(|code| StatusCode::from_u16(code).ok());
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status.ok_or_else(|| bad("no status"))?;
    parts.version = match read.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    parts.headers = HeaderMap::with_capacity(read.headers.len() + ADDED);
    for field in &*read.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .or_err(ErrorType::InvalidHTTPHeader, "a name in an answer")?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value))
            .or_err(ErrorType::InvalidHTTPHeader, "a value in an answer")?;
        parts.headers.append(name, value);
    }
    let usual = parts.status.canonical_reason();
    let mut head = ResponseHeader::from(parts);
    if let Some(own) = read.reason.filter(|own| Some(*own) != usual) {
        head.set_reason_phrase(Some(own))?;
    }
    Ok(head)
}

/// Tells whether a target is one word, so that it ends where it seems to. The library makes no other; what is sent is
/// looked at all the same.
fn is_word(target: &[u8]) -> bool {
    target.iter().all(|byte| *byte > b' ')
}

/// Tells whether the other side would take another request on the connection. Source: RFC 9112 section 9.3.
fn keeps(version: Version, headers: &HeaderMap) -> bool {
    let says = |word| connection_says(headers, word);
    !says("close") && (version == Version::HTTP_11 || says("keep-alive"))
}

fn bad(why: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, why)
}

#[cfg(test)]
mod tests;
