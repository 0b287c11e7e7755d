//! A host that asks for client certificates, beside one that does not.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use postern_tests::gateway::binary;
use postern_tests::pebble::Site;
use postern_tests::process::Program;
use postern_tests::temp::Temp;
use postern_tests::upstream::Recorder;
use postern_tests::{raw, wait};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

const GATE: &str = "gate.example.test";
const SAFE: &str = "safe.example.test";
const LIMIT: Duration = postern_tests::wait::PATIENCE;

/// An authority for people, as `client-ca` names it.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// Signs a certificate for a client.
    fn client(&self, dir: &Temp, name: &str, purpose: ExtendedKeyUsagePurpose, end: i32) -> Shown {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(end, 1, 1);
        params.extended_key_usages = vec![purpose];
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Shown {
            cert: dir.write(&format!("{name}.pem"), cert.pem()),
            key: dir.write(&format!("{name}.key"), key.serialize_pem()),
        }
    }
}

/// What a client shows.
struct Shown {
    cert: PathBuf,
    key: PathBuf,
}

struct Scene {
    site: Site,
    recorder: Recorder,
    dir: Temp,
    right: Shown,
    _program: Program,
}

impl Scene {
    fn new() -> Self {
        let (recorder, dir, people) = (Recorder::new(), Temp::new(), Authority::new());
        let site = Site::new(&format!(
            "[app.safe]\nhost = \"{SAFE}\"\nupstream = \"{}\"\n\
             public = \"what a test looks at\"\nallow.all = {{ who = \"anyone\" }}\n",
            recorder.url()
        ));
        let roots = dir.write("people.pem", &people.pem);
        site.configure("127.0.0.1:53", true, &profile(&roots));
        let (client, server) = (
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        let right = people.client(&dir, "right", client.clone(), 4000);
        // what must not open the door
        drop(people.client(&dir, "expired", client.clone(), 2021));
        drop(people.client(&dir, "server", server, 4000));
        drop(Authority::new().client(&dir, "stranger", client, 4000));
        let program = site.start();
        Self {
            site,
            recorder,
            right,
            _program: program,
            dir,
        }
    }

    fn shown(&self, name: &str) -> Shown {
        let path = |end: &str| self.dir.path().join(format!("{name}.{end}"));
        Shown {
            cert: path("pem"),
            key: path("key"),
        }
    }

    fn root(&self) -> PathBuf {
        self.site.path("data/ca/root.pem")
    }

    fn get(&self, host: &str, shown: Option<&Shown>, more: &[&str]) -> Result<u16, String> {
        let mut words = more.to_vec();
        if let Some(shown) = shown {
            words.extend(["--cert", shown.cert.to_str().unwrap()]);
            words.extend(["--key", shown.key.to_str().unwrap()]);
        }
        self.site.get_with(&self.root(), host, path(host), &words)
    }

    /// Makes a client that keeps sessions and, if it has one, shows a certificate.
    fn client(&self, shown: Option<&Shown>) -> ClientConfig {
        let plain = raw::client_config(&self.root(), &["http/1.1"]);
        let mut config = match shown {
            None => ClientConfig::clone(&plain),
            Some(shown) => {
                let mut roots = rustls::RootCertStore::empty();
                let root = CertificateDer::from_pem_file(self.root()).unwrap();
                roots.add(root).unwrap();
                let chain = vec![CertificateDer::from_pem_file(&shown.cert).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&shown.key).unwrap();
                let provider = Arc::clone(plain.crypto_provider());
                ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_root_certificates(roots)
                    .with_client_auth_cert(chain, key)
                    .unwrap()
            }
        };
        config.resumption = Resumption::in_memory_sessions(8);
        config
    }

    /// Makes a handshake for one name and a request for another; how the session began, and the
    /// status that came.
    fn ask(
        &self,
        config: &Arc<ClientConfig>,
        sni: &str,
        host: &str,
    ) -> (Option<HandshakeKind>, Option<u16>) {
        let addr: SocketAddr = ([127, 0, 0, 1], self.site.https).into();
        let tcp = std::net::TcpStream::connect(addr).unwrap();
        tcp.set_read_timeout(Some(LIMIT)).unwrap();
        let name = sni.to_owned().try_into().unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut stream = StreamOwned::new(session, tcp);
        let text = format!(
            "GET {} HTTP/1.1\r\nHost: {host}:{}\r\nConnection: close\r\n\r\n",
            path(host),
            self.site.https
        );
        drop(stream.flush());
        let answer = raw::exchange(&mut stream, text.as_bytes());
        (stream.conn.handshake_kind(), answer.status())
    }
}

/// What is asked for: of the app, something that reaches it.
fn path(host: &str) -> &'static str {
    match host {
        SAFE => "/seen",
        _ => "/healthz",
    }
}

