//! Another proof: a device that moved, aged or lay idle; a device without a person; a session that
//! is put off. Stock wireguard-go, real flows.

use std::net::TcpStream;
use std::time::Duration;

use postern_tests::chrome::Chrome;
use postern_tests::curl::Answer;
use postern_tests::html;
use postern_tests::journal;
use postern_tests::office::{FORBIDDEN, Office, PERMITTED, echoes};
use postern_tests::policy;
use postern_tests::wait;
use serde_json::Value;

const LIMIT: Duration = postern_tests::wait::PATIENCE;
const SERVICE: &str = r#"[net.echo]
to = "10.78.0.2"
port = "7000/tcp"
allow.demo = { who = "demo" }
"#;

/// Tells whether the key of the open page can be read out; `none` while there is none.
const KEY_OF_THE_PAGE: &str = "
    const done = arguments[arguments.length - 1];
    const opening = indexedDB.open('postern', 1);
    opening.onupgradeneeded = () => opening.transaction.abort();
    opening.onerror = () => done('none');
    opening.onsuccess = () => {
        const got = opening.result.transaction('keys').objectStore('keys').get('reproof');
        got.onsuccess = () => {
            opening.result.close();
            done(got.result ? String(got.result.extractable) : 'none');
        };
    };";

/// An office with more said in its policy.
fn office(more: &str) -> Office {
    let office = Office::new();
    say(&office, more);
    office
}

fn say(office: &Office, more: &str) {
    let text = policy::two_apps(&office.recorder.url(), &format!("{SERVICE}{more}"));
    office.gateway.open_policy(&text);
}

fn device(office: &Office) -> Value {
    let status = office.gateway.must(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    status["devices"][0].clone()
}

/// Waits until the device is closed; each try is a packet from where the laptop is.
fn wait_until_closed(office: &Office) {
    wait::until_true(LIMIT, "the device is closed", || {
        let refused = office.connect(PERMITTED).is_err();
        refused && device(office)["state"] == "quarantine"
    });
}

fn wait_until_open(office: &Office) {
    wait::until_true(LIMIT, "the device is open", || {
        let reached = office.connect(PERMITTED).is_ok();
        reached && device(office)["state"] == "open"
    });
}

/// Waits for a change of the device on record; each try is a packet from where the laptop is.
fn wait_for_record(office: &Office, reason: &str) -> Value {
    wait::until(LIMIT, reason, || {
        drop(office.connect(PERMITTED));
        let all = journal::search(&office.gateway, &["--event", "device-changed.1"]);
        all.into_iter().find(|r| r["reason"] == reason)
    })
}

/// Gives the laptop another address outside, as another network would.
fn move_to(office: &Office, from: &str, to: &str) {
    let output = office
        .outside
        .command("ip")
        .args(["-o", "addr", "show"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|l| l.contains(from)).unwrap();
    let link = line.split_whitespace().nth(1).unwrap();
    // in this order: of two in one network the second goes with the first
    office.outside.ip(&["addr", "del", from, "dev", link]);
    office.outside.ip(&["addr", "add", to, "dev", link]);
}

/// Sends on a stream until it is cut; each try is a packet from where the laptop is.
fn wait_for_cut(stream: &mut TcpStream) {
    wait::until_true(LIMIT, "the flow is cut", || {
        !echoes(stream, "still there").unwrap_or(false)
    });
}

fn has_password(page: &Answer) -> bool {
    page.body.contains("name=\"password\"")
}

#[test]
fn a_device_that_moved_is_closed_until_one_code_opens_it_and_needs_no_password() {
    let office = office("[tunnel]\nreprove = { moved = true }\n");
    let (browser, gateway) = (office.browser(), &office.gateway);
    let (portal, demo) = (&gateway.facts.tunnel_portal, &gateway.facts.demo);
    browser.sign_in(portal, demo);
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "open").unwrap());

    // another port is no move
    let link = &office.laptop.link;
    let set = ["set", link, "listen-port", "40123"];
    let changed = office.outside.command("wg").args(set).status().unwrap();
    assert!(changed.success());
    assert!(echoes(&mut stream, "other port").unwrap());
    wait::until_true(LIMIT, "the port is known", || {
        assert!(echoes(&mut stream, "other port").unwrap());
        device(&office)["endpoint"] == "10.77.0.2:40123"
    });
    assert_eq!(device(&office)["state"], "open");

    move_to(&office, "10.77.0.2/24", "10.77.0.3/24");
    wait_until_closed(&office);
    wait_for_cut(&mut stream);
    let why = device(&office)["why"].as_str().unwrap().to_owned();
    assert!(why.contains("device moved: sign in again"), "{why}");
    let moved = journal::wait_for(gateway, "device-changed.1", |r| {
        r["reason"] == "device-moved"
    });
    assert_eq!(moved["user"], "demo");
    assert!(office.connect(PERMITTED).is_err());
    let refused = journal::wait_for(gateway, "flow-decided.1", |r| r["reason"] == "device-moved");
    assert_eq!(refused["outcome"], "deny");
    let seq = refused["seq"].to_string();
    let told = gateway.must(&["policy", "explain", "--seq", &seq]);
    assert!(told.contains("device moved: sign in again"), "{told}");

    let page = browser.follow(&office.tunnel_app());
    assert!(
        !has_password(&page) && page.body.contains("another address"),
        "{page:?}"
    );
    let wrong = browser.code(&page, "000000");
    assert_eq!(wrong.status, 401, "{wrong:?}");
    assert_eq!(device(&office)["state"], "quarantine");
    let opened = browser.follow_from(browser.code(&wrong, &demo.code()));
    assert!(opened.body.contains("the recorder saw"), "{opened:?}");
    assert_eq!(device(&office)["state"], "open");
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "open again").unwrap());

    // without the session nothing helps but name and password
    let stranger = office.browser();
    move_to(&office, "10.77.0.3/24", "10.77.0.4/24");
    wait_until_closed(&office);
    wait_for_cut(&mut stream);
    assert!(has_password(&stranger.follow(portal)));
}

