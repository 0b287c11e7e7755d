//! Changing the policy of a running gateway: shown, guarded, confirmed, taken back, on record.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use postern_tests::curl::Client;
use postern_tests::gateway::{Gateway, binary};
use postern_tests::policy::{one_app, second_app, two_apps};
use postern_tests::process::Program;
use postern_tests::upstream::Recorder;
use postern_tests::{journal, wait};
use serde_json::Value;

const OK: i32 = 0;
const HELD: i32 = 3;
const DATA: i32 = 65;
const CONFIG: i32 = 78;
const LIMIT: Duration = postern_tests::wait::PATIENCE;

struct Scene {
    recorder: Recorder,
    gateway: Gateway,
    /// What is in force at the beginning.
    policy: String,
}

impl Scene {
    fn new() -> Self {
        let recorder = Recorder::new();
        let gateway = Gateway::demo_before(&recorder.url());
        let policy = two_apps(&recorder.url(), "");
        gateway.set_policy(&policy);
        Self {
            recorder,
            gateway,
            policy,
        }
    }

    /// The policy with a second app that is open to the world.
    fn open(&self) -> String {
        let (first, second) = self.policy.split_once("[app.second]").unwrap();
        let people = "allow.people = { who = [\"demo\", \"guest\"] }";
        assert!(second.contains(people));
        let world = "public = \"a page for all\"\nallow.all = { who = \"anyone\" }";
        format!("{first}[app.second]{}", second.replace(people, world))
    }

    /// The policy whose console only guest reaches.
    fn other_admin(&self) -> String {
        let text = self
            .policy
            .replace("admins = [\"demo\"]", "admins = [\"guest\"]");
        assert_ne!(text, self.policy);
        text
    }

    /// The policy without guest at the first app.
    fn without_guest(&self) -> String {
        self.policy
            .replacen("who = [\"demo\", \"guest\"]", "who = \"demo\"", 1)
    }

    fn save(&self, text: &str) {
        fs::write(self.gateway.policy_file(), text).unwrap();
    }

    /// A folder with these rules and the people of the gateway.
    fn candidate(&self, text: &str) -> String {
        let dir = self.gateway.dir().join("candidate");
        fs::create_dir_all(&dir).unwrap();
        fs::copy(
            self.gateway.facts.policy.join("users.toml"),
            dir.join("users.toml"),
        )
        .unwrap();
        fs::write(dir.join("policy.toml"), text).unwrap();
        dir.to_str().unwrap().to_owned()
    }

    fn status(&self) -> Value {
        status(&self.gateway)
    }

    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.gateway.run(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        (output.status.code().unwrap(), text)
    }

    /// Asks for the second app as a stranger.
    fn is_open(&self) -> bool {
        let stranger = Client::new(&self.gateway);
        stranger.fetch(&second_app(&self.gateway)).status == 200
    }

    fn metric(&self, name: &str) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.gateway.admin_port());
        let page = Client::new(&self.gateway).fetch(&url);
        let line = page
            .body
            .lines()
            .find(|l| l.starts_with(&format!("postern_{name} ")));
        line.and_then(|l| l.split(' ').nth(1)).unwrap().to_owned()
    }

    fn history(&self) -> Vec<Value> {
        journal::records(&self.gateway.must(&["policy", "history", "--json"]))
    }
}

fn status(gateway: &Gateway) -> Value {
    serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap()
}

fn number_after(text: &str, option: &str) -> usize {
    let rest = text
        .split(option)
        .nth(1)
        .unwrap_or_else(|| panic!("no {option} in {text}"));
    let word = rest.split_whitespace().next().unwrap();
    word.parse().unwrap()
}

