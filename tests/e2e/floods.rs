//! Floods of HTTP/2, slow clients and storms of connections: each is ended, and who behaves is served all the while.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::canary::{Canary, Place, Went};
use postern_tests::cases::*;
use postern_tests::curl::{Client, host};
use postern_tests::firehose::Firehose;
use postern_tests::frames::*;
use postern_tests::gateway::Gateway;
use postern_tests::{journal, process, raw, wait};

/// Connections that say nothing, heads and bodies that never end, and connections that are only opened.
const IDLE: usize = 1_000;
const HEADS: usize = 500;
const BODIES: usize = 200;
const STORM: usize = 3_000;
/// What one source may have open, and how many of the slow ones share one.
const PER_SOURCE: usize = 256;
const SHARE: usize = 200;

/// Connects for one of many, of whom each two hundred have an address of their own.
fn from_many(scene: &Scene, at: usize) -> TcpStream {
    let place = u8::try_from(at / SHARE).unwrap();
    from(scene, Ipv4Addr::new(127, 0, 8, 1 + place))
}

fn from(scene: &Scene, source: Ipv4Addr) -> TcpStream {
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, scene.gateway.https_port());
    raw::tcp_from(source, to)
}

/// Floods a connection until the other side ends it; returns how it ended.
fn flood(scene: &Scene, first: &[u8], block: &[u8], times: usize) -> Vec<Came> {
    let mut wire = scene.wire();
    wire.send(first);
    for _ in 0..times {
        wire.send(block);
    }
    reaction(&mut wire, |came| matches!(came, Came::End(_)))
}

#[test]
fn floods_end_their_connection_and_a_canary_is_served_all_the_while() {
    let scene = Scene::new();
    let canary = Client::new(&scene.gateway);
    assert_eq!(
        canary
            .sign_in(&scene.gateway.facts.app, &scene.gateway.facts.demo)
            .status,
        200
    );
    let before = Went::a_second(Place::of(&scene));
    let working = Canary::start(Place::of(&scene));
    let cancel = 8_u32.to_be_bytes();
    let reset = |streams: std::ops::Range<u32>| -> Vec<u8> {
        streams
            .flat_map(|at| {
                [
                    scene.ask(1 + 2 * at),
                    frame(RST_STREAM, 0, 1 + 2 * at, &cancel),
                ]
                .concat()
            })
            .collect()
    };
    // rapid reset: CVE-2023-44487
    let all = flood(&scene, &reset(0..2000), &[], 0);
    assert!(
        matches!(all.last(), Some(Came::End(CALM) | Came::Closed)),
        "{all:?}"
    );
    // CONTINUATION without an end: CVE-2024-27316
    let head = frame(HEADERS, END_STREAM, 1, &scene.get());
    let part = frame(
        CONTINUATION,
        0,
        1,
        &fields(&[("x-wrong", &"x".repeat(8000))]),
    );
    let all = flood(&scene, &head, &part, 200);
    assert!(
        matches!(
            all.last(),
            Some(Came::End(CALM | PROTOCOL | COMPRESSION) | Came::Closed)
        ),
        "{all:?}"
    );
    let none = frame(CONTINUATION, 0, 1, b"");
    let all = flood(&scene, &head, &none.repeat(1000), 20);
    assert!(
        matches!(
            all.last(),
            Some(Came::End(CALM | PROTOCOL | COMPRESSION) | Came::Closed)
        ),
        "{all:?}"
    );
    assert_eq!(canary.fetch(&scene.gateway.facts.app).status, 200);
    // a list of fields over the limit, on one stream
    let large: Vec<(String, String)> = (0..120)
        .map(|at| (format!("x-{at}"), "x".repeat(100)))
        .collect();
    let mut named = scene.fields("GET", "/p");
    named.extend(
        large
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    named.push(("x-wrong", "1"));
    let mut wire = scene.wire();
    wire.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &fields(&named),
    ));
    let all = reaction(&mut wire, |came| {
        matches!(came, Came::Status(_) | Came::Reset(_) | Came::End(_))
    });
    assert!(
        matches!(
            all.last(),
            Some(Came::Status(400 | 431) | Came::Reset(_) | Came::End(_))
        ),
        "{all:?}"
    );
    assert!(
        scene
            .recorder
            .seen()
            .iter()
            .all(|seen| seen.values("x-wrong").is_empty())
    );
    // settings, pings and empty data that nobody reads the answers of; what is bounded is that others are served
    let mut open = Vec::new();
    for block in [
        settings(&[(4, 65_535)]),
        frame(PING, 0, 0, b"whatever"),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]),
    ] {
        let mut wire = scene.wire();
        wire.send(&block.repeat(2000));
        open.push(wire);
        assert_eq!(canary.fetch(&scene.gateway.facts.app).status, 200);
    }
    let mut wire = scene.wire();
    wire.send(&scene.begin(1));
    wire.send(&frame(DATA, 0, 1, b"").repeat(5000));
    open.push(wire);
    // connections that say nothing
    process::open_many();
    for at in 0..IDLE {
        let root = &scene.gateway.facts.ca_root;
        let name = host(&scene.gateway.facts.app);
        let mut quiet = Wire::over(from_many(&scene, at), name, root, LIMIT);
        quiet.send(&PREFACE[..20]);
        open.push(quiet);
    }
    // and for a second, however fast the machine is: enough answers to tell how long they take
    let (opened, mut asked) = (Instant::now(), 0);
    while asked < 20 || opened.elapsed() < Duration::from_secs(1) {
        asked += 1;
        let begin = Instant::now();
        assert_eq!(canary.fetch(&scene.gateway.facts.app).status, 200);
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "{:?}",
            begin.elapsed()
        );
    }
    drop(open);
    assert_eq!(canary.fetch(&scene.gateway.facts.app).status, 200);
    working.went().is_well("floods of HTTP/2");
    before.comes_back(|| Place::of(&scene));
}

