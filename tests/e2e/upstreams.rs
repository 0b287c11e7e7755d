//! Several upstreams of one app: what happens to the people when one of them fails.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postern_tests::curl::{Client, host, signed_in};
use postern_tests::gateway::{Gateway, Setup};
use postern_tests::policy::one_app as policy;
use postern_tests::process::Program;
use postern_tests::raw::{self, Tls};
use postern_tests::replica::{self, Mode, Replica};
use postern_tests::temp::Temp;
use postern_tests::websocket::Socket;
use postern_tests::{journal, ports, wait};
use serde_json::Value;

const PIN: &str = "__Host-postern-pin";
const SOON: Duration = postern_tests::wait::PATIENCE;

fn two(a: &Replica, b: &Replica, more: &str) -> String {
    policy(&format!(
        "upstream = [\"{}\", \"{}\"]\n{more}",
        a.url(),
        b.url()
    ))
}

/// The name of the replica that answered.
fn who(client: &Client, gateway: &Gateway) -> String {
    let answer = client.fetch(&gateway.facts.app);
    assert_eq!(answer.status, 200, "{answer:?}");
    let name = answer.body.split(' ').nth(1).unwrap();
    name.to_owned()
}

fn state(gateway: &Gateway, url: &str) -> Value {
    let status: Value = serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap();
    let upstreams = status["upstreams"].as_array().unwrap();
    let found = upstreams.iter().find(|u| u["url"] == url);
    found.unwrap_or_else(|| panic!("{url}: {status}")).clone()
}

fn until_state(gateway: &Gateway, url: &str, wanted: &str) {
    wait::until_true(SOON, &format!("{url} is {wanted}"), || {
        state(gateway, url)["state"] == wanted
    });
}

