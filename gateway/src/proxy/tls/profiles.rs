//! TLS settings by host: the ordinary ones, and those of hosts that ask for more.
//!
//! Each profile has ticket keys of its own, so a session that was begun under one is never resumed
//! under another. One that asks for client certificates resumes nothing: each connection is judged
//! by the certificate it shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::{CertError, CertSet, files, provider};
use crate::config::Profile;

/// The TLS settings of every host.
#[derive(Debug)]
pub(crate) struct Profiles {
    ordinary: Arc<ServerConfig>,
    hosts: BTreeMap<String, usize>,
    special: Vec<Arc<ServerConfig>>,
}

impl Profiles {
    /// Reads what the profiles name and makes their settings; `current` is asked at each
    /// handshake.
    ///
    /// # Errors
    /// [`CertError`] when a file of trusted roots is missing, damaged or empty: a host that asks
    /// for client certificates is not served without them.
    pub(crate) fn new<F>(profiles: &[Profile], current: F) -> Result<Self, CertError>
    where
        F: Fn() -> Arc<CertSet> + Clone + Send + Sync + 'static,
    {
        let mut made = Self {
            ordinary: Arc::new(super::server_config(current.clone())?),
            hosts: BTreeMap::new(),
            special: Vec::new(),
        };
        for profile in profiles {
            let verifier = profile.client_ca.as_deref().map(trusted).transpose()?;
            let versions = match profile.tls13_only {
                true => &super::ONLY_13[..],
                false => &super::BOTH[..],
            };
            let config = super::config_of(versions, verifier, current.clone())?;
            for host in &profile.hosts {
                made.hosts.insert(host.clone(), made.special.len());
            }
            made.special.push(Arc::new(config));
        }
        Ok(made)
    }

    /// Returns the settings for the name that a client asks for.
    pub(crate) fn pick(&self, sni: Option<&str>) -> &Arc<ServerConfig> {
        let special = self.place(sni).and_then(|at| self.special.get(at));
        special.unwrap_or(&self.ordinary)
    }

    /// Says whether two names share their settings: a connection that was made for one may carry
    /// requests for the other only then.
    pub(crate) fn is_same(&self, sni: Option<&str>, host: &str) -> bool {
        self.place(sni) == self.place(Some(host))
    }

    fn place(&self, name: Option<&str>) -> Option<usize> {
        if self.hosts.is_empty() {
            return None;
        }
        self.hosts.get(&certs::same_host_form(name?)).copied()
    }
}

fn trusted(path: &std::path::Path) -> Result<Arc<dyn ClientCertVerifier>, CertError> {
    let bad = |what: String| CertError::ClientCa {
        path: path.to_owned(),
        what,
    };
    let pem = files::read_public(path)?;
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(&pem) {
        let der = der.map_err(|e| bad(e.to_string()))?;
        roots.add(der).map_err(|e| bad(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|e| bad(e.to_string()))
}
