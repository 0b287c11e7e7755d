//! The wall clock of the machine is set while people are signed in: forwards, back, and both.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use postern_tests::clock::Clock;
use postern_tests::curl::{Answer, Client};
use postern_tests::gateway::{Gateway, Person, Setup};
use postern_tests::journal;
use postern_tests::process::must;
use postern_tests::temp::Temp;
use postern_tests::totp;
use postern_tests::wait;

const HOUR: i64 = 3600;

/// A gateway whose wall clock, and no other clock, is set by a file.
struct Set {
    gateway: Gateway,
    clock: Clock,
}

impl Set {
    fn new() -> Self {
        let clock = Clock::new();
        let gateway = Gateway::start(Setup {
            wrap: clock.wrap(),
            ..Setup::default()
        });
        Self { gateway, clock }
    }

    fn set(&self, off: i64) {
        self.clock.set(off);
    }

    /// What an app shows whose clock is the gateway's.
    fn code(&self, person: &Person) -> String {
        let at = totp::now().checked_add_signed(self.clock.off()).unwrap();
        totp::code_at(&person.totp_secret, at)
    }

    fn opens(&self, client: &Client) -> bool {
        let answer = client.open(&self.gateway.facts.app);
        let is_calm = answer.status == 200 || answer.status == 303;
        assert!(is_calm, "{answer:?}");
        answer.status == 200
    }

    /// How many records of an event there are.
    fn records(&self, event: &str) -> usize {
        journal::search(&self.gateway, &["--event", event]).len()
    }
}

fn is_in(answer: &Answer) -> bool {
    answer.status == 200 && answer.url.starts_with("https://app")
}

#[test]
fn a_clock_set_back_lengthens_nothing_and_lets_no_used_code_count_again() {
    let clock = Set::new();
    let demo = &clock.gateway.facts.demo;
    let guest = &clock.gateway.facts.guest;
    let client = Client::new(&clock.gateway);
    let used = demo.code();
    let page = client.password(&clock.gateway.facts.app, demo, &demo.password);
    assert!(is_in(&client.code(&page, &used)));
    let ends = sessions(&clock.gateway);

    clock.set(-2 * HOUR);
    journal::wait_for(&clock.gateway, "clock-jumped", |r| {
        journal::is(r, "reason", "clock-back")
    });
    assert_eq!(sessions(&clock.gateway), ends, "a session lives on longer");
    assert!(clock.opens(&client), "who was signed in is no longer");
    let denied = clock.records("sign-in-failed");
    for code in [used, clock.code(demo)] {
        let other = Client::new(&clock.gateway);
        let page = other.password(&clock.gateway.facts.app, demo, &demo.password);
        let page = other.code(&page, &code);
        assert_eq!(page.status, 401, "{page:?}");
        assert!(!clock.opens(&other));
    }
    assert_eq!(clock.records("sign-in-failed"), denied + 2);

    // the twin: whose codes of that time are unused
    let second = Client::new(&clock.gateway);
    let portal = &clock.gateway.facts.portal;
    let page = second.password(portal, guest, &guest.password);
    let page = second.code(&page, &clock.code(guest));
    assert_eq!((page.status, &page.url), (200, portal), "{page:?}");

    // the clock is right again, and so is everything
    clock.set(0);
    assert!(clock.opens(&client));
    let third = Client::new(&clock.gateway);
    let page = third.sign_in(&clock.gateway.facts.app, demo);
    assert!(is_in(&page), "{page:?}");
    clock.gateway.must(&["audit", "verify"]);
}

