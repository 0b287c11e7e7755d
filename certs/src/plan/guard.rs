//! The guard of the directories' rate limits: what was asked for one name at one directory.

use std::collections::VecDeque;

/// A count within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub count: usize,
    /// Within how many seconds.
    pub within: i64,
}

/// The latest times at which something counted against a limit happened; bounded by its count.
#[derive(Debug, Default)]
pub(super) struct Spent(VecDeque<i64>);

impl Spent {
    /// Counts one more at `now`.
    pub(super) fn spend(&mut self, limit: Limit, now: i64) {
        self.0.push_back(now);
        while self.0.len() > limit.count {
            self.0.pop_front();
        }
    }

    /// Returns the times that still count at `now`.
    pub(super) fn times(&self, limit: Limit, now: i64) -> Vec<i64> {
        let since = now.saturating_sub(limit.within);
        self.0.iter().copied().filter(|at| *at >= since).collect()
    }

    /// Takes times back, none of them in the future: a clock may have been wrong.
    pub(super) fn of(times: Vec<i64>, now: i64) -> Self {
        let mut times: Vec<i64> = times.into_iter().map(|at| at.min(now)).collect();
        times.sort_unstable();
        Self(times.into())
    }

    /// Returns from when on one more fits under `limit`.
    pub(super) fn free_at(&self, limit: Limit) -> i64 {
        if self.0.len() < limit.count {
            return i64::MIN;
        }
        // one second more: both ends of the directory's window count
        let oldest = self.0.front().copied().unwrap_or(i64::MIN);
        oldest.saturating_add(limit.within).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Limit, Spent};

    #[test]
    fn the_count_is_free_again_when_its_time_has_passed() {
        let limit = Limit {
            count: 2,
            within: 100,
        };
        let mut spent = Spent::default();
        spent.spend(limit, 10);
        assert_eq!(spent.free_at(limit), i64::MIN);
        spent.spend(limit, 20);
        assert_eq!(spent.free_at(limit), 111);
        spent.spend(limit, 111);
        assert_eq!(spent.free_at(limit), 121);
    }
}
