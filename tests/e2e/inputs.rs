//! Policy files that no editor writes: told by name, and never at the cost of what is in force.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postern_tests::gateway::{Gateway, Setup, binary};
use postern_tests::journal;
use postern_tests::policy::two_apps;
use postern_tests::process::copy_program;
use postern_tests::temp::Temp;
use postern_tests::upstream::Recorder;
use serde_json::Value;

const PERMISSION: i32 = 77;
const CONFIG: i32 = 78;
const NOBODY: u32 = 65_534;

/// A name, how the file is made, and the words of the refusal.
type Case<'a> = (&'a str, &'a dyn Fn(), &'a [&'a str]);

fn in_force(gateway: &Gateway) -> Value {
    let status: Value = serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap();
    status["policy"]["digest"].clone()
}

/// Reloads and asserts that it is refused with these words, on record, and changes nothing.
fn refused(gateway: &Gateway, name: &str, words: &[&str]) {
    let (before, seen) = (in_force(gateway), rejected(gateway));
    let output = gateway.run(&["reload"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(CONFIG), "{name}: {text}");
    for word in words {
        assert!(text.contains(word), "{name}: no {word} in {text}");
    }
    assert_eq!(in_force(gateway), before, "{name}");
    assert!(rejected(gateway) > seen, "{name} is not on record");
    let check = gateway.run(&["check"]);
    assert!(
        [Some(CONFIG), Some(PERMISSION)].contains(&check.status.code()),
        "{name}: {check:?}"
    );
}

fn rejected(gateway: &Gateway) -> usize {
    journal::search(gateway, &["--event", "policy-rejected.1"]).len()
}

fn clear(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).ok();
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

fn sparse(path: &Path, size: u64) {
    let mut file = File::create(path).unwrap();
    file.write_all(b"postern = 1\n").unwrap();
    file.set_len(size).unwrap();
}

#[test]
fn files_that_are_no_policy_are_refused_by_name_and_the_old_one_stays() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    let good = two_apps(&recorder.url(), "");
    gateway.set_policy(&good);
    let extra = gateway.facts.policy.join("extra.toml");
    let many: String = (0..1025)
        .map(|n| format!("[app.app.\"/a{n}\"]\nallow.d = {{ who = \"demo\" }}\n"))
        .collect();
    let too_many = good.replacen("[app.second]", &format!("{many}[app.second]"), 1);
    let cases: [Case<'_>; 8] = [
        (
            "not UTF-8",
            &|| fs::write(&extra, b"postern = 1 # caf\xe9\n").unwrap(),
            &["extra.toml", "not UTF-8"],
        ),
        (
            "a byte order mark",
            &|| fs::write(&extra, b"\xef\xbb\xbfpostern = 1\n").unwrap(),
            &["extra.toml", "byte order mark"],
        ),
        (
            "line ends of Windows",
            &|| fs::write(&extra, "postern = 1\n# twice\r\n").unwrap(),
            &["extra.toml:2:8", "ends in CR LF", "LF alone"],
        ),
        (
            "a file of 1 GB",
            &|| sparse(&extra, 1 << 30),
            &["extra.toml", "too large"],
        ),
        (
            "a link to itself",
            &|| symlink("extra.toml", &extra).unwrap(),
            &["extra.toml"],
        ),
        (
            "a link that leaves",
            &|| symlink("/etc/passwd", &extra).unwrap(),
            &["extra.toml"],
        ),
        (
            "a pipe",
            &|| nix::unistd::mkfifo(&extra, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            &["extra.toml", "not a regular file"],
        ),
        (
            "a file all can write",
            &|| {
                fs::write(&extra, "postern = 1\n").unwrap();
                fs::set_permissions(&extra, Permissions::from_mode(0o666)).unwrap();
            },
            &["extra.toml", "0666"],
        ),
    ];
    for (name, make, words) in cases {
        make();
        refused(&gateway, name, words);
        // whatever it is, only its name goes
        fs::remove_file(&extra).unwrap();
        gateway.must(&["reload"]);
    }
    fs::write(gateway.policy_file(), too_many).unwrap();
    refused(&gateway, "too many areas", &["1024"]);
    gateway.set_policy(&good);
}

#[test]
fn all_that_is_wrong_in_a_folder_is_told_at_once() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    let good = two_apps(&recorder.url(), "");
    gateway.set_policy(&good);
    let folder = &gateway.facts.policy;
    let (marked, latin) = (folder.join("marked.toml"), folder.join("latin.toml"));
    fs::write(&marked, b"\xef\xbb\xbfpostern = 1\n").unwrap();
    fs::write(&latin, b"postern = 1 # caf\xe9\n").unwrap();
    let bad = good.replacen("[admin]", "[admni]", 1);
    fs::write(gateway.policy_file(), &bad).unwrap();
    let line = bad.lines().position(|l| l == "[admni]").unwrap() + 1;
    let words = [
        "marked.toml:1:1: begins with a byte order mark",
        "latin.toml:1:18: not UTF-8",
        &format!("policy.toml:{line}:2: error: unknown"),
    ];
    refused(&gateway, "three files", &words);
    let check = gateway.run(&["policy", "check"]);
    let told = String::from_utf8_lossy(&check.stderr).into_owned();
    for word in ["marked.toml:1:1", "latin.toml:1:18", "unknown key `admni`"] {
        assert!(told.contains(word), "no {word} in {told}");
    }
    fs::remove_file(marked).unwrap();
    fs::remove_file(latin).unwrap();
    gateway.set_policy(&good);
}

#[test]
fn too_many_files_are_refused() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    for number in 0..10_001 {
        fs::write(gateway.facts.policy.join(format!("x{number}.toml")), "").unwrap();
    }
    refused(&gateway, "too many files", &["too many policy files"]);
    for number in 0..10_001 {
        clear(&gateway.facts.policy.join(format!("x{number}.toml")));
    }
    gateway.must(&["reload"]);
}

