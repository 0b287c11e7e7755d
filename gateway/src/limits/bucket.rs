//! One tier's budgets: governor's cell rate algorithm with our time and our table.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, Reference as _};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter};

use super::Rate;
use super::table::Table;

/// Longest time a budget takes to fill; keeps the arithmetic in nanoseconds far from overflow.
const FILL_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What is left of a budget after a request that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Requests a full budget allows at once.
    pub(crate) limit: u32,
    /// Requests that may still come at once.
    pub(crate) remaining: u32,
    /// Seconds until the budget is full again, rounded up.
    pub(crate) reset: u64,
}

/// A refusal, and when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rate limited for {} s", self.seconds())]
pub(crate) struct RetryAfter {
    /// Requests a full budget allows at once.
    pub(crate) limit: u32,
    /// Time until the next request can pass.
    pub(crate) wait: Duration,
    /// Seconds until the budget is full again, rounded up.
    pub(crate) reset: u64,
}

impl RetryAfter {
    /// Returns the value of `Retry-After`: whole seconds, rounded up, at least 1.
    ///
    /// Source: [RFC 9110 section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)
    pub(crate) fn seconds(&self) -> u64 {
        ceil(self.wait).max(1)
    }
}

/// The time that callers pass in, as governor wants to read it.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    start: Instant,
    since: Arc<AtomicU64>,
}

impl Passed {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            since: Arc::default(),
        }
    }

    /// Sets the time; an earlier one than before changes nothing.
    pub(super) fn pass(&self, now: Instant) {
        let since = now.saturating_duration_since(self.start).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX >> 1);
        self.since.fetch_max(since, Ordering::Relaxed);
    }
}

impl Clock for Passed {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.since.load(Ordering::Relaxed))
    }
}

/// The budgets of one tier.
pub(super) struct Bucket<K: Hash + Eq + Clone> {
    /// `None` for a tier that lets nothing pass.
    limiter: Option<RateLimiter<K, Table<K>, Passed, StateInformationMiddleware>>,
    clock: Passed,
    quota: Quota,
    per: Duration,
}

impl<K: Hash + Eq + Clone> Bucket<K> {
    /// Makes empty budgets; `keys` counts the keys of all buckets that share `keys_max`.
    pub(super) fn new(rate: &Rate, clock: Passed, keys_max: usize, keys: Arc<AtomicUsize>) -> Self {
        let quota = quota(rate);
        let limiter = (rate.count > 0)
            .then(|| RateLimiter::new(quota, Table::new(keys_max, keys), clock.clone()));
        Self {
            limiter,
            clock,
            quota,
            per: rate.per,
        }
    }

    pub(super) fn take(&self, key: &K) -> Result<Budget, RetryAfter> {
        let Some(limiter) = &self.limiter else {
            return Err(RetryAfter {
                limit: 0,
                wait: self.per,
                reset: ceil(self.per),
            });
        };
        let limit = self.quota.burst_size().get();
        match limiter.check_key(key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Ok(Budget {
                    limit,
                    remaining,
                    reset: self.fill(limit.saturating_sub(remaining)),
                })
            }
            Err(not_until) => {
                let earliest = not_until.earliest_possible();
                Err(RetryAfter {
                    limit,
                    wait: earliest.duration_since(self.clock.now()).into(),
                    reset: self.fill(limit),
                })
            }
        }
    }

    pub(super) fn sweep(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.limiter.as_ref().map_or(0, RateLimiter::len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.limiter.as_ref().is_none_or(RateLimiter::is_empty)
    }

    /// Seconds in which `tokens` come back, rounded up.
    fn fill(&self, tokens: u32) -> u64 {
        ceil(self.quota.replenish_interval().saturating_mul(tokens))
    }
}

/// Turns a tier into governor's terms: the first request and `burst` more pass at once.
fn quota(rate: &Rate) -> Quota {
    let interval = (rate.per / rate.count.max(1)).clamp(Duration::from_nanos(1), FILL_MAX);
    let most = u32::try_from(FILL_MAX.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX);
    let burst = NonZeroU32::MIN
        .saturating_add(rate.burst)
        .min(NonZeroU32::MIN.saturating_add(most - 1));
    Quota::with_period(interval)
        .unwrap_or(Quota::per_second(NonZeroU32::MIN))
        .allow_burst(burst)
}

fn ceil(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
