//! Answers that are kept to be given again: which may be, for whom, and for how long.
//!
//! The decision of the policy is taken anew for every request; only what the app would say is not asked for again.
//! Source: RFC 9111 sections 3 and 4.

mod fresh;

pub(crate) use fresh::{Times, may_keep, may_look};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, response};
use parking_lot::Mutex;
use pingora_http::ResponseHeader;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The most answers that are kept.
const ANSWERS: usize = 10_000;
/// The most that are asked for again at once, behind what was given out meanwhile.
const REFRESHES: usize = 64;

/// How long others wait for an answer once it is on its way to who asked, whose reading it may wait for.
const PASSING: Duration = Duration::from_secs(1);
/// How long each asks for itself after an answer that may not be kept, and after one that failed.
const UNKEPT: Duration = Duration::from_secs(10);
const FAILED: Duration = Duration::from_secs(1);
/// The most names of which that is known.
const ALONE: usize = 10_000;

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
    times: Times,
}

impl Stored {
    /// Tells whether it may be used without asking.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < self.times.fresh
    }

    /// Tells whether it may be given out at all, while the app is asked.
    fn is_usable(&self, now: Instant) -> bool {
        let most = self.times.fresh.saturating_add(self.times.stale);
        now.saturating_duration_since(self.since) < most
    }

    /// Its age in seconds.
    pub(crate) fn age(&self, now: Instant) -> u64 {
        let here = now.saturating_duration_since(self.since);
        here.saturating_add(self.times.age).as_secs()
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
    flights: HashMap<Key, Flight>,
    /// What was not to be kept, and until when each asks for itself.
    alone: HashMap<Key, Instant>,
    /// When those were looked through last.
    pruned: Option<Instant>,
}

/// One who asks an app on behalf of all who want the same.
struct Flight {
    number: u64,
    done: watch::Receiver<()>,
    /// Until when others wait, once the answer is on its way.
    until: Option<Instant>,
}

/// What the store says to a request.
pub(crate) enum Said {
    /// It is answered by this.
    Answer(Arc<Stored>),
    /// The app is asked on behalf of all who want the same; what stood there before may stand in.
    Ask(Lead, Option<Arc<Stored>>),
    /// The app is asked on nobody's behalf.
    Alone,
    /// Somebody asks already; wait for news of that, until then at most, and look again.
    Wait(watch::Receiver<()>, Option<Instant>),
}

/// The duty to ask an app; when it is dropped, those who wait look again.
pub(crate) struct Lead {
    store: Arc<Store>,
    key: Key,
    purges: u64,
    /// Those who wait for it, unless each asks for itself.
    flight: Option<(u64, watch::Sender<()>)>,
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

    /// Looks an answer up. Of several who miss it one is to ask; the others get what is stale, or wait. Who has an answer
    /// already and asks whether it still stands (`knows`) asks for itself where none was kept before.
    pub(crate) fn look(self: &Arc<Self>, key: Key, knows: bool, now: Instant) -> Said {
        let mut inner = self.inner.lock();
        let kept = inner.touch(&key);
        let was_kept = kept.is_some();
        let usable = kept.filter(|kept| kept.is_usable(now));
        if let Some(kept) = usable.as_ref().filter(|kept| kept.is_fresh(now)) {
            return Said::Answer(Arc::clone(kept));
        }
        let flight = inner.flights.get(&key);
        if let Some(flight) = flight.filter(|f| f.until.is_none_or(|until| now < until)) {
            return match usable {
                Some(kept) => Said::Answer(kept),
                None => Said::Wait(flight.done.clone(), flight.until),
            };
        }
        let alone = inner.alone.get(&key).is_some_and(|until| now < *until);
        if let Some(kept) = usable.as_ref().filter(|_| alone) {
            // its app failed a moment ago
            return Said::Answer(Arc::clone(kept));
        }
        if knows && (alone || !was_kept) {
            return Said::Alone;
        }
        let flight = (!alone).then(|| inner.take_off(key));
        let lead = Lead {
            store: Arc::clone(self),
            key,
            purges: inner.purges,
            flight,
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
    /// Says that the answer is on its way to who asked: whoever waits for it is not to wait much longer.
    pub(crate) fn passing(&self, now: Instant) {
        let Some((number, news)) = &self.flight else {
            return;
        };
        let mut inner = self.store.inner.lock();
        news.send_replace(());
        if let Some(flight) = inner.flights.get_mut(&self.key)
            && flight.number == *number
        {
            flight.until = Some(now + PASSING);
            // who comes from here on is told so, and waits for the end alone
            flight.done.mark_unchanged();
        }
    }

    /// Keeps the answer whose head came at `since`, unless one that came later is there.
    pub(crate) fn keep(self, answer: Answer, times: Times, since: Instant) {
        let stored = Arc::new(Stored {
            head: answer.head,
            body: answer.body,
            label: answer.label,
            since,
            times,
        });
        let mut inner = self.store.inner.lock();
        let later = inner.kept.get(&self.key);
        let later = later.is_some_and(|(kept, _)| kept.since > since);
        if inner.purges == self.purges && !later {
            inner.alone.remove(&self.key);
            inner.put(self.key, stored, self.store.most);
        }
    }

    /// Forgets what stood there: the app has said something else, which may not be kept.
    pub(crate) fn forget(self, now: Instant) {
        let mut inner = self.store.inner.lock();
        inner.drop_one(&self.key);
        inner.each_alone(self.key, now, UNKEPT);
    }

    /// Says that the app failed: those who wait need not do so one after the other.
    pub(crate) fn failed(self, now: Instant) {
        let mut inner = self.store.inner.lock();
        inner.each_alone(self.key, now, FAILED);
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
        let Some((number, _)) = &self.flight else {
            return;
        };
        let mut inner = self.store.inner.lock();
        // another may have taken its place
        let own = inner.flights.get(&self.key);
        if own.is_some_and(|flight| flight.number == *number) {
            inner.flights.remove(&self.key);
        }
    }
}

impl Inner {
    /// Notes that somebody asks.
    fn take_off(&mut self, key: Key) -> (u64, watch::Sender<()>) {
        let (news, done) = watch::channel(());
        let number = self.next;
        self.next += 1;
        let flight = Flight {
            number,
            done,
            until: None,
        };
        self.flights.insert(key, flight);
        (number, news)
    }

    /// Has each ask for itself for so long.
    fn each_alone(&mut self, key: Key, now: Instant, long: Duration) {
        let pruned = |at| now.saturating_duration_since(at) < FAILED;
        if self.alone.len() >= ALONE && !self.pruned.is_some_and(pruned) {
            self.pruned = Some(now);
            self.alone.retain(|_, until| now < *until);
        }
        if self.alone.len() < ALONE {
            self.alone.insert(key, now + long);
        }
    }

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

/// Names an answer. `owner` is whose it is; the empty text is everybody's.
pub(crate) fn key(parts: &[&str], owner: &[u8]) -> Key {
    let mut hash = Sha256::new();
    let parts = parts.iter().map(|part| part.as_bytes());
    for part in parts.chain([owner]) {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
