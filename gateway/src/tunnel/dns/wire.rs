//! A message as it lies on the wire: an answer passes through unchanged but for the few fields
//! that are patched, so that records this crate does not know, signatures above all, stay whole.

use std::ops::Range;

/// Length of the header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
/// The types that are read (RFC 1035 section 3.2.2, RFC 6891 section 6.1.1).
const SOA: u16 = 6;
const OPT: u16 = 41;

/// Says whether the question spells its name out. A pointer into the header would mean another name once the message
/// travels under another id.
pub(super) fn is_spelled_out(message: &[u8]) -> bool {
    let mut at = HEADER;
    while let Some(len @ 1..=63) = message.get(at) {
        at += 1 + usize::from(*len);
    }
    message.get(at) == Some(&0)
}

/// Where the parts of a message are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// The response code, with the high bits of EDNS.
    pub(super) code: u16,
    /// Whether the sender had no room for all.
    pub(super) is_cut: bool,
    /// The section of questions.
    pub(super) question: Range<usize>,
    /// How many records answer the question.
    pub(super) answers: u16,
    /// Where the lifetimes stand, in the order of the message.
    pub(super) lifetimes: Vec<usize>,
    /// The least lifetime of all records, in seconds.
    pub(super) least: Option<u32>,
    /// How long the absence of a name may be remembered (RFC 2308 section 5), in seconds.
    pub(super) absence: Option<u32>,
    /// Where EDNS says how large a datagram may be.
    pub(super) payload: Option<usize>,
}

impl Map {
    /// Reads a message; `None` for one that is not whole.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let mut cursor = Cursor { message, at: 2 };
        let flags = cursor.short()?;
        let [questions, answers, authorities, others] = [
            cursor.short()?,
            cursor.short()?,
            cursor.short()?,
            cursor.short()?,
        ];
        for _ in 0..questions {
            cursor.skip_name()?;
            cursor.skip(4)?;
        }
        let mut map = Self {
            code: flags & 0xf,
            is_cut: flags & 0x0200 != 0,
            question: HEADER..cursor.at,
            answers,
            lifetimes: Vec::new(),
            least: None,
            absence: None,
            payload: None,
        };
        for _ in 0..u32::from(answers) + u32::from(authorities) + u32::from(others) {
            map.record(&mut cursor)?;
        }
        Some(map)
    }

    fn record(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        cursor.skip_name()?;
        let kind = cursor.short()?;
        let class = cursor.at;
        cursor.skip(2)?;
        let at = cursor.at;
        let lifetime = u32::from(cursor.short()?) << 16 | u32::from(cursor.short()?);
        let length = usize::from(cursor.short()?);
        cursor.skip(length)?;
        if kind == OPT {
            self.payload = Some(class);
            self.code |= u16::try_from(lifetime >> 24).unwrap_or(0) << 4;
            return Some(());
        }
        self.lifetimes.push(at);
        // a value with the highest bit set counts as none (RFC 2181 section 8)
        let lifetime = if lifetime >> 31 == 1 { 0 } else { lifetime };
        self.least = Some(self.least.map_or(lifetime, |least| least.min(lifetime)));
        if kind == SOA && length >= 20 {
            let end = cursor.message.get(..cursor.at)?;
            let minimum = u32::from_be_bytes(*end.last_chunk()?);
            self.absence = Some(lifetime.min(minimum));
        }
        Some(())
    }
}

/// Says whether `answer` answers the question of `sent`, under the same id.
pub(super) fn answers(answer: &[u8], sent: &[u8]) -> bool {
    let flags = |message: &[u8]| message.get(2).copied();
    let is_reply = flags(answer).is_some_and(|answer| answer & 0x80 != 0)
        && flags(answer).map(|f| f & 0x78) == flags(sent).map(|f| f & 0x78);
    is_reply
        && answer.get(..2) == sent.get(..2)
        && answer.get(4..6) == sent.get(4..6)
        && question(answer).is_some_and(|got| question(sent) == Some(got))
}

/// Returns the one question of a message, its name in lower case.
fn question(message: &[u8]) -> Option<Vec<u8>> {
    let range = Map::read(message)?.question;
    let mut question = message.get(range)?.to_vec();
    lower_name(&mut question)?;
    Some(question)
}

/// Writes the name of a question in lower case; type and class stay as they are.
pub(super) fn lower_name(question: &mut [u8]) -> Option<()> {
    let (name, _) = question.split_last_chunk_mut::<4>()?;
    name.make_ascii_lowercase(); // a label's length is below every letter
    Some(())
}

/// Writes another id.
pub(super) fn set_id(message: &mut [u8], id: u16) {
    if let Some(field) = message.first_chunk_mut() {
        *field = id.to_be_bytes();
    }
}

/// Reads the id.
pub(super) fn id(message: &[u8]) -> u16 {
    message.first_chunk().copied().map_or(0, u16::from_be_bytes)
}

/// Lets the other end answer with datagrams of at most `most` bytes.
pub(super) fn limit_payload(message: &mut [u8], most: u16) {
    let at = Map::read(message).and_then(|map| map.payload);
    let field = at.and_then(|at| message.get_mut(at..)?.first_chunk_mut());
    if let Some(field) = field {
        *field = u16::from_be_bytes(*field).min(most).to_be_bytes();
    }
}

/// Reads through a message.
struct Cursor<'a> {
    message: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn short(&mut self) -> Option<u16> {
        let value = self.message.get(self.at..)?.first_chunk()?;
        self.at += 2;
        Some(u16::from_be_bytes(*value))
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= self.message.len()).then_some(())
    }

    /// Passes a name: labels to the root, or to the pointer that ends it (RFC 1035 section 4.1.4).
    fn skip_name(&mut self) -> Option<()> {
        loop {
            let length = *self.message.get(self.at)?;
            match length >> 6 {
                0 if length == 0 => return self.skip(1),
                0 => self.skip(1 + usize::from(length))?,
                3 => return self.skip(2),
                _ => return None,
            }
        }
    }
}
