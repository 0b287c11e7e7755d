use std::time::Duration;

use super::{Conf, Facts, Finding, Noise, Verdict, examine};
use crate::control::{DeviceClass, DeviceLine};
use crate::identity::Standing;

fn peer(has_session: bool, age: Option<u64>) -> wg::PeerStatus {
    wg::PeerStatus {
        endpoint: "198.51.100.7:5000".parse().ok(),
        handshake_age: age.map(Duration::from_secs),
        rx_bytes: 100,
        tx_bytes: 200,
        has_session,
        stale_handshakes: 0,
    }
}

fn healthy() -> Facts {
    Facts {
        device: DeviceLine {
            id: "d1".to_owned(),
            user: "zoe".to_owned(),
            name: "laptop".to_owned(),
            address: "10.200.200.2".to_owned(),
            address6: None,
            public_key: "K=".to_owned(),
            preshared: true,
            class: DeviceClass::Known,
            endpoint: None,
            created: String::new(),
            revoked: None,
        },
        tunnel_shut: None,
        standing: Standing::Active,
        enrolled: true,
        key_opens: true,
        peer: Some(peer(true, Some(20))),
        stamp: Some("2026-01-01T00:00:00Z".to_owned()),
        clock_ahead: false,
        noise: Noise {
            datagrams: 10,
            ..Noise::default()
        },
        zones: vec!["internet".to_owned()],
        session: Some(("saaa".to_owned(), "later".to_owned())),
        closed: None,
        other_sessions: 0,
        services: vec!["net.ssh".to_owned()],
        unrouted: Vec::new(),
        resolvers: vec![("192.168.1.1:53".to_owned(), true)],
        conf: Conf {
            server_public_key: "S=".to_owned(),
            endpoint: "gate:51820".to_owned(),
            allowed_ips: "10.200.200.0/24".to_owned(),
            mtu: 1420,
            sign_in: "https://gate/".to_owned(),
        },
    }
}

/// The findings that are not as they should be.
fn troubles(facts: &Facts) -> Vec<Finding> {
    let all = examine(facts).findings.into_iter();
    all.filter(|f| f.verdict != Verdict::Ok).collect()
}

/// Asserts that there is one trouble, with these words.
fn one(facts: &Facts, check: &str, verdict: Verdict, found: &str, next: &str) {
    let troubles = troubles(facts);
    let [trouble] = troubles.as_slice() else {
        panic!("{troubles:?}")
    };
    assert_eq!((trouble.check.as_str(), trouble.verdict), (check, verdict));
    assert!(trouble.found.contains(found), "{trouble:?}");
    assert!(trouble.next.as_ref().unwrap().contains(next), "{trouble:?}");
}

#[test]
fn a_device_that_gets_through_has_no_trouble() {
    assert_eq!(troubles(&healthy()), []);
    assert_eq!(examine(&healthy()).findings.len(), 10);
}

#[test]
fn what_stops_everything_is_told_alone() {
    let mut facts = healthy();
    facts.tunnel_shut = Some("no /dev/net/tun".to_owned());
    one(
        &facts,
        "tunnel",
        Verdict::Fault,
        "no /dev/net/tun",
        "status",
    );
    let mut facts = healthy();
    facts.device.revoked = Some("then".to_owned());
    one(
        &facts,
        "registered",
        Verdict::Fault,
        "revoked at then",
        "device add zoe",
    );
    let mut facts = healthy();
    facts.key_opens = false;
    one(
        &facts,
        "registered",
        Verdict::Fault,
        "preshared key",
        "rotate-psk d1",
    );
    let mut facts = healthy();
    facts.standing = Standing::Disabled;
    one(
        &facts,
        "owner",
        Verdict::Fault,
        "disabled",
        "user enable zoe",
    );
    facts.standing = Standing::Unknown;
    one(
        &facts,
        "owner",
        Verdict::Fault,
        "not in the policy",
        "user add zoe",
    );
}

#[test]
fn a_handshake_that_fails_is_told_apart_by_where_it_fails() {
    let mut facts = healthy();
    facts.peer = Some(peer(false, Some(5)));
    one(
        &facts,
        "handshake",
        Verdict::Fault,
        "did not go on",
        "PresharedKey",
    );
    facts.peer = Some(peer(false, Some(500)));
    one(
        &facts,
        "handshake",
        Verdict::Note,
        "500 s ago",
        "switched on",
    );
    facts.peer = Some(peer(false, None));
    facts.noise = Noise::default();
    one(
        &facts,
        "handshake",
        Verdict::Fault,
        "since the tunnel was opened",
        "Endpoint = gate:51820",
    );
    facts.noise = Noise {
        datagrams: 5,
        bad_mac: 2,
        unknown: 3,
    };
    let told = troubles(&facts);
    assert_eq!(told.len(), 3);
    assert!(told[1].next.as_ref().unwrap().contains("PublicKey = S="));
    assert!(told[2].next.as_ref().unwrap().contains("must be K="));
    facts.peer = None;
    assert!(troubles(&facts)[0].found.contains("does not know"));
}

#[test]
fn quarantine_and_small_troubles_are_told_with_the_next_step() {
    let mut facts = healthy();
    facts.session = None;
    one(
        &facts,
        "sign-in",
        Verdict::Fault,
        "zoe is not signed in",
        "https://gate/",
    );
    facts.other_sessions = 2;
    one(
        &facts,
        "sign-in",
        Verdict::Fault,
        "2 times elsewhere",
        "https://gate/",
    );
    facts.closed = Some("device moved: sign in again".to_owned());
    one(
        &facts,
        "sign-in",
        Verdict::Fault,
        "quarantine: device moved",
        "https://gate/",
    );
    let mut facts = healthy();
    facts.enrolled = false;
    one(
        &facts,
        "owner",
        Verdict::Note,
        "no password",
        "user invite zoe",
    );
    let mut facts = healthy();
    facts.services.clear();
    one(
        &facts,
        "policy",
        Verdict::Note,
        "no service",
        "what-can zoe",
    );
    let mut facts = healthy();
    facts.resolvers = vec![("192.0.2.1:53".to_owned(), false)];
    one(&facts, "dns", Verdict::Note, "192.0.2.1:53", "[tunnel] dns");
    let mut facts = healthy();
    facts.conf.mtu = 1500;
    one(&facts, "mtu", Verdict::Note, "1500", "1420");
    let mut facts = healthy();
    facts.clock_ahead = true;
    one(&facts, "clock", Verdict::Note, "2026", "clock");
    let mut facts = healthy();
    facts.unrouted = vec!["10.78.0.0/24".to_owned()];
    one(&facts, "policy", Verdict::Fault, "10.78.0.0/24", "ip route");
}

#[test]
fn a_clock_that_was_set_back_is_named_and_a_recording_beside_a_session_is_not() {
    let mut facts = healthy();
    let stale = |has_session, age| wg::PeerStatus {
        stale_handshakes: 3,
        ..peer(has_session, age)
    };
    facts.peer = Some(stale(true, Some(20)));
    assert_eq!(troubles(&facts), []);
    facts.peer = Some(stale(false, Some(500)));
    let troubles = troubles(&facts);
    let clock = troubles.iter().find(|f| f.check == "clock").unwrap();
    assert_eq!(clock.verdict, Verdict::Fault);
    assert!(clock.found.contains("3 handshakes"), "{clock:?}");
    assert!(clock.next.as_ref().unwrap().contains("device clear d1"));
}
