//! What an area takes beside a sign-in in the browser: tokens, and the tunnel device alone.

use policy::{Outcome, Policy, QueryText, Sources, diff};

const BASE: &str = r#"postern = 1
[group]
it = ["nadia", "olivier"]
hr = ["ines"]
[default]
login = "10h"
[app.git]
host = "git.example"
upstream = "http://h"
device-only = true
tokens = "30d"
allow.it = { who = "@it" }
[app.git."/admin"]
allow.it = { who = "@it" }
[app.git."/hr"]
tokens = "30d"
allow.hr = { who = "@hr", device = "known" }
allow.it = { who = "@it", mfa = "15m", methods = "read" }
[admin]
allow.it = { who = "@it" }
"#;

fn try_load(text: &str) -> Result<Policy, String> {
    let mut sources = Sources::new();
    sources.add("policy.toml", text.to_owned());
    let loaded = policy::load(&sources);
    let told = |diags: Vec<policy::Diagnostic>| {
        let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
        lines.join("\n")
    };
    loaded.map(|loaded| loaded.policy).map_err(told)
}

fn load(text: &str) -> Policy {
    try_load(text).unwrap_or_else(|told| panic!("{told}"))
}

fn query(by: &str, user: &str, mfa: &str, to: &str) -> QueryText {
    let some = |text: &str| Some(text.to_owned());
    QueryText {
        user: some(user),
        by: some(by),
        from: some(if by == "device" { "tunnel" } else { "internet" }),
        mfa: some(mfa),
        login: some(mfa),
        to: to.to_owned(),
        ..QueryText::default()
    }
}

fn ask(policy: &Policy, by: &str, user: &str, mfa: &str, to: &str) -> Outcome {
    let query = policy.query(&query(by, user, mfa, to)).unwrap();
    policy.decide(&query).outcome
}

#[test]
fn a_proof_counts_in_the_area_that_takes_it_and_in_none_within_or_around_it() {
    let policy = load(BASE);
    let (allow, login, deny) = (Outcome::Allow, Outcome::Login, Outcome::Deny);
    for (by, user, age, to, outcome) in [
        ("token", "nadia", "29d", "https://git.example/x", allow),
        ("token", "nadia", "30d", "https://git.example/x", allow),
        ("token", "nadia", "31d", "https://git.example/x", deny),
        ("token", "ines", "1m", "https://git.example/x", deny),
        ("token", "nadia", "1m", "https://git.example/admin", deny),
        ("sign-in", "nadia", "1m", "https://git.example/admin", allow),
        // a token is no known device, and as old as its code
        ("token", "ines", "1m", "https://git.example/hr", deny),
        ("token", "nadia", "15m", "https://git.example/hr", allow),
        ("token", "nadia", "16m", "https://git.example/hr", deny),
        ("token", "nadia", "1m", "POST https://git.example/hr", deny),
        ("token", "nadia", "1m", "https://other.example/", deny),
        ("device", "nadia", "9h", "https://git.example/x", allow),
        ("device", "nadia", "11h", "https://git.example/x", login),
        ("device", "nadia", "9h", "https://git.example/admin", login),
        ("device", "ines", "9h", "https://git.example/x", deny),
    ] {
        assert_eq!(
            ask(&policy, by, user, age, to),
            outcome,
            "{by} {user} {age} {to}"
        );
    }
    assert!(
        policy
            .query(&query("cookie", "nadia", "1m", "admin"))
            .is_err()
    );
}

#[test]
fn explain_and_show_say_what_is_taken() {
    let policy = load(BASE);
    let why = |by: &str, age: &str, to: &str| {
        let query = policy.query(&query(by, "nadia", age, to)).unwrap();
        policy.explain(&query).to_text()
    };
    let git = "https://git.example/x";
    assert!(why("token", "31d", git).contains("by: token 31d old, at most 30d"));
    let admin = "https://git.example/admin";
    let text = why("token", "1m", admin);
    assert!(text.contains("by: tokens are not taken here"), "{text}");
    assert!(text.contains("a sign-in in the browser"), "{text}");
    assert!(why("device", "1m", admin).contains("by: a device alone is not taken here"));
    assert!(!why("token", "1m", git).contains("by:"));
    let shown = policy.show(Some("app.git/")).unwrap();
    let area = &shown.apps[0].areas[0];
    assert_eq!(
        (area.device_only, area.tokens.as_deref()),
        (true, Some("30d"))
    );
    assert!(shown.to_text().contains("takes tokens up to 30d old"));
    let admin = policy.show(Some("app.git/admin")).unwrap();
    assert!(!admin.to_text().contains("token"));
}

#[test]
fn taking_what_was_not_taken_widens_and_the_reverse_does_not() {
    let base = load(BASE);
    let without = |line: &str| load(&BASE.replacen(line, "", 1));
    let lines = |from: &Policy, to: &Policy| {
        let found = diff(from, to);
        let changes = found.changes.iter().map(|change| {
            let (was, is) = (change.before, change.after);
            format!(
                "{} {} {was} {is} {}",
                change.user,
                change.resource,
                change.contexts.join(" | ")
            )
        });
        (found.widens, changes.collect::<Vec<_>>())
    };
    let fewer = without("tokens = \"30d\"\n");
    let by = "by a token up to 30d old";
    let of = |was: &str, is: &str, by: &str| {
        let line = |user: &str| format!("{user} app.git/ {was} {is} {by}");
        vec![line("nadia"), line("olivier")]
    };
    assert_eq!(lines(&fewer, &base), (true, of("deny", "allow", by)));
    assert_eq!(lines(&base, &fewer), (false, of("allow", "deny", by)));
    let longer = load(&BASE.replacen("30d", "90d", 1));
    let more = "by a token from 30d to 90d old";
    assert_eq!(lines(&base, &longer), (true, of("deny", "allow", more)));
    let bare = without("device-only = true\n");
    let device = "by a tunnel device without a cookie";
    assert_eq!(lines(&bare, &base), (true, of("login", "allow", device)));
    // who only known devices let in has nothing from a token
    let hr = load(&BASE.replacen(
        "[app.git.\"/hr\"]\ntokens = \"30d\"\n",
        "[app.git.\"/hr\"]\n",
        1,
    ));
    let (widens, changes) = lines(&hr, &base);
    assert!(
        widens && changes.iter().all(|line| !line.starts_with("ines")),
        "{changes:?}"
    );
    assert_eq!(lines(&base, &base), (false, Vec::new()));
}

#[test]
fn an_invariant_about_sign_ins_holds_for_tokens_too() {
    let invariant = |login: &str| {
        let text = "[[invariant]]\nname = \"fresh\"\nreach = [\"app.git/\"]\nrequires";
        try_load(&format!("{BASE}{text} = {{ login = \"{login}\" }}\n"))
    };
    let told = invariant("10h").unwrap_err();
    assert!(told.contains("by a token"), "{told}");
    assert!(invariant("30d").is_ok());
}

#[test]
fn tests_of_a_policy_may_be_about_tokens() {
    let test = |by: &str, expect: &str| {
        let asked = format!("as = {{ user = \"nadia\", by = \"{by}\", mfa = \"20d\" }}");
        let to = "to = \"https://git.example/x\"";
        try_load(&format!(
            "{BASE}[[test]]\n{asked}\n{to}\nexpect = \"{expect}\"\n"
        ))
    };
    assert!(test("token", "allow").is_ok());
    assert!(test("token", "deny").is_err());
    assert!(
        test("badge", "deny")
            .unwrap_err()
            .contains("sign-in, device, token")
    );
}
