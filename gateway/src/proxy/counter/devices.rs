//! The person's own tunnel devices, for the pages.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use data_encoding::BASE64;

use super::Counter;
use crate::cli::device::{NO_PRIVATE_KEY, client_config};
use crate::clock;
use crate::control::acts::Acts;
use crate::gateway::Gateway;
use crate::identity::{Class, Context, Device, DeviceError, OwnDeviceError, Session};
use crate::ids::DeviceId;
use crate::pages::{DeviceDesk, DeviceFault, DeviceState, DeviceView, NewConfig};
use crate::tunnel;

/// TAI64 label of the UNIX epoch, with the leap seconds of the tunnel's own marks.
const TAI64_EPOCH: i64 = (1 << 62) + 37;

/// Tells whether a device may pass traffic.
pub(super) fn state(gw: &Gateway, device: &Device) -> DeviceState {
    match (device.revoked, gw.opened_by(device.id)) {
        (Some(_), _) => DeviceState::Revoked,
        (None, Some(_)) => DeviceState::Open,
        (None, None) if device.mark.is_none() => DeviceState::Never,
        (None, None) => DeviceState::Closed,
    }
}

#[async_trait]
impl DeviceDesk for Counter {
    async fn own_devices(&self) -> Vec<DeviceView> {
        let Some(session) = &self.caller.session else {
            return Vec::new();
        };
        let mut views = Vec::new();
        for device in self.gw.devices.list() {
            if device.user == session.user {
                views.push(self.view(&device).await);
            }
        }
        views
    }

    async fn add_device(&self, name: &str, public_key: &str) -> Result<NewConfig, DeviceFault> {
        let session = self.own_session()?;
        let key = BASE64.decode(public_key.as_bytes());
        let key = key.map_err(|_| DeviceFault::BadKey)?;
        let key = key.try_into().map_err(|_| DeviceFault::BadKey)?;
        if let Err(error) = tunnel::server_key(&self.gw.config, &self.gw.keys) {
            tracing::error!(%error, "no device can be added");
            return Err(DeviceFault::Unavailable);
        }
        let (identity, from) = (&self.gw.identity, self.from());
        let added = identity.add_own_device(session, name, key, &from);
        let device = added.await.map_err(|e| self.fault(e))?;
        self.gw.sync_tunnel().await;
        let acts = Acts {
            config: &self.gw.config,
            policy: &self.snap.policy,
            identity,
            keys: &self.gw.keys,
        };
        let added = acts.added(&device).map_err(|refusal| {
            tracing::error!(error = refusal.message, "a device has no configuration");
            DeviceFault::Unavailable
        })?;
        Ok(NewConfig {
            name: device.name.to_string(),
            config: client_config(&added, None).to_string(),
            placeholder: NO_PRIVATE_KEY,
        })
    }

    async fn rename_device(&self, device: DeviceId, name: &str) -> Result<(), DeviceFault> {
        let session = self.own_session()?;
        let (identity, from) = (&self.gw.identity, self.from());
        let renamed = identity.rename_own_device(session, device, name, &from);
        renamed.await.map_err(|e| self.fault(e))
    }

    async fn revoke_device(&self, device: DeviceId) -> Result<(), DeviceFault> {
        let session = Arc::clone(self.own_session()?);
        let came_by = self.caller.device.as_ref().map(|d| d.id);
        if came_by == Some(device) {
            self.conn.let_go();
        }
        let (gw, snap) = (Arc::clone(&self.gw), Arc::clone(&self.snap));
        let (source, door) = (self.caller.source, self.caller.door);
        let (host, agent) = (self.visit.host.clone(), self.agent.clone());
        let request_id = Arc::clone(&self.visit.request_id);
        // By itself, so that it is finished even though it may cut the way it came.
        let act = tokio::spawn(async move {
            let from = Context {
                now: clock::unix(),
                source,
                door,
                device: came_by,
                browser: None,
                host: &host,
                agent: &agent,
                request_id: Some(&request_id),
                directory: &*snap,
            };
            let done = gw.identity.revoke_own_device(&session, device, &from).await;
            if gw.devices.get(device).is_some_and(|d| d.revoked.is_some()) {
                gw.streams.kill_device(device);
                gw.sync_tunnel().await;
            }
            done
        });
        match act.await {
            Ok(done) => done.map_err(|e| self.fault(e)),
            Err(_) => Err(DeviceFault::Unavailable),
        }
    }
}

