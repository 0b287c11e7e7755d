//! TLS 1.3 handshakes and nothing else: no request is sent, the client closes and waits for the
//! other side to do so.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::sched_setaffinity;
use nix::unistd::Pid;
use postern_tests::gateway::{Gateway, Setup};
use postern_tests::nginx::Nginx;
use postern_tests::process::must;
use postern_tests::temp::Temp;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    StreamOwned,
};

use crate::nginx::{self, Guard};
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use crate::scene::HOST;
use crate::{cpus, usage};

const SECONDS: u64 = 4;
const CLIENTS: usize = 8;

/// The kind of both sides' keys, and what ours may use of the peer's CPU.
const KINDS: [(&str, &[&str], f64); 2] = [
    (
        "P-256",
        &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
        1.0 / 2.0,
    ),
    ("RSA 2048", &["rsa:2048"], 1.0 / 1.3),
];

/// Both kinds of keys, without and with resumption; then a swap in the midst of it.
pub fn run(report: &Report) {
    for (kind, key, goal) in KINDS {
        let dir = Temp::new();
        certificate(&dir, key);
        let (gateway, peer) = (ours(&dir), theirs(&dir));
        let targets = [
            (gateway.facts.pid, gateway.https_port()),
            (peer.pid(), peer.port),
        ];
        for resumes in [false, true] {
            let load =
                |seconds| move |(pid, port): &(u32, u16)| load(*pid, *port, resumes, seconds);
            for target in &targets {
                let _warm = load(1)(target);
            }
            let figures = interleaved(&targets, ROUNDS, load(SECONDS));
            let case = match resumes {
                false => format!("full handshakes, {kind}"),
                true => format!("resumed handshakes, {kind}"),
            };
            let cpu = |at: usize| median(&figures[at], |s| s.cpu_us);
            let row = Row::new("certs", &case, "server CPU us", cpu(0));
            let row = row.beside("nginx", cpu(1));
            report.row(&row.goal(Goal::RatioAtMost(goal)));
            let rate = |at| 1e6 / cpu(at);
            let row = Row::new("certs", &case, "a second and core", rate(0));
            report.row(&row.beside("nginx", rate(1)));
        }
        if kind == "P-256" {
            swaps(report, &gateway, &dir);
        }
    }
}

/// Makes a certificate that is its own issuer: chain and key for both sides.
fn certificate(dir: &Temp, key: &[&str]) {
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (chain, secret) = (file("chain.pem"), file("key.pem"));
    let name = format!("subjectAltName=DNS:{HOST}");
    let mut words = vec![
        "req",
        "-x509",
        "-nodes",
        "-days",
        "60",
        "-subj",
        "/CN=bench",
    ];
    words.extend([
        "-addext",
        &name,
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    words.push("-newkey");
    words.extend(key);
    words.extend(["-keyout", &secret, "-out", &chain]);
    must("openssl", &words);
}

fn ours(dir: &Temp) -> Gateway {
    let mut gateway = Gateway::start(Setup {
        wrap: cpus::server(),
        ..Setup::default()
    });
    import(&gateway, dir.path());
    // the first start makes keys and people, a later one only serves
    gateway.stop();
    gateway.start_again();
    gateway
}

fn import(gateway: &Gateway, dir: &Path) {
    let file = |name: &str| dir.join(name).display().to_string();
    let (chain, key) = (file("chain.pem"), file("key.pem"));
    gateway.must(&["cert", "import", &chain, &key]);
}

fn theirs(dir: &Temp) -> Nginx {
    Nginx::start(&cpus::server(), |at, port| {
        for name in ["chain.pem", "key.pem"] {
            std::fs::copy(dir.path().join(name), at.join(name)).unwrap();
        }
        nginx::proxy(at, port, 9, Guard::Plain, HOST)
    })
}

/// One round against one server.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Server CPU for each handshake, user and system.
    cpu_us: f64,
    /// The longest from the first to the last byte of a connection.
    longest: Duration,
}

fn load(pid: u32, port: u16, resumes: bool, seconds: u64) -> Sample {
    let (end, count) = (AtomicBool::new(false), AtomicU32::new(0));
    let before = usage::cpu_seconds(pid);
    let longest = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let done = client(port, resumes, &end);
                    count.fetch_add(done.0, Ordering::Relaxed);
                    done.1
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(seconds));
        end.store(true, Ordering::Relaxed);
        clients.into_iter().map(|c| c.join().unwrap()).max()
    });
    let used = usage::cpu_seconds(pid) - before;
    Sample {
        cpu_us: used * 1e6 / f64::from(count.into_inner()),
        longest: longest.unwrap_or_default(),
    }
}

/// Connects again and again; how often, and the longest.
fn client(port: u16, resumes: bool, end: &AtomicBool) -> (u32, Duration) {
    sched_setaffinity(Pid::from_raw(0), &cpus::load_set()).unwrap();
    let config = settings(resumes);
    let (mut count, mut resumed, mut longest) = (0_u32, 0_u32, Duration::ZERO);
    while !end.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let kind = connect(&config, port);
        longest = longest.max(begin.elapsed());
        count += 1;
        resumed += u32::from(kind == HandshakeKind::Resumed);
    }
    let wanted = if resumes { count - 1 } else { 0 };
    assert_eq!(resumed, wanted, "of {count} handshakes on port {port}");
    (count, longest)
}

fn connect(config: &Arc<ClientConfig>, port: u16) -> HandshakeKind {
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut tcp = tcp;
    session.complete_io(&mut tcp).unwrap();
    session.send_close_notify();
    let mut stream = StreamOwned::new(session, tcp);
    stream.conn.write_tls(&mut stream.sock).unwrap();
    let mut rest = Vec::new();
    // a side may answer the farewell by closing and nothing else
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    }
    stream.conn.handshake_kind().unwrap()
}

/// A client that spends nothing on looking at certificates: it is the server that is measured.
fn settings(resumes: bool) -> Arc<ClientConfig> {
    let provider = rustls::crypto::CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        // what browsers ask for first: nginx does as the client wishes
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Blind))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = match resumes {
        true => Resumption::in_memory_sessions(8),
        false => Resumption::disabled(),
    };
    Arc::new(config)
}

#[derive(Debug)]
struct Blind;

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
        ]
    }
}

/// The longest handshake while certificates are swapped, beside the longest while none is; both
/// carry the noise of the machine.
fn swaps(report: &Report, gateway: &Gateway, dir: &Temp) {
    let end = AtomicBool::new(false);
    let (pid, port) = (gateway.facts.pid, gateway.https_port());
    let round = |swaps: bool| {
        end.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let swapper = scope.spawn(|| {
                sched_setaffinity(Pid::from_raw(0), &cpus::load_set()).unwrap();
                let mut count = 0;
                while swaps && !end.load(Ordering::Relaxed) {
                    import(gateway, dir.path());
                    count += 1;
                }
                count
            });
            let sample = load(pid, port, false, SECONDS);
            end.store(true, Ordering::Relaxed);
            let count = swapper.join().unwrap();
            assert_eq!(count > 0, swaps);
            sample.longest.as_secs_f64() * 1e3
        })
    };
    let figures = interleaved(&[true, false], ROUNDS, |swaps| round(*swaps));
    let of = |at: usize| median(&figures[at], |ms| *ms);
    let row = Row::new("certs", "longest handshake in swaps", "ms", of(0));
    report.row(&row.beside("no swap", of(1)));
    let more = Row::new(
        "certs",
        "what a swap adds to it",
        "ms",
        (of(0) - of(1)).max(0.0),
    );
    report.row(&more.goal(Goal::AtMost(5.0)));
}
