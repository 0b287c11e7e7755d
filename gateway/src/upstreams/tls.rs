//! What TLS towards an upstream needs beyond the ordinary: an authority of its own, a certificate to show.

use std::path::Path;
use std::sync::Arc;

use pingora_core::protocols::tls::CaType;
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use policy::Upstream;
use policy::front::{Source, TlsTo};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::proxy::tls::{Readers, read_public, read_secret};

/// TLS towards one upstream.
#[derive(Clone, Default)]
pub(crate) struct Towards {
    pub(super) ca: Option<Arc<CaType>>,
    pub(super) name: Option<String>,
    pub(super) identity: Option<Arc<CertKey>>,
}

impl Towards {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with one of them; the upstream is not used then.
    pub(super) fn load(to: &Upstream, written: &TlsTo) -> Result<Self, String> {
        if !to.tls {
            return Ok(Self::default());
        }
        let ca = written.ca.as_deref().map(authority).transpose()?;
        let identity = written.identity.as_ref();
        let identity = identity.map(|(cert, key)| identity_of(cert, key));
        Ok(Self {
            ca,
            name: written.name.clone(),
            identity: identity.transpose()?,
        })
    }
}

/// Reads every file that a policy names for upstreams, for nothing but to know that it can be.
///
/// # Errors
/// The first that cannot be used, and of what.
pub(crate) fn readable(policy: &policy::Policy) -> Result<(), String> {
    for (_, app) in policy.apps() {
        for front in &app.fronts {
            let Source::Pool(pool) = &front.source else {
                continue;
            };
            for member in &pool.members {
                let (id, area) = (&app.id, &front.source_at);
                Towards::load(&member.to, &member.tls)
                    .map_err(|why| format!("upstream {} of {id}{area}: {why}", member.to))?;
            }
        }
    }
    Ok(())
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read_public(Path::new(file)).map_err(|e| e.to_string())?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|e| format!("{file}: {e}"))?;
    if all.is_empty() {
        return Err(format!("{file}: no certificate in it"));
    }
    // what cannot be an anchor cannot be parsed later either
    let mut probe = RootCertStore::empty();
    for certificate in &all {
        let added = probe.add(certificate.clone());
        added.map_err(|e| format!("{file}: {e}"))?;
    }
    Ok(all)
}

fn authority(file: &str) -> Result<Arc<CaType>, String> {
    let all = certificates(file)?;
    let wrap = |der: CertificateDer<'_>| WrappedX509::new(der.to_vec(), parse_x509);
    let all: Vec<WrappedX509> = all.into_iter().map(wrap).collect();
    Ok(Arc::from(all))
}

fn identity_of(cert: &str, key: &str) -> Result<Arc<CertKey>, String> {
    let chain = certificates(cert)?;
    let secret = read_secret(Path::new(key), Readers::OwnerAndGroup).map_err(|e| e.to_string())?;
    let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|e| format!("{key}: {e}"))?;
    let usable = rustls::crypto::aws_lc_rs::sign::any_supported_type(&secret);
    usable.map_err(|e| format!("{key}: {e}"))?;
    let chain = chain.iter().map(|der| der.to_vec()).collect();
    Ok(Arc::new(CertKey::new(chain, secret.secret_der().to_vec())))
}
