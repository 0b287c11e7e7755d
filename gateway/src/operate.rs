//! The running gateway as operators see it through the control socket.

mod cert;
mod doctor;
mod health;
mod ledger;
pub(crate) mod office;
mod policy;
mod purge;
mod rulebook;
pub(crate) mod uapi;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use crate::audit::Durability;
use crate::cli::offline::user_record;
use crate::cli::reading;
use crate::clock;
use crate::control::acts::Acts;
use crate::control::cert as ask;
use crate::control::import::{DevicesImported, Import, Mode, ServerKey};
use crate::control::purge::{self as to_forget, Purged};
use crate::control::room::RoomStatus;
use crate::control::{
    AppClock, Apply, AuditStatus, Code, Confirmed, DeviceAdded, DeviceClass, DeviceLine,
    DeviceStatus, Ended, Imported, Invitation, LoadStatus, MailSent, NewDevice, Operator,
    PolicyStatus, Refusal, Reloaded, Rollback, SessionLine, Status, TokenLine, TokensEnded,
    TunnelStatus, UpstreamStatus, UserAct, Verdict, Which, ban,
};
use crate::descriptors;
use crate::doctor::Diagnosis;
use crate::gateway::Gateway;
use crate::identity::Device;
use crate::mail::TestError;
use crate::proxy::Edges;
use crate::reload;
use crate::reload::change::{Done, Wanted};
use crate::reload::history::{By, Entry, How};
use crate::reproof::Standing;
use crate::snapshot::Snapshot;
use crate::tunnel;

/// Answers operators for a gateway.
pub(crate) struct Desk(Arc<Gateway>, By);

