//! When a certificate is ordered, at which directory, and when not: the plan of renewals, in the
//! caller's time.

mod budget;
mod cause;
mod dice;
mod entry;
mod guard;
mod memory;

use std::collections::{BTreeMap, BTreeSet};

pub use budget::Budget;
pub use cause::Cause;
pub use guard::Limit;
pub use memory::{Memory, Remembered, Rest, Spending};

use budget::Directory;
use cause::Scope;
use dice::Dice;
use entry::Entry;

use crate::DAY;

const HOUR: i64 = 3600;

/// The longest a directory's wish to be left alone is followed.
const LONGEST_BLOCK: i64 = 7 * DAY;

/// How often is asked and how much; the defaults stay below what public directories allow for one
/// name. What they allow one account is a [`Budget`].
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Orders under way at a time.
    pub parallel: usize,
    /// Seconds before the first new attempt after a failure; each next one doubles.
    pub first_wait: i64,
    /// The longest seconds between attempts; one hour where nothing valid is in use.
    pub longest_wait: i64,
    /// Certificates for one name from one directory.
    pub issued: Limit,
    /// Failed orders for one name at one directory.
    pub failed: Limit,
    /// Seconds between questions for a renewal window.
    pub window_every: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            parallel: 4,
            first_wait: 300,
            longest_wait: 12 * HOUR,
            issued: Limit {
                count: 5,
                within: 7 * DAY,
            },
            failed: Limit {
                count: 5,
                within: HOUR,
            },
            window_every: 6 * HOUR,
        }
    }
}

/// The dates of a certificate in use, in seconds since the UNIX epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The first second of its validity.
    pub not_before: i64,
    /// The last second of its validity.
    pub not_after: i64,
}

/// When a directory would like a certificate to be renewed.
///
/// Source: [RFC 9773 section 4.2](https://www.rfc-editor.org/rfc/rfc9773#section-4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its begin in seconds since the UNIX epoch.
    pub start: i64,
    /// Its end, after the begin.
    pub end: i64,
}

/// What the caller is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Order a certificate; answered by [`Plan::handle_issued`] or [`Plan::handle_failure`].
    Order {
        /// The certificate's name: the first of its names.
        name: String,
        /// Every name that it shall have.
        names: Vec<String>,
        /// Which directory, as its place in the list.
        directory: usize,
    },
    /// Ask when the certificate in use should be renewed; answered by [`Plan::handle_window`].
    AskWindow {
        /// The certificate's name.
        name: String,
        /// The directory that signed it; the first where that is not known.
        directory: usize,
    },
}

/// Why an order failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The cause.
    pub cause: Cause,
    /// What the directory or the system said.
    pub detail: String,
    /// In how many seconds the directory wants to be asked again, if it said so.
    pub retry_after: Option<i64>,
    /// Whether the directory had issued before the failure, which counts against its limits.
    pub issued: bool,
}

impl Failure {
    /// Makes a failure without a wish of the directory.
    #[must_use]
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            detail: detail.into(),
            retry_after: None,
            issued: false,
        }
    }
}

/// Whether an operator's order goes out although nothing is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// Only what is due, without the wait of earlier failures.
    Due,
    /// In any case.
    Forced,
}

/// What became of an operator's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is ordered as soon as there is a place.
    Soon,
    /// Nothing is due.
    NotDue {
        /// When it will be.
        due: i64,
    },
    /// The guard of the rate limits, or a directory's own wish, stands against it.
    Guarded {
        /// Until when.
        until: i64,
    },
    /// No such certificate is managed.
    Unknown,
}

/// The state of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Every name that it has or shall have.
    pub names: Vec<String>,
    /// What is in use.
    pub held: Option<Held>,
    /// When it is ordered next.
    pub next: i64,
    /// Whether an order is under way.
    pub ordering: bool,
    /// Failures since the last success.
    pub failures: u32,
    /// The last failure since the last success.
    pub failed: Option<Failure>,
}

/// The plan of renewals for a set of certificates over several directories.
///
/// Inputs: [`Plan::handle_names`] says what is wanted, [`Plan::handle_held`] what is in use,
/// [`Plan::handle_issued`], [`Plan::handle_failure`] and [`Plan::handle_window`] answer outputs.
/// Command: [`Plan::ask`]. Polls: after any input, [`Plan::poll_output`] until it is `None`, then
/// again at [`Plan::poll_timeout`]. A certificate has one order under way at a time. Each failure
/// moves it to the next directory; each success back to the first.
#[derive(Debug)]
pub struct Plan {
    rules: Rules,
    dice: Dice,
    directories: Vec<Directory>,
    entries: BTreeMap<String, Entry>,
    /// What is remembered of names that are not wanted now.
    past: BTreeMap<String, Remembered>,
}

impl Plan {
    /// Makes a plan without certificates for a number of directories, best first; the seed is for
    /// jitter.
    #[must_use]
    pub fn new(rules: Rules, directories: usize, seed: u64) -> Self {
        Self {
            rules,
            dice: Dice::new(seed),
            directories: (0..directories).map(|_| Directory::default()).collect(),
            entries: BTreeMap::new(),
            past: BTreeMap::new(),
        }
    }

