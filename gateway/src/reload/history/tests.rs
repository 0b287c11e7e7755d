use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::{By, Entry, Held, History, How, KEPT_MAX, Pending};
use crate::config::tests::Folder as Temp;
use crate::reload::folder::Folder;
use crate::secrets::Keys;

fn keys(dir: &Path, name: &str) -> Arc<Keys> {
    let path = dir.join(name);
    let keys = Keys::create(&path).or_else(|_| Keys::load(&path));
    Arc::new(keys.unwrap())
}

fn folder(text: &str) -> Folder {
    serde_json::from_value(serde_json::json!({ "policy.toml": text })).unwrap()
}

fn entry(generation: Option<u64>, source: &str) -> Entry {
    Entry {
        generation,
        digest: Some(format!("{:064}", generation.unwrap_or(0))),
        source: Some(source.to_owned()),
        time: format!("2026-01-01T00:00:{:02}.000Z", generation.unwrap_or(59) % 60),
        how: How::Apply,
        by: By {
            uid: Some(0),
            name: Some("root".to_owned()),
            person: None,
        },
        result: "applied".to_owned(),
        widened: 0,
        narrowed: 0,
        why: None,
    }
}

fn apply(history: &History, generation: u64, text: &str) -> String {
    let source = history.keep(&folder(text)).unwrap();
    history
        .applied(entry(Some(generation), &source), None)
        .unwrap();
    source
}

#[test]
fn what_was_in_force_is_found_again_after_a_restart() {
    let dir = Temp::new();
    let open = || History::open(dir.path(), keys(dir.path(), "key")).unwrap();
    let history = open();
    let first = apply(&history, 1, "one");
    let second = apply(&history, 2, "two");
    let pending = Pending {
        generation: 3,
        back_to: second.clone(),
        until: 1000,
    };
    let third = history.keep(&folder("three")).unwrap();
    history
        .applied(entry(Some(3), &third), Some(pending.clone()))
        .unwrap();
    drop(history);
    let history = open();
    assert!(history.is_in_force(&third) && !history.is_in_force(&second));
    assert_eq!(history.pending(), Some(pending));
    let source = |which| history.find(which).and_then(|e| e.source);
    assert_eq!(source(None), Some(second.clone()));
    assert_eq!(source(Some("1")), Some(first.clone()));
    assert_eq!(source(second.get(..8)), Some(second.clone()));
    assert_eq!(source(second.get(..5)), None);
    assert_eq!(source(Some("4")), None);
    assert_eq!(history.files(&first), Some(folder("one")));
    assert!(history.confirmed().unwrap().is_some());
    assert!(open().pending().is_none());
    for path in ["policy", "policy/history"] {
        let mode = dir
            .path()
            .join(path)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{path}");
    }
}

#[test]
fn the_one_before_is_the_last_with_other_files() {
    let dir = Temp::new();
    let history = History::open(dir.path(), keys(dir.path(), "key")).unwrap();
    assert!(history.find(None).is_none());
    let first = apply(&history, 1, "one");
    assert!(history.find(None).is_none());
    let second = apply(&history, 2, "two");
    assert_eq!(history.find(None).unwrap().source, Some(first));
    apply(&history, 3, "one");
    assert_eq!(history.find(None).unwrap().source, Some(second));
}

#[test]
fn what_was_taken_back_is_not_the_one_before() {
    let dir = Temp::new();
    let history = History::open(dir.path(), keys(dir.path(), "key")).unwrap();
    let first = apply(&history, 1, "one");
    let second = apply(&history, 2, "two");
    apply(&history, 3, "three");
    let back = |generation, how| Entry {
        how,
        ..entry(Some(generation), &second)
    };
    history.applied(back(4, How::Unconfirmed), None).unwrap();
    assert_eq!(history.find(None).unwrap().source, Some(first));
    assert_eq!(history.find(Some("3")).unwrap().generation, Some(3));
    let third = apply(&history, 5, "three");
    history.applied(back(6, How::Rollback), None).unwrap();
    assert_eq!(history.find(None).unwrap().source, Some(third), "only that");
}

#[test]
fn files_that_others_wrote_or_moved_are_not_taken() {
    let dir = Temp::new();
    let history = History::open(dir.path(), keys(dir.path(), "key")).unwrap();
    let (narrow, wide) = (apply(&history, 1, "narrow"), apply(&history, 2, "wide"));
    let path = |source: &str| dir.path().join(format!("policy/{source}.sealed"));
    assert!(history.files(&narrow).is_some());
    let genuine = std::fs::read(path(&narrow)).unwrap();
    std::fs::copy(path(&wide), path(&narrow)).unwrap();
    assert!(history.files(&narrow).is_none(), "under another name");
    let others = keys(dir.path(), "other");
    let plain = serde_json::to_vec(&folder("narrow")).unwrap();
    std::fs::write(
        path(&narrow),
        others.seal("policy-sources", &narrow, &plain),
    )
    .unwrap();
    assert!(history.files(&narrow).is_none(), "under another key");
    std::fs::write(path(&narrow), plain).unwrap();
    assert!(history.files(&narrow).is_none(), "not sealed");
    std::fs::write(path(&narrow), genuine).unwrap();
    assert!(history.files(&narrow).is_some());
    assert!(history.files("../key").is_none());
}

#[test]
fn a_history_that_others_wrote_is_set_aside() {
    let dir = Temp::new();
    let own = keys(dir.path(), "key");
    apply(
        &History::open(dir.path(), Arc::clone(&own)).unwrap(),
        1,
        "one",
    );
    let history = History::open(dir.path(), keys(dir.path(), "other")).unwrap();
    assert!(history.in_force().is_none());
    assert!(dir.path().join("policy/history.damaged").exists());
    assert!(!dir.path().join("policy/history").exists());
}

#[test]
fn only_the_last_ones_are_kept_and_no_file_of_the_others() {
    let dir = Temp::new();
    let history = History::open(dir.path(), keys(dir.path(), "key")).unwrap();
    let first = apply(&history, 1, "1");
    let most = u64::try_from(KEPT_MAX).unwrap();
    for generation in 2..=most + 3 {
        apply(&history, generation, &generation.to_string());
    }
    assert_eq!(history.entries().len(), KEPT_MAX);
    assert!(history.files(&first).is_none());
    let sealed = std::fs::read_dir(dir.path().join("policy"))
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().ends_with(".sealed")
        });
    assert_eq!(sealed.count(), KEPT_MAX);
    let last = history.in_force().unwrap();
    assert!(history.files(&last.source.unwrap()).is_some());
}

#[test]
fn a_refusal_that_repeats_is_entered_once_and_what_is_held_outlives_a_restart() {
    let dir = Temp::new();
    let open = || History::open(dir.path(), keys(dir.path(), "key")).unwrap();
    let history = open();
    let source = apply(&history, 1, "one");
    let mut refused = entry(None, "abc");
    refused.result = "held".to_owned();
    for _ in 0..3 {
        history.refused(refused.clone()).unwrap();
    }
    assert_eq!(history.entries().len(), 2);
    let held = Held {
        source: "abc".to_owned(),
        taken_back: false,
        why: "opens".to_owned(),
    };
    history.hold(Some(held.clone())).unwrap();
    assert_eq!(open().held(), Some(held));
    assert!(open().is_in_force(&source));
    apply(&history, 2, "two");
    assert!(
        open().held().is_none(),
        "what goes in force ends the waiting"
    );
}
