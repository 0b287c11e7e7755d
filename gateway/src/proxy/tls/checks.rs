//! How chains are read: what was checked in full before, by this process or by one before it, is
//! not computed again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::{Chain, ChainError, Checked, Tag};
use parking_lot::{RwLock, RwLockReadGuard};
use rustls::crypto::CryptoProvider;
use zeroize::Zeroizing;

use super::files::{self, Readers};
use super::many::each;
use super::{CertError, CertFiles, CertSet, provider, read_public, read_secret, whole};
use crate::secrets::Keys;

/// The file in the state folder.
const FILE: &str = "checked-certificates";
/// As many as the file can hold and still be read, at 32 bytes each.
const MOST: usize = 32_768;

/// The record of chains that were checked in full, kept over a restart.
///
/// Its key comes from the newest master key: after a rotation all are checked once more.
#[derive(Debug)]
pub(crate) struct Checks {
    path: PathBuf,
    checked: RwLock<Checked>,
    keys: Arc<Keys>,
}

impl Checks {
    /// Reads the record in the state folder; one that cannot be read is empty, so that everything
    /// is checked.
    pub(crate) fn open(data: &Path, keys: &Arc<Keys>) -> Self {
        let path = data.join(FILE);
        let mut checked = Checked::new(&keys.derive("checked-certificates"));
        if let Ok(bytes) = read_secret(&path, Readers::Owner) {
            checked.read(&bytes);
        }
        Self {
            path,
            checked: RwLock::new(checked),
            keys: Arc::clone(keys),
        }
    }

    /// Begins to read for use at `now`; what `previous` holds unchanged is taken from there.
    pub(crate) fn begin(&self, previous: Option<&CertSet>, now: i64) -> Reading<'_> {
        Reading {
            checked: Some(self.checked.read()),
            held: previous.map(CertSet::by_tag).unwrap_or_default(),
            provider: provider(),
            keys: Some(Arc::clone(&self.keys)),
            now,
        }
    }

    /// Puts what a set was read from on the record, and nothing else.
    pub(crate) fn keep(&self, set: &CertSet) {
        let all = set.chains().iter().chain(set.idle()).cloned();
        let all: Vec<_> = all.collect();
        let bytes = {
            let mut checked = self.checked.write();
            if !checked.keep(&all) {
                return;
            }
            checked.bytes()
        };
        let fits = bytes.get(..MOST * 32).unwrap_or(&bytes);
        if let Err(error) = files::replace(&self.path, fits, 0o600) {
            tracing::warn!(%error, "the next start checks all certificates in full");
        }
    }
}

impl CertFiles {
    fn read(&self) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), CertError> {
        let chain = read_public(&self.chain)?;
        let key = read_secret(&self.key, Readers::OwnerAndGroup)?;
        Ok((chain, key))
    }
}

/// Which files that are out of their dates are left out rather than refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// Those that were in force before, unchanged: what is put there anew must be good.
    Known,
    /// All: a start goes on by what is good.
    All,
}

impl Past {
    /// Says which are beside a set in force; without one it is a start.
    pub(crate) fn beside(previous: Option<&CertSet>) -> Self {
        match previous {
            Some(_) => Self::Known,
            None => Self::All,
        }
    }
}

/// Certificates of one's own, as they were found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    /// In their dates.
    pub(crate) good: Vec<Arc<Chain>>,
    /// Out of their dates, and left out for it.
    pub(crate) idle: Vec<Arc<Chain>>,
}

impl Own {
    /// Sorts what was in force by the dates of now.
    pub(crate) fn at(&self, now: i64) -> Self {
        let all = self.good.iter().chain(&self.idle).cloned();
        let (good, idle) = all.partition(|chain| chain.is_in_date(now));
        Self { good, idle }
    }

    pub(crate) fn push(&mut self, found: Found) {
        match found {
            Found::Good(chain) => self.good.push(chain),
            Found::Idle(chain) => self.idle.push(chain),
        }
    }
}

/// A certificate of one's own.
pub(crate) enum Found {
    Good(Arc<Chain>),
    Idle(Arc<Chain>),
}

/// One reading of files.
pub(crate) struct Reading<'a> {
    checked: Option<RwLockReadGuard<'a, Checked>>,
    held: HashMap<Tag, Arc<Chain>>,
    provider: Arc<CryptoProvider>,
    /// What opens the keys of whole files.
    keys: Option<Arc<Keys>>,
    now: i64,
}

