//! The internal authority on disk.
//!
//! `root.pem` (0644, what clients import), `root.key`, `intermediate.pem` and `intermediate.key`
//! (0600) in one folder (0700). The keys are sealed under the master key; one that is put there in
//! clear is read, and sealed at the next start. `root.key` is needed only to renew the intermediate
//! and may be moved offline.

mod import;
mod sealed;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::{Ca, CaError, Root};
use parking_lot::RwLock;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

pub(crate) use self::import::install;
pub(crate) use self::sealed::reseal;
use super::CertError;
use super::files::{self, FileError};
use crate::secrets::Keys;

/// The internal authority, ready to issue.
#[derive(Debug)]
pub(crate) struct InternalCa {
    files: Files,
    name: String,
    ca: RwLock<Arc<Ca>>,
}

impl InternalCa {
    /// Opens the authority in `dir`, or makes it there; `name` stands in its certificates.
    ///
    /// An intermediate that is missing, damaged or near its end is made anew as long as the
    /// root's key is in the folder.
    ///
    /// # Errors
    /// [`CertError::File`], [`CertError::Locked`] or [`CertError::Authority`].
    pub(crate) fn open(
        dir: &Path,
        name: &str,
        keys: &Arc<Keys>,
        now: i64,
    ) -> Result<Self, CertError> {
        let files = Files::new(dir, keys);
        files::make_dir(dir)?;
        let ca = if files.root_cert.exists() {
            files.load(name, now)
        } else {
            files.create(name, now)
        }?;
        Ok(Self {
            name: name.to_owned(),
            files,
            ca: RwLock::new(Arc::new(ca)),
        })
    }

    /// Returns the root certificate as PEM.
    pub(crate) fn root_pem(&self) -> String {
        self.ca().root_pem().to_owned()
    }

    /// Returns the first and the last second in which it signs; its root may end no earlier.
    pub(crate) fn validity(&self) -> (i64, i64) {
        self.ca().validity()
    }

    /// Takes the authority over that was imported since; what it is now stays on any failure.
    ///
    /// # Errors
    /// [`CertError::File`] or [`CertError::Authority`] for one that cannot be used.
    pub(crate) fn follow(&self, now: i64) -> Result<(), CertError> {
        let (held, files) = (self.ca(), &self.files);
        let (Ok(root), Ok(cert)) = (text(&files.root_cert), text(&files.cert)) else {
            return Ok(());
        };
        if (root.as_str(), cert.as_str()) == (held.root_pem(), held.pem()) {
            return Ok(());
        }
        let ca = self.files.load(&self.name, now)?;
        *self.ca.write() = Arc::new(ca);
        Ok(())
    }

    pub(super) fn ca(&self) -> Arc<Ca> {
        Arc::clone(&self.ca.read())
    }

    /// Makes sure that the intermediate may sign for these hosts: where it may not, another is
    /// made that may, as long as the root's key is in the folder.
    ///
    /// # Errors
    /// [`CertError::Authority`] where only the root's key could help and it is not there.
    pub(super) fn cover(&self, hosts: &[&String], now: i64) -> Result<(), CertError> {
        let ca = self.ca();
        let outside: Vec<_> = hosts.iter().filter(|host| !ca.permits(host)).collect();
        let Some(first) = outside.first() else {
            return Ok(());
        };
        let mut domains = ca.domains().cloned().unwrap_or_default();
        domains.extend(outside.iter().map(|host| domain_of(host)));
        domains.remove(NOBODY);
        if !self.files.root_key.exists() {
            let name = first.to_string();
            return Err(self.files.bad(CaError::Outside { name }));
        }
        let root_pem = text(&self.files.root_cert)?;
        let root = self.files.root(&root_pem, now)?;
        let wider = self.files.renew(&root, &self.name, &domains, now)?;
        *self.ca.write() = Arc::new(wider);
        Ok(())
    }

    /// Says whether a chain stands under the intermediate in use.
    pub(super) fn has_issued(&self, key: &Arc<CertifiedKey>) -> bool {
        let ours = CertificateDer::from_pem_slice(self.ca().pem().as_bytes());
        ours.is_ok_and(|ours| key.cert.get(1) == Some(&ours))
    }
}

