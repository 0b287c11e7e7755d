//! The running gateway as operators see it through the control socket.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use data_encoding::BASE64;

use crate::clock;
use crate::control::{
    AuditStatus, Code, DeviceAdded, DeviceClass, DeviceLine, DeviceStatus, Ended, Invitation,
    NewDevice, Operator, PolicyStatus, Refusal, Reloaded, SessionLine, Status, TunnelStatus, Which,
};
use crate::gateway::Gateway;
use crate::identity::{
    self, Class, Device, DeviceError, Directory, EndReason, Psk, Session, Standing,
};
use crate::ids::{DeviceId, SessionId};
use crate::reload;
use crate::tunnel;

/// Answers operators for a gateway.
pub(crate) struct Desk(pub(crate) Arc<Gateway>);

fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::Internal, error.to_string())
}

fn unknown(what: &str, name: &str) -> Refusal {
    Refusal::new(Code::Data, format!("no {what} {name}"))
}

#[async_trait]
impl Operator for Desk {
    async fn status(&self) -> Result<Status, Refusal> {
        let gw = &self.0;
        let snap = gw.snapshot.load_full();
        let uptime = clock::unix().saturating_sub(gw.started);
        let mut devices = Vec::new();
        for device in gw.devices.list() {
            devices.push(self.device_status(&device).await);
        }
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: u64::try_from(uptime).unwrap_or(0),
            policy: PolicyStatus {
                digest: snap.digest.to_string(),
                generation: snap.generation,
                loaded: clock::rfc3339(snap.loaded),
                error: gw.reload_error.lock().clone(),
            },
            listeners: listeners(gw),
            tunnel: tunnel_status(gw),
            devices,
            sessions: u64::try_from(gw.sessions.list().len()).unwrap_or(u64::MAX),
            audit: AuditStatus {
                seq: gw.audit.seq(),
                ok: gw.audit.healthy(),
            },
        })
    }

    async fn reload(&self) -> Result<Reloaded, Refusal> {
        match reload::reload(&self.0).await {
            Ok(applied) => Ok(Reloaded {
                digest: applied.digest,
                generation: applied.generation,
                warnings: applied.warnings.iter().map(ToString::to_string).collect(),
            }),
            Err(rejected) => Err(Refusal::new(Code::Config, rejected.to_string())),
        }
    }

    async fn user_enrolled(&self) -> Result<Vec<String>, Refusal> {
        let snap = self.0.snapshot.load_full();
        let mut enrolled = Vec::new();
        for user in snap.policy.users() {
            let is = self.0.identity.is_enrolled(&user.name).await;
            if is.map_err(internal)? {
                enrolled.push(user.name.to_string());
            }
        }
        Ok(enrolled)
    }

    async fn user_invite(&self, user: &str) -> Result<Invitation, Refusal> {
        let gw = &self.0;
        if gw.snapshot.load().standing(user) != Standing::Active {
            return Err(unknown("active user", user));
        }
        let token = gw.identity.enrol_link(user, clock::unix()).await;
        let token = token.map_err(internal)?;
        Ok(Invitation {
            user: user.to_owned(),
            link: format!("{}/enrol/{token}", gw.config.http.public_url()),
        })
    }

    async fn user_forget(&self, user: &str) -> Result<Ended, Refusal> {
        let gw = &self.0;
        let ended = gw.end_user(user, EndReason::UserRemoved).await;
        let forgotten = gw.identity.forget(user).await;
        forgotten.map_err(internal)?;
        Ok(names(&ended.map_err(internal)?))
    }

    async fn session_list(&self) -> Result<Vec<SessionLine>, Refusal> {
        let mut sessions = self.0.sessions.list();
        sessions.sort_by_key(|s| (s.created, s.id));
        Ok(sessions.iter().map(|s| session_line(s)).collect())
    }

    async fn session_revoke(&self, which: &Which) -> Result<Ended, Refusal> {
        let gw = &self.0;
        match which {
            Which::Id(text) => {
                let id: SessionId = text.parse().map_err(|_| unknown("session", text))?;
                let ended = gw.end_session(id, EndReason::Revoked).await;
                if !ended.map_err(internal)? {
                    return Err(unknown("session", text));
                }
                Ok(names(&[id]))
            }
            Which::User(user) => {
                let ended = gw.end_user(user, EndReason::Revoked).await;
                Ok(names(&ended.map_err(internal)?))
            }
            Which::All => {
                let ended = gw.sessions.end_all(EndReason::Revoked).await;
                for session in ended.as_deref().unwrap_or_default() {
                    gw.streams.kill_session(*session);
                }
                Ok(names(&ended.map_err(internal)?))
            }
        }
    }

    async fn device_list(&self) -> Result<Vec<DeviceLine>, Refusal> {
        let mut devices = self.0.devices.list();
        devices.sort_by_key(|d| d.id);
        Ok(devices.iter().map(|d| device_line(d)).collect())
    }

    async fn device_add(&self, new: &NewDevice) -> Result<DeviceAdded, Refusal> {
        let gw = &self.0;
        if gw.snapshot.load().standing(&new.user) != Standing::Active {
            return Err(unknown("active user", &new.user));
        }
        let key: Result<wg::PublicKey, _> = new.public_key.trim().parse();
        let key = key.map_err(|e| Refusal::new(Code::Data, e.to_string()))?;
        let added = gw.devices.add(identity::NewDevice {
            user: &new.user,
            name: &new.name,
            public_key: *key.as_bytes(),
            psk: Psk::Generate,
            address4: None,
            now: clock::unix(),
        });
        let device = added.await.map_err(device_refusal)?;
        if let Some(tunnel) = gw.tunnel.get() {
            tunnel.sync_peers().await;
        }
        let psk = gw.devices.psk(device.id);
        added_answer(gw, &device, psk.map(|k| BASE64.encode(&*k)))
    }

    async fn device_revoke(&self, id: &str) -> Result<DeviceLine, Refusal> {
        let device = self.device(id)?;
        let revoked = self.0.revoke_device(device.id).await;
        if !revoked.map_err(device_refusal)? {
            return Err(unknown("live device", id));
        }
        self.device(id).map(|d| device_line(&d))
    }

    async fn device_mark(&self, id: &str, class: DeviceClass) -> Result<DeviceLine, Refusal> {
        let device = self.device(id)?;
        let class = match class {
            DeviceClass::Known => Class::Known,
            DeviceClass::Managed => Class::Managed,
        };
        let marked = self.0.devices.mark(device.id, class).await;
        marked.map_err(device_refusal)?;
        self.0.streams.ask_again(None);
        self.device(id).map(|d| device_line(&d))
    }
}

