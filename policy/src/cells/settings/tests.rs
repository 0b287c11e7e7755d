//! What widens of all that is no decision, and what is told of it.

use crate::Policy;
use crate::source::Sources;

const BASE: &str = "postern = 1\n[group]\nit = [\"nadia\"]\n[rate]\nslow = \"1/s\"\nfast = \"9/s\"\n[tunnel]\n[default]\n\
    [app.web]\nhost = \"web.example\"\nupstream = \"http://10.0.0.1\"\n\
    allow.it = { who = \"@it\" }\n[app.web.\"/admin\"]\nallow.it = { who = \"@it\" }\n\
    [net.ssh]\nto = \"10.0.0.1\"\nport = \"22/tcp\"\nallow.it = { who = \"@it\" }\n\
    [admin]\nallow.it = { who = \"@it\" }\n";

fn load(text: &str) -> Policy {
    let mut sources = Sources::new();
    sources.add("policy.toml", text.to_owned());
    let loaded = crate::load(&sources).unwrap_or_else(|diags| {
        let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
        panic!("{text}\n{}", lines.join("\n"))
    });
    loaded.policy
}

/// With a line behind a header.
fn with(header: &str, line: &str) -> Policy {
    load(&BASE.replacen(header, &format!("{header}\n{line}"), 1))
}

/// Each pair: from the first to the second widens, and the way back does not.
#[test]
fn what_is_less_bound_widens_and_the_way_back_does_not() {
    let app = "host = \"web.example\"";
    for (header, bound, free) in [
        ("[tunnel]", "sign-in = \"tunnel\"", "sign-in = \"web\""),
        ("[tunnel]", "reprove = { moved = true }", ""),
        (
            "[tunnel]",
            "reprove = { after = \"1h\" }",
            "reprove = { after = \"2h\" }",
        ),
        ("[tunnel]", "reprove = { after = \"1h\" }", ""),
        (
            "[tunnel]",
            "reprove = { idle = \"1h\" }",
            "reprove = { idle = \"61m\" }",
        ),
        ("[tunnel]", "dns = { others = \"refuse\" }", ""),
        (
            "[tunnel]",
            "dns = { others = \"refuse\" }",
            "dns = { others = \"forward\" }",
        ),
        (
            "[tunnel]",
            "dns = { quarantine = \"sign-in\" }",
            "dns = { quarantine = \"own\" }",
        ),
        ("[tunnel]", "dns = { quarantine = \"own\" }", ""),
        (
            "[tunnel]",
            "dns = { refuse = [\"a.example\", \"b.example\"] }",
            "dns = { refuse = \"a.example\" }",
        ),
        (
            "[tunnel]",
            "dns = { refuse = \"example\" }",
            "dns = { refuse = \"a.example\" }",
        ),
        ("[default]", "login = \"8h\"", "login = \"9h\""),
        ("[default]", "idle = \"1h\"", "idle = \"2h\""),
        ("[default]", "idle = \"1h\"", ""),
        ("[default]", "sessions = 1", "sessions = 2"),
        ("[default]", "", "extend = \"1h\""),
        (app, "windows = true", "windows = false"),
        (app, "", "path-params = true"),
        (app, "", "encoded-slashes = true"),
        (app, "", "empty-segments = true"),
        (app, "", "preflight = true"),
        (app, "methods = \"GET\"", "methods = [\"GET\", \"POST\"]"),
        (app, "methods = \"GET\"", ""),
        (app, "websocket = false", ""),
        (app, "", "cors = { origins = \"https://a.example\" }"),
        (
            app,
            "cors = { origins = \"https://a.example\" }",
            "cors = { origins = \"https://a.example\", credentials = true }",
        ),
        (
            app,
            "cache = { ttl = \"1m\" }",
            "cache = { ttl = \"1m\", shared = \"news\" }",
        ),
    ] {
        let (bound_policy, free_policy) = (with(header, bound), with(header, free));
        let there = crate::diff(&bound_policy, &free_policy);
        assert!(there.widens, "{bound} to {free}: {}", there.to_text());
        assert!(
            there.settings.iter().any(|s| s.widens),
            "{}",
            there.to_text()
        );
        assert!(
            there.to_text().lines().any(|line| line.starts_with("+ ")),
            "{}",
            there.to_text()
        );
        let windows = bound.starts_with("windows");
        let back = crate::diff(&free_policy, &bound_policy);
        // paths that are then told apart in another way are in doubt in both directions
        assert_eq!(
            back.settings.iter().any(|s| s.widens),
            windows,
            "{free} to {bound}: {}",
            back.to_text()
        );
        assert!(!back.settings.is_empty());
    }
}

