use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Ca, CaError, Leaf, Root, nameless};
use crate::DAY;

const NOW: i64 = 1_790_000_000;

fn made() -> (Root, Ca) {
    let root = Root::create("Test root", NOW).unwrap();
    let ca = root.intermediate("Test intermediate", NOW).unwrap();
    (root, ca)
}

fn accepts(ca: &Ca, leaf: &Leaf, host: &str, at: i64) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(ca.root_pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(leaf.chain_pem.as_bytes())
        .map(Result::unwrap)
        .collect();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at).unwrap()));
    verifier
        .verify_server_cert(&chain[0], &chain[1..], &name, &[], at)
        .is_ok()
}

#[test]
fn a_root_says_its_subject_its_end_and_its_fingerprint() {
    let root = Root::create("Test root", NOW).unwrap();
    let about = crate::About::read(root.pem()).unwrap();
    assert_eq!(about.subject, "CN=Test root");
    assert_eq!(about.not_after, NOW + 3650 * DAY);
    let der = CertificateDer::from_pem_slice(root.pem().as_bytes()).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    assert_eq!(about.sha256[..], *digest.as_ref());
    assert!(crate::About::read("nothing").is_err());
}

#[test]
fn a_leaf_is_accepted_for_its_name_and_no_other() {
    let (_, ca) = made();
    let leaf = ca.issue(&["gate.example.org"], NOW, 90 * DAY).unwrap();
    assert!(accepts(&ca, &leaf, "gate.example.org", NOW));
    assert!(!accepts(&ca, &leaf, "app.example.org", NOW));
}

#[test]
fn a_leaf_is_accepted_in_its_dates_only() {
    let (_, ca) = made();
    let leaf = ca.issue(&["a.test"], NOW, 90 * DAY).unwrap();
    assert!(accepts(&ca, &leaf, "a.test", NOW - 3500));
    assert!(accepts(&ca, &leaf, "a.test", NOW + 90 * DAY - 1));
    assert!(!accepts(&ca, &leaf, "a.test", NOW - 3700));
    assert!(!accepts(&ca, &leaf, "a.test", NOW + 90 * DAY + 1));
}

#[test]
fn a_leaf_of_another_root_is_refused() {
    let ((_, ours), (_, theirs)) = (made(), made());
    let leaf = theirs.issue(&["a.test"], NOW, DAY).unwrap();
    assert!(accepts(&theirs, &leaf, "a.test", NOW));
    assert!(!accepts(&ours, &leaf, "a.test", NOW));
}

#[test]
fn a_leaf_never_outlives_its_intermediate() {
    let (root, ca) = made();
    let late = NOW + 1826 * DAY - 10;
    let leaf = ca.issue(&["a.test"], late, 90 * DAY).unwrap();
    assert_eq!(leaf.not_after, NOW + 1826 * DAY);
    let second = root.intermediate("Second", NOW + 3640 * DAY).unwrap();
    let leaf = second
        .issue(&["a.test"], NOW + 3640 * DAY, 90 * DAY)
        .unwrap();
    assert_eq!(leaf.not_after, NOW + 3650 * DAY);
}

#[test]
fn an_authority_survives_its_files() {
    let (root, ca) = made();
    let again = Ca::from_pem(ca.root_pem(), ca.pem(), ca.key_pem(), NOW).unwrap();
    let leaf = again.issue(&["a.test"], NOW, DAY).unwrap();
    assert!(accepts(&ca, &leaf, "a.test", NOW));
    let root = Root::from_pem(root.pem(), root.key_pem(), NOW).unwrap();
    let renewed = root.intermediate("Renewed", NOW).unwrap();
    let leaf = renewed.issue(&["a.test"], NOW, DAY).unwrap();
    assert!(accepts(&ca, &leaf, "a.test", NOW));
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let ((root, ca), (_, other)) = (made(), made());
    let key = Ca::from_pem(ca.root_pem(), ca.pem(), other.key_pem(), NOW);
    assert!(matches!(key, Err(CaError::Mismatch { .. })));
    let root_of_other = Ca::from_pem(other.root_pem(), ca.pem(), ca.key_pem(), NOW);
    assert!(matches!(root_of_other, Err(CaError::Stranger)));
    let late = Ca::from_pem(ca.root_pem(), ca.pem(), ca.key_pem(), NOW + 1827 * DAY);
    assert!(matches!(late, Err(CaError::Dates { .. })));
    let text = Ca::from_pem(ca.root_pem(), "nothing", ca.key_pem(), NOW);
    assert!(matches!(text, Err(CaError::Unreadable { .. })));
    let swapped = Root::from_pem(root.pem(), ca.key_pem(), NOW);
    assert!(matches!(swapped, Err(CaError::Mismatch { .. })));
}

