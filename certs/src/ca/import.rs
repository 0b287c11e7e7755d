//! An authority that somebody has already, checked before it takes the place of ours.

use std::collections::BTreeSet;

use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::read::permitted;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Says why an authority is not taken over; numbers of certificates count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The file holds no certificate.
    #[error("there is no certificate in the file")]
    NoCertificate,
    /// The file holds more than an intermediate and its root.
    #[error(
        "there are {0} certificates in the file; put a root alone, or an intermediate and then its root"
    )]
    TooMany(usize),
    /// A certificate cannot be decoded.
    #[error("certificate {0} cannot be decoded")]
    Certificate(usize),
    /// The key cannot be read.
    #[error(
        "the key is not readable: it must be one unencrypted PEM key (ECDSA P-256 or P-384, RSA, Ed25519)"
    )]
    Key,
    /// The key belongs to another certificate.
    #[error("the key does not belong to certificate 1")]
    Mismatch,
    /// A certificate is not an authority's.
    #[error("certificate {0} is not an authority's (basic constraints: CA is not set)")]
    NotAuthority(usize),
    /// A certificate may not sign others.
    #[error("certificate {0} may not sign certificates (key usage lacks keyCertSign)")]
    MayNotSign(usize),
    /// The root leaves no room for an intermediate.
    #[error("the root allows no intermediate (path length 0); it must allow at least 1")]
    TooShort,
    /// The last certificate was issued by another.
    #[error("certificate {number} is no root: it was issued by {issuer:?}; put its root after it")]
    NotRoot {
        /// Which certificate.
        number: usize,
        /// The subject of its issuer.
        issuer: String,
    },
    /// The root did not issue the intermediate.
    #[error(
        "certificate 1 was not issued by certificate 2: put the intermediate first, then its root"
    )]
    Order,
    /// A certificate's validity has ended.
    #[error("certificate {number} expired at {at}")]
    Expired {
        /// Which certificate.
        number: usize,
        /// End of its validity, RFC 2822.
        at: String,
    },
    /// A certificate's validity has not begun.
    #[error("certificate {number} is not valid before {at}")]
    Early {
        /// Which certificate.
        number: usize,
        /// Begin of its validity, RFC 2822.
        at: String,
    },
    /// The authority was made for other domains.
    #[error("it may not sign for {name} (name constraints: {})", permitted.iter().cloned().collect::<Vec<_>>().join(", "))]
    Outside {
        /// The host.
        name: String,
        /// The domains it may sign for.
        permitted: BTreeSet<String>,
    },
}

/// An authority that was found fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The root certificate as PEM.
    pub root_pem: String,
    /// The intermediate as PEM, if the key is its and not the root's.
    pub intermediate_pem: Option<String>,
    /// The subject of the certificate that the key belongs to.
    pub subject: String,
    /// When the first of the certificates ends, in seconds since the UNIX epoch.
    pub not_after: i64,
    permitted: Option<BTreeSet<String>>,
}

