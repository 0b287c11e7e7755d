//! Follows the bytes of an upstream's answers over HTTP/1, for what the library lets pass: spaces before a colon, folded
//! fields, bare line ends, a length beside chunks, chunks that end in two places, heads without bounds.
//!
//! One pass, nothing kept but where it stands. What is behind the end of an answer is part of none.
//! Source: RFC 9112 sections 2.2, 4, 5, 6.3, 7.1; RFC 9110 section 8.6; security.md R-PX-07, R-PX-22, R-PX-23, R-PX-25.

use std::fmt;

use crate::proxy::head::{MAX_FIELDS, MAX_HEAD, is_token};
use crate::proxy::stream::chunks::Chunks;

/// The most digits of a length.
const DIGITS: u8 = 18;
/// How a status line begins; an `x` is a digit of the version or of the status.
const START: [u8; 12] = *b"HTTP/1.x xxx";
const LENGTH: &[u8] = b"content-length";
const CODING: &[u8] = b"transfer-encoding";
const CHUNKED: &[u8] = b"chunked";

/// Why an answer is none: other software may read it otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Bent(pub(in crate::proxy) &'static str);

impl fmt::Display for Bent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Bent {}

/// What an upstream was asked for, as far as it says where the answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// An answer with its body.
    Whole,
    /// Its head alone.
    Head,
    /// Perhaps a tunnel.
    Upgrade,
}

/// Where in an upstream's answers the bytes stand. For each request [`Self::expect`] comes first, then [`Self::take`].
#[derive(Debug)]
pub(super) struct Judge {
    want: Want,
    at: At,
    behind: Behind,
}

/// What stands behind a head. Source: RFC 9112 section 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    Nothing,
    /// Another head.
    Head,
    /// A body of so many bytes.
    Length(u64),
    Chunks,
    /// A body that ends with the connection, or a tunnel.
    Open,
}

#[derive(Debug)]
enum At {
    /// Nothing was asked, or the answer is whole.
    Quiet,
    Head(Head),
    /// So many bytes of a body are left.
    Length(u64),
    Chunks(Chunks),
    /// The body ends with the connection, or it is a tunnel.
    Open,
    /// Nothing that comes is an answer.
    Bent,
}

impl At {
    fn of(behind: Behind) -> Self {
        match behind {
            Behind::Nothing => Self::Quiet,
            Behind::Head => Self::Head(Head::new()),
            Behind::Length(length) => Self::Length(length),
            Behind::Chunks => Self::Chunks(Chunks::behind(0)),
            Behind::Open => Self::Open,
        }
    }
}

impl Judge {
    /// Follows a connection on which nothing was asked yet.
    pub(super) fn new() -> Self {
        Self {
            want: Want::Whole,
            at: At::Quiet,
            behind: Behind::Nothing,
        }
    }

    /// Awaits the answer to a request; there is none to come where an earlier one did not end.
    pub(super) fn expect(&mut self, want: Want) {
        self.want = want;
        self.at = match self.at {
            At::Quiet => At::Head(Head::new()),
            At::Head(_) | At::Length(_) | At::Chunks(_) | At::Open | At::Bent => At::Bent,
        };
    }

    /// Says that the request at hand asks for a head alone.
    pub(super) fn head_alone(&mut self) {
        self.want = Want::Head;
    }

    /// Tells whether no (more of an) answer is awaited.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.at, At::Quiet)
    }

    /// Tells what stands behind the head that came last.
    pub(super) fn behind(&self) -> Behind {
        self.behind
    }

    /// Tells whether nothing that comes can be an answer.
    pub(super) fn is_bent(&self) -> bool {
        matches!(self.at, At::Bent)
    }

    /// Takes the next bytes that came; returns how many of them are of the answer. Where these are not all, or none,
    /// nothing more is one.
    ///
    /// # Errors
    /// What no answer has there, and bytes that nobody asked for.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Bent> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..)
            && !rest.is_empty()
        {
            match self.step(rest) {
                Ok(0) => break,
                Ok(more) => taken += more,
                Err(bent) => {
                    self.at = At::Bent;
                    return Err(bent);
                }
            }
        }
        if taken < bytes.len() {
            self.at = At::Bent;
        }
        if taken == 0 && !bytes.is_empty() {
            return Err(Bent("bytes that nobody asked for"));
        }
        Ok(taken)
    }

    /// Takes a part of what came, at least a byte; none where it is behind the end.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Bent> {
        match &mut self.at {
            At::Quiet => Ok(0),
            At::Bent => Err(Bent("bytes behind an answer")),
            At::Open => Ok(bytes.len()),
            At::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let taken = most.min(bytes.len());
                *left = left.saturating_sub(u64::try_from(taken).unwrap_or(*left));
                if *left == 0 {
                    self.at = At::Quiet;
                }
                Ok(taken)
            }
            At::Chunks(chunks) => {
                let taken = chunks.take(bytes).map_err(|_| Bent("chunks"))?;
                if chunks.is_done() {
                    self.at = At::Quiet;
                }
                Ok(taken)
            }
            At::Head(head) => {
                let taken = head.take(bytes)?;
                if head.place == Place::Done {
                    self.behind = head.behind(self.want)?;
                    self.at = At::of(self.behind);
                }
                Ok(taken)
            }
        }
    }
}

