//! What h2spec does not ask, and the gateway does all the same.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_tests::cases::*;
use postern_tests::curl::host;
use postern_tests::frames::*;
use postern_tests::raw;
use postern_tests::websocket::Socket;

use crate::table::weight;

#[test]
fn streams_and_the_list_of_fields_are_bounded() {
    let scene = Scene::new();
    let first = scene.wire().next_frame().unwrap().unwrap();
    assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
    let both = (setting(&first, 3), setting(&first, 6));
    assert_eq!(both, (Some(100), Some(32 * 1024)));
}

/// Reads a value from settings.
fn setting(settings: &Frame, id: u16) -> Option<u32> {
    let of = |chunk: &&[u8]| chunk[..2] == id.to_be_bytes();
    let found = settings.payload.chunks(6).find(of);
    found.map(|chunk| u32::from_be_bytes(chunk[2..].try_into().unwrap()))
}

/// Source: RFC 8441 sections 3 and 4.
#[test]
fn a_websocket_over_http_2_is_neither_offered_nor_taken_and_http_1_carries_it() {
    const ENABLE_CONNECT_PROTOCOL: u16 = 8;
    let scene = Scene::new();
    let first = scene.wire().next_frame().unwrap().unwrap();
    let offered = setting(&first, ENABLE_CONNECT_PROTOCOL);
    assert_eq!(offered.unwrap_or(0), 0);
    let open = |method: &str, protocol: &[(&str, &str)]| {
        let mut all = protocol.to_vec();
        all.extend(scene.fields(method, "/ws"));
        let origin = format!("https://{}", scene.authority);
        all.extend([
            ("sec-websocket-version", "13"),
            ("origin", &origin),
            ("x-wrong", "1"),
        ]);
        frame(HEADERS, END_HEADERS, 1, &fields(&all))
    };
    run(
        &scene,
        &[
            (
                "extended CONNECT",
                open("CONNECT", &[(":protocol", "websocket")]),
                Must::Reset(&[PROTOCOL]),
            ),
            (
                "the same by GET",
                open("GET", &[(":protocol", "websocket")]),
                Must::Reset(&[PROTOCOL]),
            ),
        ],
    );
    let name = host(&scene.gateway.facts.app);
    let to = SocketAddr::from(([127, 0, 0, 1], scene.gateway.https_port()));
    let tls = raw::tls(to, name, &scene.gateway.facts.ca_root, LIMIT);
    let mut socket = Socket::open(tls, &scene.authority, "/ws", Some(&scene.cookie)).unwrap();
    assert_eq!(socket.echo("by HTTP/1").unwrap(), "by HTTP/1");
    let seen = scene.recorder.seen();
    let opened = seen.iter().filter(|seen| seen.target() == "/ws").count();
    assert_eq!(opened, 1, "{seen:?}");
}

#[test]
#[rustfmt::skip] // a row a case
fn frames_that_are_odd_in_other_ways() {
    let scene = Scene::new();
    let cancel = 8_u32.to_be_bytes();
    let begun = |more: Vec<u8>| [scene.begin(1), more].concat();
    let closed = |more: Vec<u8>| [begun(frame(RST_STREAM, 0, 1, &cancel)), more].concat();
    let mut odd = scene.ask(1);
    odd[4] |= 0x42;
    let mut reserved = scene.ask(1);
    reserved[5] |= 0x80;
    run(
        &scene,
        &[
            ("4.1: undefined flags of a head", odd, Must::Serve),
            ("4.1: the reserved bit of a head", reserved, Must::Serve),
            ("5.5: an extension of a stream", [frame(0x16, 0, 1, &[0; 8]), scene.ask(1)].concat(), Must::Serve),
            ("5.1: window after a reset", closed(frame(WINDOW_UPDATE, 0, 1, &100_u32.to_be_bytes())), Must::Ignore),
            ("5.1: priority after a reset", closed(frame(PRIORITY, 0, 1, &weight(0, 9))), Must::Ignore),
            ("6.4: a reset and then another stream", closed(scene.ask(3)), Must::Ignore),
        ],
    );
}