/// Writes what makes the other side reset a stream.
type Made<'a> = &'a dyn Fn(u32) -> Vec<u8>;

/// Streams that the server itself has to reset, as many as a client likes: each was a request that is thrown away.
/// Source: CVE-2025-8671 (MadeYouReset); security.md R-DO-08.
#[test]
fn a_client_that_makes_the_gateway_reset_its_streams_is_closed_and_a_canary_is_served() {
    let scene = Scene::new();
    let before = Went::a_second(Place::of(&scene));
    let working = Canary::start(Place::of(&scene));
    let update = |at: u32, by: u32| frame(WINDOW_UPDATE, 0, at, &by.to_be_bytes());
    let data = |at: u32| frame(DATA, 0, at, b"more");
    let mut short = scene.fields("POST", "/p");
    short.push(("content-length", "2"));
    let short = fields(&short);
    let of_length = |at: u32| frame(HEADERS, END_HEADERS, at, &short);
    // the first two end the connection at once, the others reset their stream
    let nothing = |at: u32| [scene.begin(at), update(at, 0)].concat();
    let behind = |at: u32| [scene.ask(at), data(at)].concat();
    let too_wide = |at: u32| [scene.begin(at), update(at, 0x7fff_ffff)].concat();
    let too_long = |at: u32| [of_length(at), data(at)].concat();
    let kinds: [(&str, Made<'_>, bool); 4] = [
        ("a window of nothing", &nothing, false),
        ("data behind the end", &behind, false),
        ("too wide a window", &too_wide, true),
        ("a body over its length", &too_long, true),
    ];
    // for a second and more, however fast the machine is
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1_500) {
        for (name, made, of_stream) in &kinds {
            let many: Vec<u8> = (0..1_500).flat_map(|at| made(1 + 2 * at)).collect();
            let sent = Instant::now();
            let came = flood(&scene, &many, &[], 0);
            assert!(
                matches!(came.last(), Some(Came::End(CALM | PROTOCOL) | Came::Closed)),
                "{name}: {:?} behind {}",
                came.last(),
                came.len()
            );
            // not only once nothing has come for a minute
            assert!(sent.elapsed() < Duration::from_secs(30), "{name}");
            // a client that errs now and then is served on
            if *of_stream {
                let mut wire = scene.wire();
                wire.send(&(0..20).flat_map(|at| made(1 + 2 * at)).collect::<Vec<u8>>());
                wire.send(&scene.ask(101));
                let came = reaction(&mut wire, |came| {
                    matches!(came, Came::Status(200) | Came::End(_))
                });
                assert_eq!(came.last(), Some(&Came::Status(200)), "{name}: {came:?}");
            }
        }
    }
    working.went().is_well("streams that the gateway resets");
    before.comes_back(|| Place::of(&scene));
}

