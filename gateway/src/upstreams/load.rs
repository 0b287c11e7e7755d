//! How much an area's upstreams have under way, and whether requests to them are refused at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use policy::front::Breaker as Rule;

use super::pool::BUDGET;
use crate::limits::Key;

/// When somebody who was refused may try again, where nothing else says it.
const SOON: Duration = Duration::from_secs(1);

/// Which part of the places is for those who have few.
const LAST: u32 = 4;

/// What is under way at an area's upstreams together, and how far their turns are; it outlives a reload.
pub(crate) struct Load {
    open: AtomicU32,
    /// How many of them each person or source has, where their number is limited.
    by: Mutex<HashMap<Key, u32>>,
    refused: AtomicU64,
    breaker: Mutex<Breaker>,
    /// Whose turn it is.
    pub(super) next: AtomicUsize,
    /// What is left for second tries.
    pub(super) budget: AtomicI64,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            open: AtomicU32::default(),
            by: Mutex::default(),
            refused: AtomicU64::default(),
            breaker: Mutex::default(),
            next: AtomicUsize::default(),
            budget: AtomicI64::new(BUDGET / 2),
        }
    }
}

/// Why a request is not even tried, and when it may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// As many are under way as may be.
    Busy(Duration),
    /// The breaker is open.
    Broken(Duration),
}

impl Full {
    /// How long to wait.
    pub(crate) fn wait(self) -> Duration {
        match self {
            Self::Busy(wait) | Self::Broken(wait) => wait,
        }
    }
}

impl Load {
    /// Takes a place for a request.
    ///
    /// # Errors
    /// [`Full`] where it is refused.
    pub(crate) fn enter(
        self: &Arc<Self>,
        most: Option<u32>,
        rule: Option<Rule>,
        now: Instant,
    ) -> Result<Slot, Full> {
        let taken = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                most.is_none_or(|most| open < most)
                    .then_some(open.saturating_add(1))
            });
        if taken.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Full::Busy(SOON));
        }
        let mut slot = Slot {
            load: Arc::clone(self),
            trial: false,
            of: None,
        };
        if rule.is_none() {
            return Ok(slot);
        }
        match self.breaker.lock().ask(now) {
            Ok(trial) => {
                slot.trial = trial;
                Ok(slot)
            }
            Err(wait) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(Full::Broken(wait))
            }
        }
    }

    /// Takes a place for a request of one person or source, where so many are under way at most. The last quarter is for
    /// those who have less than that, so that nobody can use an app up alone.
    ///
    /// # Errors
    /// [`Full`] where it is refused.
    pub(crate) fn enter_as(
        self: &Arc<Self>,
        of: Key,
        most: u32,
        rule: Option<Rule>,
        now: Instant,
    ) -> Result<Slot, Full> {
        let mut by = self.by.lock();
        let own = by.get(&of).copied().unwrap_or_default();
        let last = most / LAST;
        let open = self.open.load(Ordering::Relaxed);
        if last > 0 && own >= last && open >= most - last {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Full::Busy(SOON));
        }
        let mut slot = self.enter(Some(most), rule, now)?;
        by.insert(of.clone(), own.saturating_add(1));
        slot.of = Some(of);
        Ok(slot)
    }

    /// Forgets what broke, where the policy in force has no breaker.
    pub(super) fn unruled(&self) {
        *self.breaker.lock() = Breaker::default();
    }

    /// Returns the requests under way and those that were refused.
    pub(crate) fn counts(&self) -> (u32, u64) {
        let open = self.open.load(Ordering::Relaxed);
        (open, self.refused.load(Ordering::Relaxed))
    }

    /// Says whether the breaker is `closed`, `open` or `trying`.
    pub(crate) fn breaker(&self, now: Instant) -> &'static str {
        match *self.breaker.lock() {
            Breaker::Closed(_) => "closed",
            Breaker::Open(until) if until > now => "open",
            Breaker::Open(_) | Breaker::Ready | Breaker::Trying => "trying",
        }
    }
}

/// A request under way; its place is free again when this is dropped.
pub(crate) struct Slot {
    load: Arc<Load>,
    /// Whether it is the one that tries.
    trial: bool,
    of: Option<Key>,
}

impl Slot {
    /// Notes an answer.
    pub(super) fn worked(&mut self) {
        self.load.breaker.lock().worked(self.trial);
        self.trial = false;
    }

    /// Notes that no answer came; returns whether the breaker opens.
    pub(super) fn broke(&mut self, rule: Rule, now: Instant) -> bool {
        let trial = std::mem::take(&mut self.trial);
        self.load.breaker.lock().broke(trial, rule, now)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(of) = self.of.take()
            && let Entry::Occupied(mut own) = self.load.by.lock().entry(of)
        {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
        if self.trial {
            self.load.breaker.lock().abandoned();
        }
    }
}

/// Opens after requests without an answer; after a rest one is let through, and its answer closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaker {
    /// Requests pass; so many in a row got no answer.
    Closed(u32),
    /// Requests are refused until then; the first one after it tries.
    Open(Instant),
    /// The next request tries.
    Ready,
    /// One tries, the others are refused.
    Trying,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed(0)
    }
}

