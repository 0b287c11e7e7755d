//! What was opened with a right ends with it: within a second, and nothing else with it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::curl::{Client, host};
use postern_tests::gateway::Gateway;
use postern_tests::html;
use postern_tests::journal;
use postern_tests::office::{Office, PERMITTED, PERMITTED6, echoes};
use postern_tests::policy::{second_app, two_apps};
use postern_tests::raw::{self, Tls};
use postern_tests::upstream::Recorder;
use postern_tests::websocket::Socket;

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = postern_tests::wait::PATIENCE;

/// How streams to an app are opened: where, under which name, with which cookie.
struct Door<'a> {
    connect: &'a dyn Fn() -> TcpStream,
    root: &'a std::path::Path,
    authority: String,
    cookie: String,
}

impl Door<'_> {
    fn tls(&self) -> Tls {
        let sni = self.authority.split(':').next().unwrap();
        raw::tls_over((self.connect)(), sni, self.root, LIMIT)
    }

    fn websocket(&self) -> Socket<Tls> {
        let mut socket =
            Socket::open(self.tls(), &self.authority, "/ws", Some(&self.cookie)).unwrap();
        assert_eq!(socket.echo("hello").unwrap(), "hello");
        socket
    }

    fn download(&self) -> Tls {
        let mut tls = self.tls();
        let text = format!(
            "GET /download HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
            self.authority, self.cookie
        );
        tls.write_all(text.as_bytes()).unwrap();
        let mut start = [0; 12];
        tls.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        tls
    }
}

fn session_cookie(client: &Client, url: &str) -> String {
    let value = client.cookie(host(url), "__Host-postern").unwrap();
    format!("__Host-postern={value}")
}

fn session_of(gateway: &Gateway, user: &str) -> String {
    let sessions = journal::records(&gateway.must(&["session", "list", "--json"]));
    let own: Vec<_> = sessions.iter().filter(|s| s["user"] == user).collect();
    assert_eq!(own.len(), 1, "{sessions:?}");
    own[0]["id"].as_str().unwrap().to_owned()
}

/// Starts to watch a stream; the handle gives the instant at which it ended.
fn watch(work: impl FnOnce() + Send + 'static) -> thread::JoinHandle<Instant> {
    thread::spawn(move || {
        work();
        Instant::now()
    })
}

/// Prints past the capture of the test runner: the figure is a result.
fn assert_closed(name: &str, start: Instant, watched: thread::JoinHandle<Instant>) {
    let took = watched.join().unwrap().saturating_duration_since(start);
    let ms = took.as_secs_f64() * 1000.0;
    let mut out = std::io::stderr();
    writeln!(out, "{name} closed after {ms:.1} ms").unwrap();
    assert!(took < SECOND, "{name} closed after {took:?}");
}

#[test]
fn a_revoked_session_closes_websocket_download_and_tunnel_flow_and_no_other() {
    let office = Office::new();
    let facts = &office.gateway.facts;
    let (browser, other) = (office.browser(), office.web_browser());
    browser.sign_in(&facts.tunnel_portal, &facts.demo);
    let page = browser.follow(&office.tunnel_app());
    assert_eq!(page.status, 200, "{page:?}");
    let page = other.sign_in(&facts.app, &facts.guest);
    assert_eq!(page.status, 200, "{page:?}");
    let tunnel = SocketAddr::from((office.tunnel_address(), 443));
    let through_tunnel = || office.outside.enter(|| TcpStream::connect(tunnel).unwrap());
    let demo = Door {
        connect: &through_tunnel,
        root: &facts.ca_root,
        authority: host(&office.tunnel_app()).to_owned(),
        cookie: session_cookie(&browser, &office.tunnel_app()),
    };
    let port = office.gateway.https_port();
    let at_web = || {
        office
            .edge
            .enter(|| TcpStream::connect(("127.0.0.1", port)).unwrap())
    };
    let guest = Door {
        connect: &at_web,
        root: &facts.ca_root,
        authority: format!("{}:{port}", host(&facts.app)),
        cookie: session_cookie(&other, &facts.app),
    };
    let (mut websocket, mut download) = (demo.websocket(), demo.download());
    let mut flow = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut flow, "open").unwrap());
    let mut guests = guest.websocket();
    let session = session_of(&office.gateway, "demo");
    flow.set_read_timeout(Some(LIMIT)).unwrap();
    let start = Instant::now();
    let watched = [
        ("WebSocket", watch(move || websocket.wait_closed())),
        (
            "download",
            watch(move || drop(raw::read_all(&mut download))),
        ),
        ("TCP flow", watch(move || drop(raw::read_all(&mut flow)))),
    ];
    office.gateway.must(&["session", "revoke", &session]);
    for (name, handle) in watched {
        assert_closed(name, start, handle);
    }
    assert_eq!(guests.echo("still here").unwrap(), "still here");
    assert!(office.connect(PERMITTED).is_err());
    assert_eq!(browser.fetch(&office.tunnel_app()).status, 401);
    assert_eq!(other.fetch(&facts.app).status, 200);
    journal::wait_for(&office.gateway, "session-ended.1", |r| {
        journal::is(r, "user", "demo")
    });
}