#[test]
#[rustfmt::skip] // a row a case
fn heads_that_are_no_request_in_other_ways() {
    let scene = Scene::new();
    let wrong = |drop: &[&str], more: &[(&str, &str)]| {
        let more = [more, &[("x-wrong", "1")]].concat();
        scene.with(drop, &more)
    };
    // pseudo fields come first: those that are added stand before the others
    let first = |more: (&str, &str), drop: &[&str]| {
        let mut all = scene.fields("GET", "/p");
        all.retain(|(name, _)| !drop.contains(name));
        all.insert(0, more);
        all.push(("x-wrong", "1"));
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&all))
    };
    let length = |length: &str| {
        let mut all = scene.fields("POST", "/p");
        all.extend([("content-length", length), ("x-wrong", "1")]);
        [frame(HEADERS, END_HEADERS, 1, &fields(&all)), frame(DATA, END_STREAM, 1, b"test")].concat()
    };
    let mut all = vec![
        ("8.3.1: no authority", wrong(&[":authority"], &[]), Must::Refuse(&[PROTOCOL])),
        ("8.3.1: another scheme's path", first((":path", "https://app.gate.localhost/p"), &[":path"]), Must::Refuse(&[PROTOCOL])),
        ("8.1.1: less data than its length", length("9"), Must::Reset(&[PROTOCOL])),
        ("8.1.1: a length that is none", length("4x"), Must::Refuse(&[PROTOCOL])),
        ("8.2.2: te of trailers", scene.with(&[], &[("te", "trailers")]), Must::Serve),
        ("8.2.3: a cookie in crumbs", scene.with(&[], &[("cookie", "a=b"), ("cookie", "c=d")]), Must::Serve),
    ];
    for (name, value) in [
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
    ] {
        all.push(("8.2.2: a field of one connection", wrong(&[], &[(name, value)]), Must::Refuse(&[PROTOCOL])));
    }
    for (name, value) in [
        ("x a", "1"),
        ("", "1"),
        ("x-a:", "1"),
        ("x-a", "a\rb"),
        ("x-a", "a\nb"),
        ("x-a", "a\0b"),
    ] {
        all.push(("8.2.1: a name or value that is none", wrong(&[], &[(name, value)]), Must::Refuse(&[PROTOCOL])));
    }
    run(&scene, &all);
    let seen = scene.recorder.seen();
    let cookies: Vec<_> = seen.iter().map(|seen| seen.values("cookie")).collect();
    assert!(cookies.iter().all(|all| all.len() < 2), "{cookies:?}");
    assert!(cookies.contains(&vec!["a=b; c=d"]), "crumbs are one line: {cookies:?}");
}

