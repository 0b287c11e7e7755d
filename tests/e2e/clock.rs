//! The wall clock of the machine is set while people are signed in: forwards, back, and both.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use postern_tests::curl::{Answer, Client};
use postern_tests::gateway::{Gateway, Person, Setup};
use postern_tests::journal;
use postern_tests::temp::Temp;
use postern_tests::totp;

const HOUR: i64 = 3600;

/// A gateway whose wall clock, and no other clock, is set by a file.
struct Set {
    gateway: Gateway,
    file: PathBuf,
    _dir: Temp,
    off: AtomicI64,
}

impl Set {
    fn new() -> Self {
        let dir = Temp::new();
        let file = dir.path().join("clock");
        fs::write(&file, "+0s\n").unwrap();
        let wrap = [
            "env",
            &format!("LD_PRELOAD={}", library().display()),
            &format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "DONT_FAKE_MONOTONIC=1",
            "NO_FAKE_STAT=1",
        ];
        let gateway = Gateway::start(Setup {
            wrap: wrap.map(str::to_owned).to_vec(),
            ..Setup::default()
        });
        Self {
            gateway,
            file,
            _dir: dir,
            off: AtomicI64::new(0),
        }
    }

    /// Sets the wall clock so many seconds off the right time.
    fn set(&self, off: i64) {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{off:+}s\n")).unwrap();
        fs::rename(&next, &self.file).unwrap();
        self.off.store(off, Ordering::SeqCst);
    }

    /// What an app shows whose clock is the gateway's.
    fn code(&self, person: &Person) -> String {
        let at = totp::now()
            .checked_add_signed(self.off.load(Ordering::SeqCst))
            .unwrap();
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

/// Where Debian keeps the library that tells a program another time.
fn library() -> PathBuf {
    let held = fs::read_dir("/usr/lib").unwrap();
    let mut found = held
        .map(|entry| entry.unwrap().path().join("faketime/libfaketimeMT.so.1"))
        .filter(|path| path.exists());
    found
        .next()
        .expect("libfaketime is not installed: run tests/run")
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
