//! The web door and its peers before one and the same app: servers on one core, app and load on
//! the others.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};

use certs::Leaf;
use postern_tests::curl;
use postern_tests::gateway::{Gateway, Setup};
use postern_tests::nginx::Nginx;
use postern_tests::policy;

use crate::cpus;
use crate::load::{self, Sample, Shape};
use crate::nginx::{self, Guard};
use crate::peers::{self, BASIC, Peer};
use crate::tls::{self, Client};

/// The app's host on every target.
pub const HOST: &str = "app.gate.localhost";
/// Nothing but the server's speed limits a load: a tier that no load reaches.
pub const TIER: &str = r#"
[rate]
bench = "100000000/s burst 100000000"

[default]
rate = "bench"
"#;

/// A server under load.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: &'static str,
    pub pid: u32,
    pub port: u16,
    pub headers: Vec<String>,
}

/// All servers; ended by drop.
#[derive(Debug)]
pub struct Scene {
    pub gateway: Gateway,
    pub plain: Nginx,
    pub authreq: Nginx,
    pub client: Client,
    leaf: Leaf,
    app: Nginx,
}

impl Scene {
    /// Starts everything; nobody is signed in and no request was made.
    #[must_use]
    pub fn new() -> Self {
        let app = Nginx::start(&cpus::load(), nginx::upstream);
        let (leaf, root) = nginx::certificate();
        let peer = |guard| {
            Nginx::start(&cpus::server(), |dir, port| {
                nginx::write_pair(dir, &leaf);
                nginx::proxy(dir, port, app.port, guard, HOST)
            })
        };
        let (plain, authreq) = (peer(Guard::Plain), peer(Guard::AuthRequest));
        let gateway = gateway(app.port, None, "");
        let ca_root = fs::read_to_string(&gateway.facts.ca_root).unwrap();
        let client = Client::new(&[ca_root, root]);
        Self {
            gateway,
            plain,
            authreq,
            client,
            leaf,
            app,
        }
    }

    /// Starts another gateway, of the binary named, before the same app and signs demo in there.
    #[must_use]
    pub fn another(&self, name: &'static str, binary: PathBuf) -> (Gateway, Target) {
        self.prepared(name, gateway(self.app.port, Some(binary), ""))
    }

    /// Starts another gateway, of the binary under test, that sends the app a trace of each request.
    #[must_use]
    pub fn traced(&self, name: &'static str) -> (Gateway, Target) {
        let port = self.app.port;
        let section = format!("\n[traces]\nendpoint = \"http://127.0.0.1:{port}/v1/traces\"\n");
        self.prepared(name, gateway(port, None, &section))
    }

    fn prepared(&self, name: &'static str, gateway: Gateway) -> (Gateway, Target) {
        let root = fs::read_to_string(&gateway.facts.ca_root).unwrap();
        let target = Target {
            name,
            pid: gateway.facts.pid,
            port: gateway.https_port(),
            headers: signed_in(&gateway),
        };
        prove(&Client::new(&[root]), &target);
        (gateway, target)
    }

    /// Signs demo in and returns ours, nginx with auth_request and plain nginx, each sent the same
    /// headers and each proved to reach the app.
    #[must_use]
    pub fn sign_in(&self) -> [Target; 3] {
        let facts = &self.gateway.facts;
        let headers = signed_in(&self.gateway);
        let target = |name, pid, port| Target {
            name,
            pid,
            port,
            headers: headers.clone(),
        };
        let targets = [
            target("postern", facts.pid, self.gateway.https_port()),
            target("nginx auth_request", self.authreq.pid(), self.authreq.port),
            target("nginx plain", self.plain.pid(), self.plain.port),
        ];
        targets
            .iter()
            .for_each(|target| prove(&self.client, target));
        targets
    }

    /// Starts HAProxy, Caddy and nginx with passwords before the same app, each proved to reach it.
    #[must_use]
    pub fn others(&self, ours: &Target) -> (Peer, Peer, Nginx, [Target; 3]) {
        let session = ours
            .headers
            .iter()
            .find_map(|line| line.strip_prefix("Cookie: __Host-postern="));
        let haproxy = peers::haproxy(&self.leaf, self.app.port, session.unwrap());
        let caddy = peers::caddy(&self.leaf, self.app.port);
        let passwords = peers::passwords(&self.leaf, self.app.port);
        let target = |name, pid, port| Target {
            name,
            pid,
            port,
            headers: ours.headers.clone(),
        };
        let mut targets = [
            target("haproxy map", haproxy.pid(), haproxy.port),
            target("caddy forward_auth", caddy.pid(), caddy.port),
            target("nginx bcrypt", passwords.pid(), passwords.port),
        ];
        targets[2].headers.push(BASIC.to_owned());
        targets
            .iter()
            .for_each(|target| prove(&self.client, target));
        (haproxy, caddy, passwords, targets)
    }

