//! Programs that are no browsers: tokens from the internet, and the device alone inside the tunnel. Each opens
//! what the policy says it opens, and nothing else, for as long as it stands.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::curl::{Answer, Client, host};
use postern_tests::gateway::{Gateway, Person};
use postern_tests::journal;
use postern_tests::office::Office;
use postern_tests::policy::second_app;
use postern_tests::raw::{self, Tls};
use postern_tests::upstream::Recorder;
use postern_tests::websocket::Socket;
use serde_json::Value;

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = postern_tests::wait::PATIENCE;

/// Two apps: one takes tokens but for an area, the other takes tokens of its own.
fn policy(upstream: &str, tokens: &str) -> String {
    format!(
        r#"postern = 1

[group]
admins = ["demo"]

[admin]
allow.admins = {{ who = "@admins" }}

[app.app]
host = ["app.gate.localhost", "app.gate.postern.internal"]
upstream = "{upstream}"
{tokens}
allow.people = {{ who = ["demo", "guest"] }}

[app.app."/read"]
tokens = "30d"
allow.people = {{ who = "any-user", methods = "read" }}

[app.app."/browsers"]
allow.people = {{ who = "any-user" }}

[app.second]
host = "second.gate.localhost"
upstream = "{upstream}"
tokens = "90d"
allow.people = {{ who = ["demo", "guest"] }}
"#
    )
}

fn start(recorder: &Recorder) -> Gateway {
    let gateway = Gateway::demo_before(&recorder.url());
    gateway.set_policy(&policy(&recorder.url(), "tokens = \"90d\""));
    gateway
}

fn at(gateway: &Gateway, path: &str) -> String {
    format!("{}{path}", gateway.facts.portal.trim_end_matches('/'))
}

/// A browser of a person who gave password and code for acts on the account.
fn confirmed(gateway: &Gateway, person: &Person) -> Client {
    let client = Client::new(gateway);
    client.sign_in(&gateway.facts.portal, person);
    let page = client.follow(&at(gateway, "/account/tokens/make"));
    assert!(!page.body.contains("name=\"app\""), "{page:?}");
    let mut form = page.form("act");
    form.set("password", &person.password);
    form.set("code", &person.code());
    let page = client.follow_from(client.submit(&page, &form));
    assert!(page.body.contains("name=\"app\""), "{page:?}");
    client
}

/// Makes a token on the account page and returns it.
fn make(gateway: &Gateway, client: &Client, app: &str, name: &str) -> String {
    let page = client.follow(&at(gateway, "/account/tokens/make"));
    let mut form = page.form("app");
    form.set("app", app);
    form.set("name", name);
    form.set("days", "30");
    let made = client.submit(&page, &form);
    assert_eq!(made.status, 200, "{made:?}");
    let start = made.body.find("ptk_").unwrap();
    let token: String = made.body[start..]
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect();
    assert_eq!(token.len(), 63, "{token}");
    token
}

/// Asks as a program that has nothing but a token.
fn ask(gateway: &Gateway, url: &str, token: &str, more: &[&str]) -> Answer {
    let bearer = format!("Authorization: Bearer {token}");
    let mut args = vec!["-H", bearer.as_str()];
    args.extend(more);
    Client::new(gateway).send(url, &args)
}

fn tokens(gateway: &Gateway) -> Vec<Value> {
    journal::records(&gateway.must(&["token", "list", "--json"]))
}

/// Opens an endless download with a token.
fn download(gateway: &Gateway, token: &str) -> Tls {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.https_port()));
    let authority = format!("{}:{}", host(&gateway.facts.app), gateway.https_port());
    let mut tls = raw::tls(
        address,
        host(&gateway.facts.app),
        &gateway.facts.ca_root,
        LIMIT,
    );
    let text = format!(
        "GET /download HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    tls.write_all(text.as_bytes()).unwrap();
    let mut start = [0; 12];
    tls.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    tls
}

/// Watches a stream; the handle gives the instant at which it ended.
fn watch(mut stream: Tls) -> thread::JoinHandle<Instant> {
    thread::spawn(move || {
        drop(raw::read_all(&mut stream));
        Instant::now()
    })
}

