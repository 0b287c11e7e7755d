//! What a plan must know again after a restart, so that no directory is asked more than it allows.

use std::collections::BTreeMap;

use super::{Failure, LONGEST_BLOCK, Plan};

/// How a directory is left alone, and what was asked of it, for all names together; times in seconds
/// since the UNIX epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Until when.
    pub blocked_until: i64,
    /// How often it failed in a row.
    pub failures: u32,
    /// When orders were placed, as far as a budget counts them.
    pub orders: Vec<i64>,
    /// When names of a registered domain had their first certificate, likewise.
    pub domains: BTreeMap<String, Vec<i64>>,
}

/// What was asked of one directory for one name; times in seconds since the UNIX epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    /// When it issued.
    pub issued: Vec<i64>,
    /// When orders failed.
    pub failed: Vec<i64>,
    /// Until when it wants to be left alone.
    pub blocked_until: i64,
}

/// What is remembered of one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Failures since the last success.
    pub failures: u32,
    /// The last of them.
    pub failed: Option<Failure>,
    /// Which of the plan's directories signed what is in use.
    pub issuer: Option<usize>,
    /// What was asked of each directory, in the order of the plan's.
    pub places: Vec<Spending>,
}

/// What a plan remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The directories, in the order of the plan's.
    pub directories: Vec<Rest>,
    /// The certificates by name.
    pub names: BTreeMap<String, Remembered>,
}

impl Plan {
    /// Returns what must be known again after a restart; what no longer counts at `now` is left out.
    #[must_use]
    pub fn memory(&self, now: i64) -> Memory {
        let past = self.past.iter().filter(|(_, past)| past.counts(now));
        let past = past.map(|(name, past)| (name.clone(), past.clone()));
        let live = self.entries.iter().filter_map(|(name, entry)| {
            let remembered = entry.remembered(&self.rules, now)?;
            Some((name.clone(), remembered))
        });
        Memory {
            directories: self.directories.iter().map(|d| d.rest(now)).collect(),
            names: past.chain(live).collect(),
        }
    }

    /// Takes back what [`Plan::memory`] returned, before the first [`Plan::handle_names`].
    pub fn remember(&mut self, memory: Memory, now: i64) {
        for (directory, rest) in self.directories.iter_mut().zip(memory.directories) {
            directory.remember(rest, now);
        }
        self.past = memory.names;
    }
}

impl Remembered {
    /// Tells whether a directory may still count something of it: the longest limit is a week.
    fn counts(&self, now: i64) -> bool {
        let since = now.saturating_sub(LONGEST_BLOCK);
        self.places.iter().any(|place| {
            let mut times = place.issued.iter().chain(&place.failed);
            place.blocked_until > now || times.any(|at| *at >= since)
        })
    }
}
