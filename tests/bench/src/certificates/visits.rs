//! Clients that connect again and again over TLS 1.3, each time with a handshake, and spend nothing on looking at
//! certificates: it is the server that is measured.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::sched_setaffinity;
use nix::unistd::Pid;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    StreamOwned,
};

use crate::scene::{HOST, Target};
use crate::{cpus, usage};

const CLIENTS: usize = 8;

/// What a client does each time.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Whether it resumes what it had before, or makes a full handshake.
    pub resumes: bool,
    /// What it asks once it is connected; it closes at once where that is nothing.
    pub asks: Option<String>,
}

impl Visit {
    /// One request, its connection to be closed behind it.
    #[must_use]
    pub fn asking(target: &Target, resumes: bool) -> Self {
        let mut head = format!("GET / HTTP/1.1\r\nHost: {HOST}:{}\r\n", target.port);
        for field in &target.headers {
            head.push_str(&format!("{field}\r\n"));
        }
        head.push_str("Connection: close\r\n\r\n");
        Self {
            resumes,
            asks: Some(head),
        }
    }
}

/// One round against one server.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Server CPU for each, user and system.
    pub cpu_us: f64,
    /// The longest from the first to the last byte of a connection.
    pub longest: Duration,
    pub count: u32,
}

/// Visits a server for so long.
#[must_use]
pub fn load(pid: u32, port: u16, visit: &Visit, seconds: u64) -> Sample {
    let (end, count) = (AtomicBool::new(false), AtomicU32::new(0));
    let before = usage::cpu_seconds(pid);
    let longest = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let done = client(port, visit, &end);
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
    let count = count.into_inner();
    Sample {
        cpu_us: used * 1e6 / f64::from(count),
        longest: longest.unwrap_or_default(),
        count,
    }
}

/// Connects again and again; how often, and the longest.
fn client(port: u16, visit: &Visit, end: &AtomicBool) -> (u32, Duration) {
    sched_setaffinity(Pid::from_raw(0), &cpus::load_set()).unwrap();
    let config = settings(visit.resumes);
    let (mut count, mut resumed, mut longest) = (0_u32, 0_u32, Duration::ZERO);
    while !end.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let kind = connect(&config, port, visit);
        longest = longest.max(begin.elapsed());
        count += 1;
        resumed += u32::from(kind == HandshakeKind::Resumed);
    }
    let wanted = if visit.resumes { count - 1 } else { 0 };
    assert_eq!(resumed, wanted, "of {count} handshakes on port {port}");
    (count, longest)
}

fn connect(config: &Arc<ClientConfig>, port: u16, visit: &Visit) -> HandshakeKind {
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut tcp = tcp;
    session.complete_io(&mut tcp).unwrap();
    let mut stream = StreamOwned::new(session, tcp);
    if let Some(head) = &visit.asks {
        stream.write_all(head.as_bytes()).unwrap();
    } else {
        stream.conn.send_close_notify();
        stream.conn.write_tls(&mut stream.sock).unwrap();
    }
    let mut rest = Vec::new();
    // a side may answer the farewell by closing and nothing else
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    }
    let fits = visit.asks.is_none() || rest.starts_with(b"HTTP/1.1 200 ");
    assert!(fits, "{}", String::from_utf8_lossy(&rest));
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
