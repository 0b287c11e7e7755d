//! The running gateway as an administrator sees it through the console.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use super::Desk;
use crate::access::Permit;
use crate::clock;
use crate::console::{Act, Acts, At, Consent, Console, Deed, Outcome, SessionLine};
use crate::control::{Operator, Refusal, Which};
use crate::gateway::Gateway;
use crate::identity::{self, Session};
use crate::ids::Door;
use crate::snapshot::Snapshot;

/// Who asks, from where, and what the policy let them do.
#[derive(Clone)]
pub(crate) struct Actor {
    /// Their session.
    pub(crate) session: Arc<Session>,
    /// The address the bytes came from.
    pub(crate) source: IpAddr,
    /// The door.
    pub(crate) door: Door,
    /// The request.
    pub(crate) request_id: Arc<str>,
    /// What the permit is for.
    pub(crate) act: Act,
}

/// Answers one permitted request to the console.
pub(crate) struct Office {
    gw: Arc<Gateway>,
    snap: Arc<Snapshot>,
    actor: Actor,
    permit: Permit,
}

impl Office {
    /// Opens the console for a request that has a permit.
    pub(crate) fn new(
        gw: &Arc<Gateway>,
        snap: &Arc<Snapshot>,
        actor: Actor,
        permit: Permit,
    ) -> Self {
        Self {
            gw: Arc::clone(gw),
            snap: Arc::clone(snap),
            actor,
            permit,
        }
    }
}

#[async_trait]
impl Console for Office {
    fn acts(&self) -> Option<&dyn Acts> {
        match self.actor.act {
            Act::Write => Some(self),
            Act::Read => None,
        }
    }

    fn sessions(&self, user: Option<&str>) -> Vec<SessionLine> {
        let (gw, now) = (&self.gw, clock::unix());
        let mut live = match user {
            Some(user) => gw.sessions.of_user(user),
            None => gw.sessions.list(),
        };
        live.retain(|session| session.is_live(now));
        live.sort_by_key(|session| std::cmp::Reverse((session.last_used(), session.id)));
        live.iter().map(|session| self.session(session)).collect()
    }
}

impl Office {
    fn session(&self, session: &Session) -> SessionLine {
        let policy = &self.snap.policy;
        let class = policy.zone(session.source, session.door == Door::Tunnel);
        let device = |id| self.gw.devices.get(id).map(|d| d.name.to_string());
        SessionLine {
            id: session.id.to_string(),
            user: session.user.to_string(),
            door: session.door.name(),
            source: session.source.to_canonical().to_string(),
            zones: policy
                .zone_names(class)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            browser: identity::browser(&session.agent),
            devices: session.devices().into_iter().filter_map(device).collect(),
            created: At(session.created),
            last_used: At(session.last_used()),
            expires: At(session.expires()),
            own: session.id == self.actor.session.id,
        }
    }
}

#[async_trait]
impl Acts for Office {
    async fn carry_out(&self, deed: &Deed, _: &Consent) -> Result<Outcome, Refusal> {
        let operator = Desk::new(Arc::clone(&self.gw));
        let which = match deed {
            Deed::EndSession { session } => Which::Id(session.clone()),
            Deed::EndSessions { user } => Which::User(user.clone()),
        };
        // by itself, so that it is finished even if the browser goes away
        let act = tokio::spawn(async move { operator.session_revoke(&which).await });
        act.await.map_err(super::internal)??;
        Ok(Outcome::Done)
    }
}
