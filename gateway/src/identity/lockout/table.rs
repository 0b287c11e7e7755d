//! A bounded table of counters.

use std::collections::{BTreeSet, HashMap};

use crate::store::CounterRow;

/// A keyed hash.
pub(super) type Key = [u8; 16];

/// Counters in one table; an outsider can fill it, so it is bounded.
const CAPACITY: usize = 65_536;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counter {
    pub(super) count: i64,
    pub(super) since: i64,
    pub(super) last: i64,
}

#[derive(Debug)]
pub(super) struct Table {
    /// Seconds after the last change when a counter means nothing any more.
    life: i64,
    map: HashMap<Key, Counter>,
    /// Changed since they were last taken; `None` in a table that is never kept.
    changed: Option<BTreeSet<Key>>,
}

impl Table {
    /// Makes a table whose counters are kept in the store.
    pub(super) fn kept(life: i64) -> Self {
        Self {
            life,
            map: HashMap::new(),
            changed: Some(BTreeSet::new()),
        }
    }

    /// Makes a table that lives in memory only.
    pub(super) fn fleeting(life: i64) -> Self {
        Self {
            life,
            map: HashMap::new(),
            changed: None,
        }
    }

    pub(super) fn load(&mut self, key: Key, row: &CounterRow, now: i64) {
        if self.map.len() < CAPACITY {
            let counter = Counter {
                count: row.count,
                since: row.since.min(now),
                last: row.last.min(now),
            };
            self.map.insert(key, counter);
        }
    }

    /// Finds a counter or makes one at zero.
    pub(super) fn entry(&mut self, key: Key, now: i64) -> &mut Counter {
        if self.map.len() >= CAPACITY && !self.map.contains_key(&key) {
            self.make_room(now);
        }
        self.map.entry(key).or_insert(Counter {
            count: 0,
            since: now,
            last: now,
        })
    }

    /// Reads a counter without making one.
    pub(super) fn peek(&self, key: Key) -> Option<&Counter> {
        self.map.get(&key)
    }

    pub(super) fn count(&mut self, key: Key, now: i64) {
        let counter = self.entry(key, now);
        counter.count += 1;
        counter.last = now;
        self.changed(key);
    }

    pub(super) fn take_back(&mut self, key: Key, now: i64) {
        let counter = self.entry(key, now);
        counter.count = counter.count.saturating_sub(1).max(0);
        self.changed(key);
    }

    pub(super) fn clear(&mut self, key: Key, now: i64) {
        if self.map.contains_key(&key) {
            *self.entry(key, now) = Counter {
                count: 0,
                since: now,
                last: now,
            };
            self.changed(key);
        }
    }

    /// Notes that a counter differs from what the store has.
    pub(super) fn changed(&mut self, key: Key) {
        if let Some(changed) = &mut self.changed {
            changed.insert(key);
        }
    }

    pub(super) fn take_changed(&mut self, kind: &'static str) -> Vec<CounterRow> {
        let keys = self.changed.as_mut().map(std::mem::take);
        keys.into_iter()
            .flatten()
            .map(|key| {
                let counter = self.map.get(&key).copied().unwrap_or_default();
                CounterRow {
                    kind,
                    key: key.to_vec(),
                    count: counter.count,
                    since: counter.since,
                    last: counter.last,
                }
            })
            .collect()
    }

    /// Drops what has run out; if that is little, the quarter with the lowest counts. Whoever
    /// floods the table with fresh keys so pushes out these, not the counters that are high.
    fn make_room(&mut self, now: i64) {
        let life = self.life;
        let mut kept: Vec<(i64, i64, Key)> = Vec::with_capacity(self.map.len());
        let mut gone: Vec<Key> = Vec::new();
        for (key, counter) in self.map.iter().map(|(key, counter)| (*key, *counter)) {
            if counter.count == 0 || now.saturating_sub(counter.last) >= life {
                gone.push(key);
            } else {
                kept.push((counter.count, counter.last, key));
            }
        }
        if gone.len() < CAPACITY / 4 {
            kept.sort_unstable();
            gone.extend(kept.iter().take(CAPACITY / 4).map(|(_, _, key)| *key));
        }
        for key in gone {
            self.map.remove(&key);
            self.changed(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, Key, Table};

    fn key(n: usize) -> Key {
        let mut key = Key::default();
        key[..8].copy_from_slice(&n.to_le_bytes());
        key
    }

    #[test]
    fn a_flood_of_fresh_keys_does_not_push_out_a_high_counter() {
        let mut table = Table::kept(900);
        for _ in 0..5 {
            table.count(key(0), 100);
        }
        for n in 1..CAPACITY * 2 {
            table.count(key(n), 101);
            assert!(table.map.len() <= CAPACITY);
        }
        assert_eq!(table.entry(key(0), 102).count, 5);
    }

    #[test]
    fn counters_that_ran_out_make_room_first() {
        let mut table = Table::kept(900);
        for n in 0..CAPACITY {
            table.count(key(n), 100);
        }
        table.count(key(CAPACITY), 1000);
        assert_eq!(table.map.len(), 1);
    }

    #[test]
    fn what_is_pushed_out_is_noted_for_the_store_only_where_there_is_one() {
        for (mut table, noted) in [(Table::kept(900), CAPACITY + 1), (Table::fleeting(900), 0)] {
            for n in 0..=CAPACITY {
                table.count(key(n), 100);
            }
            assert!(table.map.len() < CAPACITY);
            assert_eq!(table.take_changed("pair").len(), noted);
        }
    }
}
