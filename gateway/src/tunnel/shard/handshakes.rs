//! Handshake messages that wait until the data of a round is through, and how long they may be
//! worked on: a storm of them leaves nine tenths of the time to those who are inside.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Longest handshake message: an initiation.
const LONGEST: usize = 148;
/// Messages that wait at once; what a storm brings beyond them is lost, and stock clients repeat
/// theirs after five seconds.
const WAITING: usize = 1024;

/// Data within this time means that somebody uses the tunnel.
const IN_USE: Duration = Duration::from_millis(20);
/// The share of handshakes while the tunnel is in use, one part of so many, and the most saved up.
const SHARE: u32 = 10;
const SAVED: Duration = Duration::from_millis(2);
/// The time for handshakes in one round while nobody uses the tunnel: about one.
const QUIET: Duration = Duration::from_micros(250);

/// Handshake messages in the order of their coming.
#[derive(Debug)]
pub(super) struct Handshakes {
    waiting: VecDeque<(SocketAddr, [u8; LONGEST], usize)>,
    /// Time that may be spent.
    credit: Duration,
    /// Until when the credit was reckoned.
    reckoned: Instant,
    /// When data was last seen.
    data: Option<Instant>,
}

impl Handshakes {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            credit: SAVED,
            reckoned: now,
            data: None,
        }
    }

    /// Notes that the tunnel is in use.
    pub(super) fn saw_data(&mut self, now: Instant) {
        self.data = Some(now);
    }

    /// Returns the time that handshakes may take in this round.
    pub(super) fn allowance(&mut self, now: Instant) -> Duration {
        let earned = now.saturating_duration_since(self.reckoned) / SHARE;
        self.reckoned = now;
        self.credit = self.credit.saturating_add(earned).min(SAVED);
        if self.in_use(now) { self.credit } else { QUIET }
    }

    /// Notes what they took.
    pub(super) fn took(&mut self, spent: Duration) {
        self.credit = self.credit.saturating_sub(spent);
    }

    /// Returns when those that wait may be worked on; `None` when none waits.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let wait = if self.credit.is_zero() && self.in_use(now) {
            SAVED
        } else {
            Duration::ZERO
        };
        (!self.waiting.is_empty()).then(|| now + wait)
    }

    fn in_use(&self, now: Instant) -> bool {
        let since = |data| now.saturating_duration_since(data);
        self.data.is_some_and(|data| since(data) < IN_USE)
    }

    /// Keeps a datagram for later; false for one that is no handshake message and is due at once.
    pub(super) fn put_off(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        let is_handshake = matches!(
            (datagram.first(), datagram.len()),
            (Some(1), LONGEST) | (Some(2), 92) | (Some(3), 64)
        );
        let mut message = [0; LONGEST];
        let room = message.get_mut(..datagram.len());
        let Some(room) = room.filter(|_| is_handshake) else {
            return false;
        };
        if self.waiting.len() < WAITING {
            room.copy_from_slice(datagram);
            self.waiting.push_back((from, message, datagram.len()));
        }
        true
    }

    /// Gives the oldest message to `handle`; false when none waits.
    pub(super) fn next(&mut self, handle: impl FnOnce(SocketAddr, &mut [u8])) -> bool {
        let Some((from, mut message, len)) = self.waiting.pop_front() else {
            return false;
        };
        handle(from, message.get_mut(..len).unwrap_or_default());
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Handshakes, LONGEST, QUIET, SAVED, WAITING};
    use crate::clock;

    #[test]
    fn handshakes_wait_in_their_order_and_data_does_not() {
        let mut handshakes = Handshakes::new(clock::now());
        let from = "192.0.2.1:9".parse().unwrap();
        for datagram in [
            &[4; 32][..],
            &[0; 8],
            &[],
            &[1; LONGEST + 1],
            &[1],
            &[2; 64],
        ] {
            assert!(!handshakes.put_off(from, datagram), "{datagram:?}");
        }
        assert_eq!(handshakes.due(clock::now()), None);
        for datagram in [&[1; LONGEST][..], &[2; 92], &[3; 64]] {
            assert!(handshakes.put_off(from, datagram));
        }
        for expected in [&[1; LONGEST][..], &[2; 92], &[3; 64]] {
            assert!(handshakes.next(|_, message| assert_eq!(message, expected)));
        }
        assert!(!handshakes.next(|_, _| panic!("none is left")));
    }

    #[test]
    fn a_storm_fills_the_queue_and_no_more() {
        let mut handshakes = Handshakes::new(clock::now());
        let from = "192.0.2.1:9".parse().unwrap();
        for _ in 0..WAITING + 10 {
            assert!(handshakes.put_off(from, &[1; LONGEST]));
        }
        let mut count = 0;
        while handshakes.next(|_, _| count += 1) {}
        assert_eq!(count, WAITING);
    }

    #[test]
    fn while_the_tunnel_is_in_use_handshakes_get_a_tenth_of_the_time() {
        let mut now = clock::now();
        let mut handshakes = Handshakes::new(now);
        handshakes.put_off("192.0.2.1:9".parse().unwrap(), &[1; LONGEST]);
        let (mut spent, step) = (Duration::ZERO, Duration::from_millis(1));
        for _ in 0..1000 {
            now += step;
            handshakes.saw_data(now);
            let allowed = handshakes.allowance(now);
            handshakes.took(allowed);
            spent += allowed;
            assert_eq!(handshakes.due(now), Some(now + SAVED), "it is used up");
        }
        let tenth = step * 100;
        assert!((tenth..=tenth + SAVED).contains(&spent), "{spent:?}");
    }

    #[test]
    fn while_nobody_uses_the_tunnel_they_get_all_of_it_in_small_parts() {
        let mut now = clock::now();
        let mut handshakes = Handshakes::new(now);
        handshakes.put_off("192.0.2.1:9".parse().unwrap(), &[1; LONGEST]);
        handshakes.saw_data(now);
        now += Duration::from_millis(20);
        for _ in 0..100 {
            assert_eq!(handshakes.allowance(now), QUIET);
            handshakes.took(QUIET);
            assert_eq!(handshakes.due(now), Some(now), "at once");
        }
    }
}