/// Ends in time after `start`.
fn ends_at_once(start: Instant, watched: thread::JoinHandle<Instant>) {
    let took = watched.join().unwrap().saturating_duration_since(start);
    let mut out = std::io::stderr();
    writeln!(out, "closed after {:.1} ms", took.as_secs_f64() * 1000.0).unwrap();
    assert!(took < SECOND, "closed after {took:?}");
}

fn still_flows(stream: &mut Tls) {
    let mut part = [0; 16 * 1024];
    stream.read_exact(&mut part).unwrap();
}

#[test]
fn a_token_opens_its_app_where_the_policy_says_and_nothing_else() {
    let recorder = Recorder::new();
    let gateway = start(&recorder);
    let facts = &gateway.facts;
    let demo = confirmed(&gateway, &facts.demo);
    let token = make(&gateway, &demo, "app.app", "laptop");
    let other = make(&gateway, &demo, "app.second", "server");
    let account = demo.follow(&at(&gateway, "/account"));
    assert!(account.body.contains("laptop, app.app"), "{account:?}");

    let page = ask(&gateway, &facts.app, &token, &[]);
    assert_eq!(page.status, 200, "{page:?}");
    let seen = recorder.last();
    assert_eq!(seen.values("x-postern-user"), ["demo"]);
    assert_eq!(seen.values("x-postern-rule"), ["app.app#people"]);
    assert!(seen.values("authorization").is_empty(), "{seen:?}");
    assert_eq!(seen.values("x-postern-jwt").len(), 1, "{seen:?}");
    // what an app has of its own still reaches it
    let own = Client::new(&gateway);
    assert_eq!(
        own.send(&facts.app, &["-H", "Authorization: Bearer own"])
            .status,
        401
    );
    let session = demo.follow(&facts.app);
    assert_eq!(session.status, 200);
    let passed = demo.send(&facts.app, &["-H", "Authorization: Bearer own"]);
    assert_eq!(passed.status, 200);
    assert_eq!(recorder.last().values("authorization"), ["Bearer own"]);

    let count = recorder.seen().len();
    let second = second_app(&gateway);
    let browsers = format!("{}browsers", facts.app);
    let read = format!("{}read", facts.app);
    let admin = at(&gateway, "/admin/people");
    let refused: [(&str, &str, &[&str], u16); 7] = [
        (&second, &token, &[], 403),
        (&facts.app, &other, &[], 403),
        (&browsers, &token, &[], 403),
        (&read, &token, &["-X", "POST", "-d", "x"], 403),
        (&facts.app, "ptk_nothing", &[], 401),
        (
            &facts.app,
            &token.to_uppercase().replace("PTK_", "ptk_"),
            &[],
            401,
        ),
        (&admin, &token, &[], 401),
    ];
    for (url, token, more, status) in refused {
        assert_eq!(
            ask(&gateway, url, token, more).status,
            status,
            "{url} {more:?}"
        );
    }
    // a bad token is not overlooked because there is a cookie
    let both = demo.send(&facts.app, &["-H", "Authorization: Bearer ptk_nothing"]);
    assert_eq!(both.status, 401, "{both:?}");
    assert_eq!(recorder.seen().len(), count);
    for (url, token) in [(&second, &other), (&read, &token)] {
        assert_eq!(ask(&gateway, url, token, &[]).status, 200, "{url}");
    }
    assert_eq!(demo.follow(&browsers).status, 200);
    on_record(&gateway, &token);
}

/// The journal names the token by its id, and nothing that is kept holds its text.
fn on_record(gateway: &Gateway, token: &str) {
    let all = tokens(gateway);
    let laptop = all.iter().find(|t| t["name"] == "laptop").unwrap();
    assert_eq!(laptop["app"], "app.app");
    assert_eq!(laptop["user"], "demo");
    assert_eq!(laptop["place"], "127.0.0.1");
    assert!(laptop["last_used"].is_string() && laptop["expires"].is_string());
    let id = format!("token {}", laptop["id"].as_str().unwrap());
    let decided = |outcome: &'static str, why: &'static str| {
        journal::wait_for(gateway, "access-decided.1", |r| {
            r["outcome"] == outcome && r["reason"] == why && r["detail"] == id
        })
    };
    let allowed = decided("allow", "rule");
    assert_eq!(allowed["user"], "demo");
    assert_eq!(allowed["inputs"]["by"], "token");
    decided("deny", "token-of-other-app");
    decided("deny", "token-not-taken");
    journal::wait_for(gateway, "access-decided.1", |r| r["reason"] == "token-bad");
    journal::wait_for(gateway, "token-changed.1", |r| r["reason"] == "token-made");
    // what was decided by a token is decided alike again, and otherwise by a policy that takes none
    let dir = &gateway.facts.policy;
    let replay = |dir: &Path| {
        let against = ["policy", "replay", "--against", dir.to_str().unwrap()];
        gateway.run(&against).status.code()
    };
    assert_eq!(replay(dir), Some(0));
    let without = gateway.dir().join("without");
    std::fs::create_dir(&without).unwrap();
    let users = std::fs::read(dir.join("users.toml")).unwrap();
    std::fs::write(without.join("users.toml"), users).unwrap();
    let text = gateway.policy_text().replace("tokens = \"90d\"", "");
    std::fs::write(without.join("policy.toml"), text).unwrap();
    assert_eq!(replay(&without), Some(3));
    holds_nowhere(gateway.dir(), &token[4..]);
}

