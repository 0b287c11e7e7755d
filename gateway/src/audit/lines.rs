//! Reading a segment line by line with bounded memory.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Longest line kept; longer ones are no records and are cut.
const LINE_MAX: u64 = 64 * 1024;
const BUFFER: usize = 256 * 1024;

/// What stands at the reading place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// A line without its line feed.
    Line(&'a [u8]),
    /// Bytes without a line feed, at the end of the file.
    Torn(usize),
    End,
}

/// A segment open for reading.
#[derive(Debug)]
pub(super) struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
    /// Where the next line starts.
    offset: u64,
}

impl Lines {
    /// Opens a segment at an offset where a line starts.
    ///
    /// # Errors
    /// Of the file system; a symbolic link is refused.
    pub(super) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self {
            file: BufReader::with_capacity(BUFFER, file),
            line: Vec::new(),
            offset,
        })
    }

    /// Gives the file back.
    pub(super) fn into_file(self) -> File {
        self.file.into_inner()
    }

    /// Returns where the next line starts.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next line.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn next(&mut self) -> io::Result<Read<'_>> {
        self.line.clear();
        let mut limited = self.file.by_ref().take(LINE_MAX);
        let mut len = limited.read_until(b'\n', &mut self.line)?;
        let mut whole = self.line.pop_if(|last| *last == b'\n').is_some();
        if !whole && !self.line.is_empty() {
            let skipped = self.file.skip_until(b'\n')?;
            // an over-long line counts as a line whether or not its end is there
            whole = skipped > 0;
            len += skipped;
        }
        if whole {
            self.offset += len as u64;
            return Ok(Read::Line(&self.line));
        }
        Ok(match len {
            0 => Read::End,
            len => Read::Torn(len),
        })
    }
}
