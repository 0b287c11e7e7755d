//! Apps that speak HTTP/2: gRPC through the gateway, and that nothing of it goes where it may not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postern_tests::curl::{Client, host, signed_in};
use postern_tests::gateway::Gateway;
use postern_tests::grpc::{App, Channel};
use postern_tests::temp::Temp;
use postern_tests::upstream::Recorder;
use postern_tests::websocket::Socket;
use postern_tests::{journal, raw, wait};
use serde_json::Value;

const SOON: Duration = postern_tests::wait::PATIENCE;

fn policy(app: &str) -> String {
    format!(
        "postern = 1\n[group]\nadmins = [\"demo\"]\n[admin]\nallow.admins = {{ who = \"@admins\" }}\n\
         [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\n{app}\n\
         allow.people = {{ who = \"demo\" }}\n"
    )
}

fn over(app: &App) -> String {
    policy(&format!("upstream = \"h2c://{}\"", app.addr()))
}

/// A gateway with a policy, and the cookie of demo, who is signed in.
fn with_cookie(text: &str) -> (Gateway, Client, String) {
    let (gateway, client) = signed_in(text);
    let cookie = client
        .cookie(host(&gateway.facts.app), "__Host-postern")
        .unwrap();
    (gateway, client, format!("__Host-postern={cookie}"))
}

fn channel(gateway: &Gateway, cookie: Option<&str>) -> Channel {
    let to = SocketAddr::from(([127, 0, 0, 1], gateway.https_port()));
    Channel::open(to, host(&gateway.facts.app), &gateway.facts.ca_root, cookie)
}

#[test]
fn calls_of_one_answer_of_many_and_of_both_at_once_pass_with_their_trailers() {
    let app = App::new();
    let (gateway, _, cookie) = with_cookie(&over(&app));
    let channel = channel(&gateway, Some(&cookie));
    let said = channel.call("/echo.Echo/Say", &["hello"], 1).unwrap();
    assert_eq!(
        (said.status, said.messages.as_slice()),
        (200, &["hello".to_owned()][..])
    );
    assert_eq!(said.trailers.get("grpc-status").unwrap(), "0");
    assert!(
        !said.trailers.contains_key("set-cookie"),
        "{:?}",
        said.trailers
    );
    let counted = channel.call("/echo.Echo/Count", &["n"], 3).unwrap();
    assert_eq!(counted.messages, ["n", "n", "n"]);
    // each message is sent when the answer to the one before is here: nothing waits for the end
    let chat = channel
        .call("/echo.Echo/Chat", &["a", "b", "c", "d"], 1)
        .unwrap();
    assert_eq!(
        (chat.messages.concat().as_str(), chat.grpc_status()),
        ("abcd", Some("0"))
    );
    let failed = channel.call("/echo.Echo/Fail", &["x"], 1).unwrap();
    assert_eq!((failed.status, failed.grpc_status()), (200, Some("5")));
    let seen = app.seen();
    let calls: Vec<_> = seen
        .iter()
        .filter(|s| s.path.starts_with("/echo"))
        .collect();
    assert_eq!(calls.len(), 4);
    let first = calls[0];
    assert_eq!(
        (first.method.as_str(), first.scheme.as_str()),
        ("POST", "http")
    );
    let authority = format!("{}:{}", host(&gateway.facts.app), gateway.https_port());
    assert_eq!(first.authority, authority);
    assert_eq!(first.headers.get("te").unwrap(), "trailers");
    assert_eq!(first.headers.get("x-postern-user").unwrap(), "demo");
    assert!(!first.headers.contains_key("host") && !first.headers.contains_key("cookie"));
    assert!(
        app.connections() <= 3,
        "one after another they share a connection"
    );
    wait::until_true(SOON, "every call ended", || app.open() == 0);
}

