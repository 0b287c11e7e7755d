//! One instance a state folder: an flock that ends with the process.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};

/// Holds the state folder until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Says why the state folder cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process holds it.
    #[error("the state folder {} is in use by another process", .0.display())]
    Held(PathBuf),
    /// Others than the owner can open the folder, or it is somebody else's.
    #[error("the state folder {} has mode {mode:04o} and owner {owner}; it must be 0700 and our own", path.display())]
    Exposed {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The user id of its owner.
        owner: u32,
    },
    /// The folder or its lock file cannot be opened.
    #[error("cannot open the state folder {}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// Takes the state folder, made with mode 0700 if missing.
///
/// # Errors
/// [`LockError::Held`] while another process has it, [`LockError::Exposed`] for a wrong mode or owner.
pub(crate) fn acquire(data: &Path) -> Result<Lock, LockError> {
    let failed = |path: &Path, source| LockError::Io {
        path: path.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|e| failed(data, e))?;
    check_folder(data)?;
    let path = data.join("LOCK");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow())
        .open(&path)
        .map_err(|e| failed(&path, e))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held(data.to_owned())),
        Err(e) => Err(failed(&path, e.into())),
    }
}

/// Checks that only its owner can open the state folder, and that the owner is this user.
///
/// # Errors
/// [`LockError::Exposed`] if not, [`LockError::Io`] if there is no such folder.
pub(crate) fn check_folder(data: &Path) -> Result<(), LockError> {
    let meta = std::fs::symlink_metadata(data).map_err(|source| LockError::Io {
        path: data.to_owned(),
        source,
    })?;
    let mode = meta.mode() & 0o7777;
    let owner = meta.uid();
    let ours = owner == rustix::process::geteuid().as_raw();
    if !meta.is_dir() || mode & 0o077 != 0 || !ours {
        return Err(LockError::Exposed {
            path: data.to_owned(),
            mode,
            owner,
        });
    }
    Ok(())
}

fn no_follow() -> i32 {
    i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{LockError, acquire};
    use crate::config::tests::Folder;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_free_folder_is_taken_and_free_again_after_the_drop() {
        let folder = Folder::new();
        let data = folder.path().join("a/data");
        drop(acquire(&data).unwrap());
        drop(acquire(&data).unwrap());
    }

    #[test]
    fn a_taken_folder_is_refused() {
        let folder = Folder::new();
        let data = folder.path().join("data");
        let held = acquire(&data).unwrap();
        assert!(matches!(acquire(&data), Err(LockError::Held(_))));
        drop(held);
    }

    #[test]
    fn a_folder_others_can_open_is_refused() {
        let folder = Folder::new();
        let data = folder.path().join("data");
        drop(acquire(&data).unwrap());
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(
            acquire(&data),
            Err(LockError::Exposed { mode: 0o750, .. })
        ));
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
        drop(acquire(&data).unwrap());
    }
}
