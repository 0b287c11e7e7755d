//! HTTP/2 as RFC 9113 and RFC 7541 want it: the cases of h2spec as a table of our own.
//!
//! Each case has a connection of its own. A case that is an error must show as one, and nothing of it may reach the app;
//! a case that is none must leave a connection that still serves.

use postern_tests::cases::*;
use postern_tests::frames::*;

/// Padding: its length, the payload, zeros.
fn padded(length: u8, payload: &[u8], zeros: usize) -> Vec<u8> {
    [&[length], payload, &vec![0; zeros]].concat()
}

fn weight(on: u32, weight: u8) -> Vec<u8> {
    [&on.to_be_bytes()[..], &[weight]].concat()
}

#[test]
#[rustfmt::skip] // a row a case
fn what_begins_a_connection_and_what_is_unknown() {
    let scene = Scene::new();
    let mut wire = scene.wire();
    let first = wire.next_frame().unwrap().unwrap();
    assert_eq!(
        (first.kind, first.flags, first.stream),
        (SETTINGS, 0, 0),
        "3.4: settings come first"
    );
    let setting = |id: u16| {
        let of = |chunk: &&[u8]| chunk[..2] == id.to_be_bytes();
        let found = first.payload.chunks(6).find(of);
        found.map(|chunk| u32::from_be_bytes(chunk[2..].try_into().unwrap()))
    };
    assert_eq!(
        (setting(3), setting(6)),
        (Some(100), Some(32 * 1024)),
        "streams and the list of fields are bounded"
    );
    let mut wire = scene.bare();
    wire.send(b"INVALID CONNECTION PREFACE\r\n\r\n");
    let all = reaction(&mut wire, |came| matches!(came, Came::End(_)));
    assert!(
        matches!(all.as_slice(), [Came::End(1) | Came::Closed]),
        "3.4: {all:?}"
    );
    let ask = scene.ask(1);
    let mut odd = ask.clone();
    odd[4] |= 0x42;
    let mut reserved = ask.clone();
    reserved[5] |= 0x80;
    run(
        &scene,
        &[
            ("4.1: a frame of an unknown kind", frame(0x16, 0, 0, b"\0\0\0\0"), Must::Ignore),
            ("4.1: undefined flags of a ping", frame(PING, 0x16, 0, b"whatever"), Must::Ignore),
            ("4.1: undefined flags of a head", odd, Must::Serve),
            ("4.1: the reserved bit", reserved, Must::Serve),
            ("5.5: an extension of a stream", [frame(0x16, 0, 1, &[0; 8]), ask.clone()].concat(), Must::Serve),
            ("4.2: 2^14 bytes of data", [scene.begin(1), frame(DATA, END_STREAM, 1, &vec![b'x'; 1 << 14])].concat(), Must::Serve),
            ("4.2: more data than a frame may hold", [scene.begin(1), frame(DATA, END_STREAM, 1, &vec![0; (1 << 14) + 1])].concat(), Must::Reset(&[FRAME_SIZE])),
            ("4.2: a head larger than a frame may be", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[&scene.get()[..], &fields(&[("x-wrong", &"x".repeat(1 << 14))])].concat()), Must::End(&[FRAME_SIZE])),
            ("4.3: a block that is none", frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\0\0\0\0\xff\xff\xff\xff\xff"), Must::End(&[COMPRESSION])),
            ("4.3: priority within a block", [frame(HEADERS, 0, 1, &scene.get()), frame(PRIORITY, 0, 1, &weight(0, 1))].concat(), Must::End(&[PROTOCOL])),
            ("4.3: another stream's head within a block", [frame(HEADERS, END_STREAM, 1, &scene.get()), scene.ask(3)].concat(), Must::End(&[PROTOCOL])),
            ("5.5: an extension within a block", [frame(HEADERS, END_STREAM, 1, &scene.get()), frame(0x16, 0, 0, b"")].concat(), Must::End(&[PROTOCOL])),
        ],
    );
}