impl Counter {
    fn own_session(&self) -> Result<&Arc<Session>, DeviceFault> {
        let session = self.caller.session.as_ref();
        session.ok_or(DeviceFault::NotConfirmed)
    }

    async fn view(&self, device: &Device) -> DeviceView {
        let now = clock::unix();
        let peer = match (device.revoked, self.gw.tunnel.get()) {
            (None, Some(tunnel)) => tunnel.peer_status(device.id).await,
            _ => None,
        };
        let age = peer.as_ref().and_then(|p| p.handshake_age);
        let seen = age.and_then(|age| i64::try_from(age.as_secs()).ok());
        let seen = seen.map(|age| now.saturating_sub(age));
        let endpoint = peer.as_ref().and_then(|p| p.endpoint).or(device.endpoint);
        DeviceView {
            id: device.id,
            name: device.name.to_string(),
            address: device.address4.to_string(),
            managed: device.class == Class::Managed,
            state: state(&self.gw, device),
            here: self
                .caller
                .device
                .as_ref()
                .is_some_and(|d| d.id == device.id),
            created: device.created,
            revoked: device.revoked,
            heard: seen.or_else(|| claimed(device.mark.as_ref()?, now)),
            place: endpoint.map(|e| self.place(e.ip().to_canonical())),
            traffic: peer.map(|p| (p.rx_bytes, p.tx_bytes)),
        }
    }

    pub(super) fn place(&self, address: IpAddr) -> String {
        let policy = &self.snap.policy;
        let zones = policy.zone_names(policy.zone(address, false)).into_iter();
        let zones: Vec<_> = zones.map(str::to_owned).collect();
        match zones.is_empty() {
            true => address.to_string(),
            false => format!("{} ({address})", zones.join(", ")),
        }
    }

    fn fault(&self, error: OwnDeviceError) -> DeviceFault {
        let error = match error {
            OwnDeviceError::NotConfirmed => return DeviceFault::NotConfirmed,
            OwnDeviceError::Device(error) => error,
        };
        match error {
            DeviceError::BadKey => DeviceFault::BadKey,
            DeviceError::KeyTaken(_) | DeviceError::KeyRevoked(_) => DeviceFault::KeyTaken,
            DeviceError::BadName => DeviceFault::BadName,
            DeviceError::NameTaken(..) => DeviceFault::NameTaken,
            DeviceError::TooMany(_, most) => DeviceFault::TooMany(most),
            DeviceError::TooFast(_) => DeviceFault::TooFast,
            DeviceError::NoAddress(_)
            | DeviceError::BadAddress(_)
            | DeviceError::BadAddress6(_) => DeviceFault::NoAddress,
            DeviceError::Unknown(_) => DeviceFault::Unknown,
            DeviceError::Store(_) | DeviceError::Audit(_) | DeviceError::SealedPsk(_) => {
                let request = &self.visit.request_id;
                tracing::error!(%error, %request, "a device could not be changed");
                DeviceFault::Unavailable
            }
        }
    }
}

/// Reads the time out of a handshake's TAI64N timestamp, in UNIX seconds; it is what the device's
/// clock said, and left out if that was ahead.
fn claimed(mark: &[u8; 12], now: i64) -> Option<i64> {
    let label = i64::from_be_bytes(*mark.first_chunk::<8>()?);
    let unix = label.checked_sub(TAI64_EPOCH)?;
    (0..=now).contains(&unix).then_some(unix)
}

#[cfg(test)]
mod tests {
    use super::claimed;

    #[test]
    fn a_handshakes_time_is_read_and_one_ahead_of_the_clock_is_left_out() {
        let mark = |label: u64| {
            let mut mark = [0; 12];
            mark[..8].copy_from_slice(&label.to_be_bytes());
            mark
        };
        let epoch = (1_u64 << 62) + 37;
        let now = 1_800_000_000;
        assert_eq!(
            claimed(&mark(epoch + 1_799_999_990), now),
            Some(1_799_999_990)
        );
        assert_eq!(claimed(&mark(epoch + 1_800_000_001), now), None);
        assert_eq!(claimed(&mark(epoch - 1), now), None);
        assert_eq!(claimed(&[0; 12], now), None);
        assert_eq!(claimed(&[0xff; 12], now), None);
    }
}
