//! Keys of the gateway's own that lie sealed in the state folder: drawn once, never replaced, sealed
//! anew under a new master key.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Keys;
use crate::disk;
use crate::ids;

/// Says why a sealed key cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealedError {
    /// The file cannot be read or written.
    #[error("sealed key {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file was sealed under another master key, or was changed.
    #[error("sealed key {} does not open with this master key", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a key from its file, or draws it the first time. `kind` is what it is sealed under.
///
/// # Errors
/// [`SealedError`]; a key that does not open is never replaced, since others rely on it.
pub(crate) fn read_or_draw(
    path: &Path,
    kind: &'static str,
    keys: &Keys,
    draw: impl FnOnce() -> Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, SealedError> {
    let failed = |source| SealedError::Io {
        path: path.to_owned(),
        source,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let sealed = match fs::read(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            keep(path, &keys.seal(kind, &name, &draw())).map_err(failed)?;
            fs::read(path)
        }
        other => other,
    }
    .map_err(failed)?;
    keys.open(kind, &name, &sealed)
        .ok_or_else(|| SealedError::Sealed {
            path: path.to_owned(),
        })
}

/// Seals a key's file under the newest master key if an older one sealed it; says whether it did.
///
/// # Errors
/// What the system refuses; the file is then as it was.
pub(crate) fn renew(path: &Path, kind: &'static str, keys: &Keys) -> io::Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let sealed = match fs::read(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let Some(anew) = keys.reseal(kind, &name, &sealed) else {
        return Ok(false);
    };
    disk::put(path, &anew, None).map(|()| true)
}

/// Seals another key in the place of the one there is, at once.
///
/// # Errors
/// [`SealedError::Io`]; the file is then as it was.
pub(crate) fn replace(
    path: &Path,
    kind: &'static str,
    keys: &Keys,
    key: &[u8],
) -> Result<(), SealedError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    disk::put(path, keys.seal(kind, &name, key), None).map_err(|source| SealedError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Writes the file whole or not at all; one that another process wrote meanwhile stays.
fn keep(path: &Path, sealed: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(ids::token());
    let linked = write(&draft, sealed).and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn write(draft: &Path, sealed: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    file.write_all(sealed)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use zeroize::Zeroizing;

    use super::{SealedError, read_or_draw};
    use crate::ids;
    use crate::secrets::Keys;

    #[test]
    fn a_key_is_drawn_once_and_opens_only_under_its_master_key() {
        let folder = std::env::temp_dir().join(ids::token());
        std::fs::create_dir(&folder).unwrap();
        let (keys, others) = (folder.join("master"), folder.join("other"));
        let (keys, others) = (Keys::create(&keys).unwrap(), Keys::create(&others).unwrap());
        let path = folder.join("some.key");
        let read = |keys: &Keys| {
            let draw = || Zeroizing::new(ids::random::<32>().to_vec());
            read_or_draw(&path, "some", keys, draw)
        };
        let first = read(&keys).unwrap();
        assert_eq!(read(&keys).unwrap(), first);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(read(&others), Err(SealedError::Sealed { .. })));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