/// Slow ones, each on a connection of its own: a head, or a body, that comes byte by byte or not at all.
#[test]
fn slow_heads_and_bodies_and_a_storm_of_connections_are_ended_and_a_canary_is_served() {
    let scene = Scene::new();
    let canary = Client::new(&scene.gateway);
    let demo = &scene.gateway.facts.demo;
    assert_eq!(canary.sign_in(&scene.gateway.facts.app, demo).status, 200);
    let name = host(&scene.gateway.facts.app);
    let root = &scene.gateway.facts.ca_root;
    let seen = scene.recorder.seen().len();
    let before = Went::a_second(Place::of(&scene));
    let working = Canary::start(Place::of(&scene));
    let (authority, cookie) = (&scene.authority, &scene.cookie);
    let head = format!("GET /slow HTTP/1.1\r\nHost: {authority}\r\nX-A: ");
    let body = format!(
        "POST /slow HTTP/1.1\r\nHost: {authority}\r\nCookie: {cookie}\r\nContent-Length: 100000\r\n\r\nab"
    );
    let mut slow = Vec::new();
    process::open_many();
    for at in 0..HEADS + BODIES {
        let mut tls = raw::tls_over(from_many(&scene, at), name, root, Duration::from_secs(60));
        let text = if at < HEADS { &head } else { &body };
        tls.write_all(text.as_bytes()).unwrap();
        slow.push(tls);
        // every second of the latest goes on, byte by byte
        for tls in slow.iter_mut().rev().take(20).step_by(2) {
            tls.write_all(b"x").unwrap();
        }
    }
    // a source may have so many connections and no more; those over it are closed at once
    let storm: Vec<TcpStream> = (0..STORM)
        .map(|at| {
            from(
                &scene,
                Ipv4Addr::new(127, 0, 7, 1 + u8::try_from(at % 3).unwrap()),
            )
        })
        .collect();
    let mut refused = 0;
    for stream in &storm {
        stream.set_nonblocking(true).unwrap();
    }
    wait::until_true(LIMIT, "those over the cap are closed", || {
        refused = storm
            .iter()
            .filter(|stream| matches!(stream.peek(&mut [0]), Ok(0)))
            .count();
        refused >= STORM - 3 * PER_SOURCE
    });
    assert!(refused < STORM, "those within it wait");
    drop(storm);
    for _ in 0..10 {
        assert_eq!(canary.fetch(&scene.gateway.facts.app).status, 200);
    }
    let begin = Instant::now();
    for mut tls in slow {
        let answer = raw::read_all(&mut tls);
        assert!(answer.closed, "{:?}", answer.bytes);
        assert_eq!(answer.status(), Some(408), "{answer:?}");
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert!(text.contains("too-slow"), "{text}");
    }
    assert!(
        begin.elapsed() < Duration::from_secs(45),
        "{:?}",
        begin.elapsed()
    );
    let whole = scene.recorder.seen();
    let whole = whole[seen..].iter().filter(|seen| seen.target() == "/slow");
    assert_eq!(whole.count(), 0, "none of them was whole");
    wait::until_true(LIMIT, "each body that was cut is on record", || {
        let ended = journal::search(&scene.gateway, &["--event", "request-ended"]);
        let cut = ended.iter().filter(|r| {
            let slow = journal::is(r, "path", "/slow") && journal::is(r, "reason", "timeout");
            slow && journal::is(r, "outcome", "cut")
        });
        cut.count() == BODIES
    });
    assert_eq!(canary.fetch(&scene.gateway.facts.app).status, 200);
    let beside = "slow clients and a storm of connections";
    working.went().is_well(beside);
    before.comes_back(|| Place::of(&scene));
}

