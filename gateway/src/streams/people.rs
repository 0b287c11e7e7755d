//! How many requests each person has open at once, over all their devices and browsers.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Open requests by person; who has none open has no entry.
pub(crate) struct People {
    most: usize,
    open: Mutex<HashMap<Arc<str>, usize>>,
}

impl People {
    /// Gives each person `most` places.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            open: Mutex::default(),
        })
    }

    /// Takes a place of a person; `None` when all are taken.
    pub(crate) fn enter(self: &Arc<Self>, user: &Arc<str>) -> Option<Place> {
        let mut open = self.open.lock();
        let count = open.get(user).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        open.insert(Arc::clone(user), count.saturating_add(1));
        drop(open);
        Some(Place {
            of: Arc::clone(self),
            user: Arc::clone(user),
        })
    }
}

/// A place that is taken; dropping it gives it back.
pub(crate) struct Place {
    of: Arc<People>,
    user: Arc<str>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.open.lock();
        match open.get_mut(&self.user) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            Some(_) | None => drop(open.remove(&self.user)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::People;

    #[test]
    fn a_person_has_so_many_places_and_others_have_theirs() {
        let people = People::new(2);
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        let first = people.enter(&ann).unwrap();
        let second = people.enter(&ann).unwrap();
        assert!(people.enter(&ann).is_none());
        let other = people.enter(&bob);
        assert!(other.is_some());
        drop(first);
        let third = people.enter(&ann);
        assert!(third.is_some());
        assert!(people.enter(&ann).is_none());
        drop((second, third, other));
        assert!(people.open.lock().is_empty());
    }
}
