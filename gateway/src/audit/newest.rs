//! Reading the journal backwards, the newest record first, within bounds of bytes and time.
//!
//! The journal grows without end and a page must not: a reading stops at its bounds and says where
//! to go on, so that every record can be reached and none costs more than one step.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::files::{SegmentName, segments};
use super::lines::Lines;
use crate::clock;

const BLOCK: usize = 256 * 1024;
/// Longest line kept; longer ones are no records and are passed over.
const LINE_MAX: usize = 64 * 1024;

/// How far one reading may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of the journal that are looked at.
    pub(crate) bytes: u64,
    /// How long it may take.
    pub(crate) time: Duration,
}

/// A place in the journal: everything before it is still to be read. Written `2026-01-31_0001:4096`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    segment: SegmentName,
    /// Bytes from the start of the segment.
    offset: u64,
}

impl Place {
    /// Reads a place as a URL holds it; `None` for what is none. A place that is not the start of
    /// a line loses at most the line it cuts.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, offset) = text.rsplit_once(':')?;
        let digits = offset.bytes().all(|b| b.is_ascii_digit());
        Some(Self {
            segment: format!("{name}.jsonl").parse().ok()?,
            offset: offset.parse().ok().filter(|_| digits)?,
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.segment.to_string();
        let name = name.strip_suffix(".jsonl").unwrap_or(&name);
        write!(f, "{name}:{}", self.offset)
    }
}

/// What a reading found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Lines without their line feed, the newest first.
    pub(crate) lines: Vec<Vec<u8>>,
    /// Where older ones begin; `None` at the beginning of the journal.
    pub(crate) older: Option<Place>,
    /// Whether the bounds ended it before there were as many as asked for.
    pub(crate) cut: bool,
}

/// What to do after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It is wanted.
    Take,
    /// It is not.
    Pass,
    /// Neither it nor any older line is.
    Stop,
}

/// Reads from `before`, or the end of the journal, backwards until `most` lines were taken, the judge
/// says stop, or the bounds are reached. Blocks.
///
/// # Errors
/// If the folder or a segment cannot be read.
pub(crate) fn newest(
    dir: &Path,
    before: Option<&Place>,
    most: usize,
    bounds: Bounds,
    judge: &mut dyn FnMut(&[u8]) -> Judged,
) -> io::Result<Found> {
    let names: Vec<SegmentName> = segments(dir)?.into_iter().rev().collect();
    let wanted = names
        .iter()
        .filter(|name| before.is_none_or(|place| **name <= place.segment));
    let mut reading = Reading {
        found: Found {
            lines: Vec::new(),
            older: None,
            cut: false,
        },
        most,
        left: bounds.bytes,
        until: clock::now().checked_add(bounds.time),
        began: false,
        judge,
    };
    for name in wanted {
        let from = before.filter(|place| place.segment == *name);
        let file = Lines::open(&dir.join(name.to_string()), 0)?.into_file();
        let Some(end) = reading.segment(&file, from.map(|place| place.offset))? else {
            continue;
        };
        let first = names.last() == Some(name);
        reading.found.older = match end {
            End::At(0) if first => None,
            End::At(offset) => Some(Place {
                segment: name.clone(),
                offset,
            }),
            End::Stopped => None,
        };
        break;
    }
    Ok(reading.found)
}

/// Where a reading ended within a segment.
enum End {
    /// Everything before this offset is still to be read.
    At(u64),
    /// Nothing older is wanted.
    Stopped,
}

struct Reading<'a> {
    found: Found,
    most: usize,
    left: u64,
    until: Option<Instant>,
    /// Whether a block was read: each reading gets on, whatever its bounds.
    began: bool,
    judge: &'a mut dyn FnMut(&[u8]) -> Judged,
}

impl Reading<'_> {
    /// Reads a segment backwards; `None` if its beginning was reached and more is wanted.
    fn segment(&mut self, file: &File, from: Option<u64>) -> io::Result<Option<End>> {
        let length = file.metadata()?.len();
        let mut end = from.map_or(length, |from| from.min(length));
        let mut block = vec![0; BLOCK];
        let mut tail = Tail::new(end);
        while end > 0 {
            if self.began && self.is_over() {
                self.found.cut = true;
                return Ok(Some(End::At(tail.end)));
            }
            let start = end.saturating_sub(BLOCK as u64);
            let len = usize::try_from(end - start).unwrap_or_default();
            let Some(part) = block.get_mut(..len) else {
                break;
            };
            file.read_exact_at(part, start)?;
            self.began = true;
            self.left = self.left.saturating_sub(end - start);
            end = start;
            let mut upto = part.len();
            while let Some(feed) = part.get(..upto).and_then(last_feed) {
                let line = tail.take(part.get(feed + 1..upto).unwrap_or_default());
                let at = start + feed as u64 + 1;
                if let Some(ended) = self.line(line.as_deref(), at) {
                    return Ok(Some(ended));
                }
                tail.end = at;
                upto = feed;
            }
            tail.keep(part.get(..upto).unwrap_or_default(), start);
        }
        let line = tail.take(&[]);
        Ok(self.line(line.as_deref(), 0))
    }

    fn is_over(&self) -> bool {
        self.left == 0 || self.until.is_some_and(|until| clock::now() >= until)
    }

    /// Judges a line that begins at an offset.
    fn line(&mut self, line: Option<&[u8]>, at: u64) -> Option<End> {
        let line = line.filter(|line| !line.is_empty())?;
        match (self.judge)(line) {
            Judged::Take => self.found.lines.push(line.to_vec()),
            Judged::Pass => {}
            Judged::Stop => return Some(End::Stopped),
        }
        (self.found.lines.len() >= self.most).then_some(End::At(at))
    }
}

fn last_feed(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte == b'\n')
}

/// The end of a line whose beginning is still to be read.
struct Tail {
    bytes: Vec<u8>,
    /// Offset of the start of the line behind it.
    end: u64,
    /// Whether it is no whole line: bytes after the last line feed, or more than a line may have.
    broken: bool,
}

impl Tail {
    /// What stands before `end`, which no line feed ends.
    fn new(end: u64) -> Self {
        Self {
            bytes: Vec::new(),
            end,
            broken: true,
        }
    }

    /// Completes it by what stands before it, and begins anew; `None` for what is no whole line.
    fn take(&mut self, before: &[u8]) -> Option<Vec<u8>> {
        let mut line = before.to_vec();
        line.append(&mut self.bytes);
        let broken = std::mem::replace(&mut self.broken, false);
        (!broken && line.len() <= LINE_MAX).then_some(line)
    }

    /// Puts the last bytes of an earlier block, which begins at `start`, before it.
    fn keep(&mut self, before: &[u8], start: u64) {
        let mut bytes = before.to_vec();
        bytes.append(&mut self.bytes);
        self.bytes = bytes;
        if self.broken || self.bytes.len() > LINE_MAX {
            self.bytes.clear();
            self.broken = true;
            self.end = start;
        }
    }
}

#[cfg(test)]
mod tests;
