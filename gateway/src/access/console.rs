//! Decides requests to the console: who may look, and who may act with a code that is fresh.

use std::sync::Arc;

use policy::{Decision, Outcome};

use super::{Caller, Facts, Quarantine, Verdict, base_record, lapsed};
use crate::audit::{Event, reason};
use crate::clock;
use crate::console::Act;
use crate::proxy::head::Target;
use crate::snapshot::Snapshot;

/// Seconds that a code counts as fresh for an act where the rule names no age.
const FRESH_SECS: u32 = 600;

/// Decides a request to the console; what comes of it is on record as for an app.
pub(crate) fn console(
    snap: &Arc<Snapshot>,
    caller: &Caller,
    target: &Target,
    method: &str,
    door: Quarantine,
) -> Verdict {
    let decision = decide(snap, caller, Act::of(method));
    let refused = match door {
        Quarantine::Closed => Some(reason::QUARANTINE),
        Quarantine::Open if caller.mismatch() => Some(reason::DEVICE_MISMATCH),
        Quarantine::Open => lapsed(snap, caller, decision),
    };
    let mut record = base_record(Event::AccessDecided, snap, caller, decision, refused);
    record.host = Some(target.host.as_str().into());
    record.method = Some(method.into());
    record.path = Some(target.path.as_str().to_owned());
    Verdict {
        decision,
        refused,
        session: caller.session.as_ref().map(Arc::clone),
        durability: record.durability(),
        record,
        class: caller.class(),
        snap: Arc::clone(snap),
    }
}

/// Tells whether the console would let the caller look, perhaps after a fresh code.
pub(crate) fn shows_console(snap: &Snapshot, caller: &Caller) -> bool {
    let outcome = decide(snap, caller, Act::Read).outcome;
    caller.session.is_some() && matches!(outcome, Outcome::Allow | Outcome::StepUp)
}

fn decide(snap: &Snapshot, caller: &Caller, act: Act) -> Decision {
    let facts = caller.facts(snap, clock::unix());
    let decision = ask(snap, &facts, act);
    if decision.outcome == Outcome::Deny && caller.is_nobody_yet() {
        // which browser it is shows only when somebody signs in
        let of_known = Facts {
            class: policy::Device::Known,
            ..facts
        };
        let better = ask(snap, &of_known, act);
        if better.outcome == Outcome::Login {
            return better;
        }
    }
    decision
}

fn ask(snap: &Snapshot, facts: &Facts, act: Act) -> Decision {
    let decision = {
        let method = match act {
            Act::Read => "GET",
            Act::Write => "POST",
        };
        snap.policy
            .decide_admin(&facts.subject(), method, &facts.context())
    };
    let stale =
        decision.outcome == Outcome::Allow && act == Act::Write && !is_fresh(snap, facts, decision);
    if stale {
        return Decision {
            outcome: Outcome::StepUp,
            expires_in: None,
            ..decision
        };
    }
    decision
}

/// The age that the rule names was looked at by the policy; where it names none, ours counts.
fn is_fresh(snap: &Snapshot, facts: &Facts, decision: Decision) -> bool {
    let rule = snap.policy.obligations(decision.obligations);
    rule.mfa_max.is_some() || facts.mfa_age.is_some_and(|age| age <= FRESH_SECS)
}
