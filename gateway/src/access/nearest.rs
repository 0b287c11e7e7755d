//! The rule that came closest to a yes, for the record of a no.

use policy::{AuditInput, AuditTarget, Decision, Outcome};

use super::{Caller, Facts};
use crate::snapshot::Snapshot;

/// Returns the rule that missed fewest conditions, and which: `app.a#it: from, mfa`. `None` unless a person was refused
/// because no rule let them in: a guard that refuses, and a rule that asks for more, are on record themselves.
pub(super) fn nearest(
    snap: &Snapshot,
    caller: &Caller,
    facts: &Facts,
    decision: Decision,
    target: impl FnOnce() -> AuditTarget,
) -> Option<String> {
    let rule = &snap.policy.rule(decision.rule).id;
    let by_default = decision.outcome == Outcome::Deny && **rule == *"builtin.default";
    facts.bits.as_ref().filter(|_| by_default)?;
    let user = caller
        .user()
        .or_else(|| Some(&caller.device.as_ref()?.user))?;
    snap.policy.nearest(&AuditInput {
        seq: 0,
        user: Some(user.to_string()),
        by: facts.by,
        source: caller.source,
        tunnel: facts.tunnel,
        unix: facts.at,
        device: facts.class,
        mfa_age: facts.mfa_age,
        login_age: facts.login_age,
        target: target(),
        outcome: decision.outcome,
        rule: String::new(),
    })
}