fn holds_nowhere(dir: &Path, secret: &str) {
    let mut files = 0;
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_file() {
                files += 1;
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
                assert!(!found, "{} holds the token", path.display());
            }
        }
    }
    assert!(files > 3, "{files}");
}

#[test]
fn a_revoked_token_is_refused_and_what_it_has_open_ends_and_no_other() {
    let recorder = Recorder::new();
    let mut gateway = start(&recorder);
    let person = confirmed(&gateway, &gateway.facts.demo);
    let [first, second, third] =
        ["one", "two", "three"].map(|name| make(&gateway, &person, "app.app", name));
    let lost = watch(download(&gateway, &first));
    let gone = watch(download(&gateway, &second));
    let mut stays = download(&gateway, &third);
    // by its person
    let list = person.follow(&at(&gateway, "/account/tokens"));
    assert!(
        list.body.contains("127.0.0.1") && !list.body.contains(&first),
        "{list:?}"
    );
    let id = |name: &str| {
        let all = tokens(&gateway);
        let token = all.iter().find(|t| t["name"] == name).unwrap();
        token["id"].as_str().unwrap().to_owned()
    };
    let mut form = list.form("token");
    form.set("token", &id("one"));
    let start = Instant::now();
    assert_eq!(person.submit(&list, &form).status, 303);
    ends_at_once(start, lost);
    // by an administrator
    let start = Instant::now();
    gateway.must(&["token", "revoke", &id("two")]);
    ends_at_once(start, gone);
    still_flows(&mut stays);
    let app = gateway.facts.app.clone();
    for (token, status) in [(&first, 401), (&second, 401), (&third, 200)] {
        assert_eq!(ask(&gateway, &app, token, &[]).status, status);
    }
    let unknown = gateway.run(&["token", "revoke", "taaaaaaaaaaaaa"]);
    assert_eq!(unknown.status.code(), Some(65));
    // the policy takes tokens no longer, then again
    let ends = watch(stays);
    let start = Instant::now();
    gateway.set_policy(&policy(&recorder.url(), ""));
    ends_at_once(start, ends);
    assert_eq!(ask(&gateway, &app, &third, &[]).status, 403);
    gateway.set_policy(&policy(&recorder.url(), "tokens = \"90d\""));
    // a restart keeps what was not revoked, and brings nothing back
    gateway.stop();
    gateway.start_again();
    for (token, status) in [(&first, 401), (&second, 401), (&third, 200)] {
        assert_eq!(ask(&gateway, &app, token, &[]).status, status);
    }
}

