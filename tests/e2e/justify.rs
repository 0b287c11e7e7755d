//! Areas that ask people why they come: nothing reaches the app before they say so, and what they
//! say stands in the record of all they open there.

use std::time::Duration;

use postern_tests::curl::{Answer, Client, host, origin};
use postern_tests::gateway::Gateway;
use postern_tests::html::{self, Form};
use postern_tests::journal;
use postern_tests::policy;
use postern_tests::replica::Replica;
use postern_tests::upstream::Recorder;
use postern_tests::wait;
use postern_tests::websocket::Socket;
use serde_json::Value;

const SOON: Duration = wait::PATIENCE;
const AREA: &str = r#"
[app.app."/files"]
justify = "90m"
allow.people = { who = ["demo", "guest"] }

[app.app."=/files/up"]
public = "a probe"
allow.probe = { who = "anyone", methods = "read", rate = "probe" }

[app.app."/files/list"]
justify = false
allow.people = { who = ["demo", "guest"] }

[rate]
probe = "100/s"
"#;

struct Scene {
    gateway: Gateway,
    recorder: Recorder,
}

impl Scene {
    fn new() -> Self {
        let recorder = Recorder::new();
        let gateway = Gateway::demo_before(&recorder.url());
        gateway.open_policy(&policy::two_apps(&recorder.url(), AREA));
        Self { gateway, recorder }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.facts.app)
    }

    fn signed_in(&self) -> Client {
        let client = Client::new(&self.gateway);
        let page = client.sign_in(&self.gateway.facts.app, &self.gateway.facts.demo);
        assert!(page.body.contains("the recorder saw"), "{page:?}");
        client
    }

    /// Counts the requests for a path that reached the app.
    fn hits(&self, path: &str) -> usize {
        let seen = self.recorder.seen().into_iter();
        seen.filter(|request| request.line.split(' ').nth(1) == Some(path))
            .count()
    }

    fn decisions(&self, path: &str) -> Vec<Value> {
        let all = journal::search(&self.gateway, &["--event", "access-decided"]);
        let of_path = all.into_iter().filter(|r| journal::is(r, "path", path));
        of_path.collect()
    }
}

/// The form that asks for the reason, filled in.
fn reason(page: &Answer, text: &str) -> Form {
    let mut form = page.form("reason");
    form.set("reason", text);
    form
}

#[test]
fn a_person_is_asked_once_and_the_reason_is_on_record() {
    let scene = Scene::new();
    let client = scene.signed_in();
    assert_eq!(client.fetch(&scene.url("files/list")).status, 200);
    let turned = client.open(&scene.url("files/a?x=1"));
    assert_eq!(turned.status, 303, "{turned:?}");
    let page = client.follow_from(turned);
    assert!(page.url.contains("/signin/reason?rt="), "{page:?}");
    assert!(page.body.contains("app asks everybody"), "{page:?}");
    assert!(page.body.contains("holds for 90 min"), "{page:?}");
    for (language, words) in [("fr", "Pourquoi"), ("de", "Wozu"), ("en", "Why")] {
        let again = client.open(&format!("{}&lang={language}", page.url));
        assert!(again.body.contains(words), "{again:?}");
    }
    let empty = client.submit(&page, &reason(&page, " \u{200b} "));
    assert_eq!(empty.status, 422, "{empty:?}");
    assert!(empty.body.contains("at least 3"), "{empty:?}");
    assert_eq!(scene.hits("/files/a?x=1"), 0, "it reached the app");

    let there = client.submit(&page, &reason(&page, "ticket 4711, \"Müller\""));
    let there = client.follow_from(there);
    assert_eq!((there.status, there.url), (200, scene.url("files/a?x=1")));
    assert_eq!(scene.hits("/files/a?x=1"), 1);
    assert_eq!(client.fetch(&scene.url("files/b")).status, 200);

    let of_b = journal::wait_for(&scene.gateway, "access-decided.1", |r| {
        journal::is(r, "path", "/files/b")
    });
    let of_a = scene.decisions("/files/a");
    let (asked, allowed) = (&of_a[0], &of_a[1]);
    assert_eq!(
        (&asked["outcome"], &asked["reason"], &asked["rule"]),
        (&"deny".into(), &"reason-needed".into(), &Value::Null)
    );
    assert_eq!(asked["inputs"]["own"]["rule"], "app.app/files#people");
    assert_eq!(asked.get("justification"), None);
    assert_eq!(allowed["outcome"], "allow");
    for allowed in [allowed, &of_b] {
        assert_eq!(allowed["justification"], "ticket 4711, \"Müller\"");
    }
    for open in ["/files/list", "/"] {
        let found = scene.decisions(open);
        let plain = |r: &Value| r.get("justification").is_none();
        assert!(!found.is_empty() && found.iter().all(plain), "{found:?}");
    }
    let shown = scene
        .gateway
        .must(&["audit", "search", "--host", host(&scene.gateway.facts.app)]);
    assert!(shown.contains("justification=ticket 4711"), "{shown}");
    let only = journal::search(&scene.gateway, &["--reason", "reason-needed"]);
    assert_eq!(only.len(), 1, "{only:?}");
    assert_eq!(
        scene
            .gateway
            .run(&["audit", "search", "--reason", "x"])
            .status
            .code(),
        Some(64)
    );

    // by another session nothing was said, and the same decisions are taken again
    let other = scene.signed_in();
    assert_eq!(other.open(&scene.url("files/b")).status, 303);
    let replayed = scene.gateway.run(&["policy", "replay", "--json"]);
    assert_eq!(replayed.status.code(), Some(0), "{replayed:?}");
}

