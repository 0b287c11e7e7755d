//! The transport under pingora: one client connection, plain or TLS, from any door.
//!
//! The first bytes of an HTTP/1 request are read here, so that the strict head check sees them
//! as they came and an idle connection holds no buffer. What is written of an answer is collected
//! while its request has more to say ([`Collected`]), so that head and body are one TLS record.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::conn::{ConnCtx, HEAD};
use super::head::MAX_HEAD;
use crate::clock;
use chunks::Chunks;
use trailers::Trailers;
use wire::Wire;

mod budget;
pub(super) mod chunks;
pub(super) mod gathered;
mod trailers;
mod wire;

/// The most bytes of heads that are read at once.
const ROOM: usize = 4096;

/// What carries the bytes of a connection.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static> Transport for T {}

/// A client connection as pingora sees it.
pub(crate) struct ClientStream {
    wire: Arc<Mutex<Wire>>,
    ahead: Vec<u8>,
    taken: usize,
    ctx: Arc<ConnCtx>,
    socket: Arc<SocketDigest>,
    tls: Option<Arc<SslDigest>>,
    /// Looks at the frames of a client that chose HTTP/2 by ALPN.
    h2: Option<Trailers>,
    /// When a head of HTTP/2 that began must be whole.
    due: Option<Pin<Box<Sleep>>>,
    /// Looks at the body of the request at hand.
    chunks: Option<Chunks>,
}

/// How reading the head of a request ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeadRead {
    /// A whole head is buffered; its length in bytes, blank line included.
    Whole(usize),
    /// The client closed before a byte of it came.
    Closed,
    /// More bytes than the limit and no end of the head.
    TooLarge,
    /// The client closed or broke off in the middle.
    Broken,
}

impl ClientStream {
    /// Wraps a connection; `h2` says that the client chose HTTP/2 by ALPN.
    pub(crate) fn new(io: Box<dyn Transport>, ctx: Arc<ConnCtx>, h2: bool) -> Self {
        let socket = SocketDigest::from_raw_fd(-1);
        let _ = socket.peer_addr.set(Some(ctx.peer.into()));
        let _ = socket.local_addr.set(None);
        let _ = socket.original_dst.set(None);
        let tls = ctx
            .tls
            .then(|| Arc::new(SslDigest::new("", "", None, None, Vec::new())));
        Self {
            // HTTP/2 frames are collected by its own codec
            wire: Arc::new(Mutex::new(Wire::new(io, !h2))),
            ahead: Vec::new(),
            taken: 0,
            ctx,
            socket: Arc::new(socket),
            tls,
            h2: h2.then(Trailers::new),
            due: None,
            chunks: None,
        }
    }

    /// Returns the far end of this stream, for [`Collected`].
    pub(crate) fn wire(&self) -> Arc<Mutex<Wire>> {
        Arc::clone(&self.wire)
    }

    /// Begins to look at the body behind a head of so many bytes; `false` where what is here of it bends the grammar.
    pub(crate) fn follow(&mut self, head: usize) -> bool {
        let chunked = chunks::announced(self.ahead(head));
        self.chunks = chunked.then(|| Chunks::behind(head));
        let here = self.ahead.get(self.taken..).unwrap_or_default();
        !chunked || Chunks::behind(head).take(here).is_ok()
    }

    /// Returns the reading end.
    pub(crate) fn intake(&self) -> Intake {
        Intake(self.wire())
    }

    /// Returns the far end for bytes that are no HTTP any more, unless some were read ahead of them.
    pub(crate) fn far(&self, head: usize) -> Option<Far> {
        let read = self.taken.saturating_add(head);
        (self.ahead.len() <= read).then(|| Far(self.wire()))
    }