/// Reads the root's key in PEM, to take it offline.
///
/// # Errors
/// [`CertError::File`] where it is not in `dir`, [`CertError::Locked`].
pub(crate) fn root_key(dir: &Path, keys: &Arc<Keys>) -> Result<Zeroizing<String>, CertError> {
    sealed::read(keys, &Files::new(dir, keys).root_key)
}

/// The domain that stands for a host: its parent, so that a neighbour needs no other intermediate;
/// the host itself where its parent may be a public suffix.
fn domain_of(host: &str) -> String {
    if let Some(parent) = host.strip_prefix("*.") {
        return parent.to_owned();
    }
    let parent = host.split_once('.').map(|(_, rest)| rest);
    let is_wide = |parent: &&str| match parent.split_once('.') {
        None => true,
        Some((label, end)) => !end.contains('.') && label.len() <= 3 && end.len() == 2,
    };
    parent.filter(|p| !is_wide(p)).unwrap_or(host).to_owned()
}

/// Stands for nobody: an intermediate that was made before any host was known. Source: RFC 6761.
const NOBODY: &str = "invalid";

fn first_domains(name: &str) -> BTreeSet<String> {
    let known = crate::config::is_host_name(name);
    BTreeSet::from([match known {
        true => domain_of(name),
        false => NOBODY.to_owned(),
    }])
}

#[derive(Debug)]
struct Files {
    dir: PathBuf,
    root_cert: PathBuf,
    root_key: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    keys: Arc<Keys>,
}

impl Files {
    fn new(dir: &Path, keys: &Arc<Keys>) -> Self {
        Self {
            dir: dir.to_owned(),
            root_cert: dir.join("root.pem"),
            root_key: dir.join("root.key"),
            cert: dir.join("intermediate.pem"),
            key: dir.join("intermediate.key"),
            keys: Arc::clone(keys),
        }
    }

    /// The certificate is written last: without it the next start begins afresh.
    fn create(&self, name: &str, now: i64) -> Result<Ca, CertError> {
        let root = Root::create(&format!("{name} root"), now).map_err(|e| self.bad(e))?;
        let ca = self.renew(&root, name, &first_domains(name), now)?;
        sealed::write(&self.keys, &self.root_key, root.key_pem())?;
        files::replace(&self.root_cert, root.pem().as_bytes(), 0o644)?;
        Ok(ca)
    }

    fn load(&self, name: &str, now: i64) -> Result<Ca, CertError> {
        let root_pem = text(&self.root_cert)?;
        let loaded = self.load_intermediate(&root_pem, now);
        let fault = match loaded {
            Ok(ca) if !ca.is_due(now) => return Ok(ca),
            Err(e) if e.is_permission() => return Err(e),
            other => other,
        };
        if !self.root_key.exists() {
            return fault;
        }
        let before = fault.ok().and_then(|ca| ca.domains().cloned());
        let domains = before.unwrap_or_else(|| first_domains(name));
        let root = self.root(&root_pem, now)?;
        self.renew(&root, name, &domains, now)
    }

    fn root(&self, root_pem: &str, now: i64) -> Result<Root, CertError> {
        let key = sealed::read(&self.keys, &self.root_key)?;
        Root::from_pem(root_pem, &key, now).map_err(|e| self.bad(e))
    }

    fn load_intermediate(&self, root_pem: &str, now: i64) -> Result<Ca, CertError> {
        let key = sealed::read(&self.keys, &self.key)?;
        let cert = text(&self.cert)?;
        Ca::from_pem(root_pem, &cert, &key, now).map_err(|e| self.bad(e))
    }

    fn renew(
        &self,
        root: &Root,
        name: &str,
        domains: &BTreeSet<String>,
        now: i64,
    ) -> Result<Ca, CertError> {
        let made = root.intermediate_for(&format!("{name} intermediate"), domains, now);
        let ca = made.map_err(|e| self.bad(e))?;
        sealed::write(&self.keys, &self.key, ca.key_pem())?;
        files::replace(&self.cert, ca.pem().as_bytes(), 0o644)?;
        Ok(ca)
    }

    fn bad(&self, source: CaError) -> CertError {
        CertError::Authority {
            dir: self.dir.clone(),
            source,
        }
    }
}

fn text(path: &Path) -> Result<String, FileError> {
    let bytes = files::read_public(path)?;
    String::from_utf8(bytes).map_err(|_| FileError::NotPlain {
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests;
