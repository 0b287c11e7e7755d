//! How many requests each person has open at once, over all their devices and browsers.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::limits::Tally;

/// Open requests by person.
pub(crate) struct People {
    most: usize,
    open: Mutex<Tally<Arc<str>>>,
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
        let entered = self.open.lock().add_below(Arc::clone(user), self.most);
        entered.then(|| Place {
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
        self.of.open.lock().take(&self.user);
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