#[test]
#[rustfmt::skip] // a row a case
fn frames_of_streams_in_the_wrong_state() {
    let scene = Scene::new();
    let cancel = 8_u32.to_be_bytes();
    let closed = |more: Vec<u8>| [scene.begin(1), frame(RST_STREAM, 0, 1, &cancel), more].concat();
    let done = |more: Vec<u8>| [scene.ask(1), more].concat();
    let data = || frame(DATA, END_STREAM, 1, b"test");
    let rest = || frame(CONTINUATION, END_HEADERS, 1, &fields(&[("x-wrong", "1")]));
    let wide = |stream: u32| frame(WINDOW_UPDATE, 0, stream, &100_u32.to_be_bytes());
    run(
        &scene,
        &[
            ("5.1: data, idle", data(), Must::End(&[PROTOCOL])),
            ("5.1: reset, idle", frame(RST_STREAM, 0, 1, &cancel), Must::End(&[PROTOCOL])),
            ("5.1: window, idle", wide(1), Must::End(&[PROTOCOL])),
            ("5.1: continuation, idle", rest(), Must::End(&[PROTOCOL])),
            ("5.1: data, half closed", done(data()), Must::Reset(&[STREAM_CLOSED])),
            ("5.1: head, half closed", done(scene.ask(1)), Must::Reset(&[STREAM_CLOSED])),
            ("5.1: continuation, half closed", done(rest()), Must::End(&[STREAM_CLOSED, PROTOCOL])),
            ("5.1: continuation after a reset", closed(rest()), Must::End(&[STREAM_CLOSED, PROTOCOL])),
            ("5.1: window, half closed", done(wide(1)), Must::Serve),
            ("5.1: priority, half closed", done(frame(PRIORITY, 0, 1, &weight(0, 9))), Must::Serve),
            ("5.1: priority, idle", [frame(PRIORITY, 0, 1, &weight(0, 9)), scene.ask(1)].concat(), Must::Serve),
            ("5.1: reset, half closed", [scene.ask(1), frame(RST_STREAM, 0, 1, &cancel)].concat(), Must::Ignore),
            ("5.1: window after a reset", closed(wide(1)), Must::Ignore),
            ("5.1: priority after a reset", closed(frame(PRIORITY, 0, 1, &weight(0, 9))), Must::Ignore),
            ("5.1.1: an even stream", scene.ask(2), Must::End(&[PROTOCOL])),
            ("5.1.1: a lower stream", [scene.ask(5), scene.ask(3)].concat(), Must::End(&[PROTOCOL, STREAM_CLOSED])),
            ("5.3.1: a head that depends on itself", frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, &[&weight(1, 255)[..], &scene.get()].concat()), Must::Reset(&[PROTOCOL])),
            ("5.3.1: priority that depends on itself", [scene.begin(1), frame(PRIORITY, 0, 1, &weight(1, 255))].concat(), Must::Reset(&[PROTOCOL])),
            ("5.3: weight 1", [frame(PRIORITY, 0, 1, &weight(0, 0)), scene.ask(1)].concat(), Must::Serve),
            ("5.3: weight 256", [frame(PRIORITY, 0, 1, &weight(0, 255)), scene.ask(1)].concat(), Must::Serve),
            ("5.3: exclusive", [frame(PRIORITY, 0, 3, &weight(1 | 1 << 31, 9)), scene.ask(1)].concat(), Must::Serve),
            ("5.3: a head with its weight", frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, &[&weight(0, 255)[..], &scene.get()].concat()), Must::Serve),
            ("6.4: a reset and then another stream", [closed(Vec::new()), scene.ask(3)].concat(), Must::Ignore),
        ],
    );
}

