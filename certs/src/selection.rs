//! The choice of a chain by host name.

mod name;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rustls::sign::CertifiedKey;

use self::name::Name;
use crate::{Chain, ChainError};

/// Chains by host name: the exact name first, then a wildcard of one label, else a certificate
/// that names nothing.
#[derive(Debug)]
pub struct Selection {
    exact: HashMap<Name, Entry>,
    wildcard: HashMap<Name, Entry>,
    nameless: Arc<CertifiedKey>,
}

/// What stands under a name. The key stands here too once it is made: a look need not wait for the
/// memory of the chain then.
#[derive(Debug)]
struct Entry {
    chain: Arc<Chain>,
    made: OnceLock<Arc<CertifiedKey>>,
}

impl Entry {
    fn new(chain: &Arc<Chain>) -> Self {
        Self {
            chain: Arc::clone(chain),
            made: OnceLock::new(),
        }
    }

    fn key(&self) -> Result<&Arc<CertifiedKey>, &ChainError> {
        if let Some(key) = self.made.get() {
            return Ok(key);
        }
        let key = self.chain.certified_key()?;
        Ok(self.made.get_or_init(|| Arc::clone(key)))
    }
}

impl Selection {
    /// Makes an empty selection that answers every name with `nameless`.
    #[must_use]
    pub fn new(nameless: Arc<CertifiedKey>) -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            nameless,
        }
    }

    /// Adds a chain under each of its names; the first chain added for a name keeps it.
    pub fn add(&mut self, chain: &Arc<Chain>) {
        for name in chain.names() {
            let (map, key) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name.as_str()),
            };
            map.entry(Name::new(key))
                .or_insert_with(|| Entry::new(chain));
        }
    }

    /// Returns the chain that names `host`, if one does.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<&Arc<Chain>> {
        self.entry(host).map(|entry| &entry.chain)
    }

    fn entry(&self, host: &str) -> Option<&Entry> {
        let host = form(host);
        if let Some(entry) = self.exact.get(host.as_bytes()) {
            return Some(entry);
        }
        let (label, parent) = host.split_once('.')?;
        if label.is_empty() {
            return None;
        }
        self.wildcard.get(parent.as_bytes())
    }

    /// Returns what a handshake for `sni` is answered with; unknown or absent names get the
    /// certificate that names nothing.
    ///
    /// # Errors
    /// [`ChainError`] for a chain whose key cannot be made; nobody is named then.
    pub fn serve(&self, sni: Option<&str>) -> Result<Arc<CertifiedKey>, &ChainError> {
        match sni.and_then(|host| self.entry(host)) {
            Some(entry) => entry.key().cloned(),
            None => Ok(self.nameless.clone()),
        }
    }

    /// Says whether the handshake for `sni` was answered with the certificate of `host`.
    ///
    /// False when either is unknown: such a request is misdirected.
    /// Source: [RFC 9110 section 15.5.20](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20).
    #[must_use]
    pub fn is_same(&self, sni: Option<&str>, host: &str) -> bool {
        if sni == Some(host) {
            return self.find(host).is_some();
        }
        match (sni.and_then(|sni| self.find(sni)), self.find(host)) {
            (Some(shown), Some(meant)) => Arc::ptr_eq(shown, meant),
            (None | Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// Returns a host name as it is compared: lower case, without a final dot.
#[must_use]
pub fn same_host_form(host: &str) -> String {
    form(host).into_owned()
}

fn form(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

#[cfg(test)]
mod tests;
