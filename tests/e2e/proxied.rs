//! The PROXY protocol: a listed proxy says who stands behind it, and nobody else can.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use postern_tests::curl::{Client, host};
use postern_tests::gateway::Gateway;
use postern_tests::upstream::Recorder;
use postern_tests::{journal, raw, wait};

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
const SOON: Duration = postern_tests::wait::PATIENCE;

struct Scene {
    recorder: Recorder,
    gateway: Gateway,
    cookie: String,
}

impl Scene {
    /// A gateway that knows one proxy; its app lets demo in from two networks only.
    fn new() -> Self {
        let recorder = Recorder::new();
        let mut gateway = Gateway::demo_before(&recorder.url());
        gateway.set_policy(&format!(
            "postern = 1\n[zone]\noffice = [\"203.0.113.0/24\", \"2001:db8::/32\"]\nhere = [\"127.0.0.0/8\"]\n\
             [group]\nadmins = [\"demo\"]\n[admin]\nallow.admins = {{ who = \"@admins\" }}\n\
             [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\nupstream = \"{}\"\n\
             allow.people = {{ who = \"demo\", from = [\"office\", \"here\"] }}\n",
            recorder.url()
        ));
        gateway.stop();
        let listed = format!("[http]\nproxy-protocol-from = [\"{PROXY}/32\"]\n");
        gateway.edit_config(|text| {
            *text = text.replacen("[http]\n", &listed, 1);
            assert!(text.contains("proxy-protocol-from"), "{text}");
        });
        gateway.start_again();
        let client = Client::new(&gateway);
        let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
        assert_eq!(page.status, 200, "{page:?}");
        let cookie = client
            .cookie(host(&gateway.facts.app), "__Host-postern")
            .unwrap();
        Self {
            recorder,
            gateway,
            cookie,
        }
    }

    fn connect(&self, from: Ipv4Addr, port: u16) -> TcpStream {
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let stream = raw::tcp_from(from, to);
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Asks for the app after a header; returns the status, `None` where the connection was closed.
    fn ask(&self, from: Ipv4Addr, header: &[u8], path: &str) -> Option<u16> {
        let mut tcp = self.connect(from, self.gateway.https_port());
        tcp.write_all(header).unwrap();
        let name = host(&self.gateway.facts.app);
        let mut tls = raw::tls_over(tcp, name, &self.gateway.facts.ca_root, SOON);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {name}:{}\r\nX-Forwarded-For: 192.0.2.99\r\nX-Real-IP: 192.0.2.99\r\n\
             Forwarded: for=192.0.2.99\r\nCookie: __Host-postern={}\r\nConnection: close\r\n\r\n",
            self.gateway.https_port(),
            self.cookie
        );
        raw::exchange(&mut tls, request.as_bytes()).status()
    }