#[test]
fn a_clock_set_forward_ends_what_would_have_ended_and_back_again_revives_nothing() {
    let clock = Set::new();
    let demo = &clock.gateway.facts.demo;
    let guest = &clock.gateway.facts.guest;
    let client = Client::new(&clock.gateway);
    assert!(is_in(&client.sign_in(&clock.gateway.facts.app, demo)));
    let half = Client::new(&clock.gateway);
    let code_page = half.password(&clock.gateway.facts.app, guest, &guest.password);
    let link = clock.gateway.must(&["user", "invite", "guest"]);
    let link = link.lines().find(|line| line.contains("https://")).unwrap();
    let link = link
        .split_whitespace()
        .find(|word| word.starts_with("https://"));
    let link = link.unwrap().to_owned();
    let other = Client::new(&clock.gateway);
    assert_eq!(other.follow(&link).status, 200, "the link opens");

    clock.set(30 * HOUR);
    journal::wait_for(&clock.gateway, "clock-jumped", |r| {
        journal::is(r, "reason", "clock-forward")
    });
    assert!(!clock.opens(&client), "a session lives on");
    for time in [30 * HOUR, 0, -HOUR] {
        clock.set(time);
        assert!(!clock.opens(&client), "{time}: an ended session came back");
        let page = half.code(&code_page, &clock.code(guest));
        assert!(
            [303, 400, 401].contains(&page.status)
                || postern_tests::html::form_with(&page.body, "password").is_some(),
            "{page:?}"
        );
        assert!(!clock.opens(&half), "{time}: half of a sign-in came back");
        let page = Client::new(&clock.gateway).follow(&link);
        assert!((400..500).contains(&page.status), "{time}: {page:?}");
    }

    // and by its clock of now people come in
    clock.set(0);
    let again = Client::new(&clock.gateway);
    let page = again.sign_in(&clock.gateway.facts.app, demo);
    assert!(is_in(&page), "{page:?}");
    clock.gateway.must(&["audit", "verify"]);
}

#[test]
fn a_wait_is_as_long_as_it_was_whatever_the_clock_is_set_back_to() {
    let clock = Set::new();
    let guest = &clock.gateway.facts.guest;
    let client = Client::new(&clock.gateway);
    let tries = |password: &str| {
        let page = client.password(&clock.gateway.facts.app, guest, password);
        page.status
    };
    let seen: Vec<u16> = (0..6).map(|_| tries("wrong, and long enough")).collect();
    assert_eq!(seen, [401, 401, 401, 401, 401, 429]);
    clock.set(-2 * HOUR);
    assert_eq!(tries(&guest.password), 429, "the wait is over");
    // longer than the wait
    clock.set(HOUR);
    assert_eq!(tries(&guest.password), 200, "the wait goes on");
    clock.set(0);
    assert_eq!(tries(&guest.password), 200);
}

/// When the sessions end, by name.
fn sessions(gateway: &Gateway) -> Vec<String> {
    let all = journal::records(&gateway.must(&["session", "list", "--json"]));
    all.iter()
        .map(|s| format!("{} {}", s["user"], s["expires"]))
        .collect()
}

/// The chain that a handshake shows, as `openssl` prints it: for each certificate its end in
/// seconds, and its key.
fn chain(gateway: &Gateway) -> Vec<(i64, String)> {
    let show = "openssl s_client -showcerts -servername gate.localhost -connect 127.0.0.1:$0 </dev/null 2>/dev/null \
        | openssl crl2pkcs7 -nocrl -certfile /dev/stdin \
        | openssl pkcs7 -print_certs -outform PEM";
    let port = gateway.https_port().to_string();
    let output = must("sh", &["-c", show, &port]);
    let text = String::from_utf8(output.stdout).unwrap();
    let blocks = text.split_inclusive("-----END CERTIFICATE-----");
    let blocks = blocks.filter(|block| block.contains("BEGIN"));
    blocks
        .map(|block| {
            let dir = Temp::new();
            let file = dir.write("one.pem", block);
            let file = file.to_str().unwrap();
            let shown = must(
                "openssl",
                &["x509", "-noout", "-enddate", "-pubkey", "-in", file],
            );
            let shown = String::from_utf8(shown.stdout).unwrap();
            let (end, key) = shown.split_once('\n').unwrap();
            let end = end.strip_prefix("notAfter=").unwrap();
            let seconds = must("date", &["-d", end, "+%s"]).stdout;
            let seconds = String::from_utf8(seconds).unwrap();
            (seconds.trim().parse().unwrap(), key.to_owned())
        })
        .collect()
}

