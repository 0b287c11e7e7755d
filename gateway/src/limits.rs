//! Rate limits: one budget a source before sign-in, one a person and tier after it.
//!
//! Time is an argument everywhere; it never runs backwards for a limit, whatever order calls
//! come in.

mod bucket;
mod per_source;
mod source;
mod table;
mod tally;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use self::bucket::{Bucket, Passed};

pub(crate) use self::bucket::{Budget, RetryAfter};
use self::per_source::PerSource;
pub(crate) use self::source::{SITE_FACTOR, Source};
pub(crate) use self::tally::{BySource, Tally};

/// Requests a second one source may make before anything is known about it.
const SOURCE_PER_SECOND: u32 = 200;
/// How many of them may come at once beyond the first.
const SOURCE_BURST: u32 = 400;
/// Handshakes of TLS a second that one source may begin where nobody is signed in from it.
const HANDSHAKES_PER_SECOND: u32 = 100;
/// How many of them may come at once beyond the first.
const HANDSHAKES_BURST: u32 = 400;
/// Keys that have a budget of their own; further ones share budgets until the next sweep.
const KEYS_MAX: usize = 100_000;

/// A tier of the policy: `count` requests per `per`, and `burst` more at once beyond the first.
///
/// "5/m burst 5" lets six pass at once and one more every twelve seconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rate {
    pub(crate) name: Arc<str>,
    /// 0 refuses everything.
    pub(crate) count: u32,
    pub(crate) per: Duration,
    pub(crate) burst: u32,
}

impl From<&policy::Rate> for Rate {
    fn from(rate: &policy::Rate) -> Self {
        Self {
            name: Arc::clone(&rate.name),
            count: rate.count,
            per: rate.per,
            burst: rate.burst,
        }
    }
}

impl Rate {
    /// The budget of handshakes of a source. Source: security.md R-DO-05.
    fn of_handshakes() -> Self {
        Self {
            name: "handshakes".into(),
            count: HANDSHAKES_PER_SECOND,
            per: Duration::from_secs(1),
            burst: HANDSHAKES_BURST,
        }
    }

    /// The default budget of a source.
    pub(crate) fn of_source() -> Self {
        Self {
            name: "source".into(),
            count: SOURCE_PER_SECOND,
            per: Duration::from_secs(1),
            burst: SOURCE_BURST,
        }
    }
}

/// Whose budget a request takes from; the same over both doors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Person(Arc<str>),
    Source(Source),
}

impl Key {
    /// The person if one is signed in, else the source.
    pub(crate) fn of(person: Option<&Arc<str>>, source: IpAddr) -> Self {
        match person {
            Some(name) => Self::Person(Arc::clone(name)),
            None => Self::Source(Source::of(source)),
        }
    }
}

/// All budgets of the gateway. Whoever owns it calls `sweep` once a minute.
pub(crate) struct Limits {
    clock: Passed,
    sources: PerSource,
    handshakes: PerSource,
    /// By the whole tier: a changed tier starts afresh, an unchanged one outlives reloads.
    tiers: RwLock<HashMap<Rate, Arc<Bucket<Key>>>>,
    tier_keys: Arc<AtomicUsize>,
    keys_max: usize,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits")
            .field("keys", &self.keys())
            .finish()
    }
}

impl Limits {
    /// Makes the limits; `source` is the budget of each source.
    pub(crate) fn new(source: &Rate, now: Instant) -> Self {
        Self::bounded(source, KEYS_MAX, now)
    }

    fn bounded(source: &Rate, keys_max: usize, now: Instant) -> Self {
        let clock = Passed::new(now);
        Self {
            sources: PerSource::new(source, &clock, keys_max),
            handshakes: PerSource::new(&Rate::of_handshakes(), &clock, keys_max),
            clock,
            tiers: RwLock::default(),
            tier_keys: Arc::default(),
            keys_max,
        }
    }

    /// Takes one request from the budget of the source of `ip`, and from that of its site.
    ///
    /// # Errors
    /// When either budget is used up.
    pub(crate) fn source(&self, ip: IpAddr, now: Instant) -> Result<(), RetryAfter> {
        self.clock.pass(now);
        self.sources.take(Source::of(ip))
    }

    /// Takes one handshake of TLS from the budget of the source of `ip`, and from that of its site.
    ///
    /// # Errors
    /// When either budget is used up.
    pub(crate) fn handshake(&self, ip: IpAddr, now: Instant) -> Result<(), RetryAfter> {
        self.clock.pass(now);
        self.handshakes.take(Source::of(ip))
    }

    /// Takes one request from the budget that `key` has in a tier.
    ///
    /// # Errors
    /// When the budget is used up.
    pub(crate) fn rate(&self, key: &Key, rate: &Rate, now: Instant) -> Result<Budget, RetryAfter> {
        self.clock.pass(now);
        let known = self.tiers.read().get(rate).cloned();
        known.unwrap_or_else(|| self.tier(rate)).take(key)
    }

    /// Forgets keys whose budget is whole again, and tiers without keys.
    pub(crate) fn sweep(&self, now: Instant) {
        self.clock.pass(now);
        self.sources.sweep();
        self.handshakes.sweep();
        self.tiers.write().retain(|_, bucket| {
            bucket.sweep();
            !bucket.is_empty() || Arc::strong_count(bucket) > 1
        });
    }

    /// Returns how many keys have a budget of their own.
    pub(crate) fn keys(&self) -> usize {
        self.sources.len() + self.handshakes.len() + self.tier_keys.load(Ordering::Relaxed)
    }

    fn tier(&self, rate: &Rate) -> Arc<Bucket<Key>> {
        let make = || {
            let keys = Arc::clone(&self.tier_keys);
            Arc::new(Bucket::new(rate, self.clock.clone(), self.keys_max, keys))
        };
        Arc::clone(self.tiers.write().entry(rate.clone()).or_insert_with(make))
    }
}

#[cfg(test)]
mod tests;
