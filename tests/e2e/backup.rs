//! A backup under load, a machine that is lost, and what comes back.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use postern_tests::curl::Client;
use postern_tests::gateway::{self, Gateway};
use postern_tests::site::{ECHO, Outer, Place, Site};
use postern_tests::temp::Temp;
use postern_tests::{journal, wait};
use serde_json::Value;

/// Runs work while four clients keep the gateway busy with requests that are put on record.
fn under_load<T>(gateway: &Gateway, work: impl FnOnce() -> T) -> T {
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let client = Client::new(gateway);
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.fetch(&gateway.facts.app);
                    assert_eq!(answer.status, 401, "{answer:?}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let reach = |count: usize| {
            let so_far = done.load(Ordering::Relaxed);
            wait::until_true(Duration::from_secs(60), "requests are answered", || {
                done.load(Ordering::Relaxed) >= so_far + count
            });
        };
        reach(8);
        let given = work();
        // it goes on while and after the backup is made
        reach(8);
        stop.store(true, Ordering::Relaxed);
        given
    })
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Takes away what a demo's machine held, but for what its screen said.
fn lose(gateway: &Gateway) {
    let dir = gateway.facts.config.parent().unwrap();
    for name in ["data", "policy", "keys"] {
        fs::remove_dir_all(dir.join(name)).unwrap();
    }
    fs::remove_file(&gateway.facts.config).unwrap();
}

/// Restores into a folder; gives the exit code, stdout and stderr.
fn restore(dir: &Path, words: &[&str]) -> (i32, String, String) {
    restore_there(&[&["--dir", text(dir)], words].concat())
}

/// Restores to where everything was; gives the exit code, stdout and stderr.
fn restore_there(words: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(gateway::binary());
    // the places are those of the backup, not those of this folder
    command.current_dir("/").arg("restore").args(words);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Every file and folder below a folder, with what it holds.
fn held(dir: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push((path.clone(), None));
            all.extend(held(&path));
        } else if path.is_file() && !path.ends_with("LOCK") {
            all.push((path.clone(), Some(fs::read(&path).unwrap())));
        }
    }
    all.sort();
    all
}

#[test]
fn after_a_backup_under_load_and_a_lost_machine_people_sign_in_and_what_ended_stays_ended() {
    let (mut gateway, away) = (Gateway::demo(), Temp::new());
    let old = Client::new(&gateway);
    let app = old.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(app.status, 200, "{app:?}");
    let link = gateway.must(&["user", "invite", "guest"]);
    assert_eq!(Client::new(&gateway).follow(link.trim()).status, 200);
    let devices = gateway.must(&["device", "list", "--json"]);

    let file = away.path().join("gate.postern");
    let made = under_load(&gateway, || {
        json(&gateway.must(&["backup", text(&file), "--json"]))
    });
    assert!(made["journal"].as_u64().unwrap() > 8, "{made}");
    assert_eq!(made["with_master_key"], false);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let checked = json(&gateway.must(&["verify-backup", text(&file), "--json"]));
    assert_eq!(checked["journal"], made["journal"]);
    assert_eq!(checked["warnings"], serde_json::json!([]));
    let sealed = fs::read(&file).unwrap();
    assert!(!sealed.windows(12).any(|part| part == b"[user.guest]"));

    // what ends now must not come back
    gateway.must(&["session", "revoke", "--user", "demo"]);
    let beside = restore(
        gateway.facts.config.parent().unwrap(),
        &[text(&file), "--master-key", text(&key(&gateway))],
    );
    assert_eq!(beside.0, 69, "{beside:?}");
    assert_eq!(Client::new(&gateway).fetch(&gateway.facts.app).status, 401);
    gateway.stop();
    let kept = away.path().join("master.key");
    fs::copy(key(&gateway), &kept).unwrap();
    lose(&gateway);

    let dir = gateway.facts.config.parent().unwrap().to_owned();
    let (code, out, said) = restore(&dir, &[text(&file), "--master-key", text(&kept), "--json"]);
    assert_eq!(code, 0, "{said}");
    let restored = json(&out);
    assert_eq!(restored["backup"]["journal"], made["journal"]);
    assert!(
        restored["ended"]["sessions"].as_u64().unwrap() >= 1,
        "{restored}"
    );
    assert!(
        restored["ended"]["links"].as_u64().unwrap() >= 1,
        "{restored}"
    );
    gateway.start_again();

    let again = old.fetch(&gateway.facts.app);
    assert_eq!(again.status, 401, "a session from before: {again:?}");
    let dead = Client::new(&gateway).follow(link.trim());
    assert_eq!(dead.status, 404, "a link from before: {dead:?}");
    // codes up to the one after that of the restore may have been used already
    let demo = &gateway.facts.demo;
    let skipped: Vec<_> = (0..2).map(|_| demo.code()).collect();
    assert_eq!(skipped.len(), 2);
    let back = Client::new(&gateway).sign_in(&gateway.facts.app, demo);
    assert_eq!(back.status, 200, "{back:?}");
    assert_eq!(gateway.must(&["device", "list", "--json"]), devices);
    gateway.must(&["audit", "verify"]);
    let record = journal::wait_for(&gateway, "started.1", |r| {
        journal::is(r, "reason", "restored")
    });
    assert_eq!(
        record["seq"].as_u64().unwrap(),
        made["journal"].as_u64().unwrap() + 1
    );
}