#[test]
fn a_door_to_the_world_is_held_until_the_exact_number_is_accepted() {
    let scene = Scene::new();
    let before = scene.status();
    scene.save(&scene.open());
    let error = wait::until(LIMIT, "the saved policy is held", || {
        let status = scene.status();
        Some(status["policy"]["error"].as_str()?.to_owned())
    });
    assert!(error.contains("world-open"), "{error}");
    let number = number_after(&error, "postern policy apply --accept-wider");
    assert_eq!(
        scene.status()["policy"]["digest"],
        before["policy"]["digest"]
    );
    assert!(!scene.is_open());
    assert_eq!(scene.metric("policy_held"), "1");
    let held = journal::wait_for(&scene.gateway, "policy-rejected.1", |r| {
        journal::is(r, "reason", "held")
    });
    assert!(
        held["detail"]
            .as_str()
            .unwrap()
            .starts_with("watch by gateway: held (world-open)"),
        "{held}"
    );
    scene.gateway.signal(Signal::SIGHUP);
    wait::until_true(LIMIT, "the signalled policy is held", || {
        scene
            .history()
            .iter()
            .any(|e| e["how"] == "signal" && e["result"] == "held")
            || {
                // the same refusal is entered once in the history, and each time in the journal
                journal::search(&scene.gateway, &["--event", "policy-rejected.1"])
                    .iter()
                    .any(|r| r["detail"].as_str().unwrap().starts_with("signal"))
            }
    });
    let wrong = (number + 1).to_string();
    for args in [
        vec!["reload"],
        vec!["policy", "apply"],
        vec!["policy", "apply", "--dry-run"],
        vec!["policy", "apply", "--accept-wider", &wrong],
        vec!["user", "enable", "guest"],
    ] {
        let (code, text) = scene.run(&args);
        assert_eq!(code, HELD, "{args:?}: {text}");
        assert_eq!(number_after(&text, "--accept-wider"), number, "{args:?}");
        assert!(!scene.is_open(), "{args:?}");
    }
    let (code, text) = scene.run(&[
        "policy",
        "apply",
        "--accept-wider",
        &number.to_string(),
        "--json",
    ]);
    assert_eq!(code, OK, "{text}");
    assert!(scene.is_open());
    assert_eq!(scene.metric("policy_held"), "0");
    assert!(scene.status()["policy"]["error"].is_null());
    // what closes needs nobody
    scene.gateway.set_policy(&scene.policy);
    assert!(!scene.is_open());
}

#[test]
fn a_policy_that_locks_everybody_out_is_refused_in_every_way_and_one_that_does_not_is_not() {
    let scene = Scene::new();
    // demo and guest are enrolled, nobody else is
    scene.gateway.set_policy(&scene.other_admin());
    scene.gateway.set_policy(&scene.policy);
    let nobody = scene.policy.replace(
        "allow.admins = { who = \"@admins\" }",
        "allow.n = { who = \"@admins\", when = \"night\" }",
    );
    let nobody = format!("{nobody}\n[schedule.night]\ntime = \"02:00-03:00\"\ntz = \"UTC\"\n");
    let before = scene.status();
    scene.save(&nobody);
    let candidate = scene.candidate(&nobody);
    for args in [
        vec!["reload"],
        vec!["policy", "apply"],
        vec!["policy", "apply", &candidate],
    ] {
        let (code, text) = scene.run(&args);
        assert_eq!(code, CONFIG, "{args:?}: {text}");
        assert!(text.contains("lock-out"), "{args:?}: {text}");
        assert!(!text.contains("to accept"), "{args:?}: {text}");
        assert_eq!(
            scene.status()["policy"]["digest"],
            before["policy"]["digest"]
        );
    }
    scene.gateway.set_policy(&scene.policy);
    // taking a person out does not wait, and is said
    let (code, text) = scene.run(&["user", "disable", "demo"]);
    assert_eq!(code, OK, "{text}");
    assert!(
        text.contains("only the local command line is left"),
        "{text}"
    );
    assert_ne!(
        scene.status()["policy"]["digest"],
        before["policy"]["digest"]
    );
    let (code, text) = scene.run(&["user", "enable", "demo"]);
    assert_eq!(code, OK, "{text}");
}

