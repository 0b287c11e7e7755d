//! TLS of the HTTPS doors: the set of certificates, and how a handshake chooses from it.

mod authority;
mod files;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use certs::{Chain, ChainError, DAY, Leaf, Selection};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

pub(crate) use authority::InternalCa;
pub(crate) use files::{FileError, Readers, read_public, read_secret};

const LEAF_LIFE: i64 = 90 * DAY;
const NAMELESS_LIFE: i64 = 3650 * DAY;

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
    /// The internal authority is not usable.
    #[error("internal authority in {}: {source}", dir.display())]
    Authority {
        dir: PathBuf,
        #[source]
        source: certs::CaError,
    },
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

/// The certificates of one snapshot.
#[derive(Debug)]
pub(crate) struct CertSet {
    selection: Selection,
    chains: Vec<Arc<Chain>>,
    issued: Vec<Arc<Chain>>,
}

impl CertSet {
    /// Builds the set for the host names in `names`.
    ///
    /// Configured files go before the internal authority. The authority gives each host a leaf of
    /// its own, so that no browser sends the requests of two hosts over one HTTP/2 connection;
    /// a leaf of `previous` is kept until a third of its life is left.
    ///
    /// # Errors
    /// [`CertError`]; the caller keeps the previous set.
    pub(crate) fn build(
        files: &[CertFiles],
        internal: Option<&InternalCa>,
        names: &[String],
        previous: Option<&Self>,
        now: i64,
    ) -> Result<Self, CertError> {
        let provider = provider();
        let mut set = Self {
            selection: Selection::new(nameless(&provider, now)?),
            chains: Vec::new(),
            issued: Vec::new(),
        };
        for pair in files {
            set.add(read_chain(pair, &provider, now)?);
        }
        for host in names {
            if set.selection.find(host).is_some() {
                continue;
            }
            let kept = previous.and_then(|p| p.still_good(host, internal, now));
            let chain = match kept {
                Some(chain) => chain,
                None => issue(internal, host, &provider, now)?,
            };
            set.issued.push(chain.clone());
            set.add(chain);
        }
        Ok(set)
    }

    /// Says whether the handshake for `sni` was answered with the certificate of `host`; if not,
    /// the request is misdirected (421).
    pub(crate) fn same_certificate(&self, sni: Option<&str>, host: &str) -> bool {
        self.selection.is_same(sni, host)
    }

    /// Says whether the set should be rebuilt: a leaf of the internal authority has a third of
    /// its life left, or less.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        self.issued.iter().any(|c| is_due(c, now))
    }

    /// Lists the chains with the names and the end of each, for status and alarms.
    pub(crate) fn chains(&self) -> &[Arc<Chain>] {
        &self.chains
    }

    fn add(&mut self, chain: Arc<Chain>) {
        self.selection.add(&chain);
        self.chains.push(chain);
    }

    fn still_good(
        &self,
        host: &str,
        internal: Option<&InternalCa>,
        now: i64,
    ) -> Option<Arc<Chain>> {
        let internal = internal?;
        let form = certs::same_host_form(host);
        let chain = self.issued.iter().find(|c| c.names().contains(&form))?;
        let good = !is_due(chain, now) && internal.has_issued(chain.certified_key());
        good.then(|| chain.clone())
    }
}

/// Makes the TLS settings of a listener: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, tickets under keys
/// that live in memory and rotate every six hours, no early data, no key log.
///
/// `current` is asked at each handshake.
///
/// # Errors
/// [`CertError::Internal`] when the TLS library refuses.
pub(crate) fn server_config<F>(current: F) -> Result<ServerConfig, CertError>
where
    F: Fn() -> Arc<CertSet> + Send + Sync + 'static,
{
    let internal = |e: rustls::Error| CertError::Internal(e.to_string());
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(internal)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver { current }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(internal)?;
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
    Arc::new(CryptoProvider {
        kx_groups: groups,
        ..aws_lc_rs::default_provider()
    })
}

struct Resolver<F> {
    current: F,
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
        Some(set.selection.serve(hello.server_name()))
    }
}

fn is_due(chain: &Chain, now: i64) -> bool {
    certs::is_due(chain.not_before(), chain.not_after(), now)
}

fn read_chain(
    pair: &CertFiles,
    provider: &CryptoProvider,
    now: i64,
) -> Result<Arc<Chain>, CertError> {
    let chain = read_public(&pair.chain)?;
    let key = read_secret(&pair.key, Readers::OwnerAndGroup)?;
    let parsed = Chain::parse(&chain, &key, now, provider);
    parsed.map(Arc::new).map_err(|source| CertError::Chain {
        chain: pair.chain.clone(),
        source,
    })
}

fn issue(
    internal: Option<&InternalCa>,
    host: &str,
    provider: &CryptoProvider,
    now: i64,
) -> Result<Arc<Chain>, CertError> {
    let host = certs::same_host_form(host);
    let Some(internal) = internal else {
        return Err(CertError::NotCovered { host });
    };
    match internal.ca().issue(&[&host], now, LEAF_LIFE) {
        Ok(leaf) => parse_own(&leaf, provider, now),
        Err(source) => Err(CertError::Issue { host, source }),
    }
}

fn parse_own(leaf: &Leaf, provider: &CryptoProvider, now: i64) -> Result<Arc<Chain>, CertError> {
    let (chain, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
    let parsed = Chain::parse(chain, key, now, provider);
    parsed
        .map(Arc::new)
        .map_err(|e| CertError::Internal(e.to_string()))
}

fn nameless(provider: &CryptoProvider, now: i64) -> Result<Arc<CertifiedKey>, CertError> {
    let internal = |text: String| CertError::Internal(text);
    let leaf = certs::nameless(now, NAMELESS_LIFE).map_err(|e| internal(e.to_string()))?;
    let (chain, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
    Chain::parse_nameless(chain, key, provider).map_err(|e| internal(e.to_string()))
}

#[cfg(test)]
mod tests;
