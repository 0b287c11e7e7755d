//! Reading the certificates of the authority back.

use std::collections::BTreeSet;

use rcgen::{Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CaError;
use super::params::Span;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its subject, as `CN=...`.
    pub subject: String,
    /// The last second of its validity since the UNIX epoch.
    pub not_after: i64,
    /// The SHA-256 of its DER: its fingerprint.
    pub sha256: [u8; 32],
}

impl About {
    /// Reads the first certificate of a text in PEM.
    ///
    /// # Errors
    /// [`CaError::Unreadable`].
    pub fn read(pem: &str) -> Result<Self, CaError> {
        let what = "certificate";
        let der = der(what, pem)?;
        let (_, cert) =
            X509Certificate::from_der(&der).map_err(|_| CaError::Unreadable { what })?;
        let mut sha256 = [0; 32];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
        sha256
            .iter_mut()
            .zip(digest.as_ref())
            .for_each(|(to, from)| *to = *from);
        Ok(Self {
            subject: cert.subject().to_string(),
            not_after: cert.validity().not_after.timestamp(),
            sha256,
        })
    }

    /// Writes the fingerprint in pairs, as systems show it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let pairs: Vec<_> = self
            .sha256
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        pairs.join(":")
    }
}

pub(super) fn read_authority(
    what: &'static str,
    cert_pem: &str,
    key_pem: &str,
    now: i64,
) -> Result<(Issuer<'static, KeyPair>, Span), CaError> {
    let unreadable = |_| CaError::Unreadable { what };
    let key = KeyPair::from_pem(key_pem).map_err(unreadable)?;
    let der = der(what, cert_pem)?;
    let (_, cert) = X509Certificate::from_der(&der).map_err(|_| CaError::Unreadable { what })?;
    if cert.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(&key) {
        return Err(CaError::Mismatch { what });
    }
    let span = valid_span(what, &cert, now)?;
    let issuer = Issuer::from_ca_cert_der(&der, key).map_err(unreadable)?;
    Ok((issuer, span))
}

pub(super) fn verify_signed_by(root_pem: &str, cert_pem: &str, now: i64) -> Result<(), CaError> {
    let root_der = der("root", root_pem)?;
    let (_, root) =
        X509Certificate::from_der(&root_der).map_err(|_| CaError::Unreadable { what: "root" })?;
    valid_span("root", &root, now)?;
    let cert_der = der("intermediate", cert_pem)?;
    let (_, cert) = X509Certificate::from_der(&cert_der).map_err(|_| CaError::Unreadable {
        what: "intermediate",
    })?;
    cert.verify_signature(Some(root.public_key()))
        .map_err(|_| CaError::Stranger)
}

fn der(what: &'static str, pem: &str) -> Result<CertificateDer<'static>, CaError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| CaError::Unreadable { what })
}

/// Reads from when on, and until when, a certificate is valid.
pub(super) fn span_of(what: &'static str, pem: &str) -> Result<Span, CaError> {
    let der = der(what, pem)?;
    let (_, cert) = X509Certificate::from_der(&der).map_err(|_| CaError::Unreadable { what })?;
    Ok(span(&cert))
}

fn span(cert: &X509Certificate<'_>) -> Span {
    Span {
        not_before: cert.validity().not_before.timestamp(),
        not_after: cert.validity().not_after.timestamp(),
    }
}

fn valid_span(what: &'static str, cert: &X509Certificate<'_>, now: i64) -> Result<Span, CaError> {
    let span = span(cert);
    if now < span.not_before || now > span.not_after {
        return Err(CaError::Dates { what });
    }
    Ok(span)
}

/// Reads the domains that a certificate limits its holder to.
pub(super) fn permitted(pem: &str) -> Result<Option<BTreeSet<String>>, CaError> {
    let what = "intermediate";
    let unreadable = || CaError::Unreadable { what };
    let der = der(what, pem)?;
    let (_, cert) = X509Certificate::from_der(&der).map_err(|_| unreadable())?;
    let found = cert.name_constraints().map_err(|_| unreadable())?;
    let Some(subtrees) = found.and_then(|found| found.value.permitted_subtrees.as_ref()) else {
        return Ok(None);
    };
    let domains = subtrees.iter().filter_map(|subtree| {
        let GeneralName::DNSName(domain) = subtree.base else {
            return None;
        };
        Some(domain.to_ascii_lowercase())
    });
    Ok(Some(domains.collect()))
}
