//! A session ends by itself, and the device it opened is closed again; until then it stays open.

use std::time::{Duration, Instant};

use postern_tests::curl::Client;
use postern_tests::journal;
use postern_tests::office::{Office, PERMITTED, echoes};
use postern_tests::wait;
use serde_json::Value;

const LIMIT: Duration = postern_tests::wait::PATIENCE;
/// How long a session lives in these tests, or may lie unused.
const LIFE: Duration = Duration::from_secs(12);
/// What a start of either clock in whole seconds may cost.
const GRAIN: Duration = Duration::from_secs(2);

/// An office whose sessions have other limits.
fn office(limits: &str) -> Office {
    let mut office = Office::new();
    office.gateway.stop();
    office.gateway.edit_config(|text| {
        let with = format!("[identity]\n{limits}\n");
        *text = text.replace("[identity]\n", &with);
    });
    office.gateway.start_again();
    let browser = office.browser();
    wait::until_true(LIMIT, "the portal in the tunnel", || {
        let portal = &office.gateway.facts.tunnel_portal;
        browser.try_send(portal, &["--max-time", "2"]).is_ok()
    });
    office
}

fn state(office: &Office) -> Value {
    let status = office.gateway.must(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    status["devices"][0]["state"].clone()
}

/// Uses a flow until it is cut; returns how long that took.
fn until_closed(
    office: &Office,
    reason: &str,
    mut meanwhile: impl FnMut(&Client, Duration),
) -> Duration {
    let facts = &office.gateway.facts;
    let browser = office.browser();
    assert!(
        office.connect(PERMITTED).is_err(),
        "open before the sign-in"
    );
    let start = Instant::now();
    let portal = browser.sign_in(&facts.tunnel_portal, &facts.demo);
    assert_eq!(portal.status, 200, "{portal:?}");
    assert_eq!(state(office), "open");
    let signed_in = Instant::now();
    let mut stream = office.connect(PERMITTED).unwrap();
    wait::until_true(LIMIT, "the flow is cut", || {
        meanwhile(&browser, signed_in.elapsed());
        !echoes(&mut stream, "still there").unwrap_or(false)
    });
    let lived = start.elapsed();
    assert_eq!(state(office), "quarantine");
    assert!(office.connect(PERMITTED).is_err(), "a new flow is let in");
    journal::wait_for(&office.gateway, "session-ended.1", |r| {
        r["reason"] == reason
    });
    let portal = browser.follow(&facts.tunnel_portal);
    assert!(portal.body.contains("name=\"password\""), "{portal:?}");
    lived
}

#[test]
fn a_device_closes_when_the_life_of_the_session_is_over_however_much_it_is_used() {
    let office = office("idle = \"12s\"\nabsolute = \"12s\"");
    let lived = until_closed(&office, "expired", |_, _| ());
    assert!(lived + GRAIN >= LIFE, "closed early, after {lived:?}");
}

#[test]
fn a_device_closes_when_its_session_lies_unused_and_stays_open_while_it_is_used() {
    let office = office("idle = \"12s\"\nabsolute = \"1h\"");
    let used = LIFE * 2;
    let lived = until_closed(&office, "idle", |browser, since| {
        if since < used {
            let page = browser.follow(&office.tunnel_app());
            assert!(page.body.contains("the recorder saw"), "{page:?}");
        }
    });
    assert!(
        lived + GRAIN >= used + LIFE,
        "closed early, after {lived:?}"
    );
}
