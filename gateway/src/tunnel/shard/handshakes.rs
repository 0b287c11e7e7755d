//! Handshake messages that wait until the data of a round is through, and how long they may be
//! worked on: a storm of them leaves nearly all of the time to those who are inside.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Longest handshake message: an initiation.
const LONGEST: usize = 148;
/// Messages that wait at once; what comes beyond them is lost, and stock clients repeat theirs
/// after five seconds.
const WAITING: usize = 2048;
/// With so many waiting only who shows a cookie is heard, and before them. A stock client that is
/// asked for one is back only five seconds later: a whole office that comes at once after a restart
/// is not asked. Once it is mostly strangers who come, the second number counts.
const CROWD: usize = 1024;
const CROWD_OF_STRANGERS: usize = 64;
/// So many more strangers than devices lately are most.
const MOSTLY: u32 = 32;

/// Data within this time means that somebody uses the tunnel.
const IN_USE: Duration = Duration::from_millis(20);
/// The share of strangers while the tunnel is in use, one part of so many, and the most saved up.
const SHARE: u32 = 40;
const SAVED: Duration = Duration::from_millis(1);
/// A device that proves itself is charged one part of so many of the time it took, so that all
/// devices are back soon after a restart: together they get at most half of the time.
const KNOWN: u32 = 20;
/// The time for handshakes in one round while nobody uses the tunnel: about one.
const QUIET: Duration = Duration::from_micros(250);

/// Who sent a message, and to which address if that is told.
pub(super) type Ends = (SocketAddr, Option<IpAddr>);

type Message = (Ends, [u8; LONGEST], usize);

/// Handshake messages in the order of their coming.
#[derive(Debug)]
pub(super) struct Handshakes {
    /// Those of sources that showed a cookie, and the others.
    proven: VecDeque<Message>,
    waiting: VecDeque<Message>,
    /// How many more strangers than devices came lately, at most twice [`MOSTLY`].
    strangers: u32,
    /// Time that may be spent, and what the last one took beyond it.
    credit: Duration,
    debt: Duration,
    /// Until when the credit was reckoned.
    reckoned: Instant,
    /// When data was last seen.
    data: Option<Instant>,
}

