//! Guessing: who guesses is shut out, and nobody else is. Three namespaces stand for a stranger,
//! an office and the edge, because loopback is never banned.

use std::io::Write;
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::process::{Output, Stdio};
use std::time::Duration;

use postern_tests::curl::{Answer, Client};
use postern_tests::edge::{Edge, OFFICE, STRANGER};
use postern_tests::gateway::{Gateway, Person};
use postern_tests::upstream::Recorder;
use postern_tests::wait::PATIENCE;
use postern_tests::websocket::Socket;
use postern_tests::{journal, policy, raw};
use serde_json::Value;

const WRONG: &str = "not the password at all";

/// The edge, and what it tells of bans.
struct Scene(Edge);

impl Deref for Scene {
    type Target = Edge;

    fn deref(&self) -> &Edge {
        &self.0
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Edge {
        &mut self.0
    }
}

impl Scene {
    /// Starts a gateway with these lines in `[bans]`.
    fn new(bans: &str) -> Self {
        Self(Edge::new(&format!("[bans]\n{bans}\n")))
    }

    fn bans(&self) -> Vec<Value> {
        journal::records(&self.gateway.must(&["ban", "list", "--json"]))
    }

    fn is_shut(&self, client: &Client) -> bool {
        client.try_send(&self.portal(), &[]).is_err()
    }

