//! How many frames that ask for work and carry nothing a client of HTTP/2 may send.
//!
//! Source: RFC 9113 section 10.5; security.md R-DO-10.

use std::time::Instant;

/// Such frames that may come at once...
const BURST: u32 = 1000;
/// ...and how many a second after that. A browser sends some a minute, a client of gRPC one for each measurement of its
/// line.
const RATE: u64 = 100;

const DATA: u8 = 0;
const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
/// `END_STREAM` of DATA.
const ENDS: u8 = 0x1;

/// What is left of them.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    since: Option<Instant>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            left: BURST,
            since: None,
        }
    }

    /// Takes a frame of the budget; `false` where none is left.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let millis = now.saturating_duration_since(since).as_millis();
        let earned = u64::try_from(millis)
            .unwrap_or(u64::MAX)
            .saturating_mul(RATE)
            / 1000;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(BURST);
            self.left = self.left.saturating_add(earned).min(BURST);
            self.since = Some(now);
        }
        let fits = self.left > 0;
        self.left = self.left.saturating_sub(1);
        fits
    }
}

/// Tells whether a frame asks for work and carries nothing.
pub(super) fn counts(kind: u8, flags: u8, length: u32) -> bool {
    match kind {
        DATA => length == 0 && flags & ENDS == 0,
        // also those that acknowledge: of a client in order there are as few as there are of ours
        PRIORITY | SETTINGS | PING => true,
        known => known > CONTINUATION,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BURST, Budget, counts};
    use crate::clock;

    #[test]
    fn the_budget_ends_and_fills_up_again_to_its_bound() {
        let (mut budget, now) = (Budget::new(), clock::now());
        assert!((0..BURST).all(|_| budget.spend(now)));
        assert!(!budget.spend(now));
        let later = |secs| now + Duration::from_secs(secs);
        assert!((0..100).all(|_| budget.spend(later(1))));
        assert!(!budget.spend(later(1)));
        assert!((0..BURST).all(|_| budget.spend(later(1000))));
        assert!(!budget.spend(later(1000)));
    }

    #[test]
    fn a_client_within_the_rate_never_runs_out() {
        let (mut budget, now) = (Budget::new(), clock::now());
        assert!((0..100_000).all(|at| budget.spend(now + Duration::from_millis(at * 10))));
    }

    #[test]
    fn what_carries_something_or_ends_something_costs_nothing() {
        for (kind, flags, length, costs) in [
            (0, 0, 0, true),
            (0, 1, 0, false),
            (0, 0, 1, false),
            (1, 4, 30, false),
            (2, 0, 5, true),
            (3, 0, 4, false),
            (4, 0, 6, true),
            (4, 1, 0, true),
            (6, 0, 8, true),
            (6, 1, 8, true),
            (8, 0, 4, false),
            (9, 4, 30, false),
            (11, 0, 9, true),
        ] {
            assert_eq!(
                counts(kind, flags, length),
                costs,
                "{kind} {flags} {length}"
            );
        }
    }
}
