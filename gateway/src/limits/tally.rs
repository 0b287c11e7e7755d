//! How many of something each has.

use std::collections::HashMap;
use std::hash::Hash;

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

#[cfg(test)]
mod tests {
    use super::Tally;

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
