//! A form that was sent after the session had ended: kept for the same person, offered once.
//!
//! Only what a browser sends as a plain form to the app's own origin is kept, and only for somebody
//! who was signed in there: sealed, for some minutes, bound to the browser by the nonce of the
//! hand-over and to the person. Nothing is ever sent by itself; a page says what would be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::ids;
use crate::secrets::Keys;

/// The longest body that is kept.
pub(crate) const BODY_MAX: usize = 64 * 1024;
/// How long it is kept: a sign-in takes five minutes at most, twice.
const LIFE: Duration = Duration::from_secs(10 * 60);
/// Bodies of all people, of one person, and bytes of all.
const MOST: usize = 256;
const MOST_OF_ONE: usize = 4;
const BYTES: usize = 8 * 1024 * 1024;
/// Fields a page can show.
const FIELDS: usize = 500;
/// The kind of sealed bodies.
const KIND: &str = "kept-form";

/// A form with where it was sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Path and query of the app.
    pub(crate) path_and_query: String,
    /// `application/x-www-form-urlencoded`.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// For whom and from which browser a form is kept, and for which app.
#[derive(Clone, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) user: &'a Arc<str>,
    /// The nonce of the hand-over.
    pub(crate) nonce: &'a str,
    /// Canonical host of the app.
    pub(crate) host: &'a str,
}

struct Entry {
    user: Arc<str>,
    nonce: [u8; 32],
    host: String,
    path_and_query: String,
    sealed: Vec<u8>,
    at: Instant,
}

/// The forms that wait.
#[derive(Default)]
pub(crate) struct Kept(Mutex<HashMap<[u8; 32], Entry>>);

impl Kept {
    /// Keeps a form and returns the id to ask for it with; `None` for what is no plain form, or
    /// where there is no room. A person's oldest gives way to the newest.
    pub(crate) fn put(
        &self,
        keys: &Keys,
        owner: &Owner<'_>,
        form: &Form,
        now: Instant,
    ) -> Option<String> {
        if form.body.len() > BODY_MAX || fields(&form.body).is_none() {
            return None;
        }
        let id = ids::token();
        let sealed = keys.seal(KIND, &id, &form.body);
        let mut all = self.0.lock();
        all.retain(|_, entry| now.saturating_duration_since(entry.at) < LIFE);
        let own = all.iter().filter(|(_, e)| e.user == *owner.user);
        let oldest = own.clone().min_by_key(|(_, e)| e.at).map(|(key, _)| *key);
        if own.count() >= MOST_OF_ONE
            && let Some(oldest) = oldest
        {
            all.remove(&oldest);
        }
        let bytes: usize = all.values().map(|e| e.sealed.len()).sum();
        if all.len() >= MOST || bytes + sealed.len() > BYTES {
            return None;
        }
        let entry = Entry {
            user: Arc::clone(owner.user),
            nonce: digest(owner.nonce),
            host: owner.host.to_owned(),
            path_and_query: form.path_and_query.clone(),
            sealed,
            at: now,
        };
        all.insert(digest(&id), entry);
        Some(id)
    }

    /// Takes a form out for its person in its browser; whoever else asks makes it vanish.
    pub(crate) fn take(
        &self,
        keys: &Keys,
        owner: &Owner<'_>,
        id: &str,
        now: Instant,
    ) -> Option<Form> {
        let entry = self.0.lock().remove(&digest(id))?;
        let fresh = now.saturating_duration_since(entry.at) < LIFE;
        let same = entry.user == *owner.user
            && entry.nonce == digest(owner.nonce)
            && entry.host == owner.host;
        let body = keys.open(KIND, id, &entry.sealed)?;
        (fresh && same).then_some(Form {
            path_and_query: entry.path_and_query,
            body,
        })
    }

    /// Drops what is kept for a person.
    pub(crate) fn drop_user(&self, user: &str) {
        self.0.lock().retain(|_, entry| *entry.user != *user);
    }
}

/// A field of a form with its value.
pub(crate) type Field = (Zeroizing<String>, Zeroizing<String>);

