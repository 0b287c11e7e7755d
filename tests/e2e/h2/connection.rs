//! h2spec's cases of RFC 7540 sections 3 to 5: beginning, frames, streams.

use postern_tests::cases::*;
use postern_tests::frames::*;

use crate::table::Accepts::*;
use crate::table::Does::*;
use crate::table::{Case, row, weight};

const CODE: &str = "the library has one code for whatever it cannot read";
const CLOSED: &str =
    "the library tells a closed stream from a wrong frame only when it has forgotten the stream";

pub fn cases(asks: &Asks) -> Vec<Case> {
    [frames(asks), states(asks), streams(asks)].concat()
}

#[rustfmt::skip] // a row a case
fn frames(asks: &Asks) -> Vec<Case> {
    let head = |stream| frame(HEADERS, END_STREAM, stream, &wrong(asks, "GET"));
    let large = fields(&[("x-large", &"x".repeat(1 << 14))]);
    let mut reserved = frame(PING, 0, 0, b"whatever");
    reserved[5] |= 0x80;
    vec![
        row("http2/3.5/1", "settings come first", Vec::new(), Greeting, Serve),
        row("http2/3.5/2", "no preface", b"INVALID CONNECTION PREFACE\r\n\r\n", ConnectionError(&[PROTOCOL]), Close).bare(),
        row("http2/4.1/1", "a frame of an unknown kind", frame(0x16, 0, 0, &[0; 8]), Pong, Serve),
        row("http2/4.1/2", "undefined flags", frame(PING, 0x16, 0, b"are here"), Ponged, Serve),
        row("http2/4.1/3", "the reserved bit", reserved, Ponged, Serve),
        row("http2/4.2/1", "2^14 bytes of data", [asks.begin(1), frame(DATA, END_STREAM, 1, &vec![b'x'; 1 << 14])].concat(), Answer, Serve),
        row("http2/4.2/2", "more data than a frame may hold", [asks.begin(1), frame(DATA, END_STREAM, 1, &vec![b'x'; (1 << 14) + 1])].concat(), StreamError(&[FRAME_SIZE]), End(FRAME_SIZE)).or(Close),
        row("http2/4.2/3", "a longer head than a frame may hold", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[wrong(asks, "GET"), large].concat()), ConnectionError(&[FRAME_SIZE]), End(FRAME_SIZE)).or(Close),
        row("http2/4.3/1", "a block that is none", frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\0\0\0\0\xff\xff\xff\xff\xff"), ConnectionError(&[COMPRESSION]), End(PROTOCOL)).because(CODE),
        row("http2/4.3/2", "priority within a block", [head(1), frame(PRIORITY, 0, 1, &weight(0, 9))].concat(), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/4.3/3", "another head within a block", [head(1), asks.ask(3)].concat(), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
    ]
}

#[rustfmt::skip] // a row a case
fn states(asks: &Asks) -> Vec<Case> {
    let data = || frame(DATA, END_STREAM, 1, b"test");
    let head = || frame(HEADERS, END_HEADERS | END_STREAM, 1, &wrong(asks, "GET"));
    let more = || frame(CONTINUATION, END_HEADERS, 1, &fields(&[("x-wrong", "1")]));
    let reset = || frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    let asked = |more: Vec<u8>| [asks.ask(1), more].concat();
    let gone = |more: Vec<u8>| [asks.begin(1), reset(), more].concat();
    let over = |id, says, more: Vec<u8>, accepts, does| row(id, says, asks.ask(1), accepts, does).answered().then(more);
    vec![
        row("http2/5.1/1", "idle: data", data(), StreamError(&[PROTOCOL, STREAM_CLOSED]), End(PROTOCOL)),
        row("http2/5.1/2", "idle: reset", reset(), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/5.1/3", "idle: window", frame(WINDOW_UPDATE, 0, 1, &100_u32.to_be_bytes()), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/5.1/4", "idle: continuation", more(), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/5.1/5", "half closed: data", asked(data()), StreamError(&[STREAM_CLOSED]), End(PROTOCOL)).or(Reset(STREAM_CLOSED)).because(CLOSED),
        row("http2/5.1/6", "half closed: head", asked(head()), StreamError(&[STREAM_CLOSED]), End(STREAM_CLOSED)).or(End(PROTOCOL)),
        row("http2/5.1/7", "half closed: continuation", asked(more()), StreamError(&[STREAM_CLOSED, PROTOCOL]), End(PROTOCOL)),
        row("http2/5.1/8", "after a reset: data", gone(data()), StreamError(&[STREAM_CLOSED]), Reset(STREAM_CLOSED)).or(End(PROTOCOL)),
        row("http2/5.1/9", "after a reset: head", gone(head()), StreamError(&[STREAM_CLOSED]), End(PROTOCOL)).or(End(STREAM_CLOSED)).because(CLOSED),
        row("http2/5.1/10", "after a reset: continuation", gone(more()), StreamError(&[STREAM_CLOSED, PROTOCOL]), End(PROTOCOL)),
        over("http2/5.1/11", "closed: data", data(), StreamError(&[STREAM_CLOSED]), Reset(STREAM_CLOSED)).or(End(PROTOCOL)),
        over("http2/5.1/12", "closed: head", head(), ConnectionError(&[STREAM_CLOSED]), End(PROTOCOL)).or(End(STREAM_CLOSED)).because(CLOSED),
        over("http2/5.1/13", "closed: continuation", more(), ConnectionError(&[STREAM_CLOSED, PROTOCOL]), End(PROTOCOL)),
    ]
}

#[rustfmt::skip] // a row a case
fn streams(asks: &Asks) -> Vec<Case> {
    let many: Vec<u8> = (0..101).flat_map(|at| asks.begin(1 + 2 * at)).collect();
    let wrong_on = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &wrong(asks, "GET"));
    vec![
        row("http2/5.1.1/1", "an even stream", wrong_on(2), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/5.1.1/2", "a lower stream", [asks.ask(5), wrong_on(3)].concat(), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/5.1.2/1", "more streams than were offered", many, StreamError(&[PROTOCOL, REFUSED]), Reset(REFUSED)),
        row("http2/5.3.1/1", "a head that depends on itself", frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, &[weight(1, 255), wrong(asks, "GET")].concat()), StreamError(&[PROTOCOL]), Reset(PROTOCOL)),
        row("http2/5.3.1/2", "priority that depends on itself", frame(PRIORITY, 0, 1, &weight(1, 255)), StreamError(&[PROTOCOL]), Reset(PROTOCOL)),
        row("http2/5.4.1/1", "after an error the connection is closed", frame(PING, 0, 0, &[0; 6]), Closed, End(PROTOCOL)),
        row("http2/5.4.1/2", "and what happened is said before", frame(PING, 0, 0, &[0; 6]), GoAway, End(PROTOCOL)),
        row("http2/5.5/1", "an extension", frame(0x16, 0, 0, &[0; 8]), Pong, Serve),
        row("http2/5.5/2", "an extension within a block", [frame(HEADERS, END_STREAM, 1, &wrong(asks, "GET")), frame(0x16, 0, 0, &[0; 8])].concat(), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
    ]
}

/// A head that must never reach the app.
fn wrong(asks: &Asks, method: &str) -> Vec<u8> {
    let mut all = asks.fields(method, "/p");
    all.push(("x-wrong", "1"));
    fields(&all)
}
