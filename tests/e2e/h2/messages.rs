//! h2spec's cases of RFC 7540 sections 7 and 8: codes of errors, and what is a request.

use postern_tests::cases::*;
use postern_tests::frames::*;

use crate::table::Accepts::*;
use crate::table::Does::*;
use crate::table::{Case, row};

#[rustfmt::skip] // a row a case
pub fn cases(asks: &Asks) -> Vec<Case> {
    let begun = |more: Vec<u8>| [asks.begin(1), more].concat();
    let odd = |id, says, head: Vec<u8>| row(id, says, head, StreamError(&[PROTOCOL]), Reset(PROTOCOL));
    let ends = |id, says, head: Vec<u8>| row(id, says, head, StreamError(&[PROTOCOL]), End(PROTOCOL));
    let second = |flags: u8, all: &[(&str, &str)]| begun([frame(DATA, 0, 1, b"test"), frame(HEADERS, flags, 1, &fields(all))].concat());
    let without = |name| head(asks, &[name], &[], &[]);
    let twice = |name, value| head(asks, &[], &[(name, value)], &[]);
    let length = |length, parts: &[&[u8]]| {
        let mut all = asks.fields("POST", "/p");
        all.extend([("content-length", length), ("x-wrong", "1")]);
        let mut out = frame(HEADERS, END_HEADERS, 1, &fields(&all));
        for (at, part) in parts.iter().enumerate() {
            let flag = if at + 1 == parts.len() { END_STREAM } else { 0 };
            out.extend(frame(DATA, flag, 1, part));
        }
        out
    };
    let push = frame(PUSH_PROMISE, END_HEADERS, 1, &[&3_u32.to_be_bytes()[..], &asks.get()].concat());
    vec![
        row("http2/7/1", "going away by an unknown code", frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]), PongOrClosed, End(0)),
        row("http2/7/2", "a reset by an unknown code", begun(frame(RST_STREAM, 0, 1, &[0, 0, 0, 0xff])), PongOrClosed, Serve),
        odd("http2/8.1/1", "a second head that ends nothing", second(END_HEADERS, &[("x-sum", "1")])),
        ends("http2/8.1.2/1", "a name in upper case", head(asks, &[], &[], &[("X-TEST", "ok")])),
        ends("http2/8.1.2.1/1", "an unknown pseudo field", twice(":test", "ok")),
        odd("http2/8.1.2.1/2", "a pseudo field of answers", twice(":status", "200")),
        ends("http2/8.1.2.1/3", "a pseudo field in trailers", second(END_HEADERS | END_STREAM, &[(":method", "GET")])),
        odd("http2/8.1.2.1/4", "a pseudo field behind another", head(asks, &[":path"], &[], &[(":path", "/p")])),
        odd("http2/8.1.2.2/1", "a field of the connection", head(asks, &[], &[], &[("connection", "keep-alive")])),
        odd("http2/8.1.2.2/2", "te of something else than trailers", head(asks, &[], &[], &[("te", "trailers, deflate")])),
        odd("http2/8.1.2.3/1", "an empty path", head(asks, &[":path"], &[(":path", "")], &[])),
        odd("http2/8.1.2.3/2", "no method", without(":method")),
        odd("http2/8.1.2.3/3", "no scheme", without(":scheme")),
        odd("http2/8.1.2.3/4", "no path", without(":path")),
        odd("http2/8.1.2.3/5", "two methods", twice(":method", "GET")),
        odd("http2/8.1.2.3/6", "two schemes", twice(":scheme", "https")),
        odd("http2/8.1.2.3/7", "two paths", twice(":path", "/p")),
        odd("http2/8.1.2.6/1", "more data than the length says", length("1", &[b"test"])),
        odd("http2/8.1.2.6/2", "more data than the length says, in parts", length("1", &[b"test", b"test"])),
        row("http2/8.2/1", "a push of a client's", begun(push), ConnectionError(&[PROTOCOL]), End(PROTOCOL)),
    ]
}

/// A request less some fields, with some in front, where pseudo fields belong, and some behind; it must never reach the
/// app.
fn head(asks: &Asks, less: &[&str], first: &[(&str, &str)], behind: &[(&str, &str)]) -> Vec<u8> {
    let mut all = first.to_vec();
    all.extend(asks.fields("GET", "/p"));
    all.retain(|field| first.contains(field) || !less.contains(&field.0));
    all.push(("x-wrong", "1"));
    all.extend_from_slice(behind);
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&all))
}