#[test]
#[rustfmt::skip] // a row a case
fn code_that_is_odd_in_other_ways() {
    let scene = Scene::new();
    run(
        &scene,
        &[
            ("5.1: an integer without an end", scene.block(&[], &[0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), Must::End(&[COMPRESSION])),
            ("5.2: a string longer than its block", scene.block(&[], b"\0\x01a\x7f\x20ab"), Must::End(&[COMPRESSION, PROTOCOL])),
            ("6.2.1: a literal that is kept under a known name", scene.block(&[], b"\x53\x011"), Must::Serve),
        ],
    );
}

/// Source: RFC 9113 section 8.5.
#[test]
fn nobody_is_connected_to_an_address_of_their_own() {
    let scene = Scene::new();
    let before = scene.recorder.seen().len();
    for authority in [scene.authority.as_str(), "127.0.0.1:22"] {
        let all = [
            (":method", "CONNECT"),
            (":authority", authority),
            ("cookie", &scene.cookie),
        ];
        let mut wire = scene.wire();
        wire.send(&frame(HEADERS, END_HEADERS, 1, &fields(&all)));
        let all = reaction(&mut wire, |came| {
            matches!(came, Came::Status(_) | Came::Reset(_) | Came::End(_))
        });
        let refused = [Came::Status(400), Came::Status(405), Came::Reset(PROTOCOL)];
        assert!(
            all.last().is_some_and(|last| refused.contains(last)),
            "{all:?}"
        );
    }
    assert_eq!(scene.recorder.seen().len(), before);
}

/// Source: RFC 9113 section 6.8.
#[test]
fn an_end_that_the_client_announces_leaves_what_is_under_way() {
    let scene = Scene::new();
    let mut wire = scene.wire();
    let code = [0, 0, 0, 0, 0, 0, 0, 0xff];
    wire.send(&[scene.ask(1), frame(GOAWAY, 0, 0, &code)].concat());
    let all = reaction(&mut wire, |came| matches!(came, Came::Status(_)));
    assert_eq!(all.last(), Some(&Came::Status(200)), "{all:?}");
}

/// The limit of a head is ten seconds, whatever else is under way on its connection.
/// Source: security.md R-DO-01.
#[test]
fn a_head_that_never_ends_is_cut_after_ten_seconds() {
    let scene = Scene::new();
    let endless = scene.fields("GET", "/download");
    let endless = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&endless));
    let head = scene.get();
    let (first, last) = head.split_at(head.len() / 2);
    let piece = frame(CONTINUATION, 0, 3, &fields(&[("x-slow", "1")]));
    // no more frames, more of them again and again, and a frame that does not end
    let silent = frame(HEADERS, END_STREAM, 3, &head);
    let mut cut = frame(HEADERS, END_HEADERS | END_STREAM, 3, &head);
    cut.pop();
    let none: &[u8] = &[];
    let before = scene.recorder.seen().len();
    std::thread::scope(|scope| {
        for (name, begun, more) in [
            ("silent", silent.clone(), none),
            ("trickling", silent, piece.as_slice()),
            ("unfinished", cut, none),
        ] {
            let (scene, endless) = (&scene, &endless);
            scope.spawn(move || {
                let mut wire = scene.wire();
                wire.patience(Duration::from_millis(2500));
                wire.send(endless);
                wire.send(&begun);
                let start = Instant::now();
                let all = loop {
                    assert!(start.elapsed() < LIMIT, "{name} is never cut");
                    wire.send(more);
                    let all = reaction(&mut wire, |came| matches!(came, Came::End(_)));
                    if all.last() != Some(&Came::Silence) {
                        break all;
                    }
                };
                let took = start.elapsed();
                let limit = Duration::from_secs(9)..Duration::from_secs(14);
                assert!(limit.contains(&took), "{name}: {all:?} after {took:?}");
            });
        }
        // its twin: one that is slow, and whole in time
        let scene = &scene;
        scope.spawn(move || {
            let mut wire = scene.wire();
            wire.send(&frame(HEADERS, END_STREAM, 1, first));
            std::thread::sleep(Duration::from_secs(6));
            wire.send(&frame(CONTINUATION, END_HEADERS, 1, last));
            let all = reaction(&mut wire, |came| matches!(came, Came::Status(_)));
            assert_eq!(all.last(), Some(&Came::Status(200)), "{all:?}");
            std::thread::sleep(Duration::from_secs(6));
            wire.send(&scene.ask(3));
            let all = reaction(&mut wire, |came| matches!(came, Came::Status(_)));
            assert_eq!(
                all.last(),
                Some(&Came::Status(200)),
                "it serves on: {all:?}"
            );
        });
    });
    let seen = scene.recorder.seen();
    let heads = seen[before..].iter().filter(|seen| seen.target() == "/p");
    assert_eq!(heads.count(), 2, "{seen:?}");
}

