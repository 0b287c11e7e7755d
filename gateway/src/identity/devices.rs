//! The registry of tunnel devices: in memory, written through.

mod addresses;
mod addresses6;
mod error;
mod many;
mod psk;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use parking_lot::RwLock;
use tokio::sync::{Mutex, broadcast};

use self::addresses::Addresses;
use self::addresses6::{Inside6, give_addresses6};
pub(crate) use self::error::DeviceError;
pub(super) use self::psk::PSK;
pub(crate) use self::psk::Psk;
use super::record::{Context, Recorder};
use crate::audit::{AuditError, Event, Record, reason};
use crate::ids::DeviceId;
use crate::secrets::Keys;
use crate::store::{DeviceRow, HeardRow, Store, StoreError};

/// Devices a person may register in a day, revoked ones too: adding and revoking in turn must not
/// fill the list.
const PER_DAY: usize = 20;
const DAY_SECS: i64 = 24 * 60 * 60;
const NAME_MAX: usize = 64;
const CHANGES: usize = 1024;

/// How far a device is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Registered by its owner.
    Known,
    /// Run by the organisation.
    Managed,
}

/// A stock WireGuard client of one person.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) user: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) public_key: [u8; 32],
    /// Sealed; [`Devices::psk`] opens it.
    pub(crate) psk: Option<Vec<u8>>,
    pub(crate) address4: Ipv4Addr,
    pub(crate) address6: Option<Ipv6Addr>,
    pub(crate) class: Class,
    /// UNIX seconds.
    pub(crate) created: i64,
    /// UNIX seconds; a revoked device stays revoked.
    pub(crate) revoked: Option<i64>,
    /// Where it was last heard.
    pub(crate) endpoint: Option<SocketAddr>,
    /// The greatest TAI64N of its handshakes.
    pub(crate) mark: Option<[u8; 12]>,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("address4", &self.address4)
            .field("revoked", &self.revoked)
            .finish_non_exhaustive()
    }
}

impl Device {
    fn row(&self) -> DeviceRow {
        DeviceRow {
            id: self.id,
            user: self.user.to_string(),
            name: self.name.to_string(),
            public_key: self.public_key,
            psk: self.psk.clone(),
            address4: self.address4,
            address6: self.address6,
            managed: self.class == Class::Managed,
            created: self.created,
            revoked: self.revoked,
            endpoint: self.endpoint,
            mark: self.mark,
        }
    }

    fn from_row(row: DeviceRow) -> Self {
        Self {
            id: row.id,
            user: row.user.into(),
            name: row.name.into(),
            public_key: row.public_key,
            psk: row.psk,
            address4: row.address4,
            address6: row.address6,
            class: if row.managed {
                Class::Managed
            } else {
                Class::Known
            },
            created: row.created,
            revoked: row.revoked,
            endpoint: row.endpoint,
            mark: row.mark,
        }
    }
}

/// A device to register.
pub(crate) struct NewDevice<'a> {
    pub(crate) user: &'a str,
    pub(crate) name: &'a str,
    pub(crate) public_key: [u8; 32],
    pub(crate) psk: Psk,
    /// The address the client already has, if its configuration is taken over.
    pub(crate) address4: Option<Ipv4Addr>,
    /// As above.
    pub(crate) address6: Option<Ipv6Addr>,
    /// UNIX seconds of the wall clock.
    pub(crate) now: i64,
}

/// What changed; the tunnel listens. A lagging listener must look at the whole list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceChange {
    Added(DeviceId),
    Revoked(DeviceId),
    Marked(DeviceId),
    Rekeyed(DeviceId),
}

/// All devices of the gateway.
pub(crate) struct Devices {
    all: RwLock<BTreeMap<DeviceId, Arc<Device>>>,
    /// Heard since the last flush.
    heard: parking_lot::Mutex<BTreeSet<DeviceId>>,
    /// Held while the list changes, so that checks and changes are one.
    change: Mutex<()>,
    changes: broadcast::Sender<DeviceChange>,
    network: Ipv4Net,
    gateway4: Ipv4Addr,
    inside6: Option<Inside6>,
    /// Devices of one person that are not revoked.
    per_user: usize,
    keys: Arc<Keys>,
    store: Arc<dyn Store>,
    recorder: Arc<dyn Recorder>,
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").finish_non_exhaustive()
    }
}

