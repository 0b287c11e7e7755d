//! The journal: every decision, provably whole, and nothing acknowledged is lost.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use postern_tests::curl::Client;
use postern_tests::gateway::Gateway;
use postern_tests::{journal, wait};

#[test]
fn every_decision_is_on_record_with_its_rule() {
    let gateway = Gateway::demo();
    let app = &gateway.facts.app;
    let (demo, guest) = (Client::new(&gateway), Client::new(&gateway));
    assert_eq!(demo.sign_in(app, &gateway.facts.demo).status, 200);
    assert_eq!(guest.sign_in(app, &gateway.facts.guest).status, 403);
    for user in ["demo", "guest"] {
        journal::wait_for(&gateway, "signed-in.1", |r| journal::is(r, "user", user));
    }
    let allowed = journal::wait_for(&gateway, "access-decided.1", |r| {
        let rule = r["rule"].as_str().unwrap_or_default();
        r["outcome"] == "allow" && r["user"] == "demo" && rule.starts_with("app.")
    });
    let denied = journal::wait_for(&gateway, "access-decided.1", |r| {
        r["outcome"] == "deny" && r["user"] == "guest"
    });
    for record in [&allowed, &denied] {
        for field in [
            "time",
            "rule",
            "source",
            "method",
            "path",
            "request_id",
            "policy",
        ] {
            assert!(record[field].is_string(), "{field}: {record}");
        }
        assert!(record["seq"].is_u64(), "{record}");
    }
    assert_eq!(allowed["host"], "app.gate.localhost");
    let ended = journal::wait_for(&gateway, "request-ended.1", |r| {
        r["request_id"] == allowed["request_id"]
    });
    assert_eq!(ended["status"], 200);
    let only_guest = journal::search(&gateway, &["--user", "guest", "--outcome", "deny"]);
    assert!(!only_guest.is_empty());
    assert!(
        only_guest
            .iter()
            .all(|r| r["user"] == "guest" && r["outcome"] == "deny")
    );
}

#[test]
fn no_secret_is_on_record() {
    let gateway = Gateway::demo();
    let client = Client::new(&gateway);
    let demo = &gateway.facts.demo;
    let url = format!("{}x?token=sup3rsecret", gateway.facts.app);
    client.sign_in(&url, demo);
    let cookie = client
        .cookie("app.gate.localhost", "__Host-postern")
        .unwrap();
    journal::wait_for(&gateway, "request-ended.1", |_| true);
    gateway.must(&["audit", "verify"]);
    let mut text = gateway.stderr();
    for file in segments(&gateway) {
        text.push_str(&std::fs::read_to_string(file).unwrap());
    }
    assert!(text.contains("access-decided.1"));
    for secret in [&demo.password, &demo.totp_secret, &cookie, "sup3rsecret"] {
        assert!(!text.contains(secret), "{secret} is on record");
    }
}

#[test]
fn one_changed_byte_is_named_and_an_untouched_journal_passes() {
    let mut gateway = Gateway::demo();
    let client = Client::new(&gateway);
    client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    journal::wait_for(&gateway, "request-ended.1", |_| true);
    gateway.must(&["audit", "verify"]);
    gateway.stop();
    gateway.must(&["audit", "verify"]);
    let file = segments(&gateway).remove(0);
    let good = std::fs::read(&file).unwrap();
    let lines = good
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .count();
    assert!(lines > 3);
    let bytes = [good.len() / 4, good.len() / 2, good.len() * 3 / 4];
    for at in bytes {
        let mut bad = good.clone();
        bad[at] = if bad[at] == b'1' { b'2' } else { b'1' };
        std::fs::write(&file, &bad).unwrap();
        let output = gateway.run(&["audit", "verify"]);
        assert_eq!(output.status.code(), Some(65), "byte {at}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(said.contains(name), "{said}");
        let line = good[..at].iter().filter(|b| **b == b'\n').count() + 1;
        let numbers: Vec<usize> = said
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|n| n.parse().ok())
            .collect();
        let near = line.saturating_sub(1)..=line + 1;
        assert!(
            numbers.iter().any(|n| near.contains(n)),
            "line {line}: {said}"
        );
    }
    std::fs::write(&file, &good).unwrap();
    gateway.must(&["audit", "verify"]);
}

