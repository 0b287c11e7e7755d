//! Keys and requests for directories, and the check of what they issue.

use std::fmt;

use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RsaKeySize,
};
use rustls::crypto::CryptoProvider;
use zeroize::Zeroizing;

use crate::ca::{alternative, self_signed};
use crate::{CaError, Chain, ChainError, DAY, Leaf};

/// The least seconds a new certificate must have left to be worth a swap.
const LEAST_LEFT: i64 = 3600;

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA over P-256.
    #[default]
    P256,
    /// RSA with 2048 bits, for clients that know nothing else.
    Rsa2048,
}

/// A fresh key and the request for a certificate of it.
pub struct CertRequest {
    /// The request in DER (PKCS #10).
    pub der: Vec<u8>,
    /// The private key as PKCS #8 PEM.
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for CertRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertRequest").finish_non_exhaustive()
    }
}

impl CertRequest {
    /// Makes a key of `kind` and a request for `names`; the subject is empty.
    ///
    /// # Errors
    /// [`CaError::Name`] for a name that cannot stand in a certificate, [`CaError::Make`] when no
    /// key can be made.
    pub fn create(names: &[String], kind: KeyKind) -> Result<Self, CaError> {
        let key = match kind {
            KeyKind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for name in names {
            params.subject_alt_names.push(alternative(name)?);
        }
        let request = params.serialize_request(&key)?;
        Ok(Self {
            der: request.der().to_vec(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }
}

/// Makes the certificate that answers a `tls-alpn-01` challenge for one name.
///
/// Source: [RFC 8737 section 3](https://www.rfc-editor.org/rfc/rfc8737#section-3).
///
/// # Errors
/// As for [`CertRequest::create`]; [`CaError::Name`] as well for a digest that has not 32 bytes.
pub fn tls_alpn_answer(name: &str, digest: &[u8], now: i64) -> Result<Leaf, CaError> {
    if digest.len() != 32 {
        let name = name.to_owned();
        return Err(CaError::Name { name });
    }
    let extension = CustomExtension::new_acme_identifier(digest);
    self_signed(&[name], vec![extension], now, DAY)
}

/// Says why an issued certificate is not put in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuedError {
    /// Chain and key are not usable together.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A name that was ordered is missing.
    #[error("it does not name {name}")]
    Uncovered {
        /// The name that was ordered.
        name: String,
    },
    /// It ends too soon to be of use.
    #[error("it ends within {LEAST_LEFT} seconds")]
    Ending,
    /// It names a host that nobody ordered.
    #[error("it names {name}, which was not ordered")]
    Stranger {
        /// The name that was not ordered.
        name: String,
    },
}

/// Checks a newly issued chain before it replaces another: key, order, dates and names.
///
/// # Errors
/// One [`IssuedError`] per fault; what is in use stays.
pub fn check_issued(
    chain_pem: &[u8],
    key_pem: &[u8],
    names: &[String],
    now: i64,
    provider: &CryptoProvider,
) -> Result<Chain, IssuedError> {
    let chain = Chain::parse(chain_pem, key_pem, now, provider)?;
    if let Some(name) = names.iter().find(|name| !chain.names().contains(*name)) {
        return Err(IssuedError::Uncovered { name: name.clone() });
    }
    if let Some(name) = chain.names().iter().find(|name| !names.contains(name)) {
        return Err(IssuedError::Stranger { name: name.clone() });
    }
    if chain.not_after().saturating_sub(now) < LEAST_LEFT {
        return Err(IssuedError::Ending);
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateSigningRequestParams, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData,
    };
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};

    use super::{CertRequest, IssuedError, KeyKind, check_issued, tls_alpn_answer};
    use crate::{Chain, ChainError, DAY, Leaf, Root};

    const NOW: i64 = 1_790_000_000;

    fn leaf(names: &[&str], at: i64, life: i64) -> Leaf {
        let root = Root::create("Test root", at).unwrap();
        let ca = root.intermediate("Test intermediate", at).unwrap();
        ca.issue(names, at, life).unwrap()
    }

    fn check(chain: &str, key: &str, names: &[&str]) -> Result<Chain, IssuedError> {
        let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        check_issued(chain.as_bytes(), key.as_bytes(), &names, NOW, &provider)
    }

    #[test]
    fn a_chain_that_fits_its_order_is_taken() {
        let made = leaf(&["a.test", "*.a.test"], NOW, 90 * DAY);
        let names = ["a.test", "*.a.test"];
        assert!(check(&made.chain_pem, &made.key_pem, &names).is_ok());
    }

    #[test]
    fn another_key_name_order_or_date_is_refused() {
        let made = leaf(&["a.test"], NOW, 90 * DAY);
        let other = leaf(&["a.test"], NOW, 90 * DAY);
        let error = check(&made.chain_pem, &other.key_pem, &["a.test"]).unwrap_err();
        assert_eq!(error, ChainError::KeyMismatch.into());
        let error = check(&made.chain_pem, &made.key_pem, &["a.test", "b.test"]).unwrap_err();
        assert_eq!(
            error,
            IssuedError::Uncovered {
                name: "b.test".to_owned()
            }
        );
        let two = leaf(&["a.test", "b.test"], NOW, 90 * DAY);
        let error = check(&two.chain_pem, &two.key_pem, &["a.test"]).unwrap_err();
        assert!(matches!(error, IssuedError::Stranger { .. }));
        let mut parts: Vec<_> = made
            .chain_pem
            .split_inclusive("-----END CERTIFICATE-----")
            .collect();
        let foreign: Vec<_> = other
            .chain_pem
            .split_inclusive("-----END CERTIFICATE-----")
            .collect();
        parts[1] = foreign[1];
        let error = check(&parts.concat(), &made.key_pem, &["a.test"]).unwrap_err();
        assert_eq!(error, ChainError::Order(1).into());
        let past = leaf(&["a.test"], NOW - 100 * DAY, 90 * DAY);
        let error = check(&past.chain_pem, &past.key_pem, &["a.test"]).unwrap_err();
        assert!(matches!(
            error,
            IssuedError::Chain(ChainError::Expired { .. })
        ));
        let short = leaf(&["a.test"], NOW, 600);
        let error = check(&short.chain_pem, &short.key_pem, &["a.test"]).unwrap_err();
        assert_eq!(error, IssuedError::Ending);
    }

    #[test]
    fn a_request_carries_its_names_and_a_key_of_the_kind_that_was_asked_for() {
        let names = ["a.test".to_owned(), "*.a.test".to_owned()];
        for kind in [KeyKind::P256, KeyKind::Rsa2048] {
            let made = CertRequest::create(&names, kind).unwrap();
            let der = CertificateSigningRequestDer::from(made.der.clone());
            let read = CertificateSigningRequestParams::from_der(&der).unwrap();
            assert_eq!(read.params.subject_alt_names.len(), 2);
            let algorithm = match kind {
                KeyKind::P256 => &PKCS_ECDSA_P256_SHA256,
                KeyKind::Rsa2048 => &PKCS_RSA_SHA256,
            };
            assert_eq!(read.public_key.algorithm(), algorithm);
            let bytes = read.public_key.der_bytes().len();
            assert_eq!(bytes, if kind == KeyKind::P256 { 65 } else { 270 });
            assert!(made.key_pem.contains("PRIVATE KEY"));
            assert!(!format!("{made:?}").contains("PRIVATE"));
        }
        assert!(CertRequest::create(&["a b".to_owned()], KeyKind::P256).is_err());
    }

    #[test]
    fn the_answer_of_a_tls_challenge_carries_its_digest_critically() {
        let made = tls_alpn_answer("a.test", &[7; 32], NOW).unwrap();
        let der = CertificateDer::from_pem_slice(made.chain_pem.as_bytes()).unwrap();
        let (_, cert) = x509_parser::parse_x509_certificate(&der).unwrap();
        let acme = cert.extensions().iter();
        let acme = acme
            .filter(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .map(|e| (e.critical, e.value.to_vec()))
            .collect::<Vec<_>>();
        let value = [&[4, 32][..], &[7; 32]].concat();
        assert_eq!(acme, [(true, value)]);
        assert!(tls_alpn_answer("a.test", &[7; 31], NOW).is_err());
    }
}