#[test]
fn another_thing_behind_a_door_widens_both_ways() {
    let other = load(&BASE.replace("http://10.0.0.1", "http://10.0.0.2"));
    let base = load(BASE);
    for (a, b) in [(&base, &other), (&other, &base)] {
        let diff = crate::diff(a, b);
        assert!(diff.widens && diff.changes.is_empty(), "{}", diff.to_text());
    }
    let fewer = load(&BASE.replace(
        "\"http://10.0.0.1\"",
        "[\"http://10.0.0.1\", \"http://10.0.0.2\"]",
    ));
    assert!(!crate::diff(&fewer, &base).widens && crate::diff(&base, &fewer).widens);
}

#[test]
fn what_apps_are_told_and_how_often_one_may_ask_is_told_and_does_not_widen() {
    let base = load(BASE);
    for (from, to) in [
        ("fast = \"9/s\"", "fast = \"8/s\""),
        ("[default]", "[default]\nrate = \"slow\""),
        ("[default]", "[default]\nhide = true"),
        ("it = [\"nadia\"]", "it = [\"nadia\"]\nother = [\"nadia\"]"),
    ] {
        let diff = crate::diff(&base, &load(&BASE.replacen(from, to, 1)));
        assert!(
            !diff.widens && !diff.settings.is_empty(),
            "{}",
            diff.to_text()
        );
    }
}

/// The shape of `policy diff --json` and what people read.
#[test]
fn a_setting_has_a_fixed_shape() {
    let before = with(
        "[tunnel]",
        "dns = { others = \"refuse\", refuse = [\"a.example\", \"b.example\"] }",
    );
    let after = with(
        "[tunnel]",
        "dns = { refuse = [\"b.example\", \"c.example\"] }",
    );
    let diff = crate::diff(&before, &after);
    assert_eq!(
        serde_json::to_value(&diff).unwrap(),
        serde_json::json!({"widens": true, "changes": [], "settings": [
            {"of": "tunnel", "key": "dns.others", "before": "\"refuse\"", "after": "\"forward\"", "widens": true},
            {"of": "tunnel", "key": "dns.refuse", "before": "[\"a.example\", \"b.example\"]",
             "after": "[\"b.example\", \"c.example\"]", "widens": true},
        ]})
    );
    assert_eq!(
        diff.to_text(),
        "+ setting   tunnel   dns.others   \"refuse\" -> \"forward\"\n\
         + setting   tunnel   dns.refuse   -\"a.example\" +\"c.example\"\n"
    );
}

#[test]
fn places_with_one_change_stand_together_and_a_new_rule_is_one_line() {
    let text = BASE.replace("who = \"@it\" }", "who = \"@it\", rate = \"slow\" }");
    let diff = crate::diff(&load(BASE), &load(&text));
    assert_eq!(
        diff.to_text(),
        "~ setting   admin#it, app.web#it, app.web/admin#it, net.ssh#it   rate   (unsaid) -> \"slow\"\n"
    );
    let text = BASE.replace(
        "[app.web.",
        "allow.second = { who = \"@it\", idle = \"1h\" }\n[app.web.",
    );
    let diff = crate::diff(&load(BASE), &load(&text));
    assert_eq!(
        diff.to_text(),
        "~ setting   app.web#second   rule   is new\n"
    );
}
