//! Hosts with settings of their own.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::{Folder, client, handshake, names, now};
use crate::config::Profile;
use crate::proxy::tls::{CertError, CertSet, InternalCa, Ordered, Own, Profiles, provider};

fn profiles(dir: &Folder, ca: &InternalCa, profile: &[Profile]) -> Result<Profiles, CertError> {
    let hosts = names(&["gate.test", "safe.test", "new.test"]);
    let set = CertSet::build(
        &Own::default(),
        &Ordered::default(),
        Some(ca),
        &hosts,
        None,
        now(),
    )?;
    let set = Arc::new(set);
    assert!(dir.0.exists());
    Profiles::new(profile, move || Arc::clone(&set))
}

fn asking(dir: &Folder, ca: &InternalCa) -> Vec<Profile> {
    let roots = dir.file("clients.pem", &ca.root_pem(), 0o644);
    vec![
        Profile {
            hosts: names(&["safe.test"]),
            tls13_only: false,
            client_ca: Some(roots),
        },
        Profile {
            hosts: names(&["new.test"]),
            tls13_only: true,
            client_ca: None,
        },
    ]
}

#[test]
fn a_host_that_asks_for_client_certificates_refuses_who_has_none() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let profiles = profiles(&dir, &ca, &asking(&dir, &ca)).unwrap();
    let client = client(&ca.root_pem(), &[b"h2"]);
    let safe = profiles.pick(Some("SAFE.test"));
    assert!(handshake(&client, safe, "safe.test").is_err());
    let ordinary = profiles.pick(Some("gate.test"));
    assert!(handshake(&client, ordinary, "gate.test").is_ok());
    assert!(!profiles.is_same(Some("gate.test"), "safe.test"));
    assert!(!profiles.is_same(None, "safe.test"));
    assert!(profiles.is_same(Some("safe.test"), "safe.test"));
    assert!(profiles.is_same(Some("gate.test"), "other.test"));
}

#[test]
fn a_host_for_new_clients_refuses_old_ones_and_the_others_do_not() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let profiles = profiles(&dir, &ca, &asking(&dir, &ca)).unwrap();
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(ca.root_pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let old = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let old = Arc::new(old);
    let new = profiles.pick(Some("new.test"));
    assert!(handshake(&old, new, "new.test").is_err());
    assert!(handshake(&old, profiles.pick(Some("gate.test")), "gate.test").is_ok());
    assert!(handshake(&client(&ca.root_pem(), &[]), new, "new.test").is_ok());
}

#[test]
fn a_session_of_one_profile_is_not_resumed_under_another() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let profiles = profiles(&dir, &ca, &asking(&dir, &ca)).unwrap();
    let client = client(&ca.root_pem(), &[]);
    let ordinary = profiles.pick(Some("gate.test"));
    handshake(&client, ordinary, "gate.test").unwrap();
    let (_, again) = handshake(&client, ordinary, "gate.test").unwrap();
    let kind = again.handshake_kind();
    assert_eq!(kind, Some(rustls::HandshakeKind::Resumed));
    let (_, other) = handshake(&client, profiles.pick(Some("new.test")), "gate.test").unwrap();
    let kind = other.handshake_kind();
    assert_ne!(kind, Some(rustls::HandshakeKind::Resumed));
}

#[test]
fn a_missing_or_empty_file_of_client_roots_opens_no_door() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let with = |path: PathBuf| {
        let profile = Profile {
            hosts: names(&["safe.test"]),
            tls13_only: false,
            client_ca: Some(path),
        };
        profiles(&dir, &ca, &[profile]).map(drop)
    };
    assert!(with(dir.0.join("none.pem")).is_err());
    assert!(with(dir.file("empty.pem", "", 0o644)).is_err());
    assert!(with(dir.file("text.pem", "no certificate", 0o644)).is_err());
    assert!(with(dir.file("good.pem", &ca.root_pem(), 0o644)).is_ok());
}
