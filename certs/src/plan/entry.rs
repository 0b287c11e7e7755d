//! One certificate of the plan.

use super::dice::Dice;
use super::guard::{Limit, Spent};
use super::{Failure, HOUR, Held, LONGEST_BLOCK, Remembered, Rules, Spending, State, Window};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) names: Vec<String>,
    pub(super) held: Option<Held>,
    /// When its renewal begins.
    pub(super) due: i64,
    /// When it is tried next: the time it is due, or later after a failure.
    pub(super) next: i64,
    /// The directory to ask next.
    pub(super) directory: usize,
    /// The directory that signed what is in use, where that is known.
    issuer: Option<usize>,
    pub(super) failures: u32,
    failed: Option<Failure>,
    ordering: Option<usize>,
    window: Option<Window>,
    ask_window: i64,
    places: Vec<Place>,
}

/// What was asked of one directory.
#[derive(Debug, Default)]
struct Place {
    issued: Spent,
    failed: Spent,
    blocked_until: i64,
}

impl Entry {
    pub(super) fn new(names: Vec<String>, directories: usize, now: i64) -> Self {
        Self {
            names,
            held: None,
            due: now,
            next: now,
            directory: 0,
            issuer: None,
            failures: 0,
            failed: None,
            ordering: None,
            window: None,
            ask_window: i64::MAX,
            places: (0..directories).map(|_| Place::default()).collect(),
        }
    }

    /// Returns what must not be forgotten; `None` where there is nothing.
    pub(super) fn remembered(&self, rules: &Rules, now: i64) -> Option<Remembered> {
        let spending = |place: &Place| Spending {
            issued: place.issued.times(rules.issued, now),
            failed: place.failed.times(rules.failed, now),
            blocked_until: place.blocked_until.max(now),
        };
        let places: Vec<_> = self.places.iter().map(spending).collect();
        let idle =
            |p: &Spending| p.issued.is_empty() && p.failed.is_empty() && p.blocked_until == now;
        // of use as long as there is what it signed
        let issuer = self.issuer.filter(|_| self.held.is_some());
        let nothing = self.failures == 0 && issuer.is_none() && places.iter().all(idle);
        (!nothing).then(|| Remembered {
            failures: self.failures,
            failed: self.failed.clone(),
            issuer,
            places,
        })
    }

    /// Takes back what was remembered: the next try is as soon as the directories' limits allow, the
    /// wait after it as long as it would have been.
    pub(super) fn remember(&mut self, past: Remembered, now: i64) {
        self.failures = past.failures;
        self.failed = past.failed;
        self.issuer = past.issuer;
        for (place, spending) in self.places.iter_mut().zip(past.places) {
            let longest = now.saturating_add(LONGEST_BLOCK);
            *place = Place {
                issued: Spent::of(spending.issued, now),
                failed: Spent::of(spending.failed, now),
                blocked_until: spending.blocked_until.min(longest),
            };
        }
    }

    pub(super) fn is_ordering(&self) -> bool {
        self.ordering.is_some()
    }

    pub(super) fn begin_order(&mut self, at: usize) {
        self.ordering = Some(at);
    }

    /// Ends the order and returns where it was.
    pub(super) fn end_order(&mut self) -> Option<usize> {
        self.ordering.take()
    }

    /// Takes what is in use and plans its renewal: at a third of its life left, and up to a
    /// twentieth of its life earlier.
    pub(super) fn hold(&mut self, held: Option<Held>, dice: &mut Dice, now: i64) {
        self.held = held;
        self.window = None;
        let Some(held) = held else {
            (self.due, self.ask_window) = (now, i64::MAX);
            if self.failures == 0 {
                self.next = now;
            }
            return;
        };
        let life = held.not_after.saturating_sub(held.not_before);
        let early = dice.between(life / 60, life / 20);
        self.due = held.not_after.saturating_sub(life / 3 + early);
        self.ask_window = now;
        if self.failures == 0 {
            self.next = self.due;
        }
    }

    /// Takes a directory's window: a random time in it, but never in the last sixth of a life.
    pub(super) fn offer(&mut self, window: Option<Window>, again: i64, dice: &mut Dice, now: i64) {
        self.ask_window = if self.held.is_some() { again } else { i64::MAX };
        let (Some(window), Some(held)) = (window, self.held) else {
            return;
        };
        if self.window == Some(window) || window.end <= window.start {
            return;
        }
        self.window = Some(window);
        let life = held.not_after.saturating_sub(held.not_before);
        let latest = held.not_after.saturating_sub(life / 6);
        let drawn = dice.between(window.start, window.end);
        self.due = drawn.min(latest).max(now);
        if self.failures == 0 {
            self.next = self.due;
        }
    }

    pub(super) fn asks_at(&self) -> i64 {
        match self.ordering {
            Some(_) => i64::MAX,
            None => self.ask_window,
        }
    }

    pub(super) fn asked(&mut self, again: i64) {
        self.ask_window = again;
    }

    /// Returns the directory that knows of what is in use: the one that signed it.
    pub(super) fn issuer(&self) -> usize {
        self.issuer.unwrap_or(0)
    }

    pub(super) fn succeed(&mut self, at: usize) {
        self.issuer = Some(at);
        self.failures = 0;
        self.failed = None;
        self.directory = 0;
    }

    pub(super) fn fail(&mut self, failure: Failure, directories: usize) {
        self.failures = self.failures.saturating_add(1);
        self.failed = Some(failure);
        self.directory = (self.directory + 1) % directories.max(1);
    }

    pub(super) fn hurry(&mut self, now: i64) {
        self.next = now;
    }

    pub(super) fn block(&mut self, at: usize, until: i64) {
        if let Some(place) = self.places.get_mut(at) {
            place.blocked_until = place.blocked_until.max(until);
        }
    }

    pub(super) fn spend_issued(&mut self, at: usize, limit: Limit, now: i64) {
        if let Some(place) = self.places.get_mut(at) {
            place.issued.spend(limit, now);
        }
    }

    pub(super) fn spend_failed(&mut self, at: usize, limit: Limit, now: i64) {
        if let Some(place) = self.places.get_mut(at) {
            place.failed.spend(limit, now);
        }
    }

    /// Returns from when on a directory may be asked for this certificate.
    pub(super) fn free_at(&self, at: usize, rules: &Rules) -> i64 {
        let place = self.places.get(at);
        place.map_or(i64::MAX, |place| {
            let guarded = place.issued.free_at(rules.issued);
            let failed = place.failed.free_at(rules.failed);
            guarded.max(failed).max(place.blocked_until)
        })
    }

    /// Returns the longest wait that the time left allows: a tenth of it, at least an hour.
    pub(super) fn patience(&self, now: i64) -> i64 {
        let left = self.held.map_or(0, |h| h.not_after.saturating_sub(now));
        (left / 10).max(HOUR)
    }

    pub(super) fn state(&self, free: i64) -> State {
        State {
            names: self.names.clone(),
            held: self.held,
            next: self.next.max(free),
            ordering: self.is_ordering(),
            failures: self.failures,
            failed: self.failed.clone(),
        }
    }
}