#[test]
fn a_session_ended_from_the_phone_closes_what_the_laptop_streams_and_not_the_phones_own() {
    let (_recorder, gateway, laptop) = signed_in(|g| &g.facts.demo);
    let phone = Client::new(&gateway);
    let page = phone.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    let port = gateway.https_port();
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let door = web_door(&gateway, &laptop, &gateway.facts.app, &connect);
    let (mut websocket, mut download) = (door.websocket(), door.download());
    let mut kept = web_door(&gateway, &phone, &gateway.facts.app, &connect).websocket();

    let account = format!("{}account", gateway.facts.portal);
    let page = phone.follow(&account);
    let ends = html::forms(&page.body).into_iter();
    let ends: Vec<_> = ends.filter(|f| f.action == "/account/end").collect();
    let own = session_row(&page.body, "this one");
    let other = |f: &&html::Form| f.value("session").is_some_and(|id| !own.contains(id));
    let form = ends.iter().find(other).unwrap();
    let start = Instant::now();
    let watched = [
        ("WebSocket", watch(move || websocket.wait_closed())),
        (
            "download",
            watch(move || drop(raw::read_all(&mut download))),
        ),
    ];
    let done = phone.submit(&page, form);
    assert_eq!(done.status, 303, "{done:?}");
    for (name, handle) in watched {
        assert_closed(name, start, handle);
    }
    assert_eq!(kept.echo("still here").unwrap(), "still here");
    assert_eq!(laptop.fetch(&gateway.facts.app).status, 401);
    assert_eq!(phone.fetch(&gateway.facts.app).status, 200);
}

/// The row of the account page that holds a text.
fn session_row(page: &str, text: &str) -> String {
    let rows = page
        .split("<tr>")
        .filter(|row| row.contains("/account/end\""));
    let found = rows.into_iter().find(|row| row.contains(text));
    found.unwrap_or_else(|| panic!("{page}")).to_owned()
}

fn signed_in(
    person: fn(&Gateway) -> &postern_tests::gateway::Person,
) -> (Recorder, Gateway, Client) {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    gateway.set_policy(&two_apps(&recorder.url(), ""));
    let client = Client::new(&gateway);
    let page = client.sign_in(&gateway.facts.app, person(&gateway));
    assert_eq!(page.status, 200, "{page:?}");
    (recorder, gateway, client)
}

fn web_door<'a>(
    gateway: &'a Gateway,
    client: &Client,
    url: &str,
    connect: &'a dyn Fn() -> TcpStream,
) -> Door<'a> {
    Door {
        connect,
        root: &gateway.facts.ca_root,
        authority: format!("{}:{}", host(url), gateway.https_port()),
        cookie: session_cookie(client, url),
    }
}

#[test]
fn an_app_taken_out_of_the_policy_closes_its_own_streams_only() {
    let (recorder, gateway, client) = signed_in(|g| &g.facts.guest);
    let second = second_app(&gateway);
    let page = client.follow(&second);
    assert_eq!(page.status, 200, "no second form: {page:?}");
    let port = gateway.https_port();
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut kept = web_door(&gateway, &client, &gateway.facts.app, &connect).websocket();
    let door = web_door(&gateway, &client, &second, &connect);
    let (mut websocket, mut download) = (door.websocket(), door.download());
    let text = two_apps(&recorder.url(), "");
    let start = text.find("[app.second]").unwrap();
    let start_of_edit = Instant::now();
    let watched = [
        ("WebSocket", watch(move || websocket.wait_closed())),
        (
            "download",
            watch(move || drop(raw::read_all(&mut download))),
        ),
    ];
    gateway.set_policy(&text[..start]);
    for (name, handle) in watched {
        assert_closed(name, start_of_edit, handle);
    }
    assert_eq!(kept.echo("still here").unwrap(), "still here");
    assert_eq!(client.fetch(&gateway.facts.app).status, 200);
    let status = client.try_send(&second, &[]).map(|a| a.status);
    assert_ne!(status, Ok(200));
}

