//! Sockets of devices leave the gateway the descriptors it needs to go on.

use std::net::UdpSocket;
use std::time::Duration;

use postern_tests::journal;
use postern_tests::site::{ECHO, Outer, Site};
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

fn echoes(socket: &UdpSocket) -> bool {
    let mut answer = [0; 64];
    socket.send(b"room?").is_ok() && socket.recv(&mut answer).is_ok()
}

#[test]
fn flows_of_udp_leave_the_gateway_what_it_needs() {
    let limit = format!("--nofile={LIMIT}:{LIMIT}");
    let mut site = Site::with(Outer::V4, &["prlimit", &limit]);
    let place = site.place();
    site.sign_in(&place);
    let first = place.udp(ECHO);
    first
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    wait::until_true(PATIENCE, "an echo", || echoes(&first));
    let flows: Vec<UdpSocket> = (0..FLOWS).map(|_| place.udp(ECHO)).collect();
    for flow in &flows {
        flow.send(b"room?").unwrap();
    }
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
