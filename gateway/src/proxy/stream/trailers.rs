//! Follows the frames a client of HTTP/2 sends, for what the library lets pass: a pseudo field in trailers, any
//! number of frames that carry nothing, and a block of fields that never ends.
//!
//! Nothing of a request's trailers is passed on. A block of fields that stands behind another one on the same stream and
//! begins with a pseudo field is made one that cannot be read, so that the library ends the connection with `PROTOCOL_ERROR`;
//! a pseudo field behind another field the library refuses itself. What a block calls by a number of the table that the
//! connection made is not known here; the library takes it, and it goes where the other trailers go.
//! Source: RFC 9113 sections 4.1, 6.2, 8.1 and 8.3; RFC 7541 sections 5.2, 6 and appendix A.

use std::time::Instant;

use super::budget::{self, Budget};
use crate::clock;

/// The length of what a connection begins with. Source: RFC 9113 section 3.4.
const PREFACE: u32 = 24;
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITIZED: u8 = 0x20;
/// The pseudo fields stand first in the table that everybody has.
const LAST_PSEUDO: u8 = 14;
/// No string in the code holds so many bytes of ones, be they padding or not.
const ONES: u8 = 4;

/// Where in a client's frames the bytes stand.
#[derive(Debug)]
pub(super) struct Trailers {
    head: [u8; HEAD],
    have: usize,
    /// What is left of the payload, or of the preface.
    left: u32,
    /// The highest stream that was begun.
    highest: u32,
    block: Block,
    /// Whether a block of fields is open: from the head of its first frame to the last byte of its last one.
    open: bool,
    /// Since when.
    since: Option<Instant>,
    budget: Budget,
    spent: bool,
}

/// Where in a block of trailers the bytes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// Nothing of it is looked at.
    No,
    /// How long the padding is; then so many bytes that are no fields.
    Padding(u8),
    /// So many bytes that are no fields.
    Before(u8),
    /// A field, or another size of the table.
    Begin,
    /// More of that size.
    Size,
    /// The length of a name.
    Length,
    /// More of the length of a long name in the code, or in plain.
    LongLength { code: bool },
    /// The first byte of a name of so many, as far as it matters.
    Name { code: bool, length: u8 },
    /// So many bytes that are to be made ones.
    Spoil(u8),
}

impl Trailers {
    pub(super) fn new() -> Self {
        Self {
            head: [0; HEAD],
            have: 0,
            left: PREFACE,
            highest: 0,
            block: Block::No,
            open: false,
            since: None,
            budget: Budget::new(),
            spent: false,
        }
    }

    /// Tells whether the client sent more frames that carry nothing than it may.
    pub(super) fn is_flood(&self) -> bool {
        self.spent
    }

    /// Tells since when a block of fields is awaited to its end.
    pub(super) fn open_since(&self) -> Option<Instant> {
        self.since
    }

    /// Takes the next bytes that came.
    pub(super) fn take(&mut self, bytes: &mut [u8]) {
        self.frames(bytes);
        if self.open && self.since.is_none() {
            self.since = Some(clock::now());
        }
    }

    fn frames(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let (payload, rest) = bytes.split_at_mut(left.min(bytes.len()));
                let took = u32::try_from(payload.len()).unwrap_or(self.left);
                self.left = self.left.saturating_sub(took);
                if self.looks() {
                    self.payload(payload);
                }
                self.end();
                bytes = rest;
                continue;
            }
            let (part, rest) = bytes.split_at_mut((HEAD - self.have).min(bytes.len()));
            for byte in part {
                if let Some(slot) = self.head.get_mut(self.have) {
                    *slot = *byte;
                }
                self.have += 1;
            }
            if self.have == HEAD {
                self.have = 0;
                self.begin();
                self.end();
            }
            bytes = rest;
        }
    }

    /// Takes the head of a frame.
    fn begin(&mut self) {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        self.left = u32::from_be_bytes([0, a, b, c]);
        if budget::counts(kind, flags, self.left) {
            self.spent |= !self.budget.spend(clock::now());
        }
        if kind == CONTINUATION {
            // the block goes on where it was
            return;
        }
        self.block = Block::No;
        if kind != HEADERS {
            return;
        }
        self.open = true;
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        if stream > self.highest {
            self.highest = stream;
            return;
        }
        let before = if flags & PRIORITIZED == 0 { 0 } else { 5 };
        self.block = match (flags & PADDED, before) {
            (0, 0) => Block::Begin,
            (0, before) => Block::Before(before),
            (_, before) => Block::Padding(before),
        };
    }

    /// Takes note of where a block of fields ends.
    fn end(&mut self) {
        let [_, _, _, kind, flags, ..] = self.head;
        let last = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0;
        if self.open && self.left == 0 && last {
            (self.open, self.since) = (false, None);
        }
    }

    /// Tells whether the payload at hand belongs to trailers that are not judged yet.
    fn looks(&self) -> bool {
        self.block != Block::No
    }

    fn payload(&mut self, payload: &mut [u8]) {
        for byte in payload {
            self.block = next(self.block, byte);
            if self.block == Block::No {
                return;
            }
        }
        let [_, _, _, _, flags, ..] = self.head;
        if self.left == 0 && flags & END_HEADERS != 0 {
            self.block = Block::No;
        }
    }
}