    fn metric(&self, name: &str) -> u64 {
        let address = format!("http://127.0.0.1:{}/metrics", self.gateway.admin_port());
        let text = Client::new(&self.gateway).fetch(&address).body;
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("postern_{name} ")));
        let line = line.unwrap_or_else(|| panic!("{name}:\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

fn line(source: &str) -> Vec<u8> {
    let family = if source.contains(':') { "TCP6" } else { "TCP4" };
    let to = if source.contains(':') {
        "::1"
    } else {
        "127.0.0.1"
    };
    format!("PROXY {family} {source} {to} 40000 443\r\n").into_bytes()
}

fn binary(kind: u8, source: Ipv4Addr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([kind, 0x11, 0, 15]);
    header.extend(source.octets());
    header.extend([127, 0, 0, 1, 0x9c, 0x40, 1, 0xbb]);
    // a field behind the addresses
    header.extend([4, 0, 0]);
    header
}

#[test]
fn who_stands_behind_a_listed_proxy_is_who_is_decided_on_recorded_and_told() {
    let scene = Scene::new();
    for (header, source, path) in [
        (line("203.0.113.7"), "203.0.113.7", "/one"),
        (line("2001:db8::7"), "2001:db8::7", "/six"),
        (
            binary(0x21, Ipv4Addr::new(203, 0, 113, 8)),
            "203.0.113.8",
            "/two",
        ),
        // asked for itself it is itself
        (
            binary(0x20, Ipv4Addr::new(203, 0, 113, 8)),
            "127.0.0.9",
            "/own",
        ),
    ] {
        assert_eq!(scene.ask(PROXY, &header, path), Some(200), "{source}");
        let seen = scene.recorder.last();
        assert_eq!(
            (seen.values("x-forwarded-for"), seen.values("x-real-ip")),
            (vec![source], vec![source])
        );
        assert!(seen.values("forwarded").is_empty());
        let ended = journal::wait_for(&scene.gateway, "request-ended.1", |r| r["path"] == path);
        assert_eq!(ended["source"], source);
    }
    let before = scene.recorder.seen().len();
    assert_eq!(
        scene.ask(PROXY, &line("198.51.100.7"), "/far"),
        Some(403),
        "from no zone of the rule"
    );
    assert_eq!(scene.recorder.seen().len(), before);
    assert_eq!(
        (
            scene.metric("proxy_headers_unlisted"),
            scene.metric("proxy_headers_bad")
        ),
        (0, 0)
    );
}

#[test]
fn a_header_of_anybody_else_ends_the_connection_and_is_counted() {
    let scene = Scene::new();
    let before = scene.recorder.seen().len();
    for header in [
        line("203.0.113.7"),
        binary(0x21, Ipv4Addr::new(203, 0, 113, 8)),
    ] {
        assert_eq!(scene.ask(OTHER, &header, "/x"), None);
        let mut plain = scene.connect(OTHER, scene.gateway.http_port());
        plain.write_all(&header).unwrap();
        let _ = plain.write_all(b"GET / HTTP/1.1\r\nHost: app.gate.localhost\r\n\r\n");
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
    }
    assert_eq!(scene.recorder.seen().len(), before);
    assert_eq!(scene.metric("proxy_headers_unlisted"), 4);
    assert_eq!(
        scene.ask(OTHER, b"", "/y"),
        Some(200),
        "without one it is served"
    );
    assert_eq!(
        scene.recorder.last().values("x-forwarded-for"),
        ["127.0.0.8"]
    );
}

#[test]
fn a_listed_proxy_without_a_sound_header_is_not_served() {
    let scene = Scene::new();
    let before = scene.recorder.seen().len();
    let cut = b"PROXY TCP4 203.0.113.7 127.0.0.1 40000\r\n";
    for header in [&b""[..], cut, &binary(0x22, Ipv4Addr::new(203, 0, 113, 8))] {
        assert_eq!(scene.ask(PROXY, header, "/x"), None, "{header:?}");
    }
    assert_eq!(scene.recorder.seen().len(), before);
    assert_eq!(scene.metric("proxy_headers_bad"), 3);
    assert_eq!(scene.ask(PROXY, &line("203.0.113.7"), "/y"), Some(200));
}

#[test]
fn a_ban_is_of_who_stands_behind_and_the_proxy_itself_cannot_be_banned() {
    let scene = Scene::new();
    scene
        .gateway
        .must(&["ban", "add", "203.0.113.7", "--for", "1h"]);
    assert_eq!(scene.ask(PROXY, &line("203.0.113.7"), "/x"), None);
    assert_eq!(scene.ask(PROXY, &line("203.0.113.8"), "/y"), Some(200));
    let refused = scene.gateway.run(&["ban", "add", &PROXY.to_string()]);
    assert_eq!(refused.status.code(), Some(65));
    scene.gateway.must(&["ban", "remove", "203.0.113.7"]);
    wait::until_true(SOON, "it is let in again", || {
        scene.ask(PROXY, &line("203.0.113.7"), "/x") == Some(200)
    });
}