impl Handshakes {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            proven: VecDeque::new(),
            waiting: VecDeque::new(),
            strangers: 0,
            credit: SAVED,
            debt: Duration::ZERO,
            reckoned: now,
            data: None,
        }
    }

    /// Notes that the tunnel is in use.
    pub(super) fn saw_data(&mut self, now: Instant) {
        self.data = Some(now);
    }

    /// Earns what time brought since the last call.
    pub(super) fn earn(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.reckoned) / SHARE;
        self.reckoned = now;
        let left = earned.saturating_sub(self.debt);
        self.debt = self.debt.saturating_sub(earned);
        self.credit = self.credit.saturating_add(left).min(SAVED);
    }

    /// Says whether one more may be worked on `now`, in a round whose handshakes began at `start`.
    pub(super) fn may_go_on(&self, start: Instant, now: Instant) -> bool {
        let is_short = now.saturating_duration_since(start) < QUIET;
        if self.in_use(start) {
            !self.credit.is_zero()
        } else {
            is_short
        }
    }

    /// Notes what one took; `is_known` if a device proved itself.
    pub(super) fn took(&mut self, spent: Duration, is_known: bool) {
        let charged = if is_known { spent / KNOWN } else { spent };
        self.strangers = match is_known {
            true => self.strangers.saturating_sub(1),
            false => self.strangers.saturating_add(1).min(2 * MOSTLY),
        };
        // nobody waits behind all that strangers sent before they were known for it
        self.waiting.truncate(self.crowd());
        let beyond = charged.saturating_sub(self.credit);
        // what was worked on while nobody used the tunnel is forgiven
        self.debt = self.debt.saturating_add(beyond).min(SAVED);
        self.credit = self.credit.saturating_sub(charged);
    }

    /// Returns when those that wait may be worked on; `None` when none waits.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let wait = if self.credit.is_zero() && self.in_use(now) {
            SAVED
        } else {
            Duration::ZERO
        };
        let is_idle = self.proven.is_empty() && self.waiting.is_empty();
        (!is_idle).then(|| now + wait)
    }

    fn in_use(&self, now: Instant) -> bool {
        let since = |data| now.saturating_duration_since(data);
        self.data.is_some_and(|data| since(data) < IN_USE)
    }

    /// Whether so many wait that strangers are asked for cookies.
    pub(super) fn are_crowded(&self) -> bool {
        self.waiting.len() >= self.crowd()
    }

    fn crowd(&self) -> usize {
        match self.strangers >= MOSTLY {
            true => CROWD_OF_STRANGERS,
            false => CROWD,
        }
    }

    /// Keeps a message that was admitted for later; one that was admitted to a crowd showed a
    /// cookie.
    pub(super) fn put_off(&mut self, ends: Ends, admitted: &[u8], has_cookie: bool) {
        let queue = match has_cookie {
            true => &mut self.proven,
            false => &mut self.waiting,
        };
        let mut message = [0; LONGEST];
        if let Some(room) = message.get_mut(..admitted.len())
            && queue.len() < WAITING
        {
            room.copy_from_slice(admitted);
            queue.push_back((ends, message, admitted.len()));
        }
    }

    /// Gives the oldest message to `handle`, those with a cookie first, and returns its answer;
    /// `None` when none waits.
    pub(super) fn next<R>(&mut self, handle: impl FnOnce(Ends, &[u8]) -> R) -> Option<R> {
        let first = self.proven.pop_front();
        let (ends, message, len) = first.or_else(|| self.waiting.pop_front())?;
        Some(handle(ends, message.get(..len).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{
        CROWD, CROWD_OF_STRANGERS, Ends, Handshakes, LONGEST, MOSTLY, QUIET, SAVED, WAITING,
    };
    use crate::clock;

    const STEP: Duration = Duration::from_micros(100);

    fn from() -> Ends {
        ("192.0.2.1:9".parse().unwrap(), None)
    }

    /// Rounds of a millisecond in a tunnel in use, for a second, each message taking a tenth of
    /// one; returns how long handshakes were worked on.
    fn a_busy_second(is_known: bool) -> Duration {
        let mut now = clock::now();
        let mut handshakes = Handshakes::new(now);
        let mut spent = Duration::ZERO;
        for _ in 0..1000 {
            now += Duration::from_millis(1);
            handshakes.saw_data(now);
            handshakes.earn(now);
            let mut at = now;
            while handshakes.may_go_on(now, at) && at < now + STEP * 10 {
                handshakes.took(STEP, is_known);
                at += STEP;
            }
            spent += at - now;
        }
        spent
    }

    #[test]
    fn messages_wait_in_their_order() {
        let mut handshakes = Handshakes::new(clock::now());
        assert_eq!(handshakes.due(clock::now()), None);
        for datagram in [&[1; LONGEST][..], &[2; 92], &[1; LONGEST + 1]] {
            handshakes.put_off(from(), datagram, false);
        }
        handshakes.put_off(from(), &[3; 92], true);
        let mut order = Vec::new();
        while let Some(seen) = handshakes.next(|_, message| (message[0], message.len())) {
            order.push(seen);
        }
        assert_eq!(order, [(3, 92), (1, 148), (2, 92)], "with a cookie first");
    }

    #[test]
    fn a_storm_fills_the_queues_and_no_more() {
        let mut handshakes = Handshakes::new(clock::now());
        for count in 0..WAITING + 10 {
            assert_eq!(handshakes.are_crowded(), count >= CROWD);
            handshakes.put_off(from(), &[1; LONGEST], false);
        }
        for _ in 0..WAITING + 10 {
            handshakes.put_off(from(), &[1; LONGEST], true);
        }
        let mut count = 0;
        while handshakes.next(|_, _| ()).is_some() {
            count += 1;
        }
        assert_eq!(count, 2 * WAITING);
    }

    #[test]
    fn strangers_are_asked_for_cookies_sooner_than_devices_and_not_for_good() {
        let mut handshakes = Handshakes::new(clock::now());
        for _ in 0..CROWD - 1 {
            handshakes.put_off(from(), &[1; LONGEST], false);
            handshakes.took(STEP, true);
        }
        assert!(!handshakes.are_crowded(), "an office that comes back");
        for _ in 0..MOSTLY {
            assert_eq!(handshakes.waiting.len(), CROWD - 1);
            handshakes.took(STEP, false);
        }
        assert_eq!(handshakes.waiting.len(), CROWD_OF_STRANGERS);
        assert!(handshakes.are_crowded(), "a storm");
        for _ in 0..10 * MOSTLY {
            handshakes.took(STEP, false);
        }
        for _ in 0..=MOSTLY {
            handshakes.took(STEP, true);
        }
        assert!(!handshakes.are_crowded(), "devices again");
    }

    #[test]
    fn while_the_tunnel_is_in_use_strangers_get_a_fortieth_of_the_time_and_devices_half() {
        let percent = |spent: Duration| (spent.as_millis() + 5) / 10;
        assert!((2..=3).contains(&percent(a_busy_second(false))));
        assert!((45..=55).contains(&percent(a_busy_second(true))));
    }

    #[test]
    fn what_is_used_up_is_earned_back() {
        let now = clock::now();
        let mut handshakes = Handshakes::new(now);
        handshakes.put_off(from(), &[1; LONGEST], false);
        handshakes.saw_data(now);
        handshakes.took(SAVED, false);
        assert!(!handshakes.may_go_on(now, now));
        assert_eq!(handshakes.due(now), Some(now + SAVED));
        let later = now + SAVED;
        handshakes.earn(later);
        assert!(handshakes.may_go_on(later, later));
        assert_eq!(handshakes.due(later), Some(later));
    }

    #[test]
    fn while_nobody_uses_the_tunnel_they_get_all_of_it_in_small_parts() {
        let mut handshakes = Handshakes::new(clock::now());
        handshakes.put_off(from(), &[1; LONGEST], false);
        let data: Instant = clock::now();
        handshakes.saw_data(data);
        let now = data + Duration::from_millis(20);
        handshakes.took(SAVED, false);
        assert!(handshakes.may_go_on(now, now));
        assert!(!handshakes.may_go_on(now, now + QUIET));
        assert_eq!(handshakes.due(now), Some(now), "at once");
    }
}
