//! The long way to an upstream of HTTP/1: pingora asks over a connection of the short way, whose answers are judged.
//!
//! pingora connects to what it takes for a socket without TLS. Behind it is one of [`super::Direct`], kept or new, which
//! goes back there once pingora has found it fit for another request.

use std::fmt;
use std::io;
use std::os::unix::io::RawFd;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::UniqueID as _;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::upstreams::peer::{HttpPeer, Scheme};
use pingora_error::Result;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::judged::Judged;
use crate::proxy::edge::Edge;

/// The way of one request to its upstream.
pub(in crate::proxy) struct Lane {
    edge: Arc<Edge>,
    /// The upstream as it is.
    peer: HttpPeer,
    upgrade: bool,
    got: OnceLock<Got>,
}

/// A connection that a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Got {
    pub(in crate::proxy) fd: RawFd,
    /// Whether it is one that waited.
    pub(in crate::proxy) reused: bool,
}

impl Lane {
    /// Makes the way to an upstream for a request, and describes it to pingora.
    pub(in crate::proxy) fn to(
        edge: &Arc<Edge>,
        peer: Box<HttpPeer>,
        upgrade: bool,
    ) -> (Arc<Self>, Box<HttpPeer>) {
        let mut shown = peer.clone();
        shown.scheme = Scheme::HTTP;
        shown.client_cert_key = None;
        shown.options.ca = None;
        let lane = Arc::new(Self {
            edge: Arc::clone(edge),
            peer: *peer,
            upgrade,
            got: OnceLock::new(),
        });
        shown.options.custom_l4 = Some(Arc::<Self>::clone(&lane));
        (lane, shown)
    }

    /// Returns the connection it led over; pingora knows none of its kind.
    pub(in crate::proxy) fn got(&self) -> Option<Got> {
        self.got.get().copied()
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").finish_non_exhaustive()
    }
}

#[async_trait]
impl L4Connect for Lane {
    async fn connect(&self, _: &SocketAddr) -> Result<Stream> {
        let direct = &self.edge.direct;
        let (judged, reused) = direct.connect(&self.peer, self.upgrade).await?;
        let fd = judged.id();
        let _ = self.got.set(Got { fd, reused });
        let lent = Lent {
            judged: Some(judged),
            fit: false,
            edge: Arc::clone(&self.edge),
            peer: self.peer.clone(),
        };
        Ok(VirtualSocketStream::new(Box::new(lent)).into())
    }
}

/// A connection that pingora asks over.
struct Lent {
    judged: Option<Box<Judged>>,
    /// Whether pingora would use it again.
    fit: bool,
    edge: Arc<Edge>,
    peer: HttpPeer,
}

impl Lent {
    fn with<T>(
        &mut self,
        work: impl FnOnce(Pin<&mut Judged>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.judged {
            Some(judged) => work(Pin::new(&mut **judged)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(judged) = self.judged.take().filter(|_| self.fit) {
            self.edge.direct.keep(judged, &self.peer);
        }
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").finish_non_exhaustive()
    }
}

impl VirtualSocket for Lent {
    /// Does nothing: the connection was set up when it was made.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.judged.as_deref().is_some_and(Judged::is_whole) {
            // with one byte pingora looks whether a connection it means to keep is quiet; to it, this one has ended
            self.fit = buf.capacity() == 1;
            return Poll::Ready(Ok(()));
        }
        self.with(|judged| judged.poll_read(cx, buf))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|judged| judged.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|judged| judged.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fit = false;
        self.with(|judged| judged.poll_shutdown(cx))
    }
}