impl Desk {
    /// Answers whoever asks.
    pub(crate) fn new(gw: Arc<Gateway>) -> Self {
        Self(gw, By::default())
    }
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::Internal, error.to_string())
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
        let tunnel = tunnel_status(gw).await;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: u64::try_from(uptime).unwrap_or(0),
            policy: PolicyStatus {
                digest: snap.digest.to_string(),
                generation: snap.generation,
                loaded: clock::rfc3339(snap.loaded),
                error: gw.reload_error.lock().clone(),
                cached: gw.cached.load(Ordering::Relaxed),
                confirm_until: gw.history.pending().map(|p| policy::until(p.until)),
            },
            listeners: listeners(gw),
            tunnel,
            devices,
            sessions: u64::try_from(gw.sessions.list().len()).unwrap_or(u64::MAX),
            audit: AuditStatus {
                seq: gw.audit.seq(),
                ok: gw.audit.healthy(),
            },
            room: gw.edges.get().map(room),
            certificates: crate::acme::failing(gw),
            upstreams: upstreams(gw, &snap),
            loads: loads(gw, &snap),
            app_clocks: self.acts(&snap).user_clocks(),
        })
    }

    async fn reload(&self) -> Result<Reloaded, Refusal> {
        let wanted = Wanted::disk(How::Reload, self.1.clone());
        let done = reload::reload(&self.0, wanted).await;
        Ok(reloaded(&done.map_err(|e| policy::refusal(&e))?))
    }

    async fn user_changed(&self, user: &str, act: UserAct) -> Result<Reloaded, Refusal> {
        let gw = &self.0;
        let record = user_record(user, act);
        match act {
            UserAct::Disable | UserAct::Remove => gw.record_or_owe(record).await,
            UserAct::Add | UserAct::Enable => {
                let written = gw.audit.write(record, Durability::Durable).await;
                written.map_err(internal)?;
            }
        }
        if act == UserAct::Enable {
            let unlocked = gw.identity.unlock(user, clock::unix()).await;
            unlocked.map_err(internal)?;
        }
        if act == UserAct::Add {
            // a name that is used again starts without the factors and devices of before
            gw.identity.forget_namesake(user, clock::unix()).await?;
            gw.streams.kill_user(user);
        }
        // the folder may hold more than this edit, so it goes past no guard; the edit alone does
        let wanted = Wanted::disk(How::User, self.1.clone());
        let refused = match reload::reload(gw, wanted.clone()).await {
            Ok(done) => return Ok(reloaded(&done)),
            Err(rejected) => policy::refusal(&rejected),
        };
        match reload::revoke::revoke(gw, user, act, wanted).await {
            Some(Ok(done)) => {
                let mut answer = reloaded(&done);
                if gw.reload_error.lock().is_none() {
                    // the folder holds this and no more
                    return Ok(answer);
                }
                let why = refused.message;
                let text =
                    format!("warning: only this is in force; the policy folder is not: {why}");
                answer.warnings.push(text);
                Ok(answer)
            }
            Some(Err(_)) | None => Err(refused),
        }
    }

    async fn user_enrolled(&self) -> Result<Vec<String>, Refusal> {
        self.acts(&self.0.snapshot.load()).user_enrolled().await
    }

    async fn user_clocks(&self) -> Result<Vec<AppClock>, Refusal> {
        Ok(self.acts(&self.0.snapshot.load()).user_clocks())
    }

    async fn user_invite(&self, user: &str) -> Result<Invitation, Refusal> {
        self.acts(&self.0.snapshot.load()).user_invite(user).await
    }

    async fn user_reset(&self, user: &str) -> Result<Ended, Refusal> {
        let done = self.acts(&self.0.snapshot.load()).user_reset(user).await;
        self.0.streams.kill_user(user);
        done
    }

    async fn user_reset_totp(&self, user: &str, why: &str) -> Result<Invitation, Refusal> {
        let snap = self.0.snapshot.load_full();
        let done = self.acts(&snap).user_reset_totp(user, why).await;
        self.0.cut_ended();
        done
    }

    async fn user_import(&self, people: &[Imported]) -> Result<Vec<String>, Refusal> {
        let snap = self.0.snapshot.load_full();
        self.acts(&snap).user_import(people).await
    }

    async fn user_forget(&self, user: &str) -> Result<Ended, Refusal> {
        let done = self.acts(&self.0.snapshot.load()).user_forget(user).await;
        self.0.streams.kill_user(user);
        self.0.sync_tunnel().await;
        done
    }

    async fn audit_read(&self, uid: u32, what: &str) -> Result<(), Refusal> {
        let record = reading::record(uid, what);
        let durability = record.durability();
        let written = self.0.audit.write(record, durability).await;
        written.map(drop).map_err(internal)
    }

    async fn ban(&self, ask: &ban::Ask) -> Result<Vec<ban::Line>, Refusal> {
        let gw = &self.0;
        let trusted = gw.bans.gather(gw);
        let tell = |record| gw.record_or_owe(record);
        gw.bans.act(ask, &trusted, tell).await
    }

    async fn cache_purge(&self, ask: &to_forget::Ask, uid: u32) -> Result<Purged, Refusal> {
        purge::purge(&self.0, ask, uid).await
    }

    async fn certs(&self, ask: &ask::Ask) -> Result<ask::Told, Refusal> {
        Ok(cert::answer(&self.0, ask).await)
    }

    async fn session_list(&self) -> Result<Vec<SessionLine>, Refusal> {
        Ok(self.acts(&self.0.snapshot.load()).session_list())
    }

    async fn session_revoke(&self, which: &Which) -> Result<Ended, Refusal> {
        let done = self
            .acts(&self.0.snapshot.load())
            .session_revoke(which)
            .await;
        self.0.cut_ended();
        done
    }

    async fn token_list(&self) -> Result<Vec<TokenLine>, Refusal> {
        Ok(self.acts(&self.0.snapshot.load()).token_list())
    }

    async fn token_revoke(&self, which: &Which) -> Result<TokensEnded, Refusal> {
        let done = self.acts(&self.0.snapshot.load()).token_revoke(which).await;
        self.0.cut_ended();
        done
    }

    async fn device_list(&self) -> Result<Vec<DeviceLine>, Refusal> {
        Ok(self.acts(&self.0.snapshot.load()).device_list())
    }

    async fn device_add(&self, new: &NewDevice) -> Result<DeviceAdded, Refusal> {
        let done = self.acts(&self.0.snapshot.load()).device_add(new).await;
        self.0.sync_tunnel().await;
        done
    }

    async fn device_revoke(&self, id: &str) -> Result<DeviceLine, Refusal> {
        let done = self.acts(&self.0.snapshot.load()).device_revoke(id).await;
        if let Ok(id) = id.parse() {
            self.0.streams.kill_device(id);
        }
        self.0.sync_tunnel().await;
        done
    }

    async fn device_import(&self, import: &Import) -> Result<DevicesImported, Refusal> {
        let done = self
            .acts(&self.0.snapshot.load())
            .device_import(import)
            .await;
        let committed = import.mode == Mode::Commit;
        if let (Ok(done), Some(tunnel), true) = (&done, self.0.tunnel.get(), committed)
            && done.server_key == ServerKey::Replaced
        {
            tunnel.reopen(&self.0).await;
        }
        self.0.sync_tunnel().await;
        done
    }

    async fn device_doctor(&self, which: &str) -> Result<Diagnosis, Refusal> {
        doctor::diagnose(&self.0, which).await
    }

    async fn device_rotate_psk(&self, id: &str) -> Result<DeviceAdded, Refusal> {
        let done = self
            .acts(&self.0.snapshot.load())
            .device_rotate_psk(id)
            .await;
        self.0.sync_tunnel().await;
        done
    }

    async fn device_clear(&self, id: &str) -> Result<DeviceLine, Refusal> {
        let done = self.acts(&self.0.snapshot.load()).device_clear(id).await?;
        if let (Some(tunnel), Ok(id)) = (self.0.tunnel.get(), id.parse()) {
            tunnel.forget_mark(id).await;
        }
        Ok(done)
    }

    async fn device_mark(&self, id: &str, class: DeviceClass) -> Result<DeviceLine, Refusal> {
        let done = self
            .acts(&self.0.snapshot.load())
            .device_mark(id, class)
            .await;
        self.0.streams.ask_again();
        done
    }

    async fn policy_apply(&self, apply: &Apply) -> Result<Verdict, Refusal> {
        policy::apply(&self.0, &self.1, apply).await
    }

    async fn policy_rollback(&self, rollback: &Rollback) -> Result<Verdict, Refusal> {
        policy::rollback(&self.0, &self.1, rollback).await
    }

    async fn policy_confirm(&self) -> Result<Confirmed, Refusal> {
        policy::confirm(&self.0, &self.1).await
    }

    async fn policy_history(&self) -> Result<Vec<Entry>, Refusal> {
        Ok(self.0.history.entries())
    }

    async fn mail_test(&self, to: &str) -> Result<MailSent, Refusal> {
        let code = |error: &TestError| match error {
            TestError::Off => Code::Config,
            TestError::Refused(..) => Code::Unavailable,
        };
        let sent = self.0.mail.test(to).await;
        let server = sent.map_err(|e| Refusal::new(code(&e), e.to_string()))?;
        let to = to.to_owned();
        Ok(MailSent { server, to })
    }

    fn acting_for(&self, by: By) -> Option<Box<dyn Operator>> {
        Some(Box::new(Self(Arc::clone(&self.0), by)))
    }
}

