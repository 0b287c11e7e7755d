//! What the certificates of the authority are made of.

use std::collections::BTreeSet;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, GeneralSubtree,
    IsCa, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use x509_parser::time::ASN1Time;

use super::CaError;

/// Tolerated lag of a client's clock.
const BACKDATE: i64 = 3600;

/// From when on, and until when, a certificate is valid.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

impl Span {
    pub(super) fn new(now: i64, life: i64) -> Self {
        Self {
            not_before: now.saturating_sub(BACKDATE),
            not_after: now.saturating_add(life),
        }
    }

    pub(super) fn within(self, outer: Self) -> Self {
        Self {
            not_before: self.not_before.max(outer.not_before),
            not_after: self.not_after.min(outer.not_after),
        }
    }
}

pub(super) fn authority(
    name: &str,
    reach: BasicConstraints,
    span: Span,
) -> Result<CertificateParams, CaError> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    let mut params = params(subject, span)?;
    params.is_ca = IsCa::Ca(reach);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// Hosts in the domains, and no address of either family.
pub(super) fn constraints(domains: &BTreeSet<String>) -> NameConstraints {
    let dns = |domain: &String| GeneralSubtree::DnsName(domain.clone());
    NameConstraints {
        permitted_subtrees: domains.iter().map(dns).collect(),
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    }
}

pub(super) fn params(subject: DistinguishedName, span: Span) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.not_before = instant(span.not_before)?.to_datetime();
    params.not_after = instant(span.not_after)?.to_datetime();
    params.serial_number = Some(serial()?);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn instant(seconds: i64) -> Result<ASN1Time, CaError> {
    ASN1Time::from_timestamp(seconds).map_err(|_| CaError::Time(seconds))
}

/// Draws 126 random bits and sets the one below the sign: positive, and of constant length.
fn serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0_u8; 16];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| CaError::Random)?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

pub(crate) fn alternative(name: &str) -> Result<SanType, CaError> {
    let bad = || CaError::Name {
        name: name.to_owned(),
    };
    let plain = name.strip_prefix("*.").unwrap_or(name);
    rustls::pki_types::DnsName::try_from(plain).map_err(|_| bad())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| bad())?))
}
