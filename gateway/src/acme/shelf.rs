//! Ordered certificates on disk: one file each, chain and sealed key together, replaced in one step.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::Chain;

use crate::config::{Config, is_host_name};
use crate::proxy::tls::{Own, Reading, files, whole};
use crate::secrets::Keys;

/// The folder of ordered certificates.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    dir: PathBuf,
}

/// Names the folder of certificates that were taken over by a command; they count as own files.
pub(crate) fn imported(config: &Config) -> Shelf {
    let dir = config.data.join("imported");
    Shelf { dir }
}

/// Seals the keys of every certificate in the state folder that an older master key sealed, or none, and counts them.
///
/// # Errors
/// Of the disk; what was sealed before opens as before.
pub(crate) fn reseal(data: &Path, keys: &Keys) -> io::Result<usize> {
    let mut done = 0;
    for folder in ["imported", "acme/certificates", "acme/trial"] {
        let entries = match fs::read_dir(data.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|end| end != "pem") {
                continue;
            }
            let text = fs::read(&path)?;
            if let Some(anew) = whole::reseal(keys, &path, &text) {
                files::replace(&path, anew.as_bytes(), 0o600).map_err(io::Error::other)?;
                done += 1;
            }
        }
    }
    Ok(done)
}

impl Shelf {
    /// Names the folder; those of a trial lie apart and are never served.
    pub(crate) fn new(config: &Config) -> Self {
        let kind = match config.acme.staging {
            true => "trial",
            false => "certificates",
        };
        let dir = config.data.join("acme").join(kind);
        Self { dir }
    }

    /// Reads the certificates that are good now among those called `names`; what is damaged or over
    /// is left out.
    pub(crate) fn load(
        &self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
        reading: &Reading<'_>,
    ) -> Vec<Arc<Chain>> {
        let paths = names
            .into_iter()
            .filter_map(|name| self.path(name.as_ref()));
        let paths: Vec<_> = paths.filter(|path| path.exists()).collect();
        let mut chains = Vec::new();
        for read in reading.whole(&paths) {
            match read {
                Ok(chain) => chains.push(chain),
                Err(error) => tracing::warn!(%error, "an ordered certificate is not usable"),
            }
        }
        chains
    }

    /// Reads every certificate; what is damaged is left out.
    pub(crate) fn all(&self, reading: &Reading<'_>) -> Own {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = files
            .filter_map(|file| {
                let name = file.strip_suffix(".pem")?;
                Some(match name.strip_prefix("_.") {
                    Some(parent) => format!("*.{parent}"),
                    None => name.to_owned(),
                })
            })
            .collect();
        names.sort();
        let paths: Vec<_> = names.iter().filter_map(|name| self.path(name)).collect();
        let mut all = Own::default();
        for read in reading.whole_own(&paths) {
            match read {
                Ok(found) => all.push(found),
                Err(error) => tracing::warn!(%error, "a certificate is not usable"),
            }
        }
        all
    }

    /// Reads one certificate.
    pub(crate) fn one(&self, name: &str, reading: &Reading<'_>) -> Option<Arc<Chain>> {
        let path = self.path(name)?;
        let read = path.exists().then(|| reading.whole(&[path]));
        read?.pop()?.ok()
    }

    /// Writes a certificate with its key; what was there before stays whole until then.
    ///
    /// # Errors
    /// In words, when the disk refuses, or the name is no host's.
    pub(crate) fn write(
        &self,
        keys: &Keys,
        name: &str,
        chain_pem: &str,
        key_pem: &str,
    ) -> Result<(), String> {
        let no_host = || format!("\"{}\" is no host name", name.escape_default());
        let path = self.path(name).ok_or_else(no_host)?;
        files::make_dir(&self.dir).map_err(|e| e.to_string())?;
        let text = whole::seal(keys, &path, chain_pem, key_pem);
        files::replace(&path, text.as_bytes(), 0o600).map_err(|e| e.to_string())
    }

    /// Names the file of a host or a wildcard; `None` for any other name, which might lead elsewhere.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let wildcard = name.strip_prefix("*.");
        let file = match wildcard {
            Some(parent) => format!("_.{parent}.pem"),
            None => format!("{name}.pem"),
        };
        is_host_name(wildcard.unwrap_or(name)).then(|| self.dir.join(file))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use std::sync::Arc;

    use certs::{DAY, Root};

    use super::{Shelf, reseal};
    use crate::config::tests::Folder;
    use crate::proxy::tls::Reading;
    use crate::secrets::Keys;