impl Breaker {
    /// Says whether a request passes and whether it is the one that tries; else how long to wait.
    fn ask(&mut self, now: Instant) -> Result<bool, Duration> {
        match *self {
            Self::Closed(_) => Ok(false),
            Self::Open(until) if until > now => Err(until.saturating_duration_since(now)),
            Self::Open(_) | Self::Ready => {
                *self = Self::Trying;
                Ok(true)
            }
            Self::Trying => Err(SOON),
        }
    }

    fn worked(&mut self, trial: bool) {
        match self {
            Self::Closed(failures) => *failures = 0,
            Self::Trying if trial => *self = Self::default(),
            // an answer to what was asked before it opened says nothing of now
            Self::Open(_) | Self::Ready | Self::Trying => {}
        }
    }

    fn broke(&mut self, trial: bool, rule: Rule, now: Instant) -> bool {
        let opens = match *self {
            Self::Closed(failures) => {
                let failures = failures.saturating_add(1);
                *self = Self::Closed(failures);
                failures >= rule.failures
            }
            Self::Trying => trial,
            Self::Open(_) | Self::Ready => false,
        };
        if opens {
            *self = Self::Open(now + Duration::from_secs(rule.rest.into()));
        }
        opens
    }

    /// Lets another try where the one that did was given up.
    fn abandoned(&mut self) {
        if let Self::Trying = self {
            *self = Self::Ready;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::{Full, Key, Load, Rule};
    use crate::clock;

    const RULE: Option<Rule> = Some(Rule {
        failures: 2,
        rest: 10,
    });

    fn after(start: Instant, secs: u64) -> Instant {
        start + Duration::from_secs(secs)
    }

    #[test]
    fn one_more_than_may_be_is_refused_and_a_place_is_free_again_after_one() {
        let (load, now) = (Arc::new(Load::default()), clock::now());
        let first = load.enter(Some(2), None, now).unwrap();
        let _second = load.enter(Some(2), None, now).unwrap();
        assert!(matches!(load.enter(Some(2), None, now), Err(Full::Busy(_))));
        assert_eq!(load.counts(), (2, 1));
        assert!(load.enter(None, None, now).is_ok(), "no limit");
        drop(first);
        assert!(load.enter(Some(2), None, now).is_ok());
        assert_eq!(load.counts(), (1, 1));
    }

    #[test]
    fn nobody_uses_an_app_up_alone() {
        let (load, now) = (Arc::new(Load::default()), clock::now());
        let person = |name: &str| Key::of(Some(&name.into()), "192.0.2.1".parse().unwrap());
        let enter = |name: &str| load.enter_as(person(name), 8, None, now);
        let mut greedy: Vec<_> = (0..6).map(|_| enter("greedy").unwrap()).collect();
        assert!(matches!(enter("greedy"), Err(Full::Busy(_))));
        // the last two places are for those who have less than two
        let one = enter("one").unwrap();
        let two = enter("two").unwrap();
        assert!(enter("three").is_err(), "there is no place at all");
        assert_eq!(load.counts(), (8, 2));
        greedy.pop();
        assert!(enter("greedy").is_err());
        drop(enter("one").unwrap());
        greedy.truncate(2);
        assert!(enter("greedy").is_ok());
        drop(greedy);
        drop(one);
        drop(two);
        assert!(load.by.lock().is_empty(), "who has none is not known");
        // few places are for whoever comes
        let few: Vec<_> = (0..3)
            .map(|_| load.enter_as(person("one"), 3, None, now).unwrap())
            .collect();
        assert!(load.enter_as(person("one"), 3, None, now).is_err());
        drop(few);
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_that_gets_an_answer_closes_it() {
        let (load, start) = (Arc::new(Load::default()), clock::now());
        let rule = RULE.unwrap();
        let fail = |at: Instant| load.enter(None, RULE, at).unwrap().broke(rule, at);
        assert!(!fail(start));
        load.enter(None, RULE, start).unwrap().worked();
        assert!(!fail(start), "an answer between them");
        let mut late = load.enter(None, RULE, start).unwrap();
        assert!(fail(start));
        assert_eq!(load.breaker(start), "open");
        let refused = load.enter(None, RULE, after(start, 4)).err();
        assert_eq!(refused, Some(Full::Broken(Duration::from_secs(6))));
        late.worked();
        assert_eq!(load.breaker(start), "open", "asked before it opened");
        let mut trial = load.enter(None, RULE, after(start, 10)).unwrap();
        let other = load.enter(None, RULE, after(start, 11)).err();
        assert!(
            matches!(other, Some(Full::Broken(_))),
            "one tries at a time"
        );
        trial.worked();
        assert_eq!(load.breaker(after(start, 11)), "closed");
        assert!(load.enter(None, RULE, after(start, 11)).is_ok());
    }

    #[test]
    fn a_try_that_fails_opens_it_again_and_one_given_up_leaves_it_to_the_next() {
        let (load, start) = (Arc::new(Load::default()), clock::now());
        let rule = RULE.unwrap();
        for _ in 0..2 {
            load.enter(None, RULE, start).unwrap().broke(rule, start);
        }
        let later = after(start, 10);
        assert!(load.enter(None, RULE, later).unwrap().broke(rule, later));
        assert!(load.enter(None, RULE, after(start, 19)).is_err());
        drop(load.enter(None, RULE, after(start, 20)).unwrap());
        let next = load.enter(None, RULE, after(start, 20));
        assert!(next.is_ok(), "the one before was given up");
        load.unruled();
        assert_eq!(load.breaker(start), "closed");
    }
}
