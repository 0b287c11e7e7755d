//! Answers that are kept to be given again: which may be, for whom, and for how long.
//!
//! The decision of the policy is taken anew for every request; only what the app would say is not asked for again.
//! Source: RFC 9111 sections 3 and 4.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header, response};
use parking_lot::Mutex;
use pingora_http::ResponseHeader;
use policy::front::Cache as Written;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The most answers that are kept.
const ANSWERS: usize = 10_000;
/// The most that are asked for again at once, behind what was given out meanwhile.
const REFRESHES: usize = 64;

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
    /// Tells whether it may be used without asking.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < self.fresh
    }

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
pub(crate) struct Store {
    inner: Mutex<Inner>,
    /// The most bytes of answers that are kept.
    most: u64,
    refreshes: Arc<Semaphore>,
}

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
    /// Keeps at most so many bytes of answers.
    pub(crate) fn new(most: u64) -> Self {
        Self {
            inner: Mutex::default(),
            most,
            refreshes: Arc::new(Semaphore::new(REFRESHES)),
        }
    }

    /// Takes a place among those who ask an app behind an answer that was given out.
    pub(crate) fn may_refresh(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.refreshes).try_acquire_owned().ok()
    }

    /// Looks a whole answer up that still stands, for who wants a part of it; who misses it asks for that part alone.
    pub(crate) fn whole(&self, key: &Key, now: Instant) -> Option<Arc<Stored>> {
        let kept = self.inner.lock().touch(key)?;
        kept.is_fresh(now).then_some(kept)
    }

    /// Looks an answer up. Of several who miss it one is to ask; the others get what is stale, or wait.
    pub(crate) fn look(self: &Arc<Self>, key: Key, now: Instant) -> Said {
        let mut inner = self.inner.lock();
        let kept = inner.touch(&key);
        let usable = kept.filter(|kept| {
            let age = now.saturating_duration_since(kept.since);
            age < kept.fresh.saturating_add(kept.stale)
        });
        if let Some(kept) = &usable
            && kept.is_fresh(now)
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
        let mut inner = self.inner.lock();
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
        let mut inner = self.store.inner.lock();
        if inner.purges == self.purges {
            inner.put(self.key, stored, self.store.most);
        }
    }

    /// Forgets what stood there: the app has said something else, which may not be kept.
    pub(crate) fn forget(self) {
        self.store.inner.lock().drop_one(&self.key);
    }

    /// Tells whether it is to ask for the answer of this name.
    pub(crate) fn is_for(&self, key: &Key) -> bool {
        self.key == *key
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
pub(crate) const TAGS: HeaderName = HeaderName::from_static("cache-tag");
/// The most tags of an answer that count, and the longest of them in bytes.
const TAGS_MOST: (usize, usize) = (32, 128);

/// Reads the tags of an answer.
pub(crate) fn tags(answer: &response::Parts) -> Vec<String> {
    let lines = answer.headers.get_all(&TAGS).iter();
    let words = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(',').map(str::trim));
    let sound = words.filter(|tag| (1..=TAGS_MOST.1).contains(&tag.len()));
    sound.take(TAGS_MOST.0).map(str::to_owned).collect()
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.store.inner.lock().flights.remove(&self.key);
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

    fn put(&mut self, key: Key, stored: Arc<Stored>, most: u64) {
        self.drop_one(&key);
        if size(&stored) > most {
            return;
        }
        self.bytes = self.bytes.saturating_add(size(&stored));
        self.used.insert(self.next, key);
        self.kept.insert(key, (stored, self.next));
        self.next += 1;
        while self.bytes > most || self.kept.len() > ANSWERS {
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
    u64::try_from(stored.body.len() + fields + label).unwrap_or(u64::MAX)
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
        && !request.contains_key(header::IF_MATCH)
        && !request.contains_key(header::IF_UNMODIFIED_SINCE)
        && !told(header::CACHE_CONTROL, "no-")
        && !told(header::CACHE_CONTROL, "max-age=0")
        && !told(header::PRAGMA, "no-cache")
}

/// Tells whether, and for how long, an answer may be kept.
pub(crate) fn may_keep(written: &Written, answer: &response::Parts) -> Option<Times> {
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
mod tests;
