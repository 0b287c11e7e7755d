//! The running gateway's shared state.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::audit::Audit;
use crate::config::Config;
use crate::identity::{Devices, Directory, EndReason, Identity, Sessions, Standing};
use crate::ids::SessionId;
use crate::limits::Limits;
use crate::proxy::Edges;
use crate::proxy::handover::Handover;
use crate::proxy::tls::InternalCa;
use crate::secrets::Keys;
use crate::snapshot::Snapshot;
use crate::store::{Store, StoreError};
use crate::streams::{Answer, Stream, StreamGuard, Streams};
use crate::tunnel;

/// Everything the two doors, the control socket and the sweeps share.
pub(crate) struct Gateway {
    /// The configuration it was started with.
    pub(crate) config: Arc<Config>,
    /// The set in force: policy and certificates.
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// Durable state.
    pub(crate) store: Arc<dyn Store>,
    /// The master key.
    pub(crate) keys: Arc<Keys>,
    /// The journal.
    pub(crate) audit: Arc<Audit>,
    /// The login engine.
    pub(crate) identity: Arc<Identity>,
    /// Live sessions.
    pub(crate) sessions: Arc<Sessions>,
    /// Tunnel devices.
    pub(crate) devices: Arc<Devices>,
    /// Open streams.
    pub(crate) streams: Arc<Streams>,
    /// Rate budgets.
    pub(crate) limits: Arc<Limits>,
    /// Pending hand-overs.
    pub(crate) handover: Handover,
    /// The threads that serve connections.
    pub(crate) edges: OnceLock<Edges>,
    /// The internal authority, unless it is switched off.
    pub(crate) authority: Option<InternalCa>,
    /// One reload at a time.
    pub(crate) reloading: tokio::sync::Mutex<()>,
    /// The tunnel door, once it was started.
    pub(crate) tunnel: OnceLock<tunnel::Handle>,
    /// The last reload that was refused, as the person should read it.
    pub(crate) reload_error: parking_lot::Mutex<Option<String>>,
    /// When it was started, in seconds since the UNIX epoch.
    pub(crate) started: i64,
}

impl Gateway {
    /// Enters a stream that was permitted under `generation`. What changed between the decision
    /// and the entry is looked at again here, so no change can slip in between.
    pub(crate) fn enter(&self, stream: Stream, generation: u64) -> StreamGuard {
        let (question, kill) = (stream.question.clone(), stream.kill.clone());
        let session = stream.session;
        let guard = self.streams.open(stream);
        let moved = self.snapshot.load().generation != generation;
        let ended = session.is_some_and(|id| self.sessions.find_by_id(id).is_none());
        if (moved || ended) && question.is_none_or(|q| matches!(q.ask(), Answer::Gone(_))) {
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
        let ended = self.sessions.end_user(user, why).await;
        self.streams.kill_user(user);
        ended
    }

    /// Cuts every stream whose session is over.
    pub(crate) fn cut_ended(&self) {
        let live = |id| self.sessions.find_by_id(id).is_some();
        self.streams
            .sweep(|s| s.session.is_some_and(|id| !live(id)));
    }

    /// Brings the tunnel's peers in line with the devices; returns when that is in force.
    pub(crate) async fn sync_tunnel(&self) {
        if let Some(tunnel) = self.tunnel.get() {
            tunnel.sync_peers().await;
        }
    }

    /// Brings everything that is open in line with the snapshot in force: people who are gone
    /// or disabled lose their sessions, streams whose permit no longer stands are cut, and the
    /// tunnel knows exactly the devices that may speak.
    pub(crate) async fn settle(&self) {
        let snap = self.snapshot.load_full();
        let mut gone: Vec<Arc<str>> = Vec::new();
        for session in self.sessions.list() {
            if snap.standing(&session.user) != Standing::Active && !gone.contains(&session.user) {
                gone.push(Arc::clone(&session.user));
            }
        }
        for user in gone {
            if let Err(error) = self.end_user(&user, EndReason::UserDisabled).await {
                tracing::error!(%error, "session ends are not on disk");
            }
        }
        self.streams.ask_again(None);
        self.sync_tunnel().await;
    }
}
