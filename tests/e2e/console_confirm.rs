//! What waits to be confirmed, and over which connection it is.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use postern_tests::curl::{Client, host};
use postern_tests::frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Wire, fields, frame};
use postern_tests::gateway::Gateway;
use postern_tests::html::forms;
use postern_tests::policy::two_apps;
use postern_tests::raw;
use postern_tests::upstream::Recorder;
use postern_tests::wait::PATIENCE as LIMIT;

#[test]
fn what_waits_is_confirmed_over_a_connection_that_is_newer_than_the_change() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    let policy = two_apps(&recorder.url(), "");
    gateway.set_policy(&policy);
    let admin = Client::new(&gateway);
    let portal = &gateway.facts.portal;
    let page = admin.sign_in(portal, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{}", page.body);
    let console = format!("{portal}admin/policy");
    let waits = || {
        admin
            .send(&console, &["-H", "Accept: application/json"])
            .json()["pending"]
            .clone()
    };
    let (name, root) = (host(portal), &gateway.facts.ca_root);
    let addr = SocketAddr::from(([127, 0, 0, 1], gateway.https_port()));
    let authority = format!("{name}:{}", addr.port());
    // both are open before anything changes
    let mut h1 = raw::tls(addr, name, root, LIMIT);
    let head = format!("HEAD / HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    h1.write_all(head.as_bytes()).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        h1.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    let mut h2 = Wire::open(addr, name, root, LIMIT);
    let of = |method, path| {
        [
            (":method", method),
            (":scheme", "https"),
            (":authority", authority.as_str()),
            (":path", path),
        ]
    };
    h2.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &fields(&of("HEAD", "/")),
    ));
    assert!(status_of(&mut h2, 1).is_some());

    let page = admin.open(&format!("{console}/file?name=policy.toml"));
    let mut form = page.form("base");
    page.url.clone_into(&mut form.action);
    form.fields.retain(|(name, _)| name != "do");
    let changed = policy.replacen("[app.", "# a change\n[default]\nlogin = \"9h\"\n[app.", 1);
    for (name, value) in [
        ("text", changed.as_str()),
        ("confirm", "5"),
        ("do", "apply"),
    ] {
        form.fields.push((name.to_owned(), value.to_owned()));
    }
    let applied = admin.submit(&page, &form);
    assert_eq!(applied.status, 303, "{}", applied.body);

    let all = forms(&admin.open(&console).body);
    let form = all.iter().find(|f| f.action == "/admin/policy/confirm");
    let token = form.unwrap().value("csrf").unwrap();
    let body = format!("csrf={token}");
    let cookie = admin.cookie(name, "__Host-postern").unwrap();
    let cookie = format!("__Host-postern={cookie}");
    let post = format!(
        "POST /admin/policy/confirm HTTP/1.1\r\nHost: {authority}\r\nOrigin: https://{authority}\r\n\
         Cookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let late = raw::exchange(&mut h1, post.as_bytes());
    assert_eq!(late.status(), Some(409), "{late:?}");
    assert!(late.closed, "{late:?}");
    let origin = format!("https://{authority}");
    let mut head = of("POST", "/admin/policy/confirm").to_vec();
    head.extend([
        ("origin", origin.as_str()),
        ("cookie", cookie.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ]);
    h2.send(&frame(HEADERS, END_HEADERS, 3, &fields(&head)));
    h2.send(&frame(DATA, END_STREAM, 3, body.as_bytes()));
    let (mut status, mut told) = (None, None);
    while status.is_none() || told.is_none() {
        let frame = h2.next_frame().unwrap().expect("an answer and GOAWAY");
        match frame.kind {
            HEADERS => status = frame.status(),
            GOAWAY => told = Some(frame.number()),
            _ => {}
        }
    }
    assert_eq!((status, told), (Some(409), Some(0)));
    assert!(waits()["until"].is_string());

    let mut new = raw::tls(addr, name, root, LIMIT);
    let kept = raw::exchange(
        &mut new,
        post.replace("\r\nOrigin", "\r\nConnection: close\r\nOrigin")
            .as_bytes(),
    );
    assert_eq!(kept.status(), Some(303), "{kept:?}");
    assert!(waits().is_null());
}

/// The status that a stream is answered with.
fn status_of(wire: &mut Wire, stream: u32) -> Option<u16> {
    let mut frames = std::iter::from_fn(|| wire.next_frame().unwrap());
    let head = frames.find(|f| f.kind == HEADERS && f.stream == stream);
    head.and_then(|f| f.status())
}
