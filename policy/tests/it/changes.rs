//! What a diff says of the rule that changed.

use crate::answers::load;

const FILE: &str = r#"postern = 1
[zone]
office = "192.168.1.0/24"
[schedule.day]
time = "08:00-18:00"
tz = "UTC"
[group]
it = ["nadia"]
hr = ["ines"]
[app.web]
host = "web.example"
upstream = "http://h"
allow.hr = { who = "@hr", from = "office", when = "day" }
allow.it = { who = "@it" }
[deny.left]
who = "nadia"
on = "app.web"
from = "office"
reason = "r"
"#;

/// The changes of access by person, with place and what is said of the rule.
fn changes(after: &str) -> Vec<String> {
    let diff = policy::diff(&load(FILE), &load(after));
    let told = diff.changes.iter().map(|change| {
        let (user, line) = (&change.user, change.line);
        let (before, after) = (change.before, change.after);
        let what = change.what.as_deref().unwrap_or("-");
        format!("{user} {before} -> {after} {line} {what}")
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told.dedup();
    told
}

#[test]
fn a_diff_names_the_keys_of_the_rule_that_changed_or_that_it_is_new_or_gone() {
    let cases: [(&str, &str, &[&str]); 9] = [
        (
            ", from = \"office\"",
            "",
            &["ines deny -> allow 13 `from` removed"],
        ),
        (
            ", from = \"office\", when = \"day\"",
            "",
            &["ines deny -> allow 13 `from` removed, `when` removed"],
        ),
        (
            "from = \"office\", when",
            "from = \"tunnel\", when",
            &[
                "ines allow -> deny 13 `from` changed",
                "ines deny -> allow 13 `from` changed",
            ],
        ),
        (
            "who = \"@it\" }",
            "who = \"@it\", device = \"known\" }",
            &["nadia allow -> deny 14 `device` added"],
        ),
        (
            "allow.it = { who = \"@it\" }\n",
            "",
            &["nadia allow -> deny 14 removed"],
        ),
        (
            "[deny.left]",
            "[app.web.\"/b\"]\nallow.hr = { who = \"@hr\" }\n[deny.left]",
            &["ines deny -> allow 16 new", "nadia allow -> deny 14 -"],
        ),
        (
            "on = \"app.web\"\nfrom = \"office\"\n",
            "on = \"app.web\"\n",
            &["nadia allow -> deny 15 `from` removed"],
        ),
        (
            "[deny.left]\nwho = \"nadia\"\non = \"app.web\"\nfrom = \"office\"\nreason = \"r\"\n",
            "",
            &["nadia deny -> allow 15 removed"],
        ),
        // the rule says what it said: who is in the group changed
        (
            "it = [\"nadia\"]",
            "it = [\"nadia\", \"ines\"]",
            &["ines deny -> allow 14 -"],
        ),
    ];
    for (from, to, expected) in cases {
        let after = FILE.replacen(from, to, 1);
        assert_ne!(after, FILE, "{from}");
        let mut told = changes(&after);
        told.retain(|line| line.contains("allow"));
        let strangers = told.iter().any(|line| line.starts_with("anyone"));
        assert!(!strangers, "{told:?}");
        assert_eq!(told, expected, "{from} -> {to}");
    }
}

#[test]
fn the_text_of_a_diff_ends_with_what_changed() {
    let after = FILE.replacen(", from = \"office\"", "", 1);
    let diff = policy::diff(&load(FILE), &load(&after));
    let text = diff.to_text();
    let first = text.lines().next().unwrap();
    assert!(
        first.ends_with("   policy.toml:13  `from` removed"),
        "{text}"
    );
    let json = serde_json::to_value(&diff).unwrap();
    assert_eq!(json["changes"][0]["what"], "`from` removed", "{json}");
}
