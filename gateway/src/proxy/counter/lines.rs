//! What the login engine says, in the words of the pages.

use std::sync::Arc;

use crate::gateway::Gateway;
use crate::identity::{self, EnrolView, Session, Weak};
use crate::ids::{Door, SessionId};
use crate::pages::{Ask, ChangeStep, Enrolment, SessionRow, Weakness};
use crate::snapshot::Snapshot;
use crate::store::LinkKind;

/// Lists the live sessions of a person.
pub(super) fn sessions(
    gw: &Gateway,
    snap: &Snapshot,
    user: &str,
    current: Option<SessionId>,
) -> Vec<SessionRow> {
    let device = |id| gw.devices.get(id).map(|d| d.name.to_string());
    let zones = |s: &Session| {
        let class = snap.policy.zone(s.source, s.door == Door::Tunnel);
        let names = snap.policy.zone_names(class).into_iter();
        names.map(str::to_owned).collect()
    };
    let row = |s: Arc<Session>| SessionRow {
        id: s.id,
        door: s.door,
        source: s.source,
        zones: zones(&s),
        browser: identity::browser(&s.agent),
        devices: s.devices().into_iter().filter_map(device).collect(),
        created: s.created,
        last_used: s.last_used(),
        current: current == Some(s.id),
    };
    gw.sessions.of_user(user).into_iter().map(row).collect()
}

/// Describes an enrolment. Whoever proved a password on the way to it sees the account's sessions.
pub(super) fn enrolment(gw: &Gateway, snap: &Snapshot, view: EnrolView) -> Enrolment {
    let ask = match view.kind {
        LinkKind::Invite => Ask::NewPassword,
        LinkKind::Reset => Ask::Password,
        LinkKind::Recovery => Ask::Recovered,
        LinkKind::Imported => Ask::Imported,
        LinkKind::ImportedWeak => Ask::BetterPassword,
    };
    let sessions = if view.kind.is_ticket() {
        sessions(gw, snap, &view.user, None)
    } else {
        Vec::new()
    };
    Enrolment {
        ask,
        sessions,
        user: view.user,
        otpauth: view.otpauth,
        secret: view.secret_base32,
        minimum: gw.config.identity.password_min,
    }
}

pub(super) fn changed(step: identity::ChangeStep) -> ChangeStep {
    match step {
        identity::ChangeStep::Done => ChangeStep::Done,
        identity::ChangeStep::Codes(codes) => ChangeStep::Codes(codes),
        identity::ChangeStep::NotConfirmed => ChangeStep::NotConfirmed,
        identity::ChangeStep::Weak(weak) => ChangeStep::Weak(weakness(weak)),
        identity::ChangeStep::WrongCode => ChangeStep::WrongCode,
        identity::ChangeStep::Throttled(wait) => ChangeStep::Throttled(wait),
        identity::ChangeStep::Overloaded => ChangeStep::Overloaded,
        identity::ChangeStep::Unavailable => ChangeStep::Unavailable,
    }
}

pub(super) fn weakness(weak: Weak) -> Weakness {
    match weak {
        Weak::TooShort { .. } => Weakness::Short,
        Weak::TooLong => Weakness::Long,
        Weak::UserName | Weak::Common | Weak::SiteWord => Weakness::Common,
    }
}
