//! Questions to a policy on the command line: whom it locks out, who can reach what now.

use std::fs;

use postern_tests::gateway::{Gateway, run_with_config};
use postern_tests::policy::two_apps;
use postern_tests::upstream::Recorder;
use serde_json::Value;

const CONFIG: i32 = 78;
const USAGE: i32 = 64;
const DATA: i32 = 65;

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
fn reach_is_told_for_now_for_ever_or_for_a_context_and_a_wrong_one_is_refused() {
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
    for (more, expected, why) in [
        (&["--in", "offce"][..], DATA, "did you mean `office`"),
        (&["--in", "office@noon"], DATA, "is not a time"),
        (&["--now", "--ever"], USAGE, "cannot be used with"),
    ] {
        let (code, _, _, told) = names(more);
        assert_eq!(code, expected, "{more:?}");
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

#[test]
fn a_name_the_policy_does_not_know_is_the_same_mistake_in_every_question() {
    let (_recorder, gateway, policy) = scene();
    let dir = candidate(&gateway, &policy);
    let app = &gateway.facts.app;
    for args in [
        &["who-can", app, "--in", "offce"][..],
        &["who-can", "app.ap"],
        &["what-can", "demi"],
        &["what-can", "demo", "--in", "offce"],
        &["explain", app, "--from", "offce"],
        &["explain", app, "--user", "demi"],
        &["show", "app.ap"],
    ] {
        let args = [&["policy"], args, &["--policy", &dir, "--json"]].concat();
        let (code, answer, told) = asked(&gateway, &args);
        assert_eq!((code, &answer["exit"]), (DATA, &DATA.into()), "{args:?}");
        assert_eq!(answer["ok"], false, "{args:?}");
        let error = answer["error"].as_str().unwrap();
        assert!(told.contains(error), "{args:?}: {answer} {told}");
    }
}

/// Asks everything that can be asked of a folder, in JSON, and gives the findings of each.
fn all_asked(gateway: &Gateway, dir: &str) -> Vec<(String, i32, Value)> {
    let app = gateway.facts.app.as_str();
    let questions = [
        &["check"][..],
        &["test"],
        &["lint"],
        &["show"],
        &["who-can", app],
        &["what-can", "demo"],
        &["explain", app],
        &["replay"],
    ];
    let folder = ["--policy", dir];
    let mut all: Vec<Vec<&str>> = questions.map(|q| [q, &folder].concat()).to_vec();
    let own = gateway.facts.policy.to_str().unwrap();
    all.push(vec!["diff", own, dir]);
    let ask = |args: Vec<&str>| {
        let args = [&["policy"], &args[..], &["--json"]].concat();
        let output = gateway.run(&args);
        let answer = serde_json::from_slice(&output.stdout);
        let answer = answer.unwrap_or_else(|why| panic!("{args:?}: {why}: {output:?}"));
        (args[1].to_owned(), output.status.code().unwrap(), answer)
    };
    all.into_iter().map(ask).collect()
}

#[test]
fn every_question_to_a_policy_with_errors_is_answered_by_one_document_with_all_of_them() {
    let (_recorder, gateway, policy) = scene();
    let twice = "[app.more]\nhost = \"app.gate.localhost\"\nupstream = \"http://10.0.0.1\"\nallow.it = { who = \"demo\" }\n";
    let wrong = format!("{policy}\n{twice}").replacen("who = ", "whom = ", 1);
    let dir = candidate(&gateway, &wrong);
    for (name, code, answer) in all_asked(&gateway, &dir) {
        assert_eq!((code, &answer["ok"]), (CONFIG, &false.into()), "{name}");
        let mut found = codes(&answer);
        found.sort_unstable();
        assert!(found.contains(&"unknown-key"), "{name}: {answer}");
        let all = answer["findings"].as_array().unwrap();
        let key = all.iter().find(|f| f["code"] == "unknown-key").unwrap();
        let line = wrong.lines().position(|l| l.contains("whom = ")).unwrap() + 1;
        let column = wrong.lines().nth(line - 1).unwrap().find("whom").unwrap() + 1;
        for (field, value) in [
            ("line", line),
            ("end_line", line),
            ("column", column),
            ("end_column", column + 4),
        ] {
            assert_eq!(key[field], value, "{name} {field}: {key}");
        }
        assert_eq!(key["severity"], "error", "{name}");
        assert!(
            key["file"]
                .as_str()
                .unwrap()
                .ends_with("candidate/policy.toml")
        );
        assert!(key["help"].as_str().unwrap().contains("`who`"), "{key}");
        assert!(key["related"].as_array().is_some(), "{key}");
        let start = wrong.find("whom").unwrap();
        let fix = serde_json::json!({"start": start, "end": start + 4, "text": "who"});
        assert_eq!(key["fix"], fix, "{key}");
    }
    // a policy without errors is answered as ever
    let dir = candidate(&gateway, &policy);
    for (name, code, answer) in all_asked(&gateway, &dir) {
        assert_eq!(code, 0, "{name}: {answer}");
        assert!(answer["error"].is_null(), "{name}: {answer}");
    }
}

#[test]
fn every_question_to_a_folder_that_is_not_read_is_answered_by_all_that_is_wrong_in_it() {
    let (_recorder, gateway, policy) = scene();
    let dir = candidate(&gateway, &policy.replacen("[admin]", "[admni]", 1));
    let write = |name: &str, bytes: &[u8]| fs::write(format!("{dir}/{name}"), bytes).unwrap();
    write("a.toml", b"\xef\xbb\xbfpostern = 1\n");
    write("b.toml", b"postern = 1\n# caf\xe9\n");
    for (name, code, answer) in all_asked(&gateway, &dir) {
        assert_eq!((code, &answer["ok"]), (CONFIG, &false.into()), "{name}");
        let all = answer["findings"].as_array().unwrap().iter();
        let told = all.map(|f| {
            let file = f["file"].as_str().unwrap().rsplit('/').next().unwrap();
            let code = f["code"].as_str().unwrap();
            (file.to_owned(), code.to_owned(), f["line"].as_u64())
        });
        let told: Vec<_> = told.collect();
        let line = policy.lines().position(|l| l == "[admin]").unwrap() + 1;
        let is = |file: &str, code: &str, line: u64| (file.into(), code.into(), Some(line));
        let expected = [
            is("a.toml", "file", 1),
            is("b.toml", "file", 2),
            is("policy.toml", "unknown-key", line as u64),
        ];
        assert_eq!(told, expected, "{name}: {answer}");
    }
    for name in ["a.toml", "b.toml"] {
        fs::remove_file(format!("{dir}/{name}")).unwrap();
    }
    fs::write(format!("{dir}/policy.toml"), &policy).unwrap();
    fs::create_dir(format!("{dir}/stray")).unwrap();
    for (name, code, answer) in all_asked(&gateway, &dir) {
        assert_eq!((code, codes(&answer)), (CONFIG, vec!["file"]), "{name}");
        assert!(answer["findings"][0]["line"].is_null(), "{answer}");
    }
    fs::remove_dir(format!("{dir}/stray")).unwrap();
    for (name, code, answer) in all_asked(&gateway, &dir) {
        assert_eq!(code, 0, "{name}: {answer}");
    }
}

#[test]
fn a_wrong_command_line_is_one_document_too() {
    let (_recorder, gateway, _policy) = scene();
    let (code, answer, told) = asked(&gateway, &["policy", "explain", "--json"]);
    assert_eq!((code, &answer["exit"]), (USAGE, &USAGE.into()), "{told}");
    let output = gateway.run(&["policy", "explain"]);
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn failed_tests_and_lints_are_one_document() {
    let (_recorder, gateway, policy) = scene();
    let test = |expect: &str| {
        format!("[[test]]\nas = {{ user = \"demo\" }}\nto = \"admin\"\nexpect = \"{expect}\"\n")
    };
    let dir = candidate(
        &gateway,
        &format!("{policy}\n{}{}", test("allow"), test("deny")),
    );
    let (code, answer, told) = asked(&gateway, &["policy", "test", "--policy", &dir, "--json"]);
    assert_eq!((code, &answer["failed"]), (CONFIG, &1.into()), "{told}");
    assert_eq!(
        (&answer["ok"], &answer["passed"]),
        (&false.into(), &1.into())
    );
    let passed = answer["tests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["passed"]);
    assert_eq!(passed.collect::<Vec<_>>(), [true, false]);
    let spare = "[zone]\nspare = \"192.0.2.0/24\"\n";
    let dir = candidate(&gateway, &format!("{policy}\n{spare}"));
    let (code, answer, _) = asked(&gateway, &["policy", "lint", "--policy", &dir, "--json"]);
    assert_eq!(code, 0, "{answer}");
    let all = answer["findings"].as_array().unwrap();
    let about = all.iter().map(|f| f["title"].as_str().unwrap());
    let about: Vec<&str> = about.filter(|title| title.contains("spare")).collect();
    assert_eq!(about.len(), 1, "{answer}");
}