fn metric(gateway: &Gateway, name: &str, url: &str) -> u64 {
    let address = format!("http://127.0.0.1:{}/metrics", gateway.admin_port());
    let text = Client::new(gateway).fetch(&address).body;
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("postern_upstream_{name}{{")) && line.contains(url));
    let line = line.unwrap_or_else(|| panic!("{name} of {url}:\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn socket(gateway: &Gateway, client: &Client) -> Socket<Tls> {
    let tcp = TcpStream::connect(("127.0.0.1", gateway.https_port())).unwrap();
    let name = host(&gateway.facts.app);
    let tls = raw::tls_over(tcp, name, &gateway.facts.ca_root, Duration::from_secs(60));
    let all = ["__Host-postern", PIN].map(|name_of| {
        let value = client.cookie(name, name_of);
        value.map(|value| format!("{name_of}={value}"))
    });
    let cookie: Vec<String> = all.into_iter().flatten().collect();
    let authority = format!("{name}:{}", gateway.https_port());
    Socket::open(tls, &authority, "/ws", Some(&cookie.join("; "))).unwrap()
}

#[test]
fn one_of_two_dies_and_nobody_sees_an_error_page() {
    let (mut a, b) = (Replica::new("a"), Replica::new("b"));
    let (gateway, client) = signed_in(&two(&a, &b, ""));
    for _ in 0..6 {
        who(&client, &gateway);
    }
    assert!(a.hits() >= 3 && b.hits() >= 3, "{} {}", a.hits(), b.hits());
    a.kill();
    for _ in 0..20 {
        assert_eq!(who(&client, &gateway), "b");
    }
    let down = state(&gateway, &a.url());
    assert_eq!(down["state"], "out", "{down}");
    let why = down["why"].as_str().unwrap();
    assert!(why.contains("connection refused"), "{why}");
    assert_eq!(state(&gateway, &b.url())["state"], "up");
    assert_eq!(metric(&gateway, "up", &a.url()), 0);
    assert_eq!(metric(&gateway, "up", &b.url()), 1);
    // nothing was sent to the one that refused, so a change is safe too
    let posted = client.send(&gateway.facts.app, &["-d", "a=1"]);
    assert_eq!(posted.status, 200, "{posted:?}");
    a.revive();
    wait::until_true(Duration::from_secs(60), "a is asked again", || {
        who(&client, &gateway) == "a"
    });
    assert_eq!(state(&gateway, &a.url())["state"], "up");
}

#[test]
fn a_browser_stays_with_its_replica_and_gets_another_when_that_dies() {
    let (mut a, mut b) = (Replica::new("a"), Replica::new("b"));
    let (gateway, first) = signed_in(&two(&a, &b, "sticky = true"));
    let second = Client::new(&gateway);
    let guest = &gateway.facts.guest;
    assert_eq!(second.sign_in(&gateway.facts.app, guest).status, 200);
    let (of_first, of_second) = (who(&first, &gateway), who(&second, &gateway));
    assert_ne!(of_first, of_second, "turns go round");
    for _ in 0..5 {
        assert_eq!(who(&first, &gateway), of_first);
        assert_eq!(who(&second, &gateway), of_second);
    }
    let (mut dying, mut staying) = (socket(&gateway, &first), socket(&gateway, &second));
    assert_eq!(dying.echo("x").unwrap(), "x");
    assert_eq!(staying.echo("x").unwrap(), "x");
    let name = host(&gateway.facts.app);
    let pin = first.cookie(name, PIN).unwrap();
    let seen = [a.seen(), b.seen()].concat();
    assert!(
        seen.iter()
            .all(|s| !s.values("cookie").concat().contains(PIN))
    );
    if of_first == "a" {
        a.kill()
    } else {
        b.kill()
    }
    dying.wait_closed();
    for _ in 0..5 {
        assert_eq!(who(&first, &gateway), of_second);
    }
    assert_ne!(first.cookie(name, PIN).unwrap(), pin, "pinned anew");
    assert_eq!(staying.echo("still").unwrap(), "still");
    let mut anew = socket(&gateway, &first);
    assert_eq!(anew.echo("y").unwrap(), "y");
    // a pin nobody gave leads nowhere in particular
    let stranger = Client::new(&gateway);
    assert_eq!(stranger.sign_in(&gateway.facts.app, guest).status, 200);
    let forged = format!("Cookie: {PIN}=AAAAAAAAAAAAAAAAAAAA");
    let answer = stranger.send(&gateway.facts.app, &["-H", &forged]);
    assert_ne!(answer.status, 500, "{answer:?}");
}

#[test]
fn one_that_drains_keeps_its_browsers_and_gets_no_new_ones() {
    let (a, b) = (Replica::new("a"), Replica::new("b"));
    let (gateway, old) = signed_in(&two(&a, &b, "sticky = true"));
    let own = who(&old, &gateway);
    let (draining, other) = if own == "a" { (&a, &b) } else { (&b, &a) };
    gateway.set_policy(&policy(&format!(
        "upstream = [{{ url = \"{}\", drain = true }}, {{ url = \"{}\", weight = 2 }}]\nsticky = true",
        draining.url(),
        other.url()
    )));
    for _ in 0..4 {
        assert_eq!(who(&old, &gateway), own);
    }
    let new = Client::new(&gateway);
    let guest = &gateway.facts.guest;
    assert_eq!(new.sign_in(&gateway.facts.app, guest).status, 200);
    for _ in 0..4 {
        assert_ne!(who(&new, &gateway), own);
    }
    assert_eq!(state(&gateway, &draining.url())["drain"], true);
}

#[test]
fn a_check_that_fails_takes_a_replica_out_and_one_that_passes_brings_it_back() {
    let (a, b) = (Replica::new("a"), Replica::new("b"));
    let check = "check = { path = \"/health\", status = 200, every = \"1s\", timeout = \"1s\", up = 1, \
                 down = 2, json = { status = \"ok\" } }";
    let (gateway, client) = signed_in(&two(&a, &b, check));
    a.set_health(200, "{\"status\":\"no database\"}");
    until_state(&gateway, &a.url(), "down");
    let why = state(&gateway, &a.url())["why"].to_string();
    assert!(why.contains("status is not ok"), "{why}");
    for _ in 0..6 {
        assert_eq!(who(&client, &gateway), "b");
    }
    b.set_health(503, "");
    until_state(&gateway, &b.url(), "down");
    let (before_a, before_b) = (a.hits(), b.hits());
    let page = client.open(&gateway.facts.app);
    assert_eq!(page.status, 503, "{page:?}");
    assert_eq!((a.hits(), b.hits()), (before_a, before_b));
    let ended = journal::wait_for(&gateway, "request-ended.1", |r| r["status"] == 503);
    assert_eq!(ended["reason"], "upstream-down", "{ended}");
    a.set_health(200, "{\"status\":\"ok\"}");
    until_state(&gateway, &a.url(), "up");
    for _ in 0..4 {
        assert_eq!(who(&client, &gateway), "a");
    }
    assert!(a.probes() >= 3 && b.probes() >= 2);
}

/// Source: seed GO28, probe before routing.
#[test]
fn a_new_replica_gets_its_first_request_after_its_first_check_has_passed() {
    let (a, b) = (Replica::new("a"), Replica::new("b"));
    let check =
        "check = { path = \"/health\", every = \"1s\", timeout = \"1s\", up = 1, down = 100 }";
    a.set_health(503, "");
    b.set_health(503, "starting");
    let text = policy(&format!("upstream = \"{}\"\n{check}", a.url()));
    // where none is known nobody is refused for that
    let (gateway, client) = signed_in(&text);
    assert_eq!(who(&client, &gateway), "a");
    assert_eq!(state(&gateway, &a.url())["state"], "untried");
    a.set_health(200, "");
    until_state(&gateway, &a.url(), "up");
    gateway.set_policy(&two(&a, &b, check));
    for _ in 0..10 {
        assert_eq!(who(&client, &gateway), "a");
    }
    wait::until_true(SOON, "b is probed", || b.probes() >= 2);
    let new = state(&gateway, &b.url());
    assert_eq!(new["state"], "untried", "{new}");
    assert!(
        new["why"].as_str().unwrap().contains("has not passed"),
        "{new}"
    );
    assert_eq!(metric(&gateway, "up", &b.url()), 0);
    for _ in 0..10 {
        assert_eq!(who(&client, &gateway), "a");
    }
    assert_eq!(b.hits(), 0);
    b.set_health(200, "started");
    until_state(&gateway, &b.url(), "up");
    wait::until_true(SOON, "b gets requests", || who(&client, &gateway) == "b");
    assert_eq!(metric(&gateway, "up", &b.url()), 1);
}

/// A fault of an upstream, and what is seen of it.
struct Fault {
    name: &'static str,
    mode: Mode,
    /// Whether it does not listen, or is asked by TLS that it does not speak.
    deaf: bool,
    tls: bool,
    /// The status and a sentence of its page; none where the head of the answer is out already.
    page: Option<(u16, &'static str)>,
    reason: &'static str,
    detail: &'static str,
    /// Whom `policy explain` names, and what it says to do.
    next: &'static str,
}

const USUAL: Fault = Fault {
    name: "",
    mode: Mode::Well,
    deaf: false,
    tls: false,
    page: None,
    reason: "",
    detail: "",
    next: "",
};

const FAULTS: [Fault; 6] = [
    Fault {
        name: "refuse",
        deaf: true,
        page: Some((502, "The application cannot be reached")),
        reason: "upstream-down",
        detail: "connection refused",
        next: "nothing listens there",
        ..USUAL
    },
    Fault {
        name: "reset",
        mode: Mode::Reset,
        page: Some((502, "The application does not answer properly")),
        reason: "reset",
        detail: "connection broken",
        next: "closed the connection",
        ..USUAL
    },
    Fault {
        name: "slow head",
        mode: Mode::Silent,
        page: Some((504, "The application takes too long")),
        reason: "timeout",
        detail: "no answer in time",
        next: "is silent",
        ..USUAL
    },
    Fault {
        name: "slow body",
        mode: Mode::Stalled,
        reason: "timeout",
        detail: "no answer in time",
        next: "is silent",
        ..USUAL
    },
    Fault {
        name: "garbage",
        mode: Mode::Garbage,
        page: Some((502, "The application does not answer properly")),
        reason: "upstream-bad",
        detail: "not an answer of HTTP",
        next: "no answer of HTTP",
        ..USUAL
    },
    Fault {
        name: "TLS wrong",
        tls: true,
        page: Some((502, "The application cannot be reached")),
        reason: "upstream-tls",
        detail: "TLS fails",
        next: "TLS with it fails",
        ..USUAL
    },
];

/// Source: issue 6, the matrix of faults.
#[test]
fn each_fault_of_an_upstream_has_its_page_its_record_and_its_figure() {
    let mut only = Replica::new("only");
    let limits = "timeout = { connect = \"2s\", head = \"1s\", idle = \"1s\" }";
    let text = |url: &str| policy(&format!("upstream = \"{url}\"\n{limits}"));
    let (plain, encrypted) = (only.url(), format!("https://{}", only.addr()));
    let (gateway, client) = signed_in(&text(&plain));
    let versions = [("--http1.1", "1.1"), ("--http2", "2")];
    let all = FAULTS
        .iter()
        .flat_map(|fault| versions.map(|version| (fault, version)));
    for (fault, (version, number)) in all {
        let name = &format!("{} over {number}", fault.name);
        let way = format!("/{}-{number}", fault.name.replace(' ', "-"));
        // the twin: between faults it answers as it should
        assert_eq!(who(&client, &gateway), "only", "{name}");
        only.set(fault.mode);
        let url = if fault.tls { &encrypted } else { &plain };
        gateway.set_policy(&text(url));
        if fault.deaf {
            only.kill();
        }
        let failures = metric(&gateway, "failures", url);
        let address = format!("{}{way}", gateway.facts.app.trim_end_matches('/'));
        let mut shown = None;
        match fault.page {
            Some((status, words)) => {
                let args = [version, "-H", "Accept: text/html"];
                let page = client.once(&address, &args).unwrap();
                assert_eq!(page.status, status, "{name}: {page:?}");
                assert_eq!(page.version, number, "{name}: {page:?}");
                assert!(page.body.contains(words), "{name}: {}", page.body);
                assert!(!page.body.contains("127.0.0.1"), "{name}: {}", page.body);
                let id = page.header("x-request-id").unwrap();
                assert!(page.body.contains(id), "{name}: {}", page.body);
                shown = Some(id.to_owned());
            }
            None => assert!(client.once(&address, &[version]).is_err(), "{name}"),
        }
        let ended = journal::wait_for(&gateway, "request-ended.1", |r| r["path"] == way);
        assert_eq!(ended["reason"], fault.reason, "{name}: {ended}");
        assert_eq!(ended["outcome"], "failed", "{name}: {ended}");
        let detail = ended["detail"].as_str().unwrap_or_default();
        assert!(
            detail.contains(fault.detail) && detail.contains(url),
            "{name}: {ended}"
        );
        assert_eq!(metric(&gateway, "failures", url), failures + 1, "{name}");
        let id = ended["request_id"].as_str().unwrap();
        assert!(shown.is_none_or(|shown| shown == id), "{name}: {ended}");
        explained(&gateway, id, fault, url);
        if fault.deaf {
            only.revive();
        }
        only.set(Mode::Well);
        gateway.set_policy(&text(&plain));
    }
    assert_eq!(who(&client, &gateway), "only");
    // once it rests it is told since when
    only.kill();
    let mut id = String::new();
    wait::until_true(SOON, "it rests", || {
        let page = client.open(&gateway.facts.app);
        id = page.header("x-request-id").unwrap().to_owned();
        state(&gateway, &plain)["state"] == "out"
    });
    let since = state(&gateway, &plain)["since"]
        .as_str()
        .unwrap()
        .to_owned();
    journal::wait_for(&gateway, "request-ended.1", |r| {
        r["request_id"] == id.as_str()
    });
    let text = gateway.must(&["policy", "explain", &id]);
    let now = format!("now: {plain} is out since {since}: connection refused");
    assert!(text.contains(&now), "{now} not in\n{text}");
    let unknown = gateway.run(&["policy", "explain", "nobody-asked-this"]);
    assert_eq!(unknown.status.code(), Some(65));
}

/// The id of a failed request leads to its decision, its end, and who has to do something about it.
fn explained(gateway: &Gateway, id: &str, fault: &Fault, url: &str) {
    let name = fault.name;
    let text = gateway.must(&["policy", "explain", id]);
    for part in [
        "the policy answered allow by ",
        fault.reason,
        fault.detail,
        "at fault: the app: ",
        fault.next,
        &format!("now: {url} is "),
    ] {
        assert!(text.contains(part), "{name}: {part} not in\n{text}");
    }
    let told = gateway.must(&["policy", "explain", id, "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let (end, then) = (&told["end"], &told["decision"]["then"]);
    assert_eq!(then["outcome"], "allow", "{name}: {told}");
    assert_eq!(end["fault"]["side"], "app", "{name}: {told}");
    assert_eq!(end["reason"], fault.reason, "{name}: {told}");
    assert_eq!(end["upstreams"][0]["url"], url, "{name}: {told}");
    let records = journal::search(gateway, &["--request", id]);
    let events = records.iter().map(|r| r["event"].as_str().unwrap());
    let events: Vec<&str> = events.collect();
    assert_eq!(events, ["access-decided.1", "request-ended.1"], "{name}");
}

#[test]
fn an_answer_that_stops_in_the_middle_is_cut_and_never_made_whole() {
    let only = Replica::new("only");
    let limits = "timeout = { head = \"20s\", idle = \"1s\" }";
    let (gateway, client) = signed_in(&policy(&format!("upstream = \"{}\"\n{limits}", only.url())));
    only.set(Mode::Stalled);
    let before = only.hits();
    let cut = client.try_send(&gateway.facts.app, &["--http1.1"]);
    assert!(cut.is_err(), "{cut:?}");
    assert_eq!(
        only.hits(),
        before + 1,
        "an answer that began is not asked for again"
    );
    only.set(Mode::Well);
    assert_eq!(who(&client, &gateway), "only");
}

#[test]
fn a_request_that_changes_something_is_never_sent_twice() {
    let (a, b) = (Replica::new("a"), Replica::new("b"));
    let (gateway, client) = signed_in(&two(&a, &b, ""));
    a.set(Mode::Reset);
    b.set(Mode::Reset);
    let before = a.hits() + b.hits();
    let posted = client.send(&gateway.facts.app, &["-d", "pay=1"]);
    assert_eq!(posted.status, 502, "{posted:?}");
    assert_eq!(a.hits() + b.hits(), before + 1);
    let read = client.fetch(&gateway.facts.app);
    assert_eq!(read.status, 502);
    assert_eq!(a.hits() + b.hits(), before + 3, "a read is asked of both");
}

#[test]
fn an_app_behind_a_socket_of_the_file_system_is_reached() {
    let (gateway, client) = signed_in(&policy("upstream = \"http://127.0.0.1:9\""));
    let path = gateway.dir().join("app.sock");
    replica::serve_unix(&path, "from the socket\n");
    gateway.set_policy(&policy(&format!("upstream = \"unix:{}\"", path.display())));
    let answer = client.fetch(&gateway.facts.app);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "from the socket\n")
    );
    std::fs::remove_file(&path).unwrap();
    assert_eq!(client.fetch(&gateway.facts.app).status, 502);
}

/// An upstream that speaks TLS under a name of its own and wants to see a certificate.
fn strict_tls(dir: &Temp) -> (Program, String) {
    let now = i64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap();
    let root = certs::Root::create("Inner", now).unwrap();
    let ca = root.intermediate("Inner too", now).unwrap();
    let leaf = ca.issue(&["app.internal"], now, 86_400).unwrap();
    dir.write("root.pem", root.pem());
    dir.write("leaf.pem", &leaf.chain_pem);
    dir.write("leaf.key", &*leaf.key_pem);
    let file = |name: &str| dir.path().join(name).display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=gateway",
        ])
        .args(["-keyout", &file("own.key"), "-out", &file("own.pem")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let port = ports::free_tcp().to_string();
    let mut server = Command::new("openssl");
    server.args([
        "s_server",
        "-www",
        "-quiet",
        "-accept",
        &format!("127.0.0.1:{port}"),
    ]);
    server.args([
        "-cert",
        &file("leaf.pem"),
        "-cert_chain",
        &file("leaf.pem"),
        "-key",
        &file("leaf.key"),
    ]);
    server.args([
        "-CAfile",
        &file("own.pem"),
        "-Verify",
        "1",
        "-verify_return_error",
    ]);
    let program = Program::start(server, dir.path(), "s_server");
    wait::until_true(SOON, "the TLS server listens", || {
        TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
    });
    (program, port)
}

#[test]
fn tls_to_an_upstream_is_verified_by_its_own_authority_and_name_and_shows_a_certificate() {
    let dir = Temp::new();
    let (_server, port) = strict_tls(&dir);
    let file = |name: &str| dir.path().join(name).display().to_string();
    let ca = format!("ca = \"{}\"", file("root.pem"));
    let (ca, name) = (ca.as_str(), "name = \"app.internal\"");
    let own = format!(
        "cert = \"{}\", key = \"{}\"",
        file("own.pem"),
        file("own.key")
    );
    let own = own.as_str();
    let with = |keys: &[&str]| {
        let keys = keys.join(", ");
        policy(&format!(
            "upstream = {{ url = \"https://127.0.0.1:{port}\", {keys} }}"
        ))
    };
    let (gateway, client) = signed_in(&with(&[ca, name, own]));
    let answer = client.fetch(&gateway.facts.app);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("s_server"), "{}", answer.body);
    for keys in [
        &[ca, name][..],
        &[ca, "name = \"other.internal\"", own],
        &[ca, own],
        &[name, own],
    ] {
        gateway.set_policy(&with(keys));
        assert_eq!(client.fetch(&gateway.facts.app).status, 502, "{keys:?}");
    }
    gateway.set_policy(&with(&[ca, name, own]));
    assert_eq!(client.fetch(&gateway.facts.app).status, 200);
}

#[test]
fn a_file_of_an_authority_that_is_not_there_keeps_a_policy_out_of_force() {
    let only = Replica::new("only");
    let (gateway, client) = signed_in(&policy(&format!("upstream = \"{}\"", only.url())));
    let text = policy("upstream = { url = \"https://127.0.0.1:9\", ca = \"/nowhere/ca.pem\" }");
    std::fs::write(gateway.policy_file(), text).unwrap();
    let refused = gateway.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(65));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        why.contains("/nowhere/ca.pem") && why.contains("app.app"),
        "{why}"
    );
    assert_eq!(who(&client, &gateway), "only");
}