/// Five hundred bytes a second after ten seconds, as over HTTP/1; the connection serves on.
/// Source: security.md R-DO-02.
#[test]
fn a_body_that_trickles_is_refused_and_one_that_is_fast_enough_arrives() {
    let scene = Scene::new();
    let slow = |name: &str, part: &[u8]| {
        let mut wire = scene.wire();
        wire.patience(Duration::from_millis(500));
        wire.send(&scene.begin(1));
        let start = Instant::now();
        let came = loop {
            assert!(start.elapsed() < LIMIT, "{name} is never cut");
            if !part.is_empty() {
                wire.send(&frame(DATA, 0, 1, part));
            }
            let all = reaction(&mut wire, |came| !matches!(came, Came::Pong));
            if let Some(came) = all.into_iter().find(|came| *came != Came::Silence) {
                break came;
            }
        };
        let took = start.elapsed();
        let limit = Duration::from_secs(9)..Duration::from_secs(18);
        assert!(limit.contains(&took), "{name}: {came:?} after {took:?}");
        wire.patience(LIMIT);
        wire.send(&scene.ask(3));
        let next = reaction(&mut wire, |came| *came == Came::Status(200));
        assert_eq!(next.last(), Some(&Came::Status(200)), "{name}: {next:?}");
        came
    };
    std::thread::scope(|scope| {
        let trickles = scope.spawn(|| slow("a byte at a time", b"x"));
        let silent = scope.spawn(|| slow("nothing at all", b""));
        let fast = scope.spawn(|| {
            let mut wire = scene.wire();
            wire.send(&scene.begin(1));
            for _ in 0..28 {
                wire.send(&frame(DATA, 0, 1, &[b'x'; 500]));
                std::thread::sleep(Duration::from_millis(500));
            }
            wire.send(&frame(DATA, END_STREAM, 1, b"end"));
            let all = reaction(&mut wire, |came| matches!(came, Came::Status(_)));
            assert_eq!(all.last(), Some(&Came::Status(200)), "{all:?}");
        });
        assert_eq!(trickles.join().unwrap(), Came::Status(408));
        let reset = silent.join().unwrap();
        assert!(
            matches!(reset, Came::Status(408) | Came::Reset(_)),
            "{reset:?}"
        );
        fast.join().unwrap();
    });
    let seen = scene.recorder.seen();
    let whole: Vec<usize> = seen.iter().map(|seen| seen.body.len()).collect();
    assert!(whole.contains(&(28 * 500 + 3)), "{whole:?}");
}

/// Source: RFC 9110 sections 10.1.1 and 15.5.15; security.md R-PX-11 and R-PX-22.
#[test]
fn what_is_expected_and_how_long_a_target_is_has_the_bounds_of_http_1() {
    let scene = Scene::new();
    let path = |length: usize| format!("/{}", "a".repeat(length - 1));
    let expects = |value: &str, flags: u8| {
        let mut all = scene.fields("POST", "/p");
        all.push(("expect", value));
        let head = frame(HEADERS, END_HEADERS | flags, 1, &fields(&all));
        match flags {
            END_STREAM => head,
            _ => [head, frame(DATA, END_STREAM, 1, b"hello")].concat(),
        }
    };
    let to = |path: &str| {
        let all = scene.fields("GET", path);
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&all))
    };
    for (name, bytes, status) in [
        ("the longest target", to(&path(8192)), 200),
        ("one that is longer", to(&path(8193)), 414),
        ("100-continue", expects("100-continue", 0), 200),
        (
            "100-continue without a body",
            expects("100-continue", END_STREAM),
            417,
        ),
        ("what nobody knows", expects("foo", 0), 417),
    ] {
        let before = scene.recorder.seen().len();
        let mut wire = scene.wire();
        wire.send(&bytes);
        let all = reaction(&mut wire, |came| matches!(came, Came::Status(200..)));
        assert_eq!(all.last(), Some(&Came::Status(status)), "{name}: {all:?}");
        let seen = scene.recorder.seen().split_off(before);
        assert_eq!(seen.len(), usize::from(status == 200), "{name}: {seen:?}");
        let said = seen.iter().flat_map(|seen| seen.values("expect"));
        assert_eq!(said.count(), 0, "{name}");
    }
}