/// A head as far as it came.
#[derive(Debug)]
struct Head {
    place: Place,
    bytes: usize,
    fields: usize,
    /// Whether it is of HTTP/1.0.
    old: bool,
    status: u16,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the start of the status line, behind so many bytes.
    Start(u8),
    /// Behind the digits of the status.
    Status,
    /// In a name that is none of those below.
    Name,
    /// In a name that may be one of them, behind so many bytes; whether one was an underscore.
    Known(Known, u8, bool),
    /// In a reason, or a value that says nothing of where the answer ends.
    Text,
    /// In a length, behind so many digits.
    Digits(u8),
    /// In a coding, behind so many letters.
    Letters(u8),
    /// In what is behind such a value.
    Blank,
    /// Behind the CR of a line.
    LineEnd,
    /// Where a line begins.
    Begin,
    /// Behind the CR of the empty line.
    HeadEnd,
    Done,
}

/// A field that says where an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Length,
    Coding,
}

impl Known {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Length => LENGTH,
            Self::Coding => CODING,
        }
    }
}

impl Head {
    fn new() -> Self {
        Self {
            place: Place::Start(0),
            bytes: 0,
            fields: 0,
            old: false,
            status: 0,
            length: None,
            chunked: false,
        }
    }

    /// Takes bytes up to the end of the head, or all; returns how many.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Bent> {
        let room = MAX_HEAD.saturating_sub(self.bytes);
        let mut rest = bytes.get(..room).unwrap_or(bytes);
        if rest.is_empty() {
            return Err(Bent("a head that is too large"));
        }
        let whole = rest.len();
        while self.place != Place::Done {
            // most of a head is text and names
            let run = if self.place == Place::Text {
                texts(rest)
            } else if self.place == Place::Name {
                tokens(rest)
            } else {
                0
            };
            let Some((byte, behind)) = rest.get(run..).and_then(<[u8]>::split_first) else {
                rest = &[];
                break;
            };
            self.place = self.next(*byte)?;
            rest = behind;
        }
        let taken = whole - rest.len();
        self.bytes += taken;
        Ok(taken)
    }

    fn next(&mut self, byte: u8) -> Result<Place, Bent> {
        match (self.place, byte) {
            (Place::Start(at), _) => self.start(at, byte),
            // some leave out the blank before an empty reason
            (Place::Status | Place::Text | Place::Blank, b'\r') => Ok(Place::LineEnd),
            (Place::Status, b' ') => Ok(Place::Text),
            (Place::LineEnd, b'\n') => Ok(Place::Begin),
            (Place::HeadEnd, b'\n') => Ok(Place::Done),
            (Place::Begin, b'\r') => Ok(Place::HeadEnd),
            (Place::Begin, _) => self.begin(byte),
            (Place::Name, b':') => Ok(Place::Text),
            (Place::Known(known, at, twin), _) => self.known(known, at, twin, byte),
            (Place::Digits(0) | Place::Letters(0) | Place::Blank, b' ' | b'\t') => Ok(self.place),
            (Place::Digits(1..), b' ' | b'\t') => Ok(Place::Blank),
            (Place::Digits(1..), b'\r') => Ok(Place::LineEnd),
            (Place::Digits(at @ 0..DIGITS), b'0'..=b'9') => {
                let before = self.length.unwrap_or_default();
                self.length = Some(before * 10 + u64::from(byte - b'0'));
                Ok(Place::Digits(at + 1))
            }
            (Place::Digits(_), _) => Err(Bent("not one length")),
            (Place::Letters(at), _) => letter(at, byte),
            (Place::Text | Place::Name, _) => Err(Bent("a byte that no field has")),
            _ => Err(Bent("a line that does not end in CRLF")),
        }
    }

    fn start(&mut self, at: u8, byte: u8) -> Result<Place, Bent> {
        let bent = Bent("not a status line");
        let expected = START.get(usize::from(at)).ok_or(bent)?;
        match (at, byte) {
            (7, b'0') => self.old = true,
            (7, b'1') => {}
            (9, b'1'..=b'5') | (10 | 11, b'0'..=b'9') => {
                self.status = self.status * 10 + u16::from(byte - b'0');
            }
            (7 | 9..=11, _) => return Err(bent),
            _ if byte != *expected => return Err(bent),
            _ => {}
        }
        Ok(match at {
            11 => Place::Status,
            _ => Place::Start(at + 1),
        })
    }

    /// Takes the first byte of a field.
    fn begin(&mut self, byte: u8) -> Result<Place, Bent> {
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(Bent("too many fields"));
        }
        match byte {
            b'c' | b'C' => Ok(Place::Known(Known::Length, 1, false)),
            b't' | b'T' => Ok(Place::Known(Known::Coding, 1, false)),
            _ if is_token(byte) => Ok(Place::Name),
            _ => Err(Bent("a line that is no field")),
        }
    }

    fn known(&mut self, known: Known, at: u8, twin: bool, byte: u8) -> Result<Place, Bent> {
        match (known.name().get(usize::from(at)), byte) {
            (None, b':') if twin => Err(Bent("an underscore twin")),
            (None, b':') => self.value(known),
            (_, b':') => Ok(Place::Text),
            (Some(b'-'), b'_') => Ok(Place::Known(known, at + 1, true)),
            (Some(next), _) if byte.to_ascii_lowercase() == *next => {
                Ok(Place::Known(known, at + 1, twin))
            }
            _ if is_token(byte) => Ok(Place::Name),
            _ => Err(Bent("a byte that no field has")),
        }
    }

    /// Begins a value that says where the answer ends.
    fn value(&mut self, known: Known) -> Result<Place, Bent> {
        match known {
            Known::Length if self.length.is_some() => Err(Bent("not one length")),
            Known::Length if self.chunked => Err(Bent("a length beside chunks")),
            Known::Length => Ok(Place::Digits(0)),
            Known::Coding if self.length.is_some() => Err(Bent("a length beside chunks")),
            Known::Coding if self.chunked => Err(Bent("more than one transfer coding")),
            Known::Coding => {
                self.chunked = true;
                Ok(Place::Letters(0))
            }
        }
    }

    /// Tells what follows a whole head.
    fn behind(&self, want: Want) -> Result<Behind, Bent> {
        if self.chunked && self.old {
            return Err(Bent("a transfer coding in HTTP/1.0"));
        }
        let empty = matches!(self.status, 100..=199 | 204);
        if empty && (self.chunked || self.length.is_some_and(|length| length > 0)) {
            return Err(Bent("a body where none may be"));
        }
        Ok(match (self.status, self.length) {
            (101, _) if want == Want::Upgrade => Behind::Open,
            (101, _) => return Err(Bent("101 to what nobody asked for")),
            (100..=199, _) => Behind::Head,
            (204 | 304, _) => Behind::Nothing,
            _ if want == Want::Head => Behind::Nothing,
            _ if self.chunked => Behind::Chunks,
            (_, Some(0)) => Behind::Nothing,
            (_, Some(length)) => Behind::Length(length),
            (_, None) => Behind::Open,
        })
    }
}

