//! A certificate chain with its key, read from PEM and checked.

mod late;
mod names;

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::error::X509Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use self::late::{Late, Parts};
use self::names::dns_names;
use crate::Tag;

/// Says why a chain and a key are not used; numbers of certificates count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The chain file holds no certificate.
    #[error("there is no certificate in the chain file")]
    NoCertificate,
    /// A certificate cannot be decoded.
    #[error("certificate {0} of the chain cannot be decoded")]
    Certificate(usize),
    /// The key file holds no private key.
    #[error("there is no private key in the key file")]
    NoKey,
    /// The key is of a kind that TLS does not use here.
    #[error("the private key is of an unsupported kind (use ECDSA P-256 or P-384, RSA, Ed25519)")]
    KeyKind,
    /// The key belongs to another certificate.
    #[error("the private key does not belong to certificate 1 of the chain")]
    KeyMismatch,
    /// A certificate was not issued by the one after it.
    #[error(
        "certificate {0} of the chain was not issued by certificate {next}: put the leaf first, then each issuer in turn",
        next = .0 + 1
    )]
    Order(usize),
    /// The first certificate is an authority's.
    #[error("certificate 1 of the chain is an authority's: put the leaf first")]
    Authority,
    /// The leaf has no DNS name.
    #[error("the leaf names no host (no DNS subject alternative name)")]
    NoNames,
    /// A DNS name of the leaf is no host's.
    #[error("the leaf names \"{name}\", which is no host name: {why}")]
    Name {
        /// The name, escaped to printable ASCII and cut.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The leaf may not be used by a TLS server.
    #[error("the leaf is not meant for TLS servers (extended key usage)")]
    Usage,
    /// A certificate's validity has ended.
    #[error("certificate {number} of the chain expired at {at}")]
    Expired {
        /// Which certificate.
        number: usize,
        /// End of its validity, RFC 2822.
        at: String,
    },
    /// A certificate's validity has not begun.
    #[error("certificate {number} of the chain is not valid before {at}")]
    Early {
        /// Which certificate.
        number: usize,
        /// Begin of its validity, RFC 2822.
        at: String,
    },
}

impl ChainError {
    /// Says whether only the time is wrong for it.
    #[must_use]
    pub fn is_of_dates(&self) -> bool {
        matches!(self, Self::Expired { .. } | Self::Early { .. })
    }
}

/// A leaf with its issuers and its key: matching, ordered and naming at least one host; in date where it was
/// parsed for a time.
#[derive(Debug)]
pub struct Chain {
    key: Late,
    tag: Option<Tag>,
    said: Said,
}

/// What the certificates of a chain say.
#[derive(Debug)]
struct Said {
    names: BTreeSet<String>,
    not_before: i64,
    /// When the last of them becomes valid.
    begins: i64,
    not_after: i64,
}

impl Chain {
    /// Reads a chain and its key from PEM and checks them for use at `now`.
    ///
    /// # Errors
    /// One [`ChainError`] per fault; the files have to be changed.
    pub fn parse(
        chain_pem: &[u8],
        key_pem: &[u8],
        now: i64,
        provider: &CryptoProvider,
    ) -> Result<Self, ChainError> {
        Self::read(chain_pem, key_pem, Some(now), provider)
    }

    /// As [`Chain::parse`], whatever its dates are: for one that is listed and not used.
    ///
    /// # Errors
    /// As for [`Chain::parse`], but for those of dates.
    pub fn parse_undated(
        chain_pem: &[u8],
        key_pem: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Self, ChainError> {
        Self::read(chain_pem, key_pem, None, provider)
    }

    pub(crate) fn read(
        chain_pem: &[u8],
        key_pem: &[u8],
        now: Option<i64>,
        provider: &CryptoProvider,
    ) -> Result<Self, ChainError> {
        let ders = certificates(chain_pem)?;
        let certs = decode(&ders)?;
        let leaf = certs.first().ok_or(ChainError::NoCertificate)?;
        check_order(&certs)?;
        check_leaf(leaf)?;
        let said = Said::read(&certs, now)?;
        drop(certs);
        let key = parts(ders, key_pem, provider)?.make()?;
        Ok(Self {
            key: Late::ready(key),
            tag: None,
            said,
        })
    }

    /// Reads what passed [`Chain::parse`] before, at another time maybe.
    pub(crate) fn parse_known(
        chain_pem: &[u8],
        key_pem: &[u8],
        now: Option<i64>,
        provider: &CryptoProvider,
    ) -> Result<Self, ChainError> {
        let ders = certificates(chain_pem)?;
        let said = Said::read(&decode(&ders)?, now)?;
        Ok(Self {
            key: Late::later(parts(ders, key_pem, provider)?),
            tag: None,
            said,
        })
    }

    /// Reads a chain that need not name a host; for the answer to unknown names only.
    ///
    /// # Errors
    /// [`ChainError::NoCertificate`], [`ChainError::NoKey`], [`ChainError::KeyKind`] or
    /// [`ChainError::KeyMismatch`].
    pub fn parse_nameless(
        chain_pem: &[u8],
        key_pem: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Arc<CertifiedKey>, ChainError> {
        parts(certificates(chain_pem)?, key_pem, provider)?.make()
    }

    /// Returns what a handshake needs; the key of a chain that was known before is made now.
    ///
    /// # Errors
    /// [`ChainError`] for such a key that cannot be made after all; it is not tried again.
    pub fn certified_key(&self) -> Result<&Arc<CertifiedKey>, &ChainError> {
        self.key.get()
    }

    /// Says whether the key was made already.
    #[must_use]
    pub fn has_key_ready(&self) -> bool {
        self.key.is_made()
    }

    /// Returns what stands for its files on the record of checks, where it was read by one.
    #[must_use]
    pub fn tag(&self) -> Option<Tag> {
        self.tag
    }

    pub(crate) fn tagged(self, tag: Tag) -> Self {
        let tag = Some(tag);
        Self { tag, ..self }
    }

    /// Says whether each of its certificates is valid at `now`.
    #[must_use]
    pub fn is_in_date(&self, now: i64) -> bool {
        (self.said.begins..=self.said.not_after).contains(&now)
    }

    /// Returns the DNS names of the leaf in lower case, wildcards as `*.example.org`.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<String> {
        &self.said.names
    }

    /// Returns the first second of the leaf's validity since the UNIX epoch.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.said.not_before
    }

