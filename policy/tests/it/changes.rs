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
        // the rule says what it said: who is in the group changed, and that is said
        (
            "it = [\"nadia\"]",
            "it = [\"nadia\", \"ines\"]",
            &["ines deny -> allow 8 `[group] it` changed"],
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

/// Text and JSON of the changes that concern an outcome, with the settings.
fn told(before: &str, after: &str) -> (String, serde_json::Value) {
    let diff = policy::diff(&load(before), &load(after));
    (diff.to_text(), serde_json::to_value(&diff).unwrap())
}

#[test]
fn a_schedule_that_changed_is_told_as_it_was_and_as_it_will_be() {
    let before = FILE.replacen("time = ", "days = \"mon-fri\"\ntime = ", 1);
    let after = before.replacen("08:00-18:00", "18:00-19:00", 1);
    let (text, json) = told(&before, &after);
    let (was, is) = (
        "day as it was (mon-fri 08:00-18:00 UTC)",
        "day as it will be (mon-fri 18:00-19:00 UTC)",
    );
    for line in [
        format!(
            "+ deny -> allow   ines   app.web/   from office; outside {was} and in {is}; with a code; sign-in up to 12h old   policy.toml:4  `[schedule] day` changed\n"
        ),
        format!(
            "- allow -> deny   ines   app.web/   from office; in {was} and outside {is}; with a code; sign-in up to 12h old   policy.toml:4  `[schedule] day` changed\n"
        ),
        "~ setting   schedule.day   time   -\"08:00-18:00\" +\"18:00-19:00\"   policy.toml:4\n"
            .to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    let opened = serde_json::json!({
        "user": "ines", "resource": "app.web/", "before": "deny", "after": "allow",
        "contexts": [format!("from office; outside {was} and in {is}; with a code; sign-in up to 12h old")],
        "file": "policy.toml", "line": 4, "what": "`[schedule] day` changed",
    });
    assert!(
        json["changes"].as_array().unwrap().contains(&opened),
        "{json:#}"
    );
    assert_eq!(
        json["settings"],
        serde_json::json!([{
            "of": "schedule.day", "key": "time", "before": "[\"08:00-18:00\"]",
            "after": "[\"18:00-19:00\"]", "widens": false, "at": "policy.toml:4",
        }])
    );
    // of the days, the dates and the time zone alone
    for (from, to, is) in [
        ("mon-fri", "mon-wed\", \"sat", "mon-wed,sat 08:00-18:00 UTC"),
        (
            "tz = \"UTC\"",
            "tz = \"Asia/Tokyo\"",
            "mon-fri 08:00-18:00 Asia/Tokyo",
        ),
        (
            "tz = \"UTC\"",
            "tz = \"UTC\"\nbetween = \"2026-01-01..2026-06-30\"",
            "mon-fri 08:00-18:00 2026-01-01..2026-06-30 UTC",
        ),
    ] {
        let after = before
            .replace("days = \"mon-fri\"", "days = [\"mon-fri\"]")
            .replacen(from, to, 1);
        let (text, _) = told(&before, &after);
        assert!(
            text.contains(&format!("day as it will be ({is})")),
            "{text}"
        );
    }
}

#[test]
fn a_zone_that_moved_is_told_by_its_networks() {
    let after = FILE.replacen("192.168.1.0/24", "10.9.0.0/24", 1);
    let (text, json) = told(FILE, &after);
    let more = "with a code; sign-in up to 12h old   policy.toml:3  `[zone] office` changed";
    for line in [
        format!(
            "+ deny -> allow   ines   app.web/   from 10.9.0.0/24 (office as it will be, internet as it was); in day; {more}\n"
        ),
        format!(
            "- allow -> deny   ines   app.web/   from 192.168.1.0/24 (internet as it will be, office as it was); in day; {more}\n"
        ),
        // the guard, which no longer stops her there, and stops her elsewhere
        format!(
            "+ deny -> allow   nadia   app.web/   from 192.168.1.0/24 (internet as it will be, office as it was); {more}\n"
        ),
        "~ setting   zone   office   -\"192.168.1.0/24\" +\"10.9.0.0/24\"   policy.toml:3\n"
            .to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    let changes = json["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| {
        change["contexts"][0]
            .as_str()
            .is_some_and(|text| text.starts_with("from 10.9.0.0/24 (office as it will be"))
            && change["line"] == 3
    }));
    // what is outside of it on both sides
    let tunnel = FILE.replacen("who = \"@it\" }", "who = \"@it\", from = \"tunnel\" }", 1);
    let (text, _) = told(
        FILE,
        &tunnel.replacen("192.168.1.0/24", "192.168.0.0/23", 1),
    );
    for part in [
        "nadia   app.web/   from internet as it was and as it will be;",
        "nadia   app.web/   from 192.168.0.0/24 (office as it will be, internet as it was);",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn names_that_mean_the_same_stay_as_they_are() {
    let more = FILE.replacen(
        "[group]",
        "[schedule.late]\ntime = \"18:00-20:00\"\ntz = \"UTC\"\n[group]",
        1,
    );
    let after = more.replacen("when = \"day\"", "when = [\"day\", \"late\"]", 1);
    let (text, _) = told(FILE, &after);
    assert!(
        text.contains("from office; outside day and in late;"),
        "{text}"
    );
    assert!(!text.contains("as it"), "{text}");
}

#[test]
fn a_group_that_changed_is_told_with_the_innermost_line() {
    let nested = FILE.replacen("hr = [\"ines\"]", "hr = [\"@paie\"]\npaie = [\"ines\"]", 1);
    let after = nested.replacen("paie = [\"ines\"]", "paie = [\"ines\", \"max\"]", 1);
    let (text, _) = told(&nested, &after);
    assert!(
        text.contains("max   app.web/   from office; in day; with a code; sign-in up to 12h old   policy.toml:10  `[group] paie` changed\n"),
        "{text}"
    );
    assert!(
        text.contains("~ setting   group   paie   +\"max\"   policy.toml:10\n"),
        "{text}"
    );
    // whom the change is not about is told of nothing
    assert!(!text.contains("ines"), "{text}");
}

#[test]
fn an_account_that_was_disabled_is_told() {
    let two = |off: bool| {
        let mut sources = policy::Sources::new();
        sources.add("policy.toml", FILE.to_owned());
        let users = format!("postern = 1\n[user.ines]\ndisabled = {off}\n[user.nadia]\n");
        sources.add("users.toml", users);
        policy::load(&sources).unwrap().policy
    };
    let diff = policy::diff(&two(false), &two(true));
    let told = diff
        .changes
        .iter()
        .map(|change| (&*change.user, change.what.as_deref()));
    let told: Vec<_> = told.filter(|(user, _)| *user == "ines").collect();
    assert!(!told.is_empty());
    assert!(
        told.iter()
            .all(|(_, what)| *what == Some("`[user] ines` disabled")),
        "{told:?}"
    );
}
