//! The hard limits: what is just at a limit loads, what is one over is refused with the limit in the finding. The two
//! largest are loaded in the long run only.

use std::fmt::Write as _;

use policy::{Diagnostic, Sources};

use crate::support;

const GOOD: &str = include_str!("good.toml");

fn load(text: String) -> Result<policy::Loaded, Vec<Diagnostic>> {
    let mut sources = Sources::new();
    sources.add("policy.toml", text);
    policy::load(&sources)
}

#[track_caller]
fn loads(text: String) {
    if let Err(diags) = load(text) {
        panic!("{:?}", diags.first());
    }
}

fn refused(text: String) -> (&'static str, String) {
    let first = load(text).map(|_| ()).unwrap_err().remove(0);
    (first.code, first.title)
}

fn limit(title: &str) -> (&'static str, String) {
    ("limit", title.to_owned())
}

fn areas(count: usize) -> String {
    let mut text = GOOD.to_owned();
    for at in 0..count {
        writeln!(
            text,
            "[app.web.\"/area{at}\"]\nallow.it = {{ who = \"@it\" }}"
        )
        .unwrap();
    }
    text
}

#[test]
fn an_app_has_1024_areas() {
    // good.toml has three
    loads(areas(1021));
    assert_eq!(
        refused(areas(1022)),
        limit("1025 areas in one app, the limit is 1024")
    );
}

fn group_levels(count: usize) -> String {
    let mut text = "postern = 1\n[group]\ng1 = [\"a\"]\n".to_owned();
    for at in 2..=count {
        writeln!(text, "g{at} = [\"@g{}\"]", at - 1).unwrap();
    }
    text
}

#[test]
fn groups_nest_16_levels() {
    loads(group_levels(16));
    for count in [17, 5000] {
        let (code, title) = refused(group_levels(count));
        assert_eq!(code, "limit");
        assert!(title.contains("more than 16 levels"), "{title}");
    }
}

fn rules(count: usize) -> String {
    let mut text = "postern = 1\n[group]\nit = [\"a\"]\n[admin.allow]\n".to_owned();
    for at in 0..count {
        writeln!(text, "r{at} = {{ who = \"@it\" }}").unwrap();
    }
    text
}

#[test]
fn a_policy_has_200000_rules() {
    if support::long() {
        loads(rules(200_000));
    }
    assert_eq!(
        refused(rules(200_001)),
        limit("200001 rules, the limit is 200000")
    );
}

fn zones(count: usize) -> String {
    let mut text = "postern = 1\n[zone]\n".to_owned();
    for at in 0..count {
        writeln!(text, "z{at} = \"10.{}.{}.0/24\"", at / 256 % 256, at % 256).unwrap();
    }
    text
}

#[test]
fn a_policy_has_65536_zones() {
    // two are built in
    loads(zones(65_534));
    let (code, title) = refused(zones(65_537));
    assert_eq!(code, "limit");
    assert!(title.ends_with("zones, the limit is 65536"), "{title}");
}

fn rates(count: usize) -> String {
    let mut text = "postern = 1\n[rate]\n".to_owned();
    for at in 0..count {
        writeln!(text, "r{at} = \"1/s\"").unwrap();
    }
    text
}

#[test]
fn a_policy_has_65536_rates() {
    loads(rates(65_536));
    assert_eq!(
        refused(rates(65_537)),
        limit("65537 rates, the limit is 65536")
    );
}

fn schedules(count: usize) -> String {
    let mut text = "postern = 1\n[schedule]\n".to_owned();
    for at in 0..count {
        writeln!(text, "s{at} = {{ time = \"08:00-18:00\", tz = \"UTC\" }}").unwrap();
    }
    text
}

#[test]
fn a_policy_has_65536_schedules() {
    if support::long() {
        loads(schedules(65_536));
    }
    assert_eq!(
        refused(schedules(65_537)),
        limit("65537 schedules, the limit is 65536")
    );
}

#[test]
fn a_file_has_8_mib() {
    let most = 8 * 1024 * 1024;
    let padded = |bytes: usize| {
        let line = format!("#{}\n", "x".repeat(1022));
        let mut text = GOOD.to_owned();
        while text.len() + line.len() <= bytes {
            text.push_str(&line);
        }
        text.push_str(&"\n".repeat(bytes - text.len()));
        text
    };
    loads(padded(most));
    assert_eq!(
        refused(padded(most + 1)),
        limit("file is larger than 8 MiB")
    );
}

#[test]
fn an_area_has_32_segments() {
    let deep = |count: usize| {
        let path = "/a".repeat(count);
        let text = GOOD.replace("\"/admin\"]", &format!("\"{path}\"]"));
        text.replace("example/admin", &format!("example{path}"))
    };
    loads(deep(32));
    let (code, title) = refused(deep(33));
    assert_eq!(code, "bad-path");
    assert!(title.contains("is not an area"), "{title}");
}

#[test]
fn rules_name_57_unusual_methods() {
    let named = |count: usize| {
        let words: Vec<String> = (0..count).map(|at| format!("\"M{at}\"")).collect();
        let list = format!("methods = [{}]", words.join(", "));
        GOOD.replace("methods = \"read\"", &list)
    };
    loads(named(57));
    assert_eq!(
        refused(named(58)),
        limit("more than 57 unusual methods are named")
    );
}
