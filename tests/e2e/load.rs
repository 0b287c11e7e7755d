//! What an app can bear: a limit, a breaker, and the page of maintenance.

use std::time::Duration;

use postern_tests::curl::{Answer, Client, signed_in};
use postern_tests::gateway::Gateway;
use postern_tests::replica::{Mode, Replica};
use postern_tests::websocket::Socket;
use postern_tests::{journal, wait};
use serde_json::Value;

const SOON: Duration = postern_tests::wait::PATIENCE;

fn policy(app: &Replica, keys: &str, areas: &str) -> String {
    let people = "allow.people = { who = \"demo\" }";
    format!(
        "postern = 1\n[group]\nadmins = [\"demo\"]\n[admin]\nallow.admins = {{ who = \"@admins\" }}\n\
         [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\nupstream = \"{}\"\n{keys}\n{people}\n{}\n",
        app.url(),
        areas.replace("PEOPLE", people)
    )
}

fn load(gateway: &Gateway) -> Value {
    let status: Value = serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap();
    status["loads"][0].clone()
}

/// Checks that a request was refused at once, and for this reason.
fn refused(gateway: &Gateway, page: &Answer, reason: &str) {
    assert_eq!(page.status, 503, "{page:?}");
    let wait: u64 = page.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    let id = page.header("x-request-id").unwrap().to_owned();
    let ended = journal::wait_for(gateway, "request-ended.1", |r| {
        r["request_id"] == id.as_str()
    });
    assert_eq!(
        (ended["reason"].as_str(), ended["outcome"].as_str()),
        (Some(reason), Some("failed"))
    );
}

#[test]
fn one_request_more_than_an_app_bears_is_refused_and_never_waits() {
    let app = Replica::new("only");
    let (gateway, client) = signed_in(&policy(&app, "concurrency = 2", ""));
    let mut first = Socket::to_app(&gateway, &client, "/ws").unwrap();
    let second = Socket::to_app(&gateway, &client, "/ws").unwrap();
    let before = app.hits();
    refused(&gateway, &client.open(&gateway.facts.app), "app-busy");
    assert!(
        Socket::to_app(&gateway, &client, "/ws")
            .unwrap_err()
            .contains("503")
    );
    assert_eq!(app.hits(), before, "nothing of them reached the app");
    let now = load(&gateway);
    assert_eq!(
        (now["area"].as_str(), &now["open"], &now["limit"]),
        (Some("app.app/"), &2.into(), &2.into())
    );
    assert!(now["refused"].as_u64().unwrap() >= 2, "{now}");
    let metrics = format!("http://127.0.0.1:{}/metrics", gateway.admin_port());
    let text = Client::new(&gateway).fetch(&metrics).body;
    assert!(
        text.contains("postern_area_open{app=\"app.app\",area=\"/\"} 2"),
        "{text}"
    );
    assert_eq!(first.echo("still").unwrap(), "still");
    drop(second);
    wait::until_true(SOON, "a place is free", || {
        client.fetch(&gateway.facts.app).status == 200
    });
    // the limit holds over a reload, and so does what is under way
    gateway.set_policy(&policy(&app, "concurrency = 1", ""));
    wait::until_true(SOON, "no place is left", || {
        client.fetch(&gateway.facts.app).status == 503
    });
    assert_eq!(first.echo("open").unwrap(), "open");
    gateway.set_policy(&policy(&app, "", ""));
    assert_eq!(client.fetch(&gateway.facts.app).status, 200);
}

#[test]
fn a_breaker_opens_after_failures_and_closes_when_one_try_is_answered() {
    let app = Replica::new("only");
    let keys = "breaker = { failures = 2, rest = \"2s\" }";
    let (gateway, client) = signed_in(&policy(&app, keys, ""));
    assert_eq!(client.fetch(&gateway.facts.app).status, 200);
    assert_eq!(load(&gateway)["breaker"], "closed");
    app.set(Mode::Garbage);
    for _ in 0..2 {
        assert_eq!(client.fetch(&gateway.facts.app).status, 502);
    }
    assert_eq!(load(&gateway)["breaker"], "open");
    let before = app.hits();
    refused(&gateway, &client.open(&gateway.facts.app), "app-rests");
    assert_eq!(app.hits(), before);
    wait::until_true(SOON, "one tries", || {
        client.fetch(&gateway.facts.app).status == 502
    });
    assert_eq!(app.hits(), before + 1, "and only one");
    app.set(Mode::Well);
    wait::until_true(SOON, "its answer closes it", || {
        client.fetch(&gateway.facts.app).status == 200
    });
    assert_eq!(load(&gateway)["breaker"], "closed");
    assert_eq!(client.fetch(&gateway.facts.app).status, 200);
}

#[test]
fn an_app_in_maintenance_says_so_in_every_language_and_only_to_whom_may_come_in() {
    let app = Replica::new("only");
    let open = "[app.app.\"/open\"]\nmaintenance = false\nPEOPLE\n";
    let (gateway, client) = signed_in(&policy(&app, "maintenance = true", open));
    let before = app.hits();
    for (language, words) in [
        ("en", "being worked on"),
        ("fr", "en maintenance"),
        ("de", "wird gearbeitet"),
    ] {
        let asked = format!("Accept-Language: {language}");
        let page = client.send(
            &gateway.facts.app,
            &["-H", "Accept: text/html", "-H", &asked],
        );
        assert!(page.body.contains(words), "{page:?}");
        refused(&gateway, &page, "maintenance");
    }
    let twin = client.send(&gateway.facts.app, &["-H", "Accept: application/json"]);
    assert_eq!(
        (twin.status, twin.json()["error"].as_str()),
        (503, Some("maintenance"))
    );
    assert!(
        Socket::to_app(&gateway, &client, "/ws")
            .unwrap_err()
            .contains("503")
    );
    assert_eq!(app.hits(), before);
    let stranger = Client::new(&gateway).open(&gateway.facts.app);
    assert_eq!(stranger.status, 303, "{stranger:?}");
    assert_eq!(
        client.fetch(&format!("{}open", gateway.facts.app)).status,
        200
    );
    gateway.set_policy(&policy(&app, "", ""));
    assert_eq!(client.fetch(&gateway.facts.app).status, 200);
}

#[test]
fn maintenance_by_the_check_begins_and_ends_by_itself() {
    let app = Replica::new("only");
    let keys = "check = { path = \"/health\", every = \"1s\", timeout = \"1s\", up = 1, down = 1 }\nmaintenance = \"auto\"";
    let (gateway, client) = signed_in(&policy(&app, keys, ""));
    assert_eq!(client.fetch(&gateway.facts.app).status, 200);
    app.set_health(503, "");
    let mut page = None;
    wait::until_true(SOON, "it begins", || {
        let answer = client.open(&gateway.facts.app);
        let begun = answer.status == 503;
        page = Some(answer);
        begun
    });
    let page = page.unwrap();
    assert!(page.body.contains("being worked on"), "{page:?}");
    refused(&gateway, &page, "maintenance");
    app.set_health(200, "");
    wait::until_true(SOON, "it ends", || {
        client.fetch(&gateway.facts.app).status == 200
    });
}
