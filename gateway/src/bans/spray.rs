//! Spraying: few failures at each of many accounts, from wherever they come.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::Source;

/// Accounts in mind at a time.
const ACCOUNTS_MAX: usize = 10_000;
/// Names that do not exist, as one source is counted for them.
const UNKNOWN_OF_ONE: u8 = 5;

/// An account somebody failed at; names that do not exist are not kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Account {
    Named(Arc<str>),
    Unknown(Option<Source>, u8),
}

/// Counts the accounts with failures over all sources.
pub(super) struct Spray {
    most: usize,
    window: i64,
    seen: HashSet<Account>,
    order: VecDeque<(i64, Account)>,
    quiet_until: i64,
}

impl Spray {
    pub(super) fn new(most: usize, window: Duration) -> Self {
        Self {
            most: most.min(ACCOUNTS_MAX),
            window: i64::try_from(window.as_secs()).unwrap_or(i64::MAX),
            seen: HashSet::new(),
            order: VecDeque::new(),
            quiet_until: i64::MIN,
        }
    }

    /// Notes a failure; returns how many accounts there are when that is an alarm, once a window.
    pub(super) fn failed(
        &mut self,
        user: Option<&Arc<str>>,
        source: Option<IpAddr>,
        now: i64,
    ) -> Option<usize> {
        self.forget(now);
        let account = match user {
            Some(user) => Some(Account::Named(Arc::clone(user))),
            None => self.unknown(source.map(Source::of)),
        };
        if let Some(account) = account.filter(|a| !self.seen.contains(a))
            && self.seen.len() < ACCOUNTS_MAX
        {
            self.seen.insert(account.clone());
            self.order.push_back((now, account));
        }
        if self.seen.len() < self.most || now < self.quiet_until {
            return None;
        }
        self.quiet_until = now.saturating_add(self.window);
        Some(self.seen.len())
    }

    /// Counts the accounts with failures in the last window.
    pub(super) fn accounts(&mut self, now: i64) -> usize {
        self.forget(now);
        self.seen.len()
    }

    fn unknown(&self, source: Option<Source>) -> Option<Account> {
        let mut places = (0..UNKNOWN_OF_ONE).map(|n| Account::Unknown(source, n));
        places.find(|place| !self.seen.contains(place))
    }

    fn forget(&mut self, now: i64) {
        while let Some((at, account)) = self.order.front() {
            if now.saturating_sub(*at) < self.window {
                return;
            }
            self.seen.remove(account);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn spray() -> Spray {
        Spray::new(20, Duration::from_secs(600))
    }

    fn name(n: u32) -> Arc<str> {
        format!("user{n}").into()
    }

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn twenty_accounts_with_one_failure_each_raise_one_alarm() {
        let mut spray = spray();
        let alarms = (0..100).filter_map(|n| spray.failed(Some(&name(n)), Some(ip(n)), NOW));
        assert_eq!(alarms.collect::<Vec<_>>(), [20]);
        assert_eq!(spray.accounts(NOW + 599), 100);
        assert_eq!(spray.failed(Some(&name(0)), Some(ip(0)), NOW + 599), None);
        assert_eq!(spray.accounts(NOW + 600), 0);
        let again = (0..20).filter_map(|n| spray.failed(Some(&name(n)), Some(ip(n)), NOW + 600));
        assert_eq!(again.count(), 1);
    }

    #[test]
    fn one_account_with_many_failures_is_not_spraying() {
        let mut spray = spray();
        let alarms = (0..1000).filter_map(|n| spray.failed(Some(&name(1)), Some(ip(n)), NOW));
        assert_eq!(alarms.count(), 0);
        // nor is one source that tries names that do not exist
        let alarms = (0..1000).filter_map(|_| spray.failed(None, Some(ip(1)), NOW));
        assert_eq!(alarms.count(), 0);
    }

    #[test]
    fn names_that_do_not_exist_count_over_many_sources() {
        let mut spray = spray();
        let alarms = (0..1000).filter_map(|n| spray.failed(None, Some(ip(n)), NOW));
        assert_eq!(alarms.count(), 1);
    }

    #[test]
    fn failures_that_lie_apart_do_not_count_together() {
        let mut spray = spray();
        for n in 0..100 {
            let at = NOW + i64::from(n) * 40;
            assert_eq!(spray.failed(Some(&name(n)), Some(ip(n)), at), None, "{n}");
        }
    }

    #[test]
    fn what_is_in_mind_is_bounded() {
        let mut spray = spray();
        for n in 0..20_000 {
            spray.failed(Some(&name(n)), Some(ip(n)), NOW);
        }
        assert_eq!(spray.order.len(), ACCOUNTS_MAX);
    }
}