#[test]
fn a_call_without_a_session_never_reaches_the_app_and_one_that_is_revoked_ends() {
    let app = App::new();
    let (gateway, _, cookie) = with_cookie(&over(&app));
    let before = app.seen().len();
    let refused = channel(&gateway, None)
        .call("/echo.Echo/Say", &["x"], 1)
        .unwrap();
    assert_eq!((refused.status, app.seen().len()), (401, before));
    let other = channel(&gateway, Some(&cookie));
    assert_eq!(other.call("/echo.Echo/Say", &["x"], 1).unwrap().status, 200);
    let waiting = thread::spawn({
        let open = channel(&gateway, Some(&cookie));
        // two answers are never coming, so it stays open
        move || open.call("/echo.Echo/Chat", &["a", "b"], 2)
    });
    wait::until_true(SOON, "the call is open", || app.open() == 1);
    drop(gateway.must(&["session", "revoke", "--user", "demo"]));
    assert!(waiting.join().unwrap().is_err());
    wait::until_true(SOON, "the app saw its end", || app.open() == 0);
}

#[test]
fn a_browser_and_a_script_of_http_1_are_served_by_an_app_of_http_2() {
    let app = App::new();
    let text = over(&app).replace(
        "allow.people",
        "compress = { types = \"text/plain\" }\nallow.people",
    );
    let (gateway, client, cookie) = with_cookie(&text);
    let page = "by HTTP/2: /page\n".repeat(200);
    let url = format!("{}page", gateway.facts.app);
    for version in ["--http1.1", "--http2"] {
        let answer = client.send(&url, &[version]);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, page.as_str()),
            "{version}"
        );
        // made shorter, it must still be whole though trailers came behind it
        let short = client.send(&url, &[version, "--compressed"]);
        assert!(short.header("content-encoding").is_some(), "{short:?}");
        assert_eq!(short.body, page, "{version}");
    }
    let name = host(&gateway.facts.app);
    let tcp = TcpStream::connect(("127.0.0.1", gateway.https_port())).unwrap();
    let tls = raw::tls_over(tcp, name, &gateway.facts.ca_root, SOON);
    let before = app.seen().len();
    let authority = format!("{name}:{}", gateway.https_port());
    let refused = Socket::open(tls, &authority, "/ws", Some(&cookie));
    assert!(
        refused.unwrap_err().contains("403"),
        "no WebSocket goes there"
    );
    assert_eq!(app.seen().len(), before);
}

#[test]
fn an_app_that_is_late_or_speaks_something_else_gets_its_page_and_others_are_not_cut() {
    let app = App::new();
    let text = over(&app).replace("allow.people", "timeout = { head = \"2s\" }\nallow.people");
    let (gateway, client, cookie) = with_cookie(&text);
    let chat = thread::spawn({
        let open = channel(&gateway, Some(&cookie));
        move || open.call("/echo.Echo/Chat", &["a", "b"], 2)
    });
    wait::until_true(SOON, "a call is open", || app.open() == 1);
    let late = client.open(&format!("{}late", gateway.facts.app));
    assert_eq!(late.status, 504, "{late:?}");
    wait::until_true(SOON, "the late one was told", || app.open() == 1);
    assert!(!chat.is_finished(), "another's call is not cut with it");
    drop(gateway.must(&["session", "revoke", "--user", "demo"]));
    assert!(chat.join().unwrap().is_err());

    let plain = Recorder::new();
    gateway.set_policy(&policy(&format!(
        "upstream = \"{}\"",
        plain.url().replace("http://", "h2c://")
    )));
    assert!(
        client
            .sign_in(&gateway.facts.portal, &gateway.facts.demo)
            .status
            < 400
    );
    let answer = client.follow(&gateway.facts.app);
    assert_eq!(answer.status, 502, "{answer:?}");
    let seen = plain.seen();
    let asked = seen.iter().any(|seen| seen.line.contains("HTTP/1.1"));
    assert!(!asked, "nothing is asked of it another way: {seen:?}");
}

