//! Whole journeys in Chromium: each step is typed and clicked as people do it.

use std::time::Duration;

use postern_tests::chrome::Chrome;
use postern_tests::gateway::{Gateway, Person};
use postern_tests::{totp, wait};
use serde_json::Value;

/// How long anything may take on a busy machine.
const LIMIT: Duration = postern_tests::wait::PATIENCE;
const PASSWORD: &str = "nine pears in a bowl";
/// What the trial's app says on its front page.
const APP: &str = "/vault";

/// The console asks for nothing but the session's code, and guests may read.
const POLICY: &str = r#"postern = 1

[group]
admins = ["demo"]
readers = ["demo", "guest"]

[admin]
allow.admins = { who = "@admins" }

[app.app]
host = ["app.gate.localhost", "app.gate.postern.internal"]
upstream = "UPSTREAM"
allow.readers = { who = "@readers" }
"#;

fn demo() -> Gateway {
    let gateway = Gateway::demo();
    let text = gateway.policy_text();
    let (_, upstream) = text.split_once("upstream = \"").unwrap();
    let (upstream, _) = upstream.split_once('"').unwrap();
    gateway.set_policy(&POLICY.replace("UPSTREAM", upstream));
    gateway
}

fn at(gateway: &Gateway, path: &str) -> String {
    format!("{}{path}", gateway.facts.portal.trim_end_matches('/'))
}

fn until(chrome: &Chrome, css: &str) {
    let holds = || chrome.has(css);
    let end = std::time::Instant::now() + LIMIT;
    while !holds() {
        let (url, text) = (chrome.url(), chrome.text());
        assert!(
            std::time::Instant::now() < end,
            "no {css} at {url}:\n{text}"
        );
    }
}

fn type_password(chrome: &Chrome, person: &Person) {
    chrome.type_into("input[name=username]", &person.user);
    chrome.type_into("input[name=password]", &format!("{}\n", person.password));
    until(chrome, "input[name=code]");
}

/// Opens an address, signs in on the way and waits for what is there.
fn sign_in(chrome: &Chrome, url: &str, person: &Person, css: &str) {
    chrome.open(url);
    type_password(chrome, person);
    chrome.type_into("input[name=code]", &format!("{}\n", person.code()));
    until(chrome, css);
}

fn in_app(chrome: &Chrome, gateway: &Gateway) -> bool {
    chrome.url().starts_with(&gateway.facts.app) && chrome.has(&link_to_vault())
}

fn link_to_vault() -> String {
    format!("a[href='{APP}']")
}

/// The secret that an enrolment page shows.
fn secret(chrome: &Chrome) -> String {
    let text = chrome.script("return document.querySelector('.secret code').textContent");
    text.as_str().unwrap().replace(' ', "")
}

fn codes(chrome: &Chrome) -> Vec<String> {
    until(chrome, "ol.codes");
    let all = chrome
        .script("return [...document.querySelectorAll('ol.codes code')].map(c => c.textContent)");
    let all: Vec<String> = serde_json::from_value(all).unwrap();
    assert_eq!(all.len(), 10);
    all
}

/// Opens a WebSocket to the app from its own page, which sends for as long as it is open.
fn stream(chrome: &Chrome) {
    chrome.run(
        "window.over = false; window.heard = 0;
         const ws = new WebSocket('wss://' + location.host + '/ws');
         ws.onopen = () => setInterval(() => ws.readyState === 1 && ws.send('x'), 20);
         ws.onmessage = () => { window.heard += 1; };
         ws.onclose = () => { window.over = true; };",
        &[],
    );
    wait::until_true(LIMIT, "the WebSocket echoes", || {
        chrome.script("return window.heard > 3") == Value::Bool(true)
    });
    assert_eq!(chrome.script("return window.over"), Value::Bool(false));
}

fn stream_ends(chrome: &Chrome) {
    wait::until_true(LIMIT, "the WebSocket is closed", || {
        chrome.script("return window.over") == Value::Bool(true)
    });
}

fn wrong(person: &Person) -> &'static str {
    let now = totp::now();
    let near = [-60, -30, 0, 30, 60, 90].map(|off: i64| {
        let at = now.checked_add_signed(off).unwrap();
        totp::code_at(&person.totp_secret, at)
    });
    let mut all = ["000000", "111111", "222222", "333333", "444444"].into_iter();
    all.find(|code| near.iter().all(|right| right != code))
        .unwrap()
}

