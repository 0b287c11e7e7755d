//! The bounded store of budgets.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use parking_lot::Mutex;

/// Parts with a lock of their own.
const SHARDS: usize = 16;
/// Budgets of a part that keys without a place share.
const SHARED: usize = 64;

/// Keeps a budget for each of a bounded number of keys. A key in use is never displaced: when the
/// table is full, a new key shares one of 1,024 budgets, chosen by a hash with a random seed.
pub(super) struct Table<K> {
    shards: [Mutex<Shard<K>>; SHARDS],
    seed: RandomState,
    /// Keys with a place, in all tables that have this counter in common.
    keys: Arc<AtomicUsize>,
    keys_max: usize,
}

struct Shard<K> {
    own: HashMap<K, Nanos>,
    shared: HashMap<usize, Nanos>,
}

impl<K> Table<K> {
    pub(super) fn new(keys_max: usize, keys: Arc<AtomicUsize>) -> Self {
        Self {
            shards: std::array::from_fn(|_| {
                Mutex::new(Shard {
                    own: HashMap::new(),
                    shared: HashMap::new(),
                })
            }),
            seed: RandomState::new(),
            keys,
            keys_max,
        }
    }

    fn reserve(&self) -> bool {
        let grow = |keys| (keys < self.keys_max).then_some(keys + 1);
        self.keys
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow)
            .is_ok()
    }
}

impl<K> Drop for Table<K> {
    fn drop(&mut self) {
        let own: usize = self.shards.iter().map(|s| s.lock().own.len()).sum();
        self.keys.fetch_sub(own, Ordering::Relaxed);
    }
}

impl<K: Hash + Eq + Clone> StateStore for Table<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let hash = usize::try_from(self.seed.hash_one(key) & 0xffff).unwrap_or_default();
        let Some(shard) = self.shards.get(hash % SHARDS) else {
            return f(None).map(|(outcome, _)| outcome); // not reached: a remainder is in range
        };
        let mut shard = shard.lock();
        if let Some(state) = shard.own.get_mut(key) {
            let (outcome, next) = f(Some(*state))?;
            *state = next;
            return Ok(outcome);
        }
        let slot = hash / SHARDS % SHARED;
        if !self.reserve() {
            let (outcome, next) = f(shard.shared.get(&slot).copied())?;
            shard.shared.insert(slot, next);
            return Ok(outcome);
        }
        let (outcome, next) = match f(None) {
            Ok(measured) => measured,
            Err(e) => {
                self.keys.fetch_sub(1, Ordering::Relaxed);
                return Err(e);
            }
        };
        shard.own.insert(key.clone(), next);
        Ok(outcome)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Table<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let before = shard.own.len();
            shard.own.retain(|_, state| *state > drop_below);
            shard.shared.retain(|_, state| *state > drop_below);
            let dropped = before - shard.own.len();
            self.keys.fetch_sub(dropped, Ordering::Relaxed);
        }
    }

    fn shrink_to_fit(&self) {
        for shard in &self.shards {
            shard.lock().own.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().own.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| {
            let shard = shard.lock();
            shard.own.is_empty() && shard.shared.is_empty()
        })
    }
}