#[test]
fn a_name_that_is_no_host_name_is_refused() {
    let (_, ca) = made();
    for good in ["a.test", "*.a.test", "gate.localhost", "xn--bcher-kva.test"] {
        assert!(ca.issue(&[good], NOW, DAY).is_ok(), "{good}");
    }
    for bad in [
        "", "a b", "ä.test", "a..test", "*.*.test", "a.*.test", "a\0b",
    ] {
        let made = ca.issue(&[bad], NOW, DAY);
        assert!(matches!(made, Err(CaError::Name { .. })), "{bad}");
    }
}

#[test]
fn serials_are_random_and_positive() {
    let (_, ca) = made();
    let serials: BTreeSet<_> = (0..16)
        .map(|_| {
            let leaf = ca.issue(&["a.test"], NOW, DAY).unwrap();
            let der = CertificateDer::from_pem_slice(leaf.chain_pem.as_bytes()).unwrap();
            let (_, cert) = x509_parser::parse_x509_certificate(&der).unwrap();
            assert_eq!(cert.raw_serial().len(), 16);
            assert_eq!(cert.raw_serial()[0] & 0x80, 0);
            cert.raw_serial().to_vec()
        })
        .collect();
    assert_eq!(serials.len(), 16);
}

#[test]
fn the_nameless_certificate_names_nothing() {
    let leaf = nameless(NOW, DAY).unwrap();
    let der = CertificateDer::from_pem_slice(leaf.chain_pem.as_bytes()).unwrap();
    let (_, cert) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert_eq!(cert.subject().iter_attributes().count(), 0);
    assert_eq!(cert.issuer().iter_attributes().count(), 0);
    assert!(cert.subject_alternative_name().unwrap().is_none());
}

#[test]
fn no_key_shows_in_debug_output() {
    let (root, ca) = made();
    let leaf = ca.issue(&["a.test"], NOW, DAY).unwrap();
    assert!(leaf.key_pem.contains("PRIVATE KEY"));
    let shown = format!("{root:?} {ca:?} {leaf:?}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn an_intermediate_for_domains_signs_for_nothing_else() {
    let root = Root::create("Test root", NOW).unwrap();
    let domains = BTreeSet::from(["example.org".to_owned(), "gate.localhost".to_owned()]);
    let ca = root.intermediate_for("Limited", &domains, NOW).unwrap();
    let again = Ca::from_pem(ca.root_pem(), ca.pem(), ca.key_pem(), NOW).unwrap();
    assert_eq!(again.domains(), Some(&domains));
    for good in [
        "example.org",
        "a.example.org",
        "*.example.org",
        "x.gate.localhost",
    ] {
        let leaf = again.issue(&[good], NOW, DAY).unwrap();
        let host = good.replace('*', "w");
        assert!(accepts(&ca, &leaf, &host, NOW), "{good}");
    }
    for bad in ["example.com", "badexample.org", "localhost", "*.org"] {
        let refused = again.issue(&[bad], NOW, DAY);
        assert!(matches!(refused, Err(CaError::Outside { .. })), "{bad}");
    }
}

/// What a thief of the key would do.
#[test]
fn clients_refuse_what_a_limited_intermediate_signs_outside() {
    let root = Root::create("Test root", NOW).unwrap();
    let domains = BTreeSet::from(["example.org".to_owned()]);
    let mut ca = root.intermediate_for("Limited", &domains, NOW).unwrap();
    ca.domains = None;
    let inside = ca.issue(&["a.example.org"], NOW, DAY).unwrap();
    let outside = ca.issue(&["a.example.com"], NOW, DAY).unwrap();
    assert!(accepts(&ca, &inside, "a.example.org", NOW));
    assert!(!accepts(&ca, &outside, "a.example.com", NOW));
}