impl Imported {
    /// Reads a root with its key, or an intermediate with its key and then its root, and checks
    /// that they may sign at `now`.
    ///
    /// # Errors
    /// Each variant of [`ImportError`] but `Outside`.
    pub fn read(pem: &str, key_pem: &str, now: i64) -> Result<Self, ImportError> {
        let pems = sections(pem);
        let ders: Vec<_> = (1..)
            .zip(&pems)
            .map(|(number, pem)| {
                CertificateDer::from_pem_slice(pem.as_bytes())
                    .map_err(|_| ImportError::Certificate(number))
            })
            .collect::<Result<_, _>>()?;
        let mut chain = Vec::new();
        for (number, der) in (1..).zip(&ders) {
            let (_, cert) =
                X509Certificate::from_der(der).map_err(|_| ImportError::Certificate(number))?;
            may_sign(number, &cert, now)?;
            chain.push(cert);
        }
        let (first, root) = match chain.as_slice() {
            [] => return Err(ImportError::NoCertificate),
            [root] => (root, root),
            [first, root] => (first, root),
            more => return Err(ImportError::TooMany(more.len())),
        };
        let key = KeyPair::from_pem(key_pem).map_err(|_| ImportError::Key)?;
        if first.public_key().raw != key.subject_public_key_info() {
            return Err(ImportError::Mismatch);
        }
        if root.verify_signature(None).is_err() || root.subject() != root.issuer() {
            return Err(ImportError::NotRoot {
                number: chain.len(),
                issuer: root.issuer().to_string(),
            });
        }
        if chain.len() == 2 && first.verify_signature(Some(root.public_key())).is_err() {
            return Err(ImportError::Order);
        }
        if path_length(root) == Some(0) {
            return Err(ImportError::TooShort);
        }
        let end = |cert: &X509Certificate<'_>| cert.validity().not_after.timestamp();
        let root_pem = pems.last().cloned().unwrap_or_default();
        let intermediate_pem = pems.first().filter(|_| chain.len() == 2).cloned();
        let own = pems.first().map_or("", String::as_str);
        let limits = [own, &root_pem].map(|pem| permitted(pem).unwrap_or_default());
        Ok(Self {
            subject: first.subject().to_string(),
            not_after: end(first).min(end(root)),
            permitted: limits.into_iter().flatten().next(),
            root_pem,
            intermediate_pem,
        })
    }

    /// Checks that it may sign for hosts.
    ///
    /// # Errors
    /// [`ImportError::Outside`] with the first for which it may not.
    pub fn covers(&self, hosts: &[impl AsRef<str>]) -> Result<(), ImportError> {
        let Some(permitted) = &self.permitted else {
            return Ok(());
        };
        let is_in = |host: &str| {
            permitted.iter().any(|domain| {
                let domain = domain.trim_start_matches('.');
                let front = host.strip_suffix(domain);
                front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
            })
        };
        match hosts.iter().map(AsRef::as_ref).find(|host| !is_in(host)) {
            None => Ok(()),
            Some(name) => Err(ImportError::Outside {
                name: name.to_owned(),
                permitted: permitted.clone(),
            }),
        }
    }
}

fn may_sign(number: usize, cert: &X509Certificate<'_>, now: i64) -> Result<(), ImportError> {
    let constraints = cert.basic_constraints().ok().flatten();
    if !constraints.is_some_and(|found| found.value.ca) {
        return Err(ImportError::NotAuthority(number));
    }
    let usage = cert
        .key_usage()
        .map_err(|_| ImportError::Certificate(number))?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(ImportError::MayNotSign(number));
    }
    let dates = cert.validity();
    let text = |at: x509_parser::time::ASN1Time| at.to_rfc2822().unwrap_or_else(|e| e);
    if now > dates.not_after.timestamp() {
        let at = text(dates.not_after);
        return Err(ImportError::Expired { number, at });
    }
    if now < dates.not_before.timestamp() {
        let at = text(dates.not_before);
        return Err(ImportError::Early { number, at });
    }
    Ok(())
}

fn path_length(cert: &X509Certificate<'_>) -> Option<u32> {
    let constraints = cert.basic_constraints().ok().flatten();
    constraints.and_then(|found| found.value.path_len_constraint)
}

