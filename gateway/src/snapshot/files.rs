//! Reads files that decide access: once, regular, bounded, without following links.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Whether a symbolic link may stand where the file is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// A link is followed.
    Follow,
    /// A link is an error.
    Refuse,
}

/// Says why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// The operating system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file is not one we may trust, or not text.
    #[error("{}: {what}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file is not plain UTF-8.
    #[error("{}:{line}:{column}: {what}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where, in lines and characters from 1.
        line: u32,
        /// See `line`.
        column: u32,
        /// What is wrong there.
        what: &'static str,
    },
    /// Everybody can write it.
    #[error("{}: mode {mode:04o} lets everybody change it", path.display())]
    Writable {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody who is neither root nor us, and who could change it.
    #[error("{}: belongs to user {owner}, must be root's or our own", path.display())]
    Owner {
        /// The file or folder.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
    },
}

impl FileError {
    /// Names the file or folder.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::Refused { path, .. }
            | Self::NotText { path, .. }
            | Self::Writable { path, .. }
            | Self::Owner { path, .. } => path,
        }
    }
}

/// Reads a regular file of at most `limit` bytes of UTF-8 without a byte order mark.
///
/// # Errors
/// See [`FileError`]; a pipe or device is refused without waiting for it.
pub(crate) fn read_text(path: &Path, limit: u64, links: Links) -> Result<String, FileError> {
    let file = open(path, links).map_err(|source| io_error(path, source))?;
    let meta = file.metadata().map_err(|source| io_error(path, source))?;
    if !meta.is_file() {
        return Err(refused(path, "not a regular file"));
    }
    check(path, meta.mode(), meta.uid())?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| io_error(path, source))?;
    if u64::try_from(bytes.len()).is_ok_and(|n| n > limit) {
        return Err(refused(path, "too large"));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        let what = "begins with a byte order mark; save it as plain UTF-8";
        return Err(not_text(path, "", what));
    }
    String::from_utf8(bytes).map_err(|error| {
        let sound = error.as_bytes().get(..error.utf8_error().valid_up_to());
        let before = String::from_utf8_lossy(sound.unwrap_or_default());
        not_text(path, &before, "not UTF-8")
    })
}

/// Returns `text` if no line of it ends in CR LF: the same rules would have two digests otherwise.
///
/// # Errors
/// [`FileError::NotText`] with the place of the first such end.
pub(super) fn lines_of_unix(path: &Path, text: String) -> Result<String, FileError> {
    let what = "the line ends in CR LF; save the file with LF alone, as sed -i 's/\\r$//' does";
    match text.split_once("\r\n") {
        Some((before, _)) => Err(not_text(path, before, what)),
        None => Ok(text),
    }
}

/// Checks that nobody but root and this user decides what a file or folder holds.
pub(super) fn check(path: &Path, mode: u32, owner: u32) -> Result<(), FileError> {
    let mode = mode & 0o7777;
    if mode & 0o002 != 0 {
        let path = path.to_owned();
        return Err(FileError::Writable { path, mode });
    }
    if !may_own(owner, rustix::process::geteuid().as_raw()) {
        let path = path.to_owned();
        return Err(FileError::Owner { path, owner });
    }
    Ok(())
}

/// Root and we ourselves may own what is read; root reads the files of the service's user too.
pub(crate) fn may_own(owner: u32, us: u32) -> bool {
    owner == 0 || owner == us || us == 0
}

fn open(path: &Path, links: Links) -> io::Result<File> {
    let follow = match links {
        Links::Follow => OFlags::empty(),
        Links::Refuse => OFlags::NOFOLLOW,
    };
    let flags = follow | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)
}

pub(super) fn io_error(path: &Path, source: io::Error) -> FileError {
    let path = path.to_owned();
    FileError::Io { path, source }
}

pub(super) fn refused(path: &Path, what: &'static str) -> FileError {
    let path = path.to_owned();
    FileError::Refused { path, what }
}

/// Refuses a file at the place behind the text before it.
fn not_text(path: &Path, before: &str, what: &'static str) -> FileError {
    let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    let last = before.rsplit('\n').next().unwrap_or_default();
    FileError::NotText {
        path: path.to_owned(),
        line: count(before.matches('\n').count()),
        column: count(last.chars().count()),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::{FileError, Links, check, lines_of_unix, may_own, read_text};
    use crate::config::tests::Folder;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn links_pipes_and_large_files_are_refused() {
        let folder = Folder::new();
        folder.write("real.toml", "x = 1\n");
        let real = folder.path().join("real.toml");
        let link = folder.path().join("link.toml");
        symlink(&real, &link).unwrap();
        assert!(read_text(&link, 100, Links::Refuse).is_err());
        assert!(read_text(&link, 100, Links::Follow).is_ok());
        assert!(read_text(&real, 6, Links::Refuse).is_ok());
        assert!(read_text(&real, 5, Links::Refuse).is_err());
        let pipe = folder.path().join("pipe.toml");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read_text(&pipe, 100, Links::Refuse).is_err());
    }

    #[test]
    fn a_mark_or_other_bytes_are_refused_and_utf8_is_read() {
        let folder = Folder::new();
        for (bytes, good) in [
            (&b"caf\xc3\xa9"[..], true),
            (b"\xef\xbb\xbfx", false),
            (b"\xff", false),
        ] {
            folder.write("f.toml", bytes);
            assert_eq!(
                read_text(&folder.path().join("f.toml"), 100, Links::Refuse).is_ok(),
                good
            );
        }
    }

    #[test]
    fn what_is_no_text_is_shown_where_it_begins() {
        let folder = Folder::new();
        let path = folder.path().join("f.toml");
        for (bytes, place) in [
            (&b"\xef\xbb\xbfx"[..], "f.toml:1:1: begins with a byte"),
            (b"a\ncaf\xc3\xa9 \xff\n", "f.toml:2:6: not UTF-8"),
        ] {
            folder.write("f.toml", bytes);
            let error = read_text(&path, 100, Links::Refuse).unwrap_err();
            assert!(error.to_string().contains(place), "{error}");
        }
    }

    #[test]
    fn a_line_that_ends_as_on_windows_is_shown_and_ends_of_unix_are_taken() {
        let path = std::path::Path::new("f.toml");
        for good in ["", "a = 1\n", "a = '\r'\n"] {
            assert!(lines_of_unix(path, good.to_owned()).is_ok(), "{good:?}");
        }
        let error = lines_of_unix(path, "a = 1\nb = é\r\nc\r\n".to_owned());
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("f.toml:2:6: the line ends in CR LF"),
            "{error}"
        );
    }

    #[test]
    fn a_file_everybody_can_write_is_refused() {
        let folder = Folder::new();
        folder.write("f.toml", "");
        let path = folder.path().join("f.toml");
        assert!(read_text(&path, 100, Links::Refuse).is_ok());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(
            read_text(&path, 100, Links::Refuse),
            Err(FileError::Writable { .. })
        ));
    }

    #[test]
    fn what_belongs_to_root_or_us_is_trusted_and_nothing_else() {
        let us = rustix::process::geteuid().as_raw();
        let path = std::path::Path::new("/x");
        for owner in [0, us] {
            assert!(check(path, 0o644, owner).is_ok());
        }
    }

    #[test]
    fn what_somebody_else_owns_is_refused_but_to_root() {
        assert!(may_own(0, 1000));
        assert!(may_own(1000, 1000));
        assert!(!may_own(1001, 1000));
        assert!(may_own(1001, 0));
    }
}