/// Takes a byte of a transfer coding behind so many letters.
fn letter(at: u8, byte: u8) -> Result<Place, Bent> {
    match (CHUNKED.get(usize::from(at)), byte) {
        (Some(next), _) if byte.to_ascii_lowercase() == *next => Ok(Place::Letters(at + 1)),
        (None, b' ' | b'\t') => Ok(Place::Blank),
        (None, b'\r') => Ok(Place::LineEnd),
        _ => Err(Bent("a transfer coding that is not chunked")),
    }
}

/// Counts the bytes up to the first that no value has. Source: RFC 9110 section 5.5.
fn texts(bytes: &[u8]) -> usize {
    // without an end in the middle, this is a few instructions for all of them
    let whole = |part: &&[u8]| part.iter().fold(true, |all, byte| all & is_text(*byte));
    let parts = bytes.chunks_exact(PART).take_while(whole).count() * PART;
    let rest = bytes.get(parts..).unwrap_or_default();
    let first = rest.iter().position(|byte| !is_text(*byte));
    parts + first.unwrap_or(rest.len())
}

/// Counts the bytes up to the first that no name has.
fn tokens(bytes: &[u8]) -> usize {
    let first = bytes.iter().position(|byte| !is_token(*byte));
    first.unwrap_or(bytes.len())
}

/// Bytes that are looked at as one.
const PART: usize = 16;

fn is_text(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

#[cfg(test)]
mod tests;
