//! The console: who may look at it, and who may act in it.

use policy::{Outcome, Policy, QueryText, Sources, guard};
use serde_json::json;

const BASE: &str = r#"postern = 1
[group]
it = ["nadia", "olivier"]
auditors = ["ines"]
[app.web]
host = "web.example"
upstream = "http://h"
allow.it = { who = "@it" }
[admin]
allow.it = { who = "@it", mfa = "10m" }
allow.audit = { who = "@auditors", mfa = "10m", methods = "read" }
"#;

fn try_load(text: &str) -> Result<Policy, Vec<String>> {
    let mut sources = Sources::new();
    sources.add("policy.toml", text.to_owned());
    match policy::load(&sources) {
        Ok(loaded) => Ok(loaded.policy),
        Err(diags) => Err(diags.iter().map(|d| d.one_line(&sources)).collect()),
    }
}

fn load(text: &str) -> Policy {
    try_load(text).unwrap_or_else(|lines| panic!("{}", lines.join("\n")))
}

fn asked(policy: &Policy, user: &str, to: &str) -> (Outcome, String) {
    let text = QueryText {
        user: (!user.is_empty()).then(|| user.to_owned()),
        to: to.to_owned(),
        ..QueryText::default()
    };
    let explained = policy.explain(&policy.query(&text).unwrap());
    (explained.outcome, explained.rule)
}

#[test]
fn an_auditor_looks_and_does_not_act_and_an_administrator_does_both() {
    let policy = load(BASE);
    for (user, to, outcome, rule) in [
        ("ines", "admin", Outcome::Allow, "admin#audit"),
        ("ines", "GET admin", Outcome::Allow, "admin#audit"),
        ("ines", "HEAD admin", Outcome::Allow, "admin#audit"),
        ("ines", "POST admin", Outcome::Deny, "builtin.default"),
        ("ines", "DELETE admin", Outcome::Deny, "builtin.default"),
        ("nadia", "admin", Outcome::Allow, "admin#it"),
        ("nadia", "POST admin", Outcome::Allow, "admin#it"),
        ("nadia", "BREW admin", Outcome::Deny, "builtin.default"),
        ("nadia", "TRACE admin", Outcome::Deny, "builtin.bad-request"),
        ("", "POST admin", Outcome::Login, "admin#it"),
    ] {
        assert_eq!(
            asked(&policy, user, to),
            (outcome, rule.to_owned()),
            "{user} {to}"
        );
    }
    let bits = policy.subject("ines");
    let subject = policy::Subject {
        bits: bits.as_ref(),
        mfa_age: Some(0),
        login_age: 0,
        device: policy::Device::Any,
    };
    let zone = policy.zone("192.0.2.1".parse().unwrap(), false);
    let context = policy::Context::new(zone, policy.tick(1_800_000_000));
    let decide = |method: &str| policy.decide_admin(&subject, method, &context).outcome;
    assert_eq!(decide("GET"), Outcome::Allow);
    for method in ["POST", "", "get", "CONNECT", "B REW"] {
        assert_eq!(decide(method), Outcome::Deny, "{method}");
    }
}

#[test]
fn a_refused_act_is_explained_by_the_methods_of_the_rule() {
    let policy = load(BASE);
    let text = QueryText {
        user: Some("ines".to_owned()),
        to: "POST admin".to_owned(),
        ..QueryText::default()
    };
    let told = policy.explain(&policy.query(&text).unwrap());
    assert_eq!(told.app.as_deref(), Some("admin"));
    assert_eq!(
        serde_json::to_value(&told.allows).unwrap(),
        json!([
            {"rule": "admin#it", "ok": false, "why": "who: ines is not in @it (nadia, olivier)",
             "holds": ["login", "mfa"]},
            {"rule": "admin#audit", "ok": false, "why": "methods: only GET, HEAD", "holds": ["who", "login", "mfa"]},
        ])
    );
    assert_eq!(told.would_allow, ["being in @it", "method GET or HEAD"]);
    let text = told.to_text();
    assert!(
        text.contains("methods: only GET, HEAD   (holds: who, login, mfa)"),
        "{text}"
    );
}

#[test]
fn who_can_and_what_can_tell_looking_from_acting() {
    let policy = load(BASE);
    let who = serde_json::to_value(policy.who_can("admin").unwrap()).unwrap();
    assert_eq!(
        who["users"],
        json!([
            {"name": "ines", "outcome": "allow", "rule": "admin#audit",
             "contexts": ["methods GET, HEAD; code up to 10m old; sign-in up to 12h old"]},
            {"name": "nadia", "outcome": "allow", "rule": "admin#it",
             "contexts": ["code up to 10m old; sign-in up to 12h old"]},
            {"name": "olivier", "outcome": "allow", "rule": "admin#it",
             "contexts": ["code up to 10m old; sign-in up to 12h old"]},
        ])
    );
    let what = policy.what_can("ines").unwrap();
    assert_eq!(what.resources.len(), 1);
    assert!(what.resources[0].contexts[0].starts_with("methods GET, HEAD"));
}