impl Reading<'_> {
    /// Reads configured files in full.
    pub(crate) fn in_full(now: i64) -> Self {
        Self {
            checked: None,
            held: HashMap::new(),
            provider: provider(),
            keys: None,
            now,
        }
    }

    /// Reads everything in full, also what lies sealed.
    pub(crate) fn opening(keys: &Arc<Keys>, now: i64) -> Self {
        Self {
            keys: Some(Arc::clone(keys)),
            ..Self::in_full(now)
        }
    }

    /// Reads configured files, over the cores there are; none of them may be out of its dates.
    ///
    /// # Errors
    /// [`CertError`] of the first that is not usable.
    pub(crate) fn files(&self, pairs: &[CertFiles]) -> Result<Vec<Arc<Chain>>, CertError> {
        self.each(pairs, |pair, plain| {
            let (chain, key) = pair.read()?;
            plain.named(&pair.chain, &chain, &key)
        })
        .into_iter()
        .collect()
    }

    /// Reads configured files, over the cores there are, and leaves those out whose time is over.
    ///
    /// # Errors
    /// [`CertError`] of the first that is not usable.
    pub(crate) fn own(&self, pairs: &[CertFiles], past: Past) -> Result<Own, CertError> {
        let mut own = Own::default();
        for found in self.each(pairs, |pair, plain| {
            let (chain, key) = pair.read()?;
            plain.found(&pair.chain, &chain, &key, past)
        }) {
            own.push(found?);
        }
        Ok(own)
    }

    /// Reads files that hold a chain with its sealed key, over the cores there are.
    pub(crate) fn whole(&self, paths: &[PathBuf]) -> Vec<Result<Arc<Chain>, CertError>> {
        let keys = self.keys.as_deref();
        self.each(paths, |path, plain| {
            let whole = opened(keys, path)?;
            plain.named(path, &whole, &whole)
        })
    }

    /// As [`Reading::whole`], and what is out of its dates is told apart.
    pub(crate) fn whole_own(&self, paths: &[PathBuf]) -> Vec<Result<Found, CertError>> {
        let keys = self.keys.as_deref();
        self.each(paths, |path, plain| {
            let whole = opened(keys, path)?;
            plain.found(path, &whole, &whole, Past::All)
        })
    }

    fn each<T: Sync, R: Send>(
        &self,
        items: &[T],
        read: impl Fn(&T, &Plain<'_>) -> R + Sync,
    ) -> Vec<R> {
        let plain = Plain {
            checked: self.checked.as_deref(),
            held: &self.held,
            provider: &self.provider,
            now: self.now,
        };
        each(items, |item| read(item, &plain))
    }
}

/// Reads a chain with its key.
fn opened(keys: Option<&Keys>, path: &Path) -> Result<Zeroizing<Vec<u8>>, CertError> {
    let text = read_secret(path, Readers::Owner)?;
    let whole = keys.and_then(|keys| whole::open(keys, path, &text));
    whole.ok_or_else(|| CertError::Sealed {
        chain: path.to_owned(),
    })
}

/// What threads share of a reading.
struct Plain<'a> {
    checked: Option<&'a Checked>,
    held: &'a HashMap<Tag, Arc<Chain>>,
    provider: &'a CryptoProvider,
    now: i64,
}

fn bad(path: &Path, source: ChainError) -> CertError {
    let chain = path.to_owned();
    CertError::Chain { chain, source }
}

impl Plain<'_> {
    fn named(&self, path: &Path, chain: &[u8], key: &[u8]) -> Result<Arc<Chain>, CertError> {
        self.parse(chain, key).map_err(|source| bad(path, source))
    }

    fn found(&self, path: &Path, chain: &[u8], key: &[u8], past: Past) -> Result<Found, CertError> {
        match self.parse(chain, key) {
            Ok(good) => Ok(Found::Good(good)),
            Err(error) if error.is_of_dates() && (past == Past::All || self.knows(chain, key)) => {
                let idle = self.undated(chain, key);
                idle.map(Found::Idle).map_err(|source| bad(path, source))
            }
            Err(error) => Err(bad(path, error)),
        }
    }

    /// Says whether these files, as they are, were in force before.
    fn knows(&self, chain: &[u8], key: &[u8]) -> bool {
        self.checked.is_some_and(|checked| {
            let tag = checked.tag(chain, key);
            checked.knows(&tag) || self.held.contains_key(&tag)
        })
    }

    fn undated(&self, chain: &[u8], key: &[u8]) -> Result<Arc<Chain>, ChainError> {
        let Some(checked) = self.checked else {
            return Chain::parse_undated(chain, key, self.provider).map(Arc::new);
        };
        match self.held.get(&checked.tag(chain, key)) {
            Some(held) => Ok(Arc::clone(held)),
            None => checked
                .parse_undated(chain, key, self.provider)
                .map(Arc::new),
        }
    }

    fn parse(&self, chain: &[u8], key: &[u8]) -> Result<Arc<Chain>, ChainError> {
        let Some(checked) = self.checked else {
            return Chain::parse(chain, key, self.now, self.provider).map(Arc::new);
        };
        let held = match self.held.is_empty() {
            true => None,
            false => self.held.get(&checked.tag(chain, key)),
        };
        match held {
            Some(held) if held.is_in_date(self.now) => Ok(Arc::clone(held)),
            Some(_) | None => checked
                .parse(chain, key, self.now, self.provider)
                .map(Arc::new),
        }
    }
}