    /// Takes what is wanted from now on: for each certificate its names, the first of which names
    /// it. Of what is no longer wanted only that stays which a directory may count; what is new is
    /// due at once.
    pub fn handle_names(&mut self, wanted: &[Vec<String>], now: i64) {
        let keep: BTreeSet<&String> = wanted.iter().filter_map(|names| names.first()).collect();
        for (name, entry) in self.entries.extract_if(.., |name, _| !keep.contains(name)) {
            self.past
                .extend(entry.remembered(&self.rules, now).map(|r| (name, r)));
        }
        for names in wanted {
            let Some(name) = names.first() else { continue };
            let known = self.entries.get_mut(name);
            if known.is_some_and(|entry| entry.names == *names) {
                continue;
            }
            let mut entry = Entry::new(names.clone(), self.directories.len(), now);
            if let Some(past) = self.past.remove(name) {
                entry.remember(past, now);
            }
            self.entries.insert(name.clone(), entry);
        }
        self.check_invariants();
    }

    /// Takes the dates of the certificate that is in use under a name; `None` when there is none
    /// that can be used.
    pub fn handle_held(&mut self, name: &str, held: Option<Held>, now: i64) {
        if let Some(entry) = self.entries.get_mut(name)
            && entry.held != held
        {
            entry.hold(held, &mut self.dice, now);
        }
    }

    /// Takes a certificate that was issued, checked and written.
    pub fn handle_issued(&mut self, name: &str, held: Held, now: i64) {
        if let Some(entry) = self.entries.get_mut(name)
            && let Some(at) = entry.end_order()
        {
            entry.spend_issued(at, self.rules.issued, now);
            if let Some(directory) = self.directories.get_mut(at) {
                directory.succeed();
                if entry.held.is_none() {
                    directory.spend_new(name, now);
                }
            }
            entry.succeed(at);
            entry.hold(Some(held), &mut self.dice, now);
        }
        self.check_invariants();
    }

    /// Takes the failure of an order: what is in use stays.
    pub fn handle_failure(&mut self, name: &str, failure: Failure, now: i64) {
        let scope = failure.cause.scope();
        if let Some(entry) = self.entries.get_mut(name)
            && let Some(at) = entry.end_order()
        {
            if failure.issued {
                entry.spend_issued(at, self.rules.issued, now);
                if let (Some(directory), None) = (self.directories.get_mut(at), entry.held) {
                    directory.spend_new(name, now);
                }
            }
            if scope == Scope::Name {
                entry.spend_failed(at, self.rules.failed, now);
            }
            let wish = failure.retry_after.map(|secs| secs.clamp(1, LONGEST_BLOCK));
            match scope {
                Scope::Directory => self.block(at, wish, now),
                Scope::Limit => {
                    let until = now.saturating_add(wish.unwrap_or(HOUR));
                    self.limit(name, at, until, now);
                }
                Scope::Name => {}
            }
            self.retry(name, failure, scope, now);
        }
        self.check_invariants();
    }

    /// Takes the answer to [`Output::AskWindow`]: a window if the directory offers one, and in how
    /// many seconds it wants to be asked again.
    pub fn handle_window(
        &mut self,
        name: &str,
        window: Option<Window>,
        ask_again: Option<i64>,
        now: i64,
    ) {
        let every = self.rules.window_every;
        if let Some(entry) = self.entries.get_mut(name) {
            let wait = ask_again.map_or(every, |secs| secs.clamp(60, DAY));
            entry.offer(window, now.saturating_add(wait), &mut self.dice, now);
        }
    }

    /// Orders a certificate because an operator wants it; the guard of the rate limits stands.
    pub fn ask(&mut self, name: &str, haste: Haste, now: i64) -> Asked {
        let Some(entry) = self.entries.get(name) else {
            return Asked::Unknown;
        };
        if haste == Haste::Due && entry.due > now {
            return Asked::NotDue { due: entry.due };
        }
        let free = self.free_at(entry);
        // a directory that was only down is tried at an operator's word
        let until = self.limited_until(entry);
        if until > now {
            return Asked::Guarded { until };
        }
        if free > now {
            for directory in &mut self.directories {
                directory.blocked_until = i64::MIN;
            }
        }
        if let Some(entry) = self.entries.get_mut(name) {
            entry.hurry(now);
        }
        Asked::Soon
    }

    /// Returns the next thing to do at `now`.
    pub fn poll_output(&mut self, now: i64) -> Option<Output> {
        if self.directories.is_empty() {
            return None;
        }
        let places = self.rules.parallel;
        if self.entries.values().filter(|e| e.is_ordering()).count() < places
            && let Some((name, at)) = self.next_order(now)
        {
            let entry = self.entries.get_mut(&name)?;
            entry.begin_order(at);
            let names = entry.names.clone();
            if let Some(directory) = self.directories.get_mut(at) {
                directory.spend_order(now);
            }
            return Some(Output::Order {
                name,
                names,
                directory: at,
            });
        }
        let every = self.rules.window_every;
        let (name, entry) = self.entries.iter_mut().find(|(_, e)| e.asks_at() <= now)?;
        entry.asked(now.saturating_add(every));
        let last = self.directories.len().saturating_sub(1);
        Some(Output::AskWindow {
            name: name.clone(),
            directory: entry.issuer().min(last),
        })
    }