#[test]
fn a_candidate_folder_comes_in_place_of_the_files_and_a_rollback_brings_them_back() {
    let scene = Scene::new();
    let text = scene.without_guest();
    let candidate = scene.candidate(&text);
    let before = scene.status();
    let (code, said) = scene.run(&["policy", "apply", &candidate, "--dry-run"]);
    assert_eq!(code, OK, "{said}");
    assert!(
        said.contains("- allow -> deny") && said.contains("guest"),
        "{said}"
    );
    assert_eq!(scene.gateway.policy_text(), scene.policy);
    assert_eq!(scene.status()["policy"], before["policy"]);
    let (code, said) = scene.run(&["policy", "apply", &candidate, "--json"]);
    assert_eq!(code, OK, "{said}");
    let verdict: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&verdict["in_force"], &verdict["changed"]),
        (&true.into(), &true.into())
    );
    assert_eq!(verdict["narrowed"], 1);
    assert_eq!(scene.gateway.policy_text(), text);
    let kept = PathBuf::from(verdict["kept"].as_str().unwrap());
    assert_eq!(
        fs::read_to_string(kept.join("policy.toml")).unwrap(),
        scene.policy
    );
    let (code, said) = scene.run(&["policy", "rollback"]);
    assert_eq!(code, OK, "{said}");
    assert_eq!(scene.gateway.policy_text(), scene.policy);
    let after = scene.status();
    assert_eq!(after["policy"]["digest"], before["policy"]["digest"]);
    let generation = before["policy"]["generation"].as_u64().unwrap();
    assert_eq!(after["policy"]["generation"], generation + 2);
    // the watch has seen the files change and leaves them alone
    wait::stays(Duration::from_secs(1), "the policy", || {
        scene.status()["policy"] == after["policy"]
    });
    let history = scene.history();
    let [.., applied, back] = history.as_slice() else {
        panic!("{history:?}")
    };
    assert_eq!(
        (&applied["how"], &applied["result"]),
        (&"apply".into(), &"applied".into())
    );
    assert_eq!(
        (&applied["uid"], &applied["narrowed"]),
        (&0.into(), &1.into())
    );
    assert_eq!(
        (&back["how"], &back["widened"]),
        (&"rollback".into(), &1.into())
    );
    let (code, said) = scene.run(&["policy", "rollback", &(generation + 1).to_string()]);
    assert_eq!(code, OK, "{said}");
    assert_eq!(scene.gateway.policy_text(), text);
    assert_eq!(scene.run(&["policy", "rollback", "4711"]).0, DATA);
    assert_eq!(scene.run(&["policy", "rollback", "ffffff"]).0, DATA);
    let digest = before["policy"]["digest"].as_str().unwrap();
    let (code, said) = scene.run(&["policy", "rollback", &digest[..10]]);
    assert_eq!(code, OK, "{said}");
    assert_eq!(scene.gateway.policy_text(), scene.policy);
    journal::wait_for(&scene.gateway, "policy-applied.1", |r| {
        journal::is(r, "reason", "rolled-back")
    });
}

#[test]
fn a_rollback_that_opens_a_door_is_held_like_any_other_change() {
    let scene = Scene::new();
    scene.save(&scene.open());
    let (_, text) = scene.run(&["policy", "apply", "--dry-run"]);
    let number = number_after(&text, "--accept-wider").to_string();
    assert_eq!(
        scene.run(&["policy", "apply", "--accept-wider", &number]).0,
        OK
    );
    scene.gateway.set_policy(&scene.policy);
    let (code, text) = scene.run(&["policy", "rollback"]);
    assert_eq!(code, HELD, "{text}");
    assert!(
        text.contains(&format!("postern policy rollback --accept-wider {number}")),
        "{text}"
    );
    assert!(!scene.is_open());
    assert_eq!(scene.gateway.policy_text(), scene.policy);
    assert_eq!(
        scene
            .run(&["policy", "rollback", "--accept-wider", &number])
            .0,
        OK
    );
    assert!(scene.is_open());
}

#[test]
fn a_rollback_brings_nobody_back_who_was_shut_out_unless_that_is_accepted() {
    let scene = Scene::new();
    scene.gateway.must(&["user", "disable", "guest"]);
    let (code, text) = scene.run(&["policy", "rollback"]);
    assert_eq!(code, HELD, "{text}");
    assert!(text.contains("guest"), "{text}");
    let people = || fs::read_to_string(scene.gateway.facts.policy.join("users.toml")).unwrap();
    assert!(people().contains("disabled = true"));
    let (code, text) = scene.run(&["policy", "rollback", "--accept-back", "1"]);
    assert_eq!(code, OK, "{text}");
    assert!(!people().contains("disabled = true"));
}