fn key(gateway: &Gateway) -> PathBuf {
    gateway
        .facts
        .config
        .parent()
        .unwrap()
        .join("keys/master.key")
}

#[test]
fn a_damaged_backup_or_a_wrong_passphrase_is_told_and_writes_nothing() {
    let (gateway, away) = (Gateway::demo(), Temp::new());
    let pass = away.write("pass", "a passphrase of some length\n");
    let wrong = away.write("wrong", "another one of some length\n");
    let file = away.path().join("gate.postern");
    let exposed = gateway.run(&["backup", text(&file), "--passphrase-file", text(&pass)]);
    assert_eq!(exposed.status.code(), Some(77), "{exposed:?}");
    for path in [&pass, &wrong] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let made = gateway.must(&[
        "backup",
        text(&file),
        "--passphrase-file",
        text(&pass),
        "--json",
    ]);
    assert_eq!(json(&made)["with_master_key"], true);
    let twice = gateway.run(&["backup", text(&file), "--passphrase-file", text(&pass)]);
    assert_eq!(twice.status.code(), Some(73), "{twice:?}");

    let (whole, bad) = (fs::read(&file).unwrap(), away.path().join("bad.postern"));
    let to = away.path().join("new");
    let refused = |bytes: &[u8], pass: &Path, what: &str| {
        fs::write(&bad, bytes).unwrap();
        let (code, _, said) = restore(&to, &[text(&bad), "--passphrase-file", text(pass)]);
        assert_eq!(code, 65, "{what}: {said}");
        assert!(said.contains(what), "{what}: {said}");
        assert!(!to.exists(), "{what}");
    };
    refused(&whole, &wrong, "does not open with this key or passphrase");
    let mut altered = whole.clone();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    refused(&altered, &pass, "altered");
    refused(&whole[..whole.len() / 2], &pass, "backup is damaged");
    refused(&[&whole[..], b"x"].concat(), &pass, "damaged");
    refused(b"no backup at all\n", &pass, "this is no backup");

    let (code, out, said) = restore(&to, &[text(&file), "--passphrase-file", text(&pass)]);
    assert_eq!(code, 0, "{said}");
    assert!(out.contains("Everybody signs in anew"), "{out}");
    let check = gateway::run_with_config(&to.join("postern.toml"), &["check"]);
    assert!(check.status.success(), "{check:?}");
    let (code, _, said) = restore(&to, &[text(&file), "--passphrase-file", text(&pass)]);
    assert_eq!(code, 73, "{said}");
    assert!(
        said.contains("is there already; nothing was restored"),
        "{said}"
    );
}

