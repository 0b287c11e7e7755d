//! The internal authority: a root, an intermediate below it, and leaves below that.

mod import;
mod params;
mod read;

use std::collections::BTreeSet;
use std::fmt;

use rcgen::{
    BasicConstraints, CustomExtension, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use zeroize::Zeroizing;

pub use self::import::{ImportError, Imported};
pub(crate) use self::params::alternative;
use self::params::{Span, authority, constraints, params};
pub use self::read::About;
use self::read::{permitted, read_authority, span_of, verify_signed_by};
use crate::DAY;

const ROOT_LIFE: i64 = 3650 * DAY;
const INTERMEDIATE_LIFE: i64 = 1826 * DAY;

/// Says why the internal authority cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of the authority is not what its name says.
    #[error("the {what} is not readable as PEM")]
    Unreadable {
        /// Which of the files.
        what: &'static str,
    },
    /// The key belongs to another certificate.
    #[error("the key does not belong to the {what} certificate")]
    Mismatch {
        /// Which of the certificates.
        what: &'static str,
    },
    /// The intermediate was not signed by the root.
    #[error("the intermediate certificate was not signed by this root")]
    Stranger,
    /// A certificate of the authority is out of its dates.
    #[error("the {what} certificate is not valid at this time")]
    Dates {
        /// Which of the certificates.
        what: &'static str,
    },
    /// A host name cannot stand in a certificate.
    #[error("{name:?} cannot stand in a certificate")]
    Name {
        /// The name as given.
        name: String,
    },
    /// The intermediate was made for other domains.
    #[error("the intermediate certificate may not sign for {name}")]
    Outside {
        /// The name as given.
        name: String,
    },
    /// Generation or signing failed.
    #[error("a certificate could not be made")]
    Make(#[from] rcgen::Error),
    /// A time is outside what a certificate can express.
    #[error("the time {0} cannot stand in a certificate")]
    Time(i64),
    /// The random generator gave nothing.
    #[error("the random generator failed")]
    Random,
}

/// The root of the internal authority, with its key: needed only to make an intermediate.
pub struct Root {
    pem: String,
    key_pem: Zeroizing<String>,
    issuer: Issuer<'static, KeyPair>,
    span: Span,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").finish_non_exhaustive()
    }
}

impl Root {
    /// Makes a root that is valid for ten years from `now`; `name` is its common name.
    ///
    /// # Errors
    /// [`CaError::Make`], [`CaError::Random`] or [`CaError::Time`]; none can be mended by a retry.
    pub fn create(name: &str, now: i64) -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let span = Span::new(now, ROOT_LIFE);
        let params = authority(name, BasicConstraints::Constrained(1), span)?;
        let pem = params.self_signed(&key)?.pem();
        let key_pem = Zeroizing::new(key.serialize_pem());
        Ok(Self {
            pem,
            key_pem,
            issuer: Issuer::new(params, key),
            span,
        })
    }

    /// Reads a root and its key from PEM.
    ///
    /// # Errors
    /// [`CaError::Unreadable`], [`CaError::Mismatch`], or [`CaError::Dates`] when it is not valid
    /// at `now`.
    pub fn from_pem(cert_pem: &str, key_pem: &str, now: i64) -> Result<Self, CaError> {
        let (issuer, span) = read_authority("root", cert_pem, key_pem, now)?;
        Ok(Self {
            pem: cert_pem.to_owned(),
            key_pem: Zeroizing::new(key_pem.to_owned()),
            issuer,
            span,
        })
    }

    /// Makes an intermediate that is valid for five years, but not longer than the root, and may
    /// sign for every name.
    ///
    /// # Errors
    /// As for [`Root::create`].
    pub fn intermediate(&self, name: &str, now: i64) -> Result<Ca, CaError> {
        self.sign(name, None, now)
    }

    /// As [`Root::intermediate`], for hosts in `domains` and for no address: whoever steals its
    /// key can sign for nothing else.
    ///
    /// Source: [RFC 5280 section 4.2.1.10](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.10).
    ///
    /// # Errors
    /// As for [`Root::create`].
    pub fn intermediate_for(
        &self,
        name: &str,
        domains: &BTreeSet<String>,
        now: i64,
    ) -> Result<Ca, CaError> {
        self.sign(name, Some(domains), now)
    }

    fn sign(
        &self,
        name: &str,
        domains: Option<&BTreeSet<String>>,
        now: i64,
    ) -> Result<Ca, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let span = Span::new(now, INTERMEDIATE_LIFE).within(self.span);
        let mut params = authority(name, BasicConstraints::Constrained(0), span)?;
        params.name_constraints = domains.map(constraints);
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        let key_pem = Zeroizing::new(key.serialize_pem());
        Ok(Ca {
            root_pem: self.pem.clone(),
            pem,
            key_pem,
            issuer: Issuer::new(params, key),
            span,
            domains: domains.cloned(),
        })
    }

    /// Returns the certificate as PEM; public.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns the private key as PKCS #8 PEM; the caller keeps it secret.
    #[must_use]
    pub fn key_pem(&self) -> &Zeroizing<String> {
        &self.key_pem
    }
}

