//! The high-water mark of handshake timestamps of one peer.

use std::time::Duration;

/// TAI64N label of the Unix epoch, with the leap seconds `boringtun` uses.
const TAI64_BASE: u64 = (1 << 62) + 37;
/// A stamp further ahead of the gateway's clock than this is of a device with a wrong clock.
const FUTURE: Duration = Duration::from_hours(24);

/// A TAI64N timestamp; the bytes compare as the time does.
pub(crate) type Stamp = [u8; 12];

/// Remembers which timestamps were accepted.
///
/// Stamps up to a day ahead of the gateway and stamps beyond that are compared with marks of
/// their own, so that a device whose clock was 50 years ahead is heard again once it is right,
/// and neither kind can be replayed. The greatest stamp alone is kept over a restart; if that is
/// one of the far kind, the time of the first look stands in for the other mark.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    greatest: Stamp,
    near: Option<Stamp>,
}

/// Whether an accepted stamp was plausible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    Plausible,
    Future,
}

impl Mark {
    /// Starts from what was kept.
    pub(crate) fn new(kept: Option<Stamp>) -> Self {
        Self {
            greatest: kept.unwrap_or_default(),
            near: None,
        }
    }

    /// Raises the mark to one kept elsewhere.
    pub(crate) fn raise(&mut self, kept: Option<Stamp>) {
        self.greatest = self.greatest.max(kept.unwrap_or_default());
    }

    /// Accepts `stamp` if it is newer than all accepted before; `wall` is the time since the
    /// Unix epoch.
    pub(crate) fn accept(&mut self, stamp: Stamp, wall: Duration) -> Option<Clock> {
        let clock = self.check(stamp, wall)?;
        let near = self.near(wall);
        self.near = Some(match clock {
            Clock::Plausible => stamp,
            Clock::Future => near,
        });
        self.greatest = self.greatest.max(stamp);
        Some(clock)
    }

    /// Says whether `accept` would take `stamp`.
    pub(crate) fn check(&mut self, stamp: Stamp, wall: Duration) -> Option<Clock> {
        let near = self.near(wall);
        self.near = Some(near);
        let clock = if stamp > label(wall + FUTURE) {
            Clock::Future
        } else {
            Clock::Plausible
        };
        let newer = match clock {
            Clock::Future => stamp > self.greatest,
            Clock::Plausible => stamp > near,
        };
        newer.then_some(clock)
    }

    /// Returns what to keep over a restart.
    pub(crate) fn greatest(&self) -> Stamp {
        self.greatest
    }

    fn near(&self, wall: Duration) -> Stamp {
        let plausible = self.greatest <= label(wall + FUTURE);
        match self.near {
            Some(near) if !plausible => near,
            None if !plausible => label(wall),
            Some(_) | None => self.greatest,
        }
    }
}

/// The TAI64N label of a time since the Unix epoch.
fn label(wall: Duration) -> Stamp {
    let mut stamp = [0; 12];
    let seconds = TAI64_BASE.saturating_add(wall.as_secs());
    stamp[..8].copy_from_slice(&seconds.to_be_bytes());
    stamp[8..].copy_from_slice(&wall.subsec_nanos().to_be_bytes());
    stamp
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const SECOND: Duration = Duration::from_secs(1);
    const YEARS: Duration = Duration::from_secs(50 * 365 * 86_400);

    #[test]
    fn a_stamp_is_accepted_once_and_an_older_one_never() {
        let mut mark = Mark::new(None);
        assert_eq!(mark.accept(label(NOW), NOW), Some(Clock::Plausible));
        assert_eq!(mark.accept(label(NOW), NOW), None);
        assert_eq!(mark.accept(label(NOW - SECOND), NOW), None);
        assert_eq!(
            mark.accept(label(NOW + SECOND), NOW),
            Some(Clock::Plausible)
        );
    }

    #[test]
    fn a_kept_mark_refuses_a_replay_after_a_restart() {
        let mut mark = Mark::new(Some(label(NOW)));
        assert_eq!(mark.accept(label(NOW), NOW + SECOND), None);
        assert!(mark.accept(label(NOW + SECOND), NOW + SECOND).is_some());
    }

    #[test]
    fn a_clock_50_years_ahead_does_not_lock_the_device_out() {
        let mut mark = Mark::new(None);
        assert!(mark.accept(label(NOW), NOW).is_some());
        let far = label(NOW + YEARS);
        assert_eq!(mark.accept(far, NOW), Some(Clock::Future));
        assert_eq!(mark.accept(far, NOW), None);
        assert!(mark.accept(label(NOW + SECOND), NOW + SECOND).is_some());
        assert_eq!(mark.accept(label(NOW + SECOND), NOW + SECOND), None);
        assert_eq!(mark.accept(far, NOW + SECOND), None);

        let mut restarted = Mark::new(Some(mark.greatest()));
        let later = NOW + SECOND * 60;
        assert_eq!(restarted.accept(far, later), None);
        assert_eq!(restarted.accept(label(NOW + SECOND), later), None);
        assert!(
            restarted
                .accept(label(later + SECOND), later + SECOND)
                .is_some()
        );
    }

    #[test]
    fn a_gateway_clock_that_was_behind_heals() {
        let mut mark = Mark::new(None);
        let boot = Duration::from_secs(1000);
        assert_eq!(mark.accept(label(NOW), boot), Some(Clock::Future));
        assert_eq!(mark.accept(label(NOW), NOW), None);
        assert_eq!(
            mark.accept(label(NOW + SECOND), NOW),
            Some(Clock::Plausible)
        );
    }
}