    async fn read_some(&mut self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            let mut buf = ReadBuf::new(into);
            let read = self.wire.lock().poll_read(cx, &mut buf);
            read.map_ok(|()| buf.filled().len())
        })
        .await
    }

    /// Reads what is there, at most [`ROOM`] bytes, behind what was read ahead; the room is on the stack, and only while
    /// bytes come.
    async fn read_more(&mut self) -> io::Result<usize> {
        poll_fn(|cx| {
            let mut room = [MaybeUninit::uninit(); ROOM];
            let mut room = ReadBuf::uninit(&mut room);
            ready!(self.wire.lock().poll_read(cx, &mut room))?;
            self.ahead.extend_from_slice(room.filled());
            Poll::Ready(Ok(room.filled().len()))
        })
        .await
    }

    /// Waits for the first byte of the next request, holding no buffer while it waits.
    ///
    /// # Errors
    /// Whatever the transport reports. `Ok(false)` is a clean end.
    pub(crate) async fn park(&mut self) -> io::Result<bool> {
        self.wire.lock().set_quiet(false);
        if self.taken < self.ahead.len() {
            return Ok(true);
        }
        self.drop_ahead();
        Ok(self.read_more().await? > 0)
    }

    /// Reads until `least` bytes are buffered; `Ok(false)` if the client closed before.
    ///
    /// # Errors
    /// Whatever the transport reports.
    pub(crate) async fn read_ahead(&mut self, least: usize) -> io::Result<bool> {
        while self.ahead.len().saturating_sub(self.taken) < least {
            if self.read_more().await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads until the head of a request is whole, keeping the bytes for pingora.
    ///
    /// # Errors
    /// Whatever the transport reports.
    pub(crate) async fn read_head(&mut self, limit: usize) -> io::Result<HeadRead> {
        let mut seen = 0;
        loop {
            let head = self.ahead.get(self.taken..).unwrap_or_default();
            if let Some(end) = super::head::end_of_head(head, seen) {
                return Ok(if end > limit {
                    HeadRead::TooLarge
                } else {
                    HeadRead::Whole(end)
                });
            }
            if head.len() > limit {
                return Ok(HeadRead::TooLarge);
            }
            seen = head.len();
            if self.read_more().await? == 0 {
                return Ok(if seen == 0 {
                    HeadRead::Closed
                } else {
                    HeadRead::Broken
                });
            }
        }
    }

    /// Shows the first `len` bytes that were read ahead.
    pub(crate) fn ahead(&self, len: usize) -> &[u8] {
        let end = self.taken.saturating_add(len);
        self.ahead.get(self.taken..end).unwrap_or_default()
    }

    /// Writes bytes and ends the connection; used for answers before pingora is involved.
    pub(crate) async fn answer_and_close(&mut self, bytes: &[u8]) {
        drop(self.write_all(bytes).await);
        drop(AsyncWriteExt::shutdown(self).await);
        let mut sink = [0_u8; 2048];
        let drain = async {
            for _ in 0..32 {
                if !matches!(self.read_some(&mut sink).await, Ok(n) if n > 0) {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_millis(500), drain).await;
    }

    /// Tells whether a head of HTTP/2 is not whole in time; who reads is woken when that is so.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(since) = self.h2.as_ref().and_then(Trailers::open_since) else {
            self.due = None;
            return false;
        };
        let end = tokio::time::Instant::from_std(since + HEAD);
        let due = match &mut self.due {
            Some(due) if due.deadline() == end => due,
            due => due.insert(Box::pin(sleep_until(end))),
        };
        due.as_mut().poll(cx).is_ready()
    }

    /// Takes note of bytes that went out over HTTP/2, where answers outlive their requests.
    fn went(&self, written: &Poll<io::Result<usize>>) {
        if self.h2.is_some() && matches!(written, Poll::Ready(Ok(1..))) {
            self.ctx.life.moved(clock::now());
        }
    }

    /// Looks whether the client has left, as pingora does with one byte of room once a request is whole. What comes
    /// instead is the next request: it is kept, and waits for its turn.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // who leaves is to be seen behind that too
        while self.ahead.len().saturating_sub(self.taken) < MAX_HEAD {
            let mut room = [MaybeUninit::uninit(); ROOM];
            let mut room = ReadBuf::uninit(&mut room);
            ready!(self.wire.lock().poll_read(cx, &mut room))?;
            if room.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.ahead.extend_from_slice(room.filled());
        }
        Poll::Pending
    }

    fn drop_ahead(&mut self) {
        self.ahead = Vec::new();
        self.taken = 0;
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let late = || {
            let why = "a head that is not whole in time";
            Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
        };
        if buf.capacity() == 1 && self.wire.lock().is_quiet() {
            return self.poll_left(cx);
        }
        let before = buf.filled().len();
        let rest = self.ahead.get(self.taken..).unwrap_or_default();
        if rest.is_empty() {
            // what is here already is read before its time is judged
            let read = self.wire.lock().poll_read(cx, buf);
            if read.is_pending() && self.is_due(cx) {
                return late();
            }
            ready!(read)?;
        } else {
            let n = rest.len().min(buf.remaining());
            buf.put_slice(rest.get(..n).unwrap_or_default());
            self.taken += n;
            if self.taken >= self.ahead.len() {
                self.drop_ahead();
            }
        }
        let came = buf.filled().get(before..).unwrap_or_default();
        if let Some(chunks) = &mut self.chunks
            && chunks.take(came).is_err()
        {
            self.wire.lock().bend();
            let why = "a body that bends the grammar";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        if let Some(trailers) = &mut self.h2 {
            trailers.take(buf.filled_mut().get_mut(before..).unwrap_or_default());
            if trailers.is_flood() {
                let why = "frames that carry nothing";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
            if self.is_due(cx) {
                return late();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.wire.lock().poll_write(cx, buf);
        self.went(&written);
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.lock().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.lock().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.wire.lock().poll_write_vectored(cx, bufs);
        self.went(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.lock().is_write_vectored()
    }
}

/// The reading end of a client stream, so that what its client sends can be ended while an answer goes out.
pub(crate) struct Intake(Arc<Mutex<Wire>>);

impl Intake {
    /// Has every further read fail, once whoever reads looks again.
    pub(crate) fn end(&self) {
        self.0.lock().deafen();
    }

    /// Says that the request is whole: what its client sends from here on is the next one.
    pub(crate) fn is_whole(&self) {
        self.0.lock().set_quiet(true);
    }

    /// Tells whether a body was refused for its chunks.
    pub(crate) fn is_bent(&self) -> bool {
        self.0.lock().is_bent()
    }
}

/// The far end of a client stream, past all HTTP; clones are the same end.
#[derive(Clone)]
pub(crate) struct Far(Arc<Mutex<Wire>>);

impl AsyncRead for Far {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.lock().poll_read(cx, buf)
    }
}

impl AsyncWrite for Far {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_shutdown(cx)
    }
}

/// A request that sends what it wrote whenever it has to wait.
pub(crate) struct Collected<F> {
    work: F,
    wire: Arc<Mutex<Wire>>,
}

impl<F: Future + Unpin> Collected<F> {
    /// Runs `work`, which writes to `wire`.
    pub(crate) fn new(work: F, wire: Arc<Mutex<Wire>>) -> Self {
        Self { work, wire }
    }
}

impl<F: Future + Unpin> Future for Collected<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = Pin::new(&mut self.work).poll(cx);
        if polled.is_pending() {
            self.wire.lock().send(cx);
        }
        polled
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream")
            .field("peer", &self.ctx.peer)
            .field("tls", &self.ctx.tls)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        drop(AsyncWriteExt::shutdown(self).await);
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> i32 {
        -1
    }
}

impl Ssl for ClientStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.h2.is_some().then_some(ALPN::H2)
    }
}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}

#[async_trait]
impl Peek for ClientStream {}

#[cfg(test)]
mod tests;
