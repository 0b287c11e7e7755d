//! The answers about whole policies in their fixed shapes.

use std::path::Path;

use policy::{
    AuditInput, AuditTarget, Device, Outcome, Policy, Proto, QueryText, Replayer, Sources, guard,
};
use serde_json::json;

use crate::support;

pub(crate) const BASE: &str = r#"postern = 1
[zone]
office = "192.168.1.0/24"
[group]
it = ["nadia", "olivier"]
hr = ["ines"]
[schedule.day]
time = "08:00-18:00"
tz = "Europe/Paris"
[rate]
slow = "1/s"
[app.web]
host = "web.example"
upstream = "http://h"
allow.hr = { who = "@hr", when = "day" }
[app.web."/admin"]
allow.it = { who = "@it", from = "office", mfa = "15m" }
[app.web."=/health"]
public = "probe"
allow.any = { who = "anyone", methods = "read", rate = "slow" }
[net.ssh]
to = "10.0.0.1"
port = "22/tcp"
allow.it = { who = "@it", device = "managed" }
[admin]
allow.it = { who = "@it" }
"#;

fn sources(text: &str) -> Sources {
    let mut sources = Sources::new();
    sources.add("policy.toml", text.to_owned());
    sources
}

pub(crate) fn load(text: &str) -> Policy {
    let sources = sources(text);
    let loaded = policy::load(&sources).unwrap_or_else(|diags| {
        let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
        panic!("{}", lines.join("\n"))
    });
    loaded.policy
}

#[test]
fn who_can_has_a_fixed_shape() {
    let policy = load(BASE);
    let answer = |text: &str| serde_json::to_value(policy.who_can(text).unwrap()).unwrap();
    let admin = json!({
        "resource": "app.web/admin",
        "users": [
            {"name": "nadia", "outcome": "allow", "rule": "app.web/admin#it",
             "contexts": ["from office; code up to 15m old; sign-in up to 12h old"]},
            {"name": "olivier", "outcome": "allow", "rule": "app.web/admin#it",
             "contexts": ["from office; code up to 15m old; sign-in up to 12h old"]},
        ]
    });
    assert_eq!(answer("app.web/admin"), admin);
    assert_eq!(answer("https://web.example/admin/x"), admin);
    assert_eq!(
        answer("https://web.example/"),
        json!({"resource": "app.web/", "users": [
            {"name": "ines", "outcome": "allow", "rule": "app.web#hr",
             "contexts": ["in day; with a code; sign-in up to 12h old"]},
        ]})
    );
    assert_eq!(
        answer("app.web=/health"),
        json!({"resource": "app.web=/health", "users": [
            {"name": "anyone", "outcome": "allow", "rule": "app.web=/health#any", "contexts": ["methods GET, HEAD"]},
        ]})
    );
    let ssh = policy.who_can("tcp://10.0.0.1:22").unwrap();
    assert!(
        ssh.users
            .iter()
            .all(|user| user.contexts[0].starts_with("device managed; "))
    );
    assert!(ssh.to_text().contains("nadia"));
    let wrong = policy.who_can("app.web/admn").unwrap_err();
    assert_eq!(wrong.help.as_deref(), Some("did you mean `app.web/admin`?"));
}

#[test]
fn what_can_has_a_fixed_shape() {
    let policy = load(BASE);
    let answer = policy.what_can("ines").unwrap();
    assert_eq!(
        serde_json::to_value(&answer).unwrap(),
        json!({"user": "ines", "resources": [
            {"resource": "app.web/", "outcome": "allow", "rule": "app.web#hr",
             "contexts": ["in day; with a code; sign-in up to 12h old"]},
            {"resource": "app.web=/health", "outcome": "allow", "rule": "app.web=/health#any", "contexts": ["methods GET, HEAD"]},
        ]})
    );
    assert_eq!(policy.what_can("anyone").unwrap().resources.len(), 1);
    assert_eq!(
        policy.what_can("ine").unwrap_err().help.as_deref(),
        Some("did you mean `ines`?")
    );
}