#[test]
fn losses_and_the_own_access_are_accepted_in_so_many_words() {
    let scene = Scene::new();
    let app = &scene.gateway.facts.app;
    for person in [&scene.gateway.facts.demo, &scene.gateway.facts.guest] {
        assert_eq!(Client::new(&scene.gateway).sign_in(app, person).status, 200);
    }
    journal::wait_for(&scene.gateway, "access-decided.1", |r| {
        r["outcome"] == "allow" && r["user"] == "guest" && r["rule"] == "app.app#people"
    });
    let candidate = scene.candidate(&scene.without_guest());
    let (code, text) = scene.run(&["policy", "apply", &candidate]);
    assert_eq!(code, HELD, "{text}");
    assert!(text.contains("guest at app.app"), "{text}");
    assert_eq!(number_after(&text, "--accept-loss"), 1, "{text}");
    assert_eq!(scene.gateway.policy_text(), scene.policy);
    assert_eq!(
        scene
            .run(&["policy", "apply", &candidate, "--accept-loss", "2"])
            .0,
        HELD
    );
    assert_eq!(
        scene
            .run(&["policy", "apply", &candidate, "--accept-loss", "1"])
            .0,
        OK
    );
    assert_eq!(scene.gateway.policy_text(), scene.without_guest());
    let candidate = scene.candidate(&scene.other_admin());
    let own = [
        "policy", "apply", &candidate, "--as", "demo", "--from", "internet",
    ];
    let (code, text) = scene.run(&own);
    assert_eq!(code, HELD, "{text}");
    assert!(
        text.contains("own-access") && text.contains("--i-lose-access"),
        "{text}"
    );
    assert_eq!(
        scene
            .run(&["policy", "apply", &candidate, "--i-lose-access"])
            .0,
        64,
        "nobody is named"
    );
    assert_eq!(
        scene
            .run(&["policy", "apply", &candidate, "--as", "guest"])
            .0,
        OK
    );
    assert_eq!(scene.run(&["policy", "rollback", "--as", "guest"]).0, HELD);
    assert_eq!(
        scene
            .run(&[
                "policy",
                "rollback",
                "--as",
                "guest",
                "--i-lose-access",
                "--accept-loss",
                "1"
            ])
            .0,
        OK
    );
}

