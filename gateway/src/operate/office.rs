//! The running gateway as an administrator sees it through the console.

mod act;
mod edit;
mod look;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::Desk;
use crate::access::{self, Caller, Permit};
use crate::acme::{self, Line};
use crate::audit::{Event, Record, reason};
use crate::console::{
    Act, Acts, Amend, Consent, Console, Deed, Device, GroupLine, GroupView, Health, Ledger, Locked,
    NotDone, Outcome, Page, PersonLine, PersonView, Preview, Rulebook, SessionLine, Slice,
    TokenLine,
};
use crate::control::{Refusal, ban};
use crate::edits::Edit;
use crate::gateway::Gateway;
use crate::identity::Session;
use crate::ids::Door;
use crate::reload::history::By;
use crate::snapshot::Snapshot;

/// Who asks, from where, and what the policy let them do.
#[derive(Clone)]
pub(crate) struct Actor {
    /// All of that as the policy sees it.
    pub(crate) caller: Caller,
    /// Whether the policy would let them act as well.
    pub(crate) may_act: bool,
    /// Their session.
    pub(crate) session: Arc<Session>,
    /// The address the bytes came from.
    pub(crate) source: IpAddr,
    /// The door.
    pub(crate) door: Door,
    /// When the connection was opened that they ask over.
    pub(crate) opened: Instant,
    /// The request.
    pub(crate) request_id: Arc<str>,
    /// What the permit is for.
    pub(crate) act: Act,
}

/// Answers one permitted request to the console.
pub(crate) struct Office(pub(super) Arc<Inner>);

/// What the parts of the office share; an act keeps it until it is finished.
pub(super) struct Inner {
    pub(super) gw: Arc<Gateway>,
    pub(super) snap: Arc<Snapshot>,
    pub(super) actor: Actor,
    pub(super) permit: Permit,
}

impl Office {
    /// Opens the console for a request that has a permit.
    pub(crate) fn new(
        gw: &Arc<Gateway>,
        snap: &Arc<Snapshot>,
        actor: Actor,
        permit: Permit,
    ) -> Self {
        Self(Arc::new(Inner {
            gw: Arc::clone(gw),
            snap: Arc::clone(snap),
            actor,
            permit,
        }))
    }
}

impl Inner {
    /// The gateway as operators see it, for the one who asks.
    fn operator(&self) -> Desk {
        Desk(Arc::clone(&self.gw), self.by())
    }

    /// Tells whether the caller could still open this page.
    pub(super) fn still_stands(&self) -> bool {
        let live = self.gw.sessions.find_by_id(self.actor.session.id).is_some();
        live && access::shows_console(&self.gw.snapshot.load(), &self.actor.caller)
    }

    pub(super) fn by(&self) -> By {
        By {
            person: Some(self.actor.session.user.to_string()),
            ..By::default()
        }
    }

    /// Starts the record of an act about a person. The session and the request lead to who did it: names of others
    /// stand in no record of a person.
    fn record(&self, user: &str, why: &'static str, what: &str) -> Record {
        let mut record = Record::new(Event::UserChanged, "ok", why);
        record.user = Some(user.into());
        record.detail = Some(format!("console: {what}"));
        self.stamp(record)
    }

    pub(super) fn stamp(&self, mut record: Record) -> Record {
        record.session = Some(self.actor.session.id);
        record.source = record.source.or(Some(self.actor.source));
        record.request_id = Some(Arc::clone(&self.actor.request_id));
        record
    }

    /// As [`Inner::record`], for what is only changed.
    fn changed(&self, user: &str, what: &str) -> Record {
        self.record(user, reason::CHANGED, what)
    }
}

#[async_trait]
impl Console for Office {
    fn acts(&self) -> Option<&dyn Acts> {
        match self.0.actor.act {
            Act::Write => Some(self),
            Act::Read => None,
        }
    }

    fn may_act(&self) -> bool {
        self.0.actor.may_act
    }

    fn ledger(&self) -> &dyn Ledger {
        self
    }

    fn rulebook(&self) -> &dyn Rulebook {
        self
    }

    async fn health(&self) -> Result<Health, Refusal> {
        super::health::health(&self.0.gw, &self.0.snap).await
    }

    async fn people(&self, search: &str, slice: Slice) -> Result<Page<PersonLine>, Refusal> {
        self.0.people(search, slice).await
    }

    async fn person(&self, user: &str) -> Result<Option<PersonView>, Refusal> {
        self.0.person(user).await
    }

    async fn groups(&self) -> Result<Vec<GroupLine>, Refusal> {
        self.0.groups().await
    }

    async fn group(&self, name: &str, slice: Slice) -> Result<Option<GroupView>, Refusal> {
        self.0.group(name, slice).await
    }

    async fn devices(&self, search: &str, slice: Slice) -> Page<Device> {
        self.0.devices(search, slice).await
    }

    fn sessions(&self, user: Option<&str>, slice: Slice) -> Page<SessionLine> {
        slice.of(self.0.sessions(user).into_iter())
    }

    fn tokens(&self, search: &str, slice: Slice) -> Page<TokenLine> {
        slice.of(self.0.tokens(search).into_iter())
    }

    async fn bans(&self) -> Result<Vec<ban::Line>, Refusal> {
        self.0.bans(&ban::Ask::List).await
    }

    fn certificates(&self) -> Vec<Line> {
        let mut lines = acme::lines(&self.0.gw);
        lines.sort_by(|a, b| {
            (a.not_after.as_ref(), &a.names).cmp(&(b.not_after.as_ref(), &b.names))
        });
        lines
    }

    fn locked(&self) -> Vec<Locked> {
        self.0.locked()
    }

    async fn preview(&self, edit: &Edit) -> Result<Preview, Refusal> {
        self.0.preview(edit).await
    }
}

#[async_trait]
impl Acts for Office {
    fn amend(&self) -> &dyn Amend {
        self
    }

    async fn carry_out(&self, deed: &Deed, consent: &Consent) -> Result<Outcome, NotDone> {
        let (inner, deed, consent) = (Arc::clone(&self.0), deed.clone(), consent.clone());
        // by itself, so that it is finished even if the browser goes away
        let act = tokio::spawn(async move { inner.carry_out(&deed, &consent).await });
        act.await.map_err(super::internal)?
    }
}