impl Devices {
    /// Takes up the devices that were kept. `gateway4` is never given to a device; with `network6`
    /// each has an IPv6 address too, those from before as well.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub(crate) async fn load(
        store: Arc<dyn Store>,
        keys: Arc<Keys>,
        recorder: Arc<dyn Recorder>,
        network: Ipv4Net,
        gateway4: Ipv4Addr,
        network6: Option<Ipv6Net>,
        per_user: usize,
    ) -> Result<Self, StoreError> {
        let rows = store.devices().await?;
        let mut all: BTreeMap<DeviceId, Arc<Device>> = rows
            .into_iter()
            .map(|row| (row.id, Arc::new(Device::from_row(row))))
            .collect();
        let inside6 = network6.map(|network6| Inside6::new(network6, network));
        give_addresses6(&mut all, inside6);
        Ok(Self {
            all: RwLock::new(all),
            heard: parking_lot::Mutex::default(),
            change: Mutex::default(),
            changes: broadcast::channel(CHANGES).0,
            network,
            gateway4,
            inside6,
            per_user,
            keys,
            store,
            recorder,
        })
    }

    /// Registers a device.
    ///
    /// # Errors
    /// [`DeviceError`] with what stands against it; nothing was kept then.
    pub(crate) async fn add(&self, new: NewDevice<'_>) -> Result<Arc<Device>, DeviceError> {
        let _change = self.change.lock().await;
        self.enter(self.admit(&self.list(), &new)?, None).await
    }

    /// As [`Devices::add`], by its owner's own request.
    ///
    /// # Errors
    /// As [`Devices::add`], and [`DeviceError::TooFast`].
    pub(super) async fn add_own(
        &self,
        new: NewDevice<'_>,
        from: &Context<'_>,
    ) -> Result<Arc<Device>, DeviceError> {
        let _change = self.change.lock().await;
        let device = self.admit(&self.list(), &new)?;
        let since = new.now.saturating_sub(DAY_SECS);
        let all = self.all.read().values().map(Arc::clone).collect::<Vec<_>>();
        let recent = |d: &&Arc<Device>| d.user == device.user && d.created > since;
        if all.iter().filter(recent).count() >= PER_DAY {
            return Err(DeviceError::TooFast(device.user));
        }
        self.enter(device, Some(from)).await
    }

    async fn enter(
        &self,
        device: Device,
        from: Option<&Context<'_>>,
    ) -> Result<Arc<Device>, DeviceError> {
        let device = Arc::new(device);
        self.record(&device, reason::DEVICE_ADDED, from).await?;
        self.store.put_device(device.row()).await?;
        self.all.write().insert(device.id, Arc::clone(&device));
        self.tell(DeviceChange::Added(device.id));
        Ok(device)
    }

    /// Lists all devices, revoked ones too, in the order of their ids.
    pub(crate) fn list(&self) -> Vec<Arc<Device>> {
        self.all.read().values().map(Arc::clone).collect()
    }

    /// Finds a device, revoked or not.
    pub(crate) fn get(&self, id: DeviceId) -> Option<Arc<Device>> {
        self.all.read().get(&id).map(Arc::clone)
    }

    /// Tells whether a device is one of `user` and not revoked.
    pub(crate) fn is_of(&self, id: DeviceId, user: &str) -> bool {
        self.get(id)
            .is_some_and(|d| d.revoked.is_none() && *d.user == *user)
    }

    /// Revokes a device for ever; says whether it was not revoked before. The change is told
    /// before it is written, and stands in memory even if writing fails.
    ///
    /// # Errors
    /// [`DeviceError::Unknown`], or what could not be written.
    pub(crate) async fn revoke(&self, id: DeviceId, now: i64) -> Result<bool, DeviceError> {
        self.revoke_by(id, now, None).await
    }

    /// As [`Devices::revoke`], by its owner's own request if there is one.
    ///
    /// # Errors
    /// As [`Devices::revoke`].
    pub(super) async fn revoke_by(
        &self,
        id: DeviceId,
        now: i64,
        from: Option<&Context<'_>>,
    ) -> Result<bool, DeviceError> {
        let _change = self.change.lock().await;
        let before = self.get(id).ok_or(DeviceError::Unknown(id))?;
        if before.revoked.is_none() {
            self.alter(id, |device| device.revoked = Some(now));
            self.tell(DeviceChange::Revoked(id));
        }
        let device = self.get(id).ok_or(DeviceError::Unknown(id))?;
        let written = self.store.put_device(device.row()).await;
        self.record(&device, reason::DEVICE_REVOKED, from).await?;
        written?;
        Ok(before.revoked.is_none())
    }

    /// Gives a device another name; it stays the same device.
    ///
    /// # Errors
    /// [`DeviceError`]; nothing changed then.
    pub(super) async fn rename(
        &self,
        id: DeviceId,
        name: &str,
        from: &Context<'_>,
    ) -> Result<(), DeviceError> {
        let _change = self.change.lock().await;
        let before = self.get(id).filter(|d| d.revoked.is_none());
        let mut device = Device::clone(&*before.ok_or(DeviceError::Unknown(id))?);
        if *device.name == *name {
            return Ok(());
        }
        check_name(&self.list(), &device.user, name)?;
        device.name = name.into();
        self.record(&device, reason::DEVICE_RENAMED, Some(from))
            .await?;
        self.store.put_device(device.row()).await?;
        self.alter(id, |kept| kept.name = Arc::clone(&device.name));
        Ok(())
    }

    /// Sets how far a device is trusted.
    ///
    /// # Errors
    /// [`DeviceError`]; nothing changed then.
    pub(crate) async fn mark(&self, id: DeviceId, class: Class) -> Result<(), DeviceError> {
        let _change = self.change.lock().await;
        let mut device = Device::clone(&*self.get(id).ok_or(DeviceError::Unknown(id))?);
        device.class = class;
        self.record(&device, reason::DEVICE_MARKED, None).await?;
        self.store.put_device(device.row()).await?;
        self.alter(id, |device| device.class = class);
        self.tell(DeviceChange::Marked(id));
        Ok(())
    }

    /// Forgets the time that the handshakes of a device claimed, for one that is not revoked.
    ///
    /// # Errors
    /// [`DeviceError`]; nothing changed then.
    pub(crate) async fn clear(&self, id: DeviceId) -> Result<(), DeviceError> {
        let _change = self.change.lock().await;
        let before = self.get(id).filter(|d| d.revoked.is_none());
        let mut device = Device::clone(&*before.ok_or(DeviceError::Unknown(id))?);
        device.mark = None;
        self.record(&device, reason::DEVICE_CLEARED, None).await?;
        self.store.put_device(device.row()).await?;
        self.alter(id, |device| device.mark = None);
        Ok(())
    }

    /// Notes a handshake of a device: its TAI64N, which only grows, and where it came from.
    /// Written by the next [`Devices::flush`].
    pub(crate) fn heard(&self, id: DeviceId, mark: Option<[u8; 12]>, endpoint: Option<SocketAddr>) {
        let mut changed = false;
        self.alter(id, |device| {
            let newer = mark.filter(|mark| device.mark.is_none_or(|old| *mark > old));
            let moved = endpoint.filter(|endpoint| device.endpoint != Some(*endpoint));
            changed = newer.is_some() || moved.is_some();
            device.mark = newer.or(device.mark);
            device.endpoint = moved.or(device.endpoint);
        });
        if changed {
            self.heard.lock().insert(id);
        }
    }

    /// Writes what was heard since the last call; call it each second and at the end.
    ///
    /// # Errors
    /// [`StoreError`]; the next call tries again.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let ids = std::mem::take(&mut *self.heard.lock());
        let rows: Vec<_> = ids
            .iter()
            .filter_map(|id| self.get(*id))
            .map(|device| HeardRow {
                id: device.id,
                endpoint: device.endpoint,
                mark: device.mark,
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let written = self.store.heard_devices(rows).await;
        if written.is_err() {
            self.heard.lock().extend(ids);
        }
        written
    }

    /// Listens for changes from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<DeviceChange> {
        self.changes.subscribe()
    }

    /// Checks a device against those there are.
    fn admit(&self, all: &[Arc<Device>], new: &NewDevice<'_>) -> Result<Device, DeviceError> {
        wg::PublicKey::from_bytes(new.public_key).map_err(|_| DeviceError::BadKey)?;
        let twin = all.iter().find(|d| d.public_key == new.public_key);
        match twin {
            Some(twin) if twin.revoked.is_some() => return Err(DeviceError::KeyRevoked(twin.id)),
            Some(twin) => return Err(DeviceError::KeyTaken(twin.id)),
            None => {}
        }
        let user: Arc<str> = new.user.into();
        check_name(all, &user, new.name)?;
        let own = |d: &&Arc<Device>| d.revoked.is_none() && d.user == user;
        if all.iter().filter(own).count() >= self.per_user {
            return Err(DeviceError::TooMany(user, self.per_user));
        }
        let addresses = Addresses::new(self.network, self.gateway4, all);
        let address4 = match new.address4 {
            Some(wanted) if addresses.is_free(wanted) => wanted,
            Some(wanted) => return Err(DeviceError::BadAddress(wanted)),
            None => addresses
                .next()
                .ok_or(DeviceError::NoAddress(self.network))?,
        };
        let address6 = self.address6(new.address6, address4, all)?;
        let last = all.last().map_or(0, |device| device.id.0);
        let id = DeviceId(last.saturating_add(1));
        Ok(Device {
            id,
            user,
            name: new.name.into(),
            public_key: new.public_key,
            psk: self.seal(id, &new.psk),
            address4,
            address6,
            class: Class::Known,
            created: new.now,
            revoked: None,
            endpoint: None,
            mark: None,
        })
    }

    fn alter(&self, id: DeviceId, change: impl FnOnce(&mut Device)) {
        if let Some(device) = self.all.write().get_mut(&id) {
            change(Arc::make_mut(device));
        }
    }

    /// Records a change; `device` of the record is the one that changes, wherever the request came
    /// through.
    async fn record(
        &self,
        device: &Device,
        reason: &'static str,
        from: Option<&Context<'_>>,
    ) -> Result<(), AuditError> {
        let mut record = Record::new(Event::DeviceChanged, "ok", reason);
        if let Some(from) = from {
            record = from.stamp(record);
        }
        record.user = Some(Arc::clone(&device.user));
        record.device = Some(device.id);
        self.recorder.durable(record).await
    }

    fn tell(&self, change: DeviceChange) {
        // Nobody listens: then there is no tunnel to change.
        drop(self.changes.send(change));
    }
}

/// Control characters, and what turns the direction of a text or takes no room: a list of devices
/// must show what it says.
fn is_unseen(char: char) -> bool {
    let turns = matches!(char, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || ('\u{202a}'..='\u{202e}').contains(&char)
        || ('\u{2060}'..='\u{2069}').contains(&char);
    turns || char.is_control()
}

/// Tells whether a text can be the name of a device.
pub(super) fn is_name(name: &str) -> bool {
    let chars = name.chars().count();
    chars > 0 && chars <= NAME_MAX && !name.chars().any(is_unseen)
}

fn check_name(all: &[Arc<Device>], user: &Arc<str>, name: &str) -> Result<(), DeviceError> {
    if !is_name(name) {
        return Err(DeviceError::BadName);
    }
    let taken = |d: &Arc<Device>| d.revoked.is_none() && d.user == *user && *d.name == *name;
    if all.iter().any(taken) {
        return Err(DeviceError::NameTaken(Arc::clone(user), name.into()));
    }
    Ok(())
}
