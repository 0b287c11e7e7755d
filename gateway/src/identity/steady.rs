//! Time that never runs backwards, for lifetimes and waits.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

/// UNIX seconds that follow the monotonic clock and, forwards only, the wall clock.
///
/// A wall clock that is set back lengthens no session and no wait; one that is set forward, or a
/// machine that slept, ends them at the earlier of both clocks.
#[derive(Debug)]
pub(crate) struct Steady {
    mono: fn() -> Instant,
    origin: Instant,
    /// Greatest value of "wall time minus monotonic time since `origin`".
    offset: AtomicI64,
}

impl Steady {
    /// Starts at `wall` UNIX seconds; `mono` reads the monotonic clock.
    pub(crate) fn new(wall: i64, mono: fn() -> Instant) -> Self {
        Self {
            mono,
            origin: mono(),
            offset: AtomicI64::new(wall),
        }
    }

    /// Returns the steady time, when the wall clock says `wall`.
    pub(crate) fn at(&self, wall: i64) -> i64 {
        self.at_mono(wall, (self.mono)())
    }

    fn at_mono(&self, wall: i64, mono: Instant) -> i64 {
        let run = self.run(mono);
        let seen = wall.saturating_sub(run);
        let before = self.offset.fetch_max(seen, Ordering::AcqRel);
        before.max(seen).saturating_add(run)
    }

    fn run(&self, mono: Instant) -> i64 {
        let run = mono.saturating_duration_since(self.origin).as_secs();
        i64::try_from(run).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Steady;
    use crate::clock;

    #[test]
    fn a_wall_clock_set_back_does_not_turn_time_back() {
        let steady = Steady::new(10_000, clock::now);
        let start = steady.origin;
        assert_eq!(steady.at_mono(10_000, start), 10_000);
        let later = start + Duration::from_secs(60);
        assert_eq!(steady.at_mono(6_460, later), 10_060);
    }

    #[test]
    fn a_wall_clock_set_forward_counts() {
        let steady = Steady::new(10_000, clock::now);
        let start = steady.origin;
        assert_eq!(steady.at_mono(13_600, start), 13_600);
        let later = start + Duration::from_secs(1);
        assert_eq!(steady.at_mono(10_001, later), 13_601);
    }
}
