//! The JSON Schema that editors use: it takes every policy that loads, and marks what no policy may say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use postern_tests::gateway::binary;
use postern_tests::process::installed;
use postern_tests::temp::Temp;

/// Mistakes that can be seen without knowing what names mean.
const SEEN: [&str; 2] = ["unknown-key", "wrong-type"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every policy file in a folder and below it.
fn policies(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(policies(&path));
        } else if path.extension().is_some_and(|e| e == "toml") {
            out.push(path);
        }
    }
    out.sort();
    out
}

/// What an editor marks in each of these files.
fn marked(files: &[PathBuf]) -> BTreeMap<PathBuf, Vec<String>> {
    let dir = Temp::new();
    let schema = Command::new(binary()).args(["policy", "schema"]).output();
    let schema = dir.write("schema.json", schema.unwrap().stdout);
    let mut python = Command::new(installed("POSTERN_VENV").join("bin/python"));
    python.arg(root().join("tests/apps/schema.py")).arg(schema);
    python.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = python.spawn().unwrap();
    let mut stdin = python.stdin.take().unwrap();
    for file in files {
        writeln!(stdin, "{}", file.display()).unwrap();
    }
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_example_and_every_policy_that_loads_is_taken() {
    let mut files = policies(&root().join("deploy/examples"));
    assert!(files.len() >= 10, "{files:?}");
    files.extend(policies(&root().join("policy/tests/warn")));
    let marked = marked(&files);
    assert_eq!(marked.len(), files.len());
    for (file, found) in marked {
        assert!(found.is_empty(), "{}: {found:#?}", file.display());
    }
}

/// The files of the bad folders, and the codes of what a load finds in each.
fn bad() -> BTreeMap<PathBuf, BTreeSet<String>> {
    let all = root().join("policy/tests/bad");
    let mut out = BTreeMap::new();
    for folder in fs::read_dir(all).unwrap() {
        let folder = folder.unwrap().path();
        for file in policies(&folder) {
            out.insert(file, BTreeSet::new());
        }
        let expected = fs::read_to_string(folder.join("expected.txt")).unwrap();
        for line in expected.lines() {
            let file = line.split(':').next().map(|name| folder.join(name));
            let Some(code) = line.split(['[', ']']).nth(1) else {
                continue;
            };
            let codes = file.and_then(|file| out.get_mut(&file));
            codes.map(|codes| codes.insert(code.to_owned()));
        }
    }
    out
}

#[test]
fn every_key_that_is_unknown_and_every_value_of_a_wrong_type_is_marked() {
    let bad = bad();
    let files: Vec<PathBuf> = bad.keys().cloned().collect();
    let marked = marked(&files);
    let mut seen = 0;
    for (file, found) in &marked {
        let must = SEEN.iter().any(|code| bad[file].contains(*code));
        assert!(!must || !found.is_empty(), "{}", file.display());
        seen += usize::from(must);
    }
    assert!(seen >= 40, "only {seen}");
    // what it cannot know is left to the gateway
    let cannot = |codes: &BTreeSet<String>| codes.len() == 1 && codes.contains("test-failed");
    let left: Vec<_> = marked
        .iter()
        .filter(|(file, _)| cannot(&bad[*file]))
        .collect();
    assert!(!left.is_empty());
    assert!(left.iter().all(|(_, found)| found.is_empty()), "{left:#?}");
}
