//! The files of the journal: append, sync, day change, repair and recovery.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use super::AuditError;
use super::chain::{ChainKey, MARK, Position};
use super::files::{Folder, SegmentName, day, day_end};
use super::head::{self, Head};
use super::record::{Stamped, render};
use super::resume::Found;

/// The journal of one folder. `append` any number of times, then `sync`; after an error of either
/// nothing but `recover` may be called until it succeeds.
pub(super) struct Journal {
    folder: Folder,
    key: ChainKey,
    segment: Segment,
    /// Place of the last appended record.
    at: Position,
    /// Place of the last record that is on disk.
    durable: Position,
    /// Place the head file names.
    sealed: Option<Position>,
    buffer: Vec<u8>,
}

/// The file that is appended to.
pub(super) struct Segment {
    name: SegmentName,
    file: File,
    /// End of the segment's day, ms since the UNIX epoch.
    ends: u64,
    /// Bytes appended.
    len: u64,
    /// Bytes that are on disk.
    durable: u64,
}

impl Segment {
    /// Takes a file of which `len` bytes are on disk.
    pub(super) fn new(name: SegmentName, file: File, len: u64) -> Self {
        Self {
            ends: day_end(&name.day),
            name,
            file,
            len,
            durable: len,
        }
    }
}

impl Journal {
    /// Opens the journal, repairs its end and continues its sequence. What had to be repaired or
    /// was found missing is recorded as `started.1`.
    ///
    /// # Errors
    /// `Folder`, `Exposed` and `Busy`.
    pub(super) fn open(dir: &Path, key: ChainKey, now: u64) -> Result<Self, AuditError> {
        let folder = Folder::open(dir)?;
        Self::load(folder, key, now).map_err(|e| AuditError::Folder {
            path: dir.to_owned(),
            source: Arc::new(e),
        })
    }

    fn load(folder: Folder, key: ChainKey, now: u64) -> io::Result<Self> {
        let found = Found::look(&folder, &key)?;
        let (at, notes) = found.judge(Head::load(folder.path(), &key));
        let segment = found.segment(&folder, at, now)?;
        let mut journal = Self {
            folder,
            key,
            segment,
            at,
            durable: at,
            sealed: None,
            buffer: Vec::new(),
        };
        journal.seal()?;
        journal.append(
            &notes
                .into_iter()
                .map(|note| Stamped::new(now, note))
                .collect::<Vec<_>>(),
        )?;
        journal.sync()?;
        Ok(journal)
    }

    /// Returns the number of the last record on disk.
    pub(super) fn seq(&self) -> u64 {
        self.durable.seq
    }

    /// Appends records, changing the segment with the day; they are on disk after `sync`.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn append<'a, R>(&mut self, records: R) -> io::Result<()>
    where
        R: IntoIterator<Item = &'a Stamped>,
    {
        for stamped in records {
            if stamped.at >= self.segment.ends && day(stamped.at) > self.segment.name.day {
                self.change_day(stamped.at)?;
            }
            self.render(stamped);
        }
        self.flush()
    }

    /// Waits until everything appended is on disk.
    ///
    /// # Errors
    /// Of the file system, and if the segment was cut or removed under us.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.durable == self.at {
            return Ok(());
        }
        self.segment.file.sync_data()?;
        let meta = self.segment.file.metadata()?;
        if meta.nlink() == 0 || meta.len() != self.segment.len {
            return Err(io::Error::other("the segment was cut or removed"));
        }
        self.segment.durable = self.segment.len;
        self.durable = self.at;
        Ok(())
    }

    /// Writes the head file if it is behind.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        if self.sealed != Some(self.durable) {
            let bytes = head::render(self.durable, &self.key);
            self.folder.replace(head::NAME, &bytes)?;
            self.sealed = Some(self.durable);
        }
        Ok(())
    }

    /// Starts over after an error: drops what never reached the disk and opens a new segment.
    ///
    /// # Errors
    /// Of the file system; the journal is as broken as before then.
    pub(super) fn recover(&mut self, now: u64) -> Result<(), AuditError> {
        self.folder.reopen()?;
        self.restart(now).map_err(|e| AuditError::Folder {
            path: self.folder.path().to_owned(),
            source: Arc::new(e),
        })
    }

    fn restart(&mut self, now: u64) -> io::Result<()> {
        self.buffer.clear();
        self.at = self.durable;
        self.sealed = None;
        // a failed fsync says nothing about what the cache holds: cut it off
        let file = &self.segment.file;
        if file.metadata()?.len() > self.segment.durable {
            file.set_len(self.segment.durable)?;
        }
        self.segment.len = self.segment.durable;
        file.sync_data()?;
        self.seal()?;
        self.segment = fresh(&self.folder, &self.segment.name, now)?;
        Ok(())
    }

    fn change_day(&mut self, now: u64) -> io::Result<()> {
        self.flush()?;
        self.sync()?;
        self.seal()?;
        self.segment = fresh(&self.folder, &self.segment.name, now)?;
        Ok(())
    }

    fn render(&mut self, stamped: &Stamped) {
        let first = self.segment.len == 0 && self.buffer.is_empty();
        let prev = first.then(|| self.at.link.hex());
        let start = self.buffer.len();
        self.at.seq += 1;
        render(&mut self.buffer, self.at.seq, stamped, prev.as_deref());
        let body = self.buffer.get(start..).unwrap_or_default();
        self.at.link = self.key.link(&self.at.link, body);
        self.buffer.extend_from_slice(MARK);
        self.buffer.extend_from_slice(self.at.link.hex().as_bytes());
        self.buffer.extend_from_slice(b"\"}\n");
    }

    fn flush(&mut self) -> io::Result<()> {
        self.segment.file.write_all(&self.buffer)?;
        self.segment.len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Opens a new segment: of the day of `now`, or the next one of the last segment's day when that
/// is not earlier (a second segment of a day, or a clock that went back).
pub(super) fn fresh(folder: &Folder, last: &SegmentName, now: u64) -> io::Result<Segment> {
    let mut name = SegmentName::of(now);
    if name <= *last {
        name = last.next().ok_or_else(too_many)?;
    }
    loop {
        match folder.create(&name) {
            Ok(file) => return Ok(Segment::new(name, file, 0)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                name = name.next().ok_or_else(too_many)?;
            }
            Err(e) => return Err(e),
        }
    }
}

fn too_many() -> io::Error {
    io::Error::other("too many segments in one day")
}

#[cfg(test)]
pub(super) mod tests;
