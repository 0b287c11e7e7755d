//! Decides requests to the console: who may look, and who may act with a code that is fresh.

use std::sync::Arc;

use policy::{AuditTarget, Decision, Outcome, Policy};

use super::{Caller, Facts, Quarantine, Verdict, base_record, lapsed, nearest};
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
    let (facts, said, decision) = decide(snap, caller, method);
    let refused = match door.reason() {
        Some(why) => Some(why),
        None if caller.mismatch() => Some(reason::DEVICE_MISMATCH),
        None => lapsed(snap, caller, decision),
    };
    let mut record = base_record(Event::AccessDecided, snap, caller, decision, refused);
    let differs = refused.is_some() || said.outcome != decision.outcome;
    let mut inputs = facts.inputs(snap, said, differs);
    inputs.console = true;
    inputs.nearest = nearest(snap, caller, &facts, said, || AuditTarget::Admin {
        method: method.to_owned(),
    });
    record.inputs = Some(inputs);
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
    would(snap, caller, "GET")
}

/// Tells whether the console would let the caller act, perhaps after a fresh code.
pub(crate) fn may_act(snap: &Snapshot, caller: &Caller) -> bool {
    would(snap, caller, "POST")
}

fn would(snap: &Snapshot, caller: &Caller, method: &str) -> bool {
    let (_, _, Decision { outcome, .. }) = decide(snap, caller, method);
    caller.session.is_some() && matches!(outcome, Outcome::Allow | Outcome::StepUp)
}

/// Returns what the decision was taken from, what the policy said, and what holds.
fn decide(snap: &Snapshot, caller: &Caller, method: &str) -> (Facts, Decision, Decision) {
    let facts = caller.facts(snap, clock::unix());
    let said = ask(&snap.policy, &facts, method);
    if said.outcome == Outcome::Deny && caller.is_nobody_yet() {
        // which browser it is shows only when somebody signs in
        let of_known = Facts {
            class: policy::Device::Known,
            ..caller.facts(snap, facts.at)
        };
        let better = ask(&snap.policy, &of_known, method);
        if better.outcome == Outcome::Login {
            return (of_known, better, better);
        }
    }
    let stale = Act::of(method) == Act::Write && !is_fresh(&snap.policy, &facts, said);
    if said.outcome == Outcome::Allow && stale {
        let step_up = Decision {
            outcome: Outcome::StepUp,
            expires_in: None,
            ..said
        };
        return (facts, said, step_up);
    }
    (facts, said, said)
}

fn ask(policy: &Policy, facts: &Facts, method: &str) -> Decision {
    policy.decide_admin(&facts.subject(), method, &facts.context())
}

/// The age that the rule names was looked at by the policy; where it names none, ours counts.
fn is_fresh(policy: &Policy, facts: &Facts, decision: Decision) -> bool {
    let rule = policy.obligations(decision.obligations);
    rule.mfa_max.is_some() || facts.mfa_age.is_some_and(|age| age <= FRESH_SECS)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use policy::{Device, Outcome, Policy, SubjectBits};

    use super::{FRESH_SECS, Facts, is_fresh};

    fn console(rule: &str) -> Policy {
        let text = format!(
            "postern = 1\n[group]\nit = [\"ann\"]\n[admin]\nallow.it = {{ who = \"@it\"{rule} }}\n"
        );
        let mut sources = policy::Sources::new();
        sources.add("policy.toml", text);
        policy::load(&sources).unwrap().policy
    }

    fn facts(policy: &Policy, mfa_age: u32) -> Facts {
        let bits: SubjectBits = policy.subject("ann").unwrap();
        Facts {
            bits: Some(Arc::new(bits)),
            by: policy::Proof::SignIn,
            mfa_age: Some(mfa_age),
            login_age: 60,
            class: Device::Any,
            tunnel: false,
            zone: policy.zone("192.0.2.1".parse().unwrap(), false),
            time: policy.tick(1_700_000_000),
            at: 1_700_000_000,
        }
    }

    #[test]
    fn an_act_needs_the_freshness_of_the_rule_or_else_ten_minutes() {
        for (rule, age, allowed, fresh) in [
            ("", FRESH_SECS, true, true),
            ("", FRESH_SECS + 1, true, false),
            (", mfa = \"none\"", FRESH_SECS + 1, true, false),
            (", mfa = \"30m\"", 1800, true, true),
            (", mfa = \"30m\"", 1801, false, false),
        ] {
            let policy = console(rule);
            let facts = facts(&policy, age);
            let said = super::ask(&policy, &facts, "POST");
            assert_eq!(said.outcome == Outcome::Allow, allowed, "{rule} {age}");
            let acts = said.outcome == Outcome::Allow && is_fresh(&policy, &facts, said);
            assert_eq!(acts, fresh, "{rule} {age}");
        }
    }
}
