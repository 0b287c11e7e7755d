//! Request paths in one spelling, with everything ambiguous refused.

use unicode_normalization::UnicodeNormalization;

use super::Reject;

/// A path in canonical form: begins with `/`, no query, no empty segment except a last one, no dot segments.
#[derive(Clone, Debug)]
pub struct CanonPath<'a> {
    text: Spelled<'a>,
    /// With `;parameters`, where there are any.
    forward: Option<Box<str>>,
}

/// A canonical text.
#[derive(Clone, Debug)]
enum Spelled<'a> {
    /// As the request has it: ASCII without escapes, as one scan has proven.
    Plain(&'a [u8]),
    Owned {
        text: String,
        /// Whether it holds no escapes.
        plain: bool,
    },
}

impl PartialEq for CanonPath<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.as_bytes(), &self.forward) == (other.as_bytes(), &other.forward)
    }
}

impl Eq for CanonPath<'_> {}

/// What an app takes in a path beyond the ordinary. The default takes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathOpts {
    /// Whether segments may carry `;parameters`.
    pub params: bool,
}

impl CanonPath<'_> {
    pub(super) fn new(text: String, forward: Option<Box<str>>) -> Self {
        let plain = !text.contains('%');
        let text = Spelled::Owned { text, plain };
        Self { text, forward }
    }

    /// The canonical text without `;parameters`; this is what is matched and logged.
    pub fn as_str(&self) -> &str {
        match &self.text {
            Spelled::Plain(text) => std::str::from_utf8(text).unwrap_or_default(),
            Spelled::Owned { text, .. } => text,
        }
    }

    /// The same text, for matching.
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.text {
            Spelled::Plain(text) => text,
            Spelled::Owned { text, .. } => text.as_bytes(),
        }
    }

    /// The text, if it holds no escapes.
    #[inline]
    pub(crate) fn plain(&self) -> Option<&[u8]> {
        match &self.text {
            Spelled::Plain(text) => Some(*text),
            Spelled::Owned { text, plain } => plain.then_some(text.as_bytes()),
        }
    }

    /// The text for the app: the canonical one with the `;parameters` of its segments.
    pub fn forward(&self) -> &str {
        self.forward.as_deref().unwrap_or_else(|| self.as_str())
    }

    /// Copies the text so that the path no longer borrows from the request.
    pub fn into_owned(self) -> CanonPath<'static> {
        let text = match self.text {
            Spelled::Plain(_) => Spelled::Owned {
                text: self.as_str().to_owned(),
                plain: true,
            },
            Spelled::Owned { text, plain } => Spelled::Owned { text, plain },
        };
        CanonPath {
            text,
            forward: self.forward,
        }
    }
}

impl std::fmt::Display for CanonPath<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Brings the path of an origin-form target into canonical form; a query or fragment is cut off.
///
/// Source: RFC 3986 sections 5.2.4 and 6.2.2, with refusals instead of guesses.
///
/// # Errors
/// A [`Reject`] for what two servers could read in two ways: `path-not-absolute`, `path-control`,
/// `path-backslash`, `path-not-ascii`, `path-parameters`, `path-bad-escape`, `path-encoded-delimiter`,
/// `path-encoded-control`, `path-double-encoding`, `path-not-utf8`, `path-not-nfkc`, `path-above-root`.
pub fn path(raw: &[u8]) -> Result<CanonPath<'_>, Reject> {
    path_with(raw, PathOpts::default())
}

/// Like [`path`], for an app that takes more than the ordinary.
///
/// # Errors
/// As [`path`]; with parameters taken, `path-parameters` only where an empty segment, `.` or `..` has some.
pub fn path_with(raw: &[u8], opts: PathOpts) -> Result<CanonPath<'_>, Reject> {
    if let Some(text) = already_canonical(raw) {
        return Ok(CanonPath {
            text: Spelled::Plain(text),
            forward: None,
        });
    }
    let end = raw.iter().position(|&b| b == b'?' || b == b'#');
    let raw = end.and_then(|end| raw.get(..end)).unwrap_or(raw);
    if raw.first() != Some(&b'/') {
        return Err(Reject::new("path-not-absolute"));
    }
    if opts.params && raw.contains(&b';') {
        return super::params::path(raw);
    }
    let text = unescape(raw, b"")?;
    check_unicode(&text)?;
    Ok(CanonPath::new(remove_dots(&text)?, None))
}

