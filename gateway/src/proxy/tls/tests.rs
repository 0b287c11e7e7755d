mod checks;
mod own;
mod profiles;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::{ChainError, DAY};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::{
    CertError, CertFiles, CertSet, FileError, InternalCa, Ordered, Own, Past, Reading, provider,
    server_config,
};
use crate::secrets::Keys;

/// A master key: 32 bytes in base64.
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("postern-tls-{}", crate::ids::token());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn ca(&self, now: i64) -> Result<InternalCa, CertError> {
        let keys = Arc::new(Keys::parse(KEY).unwrap());
        InternalCa::open(&self.0.join("ca"), "Postern test", &keys, now)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn now() -> i64 {
    crate::clock::unix()
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn own_pair(dir: &Folder, ca: &InternalCa, host: &str) -> CertFiles {
    ca.cover(&[&host.to_owned()], now()).unwrap();
    let leaf = ca.ca().issue(&[host], now(), 90 * DAY).unwrap();
    CertFiles {
        chain: dir.file("own.pem", &leaf.chain_pem, 0o644),
        key: dir.file("own.key", &leaf.key_pem, 0o600),
    }
}

fn client(root_pem: &str, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    client_with(root_pem, alpn, provider())
}

fn client_with(root_pem: &str, alpn: &[&[u8]], provider: Arc<CryptoProvider>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Arc::new(config)
}

#[expect(
    clippy::unwrap_in_result,
    reason = "only what TLS says is a result here"
)]
fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    host: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let mut c = ClientConnection::new(client.clone(), host)?;
    let mut s = ServerConnection::new(server.clone())?;
    for _ in 0..8 {
        let mut wire = Vec::new();
        while c.wants_write() {
            c.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            s.read_tls(&mut rest).unwrap();
            s.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while s.wants_write() {
            s.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            c.read_tls(&mut rest).unwrap();
            c.process_new_packets()?;
        }
    }
    assert!(!c.is_handshaking() && !s.is_handshaking());
    Ok((c, s))
}

/// A set of own files, and of the authority if one is given.
fn built(
    own: &[CertFiles],
    internal: Option<&InternalCa>,
    hosts: &[&str],
) -> Result<CertSet, CertError> {
    let own = Reading::in_full(now()).own(own, Past::Known)?;
    CertSet::build(
        &own,
        &Ordered::default(),
        internal,
        &names(hosts),
        None,
        now(),
    )
}

/// A set in which the authority alone signs.
fn signed(ca: &InternalCa, hosts: &[String], previous: Option<&CertSet>, now: i64) -> CertSet {
    let (own, ordered) = (Own::default(), Ordered::default());
    CertSet::build(&own, &ordered, Some(ca), hosts, previous, now).unwrap()
}

fn serve(set: CertSet) -> Arc<ServerConfig> {
    let set = Arc::new(set);
    Arc::new(server_config(move || set.clone()).unwrap())
}

#[test]
fn known_hosts_are_served_under_the_root_and_unknown_ones_are_not() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let hosts = names(&["gate.test", "app.gate.test"]);
    let set = signed(&ca, &hosts, None, now());
    assert!(set.same_certificate(Some("gate.test"), "gate.test"));
    assert!(!set.same_certificate(Some("gate.test"), "app.gate.test"));
    assert!(!set.same_certificate(None, "gate.test"));
    let (server, client) = (serve(set), client(&ca.root_pem(), &[b"h2"]));
    for host in ["gate.test", "app.gate.test"] {
        let (c, _) = handshake(&client, &server, host).unwrap();
        assert_eq!(c.alpn_protocol(), Some(&b"h2"[..]));
        let shown = c.peer_certificates().unwrap();
        assert_eq!(shown.len(), 2, "leaf and intermediate, no root");
    }
    assert!(handshake(&client, &server, "other.test").is_err());
}

#[test]
fn each_host_has_a_leaf_of_its_own() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let hosts = names(&["gate.test", "app.gate.test"]);
    let set = signed(&ca, &hosts, None, now());
    assert_eq!(set.chains().len(), 2);
    assert!(set.chains().iter().all(|c| c.names().len() == 1));
}