/// The certificates of a file, each with its lines.
fn sections(pem: &str) -> Vec<String> {
    let parts = pem.split(BEGIN).skip(1);
    parts
        .map(|part| {
            let body = part.split(END).next().unwrap_or_default();
            format!("{BEGIN}{body}{END}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    };

    use super::{ImportError, Imported};
    use crate::{Ca, DAY, Root};

    const NOW: i64 = 1_790_000_000;

    fn root() -> Root {
        Root::create("Office root", NOW).unwrap()
    }

    fn read(pem: &str, key: &str) -> Result<Imported, ImportError> {
        Imported::read(pem, key, NOW)
    }

    /// An authority as another program makes it.
    fn foreign(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Old office");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_root_with_its_key_is_taken_and_signs() {
        let ours = root();
        let imported = read(ours.pem(), ours.key_pem()).unwrap();
        assert_eq!(imported.root_pem, ours.pem());
        assert_eq!(imported.intermediate_pem, None);
        assert!(imported.subject.contains("Office root"));
        assert!(imported.covers(&["any.example"]).is_ok());
        let again = Root::from_pem(&imported.root_pem, ours.key_pem(), NOW).unwrap();
        let ca = again.intermediate("i", NOW).unwrap();
        assert!(ca.issue(&["a.example"], NOW, DAY).is_ok());
        let (pem, key) = foreign(|_| {});
        assert!(read(&pem, &key).is_ok(), "no key usage, no path length");
    }

    #[test]
    fn an_intermediate_needs_its_root_after_it() {
        let (ours, other) = (root(), root());
        let domains = BTreeSet::from(["example.org".to_owned()]);
        let ca = ours.intermediate_for("Branch", &domains, NOW).unwrap();
        let both = format!("{}{}", ca.pem(), ours.pem());
        let imported = read(&both, ca.key_pem()).unwrap();
        assert_eq!(imported.intermediate_pem.as_deref(), Some(ca.pem()));
        let sub = imported.intermediate_pem.clone().unwrap();
        assert!(Ca::from_pem(&imported.root_pem, &sub, ca.key_pem(), NOW).is_ok());
        assert!(
            imported
                .covers(&["gate.example.org", "example.org"])
                .is_ok()
        );
        let outside = imported.covers(&["example.org", "gate.example.com"]);
        let told = outside.unwrap_err().to_string();
        assert!(
            told.contains("gate.example.com (name constraints: example.org)"),
            "{told}"
        );
        let alone = read(ca.pem(), ca.key_pem());
        assert!(
            matches!(alone, Err(ImportError::NotRoot { number: 1, .. })),
            "{alone:?}"
        );
        let wrong = format!("{}{}", ca.pem(), other.pem());
        assert_eq!(read(&wrong, ca.key_pem()), Err(ImportError::Order));
        let turned = format!("{}{}", ours.pem(), ca.pem());
        assert!(read(&turned, ours.key_pem()).is_err());
        let three = format!("{both}{}", other.pem());
        assert_eq!(read(&three, ca.key_pem()), Err(ImportError::TooMany(3)));
    }

    #[test]
    fn what_cannot_sign_is_told_precisely() {
        let (ours, other) = (root(), root());
        assert_eq!(read("", ours.key_pem()), Err(ImportError::NoCertificate));
        assert_eq!(
            read(ours.pem(), other.key_pem()),
            Err(ImportError::Mismatch)
        );
        assert_eq!(read(ours.pem(), "no key"), Err(ImportError::Key));
        let broken = ours.pem().replace("MII", "AAA");
        assert_eq!(
            read(&broken, ours.key_pem()),
            Err(ImportError::Certificate(1))
        );
        let late = Imported::read(ours.pem(), ours.key_pem(), NOW + 3651 * DAY);
        assert!(
            matches!(late, Err(ImportError::Expired { number: 1, .. })),
            "{late:?}"
        );
        let early = Imported::read(ours.pem(), ours.key_pem(), NOW - 2 * 3600);
        assert!(
            matches!(early, Err(ImportError::Early { number: 1, .. })),
            "{early:?}"
        );
        let (pem, key) = foreign(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
        assert_eq!(read(&pem, &key), Err(ImportError::TooShort));
        let (pem, key) = foreign(|p| p.is_ca = IsCa::ExplicitNoCa);
        assert_eq!(read(&pem, &key), Err(ImportError::NotAuthority(1)));
        let (pem, key) = foreign(|p| p.key_usages = vec![KeyUsagePurpose::CrlSign]);
        assert_eq!(read(&pem, &key), Err(ImportError::MayNotSign(1)));
    }

    #[test]
    fn a_certificate_that_only_says_it_is_its_own_issuer_is_no_root() {
        let (signer, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(params.clone(), signer);
        let pem = params.signed_by(&key, &issuer).unwrap().pem();
        let read = read(&pem, &key.serialize_pem());
        assert!(matches!(read, Err(ImportError::NotRoot { .. })), "{read:?}");
    }
}