    /// Guesses until the connection is refused; returns the answers before that.
    fn guess(&self, client: &Client, person: &Person, most: usize) -> Vec<u16> {
        let page = client.follow(&self.portal());
        let mut form = page.form("password");
        form.set("username", &person.user);
        form.set("password", WRONG);
        let mut seen = Vec::new();
        while seen.len() < most && !self.is_shut(client) {
            seen.push(client.submit(&page, &form).status);
        }
        seen
    }
}

fn is_the_app(answer: &Answer) -> bool {
    answer.status == 200 && answer.body.contains("the recorder saw")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn who_guesses_is_shut_out_until_an_operator_lifts_it_and_nobody_else_is() {
    let mut scene = Scene::new("maxretry = 4\nspray-accounts = 2\n");
    let demo = Person::new("demo", "x", &scene.gateway.facts.demo.totp_secret);
    let (stranger, office) = (scene.client(&scene.stranger), scene.client(&scene.office));
    assert_eq!(scene.guess(&stranger, &demo, 20), [401; 4]);
    let banned = journal::wait_for(&scene.gateway, "banned.1", |_| true);
    assert_eq!(banned["reason"], "many-failures", "{banned}");
    let bans = scene.bans();
    assert_eq!(bans.len(), 1, "{bans:?}");
    assert_eq!(bans[0]["network"], format!("{STRANGER}/32"));
    assert!((3500..=3600).contains(&bans[0]["left_s"].as_u64().unwrap()));
    // the office works, and what headers say of addresses bans nobody
    let page = office.sign_in(&scene.app(), &scene.gateway.facts.demo);
    assert!(is_the_app(&page), "{page:?}");
    let other = scene.client(&scene.office);
    for _ in 0..6 {
        let page = other.follow(&scene.portal());
        let form = page.form("csrf");
        let csrf = form.fields.iter().find(|(n, _)| n == "csrf").unwrap();
        let csrf = format!("csrf={}", csrf.1);
        let origin = scene.portal();
        let origin = format!("Origin: {}", origin.trim_end_matches('/'));
        let answer = other.send(
            &format!("{}signin", scene.portal()),
            &[
                "-H",
                "X-Forwarded-For: 203.0.113.9",
                "-H",
                "X-Real-IP: 203.0.113.9",
                "-H",
                "Forwarded: for=203.0.113.9",
                "-H",
                &origin,
                "-H",
                "Sec-Fetch-Site: same-origin",
                "--data-urlencode",
                &csrf,
                "--data-urlencode",
                "username=guest",
                "--data-urlencode",
                "password=wrong",
            ],
        );
        assert!([401, 429].contains(&answer.status), "{answer:?}");
    }
    // somebody is signed in from the office, so it is spared; the claimed address is nobody's
    let networks: Vec<Value> = scene.bans().iter().map(|b| b["network"].clone()).collect();
    assert_eq!(networks, [format!("{STRANGER}/32")]);
    journal::wait_for(&scene.gateway, "limited.1", |r| r["reason"] == "ban-spared");
    // demo and guest were tried from two places: that is seen as one thing
    journal::wait_for(&scene.gateway, "sign-in-failed.1", |r| {
        r["reason"] == "spraying"
    });
    for line in [
        "postern_bans 1",
        "postern_bans_made 1",
        "postern_spray_alarms 1",
        "postern_failing_accounts 2",
    ] {
        let metrics = scene.metrics();
        assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    }
    scene.restart();
    assert!(scene.is_shut(&stranger));
    assert!(is_the_app(&office.follow(&scene.app())));
    scene.gateway.must(&["ban", "remove", STRANGER]);
    assert!(!scene.is_shut(&stranger));
    let lifted = journal::wait_for(&scene.gateway, "unbanned.1", |_| true);
    assert_eq!(lifted["reason"], "by-operator");
    assert!(scene.bans().is_empty());
    let again = scene.gateway.run(&["ban", "remove", STRANGER]);
    assert_eq!(again.status.code(), Some(65), "{}", said(&again));
}

#[test]
fn who_guesses_tokens_is_shut_out_and_the_credentials_of_an_app_are_nobodys_business() {
    let scene = Scene::new("maxretry = 4\n");
    let (stranger, office) = (scene.client(&scene.stranger), scene.client(&scene.office));
    let show = |client: &Client, token: &str| {
        let bearer = format!("Authorization: Bearer {token}");
        client
            .try_send(&scene.app(), &["-H", &bearer])
            .map(|answer| answer.status)
    };
    for round in 0..4 {
        let guess = format!("ptk_{round}{}", "a".repeat(58));
        assert_eq!(
            (show(&stranger, &guess), show(&office, "own")),
            (Ok(401), Ok(401))
        );
    }
    assert!(show(&stranger, "ptk_x").is_err());
    let bans = scene.bans();
    assert_eq!(bans.len(), 1, "{bans:?}");
    assert_eq!(bans[0]["network"], format!("{STRANGER}/32"));
    assert_eq!(bans[0]["reason"], "many-failures");
    assert_eq!(show(&office, "own"), Ok(401));
}

#[test]
fn probes_and_answers_429_ban_where_that_is_configured_and_few_of_them_do_not() {
    let scene = Scene::new("probes = { maxretry = 6 }\nlimited = { maxretry = 3 }\n");
    let (stranger, office) = (scene.client(&scene.stranger), scene.client(&scene.office));
    let probe = |client: &Client| {
        let url = format!("{}nothing", scene.portal());
        client.try_send(&url, &[]).map(|answer| answer.status)
    };
    for _ in 0..5 {
        assert_eq!((probe(&stranger), probe(&office)), (Ok(404), Ok(404)));
    }
    assert_eq!(probe(&stranger), Ok(404));
    assert!(probe(&stranger).is_err());
    assert_eq!(scene.bans()[0]["reason"], "many-probes");
    scene.gateway.must(&["ban", "remove", STRANGER]);
    // five wrong passwords make the pair wait; three answers 429 are one too many
    let guest = &scene.gateway.facts.guest;
    let seen = scene.guess(&stranger, guest, 20);
    assert_eq!(seen, [401, 401, 401, 401, 401, 429, 429, 429]);
    assert_eq!(scene.bans()[0]["reason"], "many-limits");
    assert_eq!(scene.bans().len(), 1);
    assert_eq!(office.follow(&scene.portal()).status, 200);
}

#[test]
fn who_asks_for_what_only_scanners_ask_for_is_banned_and_a_browser_of_the_office_is_not() {
    let scene = Scene::new("");
    let (stranger, office) = (scene.client(&scene.stranger), scene.client(&scene.office));
    let ask = |client: &Client, path: &str, args: &[&str]| {
        let url = format!("{}{path}", scene.app());
        client.try_send(&url, args).map(|answer| answer.status)
    };
    // a page that is open asks on after its session has ended
    let page = ["-H", "Sec-Fetch-Site: same-origin"];
    let cookie = ["-H", "Cookie: __Host-postern-device=x"];
    for path in ["wp-admin/admin-ajax.php", "environment"] {
        for _ in 0..6 {
            ask(&office, path, &page).unwrap();
            ask(&office, path, &cookie).unwrap();
        }
    }
    for path in [".env", ".git/config", "wp-login.php", "cgi-bin/x"] {
        ask(&stranger, path, &[]).unwrap();
        ask(&office, path, &[]).unwrap();
    }
    ask(&stranger, "xmlrpc.php", &[]).unwrap();
    assert!(scene.is_shut(&stranger), "a scanner is still answered");
    let bans = scene.bans();
    assert_eq!(bans.len(), 1, "{bans:?}");
    assert_eq!(bans[0]["network"], format!("{STRANGER}/32"));
    assert_eq!(bans[0]["reason"], "many-scans");
    assert_eq!(office.follow(&scene.portal()).status, 200);
}

#[test]
fn an_operators_ban_cuts_strangers_and_leaves_open_what_carries_a_session() {
    let mut scene = Scene::new("");
    let office = scene.client(&scene.office);
    let page = office.sign_in(&scene.app(), &scene.gateway.facts.demo);
    assert!(is_the_app(&page), "{page:?}");
    let port = scene.gateway.https_port();
    let name = "app.gate.postern.internal";
    let cookie = office.cookie(name, "__Host-postern").unwrap();
    let cookie = format!("__Host-postern={cookie}");
    let connect = |port: u16| {
        let address = format!("10.79.1.1:{port}");
        scene.office.enter(|| TcpStream::connect(&address).unwrap())
    };
    let tls = raw::tls_over(connect(port), name, &scene.gateway.facts.ca_root, PATIENCE);
    let mut socket = Socket::open(tls, &format!("{name}:{port}"), "/ws", Some(&cookie)).unwrap();
    assert_eq!(socket.echo("before").unwrap(), "before");
    let mut idle = connect(scene.gateway.http_port());
    idle.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let args = ["ban", "add", OFFICE, "--for", "1h", "--reason", "a test"];
    scene.gateway.must(&args);
    assert!(
        raw::read_all(&mut idle).closed,
        "a stranger's connection stays"
    );
    assert!(scene.is_shut(&office), "a new connection is taken");
    assert_eq!(socket.echo("after").unwrap(), "after");
    let ban = scene.bans().remove(0);
    assert_eq!(
        (&ban["reason"], &ban["note"]),
        (&"by-operator".into(), &"a test".into())
    );
    // an operator without a running gateway lifts it too
    drop(socket);
    scene.stop();
    assert_eq!(scene.bans().len(), 1);
    scene.gateway.must(&["ban", "remove", OFFICE]);
    scene.start_again();
    assert!(is_the_app(&office.follow(&scene.app())));
    assert!(scene.recorder.seen().len() >= 2);
}

#[test]
fn what_is_ours_cannot_be_banned_and_a_firewall_takes_the_rest() {
    let scene = Scene::new("allow = [\"198.51.100.0/24\"]\n");
    for (network, why) in [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("10.200.200.7", "the tunnel's network"),
        ("198.51.100.9", "allow-list"),
        ("0.0.0.0/0", "never banned"),
    ] {
        let refused = scene.gateway.run(&["ban", "add", network]);
        assert_eq!(refused.status.code(), Some(65), "{network}");
        assert!(
            said(&refused).contains(why),
            "{network}: {}",
            said(&refused)
        );
    }
    for bad in ["gate.example", "192.0.2.1/24", "192.0.2.0/40"] {
        let refused = scene.gateway.run(&["ban", "add", bad]);
        assert_eq!(refused.status.code(), Some(64), "{bad}");
    }
    for args in [
        ["ban", "add", "192.0.2.0/24", "--for", "1h"].as_slice(),
        &["ban", "add", "192.0.2.7", "--for", "2h"],
        &["ban", "add", "203.0.113.9", "--reason", "}; flush ruleset"],
        &["ban", "add", "2001:db8::7", "--for", "1d"],
    ] {
        scene.gateway.must(args);
    }
    let script = scene.gateway.must(&["ban", "export", "--format", "nft"]);
    assert!(
        script.contains("203.0.113.9") && !script.contains("ruleset"),
        "{script}"
    );
    // twice, as a timer would: checked, and taken for real in a namespace of its own
    for args in [["-c", "-f", "-"].as_slice(), &["-f", "-"], &["-f", "-"]] {
        let mut command = scene.stranger.command("nft");
        command.args(args).stdin(Stdio::piped());
        let mut nft = command.spawn().unwrap();
        let mut stdin = nft.stdin.take().unwrap();
        stdin.write_all(script.as_bytes()).unwrap();
        drop(stdin);
        assert!(nft.wait().unwrap().success(), "{args:?}: {script}");
    }
    let held = scene
        .stranger
        .command("nft")
        .args(["list", "ruleset"])
        .output();
    let held = String::from_utf8(held.unwrap().stdout).unwrap();
    for element in ["192.0.2.0/24", "203.0.113.9", "2001:db8::/64"] {
        assert!(held.contains(element), "{element}: {held}");
    }
    let lines = scene.gateway.must(&["ban", "export", "--format", "json"]);
    assert_eq!(journal::records(&lines).len(), 4);
}

#[test]
fn an_attacked_person_signs_in_from_a_known_browser_and_a_fresh_one_waits() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    let (demo, app) = (&gateway.facts.demo, &gateway.facts.app);
    let known = Client::new(&gateway);
    assert!(is_the_app(&known.sign_in(app, demo)));
    sign_out(&known, &gateway);
    assert_eq!(known.open(app).status, 303);
    let stranger = Client::new(&gateway);
    let nobody = Person::new("nobody-here", "x", &demo.totp_secret);
    for person in [demo, &nobody] {
        let refused = |_| {
            stranger
                .password(&gateway.facts.portal, person, WRONG)
                .status
        };
        assert_eq!((0..5).map(refused).collect::<Vec<_>>(), [401; 5]);
    }
    // the same address, the right password: told to wait, in the words of a name that is none
    let told = [demo, &nobody].map(|person| {
        let answer = stranger.password(&gateway.facts.portal, person, &demo.password);
        assert_eq!(answer.status, 429, "{answer:?}");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((880..=900).contains(&wait), "{wait}");
        assert!(answer.body.contains("Too many tries"), "{answer:?}");
        (answer.status, answer.headers.len())
    });
    assert_eq!(told[0], told[1]);
    assert!(is_the_app(&known.sign_in(app, demo)));
}

#[test]
fn a_rule_for_known_devices_opens_for_a_browser_that_signed_in_before_and_for_no_other() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    let (demo, app) = (&gateway.facts.demo, &gateway.facts.app);
    let rules = policy::two_apps(&recorder.url(), "");
    let people = "{ who = [\"demo\", \"guest\"] }";
    let of_known = "{ who = [\"demo\"], device = \"known\" }";
    gateway.set_policy(&rules.replacen(people, of_known, 1));
    let browser = Client::new(&gateway);
    assert_eq!(browser.sign_in(app, demo).status, 403);
    let cookie = browser.cookie("gate.localhost", "__Host-postern-device");
    let cookie = cookie.expect("the sign-in left a cookie");
    assert!(cookie.len() >= 22, "{cookie}");
    assert!(
        browser
            .cookie("app.gate.localhost", "__Host-postern-device")
            .is_none()
    );
    sign_out(&browser, &gateway);
    assert!(is_the_app(&browser.sign_in(app, demo)));
    let now = browser.cookie("gate.localhost", "__Host-postern-device");
    assert_ne!(now.unwrap(), cookie, "the token changes");
    let fresh = Client::new(&gateway);
    assert_eq!(fresh.sign_in(app, demo).status, 403);
    // whatever takes the person's sessions away makes their browsers strangers
    gateway.must(&["session", "revoke", "--user", "demo"]);
    assert_eq!(browser.sign_in(app, demo).status, 403);
}

fn sign_out(client: &Client, gateway: &Gateway) {
    let portal = client.follow(&gateway.facts.portal);
    let forms = postern_tests::html::forms(&portal.body);
    let form = forms.iter().find(|f| f.action.ends_with("/signout"));
    let answer = client.submit(&portal, form.unwrap());
    assert!(answer.status < 400, "{answer:?}");
}
