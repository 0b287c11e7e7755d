//! Under TLS: the end of a handshake goes out with the first answer.
//!
//! A handshake of TLS 1.3 ends with tickets, which no client waits for. Sent at once they are a system call and a packet
//! of their own for each connection. Source: RFC 8446 section 4.6.1.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that is held; a flight with long chains is larger, and goes out as it comes.
const MOST: usize = 16 * 1024;

/// A transport that holds back what a handshake writes until the other side must have it. Dropped, it sends what it can
/// of that: an alert may be the last of it.
#[derive(Debug)]
pub(crate) struct Gathered<S: AsyncWrite + Unpin> {
    io: S,
    held: Vec<u8>,
    /// Whether the handshake goes on.
    shakes: bool,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Begins with the handshake.
    pub(crate) fn new(io: S) -> Self {
        Self {
            io,
            held: Vec::new(),
            shakes: true,
        }
    }

    /// Ends the handshake: what is held goes out with what is written or flushed next.
    pub(crate) fn settle(&mut self) {
        self.shakes = false;
    }

    /// Sends what is held.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, &self.held))?;
            self.sent(n)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Forgets what was sent of what is held; returns how much was sent besides.
    fn sent(&mut self, n: usize) -> io::Result<usize> {
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let own = n.min(self.held.len());
        self.held.drain(..own);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        Ok(n - own)
    }

    /// Holds a part of a handshake, if there is room for it.
    fn holds(&mut self, parts: &[IoSlice<'_>]) -> Option<usize> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if !self.shakes || self.held.len().saturating_add(length) > MOST {
            return None;
        }
        for part in parts {
            self.held.extend_from_slice(part);
        }
        Some(length)
    }
}

impl<S: AsyncWrite + Unpin> Drop for Gathered<S> {
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        drop(self.poll_send(&mut cx));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.shakes
            && read.is_pending()
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            // nothing comes of it: the other side waits for what is held
            return Poll::Ready(Err(error));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(held) = self.holds(bufs) {
            return Poll::Ready(Ok(held));
        }
        while !self.held.is_empty() {
            let this = &mut *self;
            let mut all = Vec::with_capacity(bufs.len() + 1);
            all.push(IoSlice::new(&this.held));
            all.extend_from_slice(bufs);
            let n = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, &all))?;
            drop(all);
            let besides = this.sent(n)?;
            if besides > 0 {
                return Poll::Ready(Ok(besides));
            }
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// A handshake is sent when there is nothing more to read; until then there may be more of it.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shakes {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::{Gathered, MOST};

    async fn nothing(far: &mut DuplexStream) {
        let mut byte = [0];
        let read = timeout(Duration::from_millis(20), far.read(&mut byte)).await;
        assert!(read.is_err(), "{read:?}");
    }

    async fn comes(far: &mut DuplexStream, text: &[u8]) {
        let mut bytes = vec![0; text.len()];
        far.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, text);
    }

    #[tokio::test]
    async fn a_flight_goes_out_when_its_answer_is_awaited_and_tickets_with_what_is_next() {
        let (near, mut far) = duplex(64 * 1024);
        let mut near = Gathered::new(near);
        near.write_all(b"flight").await.unwrap();
        near.flush().await.unwrap();
        nothing(&mut far).await;
        let mut byte = [0];
        let answer = async {
            comes(&mut far, b"flight").await;
            far.write_all(b"f").await.unwrap();
        };
        let (read, ()) = tokio::join!(near.read(&mut byte), answer);
        assert_eq!(read.unwrap(), 1);
        near.write_all(b"tickets ").await.unwrap();
        near.flush().await.unwrap();
        near.settle();
        // nobody waits for them, whatever is read
        let read = timeout(Duration::from_millis(20), near.read(&mut byte)).await;
        assert!(read.is_err());
        nothing(&mut far).await;
        near.write_all(b"answer").await.unwrap();
        comes(&mut far, b"tickets answer").await;
        near.write_all(b"next").await.unwrap();
        comes(&mut far, b"next").await;
    }

    #[tokio::test]
    async fn what_is_held_goes_out_with_a_flush_a_farewell_or_the_end() {
        for end in ["flush", "shutdown", "drop"] {
            let (near, mut far) = duplex(64);
            let mut near = Gathered::new(near);
            near.write_all(b"held").await.unwrap();
            near.settle();
            match end {
                "flush" => near.flush().await.unwrap(),
                "shutdown" => near.shutdown().await.unwrap(),
                _ => drop(near),
            }
            comes(&mut far, b"held").await;
        }
        // of a handshake that fails an alert is the last
        let (near, mut far) = duplex(64);
        let mut near = Gathered::new(near);
        near.write_all(b"alert").await.unwrap();
        drop(near);
        comes(&mut far, b"alert").await;
    }

    #[tokio::test]
    async fn a_transport_with_little_room_gets_all_of_it_in_order() {
        let (near, mut far) = duplex(5);
        let mut near = Gathered::new(near);
        near.write_all(b"tickets ").await.unwrap();
        near.settle();
        let write = async {
            near.write_all(b"and an answer").await.unwrap();
            near.flush().await.unwrap();
        };
        tokio::join!(write, comes(&mut far, b"tickets and an answer"));
    }

    #[tokio::test]
    async fn a_flight_that_is_too_long_to_be_held_is_sent() {
        let (near, mut far) = duplex(64 * 1024);
        let mut near = Gathered::new(near);
        let long = vec![7; MOST + 1];
        near.write_all(b"held").await.unwrap();
        near.write_all(&long).await.unwrap();
        comes(&mut far, &[&b"held"[..], &long].concat()).await;
    }
}
