//! The certificates in force, and where each is from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter;
use std::sync::Arc;

use certs::{Chain, ChainError, DAY, Leaf, Selection, Tag};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;

use super::checks::Own;
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
    files: Own,
    /// Of files and taken over, in their dates when the set was built.
    own: Vec<Arc<Chain>>,
    /// The names of those, each with the last second in which one of them is valid.
    own_names: HashMap<String, i64>,
    /// Of files and taken over, out of their dates.
    idle: Vec<Arc<Chain>>,
    ordered: Vec<Arc<Chain>>,
    /// By host, in the form in which names are compared.
    issued: BTreeMap<String, Arc<Chain>>,
}

/// What there is besides configured files, and what shall be.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    /// Certificates that were taken over; they count as own files.
    pub(crate) imported: Own,
    /// Certificates from the shelf.
    pub(crate) chains: Vec<Arc<Chain>>,
    /// What is ordered: a host of these may be without a certificate for a while.
    pub(crate) names: Names,
    /// Hosts whose leaf of the internal authority is made anew, however long it would be good.
    pub(crate) anew: HashSet<String>,
}

impl CertSet {
    /// Builds the set for the host names in `names`.
    ///
    /// Configured files (`own`) go before what directories signed, and that before the internal
    /// authority. A host whose own certificate is out of its dates is served by the others as if
    /// there were none, and by nobody where no other can be had. The authority gives each host a leaf
    /// of its own, so that no browser sends the requests of two hosts over one HTTP/2 connection; a
    /// leaf of `previous` is kept until a third of its life is left.
    ///
    /// # Errors
    /// [`CertError`]; the caller keeps the previous set.
    pub(crate) fn build(
        own: &Own,
        ordered: &Ordered,
        internal: Option<&InternalCa>,
        names: &[String],
        previous: Option<&Self>,
        now: i64,
    ) -> Result<Self, CertError> {
        let provider = provider();
        let mut set = Self::of(nameless(&provider, now)?, own, &ordered.imported);
        for chain in set.own.clone() {
            set.add(chain);
        }
        for chain in &ordered.chains {
            // own files stand for a host by a wildcard, too
            if !chain.names().iter().all(|name| set.is_own(name, now)) {
                set.ordered.push(chain.clone());
                set.add(chain.clone());
            }
        }
        let open = names
            .iter()
            .filter(|host| set.selection.find(host).is_none());
        let spare = |host: &&String| ordered.names.cover(host) || set.was_own(host);
        let (spare, open): (Vec<_>, Vec<_>) = open.partition(spare);
        let hosts = match internal {
            Some(internal) => permitted(internal, open, &spare, now)?,
            // nobody is named for the others until they have a certificate
            None => open,
        };
        let previous = previous.map(|set| (set, &ordered.anew));
        for chain in leaves(&hosts, internal, previous, now)? {
            let Some(host) = chain.names().first() else {
                continue;
            };
            set.issued.insert(host.clone(), chain.clone());
            set.add(chain);
        }
        Ok(set)
    }