#[test]
fn what_is_no_page_is_told_so_and_a_form_waits() {
    let scene = Scene::new();
    let client = scene.signed_in();
    let to = scene.url("files/note");
    let script = client.send(&to, &["-H", "Accept: application/json"]);
    assert_eq!(script.status, 403, "{script:?}");
    assert_eq!(script.json()["error"], "reason-needed");
    let own = format!("Origin: {}", origin(&scene.gateway.facts.app));
    let sent = client.send(
        &to,
        &[
            "-H",
            "Accept: text/html",
            "-H",
            &own,
            "-H",
            "Sec-Fetch-Site: same-origin",
            "--data-raw",
            "title=A+minute&text=long+work",
        ],
    );
    assert_eq!(scene.hits("/files/note"), 0);
    let page = client.follow_from(sent);
    let kept = client.follow_from(client.submit(&page, &reason(&page, "the minutes of today")));
    assert!(kept.url.contains("/.postern/again?form="), "{kept:?}");
    assert!(kept.body.contains("long work"), "{kept:?}");
    let form = html::forms(&kept.body)
        .into_iter()
        .find(|f| f.action == "/files/note");
    let saved = client.submit(&kept, &form.expect("the form is offered"));
    assert_eq!(saved.status, 200, "{saved:?}");
    assert_eq!(scene.hits("/files/note"), 1);
    let saved = journal::wait_for(&scene.gateway, "access-decided.1", |r| {
        journal::is(r, "path", "/files/note") && r["outcome"] == "allow"
    });
    assert_eq!(saved["justification"], "the minutes of today");
    // that somebody was asked is no offence: nobody is shut out for it
    for _ in 0..40 {
        let again = scene.url("files/other");
        let again = Client::new(&scene.gateway).send(&again, &["-H", "Accept: application/json"]);
        assert_eq!(again.status, 401, "{again:?}");
    }
    assert_eq!(client.fetch(&to).status, 200);
}

#[test]
fn where_the_world_may_come_in_nobody_is_asked() {
    let scene = Scene::new();
    let stranger = Client::new(&scene.gateway);
    assert_eq!(stranger.fetch(&scene.url("files/up")).status, 200);
    let client = scene.signed_in();
    assert_eq!(client.fetch(&scene.url("files/up")).status, 200);
}

/// A policy that begins to ask ends what is open without a reason, and only that.
#[test]
fn open_sockets_end_when_the_policy_begins_to_ask_and_those_with_a_reason_stay() {
    let app = Replica::new("only");
    let gateway = Gateway::demo_before(&app.url());
    let asks = |key: &str| {
        let text = policy::two_apps(&app.url(), "");
        text.replace("[app.app]", &format!("[app.app]\n{key}"))
    };
    gateway.set_policy(&asks("justify = \"1h\""));
    let with = Client::new(&gateway);
    let page = with.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert!(
        Socket::to_app(&gateway, &with, "/ws")
            .unwrap_err()
            .contains("403")
    );
    let there = with.follow_from(with.submit(&page, &reason(&page, "ticket 4711")));
    assert_eq!(there.status, 200, "{there:?}");
    let mut justified = Socket::to_app(&gateway, &with, "/ws").unwrap();

    gateway.open_policy(&asks(""));
    let without = Client::new(&gateway);
    let there = without.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(there.status, 200, "{there:?}");
    let mut plain = Socket::to_app(&gateway, &without, "/ws").unwrap();
    assert_eq!(plain.echo("one").unwrap(), "one");

    gateway.set_policy(&asks("justify = \"2h\""));
    wait::until_true(SOON, "the socket without a reason ends", || {
        plain.echo("two").is_err()
    });
    assert_eq!(justified.echo("still").unwrap(), "still");
    let ended = journal::wait_for(&gateway, "request-ended.1", |r| r["outcome"] == "cut");
    assert_eq!(ended["path"], "/ws");
}
