//! Decisions on record are decided again: by the same policy to the same answers, by another to
//! exactly the expected ones.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::curl::Client;
use postern_tests::gateway::Gateway;
use postern_tests::office::{FORBIDDEN, Office, PERMITTED};
use postern_tests::{journal, policy, raw, wait};
use serde_json::Value;

/// Both may open the app; demo its vault, with a code of the last second; guest would be kept from
/// the second app by a guard that is not yet in force.
const MORE: &str = r#"[app.app."/vault"]
allow.demo = { who = "demo", mfa = "1s" }

[deny.trial]
who = "guest"
on = ["app.second"]
reason = "not for guests"
shadow = true
"#;

#[test]
fn an_unchanged_policy_decides_all_as_on_record_and_another_exactly_as_expected() {
    let scene = Scene::new();
    let (gateway, app) = (&scene.gateway, scene.gateway.facts.app.clone());
    let records = scene.decisions();
    let outcomes: BTreeSet<_> = records
        .iter()
        .map(|r| r["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(
        outcomes,
        BTreeSet::from(["allow", "deny", "login", "step-up"])
    );
    let shadowed = records
        .iter()
        .filter(|r| r["inputs"]["shadow"]["outcome"] == "deny");
    assert!(shadowed.count() > 0, "no rule in shadow is on record");

    let refused = records
        .iter()
        .find(|r| r["outcome"] == "deny" && r["user"] == "guest" && r["path"] == "/vault");
    let nearest = refused.unwrap()["inputs"]["nearest"].as_str().unwrap();
    assert!(nearest.starts_with("app.app/vault#demo: who"), "{nearest}");

    let same = gateway.run(&["policy", "replay", "--json"]);
    let (changes, summary) = replayed(&same);
    assert_eq!(same.status.code(), Some(0), "{changes:?}");
    assert!(changes.is_empty(), "{changes:?}");
    let weight = |r: &Value| r["count"].as_u64().unwrap_or(1);
    let sum = records.iter().map(weight).sum::<u64>();
    assert_eq!(summary["decisions"], sum);
    assert_eq!(summary["records"], records.len());
    assert!(
        records.iter().any(|r| weight(r) > 1),
        "no flood was summed up"
    );
    assert_eq!(
        summary["lost"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["gateway"]
    );

    // guest is taken out of the app, and the vault asks for no fresh code
    let text = gateway.policy_text();
    let other = text
        .replacen("who = [\"demo\", \"guest\"]", "who = [\"demo\"]", 1)
        .replace("mfa = \"1s\"", "mfa = \"1h\"");
    let other = folder(gateway, "other", &other);
    let changed = gateway.run(&[
        "policy",
        "replay",
        "--json",
        "--against",
        other.to_str().unwrap(),
    ]);
    assert_eq!(changed.status.code(), Some(3));
    let (changes, summary) = replayed(&changed);
    let expected = |r: &&Value| {
        let taken = r["user"] == "guest" && r["rule"] == "app.app#people";
        taken || r["outcome"] == "step-up"
    };
    let expected: Vec<_> = records.iter().filter(expected).collect();
    assert!(expected.len() > 1);
    let found: Vec<_> = changes.iter().collect();
    assert_eq!(sequences(&found), sequences(&expected));
    let guests = changes.iter().filter(|c| c["user"] == "guest");
    assert_eq!(summary["changed_allowed"], guests.clone().count());
    for change in guests {
        assert_eq!(change["before"]["outcome"], "allow");
        assert_eq!(change["after"]["rule"], "builtin.default");
        assert_eq!(change["by_people"], false);
    }
    let summed = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(
        (summed("changed_by_people"), summed("people_unknown")),
        (0, 0)
    );
    let people = gateway.run(&["policy", "replay", "--policy", other.to_str().unwrap()]);
    let people = String::from_utf8(people.stdout).unwrap();
    assert!(
        people.contains("allow by app.app#people -> deny by builtin.default"),
        "{people}"
    );
    assert!(
        people.contains(&format!("guest  GET {}", app.replace(&port(gateway), ""))),
        "{people}"
    );

    // who is shut out loses all, by no rule
    let shut = folder(gateway, "shut", &gateway.policy_text());
    let users = fs::read_to_string(shut.join("users.toml")).unwrap();
    let users = users.replace("[user.guest]", "[user.guest]\ndisabled = true");
    fs::write(shut.join("users.toml"), users).unwrap();
    let shut = gateway.run(&[
        "policy",
        "replay",
        "--json",
        "--against",
        shut.to_str().unwrap(),
    ]);
    let (changes, summary) = replayed(&shut);
    assert!(
        !changes.is_empty()
            && changes
                .iter()
                .all(|c| c["user"] == "guest" && c["by_people"] == true),
        "{changes:?}"
    );
    assert_eq!(summary["changed_by_people"], summary["changed"]);

    // what came before `--since` is not decided again
    let none = gateway.run(&["policy", "replay", "--json", "--since", "2100-01-01"]);
    assert_eq!(replayed(&none).1["decisions"], 0);
}

#[test]
fn the_code_of_a_denied_page_is_explained_before_and_after_the_policy_changes() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let code = scene.code.as_str();
    let text = gateway.must(&["policy", "explain", code]);
    for part in [
        code,
        "guest, from 127.0.0.1",
        "GET https://app.gate.localhost/vault",
        "the policy answered deny by builtin.default",
        "the policy has not changed since",
        "who: guest is not in demo",
        "allow.demo = {",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let answer = |args: &[&str]| serde_json::from_str::<Value>(&gateway.must(args)).unwrap();
    let then = answer(&["policy", "explain", code, "--json"]);
    assert_eq!(
        (&then["policy_changed"], &then["differs"]),
        (&false.into(), &false.into())
    );
    assert_eq!(then["explanation"]["outcome"], "deny");
    let seq = then["seq"].to_string();
    assert_eq!(
        answer(&["policy", "explain", "--seq", &seq, "--json"]),
        then
    );

    let policy = gateway.policy_text().replace(
        "who = \"demo\", mfa = \"1s\"",
        "who = [\"demo\", \"guest\"]",
    );
    gateway.set_policy(&policy);
    let now = answer(&["policy", "explain", code, "--json"]);
    assert_eq!(
        (&now["policy_changed"], &now["differs"]),
        (&true.into(), &true.into())
    );
    assert_eq!(
        (&now["then"]["outcome"], &now["now"]["outcome"]),
        (&"deny".into(), &"allow".into())
    );
    let text = gateway.must(&["policy", "explain", code]);
    assert!(
        text.contains("its answer would now be allow by app.app/vault#demo"),
        "{text}"
    );
    // the policy that denied it is kept, and says why it did
    let (_, then) = text.split_once("by the policy of then:").expect("of then");
    let (then, now) = then.split_once("by the policy of now:").expect("of now");
    assert!(
        then.contains("DENY") && then.contains("who: guest is not in demo"),
        "{then}"
    );
    assert!(then.contains("who = \"demo\", mfa = \"1s\""), "{then}");
    assert!(
        now.contains("ALLOW") && !now.contains("mfa = \"1s\""),
        "{now}"
    );
    let told = answer(&["policy", "explain", code, "--json"]);
    assert_eq!(told["explanation_then"]["outcome"], "deny");
    assert_eq!(told["explanation"]["outcome"], "allow");

    let unknown = gateway.run(&["policy", "explain", "D-AAAAAAAA"]);
    assert_eq!(unknown.status.code(), Some(65));
    let mixed = gateway.run(&["policy", "explain", code, "--user", "guest"]);
    assert_eq!(mixed.status.code(), Some(64));
}

#[test]
fn a_decision_on_record_becomes_a_test_that_passes() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let mut seen = BTreeSet::new();
    let mut tests = String::from("postern = 1\n\n");
    for record in scene.decisions() {
        let kind = (record["outcome"].to_string(), record["rule"].to_string());
        if seen.insert(kind) {
            let seq = record["seq"].to_string();
            tests.push_str(&gateway.must(&["policy", "record", &seq]));
        }
    }
    assert!(seen.len() >= 4, "{seen:?}");
    let of_page = gateway.must(&["policy", "record", &scene.code]);
    assert!(of_page.contains("user = \"guest\""), "{of_page}");
    tests.push_str(&of_page);
    let before = gateway.must(&["policy", "check", "--json"]);
    fs::write(gateway.facts.policy.join("recorded.toml"), &tests).unwrap();
    let after = gateway.must(&["policy", "check", "--json"]);
    let count = |text: &str| {
        serde_json::from_str::<Value>(text).unwrap()["tests"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(count(&after), count(&before) + seen.len() as u64 + 1);

    // a decision that the policy of now takes otherwise is a test that fails, and that is said
    fs::remove_file(gateway.facts.policy.join("recorded.toml")).unwrap();
    let policy = gateway.policy_text().replace(
        "who = \"demo\", mfa = \"1s\"",
        "who = [\"demo\", \"guest\"]",
    );
    gateway.set_policy(&policy);
    let output = gateway.run(&["policy", "record", &scene.code]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("now answers allow"), "{said}");
    fs::write(
        gateway.facts.policy.join("recorded.toml"),
        [b"postern = 1\n", &*output.stdout].concat(),
    )
    .unwrap();
    assert_eq!(gateway.run(&["policy", "check"]).status.code(), Some(78));
}

#[test]
fn flows_and_what_quarantine_refused_are_decided_again() {
    let office = Office::new();
    let gateway = &office.gateway;
    let browser = office.browser();
    // a device that nobody has opened: its person's app and service are the policy's, the refusal is not
    assert_eq!(browser.open(&office.tunnel_app()).status, 303);
    assert!(office.connect(PERMITTED).is_err());
    browser.sign_in(&gateway.facts.tunnel_portal, &gateway.facts.demo);
    assert_eq!(browser.follow(&office.tunnel_app()).status, 200);
    assert!(office.connect(PERMITTED).is_ok());
    assert!(office.connect(FORBIDDEN).is_err());
    journal::wait_for(gateway, "flow-decided.1", |r| {
        r["inputs"].is_object() && r["path"] == format!("tcp://{FORBIDDEN}")
    });
    let refused = journal::wait_for(gateway, "access-decided.1", |r| r["reason"] == "quarantine");
    assert_eq!(refused["inputs"]["own"]["outcome"], "login", "{refused}");
    assert_eq!(refused["inputs"]["tunnel"], true);

    let same = gateway.run(&["policy", "replay", "--json"]);
    let (changes, summary) = replayed(&same);
    assert_eq!(same.status.code(), Some(0), "{changes:?}");
    assert!(summary["decisions"].as_u64().unwrap() >= 4, "{summary}");

    // the other port of the service is opened instead
    let other = gateway.policy_text().replace("7000/tcp", "7001/tcp");
    let other = folder(gateway, "other", &other);
    let changed = gateway.run(&[
        "policy",
        "replay",
        "--json",
        "--against",
        other.to_str().unwrap(),
    ]);
    assert_eq!(changed.status.code(), Some(3));
    let (changes, _) = replayed(&changed);
    let of = |to: &str| {
        let target = format!("tcp://{to}");
        let here = changes
            .iter()
            .filter(move |c| c["target"] == target && c["refused"].is_null());
        here.map(|c| {
            (
                c["before"]["outcome"].clone(),
                c["after"]["outcome"].clone(),
            )
        })
        .collect::<Vec<_>>()
    };
    assert!(
        of(PERMITTED).contains(&("allow".into(), "deny".into())),
        "{changes:?}"
    );
    assert!(
        of(FORBIDDEN).contains(&("deny".into(), "allow".into())),
        "{changes:?}"
    );
    assert!(changes.iter().all(|c| {
        c["target"]
            .as_str()
            .unwrap()
            .starts_with("tcp://10.78.0.2:700")
    }));
}

#[test]
fn who_reads_the_journal_is_on_record() {
    let mut gateway = Gateway::demo();
    let reads = |gateway: &Gateway| {
        let all = journal::search(gateway, &["--event", "audit-read"]);
        let detail = |r: Value| r["detail"].as_str().unwrap().to_owned();
        all.into_iter().map(detail).collect::<Vec<_>>()
    };
    gateway.must(&["audit", "tail", "-n", "3"]);
    gateway.must(&["policy", "replay", "--since", "1h"]);
    let named = |reads: &[String], what: &str| {
        reads
            .iter()
            .any(|read| read.starts_with("by ") && read.ends_with(&format!(": {what}")))
    };
    let all = [
        "audit tail -n 3",
        "policy replay --since 1h",
        "audit search --event audit-read",
    ];
    wait::until_true(Duration::from_secs(5), "the readings are on record", || {
        let found = reads(&gateway);
        all.iter().all(|what| named(&found, what))
    });
    gateway.stop();
    gateway.must(&["audit", "search", "--user", "demo"]);
    assert!(named(&reads(&gateway), "audit search --user demo"));
    gateway.must(&["audit", "verify"]);
}

/// 10,000 real records in the ordinary run, 100,000 with `POSTERN_LONG=1`.
#[test]
fn a_long_journal_is_decided_again_quickly() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let long = std::env::var("POSTERN_LONG").is_ok_and(|v| v == "1");
    let wanted: u64 = if long { 100_000 } else { 10_000 };
    let cookie = |client: &Client| {
        client
            .cookie("app.gate.localhost", "__Host-postern")
            .unwrap()
    };
    let cookies = [cookie(&scene.demo), cookie(&scene.guest)];
    let start = Instant::now();
    thread::scope(|scope| {
        for cookie in &cookies {
            for _ in 0..2 {
                // a request that is let through leaves two records
                scope.spawn(|| ask_again_and_again(gateway, cookie, wanted / 8));
            }
        }
    });
    let asked = start.elapsed();
    let last = |gateway: &Gateway| {
        let record = journal::records(&gateway.must(&["audit", "tail", "-n", "1", "--json"]));
        record[0]["seq"].as_u64().unwrap()
    };
    wait::until_true(Duration::from_secs(10), "the records are written", || {
        last(gateway) > wanted
    });
    let records = last(gateway);

    let start = Instant::now();
    let same = gateway.run(&["policy", "replay", "--json"]);
    let took = start.elapsed();
    let (changes, summary) = replayed(&same);
    assert_eq!(same.status.code(), Some(0), "{changes:?}");
    assert!(
        summary["decisions"].as_u64().unwrap() > wanted / 2,
        "{summary}"
    );
    eprintln!("{records} records written in {asked:?}, decided again in {took:?}");
    assert!(
        took < Duration::from_secs(30),
        "{records} records took {took:?}"
    );

    let other =
        gateway
            .policy_text()
            .replacen("who = [\"demo\", \"guest\"]", "who = [\"demo\"]", 1);
    let other = folder(gateway, "other", &other);
    let changed = gateway.run(&[
        "policy",
        "replay",
        "--json",
        "--against",
        other.to_str().unwrap(),
    ]);
    assert_eq!(changed.status.code(), Some(3));
    let (changes, summary) = replayed(&changed);
    let taken = |r: &&Value| r["user"] == "guest" && r["rule"] == "app.app#people";
    let expected = scene.decisions();
    let expected = sequences(&expected.iter().filter(taken).collect::<Vec<_>>());
    assert!(expected.len() as u64 > wanted / 4, "{}", expected.len());
    let found = sequences(&changes.iter().collect::<Vec<_>>());
    let wrong: Vec<_> = found.symmetric_difference(&expected).take(20).collect();
    assert!(wrong.is_empty(), "not both found and expected: {wrong:?}");
    // each of them once
    assert_eq!(changes.len(), expected.len());
    assert_eq!(summary["changed"], changes.len());
    assert!(changes.iter().all(|c| c["after"]["outcome"] == "deny"));
    eprintln!(
        "a rule taken away: {} of {} decisions change, exactly those expected",
        changes.len(),
        summary["decisions"]
    );
    gateway.must(&["audit", "verify"]);
}

/// A gateway that has decided about several people, in every way.
struct Scene {
    gateway: Gateway,
    demo: Client,
    guest: Client,
    /// What the denied page of guest showed.
    code: String,
}

impl Scene {
    fn new() -> Self {
        let gateway = Gateway::demo();
        let upstream = upstream_of(&gateway.policy_text());
        gateway.set_policy(&policy::two_apps(&upstream, MORE));
        let app = gateway.facts.app.clone();
        let vault = format!("{app}vault");
        let (demo, guest) = (Client::new(&gateway), Client::new(&gateway));
        assert_eq!(demo.sign_in(&app, &gateway.facts.demo).status, 200);
        assert_eq!(guest.sign_in(&app, &gateway.facts.guest).status, 200);
        assert_eq!(guest.follow(&policy::second_app(&gateway)).status, 200);
        let page = guest.open(&vault);
        assert_eq!(page.status, 403);
        let code = code_in(&page.body).unwrap_or_else(|| panic!("no code in {}", page.body));
        wait::until_true(
            Duration::from_secs(10),
            "the code is too old for the vault",
            || demo.fetch(&vault).status == 401,
        );
        assert_eq!(demo.send(&app, &["-X", "POST", "-d", "x"]).status, 200);
        let stranger = Client::new(&gateway);
        assert_eq!(stranger.fetch(&app).status, 401);
        flood(&gateway, 30);
        let scene = Self {
            gateway,
            demo,
            guest,
            code,
        };
        wait::until_true(Duration::from_secs(10), "the flood is summed up", || {
            scene.decisions().iter().any(|r| r["count"].is_u64())
        });
        scene
    }

    /// The decisions of the policy on record.
    fn decisions(&self) -> Vec<Value> {
        let all = journal::search(&self.gateway, &["--event", "access-decided"]);
        all.into_iter()
            .filter(|r| r["inputs"].is_object())
            .collect()
    }
}

/// Makes a policy folder with another text and the same people.
fn folder(gateway: &Gateway, name: &str, text: &str) -> PathBuf {
    let dir = gateway.dir().join(name);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("policy.toml"), text).unwrap();
    fs::copy(
        gateway.facts.policy.join("users.toml"),
        dir.join("users.toml"),
    )
    .unwrap();
    dir
}

/// The numbers of records.
fn sequences(records: &[&Value]) -> BTreeSet<u64> {
    let number = |r: &&Value| r["seq"].as_u64().unwrap();
    records.iter().map(number).collect()
}

/// The changed decisions and the summary that `policy replay --json` prints.
fn replayed(output: &Output) -> (Vec<Value>, Value) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let mut lines = journal::records(&text);
    let summary = lines.pop();
    let said = String::from_utf8_lossy(&output.stderr);
    (
        lines,
        summary.unwrap_or_else(|| panic!("no summary: {said}")),
    )
}

