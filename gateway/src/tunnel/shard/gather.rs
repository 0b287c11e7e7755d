//! When the loop lets datagrams gather before it looks again, as network cards do.
//!
//! A loop that is faster than its senders finds one or two datagrams at a time, and each time that is a
//! write to the TUN device, a wake-up of the reader of the stream and an acknowledgement. Where much
//! arrives, a short pause makes more of it come at once; where little does, nothing waits.

use std::time::{Duration, Instant};

/// How long datagrams gather. Of 60, 150 and 250 µs the first cost no throughput.
const PAUSE: Duration = Duration::from_micros(60);
/// Bytes of one look at the socket that need no pause after it.
const ENOUGH: u32 = 16 * 1024;
/// Over how long it is counted how much arrives.
const WINDOW: Duration = Duration::from_millis(1);
/// Bytes of a window below which nothing waits: 130 Mbit/s.
const MUCH: u32 = 16 * 1024;

/// How much arrives.
#[derive(Debug)]
pub(super) struct Gather {
    /// The start of the window, and the bytes in it.
    since: Instant,
    bytes: u32,
    /// Whether much arrived in the window before.
    is_much: bool,
    /// Bytes of the last look at the socket.
    last: u32,
}

impl Gather {
    /// Starts with nothing received.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            bytes: 0,
            is_much: false,
            last: 0,
        }
    }

    /// Notes what a look at the socket brought.
    pub(super) fn received(&mut self, bytes: usize, now: Instant) {
        self.last = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bytes = self.bytes.saturating_add(self.last);
        let passed = now.saturating_duration_since(self.since);
        if passed >= WINDOW {
            self.is_much = WINDOW.saturating_mul(self.bytes) >= passed.saturating_mul(MUCH);
            self.since = now;
            self.bytes = 0;
        }
    }

    /// How long to wait for more, if that is worth it.
    pub(super) fn pause(&self) -> Option<Duration> {
        (self.is_much && self.last < ENOUGH).then_some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ENOUGH, Gather, MUCH, PAUSE, WINDOW};
    use crate::clock;

    /// The pause after ten windows in which so many bytes come at these intervals.
    fn pause(bytes: u32, every: Duration) -> Option<Duration> {
        let start = clock::now();
        let (mut gather, mut now) = (Gather::new(start), start);
        while now < start + 10 * WINDOW {
            now += every;
            gather.received(bytes.try_into().unwrap(), now);
        }
        gather.pause()
    }

    #[test]
    fn little_does_not_wait_and_much_that_comes_in_small_parts_does() {
        assert_eq!(pause(MUCH / 10 - 1, WINDOW / 10), None);
        assert_eq!(pause(MUCH / 10 + 1, WINDOW / 10), Some(PAUSE));
        assert_eq!(pause(ENOUGH, WINDOW / 10), None);
    }

    #[test]
    fn the_first_after_a_silence_does_not_wait() {
        let start = clock::now();
        let mut gather = Gather::new(start);
        gather.received(1_000_000, start + WINDOW);
        gather.received(1452, start + WINDOW);
        assert_eq!(gather.pause(), Some(PAUSE));
        gather.received(1452, start + Duration::from_secs(1));
        assert_eq!(gather.pause(), None);
    }
}