#[test]
fn a_change_that_nobody_confirms_is_taken_back_and_a_confirmed_one_stays() {
    let scene = Scene::new();
    let (text, before) = (scene.without_guest(), scene.status());
    let candidate = scene.candidate(&text);
    assert_eq!(scene.run(&["policy", "confirm"]).0, DATA, "nothing waits");
    let start = Instant::now();
    let (code, said) = scene.run(&["policy", "apply", &candidate, "--confirm", "3s"]);
    assert_eq!(code, OK, "{said}");
    assert_eq!(scene.gateway.policy_text(), text);
    assert!(scene.status()["policy"]["confirm_until"].is_string());
    // files that somebody saves meanwhile wait with it
    wait::until_true(LIMIT, "it is taken back", || {
        scene.status()["policy"]["digest"] == before["policy"]["digest"]
    });
    assert!(
        start.elapsed() >= Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    wait::until_true(LIMIT, "so are the files", || {
        scene.gateway.policy_text() == scene.policy
    });
    assert_eq!(scene.run(&["policy", "confirm"]).0, DATA);
    let last = scene.history().pop().unwrap();
    assert_eq!(
        (&last["how"], &last["uid"]),
        (&"unconfirmed".into(), &Value::Null)
    );
    journal::wait_for(&scene.gateway, "policy-applied.1", |r| {
        journal::is(r, "reason", "unconfirmed")
    });
    let (code, said) = scene.run(&["policy", "apply", &candidate, "--confirm", "4s"]);
    assert_eq!(code, OK, "{said}");
    let (code, said) = scene.run(&["policy", "confirm"]);
    assert_eq!(code, OK, "{said}");
    journal::wait_for(&scene.gateway, "policy-applied.1", |r| {
        journal::is(r, "reason", "confirmed")
    });
    wait::stays(Duration::from_secs(5), "the confirmed policy", || {
        scene.gateway.policy_text() == text
    });
    assert!(scene.status()["policy"].get("confirm_until").is_none());
}

#[test]
fn files_saved_while_a_policy_waits_to_be_confirmed_wait_with_it() {
    let scene = Scene::new();
    let candidate = scene.candidate(&scene.without_guest());
    assert_eq!(
        scene
            .run(&["policy", "apply", &candidate, "--confirm", "1h"])
            .0,
        OK
    );
    let digest = scene.status()["policy"]["digest"].clone();
    scene.save(&scene.other_admin());
    wait::until_true(LIMIT, "the saved files wait", || {
        let error = scene.status()["policy"]["error"].clone();
        error.as_str().is_some_and(|e| e.contains("unconfirmed"))
    });
    assert_eq!(scene.status()["policy"]["digest"], digest);
    assert_eq!(scene.run(&["policy", "confirm"]).0, OK);
    wait::until_true(LIMIT, "they follow", || {
        scene.status()["policy"]["digest"] != digest
    });
}

#[test]
fn no_other_act_ends_the_waiting_for_a_confirmation_and_a_revocation_goes_through() {
    let scene = Scene::new();
    let guest = Client::new(&scene.gateway);
    let second = second_app(&scene.gateway);
    assert_eq!(
        guest.sign_in(&second, &scene.gateway.facts.guest).status,
        200
    );
    let candidate = scene.candidate(&scene.without_guest());
    let apply = ["policy", "apply", &candidate, "--confirm", "1h"];
    assert_eq!(scene.run(&apply).0, OK);
    let until = || scene.status()["policy"]["confirm_until"].clone();
    let waits = until();
    assert!(waits.is_string());
    let (code, text) = scene.run(&apply);
    assert_eq!(code, DATA, "{text}");
    assert!(text.contains("in force already"), "{text}");
    let (code, text) = scene.run(&["user", "disable", "guest"]);
    assert_eq!(code, OK, "{text}");
    assert!(!text.contains("only this is in force"), "{text}");
    assert_eq!(guest.fetch(&second).status, 401);
    assert_eq!(until(), waits, "a revocation");
    scene.save(&scene.open());
    let (code, text) = scene.run(&["reload"]);
    assert_eq!(code, HELD, "{text}");
    assert!(text.contains("postern policy rollback"), "{text}");
    assert_eq!(until(), waits, "a reload");
    let (code, text) = scene.run(&["policy", "rollback"]);
    assert_eq!(code, OK, "{text}");
    assert_eq!(scene.gateway.policy_text(), scene.policy);
    assert!(until().is_null());
    assert_eq!(guest.fetch(&second).status, 401, "still out");
}

#[test]
fn who_is_shut_out_while_a_policy_waits_does_not_come_back_with_the_one_before() {
    let scene = Scene::new();
    let candidate = scene.candidate(&scene.without_guest());
    let (code, text) = scene.run(&["policy", "apply", &candidate, "--confirm", "4s"]);
    assert_eq!(code, OK, "{text}");
    let (code, text) = scene.run(&["user", "disable", "guest"]);
    assert_eq!(code, OK, "{text}");
    wait::until_true(LIMIT, "it is taken back", || {
        scene.gateway.policy_text() == scene.policy
    });
    let people = fs::read_to_string(scene.gateway.facts.policy.join("users.toml")).unwrap();
    assert!(people.contains("disabled = true"), "{people}");
}

#[test]
fn a_revocation_carries_nothing_past_a_guard_that_lies_in_the_folder_with_it() {
    let scene = Scene::new();
    // held by another guard already, so that it does not go in force before guest is shut out
    let other = scene
        .open()
        .replace("admins = [\"demo\"]", "admins = [\"guest\"]");
    scene.save(&other);
    assert_eq!(scene.run(&["reload"]).0, HELD);
    let (code, text) = scene.run(&["user", "disable", "guest"]);
    assert_eq!(code, OK, "{text}");
    assert!(text.contains("only this is in force"), "{text}");
    assert!(text.contains("lock-out"), "{text}");
    scene.save(&scene.policy);
    wait::until_true(LIMIT, "the folder is right again", || {
        scene.status()["policy"]["error"].is_null()
    });
    let (code, text) = scene.run(&["user", "disable", "demo"]);
    assert_eq!(code, OK, "{text}");
    assert!(!text.contains("only this is in force"), "{text}");
    assert!(scene.status()["policy"]["error"].is_null());
}

#[test]
fn a_person_is_shut_out_at_once_even_while_the_folder_is_held() {
    let mut scene = Scene::new();
    let guest = Client::new(&scene.gateway);
    let app = scene.gateway.facts.app.clone();
    assert_eq!(guest.sign_in(&app, &scene.gateway.facts.guest).status, 200);
    scene.save(&scene.open());
    assert_eq!(scene.run(&["reload"]).0, HELD);
    let (code, text) = scene.run(&["user", "disable", "guest"]);
    assert_eq!(code, OK, "{text}");
    assert!(
        text.contains("world-open"),
        "what is not in force is said: {text}"
    );
    assert_eq!(guest.fetch(&app).status, 401);
    assert!(!scene.is_open());
    scene.gateway.kill();
    let served = Served::start(&scene, &[]).ready();
    assert!(!scene.is_open(), "held over a restart");
    assert_eq!(guest.fetch(&app).status, 401);
    let error = scene.status()["policy"]["error"]
        .as_str()
        .unwrap()
        .to_owned();
    let number = number_after(&error, "--accept-wider").to_string();
    assert_eq!(
        scene.run(&["policy", "apply", "--accept-wider", &number]).0,
        OK
    );
    assert!(scene.is_open());
    assert_eq!(guest.fetch(&app).status, 401);
    let (code, text) = scene.run(&["user", "enable", "guest"]);
    assert_eq!(code, OK, "{text}");
    drop(served);
    let offline = scene.history();
    assert_eq!(offline.last().unwrap()["how"], "user", "{offline:?}");
}

/// The demo's folder, served by `postern run`.
struct Served<'a> {
    scene: &'a Scene,
    program: Program,
}

