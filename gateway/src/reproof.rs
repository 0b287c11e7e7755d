//! Whether a tunnel device may pass: a session of its person opened it, and no other proof is due.
//!
//! Nothing is latched. What is known (who opened it, where it was heard then and is heard now, the
//! last code, its last use) is compared with the policy in force each time; a round looks at every
//! open device each second, records what changed and has its flows asked again.

mod browser;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use self::browser::Browsers;
use crate::audit::{Durability, Event, Record, reason};
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::{Class, Device, Due, Session};
use crate::ids::{DeviceId, SessionId};
use crate::limits::Source;
use crate::store::Point;

/// What an operator is told of a device whose key was used in two places.
const DISPUTED: &str = "its key was used in two places: sign in through it, revoke it, or, once only one place has \
                        the key, postern device clear";

/// Whether a device may pass.
#[derive(Clone)]
pub(crate) enum Standing {
    /// This session holds it open.
    Open(Arc<Session>),
    /// This session would, but a proof is due.
    Held(Arc<Session>, Due),
    /// Nobody is signed in through it.
    Shut,
}

/// Which open devices wait for a proof, as the round saw them last, and the keys of browsers.
#[derive(Default)]
pub(crate) struct Reproof {
    /// No more than there are devices.
    held: Mutex<BTreeMap<DeviceId, Due>>,
    /// Keys by which an open page of the portal proves that it is still there.
    pub(crate) browsers: Browsers,
}

impl Reproof {
    /// Takes up the keys that browsers gave before a restart.
    pub(crate) fn with_keys(keys: Vec<(SessionId, Point)>) -> Self {
        let reproof = Self::default();
        for (session, key) in keys {
            reproof.browsers.put(session, key);
        }
        reproof
    }
}

impl Gateway {
    /// Says whether a device may pass.
    pub(crate) fn standing(&self, id: DeviceId) -> Standing {
        match self.devices.get(id).filter(|d| d.revoked.is_none()) {
            Some(device) => self.standing_of(&device, clock::unix()),
            None => Standing::Shut,
        }
    }

    /// Finds the session that holds a device open.
    pub(crate) fn opened_by(&self, id: DeviceId) -> Option<Arc<Session>> {
        match self.standing(id) {
            Standing::Open(session) => Some(session),
            Standing::Held(..) | Standing::Shut => None,
        }
    }

    fn standing_of(&self, device: &Device, now: i64) -> Standing {
        let Some(session) = self.sessions.opened_by(device.id, now) else {
            return Standing::Shut;
        };
        let reprove = self.snapshot.load().policy.tunnel_reprove();
        if reprove.is_nothing() {
            return Standing::Open(session);
        }
        let heard = device.endpoint.map(|endpoint| endpoint.ip());
        let due = match self.sessions.binding(device.id) {
            Some(binding) => binding.due(&session, heard, &reprove, now),
            None => Some(Due::Moved),
        };
        match due {
            Some(due) => Standing::Held(session, due),
            None => Standing::Open(session),
        }
    }

    /// Notes use of a device by its person.
    pub(crate) fn device_used(&self, id: DeviceId) {
        if let Some(binding) = self.sessions.binding(id) {
            binding.touch(clock::unix());
        }
    }

    /// Keeps where a device is heard; one that is heard elsewhere is looked at before its next
    /// flow is decided.
    pub(crate) fn heard(&self, id: DeviceId, mark: Option<[u8; 12]>, endpoint: Option<SocketAddr>) {
        let before = self.devices.get(id).and_then(|d| d.endpoint);
        self.devices.heard(id, mark, endpoint);
        let place = |endpoint: SocketAddr| Source::of(endpoint.ip());
        if endpoint.is_some() && before.map(place) != endpoint.map(place) {
            self.look_at(id);
        }
    }

