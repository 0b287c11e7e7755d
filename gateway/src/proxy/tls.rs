//! TLS of the HTTPS doors: the set of certificates, and how a handshake chooses from it.

mod authority;
pub(crate) mod files;
mod profiles;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use certs::{Chain, ChainError, DAY, Leaf, Selection};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::acme::names::Names;

pub(crate) use authority::{InternalCa, install as install_authority};
pub(crate) use files::{FileError, Readers, read_public, read_secret};
pub(crate) use profiles::Profiles;

/// Short, since nothing revokes a leaf: a lost key is of use for two weeks at most.
const LEAF_LIFE: i64 = 14 * DAY;
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

/// The certificates of one snapshot.
#[derive(Debug)]
pub(crate) struct CertSet {
    selection: Selection,
    chains: Vec<Arc<Chain>>,
    own: Vec<Arc<Chain>>,
    ordered: Vec<Arc<Chain>>,
    issued: Vec<Arc<Chain>>,
}

/// What directories signed, and what they shall.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    /// Certificates that were taken over; they count as own files.
    pub(crate) imported: Vec<Arc<Chain>>,
    /// Certificates from the shelf.
    pub(crate) chains: Vec<Arc<Chain>>,
    /// What is ordered: a host of these may be without a certificate for a while.
    pub(crate) names: Names,
}

impl CertSet {
    /// Builds the set for the host names in `names`.
    ///
    /// Configured files go before what directories signed, and that before the internal authority. The authority gives each host a leaf of
    /// its own, so that no browser sends the requests of two hosts over one HTTP/2 connection;
    /// a leaf of `previous` is kept until a third of its life is left.
    ///
    /// # Errors
    /// [`CertError`]; the caller keeps the previous set.
    pub(crate) fn build(
        files: &[CertFiles],
        ordered: &Ordered,
        internal: Option<&InternalCa>,
        names: &[String],
        previous: Option<&Self>,
        now: i64,
    ) -> Result<Self, CertError> {
        let provider = provider();
        let mut set = Self {
            selection: Selection::new(nameless(&provider, now)?),
            chains: Vec::new(),
            own: Vec::new(),
            ordered: Vec::new(),
            issued: Vec::new(),
        };
        for pair in files {
            let chain = read_chain(pair, &provider, now)?;
            set.own.push(chain.clone());
            set.add(chain);
        }
        for chain in &ordered.imported {
            set.own.push(chain.clone());
            set.add(chain.clone());
        }
        for chain in &ordered.chains {
            // own files stand for a host by a wildcard, too
            if !chain.names().iter().all(|name| set.is_own(name)) {
                set.ordered.push(chain.clone());
                set.add(chain.clone());
            }
        }
        if let Some(internal) = internal {
            let open = |host: &&String| set.selection.find(host).is_none();
            let open: Vec<_> = names.iter().filter(open).collect();
            internal.cover(&open, now)?;
        }
        for host in names {
            if set.selection.find(host).is_some() {
                continue;
            }
            if internal.is_none() && ordered.names.cover(host) {
                // nobody is named for it until its directory has signed
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

    /// Says whether a certificate of a directory is no longer valid.
    pub(crate) fn is_over(&self, now: i64) -> bool {
        self.ordered.iter().any(|c| c.not_after() < now)
    }

    /// Says whether an own file stands for a host.
    pub(crate) fn is_own(&self, host: &str) -> bool {
        let form = certs::same_host_form(host);
        let wild = form.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        self.own.iter().any(|chain| {
            let names = chain.names();
            names.contains(&form) || wild.as_ref().is_some_and(|w| names.contains(w))
        })
    }

    /// Lists the chains with where each is from: `file`, `directory` or `internal`.
    pub(crate) fn by_source(&self) -> impl Iterator<Item = (&'static str, &Arc<Chain>)> {
        let own = self.own.iter().map(|c| ("file", c));
        let ordered = self.ordered.iter().map(|c| ("directory", c));
        own.chain(ordered)
            .chain(self.issued.iter().map(|c| ("internal", c)))
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
    let mut config = builder.with_cert_resolver(Arc::new(Resolver { current }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if asks {
        // resumed, a client would come in by a certificate that has ended since
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(internal)?;
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