#[test]
#[rustfmt::skip] // a row a case
fn frames_that_are_wrong_by_themselves() {
    let scene = Scene::new();
    let (one, cancel) = (1_u32.to_be_bytes(), 8_u32.to_be_bytes());
    let begun = |more: Vec<u8>| [scene.begin(1), more].concat();
    run(
        &scene,
        &[
            ("6.1: data of stream 0", begun(frame(DATA, END_STREAM, 0, b"test")), Must::End(&[PROTOCOL])),
            ("6.1: padding longer than the frame", begun(frame(DATA, END_STREAM | PADDED, 1, b"\x06ab")), Must::End(&[PROTOCOL])),
            ("6.1: padding", begun(frame(DATA, END_STREAM | PADDED, 1, &padded(6, b"test", 6))), Must::Serve),
            ("6.1: data in parts", begun([frame(DATA, 0, 1, b"te"), frame(DATA, END_STREAM, 1, b"st")].concat()), Must::Serve),
            ("6.2: a head of stream 0", scene.ask(0), Must::End(&[PROTOCOL])),
            ("6.2: padding longer than the head", frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[&[255], &scene.get()[..20]].concat()), Must::End(&[PROTOCOL])),
            ("6.2: a padded head", frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &padded(6, &scene.get(), 6)), Must::Serve),
            ("6.3: priority of stream 0", frame(PRIORITY, 0, 0, &weight(0, 9)), Must::End(&[PROTOCOL])),
            ("6.3: priority of a wrong length", begun(frame(PRIORITY, 0, 1, b"\0\0\0\0")), Must::Reset(&[FRAME_SIZE])),
            ("6.4: a reset of stream 0", frame(RST_STREAM, 0, 0, &cancel), Must::End(&[PROTOCOL])),
            ("6.4: a reset of a wrong length", begun(frame(RST_STREAM, 0, 1, b"\0\0\0")), Must::End(&[FRAME_SIZE])),
            ("6.5: an acknowledgement with settings", frame(SETTINGS, ACK, 0, &[0; 6]), Must::End(&[FRAME_SIZE])),
            ("6.5: settings of a stream", frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 9]), Must::End(&[PROTOCOL])),
            ("6.5: settings of a wrong length", frame(SETTINGS, 0, 0, &[0, 3, 0]), Must::End(&[FRAME_SIZE])),
            ("6.5.2: push neither on nor off", settings(&[(2, 2)]), Must::End(&[PROTOCOL])),
            ("6.5.2: a window over 2^31-1", settings(&[(4, 1 << 31)]), Must::End(&[FLOW_CONTROL])),
            ("6.5.2: frames under 2^14", settings(&[(5, (1 << 14) - 1)]), Must::End(&[PROTOCOL])),
            ("6.5.2: frames over 2^24-1", settings(&[(5, 1 << 24)]), Must::End(&[PROTOCOL])),
            ("6.5.2: an unknown setting", settings(&[(0xff, 1)]), Must::Ignore),
            ("6.7: a ping", frame(PING, 0, 0, b"whatever"), Must::Ignore),
            ("6.7: a ping that is an answer", frame(PING, ACK, 0, b"whatever"), Must::Ignore),
            ("6.7: a ping of a stream", frame(PING, 0, 1, ASKED), Must::End(&[PROTOCOL])),
            ("6.7: a ping of a wrong length", frame(PING, 0, 0, b"\0\0\0\0\0\0"), Must::End(&[FRAME_SIZE])),
            ("6.8: an end of a stream", frame(GOAWAY, 0, 1, &[0; 8]), Must::End(&[PROTOCOL])),
            ("6.9: a window by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Must::End(&[PROTOCOL])),
            ("6.9: a stream's window by nothing", begun(frame(WINDOW_UPDATE, 0, 1, &[0; 4])), Must::Reset(&[PROTOCOL])),
            ("6.9: a window of a wrong length", frame(WINDOW_UPDATE, 0, 0, b"\0\0\x01"), Must::End(&[FRAME_SIZE])),
            ("6.9: a wider window", [frame(WINDOW_UPDATE, 0, 0, &one), scene.ask(1)].concat(), Must::Serve),
            ("6.9: a stream's wider window", begun([frame(WINDOW_UPDATE, 0, 1, &one), frame(DATA, END_STREAM, 1, b"x")].concat()), Must::Serve),
            ("6.9.1: the window over 2^31-1", [frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])].concat(), Must::End(&[FLOW_CONTROL])),
            ("6.9.1: a stream's window over 2^31-1", begun([frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])].concat()), Must::Reset(&[FLOW_CONTROL])),
            ("6.10: a head in three parts", [frame(HEADERS, END_STREAM, 1, &scene.get()), frame(CONTINUATION, 0, 1, &fields(&[("x-a", "1")])), frame(CONTINUATION, END_HEADERS, 1, &fields(&[("x-b", "2")]))].concat(), Must::Serve),
            ("6.10: data within a head", [frame(HEADERS, 0, 1, &scene.post()), frame(CONTINUATION, 0, 1, &fields(&[("x-wrong", "1")])), frame(DATA, END_STREAM, 1, b"x")].concat(), Must::End(&[PROTOCOL])),
            ("6.10: of stream 0", [frame(HEADERS, END_STREAM, 1, &scene.get()), frame(CONTINUATION, END_HEADERS, 0, b"")].concat(), Must::End(&[PROTOCOL])),
            ("6.10: behind a whole head", begun(frame(CONTINUATION, END_HEADERS, 1, b"")), Must::End(&[PROTOCOL])),
            ("6.10: behind the last part", [frame(HEADERS, 0, 1, &scene.post()), frame(CONTINUATION, END_HEADERS, 1, b""), frame(CONTINUATION, END_HEADERS, 1, b"")].concat(), Must::End(&[PROTOCOL])),
            ("6.10: behind data", begun([frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, b"")].concat()), Must::End(&[PROTOCOL])),
            ("7: a reset by an unknown code", begun(frame(RST_STREAM, 0, 1, &[0, 0, 0, 0xff])), Must::Ignore),
            ("8.4: a push of a client's", begun(frame(PUSH_PROMISE, END_HEADERS, 1, &[&3_u32.to_be_bytes()[..], &scene.get()].concat())), Must::End(&[PROTOCOL])),
        ],
    );
}

