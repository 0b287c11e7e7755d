//! Texts that were sent when a fresh code was due: kept until their page is opened again, so that the way over the
//! code loses nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

/// The most texts that are kept, and how long.
const KEPT_MAX: usize = 16;
const KEPT: Duration = Duration::from_secs(3600);

/// The texts of a gateway; a person has one at most.
#[derive(Default)]
pub(super) struct Drafts(Mutex<VecDeque<Draft>>);

struct Draft {
    user: String,
    page: String,
    body: Bytes,
    at: Instant,
}

impl Drafts {
    /// Keeps what a person sent to a page, in place of what was kept of theirs; the oldest of others makes room.
    pub(super) fn keep(&self, user: &str, page: &str, body: Bytes, now: Instant) {
        let mut held = self.0.lock();
        held.retain(|draft| draft.user != user && draft.is_young(now));
        if held.len() >= KEPT_MAX {
            held.pop_front();
        }
        held.push_back(Draft {
            user: user.to_owned(),
            page: page.to_owned(),
            body,
            at: now,
        });
    }

    /// Gives back what a person sent to a page, once.
    pub(super) fn take(&self, user: &str, page: &str, now: Instant) -> Option<Bytes> {
        let mut held = self.0.lock();
        let found = held
            .iter()
            .position(|draft| draft.user == user && draft.page == page)?;
        let draft = held.remove(found)?;
        draft.is_young(now).then_some(draft.body)
    }
}

impl Draft {
    fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < KEPT
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Drafts, KEPT, KEPT_MAX};
    use crate::clock;

    #[test]
    fn a_text_comes_back_once_to_its_person_and_page() {
        let (drafts, now) = (Drafts::default(), clock::now());
        drafts.keep("ann", "/a", Bytes::from_static(b"one"), now);
        assert_eq!(drafts.take("bob", "/a", now), None);
        assert_eq!(drafts.take("ann", "/b", now), None);
        assert_eq!(
            drafts.take("ann", "/a", now),
            Some(Bytes::from_static(b"one"))
        );
        assert_eq!(drafts.take("ann", "/a", now), None);
    }

    #[test]
    fn texts_are_few_and_do_not_last() {
        let (drafts, now) = (Drafts::default(), clock::now());
        for at in 0..=KEPT_MAX {
            let user = format!("u{at}");
            drafts.keep(&user, "/a", Bytes::from_static(b"x"), now);
            drafts.keep(&user, "/a", Bytes::from_static(b"y"), now);
        }
        assert_eq!(drafts.0.lock().len(), KEPT_MAX);
        assert_eq!(drafts.take("u0", "/a", now), None);
        assert_eq!(drafts.take("u1", "/a", now + KEPT), None);
        assert_eq!(drafts.take("u2", "/a", now), Some(Bytes::from_static(b"y")));
    }
}
