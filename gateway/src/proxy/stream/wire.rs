//! The far end of a client stream: the transport, and what is written and not yet sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Transport;

/// The most bytes that are held back; one TLS record. Source: RFC 8446 section 5.1.
const RECORD: usize = 16 * 1024;

/// Bytes that a head and a small body mostly fit in.
const HEAD: usize = 2 * 1024;

/// A transport that may hold back small writes until somebody sends them.
pub(crate) struct Wire {
    io: Box<dyn Transport>,
    held: Vec<u8>,
    sent: usize,
    holds: bool,
    /// Whether the transport itself may still hold bytes of ours, TLS records for one.
    unflushed: bool,
    broken: Option<io::ErrorKind>,
    body: Body,
    /// Whether the request at hand is whole, so that what comes is not of it.
    quiet: bool,
}

/// How the body at hand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Sound,
    /// It comes too slowly.
    Late,
    /// It bends the grammar.
    Bent,
}

impl Wire {
    /// Wraps a transport; with `holds`, writes are held back until [`Self::send`], a flush or a
    /// full record.
    pub(super) fn new(io: Box<dyn Transport>, holds: bool) -> Self {
        Self {
            io,
            held: Vec::new(),
            sent: 0,
            holds,
            unflushed: false,
            broken: None,
            body: Body::Sound,
            quiet: false,
        }
    }

    /// Sends what is held, as far as the transport takes it now; the task of `cx` is woken to
    /// send the rest. A failure is told to the next write.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) {
        if !self.holds || (self.held.is_empty() && !self.unflushed) {
            return;
        }
        if let Poll::Ready(Err(e)) = self.poll_flush(cx) {
            self.broken = Some(e.kind());
            cx.waker().wake_by_ref(); // so that the request learns of it
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let failed = match self.body {
            Body::Sound => None,
            Body::Late => Some(io::ErrorKind::TimedOut),
            Body::Bent => Some(io::ErrorKind::InvalidData),
        };
        if let Some(kind) = failed {
            return Poll::Ready(Err(kind.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }

    /// Notes whether the request at hand is whole.
    pub(super) fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Notes that what came bends the grammar.
    pub(super) fn bend(&mut self) {
        self.body = Body::Bent;
    }

    pub(super) fn is_bent(&self) -> bool {
        self.body == Body::Bent
    }

    /// Has every further read fail.
    pub(super) fn deafen(&mut self) {
        self.body = Body::Late;
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.broken {
            return Poll::Ready(Err(kind.into()));
        }
        if self.held.len() >= RECORD {
            ready!(self.poll_drain(cx))?;
        }
        if !self.holds || (self.held.is_empty() && buf.len() >= RECORD) {
            self.unflushed = true;
            return Pin::new(&mut self.io).poll_write(cx, buf);
        }
        if self.held.capacity() == 0 {
            self.held.reserve(HEAD.max(buf.len().min(RECORD)));
        }
        let room = RECORD.saturating_sub(self.held.len());
        let taken = buf.get(..room).unwrap_or(buf);
        self.held.extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.holds {
            let first = bufs.iter().find(|b| !b.is_empty());
            return self.poll_write(cx, first.map_or(&[], |b| b));
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    pub(super) fn is_write_vectored(&self) -> bool {
        !self.holds && self.io.is_write_vectored()
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(kind) = self.broken {
            return Poll::Ready(Err(kind.into()));
        }
        while let Some(rest) = self.held.get(self.sent..).filter(|rest| !rest.is_empty()) {
            self.unflushed = true;
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent = self.sent.saturating_add(n);
        }
        // an idle connection holds no buffer
        self.held = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}
