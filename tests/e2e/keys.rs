//! A new master key: nothing is lost, and everything at rest lies under it.

use std::fs;

use postern_tests::curl::Client;
use postern_tests::gateway::Gateway;
use postern_tests::journal;

fn fingerprints(gateway: &Gateway) -> Vec<String> {
    let lines = gateway.must(&["key", "list", "--json"]);
    let lines = journal::records(&lines).into_iter();
    lines
        .filter(|line| line["key"] == "master")
        .map(|line| line["fingerprint"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_master_key_is_replaced_under_a_running_gateway_and_under_a_stopped_one() {
    let mut gateway = Gateway::demo();
    let app = gateway.facts.app.clone();
    let laptop = Client::new(&gateway);
    assert_eq!(laptop.sign_in(&app, &gateway.facts.demo).status, 200);
    let first = fingerprints(&gateway);
    assert_eq!(first.len(), 1);

    // running: in use from the next start on, and nothing changes until then
    let said = gateway.must(&["key", "rotate"]);
    assert!(said.contains("next start"), "{said}");
    assert_eq!(laptop.open(&app).status, 200);
    gateway.stop();
    gateway.start_again();
    let second = fingerprints(&gateway);
    assert_eq!(second[1..], first);
    assert_eq!(laptop.open(&app).status, 200, "the session outlives it");
    let phone = Client::new(&gateway);
    assert_eq!(phone.sign_in(&app, &gateway.facts.demo).status, 200);
    let record = journal::wait_for(&gateway, "key-rotated.1", |_| true);
    let detail = record["detail"].as_str().unwrap();
    assert!(detail.ends_with(&second[0]), "{detail}");

    // stopped: done before the command returns
    gateway.stop();
    let answer = gateway.must(&["key", "rotate", "--json"]);
    let answer = &journal::records(&answer)[0];
    assert!(answer["sealed"].as_u64().unwrap() >= 3, "{answer}");
    let data = gateway.facts.data.clone();
    let before = fs::read(data.join("wg.key")).unwrap();
    gateway.start_again();
    assert_eq!(fs::read(data.join("wg.key")).unwrap(), before);
    assert_eq!(fingerprints(&gateway).len(), 3);
    assert_eq!(phone.open(&app).status, 200);
    gateway.must(&["audit", "verify"]);

    // killed right after the file was written: the next start does what is left to do
    gateway.must(&["key", "rotate"]);
    gateway.kill();
    gateway.start_again();
    assert_eq!(laptop.open(&app).status, 200);
    gateway.must(&["audit", "verify"]);
}

#[test]
fn a_key_file_that_others_may_read_is_not_rotated() {
    use std::os::unix::fs::PermissionsExt;
    let gateway = Gateway::demo();
    let file = gateway
        .facts
        .config
        .with_file_name("keys")
        .join("master.key");
    let before = fs::read(&file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = gateway.run(&["key", "rotate"]);
    assert_eq!(refused.status.code(), Some(77), "{refused:?}");
    assert_eq!(fs::read(&file).unwrap(), before);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    gateway.must(&["key", "rotate"]);
    assert_ne!(fs::read(&file).unwrap(), before);
}

#[test]
fn every_key_in_the_state_folder_is_in_the_list() {
    let gateway = Gateway::demo();
    let folder = &gateway.facts.data;
    let lines = journal::records(&gateway.must(&["key", "list", "--json"]));
    let listed: Vec<_> = lines
        .iter()
        .filter_map(|line| line["place"].as_str())
        .map(std::path::PathBuf::from)
        .collect();
    let mut open = vec![folder.clone()];
    let mut found = 0;
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "key") {
                found += 1;
                assert!(listed.contains(&path), "{} in {lines:?}", path.display());
            }
        }
    }
    assert!(found >= 4, "tunnel, statements, root and intermediate");
    for line in &lines {
        assert!(line["turns"].is_string(), "{line}");
        // what stands in clear is the master key itself
        let key = line["key"].as_str().unwrap();
        let is_clear = line["place"].is_string() && line["sealed"] == false;
        assert_eq!(is_clear, key == "master", "{line}");
    }
    let shown = gateway.must(&["key", "list"]);
    assert!(
        shown.contains("session tickets of TLS") && shown.contains("(sealed)"),
        "{shown}"
    );
}