impl<'a> Served<'a> {
    fn start(scene: &'a Scene, args: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command
            .arg("run")
            .args(args)
            .arg("--config")
            .arg(&scene.gateway.facts.config);
        let program = Program::start(command, scene.gateway.dir(), "served");
        Self { scene, program }
    }

    fn ready(mut self) -> Self {
        wait::until_true(LIMIT, "it listens", || {
            if let Some(status) = self.program.ended() {
                panic!("it ended with {status}: {}", self.program.stderr());
            }
            self.scene.gateway.run(&["status"]).status.success()
        });
        self
    }

    fn fails(mut self, code: i32) -> String {
        let status = self.program.wait(LIMIT);
        let text = self.program.stderr();
        assert_eq!(status.code(), Some(code), "{text}");
        text
    }
}

#[test]
fn a_start_with_a_wrong_folder_serves_by_the_last_good_policy_and_says_so() {
    let mut scene = Scene::new();
    let digest = scene.status()["policy"]["digest"].clone();
    scene.gateway.stop();
    let bad = scene.policy.replace("@admins", "@nobody-knows");
    scene.save(&bad);
    let text = Served::start(&scene, &["--strict"]).fails(CONFIG);
    assert!(text.contains("@nobody-knows"), "{text}");
    let served = Served::start(&scene, &[]).ready();
    let status = scene.status();
    assert_eq!(status["policy"]["digest"], digest);
    assert_eq!(status["policy"]["cached"], true);
    assert!(
        status["policy"]["error"]
            .as_str()
            .unwrap()
            .contains("@nobody-knows")
    );
    assert!(
        served.program.stderr().contains("LAST GOOD")
            || served.program.stderr().contains("last good")
    );
    assert_eq!(scene.metric("policy_cached"), "1");
    let url = format!("http://127.0.0.1:{}/readyz", scene.gateway.admin_port());
    let ready = Client::new(&scene.gateway).fetch(&url);
    assert_eq!(
        (ready.status, &ready.json()["policy"]),
        (200, &"last-good".into())
    );
    journal::wait_for(&scene.gateway, "policy-rejected.1", |r| {
        journal::is(r, "reason", "cached")
    });
    scene.gateway.set_policy(&scene.without_guest());
    let status = scene.status();
    assert!(status["policy"].get("cached").is_none(), "{status}");
    assert_eq!(scene.metric("policy_cached"), "0");
    drop(served);
    // without a cache there is nothing to serve by
    scene.save(&bad);
    fs::remove_dir_all(scene.gateway.facts.data.join("policy")).unwrap();
    let text = Served::start(&scene, &[]).fails(CONFIG);
    assert!(text.contains("@nobody-knows"), "{text}");
    assert!(!scene.recorder.url().is_empty());
}

