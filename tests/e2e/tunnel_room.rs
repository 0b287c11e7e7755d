//! Sockets of devices leave the gateway the descriptors it needs to go on.

use std::net::UdpSocket;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use postern_tests::journal;
use postern_tests::netns::Namespace;
use postern_tests::process::must;
use postern_tests::site::{ECHO, HOST, Outer, Place, Site};
use postern_tests::wait::{self, PATIENCE};
use serde_json::Value;

/// Descriptors that the gateway may have, and those of them it keeps back.
const LIMIT: u64 = 256;
const KEPT_BACK: u64 = 64;
/// More flows than the rest has room for, and fewer than a device may have.
const FLOWS: usize = 220;

fn descriptors(site: &Site) -> u64 {
    let status = site.gateway.must(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["room"]["limit"], LIMIT, "{status}");
    status["room"]["descriptors"].as_u64().unwrap()
}

/// A gateway with few descriptors, and a place whose person is signed in.
fn narrow() -> (Site, Place) {
    let limit = format!("--nofile={LIMIT}:{LIMIT}");
    let mut site = Site::with(Outer::V4, &["prlimit", &limit]);
    let place = site.place();
    site.sign_in(&place);
    (site, place)
}

fn udp(place: &Place) -> UdpSocket {
    let socket = place.udp(ECHO);
    let pause = Some(Duration::from_millis(200));
    socket.set_read_timeout(pause).unwrap();
    socket
}

fn echoes(socket: &UdpSocket) -> bool {
    let mut answer = [0; 64];
    socket.send(b"room?").is_ok() && socket.recv(&mut answer).is_ok()
}

/// Opens more flows than there is room for.
fn fill(place: &Place) -> Vec<UdpSocket> {
    let flows: Vec<UdpSocket> = (0..FLOWS).map(|_| place.udp(ECHO)).collect();
    for flow in &flows {
        flow.send(b"room?").unwrap();
    }
    flows
}

#[test]
fn flows_of_udp_leave_the_gateway_what_it_needs() {
    let (site, place) = narrow();
    let first = udp(&place);
    wait::until_true(PATIENCE, "an echo", || echoes(&first));
    let _flows = fill(&place);
    let refused = journal::wait_for(&site.gateway, "flow-ended.1", |r| {
        r["reason"] == "overloaded"
    });
    assert_eq!(refused["user"], "demo");
    let used = descriptors(&site);
    // the callers of the control socket have some of those that are kept back
    assert!(used < LIMIT - KEPT_BACK + 8, "{used}");
    assert!(
        used > LIMIT - KEPT_BACK - 16,
        "flows met another limit: {used}"
    );
    assert!(echoes(&first), "what has a place keeps it");
    site.gateway.must(&["audit", "verify"]);
    site.gateway.must(&["reload"]);
}

/// Opens a ping socket of the place towards the office host.
fn ping(place: &Place) -> UdpSocket {
    let socket = place.space.enter(|| {
        let (kind, flags) = (SockType::Datagram, SockFlag::empty());
        let made = socket(AddressFamily::Inet, kind, flags, SockProtocol::Icmp);
        let socket = UdpSocket::from(made.unwrap());
        socket.connect((HOST, 0)).unwrap();
        socket
    });
    let pause = Some(Duration::from_millis(200));
    socket.set_read_timeout(pause).unwrap();
    socket
}

fn answers(socket: &UdpSocket) -> bool {
    let mut answer = [0; 64];
    socket.send(&[8, 0, 0, 0, 0, 0, 0, 7, b'a', b'b']).is_ok()
        && socket.recv(&mut answer).is_ok_and(|n| n == 10)
        && answer[0] == 0
}

fn allow_pings(space: &Namespace) {
    let wrap = space.wrap();
    let mut words: Vec<&str> = wrap[1..].iter().map(String::as_str).collect();
    words.extend(["sysctl", "-q", "-w", "net.ipv4.ping_group_range=0 65534"]);
    must(&wrap[0], &words);
}

#[test]
fn pings_leave_the_gateway_what_it_needs() {
    let (site, place) = narrow();
    allow_pings(&place.space);
    allow_pings(&site.edge);
    let first = ping(&place);
    wait::until_true(PATIENCE, "an answer to a ping", || answers(&first));
    let _flows = fill(&place);
    journal::wait_for(&site.gateway, "flow-ended.1", |r| {
        r["reason"] == "overloaded"
    });
    let late = ping(&place);
    assert!(!answers(&late), "a ping took what is kept back");
    let refused = journal::wait_for(&site.gateway, "flow-decided.1", |r| {
        r["outcome"] == "deny" && r["path"] == format!("icmp://{HOST}")
    });
    assert_eq!(
        (&refused["outcome"], &refused["reason"], &refused["user"]),
        (&"deny".into(), &"overloaded".into(), &"demo".into()),
        "{refused}"
    );
    let used = descriptors(&site);
    // as above, with the callers of the control socket
    assert!(used < LIMIT - KEPT_BACK + 8, "{used}");
    assert!(answers(&first), "what has a place keeps it");
    site.gateway.must(&["audit", "verify"]);
}