#[test]
fn a_ticket_resumes_the_session_and_early_data_is_off() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let set = signed(&ca, &names(&["gate.test"]), None, now());
    let (server, client) = (serve(set), client(&ca.root_pem(), &[b"http/1.1"]));
    assert_eq!(server.max_early_data_size, 0);
    let (first, _) = handshake(&client, &server, "gate.test").unwrap();
    let (second, _) = handshake(&client, &server, "gate.test").unwrap();
    assert_eq!(first.handshake_kind(), Some(rustls::HandshakeKind::Full));
    assert_eq!(
        second.handshake_kind(),
        Some(rustls::HandshakeKind::Resumed)
    );
    assert!(second.alpn_protocol() == Some(b"http/1.1"));
}

#[test]
fn of_what_a_client_offers_aes_with_128_bits_is_taken_first() {
    use rustls::CipherSuite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let server = serve(built(&[], Some(&ca), &["gate.test"]).unwrap());
    let order = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
    assert_eq!(order[0].suite(), TLS13_AES_256_GCM_SHA384);
    let first = vec![order[0]];
    for (cipher_suites, taken) in [
        (order, TLS13_AES_128_GCM_SHA256),
        (first, TLS13_AES_256_GCM_SHA384),
    ] {
        let provider = CryptoProvider {
            cipher_suites,
            ..rustls::crypto::aws_lc_rs::default_provider()
        };
        let client = client_with(&ca.root_pem(), &[], Arc::new(provider));
        let (c, _) = handshake(&client, &server, "gate.test").unwrap();
        let suite = c.negotiated_cipher_suite().unwrap();
        assert_eq!(suite.suite(), taken);
    }
}

#[test]
fn leaves_are_kept_until_a_third_of_their_life_is_left() {
    let dir = Folder::new();
    let (start, hosts) = (now(), names(&["gate.test"]));
    let ca = dir.ca(start).unwrap();
    let first = signed(&ca, &hosts, None, start);
    let soon = start + 9 * DAY;
    let second = signed(&ca, &hosts, Some(&first), soon);
    assert!(!first.is_due(soon));
    assert!(Arc::ptr_eq(&first.chains()[0], &second.chains()[0]));
    let late = start + 10 * DAY;
    assert!(second.is_due(late));
    let third = signed(&ca, &hosts, Some(&second), late);
    assert!(!Arc::ptr_eq(&second.chains()[0], &third.chains()[0]));
    assert!(!third.is_due(late));
}

#[test]
fn the_intermediate_may_sign_for_the_hosts_of_the_policy_and_no_others() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let hosts = names(&["gate.example.org", "app.gate.localhost"]);
    signed(&ca, &hosts, None, now());
    let first = ca.ca();
    assert!(first.permits("wiki.example.org") && first.permits("gate.localhost"));
    assert!(!first.permits("example.com") && !first.permits("invalid"));
    signed(&ca, &hosts, None, now());
    assert_eq!(
        first.pem(),
        ca.ca().pem(),
        "the same hosts need no other one"
    );
    let more = names(&["gate.example.org", "shop.example.com"]);
    signed(&ca, &more, None, now());
    assert!(ca.ca().permits("shop.example.com") && ca.ca().permits("gate.example.org"));
    assert_eq!(
        dir.ca(now()).unwrap().ca().pem(),
        ca.ca().pem(),
        "it is on disk"
    );
}

#[test]
fn without_the_roots_key_another_domain_is_refused_and_the_known_ones_are_served() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let hosts = names(&["gate.example.org"]);
    signed(&ca, &hosts, None, now());
    fs::remove_file(dir.0.join("ca/root.key")).unwrap();
    let ca = dir.ca(now()).unwrap();
    let near = names(&["gate.example.org", "wiki.example.org"]);
    signed(&ca, &near, None, now());
    let error = built(&[], Some(&ca), &["shop.example.com"]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("may not sign for shop.example.com"),
        "{error}"
    );
}

#[test]
fn own_files_go_before_the_internal_authority() {
    let (dir, other) = (Folder::new(), Folder::new());
    let (ca, foreign) = (dir.ca(now()).unwrap(), other.ca(now()).unwrap());
    let own = [own_pair(&dir, &foreign, "gate.test")];
    let set = built(&own, Some(&ca), &["gate.test", "app.test"]).unwrap();
    let server = serve(set);
    let ours = client(&ca.root_pem(), &[]);
    let theirs = client(&foreign.root_pem(), &[]);
    assert!(handshake(&theirs, &server, "gate.test").is_ok());
    assert!(handshake(&ours, &server, "gate.test").is_err());
    assert!(handshake(&ours, &server, "app.test").is_ok());
}