/// Reads a form; `None` for what a browser would not send again byte for byte.
pub(crate) fn fields(body: &[u8]) -> Option<Vec<Field>> {
    let mut out = Vec::new();
    for pair in body.split(|b| *b == b'&').filter(|_| !body.is_empty()) {
        let cut = pair.iter().position(|b| *b == b'=')?;
        let (name, value) = pair.split_at(cut);
        let name = crate::pages::decode(name)?;
        // browsers give a hidden field of this name another value
        if *name == "_charset_" || name.is_empty() || out.len() >= FIELDS {
            return None;
        }
        let value = crate::pages::decode(value.get(1..).unwrap_or_default())?;
        out.push((name, value));
    }
    Some(out)
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use zeroize::Zeroizing;

    use super::{BODY_MAX, Form, Kept, LIFE, MOST_OF_ONE, Owner, fields};
    use crate::clock;
    use crate::secrets::Keys;
    use crate::store::tests::Folder;

    const BODY: &str = "title=A+minute&text=l%C3%A9ger%0D%0A&title=again";

    struct Bench {
        kept: Kept,
        keys: Keys,
        now: Instant,
        _folder: Folder,
    }

    impl Bench {
        fn new() -> Self {
            let folder = Folder::new();
            Self {
                kept: Kept::default(),
                keys: Keys::create(&folder.path().join("master.key")).unwrap(),
                now: clock::now(),
                _folder: folder,
            }
        }

        fn put(&self, user: &str, body: &str) -> Option<String> {
            let form = Form {
                path_and_query: "/notes?x=1".to_owned(),
                body: Zeroizing::new(body.as_bytes().to_vec()),
            };
            self.kept
                .put(&self.keys, &owner(&user.into()), &form, self.now)
        }

        fn take(&self, owner: &Owner<'_>, id: &str, after: Duration) -> Option<Form> {
            self.kept.take(&self.keys, owner, id, self.now + after)
        }
    }

    fn owner(user: &Arc<str>) -> Owner<'_> {
        Owner {
            user,
            nonce: "browser",
            host: "app.example",
        }
    }

    #[test]
    fn a_form_comes_back_once_for_its_person_in_its_browser() {
        let (bench, alice) = (Bench::new(), "alice".into());
        let id = bench.put("alice", BODY).unwrap();
        let form = bench.take(&owner(&alice), &id, Duration::ZERO).unwrap();
        assert_eq!(form.path_and_query, "/notes?x=1");
        assert_eq!(form.body.as_slice(), BODY.as_bytes());
        assert_eq!(bench.take(&owner(&alice), &id, Duration::ZERO), None);
    }

    #[test]
    fn whoever_else_asks_gets_nothing_and_makes_it_vanish() {
        let (bench, alice, eve) = (Bench::new(), "alice".into(), "eve".into());
        let other_browser = Owner {
            nonce: "other",
            ..owner(&alice)
        };
        let other_app = Owner {
            host: "other.example",
            ..owner(&alice)
        };
        for asks in [owner(&eve), other_browser, other_app] {
            let id = bench.put("alice", BODY).unwrap();
            assert_eq!(bench.take(&asks, &id, Duration::ZERO), None);
            assert_eq!(bench.take(&owner(&alice), &id, Duration::ZERO), None);
        }
        let id = bench.put("alice", BODY).unwrap();
        assert_eq!(bench.take(&owner(&alice), &id, LIFE), None);
        let id = bench.put("alice", BODY).unwrap();
        bench.kept.drop_user("alice");
        assert_eq!(bench.take(&owner(&alice), &id, Duration::ZERO), None);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest_of_a_person_stays() {
        let (bench, alice, bob) = (Bench::new(), "alice".into(), "bob".into());
        let of_bob = bench.put("bob", BODY).unwrap();
        let ids: Vec<_> = (0..MOST_OF_ONE + 1)
            .map(|_| bench.put("alice", BODY).unwrap())
            .collect();
        let left = |id: &&String| bench.take(&owner(&alice), id, Duration::ZERO).is_some();
        assert_eq!(ids.iter().filter(left).count(), MOST_OF_ONE);
        assert!(bench.take(&owner(&bob), &of_bob, Duration::ZERO).is_some());
        assert!(
            bench
                .put("alice", &format!("a={}", "x".repeat(BODY_MAX - 2)))
                .is_some()
        );
        assert!(
            bench
                .put("alice", &format!("a={}", "x".repeat(BODY_MAX - 1)))
                .is_none()
        );
        for n in 0..300 {
            bench.put(&format!("user{n}"), &format!("a={}", "x".repeat(60_000)));
        }
        assert!(
            bench
                .put("last", &format!("a={}", "x".repeat(60_000)))
                .is_none()
        );
    }

    #[test]
    fn only_what_a_browser_would_send_again_alike_is_a_form() {
        let read = |body: &str| fields(body.as_bytes()).map(|f| f.len());
        assert_eq!(read(BODY), Some(3));
        assert_eq!(read("a="), Some(1));
        assert_eq!(read(""), Some(0));
        for bad in ["a", "a=%ff", "a=%4", "_charset_=utf-8", "=x", "a=1&&b=2"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
