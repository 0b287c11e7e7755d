//! Trailers of a request: none reaches an app, whatever they say, and what stands behind them is no request.
//!
//! An intermediary may discard them. Source: RFC 9110 section 6.5.1, RFC 9112 section 7.1.2.

use std::io::{Read, Write};
use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue};
use postern_tests::cases::*;
use postern_tests::curl::{host, signed_in};
use postern_tests::frames::*;
use postern_tests::grpc::{App, Channel};
use postern_tests::raw;

/// What must not come in by the back door.
const FIELDS: &[(&str, &str)] = &[
    ("x-sum", "1"),
    ("x-postern-user", "admin"),
    ("x-forwarded-for", "203.0.113.9"),
    ("cookie", "a=b"),
    ("content-length", "5"),
];

fn connect(scene: &Scene) -> raw::Tls {
    let addr = SocketAddr::from(([127, 0, 0, 1], scene.gateway.https_port()));
    let name = host(&scene.gateway.facts.app);
    raw::tls(addr, name, &scene.gateway.facts.ca_root, LIMIT)
}

fn post(scene: &Scene, path: &str, behind: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nTE: trailers\r\nTrailer: X-Sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{behind}",
        scene.authority, scene.cookie
    )
}

/// Reads one answer whose body has a length; returns its status.
fn answer(stream: &mut raw::Tls) -> u16 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
    let mut body = vec![0; length.expect(&head)];
    stream.read_exact(&mut body).unwrap();
    head[9..12].parse().unwrap()
}

#[test]
fn trailers_of_chunks_reach_no_app_and_the_connection_goes_on() {
    let scene = Scene::new();
    let mut fields: Vec<String> = FIELDS
        .iter()
        .map(|(n, v)| format!("{n}: {v}\r\n"))
        .collect();
    fields.push("Transfer-Encoding: chunked\r\nHost: other.test\r\n".to_owned());
    fields.push("GET /smuggled HTTP/1.1\r\n".to_owned());
    fields.push(format!("X-Long: {}\r\n", "x".repeat(30_000)));
    fields.push(fields.concat());
    let mut stream = connect(&scene);
    for (at, fields) in fields.iter().enumerate() {
        let before = scene.recorder.seen().len();
        let path = format!("/behind/{at}");
        let text = post(&scene, &path, &format!("{fields}\r\n"));
        stream.write_all(text.as_bytes()).unwrap();
        stream.flush().unwrap();
        assert_eq!(answer(&mut stream), 200, "{fields}");
        let seen = scene.recorder.seen().split_off(before);
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(
            (seen[0].target(), seen[0].body.as_slice()),
            (path.as_str(), &b"hello"[..])
        );
        assert!(seen[0].trailers.is_empty(), "{:?}", seen[0].trailers);
        assert!(seen[0].values("trailer").is_empty() && seen[0].values("x-sum").is_empty());
        assert_eq!(seen[0].values("x-postern-user"), ["demo"]);
    }
}

#[test]
fn trailers_without_an_end_or_with_a_wrong_one_are_no_end_of_a_request() {
    let scene = Scene::new();
    for (name, behind) in [
        (
            "over 64 KiB",
            format!("X-Long: {}\r\n\r\n", "x".repeat(70_000)),
        ),
        ("a line that ends by LF", "X-Sum: 1\n\r\n".to_owned()),
        ("an end by LF", "X-Sum: 1\r\n\n".to_owned()),
        ("a bare CR", "X-Sum: \r1\r\n\r\n".to_owned()),
    ] {
        let before = scene.recorder.seen().len();
        let mut stream = connect(&scene);
        let came = raw::exchange(&mut stream, post(&scene, "/p", &behind).as_bytes());
        assert!(
            came.closed && came.status() != Some(200),
            "{name}: {came:?}"
        );
        let seen = scene.recorder.seen().split_off(before);
        assert!(seen.is_empty(), "{name}: {seen:?}");
    }
}

