//! Throttling of sign-in: by source, by source and account, by account.

mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use zeroize::Zeroizing;

use self::table::{Counter, Key, Table};
use crate::ids::DeviceId;
use crate::limits::{SITE_FACTOR, Source};
use crate::secrets;
use crate::store::CounterRow;

/// The posts of one source come back in at most so many seconds; then its counter is void.
const POSTS_LIFE: i64 = 7200;
/// Code tries of an account before a quiet hour is asked for (RFC 4226 section 7.3).
const CODE_TRIES: i64 = 10;
const CODE_QUIET: i64 = 3600;
/// Failures in a row from unknown sources, or by one known device (NIST SP 800-63B-4 section 3.2.2).
const ACCOUNT_FAILURES: i64 = 100;
const DAY: i64 = 86_400;
/// Counters nobody touched for so long are forgotten.
const KEEP: i64 = 30 * 86_400;

/// The configurable figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Wrong tries of a (source, account) pair before it waits.
    pub(crate) failures: u32,
    /// How long such a pair waits.
    pub(crate) failure_wait: Duration,
    /// Sign-in posts of one source in a minute.
    pub(crate) source_posts_per_minute: u32,
    /// How many beyond the first may come at once.
    pub(crate) source_posts_burst: u32,
}

/// Says that a try was not evaluated and when the next may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Throttled {
    pub(crate) retry_after: Duration,
}

/// Who tries: the account, and where from.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    account: Key,
    pair: Key,
    code: Key,
    /// The budget of all failures in a row: the account's, or the known device's own.
    total: Key,
    known: bool,
}

impl Who {
    /// Tells whether the try comes by a device or browser of the account.
    pub(crate) fn is_known(&self) -> bool {
        self.known
    }
}

/// One counted try. It counts as failed unless it is undone.
#[derive(Debug)]
#[must_use]
pub(crate) struct Try {
    keys: Vec<(Kind, Key)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Pair,
    Account,
    Code,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Pair, Self::Account, Self::Code];

    fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Account => "account",
            Self::Code => "code",
        }
    }
}

/// The counters. Each try is counted before it is evaluated, so that n parallel tries count n.
///
/// All times are steady seconds. Keys are keyed hashes, the same for names that exist and names
/// that do not.
pub(crate) struct Lockout {
    limits: Limits,
    key: Zeroizing<[u8; 32]>,
    tables: Mutex<Tables>,
}

struct Tables {
    sources: Table,
    pairs: Table,
    accounts: Table,
    codes: Table,
}

impl Tables {
    fn of(&mut self, kind: Kind) -> &mut Table {
        match kind {
            Kind::Pair => &mut self.pairs,
            Kind::Account => &mut self.accounts,
            Kind::Code => &mut self.codes,
        }
    }
}

impl std::fmt::Debug for Lockout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lockout").finish_non_exhaustive()
    }
}

