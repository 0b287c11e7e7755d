//! How long a client's connection lasts: how many requests it carries, how old it gets, how long it may carry none.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::clock;

/// How long a connection may carry no request. Source: security.md R-DO-03, R-DO-07.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// The age from which on the next request of a connection is its last. Source: security.md R-DO-03.
const AGE: Duration = Duration::from_secs(3600);
/// How soon a connection that carries requests is looked at again.
const AGAIN: Duration = Duration::from_secs(6);

/// What a connection has carried so far. It never ends what it carries: it tells when it should take no more.
pub(crate) struct Life {
    opened: Instant,
    requests: AtomicU32,
    open: AtomicUsize,
    /// Since when nothing is open, in milliseconds after `opened`.
    quiet: AtomicU64,
}

impl Life {
    /// Begins one.
    pub(super) fn new(opened: Instant) -> Self {
        Self {
            opened,
            requests: AtomicU32::new(0),
            open: AtomicUsize::new(0),
            quiet: AtomicU64::new(0),
        }
    }

    /// Counts a request; tells whether it is to be the last one, of at most so many.
    pub(crate) fn is_last(&self, most: u32, now: Instant) -> bool {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        before.saturating_add(1) >= most || now.saturating_duration_since(self.opened) >= AGE
    }

    /// Says that a request is under way, until what this returns is dropped.
    pub(crate) fn enter(&self) -> Open<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    /// Waits until nothing was under way for so long.
    pub(super) async fn idle(&self, limit: Duration) {
        while let Some(wait) = self.wait(clock::now(), limit) {
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns how soon to look again; `None` where nothing was under way for so long.
    fn wait(&self, now: Instant, limit: Duration) -> Option<Duration> {
        if self.open.load(Ordering::Relaxed) > 0 {
            return Some(AGAIN.min(limit));
        }
        let quiet = Duration::from_millis(self.quiet.load(Ordering::Relaxed));
        let due = quiet.saturating_add(limit);
        let left = due.saturating_sub(now.saturating_duration_since(self.opened));
        (!left.is_zero()).then_some(left)
    }

    fn leave(&self, now: Instant) {
        let age = now.saturating_duration_since(self.opened);
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        // before it is counted out, so that nobody sees an idle one with an old time
        self.quiet.fetch_max(age, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Release);
    }
}

/// A request under way.
pub(crate) struct Open<'a>(&'a Life);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.leave(clock::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::{AGAIN, AGE, IDLE, Life};
    use crate::clock;

    #[test]
    fn the_thousandth_request_is_the_last_and_the_one_before_is_not() {
        let now = clock::now();
        let life = Life::new(now);
        let last: Vec<bool> = (0..1000).map(|_| life.is_last(1000, now)).collect();
        assert_eq!((last.len(), last.iter().filter(|l| **l).count()), (1000, 1));
        assert_eq!(last.last(), Some(&true));
        assert!(life.is_last(1000, now), "and so is what comes behind it");
    }

    #[test]
    fn the_first_request_after_an_hour_is_the_last_and_one_before_is_not() {
        let now = clock::now();
        let life = Life::new(now);
        assert!(!life.is_last(1000, now));
        assert!(!life.is_last(1000, now + AGE - Duration::from_millis(1)));
        assert!(life.is_last(1000, now + AGE));
    }

    #[test]
    fn a_connection_is_idle_a_minute_after_its_last_request_ended_and_never_while_one_is_open() {
        let start = clock::now();
        let life = Life::new(start);
        let at = |secs| life.wait(start + Duration::from_secs(secs), IDLE);
        assert_eq!(at(0), Some(IDLE), "none came yet");
        assert_eq!(at(60), None);
        life.open.fetch_add(1, Ordering::Relaxed);
        assert_eq!(at(60), Some(AGAIN), "one is open");
        assert_eq!(at(100_000), Some(AGAIN), "for as long as it likes");
        life.leave(start + Duration::from_secs(1000));
        assert_eq!(at(1001), Some(Duration::from_secs(59)));
        assert_eq!(at(1060), None);
    }
}
