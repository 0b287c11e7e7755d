//! Keys of the policy language seen from outside: what an app gets, what a client is told, what is on record.

use postern_tests::curl::{Answer, Client, origin};
use postern_tests::gateway::Gateway;
use postern_tests::journal;
use postern_tests::policy::second_app;
use postern_tests::upstream::Recorder;

const GROUPS: &str = r#"postern = 1

[group]
admins = ["demo"]
staff = ["@admins", "guest"]

[rate]
slow = "50/s"

[admin]
allow.admins = { who = "@admins" }
"#;

/// A gateway with this policy; UPSTREAM stands for the address of the recorder.
fn with(policy: &str) -> (Recorder, Gateway) {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    set(&gateway, &recorder, policy);
    (recorder, gateway)
}

fn set(gateway: &Gateway, recorder: &Recorder, policy: &str) {
    let policy = policy.replace("UPSTREAM", &recorder.url());
    std::fs::write(gateway.policy_file(), format!("{GROUPS}{policy}")).unwrap();
    let output = gateway.run(&["reload"]);
    let said = String::from_utf8_lossy(&output.stderr);
    match said.split_once("postern policy apply --accept-wider ") {
        // it opens a door to the world, which is asked about
        Some((_, number)) => {
            let number = number.split_whitespace().next().unwrap();
            gateway.must(&["policy", "apply", "--accept-wider", number]);
        }
        None => assert!(output.status.success(), "{said}"),
    }
}

fn is_the_app(answer: &Answer) -> bool {
    answer.status == 200 && answer.body.contains("the recorder saw")
}

const SETS: &str = r#"
[headers]
person = { X-Person = "{user}", X-Teams = "{groups}", X-Decision = "{rule} {device}", X-Age = "{session-age}", X-Text = "a {{b}}" }
rule = { X-Decision = "by {rule}", Remote-User = "{user}" }
nothing = {}
unused = { X-Never = "x" }

[app.app]
host = "app.gate.localhost"
upstream = "UPSTREAM"
headers = "person"
allow.people = { who = ["demo", "guest"] }

[app.app."/own"]
headers = "rule"
allow.people = { who = ["demo", "guest"] }

[app.app."/none"]
headers = "nothing"
allow.people = { who = ["demo", "guest"] }

[app.app."/open"]
public = "a test"
allow.any = { who = "anyone", rate = "slow" }

[app.second]
host = "second.gate.localhost"
upstream = "UPSTREAM"
allow.people = { who = ["demo", "guest"] }
"#;

const FORGED: [&str; 18] = [
    "-H",
    "X-Person: root",
    "-H",
    "x-teams: root",
    "-H",
    "X-Decision: root",
    "-H",
    "X-Age: root",
    "-H",
    "Remote-User: root",
    "-H",
    "X-Never: root",
    "-H",
    "X_Person: root",
    "-H",
    "X-Text: root",
    "-H",
    "X-Mine: kept",
];

#[test]
fn a_header_set_arrives_as_written_and_nothing_a_client_says_in_its_names() {
    let (recorder, gateway) = with(SETS);
    let (app, second) = (&gateway.facts.app, second_app(&gateway));
    let client = Client::new(&gateway);
    assert!(is_the_app(&client.sign_in(app, &gateway.facts.demo)));
    let seen_at = |client: &Client, url: &str| {
        let answer = client.send(url, &FORGED);
        assert!(is_the_app(&answer), "{url}: {answer:?}");
        let seen = recorder.last();
        let text = format!("{seen:?}");
        assert!(!text.contains("root"), "{url}: {text}");
        assert_eq!(seen.values("x-mine"), ["kept"]);
        assert!(seen.values("x-never").is_empty());
        seen
    };
    let none: [&str; 0] = [];
    let seen = seen_at(&client, app);
    assert_eq!(seen.values("x-person"), ["demo"]);
    assert_eq!(seen.values("x-teams"), ["admins,staff"]);
    assert_eq!(seen.values("x-decision"), ["app.app#people any"]);
    assert_eq!(seen.values("x-text"), ["a {b}"]);
    let age: u64 = seen.values("x-age")[0].parse().unwrap();
    assert!(age < 600, "{age}");
    assert_eq!(seen.values("remote-user"), none);
    let seen = seen_at(&client, &format!("{app}own/x"));
    assert_eq!(seen.values("x-decision"), ["by app.app/own#people"]);
    assert_eq!(seen.values("remote-user"), ["demo"]);
    assert_eq!(seen.values("x-person"), none);
    let seen = seen_at(&client, &format!("{app}none"));
    assert_eq!(seen.values("x-person"), none);
    assert_eq!(seen.values("x-decision"), none);
    // nobody signed in: what names a person is not there, the rest is
    let stranger = Client::new(&gateway);
    let seen = seen_at(&stranger, &format!("{app}open"));
    assert_eq!(seen.values("x-person"), none);
    assert_eq!(seen.values("x-teams"), none);
    assert_eq!(seen.values("x-age"), none);
    assert_eq!(seen.values("x-decision"), ["app.app/open#any any"]);
    let seen = seen_at(&client, &format!("{app}open"));
    assert_eq!(seen.values("x-person"), ["demo"]);
    // an app without a set
    assert!(is_the_app(&client.follow(&second)));
    let seen = seen_at(&client, &second);
    assert_eq!(seen.values("x-person"), none);
    assert_eq!(seen.values("x-decision"), none);
}

