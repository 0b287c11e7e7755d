//! Finding where the journal stopped, and what is wrong with its end.

use std::io;

use super::chain::{ChainKey, Position};
use super::event::Event;
use super::files::{Folder, SegmentName, segments};
use super::head::Head;
use super::journal::{Segment, fresh};
use super::reason;
use super::record::Record;
use super::tail::Tail;

/// What lies in the folder.
#[derive(Debug)]
pub(super) struct Found {
    /// The last segment and how it ends; only this one may be repaired and continued.
    last: Option<(SegmentName, Tail)>,
    /// Place of the last record of all segments.
    at: Option<Position>,
    /// Torn bytes at the end of the last segment.
    torn: u64,
}

impl Found {
    /// Looks at the segments from the last one back to the first record found.
    pub(super) fn look(folder: &Folder, key: &ChainKey) -> io::Result<Self> {
        let mut found = Self {
            last: None,
            at: None,
            torn: 0,
        };
        for name in segments(folder.path())?.into_iter().rev() {
            let file = folder.append(&name)?;
            let tail = Tail::read(&file, key)?;
            found.at = tail.last;
            if found.last.is_none() {
                found.torn = file.metadata()?.len() - tail.whole;
                found.last = Some((name, tail));
            }
            if found.at.is_some() {
                break;
            }
        }
        Ok(found)
    }

    /// Decides where to continue, and what to record about it: from the head if records that it
    /// names are gone (the gap then stays visible for ever), else from the last record.
    pub(super) fn judge(&self, head: Head) -> (Position, Vec<Record>) {
        let mut notes = Vec::new();
        let at = self.at.unwrap_or(Position::START);
        if self.torn > 0 {
            let detail = format!("cut {} torn bytes after record {}", self.torn, at.seq);
            notes.push(note("ok", reason::JOURNAL_REPAIRED, detail));
        }
        if !self.is_sound() {
            let detail = format!("record {} does not follow the one before it", at.seq);
            notes.push(note("failed", reason::JOURNAL_TAIL_BAD, detail));
        }
        let at = match head {
            Head::At(head) if head.seq > at.seq || (head.seq == at.seq && head != at) => {
                let detail = format!("head names record {}, the last one is {}", head.seq, at.seq);
                notes.push(note("failed", reason::JOURNAL_CUT, detail));
                head
            }
            Head::At(_) => at,
            Head::Missing if self.last.is_none() => at,
            Head::Missing | Head::Bad => {
                let detail = format!("no usable head beside record {}", at.seq);
                notes.push(note("failed", reason::JOURNAL_HEAD_BAD, detail));
                at
            }
        };
        (at, notes)
    }

    /// Opens the segment to continue in: the last one if its end is whole and is where the
    /// sequence continues, else a new one.
    pub(super) fn segment(&self, folder: &Folder, at: Position, now: u64) -> io::Result<Segment> {
        let Some((name, tail)) = &self.last else {
            let today = SegmentName::of(now);
            let file = folder.create(&today)?;
            return Ok(Segment::new(today, file, 0));
        };
        let file = folder.append(name)?;
        if self.torn > 0 {
            file.set_len(tail.whole)?;
            file.sync_all()?;
        }
        if self.is_sound() && (tail.whole == 0 || tail.last == Some(at)) {
            return Ok(Segment::new(name.clone(), file, tail.whole));
        }
        fresh(folder, name, now)
    }

    fn is_sound(&self) -> bool {
        self.last.as_ref().is_none_or(|(_, tail)| tail.sound)
    }
}

fn note(outcome: &'static str, reason: &'static str, detail: String) -> Record {
    Record {
        detail: Some(detail),
        ..Record::new(Event::Started, outcome, reason)
    }
}
