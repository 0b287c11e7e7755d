//! Decisions on record by the people of then, and what a refusal on record says came closest.

use policy::{AuditInput, AuditTarget, Device, Outcome, Proof, Replayer};

use crate::answers::{BASE, load};

fn record(user: &str, path: &str) -> AuditInput {
    AuditInput {
        seq: 1,
        user: Some(user.to_owned()),
        by: Proof::SignIn,
        source: "203.0.113.9".parse().unwrap(),
        tunnel: false,
        // a Tuesday, 11:00 UTC
        unix: 1_767_697_200,
        device: Device::Any,
        mfa_age: Some(60),
        login_age: 60,
        target: AuditTarget::Http {
            host: "web.example".to_owned(),
            path: path.to_owned(),
            method: "GET".to_owned(),
        },
        outcome: Outcome::Allow,
        rule: String::new(),
    }
}

#[test]
fn people_of_then_tell_what_rules_change_from_what_groups_do() {
    let then = load(BASE);
    let asked = record("ines", "/");
    assert_eq!(Replayer::new(&then).decide(&asked).outcome, Outcome::Allow);
    let outcomes = |text: &str| {
        let now = load(text);
        let mut replayer = Replayer::new(&now);
        let as_of = replayer.decide_as_of(&then, &asked).outcome;
        (replayer.decide(&asked).outcome, as_of)
    };
    for (from, to, answers) in [
        ("", "", (Outcome::Allow, Outcome::Allow)),
        // she left the group, and the policy altogether
        (
            "hr = [\"ines\"]",
            "hr = [\"olivier\"]",
            (Outcome::Deny, Outcome::Allow),
        ),
        // the rule is for others now
        (
            "who = \"@hr\"",
            "who = \"@it\"",
            (Outcome::Deny, Outcome::Deny),
        ),
        // a group that there was not has whom it has now
        (
            "hr = [\"ines\"]",
            "hr = [\"nadia\"]\nnew = [\"ines\"]",
            (Outcome::Deny, Outcome::Allow),
        ),
        (
            "who = \"@hr\"",
            "who = [\"@hr\", \"!@it\"]",
            (Outcome::Allow, Outcome::Allow),
        ),
    ] {
        assert_eq!(outcomes(&BASE.replace(from, to)), answers, "{to}");
    }
    let new = BASE
        .replace("hr = [\"ines\"]", "hr = [\"nadia\"]\nnew = [\"ines\"]")
        .replace("who = \"@hr\"", "who = \"@new\"");
    assert_eq!(outcomes(&new), (Outcome::Allow, Outcome::Allow));
}

#[test]
fn who_was_not_known_then_or_shut_out_is_denied() {
    let now = load(BASE);
    let then = load(&BASE.replace("hr = [\"ines\"]", "hr = [\"nadia\"]"));
    let replayer = Replayer::new(&now);
    let asked = record("ines", "/");
    assert_eq!(replayer.decide_as_of(&then, &asked).outcome, Outcome::Deny);
    let nobody = AuditInput {
        user: None,
        mfa_age: None,
        login_age: u32::MAX,
        ..record("ines", "/health")
    };
    assert_eq!(
        replayer.decide_as_of(&then, &nobody).outcome,
        Outcome::Allow
    );
}

#[test]
fn a_refusal_names_the_rule_that_came_closest_and_what_it_missed() {
    let policy = load(BASE);
    for (user, path, near) in [
        ("nadia", "/admin", Some("app.web/admin#it: from")),
        ("ines", "/admin", Some("app.web/admin#it: from, who")),
        ("olivier", "/", Some("app.web#hr: who")),
    ] {
        let near = near.map(str::to_owned);
        assert_eq!(policy.nearest(&record(user, path)), near, "{user} {path}");
    }
    let late = AuditInput {
        unix: 1_767_740_000,
        ..record("olivier", "/")
    };
    let near = policy.nearest(&late);
    assert_eq!(near.as_deref(), Some("app.web#hr: when, who"));
    // the first of those that miss as few
    let two = BASE.replace(
        "allow.hr = {",
        "allow.far = { who = \"@it\", from = \"office\", when = \"day\" }\nallow.a = { who = \"@it\", from = \"office\" }\n\
         allow.hr = {",
    );
    let near = load(&two).nearest(&late);
    assert_eq!(near.as_deref(), Some("app.web#a: from"));
    for nobody in [
        AuditInput {
            user: None,
            ..record("ines", "/")
        },
        record("gone", "/"),
    ] {
        assert_eq!(policy.nearest(&nobody), None);
    }
}
