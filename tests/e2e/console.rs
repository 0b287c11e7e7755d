//! The console: who gets in, what acts change, and what stops them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::curl::{Answer, Client, host};
use postern_tests::gateway::Gateway;
use postern_tests::html;
use postern_tests::journal;
use postern_tests::office::{Office, PERMITTED, echoes};
use postern_tests::raw;
use postern_tests::wait;
use postern_tests::websocket::Socket;

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = postern_tests::wait::PATIENCE;

/// A policy whose console asks for nothing but the session's code; comments must outlive every edit.
const POLICY: &str = r#"postern = 1

[group] # reviewed each month
admins = ["demo"]   # the office
readers = [
    # from the other house
    "demo",
]

[admin]
allow.admins = { who = "@admins" }

[app.app]
host = ["app.gate.localhost", "app.gate.postern.internal"]
upstream = "http://127.0.0.1:9"
allow.readers = { who = "@readers" }
"#;

fn at(gateway: &Gateway, path: &str) -> String {
    format!("{}{path}", gateway.facts.portal.trim_end_matches('/'))
}

/// Opens the page that asks about an act.
fn ask(client: &Client, gateway: &Gateway, act: &str) -> Answer {
    client.open(&at(gateway, &format!("/admin/do/{act}")))
}

/// Confirms the act that a page asks about.
fn confirm(client: &Client, page: &Answer) -> Answer {
    let all = html::forms(&page.body);
    let form = all.iter().find(|f| f.action.starts_with("/admin/do/"));
    let form = form.unwrap_or_else(|| panic!("nothing to confirm on {}:\n{}", page.url, page.body));
    client.submit(page, form)
}

fn act(client: &Client, gateway: &Gateway, act: &str) -> Answer {
    let page = ask(client, gateway, act);
    assert_eq!(page.status, 200, "{page:?}");
    confirm(client, &page)
}

/// Signs demo in at the console.
fn admin(gateway: &Gateway) -> Client {
    let client = Client::new(gateway);
    let page = client.sign_in(&at(gateway, "/admin/people"), &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.url.ends_with("/admin/people"), "{page:?}");
    client
}

fn json(client: &Client, gateway: &Gateway, path: &str) -> Answer {
    client.send(&at(gateway, path), &["-H", "Accept: application/json"])
}

/// The record of the request that did an act, and of what it did.
fn on_record(gateway: &Gateway, event: &str, user: &str, reason: &str) -> serde_json::Value {
    let done = journal::wait_for(gateway, event, |r| {
        journal::is(r, "user", user)
            && journal::is(r, "reason", reason)
            && r["request_id"].is_string()
    });
    let asked = journal::wait_for(gateway, "access-decided.1", |r| {
        r["request_id"] == done["request_id"]
    });
    assert_eq!(asked["outcome"], "allow", "{asked}");
    assert_eq!(asked["rule"], "admin#admins", "{asked}");
    assert_eq!(asked["method"], "POST");
    assert_eq!(asked["session"], done["session"]);
    asked
}

#[test]
fn only_administrators_get_in_and_everybody_else_is_turned_away_on_record() {
    let gateway = Gateway::demo();
    let nobody = Client::new(&gateway);
    let turned = nobody.open(&at(&gateway, "/admin/people"));
    assert_eq!(turned.status, 303, "{turned:?}");
    assert!(
        turned.location().unwrap().contains("/signin?rt="),
        "{turned:?}"
    );
    assert_eq!(nobody.fetch(&at(&gateway, "/admin")).status, 401);
    admin(&gateway);

    let guest = Client::new(&gateway);
    drop(guest.sign_in(&gateway.facts.portal, &gateway.facts.guest));
    let portal = guest.open(&gateway.facts.portal);
    assert!(
        portal.status == 200 && !portal.body.contains("href=\"/admin\""),
        "{portal:?}"
    );
    for path in [
        "/admin",
        "/admin/people",
        "/admin/do/disable?user=demo",
        "/admin/none",
    ] {
        let denied = guest.open(&at(&gateway, path));
        assert_eq!(denied.status, 403, "{path}: {denied:?}");
        assert!(denied.body.contains("<code>D-"), "{denied:?}");
    }
    let denied = json(&guest, &gateway, "/admin/people");
    assert_eq!(denied.status, 403);
    let code = denied.json()["code"].as_str().unwrap().to_owned();
    let record = journal::wait_for(&gateway, "access-decided.1", |r| {
        journal::is(r, "code", &code)
    });
    assert_eq!(
        (&record["user"], &record["path"]),
        (&"guest".into(), &"/admin/people".into())
    );
    assert_eq!(record["reason"], "no-rule");
}

