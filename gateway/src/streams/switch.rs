//! What cuts a stream, and the socket that ends with it.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use nix::sys::socket::{Shutdown, shutdown};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// Cuts one stream; cloned into whatever carries its bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct KillSwitch(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    thrown: AtomicBool,
    /// The socket of a whole connection, for as long as it is open.
    socket: Mutex<Option<RawFd>>,
    token: CancellationToken,
}

impl KillSwitch {
    /// Makes a switch that has not been thrown.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Cuts the stream; idempotent.
    pub(crate) fn kill(&self) {
        self.mark();
        self.end_socket();
        self.wake();
    }

    /// Tells whether the stream has been cut.
    pub(crate) fn killed(&self) -> bool {
        self.0.thrown.load(Ordering::Acquire)
    }

    /// Waits until the stream is cut; never returns for one that is left alone.
    pub(crate) async fn wait(&self) {
        self.0.token.cancelled().await;
    }

    /// Takes the socket of a connection, which the switch ends at once when it is thrown, whatever its task does.
    pub(crate) fn takes<S: AsRawFd>(&self, socket: S) -> Switched<S> {
        *self.0.socket.lock() = Some(socket.as_raw_fd());
        let switch = self.clone();
        Switched { socket, switch }
    }

    /// Begins to cut: from here on it counts as cut.
    pub(super) fn mark(&self) {
        self.0.thrown.store(true, Ordering::Release);
    }

    /// Ends its socket in both ways, where it has one. Held while that lasts, so that nobody closes it meanwhile and its
    /// number stands for no other.
    pub(super) fn end_socket(&self) {
        if let Some(fd) = *self.0.socket.lock() {
            // an error here is a connection that is gone already
            let _ = shutdown(fd, Shutdown::Both);
        }
    }

    /// Tells whatever carries its bytes.
    pub(super) fn wake(&self) {
        self.0.token.cancel();
    }
}

/// A socket that a switch ends; closing it takes it from the switch first.
#[derive(Debug)]
pub(crate) struct Switched<S> {
    socket: S,
    switch: KillSwitch,
}

impl<S> Drop for Switched<S> {
    fn drop(&mut self) {
        *self.switch.0.socket.lock() = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Switched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Switched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::KillSwitch;

    #[test]
    fn a_socket_ends_with_its_switch_though_nobody_serves_it() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (cut, left) = (KillSwitch::new(), KillSwitch::new());
        let (other_near, mut other_far) = UnixStream::pair().unwrap();
        let _served = cut.takes(near);
        let _other = left.takes(other_near);
        cut.kill();
        assert!(cut.killed() && !left.killed());
        assert_eq!(far.read(&mut [0]).unwrap(), 0, "its end");
        other_far.set_nonblocking(true).unwrap();
        let still = other_far.read(&mut [0]).unwrap_err();
        assert_eq!(still.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_socket_that_got_the_number_of_a_closed_one_stays() {
        let switch = KillSwitch::new();
        let (near, _far) = UnixStream::pair().unwrap();
        let number = near.as_raw_fd();
        let served = switch.takes(near);
        drop(served);
        // the first of them has its number, unless another test took it
        let next: Vec<_> = (0..8).map(|_| UnixStream::pair().unwrap()).collect();
        switch.kill();
        for (mut near, mut far) in next {
            near.write_all(b"x").unwrap();
            assert_eq!(far.read(&mut [0]).unwrap(), 1, "{number}");
        }
    }
}
