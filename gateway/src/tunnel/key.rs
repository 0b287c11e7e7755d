//! The gateway's own WireGuard key: drawn once, sealed in the state folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::Config;
use crate::ids;
use crate::secrets::Keys;

/// The file in the state folder, and the kind its content is sealed under.
const FILE: &str = "wg.key";
const KIND: &str = "wg-server";

/// Says why there is no server key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerKeyError {
    /// The file cannot be read or written.
    #[error("server key {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file was sealed under another master key, or was changed.
    #[error("server key {} does not open with this master key", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the gateway's key, or draws one the first time.
///
/// # Errors
/// [`ServerKeyError`]; a key that does not open is never replaced, since every device knows it.
pub(crate) fn server_key(config: &Config, keys: &Keys) -> Result<wg::PrivateKey, ServerKeyError> {
    read_or_draw(&config.data.join(FILE), keys)
}

fn read_or_draw(path: &Path, keys: &Keys) -> Result<wg::PrivateKey, ServerKeyError> {
    let failed = |source| ServerKeyError::Io {
        path: path.to_owned(),
        source,
    };
    let sealed = match fs::read(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            let drawn = Zeroizing::new(ids::random::<32>());
            keep(path, &keys.seal(KIND, FILE, &*drawn)).map_err(failed)?;
            fs::read(path)
        }
        other => other,
    }
    .map_err(failed)?;
    let opened = keys.open(KIND, FILE, &sealed);
    let bytes = opened.and_then(|plain| <[u8; 32]>::try_from(plain.as_slice()).ok());
    bytes
        .map(wg::PrivateKey::from_bytes)
        .ok_or_else(|| ServerKeyError::Sealed {
            path: path.to_owned(),
        })
}

/// Writes the file whole or not at all; one that another process wrote meanwhile stays.
fn keep(path: &Path, sealed: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(ids::token());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let linked = file
        .write_all(sealed)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{ServerKeyError, read_or_draw};
    use crate::ids;
    use crate::secrets::Keys;

    #[test]
    fn the_key_is_drawn_once_and_opens_only_under_its_master_key() {
        let folder = std::env::temp_dir().join(ids::token());
        std::fs::create_dir(&folder).unwrap();
        let (keys, others) = (folder.join("master"), folder.join("other"));
        let (keys, others) = (Keys::create(&keys).unwrap(), Keys::create(&others).unwrap());
        let path = folder.join("wg.key");
        let first = read_or_draw(&path, &keys).unwrap().public_key();
        assert_eq!(read_or_draw(&path, &keys).unwrap().public_key(), first);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = read_or_draw(&path, &others);
        assert!(matches!(refused, Err(ServerKeyError::Sealed { .. })));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