#[test]
fn a_group_is_edited_after_its_diff_was_seen_and_comments_stay() {
    let gateway = Gateway::demo();
    gateway.set_policy(POLICY);
    let client = admin(&gateway);
    let page = ask(&client, &gateway, "join?user=guest&group=readers");
    assert_eq!(page.status, 200, "{page:?}");
    assert!(
        page.body.contains("<ins>+     &#34;guest&#34;,</ins>"),
        "{}",
        page.body
    );
    assert!(
        page.body.contains("guest") && page.body.contains("app.app"),
        "{}",
        page.body
    );
    assert_eq!(gateway.policy_text(), POLICY);

    let guest = Client::new(&gateway);
    assert_eq!(
        guest
            .sign_in(&gateway.facts.app, &gateway.facts.guest)
            .status,
        403
    );
    let done = confirm(&client, &page);
    assert_eq!(done.status, 303, "{done:?}");
    let wanted = POLICY.replace("    \"demo\",\n", "    \"demo\",\n    \"guest\",\n");
    assert_eq!(gateway.policy_text(), wanted);
    let at_app = guest.open(&gateway.facts.app);
    assert_ne!(
        at_app.status, 403,
        "in force for the open session: {at_app:?}"
    );
    let asked = on_record(&gateway, "user-changed.1", "guest", "changed");
    assert_eq!(asked["user"], "demo");
    let applied = journal::wait_for(&gateway, "policy-applied.1", |r| {
        journal::is(r, "user", "demo")
    });
    assert!(
        applied["detail"].as_str().unwrap().contains("console"),
        "{applied}"
    );

    assert_eq!(
        act(&client, &gateway, "leave?user=guest&group=readers").status,
        303
    );
    assert_eq!(gateway.policy_text(), POLICY);
    assert_eq!(guest.open(&gateway.facts.app).status, 403);
}

#[test]
fn files_that_changed_meanwhile_are_not_overwritten() {
    let gateway = Gateway::demo();
    gateway.set_policy(POLICY);
    let client = admin(&gateway);
    let page = ask(&client, &gateway, "join?user=guest&group=readers");
    let edited = POLICY.replace("# the office", "# the office, and nobody else");
    fs::write(gateway.policy_file(), &edited).unwrap();
    let late = confirm(&client, &page);
    assert_eq!(late.status, 409, "{late:?}");
    assert!(
        late.body
            .contains("The files were changed since you looked."),
        "{late:?}"
    );
    assert_eq!(gateway.policy_text(), edited);
    let done = confirm(&client, &late);
    assert_eq!(done.status, 303, "{done:?}");
    assert_eq!(
        gateway.policy_text(),
        edited.replace("    \"demo\",\n", "    \"demo\",\n    \"guest\",\n")
    );
}

