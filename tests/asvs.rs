//! The table of SECURITY.md: complete, and each test it names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The requirements of chapters 3, 6, 7 and 8 that apply, each with its level.
const APPLY: &str = "
    3.1.1/3 3.2.1/1 3.2.2/1 3.2.3/3 3.3.1/1 3.3.2/2 3.3.3/2 3.3.4/2 3.3.5/3
    3.4.1/1 3.4.2/1 3.4.3/2 3.4.4/2 3.4.5/2 3.4.6/2 3.4.7/3 3.4.8/3
    3.5.1/1 3.5.2/1 3.5.3/1 3.5.4/2 3.5.5/2 3.5.6/3 3.5.7/3 3.5.8/3 3.6.1/3
    3.7.1/2 3.7.2/2 3.7.3/3 3.7.4/3 3.7.5/3
    6.1.1/1 6.1.2/2 6.1.3/2 6.2.1/1 6.2.2/1 6.2.3/1 6.2.4/1 6.2.5/1 6.2.6/1 6.2.7/1 6.2.8/1
    6.2.9/2 6.2.10/2 6.2.11/2 6.2.12/2
    6.3.1/1 6.3.2/1 6.3.3/2 6.3.4/2 6.3.5/3 6.3.6/3 6.3.7/3 6.3.8/3
    6.4.1/1 6.4.2/1 6.4.3/2 6.4.4/2 6.4.5/3 6.4.6/3
    6.5.1/2 6.5.2/2 6.5.3/2 6.5.4/2 6.5.5/2 6.5.6/3 6.5.8/3 6.6.3/2
    7.1.1/2 7.1.2/2 7.2.1/1 7.2.2/1 7.2.3/1 7.2.4/1 7.3.1/2 7.3.2/2
    7.4.1/1 7.4.2/1 7.4.3/2 7.4.4/2 7.4.5/2 7.5.1/2 7.5.2/2 7.5.3/3 7.6.2/2
    8.1.1/1 8.1.2/2 8.1.3/3 8.1.4/3 8.2.1/1 8.2.2/1 8.2.3/2 8.2.4/3 8.3.1/1 8.3.2/3 8.3.3/3 8.4.2/3";
/// Level 1 and 2 without a test: what only a document can show, or what is not there at all.
const WITHOUT_A_TEST: [&str; 10] = [
    "3.5.5", "6.1.1", "6.1.3", "7.1.1", "7.1.2", "8.1.1", "8.1.2", "8.1.3", "3.7.3", "3.7.4",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The rows of the table: id, level, and what shows it.
fn rows() -> Vec<(String, String, String)> {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, table) = text.split_once("## ASVS 5.0").unwrap();
    let table = table.split("\n## ").next().unwrap();
    let lines = table.lines().filter(|line| line.starts_with("| "));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    cells
        .filter(|cells: &Vec<&str>| cells[0] != "id")
        .map(|cells| {
            assert_eq!(cells.len(), 4, "{cells:?}");
            (
                cells[0].to_owned(),
                cells[1].to_owned(),
                cells[3].to_owned(),
            )
        })
        .collect()
}

/// The names of all test functions of the tree.
fn tests(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with(".git") {
                tests(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    is_test = true;
                } else if let Some(name) = function(line).filter(|_| is_test) {
                    found.insert(name.to_owned());
                    is_test = false;
                }
            }
        }
    }
}

fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line);
    rest.strip_prefix("fn ")?.split('(').next()
}

#[test]
fn every_requirement_that_applies_has_a_row_with_its_level() {
    let table: Vec<_> = rows()
        .into_iter()
        .map(|(id, level, _)| format!("{id}/{level}"))
        .collect();
    let wanted: Vec<_> = APPLY.split_whitespace().collect();
    assert_eq!(table, wanted);
}

#[test]
fn every_row_names_tests_that_are_there_or_says_what_is_missing() {
    let mut all = BTreeSet::new();
    tests(root(), &mut all);
    assert!(all.len() > 500, "{}", all.len());
    for (id, level, shown) in rows() {
        let stated = shown.starts_with("gap: ") || shown.starts_with("document: ");
        if stated {
            let known = level == "3" || WITHOUT_A_TEST.contains(&id.as_str());
            assert!(known, "{id} needs a test: {shown}");
            continue;
        }
        for name in shown.split(", ") {
            let name = name.strip_prefix('`').and_then(|n| n.strip_suffix('`'));
            let name = name.unwrap_or_else(|| panic!("{id}: {shown}"));
            assert!(all.contains(name), "{id}: there is no test {name}");
        }
    }
}
