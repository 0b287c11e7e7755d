//! How many of something each has.

use std::collections::HashMap;
use std::hash::Hash;

use super::source::{SITE_FACTOR, Site, Source};

/// Counts by key; a key whose count is zero takes no room.
#[derive(Debug)]
pub(crate) struct Tally<K>(HashMap<K, usize>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Tally<K> {
    /// Returns how many a key has.
    pub(crate) fn of(&self, key: &K) -> usize {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// Counts one more.
    pub(crate) fn add(&mut self, key: K) {
        let count = self.0.entry(key).or_default();
        *count = count.saturating_add(1);
    }

    /// Counts one more, unless there are `most` already; says whether it did.
    pub(crate) fn add_below(&mut self, key: K, most: usize) -> bool {
        let fits = self.of(&key) < most;
        if fits {
            self.add(key);
        }
        fits
    }

    /// Tells whether none has any.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts one less.
    pub(crate) fn take(&mut self, key: &K) {
        match self.0.get_mut(key) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            Some(_) | None => drop(self.0.remove(key)),
        }
    }
}

/// Counts by source; the sources of one site of IPv6 together may have [`SITE_FACTOR`] times as many as one.
#[derive(Debug, Default)]
pub(crate) struct BySource {
    sources: Tally<Source>,
    sites: Tally<Site>,
}

impl BySource {
    /// Counts one more, unless the source or its site have as many as they may; says whether it did.
    pub(crate) fn add_below(&mut self, source: Source, most: usize) -> bool {
        let factor = usize::try_from(SITE_FACTOR).unwrap_or(usize::MAX);
        let site = source.site();
        if site.is_some_and(|site| self.sites.of(&site) >= most.saturating_mul(factor)) {
            return false;
        }
        let fits = self.sources.add_below(source, most);
        if fits && let Some(site) = site {
            self.sites.add(site);
        }
        fits
    }

    /// Counts one less.
    pub(crate) fn take(&mut self, source: Source) {
        self.sources.take(&source);
        if let Some(site) = source.site() {
            self.sites.take(&site);
        }
    }

    /// Tells whether none has any.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.sites.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{BySource, Tally};
    use crate::limits::Source;

    #[test]
    fn a_site_has_four_times_what_one_source_of_it_has() {
        let mut tally = BySource::default();
        let of = |net: u16| Source::of(format!("2001:db8:0:{net:x}::1").parse().unwrap());
        assert!(tally.add_below(of(0), 1) && !tally.add_below(of(0), 1));
        assert!((1..4).all(|net| tally.add_below(of(net), 1)));
        assert!(!tally.add_below(of(4), 1) && !tally.add_below(of(0xff), 1));
        assert!(tally.add_below(of(0x100), 1), "another site");
        tally.take(of(2));
        assert!(tally.add_below(of(4), 1));
        for net in [0, 1, 3, 4, 0x100] {
            tally.take(of(net));
        }
        assert!(tally.is_empty());
    }

    #[test]
    fn each_key_has_its_own_count_and_none_at_zero_is_kept() {
        let mut tally = Tally::default();
        assert!(tally.add_below("ann", 2));
        assert!(tally.add_below("ann", 2));
        assert!(!tally.add_below("ann", 2));
        assert!(!tally.add_below("bob", 0));
        tally.add("bob");
        assert_eq!((tally.of(&"ann"), tally.of(&"bob")), (2, 1));
        tally.take(&"ann");
        assert!(tally.add_below("ann", 2));
        for key in ["ann", "ann", "bob", "bob"] {
            tally.take(&key);
        }
        assert!(tally.is_empty());
    }
}