impl Desk {
    fn acts<'a>(&'a self, snap: &'a Snapshot) -> Acts<'a> {
        Acts {
            config: &self.0.config,
            policy: &snap.policy,
            identity: &self.0.identity,
            keys: &self.0.keys,
        }
    }

    async fn device_status(&self, device: &Arc<Device>) -> DeviceStatus {
        let gw = &self.0;
        let peer = match gw.tunnel.get() {
            Some(tunnel) => tunnel.peer_status(device.id).await,
            None => None,
        };
        let standing = gw.standing(device.id);
        let heard = peer.as_ref().is_some_and(|p| p.handshake_age.is_some());
        let (state, why) = match (&device.revoked, &standing) {
            (Some(_), _) => ("revoked", None),
            (None, Standing::Open(session)) => ("open", Some(format!("session {}", session.id))),
            (None, Standing::Shut) if device.mark.is_none() && !heard => ("never", None),
            (None, closed) => ("quarantine", gw.why_closed(device, closed)),
        };
        let endpoint = peer.as_ref().and_then(|p| p.endpoint).or(device.endpoint);
        DeviceStatus {
            id: device.id.to_string(),
            user: device.user.to_string(),
            name: device.name.to_string(),
            address: device.address4.to_string(),
            address6: device.address6.map(|a| a.to_string()),
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

/// Lists the upstreams of the policy in force.
fn upstreams(gw: &Gateway, snap: &Snapshot) -> Vec<UpstreamStatus> {
    let now = clock::now();
    let rows = crate::upstreams::rows(gw.fronts(snap), &snap.policy).into_iter();
    rows.map(|row| {
        let health = row.member.health(now);
        let (since, why) = row.member.trouble(now).unzip();
        let (requests, failures) = row.member.counts();
        let millis = |at: i64| u64::try_from(at).unwrap_or(0).saturating_mul(1000);
        UpstreamStatus {
            area: format!("{}{}", row.app, row.area),
            url: row.member.to.to_string(),
            state: health.as_str().to_owned(),
            since: since
                .filter(|at| *at > 0)
                .map(|at| clock::rfc3339(millis(at))),
            why,
            drain: row.drain,
            open: u64::try_from(row.member.open()).unwrap_or(u64::MAX),
            requests,
            failures,
        }
    })
    .collect()
}

/// Lists what is under way where the policy in force limits it.
fn loads(gw: &Gateway, snap: &Snapshot) -> Vec<LoadStatus> {
    let now = clock::now();
    let rows = crate::upstreams::loads(gw.fronts(snap), &snap.policy).into_iter();
    rows.map(|row| {
        let (open, refused) = row.pool.load.counts();
        let breaker = row.pool.breaker.is_some();
        LoadStatus {
            area: format!("{}{}", row.app, row.area),
            open,
            limit: row.pool.most,
            refused,
            breaker: breaker.then(|| row.pool.load.breaker(now).to_owned()),
        }
    })
    .collect()
}

fn reloaded(done: &Done) -> Reloaded {
    Reloaded {
        digest: done.digest.to_string(),
        generation: done.generation,
        warnings: policy::warnings(done),
    }
}

fn listeners(gw: &Gateway) -> Vec<String> {
    let named = |name: &str, addresses: &[SocketAddr]| {
        let lines = addresses.iter().map(|a| format!("{name} {a}"));
        lines.collect::<Vec<_>>()
    };
    let mut all = named("https", &gw.config.http.https);
    all.extend(named("http", &gw.config.http.http));
    all.extend(named("admin", gw.config.admin.listen.as_slice()));
    if gw.tunnel.get().is_some_and(|t| t.why_down().is_none()) {
        all.push(format!("wireguard {}", gw.config.tunnel.listen));
    }
    all
}

fn room(edges: &Edges) -> RoomStatus {
    let (most, refused) = edges.room();
    RoomStatus {
        connections: edges.connections(),
        most,
        refused,
        descriptors: descriptors::used(),
        limit: descriptors::claim().limit,
    }
}

async fn tunnel_status(gw: &Gateway) -> TunnelStatus {
    let (state, why) = match gw.tunnel.get().map(tunnel::Handle::why_down) {
        None => ("off", None),
        Some(None) => ("up", None),
        Some(Some(why)) => ("down", Some(why)),
    };
    let (mut dropped, mut refused) = (BTreeMap::new(), BTreeMap::new());
    if let Some(tally) = tunnel::tally(gw).await {
        let counts = tally.dropped().filter(|(_, count)| *count > 0);
        dropped.extend(counts.map(|(reason, count)| (reason.to_owned(), count)));
        let counts = tally.refused.into_iter();
        refused.extend(counts.map(|(reason, count)| (reason.to_owned(), count)));
    }
    TunnelStatus {
        state: state.to_owned(),
        why,
        dropped,
        refused,
    }
}
