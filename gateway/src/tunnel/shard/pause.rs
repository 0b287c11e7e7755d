//! A descriptor that failed is left alone for a while, so that an error that stays does not spin.

use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// How long one that failed is left alone.
const ERROR_PAUSE: Duration = Duration::from_millis(50);
/// Errors of one packet that may follow each other before they count as one that stays.
const TRANSIENT: u32 = 64;

/// The errors of one descriptor and when it is asked again.
#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Instant>,
    in_a_row: u32,
}

impl Pause {
    /// Whether the descriptor may be asked.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// Returns when a pause that goes on ends.
    pub(super) fn end(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// Notes what the descriptor answered.
    pub(super) fn note(&mut self, answer: io::Result<()>, what: &'static str, now: Instant) {
        match answer {
            Ok(()) => self.worked(),
            Err(why) => self.failed(&why, what, now),
        }
    }

    /// Notes that the descriptor works.
    pub(super) fn worked(&mut self) {
        *self = Self::default();
    }

    /// Notes an error; one of a single packet is over with it.
    pub(super) fn failed(&mut self, why: &io::Error, what: &'static str, now: Instant) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if is_transient(why) && self.in_a_row <= TRANSIENT {
            tracing::debug!(error = %why, what, "tunnel descriptor lost a packet");
            return;
        }
        if self.until.is_none() {
            tracing::warn!(error = %why, what, "tunnel descriptor failed");
        }
        self.until = Some(now + ERROR_PAUSE);
    }
}

/// Whether an error concerns one packet, or what another host said of one, and reading it clears it.
fn is_transient(why: &io::Error) -> bool {
    let errno = Errno::from_io_error(why);
    errno.is_some_and(|errno| {
        [
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::HOSTDOWN,
            Errno::NETDOWN,
            Errno::NOBUFS,
            Errno::MSGSIZE,
            Errno::PROTO,
            Errno::NOPROTOOPT,
            Errno::CONNABORTED,
            Errno::INTR,
        ]
        .contains(&errno)
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::{ERROR_PAUSE, Pause, TRANSIENT};
    use crate::clock;

    #[test]
    fn an_error_that_stays_pauses_and_one_of_a_packet_does_not() {
        let (now, mut pause) = (clock::now(), Pause::default());
        for _ in 0..TRANSIENT {
            pause.failed(&Errno::CONNREFUSED.into(), "UDP", now);
            assert!(pause.is_over(now));
        }
        pause.failed(&Errno::CONNREFUSED.into(), "UDP", now);
        assert!(!pause.is_over(now), "so many of them are one that stays");
        pause.note(Ok(()), "UDP", now);
        assert!(pause.is_over(now));
        let stays: io::Error = Errno::BADFD.into();
        pause.failed(&stays, "TUN", now);
        assert_eq!(pause.end(now), Some(now + ERROR_PAUSE));
        let later = now + ERROR_PAUSE;
        assert!(pause.is_over(later) && pause.end(later).is_none());
    }
}