    /// Looks at every device that a session opened; call it each second.
    pub(crate) fn look_at_devices(&self) {
        let opened = self.sessions.list();
        let mut ids: Vec<DeviceId> = opened.iter().flat_map(|s| s.devices()).collect();
        ids.extend(self.reproof.held.lock().keys());
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            self.look_at(id);
        }
        let live: HashSet<SessionId> = opened.iter().map(|s| s.id).collect();
        self.reproof.browsers.keep(|id| live.contains(&id));
    }

    /// Records a device that waits for a proof or does so no longer, and has its flows asked.
    fn look_at(&self, id: DeviceId) {
        let standing = self.standing(id);
        let due = match &standing {
            Standing::Held(_, due) => Some(*due),
            Standing::Open(_) | Standing::Shut => None,
        };
        let before = {
            let mut held = self.reproof.held.lock();
            match due {
                Some(due) => held.insert(id, due),
                None => held.remove(&id),
            }
        };
        if before == due {
            return;
        }
        match standing {
            Standing::Held(session, due) => self.note_device(id, Some(&session), due.reason()),
            Standing::Open(session) => self.note_device(id, Some(&session), reason::DEVICE_PROVED),
            // the end of the session is on record
            Standing::Shut => {}
        }
        self.streams.ask_device(id);
    }

    fn note_device(&self, id: DeviceId, session: Option<&Arc<Session>>, why: &'static str) {
        let mut record = Record::new(Event::DeviceChanged, "ok", why);
        let device = self.devices.get(id);
        record.device = Some(id);
        record.user = device.as_ref().map(|d| Arc::clone(&d.user));
        record.session = session.map(|s| s.id);
        record.source = device
            .and_then(|d| d.endpoint)
            .map(|e| e.ip().to_canonical());
        record.policy = Some(Arc::clone(&self.snapshot.load().digest));
        self.audit.note(record);
    }

    /// Opens a device that moved, by what a page with its session's key signed.
    pub(crate) async fn prove_by_key(&self, id: DeviceId, by: &Session, signature: &[u8]) -> bool {
        let Some(place) = self.place_of(id) else {
            return false;
        };
        let browsers = &self.reproof.browsers;
        let answer = browsers.answer(by.id, id, place, signature, clock::now());
        let mut record = Record::new(Event::DeviceChanged, "ok", reason::DEVICE_PROVED);
        record.device = Some(id);
        record.user = Some(Arc::clone(&by.user));
        record.session = Some(by.id);
        record.source = Some(place);
        record.detail = Some("by the key of the browser that signed in".to_owned());
        if let Err(refused) = answer {
            record.outcome = "failed";
            record.detail = Some(refused.words().to_owned());
            self.audit.note(record);
            return false;
        }
        if self.audit.write(record, Durability::Durable).await.is_err() {
            return false;
        }
        self.reproof.held.lock().remove(&id);
        if let Err(error) = self.sessions.accept_place(id, place).await {
            tracing::error!(%error, device = %id, "the new place of a device is not on disk");
        }
        true
    }

    /// Says whether the policy lets a device reach some nets though nobody has signed in: it is
    /// named there, and an administrator has marked it as managed.
    pub(crate) fn is_headless(&self, id: DeviceId) -> bool {
        self.devices.get(id).is_some_and(|d| {
            let policy = &self.snapshot.load().policy;
            self.may_be_headless(&d) && policy.is_headless(&d.user, &d.name)
        })
    }

    /// Says whether a device is one that a policy can let through with nobody signed in.
    pub(crate) fn may_be_headless(&self, device: &Device) -> bool {
        let managed = device.class == Class::Managed && device.revoked.is_none();
        managed && !self.sessions.is_disputed(device.id)
    }

    /// Says what closes a device besides that nobody is signed in through it.
    pub(crate) fn closed_by(&self, device: &Device, standing: &Standing) -> Option<&'static str> {
        match standing {
            Standing::Held(_, due) => Some(due.words()),
            Standing::Shut if self.sessions.is_disputed(device.id) => Some(DISPUTED),
            Standing::Open(_) | Standing::Shut => None,
        }
    }

    /// Says what stands in the way of a device that is not open, for operators.
    pub(crate) fn why_closed(&self, device: &Device, standing: &Standing) -> Option<String> {
        if matches!(standing, Standing::Open(_)) {
            return None;
        }
        let why = match self.closed_by(device, standing) {
            Some(why) => why.to_owned(),
            None => format!("{} has not signed in through it", device.user),
        };
        match self.is_headless(device.id) {
            true => Some(format!(
                "{why}; needs no sign-in for nets of [tunnel.headless]"
            )),
            false => Some(why),
        }
    }

    /// Returns where a device is heard.
    pub(crate) fn place_of(&self, id: DeviceId) -> Option<IpAddr> {
        let endpoint = self.devices.get(id)?.endpoint?;
        Some(endpoint.ip().to_canonical())
    }
}
