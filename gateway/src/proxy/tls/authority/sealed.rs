//! The authority's keys on disk: sealed under the master key, or in clear where somebody put one
//! there.

use std::fs;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::super::files::{self, FileError, Readers};
use super::super::{CertError, whole};
use crate::secrets::Keys;

/// What they are sealed as; the file's name is the owner.
const KIND: &str = "authority-key";
/// The files that hold one.
const FILES: [&str; 2] = ["root.key", "intermediate.key"];

fn owner(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Writes a key, sealed.
pub(super) fn write(keys: &Keys, path: &Path, key_pem: &str) -> Result<(), FileError> {
    let sealed = keys.seal(KIND, &owner(path), key_pem.as_bytes());
    files::replace(path, whole::block(&sealed).as_bytes(), 0o600)
}

/// Reads a key as PEM, sealed or in clear.
pub(super) fn read(keys: &Keys, path: &Path) -> Result<Zeroizing<String>, CertError> {
    let text = files::read_secret(path, Readers::Owner)?;
    let plain = match whole::unblock(&text) {
        None => text,
        Some(sealed) => {
            let opened = keys.open(KIND, &owner(path), &sealed);
            opened.ok_or_else(|| CertError::Locked {
                path: path.to_owned(),
            })?
        }
    };
    match std::str::from_utf8(&plain) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(FileError::NotPlain {
            path: path.to_owned(),
        }
        .into()),
    }
}

/// Seals the keys of the authority in the state folder, and of those it took the place of, that an
/// older master key sealed, or none; counts them. A link is left alone: what it leads to is kept
/// elsewhere on purpose.
///
/// # Errors
/// Of the disk, or for a key that lies open to others; what was sealed before opens as before.
pub(crate) fn reseal(data: &Path, keys: &Keys) -> io::Result<usize> {
    let mut done = 0;
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "ca" && !name.starts_with("ca.before-") {
            continue;
        }
        for file in FILES {
            let path = entry.path().join(file);
            let is_file = path.symlink_metadata().is_ok_and(|meta| meta.is_file());
            if is_file && reseal_one(&path, keys)? {
                done += 1;
            }
        }
    }
    Ok(done)
}

fn reseal_one(path: &Path, keys: &Keys) -> io::Result<bool> {
    let text = files::read_secret(path, Readers::Owner).map_err(io::Error::other)?;
    let anew = match whole::unblock(&text) {
        Some(sealed) => keys.reseal(KIND, &owner(path), &sealed),
        None if whole::is_clear(&text) => Some(keys.seal(KIND, &owner(path), &text)),
        None => None,
    };
    let Some(anew) = anew else {
        return Ok(false);
    };
    let text = whole::block(&anew);
    files::replace(path, text.as_bytes(), 0o600).map_err(io::Error::other)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::sync::Arc;

    use super::super::InternalCa;
    use super::{read, reseal};
    use crate::config::tests::Folder;
    use crate::proxy::tls::CertError;
    use crate::secrets::Keys;

    const NOW: i64 = 1_790_000_000;

    fn open(data: &Path, keys: &Arc<Keys>) -> Result<InternalCa, CertError> {
        InternalCa::open(&data.join("ca"), "gate.example.org", keys, NOW)
    }

    /// Whether some file below a folder holds a key in clear.
    fn has_clear_key(dir: &Path) -> bool {
        fs::read_dir(dir).unwrap().flatten().any(|entry| {
            let path = entry.path();
            match path.is_dir() {
                true => has_clear_key(&path),
                false => String::from_utf8_lossy(&fs::read(path).unwrap()).contains("PRIVATE KEY"),
            }
        })
    }

    fn put(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_copy_of_the_folder_gives_no_key_of_the_authority_and_the_master_key_opens_both() {
        let (data, elsewhere) = (Folder::new(), Folder::new());
        let keys = Arc::new(Keys::create(&elsewhere.path().join("a.key")).unwrap());
        let made = open(data.path(), &keys).unwrap();
        assert!(!has_clear_key(data.path()));
        assert_eq!(
            open(data.path(), &keys).unwrap().root_pem(),
            made.root_pem()
        );
        let other = Arc::new(Keys::create(&elsewhere.path().join("b.key")).unwrap());
        let refused = open(data.path(), &other).unwrap_err();
        assert!(matches!(refused, CertError::Locked { .. }), "{refused}");
        // neither is good in the place of the other
        let dir = data.path().join("ca");
        fs::copy(dir.join("intermediate.key"), dir.join("root.key")).unwrap();
        let moved = read(&keys, &dir.join("root.key")).unwrap_err();
        assert!(matches!(moved, CertError::Locked { .. }), "{moved}");
    }

    #[test]
    fn keys_in_clear_are_read_and_sealed_once_and_again_after_a_rotation() {
        let (data, elsewhere) = (Folder::new(), Folder::new());
        let file = elsewhere.path().join("a.key");
        let before = Arc::new(Keys::create(&file).unwrap());
        let made = open(data.path(), &before).unwrap();
        let dir = data.path().join("ca");
        let kept = data.path().join("ca.before-7");
        fs::create_dir(&kept).unwrap();
        for name in ["root.key", "intermediate.key"] {
            let clear = read(&before, &dir.join(name)).unwrap();
            put(&dir.join(name), &clear);
            put(&kept.join(name), &clear);
        }
        assert_eq!(
            open(data.path(), &before).unwrap().root_pem(),
            made.root_pem()
        );
        assert_eq!(reseal(data.path(), &before).unwrap(), 4);
        assert!(!has_clear_key(data.path()));
        assert_eq!(reseal(data.path(), &before).unwrap(), 0);
        let after = Arc::new(Keys::rotate(&file).unwrap());
        assert_eq!(reseal(data.path(), &after).unwrap(), 4);
        assert_eq!(reseal(data.path(), &after).unwrap(), 0);
        assert_eq!(
            open(data.path(), &after).unwrap().root_pem(),
            made.root_pem()
        );
        assert!(open(data.path(), &before).is_err());
    }

    #[test]
    fn a_key_that_is_kept_elsewhere_stays_there_and_one_open_to_others_is_told() {
        let (data, elsewhere) = (Folder::new(), Folder::new());
        let keys = Arc::new(Keys::create(&elsewhere.path().join("a.key")).unwrap());
        open(data.path(), &keys).unwrap();
        let root = data.path().join("ca/root.key");
        let away = elsewhere.path().join("root.key");
        put(&away, &read(&keys, &root).unwrap());
        fs::remove_file(&root).unwrap();
        symlink(&away, &root).unwrap();
        assert_eq!(reseal(data.path(), &keys).unwrap(), 0);
        assert!(root.is_symlink() && read(&keys, &root).is_ok());
        fs::remove_file(&root).unwrap();
        fs::copy(&away, &root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(reseal(data.path(), &keys).is_err());
        fs::set_permissions(&root, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(reseal(data.path(), &keys).unwrap(), 1);
    }
}