#[test]
fn a_changed_header_set_holds_for_the_next_request() {
    let (recorder, gateway) = with(SETS);
    let client = Client::new(&gateway);
    let app = &gateway.facts.app;
    assert!(is_the_app(&client.sign_in(app, &gateway.facts.guest)));
    let seen_at = |url: &str| {
        let args = ["-H", "X-Person: forged", "-H", "X-Badge: forged"];
        assert!(is_the_app(&client.send(url, &args)));
        recorder.last()
    };
    let seen = seen_at(app);
    assert_eq!(seen.values("x-person"), ["guest"]);
    assert_eq!(
        seen.values("x-badge"),
        ["forged"],
        "no set has this name yet"
    );
    let changed = SETS.replace("X-Person = \"{user}\"", "X-Badge = \"{user} of {groups}\"");
    set(&gateway, &recorder, &changed);
    let seen = seen_at(app);
    assert_eq!(seen.values("x-badge"), ["guest of staff"]);
    assert_eq!(
        seen.values("x-person"),
        ["forged"],
        "the name is nobody's now"
    );
}

const PARAMS: &str = r#"
[app.app]
host = "app.gate.localhost"
upstream = "UPSTREAM"
path-params = true
allow.people = { who = ["demo", "guest"] }

[app.app."/admin"]
allow.admins = { who = "@admins" }

[app.second]
host = "second.gate.localhost"
upstream = "UPSTREAM"
allow.people = { who = ["demo", "guest"] }
"#;

#[test]
fn path_parameters_choose_no_rule_and_reach_only_an_app_that_takes_them() {
    let (recorder, gateway) = with(PARAMS);
    let (app, second) = (&gateway.facts.app, second_app(&gateway));
    let client = Client::new(&gateway);
    assert!(is_the_app(&client.sign_in(app, &gateway.facts.guest)));
    let status = |url: &str, path: &str| {
        let url = format!("{}{path}", origin(url));
        client.send(&url, &["--path-as-is"]).status
    };
    for (path, arrives) in [
        ("/a;x=1/b;y?q=;z", "/a;x=1/b;y?q=;z"),
        ("/a;jsessionid=%41%2b1", "/a;jsessionid=A%2B1"),
        ("/a;x/./b/../c", "/a;x/c"),
        ("/admin;x/../b", "/b"),
        ("/a;/b", "/a;/b"),
    ] {
        assert_eq!(status(app, path), 200, "{path}");
        assert_eq!(recorder.last().target(), arrives, "{path}");
    }
    let before = recorder.seen().len();
    for path in [
        "/admin",
        "/admin;x",
        "/admin;/y",
        "/x/../admin;x/y",
        "/%61dmin;x",
    ] {
        assert_eq!(status(app, path), 403, "{path}");
    }
    for path in [
        "/admin;x/..;/y",
        "/a/..;/admin",
        "/a/.;/b",
        "/a/;/admin",
        "/;x",
        "/a%3bb",
        "/a;%2e%2e/b",
        "/.postern;x/open",
    ] {
        assert_eq!(status(app, path), 400, "{path}");
    }
    assert_eq!(
        status(app, "/.postern/icon.svg"),
        200,
        "the twin of the last one"
    );
    assert_eq!(recorder.seen().len(), before);
    assert!(is_the_app(&client.follow(&second)));
    let before = recorder.seen().len();
    assert_eq!(status(&second, "/a;x=1"), 400);
    assert_eq!(recorder.seen().len(), before);
    assert_eq!(status(&second, "/a"), 200);
    let record = journal::wait_for(&gateway, "access-decided.1", |r| {
        journal::is(r, "path", "/a/b")
    });
    assert_eq!(record["outcome"], "allow", "on record without parameters");
}

const READINGS: &str = r#"
[app.app]
host = "app.gate.localhost"
upstream = "UPSTREAM"
encoded-slashes = true
empty-segments = true
allow.people = { who = ["demo", "guest"] }

[app.app."/admin"]
allow.admins = { who = "@admins" }

[app.app."/open"]
public = "a page for all"
allow.all = { who = "anyone", rate = "slow" }