#[test]
#[rustfmt::skip] // a row a case
fn heads_that_are_no_request() {
    let scene = Scene::new();
    let wrong = |drop: &[&str], more: &[(&str, &str)]| {
        let more = [more, &[("x-wrong", "1")]].concat();
        scene.with(drop, &more)
    };
    // pseudo headers come first: those that are added stand before the others
    let first = |more: (&str, &str), drop: &[&str]| {
        let mut all = scene.fields("GET", "/p");
        all.retain(|(name, _)| !drop.contains(name));
        all.insert(0, more);
        all.push(("x-wrong", "1"));
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&all))
    };
    let length = |length: &str, parts: &[&[u8]]| {
        let mut all = scene.fields("POST", "/p");
        all.extend([("content-length", length), ("x-wrong", "1")]);
        let mut out = frame(HEADERS, END_HEADERS, 1, &fields(&all));
        for (at, part) in parts.iter().enumerate() {
            let flag = if at + 1 == parts.len() { END_STREAM } else { 0 };
            out.extend(frame(DATA, flag, 1, part));
        }
        out
    };
    let mut all = vec![
        ("8.1: a second head that ends nothing", [scene.begin(1), scene.begin(1)].concat(), Must::Reset(&[PROTOCOL])),
        ("8.1: trailers", [scene.begin(1), frame(DATA, 0, 1, b"x"), frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&[("x-sum", "1")]))].concat(), Must::Serve),
        // the library looks at no name in them; they end here, so that nothing of them reaches an app
        ("8.1: a pseudo header in trailers", [scene.begin(1), frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&[(":method", "GET")]))].concat(), Must::Serve),
        ("8.2: an unknown pseudo header", first((":test", "x"), &[]), Must::Refuse(&[PROTOCOL])),
        ("8.2: a pseudo header of answers", first((":status", "200"), &[]), Must::Refuse(&[PROTOCOL])),
        ("8.3: a pseudo header behind a field", wrong(&[":path"], &[(":path", "/p")]), Must::Refuse(&[PROTOCOL])),
        ("8.3.1: an empty path", first((":path", ""), &[":path"]), Must::Refuse(&[PROTOCOL])),
        ("8.3.1: no authority", wrong(&[":authority"], &[]), Must::Refuse(&[PROTOCOL])),
        ("8.3.1: another scheme's path", first((":path", "https://app.gate.localhost/p"), &[":path"]), Must::Refuse(&[PROTOCOL])),
        ("8.1.1: more data than its length", length("1", &[b"test"]), Must::Reset(&[PROTOCOL])),
        ("8.1.1: more data than its length, in parts", length("5", &[b"test", b"test"]), Must::Reset(&[PROTOCOL])),
        ("8.1.1: less data than its length", length("9", &[b"test"]), Must::Reset(&[PROTOCOL])),
        ("8.1.1: a length that is none", length("4x", &[b"test"]), Must::Refuse(&[PROTOCOL])),
        ("8.2.2: te of something else", wrong(&[], &[("te", "trailers, deflate")]), Must::Refuse(&[PROTOCOL])),
        ("8.2.2: te of trailers", scene.with(&[], &[("te", "trailers")]), Must::Serve),
        ("8.2.1: an upper case name", wrong(&[], &[("X-TEST", "ok")]), Must::Refuse(&[PROTOCOL])),
        ("8.2.3: a cookie in crumbs", scene.with(&[], &[("cookie", "a=b"), ("cookie", "c=d")]), Must::Serve),
    ];
    let names = [":method", ":scheme", ":path"];
    for name in names {
        all.push((
            "8.3.1: a pseudo header is missing",
            wrong(&[name], &[]),
            Must::Refuse(&[PROTOCOL]),
        ));
        all.push((
            "8.3.1: a pseudo header stands twice",
            first((name, "GET"), &[]),
            Must::Refuse(&[PROTOCOL]),
        ));
    }
    for (name, value) in [
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
    ] {
        all.push((
            "8.2.2: a field of one connection",
            wrong(&[], &[(name, value)]),
            Must::Refuse(&[PROTOCOL]),
        ));
    }
    for (name, value) in [
        ("x a", "1"),
        ("", "1"),
        ("x-a:", "1"),
        ("x-a", "a\rb"),
        ("x-a", "a\nb"),
        ("x-a", "a\0b"),
    ] {
        all.push((
            "8.2.1: a name or value that is none",
            wrong(&[], &[(name, value)]),
            Must::Refuse(&[PROTOCOL]),
        ));
    }
    run(&scene, &all);
    let seen = scene.recorder.seen();
    let cookies: Vec<_> = seen.iter().map(|seen| seen.values("cookie")).collect();
    assert!(cookies.iter().all(|all| all.len() < 2), "{cookies:?}");
    assert!(cookies.contains(&vec!["a=b; c=d"]), "crumbs are one line: {cookies:?}");
}