/// What a policy no longer permits ends inside open flows, and so does a code that is too old; a neighbour stays.
#[test]
fn flows_end_with_their_rule_and_with_the_age_of_a_code_and_a_neighbour_stays() {
    let office = Office::new();
    let (gateway, facts) = (&office.gateway, &office.gateway.facts);
    let page = office.browser().sign_in(&facts.tunnel_portal, &facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    let signed_in = Instant::now();
    let whole = gateway.policy_text();
    let both = "to = [\"10.78.0.2\", \"fd78::2\"]";
    assert!(whole.contains(both), "{whole}");
    let mut kept = office.connect(PERMITTED6).unwrap();
    assert!(echoes(&mut kept, "open").unwrap());
    let mut lost = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut lost, "open").unwrap());
    lost.set_read_timeout(Some(LIMIT)).unwrap();
    let start = Instant::now();
    let watched = watch(move || drop(raw::read_all(&mut lost)));
    gateway.set_policy(&whole.replace(both, "to = \"fd78::2\""));
    assert_closed("TCP flow", start, watched);
    assert!(office.connect(PERMITTED).is_err());
    assert!(echoes(&mut kept, "still").unwrap());

    // the same by age: the rule asks for a code that is younger than the person's will be in six seconds
    gateway.open_policy(&whole);
    let mut timed = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut timed, "again").unwrap());
    let age = signed_in.elapsed().as_secs() + 6;
    let young = format!("allow.demo = {{ who = \"demo\", mfa = \"{age}s\" }}");
    let service = whole.find("[net.echo]").unwrap();
    let (front, back) = whole.split_at(service);
    let back = back.replace("allow.demo = { who = \"demo\" }", &young);
    assert!(back.contains(&young), "{back}");
    gateway.set_policy(&format!("{front}{back}"));
    assert!(echoes(&mut timed, "young enough").unwrap());
    timed.set_read_timeout(Some(LIMIT)).unwrap();
    let ended = watch(move || drop(raw::read_all(&mut timed)))
        .join()
        .unwrap();
    let at = ended.saturating_duration_since(signed_in).as_secs_f64();
    let due = Duration::from_secs(age).as_secs_f64();
    assert!(
        (due - 2.0..due + 10.0).contains(&at),
        "{at} instead of {due}"
    );
    assert!(office.connect(PERMITTED).is_err());
}

#[test]
fn a_person_taken_out_of_an_app_loses_it_and_others_keep_it() {
    let (recorder, gateway, guest) = signed_in(|g| &g.facts.guest);
    let demo = Client::new(&gateway);
    let page = demo.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    let port = gateway.https_port();
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut kept = web_door(&gateway, &demo, &gateway.facts.app, &connect).websocket();
    let mut lost = web_door(&gateway, &guest, &gateway.facts.app, &connect).websocket();
    let start = Instant::now();
    let watched = watch(move || lost.wait_closed());
    let text = two_apps(&recorder.url(), "").replace("\"demo\", \"guest\"", "\"demo\"");
    gateway.set_policy(&text);
    assert_closed("WebSocket", start, watched);
    assert_eq!(kept.echo("still here").unwrap(), "still here");
    assert_eq!(guest.fetch(&gateway.facts.app).status, 403);
}

#[test]
fn a_disabled_person_is_out_at_both_apps_and_cannot_come_back() {
    let (_recorder, gateway, guest) = signed_in(|g| &g.facts.guest);
    let port = gateway.https_port();
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut lost = web_door(&gateway, &guest, &gateway.facts.app, &connect).websocket();
    let start = Instant::now();
    let watched = watch(move || lost.wait_closed());
    gateway.must(&["user", "disable", "guest"]);
    assert_closed("WebSocket", start, watched);
    assert_eq!(guest.fetch(&gateway.facts.app).status, 401);
    let again = Client::new(&gateway);
    let person = &gateway.facts.guest;
    let page = again.password(&gateway.facts.app, person, &person.password);
    assert!(!page.body.contains("the recorder saw"), "{page:?}");
    assert_eq!(again.fetch(&gateway.facts.app).status, 401);
    gateway.must(&["user", "enable", "guest"]);
    let page = again.sign_in(&gateway.facts.app, person);
    assert_eq!(page.status, 200, "{page:?}");
}

#[test]
fn a_restart_keeps_sessions_and_a_revoked_one_stays_revoked() {
    let (_recorder, mut gateway, guest) = signed_in(|g| &g.facts.guest);
    let demo = Client::new(&gateway);
    let page = demo.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    let session = session_of(&gateway, "demo");
    gateway.must(&["session", "revoke", &session]);
    gateway.kill();
    gateway.start_again();
    assert_eq!(guest.fetch(&gateway.facts.app).status, 200);
    assert_eq!(demo.fetch(&gateway.facts.app).status, 401);
}