#[test]
fn trailers_of_frames_reach_no_app_and_pseudo_fields_in_them_end_the_connection() {
    let scene = Scene::new();
    let trailers = |block: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, 1, block);
    let behind = |more: Vec<u8>| [scene.begin(1), frame(DATA, 0, 1, b"hello"), more].concat();
    let padded = frame(
        HEADERS,
        END_HEADERS | END_STREAM | PADDED,
        1,
        b"\x02\x82\0\0",
    );
    let parts = [
        frame(HEADERS, END_STREAM, 1, b""),
        frame(CONTINUATION, END_HEADERS, 1, b"\0\x07:method\x03GET"),
    ];
    let end = || Must::End(&[PROTOCOL]);
    run(
        &scene,
        &[
            ("trailers", behind(trailers(&fields(FIELDS))), Must::Serve),
            ("by number", behind(trailers(&[0x90])), Must::Serve),
            ("a pseudo field by number", behind(trailers(&[0x82])), end()),
            ("a name by number", behind(trailers(b"\x04\x02/x")), end()),
            (
                "a name in plain",
                behind(trailers(&fields(&[(":path", "/x")]))),
                end(),
            ),
            (
                "a name in the code",
                behind(trailers(b"\0\x82\xb8\x7f\x01b")),
                end(),
            ),
            (
                "behind a size of the table",
                behind(trailers(b"\x3f\xe1\x1f\x82")),
                end(),
            ),
            ("behind padding", behind(padded), end()),
            ("in the second part", behind(parts.concat()), end()),
            (
                "behind a field",
                behind(trailers(&fields(&[("x-sum", "1"), (":path", "/x")]))),
                Must::Reset(&[PROTOCOL]),
            ),
            (
                "a field of the connection",
                behind(trailers(&fields(&[("connection", "x-sum")]))),
                Must::Reset(&[PROTOCOL]),
            ),
            (
                "te of something else",
                behind(trailers(&fields(&[("te", "gzip")]))),
                Must::Reset(&[PROTOCOL]),
            ),
            (
                "a name in upper case",
                behind(trailers(&fields(&[("X-Sum", "1")]))),
                end(),
            ),
        ],
    );
    for seen in scene.recorder.seen() {
        assert!(
            seen.trailers.is_empty() && seen.values("x-sum").is_empty(),
            "{seen:?}"
        );
        assert!(["/p", "/"].contains(&seen.target()), "{seen:?}");
    }
}

#[test]
fn trailers_of_a_call_reach_no_app_of_http_2_and_the_call_ends_well() {
    let app = App::new();
    let mut trailers = HeaderMap::new();
    for (name, value) in FIELDS.iter().filter(|(name, _)| *name != "content-length") {
        trailers.insert(*name, HeaderValue::from_static(value));
    }
    // the app would see them
    let direct = Channel::direct(app.addr()).ending(trailers.clone());
    assert_eq!(
        direct
            .call("/echo.Echo/Chat", &["a", "b"], 1)
            .unwrap()
            .status,
        200
    );
    assert_eq!(app.trailers().len(), 1);
    let (gateway, client) = signed_in(&format!(
        "postern = 1\n[group]\nadmins = [\"demo\"]\n[admin]\nallow.admins = {{ who = \"@admins\" }}\n\
         [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\n\
         upstream = \"h2c://{}\"\nallow.people = {{ who = \"demo\" }}\n",
        app.addr()
    ));
    let name = host(&gateway.facts.app);
    let cookie = client.cookie(name, "__Host-postern").unwrap();
    let cookie = format!("__Host-postern={cookie}");
    let to = SocketAddr::from(([127, 0, 0, 1], gateway.https_port()));
    let root = &gateway.facts.ca_root;
    let channel = Channel::open(to, name, root, Some(&cookie)).ending(trailers);
    let called = channel.call("/echo.Echo/Chat", &["a", "b"], 1).unwrap();
    assert_eq!(
        (called.messages.concat().as_str(), called.grpc_status()),
        ("ab", Some("0"))
    );
    assert_eq!(app.trailers().len(), 1, "{:?}", app.trailers());
    let last = app.seen().pop().unwrap();
    assert_eq!(last.headers.get("x-postern-user").unwrap(), "demo");
    assert!(last.headers.get("x-sum").is_none() && last.headers.get("trailer").is_none());
}
