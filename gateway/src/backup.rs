//! Backups: store, journal, configuration, policy, certificates and keys in one sealed file, made while the
//! gateway runs.
//!
//! Under the master key a backup holds everything but that key; under a passphrase it holds the key too.

mod archive;
mod gather;
mod key;
mod restore;
mod seal;
mod stage;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use self::gather::create;
pub(crate) use self::key::{Passphrase, With};
pub(crate) use self::restore::{Restored, Target, restore};
pub(crate) use self::seal::Fault;
pub(crate) use self::stage::{Checked, verify};
use crate::audit::AuditError;
use crate::config::lock::LockError;
use crate::secrets::KeyError;
use crate::store::StoreError;

/// Says why a backup was not made or not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// A file cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What is sealed does not open, or not whole.
    #[error("the backup is damaged: {0}")]
    Sealed(#[from] Fault),
    /// The file is no backup.
    #[error("this is no backup of Postern: {0}")]
    NotOne(&'static str),
    /// It was made by a later version.
    #[error("the backup has format {0}, this version knows 1; use the newer binary")]
    Newer(u64),
    /// It opened, and is none for all that.
    #[error("the backup is damaged: {0}")]
    Malformed(&'static str),
    /// It holds a file whose name leads out of its place.
    #[error("the backup is damaged: it holds a file named {}", .0.escape_debug())]
    Name(String),
    /// It is sealed under another master key.
    #[error("the backup is sealed under the master key {wanted}, which {} does not hold", path.display())]
    OtherKey {
        /// The fingerprint of the key.
        wanted: String,
        /// The file that was looked at.
        path: PathBuf,
    },
    /// It asks for the other kind of key.
    #[error("the backup is sealed under {0}")]
    WrongKind(&'static str),
    /// A passphrase that is no protection.
    #[error("the passphrase in {} is too short; at least {} letters", path.display(), key::LETTERS)]
    Weak {
        /// The file it is in.
        path: PathBuf,
    },
    /// Others than the owner may read the passphrase.
    #[error("{} has mode {mode:04o}; only its owner may read it: chmod 600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Files changed faster than they could be read.
    #[error("{} was changed again and again while it was read", .0.display())]
    Restless(PathBuf),
    /// Something is where the backup should go.
    #[error("{} is there already; nothing was restored", .0.display())]
    Occupied(PathBuf),
    /// What it holds is not as a gateway needs it.
    #[error("what the backup holds is not usable: {0}")]
    Unusable(String),
    /// The store in it, or the one to copy.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The state folder is in use.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The restored journal takes no record.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl BackupError {
    /// Turns what reading a backup gave into what is wrong with it.
    fn told(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Malformed("it ends within a file");
        }
        match error.downcast::<Fault>() {
            Ok(fault) => Self::Sealed(fault),
            Err(_) => Self::Malformed("what is in it cannot be unpacked"),
        }
    }

    fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            doing,
            path,
            source,
        }
    }
}