#[test]
fn a_file_that_comes_and_goes_gives_the_whole_folder_or_nothing() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    let good = two_apps(&recorder.url(), "");
    gateway.set_policy(&good);
    let without = in_force(&gateway);
    let extra = gateway.facts.policy.join("extra.toml");
    let third = "postern = 1\n[app.third]\nhost = \"third.gate.localhost\"\nupstream = \"http://127.0.0.1:9\"\nallow.d = { who = \"demo\" }\n";
    fs::write(&extra, third).unwrap();
    gateway.must(&["reload"]);
    let with = in_force(&gateway);
    assert_ne!(with, without);
    let done = AtomicBool::new(false);
    let hidden = gateway.facts.policy.join(".extra");
    let (seen, mut vanished) = (rejected(&gateway), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fs::remove_file(&extra).ok();
                // put in place whole, as an editor does
                fs::write(&hidden, third).unwrap();
                fs::rename(&hidden, &extra).unwrap();
            }
        });
        for round in 0..400 {
            if round >= 30 && vanished > 0 {
                break;
            }
            let output = gateway.run(&["reload"]);
            let code = output.status.code().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(
                code == 0 || (code == CONFIG && text.contains("extra.toml")),
                "{code}: {text}"
            );
            vanished += usize::from(code == CONFIG);
            let now = in_force(&gateway);
            assert!(now == with || now == without, "neither of the two");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(vanished > 0, "the file never vanished while it was read");
    let records = journal::search(&gateway, &["--event", "policy-rejected.1"]);
    assert!(
        records.len() >= seen + vanished,
        "{vanished} refusals, {seen} records before, {} now",
        records.len()
    );
    let gone = |r: &Value| {
        let detail = r["detail"].as_str().unwrap_or_default();
        detail.contains("cannot read") && detail.contains("extra.toml")
    };
    assert!(records.iter().any(gone), "{records:?}");
    gateway.must(&["reload"]);
    assert_eq!(in_force(&gateway), with);
}

#[test]
fn a_folder_closed_to_the_gateway_keeps_the_old_policy() {
    let recorder = Recorder::new();
    let copy = Temp::new();
    let path = copy.path().join("postern");
    copy_program(binary(), &path);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let drop_to = [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--",
    ];
    let gateway = Gateway::start(Setup {
        upstream: Some(recorder.url()),
        wrap: drop_to.map(str::to_owned).to_vec(),
        binary: Some(path),
        owner: Some(NOBODY),
        ..Setup::default()
    });
    let folder = &gateway.facts.policy;
    let (before, seen) = (in_force(&gateway), rejected(&gateway));
    fs::set_permissions(folder, Permissions::from_mode(0o000)).unwrap();
    let output = gateway.run(&["reload"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(CONFIG), "{text}");
    assert!(
        text.contains("cannot read") && text.contains("ermission denied"),
        "{text}"
    );
    assert!(rejected(&gateway) > seen, "it is not on record");
    assert_eq!(in_force(&gateway), before);
    fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
    gateway.must(&["reload"]);
    // a folder that cannot be written takes no candidate, and nothing of it is in force
    let candidate = gateway.dir().join("candidate");
    fs::create_dir(&candidate).unwrap();
    let rules = two_apps(&recorder.url(), "");
    fs::write(candidate.join("policy.toml"), &rules).unwrap();
    fs::copy(folder.join("users.toml"), candidate.join("users.toml")).unwrap();
    let candidate = candidate.to_str().unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o500)).unwrap();
    let output = gateway.run(&["policy", "apply", candidate, "--accept-loss", "0"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(65), "{text}");
    assert!(text.contains("cannot write"), "{text}");
    assert_eq!(in_force(&gateway), before);
    fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
    gateway.must(&["policy", "apply", candidate]);
    assert_ne!(in_force(&gateway), before);
    assert_eq!(gateway.policy_text(), rules);
    // what cannot be put back on disk is taken back all the same, and does not come again
    fs::set_permissions(folder, Permissions::from_mode(0o500)).unwrap();
    let output = gateway.run(&["policy", "rollback"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("was not put right"), "{text}");
    assert_eq!(in_force(&gateway), before);
    let output = gateway.run(&["reload"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(in_force(&gateway), before);
    gateway.must(&["policy", "apply"]);
    assert_ne!(in_force(&gateway), before);
}