#[test]
fn a_diff_names_people_places_contexts_and_the_line() {
    let before = load(BASE);
    let after = load(&BASE.replace("who = \"@hr\", when = \"day\"", "who = \"@hr\""));
    let diff = policy::diff(&before, &after);
    assert!(diff.widens);
    let json = serde_json::to_value(&diff).unwrap();
    let allowed = json!({
        "user": "ines", "resource": "app.web/", "before": "deny", "after": "allow",
        "contexts": ["outside day; with a code; sign-in up to 12h old"], "file": "policy.toml", "line": 15,
        "what": "`when` removed",
    });
    assert!(
        json["changes"].as_array().unwrap().contains(&allowed),
        "{json:#}"
    );
    let text = diff.to_text();
    assert!(
        text.starts_with("+ deny -> allow   ines   app.web/"),
        "{text}"
    );
    let back = policy::diff(&after, &before);
    assert!(!back.widens && back.changes.len() == diff.changes.len());
    let same = policy::diff(&before, &before);
    assert_eq!(
        serde_json::to_value(&same).unwrap(),
        json!({"widens": false, "changes": [], "settings": []})
    );
    assert_eq!(same.to_text(), "no change\n");
}

#[test]
fn a_diff_sees_new_areas_hosts_ports_and_people() {
    let before = load(BASE);
    let widens = |from: &str, to: &str| {
        let diff = policy::diff(&before, &load(&BASE.replace(from, to)));
        let changes = diff
            .changes
            .iter()
            .map(|c| format!("{} {} {}-{}", c.user, c.resource, c.before, c.after));
        (diff.widens, changes.collect::<Vec<_>>())
    };
    let has = |(widens, changes): (bool, Vec<String>), wanted: bool, change: &str| {
        assert!(changes.iter().any(|c| c == change), "{change}: {changes:?}");
        assert_eq!(widens, wanted);
    };
    has(
        widens("[app.web.\"/admin\"]", "[app.web.\"/root\"]"),
        true,
        "ines app.web/admin deny-allow",
    );
    has(
        widens("[app.web.\"/admin\"]", "[app.web.\"/root\"]"),
        true,
        "ines app.web/root allow-deny",
    );
    has(
        widens("\"web.example\"", "[\"web.example\", \"*.web.example\"]"),
        true,
        "ines app.web/ deny-allow",
    );
    has(
        widens("\"22/tcp\"", "[\"22/tcp\", \"80/tcp\"]"),
        true,
        "nadia net.ssh deny-allow",
    );
    has(
        widens("[\"ines\"]", "[\"ines\", \"max\"]"),
        true,
        "max app.web/ deny-allow",
    );
    has(
        widens("[\"nadia\", \"olivier\"]", "[\"nadia\"]"),
        false,
        "olivier admin allow-deny",
    );
    has(
        widens(
            "upstream = \"http://h\"",
            "upstream = \"http://h\"\nwindows = true",
        ),
        true,
        "ines app.web/admin allow-deny",
    );
    has(
        widens("192.168.1.0/24", "192.168.0.0/16"),
        true,
        "nadia app.web/admin deny-allow",
    );
}

#[test]
fn guards_find_lock_out_loss_and_open_doors() {
    let policy = load(BASE);
    let codes = |found: Vec<policy::Diagnostic>| found.iter().map(|d| d.code).collect::<Vec<_>>();
    assert!(guard::lockout(&policy, |_| true).is_empty());
    assert_eq!(
        codes(guard::lockout(&policy, |name| name == "nadia")),
        ["one-admin"]
    );
    assert_eq!(codes(guard::lockout(&policy, |_| false)), ["lock-out"]);
    let timed = load(&BASE.replace(
        "[admin]\nallow.it = { who = \"@it\" }",
        "[admin]\nallow.it = { who = \"@it\", when = \"day\" }",
    ));
    assert_eq!(codes(guard::lockout(&timed, |_| true)), ["lock-out"]);
    let me = QueryText {
        user: Some("nadia".to_owned()),
        to: "admin".to_owned(),
        ..QueryText::default()
    };
    let noon = 1_767_697_200;
    assert!(guard::keeps_access(&policy, &me, noon).unwrap());
    assert!(guard::keeps_access(&timed, &me, noon).unwrap());
    assert!(!guard::keeps_access(&timed, &me, noon + 12 * 3600).unwrap());
    let used = [
        ("ines", "app.web"),
        ("ines", "net.ssh"),
        ("nadia", "net.ssh"),
        ("gone", "admin"),
    ];
    assert_eq!(
        guard::lost(&policy, used),
        [("ines", "net.ssh"), ("gone", "admin")]
    );
    let open = load(&BASE.replace("methods = \"read\", rate", "rate"));
    let world_open = |before: &Policy, after: &Policy| {
        guard::world_open(&policy::diff(before, after), before, after)
    };
    assert_eq!(world_open(&policy, &policy), []);
    let opened = world_open(&policy, &open);
    assert!(!opened.is_empty() && opened.iter().all(|c| c.resource == "app.web=/health"));
    let net = load(&BASE.replace("who = \"@it\", device", "who = \"any-user\", device"));
    assert!(
        world_open(&policy, &net)
            .iter()
            .any(|c| c.user == "ines" && c.resource == "net.ssh")
    );
    // a guard that held the door shut for them is as good as a rule: narrowed or gone, the world comes in
    let guarded = |on: &str| {
        let rules = BASE.replace("who = \"@it\", device", "who = \"any-user\", device");
        load(&format!(
            "{rules}[deny.x]\nwho = \"any-user\"\non = [{on}]\nreason = \"r\"\n"
        ))
    };
    let held = guarded("\"net.ssh\", \"app.web\"");
    for after in [guarded("\"app.web\""), net] {
        let opened = world_open(&held, &after);
        assert!(
            opened
                .iter()
                .any(|c| c.user == "ines" && c.resource == "net.ssh")
        );
    }
}