#[test]
#[rustfmt::skip] // a row a case
fn the_code_of_heads() {
    let scene = Scene::new();
    let mut wrong_block = scene.get();
    wrong_block.push(0x20);
    run(
        &scene,
        &[
            ("2.3.3: an index nobody filled", scene.block(&[], &[0xbe]), Must::End(&[COMPRESSION])),
            ("2.3.3: a name at an index nobody filled", scene.block(&[], b"\x7f\x00\x01a"), Must::End(&[COMPRESSION])),
            ("6.1: index 0", scene.block(&[], &[0x80]), Must::End(&[COMPRESSION])),
            ("4.2: a size at the end of a block", frame(HEADERS, END_HEADERS | END_STREAM, 1, &wrong_block), Must::End(&[COMPRESSION])),
            ("6.3: a size over the limit", scene.block(&[0x3f, 0xe1, 0xff, 0x03], &[]), Must::End(&[COMPRESSION])),
            ("5.2: padding longer than seven bits", scene.block(&[], b"\0\x01a\x82\x1f\xff"), Must::End(&[COMPRESSION])),
            ("5.2: padding by zeros", scene.block(&[], b"\0\x01a\x81\x18"), Must::End(&[COMPRESSION])),
            ("5.2: the end of strings in a string", scene.block(&[], b"\0\x01a\x84\xff\xff\xff\xff"), Must::End(&[COMPRESSION])),
            ("5.1: an integer without an end", scene.block(&[], &[0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), Must::End(&[COMPRESSION])),
            ("5.2: a string longer than its block", scene.block(&[], b"\0\x01a\x7f\x20ab"), Must::End(&[COMPRESSION, PROTOCOL])),
            ("6.1: by index", [frame(HEADERS, END_HEADERS | END_STREAM, 1, &[&[0x82, 0x87][..], &fields(&[(":path", "/p"), (":authority", &scene.authority), ("cookie", &scene.cookie)])].concat())].concat(), Must::Serve),
            ("6.2.1: a literal that is kept", scene.block(&[], b"\x40\x03x-a\x011"), Must::Serve),
            ("6.2.1: a literal that is kept under a known name", scene.block(&[], b"\x53\x011"), Must::Serve),
            ("6.2.1: in code", scene.block(&[], b"\x40\x03x-a\x81\x0f"), Must::Serve),
            ("6.2.2: a literal under a known name", scene.block(&[], b"\x0f\x04\x011"), Must::Serve),
            ("6.2.3: a literal that must never be kept", scene.block(&[], b"\x10\x03x-a\x011"), Must::Serve),
            ("6.3: a smaller size", scene.block(&[0x20], &[]), Must::Serve),
            ("4.2: two sizes at the beginning", scene.block(&[0x20, 0x3f, 0xe1, 0x1f], &[]), Must::Serve),
        ],
    );
}

#[test]
fn windows_are_kept_to() {
    let scene = Scene::new();
    // 6.9.2: a window of one byte gives one byte
    let mut wire = scene.bare();
    wire.send(&[PREFACE, &settings(&[(4, 1)])].concat());
    wire.send(&scene.ask(1));
    let data = |wire: &mut Wire| loop {
        let frame = wire.next_frame().unwrap().expect("an answer");
        if frame.kind == DATA && (!frame.payload.is_empty() || frame.has(END_STREAM)) {
            break frame.payload.len();
        }
    };
    assert_eq!(data(&mut wire), 1);
    // and a larger one what is left
    wire.send(&settings(&[(4, 3)]));
    assert_eq!(data(&mut wire), 2);
    // 6.9.2: a window below zero is made up for first
    wire.send(&settings(&[(4, 0)]));
    wire.send(&frame(WINDOW_UPDATE, 0, 1, &4_u32.to_be_bytes()));
    assert_eq!(data(&mut wire), 1);
    // 6.5.3: of several values the last counts, and settings are acknowledged
    let mut wire = scene.bare();
    wire.send(&[PREFACE, &settings(&[(4, 100), (4, 1)]), &scene.ask(1)].concat());
    let mut acknowledged = 0;
    let length = loop {
        let frame = wire.next_frame().unwrap().expect("an answer");
        match frame.kind {
            SETTINGS if frame.has(ACK) => acknowledged += 1,
            DATA if !frame.payload.is_empty() => break frame.payload.len(),
            _ => {}
        }
    };
    assert_eq!((acknowledged, length), (1, 1));
    // 5.1.2: more streams at once than were offered
    let mut wire = scene.wire();
    let many: Vec<u8> = (0..101).flat_map(|at| scene.begin(1 + 2 * at)).collect();
    wire.send(&many);
    let all = reaction(&mut wire, |came| {
        matches!(came, Came::End(_) | Came::Reset(_))
    });
    assert!(
        matches!(
            all.last(),
            Some(Came::Reset(REFUSED | PROTOCOL) | Came::End(PROTOCOL))
        ),
        "{all:?}"
    );
    // 5.4.1: after an error the connection is closed
    let mut wire = scene.wire();
    wire.send(&frame(PING, 0, 0, b"short"));
    let all = reaction(&mut wire, |_| false);
    assert!(
        matches!(
            all.as_slice(),
            [Came::End(FRAME_SIZE | PROTOCOL), Came::Closed]
        ),
        "{all:?}"
    );
    // 6.8: an end announced by the client, whatever its code, leaves what is under way
    let mut wire = scene.wire();
    wire.send(
        &[
            scene.ask(1),
            frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]),
        ]
        .concat(),
    );
    let all = reaction(&mut wire, |came| matches!(came, Came::Status(_)));
    assert_eq!(all.last(), Some(&Came::Status(200)), "{all:?}");
}
