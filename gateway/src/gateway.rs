//! The running gateway's shared state.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::acme::Acme;
use crate::audit::{Audit, Durability, Event, Record, reason};
use crate::bans::Bans;
use crate::config::Config;
use crate::identity::{Device, Devices, EndReason, Identity, NoticeKind, Sessions};
use crate::ids::SessionId;
use crate::justify::Reasons;
use crate::limits::Limits;
use crate::mail::Mail;
use crate::proxy::Edges;
use crate::proxy::front::Fronts;
use crate::proxy::front::cache::Store;
use crate::proxy::handover::Handover;
use crate::proxy::kept::Kept;
use crate::proxy::reports::Reports;
use crate::proxy::statement::Signer;
use crate::proxy::tls::{Checks, InternalCa};
use crate::reload::history::History;
use crate::reproof::Reproof;
use crate::secrets::Keys;
use crate::snapshot::Snapshot;
use crate::store::StoreError;
use crate::streams::{Answer, People, Stream, StreamGuard, Streams};
use crate::traces::Traces;
use crate::tunnel;
use crate::upstreams::Upstreams;

/// The most records that are kept for a journal that cannot be written.
const OWED_MAX: usize = 1000;

/// Everything the two doors, the control socket and the sweeps share.
pub(crate) struct Gateway {
    /// The configuration it was started with.
    pub(crate) config: Arc<Config>,
    /// The set in force: policy and certificates.
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// The master key.
    pub(crate) keys: Arc<Keys>,
    /// The journal.
    pub(crate) audit: Arc<Audit>,
    /// The login engine.
    pub(crate) identity: Arc<Identity>,
    /// Certificates that are ordered.
    pub(crate) acme: Acme,
    /// Live sessions.
    pub(crate) sessions: Arc<Sessions>,
    /// Tunnel devices.
    pub(crate) devices: Arc<Devices>,
    /// Open streams.
    pub(crate) streams: Arc<Streams>,
    /// How many of them each person has.
    pub(crate) people: Arc<People>,
    /// Sources that are shut out.
    pub(crate) bans: Arc<Bans>,
    /// Mails to people.
    pub(crate) mail: Arc<Mail>,
    /// Rate budgets.
    pub(crate) limits: Arc<Limits>,
    /// Signs what apps are told of people.
    pub(crate) signer: Signer,
    /// Answers that are kept.
    pub(crate) cache: Arc<Store>,
    /// What browsers tell of breaches of a content security policy.
    pub(crate) reports: Reports,
    /// What is known of upstreams.
    pub(crate) upstreams: Upstreams,
    /// Traces of requests, where they are asked for.
    pub(crate) traces: Option<Traces>,
    /// Pending hand-overs.
    pub(crate) handover: Handover,
    /// Forms that wait for their person to sign in again.
    pub(crate) kept: Kept,
    /// How often a limit called sensitive was used up since the start.
    pub(crate) alarms: AtomicU64,
    /// Why people say they come.
    pub(crate) reasons: Reasons,
    /// Devices that wait for another proof.
    pub(crate) reproof: Reproof,
    /// The threads that serve connections.
    pub(crate) edges: OnceLock<Edges>,
    /// The internal authority, unless it is switched off.
    pub(crate) authority: Option<InternalCa>,
    /// Which certificates were checked in full.
    pub(crate) checks: Checks,
    /// One reload at a time.
    pub(crate) reloading: tokio::sync::Mutex<()>,
    /// The tunnel door, once it was started.
    pub(crate) tunnel: OnceLock<tunnel::Handle>,
    /// What was put in force and refused, and what waits.
    pub(crate) history: Arc<History>,
    /// Whether the last good policy stands in for a folder that gives none.
    pub(crate) cached: AtomicBool,
    /// The last reload that was refused, as the person should read it.
    pub(crate) reload_error: parking_lot::Mutex<Option<String>>,
    /// Records that the journal could not take yet.
    pub(crate) owed: parking_lot::Mutex<Vec<Record>>,
    /// When the rounds last ran, in seconds since the UNIX epoch.
    pub(crate) heartbeat: AtomicI64,
    /// When it was started, in seconds since the UNIX epoch.
    pub(crate) started: i64,
}

