//! Answers that were given before, for as long as their records may be kept.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::wire::{self, Map};

/// Answers kept; with the two bounds below at most 10 MiB.
const ENTRIES: usize = 2048;
/// The largest answer and the largest query that are kept, in bytes.
const ANSWER_MAX: usize = 4096;
const QUERY_MAX: usize = 512;
/// The longest time an answer and an absence are kept (RFC 8767 section 4, RFC 2308 section 5).
const KEEP: u32 = 3600;
const KEEP_ABSENCE: u32 = 300;

/// Answers by their question; what ends soonest makes room.
#[derive(Debug, Default)]
pub(super) struct Cache {
    answers: HashMap<Box<[u8]>, Entry>,
    /// By their end; the number tells apart what ends at one instant.
    ends: BTreeMap<(Instant, u64), Box<[u8]>>,
    count: u64,
}

#[derive(Debug)]
struct Entry {
    answer: Box<[u8]>,
    since: Instant,
    end: (Instant, u64),
}

impl Cache {
    /// Returns the answer to `query` as it would come now, under the id of the query.
    pub(super) fn find(&mut self, query: &[u8], now: Instant) -> Option<Vec<u8>> {
        let key = key(query)?;
        let entry = self.answers.get(&key)?;
        if entry.end.0 <= now {
            let end = entry.end;
            self.ends.remove(&end);
            self.answers.remove(&key);
            return None;
        }
        let mut answer = entry.answer.to_vec();
        let age = now.saturating_duration_since(entry.since).as_secs();
        let map = Map::read(&answer)?;
        // names are told in the letters they were asked in
        let asked = query.get(map.question.clone())?;
        answer.get_mut(map.question)?.copy_from_slice(asked);
        for at in map.lifetimes {
            let field: &mut [u8; 4] = answer.get_mut(at..)?.first_chunk_mut()?;
            let left = u64::from(u32::from_be_bytes(*field)).saturating_sub(age);
            *field = u32::try_from(left).unwrap_or(0).to_be_bytes();
        }
        wire::set_id(&mut answer, wire::id(query));
        Some(answer)
    }

    /// Keeps an answer that belongs to `query`, if it may be kept at all.
    pub(super) fn keep(&mut self, query: &[u8], answer: &[u8], now: Instant) {
        let Some(seconds) = lifetime(answer) else {
            return;
        };
        let Some(key) = key(query) else { return };
        if let Some(old) = self.answers.remove(&key) {
            self.ends.remove(&old.end);
        }
        while self.answers.len() >= ENTRIES {
            let Some((_, first)) = self.ends.pop_first() else {
                return;
            };
            self.answers.remove(&first);
        }
        self.count += 1;
        let end = (now + Duration::from_secs(seconds.into()), self.count);
        self.ends.insert(end, key.clone());
        let answer = answer.into();
        self.answers.insert(
            key,
            Entry {
                answer,
                since: now,
                end,
            },
        );
    }

    /// Counts the answers kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.answers.len(), self.ends.len());
        self.answers.len()
    }
}

/// All of the query but its id and the case of its letters: flags and EDNS change the answer.
fn key(query: &[u8]) -> Option<Box<[u8]>> {
    if query.len() > QUERY_MAX {
        return None;
    }
    let map = Map::read(query)?;
    let mut key: Box<[u8]> = query.into();
    wire::set_id(&mut key, 0);
    wire::lower_name(key.get_mut(map.question)?)?;
    Some(key)
}

/// Seconds for which an answer may be kept; `None` for one that may not.
fn lifetime(answer: &[u8]) -> Option<u32> {
    const NO_ERROR: u16 = 0;
    const NO_SUCH_NAME: u16 = 3;
    let map = Map::read(answer)?;
    if map.is_cut || answer.len() > ANSWER_MAX {
        return None;
    }
    let seconds = match (map.code, map.absence) {
        (NO_ERROR, None) if map.answers > 0 => map.least?.min(KEEP),
        (NO_ERROR | NO_SUCH_NAME, Some(absence)) if map.answers == 0 || map.code != NO_ERROR => {
            map.least?.min(absence).min(KEEP_ABSENCE)
        }
        (NO_ERROR, Some(absence)) => map.least?.min(absence).min(KEEP),
        _ => return None,
    };
    (seconds > 0).then_some(seconds)
}

#[cfg(test)]
mod tests;