/// Frames that carry nothing are within a budget for each connection: a client that asks now and then is answered, one
/// that does nothing else is closed.
#[test]
fn frames_that_carry_nothing_end_their_connection_once_there_are_too_many() {
    let scene = Scene::new();
    let mut canary = scene.wire();
    let begun = |block: Vec<u8>| [scene.begin(1), block].concat();
    let all = [
        ("settings", settings(&[(4, 65_535)])),
        ("ping", frame(PING, 0, 0, b"whatever")),
        ("priority", frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 9])),
        ("empty data", frame(DATA, 0, 1, b"")),
        ("unknown", frame(0x2a, 0, 0, b"x")),
    ];
    for (name, block) in &all {
        let first = match *name {
            "empty data" => begun(block.clone()),
            _ => block.clone(),
        };
        let came = flood(&scene, &first, &block.repeat(500), 6);
        assert!(
            matches!(came.last(), Some(Came::Closed | Came::End(_))),
            "{name}: {came:?}"
        );
        // as many as a busy client may send
        let mut wire = scene.wire();
        if *name != "empty data" {
            wire.send(&block.repeat(300));
        }
        wire.send(&scene.ask(101));
        let came = reaction(&mut wire, |came| matches!(came, Came::Status(_)));
        assert_eq!(came.last(), Some(&Came::Status(200)), "{name}: {came:?}");
        canary.send(&frame(PING, 0, 0, ASKED));
        let came = reaction(&mut canary, |came| matches!(came, Came::Pong));
        assert_eq!(came.last(), Some(&Came::Pong), "{name}: {came:?}");
    }
}

