//! The half-way sign-ins, each under the hash of its cookie.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use super::{AwaitingCode, UserName};
use crate::store::Hash;

/// Half-way sign-ins at a time; the oldest gives way.
const CAPACITY: usize = 10_000;

/// A bounded table of [`AwaitingCode`]; lives in memory only, a restart forgets it.
#[derive(Debug, Default)]
pub(crate) struct Halves {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    map: HashMap<Hash, AwaitingCode>,
    /// Oldest first; all live equally long, so this is the order of expiry too.
    order: VecDeque<(i64, Hash)>,
}

impl Halves {
    /// Keeps a half-way sign-in.
    pub(crate) fn put(&self, token: Hash, half: AwaitingCode) {
        let mut inner = self.inner.lock();
        while inner.order.len() >= CAPACITY {
            let oldest = inner.order.pop_front();
            if let Some((_, token)) = oldest {
                inner.map.remove(&token);
            }
        }
        inner.order.push_back((half.expires, token));
        inner.map.insert(token, half);
    }

    /// Counts one code for the half-way sign-in and names its user; a spent one is gone after it.
    pub(crate) fn count_try(&self, token: &Hash, now: i64) -> Option<UserName> {
        let mut inner = self.inner.lock();
        let half = inner.map.get_mut(token)?;
        if half.count_try(now).is_err() {
            inner.map.remove(token);
            return None;
        }
        Some(half.user().clone())
    }

    /// Takes a half-way sign-in out; a second taker finds nothing.
    pub(crate) fn take(&self, token: &Hash, now: i64) -> Option<AwaitingCode> {
        let half = self.inner.lock().map.remove(token)?;
        (now < half.expires).then_some(half)
    }

    /// Removes those whose time is over and names their users.
    pub(crate) fn expired(&self, now: i64) -> Vec<UserName> {
        let mut users = Vec::new();
        let mut inner = self.inner.lock();
        while let Some((expires, token)) = inner.order.front().copied() {
            if now < expires {
                break;
            }
            inner.order.pop_front();
            if let Some(half) = inner.map.remove(&token) {
                users.push(half.user().clone());
            }
        }
        users
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inner.lock().map.len()
    }
}