/// Takes a byte of a block; it is changed where it must not be read.
fn next(block: Block, byte: &mut u8) -> Block {
    match block {
        Block::No => Block::No,
        Block::Padding(0) | Block::Before(0 | 1) => Block::Begin,
        Block::Padding(before) => Block::Before(before),
        Block::Before(left) => Block::Before(left - 1),
        Block::Begin => begin(byte),
        Block::Size if *byte & 0x80 != 0 => Block::Size,
        Block::Size => Block::Begin,
        Block::Length => {
            let code = *byte & 0x80 != 0;
            match *byte & 0x7f {
                0 => Block::No,
                0x7f => Block::LongLength { code },
                length => Block::Name { code, length },
            }
        }
        Block::LongLength { .. } if *byte & 0x80 != 0 => block,
        Block::LongLength { code } => Block::Name { code, length: 0x7f },
        Block::Name { code: false, .. } => {
            if *byte == b':' {
                *byte = 0;
            }
            Block::No
        }
        // a colon in the code is 1011100
        Block::Name { length, .. } if *byte & 0xfe == 0xb8 => {
            next(Block::Spoil(length.min(ONES)), byte)
        }
        Block::Name { .. } => Block::No,
        Block::Spoil(left) => {
            *byte = 0xff;
            match left {
                0 | 1 => Block::No,
                more => Block::Spoil(more - 1),
            }
        }
    }
}

/// Takes the first byte of a field.
fn begin(byte: &mut u8) -> Block {
    let (index, literal) = match *byte {
        0x20..0x40 if *byte & 0x1f == 0x1f => return Block::Size,
        0x20..0x40 => return Block::Begin,
        0x80.. => (*byte & 0x7f, false),
        0x40.. => (*byte & 0x3f, true),
        _ => (*byte & 0x0f, true),
    };
    match index {
        0 if literal => Block::Length,
        1..=LAST_PSEUDO => {
            // a field of no number
            *byte = 0x80;
            Block::No
        }
        _ => Block::No,
    }
}

