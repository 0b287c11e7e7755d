//! Policies laid out: the order that decides, and what each rule asks for.

use policy::{Policy, QueryText, Sources};

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
            "device_only": false, "tokens": null, "justify": null,
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

/// An app that asks why, with areas that take it over, change it, end it, and are open to the world.
const ASKS: &str = r#"postern = 1
[rate]
slow = "1/s"
[app.crm]
host = "crm.example"
upstream = "http://h:1"
justify = "4h"
allow.all = { who = "any-user" }
[app.crm."/list"]
justify = false
allow.all = { who = "any-user" }
[app.crm."/list/pay"]
justify = "15m"
allow.all = { who = "any-user" }
[app.crm."/list/pay/own"]
allow.all = { who = "any-user" }
[app.crm."/open"]
public = "a leaflet"
allow.world = { who = "anyone", rate = "slow" }
[app.crm."/open/names"]
allow.all = { who = "any-user" }
[app.crm."/plain"]
allow.all = { who = "any-user" }
[app.other]
host = "other.example"
upstream = "http://h:2"
allow.all = { who = "any-user" }
"#;

#[test]
fn each_area_asks_why_as_the_nearest_that_says_so_and_never_the_world() {
    let policy = load(ASKS);
    let shown = policy.show(None).unwrap();
    let areas = shown.apps.iter().flat_map(|app| &app.areas);
    let asks: Vec<_> = areas
        .map(|area| format!("{} {}", area.id, area.justify.as_deref().unwrap_or("-")))
        .collect();
    let mut sorted = asks;
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "app.crm/ 4h",
            "app.crm/list -",
            "app.crm/list/pay 15m",
            "app.crm/list/pay/own 15m",
            "app.crm/open -",
            "app.crm/open/names 4h",
            "app.crm/plain 4h",
            "app.other/ -",
        ]
    );
    let text = shown.to_text();
    assert!(text.contains("    asks people why they come; a reason holds 15m\n"));
    let fronts = policy.apps().find(|(_, app)| &*app.id == "app.crm");
    let given = fronts
        .unwrap()
        .1
        .fronts
        .iter()
        .filter_map(|f| f.justify.as_ref());
    // a reason is given for the area that asks, whichever below it was opened
    let given: std::collections::BTreeSet<_> = given.map(|asked| asked.area.as_str()).collect();
    assert_eq!(given.into_iter().collect::<Vec<_>>(), ["/", "/list/pay"]);
}

#[test]
fn an_explanation_says_that_an_allow_asks_why() {
    let policy = load(&format!("{ASKS}[group]\nit = [\"nadia\"]\n"));
    let ask = |url: &str| {
        let query = QueryText {
            user: Some("nadia".to_owned()),
            to: url.to_owned(),
            ..QueryText::default()
        };
        policy.explain(&policy.query(&query).unwrap())
    };
    let asked = ask("https://crm.example/plain/7");
    assert_eq!(asked.justify.as_deref(), Some("4h"));
    assert!(
        asked.to_text().contains("why; a reason holds 4h"),
        "{}",
        asked.to_text()
    );
    assert_eq!(ask("https://crm.example/list").justify, None);
    assert_eq!(ask("https://other.example/").justify, None);
}
