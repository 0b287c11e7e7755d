//! Segments of paths as words of eight bytes.

use super::number;

/// The first segment of the rest of a path.
pub(super) struct Segment<'a> {
    pub(super) text: &'a [u8],
    pub(super) head: u64,
    pub(super) escaped: bool,
    pub(super) rest: Option<&'a [u8]>,
}

impl<'a> Segment<'a> {
    #[inline]
    pub(super) fn first(path: &'a [u8]) -> Self {
        let (mut head, mut escapes, mut len) = (0, 0, 0);
        loop {
            let ahead = path.get(len..).unwrap_or_default();
            let word = match ahead.first_chunk::<8>() {
                Some(word) => u64::from_be_bytes(*word),
                None => short(ahead),
            };
            // the first slash, or the end, and nothing behind it
            let stops = equal(word, b'/') | equal(word, 0);
            let held = stops.leading_zeros() / 8;
            let own = word & !u64::MAX.checked_shr(held * 8).unwrap_or(0);
            if len == 0 {
                head = own;
            }
            escapes |= equal(own, b'%');
            len += held as usize;
            if held < 8 {
                break;
            }
        }
        let (text, rest) = path.split_at_checked(len).unwrap_or((path, &[]));
        Self {
            text,
            head,
            escaped: escapes != 0,
            rest: rest.split_first().map(|(_, rest)| rest),
        }
    }
}

/// Fewer than eight bytes as the first ones of a word that ends in zeros.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (slot, byte) in word.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    u64::from_be_bytes(word)
}

/// The high bit of every byte that is `byte`, and of no other.
#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    const LOW: u64 = u64::from_be_bytes([0x7f; 8]);
    let differ = word ^ u64::from_be_bytes([byte; 8]);
    !(((differ & LOW) + LOW) | differ | LOW)
}

/// The first eight bytes as a number that orders as they do; shorter texts end in zeros, which no segment holds.
pub(super) fn head(text: &[u8]) -> u64 {
    Segment::first(text).head
}

/// A word of nothing but slashes.
pub(super) const SLASHES: u64 = u64::from_be_bytes([b'/'; 8]);

/// The first eight bytes of a segment with a slash behind it, and the bits that are known.
pub(super) fn start(text: &[u8]) -> (u64, u64) {
    let mut bytes = [0; 8];
    for (slot, byte) in bytes.iter_mut().zip(text.iter().chain(b"/")) {
        *slot = *byte;
    }
    let known = 8 * number(text.len().min(7) + 1);
    let mask = !u64::MAX.checked_shr(known).unwrap_or(0);
    (u64::from_be_bytes(bytes), mask)
}