/// Segments of a canonical path: none for `/`; a trailing slash gives a last empty segment.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let parts = if rest.is_empty() { None } else { Some(rest) };
    parts.into_iter().flat_map(|rest| rest.split('/'))
}

/// Compares a canonical segment with an escape-free literal, byte by byte of what the escapes stand for.
/// `%28` and `(` are two canonical spellings of one byte; neither may step around an area.
pub(crate) fn decoded_eq(segment: &str, literal: &[u8]) -> bool {
    decoded_cmp(segment, literal).is_eq()
}

/// Orders a canonical segment against an escape-free literal, by the bytes the escapes stand for.
pub(crate) fn decoded_cmp(segment: &str, literal: &[u8]) -> std::cmp::Ordering {
    if segment.contains('%') {
        decoded(segment).cmp(literal.iter().copied())
    } else {
        segment.as_bytes().cmp(literal)
    }
}

/// Orders a canonical segment against a lower-case literal, whatever the case of the segment's letters.
pub(crate) fn folded_cmp(segment: &str, literal: &str) -> std::cmp::Ordering {
    if segment.contains('%') {
        let lower = chars(decoded(segment)).flat_map(char::to_lowercase);
        lower.cmp(literal.chars())
    } else {
        let lower = segment.bytes().map(|byte| byte.to_ascii_lowercase());
        lower.cmp(literal.bytes())
    }
}

/// Whether Windows reads a canonical path in one way: no segment ends in a dot or a space, none holds a colon, and
/// none looks like a short name (`~1`).
pub(crate) fn plain_for_windows(path: &str) -> bool {
    let mut previous = b'/';
    for byte in decoded(path) {
        let bad = match byte {
            b'/' => matches!(previous, b'.' | b' '),
            b':' => true,
            b'0'..=b'9' => previous == b'~',
            _ => false,
        };
        if bad {
            return false;
        }
        previous = byte;
    }
    !matches!(previous, b'.' | b' ')
}

/// Bytes of UTF-8 as characters, without a buffer. Canonical text always decodes to UTF-8.
fn chars(mut bytes: impl Iterator<Item = u8>) -> impl Iterator<Item = char> {
    std::iter::from_fn(move || {
        let first = u32::from(bytes.next()?);
        let (mut code, more) = match first {
            0..0x80 => (first, 0),
            0x80..0xe0 => (first & 0x1f, 1),
            0xe0..0xf0 => (first & 0x0f, 2),
            _ => (first & 0x07, 3),
        };
        for _ in 0..more {
            code = code << 6 | u32::from(bytes.next()? & 0x3f);
        }
        char::from_u32(code)
    })
}

/// What a canonical segment stands for. Canonical text always decodes to UTF-8.
pub(crate) fn decode(segment: &str) -> String {
    String::from_utf8_lossy(&decoded(segment).collect::<Vec<u8>>()).into_owned()
}

/// The bytes a canonical text stands for.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || match rest {
        [b'%', high, low, tail @ ..] => {
            rest = tail;
            Some(hex(*high)? * 16 + hex(*low)?)
        }
        [byte, tail @ ..] => {
            rest = tail;
            Some(*byte)
        }
        [] => None,
    })
}

