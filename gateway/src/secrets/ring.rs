//! A new master key above the ones there are.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::{Key, KeyError, Keys, MOST, derive, sync_parent};
use crate::ids;

impl Keys {
    /// Draws a new master key and puts it above the others in the file, whole or not at all. Who
    /// loads the file from now on seals with the new key; a gateway that runs goes on with the
    /// keys it has, which stay in the file.
    ///
    /// # Errors
    /// [`KeyError`]; the file is then as it was. [`KeyError::Full`] for the seventeenth key.
    pub(crate) fn rotate(path: &Path) -> Result<Self, KeyError> {
        let io = |source: std::io::Error| KeyError::io(path, source);
        let mut keys = Self::load(path)?;
        if keys.all().count() >= MOST {
            return Err(KeyError::Full {
                path: path.to_owned(),
            });
        }
        let fresh = Key::new(Zeroizing::new(ids::random::<32>()));
        keys.older
            .insert(0, std::mem::replace(&mut keys.newest, fresh));
        let draft = draft(path);
        let written = keys
            .write(&draft, path)
            .and_then(|()| fs::rename(&draft, path));
        if written.is_err() {
            drop(fs::remove_file(&draft));
        }
        written.and_then(|()| sync_parent(path)).map_err(io)?;
        Ok(keys)
    }

    /// Names the keys without giving them away, the newest first.
    pub(crate) fn fingerprints(&self) -> Vec<String> {
        let short = |key: &Key| {
            let digest = derive(&key.master, "fingerprint");
            HEXLOWER.encode(digest.get(..8).unwrap_or_default())
        };
        self.all().map(short).collect()
    }

    /// Writes all keys to a new file with the owner of the one it is to replace, and mode 0600.
    fn write(&self, draft: &Path, path: &Path) -> std::io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(draft, flags, Mode::RUSR | Mode::WUSR)?);
        let before = fs::metadata(path)?;
        let now = file.metadata()?;
        if (before.uid(), before.gid()) != (now.uid(), now.gid()) {
            std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        for key in self.all() {
            let text = Zeroizing::new(BASE64.encode(&*key.master));
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
        }
        file.sync_all()
    }
}

fn draft(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.new", ids::token()))
}