#[test]
fn an_auditor_made_administrator_is_a_change_of_acting_alone() {
    let before = load(BASE);
    let after = load(&BASE.replace(", methods = \"read\"", ""));
    let changes = policy::diff(&before, &after).changes;
    let acting = |change: &policy::Change| {
        let all = "methods DELETE, OPTIONS, PATCH, POST, PUT;";
        change.contexts.iter().all(|text| text.starts_with(all)) && !change.contexts.is_empty()
    };
    assert!(changes.iter().all(acting), "{changes:?}");
    let told: Vec<_> = changes
        .iter()
        .map(|c| (c.user.as_str(), c.resource.as_str(), c.before, c.after))
        .collect();
    let from_deny = |after| ("ines", "admin", Outcome::Deny, after);
    let all = [Outcome::Login, Outcome::StepUp, Outcome::Allow];
    assert_eq!(told, all.map(from_deny));
    assert!(policy::diff(&before, &load(BASE)).changes.is_empty());
}

#[test]
fn who_may_only_look_does_not_count_against_a_lock_out() {
    let codes = |text: &str| {
        let found = guard::lockout(&load(text), |_| true);
        found.iter().map(|d| d.code).collect::<Vec<_>>()
    };
    assert!(codes(BASE).is_empty());
    let one = BASE.replace("it = [\"nadia\", \"olivier\"]", "it = [\"nadia\"]");
    assert_eq!(codes(&one), ["one-admin"]);
    let none = BASE.replace(
        "allow.it = { who = \"@it\", mfa = \"10m\" }",
        "allow.it = { who = \"@it\", mfa = \"10m\", methods = \"read\" }",
    );
    assert_eq!(codes(&none), ["lock-out"]);
    // the twin: the very word that lets a form be sent makes it usable again
    assert!(codes(&none.replace("\"read\"", "[\"read\", \"POST\"]")).is_empty());
    let me = |to: &str| QueryText {
        user: Some("ines".to_owned()),
        to: to.to_owned(),
        ..QueryText::default()
    };
    let policy = load(BASE);
    assert!(guard::keeps_access(&policy, &me("admin"), 0).unwrap());
    assert!(!guard::keeps_access(&policy, &me("POST admin"), 0).unwrap());
}

#[test]
fn tests_of_a_policy_ask_the_console_by_method() {
    let test = |to: &str, expect: &str| {
        format!(
            "{BASE}[[test]]\nas = {{ user = \"ines\" }}\nto = \"{to}\"\nexpect = \"{expect}\"\n"
        )
    };
    assert!(try_load(&test("admin", "allow")).is_ok());
    assert!(try_load(&test("POST admin", "deny")).is_ok());
    let wrong = try_load(&test("POST admin", "allow")).unwrap_err();
    assert!(wrong[0].contains("policy.toml:"), "{wrong:?}");
    let no_question = try_load(&test("POST  admin", "deny")).unwrap_err();
    assert!(
        no_question[0].contains("is nothing to reach"),
        "{no_question:?}"
    );
}

#[test]
fn a_rule_of_the_console_shows_and_keeps_its_methods_and_a_net_has_none() {
    let policy = load(BASE);
    let shown = policy.show(Some("admin")).unwrap();
    let rules = shown.admin.as_deref().unwrap_or_default().iter();
    let methods: Vec<_> = rules.map(|rule| rule.methods.as_deref()).collect();
    assert_eq!(methods, [None, Some("GET, HEAD")]);
    assert!(shown.to_text().contains("methods GET, HEAD"));
    let again = policy::load(&policy.canonical()).unwrap();
    assert_eq!(again.policy.digest(), policy.digest());
    assert_ne!(
        load(&BASE.replace(", methods = \"read\"", "")).digest(),
        policy.digest()
    );
    let wrong = try_load(&BASE.replace("\"read\"", "\"reed\"")).unwrap_err();
    assert!(wrong[0].contains("`reed` is not a method"), "{wrong:?}");
    let net = "[net.n]\nto = \"10.0.0.1\"\nport = \"22/tcp\"\nallow.it = { who = \"@it\", methods = \"read\" }\n";
    let wrong = try_load(&format!("{BASE}{net}")).unwrap_err();
    assert!(wrong[0].contains("unknown key `methods`"), "{wrong:?}");
}