[app.second]
host = "second.gate.localhost"
upstream = "UPSTREAM"
allow.people = { who = ["demo", "guest"] }
"#;

#[test]
fn encoded_slashes_and_empty_segments_reach_an_app_that_takes_them_and_lead_into_no_other_area() {
    let (recorder, gateway) = with(READINGS);
    let (app, second) = (&gateway.facts.app, second_app(&gateway));
    let client = Client::new(&gateway);
    assert!(is_the_app(&client.sign_in(app, &gateway.facts.guest)));
    let status = |client: &Client, url: &str, path: &str| {
        let url = format!("{}{path}", origin(url));
        client.send(&url, &["--path-as-is"]).status
    };
    for (path, arrives) in [
        (
            "/api/group%2fproject?x=%2F/..",
            "/api/group%2Fproject?x=%2F/..",
        ),
        ("/a//b", "/a//b"),
        ("//a/b", "/a/b"),
        ("/open/a%2Fb", "/open/a%2Fb"),
        ("/open//a", "/open//a"),
    ] {
        assert_eq!(status(&client, app, path), 200, "{path}");
        assert_eq!(recorder.last().target(), arrives, "{path}");
    }
    let before = recorder.seen().len();
    let stranger = Client::new(&gateway);
    for path in ["/admin/a%2Fb", "/admin//b", "/admin%2Fusers", "/open%2Fx"] {
        for client in [&client, &stranger] {
            assert_ne!(status(client, app, path), 200, "{path}");
        }
    }
    for path in [
        "/open/..%2Fadmin",
        "/open%2F..%2Fadmin",
        "/open//../admin",
        "/open/%2Fadmin",
        "/open%2F/admin",
        "/a%2Fb//c",
        "/a%252Fb",
    ] {
        for client in [&client, &stranger] {
            assert_eq!(status(client, app, path), 400, "{path}");
        }
    }
    assert_eq!(recorder.seen().len(), before);
    assert!(is_the_app(&client.follow(&second)));
    assert_eq!(status(&client, &second, "/a%2Fb"), 400);
    assert_eq!(status(&client, &second, "/a//b"), 200);
    assert_eq!(recorder.last().target(), "/a/b");
    for (path, outcome) in [
        ("/api/group%2Fproject", "allow"),
        ("/a//b", "allow"),
        ("/admin%2Fusers", "deny"),
    ] {
        let record = journal::wait_for(&gateway, "access-decided.1", |r| {
            journal::is(r, "path", path)
        });
        assert_eq!(record["outcome"], outcome, "{path} is on record as it is");
    }
    let replay = gateway.must(&["policy", "replay", "--json"]);
    assert!(
        replay.contains("\"changed\":0") || replay.contains("\"changes\":0"),
        "{replay}"
    );
}

const PREFLIGHT: &str = r#"
[app.app]
host = "app.gate.localhost"
upstream = "UPSTREAM"
preflight = true
allow.people = { who = ["demo", "guest"] }

[app.second]
host = "second.gate.localhost"
upstream = "UPSTREAM"
allow.people = { who = ["demo", "guest"] }
"#;

