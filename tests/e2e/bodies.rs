//! Bodies by their bytes, requests of HTTP/1.0, and who has to wait for whom.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::curl::{Client, host};
use postern_tests::firehose::Firehose;
use postern_tests::gateway::Gateway;
use postern_tests::raw;
use postern_tests::scale::memory;
use postern_tests::strict::{END, Scene, post};
use postern_tests::wait::{self, PATIENCE};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[test]
fn chunks_that_bend_the_grammar_are_refused_and_sound_ones_arrive() {
    let scene = Scene::new();
    let long = |what: &str, count: usize| what.repeat(count);
    for (name, body) in [
        ("one", "5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("two", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n".to_owned()),
        ("leading zeros", "0005\r\nhello\r\n0000\r\n\r\n".to_owned()),
        (
            "sixteen digits",
            "0000000000000005\r\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        ("an extension", "5;a=b\r\nhello\r\n0\r\n\r\n".to_owned()),
        (
            "an extension of the last",
            "5\r\nhello\r\n0;a=b\r\n\r\n".to_owned(),
        ),
        (
            "a trailer",
            "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n".to_owned(),
        ),
    ] {
        let seen = scene.passes(name, &post(CHUNKED, &body));
        assert_eq!(seen.body, b"hello", "{name}");
        assert!(seen.trailers.is_empty(), "{name}: {seen:?}");
    }
    let upper = "A\r\nhellohello\r\n0\r\n\r\n";
    for body in [upper.to_owned(), upper.replace('A', "a")] {
        assert_eq!(
            scene.passes("hex", &post(CHUNKED, &body)).body,
            b"hellohello"
        );
    }
    let end = "\r\nhello\r\n0\r\n\r\n";
    for (name, body) in [
        ("no size", end.to_owned()),
        ("no digit", format!("g{end}")),
        ("a minus", format!("-5{end}")),
        ("a plus", format!("+5{end}")),
        ("a prefix", format!("0x5{end}")),
        ("a blank before", format!(" 5{end}")),
        ("a blank behind", format!("5 {end}")),
        ("a tab behind", format!("5\t{end}")),
        ("an underscore", format!("0_5{end}")),
        ("a comma", format!("5,5{end}")),
        ("seventeen digits", format!("00000000000000005{end}")),
        ("more than there can be", format!("ffffffffffffffff{end}")),
        ("more than fits", format!("10000000000000005{end}")),
        (
            "bare LF behind the size",
            "5\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "bare CR behind the size",
            "5\rhello\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "bare LF in an extension",
            "5;a\nb\r\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "bare CR in an extension",
            "5;a\rb\r\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "NUL in an extension",
            "5;a\0b\r\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        ("a long extension", format!("5;{}{end}", long("a", 300))),
        (
            "data beyond its size",
            "5\r\nhelloX\r\n0\r\n\r\n".to_owned(),
        ),
        ("data without its end", "5\r\nhello0\r\n\r\n".to_owned()),
        ("bare LF behind data", "5\r\nhello\n0\r\n\r\n".to_owned()),
        ("bare LF at the end", "5\r\nhello\r\n0\r\n\n".to_owned()),
        (
            "bare LF behind the last size",
            "5\r\nhello\r\n0\n\r\n".to_owned(),
        ),
        (
            "bare LF behind a trailer",
            "5\r\nhello\r\n0\r\nX-A: 1\n\r\n".to_owned(),
        ),
        (
            "trailers without bounds",
            format!("5\r\nhello\r\n0\r\nX-A: {}\r\n\r\n", long("a", 40_000)),
        ),
    ] {
        scene.refuses(name, &post(CHUNKED, &body));
    }
}

/// Source: RFC 9112 section 8; a FIN without TLS's close_notify can be anybody's on the way (RFC 8446 section 6.1).
#[test]
fn a_body_that_a_bare_end_of_the_connection_cuts_is_not_whole() {
    let scene = Scene::new();
    for (name, fields, body, whole) in [
        ("length", "Content-Length: 10\r\n", "hello", None),
        (
            "all of the length",
            "Content-Length: 10\r\n",
            "hellohello",
            Some("hellohello"),
        ),
        ("between chunks", CHUNKED, "5\r\nhello\r\n", None),
        ("in a chunk", CHUNKED, "a\r\nhello", None),
        (
            "before the end of trailers",
            CHUNKED,
            "5\r\nhello\r\n0\r\n",
            None,
        ),
        (
            "all chunks",
            CHUNKED,
            "5\r\nhello\r\n0\r\n\r\n",
            Some("hello"),
        ),
    ] {
        let before = scene.recorder.seen().len();
        let mut tls = scene.connect();
        tls.write_all(&scene.whole(&post(fields, body))).unwrap();
        tls.flush().unwrap();
        if whole.is_none() {
            tls.sock.shutdown(Shutdown::Write).unwrap();
        }
        let answer = raw::read_all(&mut tls);
        assert!(answer.closed, "{name}: {answer:?}");
        if whole.is_none() {
            assert_ne!(answer.status(), Some(200), "{name}");
        }
        let seen = scene.recorder.seen().split_off(before);
        let bodies: Vec<_> = seen.iter().map(|s| s.body.as_slice()).collect();
        let expected: Vec<_> = whole.iter().map(|body| body.as_bytes()).collect();
        assert_eq!(bodies, expected, "{name}");
    }
}

#[test]
fn http_1_0_has_bodies_of_a_length_and_one_request_a_connection() {
    let scene = Scene::new();
    let ask = |text: &str| {
        let before = scene.recorder.seen().len();
        let answer = scene.send(text.as_bytes());
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        let seen = scene.recorder.seen().split_off(before);
        assert!(answer.closed, "{text}");
        (text, seen)
    };
    let (text, seen) = ask("GET /old HTTP/1.0\r\nHOSTCOOKIE\r\n");
    assert!(
        text.split("\r\n").next().unwrap().contains(" 200 "),
        "{text}"
    );
    assert!(
        !text.to_ascii_lowercase().contains("transfer-encoding"),
        "{text}"
    );
    assert_eq!(seen[0].target(), "/old");
    let (text, seen) = ask("POST /old HTTP/1.0\r\nHOSTCOOKIEContent-Length: 5\r\n\r\nhello");
    assert!(text.contains(" 200 "), "{text}");
    assert_eq!(seen[0].body, b"hello");
    // what asks for more is not given it
    let more = "GET /one HTTP/1.0\r\nHOSTCOOKIEConnection: keep-alive\r\n\r\nGET /two HTTP/1.0\r\nHOSTCOOKIE\r\n";
    let (_, seen) = ask(more);
    assert!(seen.iter().all(|seen| seen.target() != "/two"), "{seen:?}");
    for (name, text) in [
        (
            "chunks",
            format!("POST /p HTTP/1.0\r\nHOSTCOOKIE{CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n"),
        ),
        ("no host", format!("GET /p HTTP/1.0\r\nCOOKIE{END}")),
        (
            "an upgrade",
            "GET /ws HTTP/1.0\r\nHOSTCOOKIEUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".to_owned(),
        ),
    ] {
        scene.refuses(name, text.as_bytes());
    }
}

const MIB: usize = 1 << 20;

/// Until a count stays what it is for a second.
fn settled(count: impl Fn() -> usize) -> usize {
    let (mut last, mut since) = (count(), Instant::now());
    wait::until(PATIENCE, "it stands still", || {
        let now = count();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_secs(1)).then_some(now)
    })
}

#[test]
fn a_client_that_reads_nothing_stops_its_app_and_one_that_sends_too_fast_is_stopped_by_it() {
    let hose = Firehose::new();
    let gateway = Gateway::demo_before(&hose.url());
    let client = Client::new(&gateway);
    assert_eq!(
        client
            .sign_in(&gateway.facts.app, &gateway.facts.demo)
            .status,
        200
    );
    let name = host(&gateway.facts.app).to_owned();
    let cookie = client.cookie(&name, "__Host-postern").unwrap();
    let open = |start: &str| {
        let to = ([127, 0, 0, 1], gateway.https_port()).into();
        let mut tls = raw::tls(to, &name, &gateway.facts.ca_root, PATIENCE);
        let port = gateway.https_port();
        let text = format!(
            "{start} HTTP/1.1\r\nHost: {name}:{port}\r\nCookie: __Host-postern={cookie}\r\n"
        );
        tls.write_all(text.as_bytes()).unwrap();
        tls
    };
    let at_rest = memory(&gateway, "VmRSS");
    // what the kernel holds for three sockets, and no more
    let bound = 24 * MIB;
    let mut slow = open("GET /flood");
    slow.write_all(b"\r\n").unwrap();
    let sent = settled(|| hose.sent());
    assert!((1..bound).contains(&sent), "{sent}");
    // it lives: what is read makes room
    let (mut read, mut block) = (0, vec![0; 64 * 1024]);
    while read < 2 * bound {
        read += slow.read(&mut block).unwrap();
    }
    assert!(hose.sent() >= read - 64 * 1024);
    let mut fast = open("POST /deaf");
    fast.write_all(b"Content-Length: 1000000000\r\n\r\n")
        .unwrap();
    fast.sock.set_nonblocking(true).unwrap();
    let (mut given, end) = (0, Instant::now() + Duration::from_secs(3));
    while Instant::now() < end {
        match fast.write(&block) {
            Ok(count) => given += count,
            Err(e) if e.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(5)),
            Err(e) => panic!("{e} after {given}"),
        }
    }
    assert!((1..bound).contains(&given), "{given}");
    let grown = memory(&gateway, "VmRSS") - at_rest;
    assert!(grown < 16.0, "{grown} MiB");
    assert_eq!(client.fetch(&gateway.facts.app).status, 200);
}