#[test]
fn replay_gives_what_changes_and_nothing_else() {
    let policy = load(BASE);
    let record = |seq: u64, user: &str, path: &str, outcome| AuditInput {
        seq,
        user: Some(user.to_owned()),
        by: policy::Proof::SignIn,
        source: "192.168.1.7".parse().unwrap(),
        tunnel: false,
        unix: 1_767_697_200,
        device: Device::Any,
        mfa_age: Some(60),
        login_age: 60,
        target: AuditTarget::Http {
            host: "web.example".to_owned(),
            path: path.to_owned(),
            method: "GET".to_owned(),
        },
        outcome,
        rule: "app.web#hr".to_owned(),
    };
    let records = [
        record(1, "ines", "/", Outcome::Allow),
        record(2, "nadia", "/admin", Outcome::Allow),
        record(3, "ines", "/admin", Outcome::Deny),
    ];
    assert_eq!(
        policy::replay(&policy, records.clone().into_iter()).count(),
        0
    );
    let closed = load(&BASE.replace("who = \"@hr\", when", "who = \"@it\", when"));
    let changes: Vec<_> = policy::replay(&closed, records.into_iter()).collect();
    let [only] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!(
        (only.seq, only.before, only.after),
        (1, Outcome::Allow, Outcome::Deny)
    );
    assert_eq!(only.after_rule, "builtin.default");
    let test = record(7, "ines", "/", Outcome::Allow).to_test();
    assert_eq!(
        policy::load(&sources(&format!("{BASE}{test}")))
            .unwrap()
            .tests_passed,
        1
    );
    let wrong = record(8, "nadia", "/", Outcome::Allow).to_test();
    assert!(policy::load(&sources(&format!("{BASE}{wrong}"))).is_err());
}

#[test]
fn a_test_made_of_a_record_asks_what_the_record_asked() {
    let policy = load(BASE);
    let tuesday = 1_767_697_200;
    let http = |method: &str, path: &str| AuditTarget::Http {
        host: "web.example".to_owned(),
        path: path.to_owned(),
        method: method.to_owned(),
    };
    let console = |method: &str| AuditTarget::Admin {
        method: method.to_owned(),
    };
    let ssh = AuditTarget::Flow {
        dst: "10.0.0.1".parse().unwrap(),
        port: 22,
        proto: Proto::Tcp,
    };
    let nobody = AuditTarget::Flow {
        dst: "fd00::1".parse().unwrap(),
        port: 53,
        proto: Proto::Udp,
    };
    let cases = [
        (None, u32::MAX, false, http("GET", "/"), "login"),
        (None, u32::MAX, false, http("HEAD", "/health"), "allow"),
        (None, u32::MAX, true, ssh.clone(), "login"),
        (Some("nadia"), 3700, true, ssh, "allow"),
        (Some("nadia"), 3700, true, nobody, "deny"),
        (
            Some("nadia"),
            61,
            false,
            http("POST", "/admin/x"),
            "step-up",
        ),
        (Some("olivier"), 61, false, console("GET"), "allow"),
        (Some("olivier"), 61, false, console("POST"), "allow"),
        (Some("olivier"), 61, false, console("BREW"), "deny"),
        (Some("olivier"), 86_401, false, console("GET"), "login"),
    ];
    let mut text = BASE.to_owned();
    for ((user, login_age, tunnel, target, outcome), seq) in cases.iter().cloned().zip(1..) {
        let mut record = AuditInput {
            seq,
            user: user.map(str::to_owned),
            by: policy::Proof::SignIn,
            source: "192.168.1.7".parse().unwrap(),
            tunnel,
            unix: tuesday,
            device: if tunnel { Device::Managed } else { Device::Any },
            mfa_age: user.map(|_| 1000),
            login_age,
            target,
            outcome: Outcome::from_word(outcome).unwrap(),
            rule: String::new(),
        };
        let decision = Replayer::new(&policy).decide(&record);
        assert_eq!(decision.outcome, record.outcome, "{record:?}");
        let query = policy.query_of(&record).unwrap();
        assert_eq!(policy.decide(&query), decision);
        // without the rule, then with it
        text += &record.to_test();
        record.rule = policy.rule(decision.rule).id.to_string();
        text += &record.to_test();
    }
    assert_eq!(
        policy::load(&sources(&text)).unwrap().tests_passed,
        2 * cases.len()
    );
}