impl Lockout {
    /// Takes up the counters that were kept. Times that lie after `now` count as `now`.
    pub(crate) fn new(
        limits: Limits,
        key: Zeroizing<[u8; 32]>,
        rows: &[CounterRow],
        now: i64,
    ) -> Self {
        let wait = seconds(limits.failure_wait);
        let mut tables = Tables {
            sources: Table::fleeting(POSTS_LIFE),
            pairs: Table::kept(wait),
            accounts: Table::kept(KEEP),
            codes: Table::kept(CODE_QUIET),
        };
        for row in rows {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == row.kind);
            if let (Some(kind), Ok(key)) = (kind, Key::try_from(row.key.as_slice())) {
                tables.of(kind).load(key, row, now);
            }
        }
        Self {
            limits,
            key,
            tables: Mutex::new(tables),
        }
    }

    /// Names who tries. `known` is a device of that very account; it has a budget of its own.
    pub(crate) fn who(&self, account: &str, source: IpAddr, known: Option<DeviceId>) -> Who {
        let known = known.map(|device| device.to_string());
        self.who_by(account, source, known.as_deref())
    }

    /// As [`Lockout::who`], with the name of a device or browser of that very account.
    pub(crate) fn who_by(&self, account: &str, source: IpAddr, known: Option<&str>) -> Who {
        let origin = known.map_or_else(|| origin(source), str::to_owned);
        let scope = known.unwrap_or("outside");
        let all = self.hashed(&["account", account]);
        Who {
            account: all,
            pair: self.hashed(&["pair", &origin, account]),
            code: self.hashed(&["code", scope, account]),
            total: known.map_or(all, |known| self.hashed(&["account", known, account])),
            known: known.is_some(),
        }
    }

    /// Counts a post to any sign-in form.
    pub(crate) fn post(&self, source: IpAddr, now: i64) -> Result<(), Throttled> {
        let own = (self.hashed(&["source", &origin(source)]), 1);
        let site = Source::of(source).site().map(|site| {
            let key = self.hashed(&["site", &site.to_string()]);
            (key, i64::from(SITE_FACTOR))
        });
        let budgets = [Some(own), site].into_iter().flatten();
        let mut tables = self.tables.lock();
        let spent = budgets.map(|(key, factor)| {
            let count = self.spend(tables.sources.peek(key), factor, now)?;
            Ok((key, count))
        });
        for (key, count) in spent.collect::<Result<Vec<_>, _>>()? {
            *tables.sources.entry(key, now) = Counter {
                count,
                since: now,
                last: now,
            };
        }
        Ok(())
    }

    /// Tells what a counter of posts is after one more: when the budget is whole again, in milliseconds after `now`.
    ///
    /// `factor` is how much more than one source it has.
    fn spend(&self, counter: Option<&Counter>, factor: i64, now: i64) -> Result<i64, Throttled> {
        let per_minute = i64::from(self.limits.source_posts_per_minute.max(1));
        let each = 60_000 / per_minute.saturating_mul(factor);
        let burst = i64::from(self.limits.source_posts_burst).saturating_mul(factor);
        let burst = each.saturating_mul(burst).min((POSTS_LIFE - 60) * 1000);
        let ahead = counter.map_or(0, |counter| {
            let passed = now.saturating_sub(counter.since).saturating_mul(1000);
            counter.count.saturating_sub(passed).max(0)
        });
        if ahead > burst {
            return Err(throttled((ahead - burst).saturating_add(999) / 1000));
        }
        Ok(ahead.saturating_add(each))
    }

    /// Counts a password before it is compared.
    pub(crate) fn begin_password(&self, who: &Who, now: i64) -> Result<Try, Throttled> {
        let wait = seconds(self.limits.failure_wait);
        let pair = Rule {
            kind: Kind::Pair,
            key: who.pair,
            max: i64::from(self.limits.failures),
            quiet: wait,
            retry: None,
        };
        self.begin(pair, who, now)
    }

    /// Counts a code before it is compared: at sign-in, step-up and enrolment alike.
    pub(crate) fn begin_code(&self, who: &Who, now: i64) -> Result<Try, Throttled> {
        let code = Rule {
            kind: Kind::Code,
            key: who.code,
            max: CODE_TRIES,
            quiet: CODE_QUIET,
            retry: None,
        };
        self.begin(code, who, now)
    }

    /// Takes a try back that was right, or was not evaluated.
    pub(crate) fn undo(&self, tried: Try, now: i64) {
        let mut tables = self.tables.lock();
        for (kind, key) in tried.keys {
            tables.of(kind).take_back(key, now);
        }
    }

    /// Tells how long an account waits before the next try from a place nobody knows; what one source alone
    /// brought upon itself is not told. `None` if it does not wait.
    pub(crate) fn waits(&self, account: &str, now: i64) -> Option<Duration> {
        let total = self.hashed(&["account", account]);
        let code = self.hashed(&["code", "outside", account]);
        let tables = self.tables.lock();
        let left = |table: &Table, key: Key, max: i64, quiet: i64| {
            let counter = table.peek(key).filter(|counter| counter.count >= max)?;
            let left = counter.last.saturating_add(quiet).saturating_sub(now);
            u64::try_from(left).ok().filter(|left| *left > 0)
        };
        let total = left(&tables.accounts, total, ACCOUNT_FAILURES, KEEP);
        let code = left(&tables.codes, code, CODE_TRIES, CODE_QUIET);
        total.max(code).map(Duration::from_secs)
    }

    /// Tells how many tries of an account failed since the last whole proof, in this place and in those
    /// nobody knows; `None` below as many as make a pair wait.
    pub(crate) fn series(&self, who: &Who, now: i64) -> Option<i64> {
        let tables = self.tables.lock();
        let count = |key: Key| {
            let counter = tables.accounts.peek(key);
            let counter = counter.filter(|c| now.saturating_sub(c.last) < KEEP);
            counter.map_or(0, |counter| counter.count)
        };
        let own = if who.known { count(who.total) } else { 0 };
        let failed = count(who.account).saturating_add(own);
        (failed >= i64::from(self.limits.failures)).then_some(failed)
    }

    /// Forgets the failures of an account after a whole sign-in, or when an admin says so.
    pub(crate) fn clear(&self, who: &Who, now: i64) {
        let mut tables = self.tables.lock();
        tables.pairs.clear(who.pair, now);
        tables.codes.clear(who.code, now);
        tables.accounts.clear(who.account, now);
        tables.accounts.clear(who.total, now);
    }

    /// Takes the counters that changed since the last call.
    pub(crate) fn take_changed(&self) -> Vec<CounterRow> {
        let mut tables = self.tables.lock();
        let mut rows = Vec::new();
        for kind in Kind::ALL {
            rows.extend(tables.of(kind).take_changed(kind.name()));
        }
        rows
    }

    /// Puts back what [`Lockout::take_changed`] gave and could not be kept.
    pub(crate) fn put_back(&self, rows: &[CounterRow]) {
        let mut tables = self.tables.lock();
        for row in rows {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == row.kind);
            if let (Some(kind), Ok(key)) = (kind, Key::try_from(row.key.as_slice())) {
                tables.of(kind).changed(key);
            }
        }
    }

    /// The time before which kept counters mean nothing any more.
    pub(crate) fn stale_before(now: i64) -> i64 {
        now.saturating_sub(KEEP)
    }

    /// Checks and counts under one lock.
    fn begin(&self, first: Rule, who: &Who, now: i64) -> Result<Try, Throttled> {
        let total = Rule {
            kind: Kind::Account,
            key: who.total,
            max: ACCOUNT_FAILURES,
            // from unknown places only a known device, a reset or an admin helps
            quiet: if who.known { DAY } else { KEEP },
            retry: (!who.known).then(|| seconds(self.limits.failure_wait)),
        };
        let rules = [first, total];
        let mut tables = self.tables.lock();
        for rule in &rules {
            rule.check(tables.of(rule.kind), now)?;
        }
        for rule in &rules {
            tables.of(rule.kind).count(rule.key, now);
        }
        let keys = rules.iter().map(|rule| (rule.kind, rule.key)).collect();
        Ok(Try { keys })
    }

    fn hashed(&self, parts: &[&str]) -> Key {
        let mut framed: Vec<&[u8]> = Vec::with_capacity(parts.len() * 2);
        for part in parts {
            framed.push(part.as_bytes());
            // No part holds this byte, so no two lists look alike.
            framed.push(&[0xff]);
        }
        let hash = secrets::hmac(&self.key, &framed);
        let mut key = Key::default();
        for (to, from) in key.iter_mut().zip(hash) {
            *to = from;
        }
        key
    }
}

/// At most `max` tries until `quiet` seconds went by without one.
struct Rule {
    kind: Kind,
    key: Key,
    max: i64,
    quiet: i64,
    retry: Option<i64>,
}

impl Rule {
    fn check(&self, table: &mut Table, now: i64) -> Result<(), Throttled> {
        let counter = table.entry(self.key, now);
        let until = counter.last.saturating_add(self.quiet);
        if now >= until {
            counter.count = 0;
            counter.since = now;
        }
        if counter.count >= self.max {
            return Err(throttled(self.retry.unwrap_or(until - now)));
        }
        Ok(())
    }
}

fn throttled(secs: i64) -> Throttled {
    let secs = u64::try_from(secs.max(1)).unwrap_or(1);
    Throttled {
        retry_after: Duration::from_secs(secs),
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// What counts as one source: an IPv4 address, or the /64 of an IPv6 address.
fn origin(source: IpAddr) -> String {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}
