//! One key in two places: alarm and quarantine for both; a device that merely roams is left alone.

use std::net::UdpSocket;
use std::time::Duration;

use postern_tests::journal;
use postern_tests::site::{ECHO, Outer, Place, Site};
use postern_tests::wait;

const LIMIT: Duration = postern_tests::wait::PATIENCE;

/// Sends one datagram to the echo and says whether it comes back.
fn echoes(socket: &UdpSocket) -> bool {
    let pause = Some(Duration::from_millis(200));
    socket.set_read_timeout(pause).unwrap();
    let mut answer = [0; 64];
    socket.send(b"still me").is_ok() && socket.recv(&mut answer).is_ok()
}

fn alarms(site: &Site) -> usize {
    let records = journal::search(&site.gateway, &["--event", "device-changed.1"]);
    let alarms = records.iter().filter(|r| r["reason"] == "key-seen-twice");
    alarms.count()
}

/// Uses the key of the place that sends `here` in a second one, until that is noticed.
fn second_place(
    site: &mut Site,
    here: &UdpSocket,
    is_noticed: impl Fn(&Site) -> bool,
) -> (Place, UdpSocket) {
    wait::until_true(LIMIT, "an echo of the first", || echoes(here));
    let second = site.place();
    let there = second.udp(ECHO);
    wait::until_true(LIMIT, "the alarm", || {
        echoes(here);
        echoes(&there);
        is_noticed(site)
    });
    (second, there)
}

fn portal_text(site: &Site, place: &Place) -> String {
    let browser = place.browser(site);
    let facts = &site.gateway.facts;
    browser.sign_in(&facts.tunnel_portal, &facts.demo).body
}

#[test]
fn one_key_in_two_places_closes_the_device_until_the_next_sign_in() {
    let mut site = Site::new(Outer::V4);
    let first = site.place();
    site.sign_in(&first);
    let here = first.udp(ECHO);
    let is_told = |site: &Site| site.gateway.stderr().contains("used in two places");
    let (second, there) = second_place(&mut site, &here, is_told);
    let record = journal::wait_for(&site.gateway, "device-changed.1", |r| {
        r["reason"] == "key-seen-twice"
    });
    assert_eq!(record["user"], "demo");
    assert!(record["device"].is_string(), "{record}");
    assert_eq!(site.device()["state"], "quarantine");
    for place in [&first, &second] {
        let refused = place.connect(ECHO, Duration::from_secs(2));
        assert!(refused.is_err(), "open for {place:?}");
    }
    drop((there, second));

    let told = wait::until(LIMIT, "a sign-in", || {
        let text = portal_text(&site, &first);
        text.contains("two places at once").then_some(text)
    });
    assert!(told.contains("laptop"), "{told}");
    assert_eq!(site.device()["state"], "open");
    wait::until_true(LIMIT, "an echo after the sign-in", || echoes(&here));
}

#[test]
fn an_administrator_clears_a_device_that_nobody_signs_in_through() {
    let mut site = Site::new(Outer::V4);
    let first = site.place();
    site.sign_in(&first);
    site.gateway.must(&["device", "mark", "d1", "managed"]);
    let text = format!(
        "{}\n[tunnel.headless]\n\"demo/laptop\" = \"net.echo\"\n",
        site.gateway.policy_text()
    );
    site.gateway.open_policy(&text);
    let here = first.udp(ECHO);
    let (second, there) = second_place(&mut site, &here, |site| alarms(site) > 0);
    assert!(!echoes(&here) && !echoes(&there));
    let why = site.device()["why"].to_string();
    assert!(why.contains("postern device clear"), "{why}");
    drop((there, second));

    let said = site.gateway.must(&["device", "clear", "d1"]);
    assert!(said.contains("d1 (laptop of demo) is cleared"), "{said}");
    wait::until_true(LIMIT, "an echo without a sign-in", || echoes(&here));
    let record = journal::wait_for(&site.gateway, "device-changed.1", |r| {
        r["reason"] == "device-cleared"
    });
    assert_eq!(
        (&record["user"], &record["device"]),
        (&"demo".into(), &"d1".into())
    );
    let unknown = site.gateway.run(&["device", "clear", "d7"]);
    assert_eq!(unknown.status.code(), Some(65), "{unknown:?}");
}

#[test]
fn a_device_that_roams_to_and_fro_raises_no_alarm() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let socket = place.udp(ECHO);
    wait::until_true(LIMIT, "an echo", || echoes(&socket));
    for _ in 0..8 {
        let before = site.device()["endpoint"].clone();
        site.relay.move_on();
        wait::until_true(LIMIT, "an echo from the new place", || echoes(&socket));
        assert_ne!(site.device()["endpoint"], before);
    }
    // each arrival with a handshake of its own, as after a sleep
    let mut last = place;
    for _ in 0..3 {
        drop(last);
        last = site.place();
        let socket = last.udp(ECHO);
        wait::until_true(LIMIT, "an echo after the handshake", || echoes(&socket));
    }
    assert_eq!(site.device()["state"], "open");
    assert_eq!(alarms(&site), 0);
}