#[test]
fn an_open_page_of_the_portal_opens_a_moved_device_silently() {
    let office = office("[tunnel]\nreprove = { moved = true }\n");
    let gateway = &office.gateway;
    let demo = &gateway.facts.demo;
    let resolv = std::path::Path::new("/etc/netns").join(office.outside.name());
    std::fs::create_dir_all(&resolv).unwrap();
    let server = format!("nameserver {}\n", office.tunnel_address());
    std::fs::write(resolv.join("resolv.conf"), server).unwrap();
    let chrome = Chrome::start_in(&office.outside, &gateway.facts.ca_root);
    // its first questions may come before the tunnel is there
    wait::until_true(LIMIT, "the sign-in page opens in the tunnel", || {
        chrome.open(&gateway.facts.tunnel_portal);
        let opens = chrome.has("input[name=username]");
        if !opens {
            println!("{}: {}", chrome.url(), chrome.text());
        }
        opens
    });
    chrome.sign_in(&gateway.facts.tunnel_portal, demo);
    chrome.wait_for_text("Hello, demo");
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "open").unwrap());
    wait::until_true(LIMIT, "the key is there and nobody can read it", || {
        chrome.script_later(KEY_OF_THE_PAGE) == "false"
    });
    move_to(&office, "10.77.0.2/24", "10.77.0.3/24");
    wait_for_record(&office, "device-moved");
    wait_for_cut(&mut stream);
    let proved = wait_for_record(&office, "device-proved");
    assert_eq!(
        (&proved["user"], &proved["outcome"]),
        (&"demo".into(), &"ok".into())
    );
    wait_until_open(&office);
    assert!(chrome.text().contains("Hello, demo"), "{}", chrome.text());
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "open again").unwrap());
    drop(std::fs::remove_dir_all(resolv));
}

#[test]
fn a_device_closes_when_its_proof_is_old_and_nothing_is_left_of_it_when_the_policy_goes() {
    for (reprove, reason, page) in [
        ("after = \"4s\"", "device-proof-old", "too old"),
        ("idle = \"2s\"", "device-idle", "unused"),
    ] {
        let office = office("");
        let (browser, gateway) = (office.browser(), &office.gateway);
        let portal = &gateway.facts.tunnel_portal;
        browser.sign_in(portal, &gateway.facts.demo);
        let mut stream = office.connect(PERMITTED).unwrap();
        assert!(echoes(&mut stream, "open").unwrap());
        say(&office, &format!("[tunnel]\nreprove = {{ {reprove} }}\n"));
        journal::wait_for(gateway, "device-changed.1", |r| r["reason"] == reason);
        wait_for_cut(&mut stream);
        assert!(office.connect(PERMITTED).is_err());
        let asked = browser.follow(portal);
        assert!(
            !has_password(&asked) && asked.body.contains(page),
            "{asked:?}"
        );
        say(&office, "");
        assert_eq!(device(&office)["state"], "open", "{reprove}");
        let mut stream = office.connect(PERMITTED).unwrap();
        assert!(echoes(&mut stream, "open again").unwrap());
    }
}