/// One scan that cuts the query off and proves a plain path canonical; anything unusual goes the long way.
#[inline]
fn already_canonical(raw: &[u8]) -> Option<&[u8]> {
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
#[inline]
fn plain_in_words(raw: &[u8]) -> bool {
    let Some(last) = raw.last_chunk::<8>() else {
        let short = raw
            .iter()
            .fold(every(b'a'), |word, byte| word << 8 | u64::from(*byte));
        return odd(short.to_be_bytes()) == 0;
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

/// Decodes escapes of unreserved characters, upper-cases the others and refuses what is ambiguous, except the bytes
/// of `also`.
pub(super) fn unescape(raw: &[u8], also: &[u8]) -> Result<String, Reject> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        rest = match rest {
            [] => break,
            [b'%', high, low, tail @ ..] => {
                let (Some(h), Some(l)) = (hex(*high), hex(*low)) else {
                    return Err(Reject::new("path-bad-escape"));
                };
                push_escaped(&mut out, h * 16 + l)?;
                tail
            }
            [b'%', ..] => return Err(Reject::new("path-bad-escape")),
            [byte, tail @ ..] => {
                out.push(if also.contains(byte) {
                    char::from(*byte)
                } else {
                    plain(*byte)?
                });
                tail
            }
        };
    }
    if double_encoded(&out) {
        return Err(Reject::new("path-double-encoding"));
    }
    Ok(out)
}

fn plain(byte: u8) -> Result<char, Reject> {
    match byte {
        b'\\' => Err(Reject::new("path-backslash")),
        b';' => Err(Reject::new("path-parameters")),
        0..=0x20 | 0x7f => Err(Reject::new("path-control")),
        0x80.. => Err(Reject::new("path-not-ascii")),
        _ => Ok(char::from(byte)),
    }
}

fn push_escaped(out: &mut String, byte: u8) -> Result<(), Reject> {
    match byte {
        b'/' | b'\\' | b'.' | b';' => Err(Reject::new("path-encoded-delimiter")),
        0..=0x1f | 0x7f => Err(Reject::new("path-encoded-control")),
        b'-' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
            out.push(char::from(byte));
            Ok(())
        }
        _ => {
            out.push('%');
            out.push(upper_digit(byte >> 4));
            out.push(upper_digit(byte & 15));
            Ok(())
        }
    }
}

/// Whether the canonical text, decoded once more, would hold another escape.
fn double_encoded(text: &str) -> bool {
    text.as_bytes()
        .windows(5)
        .any(|w| matches!(w, [b'%', b'2', b'5', h, l] if hex(*h).is_some() && hex(*l).is_some()))
}

pub(super) fn check_unicode(text: &str) -> Result<(), Reject> {
    if !text.contains('%') {
        return Ok(());
    }
    let bytes: Vec<u8> = decoded(text).collect();
    let text = std::str::from_utf8(&bytes).map_err(|_| Reject::new("path-not-utf8"))?;
    if text.chars().any(char::is_control) {
        return Err(Reject::new("path-encoded-control"));
    }
    if !text.nfkc().eq(text.chars()) {
        return Err(Reject::new("path-not-nfkc"));
    }
    Ok(())
}

/// Collapses `//`, then resolves `.` and `..`; stepping above the root is refused.
fn remove_dots(text: &str) -> Result<String, Reject> {
    let mut kept: Vec<&str> = Vec::new();
    let mut slash_last = true;
    for part in text.split('/') {
        slash_last = matches!(part, "" | "." | "..");
        match part {
            "" | "." => {}
            ".." => {
                kept.pop().ok_or(Reject::new("path-above-root"))?;
            }
            _ => kept.push(part),
        }
    }
    let mut out = String::with_capacity(text.len());
    for part in &kept {
        out.push('/');
        out.push_str(part);
    }
    if slash_last || kept.is_empty() {
        out.push('/');
    }
    Ok(out)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn upper_digit(nibble: u8) -> char {
    char::from(if nibble < 10 {
        b'0' + nibble
    } else {
        b'A' + nibble - 10
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{plain_by_bytes, plain_in_words};

    /// Mostly ordinary bytes, with a few that end a plain path.
    fn paths() -> impl Strategy<Value = Vec<u8>> {
        let ordinary = prop::sample::select(b"abz019-_~!'()*+,:=@$&/.".to_vec());
        let odd = prop::sample::select(b"%?#;\\\x00 \x7f\x80\xff\"<>^`{|}/.".to_vec());
        prop::collection::vec(prop_oneof![40 => ordinary, 1 => odd], 0..70)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

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