#[test]
fn nobody_locks_the_last_administrator_out() {
    let gateway = Gateway::demo();
    gateway.set_policy(POLICY);
    let users = fs::read_to_string(gateway.facts.policy.join("users.toml")).unwrap();
    let client = admin(&gateway);
    for what in [
        "disable?user=demo",
        "remove?user=demo",
        "leave?user=demo&group=admins",
    ] {
        let page = ask(&client, &gateway, what);
        assert_eq!(page.status, 200, "{page:?}");
        assert!(
            page.body.contains("<b>lock-out</b>"),
            "{what}: {}",
            page.body
        );
        assert!(!page.body.contains("type=\"submit\">Apply"), "{what}");
        let forced = confirm(&client, &page);
        assert_eq!(forced.status, 409, "{what}: {forced:?}");
        assert_eq!(gateway.policy_text(), POLICY);
        let now = fs::read_to_string(gateway.facts.policy.join("users.toml")).unwrap();
        assert_eq!(now, users);
    }
    assert_eq!(client.open(&at(&gateway, "/admin/people")).status, 200);
    // with a second administrator the first may go
    assert_eq!(
        act(&client, &gateway, "join?user=guest&group=admins").status,
        303
    );
    let second = Client::new(&gateway);
    let page = second.sign_in(&at(&gateway, "/admin/people"), &gateway.facts.guest);
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(
        act(&second, &gateway, "leave?user=demo&group=admins").status,
        303
    );
    assert_eq!(client.open(&at(&gateway, "/admin/people")).status, 403);
}

#[test]
fn a_policy_that_would_not_load_is_refused_with_its_reason() {
    let gateway = Gateway::demo();
    let before = gateway.policy_text();
    let client = admin(&gateway);
    // a test of the demo's policy says that guest opens nothing
    let refused = ask(&client, &gateway, "join?user=guest&group=admins");
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.body.contains("guest does not"), "{}", refused.body);
    for (what, status) in [
        ("join?user=nobody&group=admins", 422),
        ("join?user=guest&group=nothing", 422),
        ("leave?user=guest&group=admins", 422),
        ("add?user=Bad+Name", 422),
        ("add?user=guest", 422),
    ] {
        let refused = ask(&client, &gateway, what);
        assert_eq!(refused.status, status, "{what}: {refused:?}");
    }
    assert_eq!(gateway.policy_text(), before);
}

#[test]
fn a_stale_code_is_asked_for_on_the_way_to_an_act_and_nothing_is_lost() {
    let gateway = Gateway::demo();
    gateway.set_policy(&POLICY.replace("who = \"@admins\" }", "who = \"@admins\", mfa = \"5s\" }"));
    let demo = &gateway.facts.demo;
    let client = admin(&gateway);
    let page = wait::until(LIMIT, "a page to confirm", || {
        let page = ask(
            &client,
            &gateway,
            "ban?network=192.0.2.77&time=1h&note=probe",
        );
        let stepped = page
            .location()
            .map(|next| client.code(&client.open(&next), &demo.code()));
        Some(stepped.unwrap_or(page)).filter(|page| page.status == 200)
    });
    assert!(
        page.url.contains("/admin/do/ban?network=192.0.2.77"),
        "{page:?}"
    );
    // the code grows old on the page that asks
    wait::until_true(LIMIT, "the code is too old", || {
        client.open(&at(&gateway, "/admin/bans")).status == 303
    });
    let stale = confirm(&client, &page);
    assert_eq!(stale.status, 303, "{stale:?}");
    let step_up = client.open(&stale.location().unwrap());
    assert!(step_up.url.contains("/signin/step-up?rt="), "{step_up:?}");
    assert_eq!(gateway.must(&["ban", "list", "--json"]), "");
    let back = client.code(&step_up, &demo.code());
    assert_eq!(back.status, 200, "{back:?}");
    assert!(
        back.url.contains("/admin/do/ban?network=192.0.2.77"),
        "{back:?}"
    );
    assert_eq!(confirm(&client, &back).status, 303);
    let bans = journal::records(&gateway.must(&["ban", "list", "--json"]));
    assert_eq!(
        (&bans[0]["network"], &bans[0]["note"]),
        (&"192.0.2.77/32".into(), &"probe".into())
    );
    journal::wait_for(&gateway, "access-decided.1", |r| {
        journal::is(r, "path", "/admin/do/ban") && journal::is(r, "outcome", "step-up")
    });
}