/// The internal authority looks after its leaves and its intermediate while the gateway runs.
#[test]
fn leaves_and_the_intermediate_are_renewed_while_the_gateway_runs() {
    let clock = Set::new();
    let root = clock.gateway.must(&["cert", "ca-root"]);
    let first = chain(&clock.gateway);
    let [(leaf, _), (intermediate, _), ..] = &first[..] else {
        panic!("{first:?}");
    };
    let right = i64::try_from(totp::now()).unwrap();
    let (days, years) = (leaf - right, intermediate - right);
    assert!(
        days <= 14 * 24 * HOUR && years > 300 * 24 * HOUR,
        "{first:?}"
    );

    // at half of its life a leaf stays
    clock.set(days / 2);
    std::thread::sleep(std::time::Duration::from_secs(12));
    assert_eq!(chain(&clock.gateway), first);
    clock.set(days * 3 / 4);
    let renewed = wait::until(wait::PATIENCE, "another leaf", || {
        let now = chain(&clock.gateway);
        (now[0] != first[0]).then_some(now)
    });
    assert!(renewed[0].0 > *leaf, "{renewed:?}");
    assert_eq!(renewed[1..], first[1..], "the intermediate has years to go");

    clock.set(years * 3 / 4);
    let renewed = wait::until(wait::PATIENCE, "another intermediate", || {
        let now = chain(&clock.gateway);
        (now[1] != first[1]).then_some(now)
    });
    assert!(renewed[1].0 > *intermediate && renewed[0].0 > right + years * 3 / 4);
    // clients trust what they trusted before
    assert_eq!(clock.gateway.must(&["cert", "ca-root"]), root);
    clock.gateway.must(&["audit", "verify"]);
}

/// Whether a session of a file is resumed; what there is to resume next time goes to another.
fn resumes(gateway: &Gateway, from: Option<&Path>, to: &Path) -> bool {
    let port = format!("127.0.0.1:{}", gateway.https_port());
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-tls1_3",
        "-servername",
        "gate.localhost",
        "-connect",
        &port,
    ]);
    command.arg("-sess_out").arg(to);
    if let Some(from) = from {
        command.arg("-sess_in").arg(from);
    }
    // tickets come after the handshake: a request makes it wait for them
    command.args(["-ign_eof", "-quiet"]).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = command.spawn().unwrap();
    let mut input = running.stdin.take().unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: gate.localhost\r\nConnection: close\r\n\r\n";
    input.write_all(request.as_bytes()).unwrap();
    running.wait().unwrap();
    let mut again = Command::new("openssl");
    again.args([
        "s_client",
        "-tls1_3",
        "-servername",
        "gate.localhost",
        "-connect",
        &port,
    ]);
    if let Some(from) = from {
        again.arg("-sess_in").arg(from);
    }
    let shown = again.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&shown.stdout).contains("Reused, TLSv1.3")
}

/// Keys of tickets are turned: what was begun a day ago is not resumed, however often it was used.
#[test]
fn a_session_of_yesterday_is_not_resumed_and_one_of_the_hour_is() {
    let clock = Set::new();
    let dir = Temp::new();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    assert!(!resumes(&clock.gateway, None, &first));
    assert!(resumes(&clock.gateway, Some(&first), &second));
    clock.set(HOUR);
    assert!(resumes(&clock.gateway, Some(&second), &second));
    clock.set(25 * HOUR);
    assert!(!resumes(
        &clock.gateway,
        Some(&second),
        &dir.path().join("third")
    ));
    // the twin: what is begun now
    let now = dir.path().join("now");
    assert!(!resumes(&clock.gateway, None, &now));
    assert!(resumes(&clock.gateway, Some(&now), &second));
}