impl Gateway {
    /// What the areas of a set in force say of requests, made ready the first time.
    pub(crate) fn fronts<'a>(&self, snap: &'a Snapshot) -> &'a Fronts {
        let make = || Fronts::new(&snap.policy, &self.upstreams);
        snap.fronts.get_or_init(make)
    }

    /// Enters a permitted stream and asks its question once more, so that no change can slip in
    /// between the decision and the entry.
    pub(crate) fn enter(&self, stream: Stream) -> StreamGuard {
        let (question, kill) = (stream.question.clone(), stream.kill.clone());
        let session = stream.session;
        let guard = self.streams.open(stream);
        let ended = session.is_some_and(|id| self.sessions.find_by_id(id).is_none());
        if ended || question.is_some_and(|q| matches!(q.ask(), Answer::Gone(_))) {
            kill.kill();
        }
        guard
    }

    /// Ends a session and everything that stands on it: cookies, open streams, tunnel flows.
    /// `Ok(false)` if there was none.
    ///
    /// # Errors
    /// When the store cannot write it; the streams are cut all the same.
    pub(crate) async fn end_session(
        &self,
        id: SessionId,
        why: EndReason,
    ) -> Result<bool, StoreError> {
        let ended = self.sessions.end(id, why).await;
        self.streams.kill_session(id);
        ended
    }

    /// Ends every session of a person; returns which.
    ///
    /// # Errors
    /// When the store cannot write it; the streams are cut all the same.
    pub(crate) async fn end_user(
        &self,
        user: &str,
        why: EndReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.kept.drop_user(user);
        let ended = self.sessions.end_user(user, why).await;
        self.streams.kill_user(user);
        ended
    }

    /// Closes a device whose key is used at two outer addresses until somebody signs in for it,
    /// records it and tells its owner.
    pub(crate) async fn close_twin(&self, device: &Device, here: SocketAddr, there: SocketAddr) {
        tracing::warn!(device = %device.id, %here, %there, "a device key is used in two places");
        let news = self.sessions.dispute_device(device.id).await;
        self.streams.kill_device(device.id);
        let mut record = Record::new(Event::DeviceChanged, "cut", reason::KEY_SEEN_TWICE);
        record.device = Some(device.id);
        record.user = Some(Arc::clone(&device.user));
        record.source = Some(here.ip().to_canonical());
        record.detail = Some(format!("used from {here} and from {there}"));
        self.record_or_owe(record).await;
        match news {
            Ok(false) => {}
            Ok(true) => {
                let kind = NoticeKind::KeySeenTwice;
                let now = crate::clock::unix();
                self.identity.tell_of_device(kind, device, now).await;
            }
            Err(error) => tracing::error!(%error, "a restart might open a device again"),
        }
    }

    /// Tells whether the rounds still run; a journal that cannot be written is no reason to be
    /// restarted, since revocations work without it.
    pub(crate) fn is_alive(&self, now: i64) -> bool {
        now.saturating_sub(self.heartbeat.load(Ordering::Relaxed)) < 15
    }

    /// Writes a durable record of something that takes away. Where the journal cannot take it,
    /// it is owed and written once the journal can be written again: what is taken away must
    /// not wait, and nothing can be granted in the meantime.
    pub(crate) async fn record_or_owe(&self, record: Record) {
        let written = self.audit.write(record.clone(), Durability::Durable);
        if written.await.is_err() {
            tracing::error!("the journal cannot be written; a record is owed");
            let mut owed = self.owed.lock();
            if owed.len() < OWED_MAX {
                owed.push(record);
            }
        }
    }

    /// Writes the records that are owed, as far as the journal takes them.
    pub(crate) async fn pay_owed(&self) {
        if !self.audit.healthy() {
            return;
        }
        let owed = std::mem::take(&mut *self.owed.lock());
        for record in owed {
            self.record_or_owe(record).await;
        }
    }

    /// Cuts every stream whose session or token is over.
    pub(crate) fn cut_ended(&self) {
        let live = |id| self.sessions.find_by_id(id).is_some();
        self.streams
            .sweep(|s| s.session.is_some_and(|id| !live(id)));
        let tokens = self.sessions.tokens();
        let counts = |id| tokens.iter().any(|token| token.id == id);
        self.streams
            .sweep(|s| s.token.is_some_and(|id| !counts(id)));
    }

    /// Brings the tunnel's peers in line with the devices; returns when that is in force.
    pub(crate) async fn sync_tunnel(&self) {
        if let Some(tunnel) = self.tunnel.get() {
            tunnel.sync_peers().await;
        }
    }

    /// Brings the lives of sessions in line with what the policy says of everybody.
    pub(crate) async fn bound_sessions(&self, snap: &Snapshot) {
        let policy = &snap.policy;
        let (idle, most) = (policy.default_idle(), policy.default_sessions());
        self.sessions.tighten(idle, most).await;
    }

    /// Brings everything that is open in line with the snapshot in force: people who are gone
    /// or disabled lose their sessions, streams whose permit no longer stands are cut, and the
    /// tunnel knows exactly the devices that may speak.
    pub(crate) async fn settle(&self) {
        let snap = self.snapshot.load_full();
        self.bound_sessions(&snap).await;
        let (sessions, tokens) = (self.sessions.list(), self.sessions.tokens());
        let signed_in = sessions.iter().map(|session| &*session.user);
        let holders = signed_in.chain(tokens.iter().map(|token| &*token.user));
        for user in shut_out(&snap.policy, holders) {
            if let Err(error) = self.end_user(user, EndReason::UserDisabled).await {
                tracing::error!(%error, "session ends are not on disk");
            }
        }
        self.streams.ask_again();
        self.sync_tunnel().await;
        self.acme.look_soon();
    }
}

/// Lists whom the policy shuts out: the disabled, signed in or not, for they may have known
/// browsers and sign-ins under way; and holders of sessions and tokens whom it does not know.
fn shut_out<'a>(
    policy: &'a policy::Policy,
    holders: impl Iterator<Item = &'a str>,
) -> BTreeSet<&'a str> {
    let disabled = policy.users().filter(|user| user.disabled);
    let unknown = holders.filter(|user| policy.user(user).is_none());
    disabled.map(|user| &*user.name).chain(unknown).collect()
}

#[cfg(test)]
mod tests {
    use super::shut_out;

    #[test]
    fn the_disabled_are_shut_out_without_a_session_and_the_active_are_not() {
        let text = "postern = 1\n[user.ann]\n[user.ben]\ndisabled = true\n[user.cy]\n";
        let mut sources = policy::Sources::new();
        sources.add("policy.toml", "postern = 1\n".to_owned());
        sources.add("users.toml", text.to_owned());
        let policy = policy::load(&sources).unwrap().policy;
        let out = shut_out(&policy, ["ann", "gone"].into_iter());
        assert_eq!(out.into_iter().collect::<Vec<_>>(), ["ben", "gone"]);
    }
}
