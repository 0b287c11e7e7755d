//! The certificates in force, and where each is from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use certs::{Chain, ChainError, DAY, Leaf, Selection, Tag};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;

use super::many::each;
use super::{CertError, InternalCa, provider};
use crate::acme::names::Names;

/// Short, since nothing revokes a leaf: a lost key is of use for two weeks at most.
const LEAF_LIFE: i64 = 14 * DAY;
const NAMELESS_LIFE: i64 = 3650 * DAY;

/// The certificates of one snapshot.
#[derive(Debug)]
pub(crate) struct CertSet {
    selection: Selection,
    chains: Vec<Arc<Chain>>,
    own: Vec<Arc<Chain>>,
    own_names: HashSet<String>,
    ordered: Vec<Arc<Chain>>,
    /// By host, in the form in which names are compared.
    issued: BTreeMap<String, Arc<Chain>>,
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
    /// Configured files (`own`) go before what directories signed, and that before the internal
    /// authority. The authority gives each host a leaf of its own, so that no browser sends the
    /// requests of two hosts over one HTTP/2 connection; a leaf of `previous` is kept until a third
    /// of its life is left.
    ///
    /// # Errors
    /// [`CertError`]; the caller keeps the previous set.
    pub(crate) fn build(
        own: &[Arc<Chain>],
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
            own: own.iter().chain(&ordered.imported).cloned().collect(),
            own_names: HashSet::new(),
            ordered: Vec::new(),
            issued: BTreeMap::new(),
        };
        let own = set.own.iter().flat_map(|chain| chain.names());
        set.own_names = own.cloned().collect();
        for chain in set.own.clone() {
            set.add(chain);
        }
        for chain in &ordered.chains {
            // own files stand for a host by a wildcard, too
            if !chain.names().iter().all(|name| set.is_own(name)) {
                set.ordered.push(chain.clone());
                set.add(chain.clone());
            }
        }
        let open = names
            .iter()
            .filter(|host| set.selection.find(host).is_none());
        let open: Vec<_> = open.collect();
        if let Some(internal) = internal {
            internal.cover(&open, now)?;
        }
        for chain in leaves(&open, &ordered.names, internal, previous, now)? {
            let Some(host) = chain.names().first() else {
                continue;
            };
            set.issued.insert(host.clone(), chain.clone());
            set.add(chain);
        }
        Ok(set)
    }

    /// Returns what a handshake for a name is answered with.
    ///
    /// # Errors
    /// [`ChainError`] for a chain whose key cannot be made.
    pub(super) fn serve(&self, sni: Option<&str>) -> Result<Arc<CertifiedKey>, &ChainError> {
        self.selection.serve(sni)
    }

    /// Says whether the handshake for `sni` was answered with the certificate of `host`; if not,
    /// the request is misdirected (421).
    pub(crate) fn same_certificate(&self, sni: Option<&str>, host: &str) -> bool {
        self.selection.is_same(sni, host)
    }

    /// Says whether the set should be rebuilt: a leaf of the internal authority has a third of
    /// its life left, or less.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        self.issued.values().any(|c| is_due(c, now))
    }

    /// Says whether a certificate of a directory is no longer valid.
    pub(crate) fn is_over(&self, now: i64) -> bool {
        self.ordered.iter().any(|c| c.not_after() < now)
    }

    /// Returns the last second in which every certificate of a directory is valid.
    pub(crate) fn ordered_until(&self) -> Option<i64> {
        self.ordered.iter().map(|c| c.not_after()).min()
    }

    /// Says whether an own file stands for a host.
    pub(crate) fn is_own(&self, host: &str) -> bool {
        let form = certs::same_host_form(host);
        let wild = form.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        self.own_names.contains(&form) || wild.is_some_and(|w| self.own_names.contains(&w))
    }

    /// Lists the chains with where each is from: `file`, `directory` or `internal`.
    pub(crate) fn by_source(&self) -> impl Iterator<Item = (&'static str, &Arc<Chain>)> {
        let own = self.own.iter().map(|c| ("file", c));
        let ordered = self.ordered.iter().map(|c| ("directory", c));
        own.chain(ordered)
            .chain(self.issued.values().map(|c| ("internal", c)))
    }

    /// Lists the chains with the names and the end of each, for status and alarms.
    pub(crate) fn chains(&self) -> &[Arc<Chain>] {
        &self.chains
    }

    /// Lists the chains by what stands for their files on the record of checks.
    pub(super) fn by_tag(&self) -> HashMap<Tag, Arc<Chain>> {
        let chains = self.own.iter().chain(&self.ordered);
        let tagged = chains.filter_map(|chain| Some((chain.tag()?, Arc::clone(chain))));
        tagged.collect()
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
        let chain = self.issued.get(&form)?;
        let stands = |key| internal.has_issued(key);
        let good = !is_due(chain, now) && chain.certified_key().is_ok_and(stands);
        good.then(|| chain.clone())
    }
}

fn is_due(chain: &Chain, now: i64) -> bool {
    certs::is_due(chain.not_before(), chain.not_after(), now)
}

/// Returns a leaf of the internal authority for each of the hosts: that of before as long as it is
/// good, else a new one, made over the cores there are.
fn leaves(
    hosts: &[&String],
    ordered: &Names,
    internal: Option<&InternalCa>,
    previous: Option<&CertSet>,
    now: i64,
) -> Result<Vec<Arc<Chain>>, CertError> {
    let provider = provider();
    let mut seen = HashSet::new();
    let mut leaves = Vec::new();
    let mut fresh = Vec::new();
    for host in hosts {
        if !seen.insert(certs::same_host_form(host)) {
            continue;
        }
        if internal.is_none() && ordered.cover(host) {
            // nobody is named for it until its directory has signed
            continue;
        }
        match previous.and_then(|p| p.still_good(host, internal, now)) {
            Some(chain) => leaves.push(chain),
            None => fresh.push(*host),
        }
    }
    for made in each(&fresh, |host| issue(internal, host, &provider, now)) {
        leaves.push(made?);
    }
    Ok(leaves)
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
