//! Handshakes of clients that mean no good.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use postern_tests::curl::Client;
use postern_tests::gateway::Gateway;
use postern_tests::raw;
use rustls::crypto::SupportedKxGroup;
use rustls::{ClientConnection, NamedGroup};

const LIMIT: Duration = postern_tests::wait::PATIENCE;

/// What a client does on a connection that it then leaves open.
type Way = Box<dyn Fn(&mut TcpStream) + Send>;

fn connect(gateway: &Gateway) -> TcpStream {
    let addr: SocketAddr = (Ipv4Addr::LOCALHOST, gateway.https_port()).into();
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Returns the first bytes that a good client sends.
fn hello(gateway: &Gateway) -> Vec<u8> {
    let config = raw::client_config(&gateway.facts.ca_root, &["h2", "http/1.1"]);
    let name = "gate.localhost".try_into().unwrap();
    let mut session = ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).unwrap();
    bytes
}

/// Reads what comes, and says when the other side closed.
fn closed(mut stream: TcpStream, since: Instant) -> (Vec<u8>, Duration) {
    let answer = raw::read_all(&mut stream);
    assert!(answer.closed, "not closed within {LIMIT:?}");
    (answer.bytes, since.elapsed())
}

fn is_served(gateway: &Gateway) -> bool {
    let url = format!("{}healthz", gateway.facts.portal);
    Client::new(gateway).fetch(&url).status == 200
}

#[test]
fn a_handshake_that_does_not_end_is_cut_after_ten_seconds() {
    let gateway = Gateway::demo();
    let hello = hello(&gateway);
    let ways: Vec<(&str, Way)> = vec![
        ("silent", Box::new(|_| {})),
        ("half", {
            let half = hello[..hello.len() / 2].to_vec();
            Box::new(move |stream| stream.write_all(&half).unwrap())
        }),
        ("no end", {
            let whole = hello.clone();
            Box::new(move |stream| stream.write_all(&whole).unwrap())
        }),
        ("a byte at a time", {
            let whole = hello.clone();
            Box::new(move |stream| {
                // far longer than the deadline: each byte comes in time for a limit of each read
                for byte in &whole[..60] {
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(300));
                }
            })
        }),
    ];
    let begin = Instant::now();
    let waiting: Vec<_> = ways
        .into_iter()
        .map(|(way, act)| {
            let mut stream = connect(&gateway);
            let reader = stream.try_clone().unwrap();
            let writer = std::thread::spawn(move || act(&mut stream));
            std::thread::spawn(move || {
                let (_, after) = closed(reader, begin);
                writer.join().unwrap();
                (way, after)
            })
        })
        .collect();
    // they hold nobody up meanwhile
    let asked = Instant::now();
    assert!(is_served(&gateway));
    assert!(asked.elapsed() < Duration::from_secs(9));
    for waiting in waiting {
        let (way, after) = waiting.join().unwrap();
        let right = Duration::from_secs(9)..Duration::from_secs(25);
        assert!(right.contains(&after), "{way}: closed after {after:?}");
    }
    assert!(is_served(&gateway));
}

/// A record of the handshake with this content.
fn record(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[22, 3, 1][..], &length, content].concat()
}

