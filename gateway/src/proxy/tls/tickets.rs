//! The keys of session tickets: drawn anew every six hours, and never used after twelve, also where
//! nobody came in between.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::Error;
use rustls::crypto::aws_lc_rs;
use rustls::server::ProducesTickets;

/// How long a key makes tickets, in seconds; as long again it opens them.
const TURN: i64 = 6 * 3600;

/// Tickets of one profile. The library's own keys turn when somebody comes: after a week without
/// anybody it would open a ticket of a week ago.
pub(super) struct Tickets {
    keys: RwLock<Keys>,
    clock: fn() -> i64,
}

struct Keys {
    newest: Arc<dyn ProducesTickets>,
    older: Option<Arc<dyn ProducesTickets>>,
    since: i64,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    /// Draws the first key; `clock` tells the seconds since the UNIX epoch.
    ///
    /// # Errors
    /// Of the library, when there is no randomness.
    pub(super) fn new(clock: fn() -> i64) -> Result<Self, Error> {
        let keys = Keys {
            newest: aws_lc_rs::Ticketer::new()?,
            older: None,
            since: clock(),
        };
        Ok(Self {
            keys: RwLock::new(keys),
            clock,
        })
    }

    /// Returns the keys that count now, the newest first; none where no new one can be drawn.
    fn live(&self) -> Option<[Option<Arc<dyn ProducesTickets>>; 2]> {
        let now = (self.clock)();
        let fresh = |keys: &Keys| (0..TURN).contains(&now.saturating_sub(keys.since));
        let both = |keys: &Keys| [Some(Arc::clone(&keys.newest)), keys.older.clone()];
        let keys = self.keys.read();
        if fresh(&keys) {
            return Some(both(&keys));
        }
        drop(keys);
        let mut keys = self.keys.write();
        if !fresh(&keys) {
            let (since, age) = (keys.since, now.saturating_sub(keys.since));
            let newest = aws_lc_rs::Ticketer::new().ok()?;
            let before = std::mem::replace(&mut keys.newest, newest);
            // a clock that went back says nothing about an age
            let late = (TURN..2 * TURN).contains(&age);
            keys.older = late.then_some(before);
            // a key that nobody asked for in time is older than its first ticket
            keys.since = if late {
                since.saturating_add(TURN)
            } else {
                now
            };
        }
        Some(both(&keys))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(2 * TURN).unwrap_or(0)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let [newest, _] = self.live()?;
        newest?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let keys = self.live()?;
        keys.iter().flatten().find_map(|key| key.decrypt(cipher))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rustls::server::ProducesTickets;

    use super::{TURN, Tickets};

    thread_local! {
        static NOW: Cell<i64> = const { Cell::new(0) };
    }

    /// Tells at which of the times a ticket of the first moment opens.
    fn opens(times: &[i64]) -> Vec<bool> {
        NOW.set(1_790_000_000);
        let tickets = Tickets::new(|| NOW.get()).unwrap();
        let ticket = tickets.encrypt(b"who it was").unwrap();
        let at = |time: &i64| {
            NOW.set(1_790_000_000 + time);
            let opened = tickets.decrypt(&ticket);
            assert!(opened.as_ref().is_none_or(|plain| plain == b"who it was"));
            opened.is_some()
        };
        times.iter().map(at).collect()
    }

    #[test]
    fn a_ticket_opens_for_twelve_hours_at_most() {
        assert_eq!(opens(&[0, TURN - 1, TURN, 2 * TURN - 1]), [true; 4]);
        assert_eq!(opens(&[TURN, 2 * TURN]), [true, false]);
        assert_eq!(opens(&[2 * TURN - 1, 2 * TURN]), [true, false]);
        assert_eq!(opens(&[2 * TURN]), [false], "nobody came in between");
        assert_eq!(opens(&[7 * 24 * 3600]), [false]);
    }

    #[test]
    fn a_clock_that_goes_back_lengthens_nothing() {
        assert_eq!(opens(&[-1]), [false]);
        assert_eq!(opens(&[TURN, -TURN, 0]), [true, false, false]);
    }

    #[test]
    fn tickets_of_another_listener_do_not_open() {
        let clock = || 0;
        let (one, other) = (Tickets::new(clock).unwrap(), Tickets::new(clock).unwrap());
        let ticket = one.encrypt(b"plain").unwrap();
        assert!(one.decrypt(&ticket).is_some());
        assert!(other.decrypt(&ticket).is_none());
    }
}