/// A gateway for which the names of this file have these addresses.
fn with_hosts(hosts: &std::path::Path) -> Gateway {
    let bind = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let hosts = hosts.display().to_string();
    let words = ["unshare", "--mount", "sh", "-c", bind, &hosts];
    Gateway::start(Setup {
        wrap: words.map(str::to_owned).to_vec(),
        ..Setup::default()
    })
}

#[test]
fn a_name_that_moves_out_of_its_networks_gets_a_page_a_record_and_a_metric_until_it_is_back() {
    let folder = Temp::new();
    let hosts = folder.write("hosts", "127.0.0.1 localhost app.internal\n");
    let gateway = with_hosts(&hosts);
    let mut app = Replica::new("a");
    let url = format!("http://app.internal:{}", app.addr().port());
    let keys = "upstream-networks = [\"127.0.0.1/32\"]";
    gateway.set_policy(&policy(&format!("upstream = \"{url}\"\n{keys}")));
    let client = Client::new(&gateway);
    let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    // whoever answers at the new address is not asked
    std::fs::write(&hosts, "127.0.0.1 localhost\n127.7.7.7 app.internal\n").unwrap();
    app.kill();
    let hits = app.hits();
    wait::until_true(SOON, "the name is looked up anew", || {
        assert_eq!(client.open(&gateway.facts.app).status, 502);
        metric(&gateway, "outside", &url) > 0
    });
    app.revive();
    let refused = client.open(&gateway.facts.app);
    assert_eq!(refused.status, 502, "{refused:?}");
    let record = journal::wait_for(&gateway, "request-ended.1", |r| {
        journal::is(r, "reason", "upstream-outside")
    });
    let detail = record["detail"].as_str().unwrap();
    assert!(detail.contains("127.7.7.7"), "{record}");
    assert_eq!(
        (record["outcome"].as_str(), app.hits()),
        (Some("failed"), hits)
    );
    let json = client.send(&gateway.facts.app, &["-H", "Accept: application/json"]);
    assert_eq!(json.json()["error"], "app-unreachable", "{json:?}");
    std::fs::write(&hosts, "127.0.0.1 localhost app.internal\n").unwrap();
    wait::until_true(SOON, "the app answers again", || {
        client.open(&gateway.facts.app).status == 200
    });
}