/// The intermediate that signs leaves, with the root it stands under.
pub struct Ca {
    root_pem: String,
    pem: String,
    key_pem: Zeroizing<String>,
    issuer: Issuer<'static, KeyPair>,
    span: Span,
    domains: Option<BTreeSet<String>>,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca")
            .field("not_after", &self.span.not_after)
            .finish_non_exhaustive()
    }
}

impl Ca {
    /// Reads the intermediate, its key, and the root certificate from PEM.
    ///
    /// # Errors
    /// [`CaError::Unreadable`], [`CaError::Mismatch`], [`CaError::Stranger`] or
    /// [`CaError::Dates`]; with the root's key at hand a new intermediate mends each of them.
    pub fn from_pem(root: &str, cert: &str, key: &str, now: i64) -> Result<Self, CaError> {
        let (issuer, span) = read_authority("intermediate", cert, key, now)?;
        verify_signed_by(root, cert, now)?;
        Ok(Self {
            root_pem: root.to_owned(),
            pem: cert.to_owned(),
            key_pem: Zeroizing::new(key.to_owned()),
            issuer,
            span,
            domains: permitted(cert)?,
        })
    }

    /// Returns the domains that it may sign for; `None` where nothing limits it.
    #[must_use]
    pub fn domains(&self) -> Option<&BTreeSet<String>> {
        self.domains.as_ref()
    }

    /// Says whether it may sign for a host, or a wildcard.
    #[must_use]
    pub fn permits(&self, name: &str) -> bool {
        let host = name.strip_prefix("*.").unwrap_or(name);
        self.domains.as_ref().is_none_or(|domains| {
            domains.iter().any(|domain| {
                let front = host.strip_suffix(domain.as_str());
                front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
            })
        })
    }

    /// Issues one leaf for `names` that ends `life` seconds after `now`, but not after the
    /// intermediate does.
    ///
    /// The subject is empty and the names stand in a critical alternative name.
    /// Source: [RFC 5280 section 4.2.1.6](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6).
    ///
    /// # Errors
    /// [`CaError::Name`] for a name that is no host name, [`CaError::Outside`] for one that the
    /// intermediate was not made for; else as for [`Root::create`].
    pub fn issue(&self, names: &[&str], now: i64, life: i64) -> Result<Leaf, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let span = Span::new(now, life).within(self.span);
        let mut params = params(DistinguishedName::new(), span)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            if !self.permits(name) {
                let name = (*name).to_owned();
                return Err(CaError::Outside { name });
            }
            params.subject_alt_names.push(alternative(name)?);
        }
        let leaf = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Leaf {
            chain_pem: format!("{leaf}{}", self.pem),
            key_pem: Zeroizing::new(key.serialize_pem()),
            not_before: span.not_before,
            not_after: span.not_after,
        })
    }

    /// Returns the root certificate as PEM; public, it is what clients import.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Returns the intermediate certificate as PEM; public.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns the intermediate's private key as PKCS #8 PEM; the caller keeps it secret.
    #[must_use]
    pub fn key_pem(&self) -> &Zeroizing<String> {
        &self.key_pem
    }

    /// Returns the first second of the root's validity since the UNIX epoch, and the last in which root and intermediate
    /// both are valid.
    #[must_use]
    pub fn validity(&self) -> (i64, i64) {
        let root = span_of("root", &self.root_pem).unwrap_or(self.span);
        (root.not_before, root.not_after.min(self.span.not_after))
    }

    /// Says whether a third of the intermediate's life, or less, is left.
    #[must_use]
    pub fn is_due(&self, now: i64) -> bool {
        crate::is_due(self.span.not_before, self.span.not_after, now)
    }
}

/// An issued certificate with its key.
pub struct Leaf {
    /// Leaf and intermediate as PEM, in the order a server sends them.
    pub chain_pem: String,
    /// The private key as PKCS #8 PEM.
    pub key_pem: Zeroizing<String>,
    /// First second of validity since the UNIX epoch.
    pub not_before: i64,
    /// Last second of validity since the UNIX epoch.
    pub not_after: i64,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Makes the self-signed certificate for clients that ask for no known host: it names nothing.
///
/// # Errors
/// As for [`Root::create`].
pub fn nameless(now: i64, life: i64) -> Result<Leaf, CaError> {
    self_signed(&[], Vec::new(), now, life)
}

/// Makes a leaf that nobody signed but itself.
pub(crate) fn self_signed(
    names: &[&str],
    extensions: Vec<CustomExtension>,
    now: i64,
    life: i64,
) -> Result<Leaf, CaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let span = Span::new(now, life);
    let mut params = params(DistinguishedName::new(), span)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.custom_extensions = extensions;
    for name in names {
        params.subject_alt_names.push(alternative(name)?);
    }
    Ok(Leaf {
        chain_pem: params.self_signed(&key)?.pem(),
        key_pem: Zeroizing::new(key.serialize_pem()),
        not_before: span.not_before,
        not_after: span.not_after,
    })
}

#[cfg(test)]
mod tests;
