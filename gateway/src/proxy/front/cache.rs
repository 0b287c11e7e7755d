//! Answers that are kept to be given again: which may be, for whom, and for how long.
//!
//! The decision of the policy is taken anew for every request; only what the app would say is not asked for again.
//! Source: RFC 9111 sections 3 and 4.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use parking_lot::Mutex;
use pingora_http::ResponseHeader;
use policy::front::Cache as Written;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// The most bytes of bodies that are kept...
const BYTES: u64 = 64 << 20;
/// ...and the most answers.
const ANSWERS: usize = 10_000;

/// Names one answer: whose it is, and to what.
pub(crate) type Key = [u8; 32];

/// One answer that is kept.
pub(crate) struct Stored {
    /// Status and fields, as the area makes them, without those of the connection.
    pub(crate) head: ResponseHeader,
    /// The body.
    pub(crate) body: Bytes,
    /// What it answers, for those who forget by that.
    pub(crate) label: Label,
    since: Instant,
    fresh: Duration,
    stale: Duration,
}

impl Stored {
    /// Its age in seconds.
    pub(crate) fn age(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs()
    }
}

/// What an answer is to, and what its app calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// The app, such as `app.paie`.
    pub(crate) app: Arc<str>,
    /// The canonical path.
    pub(crate) path: String,
    /// The tags of its app.
    pub(crate) tags: Vec<String>,
}

/// Which answers are forgotten: of an app, and where these are given, of a path and of a tag.
#[derive(Clone, Debug)]
pub(crate) struct Which {
    /// The app, such as `app.paie`.
    pub(crate) app: Arc<str>,
    /// A canonical path; those below it count.
    pub(crate) path: Option<String>,
    /// A tag.
    pub(crate) tag: Option<String>,
}

impl Which {
    fn is(&self, label: &Label) -> bool {
        let below = |path: &String| {
            let rest = label.path.strip_prefix(path.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.app == label.app
            && self.path.as_ref().is_none_or(below)
            && self.tag.as_ref().is_none_or(|tag| label.tags.contains(tag))
    }
}

/// All answers that are kept; the least used go first.
#[derive(Default)]
pub(crate) struct Store(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    kept: HashMap<Key, (Arc<Stored>, u64)>,
    used: BTreeMap<u64, Key>,
    next: u64,
    bytes: u64,
    /// How often something was forgotten: what was asked for before is not kept after.
    purges: u64,
    /// Who is being asked right now.
    flights: HashMap<Key, watch::Receiver<()>>,
}

/// What the store says to a request.
pub(crate) enum Said {
    /// It is answered by this.
    Answer(Arc<Stored>),
    /// The app is asked on behalf of all who want the same; what stood there before may stand in.
    Ask(Lead, Option<Arc<Stored>>),
    /// Somebody asks already; wait for the end of that and look again.
    Wait(watch::Receiver<()>),
}

/// The duty to ask an app; when it is dropped, those who wait look again.
pub(crate) struct Lead {
    store: Arc<Store>,
    key: Key,
    purges: u64,
    _done: watch::Sender<()>,
}

impl Store {
    /// Looks an answer up. Of several who miss it one is to ask; the others get what is stale, or wait.
    pub(crate) fn look(self: &Arc<Self>, key: Key, now: Instant) -> Said {
        let mut inner = self.0.lock();
        let kept = inner.touch(&key);
        let usable = kept.filter(|kept| {
            let age = now.saturating_duration_since(kept.since);
            age < kept.fresh.saturating_add(kept.stale)
        });
        if let Some(kept) = &usable
            && now.saturating_duration_since(kept.since) < kept.fresh
        {
            return Said::Answer(Arc::clone(kept));
        }
        if let Some(flight) = inner.flights.get(&key) {
            return match usable {
                Some(kept) => Said::Answer(kept),
                None => Said::Wait(flight.clone()),
            };
        }
        let (done, flight) = watch::channel(());
        inner.flights.insert(key, flight);
        let lead = Lead {
            store: Arc::clone(self),
            key,
            purges: inner.purges,
            _done: done,
        };
        Said::Ask(lead, usable)
    }

    /// Forgets answers, also those on their way; returns how many there were.
    pub(crate) fn purge(&self, which: &Which) -> usize {
        let mut inner = self.0.lock();
        inner.purges += 1;
        let found = inner.kept.iter();
        let found = found.filter(|(_, (stored, _))| which.is(&stored.label));
        let keys: Vec<Key> = found.map(|(key, _)| *key).collect();
        for key in &keys {
            inner.drop_one(key);
        }
        keys.len()
    }
}

impl Lead {
    /// Keeps the answer that came.
    pub(crate) fn keep(self, answer: Answer, times: Times, now: Instant) {
        let stored = Arc::new(Stored {
            head: answer.head,
            body: answer.body,
            label: answer.label,
            since: now,
            fresh: times.fresh,
            stale: times.stale,
        });
        let mut inner = self.store.0.lock();
        if inner.purges == self.purges {
            inner.put(self.key, stored);
        }
    }
}

/// An answer that is to be kept.
pub(crate) struct Answer {
    /// Status and fields.
    pub(crate) head: ResponseHeader,
    /// The body.
    pub(crate) body: Bytes,
    /// What it answers.
    pub(crate) label: Label,
}

/// The field in which an app names its answers; it ends at the gateway.
pub(crate) const TAGS: &str = "cache-tag";
/// The most tags of an answer that count, and the longest of them in bytes.
const TAGS_MOST: (usize, usize) = (32, 128);

/// Reads the tags of an answer.
pub(crate) fn tags(answer: &ResponseHeader) -> Vec<String> {
    let lines = answer.headers.get_all(TAGS).iter();
    let words = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(',').map(str::trim));
    let sound = words.filter(|tag| (1..=TAGS_MOST.1).contains(&tag.len()));
    sound.take(TAGS_MOST.0).map(str::to_owned).collect()
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.store.0.lock().flights.remove(&self.key);
    }
}