#[test]
fn a_removed_line_is_noticed() {
    let mut gateway = Gateway::demo();
    let client = Client::new(&gateway);
    client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    journal::wait_for(&gateway, "request-ended.1", |_| true);
    gateway.stop();
    let file = segments(&gateway).remove(0);
    let good = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = good.lines().collect();
    let without: Vec<_> = (0..lines.len())
        .filter(|n| *n != 2)
        .map(|n| lines[n])
        .collect();
    std::fs::write(&file, without.join("\n") + "\n").unwrap();
    assert_eq!(gateway.run(&["audit", "verify"]).status.code(), Some(65));
    std::fs::write(&file, &good).unwrap();
    gateway.must(&["audit", "verify"]);
}

#[test]
fn a_power_cut_under_load_loses_nothing_that_was_acknowledged() {
    let mut gateway = Gateway::demo();
    let app = gateway.facts.app.clone();
    let (demo, guest) = (Client::new(&gateway), Client::new(&gateway));
    assert_eq!(demo.sign_in(&app, &gateway.facts.demo).status, 200);
    let portal = demo.follow(&gateway.facts.portal);
    let forms = postern_tests::html::forms(&portal.body);
    let sign_out = forms
        .iter()
        .find(|f| f.action.ends_with("/signout"))
        .unwrap();
    assert_eq!(guest.sign_in(&app, &gateway.facts.guest).status, 403);
    let cookie = guest
        .cookie("app.gate.localhost", "__Host-postern")
        .unwrap();
    let header = format!("Cookie: __Host-postern={cookie}");
    let denials = Mutex::new(BTreeSet::new());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = OnDrop(&over);
        for _ in 0..3 {
            scope.spawn(|| {
                let client = Client::new(&gateway);
                while !over.load(Ordering::SeqCst) {
                    let answer = client.try_send(&app, &["-H", &header]);
                    let Ok(answer) = answer else { return };
                    assert_eq!(answer.status, 403);
                    let id = answer.json()["request_id"].as_str().unwrap().to_owned();
                    denials.lock().unwrap().insert(id);
                }
            });
        }
        wait::until_true(Duration::from_secs(20), "denials under load", || {
            denials.lock().unwrap().len() >= 30
        });
        assert!(demo.submit(&portal, sign_out).status < 400);
        gateway.signal(nix::sys::signal::Signal::SIGKILL);
    });
    gateway.kill();
    gateway.must(&["audit", "verify"]);
    let kept = journal::search(&gateway, &["--user", "guest", "--limit", "100000"]);
    let kept: BTreeSet<_> = kept
        .iter()
        .filter_map(|r| r["request_id"].as_str())
        .collect();
    let lost: Vec<_> = (denials.lock().unwrap().iter())
        .filter(|id| !kept.contains(id.as_str()))
        .cloned()
        .collect();
    assert!(
        lost.is_empty(),
        "lost of {}: {lost:?}",
        denials.lock().unwrap().len()
    );
    for (event, user) in [
        ("signed-in.1", "demo"),
        ("signed-in.1", "guest"),
        ("signed-out.1", "demo"),
    ] {
        journal::wait_for(&gateway, event, |r| journal::is(r, "user", user));
    }
    gateway.start_again();
    gateway.must(&["audit", "verify"]);
    assert_eq!(demo.open(&app).status, 303, "a sign-out survives");
}

/// Sets a flag at the end of a scope, a failed one too.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn segments(gateway: &Gateway) -> Vec<PathBuf> {
    let dir = gateway.facts.data.join("audit");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}
