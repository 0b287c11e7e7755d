//! A small table of descriptors: strangers are closed first, who is signed in is served, the gateway works on.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use postern_tests::curl::{Client, host};
use postern_tests::gateway::{Gateway, Setup};
use postern_tests::journal;
use postern_tests::raw::{self, RawAnswer};
use postern_tests::upstream::Recorder;
use postern_tests::wait::{self, PATIENCE};
use serde_json::Value;

/// A gateway whose process may open so many files, softly and at most.
fn limited(recorder: &Recorder, soft: u32, hard: u32) -> Gateway {
    let limit = format!("--nofile={soft}:{hard}");
    Gateway::start(Setup {
        upstream: Some(recorder.url()),
        wrap: vec!["prlimit".to_owned(), limit],
        ..Setup::default()
    })
}

fn status(gateway: &Gateway) -> Value {
    serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap()
}

fn room(gateway: &Gateway, field: &str) -> u64 {
    let status = status(gateway);
    let value = status["room"][field].as_u64();
    value.unwrap_or_else(|| panic!("{field}: {status}"))
}

fn connect(gateway: &Gateway, source: Ipv4Addr) -> TcpStream {
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, gateway.https_port());
    raw::tcp_from(source, to)
}

/// Connections that say nothing, ten of each source.
fn storm(gateway: &Gateway, sources: u8) -> Vec<TcpStream> {
    let sources = (1..=sources).map(|at| Ipv4Addr::new(127, 1, at, 1));
    let all = sources.flat_map(|source| (0..10).map(move |_| connect(gateway, source)));
    all.collect()
}

/// Somebody who is signed in, from where she signed in.
struct Person<'a> {
    gateway: &'a Gateway,
    cookie: String,
}

impl<'a> Person<'a> {
    fn sign_in(gateway: &'a Gateway) -> Self {
        let client = Client::new(gateway);
        let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
        assert_eq!(page.status, 200, "{page:?}");
        let name = host(&gateway.facts.app);
        let cookie = client.cookie(name, "__Host-postern").unwrap();
        Self { gateway, cookie }
    }

    fn open(&self, source: Ipv4Addr) -> raw::Tls {
        let facts = &self.gateway.facts;
        let tcp = connect(self.gateway, source);
        raw::tls_over(tcp, host(&facts.app), &facts.ca_root, PATIENCE)
    }

    /// Asks for a page on a connection that stays open.
    fn ask(&self, tls: &mut raw::Tls, path: &str) {
        use std::io::Write;
        let (name, port) = (host(&self.gateway.facts.app), self.gateway.https_port());
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nCookie: __Host-postern={}\r\n\r\n",
            self.cookie
        );
        tls.write_all(head.as_bytes()).unwrap();
        let (mut answer, mut block) = (Vec::new(), [0; 4096]);
        let end = format!("saw {path}\n");
        while !answer.ends_with(end.as_bytes()) {
            let count = tls.read(&mut block).unwrap();
            assert!(
                count > 0,
                "closed behind {}",
                String::from_utf8_lossy(&answer)
            );
            answer.extend_from_slice(&block[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }

    /// Asks without her cookie, from elsewhere; whoever is closed gets no answer.
    fn stranger(&self) -> RawAnswer {
        let facts = &self.gateway.facts;
        let tcp = connect(self.gateway, Ipv4Addr::new(127, 5, 5, 5));
        let mut tls = raw::tls_over(tcp, host(&facts.app), &facts.ca_root, PATIENCE);
        let (name, port) = (host(&facts.app), self.gateway.https_port());
        let head = format!("GET / HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n");
        raw::exchange(&mut tls, head.as_bytes())
    }
}

#[test]
fn in_a_storm_over_a_small_table_who_is_signed_in_is_served_and_strangers_are_closed() {
    let recorder = Recorder::new();
    let gateway = limited(&recorder, 256, 256);
    let tunnel = status(&gateway)["tunnel"]["state"].clone();
    let log = gateway.stderr();
    assert!(log.contains("fewer connections"), "{log}");
    assert_eq!(room(&gateway, "limit"), 256);
    let most = room(&gateway, "most");
    assert!((16..96).contains(&most), "{most}");
    let person = Person::sign_in(&gateway);
    let home = Ipv4Addr::LOCALHOST;
    let mut open = person.open(home);
    person.ask(&mut open, "/before");
    let storm = storm(&gateway, 30);
    wait::until_true(
        PATIENCE,
        "those for whom there is no room are closed",
        || room(&gateway, "refused") >= 200,
    );
    person.ask(&mut open, "/during");
    let mut new = person.open(home);
    person.ask(&mut new, "/anew");
    assert_eq!(person.stranger().status(), None);
    journal::wait_for(&gateway, "request-ended.1", |r| {
        journal::is(r, "path", "/anew") && journal::is(r, "outcome", "ok")
    });
    assert!(room(&gateway, "descriptors") < 256);
    let metrics = format!("http://127.0.0.1:{}/metrics", gateway.admin_port());
    let metrics = Client::new(&gateway).fetch(&metrics).body;
    assert!(
        metrics.contains("\npostern_descriptors_most 256\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("\npostern_connections_refused "),
        "{metrics}"
    );
    drop(storm);
    wait::until_true(PATIENCE, "a stranger is asked to sign in", || {
        person.stranger().status().is_some()
    });
    person.ask(&mut open, "/after");
    assert_eq!(status(&gateway)["tunnel"]["state"], tunnel);
    gateway.must(&["audit", "verify"]);
}

#[test]
fn the_soft_limit_is_raised_and_a_storm_that_fits_closes_nobody() {
    let recorder = Recorder::new();
    let gateway = limited(&recorder, 128, 4096);
    assert_eq!(room(&gateway, "limit"), 4096);
    let person = Person::sign_in(&gateway);
    let mut open = person.open(Ipv4Addr::LOCALHOST);
    let storm = storm(&gateway, 30);
    person.ask(&mut open, "/during");
    assert!(person.stranger().status().is_some());
    assert_eq!(room(&gateway, "refused"), 0);
    assert!(room(&gateway, "descriptors") > 300);
    drop(storm);
}