#[test]
fn a_recorded_path_with_parameters_is_read_as_its_app_reads_it() {
    let ours = BASE.replace("[app.web]\n", "[app.web]\npath-params = true\n");
    for (text, outcome) in [(ours.as_str(), Outcome::Allow), (BASE, Outcome::Deny)] {
        let policy = load(text);
        let record = AuditInput {
            seq: 1,
            user: Some("ines".to_owned()),
            by: policy::Proof::SignIn,
            source: "192.168.1.7".parse().unwrap(),
            tunnel: false,
            unix: 1_767_697_200,
            device: Device::Any,
            mfa_age: Some(60),
            login_age: 60,
            target: AuditTarget::Http {
                host: "web.example".to_owned(),
                path: "/a;v=1".to_owned(),
                method: "GET".to_owned(),
            },
            outcome,
            rule: String::new(),
        };
        assert_eq!(Replayer::new(&policy).decide(&record).outcome, outcome);
        let query = policy.query_of(&record).unwrap();
        assert_eq!(policy.explain(&query).outcome, outcome);
    }
}

#[test]
fn a_person_who_is_gone_is_denied_and_cannot_be_explained() {
    let policy = load(BASE);
    let record = AuditInput {
        seq: 1,
        user: Some("nadja".to_owned()),
        by: policy::Proof::SignIn,
        source: "192.168.1.7".parse().unwrap(),
        tunnel: false,
        unix: 1_767_697_200,
        device: Device::Any,
        mfa_age: Some(0),
        login_age: 0,
        target: AuditTarget::Admin {
            method: "GET".to_owned(),
        },
        outcome: Outcome::Allow,
        rule: "admin#it".to_owned(),
    };
    assert_eq!(
        Replayer::new(&policy).decide(&record).outcome,
        Outcome::Deny
    );
    let error = policy.query_of(&record).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("did you mean `nadia`?"));
    let there = AuditInput {
        user: Some("nadia".to_owned()),
        ..record
    };
    assert_eq!(
        Replayer::new(&policy).decide(&there).outcome,
        Outcome::Allow
    );
}

#[test]
fn lint_finds_what_is_valid_but_hardly_meant() {
    let lint = |text: &str| {
        let found = load(text).lint(Some(1_800_000_000));
        found
            .iter()
            .map(|d| format!("{} {}", d.code, d.title))
            .collect::<Vec<_>>()
    };
    let base = lint(BASE);
    assert_eq!(
        base,
        ["looser-area app.web/admin admits nadia, whom / does not"]
    );
    let text = BASE
        .replace("allow.hr = {", "allow.all = { who = \"any-user\" }\nallow.hr = {")
        .replace("[rate]", "[schedule.old]\nbetween = \"2025-01-01..2025-02-01\"\ntz = \"UTC\"\n[deny.x]\nwho = \"@hr\"\non = \"app.web\"\nfrom = \"office\"\ndevice-not = \"known\"\nwhen = \"old\"\nreason = \"r\"\n[deny.y]\nwho = \"@hr\"\non = \"app.web\"\nfrom = \"office\"\ndevice-not = \"known\"\nwhen = \"old\"\nreason = \"r\"\n[rate]");
    let found = lint(&text);
    for part in [
        "expired schedule `old` ended on 2025-02-01",
        "shadowed-allow rule app.web#hr never decides: other rules cover all it admits",
        "guard-never-fires guard deny.y never stops anything",
    ] {
        assert!(found.iter().any(|line| line == part), "{part}: {found:?}");
    }
}

#[test]
fn every_example_survives_its_canonical_form() {
    for dir in support::listed(Path::new(&support::root().join("../deploy/examples"))) {
        let loaded = policy::load(&support::folder(&dir)).unwrap();
        let again = policy::load(&loaded.policy.canonical()).unwrap_or_else(|d| panic!("{d:?}"));
        assert_eq!(
            loaded.policy.digest(),
            again.policy.digest(),
            "{}",
            dir.display()
        );
    }
}