#[test]
fn without_the_internal_authority_every_host_needs_a_file() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let own = [own_pair(&dir, &ca, "gate.test")];
    assert!(built(&own, None, &["gate.test"]).is_ok());
    let missing = built(&own, None, &["app.test"]);
    assert!(matches!(missing, Err(CertError::NotCovered { host }) if host == "app.test"));
}

#[test]
fn the_authority_is_kept_over_restarts_with_keys_for_the_owner_only() {
    let dir = Folder::new();
    let first = dir.ca(now()).unwrap();
    let again = dir.ca(now()).unwrap();
    assert_eq!(first.root_pem(), again.root_pem());
    assert_eq!(first.ca().pem(), again.ca().pem());
    assert_eq!(mode(&dir.0.join("ca")), 0o700);
    assert_eq!(mode(&dir.0.join("ca/root.pem")), 0o644);
    for key in ["root.key", "intermediate.key"] {
        assert_eq!(mode(&dir.0.join("ca").join(key)), 0o600);
    }
}

#[test]
fn a_lost_or_old_intermediate_is_made_anew_under_the_same_root() {
    let dir = Folder::new();
    let first = dir.ca(now()).unwrap();
    fs::remove_file(dir.0.join("ca/intermediate.pem")).unwrap();
    let second = dir.ca(now()).unwrap();
    assert_eq!(first.root_pem(), second.root_pem());
    assert_ne!(first.ca().pem(), second.ca().pem());
    let third = dir.ca(now() + 1300 * DAY).unwrap();
    assert_eq!(first.root_pem(), third.root_pem());
    assert_ne!(second.ca().pem(), third.ca().pem());
}

#[test]
fn without_the_root_key_a_good_intermediate_works_and_a_lost_one_is_an_error() {
    let dir = Folder::new();
    let first = dir.ca(now()).unwrap();
    fs::remove_file(dir.0.join("ca/root.key")).unwrap();
    assert_eq!(dir.ca(now()).unwrap().ca().pem(), first.ca().pem());
    fs::remove_file(dir.0.join("ca/intermediate.key")).unwrap();
    let lost = dir.ca(now());
    assert!(matches!(
        lost,
        Err(CertError::File(FileError::Unreadable { .. }))
    ));
}

#[test]
fn an_exposed_authority_key_is_a_permission_error() {
    let dir = Folder::new();
    dir.ca(now()).unwrap();
    let key = dir.0.join("ca/intermediate.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = dir.ca(now()).unwrap_err();
    assert!(error.is_permission(), "{error}");
}

#[test]
fn a_key_that_others_can_read_is_refused_and_one_for_the_group_is_not() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let own = [own_pair(&dir, &ca, "gate.test")];
    let build = || built(&own, None, &["gate.test"]);
    for (mode, good) in [(0o600, true), (0o640, true), (0o644, false), (0o660, false)] {
        fs::set_permissions(&own[0].key, fs::Permissions::from_mode(mode)).unwrap();
        match build() {
            Ok(_) => assert!(good, "{mode:o}"),
            Err(e) => {
                assert!(!good && e.is_permission(), "{mode:o}: {e}");
                assert!(e.to_string().contains("own.key"), "{e}");
            }
        }
    }
}

#[test]
fn links_to_files_are_followed_and_folders_are_refused() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let mut own = own_pair(&dir, &ca, "gate.test");
    let link = dir.0.join("live.key");
    symlink(&own.key, &link).unwrap();
    own.key = link;
    assert!(built(&[own.clone()], None, &["gate.test"]).is_ok());
    own.key = dir.0.clone();
    let folder = built(&[own], None, &["gate.test"]);
    assert!(matches!(
        folder,
        Err(CertError::File(FileError::NotPlain { .. }))
    ));
}

#[test]
fn a_missing_file_and_a_foreign_key_are_content_errors_that_name_the_file() {
    let dir = Folder::new();
    let ca = dir.ca(now()).unwrap();
    let own = own_pair(&dir, &ca, "gate.test");
    let mut gone = own.clone();
    gone.chain = dir.0.join("gone.pem");
    let error = built(&[gone], None, &["gate.test"]).unwrap_err();
    assert!(!error.is_permission());
    assert!(error.to_string().contains("gone.pem"), "{error}");
    let other = ca.ca().issue(&["gate.test"], now(), DAY).unwrap();
    dir.file("own.key", &other.key_pem, 0o600);
    let error = built(&[own], None, &["gate.test"]).unwrap_err();
    assert!(matches!(
        error,
        CertError::Chain {
            source: ChainError::KeyMismatch,
            ..
        }
    ));
}
