//! How long a connection of a client lasts: so many requests, and a minute without any; what is open is never cut.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postern_tests::cases::Scene;
use postern_tests::curl::host;
use postern_tests::frames::*;
use postern_tests::raw::{self, Tls};

/// The most requests of a connection. Source: security.md R-DO-03.
const REQUESTS: u32 = 1000;
/// How long one may carry none, and how much later it may end on a busy machine.
const IDLE: std::ops::Range<Duration> = Duration::from_secs(58)..Duration::from_secs(80);

fn tls(scene: &Scene) -> Tls {
    let tcp = TcpStream::connect(("127.0.0.1", scene.gateway.https_port())).unwrap();
    let name = host(&scene.gateway.facts.app);
    raw::tls_over(
        tcp,
        name,
        &scene.gateway.facts.ca_root,
        postern_tests::wait::PATIENCE,
    )
}

/// A request that keeps its connection.
fn kept(scene: &Scene) -> String {
    format!(
        "GET /p HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
        scene.authority, scene.cookie
    )
}

/// Reads a frame of a connection with a download on stream 1, which must go on; returns the bytes that came of it.
fn more(wire: &mut Wire, last: &mut Option<u32>) -> usize {
    let next = wire.next_frame().unwrap().expect("the download goes on");
    let length = next.payload.len();
    match next.kind {
        PING if !next.has(ACK) => wire.send(&frame(PING, ACK, 0, &next.payload)),
        GOAWAY => *last = Some(u32::from_be_bytes(next.payload[..4].try_into().unwrap())),
        DATA if next.stream == 1 && length > 0 => {
            let read = u32::try_from(length).unwrap().to_be_bytes();
            wire.send(&[0, 1].map(|of| frame(WINDOW_UPDATE, 0, of, &read)).concat());
            return length;
        }
        _ => {}
    }
    0
}

#[test]
fn the_thousandth_answer_of_http_1_says_that_the_connection_ends_and_no_other_does() {
    let scene = Scene::new();
    let (mut tls, ask) = (tls(&scene), kept(&scene));
    for at in 1..=REQUESTS {
        tls.write_all(ask.as_bytes()).unwrap();
        let (head, whole) = raw::one_answer(&mut tls);
        assert!(whole && head.starts_with("HTTP/1.1 200"), "{at}: {head}");
        let ends = head.to_ascii_lowercase().contains("connection: close");
        assert_eq!(ends, at == REQUESTS, "{at}: {head}");
    }
    assert!(matches!(tls.read(&mut [0]), Ok(0) | Err(_)), "it is over");
}

#[test]
fn after_a_thousand_requests_http_2_is_told_to_go_elsewhere_and_what_is_open_goes_on() {
    let scene = Scene::new();
    let mut wire = scene.wire();
    let download = fields(&scene.fields("GET", "/download"));
    wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &download));
    // the download is one of them
    let (mut last, mut stream) = (None, 3);
    let room = 4096_u32.to_be_bytes();
    for at in 2..REQUESTS {
        wire.send(&[0, 1].map(|of| frame(WINDOW_UPDATE, 0, of, &room)).concat());
        wire.send(&scene.ask(stream));
        assert_eq!(wire.answer(stream, &mut last), Some(200), "{at}");
        assert_eq!(last, None, "{at}");
        stream += 2;
    }
    wire.send(&scene.ask(stream));
    assert_eq!(
        wire.answer(stream, &mut last),
        Some(200),
        "the last one is answered, too"
    );
    let mut came = 0;
    while last != Some(stream) || came < 100_000 {
        came += more(&mut wire, &mut last);
    }
    let mut another = scene.wire();
    another.send(&scene.ask(1));
    assert_eq!(another.answer(1, &mut None), Some(200));
}

#[test]
fn a_connection_that_carries_nothing_ends_after_a_minute_and_one_that_carries_a_download_does_not()
{
    let scene = Scene::new();
    let mut plain = tls(&scene);
    plain.write_all(kept(&scene).as_bytes()).unwrap();
    assert!(raw::one_answer(&mut plain).1);
    let mut multiplexed = scene.wire();
    multiplexed.send(&scene.ask(1));
    assert_eq!(multiplexed.answer(1, &mut None), Some(200));
    let mut busy = scene.wire();
    let download = fields(&scene.fields("GET", "/download"));
    busy.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &download));
    let (quiet, over) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let downloads = scope.spawn(|| {
            let (mut last, mut came) = (None, 0);
            while !over.load(Ordering::SeqCst) {
                came += more(&mut busy, &mut last);
            }
            (last, came)
        });
        let ends = [
            scope.spawn(|| {
                let read = raw::read_all(&mut plain);
                (read.closed, quiet.elapsed())
            }),
            scope.spawn(|| {
                while let Ok(Some(_)) = multiplexed.next_frame() {}
                (true, quiet.elapsed())
            }),
        ];
        let ends = ends.map(|end| end.join().unwrap());
        over.store(true, Ordering::SeqCst);
        for (what, (closed, took)) in ["HTTP/1.1", "HTTP/2"].iter().zip(ends) {
            assert!(closed && IDLE.contains(&took), "{what}: {took:?}");
        }
        let (last, came) = downloads.join().unwrap();
        assert!(last.is_none() && came > 1_000_000, "{last:?} {came}");
    });
}