    /// Returns the next time at which [`Plan::poll_output`] may have something, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(i64, &'static str)> {
        if self.directories.is_empty() {
            return None;
        }
        let busy = self.entries.values().filter(|e| e.is_ordering()).count();
        let idle = self.entries.values().filter(|e| !e.is_ordering());
        let order = idle
            .map(|e| (e.next.max(self.free_at(e)), "an order"))
            .min()
            .filter(|_| busy < self.rules.parallel);
        let window = self.entries.values().map(|e| (e.asks_at(), "a window"));
        order
            .into_iter()
            .chain(window.min())
            .filter(|(at, _)| *at < i64::MAX)
            .min()
    }

    /// Returns the state of one certificate.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<State> {
        let entry = self.entries.get(name)?;
        Some(entry.state(self.free_at(entry)))
    }

    /// Lists the names of the certificates, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Picks what has waited longest among what may go out.
    fn next_order(&self, now: i64) -> Option<(String, usize)> {
        let may = |entry: &&Entry| !entry.is_ordering() && entry.next <= now;
        let due = self.entries.values().filter(may);
        let with_place = due.filter_map(|entry| Some((entry, self.place(entry, now)?)));
        let (entry, at) = with_place.min_by_key(|(entry, _)| entry.next)?;
        Some((entry.names.first()?.clone(), at))
    }

    /// The first directory that may be asked, from the entry's own on.
    fn place(&self, entry: &Entry, now: i64) -> Option<usize> {
        let count = self.directories.len();
        (0..count)
            .map(|step| (entry.directory + step) % count)
            .find(|at| self.free_at_one(entry, *at) <= now)
    }

    fn free_at_one(&self, entry: &Entry, at: usize) -> i64 {
        let blocked = self
            .directories
            .get(at)
            .map_or(i64::MAX, |d| d.blocked_until);
        blocked.max(self.limited_at(entry, at))
    }

    fn free_at(&self, entry: &Entry) -> i64 {
        let places = 0..self.directories.len();
        places
            .map(|at| self.free_at_one(entry, at))
            .min()
            .unwrap_or(i64::MAX)
    }

    fn limited_until(&self, entry: &Entry) -> i64 {
        let places = 0..self.directories.len();
        places
            .map(|at| self.limited_at(entry, at))
            .min()
            .unwrap_or(i64::MAX)
    }

    /// Leaves a directory alone for every name: as long as it wants, else longer each time, up to
    /// an hour.
    fn block(&mut self, at: usize, wish: Option<i64>, now: i64) {
        let Some(directory) = self.directories.get_mut(at) else {
            return;
        };
        directory.failures = directory.failures.saturating_add(1);
        let wait = doubled(self.rules.first_wait, directory.failures, HOUR);
        let wait = wish.unwrap_or_else(|| self.dice.between(wait / 2, wait));
        directory.blocked_until = directory.blocked_until.max(now.saturating_add(wait));
    }

    /// A limit of one name may be one of the account, so the others wait a little as well.
    fn limit(&mut self, name: &str, at: usize, until: i64, now: i64) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.block(at, until);
        }
        let pause = until.min(now.saturating_add(self.rules.first_wait));
        if let Some(directory) = self.directories.get_mut(at) {
            directory.blocked_until = directory.blocked_until.max(pause);
        }
    }

    fn retry(&mut self, name: &str, failure: Failure, scope: Scope, now: i64) {
        let count = self.directories.len().max(1);
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        entry.fail(failure, count);
        // a name is as slow as its faults; the faults of a directory are its own
        let wait = match scope {
            Scope::Directory | Scope::Limit => self.dice.between(5, 60),
            Scope::Name => {
                let round = entry.failures.div_ceil(u32::try_from(count).unwrap_or(1));
                let longest = self.rules.longest_wait.min(entry.patience(now));
                let wait = doubled(self.rules.first_wait, round, longest);
                self.dice.between(wait / 2, wait)
            }
        };
        entry.next = now.saturating_add(wait);
    }

    fn check_invariants(&self) {
        debug_assert!(self.entries.iter().all(|(n, e)| e.names.first() == Some(n)));
        let busy = self.entries.values().filter(|e| e.is_ordering()).count();
        debug_assert!(busy <= self.rules.parallel);
    }
}

/// `first` doubled once for each time after the first, at most `longest`.
fn doubled(first: i64, times: u32, longest: i64) -> i64 {
    let shift = times.saturating_sub(1).min(20);
    first
        .saturating_mul(1_i64 << shift)
        .clamp(1, longest.max(1))
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