fn upstream_of(policy: &str) -> String {
    let line = policy
        .lines()
        .find(|line| line.starts_with("upstream"))
        .unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

fn code_in(page: &str) -> Option<String> {
    let at = page.find("D-")?;
    page.get(at..at + 10).map(str::to_owned)
}

fn port(gateway: &Gateway) -> String {
    format!(":{}", gateway.https_port())
}

/// Asks so often over one connection, as nobody, that the journal sums it up.
fn flood(gateway: &Gateway, times: usize) {
    let mut connection = Connection::open(gateway);
    for _ in 0..times {
        assert_eq!(connection.ask("GET", ""), 401);
    }
}

fn ask_again_and_again(gateway: &Gateway, cookie: &str, times: u64) {
    let field = format!("Cookie: __Host-postern={cookie}\r\n");
    let mut connection = Connection::open(gateway);
    for _ in 0..times {
        assert_eq!(connection.ask("HEAD", &field), 200);
    }
}

/// A kept-alive connection to the app.
struct Connection<'a> {
    gateway: &'a Gateway,
    stream: raw::Tls,
    block: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn open(gateway: &'a Gateway) -> Self {
        Self {
            gateway,
            stream: Self::stream(gateway, &gateway.facts.ca_root),
            block: vec![0; 16 << 10],
        }
    }

    fn stream(gateway: &Gateway, root: &Path) -> raw::Tls {
        let addr = ([127, 0, 0, 1], gateway.https_port()).into();
        raw::tls(addr, "app.gate.localhost", root, Duration::from_secs(10))
    }

    /// Sends a request without a body and returns the status; opens a new connection when the old one was closed.
    fn ask(&mut self, method: &str, fields: &str) -> u16 {
        let host = format!("app.gate.localhost{}", port(self.gateway));
        let head = format!("{method} / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        for _ in 0..2 {
            let sent = self.stream.write_all(head.as_bytes()).is_ok();
            if let Some(status) = sent.then(|| self.answer(method)).flatten() {
                return status;
            }
            self.stream = Self::stream(self.gateway, &self.gateway.facts.ca_root);
        }
        panic!("no answer to {method}");
    }

    fn answer(&mut self, method: &str) -> Option<u16> {
        let mut text = String::new();
        loop {
            let count = self.stream.read(&mut self.block).ok().filter(|n| *n > 0)?;
            text.push_str(&String::from_utf8_lossy(&self.block[..count]));
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().unwrap())
            });
            if method == "HEAD" || body.len() >= length.unwrap_or(0) {
                return head.get(9..12)?.parse().ok();
            }
        }
    }
}
