//! Paths that are written as nearly all are, proven canonical in one scan.

/// One scan that cuts the query off and proves a plain path canonical; anything unusual goes the long way.
#[inline]
pub(super) fn already_canonical(raw: &[u8]) -> Option<&[u8]> {
    if raw.first() != Some(&b'/') {
        return None;
    }
    if plain_in_words(raw) {
        return Some(raw);
    }
    plain_by_bytes(raw)
}

fn plain_by_bytes(raw: &[u8]) -> Option<&[u8]> {
    let (mut previous, mut odd, mut len) = (0, 0, 0);
    for &byte in raw {
        let kind = kind(byte);
        if kind == END {
            break;
        }
        // without branches: what paths look like cannot be foretold
        odd |= kind & ODD | previous & SLASH & (kind | kind >> 1);
        previous = kind;
        len += 1;
    }
    if odd == 0 { raw.get(..len) } else { None }
}

/// Whether a path without query is plain, by words; a `false` says nothing. Each two neighbours stand in one word,
/// and what is looked at twice does no harm.
fn plain_in_words(raw: &[u8]) -> bool {
    let Some(last) = raw.last_chunk::<8>() else {
        return plain_in_word(raw);
    };
    let Some(far) = raw.last_chunk::<17>() else {
        let first = raw.first_chunk::<8>().map_or(0, |word| odd(*word));
        let middle = raw.get(4..12).and_then(<[u8]>::first_chunk);
        return first | middle.map_or(0, |word| odd(*word)) | odd(*last) == 0;
    };
    let (mut found, mut rest) = (false, raw);
    while let Some(chunk) = rest.first_chunk::<17>() {
        found |= odd_pairs(chunk);
        rest = rest.get(16..).unwrap_or_default();
    }
    if rest.len() > 1 {
        found |= odd_pairs(far);
    }
    !found && odd(*last) == 0
}

/// Like [`plain_in_words`] for fewer than eight bytes: as two halves that overlap, or one by one.
#[inline]
fn plain_in_word(raw: &[u8]) -> bool {
    let halves = raw.first_chunk::<4>().zip(raw.last_chunk::<4>());
    let word = match halves {
        Some((first, last)) => {
            let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
            half(first) | half(last) << 32
        }
        None => raw
            .iter()
            .rev()
            .fold(every(b'a'), |word, byte| word << 8 | u64::from(*byte)),
    };
    odd(word.to_le_bytes()) == 0
}

/// Like [`odd`] for all bytes but the last, each with the one behind it; written so that it becomes a few
/// instructions on vectors.
#[inline]
fn odd_pairs(chunk: &[u8; 17]) -> bool {
    let (Some(own), Some(next)) = (chunk.first_chunk::<16>(), chunk.last_chunk::<16>()) else {
        return true;
    };
    let mut found = 0;
    for (&own, &next) in own.iter().zip(next) {
        let outside = own.wrapping_sub(0x21) >= 0x7f - 0x21;
        let mark = (own & !6 == b'!') | (own & !4 == b';') | (own & !0x20 == b'\\');
        let behind = (own == b'/') & (next | 1 == b'/');
        found |= u8::from(outside | mark | behind);
    }
    found != 0
}

/// Marks every byte that wants a closer look, and some others: controls, blanks and what is not ASCII, `%` and its
/// like in `!#%'`, `;` and `?`, `\\` and `|`, and a slash or dot behind a slash.
fn odd(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    let slashes = equal(word, b'/');
    let behind = slashes << 8 & equal(word | every(1), b'/');
    // controls and blanks borrow from the high bit, DEL carries into it, others have it
    let control = word.wrapping_sub(every(0x21)) | word.wrapping_add(every(1)) | word;
    let escape = equal(word & !every(6), b'!');
    let stop = equal(word & !every(4), b';');
    let bar = equal(word & !every(0x20), b'\\');
    (behind | control | escape | stop | bar) & every(0x80)
}

/// The high bit of every byte that is `byte`, and perhaps of others behind one that is.
fn equal(word: u64, byte: u8) -> u64 {
    let differ = word ^ every(byte);
    differ.wrapping_sub(every(1)) & !differ & every(0x80)
}

const fn every(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// A byte that may stand anywhere.
const PLAIN: u8 = 0;
/// Neither this nor a dot may follow it.
const SLASH: u8 = 1;
const DOT: u8 = 2;
/// Needs the long way, or is refused.
const ODD: u8 = 4;
/// Ends the path.
const END: u8 = 8;

#[expect(
    clippy::indexing_slicing,
    reason = "there is a kind for every value of a byte"
)]
const KINDS: [u8; 256] = {
    let mut kinds = [ODD; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        kinds[byte as usize] = match byte {
            b'/' => SLASH,
            b'.' => DOT,
            b'?' | b'#' => END,
            b'%' | b'\\' | b';' => ODD,
            _ => PLAIN,
        };
        byte += 1;
    }
    kinds
};

#[expect(
    clippy::indexing_slicing,
    reason = "there is a kind for every value of a byte"
)]
fn kind(byte: u8) -> u8 {
    KINDS[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{plain_by_bytes, plain_in_words};
    use crate::naive::tests::long;

    /// Mostly ordinary bytes, with a few that end a plain path.
    fn paths() -> impl Strategy<Value = Vec<u8>> {
        let ordinary = prop::sample::select(b"abz019-_~!'()*+,:=@$&/.".to_vec());
        let odd = prop::sample::select(b"%?#;\\\x00 \x7f\x80\xff\"<>^`{|}/.".to_vec());
        prop::collection::vec(prop_oneof![40 => ordinary, 1 => odd], 0..70)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if long() { 1_000_000 } else { 4096 }, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_plain_by_words_is_plain_byte_by_byte(rest in paths()) {
            let raw = [b"/".as_slice(), &rest].concat();
            if plain_in_words(&raw) {
                prop_assert_eq!(plain_by_bytes(&raw), Some(raw.as_slice()));
            }
        }
    }

    #[test]
    fn ordinary_paths_are_plain_by_words_and_one_odd_byte_anywhere_is_seen() {
        for len in 1..70 {
            let mut raw = b"/aZ09-_~.b/c,d=e".repeat(5);
            raw.truncate(len);
            assert!(plain_in_words(&raw), "{len}");
            for at in 1..len {
                for odd in [
                    b"?", b"#", b"%", b";", b"\\", b" ", b"\x7f", b"\x80", b"\xff", b"\0",
                ] {
                    let mut raw = raw.clone();
                    raw.splice(at..at, odd.iter().copied());
                    assert!(!plain_in_words(&raw), "{len} {at} {odd:?}");
                }
                let mut raw = raw.clone();
                raw.splice(at..at, *b"//");
                assert!(!plain_in_words(&raw), "{len} {at}");
            }
        }
    }
}
