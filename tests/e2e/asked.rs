//! Questions to a policy on the command line: whom it locks out, who can reach what now.

use std::fs;

use postern_tests::gateway::{Gateway, run_with_config};
use postern_tests::policy::two_apps;
use postern_tests::upstream::Recorder;
use serde_json::Value;

const CONFIG: i32 = 78;
const USAGE: i32 = 64;

/// A gateway with two apps, and a folder for candidates.
fn scene() -> (Recorder, Gateway, String) {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    let policy = two_apps(&recorder.url(), "");
    gateway.set_policy(&policy);
    (recorder, gateway, policy)
}

/// A folder with these rules and the people of the gateway.
fn candidate(gateway: &Gateway, text: &str) -> String {
    let dir = gateway.dir().join("candidate");
    fs::create_dir_all(&dir).unwrap();
    let users = "users.toml";
    fs::copy(gateway.facts.policy.join(users), dir.join(users)).unwrap();
    fs::write(dir.join("policy.toml"), text).unwrap();
    dir.to_str().unwrap().to_owned()
}

fn asked(gateway: &Gateway, args: &[&str]) -> (i32, Value, String) {
    let output = gateway.run(args);
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = serde_json::from_str(&text).unwrap_or_default();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), answer, told)
}

fn codes(answer: &Value) -> Vec<&str> {
    let findings = answer["findings"].as_array().unwrap().iter();
    findings.map(|f| f["code"].as_str().unwrap()).collect()
}

#[test]
fn a_check_tells_whom_a_policy_locks_out_of_the_console() {
    let (_recorder, gateway, policy) = scene();
    let admins = |names: &str| {
        let text = policy.replace("admins = [\"demo\"]", &format!("admins = [{names}]"));
        candidate(&gateway, &text)
    };
    let check = |dir: &str| asked(&gateway, &["policy", "check", "--policy", dir, "--json"]);
    // demo and guest are enrolled
    let (code, answer, _) = check(&admins("\"demo\", \"guest\""));
    assert_eq!((code, codes(&answer)), (0, vec![]), "{answer}");
    assert_eq!(answer["notes"], serde_json::json!([]));
    let (code, answer, _) = check(&admins("\"demo\""));
    assert_eq!((code, codes(&answer)), (0, vec!["one-admin"]), "{answer}");
    let dir = admins("\"demo\"");
    let night = format!(
        "{}\n[schedule.night]\ntime = \"02:00-03:00\"\ntz = \"UTC\"\n",
        policy.replace(
            "who = \"@admins\" }",
            "who = \"@admins\", when = \"night\" }"
        )
    );
    fs::write(format!("{dir}/policy.toml"), night).unwrap();
    let (code, answer, told) = check(&dir);
    assert_eq!(
        (code, codes(&answer)),
        (CONFIG, vec!["lock-out"]),
        "{answer}"
    );
    assert_eq!(
        (&answer["ok"], &answer["digest"]),
        (&false.into(), &Value::Null)
    );
    assert!(told.contains("nobody could act in the console"), "{told}");
    // the folder of a gateway that is not known
    let none = gateway.dir().join("none.toml");
    let args = ["policy", "check", "--policy", &admins("\"demo\""), "--json"];
    let output = run_with_config(&none, &args);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    let note = answer["notes"][0].as_str().unwrap();
    assert!(note.contains("not known from here"), "{note}");
}

#[test]
fn people_with_their_second_factor_taken_count_as_locked_out() {
    let (_recorder, gateway, _policy) = scene();
    let check = || asked(&gateway, &["policy", "check", "--json"]);
    let (code, answer, _) = check();
    assert_eq!((code, codes(&answer)), (0, vec!["one-admin"]), "{answer}");
    gateway.must(&["user", "reset", "demo", "--reason", "lost phone"]);
    let (code, answer, _) = check();
    assert_eq!(
        (code, codes(&answer)),
        (CONFIG, vec!["lock-out"]),
        "{answer}"
    );
}

#[test]
fn reach_is_told_for_now_for_ever_or_for_a_context_and_a_wrong_one_is_usage() {
    let (_recorder, gateway, policy) = scene();
    let never = "\n[schedule.past]\nbetween = \"2025-01-01..2025-02-01\"\ntz = \"UTC\"\n[zone]\noffice = \"192.0.2.0/24\"\n[net.db]\nto = \"10.0.0.1\"\nport = \"22/tcp\"\nallow.past = { who = \"demo\", when = \"past\" }\nallow.office = { who = \"guest\", from = \"office\" }\n";
    let dir = candidate(&gateway, &format!("{policy}{never}"));
    let names = |more: &[&str]| {
        let args = ["policy", "who-can", "net.db", "--policy", &dir, "--json"];
        let (code, answer, told) = asked(&gateway, &[&args[..], more].concat());
        let users = answer["users"].as_array().map(|list| {
            let names = list.iter().map(|user| user["name"].as_str().unwrap());
            names.map(str::to_owned).collect::<Vec<_>>()
        });
        (code, users.unwrap_or_default(), answer["in"].clone(), told)
    };
    let told = |more: &[&str]| {
        let (code, users, scope, _) = names(more);
        (
            code,
            users.join(" "),
            scope.as_str().unwrap_or("-").to_owned(),
        )
    };
    let ok = |users: &str, scope: &str| (0, users.to_owned(), scope.to_owned());
    assert_eq!(told(&[]), ok("demo guest", "-"));
    assert_eq!(told(&["--ever"]), ok("demo guest", "-"));
    assert_eq!(told(&["--now"]), ok("guest", "now"));
    assert_eq!(told(&["--in", "internet"]), ok("demo", "internet"));
    let then = "office@2025-01-10 10:00";
    assert_eq!(told(&["--in", then]), ok("demo guest", then));
    for (more, why) in [
        (&["--in", "offce"][..], "did you mean `office`"),
        (&["--in", "office@noon"], "is not a time"),
        (&["--now", "--ever"], "cannot be used with"),
    ] {
        let (code, _, _, told) = names(more);
        assert_eq!(code, USAGE, "{more:?}");
        assert!(told.contains(why), "{more:?}: {told}");
    }
    let args = [
        "policy", "what-can", "demo", "--policy", &dir, "--now", "--json",
    ];
    let (code, answer, _) = asked(&gateway, &args);
    assert_eq!(code, 0);
    let places = answer["resources"].as_array().unwrap().iter();
    let places: Vec<&str> = places.map(|r| r["resource"].as_str().unwrap()).collect();
    assert_eq!(places, ["admin", "app.app/", "app.second/"]);
}

#[test]
fn an_explanation_is_checked_against_a_plain_reading_of_the_files() {
    let (_recorder, gateway, _policy) = scene();
    let args = [
        "policy",
        "explain",
        "--user",
        "guest",
        "--check",
        &gateway.facts.app,
    ];
    let text = gateway.must(&args);
    assert!(text.contains("checked: a plain reading"), "{text}");
    let (code, answer, _) = asked(&gateway, &[&args[..], &["--json"]].concat());
    assert_eq!((code, &answer["checked"]), (0, &true.into()), "{answer}");
    assert_eq!(answer["outcome"], "allow");
    let unchecked = gateway.must(&["policy", "explain", "--user", "guest", &gateway.facts.app]);
    assert!(!unchecked.contains("checked:"), "{unchecked}");
    let (code, ..) = asked(&gateway, &["policy", "explain", "--check", "D-7K3QXN2A"]);
    assert_eq!(code, USAGE);
}
