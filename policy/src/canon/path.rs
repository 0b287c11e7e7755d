//! Request paths in one spelling, with everything ambiguous refused.

mod plain;

use unicode_normalization::UnicodeNormalization;

use super::Reject;
use plain::already_canonical;

/// A path in canonical form: begins with `/`, no query, no empty segment except a last one, no dot segments.
#[derive(Clone, Debug)]
pub struct CanonPath<'a>(Spelled<'a>);

/// A canonical text.
#[derive(Clone, Debug)]
enum Spelled<'a> {
    /// As the request has it: ASCII without escapes, as one scan has proven.
    Plain(&'a [u8]),
    Owned(Box<Owned>),
}

#[derive(Clone, Debug)]
struct Owned {
    text: String,
    /// Whether it holds no escapes.
    plain: bool,
    forward: Forward,
}

/// What the app gets.
#[derive(Clone, Debug)]
enum Forward {
    /// The text as it is matched.
    Same,
    /// The text with `;parameters`.
    Params(Box<str>),
    /// The text with `%2F` or `//` kept, which apps may read in two ways.
    Kept(Box<CanonPath<'static>>),
}

impl PartialEq for CanonPath<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.as_bytes(), self.forward()) == (other.as_bytes(), other.forward())
    }
}

impl Eq for CanonPath<'_> {}

/// What an app takes in a path beyond the ordinary. The default takes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathOpts {
    /// Whether segments may carry `;parameters`.
    pub params: bool,
    /// Whether segments may hold `%2F`, which is forwarded as it is.
    pub slashes: bool,
    /// Whether empty segments are forwarded.
    pub empties: bool,
}

impl CanonPath<'_> {
    fn new(text: String, forward: Forward) -> Self {
        let plain = !text.contains('%');
        let owned = Owned {
            text,
            plain,
            forward,
        };
        Self(Spelled::Owned(Box::new(owned)))
    }

    pub(super) fn same(text: String) -> Self {
        Self::new(text, Forward::Same)
    }

    pub(super) fn with_params(text: String, forward: String) -> Self {
        Self::new(text, Forward::Params(forward.into()))
    }

    pub(super) fn kept(text: String, forward: String) -> Self {
        let forward = CanonPath::new(forward, Forward::Same);
        Self::new(text, Forward::Kept(Box::new(forward)))
    }

    /// The canonical text, without `;parameters`, `%2F` decoded and `//` collapsed; this is what is matched.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Spelled::Plain(text) => std::str::from_utf8(text).unwrap_or_default(),
            Spelled::Owned(owned) => &owned.text,
        }
    }

    /// The same text, for matching.
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Spelled::Plain(text) => text,
            Spelled::Owned(owned) => owned.text.as_bytes(),
        }
    }

    /// The text, if it holds no escapes.
    #[inline]
    pub(crate) fn plain(&self) -> Option<&[u8]> {
        match &self.0 {
            Spelled::Plain(text) => Some(*text),
            Spelled::Owned(owned) => owned.plain.then_some(owned.text.as_bytes()),
        }
    }

    /// The text for the app: the canonical one with the `;parameters` of its segments, or with the `%2F` or `//` that
    /// its app takes.
    pub fn forward(&self) -> &str {
        match &self.0 {
            Spelled::Plain(_) => self.as_str(),
            Spelled::Owned(owned) => match &owned.forward {
                Forward::Same => &owned.text,
                Forward::Params(text) => text,
                Forward::Kept(path) => path.as_str(),
            },
        }
    }

    /// The text for the record: what is matched, with the `%2F` or `//` that the app gets.
    pub fn recorded(&self) -> &str {
        self.other_reading()
            .map_or_else(|| self.as_str(), CanonPath::as_str)
    }

    /// The path as an app reads it that takes `%2F` for a part of a segment, or `//` for an empty one, where that
    /// is another path than the one that is matched.
    #[inline]
    pub(crate) fn other_reading(&self) -> Option<&CanonPath<'static>> {
        match &self.0 {
            Spelled::Plain(_) => None,
            Spelled::Owned(owned) => match &owned.forward {
                Forward::Kept(path) => Some(path),
                Forward::Same | Forward::Params(_) => None,
            },
        }
    }

    /// Copies the text so that the path no longer borrows from the request.
    pub fn into_owned(self) -> CanonPath<'static> {
        match self.0 {
            Spelled::Plain(_) => CanonPath::same(self.as_str().to_owned()),
            Spelled::Owned(owned) => CanonPath(Spelled::Owned(owned)),
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
#[inline]
pub fn path(raw: &[u8]) -> Result<CanonPath<'_>, Reject> {
    path_with(raw, PathOpts::default())
}

/// Like [`path`], for an app that takes more than the ordinary.
///
/// # Errors
/// As [`path`]; with parameters taken, `path-parameters` only where an empty segment, `.` or `..` has some; with
/// `%2F` or empty segments taken, `path-encoded-delimiter` or `path-empty-segment` where they stand beside each other
/// or beside `.` and `..`.
#[inline]
pub fn path_with(raw: &[u8], opts: PathOpts) -> Result<CanonPath<'_>, Reject> {
    match already_canonical(raw) {
        Some(text) => Ok(CanonPath(Spelled::Plain(text))),
        None => unusual(raw, opts),
    }
}

#[cold]
fn unusual(raw: &[u8], opts: PathOpts) -> Result<CanonPath<'_>, Reject> {
    let end = raw.iter().position(|&b| b == b'?' || b == b'#');
    let raw = end.and_then(|end| raw.get(..end)).unwrap_or(raw);
    if raw.first() != Some(&b'/') {
        return Err(Reject::new("path-not-absolute"));
    }
    if opts.params && raw.contains(&b';') {
        return super::params::path(raw);
    }
    if opts.slashes || opts.empties {
        return super::kept::path(raw, opts);
    }
    let text = unescape(raw, b"", b"")?;
    check_unicode(&text)?;
    Ok(CanonPath::same(remove_dots(&text)?))
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

/// Decodes escapes of unreserved characters, upper-cases the others and refuses what is ambiguous, except the bytes
/// of `also` and escapes of those of `escaped`.
pub(super) fn unescape(raw: &[u8], also: &[u8], escaped: &[u8]) -> Result<String, Reject> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        rest = match rest {
            [] => break,
            [b'%', high, low, tail @ ..] => {
                let (Some(h), Some(l)) = (hex(*high), hex(*low)) else {
                    return Err(Reject::new("path-bad-escape"));
                };
                push_escaped(&mut out, h * 16 + l, escaped)?;
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

fn push_escaped(out: &mut String, byte: u8, escaped: &[u8]) -> Result<(), Reject> {
    match byte {
        b'/' | b'\\' | b'.' | b';' if !escaped.contains(&byte) => {
            Err(Reject::new("path-encoded-delimiter"))
        }
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
pub(super) fn remove_dots(text: &str) -> Result<String, Reject> {
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
