//! The journal's folder and the names of its segments.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustix::fs::{self, FlockOperation, Mode, OFlags};

use super::AuditError;
use crate::clock;

/// Longest name of a segment: more than this many in a day would sort wrongly.
const MOST_PER_DAY: u16 = 9999;

/// Names a segment. Names sort as the records do: `2026-01-31.jsonl`, `2026-01-31_0001.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    /// UTC day, `YYYY-MM-DD`.
    pub(super) day: String,
    /// 0 for the day's first segment.
    nth: u16,
}

impl SegmentName {
    /// Names the segment of the day of `unix_ms`.
    pub(super) fn of(unix_ms: u64) -> Self {
        Self {
            day: day(unix_ms),
            nth: 0,
        }
    }

    /// Names the next segment of the same day.
    pub(super) fn next(&self) -> Option<Self> {
        (self.nth < MOST_PER_DAY).then(|| Self {
            day: self.day.clone(),
            nth: self.nth + 1,
        })
    }
}

/// Returns the UTC day, `YYYY-MM-DD`.
pub(super) fn day(unix_ms: u64) -> String {
    clock::rfc3339(unix_ms).chars().take(10).collect()
}

/// Returns when a UTC day ends, ms since the UNIX epoch; 0 for what is no day.
pub(super) fn day_end(day: &str) -> u64 {
    let start = format!("{day}T00:00:00Z").parse::<jiff::Timestamp>();
    let start = start.map_or(-1, jiff::Timestamp::as_millisecond);
    u64::try_from(start).map_or(0, |start| start + 24 * 60 * 60 * 1000)
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nth {
            0 => write!(f, "{}.jsonl", self.day),
            nth => write!(f, "{}_{nth:04}.jsonl", self.day),
        }
    }
}

/// Says that a file name is not that of a segment.
#[derive(Debug)]
pub(super) struct NotASegment;

impl FromStr for SegmentName {
    type Err = NotASegment;
    fn from_str(name: &str) -> Result<Self, NotASegment> {
        let stem = name.strip_suffix(".jsonl").ok_or(NotASegment)?;
        let (day, nth) = match stem.split_once('_') {
            Some((day, nth)) => (day, nth.parse().map_err(|_| NotASegment)?),
            None => (stem, 0),
        };
        let segment = Self {
            day: day.to_owned(),
            nth,
        };
        let plain = day.len() == 10 && day.bytes().all(|b| b == b'-' || b.is_ascii_digit());
        (plain && segment.to_string() == name)
            .then_some(segment)
            .ok_or(NotASegment)
    }
}

/// Lists the segments of a folder in the order of their records.
pub(super) fn segments(dir: &Path) -> io::Result<Vec<SegmentName>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        if let Some(Ok(name)) = entry?.file_name().to_str().map(str::parse) {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// The open, locked folder of the journal; files are opened relative to it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    handle: File,
}

impl Folder {
    /// Opens the folder, making it (0700) if it is missing, and locks it.
    ///
    /// # Errors
    /// `Folder` if it cannot be made, is a symbolic link or no folder; `Exposed` if others have
    /// rights on it; `Busy` if another process has it locked.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let folder = Self::make(path).map_err(|e| AuditError::Folder {
            path: path.to_owned(),
            source: Arc::new(e),
        })?;
        let mode = folder
            .handle
            .metadata()
            .map_or(0o777, |meta| meta.mode() & 0o7777);
        if mode & 0o077 != 0 {
            return Err(AuditError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        fs::flock(&folder.handle, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            AuditError::Busy {
                path: path.to_owned(),
            }
        })?;
        Ok(folder)
    }

    fn make(path: &Path) -> io::Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            path: path.to_owned(),
            handle: handle.into(),
        })
    }

    /// Opens the folder anew if it was removed under us.
    pub(super) fn reopen(&mut self) -> Result<(), AuditError> {
        let same = match (
            std::fs::symlink_metadata(&self.path),
            self.handle.metadata(),
        ) {
            (Ok(there), Ok(ours)) => there.ino() == ours.ino() && there.dev() == ours.dev(),
            _ => false,
        };
        if !same {
            *self = Self::open(&self.path)?;
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a segment that must not exist yet.
    pub(super) fn create(&self, name: &SegmentName) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::APPEND;
        let file = self.at(&name.to_string(), flags)?;
        self.sync()?;
        Ok(file)
    }

    /// Opens a segment that exists, for appending.
    pub(super) fn append(&self, name: &SegmentName) -> io::Result<File> {
        self.at(&name.to_string(), OFlags::RDWR | OFlags::APPEND)
    }

    /// Puts a whole file in place at once.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        use std::io::Write as _;
        let new = format!("{name}.new");
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY;
        let mut file = self.at(&new, flags)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::renameat(&self.handle, new.as_str(), &self.handle, name)?;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn at(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file: File = fs::openat(&self.handle, name, flags, mode)?.into();
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other(format!("{name} is not a regular file")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SegmentName;

    #[test]
    fn names_sort_like_their_records() {
        let first = SegmentName::of(1_700_000_000_000);
        let second = first.next().unwrap();
        let later = SegmentName::of(1_700_090_000_000);
        assert!(first < second && second < later);
        let texts = [first.to_string(), second.to_string(), later.to_string()];
        assert_eq!(texts[0], "2023-11-14.jsonl");
        assert_eq!(texts[1], "2023-11-14_0001.jsonl");
        assert!(texts.is_sorted());
        assert_eq!(texts[1].parse::<SegmentName>().unwrap(), second);
    }

    #[test]
    fn other_files_are_no_segments() {
        for bad in [
            "head",
            "2023-11-14",
            "x.jsonl",
            "2023-11-14_1.jsonl",
            "../../23-1.jsonl",
        ] {
            assert!(bad.parse::<SegmentName>().is_err(), "{bad}");
        }
    }
}