impl Inner {
    fn touch(&mut self, key: &Key) -> Option<Arc<Stored>> {
        let (stored, at) = self.kept.get_mut(key)?;
        self.used.remove(at);
        *at = self.next;
        self.used.insert(self.next, *key);
        self.next += 1;
        Some(Arc::clone(stored))
    }

    fn put(&mut self, key: Key, stored: Arc<Stored>) {
        self.drop_one(&key);
        self.bytes = self.bytes.saturating_add(size(&stored));
        self.used.insert(self.next, key);
        self.kept.insert(key, (stored, self.next));
        self.next += 1;
        while self.bytes > BYTES || self.kept.len() > ANSWERS {
            let Some((_, oldest)) = self.used.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            self.drop_one(&oldest);
        }
    }

    fn drop_one(&mut self, key: &Key) {
        if let Some((stored, at)) = self.kept.remove(key) {
            self.used.remove(&at);
            self.bytes = self.bytes.saturating_sub(size(&stored));
        }
    }
}

/// What an answer takes: its body, and about as much for its fields as they are long.
fn size(stored: &Stored) -> u64 {
    let fields = stored.head.headers.iter();
    let fields: usize = fields.map(|(n, v)| n.as_str().len() + v.len() + 64).sum();
    let tags: usize = stored.label.tags.iter().map(|tag| tag.len() + 24).sum();
    let label = stored.label.path.len() + tags;
    u64::try_from(stored.body.len() + fields + label).unwrap_or(BYTES)
}

/// How long an answer stands, and how long it may stand in after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    fresh: Duration,
    stale: Duration,
}

/// Tells whether a request may be answered from what is kept.
pub(crate) fn may_look(request: &HeaderMap) -> bool {
    let told = |name: HeaderName, word: &str| {
        let mut lines = request.get_all(name).iter();
        lines.any(|line| line.to_str().unwrap_or_default().contains(word))
    };
    !request.contains_key(header::AUTHORIZATION)
        && !request.contains_key(header::RANGE)
        && !told(header::CACHE_CONTROL, "no-")
        && !told(header::CACHE_CONTROL, "max-age=0")
        && !told(header::PRAGMA, "no-cache")
}

/// Tells whether, and for how long, an answer may be kept.
pub(crate) fn may_keep(written: &Written, answer: &ResponseHeader) -> Option<Times> {
    let fields = &answer.headers;
    if answer.status != StatusCode::OK
        || fields.contains_key(header::SET_COOKIE)
        || fields.contains_key(header::CONTENT_RANGE)
    {
        return None;
    }
    let known = ["accept-encoding", "origin"];
    for line in fields.get_all(header::VARY) {
        let mut words = line
            .to_str()
            .ok()?
            .split(',')
            .map(|w| w.trim().to_ascii_lowercase());
        if words.any(|word| !known.contains(&word.as_str())) {
            return None;
        }
    }
    let mut fresh = Duration::from_secs(written.ttl.into());
    for line in fields.get_all(header::CACHE_CONTROL) {
        for word in line.to_str().ok()?.split(',') {
            let word = word.trim().to_ascii_lowercase();
            let name = word.split('=').next().unwrap_or_default();
            if ["private", "no-store", "no-cache"].contains(&name) {
                return None;
            }
            if let Some(secs) = word.strip_prefix("max-age=") {
                fresh = fresh.min(Duration::from_secs(secs.parse().ok()?));
            }
        }
    }
    let length = fields.get(header::CONTENT_LENGTH);
    let length = length.and_then(|n| n.to_str().ok()?.parse::<u64>().ok());
    let fits = length.is_none_or(|length| length <= written.most);
    (fits && !fresh.is_zero()).then(|| Times {
        fresh,
        stale: Duration::from_secs(written.stale.into()),
    })
}