#[test]
fn a_hello_without_measure_is_refused_before_its_end() {
    let gateway = Gateway::demo();
    let begin = Instant::now();
    let mut stream = connect(&gateway);
    // ClientHello of 16 MiB less one
    let mut sent = 0;
    let mut part = vec![1, 255, 255, 255];
    part.resize(16 * 1024, 0);
    loop {
        if stream.write_all(&record(&part)).is_err() || sent > (1 << 20) {
            break;
        }
        sent += part.len();
        part.fill(0);
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let mut byte = [0; 64];
        match stream.read(&mut byte) {
            Ok(_) => break,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    assert!(sent <= 128 * 1024, "{sent} bytes were taken");
    assert!(
        begin.elapsed() < Duration::from_secs(9),
        "before the deadline"
    );
    assert!(is_served(&gateway));
}

#[test]
fn what_is_no_handshake_is_closed_at_once_and_gets_no_answer_in_clear() {
    let gateway = Gateway::demo();
    let good = hello(&gateway);
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    let cases: [(&str, Vec<u8>); 8] = [
        (
            "plain HTTP",
            b"GET / HTTP/1.1\r\nHost: gate.localhost\r\n\r\n".to_vec(),
        ),
        (
            "an HTTP/2 preface",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        ),
        // SSLv2 CLIENT-HELLO, as DROWN sends it
        (
            "SSL 2",
            vec![
                0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80, 2, 0, 0x80,
            ],
        ),
        ("a change of ciphers first", vec![20, 3, 3, 0, 1, 1]),
        ("data first", vec![23, 3, 3, 0, 4, 1, 2, 3, 4]),
        ("an alert first", vec![21, 3, 3, 0, 2, 2, 40]),
        ("another message first", changed(5, 2)),
        (
            "a record over the measure",
            vec![22, 3, 1, 0xff, 0xff, 1, 0, 0, 1],
        ),
    ];
    for (name, bytes) in cases {
        let begin = Instant::now();
        let mut stream = connect(&gateway);
        stream.write_all(&bytes).unwrap();
        let (answer, after) = closed(stream, begin);
        assert!(after < Duration::from_secs(9), "{name}: {after:?}");
        // nothing, or a fatal alert
        let alert = answer.first() == Some(&21) && answer.get(5) == Some(&2);
        assert!(answer.is_empty() || alert, "{name}: {answer:?}");
    }
    // the same bytes as they were are answered
    let mut stream = connect(&gateway);
    stream.write_all(&good).unwrap();
    let mut kind = [0];
    stream.read_exact(&mut kind).unwrap();
    assert_eq!(kind, [22]);
    assert!(is_served(&gateway));
}

fn handshake(gateway: &Gateway, args: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .arg("s_client")
        .args(args)
        .arg("-connect")
        .arg(format!("127.0.0.1:{}", gateway.https_port()))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

#[test]
fn only_ciphers_that_authenticate_and_forget_their_keys_are_spoken() {
    let gateway = Gateway::demo();
    let ask = |args: &[&str]| {
        handshake(
            &gateway,
            &[&["-servername", "gate.localhost"], args].concat(),
        )
    };
    for good in [
        &["-tls1_3", "-groups", "X25519"][..],
        &["-tls1_3", "-groups", "P-256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
    ] {
        let (done, text) = ask(good);
        assert!(done, "{good:?}: {text}");
    }
    for bad in [
        &["-tls1"][..],
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "NULL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"],
        &["-tls1_3", "-groups", "P-521"],
        // a client that fell back although both could do better
        &["-tls1_2", "-fallback_scsv"],
    ] {
        let (done, text) = ask(bad);
        assert!(!done, "{bad:?}: {text}");
    }
}

#[test]
fn who_asks_for_nobody_or_for_a_stranger_learns_no_name() {
    let gateway = Gateway::demo();
    for args in [
        &["-noservername"][..],
        &["-servername", "stranger.example"],
        &["-servername", "127.0.0.1"],
        &["-servername", "localhost"],
    ] {
        let (_, text) = handshake(&gateway, args);
        for name in ["gate.localhost", "app.gate", "postern", "Postern"] {
            assert!(!text.contains(name), "{args:?}: {name}: {text}");
        }
    }
    let (_, text) = handshake(&gateway, &["-servername", "gate.localhost"]);
    assert!(
        text.to_lowercase().contains("intermediate"),
        "the twin names its issuer: {text}"
    );
}

/// A client that begins with the hybrid group, as browsers do, gets it; others get what they begin with.
#[test]
fn keys_are_agreed_on_by_the_hybrid_group_where_the_client_begins_with_it() {
    let gateway = Gateway::demo();
    let agreed = |groups: Vec<&'static dyn SupportedKxGroup>| {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups = groups;
        let config = raw::config_by(provider, &gateway.facts.ca_root, &[]);
        let name = "gate.localhost".try_into().unwrap();
        let mut session = ClientConnection::new(config, name).unwrap();
        let mut tcp = connect(&gateway);
        while session.is_handshaking() {
            session.complete_io(&mut tcp).unwrap();
        }
        session.negotiated_key_exchange_group().unwrap().name()
    };
    use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
    assert_eq!(
        agreed(vec![X25519MLKEM768, X25519, SECP256R1]),
        NamedGroup::X25519MLKEM768
    );
    assert_eq!(agreed(vec![X25519, SECP256R1]), NamedGroup::X25519);
    assert_eq!(agreed(vec![SECP256R1]), NamedGroup::secp256r1);
}