    /// Returns the second since the UNIX epoch after which some certificate of the chain is no
    /// longer valid.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.said.not_after
    }
}

impl Said {
    /// Without a time the dates are taken as they are.
    fn read(certs: &[X509Certificate<'_>], now: Option<i64>) -> Result<Self, ChainError> {
        let leaf = certs.first().ok_or(ChainError::NoCertificate)?;
        if let Some(now) = now {
            check_dates(certs, now)?;
        }
        let names = dns_names(leaf)?;
        let dates = certs.iter().map(|c| c.validity());
        let begins = dates.clone().map(|v| v.not_before.timestamp()).max();
        let ends = dates.map(|v| v.not_after.timestamp()).min();
        Ok(Self {
            names,
            not_before: leaf.validity().not_before.timestamp(),
            begins: begins.ok_or(ChainError::NoCertificate)?,
            not_after: ends.ok_or(ChainError::NoCertificate)?,
        })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let mut ders = Vec::new();
    for (index, der) in CertificateDer::pem_slice_iter(pem).enumerate() {
        ders.push(der.map_err(|_| ChainError::Certificate(index + 1))?);
    }
    if ders.is_empty() {
        return Err(ChainError::NoCertificate);
    }
    Ok(ders)
}

fn decode<'a>(ders: &'a [CertificateDer<'_>]) -> Result<Vec<X509Certificate<'a>>, ChainError> {
    let mut certs = Vec::with_capacity(ders.len());
    for (index, der) in ders.iter().enumerate() {
        let bad = ChainError::Certificate(index + 1);
        let (rest, cert) = X509Certificate::from_der(der).map_err(|_| bad.clone())?;
        if !rest.is_empty() {
            return Err(bad);
        }
        certs.push(cert);
    }
    Ok(certs)
}

fn check_order(certs: &[X509Certificate<'_>]) -> Result<(), ChainError> {
    for (index, (cert, issuer)) in certs.iter().zip(certs.iter().skip(1)).enumerate() {
        let named = cert.issuer().as_raw() == issuer.subject().as_raw();
        if !named || !is_signed_by(cert, issuer) {
            return Err(ChainError::Order(index + 1));
        }
    }
    Ok(())
}

/// A signature of a kind this library cannot verify is left to the clients.
fn is_signed_by(cert: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    match cert.verify_signature(Some(issuer.public_key())) {
        Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm) => true,
        Err(_) => false,
    }
}

fn check_leaf(leaf: &X509Certificate<'_>) -> Result<(), ChainError> {
    if leaf.is_ca() {
        return Err(ChainError::Authority);
    }
    let usage = leaf
        .extended_key_usage()
        .map_err(|_| ChainError::Certificate(1))?;
    match usage {
        Some(usage) if !usage.value.server_auth && !usage.value.any => Err(ChainError::Usage),
        Some(_) | None => Ok(()),
    }
}

fn check_dates(certs: &[X509Certificate<'_>], now: i64) -> Result<(), ChainError> {
    for (index, cert) in certs.iter().enumerate() {
        let number = index + 1;
        let (begin, end) = (cert.validity().not_before, cert.validity().not_after);
        if now > end.timestamp() {
            let at = end.to_string();
            return Err(ChainError::Expired { number, at });
        }
        if now < begin.timestamp() {
            let at = begin.to_string();
            return Err(ChainError::Early { number, at });
        }
    }
    Ok(())
}

fn parts(
    ders: Vec<CertificateDer<'static>>,
    key_pem: &[u8],
    provider: &CryptoProvider,
) -> Result<Parts, ChainError> {
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| ChainError::NoKey)?;
    Ok(Parts::new(ders, key, provider))
}

#[cfg(test)]
mod tests;
