//! TLS of the HTTPS doors: the set of certificates, and how a handshake chooses from it.

mod authority;
mod checks;
pub(crate) mod files;
mod many;
mod profiles;
mod set;
mod tickets;
pub(crate) mod whole;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use certs::ChainError;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SupportedProtocolVersion};

use crate::clock;
use tickets::Tickets;

pub(crate) use authority::{
    InternalCa, install as install_authority, reseal as reseal_authority, root_key,
};
pub(crate) use checks::{Checks, Own, Past, Reading};
pub(crate) use files::{FileError, Readers, read_public, read_secret};
pub(crate) use profiles::Profiles;
pub(crate) use set::{CertSet, Ordered};

/// Says why a set of certificates cannot be used; the set in force stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertError {
    /// A file cannot be read or lies open to others.
    #[error(transparent)]
    File(#[from] FileError),
    /// A configured chain is not usable.
    #[error("certificate {}: {source}", chain.display())]
    Chain {
        chain: PathBuf,
        #[source]
        source: ChainError,
    },
    /// The key that lies with a certificate does not open.
    #[error("certificate {}: its key does not open with this master key", chain.display())]
    Sealed { chain: PathBuf },
    /// A key of the internal authority does not open.
    #[error("{} does not open with this master key", path.display())]
    Locked { path: PathBuf },
    /// The internal authority is not usable.
    #[error("internal authority in {}: {source}", dir.display())]
    Authority {
        dir: PathBuf,
        #[source]
        source: certs::CaError,
    },
    /// The roots of client certificates are not usable.
    #[error("client certificates: {}: {what}", path.display())]
    ClientCa { path: PathBuf, what: String },
    /// No configured certificate names a host, and the internal authority is off.
    #[error("no configured certificate names {host}, and the internal authority is off")]
    NotCovered { host: String },
    /// A leaf of the internal authority cannot be made.
    #[error("no certificate for {host}: {source}")]
    Issue {
        host: String,
        #[source]
        source: certs::CaError,
    },
    /// A leaf just made cannot be read back, or TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Internal(String),
}

impl CertError {
    /// Says whether the fault is one of permissions (exit code 77), not of content.
    pub(crate) fn is_permission(&self) -> bool {
        matches!(self, Self::File(error) if error.is_permission())
    }
}

/// A configured certificate: files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertFiles {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// Makes the TLS settings of a listener: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, tickets under keys
/// that live in memory and count for twelve hours, no early data, no key log.
///
/// `current` is asked at each handshake.
///
/// # Errors
/// [`CertError::Internal`] when the TLS library refuses.
pub(crate) fn server_config<F>(current: F) -> Result<ServerConfig, CertError>
where
    F: Fn() -> Arc<CertSet> + Send + Sync + 'static,
{
    config_of(&BOTH, None, current)
}

static BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
static ONLY_13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

fn config_of<F>(
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<Arc<dyn ClientCertVerifier>>,
    current: F,
) -> Result<ServerConfig, CertError>
where
    F: Fn() -> Arc<CertSet> + Send + Sync + 'static,
{
    let internal = |e: rustls::Error| CertError::Internal(e.to_string());
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(internal)?;
    let asks = clients.is_some();
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let told = AtomicBool::new(false);
    let mut config = builder.with_cert_resolver(Arc::new(Resolver { current, told }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if asks {
        // resumed, a client would come in by a certificate that has ended since
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = Arc::new(Tickets::new(clock::unix).map_err(internal)?);
    }
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Returns the crypto provider of every TLS configuration of ours.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let groups: Vec<&'static dyn SupportedKxGroup> = vec![
        kx_group::X25519MLKEM768,
        kx_group::X25519,
        kx_group::SECP256R1,
        kx_group::SECP384R1,
    ];
    let mut all = aws_lc_rs::default_provider();
    // as browsers want it; SHA-384 and four more rounds are a tenth of a whole handshake
    all.cipher_suites
        .sort_by_key(|suite| !is_128(suite.suite()));
    Arc::new(CryptoProvider {
        kx_groups: groups,
        ..all
    })
}

/// AES with 128 bits comes first. Source: [RFC 8446 section 9.1](https://www.rfc-editor.org/rfc/rfc8446#section-9.1).
fn is_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

struct Resolver<F> {
    current: F,
    /// Whether a key that cannot be made was told of: clients can ask for it as often as they like.
    told: AtomicBool,
}

impl<F> fmt::Debug for Resolver<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl<F> ResolvesServerCert for Resolver<F>
where
    F: Fn() -> Arc<CertSet> + Send + Sync,
{
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let set = (self.current)();
        match set.serve(hello.server_name()) {
            Ok(key) => Some(key),
            Err(error) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the key of a certificate cannot be made; nobody is answered with it");
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
