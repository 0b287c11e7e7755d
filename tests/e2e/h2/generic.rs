//! h2spec's generic cases: what every client does.

use postern_tests::cases::*;
use postern_tests::frames::*;

use crate::table::Accepts::*;
use crate::table::Does::*;
use crate::table::{Case, padded, row, weight};

#[rustfmt::skip] // a row a case
pub fn cases(asks: &Asks) -> Vec<Case> {
    let cancel = 8_u32.to_be_bytes();
    let wide = |stream: u32| frame(WINDOW_UPDATE, 0, stream, &100_u32.to_be_bytes());
    let low = |stream: u32| frame(PRIORITY, 0, stream, &weight(0, 9));
    let reset = || frame(RST_STREAM, 0, 1, &cancel);
    let whole = |flags: u8, payload: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM | flags, 1, payload);
    let begun = |more: Vec<u8>| [asks.begin(1), more].concat();
    let asked = |more: Vec<u8>| [asks.ask(1), more].concat();
    let before = |priority: Vec<u8>| [priority, asks.ask(1)].concat();
    let part = |flags: u8, text: &[(&str, &str)]| frame(CONTINUATION, flags, 1, &fields(text));
    vec![
        row("generic/1/1", "a connection begins", Vec::new(), Greeting, Serve),
        row("generic/2/1", "priority, idle", low(1), Pong, Serve),
        row("generic/2/2", "window, half closed", asked(wide(1)), Answer, Serve),
        row("generic/2/3", "priority, half closed", asked(low(1)), Answer, Serve),
        row("generic/2/4", "reset, half closed", asked(reset()), PongOrClosed, Serve),
        row("generic/2/5", "priority, closed", asks.ask(1), Pong, Serve).answered().then(low(1)),
        row("generic/3.1/1", "data", begun(frame(DATA, END_STREAM, 1, b"test")), Answer, Serve),
        row("generic/3.1/2", "data in parts", begun([frame(DATA, 0, 1, b"te"), frame(DATA, END_STREAM, 1, b"st")].concat()), Answer, Serve),
        row("generic/3.1/3", "padded data", begun(frame(DATA, END_STREAM | PADDED, 1, &padded(6, b"test", 6))), Answer, Serve),
        row("generic/3.2/1", "a head", asks.ask(1), Answer, Serve),
        row("generic/3.2/2", "a padded head", whole(PADDED, &padded(6, &asks.get(), 6)), Answer, Serve),
        row("generic/3.2/3", "a head with its priority", whole(PRIORITIZED, &[weight(0, 255), asks.get()].concat()), Answer, Serve),
        row("generic/3.3/1", "weight 1", before(frame(PRIORITY, 0, 1, &weight(0, 0))), Answer, Serve),
        row("generic/3.3/2", "weight 256", before(frame(PRIORITY, 0, 1, &weight(0, 255))), Answer, Serve),
        row("generic/3.3/3", "a dependency", before(frame(PRIORITY, 0, 3, &weight(1, 9))), Answer, Serve),
        row("generic/3.3/4", "an exclusive dependency", before(frame(PRIORITY, 0, 3, &weight(1 | 1 << 31, 9))), Answer, Serve),
        row("generic/3.3/5", "priority of a higher stream first", before(low(7)), Answer, Serve),
        row("generic/3.4/1", "a reset", begun(reset()), PongOrClosed, Serve),
        row("generic/3.5/1", "settings", [PREFACE, &settings(&[(4, 65_535), (3, 100)])].concat(), Acknowledged, Serve).bare(),
        row("generic/3.7/1", "a ping", Vec::new(), Pong, Serve),
        row("generic/3.8/1", "the client goes away", frame(GOAWAY, 0, 0, &[0; 8]), PongOrClosed, End(0)),
        row("generic/3.9/1", "a wider window", wide(0), Pong, Serve),
        row("generic/3.9/2", "a stream's wider window", [asks.begin(1), wide(1), frame(DATA, END_STREAM, 1, b"x")].concat(), Answer, Serve),
        row("generic/3.10/1", "a head in two parts", [frame(HEADERS, END_STREAM, 1, &asks.get()), part(END_HEADERS, &[("x-a", "1")])].concat(), Answer, Serve).reaches("x-a", "1"),
        row("generic/3.10/2", "a head in three parts", [frame(HEADERS, END_STREAM, 1, &asks.get()), part(0, &[("x-a", "1")]), part(END_HEADERS, &[("x-b", "2")])].concat(), Answer, Serve).reaches("x-b", "2"),
        row("generic/4/1", "GET", asks.ask(1), Answer, Serve),
        row("generic/4/2", "HEAD", whole(0, &fields(&asks.fields("HEAD", "/p"))), Answer, Serve),
        row("generic/4/3", "POST", begun(frame(DATA, END_STREAM, 1, b"test")), Answer, Serve),
        row("generic/4/4", "POST with trailers", begun([frame(DATA, 0, 1, b"test"), whole(0, &fields(&[("x-sum", "1")]))].concat()), Answer, Serve),
        row("generic/5/1", "fields by index", whole(0, &[&[0x82, 0x87][..], &rest(asks)].concat()), Answer, Serve),
        row("generic/5/2", "kept, known name", asks.block(&[], b"\x7a\x011"), Answer, Serve).reaches("user-agent", "1"),
        row("generic/5/3", "kept, known name, in code", asks.block(&[], b"\x7a\x81\x0f"), Answer, Serve).reaches("user-agent", "1"),
        row("generic/5/4", "kept, new name", asks.block(&[], b"\x40\x03x-a\x011"), Answer, Serve).reaches("x-a", "1"),
        row("generic/5/5", "kept, new name, in code", asks.block(&[], b"\x40\x83\xf2\xb0\xff\x81\x0f"), Answer, Serve).reaches("x-a", "1"),
        row("generic/5/6", "not kept, known name", asks.block(&[], b"\x0f\x2b\x011"), Answer, Serve).reaches("user-agent", "1"),
        row("generic/5/7", "not kept, known name, in code", asks.block(&[], b"\x0f\x2b\x81\x0f"), Answer, Serve).reaches("user-agent", "1"),
        row("generic/5/8", "not kept, new name", asks.block(&[], b"\0\x03x-a\x011"), Answer, Serve).reaches("x-a", "1"),
        row("generic/5/9", "not kept, new name, in code", asks.block(&[], b"\0\x83\xf2\xb0\xff\x81\x0f"), Answer, Serve).reaches("x-a", "1"),
        row("generic/5/10", "never kept, known name", asks.block(&[], b"\x1f\x2b\x011"), Answer, Serve).reaches("user-agent", "1"),
        row("generic/5/11", "never kept, known name, in code", asks.block(&[], b"\x1f\x2b\x81\x0f"), Answer, Serve).reaches("user-agent", "1"),
        row("generic/5/12", "never kept, new name", asks.block(&[], b"\x10\x03x-a\x011"), Answer, Serve).reaches("x-a", "1"),
        row("generic/5/13", "never kept, new name, in code", asks.block(&[], b"\x10\x83\xf2\xb0\xff\x81\x0f"), Answer, Serve).reaches("x-a", "1"),
        row("generic/5/14", "another size of the table", asks.block(&[0x20], &[]), Answer, Serve),
        row("generic/5/15", "two other sizes of the table", asks.block(&[0x20, 0x3f, 0xe1, 0x1f], &[]), Answer, Serve),
    ]
}

/// A request less its method and scheme.
fn rest(asks: &Asks) -> Vec<u8> {
    let mut all = asks.fields("GET", "/p");
    all.retain(|(name, _)| ![":method", ":scheme"].contains(name));
    fields(&all)
}