#[test]
fn a_restart_does_not_forget_where_a_device_was_proved() {
    let mut office = office("[tunnel]\nreprove = { moved = true }\n");
    let browser = office.browser();
    browser.sign_in(
        &office.gateway.facts.tunnel_portal,
        &office.gateway.facts.demo,
    );
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "open").unwrap());
    office.gateway.stop();
    office.gateway.start_again();
    assert_eq!(device(&office)["state"], "open");
    wait::until_true(LIMIT, "the tunnel is back", || {
        office.connect(PERMITTED).is_ok()
    });
    move_to(&office, "10.77.0.2/24", "10.77.0.3/24");
    wait_until_closed(&office);
}

#[test]
fn a_headless_device_reaches_what_the_policy_names_and_only_once_an_admin_marked_it() {
    let office = office("[tunnel.headless]\n\"demo/laptop\" = \"net.echo\"\n");
    let gateway = &office.gateway;
    let own = device(&office);
    assert_eq!(own["name"], "laptop");
    assert!(office.connect(PERMITTED).is_err(), "it is not managed");
    gateway.must(&["device", "mark", own["id"].as_str().unwrap(), "managed"]);
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "nobody signed in").unwrap());
    let allowed = journal::wait_for(gateway, "flow-decided.1", |r| r["outcome"] == "allow");
    assert_eq!(allowed["reason"], "headless");
    assert_eq!(
        (&allowed["rule"], &allowed["user"]),
        (&"net.echo#demo".into(), &"demo".into())
    );
    assert!(office.connect(FORBIDDEN).is_err());
    let app = office.browser().open(&office.tunnel_app());
    assert_eq!(app.status, 303, "apps need a sign-in: {app:?}");
    let why = device(&office)["why"].to_string();
    assert!(why.contains("tunnel.headless"), "{why}");
    let lint = gateway.must(&["policy", "lint"]);
    assert!(
        lint.contains("demo/laptop reaches net.echo without a sign-in"),
        "{lint}"
    );
    say(&office, "");
    wait_for_cut(&mut stream);
    assert!(office.connect(PERMITTED).is_err());
}

#[test]
fn one_code_puts_the_end_off_and_what_is_open_goes_on() {
    // demo signs in before guest: who did not put it off is signed out first
    let office = office("[default]\nlogin = \"25s\"\nextend = \"1h\"\n");
    let (browser, gateway) = (office.browser(), &office.gateway);
    let facts = &gateway.facts;
    let portal = browser.sign_in(&facts.tunnel_portal, &facts.demo);
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "before").unwrap());
    let guest = office.web_browser();
    let app = guest.sign_in(&facts.app, &facts.guest);
    assert!(app.body.contains("the recorder saw"), "{app:?}");

    let forms = html::forms(&portal.body);
    let mut form = forms
        .into_iter()
        .find(|f| f.action == "/account/extend")
        .unwrap();
    form.set("code", "000000");
    let wrong = browser.submit(&portal, &form);
    assert_eq!(wrong.status, 401);
    let code = facts.demo.code();
    form.set("code", &code);
    let done = browser.follow_from(browser.submit(&portal, &form));
    assert_eq!(done.status, 200, "{done:?}");
    assert!(!done.body.contains("/account/extend"), "{done:?}");
    journal::wait_for(gateway, "signed-in.1", |r| r["reason"] == "extended");
    form.set(
        "csrf",
        html::form_with(&done.body, "csrf")
            .unwrap()
            .value("csrf")
            .unwrap(),
    );
    let again = browser.submit(&done, &form);
    assert_eq!(again.status, 303, "once: {again:?}");
    assert_eq!(
        journal::search(gateway, &["--event", "signed-in.1"])
            .iter()
            .filter(|r| r["reason"] == "extended")
            .count(),
        1
    );

    wait::until_true(LIMIT, "guest must sign in again", || {
        guest.open(&facts.app).status == 303
    });
    assert!(echoes(&mut stream, "after").unwrap(), "nothing was dropped");
    let app = browser.follow(&office.tunnel_app());
    assert!(app.body.contains("the recorder saw"), "{app:?}");
}