#[test]
fn sessions_devices_and_bans_are_listed_ended_marked_and_lifted() {
    let gateway = Gateway::demo();
    gateway.set_policy(POLICY);
    let client = admin(&gateway);
    let guest = Client::new(&gateway);
    drop(guest.sign_in(&gateway.facts.portal, &gateway.facts.guest));
    let sessions = json(&client, &gateway, "/admin/sessions").json();
    let lines = sessions["sessions"]["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 2, "{sessions}");
    let of_guest = lines.iter().find(|l| l["user"] == "guest").unwrap();
    let end = format!("end-session?session={}", of_guest["id"].as_str().unwrap());
    assert_eq!(act(&client, &gateway, &end).status, 303);
    assert_eq!(guest.fetch(&at(&gateway, "/account")).status, 303);
    on_record(&gateway, "user-changed.1", "guest", "changed");
    let again = act(&client, &gateway, &end);
    assert_eq!(again.status, 422, "{again:?}");

    let demo = json(&client, &gateway, "/admin/person?user=demo").json();
    assert!(
        demo["last_sign_in"].as_str().unwrap().ends_with('Z'),
        "{demo}"
    );
    assert_eq!(demo["factors"]["totp"], true);
    let device = &json(&client, &gateway, "/admin/devices").json()["devices"]["lines"][0];
    let id = device["id"].as_str().unwrap();
    assert_eq!(
        (&device["user"], &device["managed"]),
        (&"demo".into(), &false.into())
    );
    for what in [
        format!("clear-device?device={id}"),
        format!("mark-device?device={id}&class=managed"),
        format!("revoke-device?device={id}"),
    ] {
        assert_eq!(act(&client, &gateway, &what).status, 303);
    }
    let device = &json(&client, &gateway, "/admin/devices").json()["devices"]["lines"][0];
    assert_eq!(
        (&device["state"], &device["managed"]),
        (&"revoked".into(), &true.into())
    );
    let shut = act(&client, &gateway, &format!("clear-device?device={id}"));
    assert_eq!(shut.status, 422, "{shut:?}");

    assert_eq!(
        act(
            &client,
            &gateway,
            "ban?network=198.51.100.0%2F24&time=&note="
        )
        .status,
        303
    );
    let bans = json(&client, &gateway, "/admin/bans").json();
    assert_eq!(bans["bans"][0]["network"], "198.51.100.0/24");
    assert_eq!(
        act(&client, &gateway, "unban?network=198.51.100.0%2F24").status,
        303
    );
    let bans = json(&client, &gateway, "/admin/bans").json();
    assert_eq!(bans["bans"], serde_json::json!([]));
    let own = act(&client, &gateway, "ban?network=127.0.0.1&time=1h&note=");
    assert_eq!(own.status, 422, "{own:?}");
}

#[test]
fn a_new_person_gets_a_link_once_and_comes_in_and_goes() {
    let gateway = Gateway::demo();
    gateway.set_policy(POLICY);
    let client = admin(&gateway);
    let made = act(
        &client,
        &gateway,
        "add?user=zoe&name=Zo%C3%AB&mail=zoe%40example.org&group=readers",
    );
    assert_eq!(made.status, 200, "{made:?}");
    let link = made
        .body
        .split("<code>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    assert!(link.contains("/enrol/"), "{link}");
    let zoe = Client::new(&gateway);
    assert_eq!(zoe.follow(link).status, 200);
    let person = json(&client, &gateway, "/admin/person?user=zoe").json();
    assert_eq!(
        (&person["name"], &person["factors"]["invited"]),
        (&"Zoë".into(), &true.into()),
        "{person}"
    );
    assert_eq!(
        person["groups"][0],
        serde_json::json!({"group": "readers", "named": true})
    );
    assert_eq!(person["reach"][0]["resource"], "app.app/");
    let second = act(&client, &gateway, "invite?user=zoe");
    assert_eq!(second.status, 200);
    assert_ne!(
        Client::new(&gateway).follow(link).status,
        200,
        "the first link is void"
    );

    assert_eq!(act(&client, &gateway, "remove?user=zoe").status, 303);
    assert_eq!(gateway.policy_text(), POLICY);
    assert_eq!(
        json(&client, &gateway, "/admin/person?user=zoe").status,
        404
    );
    let journal = gateway.must(&["audit", "search", "--json"]);
    let token = link.rsplit('/').next().unwrap();
    assert!(!journal.contains(token) && !gateway.stderr().contains(token));
}

/// Starts to watch a stream; the handle gives the instant at which it ended.
fn watch(work: impl FnOnce() + Send + 'static) -> thread::JoinHandle<Instant> {
    thread::spawn(move || {
        work();
        Instant::now()
    })
}

#[test]
fn whoever_is_shut_out_loses_session_stream_and_tunnel_within_a_second() {
    let office = Office::new();
    let (gateway, facts) = (&office.gateway, &office.gateway.facts);
    gateway.set_policy(
        &gateway
            .policy_text()
            .replace("admins = [\"demo\"]", "admins = [\"guest\"]"),
    );
    let users = facts.policy.join("users.toml");
    let noted = fs::read_to_string(&users).unwrap() + "# nobody else yet\n";
    fs::write(&users, &noted).unwrap();
    gateway.must(&["reload"]);
    let admin = office.web_browser();
    let page = admin.sign_in(&at(gateway, "/admin/person?user=demo"), &facts.guest);
    assert_eq!(page.status, 200, "{page:?}");

    let browser = office.browser();
    browser.sign_in(&facts.tunnel_portal, &facts.demo);
    assert_eq!(browser.follow(&office.tunnel_app()).status, 200);
    let tunnel = SocketAddr::from((office.tunnel_address(), 443));
    let authority = host(&office.tunnel_app()).to_owned();
    let cookie = browser.cookie(&authority, "__Host-postern").unwrap();
    let cookie = format!("__Host-postern={cookie}");
    let tls = || {
        let tcp = office.outside.enter(|| TcpStream::connect(tunnel).unwrap());
        raw::tls_over(tcp, &authority, &facts.ca_root, LIMIT)
    };
    let mut websocket = Socket::open(tls(), &authority, "/ws", Some(&cookie)).unwrap();
    assert_eq!(websocket.echo("hello").unwrap(), "hello");
    let mut flow = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut flow, "open").unwrap());
    flow.set_read_timeout(Some(LIMIT)).unwrap();

    let page = ask(&admin, gateway, "disable?user=demo");
    assert_eq!(page.status, 200, "{page:?}");
    let watched = [
        ("WebSocket", watch(move || websocket.wait_closed())),
        ("TCP flow", watch(move || drop(flow.read(&mut [0; 1])))),
    ];
    let start = Instant::now();
    let done = confirm(&admin, &page);
    assert_eq!(done.status, 303, "{done:?}");
    for (name, handle) in watched {
        let took = handle.join().unwrap().saturating_duration_since(start);
        writeln!(
            std::io::stderr(),
            "{name} closed after {} ms",
            took.as_millis()
        )
        .unwrap();
        assert!(took < SECOND, "{name} closed after {took:?}");
    }
    // not even the sign-in page is there for a device of somebody who is shut out
    let silent = browser.try_send(&office.tunnel_app(), &["--max-time", "2"]);
    assert!(silent.is_err(), "{silent:?}");
    assert!(office.connect(PERMITTED).is_err());
    let shut = noted.replace("name = \"Demo\"\n", "name = \"Demo\"\ndisabled = true\n");
    assert_eq!(fs::read_to_string(&users).unwrap(), shut);
    let asked = on_record(gateway, "user-changed.1", "demo", "disabled");
    assert_eq!(asked["user"], "guest");

    assert_eq!(act(&admin, gateway, "enable?user=demo").status, 303);
    assert_eq!(fs::read_to_string(&users).unwrap(), noted);
    let page = browser.sign_in(&facts.tunnel_portal, &facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
}
