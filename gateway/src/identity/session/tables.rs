//! The indexes over the sessions; every change keeps all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Session;
use crate::ids::{DeviceId, SessionId};
use crate::store::{COOKIES_PER_SESSION, CookieRow, Hash};

#[derive(Debug, Default)]
pub(super) struct Tables {
    by_id: BTreeMap<SessionId, Entry>,
    by_token: HashMap<Hash, (Arc<Session>, String)>,
    by_device: HashMap<DeviceId, SessionId>,
    /// Closed until the next sign-in, whatever else would open them.
    disputed: BTreeSet<DeviceId>,
    /// Whose cookies of sessions that ran out were, with when they did, the oldest first.
    past: VecDeque<Past>,
    /// How often the sessions of a user were ended as a whole.
    epochs: BTreeMap<String, u64>,
    /// How often those of everybody were.
    epoch: u64,
}

/// Cookies of sessions that ran out which are remembered, and for how long in seconds.
const PAST_MOST: usize = 4096;
const PAST_SECS: i64 = 15 * 60;

#[derive(Debug)]
struct Past {
    cookie: CookieRow,
    user: Arc<str>,
    at: i64,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    cookies: Vec<CookieRow>,
}

impl Tables {
    pub(super) fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        self.by_id.get(&id).map(|entry| Arc::clone(&entry.session))
    }

    pub(super) fn by_cookie(&self, hash: &Hash, host: &str) -> Option<Arc<Session>> {
        let (session, made_for) = self.by_token.get(hash)?;
        (made_for == host).then(|| Arc::clone(session))
    }

    pub(super) fn by_device(&self, device: DeviceId) -> Option<Arc<Session>> {
        self.get(*self.by_device.get(&device)?)
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        let entries = self.by_id.values();
        entries.map(|entry| Arc::clone(&entry.session)).collect()
    }

    pub(super) fn of_user(&self, user: &str) -> Vec<Arc<Session>> {
        let mut all = self.all();
        all.retain(|session| *session.user == *user);
        all.sort_by_key(|session| session.age_order());
        all
    }

    pub(super) fn epoch(&self, user: &str) -> u64 {
        let own = self.epochs.get(user).copied().unwrap_or(0);
        own.wrapping_add(self.epoch)
    }

    pub(super) fn insert(&mut self, session: Arc<Session>, cookies: Vec<CookieRow>) {
        let id = session.id;
        for device in session.devices() {
            self.by_device.insert(device, id);
        }
        let entry = Entry {
            session,
            cookies: Vec::new(),
        };
        self.by_id.insert(id, entry);
        for cookie in cookies {
            self.add_cookie(id, cookie);
        }
        self.check_invariants();
    }

    /// Sets the one cookie of a session on a host; says whether the session still is there. One
    /// too many pushes out the oldest.
    pub(super) fn add_cookie(&mut self, id: SessionId, cookie: CookieRow) -> bool {
        let Some(entry) = self.by_id.get_mut(&id) else {
            return false;
        };
        entry.cookies.retain(|old| {
            let other = old.host != cookie.host;
            if !other {
                self.by_token.remove(&old.hash);
            }
            other
        });
        if entry.cookies.len() >= COOKIES_PER_SESSION {
            let oldest = entry.cookies.remove(0);
            self.by_token.remove(&oldest.hash);
        }
        let session = Arc::clone(&entry.session);
        self.by_token
            .insert(cookie.hash, (session, cookie.host.clone()));
        entry.cookies.push(cookie);
        true
    }

    /// Moves a device to a session; says whether the session still is there.
    pub(super) fn bind(&mut self, id: SessionId, device: DeviceId) -> bool {
        if !self.by_id.contains_key(&id) {
            return false;
        }
        let before = self.by_device.insert(device, id);
        if let Some(before) = before.and_then(|before| self.get(before)) {
            before.devices.lock().retain(|other| *other != device);
        }
        if let Some(session) = self.get(id) {
            session.devices.lock().push(device);
        }
        self.disputed.remove(&device);
        self.check_invariants();
        true
    }

    /// Takes a device from its session until the next one binds it; says whether that is news.
    pub(super) fn dispute(&mut self, device: DeviceId) -> bool {
        let before = self.by_device.remove(&device);
        if let Some(before) = before.and_then(|before| self.get(before)) {
            before.devices.lock().retain(|other| *other != device);
        }
        self.check_invariants();
        self.disputed.insert(device)
    }

    pub(super) fn settle(&mut self, device: DeviceId) {
        self.disputed.remove(&device);
    }

    pub(super) fn is_disputed(&self, device: DeviceId) -> bool {
        self.disputed.contains(&device)
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Arc<Session>> {
        let Entry { session, cookies } = self.by_id.remove(&id)?;
        session.ended.store(true, Ordering::Release);
        for cookie in cookies {
            self.by_token.remove(&cookie.hash);
        }
        for device in session.devices() {
            self.by_device.remove(&device);
        }
        self.check_invariants();
        Some(session)
    }

    /// As [`Tables::remove`], for a session that ran out; its cookies still tell whose it was.
    pub(super) fn retire(&mut self, id: SessionId, at: i64) -> Option<Arc<Session>> {
        let entry = self.by_id.get(&id)?;
        let user = &entry.session.user;
        let past = entry.cookies.iter().map(|cookie| Past {
            cookie: cookie.clone(),
            user: Arc::clone(user),
            at,
        });
        self.past.extend(past.collect::<Vec<_>>());
        while self.past.len() > PAST_MOST {
            self.past.pop_front();
        }
        self.past
            .retain(|past| at.saturating_sub(past.at) < PAST_SECS);
        self.remove(id)
    }

    /// Tells whose session of a host ran out within a quarter of an hour.
    pub(super) fn ran_out(&self, hash: &Hash, host: &str, now: i64) -> Option<Arc<str>> {
        let mut past = self.past.iter().rev();
        let found = past.find(|past| past.cookie.hash == *hash && past.cookie.host == host)?;
        (now.saturating_sub(found.at) < PAST_SECS).then(|| Arc::clone(&found.user))
    }

    /// Makes sign-ins of a user that are under way come to nothing.
    pub(super) fn next_epoch(&mut self, user: &str) {
        let count = self.epochs.entry(user.to_owned()).or_insert(0);
        *count = count.wrapping_add(1);
    }

    pub(super) fn remove_user(&mut self, user: &str) -> Vec<Arc<Session>> {
        self.next_epoch(user);
        self.past.retain(|past| *past.user != *user);
        let all = self.of_user(user);
        all.into_iter().filter_map(|s| self.remove(s.id)).collect()
    }

    pub(super) fn remove_others(&mut self, user: &str, keep: SessionId) -> Vec<Arc<Session>> {
        self.next_epoch(user);
        let mut others = self.of_user(user);
        others.retain(|session| session.id != keep);
        others
            .into_iter()
            .filter_map(|s| self.remove(s.id))
            .collect()
    }

    pub(super) fn remove_all(&mut self) -> Vec<Arc<Session>> {
        self.epoch = self.epoch.wrapping_add(1);
        self.past.clear();
        let all = self.all();
        all.into_iter().filter_map(|s| self.remove(s.id)).collect()
    }

    fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let cookies: usize = self.by_id.values().map(|e| e.cookies.len()).sum();
            debug_assert_eq!(cookies, self.by_token.len());
            let devices: usize = self.by_id.values().map(|e| e.session.devices().len()).sum();
            debug_assert_eq!(devices, self.by_device.len());
        }
    }
}