#[test]
fn a_restore_without_a_folder_puts_all_where_it_was_and_never_over_what_is_there() {
    let (mut gateway, away) = (Gateway::demo(), Temp::new());
    let old = Client::new(&gateway);
    let app = old.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(app.status, 200, "{app:?}");
    let (file, kept) = (away.path().join("gate.postern"), away.path().join("key"));
    gateway.must(&["backup", text(&file)]);
    fs::copy(key(&gateway), &kept).unwrap();
    let words = [text(&file), "--master-key", text(&kept), "--json"];
    let (code, _, said) = restore_there(&words);
    assert_eq!(code, 69, "beside a gateway that runs: {said}");
    assert_eq!(old.fetch(&gateway.facts.app).status, 200);
    gateway.stop();

    let dir = gateway.facts.config.parent().unwrap().to_owned();
    let (data, policy) = (dir.join("data"), dir.join("policy"));
    let refused = |code: i32, what: &str, words: &[&str]| {
        let before = held(&dir);
        let (given, _, said) = restore_there(words);
        assert_eq!(given, code, "{what}: {said}");
        assert!(said.contains(what), "{what}: {said}");
        assert!(held(&dir) == before, "{what}: something was written");
    };
    // each thing in the way is refused for itself
    refused(73, text(&data), &words);
    fs::remove_dir_all(&data).unwrap();
    refused(73, text(&policy), &words);
    fs::remove_dir_all(&policy).unwrap();
    refused(73, text(&gateway.facts.config), &words);
    fs::remove_file(&gateway.facts.config).unwrap();
    let other = {
        let twin = Gateway::demo();
        fs::read(key(&twin)).unwrap()
    };
    fs::write(key(&gateway), &other).unwrap();
    refused(73, text(&key(&gateway)), &words);
    let place = key(&gateway);
    let foreign = [text(&file), "--master-key", text(&place)];
    refused(65, "is sealed under the master key", &foreign);
    refused(64, "what opens the backup?", &[text(&file)]);

    // with the right key in its place, that is kept; all else comes back
    fs::copy(&kept, key(&gateway)).unwrap();
    let (code, out, said) = restore_there(&words);
    assert_eq!(code, 0, "{said}");
    let restored = json(&out);
    for (part, path) in [
        ("config", &gateway.facts.config),
        ("policy", &policy),
        ("data", &data),
        ("master_key", &key(&gateway)),
    ] {
        assert_eq!(restored[part], text(path), "{restored}");
        assert!(path.exists(), "{part}");
    }
    assert_eq!(restored["kept"], serde_json::json!([text(&key(&gateway))]));
    gateway.start_again();
    let again = old.fetch(&gateway.facts.app);
    assert_eq!(again.status, 401, "a session from before: {again:?}");
    let demo = &gateway.facts.demo;
    // codes up to the one after that of the restore may have been used already
    let skipped: Vec<_> = (0..2).map(|_| demo.code()).collect();
    assert_eq!(skipped.len(), 2);
    let back = Client::new(&gateway).sign_in(&gateway.facts.app, demo);
    assert_eq!(back.status, 200, "{back:?}");
    gateway.must(&["audit", "verify"]);
}

/// A second machine stands by with the latest backup and takes over the address: the stock app finds its way by itself.
#[test]
fn on_a_machine_that_takes_over_from_a_backup_devices_are_known_and_their_people_sign_in() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let (away, echoes) = (Temp::new(), |place: &Place| {
        let socket = place.udp(ECHO);
        let pause = Some(Duration::from_millis(300));
        socket.set_read_timeout(pause).unwrap();
        socket.send(b"there").is_ok() && socket.recv(&mut [0; 64]).is_ok()
    });
    wait::until_true(wait::PATIENCE, "the office answers", || echoes(&place));
    let file = away.path().join("gate.postern");
    site.gateway.must(&["backup", text(&file)]);
    let kept = away.path().join("master.key");
    fs::copy(key(&site.gateway), &kept).unwrap();
    site.gateway.kill();
    lose(&site.gateway);
    let dir = site.gateway.facts.config.parent().unwrap().to_owned();
    let owner = fs::metadata(&dir).unwrap().uid();
    let (code, _, said) = restore(&dir, &[text(&file), "--master-key", text(&kept)]);
    assert_eq!(code, 0, "{said}");
    // it is restored by the user of this test
    for (path, _) in held(&dir) {
        lchown(path, Some(owner), None).unwrap();
    }
    site.gateway.start_again();
    // codes up to the one after that of the restore may have been used already
    let demo = &site.gateway.facts.demo;
    let skipped: Vec<_> = (0..2).map(|_| demo.code()).collect();
    assert_eq!(skipped.len(), 2);
    let portal = site.gateway.facts.tunnel_portal.clone();
    let there = || place.browser(&site).try_send(&portal, &[]).is_ok();
    wait::until_true(Duration::from_secs(60), "the tunnel is back", there);
    assert!(
        !echoes(&place),
        "a device is open before its person signed in"
    );
    site.sign_in(&place);
    wait::until_true(wait::PATIENCE, "the office answers again", || {
        echoes(&place)
    });
}