fn profile(roots: &Path) -> String {
    format!(
        "[[tls.profile]]\nhosts = [\"{SAFE}\"]\nclient-ca = \"{}\"\n",
        roots.display()
    )
}

#[test]
fn only_a_client_with_a_living_certificate_of_the_file_comes_in() {
    let scene = Scene::new();
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        let before = scene.recorder.seen().len();
        assert_eq!(scene.get(SAFE, Some(&scene.right), version), Ok(200));
        assert_eq!(scene.recorder.seen().len(), before + 1);
        assert!(scene.get(SAFE, None, version).is_err(), "none: {version:?}");
        for name in ["expired", "server", "stranger"] {
            let shown = scene.shown(name);
            let came = scene.get(SAFE, Some(&shown), version);
            assert!(came.is_err(), "{name}, {version:?}: {came:?}");
            // it is that certificate and nothing else that is refused
            assert_eq!(scene.get(GATE, Some(&shown), version), Ok(200), "{name}");
        }
        assert_eq!(scene.recorder.seen().len(), before + 1);
        assert_eq!(scene.get(GATE, None, version), Ok(200));
    }
}

#[test]
fn a_connection_for_another_name_does_not_lead_to_the_host() {
    let scene = Scene::new();
    let host = format!("Host: {SAFE}:{}", scene.site.https);
    for version in ["--http2", "--http1.1"] {
        let words = ["-H", host.as_str(), version];
        assert_eq!(scene.get(GATE, None, &words), Ok(421), "{version}");
        let shown = Some(&scene.right);
        assert_eq!(scene.get(GATE, shown, &words), Ok(421), "{version}");
    }
    // nor the other way round: who came in there is asked for nothing else
    let client = Arc::new(scene.client(Some(&scene.right)));
    assert_eq!(scene.ask(&client, SAFE, GATE).1, Some(421));
    assert_eq!(scene.ask(&client, SAFE, SAFE).1, Some(200));
    assert_eq!(scene.recorder.seen().len(), 1);
}

#[test]
fn a_host_that_asks_for_certificates_resumes_nothing_and_others_do() {
    let scene = Scene::new();
    let client = Arc::new(scene.client(Some(&scene.right)));
    for _ in 0..3 {
        let (kind, status) = scene.ask(&client, SAFE, SAFE);
        assert_eq!(status, Some(200));
        assert!(!matches!(kind, Some(HandshakeKind::Resumed)), "{kind:?}");
    }
    let mut kinds = (0..2).map(|_| scene.ask(&client, GATE, GATE).0);
    assert_ne!(kinds.next().unwrap(), Some(HandshakeKind::Resumed));
    assert_eq!(kinds.next().unwrap(), Some(HandshakeKind::Resumed));
}

mod stolen {
    //! A client that shows the ticket of one name to another.

    use std::sync::Mutex;

    use rustls::NamedGroup;
    use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
    use rustls::pki_types::ServerName;

    #[derive(Debug, Default)]
    pub(super) struct Store(Mutex<Vec<Tls13ClientSessionValue>>);

