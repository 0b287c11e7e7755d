//! Apps that take `%2F` or `//`: a path that could be read as one of two areas is refused.

use policy::{Outcome, Policy, QueryText};

use crate::answers::load;

const POLICY: &str = r#"postern = 1
[group]
it = ["nadia"]
[app.git]
host = "git.example"
upstream = "http://h"
encoded-slashes = true
empty-segments = true
allow.all = { who = "any-user", mfa = "none" }
[app.git."/admin"]
allow.it = { who = "@it", mfa = "15m" }
[app.git."/open"]
public = "p"
allow.any = { who = "anyone" }
[app.git."/api/*/raw"]
allow.it = { who = "@it" }
[app.plain]
host = "plain.example"
upstream = "http://h"
allow.all = { who = "any-user", mfa = "none" }
"#;

fn decided(policy: &Policy, user: Option<&str>, to: &str) -> (Outcome, String) {
    let asked = QueryText {
        user: user.map(str::to_owned),
        to: to.to_owned(),
        ..QueryText::default()
    };
    let query = policy.query(&asked).unwrap();
    let decision = policy.decide(&query);
    (decision.outcome, policy.rule(decision.rule).id.to_string())
}

#[test]
fn a_path_with_one_area_in_both_readings_is_decided_and_any_other_is_refused() {
    let policy = load(POLICY);
    for (to, rule) in [
        ("/api/v4/projects/group%2Fproject", "app.git#all"),
        ("/a//b", "app.git#all"),
        ("/admin/a%2Fb", "app.git/admin#it"),
        ("/admin//b", "app.git/admin#it"),
        ("/open/a%2Fb", "app.git/open#any"),
        ("/open//a", "app.git/open#any"),
        ("/api/x/raw/a%2Fb", "app.git/api/*/raw#it"),
    ] {
        let url = format!("https://git.example{to}");
        let expected = (Outcome::Allow, rule.to_owned());
        assert_eq!(decided(&policy, Some("nadia"), &url), expected, "{to}");
    }
    for to in [
        // to one who decodes it is in /admin, to one who does not in /
        "/admin%2Fusers",
        "/open%2Fx",
        "/open%2F..%2Fadmin",
        "/open/..%2Fadmin",
        "/open//../admin",
        "/open%5Cadmin",
        "/api/x%2Fraw",
        "/api//x/raw",
        "/api/a%2Fb/raw",
        "/a%2Fb//c",
    ] {
        let url = format!("https://git.example{to}");
        for user in [Some("nadia"), None] {
            let (outcome, rule) = decided(&policy, user, &url);
            let got = (outcome, rule.as_str());
            assert_eq!(got, (Outcome::Deny, "builtin.bad-request"), "{to}");
        }
    }
    // without the keys all is as ever
    let plain = decided(&policy, Some("nadia"), "https://plain.example/a%2Fb");
    assert_eq!(plain.1, "builtin.bad-request");
    let plain = decided(&policy, Some("nadia"), "https://plain.example/a//b");
    assert_eq!(plain.0, Outcome::Allow);
}

#[test]
fn an_explanation_says_how_else_the_path_could_be_read() {
    let policy = load(POLICY);
    let text = |to: &str| {
        let asked = QueryText {
            user: Some("nadia".to_owned()),
            to: format!("https://git.example{to}"),
            ..QueryText::default()
        };
        policy.explain(&policy.query(&asked).unwrap()).to_text()
    };
    let note = "could read it as /admin%2Fusers or as /admin/users";
    assert!(
        text("/admin%2Fusers").contains(note),
        "{}",
        text("/admin%2Fusers")
    );
    assert!(!text("/x%2Fusers").contains("could read it"));
}

#[test]
fn nobody_is_named_for_a_path_that_is_refused_whoever_asks() {
    let policy = load(POLICY);
    let who = |to: &str| policy.who_can(&format!("https://git.example{to}"));
    let refused = who("/admin%2Fusers").unwrap_err();
    let help = refused.help.unwrap();
    assert!(help.contains("two ways"), "{help}");
    let named = who("/admin/a%2Fb").unwrap();
    assert_eq!(named.resource, "app.git/admin");
    assert!(named.users.iter().any(|user| user.name == "nadia"));
}
