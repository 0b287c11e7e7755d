//! h2spec's cases of RFC 7540 section 6: each kind of frame.

use postern_tests::cases::*;
use postern_tests::frames::*;

use crate::table::Accepts::*;
use crate::table::Does::*;
use crate::table::{Case, row, weight};

const CODE: &str = "the library has one code for whatever it cannot read";
const CLOSED: &str =
    "the library tells a closed stream from a wrong frame only when it has forgotten the stream";

pub fn cases(asks: &Asks) -> Vec<Case> {
    [bodies(asks), control(asks), windows(asks), parts(asks)].concat()
}

#[rustfmt::skip] // a row a case
fn bodies(asks: &Asks) -> Vec<Case> {
    let begun = |more: Vec<u8>| [asks.begin(1), more].concat();
    let head = |flags: u8, stream: u32| frame(HEADERS, flags, stream, &wrong(asks));
    let cancel = 8_u32.to_be_bytes();
    vec![
        row("http2/6.1/1", "data of stream 0", begun(frame(DATA, END_STREAM, 0, b"test")), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.1/2", "data of a stream that is half closed", [asks.ask(1), frame(DATA, END_STREAM, 1, b"test")].concat(), StreamError(&[STREAM_CLOSED]), End(PROTOCOL)).or(Reset(STREAM_CLOSED)).because(CLOSED),
        row("http2/6.1/3", "padding longer than the data", begun(frame(DATA, END_STREAM | PADDED, 1, b"\x06ab")), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.2/1", "priority within a head", [head(END_STREAM, 1), frame(PRIORITY, 0, 1, &weight(0, 9))].concat(), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.2/2", "another head within a head", [head(END_STREAM, 1), asks.ask(3)].concat(), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.2/3", "a head of stream 0", head(END_HEADERS | END_STREAM, 0), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.2/4", "padding longer than the head", frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[&[255], &wrong(asks)[..20]].concat()), StreamError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.3/1", "priority of stream 0", frame(PRIORITY, 0, 0, &weight(0, 9)), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.3/2", "priority of a wrong length", begun(frame(PRIORITY, 0, 1, &[0; 4])), StreamError(&[FRAME_SIZE]), End(PROTOCOL)).because(CODE),
        row("http2/6.4/1", "a reset of stream 0", frame(RST_STREAM, 0, 0, &cancel), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.4/2", "a reset of a stream that is idle", frame(RST_STREAM, 0, 1, &cancel), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.4/3", "a reset of a wrong length", begun(frame(RST_STREAM, 0, 1, &[0; 3])), StreamError(&[FRAME_SIZE]), End(PROTOCOL)).because(CODE),
    ]
}

