//! The end of a segment: where its whole records stop, and what the last of them says.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::chain::{ChainKey, Link, Position, Sealed};

/// How much of the end is read; two records of the greatest length fit in.
const WINDOW: u64 = 128 * 1024;

/// The end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Bytes up to the end of the last whole line.
    pub(super) whole: u64,
    /// Place of the last whole line; `None` if the segment has none that reads as a record.
    pub(super) last: Option<Position>,
    /// Whether the last whole line follows the one before it, as far as both are there.
    pub(super) sound: bool,
}

impl Tail {
    /// Reads the end of a segment. Bytes after the last line feed, and lines with NUL bytes at
    /// the end (blocks that a power loss left unwritten), are torn.
    pub(super) fn read(file: &File, key: &ChainKey) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let start = len.saturating_sub(WINDOW);
        let mut window = vec![0; usize::try_from(len - start).unwrap_or_default()];
        file.read_exact_at(&mut window, start)?;
        let whole = whole_lines(&window);
        let mut lines = whole.split(|b| *b == b'\n').rev().skip(1);
        let last = lines.next();
        let before = lines.next().filter(|line| !line.is_empty());
        Ok(Self {
            whole: start + whole.len() as u64,
            last: last.and_then(Sealed::parse).map(|line| line.position()),
            sound: match last {
                None => true,
                Some(last) => is_sound(last, before, key),
            },
        })
    }
}

/// Cuts what follows the last whole line without NUL bytes.
fn whole_lines(mut bytes: &[u8]) -> &[u8] {
    loop {
        let Some(end) = bytes.iter().rposition(|b| *b == b'\n') else {
            return &[];
        };
        let (lines, _) = bytes.split_at(end);
        let line = lines.rsplit(|b| *b == b'\n').next().unwrap_or_default();
        if !line.contains(&0) {
            return bytes.get(..=end).unwrap_or_default();
        }
        bytes = lines.get(..lines.len() - line.len()).unwrap_or_default();
    }
}

fn is_sound(last: &[u8], before: Option<&[u8]>, key: &ChainKey) -> bool {
    let Some(last) = Sealed::parse(last) else {
        return false;
    };
    let prev = match before {
        Some(before) => Sealed::parse(before).map(|line| line.link),
        None => prev_field(last.body),
    };
    prev.is_some_and(|prev| last.follows(&prev, key))
}

/// Reads the `prev` field that the first record of a segment ends with.
pub(super) fn prev_field(body: &[u8]) -> Option<Link> {
    let (_, field) = body.split_at_checked(body.len().checked_sub(PREV.len() + 65)?)?;
    Link::parse(field.strip_prefix(PREV)?.strip_suffix(b"\"")?)
}

const PREV: &[u8] = b",\"prev\":\"";

#[cfg(test)]
mod tests {
    use super::whole_lines;

    #[test]
    fn whole_lines_end_at_the_last_good_line_feed() {
        assert_eq!(whole_lines(b"a\nb\n"), b"a\nb\n");
        assert_eq!(whole_lines(b"a\nb"), b"a\n");
        assert_eq!(whole_lines(b"a\nb\n\0\0"), b"a\nb\n");
        assert_eq!(whole_lines(b"a\nb\0\nc\0\n"), b"a\n");
        assert_eq!(whole_lines(b"b"), b"");
        assert_eq!(whole_lines(b"\0\n"), b"");
        assert_eq!(whole_lines(b""), b"");
    }
}
