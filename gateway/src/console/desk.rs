//! What the console asks of the rest of the gateway, as plain values.

mod model;

use std::sync::Arc;

use async_trait::async_trait;

use super::deed::{Consent, Deed};
use super::health::Health;
use super::ledger::Ledger;
use super::rulebook::{Amend, Rulebook};
use crate::acme::Line;
use crate::control::{Refusal, ban};
use crate::edits::Edit;

pub(crate) use model::{
    AppClock, At, Device, Factors, FileDiff, GroupLine, GroupOf, GroupView, Locked, Member, Page,
    PersonLine, PersonView, Preview, Reach, SessionLine, Slice, StopLine, TokenLine,
};

/// The console of one request, as an extension of it.
pub(crate) type SharedConsole = Arc<dyn Console>;

/// The gateway as one permitted request to the console sees it.
#[async_trait]
pub(crate) trait Console: Send + Sync {
    /// What the request may change things with; `None` unless it was decided as an act.
    fn acts(&self) -> Option<&dyn Acts>;

    /// Whether the one who looks may act as well, perhaps after a fresh code.
    fn may_act(&self) -> bool;
    /// The journal.
    fn ledger(&self) -> &dyn Ledger;
    /// The policy.
    fn rulebook(&self) -> &dyn Rulebook;
    /// Tells how the gateway is.
    ///
    /// # Errors
    /// [`Refusal`] where that cannot be found out.
    async fn health(&self) -> Result<Health, Refusal>;

    /// Lists people by name; `search` is looked for in name, mail and groups.
    async fn people(&self, search: &str, slice: Slice) -> Result<Page<PersonLine>, Refusal>;
    /// Tells all of one person; `None` if nobody has that name.
    async fn person(&self, user: &str) -> Result<Option<PersonView>, Refusal>;
    /// Lists the groups that the policy folder writes out.
    async fn groups(&self) -> Result<Vec<GroupLine>, Refusal>;
    /// Tells who is in a group; `None` if there is no such group.
    async fn group(&self, name: &str, slice: Slice) -> Result<Option<GroupView>, Refusal>;
    /// Lists tunnel devices, revoked ones last; `search` is looked for in id, name, person and address.
    async fn devices(&self, search: &str, slice: Slice) -> Page<Device>;
    /// Lists live sessions, of one person or of all; the last used comes first.
    fn sessions(&self, user: Option<&str>, slice: Slice) -> Page<SessionLine>;
    /// Lists the tokens that count; `search` is looked for in id, name, person and app.
    fn tokens(&self, search: &str, slice: Slice) -> Page<TokenLine>;
    /// Lists the bans in force.
    async fn bans(&self) -> Result<Vec<ban::Line>, Refusal>;
    /// Lists the certificates in force and those that are wanted, the one that ends first at the top.
    fn certificates(&self) -> Vec<Line>;
    /// Lists the accounts that wait because of many wrong tries.
    fn locked(&self) -> Vec<Locked>;
    /// Tells what an edit would change, in the files and in what people may do.
    ///
    /// # Errors
    /// [`Refusal`]: the edit cannot be made, or the policy would not load.
    async fn preview(&self, edit: &Edit) -> Result<Preview, Refusal>;
}

/// What an act may change; each is on record with who did it before it is answered.
#[async_trait]
pub(crate) trait Acts: Send + Sync {
    /// Does what was asked for.
    ///
    /// # Errors
    /// [`NotDone`]: nothing was changed.
    async fn carry_out(&self, deed: &Deed, consent: &Consent) -> Result<Outcome, NotDone>;

    /// What changes the policy.
    fn amend(&self) -> &dyn Amend;
}

/// What came of an act.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in force.
    Done,
    /// It is in force, and a link is to be handed to the person; it is shown once.
    Link(String),
}

/// Why an act was not done.
#[derive(Debug)]
pub(crate) enum NotDone {
    /// It is not possible.
    Refused(Refusal),
    /// The files are not those that were shown, or a guard wants something accepted: to be asked again.
    AskAgain(Box<Preview>, Again),
}

/// Why an edit is asked about again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Somebody changed the files meanwhile.
    Changed,
    /// A guard holds it.
    Held,
}

impl From<Refusal> for NotDone {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
