//! When sources did something, as far back as it counts.

use std::collections::{HashMap, VecDeque};

use ipnet::IpNet;

/// Sources in one table; an outsider can fill it, so it is bounded.
const SOURCES_MAX: usize = 16_384;

/// The times of what each source did, the oldest first.
#[derive(Default)]
pub(super) struct Hits {
    map: HashMap<IpNet, VecDeque<i64>>,
}

impl Hits {
    /// Notes one more and tells whether that makes `most` within `window` seconds.
    pub(super) fn count(&mut self, source: IpNet, window: i64, most: u32, now: i64) -> bool {
        if self.map.len() >= SOURCES_MAX && !self.map.contains_key(&source) {
            self.make_room(window, now);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let times = self.map.entry(source).or_default();
        while times.len() >= most || times.front().is_some_and(|t| *t <= now - window) {
            times.pop_front();
        }
        times.push_back(now);
        times.len() >= most
    }

    /// Forgets what lies in a network.
    pub(super) fn clear(&mut self, network: &IpNet) {
        self.map.retain(|source, _| !network.contains(source));
    }

    /// Forgets sources of which nothing counts any more.
    pub(super) fn forget(&mut self, window: i64, now: i64) {
        self.map
            .retain(|_, times| times.back().is_some_and(|t| *t > now - window));
    }

    /// Drops what has run out; if that is little, the quarter with the fewest hits. Whoever
    /// floods the table so pushes out these, not the sources that are near their ban.
    fn make_room(&mut self, window: i64, now: i64) {
        self.forget(window, now);
        if self.map.len() < SOURCES_MAX / 4 * 3 {
            return;
        }
        let mut all: Vec<(usize, Option<i64>, IpNet)> = self
            .map
            .iter()
            .map(|(source, times)| (times.len(), times.back().copied(), *source))
            .collect();
        all.sort_unstable();
        for (_, _, source) in all.into_iter().take(SOURCES_MAX / 4) {
            self.map.remove(&source);
        }
    }
}