#[rustfmt::skip] // a row a case
fn control(asks: &Asks) -> Vec<Case> {
    let refused = |id, says, setting, code| row(id, says, settings(&[setting]), ConnectionError(code), End(PROTOCOL));
    let window = [PREFACE, &settings(&[(4, 100), (4, 1)])].concat();
    vec![
        row("http2/6.5/1", "an acknowledgement with settings", frame(SETTINGS, ACK, 0, &[0; 6]), ConnectionError(&[FRAME_SIZE]), End(PROTOCOL)).because(CODE),
        row("http2/6.5/2", "settings of a stream", frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 9]), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.5/3", "settings of a wrong length", frame(SETTINGS, 0, 0, &[0, 3, 0]), StreamError(&[FRAME_SIZE, PROTOCOL]), End(PROTOCOL)),
        refused("http2/6.5.2/1", "push neither on nor off", (2, 2), &[PROTOCOL]),
        refused("http2/6.5.2/2", "a window over 2^31-1", (4, 1 << 31), &[FLOW_CONTROL]).because(CODE),
        refused("http2/6.5.2/3", "frames under 2^14", (5, (1 << 14) - 1), &[PROTOCOL]),
        refused("http2/6.5.2/4", "frames over 2^24-1", (5, 1 << 24), &[PROTOCOL]),
        row("http2/6.5.2/5", "an unknown setting", settings(&[(0xff, 1)]), Pong, Serve),
        row("http2/6.5.3/1", "of several values the last counts", window, Data(1), Serve).bare().acknowledged().then(asks.ask(1)),
        row("http2/6.5.3/2", "settings are acknowledged", [PREFACE, &settings(&[(2, 0)])].concat(), Acknowledged, Serve).bare(),
        row("http2/6.7/1", "a ping", Vec::new(), Pong, Serve),
        row("http2/6.7/2", "a ping that is an answer", frame(PING, ACK, 0, b"whatever"), Pong, Serve),
        row("http2/6.7/3", "a ping of a stream", frame(PING, 0, 1, b"whatever"), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.7/4", "a ping of a wrong length", frame(PING, 0, 0, &[0; 6]), ConnectionError(&[FRAME_SIZE]), End(PROTOCOL)).because(CODE),
        row("http2/6.8/1", "a stream goes away", frame(GOAWAY, 0, 1, &[0; 8]), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
    ]
}

#[rustfmt::skip] // a row a case
fn windows(asks: &Asks) -> Vec<Case> {
    let begun = |more: Vec<u8>| [asks.begin(1), more].concat();
    let wide = |stream: u32, by: u32| frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    let most = |stream: u32| [wide(stream, (1 << 31) - 1), wide(stream, (1 << 31) - 1)].concat();
    let start = |window: u32| [PREFACE, &settings(&[(4, window)])].concat();
    let window = |window: u32| settings(&[(4, window)]);
    vec![
        row("http2/6.9/1", "a window wider by nothing", wide(0, 0), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.9/2", "a stream's window wider by nothing", begun(wide(1, 0)), StreamError(&[PROTOCOL]), End(PROTOCOL)),
        row("http2/6.9/3", "a window of a wrong length", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]), ConnectionError(&[FRAME_SIZE]), End(PROTOCOL)).because(CODE),
        row("http2/6.9.1/1", "a window of one byte", start(1), Data(1), Serve).bare().acknowledged().then(asks.ask(1)),
        row("http2/6.9.1/2", "a window over 2^31-1", most(0), ConnectionError(&[FLOW_CONTROL]), End(FLOW_CONTROL)),
        row("http2/6.9.1/3", "a stream's window over 2^31-1", begun(most(1)), StreamError(&[FLOW_CONTROL]), Reset(FLOW_CONTROL)),
        row("http2/6.9.2/1", "a window that grows under way", start(0), Data(1), Serve).bare().acknowledged().then([asks.ask(1), window(1)].concat()),
        row("http2/6.9.2/2", "a window below zero is made up for first", start(3), Data(1), Serve).bare().acknowledged().then(asks.ask(1)).data(3).then(window(2)).acknowledged().then(wide(1, 2)),
        row("http2/6.9.2/3", "a first window over 2^31-1", window(1 << 31), ConnectionError(&[FLOW_CONTROL]), End(PROTOCOL)).because(CODE),
    ]
}

#[rustfmt::skip] // a row a case
fn parts(asks: &Asks) -> Vec<Case> {
    let begin = |flags: u8| frame(HEADERS, flags, 1, &asks.post());
    let part = |flags: u8, stream: u32| frame(CONTINUATION, flags, stream, &fields(&[("x-wrong", "1")]));
    let good = |flags: u8| frame(CONTINUATION, flags, 1, &fields(&[("x-a", "1")]));
    let wrong = |id, says, all: &[Vec<u8>]| row(id, says, all.concat(), ConnectionError(&[PROTOCOL]), End(PROTOCOL));
    vec![
        row("http2/6.10/1", "a head in three parts", [frame(HEADERS, END_STREAM, 1, &asks.get()), good(0), frame(CONTINUATION, END_HEADERS, 1, &fields(&[("x-b", "2")]))].concat(), Answer, Serve).reaches("x-b", "2"),
        wrong("http2/6.10/2", "data within a head", &[begin(0), part(0, 1), frame(DATA, END_STREAM, 1, b"x")]),
        wrong("http2/6.10/3", "a part of stream 0", &[frame(HEADERS, END_STREAM, 1, &asks.get()), part(END_HEADERS, 0)]),
        wrong("http2/6.10/4", "a part behind a whole head", &[begin(END_HEADERS), part(END_HEADERS, 1)]),
        wrong("http2/6.10/5", "a part behind the last", &[begin(0), good(END_HEADERS), part(END_HEADERS, 1)]),
        wrong("http2/6.10/6", "a part behind data", &[begin(END_HEADERS), frame(DATA, 0, 1, b"x"), part(END_HEADERS, 1)]),
    ]
}

/// A head that must never reach the app.
fn wrong(asks: &Asks) -> Vec<u8> {
    let mut all = asks.fields("GET", "/p");
    all.push(("x-wrong", "1"));
    fields(&all)
}