#[test]
fn the_doctor_tells_where_strangers_may_sign_up_to_an_app_and_sends_the_app_nothing() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo();
    let keys = format!("upstream = \"{}\"\npublic = \"a shop\"", recorder.url());
    let text = one_app(&keys);
    let open = text.replace("who = [\"demo\", \"guest\"]", "who = \"anyone\"");
    let look = |text: &str| {
        fs::write(gateway.policy_file(), text).unwrap();
        let said = gateway.must(&["doctor", "--golive", "--json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        said["findings"][0].clone()
    };
    let note = look(&open);
    assert_eq!(note["verdict"], "note", "{note}");
    let found = note["found"].as_str().unwrap();
    assert!(
        found.contains("policy.toml:") && found.contains("/api/auth/register"),
        "{note}"
    );
    assert!(found.contains("anyone, without signing in"), "{note}");
    let named = text.replace("public = \"a shop\"\n", "");
    assert_eq!(look(&named)["verdict"], "ok");
    assert!(recorder.seen().is_empty());
}

#[test]
fn the_doctor_tells_which_app_of_loopback_listens_for_all_the_world() {
    let gateway = Gateway::demo();
    let note = |address: &str| {
        let listener = std::net::TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = one_app(&format!("upstream = \"http://127.0.0.1:{port}\""));
        fs::write(gateway.policy_file(), text).unwrap();
        let said = gateway.must(&["doctor", "--golive", "--json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        let findings = said["findings"].as_array().unwrap().iter();
        let found = findings.filter(|f| f["check"] == "listeners");
        let mut about = found.filter(|f| f["found"].to_string().contains(&format!(":{port}")));
        let found = about.next().map(|f| f["next"].as_str().unwrap().to_owned());
        found.map(|next| next.contains(&format!("bind 127.0.0.1:{port}")))
    };
    assert_eq!(note("0.0.0.0"), Some(true));
    assert_eq!(note("127.0.0.1"), None);
}

#[test]
fn what_a_guard_held_is_not_let_through_by_a_restart() {
    let mut scene = Scene::new();
    scene.save(&scene.open());
    assert_eq!(scene.run(&["reload"]).0, HELD);
    scene.gateway.kill();
    let text = Served::start(&scene, &["--strict"]).fails(CONFIG);
    assert!(text.contains("--accept-wider"), "{text}");
    let served = Served::start(&scene, &[]).ready();
    assert!(!scene.is_open());
    let error = scene.status()["policy"]["error"]
        .as_str()
        .unwrap()
        .to_owned();
    let number = number_after(&error, "--accept-wider").to_string();
    assert_eq!(
        scene.run(&["policy", "apply", "--accept-wider", &number]).0,
        OK
    );
    assert!(scene.is_open());
    drop(served);
    let _again = Served::start(&scene, &["--strict"]).ready();
    assert!(scene.is_open(), "what was accepted stays");
}

#[test]
fn a_confirmation_that_ran_out_while_no_gateway_ran_is_taken_back_by_the_start() {
    let mut scene = Scene::new();
    let before = scene.status();
    let candidate = scene.candidate(&scene.without_guest());
    assert_eq!(
        scene
            .run(&["policy", "apply", &candidate, "--confirm", "3s"])
            .0,
        OK
    );
    scene.gateway.kill();
    assert_eq!(scene.gateway.policy_text(), scene.without_guest());
    let applied = Instant::now();
    wait::until_true(LIMIT, "the time to confirm is over", || {
        applied.elapsed() > Duration::from_secs(4)
    });
    let _served = Served::start(&scene, &["--strict"]).ready();
    assert_eq!(
        scene.status()["policy"]["digest"],
        before["policy"]["digest"]
    );
    assert_eq!(scene.gateway.policy_text(), scene.policy);
    assert_eq!(scene.run(&["policy", "confirm"]).0, DATA);
}

#[test]
fn a_history_written_by_others_opens_nothing() {
    let mut scene = Scene::new();
    scene.gateway.stop();
    let dir = scene.gateway.facts.data.join("policy");
    scene.save("postern = 1\n[admin]\nallow.x = { who = \"@nobody\" }\n");
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "sealed") {
            let files = serde_json::json!({ "policy.toml": scene.open() });
            fs::write(path, files.to_string()).unwrap();
        }
    }
    let text = Served::start(&scene, &[]).fails(CONFIG);
    assert!(text.contains("@nobody"), "{text}");
    scene.save(&scene.policy);
    let _served = Served::start(&scene, &[]).ready();
    assert!(!scene.is_open());
}