#[test]
fn tokens_end_with_everything_their_person_has() {
    let recorder = Recorder::new();
    let gateway = start(&recorder);
    let facts = &gateway.facts;
    let (demo, guest) = (
        confirmed(&gateway, &facts.demo),
        confirmed(&gateway, &facts.guest),
    );
    let kept = make(&gateway, &demo, "app.app", "laptop");
    let lost = make(&gateway, &guest, "app.app", "laptop");
    assert_eq!(ask(&gateway, &facts.app, &lost, &[]).status, 200);
    let stream = watch(download(&gateway, &lost));
    let start = Instant::now();
    gateway.must(&["user", "disable", "guest"]);
    ends_at_once(start, stream);
    assert_eq!(ask(&gateway, &facts.app, &lost, &[]).status, 401);
    assert_eq!(ask(&gateway, &facts.app, &kept, &[]).status, 200);
    // who is let in again begins without tokens
    gateway.must(&["user", "enable", "guest"]);
    assert_eq!(ask(&gateway, &facts.app, &lost, &[]).status, 401);
    // signed out everywhere
    let page = demo.follow(&at(&gateway, "/account"));
    assert!(page.body.contains("/account/tokens"), "{page:?}");
    let all = demo.submit(
        &page,
        &postern_tests::html::forms(&page.body)
            .into_iter()
            .find(|form| form.action == "/account/end-all")
            .unwrap(),
    );
    assert_eq!(all.status, 200, "{all:?}");
    assert_eq!(demo.open(&facts.app).status, 303, "the session has ended");
    assert_eq!(ask(&gateway, &facts.app, &kept, &[]).status, 401);
    assert!(tokens(&gateway).is_empty());
}

#[test]
fn a_device_alone_opens_what_takes_it_inside_the_tunnel_and_only_there() {
    let office = Office::new();
    let text = office.gateway.policy_text();
    let area = "[app.app.\"/sync\"]\ndevice-only = true\nallow.people = { who = \"demo\" }\n";
    office.gateway.set_policy(&format!("{text}\n{area}"));
    let sync = format!("{}sync", office.tunnel_app());
    let program = || office.browser();
    assert_eq!(program().fetch(&sync).status, 401);
    let browser = office.browser();
    browser.sign_in(
        &office.gateway.facts.tunnel_portal,
        &office.gateway.facts.demo,
    );
    let page = program().fetch(&sync);
    assert_eq!(page.status, 200, "{page:?}");
    let seen = office.recorder.last();
    assert_eq!(seen.values("x-postern-user"), ["demo"]);
    let record = journal::wait_for(&office.gateway, "access-decided.1", |r| {
        r["inputs"]["by"] == "device" && r["outcome"] == "allow"
    });
    assert_eq!(
        (&record["user"], &record["rule"]),
        (&"demo".into(), &"app.app/sync#people".into())
    );
    // another area, the web door, and what another page sends
    assert_eq!(program().fetch(&office.tunnel_app()).status, 401);
    let outside = format!("{}sync", office.gateway.facts.app);
    assert_eq!(office.web_browser().fetch(&outside).status, 401);
    for fields in [
        &["-H", "Sec-Fetch-Site: cross-site"][..],
        &["-H", "Origin: https://evil.example"],
    ] {
        assert_eq!(program().send(&sync, fields).status, 401, "{fields:?}");
    }
    let own = format!("Origin: {}", sync.trim_end_matches("/sync"));
    let same = ["-H", "Sec-Fetch-Site: same-origin", "-H", own.as_str()];
    assert_eq!(program().send(&sync, &same).status, 200);
    // it ends with the sign-in that opened the device
    let root = &office.gateway.facts.ca_root;
    let name = host(&office.tunnel_app()).to_owned();
    let address = SocketAddr::from((office.tunnel_address(), 443));
    let tcp = office
        .outside
        .enter(|| std::net::TcpStream::connect(address).unwrap());
    let mut tls = raw::tls_over(tcp, &name, root, LIMIT);
    let long = format!("GET /sync HTTP/1.1\r\nHost: {name}\r\n\r\n");
    tls.write_all(long.as_bytes()).unwrap();
    let mut start = [0; 12];
    tls.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let watched = watch(tls);
    let start = Instant::now();
    office
        .gateway
        .must(&["session", "revoke", "--user", "demo"]);
    ends_at_once(start, watched);
    assert_eq!(program().fetch(&sync).status, 401);
}

/// Where people are asked why they come, a program has no answer; where it need not have one, it gets in.
#[test]
fn a_program_cannot_say_why_it_comes() {
    let recorder = Recorder::new();
    let gateway = start(&recorder);
    let client = confirmed(&gateway, &gateway.facts.demo);
    let token = make(&gateway, &client, "app.app", "robot");
    let asks = |key: &str| {
        format!(
            "{}\n[app.app.\"/why\"]\njustify = \"1h\"\nallow.people = {{ who = \"demo\" }}\n\
             [app.app.\"/why/api\"]\n{key}tokens = \"30d\"\nallow.people = {{ who = \"demo\" }}\n",
            policy(&recorder.url(), "tokens = \"90d\"")
        )
    };
    let url = format!("{}why/api", gateway.facts.app);
    gateway.open_policy(&asks(""));
    let refused = ask(&gateway, &url, &token, &[]);
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(refused.json()["error"], "reason-needed");
    assert!(recorder.seen().iter().all(|r| !r.line.contains("/why/api")));
    gateway.open_policy(&asks("justify = false\n"));
    assert_eq!(ask(&gateway, &url, &token, &[]).status, 200);
}