    /// Makes a set without leaves, and nothing to be found in it.
    fn of(nameless: Arc<CertifiedKey>, files: &Own, imported: &Own) -> Self {
        let own: Vec<_> = files.good.iter().chain(&imported.good).cloned().collect();
        let mut own_names = HashMap::new();
        for chain in &own {
            for name in chain.names() {
                let end = own_names.entry(name.clone()).or_insert(i64::MIN);
                *end = chain.not_after().max(*end);
            }
        }
        Self {
            selection: Selection::new(nameless),
            chains: Vec::new(),
            files: files.clone(),
            own,
            own_names,
            idle: files.idle.iter().chain(&imported.idle).cloned().collect(),
            ordered: Vec::new(),
            issued: BTreeMap::new(),
        }
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

    /// Says whether the set should be rebuilt because a certificate of a file or of a directory is
    /// no longer valid, or one that was left out is.
    pub(crate) fn is_over(&self, now: i64) -> bool {
        let mut stand = self.own.iter().chain(&self.ordered);
        stand.any(|c| c.not_after() < now) || self.idle.iter().any(|c| c.is_in_date(now))
    }

    /// Returns the last second in which every certificate of a file or of a directory is valid.
    pub(crate) fn good_until(&self) -> Option<i64> {
        let stand = self.own.iter().chain(&self.ordered);
        stand.map(|c| c.not_after()).min()
    }

    /// Says whether a certificate of one's own stands for a host at `now`.
    pub(crate) fn is_own(&self, host: &str, now: i64) -> bool {
        let is_good = |name: &String| self.own_names.get(name).is_some_and(|end| *end >= now);
        names_for(host).iter().any(is_good)
    }

    /// Says whether a certificate of one's own that is out of its dates was meant for a host.
    fn was_own(&self, host: &str) -> bool {
        let names = names_for(host);
        let mut held = self.idle.iter().flat_map(|chain| chain.names());
        held.any(|name| names.contains(name))
    }

    /// Lists the certificates of one's own that are out of their dates.
    pub(crate) fn idle(&self) -> &[Arc<Chain>] {
        &self.idle
    }

    /// Returns what the configured files held.
    pub(crate) fn files(&self) -> &Own {
        &self.files
    }

    /// Returns the internal authority's leaf for a host in the form in which names are compared.
    pub(crate) fn leaf(&self, host: &str) -> Option<&Arc<Chain>> {
        self.issued.get(host)
    }

    /// Lists the hosts of the internal authority's leaves, with the leaf.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (&str, &Arc<Chain>)> {
        self.issued.iter().map(|(host, leaf)| (host.as_str(), leaf))
    }

    /// Lists the chains with where each is from: `file`, `directory` or `internal`; those that are
    /// left out come last.
    pub(crate) fn by_source(&self) -> impl Iterator<Item = (&'static str, &Arc<Chain>)> {
        let own = self.own.iter().map(|c| ("file", c));
        let ordered = self.ordered.iter().map(|c| ("directory", c));
        own.chain(ordered)
            .chain(self.issued.values().map(|c| ("internal", c)))
            .chain(self.idle.iter().map(|c| ("file", c)))
    }

    /// Lists the chains with the names and the end of each, for status and alarms.
    pub(crate) fn chains(&self) -> &[Arc<Chain>] {
        &self.chains
    }

    /// Lists the chains by what stands for their files on the record of checks.
    pub(super) fn by_tag(&self) -> HashMap<Tag, Arc<Chain>> {
        let chains = self.own.iter().chain(&self.ordered).chain(&self.idle);
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

/// Lists the names in a certificate that stand for a host: its own, and the wildcard over it.
fn names_for(host: &str) -> Vec<String> {
    let own = certs::same_host_form(host);
    let wild = own.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    iter::once(own).chain(wild).collect()
}

fn is_due(chain: &Chain, now: i64) -> bool {
    certs::is_due(chain.not_before(), chain.not_after(), now)
}

/// Adds to the hosts that need a leaf of the authority the spare ones for which it may sign: they had
/// another certificate or are promised one, so that nothing fails for their sake.
fn permitted<'a>(
    internal: &InternalCa,
    mut hosts: Vec<&'a String>,
    spare: &[&'a String],
    now: i64,
) -> Result<Vec<&'a String>, CertError> {
    internal.cover(&hosts, now)?;
    if let Err(error) = internal.cover(spare, now) {
        tracing::warn!(%error, "hosts stay without a certificate until theirs is there");
    }
    let ca = internal.ca();
    hosts.extend(spare.iter().filter(|host| ca.permits(host)));
    Ok(hosts)
}

/// Returns a leaf of the internal authority for each of the hosts: that of before as long as it is
/// good and no other is wanted, else a new one, made over the cores there are.
fn leaves(
    hosts: &[&String],
    internal: Option<&InternalCa>,
    previous: Option<(&CertSet, &HashSet<String>)>,
    now: i64,
) -> Result<Vec<Arc<Chain>>, CertError> {
    let provider = provider();
    let mut seen = HashSet::new();
    let mut leaves = Vec::new();
    let mut fresh = Vec::new();
    for host in hosts {
        let form = certs::same_host_form(host);
        let held = previous.filter(|(_, anew)| !anew.contains(&form));
        if !seen.insert(form) {
            continue;
        }
        match held.and_then(|(set, _)| set.still_good(host, internal, now)) {
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
