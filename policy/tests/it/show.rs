//! Policies laid out: the order that decides, and what each rule asks for.

use policy::{Policy, Sources};

use crate::support;

fn load(text: &str) -> Policy {
    let mut sources = Sources::new();
    sources.add("policy.toml", text.to_owned());
    policy::load(&sources).unwrap().policy
}

const SMALL: &str = r#"postern = 1
[zone]
office = "192.168.1.0/24"
[group]
it = ["nadia"]
[app.web]
host = ["web.example", "*.web.example"]
upstream = "http://h:8080"
allow.all = { who = "any-user", mfa = "none", login = "8h" }
[app.web."/a"]
allow.it = { who = "@it", from = "office", mfa = "15m", device = "managed" }
[app.web."/a/*"]
allow.it = { who = "@it" }
[app.web."/a/b"]
allow.it = { who = "@it" }
[app.web."=/a"]
public = "probe"
allow.any = { who = "anyone", methods = "read" }
[app.web."/new"]
shadow = true
allow.it = { who = "@it" }
[net.wide]
to = "10.0.0.0/8"
port = ["1-100/tcp", "icmp"]
allow.it = { who = "@it" }
[net.host]
to = ["10.0.0.7", "10.1.0.0/16"]
port = "22/tcp"
allow.it = { who = "@it" }
[deny.away]
who = "any-user"
from = "internet"
on = ["app.web"]
reason = "only from here"
[admin]
allow.it = { who = "@it" }
"#;

#[test]
fn the_examples_are_laid_out_as_written_down() {
    for name in ["office", "home", "agency"] {
        let folder = support::root().join("../deploy/examples").join(name);
        let loaded = policy::load(&support::folder(&folder)).unwrap();
        let shown = loaded.policy.show(None).unwrap().to_text();
        let golden = support::root().join(format!("tests/golden/{name}-show.txt"));
        support::golden(&golden, &shown).unwrap();
    }
}

#[test]
fn areas_come_from_the_most_to_the_least_specific() {
    let shown = load(SMALL).show(Some("app.web")).unwrap();
    let ids: Vec<&str> = shown.apps[0]
        .areas
        .iter()
        .map(|area| area.id.as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "app.web/a/b",
            "app.web/a/*",
            "app.web=/a",
            "app.web/a",
            "app.web/new",
            "app.web/"
        ]
    );
    assert!(shown.nets.is_empty() && shown.admin.is_none());
    assert_eq!(shown.guards.len(), 1);
}

#[test]
fn nets_come_with_the_longest_prefix_first() {
    let shown = load(SMALL).show(None).unwrap();
    let ids: Vec<&str> = shown.nets.iter().map(|net| net.id.as_str()).collect();
    assert_eq!(ids, ["net.host", "net.wide"]);
    assert_eq!(shown.nets[0].to, ["10.0.0.7/32", "10.1.0.0/16"]);
    assert_eq!(shown.nets[1].ports, ["1-100/tcp", "icmp"]);
}

#[test]
fn a_rule_says_all_that_it_asks_for() {
    let shown = load(SMALL).show(Some("app.web/a")).unwrap();
    assert_eq!(
        serde_json::to_value(&shown.apps[0].areas).unwrap(),
        serde_json::json!([{
            "id": "app.web/a", "at": "policy.toml:10", "public": null, "shadow": false,
            "device_only": false, "tokens": null,
            "rules": [{
                "id": "app.web/a#it", "at": "policy.toml:11", "who": "@it (nadia)", "from": "office",
                "when": null, "device": "managed", "mfa": "15m", "login": "12h",
                "idle": null, "sessions": null, "methods": null,
                "rate": null, "shadow": false
            }]
        }])
    );
}

#[test]
fn a_request_shows_the_area_that_decides_it() {
    let policy = load(SMALL);
    let area = |text: &str| policy.show(Some(text)).unwrap().apps[0].areas[0].id.clone();
    assert_eq!(area("https://web.example/a/c/d"), "app.web/a/*");
    assert_eq!(area("https://x.web.example/"), "app.web/");
    let net = |text: &str| policy.show(Some(text)).unwrap().nets[0].id.clone();
    assert_eq!(net("tcp://10.1.2.3:22"), "net.host");
    assert_eq!(net("tcp://10.1.2.3:23"), "net.wide");
}

#[test]
fn a_guard_and_the_console_are_shown_alone() {
    let policy = load(SMALL);
    let guard = policy.show(Some("deny.away")).unwrap();
    assert!(guard.apps.is_empty() && guard.nets.is_empty() && guard.admin.is_none());
    assert_eq!(
        guard.guards[0].on.as_deref(),
        Some(&["app.web".to_owned()][..])
    );
    let admin = policy.show(Some("admin")).unwrap();
    assert!(admin.apps.is_empty() && admin.guards.is_empty());
    assert_eq!(admin.admin.unwrap()[0].id, "admin#it");
}

#[test]
fn what_is_not_there_is_an_error_with_a_suggestion() {
    let error = load(SMALL).show(Some("app.wbe")).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("did you mean `app.web`?"));
}