impl Desk {
    fn device(&self, id: &str) -> Result<Arc<Device>, Refusal> {
        let parsed: DeviceId = id.parse().map_err(|_| unknown("device", id))?;
        let found = self.0.devices.get(parsed);
        found.ok_or_else(|| unknown("device", id))
    }

    async fn device_status(&self, device: &Arc<Device>) -> DeviceStatus {
        let gw = &self.0;
        let peer = match gw.tunnel.get() {
            Some(tunnel) => tunnel.peer_status(device.id).await,
            None => None,
        };
        let opened = gw.sessions.opened_by(device.id, clock::unix());
        let (state, why) = match (&device.revoked, &opened) {
            (Some(_), _) => ("revoked", None),
            (None, Some(session)) => ("open", Some(format!("session {}", session.id))),
            (None, None) if device.mark.is_none() && peer.is_none() => ("never", None),
            (None, None) => (
                "quarantine",
                Some(format!("{} has not signed in through it", device.user)),
            ),
        };
        let endpoint = peer.as_ref().and_then(|p| p.endpoint).or(device.endpoint);
        DeviceStatus {
            id: device.id.to_string(),
            user: device.user.to_string(),
            name: device.name.to_string(),
            address: device.address4.to_string(),
            endpoint: endpoint.map(|e| e.to_string()),
            handshake_age_s: peer
                .as_ref()
                .and_then(|p| p.handshake_age)
                .map(|age| age.as_secs()),
            rx: peer.as_ref().map_or(0, |p| p.rx_bytes),
            tx: peer.as_ref().map_or(0, |p| p.tx_bytes),
            state: state.to_owned(),
            why,
        }
    }
}

fn listeners(gw: &Gateway) -> Vec<String> {
    let named = |name: &str, addresses: &[SocketAddr]| {
        let lines = addresses.iter().map(|a| format!("{name} {a}"));
        lines.collect::<Vec<_>>()
    };
    let mut all = named("https", &gw.config.http.https);
    all.extend(named("http", &gw.config.http.http));
    if gw.tunnel.get().is_some_and(|t| t.why_down().is_none()) {
        all.push(format!("wireguard {}", gw.config.tunnel.listen));
    }
    all
}

fn tunnel_status(gw: &Gateway) -> TunnelStatus {
    let (state, why) = match gw.tunnel.get().map(tunnel::Handle::why_down) {
        None => ("off", None),
        Some(None) => ("up", None),
        Some(Some(why)) => ("down", Some(why)),
    };
    TunnelStatus {
        state: state.to_owned(),
        why,
    }
}

fn names(ids: &[SessionId]) -> Ended {
    Ended {
        sessions: ids.iter().map(ToString::to_string).collect(),
    }
}

fn time(unix: i64) -> String {
    clock::rfc3339(u64::try_from(unix).unwrap_or(0).saturating_mul(1000))
}

/// Writes a session as lists show it.
pub(crate) fn session_line(session: &Session) -> SessionLine {
    SessionLine {
        id: session.id.to_string(),
        user: session.user.to_string(),
        door: session.door.name().to_owned(),
        source: session.source.to_string(),
        created: time(session.created),
        last_used: time(session.last_used()),
        expires: time(session.expires()),
        devices: session.devices().iter().map(ToString::to_string).collect(),
    }
}

/// Writes a device as lists show it.
pub(crate) fn device_line(device: &Device) -> DeviceLine {
    DeviceLine {
        id: device.id.to_string(),
        user: device.user.to_string(),
        name: device.name.to_string(),
        address: device.address4.to_string(),
        public_key: BASE64.encode(&device.public_key),
        class: match device.class {
            Class::Known => DeviceClass::Known,
            Class::Managed => DeviceClass::Managed,
        },
        endpoint: device.endpoint.map(|e| e.to_string()),
        created: time(device.created),
        revoked: device.revoked.map(time),
    }
}

fn device_refusal(error: DeviceError) -> Refusal {
    let code = match error {
        DeviceError::Store(_) | DeviceError::Audit(_) => Code::Internal,
        _ => Code::Data,
    };
    Refusal::new(code, error.to_string())
}

fn added_answer(
    gw: &Gateway,
    device: &Device,
    preshared_key: Option<String>,
) -> Result<DeviceAdded, Refusal> {
    let server = tunnel::server_key(&gw.config, &gw.keys).map_err(internal)?;
    let snap = gw.snapshot.load();
    let routes = tunnel::client::routes(&gw.config, &snap.policy);
    Ok(DeviceAdded {
        device: device_line(device),
        server_public_key: server.public_key().to_string(),
        preshared_key,
        endpoint: gw.config.endpoint(),
        dns: gw.config.tunnel.gateway4().to_string(),
        mtu: gw.config.tunnel.mtu,
        allowed_ips: routes.iter().map(ToString::to_string).collect(),
    })
}
