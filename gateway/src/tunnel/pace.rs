//! How fast a connection may send to its device: no faster than the laptop takes it.
//!
//! A laptop's WireGuard reads from a small socket buffer (208 KiB), and what finds it full was encrypted and sent for
//! nothing. bbr does not slow down for such losses, so a connection that has to send much again is held to the rate at
//! which its bytes arrive, and let go faster step by step while they do. Losses that do not come of the rate, as those of
//! a bad radio link, go on when it falls: then the connection gets back what it had, and is left alone for a while.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::sys::{self, Sent};
use crate::clock;

/// What is written and how much time passes between two looks at least.
const LOOK_BYTES: usize = 512 * 1024;
const LOOK_TIME: Duration = Duration::from_millis(100);
/// A connection that took longer for it is slow or was idle, and is no longer held back.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes sent again, of a thousand sent, that are too many; and few.
const MANY: u64 = 30;
const FEW: u64 = 10;
/// The lowest rate that a connection is held to, in bytes a second.
const LOWEST: u64 = 1024 * 1024;
/// What the rate gains of itself at a look at least, one in so many; so often as much after as many looks at which few
/// were sent again.
const STEP: u64 = 50;
const STEPS: u64 = 25;
/// How long a connection is left alone whose losses go on at half the rate it had.
const LEFT_ALONE: Duration = Duration::from_secs(5);
/// What is forgotten of the rate it had at each look at which not many were sent again, one in so many: the laptop may
/// have become slower.
const FORGOTTEN: u64 = 32;

/// Decides how fast one connection may send.
#[derive(Debug)]
struct Pace {
    last: (Instant, Sent),
    held: Option<Held>,
    /// Whether many were sent again at the last look: one burst is no reason yet.
    was_lossy: bool,
    /// Until when nothing slows it down.
    left_alone_until: Option<Instant>,
}

/// What a connection is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    /// Bytes a second.
    rate: u64,
    /// The rate it had.
    had: u64,
    /// Looks since it was last slowed down at which few were sent again.
    clean: u64,
}

impl Pace {
    /// Begins with a connection of which nothing was sent.
    fn new(now: Instant) -> Self {
        Self {
            last: (now, Sent::default()),
            held: None,
            was_lossy: false,
            left_alone_until: None,
        }
    }

    /// Takes what the kernel says of the connection; returns the rate it is held to in bytes a second, if to any.
    fn look(&mut self, sent: Sent, now: Instant) -> Option<u64> {
        let (before, was) = std::mem::replace(&mut self.last, (now, sent));
        let time = now.saturating_duration_since(before);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bytes = sent.bytes.saturating_sub(was.bytes);
        if time > PAUSE {
            self.held = None;
            self.was_lossy = false;
        } else if micros > 0 && bytes > 0 {
            // while there was nothing to send nothing could arrive
            let busy = sent.busy_micros.saturating_sub(was.busy_micros);
            let busy = if busy == 0 { micros } else { busy.min(micros) };
            let arrived = sent.arrived.saturating_sub(was.arrived);
            let rate = arrived.saturating_mul(1_000_000) / busy;
            let again = sent.again.saturating_sub(was.again).saturating_mul(1_000) / bytes;
            self.held = self.next(rate, again, now);
        }
        self.rate()
    }

    fn rate(&self) -> Option<u64> {
        self.held.map(|held| held.rate)
    }

    fn next(&mut self, rate: u64, again: u64, now: Instant) -> Option<Held> {
        let stays_lossy = std::mem::replace(&mut self.was_lossy, again > MANY) && self.was_lossy;
        let is_left_alone = self.left_alone_until.is_some_and(|until| now < until);
        let Some(held) = self.held else {
            return (stays_lossy && !is_left_alone && rate >= LOWEST).then_some(Held {
                rate,
                had: rate,
                clean: 0,
            });
        };
        let had = held.had.max(held.rate);
        if again > MANY && !is_left_alone {
            let mut rate = held.rate.min(rate).max(LOWEST);
            if rate < had / 2 {
                self.left_alone_until = Some(now + LEFT_ALONE);
                rate = had;
            }
            return Some(Held {
                rate,
                had,
                clean: 0,
            });
        }
        // something else holds it back
        if held.rate / 2 > rate {
            return None;
        }
        let (clean, steps) = if again > FEW {
            (held.clean, 1)
        } else {
            (held.clean + 1, held.clean.min(STEPS - 1) + 1)
        };
        Some(Held {
            rate: held.rate.saturating_add(held.rate / STEP * steps),
            had: had - had / FORGOTTEN,
            clean,
        })
    }
}

/// Looks after the rate of one connection.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    /// Bytes written since the last look.
    written: usize,
    looked: Instant,
    rate: Option<u64>,
}

impl Pacer {
    /// Looks after a connection that has just begun.
    pub(crate) fn new() -> Self {
        let now = clock::now();
        Self {
            pace: Pace::new(now),
            written: 0,
            looked: now,
            rate: None,
        }
    }

    /// Notes that bytes were written to the connection.
    pub(crate) fn wrote(&mut self, socket: &impl AsFd, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
        if self.written >= LOOK_BYTES {
            self.look_at(socket, clock::now(), || sys::sent(socket));
        }
    }

    /// Looks, if it is time for it.
    fn look_at(
        &mut self,
        socket: &impl AsFd,
        now: Instant,
        sent: impl FnOnce() -> io::Result<Sent>,
    ) {
        if now.saturating_duration_since(self.looked) < LOOK_TIME {
            return;
        }
        (self.written, self.looked) = (0, now);
        // a kernel that does not tell leaves the connection as it is
        let Ok(sent) = sent() else {
            return;
        };
        let rate = self.pace.look(sent, now);
        if rate != self.rate {
            match sys::hold_to(socket, rate) {
                Ok(()) => self.rate = rate,
                Err(why) => tracing::debug!(error = %why, "a connection keeps its pace"),
            }
        }
    }
}

/// A socket whose rate is looked after where there is a pacer.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    socket: S,
    pacer: Option<Pacer>,
}

impl<S> Paced<S> {
    /// Wraps a socket to a device, or one that is left as it is.
    pub(crate) fn new(socket: S, to_device: bool) -> Self {
        let pacer = to_device.then(Pacer::new);
        Self { socket, pacer }
    }
}

impl<S: AsFd> Paced<S> {
    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Some(pacer), Poll::Ready(Ok(bytes))) = (&mut self.pacer, &written) {
            pacer.wrote(&self.socket, *bytes);
        }
        written
    }
}

impl<S: AsRawFd> AsRawFd for Paced<S> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + AsFd + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note(written)
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
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.note(written)
    }
}

#[cfg(test)]
mod tests;
