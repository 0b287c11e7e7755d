//! A connection to an upstream of HTTP/1 whose answers are judged before the library reads a byte of them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pingora_core::protocols::{Stream, UniqueID, UniqueIDType};
use pingora_error::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::judge::{Behind, Bent, Judge, Want};

/// A connection of which no read shows a byte that is not of the answer asked for.
#[derive(Debug)]
pub(super) struct Judged {
    io: Stream,
    judge: Judge,
    /// Whether the request at hand is still to be written.
    asks: bool,
}

impl Judged {
    /// Wraps a new connection.
    pub(super) fn new(io: Stream) -> Self {
        Self {
            io,
            judge: Judge::new(),
            asks: false,
        }
    }

    /// Awaits the next request, the head of which is written in one go, and its answer.
    pub(super) fn expect(&mut self, upgrade: bool) {
        let want = if upgrade { Want::Upgrade } else { Want::Whole };
        self.judge.expect(want);
        self.asks = true;
    }

    /// Tells whether the last answer came whole, and nothing behind it.
    pub(super) fn is_whole(&self) -> bool {
        self.judge.is_quiet()
    }

    /// Tells what stands behind the head that came last.
    pub(super) fn behind(&self) -> Behind {
        self.judge.behind()
    }

    /// Looks at what is written of a request.
    fn note(&mut self, bytes: &[u8]) {
        if self.asks && !bytes.is_empty() {
            self.asks = false;
            if bytes.starts_with(b"HEAD ") {
                self.judge.head_alone();
            }
        }
    }
}

/// Tells whether an exchange broke for what the answer is.
pub(in crate::proxy) fn is_bent(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause
        .and_then(io::Error::get_ref)
        .is_some_and(|cause| cause.is::<Bent>())
}

fn bent(why: Bent) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl AsyncRead for Judged {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.judge.is_bent() {
            return Poll::Ready(Err(bent(Bent("bytes behind an answer"))));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let came = buf.filled().get(before..).unwrap_or_default();
        let taken = self.judge.take(came);
        buf.set_filled(before + taken.unwrap_or(0));
        Poll::Ready(taken.map(drop).map_err(bent))
    }
}

impl AsyncWrite for Judged {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note(buf);
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note(bufs.first().map(|first| &**first).unwrap_or_default());
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl UniqueID for Judged {
    fn id(&self) -> UniqueIDType {
        self.io.id()
    }
}

#[cfg(test)]
mod tests {
    use pingora_error::{Error, ErrorType};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::{Judged, is_bent};

    fn connection() -> (Judged, DuplexStream) {
        let (near, far) = duplex(1024);
        (Judged::new(Box::new(near)), far)
    }

    #[tokio::test]
    async fn only_the_answer_is_read_and_what_is_behind_it_ends_the_connection() {
        let (mut judged, mut far) = connection();
        judged.expect(false);
        judged.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        far.write_all(answer).await.unwrap();
        let mut read = [0; 100];
        assert_eq!(judged.read(&mut read).await.unwrap(), answer.len());
        assert!(judged.is_whole());
        // its twin: more than was asked for
        judged.expect(false);
        let more = [&answer[..], b"HTTP"].concat();
        far.write_all(&more).await.unwrap();
        assert_eq!(judged.read(&mut read).await.unwrap(), answer.len());
        assert!(!judged.is_whole());
        assert!(judged.read(&mut read).await.is_err());
    }

    #[tokio::test]
    async fn a_request_for_a_head_is_answered_by_one() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        for (request, whole) in [(&b"HEAD / HTTP/1.1\r\n\r\n"[..], true), (b"GET / H", false)] {
            let (mut judged, mut far) = connection();
            judged.expect(false);
            judged.write_all(request).await.unwrap();
            judged.write_all(b"HEAD ").await.unwrap();
            far.write_all(head).await.unwrap();
            let mut read = [0; 100];
            assert_eq!(judged.read(&mut read).await.unwrap(), head.len());
            assert_eq!(judged.is_whole(), whole);
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_told_from_a_connection_that_broke() {
        let (mut judged, mut far) = connection();
        judged.expect(false);
        far.write_all(b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n")
            .await
            .unwrap();
        let error = judged.read(&mut [0; 100]).await.unwrap_err();
        let error = Error::because(ErrorType::ReadError, "head", error);
        assert!(is_bent(&error));
        assert!(is_bent(&Error::because(ErrorType::ReadError, "and", error)));
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(!is_bent(&Error::because(
            ErrorType::ReadError,
            "head",
            reset
        )));
        assert!(!is_bent(&Error::explain(ErrorType::ReadError, "head")));
    }
}