/// It takes its time: the limit is thirty seconds.
#[test]
fn a_reader_that_takes_nothing_for_too_long_is_cut_and_a_slow_one_is_not() {
    let hose = Firehose::new();
    let gateway = Gateway::demo_before(&hose.url());
    let client = Client::new(&gateway);
    let app = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(app.status, 200, "{app:?}");
    let (name, port) = (host(&gateway.facts.app), gateway.https_port());
    let cookie = client.cookie(name, "__Host-postern").unwrap();
    let open = || {
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let mut tls = raw::tls(to, name, &gateway.facts.ca_root, LIMIT);
        let head = format!(
            "GET /flood HTTP/1.1\r\nHost: {name}:{port}\r\nCookie: __Host-postern={cookie}\r\n\r\n"
        );
        tls.write_all(head.as_bytes()).unwrap();
        tls
    };
    let (stuck, mut slow) = (open(), open());
    let (begin, mut block) = (Instant::now(), [0; 16 * 1024]);
    while hose.cut() == 0 {
        assert!(slow.read(&mut block).unwrap() > 0, "the slow one lives");
        assert!(begin.elapsed() < LIMIT, "the stuck one is never cut");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(
        begin.elapsed() > Duration::from_secs(25),
        "{:?}",
        begin.elapsed()
    );
    for _ in 0..100 {
        assert!(slow.read(&mut block).unwrap() > 0, "the slow one lives on");
    }
    assert_eq!(hose.cut(), 1);
    drop(stuck);
}

/// A gateway before a hose, and who is signed in there.
struct Before {
    gateway: Gateway,
    asks: Asks,
}

impl Before {
    fn new(hose: &Firehose) -> Self {
        let gateway = Gateway::demo_before(&hose.url());
        let client = Client::new(&gateway);
        let app = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
        assert_eq!(app.status, 200, "{app:?}");
        let name = host(&gateway.facts.app);
        let cookie = client.cookie(name, "__Host-postern").unwrap();
        let asks = Asks {
            cookie: format!("__Host-postern={cookie}"),
            authority: format!("{name}:{}", gateway.https_port()),
        };
        Self { gateway, asks }
    }

    /// One who asks for the flood over HTTP/2 and gives it that window.
    fn reader(&self, window: u32) -> Wire {
        let facts = &self.gateway.facts;
        let to = SocketAddr::from(([127, 0, 0, 1], self.gateway.https_port()));
        let mut wire = Wire::bare(to, host(&facts.app), &facts.ca_root, LIMIT);
        let head = fields(&self.asks.fields("GET", "/flood"));
        let ask = frame(HEADERS, END_HEADERS | END_STREAM, 1, &head);
        wire.send(&[PREFACE, &settings(&[(4, window)]), &ask].concat());
        wire
    }
}

/// Opens the window again for what came.
fn give_back(wire: &mut Wire, came: &Frame) {
    if came.kind == DATA && !came.payload.is_empty() {
        let read = u32::try_from(came.payload.len()).unwrap().to_be_bytes();
        wire.send(&[0, 1].map(|of| frame(WINDOW_UPDATE, 0, of, &read)).concat());
    }
}

/// A client of HTTP/2 that opens no window for its answer holds what is there of it for thirty seconds and no longer;
/// one that reads slowly gets all it asks for. Source: CVE-2019-9511, CVE-2019-9517; security.md R-DO-11.
#[test]
fn a_reader_of_http_2_that_opens_no_window_is_cut_and_a_slow_one_is_not() {
    let hose = Firehose::new();
    let before = Before::new(&hose);
    let (mut shut, mut slow) = (before.reader(0), before.reader(16 * 1024));
    let begin = Instant::now();
    let more = |slow: &mut Wire| {
        let next = slow.next_frame().unwrap().expect("the slow one lives");
        assert!(!matches!(next.kind, RST_STREAM | GOAWAY), "{next:?}");
        give_back(slow, &next);
    };
    while hose.cut() == 0 {
        more(&mut slow);
        assert!(begin.elapsed() < LIMIT, "the shut one is never cut");
        thread::sleep(Duration::from_millis(50));
    }
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(25), "{took:?}");
    let ended = reaction(&mut shut, |came| {
        matches!(came, Came::Reset(_) | Came::End(_))
    });
    assert!(
        matches!(
            ended.last(),
            Some(Came::Reset(_) | Came::End(_) | Came::Closed)
        ),
        "{ended:?}"
    );
    for _ in 0..100 {
        more(&mut slow);
    }
    assert_eq!(hose.cut(), 1);
}

/// A reader without haste cannot put off the end of a gateway that is told to stop; it hears at once that it should go.
#[test]
fn a_slow_reader_of_http_2_hears_of_a_stop_and_does_not_put_it_off() {
    let hose = Firehose::new();
    let mut before = Before::new(&hose);
    let mut slow = before.reader(16 * 1024);
    let reader = thread::spawn(move || {
        let mut went_away = None;
        let begin = Instant::now();
        while let Ok(Some(next)) = slow.next_frame() {
            if next.kind == GOAWAY {
                went_away.get_or_insert_with(|| begin.elapsed());
            }
            if next.kind == RST_STREAM {
                break;
            }
            give_back(&mut slow, &next);
            thread::sleep(Duration::from_millis(20));
        }
        (went_away, begin.elapsed())
    });
    wait::until_true(wait::PATIENCE, "it reads", || hose.sent() > 64 * 1024);
    // TimeoutStopSec of the unit is 30
    let took = before.gateway.stop();
    assert!(took < Duration::from_secs(30), "{took:?}");
    let (went_away, ended) = reader.join().unwrap();
    let told = went_away.expect("a GOAWAY");
    assert!(told < Duration::from_secs(5), "{told:?}");
    assert!(
        ended > Duration::from_secs(15),
        "what is under way goes on for a while: {ended:?}"
    );
    assert_eq!(hose.cut(), 1);
}
