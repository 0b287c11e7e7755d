//! What the policy says of sessions: how long they may lie unused, and how many there may be.

use std::time::Duration;

use postern_tests::curl::Client;
use postern_tests::gateway::Gateway;
use postern_tests::journal;
use postern_tests::wait;

/// The policy with more in the rule of the app.
fn bound(gateway: &Gateway, with: &str) -> String {
    let text = gateway.policy_text();
    let at = text.find("[app.").expect("an app");
    let (before, after) = text.split_at(at);
    let after = after.replacen(" }\n", &format!(", {with} }}\n"), 1);
    let bound = format!("{before}{after}");
    assert!(bound.contains(with), "{bound}");
    bound
}

fn sessions(gateway: &Gateway) -> usize {
    gateway.must(&["session", "list", "--json"]).lines().count()
}

#[test]
fn a_session_ends_after_the_idle_time_of_the_rule_it_came_in_by() {
    let gateway = Gateway::demo();
    gateway.set_policy(&bound(&gateway, "idle = \"3s\""));
    let (here, there) = (Client::new(&gateway), Client::new(&gateway));
    let demo = &gateway.facts.demo;
    // this one never uses the rule
    drop(there.sign_in(&gateway.facts.portal, &gateway.facts.guest));
    let app = here.sign_in(&gateway.facts.app, demo);
    assert!(
        app.status == 200 && app.url.starts_with("https://app"),
        "{app:?}"
    );
    wait::until_true(Duration::from_secs(30), "the end of one", || {
        sessions(&gateway) == 1
    });
    assert_eq!(here.open(&gateway.facts.portal).status, 303);
    assert_eq!(there.open(&gateway.facts.portal).status, 200);
    let ended = journal::wait_for(&gateway, "session-ended.1", |r| {
        journal::is(r, "reason", "idle")
    });
    assert_eq!(ended["user"], "demo");
}

#[test]
fn who_lay_unused_for_longer_signs_in_anew_before_the_rule_lets_them_in() {
    let gateway = Gateway::demo();
    let client = Client::new(&gateway);
    let demo = &gateway.facts.demo;
    drop(client.sign_in(&gateway.facts.portal, demo));
    assert_eq!(client.follow(&gateway.facts.app).status, 200);
    wait::stays(Duration::from_secs(4), "the session", || {
        sessions(&gateway) == 1
    });
    assert_eq!(client.open(&gateway.facts.portal).status, 200);
    gateway.set_policy(&bound(&gateway, "idle = \"2s\""));
    let asked = client.follow(&gateway.facts.app);
    assert!(asked.url.contains("/signin"), "{asked:?}");
    let told = journal::wait_for(&gateway, "access-decided.1", |r| {
        journal::is(r, "reason", "idle")
    });
    assert_eq!(told["outcome"], "login");
    let app = client.sign_in(&gateway.facts.app, demo);
    assert!(app.url.starts_with("https://app"), "{app:?}");
}

#[test]
fn a_rule_for_one_session_ends_the_earlier_one() {
    let gateway = Gateway::demo();
    gateway.set_policy(&bound(&gateway, "sessions = 1"));
    let demo = &gateway.facts.demo;
    let (first, second) = (Client::new(&gateway), Client::new(&gateway));
    drop(first.sign_in(&gateway.facts.portal, demo));
    drop(second.sign_in(&gateway.facts.portal, demo));
    assert_eq!(sessions(&gateway), 2);
    assert_eq!(second.follow(&gateway.facts.app).status, 200);
    wait::until_true(Duration::from_secs(10), "the end of one", || {
        sessions(&gateway) == 1
    });
    assert_eq!(first.open(&gateway.facts.portal).status, 303);
    assert_eq!(second.open(&gateway.facts.portal).status, 200);
}

#[test]
fn a_limit_for_everybody_holds_from_the_reload_on() {
    let gateway = Gateway::demo();
    let client = Client::new(&gateway);
    drop(client.sign_in(&gateway.facts.portal, &gateway.facts.demo));
    assert_eq!(sessions(&gateway), 1);
    let text = gateway.policy_text();
    let limit = match text.contains("[default]\n") {
        true => text.replace("[default]\n", "[default]\nidle = \"2s\"\n"),
        false => format!("{text}\n[default]\nidle = \"2s\"\n"),
    };
    gateway.set_policy(&limit);
    wait::until_true(Duration::from_secs(15), "the end", || {
        sessions(&gateway) == 0
    });
    assert_eq!(client.open(&gateway.facts.portal).status, 303);
}