#[test]
fn a_call_ends_when_its_stream_has_lasted_as_long_as_the_policy_lets_it_and_no_sooner() {
    let app = App::new();
    let limited = |times: &str| {
        over(&app).replace(
            "allow.people",
            &format!("timeout = {{ {times} }}\nallow.people"),
        )
    };
    let (gateway, _, cookie) = with_cookie(&limited("body = \"1s\", stream = \"4s\""));
    // two answers are never coming, so it stays open
    let chat = || channel(&gateway, Some(&cookie)).call("/echo.Echo/Chat", &["a", "b"], 2);
    let begin = Instant::now();
    assert!(chat().is_err());
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(3) && took < SOON, "{took:?}");
    wait::until_true(SOON, "the app saw its end", || app.open() == 0);
    gateway.set_policy(&limited("body = \"1s\", stream = \"1h\""));
    thread::scope(|scope| {
        let open = scope.spawn(chat);
        wait::until_true(SOON, "the call is open", || app.open() == 1);
        thread::sleep(took);
        assert_eq!((app.open(), open.is_finished()), (1, false));
        drop(gateway.must(&["session", "revoke", "--user", "demo"]));
        assert!(open.join().unwrap().is_err());
    });
}

#[test]
fn tls_to_an_app_must_come_out_as_http_2() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let now = i64::try_from(now).unwrap();
    let root = certs::Root::create("Inner", now).unwrap();
    let ca = root.intermediate("Inner too", now).unwrap();
    let leaf = ca.issue(&["app.internal"], now, 86_400).unwrap();
    let dir = Temp::new();
    let file = dir.write("root.pem", root.pem());
    let right = App::tls(&leaf.chain_pem, &leaf.key_pem, &["h2"]);
    let silent = App::tls(&leaf.chain_pem, &leaf.key_pem, &[]);
    let with = |app: &App, name: &str, check: &str| {
        policy(&format!(
            "upstream = {{ url = \"h2://{}\", name = \"{name}\", ca = \"{}\" }}\n{check}",
            app.addr(),
            file.display()
        ))
    };
    const CHECK: &str = "check = { path = \"/health\", every = \"1s\", up = 1, down = 1 }";
    let (gateway, client, cookie) = with_cookie(&with(&right, "app.internal", CHECK));
    let channel = channel(&gateway, Some(&cookie));
    let said = channel.call("/echo.Echo/Say", &["x"], 1).unwrap();
    assert_eq!((said.status, said.messages.concat().as_str()), (200, "x"));
    assert_eq!(right.seen().last().unwrap().scheme, "https");
    wait::until_true(SOON, "it is probed by HTTP/2", || {
        right.seen().iter().any(|seen| seen.path == "/health")
    });
    let wrong = [
        (&silent, "app.internal", "upstream-bad", "HTTP/2"),
        (&right, "other.internal", "upstream-tls", "TLS"),
    ];
    for (app, name, reason, words) in wrong {
        let before = app.seen().len();
        gateway.set_policy(&with(app, name, ""));
        let answer = client.fetch(&gateway.facts.app);
        assert_eq!(answer.status, 502, "{answer:?}");
        journal::wait_for(&gateway, "request-ended.1", |r| {
            let detail = r["detail"].as_str().unwrap_or_default();
            r["reason"] == reason && detail.contains(words)
        });
        gateway.set_policy(&with(app, name, CHECK));
        let url = format!("h2://{}", app.addr());
        wait::until_true(SOON, "the check fails", || {
            let status: Value = serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap();
            let all = status["upstreams"].as_array().unwrap().clone();
            let one = all.iter().find(|u| u["url"] == url.as_str()).unwrap();
            one["state"] == "down" && one["why"].as_str().unwrap().contains(words)
        });
        let asked = app.seen().split_off(before);
        assert!(asked.iter().all(|seen| seen.path == "/health"), "{asked:?}");
    }
    gateway.set_policy(&with(&right, "app.internal", CHECK));
    wait::until_true(SOON, "it is well again", || {
        client.fetch(&gateway.facts.app).status == 200
    });
}

#[test]
fn the_gateway_itself_takes_no_h2_without_tls() {
    let app = App::new();
    let (gateway, _, _) = with_cookie(&over(&app));
    let before = app.seen().len();
    for port in [gateway.http_port(), gateway.https_port()] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            !answer.windows(9).any(|w| w == b"\0\0\0\x04\x01\0\0\0\0"),
            "{answer:?}"
        );
    }
    assert_eq!(app.seen().len(), before);
}
