//! Where the body of an answer ends that comes over TLS: what was cut on the way is never passed on
//! as a whole.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use postern_tests::curl::{Client, signed_in};
use postern_tests::gateway::{Gateway, Setup};
use postern_tests::temp::Temp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const BODY: &str = "the whole of it";

/// An app behind TLS. A path says how its answer says where it ends, then how the connection ends:
/// `notify` as TLS asks for it, `fin` without a word.
struct App {
    dir: Temp,
    port: u16,
}

impl App {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_secs()).unwrap();
        let root = certs::Root::create("Inner", now).unwrap();
        let ca = root.intermediate("Inner too", now).unwrap();
        let leaf = ca.issue(&["app.internal"], now, certs::DAY).unwrap();
        let dir = Temp::new();
        dir.write("root.pem", root.pem());
        let chain = CertificateDer::pem_slice_iter(leaf.chain_pem.as_bytes());
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let config = Arc::new(config.unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                std::thread::spawn(move || serve(tcp, config));
            }
        });
        Self { dir, port }
    }

    fn policy(&self) -> String {
        let root = self.dir.path().join("root.pem");
        self.policy_with(&format!("ca = \"{}\", ", root.display()))
    }

    fn policy_with(&self, ca: &str) -> String {
        format!(
            "postern = 1\n[group]\nadmins = [\"demo\"]\n[admin]\nallow.admins = {{ who = \"@admins\" }}\n\
             [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\n\
             upstream = {{ url = \"https://127.0.0.1:{}\", {ca}name = \"app.internal\" }}\n\
             allow.people = {{ who = [\"demo\", \"guest\"] }}\n",
            self.port
        )
    }
}

/// Answers one request; a client that leaves before the handshake is none.
fn serve(tcp: TcpStream, config: Arc<ServerConfig>) {
    let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
    let mut reader = BufReader::new(tls);
    let mut line = String::new();
    if !matches!(reader.read_line(&mut line), Ok(1..)) {
        return;
    }
    let mut field = String::from("-");
    while !field.trim().is_empty() {
        field.clear();
        reader.read_line(&mut field).unwrap();
    }
    let path = line.split(' ').nth(1).unwrap();
    let (ends, closes) = path.trim_start_matches('/').split_once('/').unwrap();
    let length = BODY.len();
    let (fields, body) = match ends {
        "close" => (String::new(), BODY.to_owned()),
        "length" => (format!("Content-Length: {length}\r\n"), BODY.to_owned()),
        "short" => (
            format!("Content-Length: {}\r\n", length + 1),
            BODY.to_owned(),
        ),
        "chunks" => (chunked(), format!("{length:x}\r\n{BODY}\r\n0\r\n\r\n")),
        "no-last" => (chunked(), format!("{length:x}\r\n{BODY}\r\n")),
        other => panic!("{other}"),
    };
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n{fields}\r\n");
    let mut tls = reader.into_inner();
    tls.write_all(head.as_bytes()).unwrap();
    tls.write_all(body.as_bytes()).unwrap();
    if closes == "notify" {
        tls.conn.send_close_notify();
    }
    tls.flush().unwrap();
}

fn chunked() -> String {
    "Transfer-Encoding: chunked\r\n".to_owned()
}

/// What a client makes of an answer: the body, or an error when it was not whole.
fn body(client: &Client, gateway: &Gateway, path: &str, way: &[&str]) -> Result<String, String> {
    let url = format!("{}{path}", gateway.facts.app);
    let answer = client.try_send(&url, way)?;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    Ok(answer.body)
}

#[test]
fn a_body_that_tls_did_not_end_is_not_passed_on_as_a_whole() {
    let app = App::new();
    let (gateway, client) = signed_in(&app.policy());
    // by the short way, and by the library's long one
    let ways: [&[&str]; 3] = [
        &["--http1.1"],
        &["--http2"],
        &["--http1.1", "-H", "Connection: X-Inner"],
    ];
    for way in ways {
        let body = |path: &str| body(&client, &gateway, path, way);
        // a bare end of the connection may be anybody's who sits between: it ends no body
        for cut in [
            "close/fin",
            "short/notify",
            "short/fin",
            "no-last/notify",
            "no-last/fin",
        ] {
            let got = body(cut);
            assert!(got.is_err(), "{way:?} {cut}: {got:?}");
        }
        // what says itself where it ends needs no word of TLS
        for whole in [
            "close/notify",
            "length/notify",
            "length/fin",
            "chunks/notify",
            "chunks/fin",
        ] {
            assert_eq!(body(whole).as_deref(), Ok(BODY), "{way:?} {whole}");
        }
    }
}

/// Without a root of its own an app must stand under those of the system.
#[test]
fn an_app_without_a_root_of_its_own_is_held_to_those_of_the_system() {
    let app = App::new();
    let root = app.dir.path().join("root.pem");
    for (wrap, status) in [
        (vec![], 502),
        (
            vec![
                "env".to_owned(),
                format!("SSL_CERT_FILE={}", root.display()),
            ],
            200,
        ),
    ] {
        let gateway = Gateway::start(Setup {
            wrap,
            ..Setup::default()
        });
        gateway.set_policy(&app.policy_with(""));
        let client = Client::new(&gateway);
        drop(client.sign_in(&gateway.facts.app, &gateway.facts.demo));
        let answer = client.open(&format!("{}length/notify", gateway.facts.app));
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.body == BODY, status == 200, "{answer:?}");
    }
}