#[test]
fn a_person_is_invited_opens_her_first_app_loses_the_phone_and_is_shut_out() {
    let gateway = demo();
    let (office, hers) = (
        Chrome::start(&gateway.facts.ca_root),
        Chrome::start(&gateway.facts.ca_root),
    );
    // an administrator makes the person, after a look at what that changes
    let people = at(&gateway, "/admin/people");
    sign_in(&office, &people, &gateway.facts.demo, "form.search");
    office.type_into("#user", "zoe");
    office.type_into("#name", "Zoë");
    office.type_into("#group", "readers\n");
    until(&office, "pre.diff");
    office.wait_for_text("+ ");
    office.click("main form button[type=submit]");
    until(&office, ".secret code");
    let link = office.script("return document.querySelector('.secret code').textContent");

    // she sets up both factors and opens the app
    hers.open(link.as_str().unwrap());
    let zoe = Person::new("zoe", PASSWORD, &secret(&hers));
    hers.type_into("#password", PASSWORD);
    hers.type_into("#again", PASSWORD);
    hers.type_into("#code", &format!("{}\n", zoe.code()));
    let saved = codes(&hers);
    sign_in(&hers, &gateway.facts.app, &zoe, &link_to_vault());
    assert!(in_app(&hers, &gateway), "{}", hers.url());
    hers.open(link.as_str().unwrap());
    assert!(!hers.has("#code"), "a used link");

    // the phone is gone: a saved code leads to a new app, and the old app is void
    let finder = Chrome::start(&gateway.facts.ca_root);
    finder.open(&gateway.facts.app);
    type_password(&finder, &zoe);
    finder.click("p.aside a[href*='/signin/recovery']");
    until(&finder, "#recovery");
    finder.type_into("#recovery", &format!("{}\n", saved[0]));
    until(&finder, ".secret code");
    let renewed = Person::new("zoe", PASSWORD, &secret(&finder)).follows(&zoe);
    if finder.has("#password") {
        finder.type_into("#password", PASSWORD);
    }
    finder.type_into("#code", &format!("{}\n", renewed.code()));
    assert_ne!(codes(&finder)[0], saved[0]);
    hers.open(&gateway.facts.app);
    until(&hers, "input[name=username]");
    type_password(&hers, &zoe);
    hers.type_into("input[name=code]", &format!("{}\n", zoe.code()));
    until(&hers, "[role=alert]");
    sign_in(&finder, &gateway.facts.app, &renewed, &link_to_vault());

    // the administrator shuts her out: what is open ends, and nothing opens again
    stream(&finder);
    office.open(&at(&gateway, "/admin/person?user=zoe"));
    office.click("a[href*='/admin/do/disable']");
    until(&office, "pre.diff");
    office.click("main form button[type=submit]");
    stream_ends(&finder);
    finder.open(&gateway.facts.app);
    until(&finder, "input[name=username]");
    finder.type_into("input[name=username]", "zoe");
    finder.type_into("input[name=password]", &format!("{PASSWORD}\n"));
    until(&finder, "[role=alert]");
    assert!(!finder.has("input[name=code]"));
    // and nobody else
    office.open(&gateway.facts.app);
    assert!(in_app(&office, &gateway), "{}", office.url());
}

#[test]
fn wrong_codes_end_in_a_wait_until_an_administrator_unlocks() {
    let gateway = demo();
    let guest = &gateway.facts.guest;
    let (office, hers) = (
        Chrome::start(&gateway.facts.ca_root),
        Chrome::start(&gateway.facts.ca_root),
    );
    // five to a password, and no more than ten in an hour
    for round in 0..2 {
        hers.open(&gateway.facts.app);
        type_password(&hers, guest);
        for code in 0..5 {
            assert!(hers.has("#code"), "{round} {code}: {}", hers.text());
            hers.run("document.body.dataset.before = '1'", &[]);
            hers.type_into("#code", &format!("{}\n", wrong(guest)));
            until(&hers, "body:not([data-before]) [role=alert]");
        }
    }
    hers.open(&gateway.facts.app);
    type_password(&hers, guest);
    hers.type_into("#code", &format!("{}\n", guest.code()));
    hers.wait_for_text("Too many tries");
    assert!(!in_app(&hers, &gateway));

    let person = at(&gateway, "/admin/person?user=guest");
    sign_in(&office, &person, &gateway.facts.demo, "main h1");
    office.wait_for_text("Waits 60 minutes");
    office.click("a[href*='/admin/do/unlock']");
    until(&office, "main form button[type=submit]");
    office.click("main form button[type=submit]");
    until(&office, "[role=status]");
    assert!(!office.text().contains("after wrong tries"));

    sign_in(&hers, &gateway.facts.app, guest, &link_to_vault());
    assert!(in_app(&hers, &gateway), "{}", hers.url());
}

#[test]
fn a_session_is_ended_from_the_phone_while_the_laptop_streams() {
    let gateway = demo();
    let demo = &gateway.facts.demo;
    let (laptop, phone) = (
        Chrome::start(&gateway.facts.ca_root),
        Chrome::start(&gateway.facts.ca_root),
    );
    sign_in(&laptop, &gateway.facts.app, demo, &link_to_vault());
    let portal = &gateway.facts.portal;
    sign_in(&phone, portal, demo, "form[action='/signout']");
    phone.open(&at(&gateway, "/account"));
    stream(&laptop);
    let own = phone.script(
        "const rows = [...document.querySelectorAll('tr:has(form[action=\"/account/end\"])')];
         rows.find(row => !row.querySelector('.tag')).querySelector('button').id = 'theirs';
         return rows.length",
    );
    assert_eq!(own, Value::from(2));
    phone.click("#theirs");
    stream_ends(&laptop);
    laptop.open(&gateway.facts.app);
    until(&laptop, "input[name=username]");
    phone.open(&gateway.facts.app);
    assert!(in_app(&phone, &gateway), "{}", phone.url());
}
