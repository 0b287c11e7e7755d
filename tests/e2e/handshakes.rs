//! A storm of TLS handshakes from one place: it is turned away before it costs much, and who works elsewhere is served.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use postern_tests::canary::{Canary, Place, Went};
use postern_tests::curl::host;
use postern_tests::edge::{Edge, OFFICE, STRANGER, TO_OFFICE, TO_STRANGER};
use postern_tests::raw;
use postern_tests::wait::{self, PATIENCE};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

/// Another stranger, at the same cable.
const OTHER: &str = "10.79.0.3";
/// What a source may begin at once, and how many knocks are counted.
const BUDGET: usize = 400;
const KNOCKS: usize = 200;

/// Between two of one side of the storm: ten times what a budget gives back, and no more than costs little here.
const PAUSE: Duration = Duration::from_millis(1);
/// How long it goes on besides.
const LASTS: Duration = Duration::from_secs(4);

/// What a client says first, as bytes.
fn hello(edge: &Edge) -> Vec<u8> {
    let name = ServerName::try_from(host(&edge.app()).to_owned()).unwrap();
    let config = raw::client_config(&edge.gateway.facts.ca_root, &["http/1.1"]);
    let mut bytes = Vec::new();
    let mut client = ClientConnection::new(config, name).unwrap();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// One side of a cable of the edge.
#[derive(Clone, Copy)]
struct From<'a> {
    source: Ipv4Addr,
    to: SocketAddrV4,
    hello: &'a [u8],
}

impl From<'_> {
    fn begin(self) -> TcpStream {
        let mut tcp = raw::tcp_from(self.source, self.to);
        // who is turned away may be so before this
        tcp.write_all(self.hello).unwrap_or_default();
        tcp
    }

    /// Begins a handshake; tells whether the gateway says something to it.
    fn knocks(self) -> bool {
        let mut tcp = self.begin();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        match tcp.read(&mut [0]) {
            Ok(count) => count > 0,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                false
            }
        }
    }

    fn answered(self, knocks: usize) -> usize {
        (0..knocks).filter(|_| self.knocks()).count()
    }
}

fn turned_away(edge: &Edge) -> u64 {
    let text = edge.metrics();
    let name = "postern_connections_refused ";
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

/// Where demo works in the office.
fn desk(edge: &Edge, cookie: &str) -> Place {
    let to: SocketAddr = format!("{TO_OFFICE}:{}", edge.gateway.https_port())
        .parse()
        .unwrap();
    let office = edge.office.entry();
    Place {
        pid: edge.program.pid(),
        connect: Box::new(move || office.enter(|| TcpStream::connect(to).unwrap())),
        root: edge.gateway.facts.ca_root.clone(),
        authority: format!("{}:{}", host(&edge.app()), edge.gateway.https_port()),
        cookie: format!("__Host-postern={cookie}"),
    }
}

/// The budget is of strangers: an office that somebody is signed in from begins as many as it likes.
#[test]
fn a_storm_of_handshakes_is_turned_away_and_an_office_another_stranger_and_a_canary_are_served() {
    let edge = Edge::new("");
    let link = edge.stranger.link_of(STRANGER);
    edge.stranger
        .ip(&["addr", "add", &format!("{OTHER}/24"), "dev", &link]);
    let browser = edge.client(&edge.office);
    let page = browser.sign_in(&edge.app(), &edge.gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    let cookie = browser.cookie(host(&edge.app()), "__Host-postern").unwrap();
    let hello = hello(&edge);
    let port = edge.gateway.https_port();
    let from = |source: &str, to: &str| From {
        source: address(source),
        to: SocketAddrV4::new(address(to), port),
        hello: &hello,
    };
    let stranger = from(STRANGER, TO_STRANGER);
    let other = from(OTHER, TO_STRANGER);
    let office = from(OFFICE, TO_OFFICE);
    assert_eq!(edge.stranger.enter(|| stranger.answered(10)), 10);
    let before = Went::a_second(desk(&edge, &cookie));
    let refused = turned_away(&edge);

    let working = Canary::start(desk(&edge, &cookie));
    let (over, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
    let storm = || {
        while !over.load(Ordering::SeqCst) {
            drop(stranger.begin());
            begun.fetch_add(1, Ordering::SeqCst);
            thread::sleep(PAUSE);
        }
    };
    let (of_stranger, of_other, of_office) = thread::scope(|scope| {
        let end = OnDrop(&over);
        for _ in 0..2 {
            scope.spawn(|| edge.stranger.enter(storm));
        }
        wait::until_true(PATIENCE, "its budget is used up", || {
            begun.load(Ordering::SeqCst) > 2 * BUDGET && !edge.stranger.enter(|| stranger.knocks())
        });
        // its twins are as many in a row as a budget has, and more
        let counted = thread::scope(|knocks| {
            let own = knocks.spawn(|| edge.stranger.enter(|| stranger.answered(KNOCKS)));
            let other = knocks.spawn(|| edge.stranger.enter(|| other.answered(KNOCKS)));
            let office = edge.office.enter(|| office.answered(2 * BUDGET));
            (own.join().unwrap(), other.join().unwrap(), office)
        });
        thread::sleep(LASTS);
        drop(end);
        counted
    });
    working.went().is_well("a storm of handshakes");
    let refused = turned_away(&edge) - refused;
    let begun = begun.into_inner();
    let mut out = std::io::stderr();
    writeln!(
        out,
        "{begun} begun, {refused} turned away; of {KNOCKS} more {of_stranger} answered"
    )
    .unwrap();
    assert!(of_stranger < KNOCKS / 2, "{of_stranger}");
    assert!(
        refused > u64::try_from(begun / 2).unwrap(),
        "{refused} of {begun}"
    );
    assert_eq!((of_other, of_office), (KNOCKS, 2 * BUDGET));
    before.comes_back(|| desk(&edge, &cookie));
    // nobody is shut out for good
    wait::until_true(PATIENCE, "the stranger is let in again", || {
        edge.stranger.enter(|| stranger.answered(10)) == 10
    });
    let page = edge.client(&edge.stranger).follow(&edge.portal());
    assert_eq!(page.status, 200, "{page:?}");
}

/// Sets a flag at the end of a scope, a failed one too.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