/// Names an answer. `owner` is whose it is; the empty text is everybody's.
pub(crate) fn key(parts: &[&str], owner: &str) -> Key {
    let mut hash = Sha256::new();
    for part in parts.iter().chain([&owner]) {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};
    use pingora_http::ResponseHeader;
    use policy::front::{Cache, Shared};

    use super::{
        ANSWERS, Answer, BYTES, Label, Lead, Said, Store, Times, Which, key, may_keep, may_look,
        tags,
    };
    use crate::clock;

    const TIMES: Times = Times {
        fresh: Duration::from_secs(10),
        stale: Duration::from_secs(10),
    };

    fn ok() -> ResponseHeader {
        ResponseHeader::build(200, None).unwrap()
    }

    fn answer(body: Vec<u8>) -> Answer {
        labelled(body, "app.shop", "/", &[])
    }

    fn labelled(body: Vec<u8>, app: &str, path: &str, tags: &[&str]) -> Answer {
        Answer {
            head: ok(),
            body: Bytes::from(body),
            label: Label {
                app: app.into(),
                path: path.to_owned(),
                tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            },
        }
    }

    fn lead(said: Said) -> (Lead, bool) {
        match said {
            Said::Ask(lead, stale) => (lead, stale.is_some()),
            Said::Answer(_) => panic!("answered"),
            Said::Wait(_) => panic!("must wait"),
        }
    }

    #[test]
    fn one_of_many_asks_and_the_others_wait_and_then_have_it() {
        let (store, now) = (Arc::new(Store::default()), clock::now());
        let name = key(&["a"], "");
        let (first, stale) = lead(store.look(name, now));
        assert!(!stale);
        let Said::Wait(waiting) = store.look(name, now) else {
            panic!("two ask")
        };
        assert!(waiting.has_changed().is_ok());
        first.keep(answer(b"x".to_vec()), TIMES, now);
        assert!(waiting.has_changed().is_err(), "the wait is over");
        assert!(matches!(store.look(name, now), Said::Answer(kept) if kept.body == "x"));
        // whom the app did not answer leaves the duty to the next
        let (failed, _) = lead(store.look(key(&["b"], ""), now));
        drop(failed);
        lead(store.look(key(&["b"], ""), now));
    }

    #[test]
    fn an_old_answer_stands_in_while_one_asks_and_not_for_ever() {
        let (store, now) = (Arc::new(Store::default()), clock::now());
        let name = key(&["a"], "");
        let (first, _) = lead(store.look(name, now));
        first.keep(answer(Vec::new()), TIMES, now);
        let at = |secs| now + Duration::from_secs(secs);
        assert!(matches!(store.look(name, at(9)), Said::Answer(kept) if kept.age(at(9)) == 9));
        let (asks, stale) = lead(store.look(name, at(11)));
        assert!(stale);
        assert!(matches!(store.look(name, at(11)), Said::Answer(_)));
        drop(asks);
        let (_asks, stale) = lead(store.look(name, at(21)));
        assert!(!stale);
    }

    #[test]
    fn what_is_forgotten_is_of_the_app_the_path_and_the_tag_and_nothing_else() {
        let (store, now) = (Arc::new(Store::default()), clock::now());
        let all = [
            ("app.shop", "/prices", &["p", "q"][..]),
            ("app.shop", "/prices/7", &["p"][..]),
            ("app.shop", "/pricesx", &["q"][..]),
            ("app.other", "/prices", &["p"][..]),
        ];
        let name = |app: &str, path: &str| key(&[app, path], "");
        let fill = || {
            for (app, path, tags) in all {
                if let Said::Ask(lead, _) = store.look(name(app, path), now) {
                    lead.keep(labelled(Vec::new(), app, path, tags), TIMES, now);
                }
            }
        };
        let forget = |path: Option<&str>, tag: Option<&str>| {
            fill();
            store.purge(&Which {
                app: "app.shop".into(),
                path: path.map(str::to_owned),
                tag: tag.map(str::to_owned),
            })
        };
        assert_eq!(forget(None, None), 3);
        assert_eq!(forget(Some("/prices"), None), 2);
        assert_eq!(forget(Some("/"), None), 3);
        assert_eq!(forget(None, Some("p")), 2);
        assert_eq!(forget(Some("/pricesx"), Some("p")), 0);
        let other = store.look(name("app.other", "/prices"), now);
        assert!(matches!(other, Said::Answer(_)), "another app's stays");
        // what was asked for before is old when it comes
        let (late, _) = lead(store.look(name("app.shop", "/late"), now));
        assert_eq!(forget(Some("/late"), None), 0);
        late.keep(labelled(Vec::new(), "app.shop", "/late", &[]), TIMES, now);
        lead(store.look(name("app.shop", "/late"), now));
    }

    #[test]
    fn tags_are_words_between_commas_and_not_too_many() {
        let mut head = ok();
        head.append_header("cache-tag", "a, b,,c").unwrap();
        head.append_header("cache-tag", "d".repeat(200)).unwrap();
        assert_eq!(tags(&head), ["a", "b", "c"]);
        head.insert_header("cache-tag", "x,".repeat(100)).unwrap();
        assert_eq!(tags(&head).len(), 32);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_least_used_goes_first() {
        let (store, now) = (Arc::new(Store::default()), clock::now());
        let put = |n: usize, bytes: usize| {
            let (lead, _) = lead(store.look(key(&[&n.to_string()], ""), now));
            lead.keep(answer(vec![0; bytes]), TIMES, now);
        };
        for n in 0..ANSWERS + 5 {
            put(n, 1);
        }
        assert_eq!(store.0.lock().kept.len(), ANSWERS);
        let has = |n: usize| {
            store
                .0
                .lock()
                .kept
                .contains_key(&key(&[&n.to_string()], ""))
        };
        assert!(!has(4) && has(5));
        for n in 0..20 {
            put(100_000 + n, (8 << 20) - 64);
        }
        let inner = store.0.lock();
        assert!(
            inner.bytes <= BYTES && inner.kept.len() == 8,
            "{}",
            inner.kept.len()
        );
        assert_eq!(inner.used.len(), inner.kept.len());
        assert!(inner.flights.is_empty());
    }

    #[test]
    fn the_answers_of_two_people_have_two_names() {
        assert_ne!(key(&["a", "b"], "ines"), key(&["a", "b"], "max"));
        assert_ne!(key(&["a", "b"], ""), key(&["ab", ""], ""));
    }

    fn kept(fields: &[(&'static str, &str)]) -> Option<Times> {
        let written = Cache {
            ttl: 60,
            stale: 5,
            shared: Shared::No,
            most: 1000,
        };
        let mut answer = ok();
        for (name, value) in fields {
            answer.append_header(*name, *value).unwrap();
        }
        may_keep(&written, &answer)
    }

    #[test]
    fn what_a_cookie_privacy_or_the_request_shapes_is_never_kept() {
        for fields in [
            &[("set-cookie", "a=b")][..],
            &[("cache-control", "private")],
            &[("cache-control", "public, no-store")],
            &[("cache-control", "no-cache=\"x\"")],
            &[("cache-control", "max-age=0")],
            &[("cache-control", "max-age=soon")],
            &[("vary", "Cookie")],
            &[("vary", "*")],
            &[("content-length", "1001")],
            &[("content-range", "bytes 0-1/2")],
        ] {
            assert_eq!(kept(fields), None, "{fields:?}");
        }
        let fresh = |fields| kept(fields).map(|times| times.fresh.as_secs());
        assert_eq!(fresh(&[]), Some(60));
        assert_eq!(fresh(&[("cache-control", "public, max-age=7")]), Some(7));
        assert_eq!(
            fresh(&[
                ("cache-control", "max-age=700"),
                ("vary", "Accept-Encoding")
            ]),
            Some(60)
        );
    }

    #[test]
    fn a_request_with_a_token_a_range_or_a_wish_for_the_new_goes_to_the_app() {
        let looks = |name: &'static str, value: &'static str| {
            let mut map = HeaderMap::new();
            map.insert(name, HeaderValue::from_static(value));
            may_look(&map)
        };
        assert!(looks("accept", "text/html"));
        assert!(!looks("authorization", "Bearer x"));
        assert!(!looks("range", "bytes=0-1"));
        assert!(!looks("cache-control", "no-cache"));
        assert!(!looks("cache-control", "max-age=0"));
        assert!(looks("cache-control", "max-age=60"));
    }
}
