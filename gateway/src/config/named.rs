//! Files that the configuration names, read when what they are for is set up.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Says why a file that the configuration names is not usable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NamedError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It holds a secret, and others may read it.
    #[error("{} has mode {mode:04o}; others may read it: chmod 600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl NamedError {
    pub(crate) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::File { path, source }
    }
}

/// Reads a secret out of a file that nobody but its owner can read.
///
/// # Errors
/// [`NamedError`].
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<String>, NamedError> {
    let meta = std::fs::metadata(path).map_err(NamedError::unreadable(path))?;
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(NamedError::Exposed { path, mode });
    }
    let text = std::fs::read_to_string(path).map_err(NamedError::unreadable(path))?;
    Ok(Zeroizing::new(text))
}