    const NOW: i64 = 1_790_000_000;

    fn keys(folder: &Folder) -> Arc<Keys> {
        Arc::new(Keys::create(&folder.path().join("master.key")).unwrap())
    }

    #[test]
    fn what_is_written_is_read_back_with_its_key_and_nobody_else_can() {
        let folder = Folder::new();
        let keys = keys(&folder);
        let shelf = Shelf {
            dir: folder.path().join("acme/certificates"),
        };
        let root = Root::create("R", NOW).unwrap();
        let ca = root.intermediate("I", NOW).unwrap();
        for name in ["a.test", "*.a.test"] {
            let leaf = ca.issue(&[name], NOW, 90 * DAY).unwrap();
            shelf
                .write(&keys, name, &leaf.chain_pem, &leaf.key_pem)
                .unwrap();
            let read = shelf.one(name, &Reading::opening(&keys, NOW)).unwrap();
            assert!(read.names().contains(name));
            let mode = std::fs::metadata(shelf.path(name).unwrap())
                .unwrap()
                .permissions();
            assert_eq!(mode.mode() & 0o7777, 0o600);
        }
        let good = Reading::opening(&keys, NOW);
        assert_eq!(shelf.load(["a.test", "b.test"], &good).len(), 1);
        let late = Reading::opening(&keys, NOW + 91 * DAY);
        assert_eq!(shelf.load(["a.test"], &late).len(), 0);
    }

    #[test]
    fn a_name_that_is_no_hosts_is_written_nowhere_and_one_that_is_stays_in_its_folder() {
        let folder = Folder::new();
        let keys = keys(&folder);
        let shelf = Shelf {
            dir: folder.path().join("imported"),
        };
        let long = "a.".repeat(126) + "ab";
        for bad in [
            "", "*.", ".", "..", "../x", "*.../x", "/x", "x/y", "x\0", "x.", "A.test", "_.x",
            "b\u{fc}", "*.*.x", &long,
        ] {
            let told = shelf.write(&keys, bad, "CHAIN", "KEY").unwrap_err();
            assert!(told.contains("is no host name"), "{bad:?}: {told}");
            assert!(shelf.one(bad, &Reading::opening(&keys, NOW)).is_none());
        }
        let count = || std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(count(), 1, "the master key alone");
        let longer = format!("{}test", "a.".repeat(120));
        for good in ["x", "a.test", "*.a.test", &longer] {
            shelf.write(&keys, good, "CHAIN", "KEY").unwrap();
            let path = shelf.path(good).unwrap();
            assert!(path.exists() && path.parent() == Some(&shelf.dir));
        }
        assert_eq!(count(), 2);
    }

    #[test]
    fn a_file_that_was_cut_is_left_out_and_the_others_stay() {
        let folder = Folder::new();
        let keys = keys(&folder);
        let shelf = Shelf {
            dir: folder.path().join("c"),
        };
        let root = Root::create("R", NOW).unwrap();
        let ca = root.intermediate("I", NOW).unwrap();
        let leaf = ca.issue(&["a.test"], NOW, 90 * DAY).unwrap();
        shelf
            .write(&keys, "a.test", &leaf.chain_pem, &leaf.key_pem)
            .unwrap();
        shelf.write(&keys, "b.test", "", &leaf.key_pem).unwrap();
        let good = Reading::opening(&keys, NOW);
        assert_eq!(shelf.load(["a.test", "b.test"], &good).len(), 1);
    }

    #[test]
    fn a_new_master_key_seals_what_lies_there_and_the_old_one_no_longer_opens_it() {
        let folder = Folder::new();
        let before = keys(&folder);
        let shelf = Shelf {
            dir: folder.path().join("imported"),
        };
        let root = Root::create("R", NOW).unwrap();
        let ca = root.intermediate("I", NOW).unwrap();
        let leaf = ca.issue(&["a.test"], NOW, 90 * DAY).unwrap();
        shelf
            .write(&before, "a.test", &leaf.chain_pem, &leaf.key_pem)
            .unwrap();
        assert_eq!(reseal(folder.path(), &before).unwrap(), 0);
        let after = Arc::new(Keys::rotate(&folder.path().join("master.key")).unwrap());
        assert_eq!(reseal(folder.path(), &after).unwrap(), 1);
        assert_eq!(reseal(folder.path(), &after).unwrap(), 0);
        let opens = |keys| shelf.one("a.test", &Reading::opening(keys, NOW)).is_some();
        assert_eq!((opens(&after), opens(&before)), (true, false));
    }
}