    impl Store {
        pub(super) fn count(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    impl ClientSessionStore for Store {
        fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

        fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
            None
        }

        fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

        fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
            None
        }

        fn remove_tls12_session(&self, _: &ServerName<'static>) {}

        fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
            self.0.lock().unwrap().push(ticket);
        }

        fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
            self.0.lock().unwrap().pop()
        }
    }
}

#[test]
fn the_ticket_of_a_host_without_the_question_opens_none_that_asks() {
    let scene = Scene::new();
    let store = Arc::new(stolen::Store::default());
    let mut client = scene.client(None);
    client.resumption = Resumption::store(store.clone());
    let client = Arc::new(client);
    assert_eq!(scene.ask(&client, GATE, GATE).1, Some(200));
    assert!(store.count() > 1, "tickets came");
    let (kind, status) = scene.ask(&client, GATE, GATE);
    assert_eq!((kind, status), (Some(HandshakeKind::Resumed), Some(200)));
    let left = store.count();
    assert!(left > 0);
    let (kind, status) = scene.ask(&client, SAFE, SAFE);
    assert_eq!(store.count(), left - 1, "a ticket was shown");
    assert_ne!(kind, Some(HandshakeKind::Resumed));
    assert_eq!(status, None);
    assert!(scene.recorder.seen().is_empty());
}

#[test]
fn a_name_in_pieces_or_in_capitals_is_the_name_all_the_same() {
    let scene = Scene::new();
    // a hello in many records: whoever reads the first one only finds no name in it
    let pieces = |mut config: ClientConfig| {
        config.max_fragment_size = Some(32);
        Arc::new(config)
    };
    let none = pieces(scene.client(None));
    assert_eq!(scene.ask(&none, SAFE, SAFE).1, None);
    assert_eq!(scene.ask(&none, GATE, GATE).1, Some(200));
    let right = pieces(scene.client(Some(&scene.right)));
    assert_eq!(scene.ask(&right, SAFE, SAFE).1, Some(200));
    let loud = SAFE.to_uppercase();
    let none = Arc::new(scene.client(None));
    assert_eq!(scene.ask(&none, &loud, SAFE).1, None);
    let right = Arc::new(scene.client(Some(&scene.right)));
    assert_eq!(scene.recorder.seen().len(), 1);
    let names = |sni: &str| asked_for_a_certificate(&scene, sni);
    assert!(names(SAFE) && names(&loud));
    assert!(!names(GATE));
    assert_eq!(scene.ask(&right, SAFE, SAFE).1, Some(200));
}

fn asked_for_a_certificate(scene: &Scene, sni: &str) -> bool {
    let output = Command::new("openssl")
        .args(["s_client", "-servername", sni, "-connect"])
        .arg(format!("127.0.0.1:{}", scene.site.https))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("BEGIN CERTIFICATE"), "{text}");
    text.contains("Acceptable client certificate CA names")
}

#[test]
fn without_the_file_of_roots_no_door_is_opened() {
    let site = Site::new("");
    let dir = Temp::new();
    let roots = dir.path().join("people.pem");
    site.configure("127.0.0.1:53", true, &profile(&roots));
    for content in [None, Some(""), Some("no certificate")] {
        if let Some(text) = content {
            fs::write(&roots, text).unwrap();
        }
        let mut command = Command::new(binary());
        command.arg("run").arg("--config").arg(site.config());
        let mut program = Program::start(command, dir.path(), "refused");
        let status = wait::until(LIMIT, "the gateway ends", || program.ended());
        let said = program.stderr();
        assert_eq!(status.code(), Some(78), "{content:?}: {said}");
        assert!(said.contains("people.pem"), "{said}");
    }
    fs::write(&roots, Authority::new().pem).unwrap();
    let program = site.start();
    let root = site.path("data/ca/root.pem");
    assert_eq!(site.get(&root, GATE, "/healthz"), Ok(200));
    drop(program);
}