#[test]
fn a_preflight_is_answered_by_the_gateway_and_the_request_behind_it_decided() {
    let (recorder, gateway) = with(PREFLIGHT);
    let (app, second) = (&gateway.facts.app, second_app(&gateway));
    let client = Client::new(&gateway);
    let preflight = |url: &str, from: &str| {
        let from = format!("Origin: {from}");
        let (method, fields) = (
            "Access-Control-Request-Method: PUT",
            "Access-Control-Request-Headers: x-a",
        );
        client.send(
            url,
            &["-X", "OPTIONS", "-H", &from, "-H", method, "-H", fields],
        )
    };
    let own = origin(&second);
    let answer = preflight(app, own);
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(own));
    assert_eq!(answer.header("access-control-allow-methods"), Some("PUT"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-a"));
    assert_eq!(answer.header("content-length"), None);
    let foreign = preflight(app, "https://evil.example");
    assert_eq!(foreign.status, 204);
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    assert_eq!(
        preflight(&second, own).status,
        401,
        "an app without the key"
    );
    let from = format!("Origin: {own}");
    assert_eq!(
        client.send(app, &["-X", "OPTIONS", "-H", &from]).status,
        401,
        "no preflight"
    );
    assert_eq!(
        client.send(app, &["-X", "PUT", "-H", &from]).status,
        401,
        "the request itself"
    );
    assert!(recorder.seen().is_empty());
    let record = journal::wait_for(&gateway, "access-decided.1", |r| {
        journal::is(r, "reason", "preflight")
    });
    assert_eq!(record["rule"], "builtin.preflight");
    assert_eq!(record["status"], 204);
    assert!(is_the_app(&client.sign_in(app, &gateway.facts.demo)));
    let before = recorder.seen().len();
    assert_eq!(
        preflight(app, own).status,
        200,
        "somebody signed in: the app answers"
    );
    assert_eq!(recorder.seen().len(), before + 1);
}

const SHADOW: &str = r#"
[deny.guests]
who = "guest"
on = "app.app"
reason = "a trial"
shadow = true

[app.app]
host = "app.gate.localhost"
upstream = "UPSTREAM"
allow.people = { who = ["demo", "guest"] }

[app.app."/admin"]
shadow = true
allow.admins = { who = "@admins" }

[app.second]
host = "second.gate.localhost"
upstream = "UPSTREAM"
shadow = true
allow.people = { who = ["demo", "guest"] }
"#;

#[test]
fn what_is_in_shadow_is_on_record_and_changes_nothing() {
    let shadow = |record: &serde_json::Value| record["inputs"]["shadow"].clone();
    let said = |outcome: &str, rule: &str| serde_json::json!({ "outcome": outcome, "rule": rule });
    let (recorder, gateway) = with(SHADOW);
    let (app, second) = (&gateway.facts.app, second_app(&gateway));
    let client = Client::new(&gateway);
    assert!(is_the_app(&client.sign_in(app, &gateway.facts.demo)));
    assert!(is_the_app(&client.fetch(app)));
    let would = |path: &str| {
        let record = journal::wait_for(&gateway, "access-decided.1", |r| {
            journal::is(r, "path", path) && !r["user"].is_null()
        });
        (record["outcome"].clone(), shadow(&record))
    };
    assert_eq!(would("/"), ("allow".into(), serde_json::Value::Null));
    assert!(is_the_app(&client.fetch(&format!("{app}admin"))));
    assert_eq!(
        would("/admin"),
        ("allow".into(), said("allow", "app.app/admin#admins"))
    );
    let guest = Client::new(&gateway);
    assert!(is_the_app(&guest.sign_in(app, &gateway.facts.guest)));
    assert!(is_the_app(&guest.fetch(&format!("{app}page"))));
    assert_eq!(
        would("/page"),
        ("allow".into(), said("deny", "deny.guests"))
    );
    let before = recorder.seen().len();
    assert_eq!(
        client.fetch(&format!("{second}x")).status,
        421,
        "an app in shadow is not there"
    );
    assert_eq!(recorder.seen().len(), before);
    let record = journal::wait_for(&gateway, "access-decided.1", |r| {
        journal::is(r, "path", "/x")
    });
    assert_eq!(record["rule"], "builtin.no-such-app");
    assert_eq!(shadow(&record), said("login", "app.second#people"));
    set(&gateway, &recorder, &SHADOW.replace("shadow = true\n", ""));
    assert!(is_the_app(&client.follow(&second)), "the twin: in force");
    assert_eq!(guest.fetch(app).status, 403);
}

const HIDE: &str = r#"
[default]
hide = true

[app.app]
host = "app.gate.localhost"
upstream = "UPSTREAM"
allow.people = { who = ["demo", "guest"] }

[app.app."/admin"]
allow.admins = { who = "@admins" }
"#;

#[test]
fn with_hide_what_is_not_allowed_looks_like_nothing() {
    let (recorder, gateway) = with(HIDE);
    let app = &gateway.facts.app;
    let admin = format!("{app}admin");
    let guest = Client::new(&gateway);
    assert_eq!(
        guest.open(&admin).status,
        303,
        "who could sign in is still asked to"
    );
    assert!(is_the_app(&guest.sign_in(app, &gateway.facts.guest)));
    let before = recorder.seen().len();
    let (page, script) = (guest.open(&admin), guest.fetch(&admin));
    assert_eq!((page.status, script.status), (404, 404));
    assert_eq!(
        script.json()["code"],
        serde_json::Value::Null,
        "no code of a denial"
    );
    assert!(!page.body.contains("D-"), "{}", page.body);
    let upgrade = [
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
        "-H",
        "Sec-WebSocket-Version: 13",
        "-H",
        "Origin: https://evil.example",
        "--http1.1",
    ];
    assert_eq!(guest.send(app, &upgrade).status, 404);
    assert_eq!(recorder.seen().len(), before);
    let record = journal::wait_for(&gateway, "access-decided.1", |r| {
        journal::is(r, "path", "/admin") && journal::is(r, "outcome", "deny")
    });
    assert_eq!(record["user"], "guest", "on record as the denial it is");
    assert!(is_the_app(&guest.fetch(app)));
    set(
        &gateway,
        &recorder,
        &HIDE.replace("hide = true", "hide = false"),
    );
    assert_eq!(guest.fetch(&admin).status, 403);
}
