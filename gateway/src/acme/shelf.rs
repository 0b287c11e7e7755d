//! Ordered certificates on disk: one file each, key and chain together, replaced in one step.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::Chain;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::proxy::tls::{CertError, files, provider};

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

    /// Reads the certificates that are good at `now` among those called `names`; what is damaged
    /// or over is left out.
    pub(crate) fn load(
        &self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
        now: i64,
    ) -> Vec<Arc<Chain>> {
        let provider = provider();
        let mut chains = Vec::new();
        for name in names {
            let path = self.path(name.as_ref());
            if !path.exists() {
                continue;
            }
            match read(&path, now, &provider) {
                Ok(chain) => chains.push(Arc::new(chain)),
                Err(error) => tracing::warn!(%error, "an ordered certificate is not usable"),
            }
        }
        chains
    }

    /// Reads every certificate that is good at `now`.
    pub(crate) fn all(&self, now: i64) -> Vec<Arc<Chain>> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
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
        self.load(names, now)
    }

    /// Reads one certificate.
    pub(crate) fn one(&self, name: &str, now: i64) -> Option<Chain> {
        let path = self.path(name);
        path.exists()
            .then(|| read(&path, now, &provider()).ok())
            .flatten()
    }

    /// Writes a certificate with its key; what was there before stays whole until then.
    ///
    /// # Errors
    /// In words, when the disk refuses.
    pub(crate) fn write(&self, name: &str, chain_pem: &str, key_pem: &str) -> Result<(), String> {
        files::make_dir(&self.dir).map_err(|e| e.to_string())?;
        let newline = if key_pem.ends_with('\n') { "" } else { "\n" };
        let whole = Zeroizing::new(format!("{key_pem}{newline}{chain_pem}"));
        files::replace(&self.path(name), whole.as_bytes(), 0o600).map_err(|e| e.to_string())
    }

    /// A name is safe in a path: host names hold neither `/` nor `_`.
    fn path(&self, name: &str) -> PathBuf {
        let file = match name.strip_prefix("*.") {
            Some(parent) => format!("_.{parent}.pem"),
            None => format!("{name}.pem"),
        };
        self.dir.join(file)
    }
}

fn read(
    path: &Path,
    now: i64,
    provider: &rustls::crypto::CryptoProvider,
) -> Result<Chain, CertError> {
    let whole = files::read_secret(path, files::Readers::Owner)?;
    Chain::parse(&whole, &whole, now, provider).map_err(|source| CertError::Chain {
        chain: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use certs::{DAY, Root};

    use super::Shelf;
    use crate::config::tests::Folder;

    const NOW: i64 = 1_790_000_000;

    #[test]
    fn what_is_written_is_read_back_with_its_key_and_nobody_else_can() {
        let folder = Folder::new();
        let shelf = Shelf {
            dir: folder.path().join("acme/certificates"),
        };
        let root = Root::create("R", NOW).unwrap();
        let ca = root.intermediate("I", NOW).unwrap();
        for name in ["a.test", "*.a.test"] {
            let leaf = ca.issue(&[name], NOW, 90 * DAY).unwrap();
            shelf.write(name, &leaf.chain_pem, &leaf.key_pem).unwrap();
            let read = shelf.one(name, NOW).unwrap();
            assert!(read.names().contains(name));
            let mode = std::fs::metadata(shelf.path(name)).unwrap().permissions();
            assert_eq!(mode.mode() & 0o7777, 0o600);
        }
        assert_eq!(shelf.load(["a.test", "b.test"], NOW).len(), 1);
        assert_eq!(shelf.load(["a.test"], NOW + 91 * DAY).len(), 0);
    }

    #[test]
    fn a_file_that_was_cut_is_left_out_and_the_others_stay() {
        let folder = Folder::new();
        let shelf = Shelf {
            dir: folder.path().join("c"),
        };
        let root = Root::create("R", NOW).unwrap();
        let ca = root.intermediate("I", NOW).unwrap();
        let leaf = ca.issue(&["a.test"], NOW, 90 * DAY).unwrap();
        shelf
            .write("a.test", &leaf.chain_pem, &leaf.key_pem)
            .unwrap();
        shelf.write("b.test", "", &leaf.key_pem).unwrap();
        assert_eq!(shelf.load(["a.test", "b.test"], NOW).len(), 1);
    }
}
