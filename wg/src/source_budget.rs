//! How many handshake messages one outer source may send.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Messages a source may send at once; an office behind one address reconnects after a restart.
const BURST: u32 = 200;
/// One message is earned back in this time: 100 a second cost about 3 % of a core.
const EARN: Duration = Duration::from_millis(10);
/// Cookies that a source may have in each window: in a storm from a hundred addresses there are
/// some left for a device at another one, and an office behind one address gets ten a second.
const COOKIES: u8 = 2;
const WINDOW: Duration = Duration::from_millis(200);
/// Sources remembered at once (about 600 kB).
const SOURCES: usize = 8192;
/// Messages a second shared by all sources that do not fit in the table. The front limiter's
/// cookies take over long before.
const OVERFLOW: u32 = 5000;

/// Token buckets per IPv4 address and per IPv6 /64.
#[derive(Debug)]
pub(crate) struct SourceBudget {
    sources: HashMap<u128, Bucket>,
    overflow: u32,
    swept: Instant,
}

#[derive(Debug)]
struct Bucket {
    spent: u32,
    since: Instant,
    /// Cookies in the window that began then.
    cookies: (u8, Instant),
}

impl SourceBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            sources: HashMap::new(),
            overflow: 0,
            swept: now,
        }
    }

    /// Takes one message of `source` from its budget.
    pub(crate) fn spend(&mut self, source: IpAddr, now: Instant) -> bool {
        self.sweep(now);
        let key = key(source);
        let full = self.sources.len() >= SOURCES;
        if full && !self.sources.contains_key(&key) {
            self.overflow += 1;
            return self.overflow <= OVERFLOW;
        }
        let bucket = self.sources.entry(key).or_insert(Bucket {
            spent: 0,
            since: now,
            cookies: (0, now),
        });
        bucket.earn(now);
        if bucket.spent >= BURST {
            return false;
        }
        bucket.spent += 1;
        true
    }

    /// Whether `source` may have another cookie now. Who does not fit in the table may; there is a
    /// limit for all.
    pub(crate) fn may_have_cookie(&self, source: IpAddr, now: Instant) -> bool {
        let bucket = self.sources.get(&key(source));
        bucket.is_none_or(|bucket| bucket.cookies_at(now) < COOKIES)
    }

    /// Notes that `source` was sent a cookie.
    pub(crate) fn note_cookie(&mut self, source: IpAddr, now: Instant) {
        let Some(bucket) = self.sources.get_mut(&key(source)) else {
            return;
        };
        let count = bucket.cookies_at(now);
        if count == 0 {
            bucket.cookies.1 = now;
        }
        bucket.cookies.0 = count.saturating_add(1);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Forgets, once a second, the sources that have earned everything back.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < Duration::from_secs(1) {
            return;
        }
        self.swept = now;
        self.overflow = 0;
        self.sources.retain(|_, bucket| {
            bucket.earn(now);
            bucket.spent > 0
        });
    }
}

impl Bucket {
    fn cookies_at(&self, now: Instant) -> u8 {
        let (count, began) = self.cookies;
        if now.saturating_duration_since(began) < WINDOW {
            count
        } else {
            0
        }
    }

    fn earn(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since).as_millis() / EARN.as_millis();
        let earned = u32::try_from(elapsed).unwrap_or(u32::MAX);
        if earned >= self.spent {
            self.spent = 0;
            self.since = now;
        } else if earned > 0 {
            self.spent -= earned;
            self.since += EARN * earned;
        }
    }
}

/// The address of an IPv4 source, the first 64 bits of an IPv6 one.
fn key(source: IpAddr) -> u128 {
    match source.to_canonical() {
        IpAddr::V4(a) => u128::from(a.to_ipv6_mapped()),
        IpAddr::V6(a) => u128::from(a) >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::epoch;

    #[test]
    fn a_source_beyond_its_budget_is_refused_and_its_neighbour_is_not() {
        let now = epoch();
        let mut budget = SourceBudget::new(now);
        let (loud, calm) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let passed = (0..1000).filter(|_| budget.spend(loud, now)).count();
        assert_eq!(passed, 200);
        assert!(budget.spend(calm, now));
        let later = now + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| budget.spend(loud, later)).count(), 100);
    }

    #[test]
    fn a_source_has_two_cookies_in_a_window_and_its_neighbour_has_its_own() {
        let now = epoch();
        let mut budget = SourceBudget::new(now);
        let (loud, calm) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut given = |from, now| {
            budget.spend(from, now);
            let may = budget.may_have_cookie(from, now);
            if may {
                budget.note_cookie(from, now);
            }
            may
        };
        assert_eq!(
            [(); 4].map(|()| given(loud, now)),
            [true, true, false, false]
        );
        assert!(given(calm, now));
        assert!(!given(loud, now + WINDOW / 2));
        assert_eq!(
            [(); 3].map(|()| given(loud, now + WINDOW)),
            [true, true, false]
        );
    }

    #[test]
    fn one_64_is_one_source_and_the_next_is_another() {
        let now = epoch();
        let mut budget = SourceBudget::new(now);
        let spent = (0..300_u16)
            .filter(|n| budget.spend(format!("2001:db8::{n:x}").parse().unwrap(), now))
            .count();
        assert_eq!(spent, 200);
        assert!(budget.spend("2001:db8:0:1::1".parse().unwrap(), now));
    }

    #[test]
    fn the_table_is_bounded_and_heals() {
        let now = epoch();
        let mut budget = SourceBudget::new(now);
        let passed = (0..20_000_u32)
            .filter(|n| budget.spend(IpAddr::V4((*n).into()), now))
            .count();
        assert_eq!(passed, SOURCES + 5000);
        assert_eq!(budget.sources.len(), SOURCES);
        let later = now + Duration::from_secs(1);
        assert!(budget.spend(IpAddr::V4(19_999.into()), later));
        assert!(budget.sources.len() < 10);
    }
}