    /// Starts another plain nginx before the same app, with the pair in a directory.
    #[must_use]
    pub fn plain_with(&self, pair: &Path) -> Nginx {
        Nginx::start(&cpus::server(), |dir, port| {
            for name in ["chain.pem", "key.pem"] {
                fs::copy(pair.join(name), dir.join(name)).unwrap();
            }
            nginx::proxy(dir, port, self.app.port, Guard::Plain, HOST)
        })
    }

    /// Puts a load on a target and proves by the app's own count that all of it arrived there.
    #[must_use]
    pub fn load(&self, target: &Target, shape: Shape, seconds: u32) -> Sample {
        self.arrived(|| {
            let sample = load::run(target, shape, seconds);
            (sample.requests, sample)
        })
    }

    /// Does something that says how many answers there were, and proves that as many requests arrived at the app.
    pub fn arrived<T>(&self, load: impl FnOnce() -> (f64, T)) -> T {
        let before = self.served();
        let (answers, result) = load();
        let arrived = self.served() - before;
        assert!(
            arrived >= answers,
            "{answers} answers, but {arrived} requests reached the app"
        );
        result
    }

    /// How many requests the app has answered, those for this count included.
    fn served(&self) -> f64 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.app.port)).unwrap();
        let request = "GET /status HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        // "server accepts handled requests", then the three counts
        let counts = text
            .lines()
            .skip_while(|l| !l.starts_with("server "))
            .nth(1);
        let requests = counts.and_then(|line| line.split_whitespace().nth(2));
        requests.unwrap().parse().unwrap()
    }
}

const MOST_WORD: &str = "max-requests-per-connection";

/// A gateway on the servers' core before an app that listens at a port of loopback, its settings with a section more.
fn gateway(app: u16, binary: Option<PathBuf>, section: &str) -> Gateway {
    let upstream = format!("http://127.0.0.1:{app}");
    // an earlier build may not know the word
    let knows = binary.as_ref().is_none_or(|binary| {
        let held = fs::read(binary).unwrap();
        held.windows(MOST_WORD.len())
            .any(|part| part == MOST_WORD.as_bytes())
    });
    let mut gateway = Gateway::start(Setup {
        upstream: Some(upstream.clone()),
        wrap: cpus::server(),
        binary,
        ..Setup::default()
    });
    gateway.set_policy(&policy::two_apps(&upstream, TIER));
    // the first start makes keys and people, a later one only serves
    gateway.stop();
    if knows {
        // as the peers: h2load goes on nowhere else when it is told to
        let most = format!("[http]\n{MOST_WORD} = 1000000000\n");
        gateway.edit_config(|text| *text = text.replace("[http]\n", &most));
    }
    gateway.edit_config(|text| text.push_str(section));
    gateway.start_again();
    gateway
}

/// Signs demo in and returns the fields of each request.
fn signed_in(gateway: &Gateway) -> Vec<String> {
    let facts = &gateway.facts;
    let browser = curl::Client::new(gateway);
    let page = browser.sign_in(&facts.app, &facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    let cookie = browser.cookie(HOST, "__Host-postern");
    let cookie = cookie.expect("the app host has a session cookie");
    vec![
        format!("Cookie: __Host-postern={cookie}"),
        "User-Agent: postern-bench".to_owned(),
        "Accept: text/html,application/xhtml+xml,*/*;q=0.8".to_owned(),
    ]
}

/// As many requests at once as no limit for strangers lets through.
pub fn prove(client: &Client, target: &Target) {
    let authority = format!("{HOST}:{}", target.port);
    let connection = client.connect(HOST, target.port, Ipv4Addr::LOCALHOST);
    let mut connection = connection.unwrap();
    for number in 0..1000 {
        let (status, body) = tls::get(&mut connection, &authority, "/", &target.headers).unwrap();
        assert!(
            status == 200 && body.contains("behind the gate"),
            "{} answers request {number} of one signed-in session with {status}: {body}",
            target.name
        );
    }
}