#[cfg(test)]
mod tests {
    use super::Trailers;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut out = length[1..].to_vec();
        out.extend([kind, flags]);
        out.extend(stream.to_be_bytes());
        out.extend_from_slice(payload);
        out
    }

    /// What becomes of blocks behind a head and a body, taken whole and byte by byte.
    fn after(blocks: &[Vec<u8>]) -> Vec<u8> {
        let start = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[0; 6]),
            frame(1, 4, 1, &[0x82, 0x87, 0x84]),
            frame(0, 0, 1, b"\x82body"),
        ];
        let start = start.concat();
        let mut whole = [start.clone(), blocks.concat()].concat();
        let mut single = whole.clone();
        Trailers::new().take(&mut whole);
        let mut trailers = Trailers::new();
        for byte in &mut single {
            trailers.take(std::slice::from_mut(byte));
        }
        assert_eq!(whole, single);
        assert_eq!(
            whole[..start.len()],
            start,
            "what stands before is as it was"
        );
        whole.split_off(start.len())
    }

    #[test]
    fn trailers_that_begin_with_a_pseudo_field_cannot_be_read() {
        let known = |first: u8| {
            (
                frame(1, 5, 1, &[first, 1, b'x']),
                frame(1, 5, 1, &[0x80, 1, b'x']),
            )
        };
        let mut all: Vec<(Vec<u8>, Vec<u8>)> = [0x81, 0x8e, 0x41, 0x4e, 0x01, 0x0e, 0x11, 0x1e]
            .map(known)
            .to_vec();
        all.extend([
            (
                frame(1, 5, 1, b"\x20\x3f\xe1\x1f\x82"),
                frame(1, 5, 1, b"\x20\x3f\xe1\x1f\x80"),
            ),
            (
                frame(1, 0xd, 1, b"\x02\x82\0\0"),
                frame(1, 0xd, 1, b"\x02\x80\0\0"),
            ),
            (
                frame(1, 0x2d, 1, b"\x01\0\0\0\0\x09\x82\0"),
                frame(1, 0x2d, 1, b"\x01\0\0\0\0\x09\x80\0"),
            ),
            (
                frame(1, 0x25, 1, b"\0\0\0\0\x09\x82"),
                frame(1, 0x25, 1, b"\0\0\0\0\x09\x80"),
            ),
            (
                frame(1, 5, 1, b"\0\x02:a\x01b"),
                frame(1, 5, 1, b"\0\x02\0a\x01b"),
            ),
            (
                frame(1, 5, 1, b"\x40\x7f\x01:a"),
                frame(1, 5, 1, b"\x40\x7f\x01\0a"),
            ),
            // in the code, also where it is longer than what is made ones
            (
                frame(1, 5, 1, b"\0\x82\xb8\x7f\x01b"),
                frame(1, 5, 1, b"\0\x82\xff\xff\x01b"),
            ),
            (
                frame(1, 5, 1, b"\0\x85\xb9\x01\x02\x03\x04\x01b"),
                frame(1, 5, 1, b"\0\x85\xff\xff\xff\xff\x04\x01b"),
            ),
        ]);
        for (sent, made) in all {
            assert_eq!(after(std::slice::from_ref(&sent)), made, "{sent:02x?}");
        }
        let parts = [
            frame(1, 1, 1, b""),
            frame(9, 0, 1, b"\0\x02"),
            frame(9, 4, 1, b":a\x01b"),
        ];
        let made = [
            frame(1, 1, 1, b""),
            frame(9, 0, 1, b"\0\x02"),
            frame(9, 4, 1, b"\0a\x01b"),
        ];
        assert_eq!(after(&parts), made.concat());
    }

    /// Tells whether a block is open behind these frames, taken whole and byte by byte.
    fn is_open(frames: &[Vec<u8>]) -> bool {
        let start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut all = [start, frames.concat()].concat();
        let (mut whole, mut single) = (Trailers::new(), Trailers::new());
        whole.take(&mut all.clone());
        let mut since = None;
        for byte in &mut all {
            single.take(std::slice::from_mut(byte));
            // what keeps coming does not begin anew
            let now = single.open_since();
            assert!(since.is_none() || now.is_none() || since == now);
            since = now;
        }
        assert_eq!(whole.open_since().is_some(), since.is_some());
        since.is_some()
    }

    #[test]
    fn a_block_of_fields_is_open_until_its_last_byte() {
        let head = frame(1, 0, 1, &[0x82]);
        let more = frame(9, 0, 1, &[0x87]);
        let last = frame(9, 4, 1, &[0x84]);
        let cut = |mut frame: Vec<u8>| {
            frame.pop();
            frame
        };
        for open in [
            vec![head.clone()],
            vec![head.clone(), more.clone()],
            vec![head.clone(), more.clone(), cut(last.clone())],
            vec![frame(1, 0, 1, b"")],
            vec![cut(frame(1, 4, 1, &[0x82, 0x87, 0x84]))],
            vec![frame(1, 4, 1, b"\x82\x87\x84"), frame(1, 1, 1, b"")],
        ] {
            assert!(is_open(&open), "{open:02x?}");
        }
        for whole in [
            vec![],
            vec![head, more, last],
            vec![frame(1, 4, 1, &[0x82, 0x87, 0x84])],
            vec![frame(1, 0, 1, b""), frame(9, 4, 1, b"")],
            vec![frame(1, 4, 1, &[0x82]), cut(frame(0, 0, 1, b"body"))],
            vec![frame(4, 4, 0, &[0; 6])],
        ] {
            assert!(!is_open(&whole), "{whole:02x?}");
        }
    }

    #[test]
    fn everything_else_is_left_as_it_is() {
        for good in [
            frame(1, 5, 1, b"\0\x01a\x01b\x82"),
            frame(1, 5, 1, b"\x90\x82"),
            frame(1, 5, 1, b"\xbe\x82"),
            frame(1, 5, 1, b"\x0f\x2b\x01:"),
            frame(1, 5, 1, b"\x40\x82\x1c\x7f\x01:"),
            frame(1, 5, 1, b""),
            // the head of another stream, and a body
            frame(1, 5, 3, b"\x82\x87\x84"),
            frame(0, 1, 1, b"\x82"),
            [frame(1, 1, 3, b"\x82"), frame(9, 4, 3, b"\x87\x84")].concat(),
            // what ended with nothing in it does not go on in the next
            [frame(1, 5, 1, b""), frame(0, 1, 1, b"\x82")].concat(),
        ] {
            assert_eq!(after(std::slice::from_ref(&good)), good, "{good:02x?}");
        }
    }
}