/// A page elsewhere can have a browser open a WebSocket with the cookies of this one; what tells is the Origin, which
/// every browser sends. Source: RFC 6455 sections 4.1 and 10.2; security.md R-AZ-19.
#[test]
fn a_websocket_comes_from_a_page_of_the_app_or_from_a_program_and_nothing_else_reaches_the_app() {
    let recorder = Recorder::new();
    let gateway = start(&recorder);
    let client = confirmed(&gateway, &gateway.facts.demo);
    let token = make(&gateway, &client, "app.app", "robot");
    let app = &gateway.facts.app;
    assert_eq!(client.follow(app).status, 200);
    let (name, port) = (host(app), gateway.https_port());
    let cookie = client.cookie(name, "__Host-postern").unwrap();
    let cookie = format!("Cookie: __Host-postern={cookie}\r\n");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let (both, stale) = (
        format!("{cookie}{bearer}"),
        "Cookie: __Host-postern=gone\r\n",
    );
    let own = format!("Origin: https://{name}:{port}\r\n");
    let open = |proof: &str, origin: &str| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let tls = raw::tls(address, name, &gateway.facts.ca_root, LIMIT);
        let authority = format!("{name}:{port}");
        Socket::ask(tls, &authority, "/ws", &format!("{proof}{origin}"))
    };
    let refused = [
        ("null", &cookie, "Origin: null\r\n".to_owned()),
        ("no name", &cookie, "Origin: \r\n".to_owned()),
        (
            "another port",
            &cookie,
            format!("Origin: https://{name}:1\r\n"),
        ),
        ("no port", &cookie, format!("Origin: https://{name}\r\n")),
        ("http", &cookie, own.replace("https:", "http:")),
        (
            "a sibling",
            &cookie,
            own.replace(name, "second.gate.localhost"),
        ),
        (
            "a host below",
            &cookie,
            own.replace(name, &format!("x.{name}")),
        ),
        (
            "a longer name",
            &cookie,
            own.replace(name, &format!("{name}.evil.example")),
        ),
        (
            "another page",
            &cookie,
            "Origin: https://evil.example\r\n".to_owned(),
        ),
        ("a path", &cookie, own.replace("\r\n", "/\r\n")),
        ("doubled", &cookie, own.repeat(2)),
        (
            "with another",
            &cookie,
            format!("{own}Origin: https://evil.example\r\n"),
        ),
        ("none beside a cookie", &cookie, String::new()),
        ("none beside cookie and token", &both, String::new()),
        (
            "another page with a token",
            &bearer,
            "Origin: https://evil.example\r\n".to_owned(),
        ),
    ];
    let before = recorder.seen().len();
    for (what, proof, origin) in &refused {
        let answer = open(proof, origin).map(drop);
        assert_eq!(answer, Err("HTTP/1.1 403 Forbidden".to_owned()), "{what}");
    }
    assert_eq!(
        open(stale, "").map(drop),
        Err("HTTP/1.1 403 Forbidden".to_owned())
    );
    // who shows nothing is asked to sign in, as always
    assert_eq!(
        open("", "").map(drop),
        Err("HTTP/1.1 401 Unauthorized".to_owned())
    );
    let seen = recorder.seen();
    assert_eq!(seen.len(), before, "{:?}", &seen[before..]);
    let foreign = journal::search(&gateway, &["--event", "access-decided"]);
    let foreign = foreign
        .iter()
        .filter(|r| journal::is(r, "detail", "foreign-origin"));
    assert!(foreign.count() > 0);
    for (what, proof, origin) in [
        ("the app's own page", &cookie, own.as_str()),
        ("a program", &bearer, ""),
        ("a program that says so", &bearer, own.as_str()),
    ] {
        let mut socket = open(proof, origin).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(socket.echo("x").unwrap(), "x", "{what}");
    }
    assert_eq!(recorder.seen().len(), before + 3);
}
