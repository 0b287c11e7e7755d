//! Which chains were checked in full before: what is known needs no arithmetic of curves.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use rustls::crypto::CryptoProvider;

use crate::{Chain, ChainError};

/// What a check asks: another number or version makes all tags worthless.
const RULES: &str = concat!("postern chain check 1, ", env!("CARGO_PKG_VERSION"));
const TAG: usize = 32;

/// Stands for one chain file with its key file, as they were when they passed every check: an
/// HMAC-SHA-256 of both under the gateway's own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; TAG]);

/// The record of what was checked in full.
///
/// Who does not have the key can put nothing on it: a changed file, another key, and a record of
/// another gateway are simply not known, and are checked in full. Dates are on no record; they are
/// looked at each time.
pub struct Checked {
    key: hmac::Key,
    tags: BTreeSet<Tag>,
}

impl Checked {
    /// Makes an empty record under `key`.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            tags: BTreeSet::new(),
        }
    }

    /// Puts what [`Checked::bytes`] wrote on the record; anything else is without effect, since no
    /// files have such a tag.
    pub fn read(&mut self, bytes: &[u8]) {
        let (tags, _) = bytes.as_chunks::<TAG>();
        self.tags.extend(tags.iter().map(|tag| Tag(*tag)));
    }

    /// Returns the record as bytes: one tag of 32 bytes after the other, in order.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.tags.iter().flat_map(|tag| tag.0).collect()
    }

    /// Puts only these on the record, all of which passed every check; says whether that changed
    /// it.
    pub fn keep(&mut self, chains: &[Arc<Chain>]) -> bool {
        let tags = chains.iter().filter_map(|chain| chain.tag()).collect();
        let changed = self.tags != tags;
        self.tags = tags;
        changed
    }

    /// Returns how many are on the record.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tags.len()
    }

    /// Works out the tag of two files.
    #[must_use]
    pub fn tag(&self, chain_pem: &[u8], key_pem: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(RULES.as_bytes());
        for part in [chain_pem, key_pem] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; TAG];
        let sum = context.sign();
        tag.iter_mut()
            .zip(sum.as_ref())
            .for_each(|(to, from)| *to = *from);
        Tag(tag)
    }

    /// Reads a chain and its key from PEM for use at `now`: as [`Chain::parse`] does, but what is on
    /// the record is only decoded, its dates are looked at, and its key is made at first use.
    ///
    /// # Errors
    /// As for [`Chain::parse`].
    pub fn parse(
        &self,
        chain_pem: &[u8],
        key_pem: &[u8],
        now: i64,
        provider: &CryptoProvider,
    ) -> Result<Chain, ChainError> {
        self.read_one(chain_pem, key_pem, Some(now), provider)
    }

    /// As [`Checked::parse`], whatever the dates are: for a chain that is listed and not used.
    ///
    /// # Errors
    /// As for [`Chain::parse_undated`].
    pub fn parse_undated(
        &self,
        chain_pem: &[u8],
        key_pem: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Chain, ChainError> {
        self.read_one(chain_pem, key_pem, None, provider)
    }

    /// Says whether the files of a tag are on the record.
    #[must_use]
    pub fn knows(&self, tag: &Tag) -> bool {
        self.tags.contains(tag)
    }

    fn read_one(
        &self,
        chain_pem: &[u8],
        key_pem: &[u8],
        now: Option<i64>,
        provider: &CryptoProvider,
    ) -> Result<Chain, ChainError> {
        let tag = self.tag(chain_pem, key_pem);
        let chain = match self.knows(&tag) {
            true => Chain::parse_known(chain_pem, key_pem, now, provider),
            false => Chain::read(chain_pem, key_pem, now, provider),
        };
        chain.map(|chain| chain.tagged(tag))
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count();
        f.debug_struct("Checked")
            .field("count", &count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
