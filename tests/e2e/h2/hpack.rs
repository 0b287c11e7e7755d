//! h2spec's cases of the code of heads. Source: RFC 7541.

use postern_tests::cases::*;
use postern_tests::frames::*;

use crate::table::Accepts::*;
use crate::table::Does::*;
use crate::table::{Case, row};

const CODE: &str = "the library has one code for whatever it cannot read";

#[rustfmt::skip] // a row a case
pub fn cases(asks: &Asks) -> Vec<Case> {
    let wrong = |id, says, before: &[u8], behind: &[u8]| {
        let field = fields(&[("x-wrong", "1")]);
        let block = asks.block(before, &[&field[..], behind].concat());
        row(id, says, block, ConnectionError(&[COMPRESSION]), End(PROTOCOL)).because(CODE)
    };
    vec![
        wrong("hpack/2.3.3/1", "an index nobody filled", &[], &[0xbe]),
        wrong("hpack/2.3.3/2", "a name at an index nobody filled", &[], b"\x7f\x00\x01a"),
        wrong("hpack/4.2/1", "a size of the table at the end", &[], &[0x20]),
        wrong("hpack/5.2/1", "code padded by more than seven bits", &[], b"\0\x01a\x82\x1f\xff"),
        wrong("hpack/5.2/2", "code padded by zeros", &[], b"\0\x01a\x81\x18"),
        wrong("hpack/5.2/3", "code with the end of strings in it", &[], b"\0\x01a\x84\xff\xff\xff\xff"),
        wrong("hpack/6.1/1", "index 0", &[], &[0x80]),
        wrong("hpack/6.3/1", "a size of the table over the limit", &[0x3f, 0xe1, 0xff, 0x03], &[]),
    ]
}
