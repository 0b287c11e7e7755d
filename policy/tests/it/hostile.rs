//! Files that are large, deep or broken: a finding, never a panic, never a wait.

use std::fmt::Write as _;

use policy::{Diagnostic, Sources};
use proptest::prelude::*;

const GOOD: &str = include_str!("good.toml");

fn load(text: String) -> Result<policy::Loaded, Vec<Diagnostic>> {
    let mut sources = Sources::new();
    sources.add("policy.toml", text);
    policy::load(&sources)
}

fn refused(text: String) -> String {
    load(text).map(|_| ()).unwrap_err().remove(0).title
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

fn group_levels(count: usize) -> String {
    let mut text = "postern = 1\n[group]\ng1 = [\"a\"]\n".to_owned();
    for at in 2..=count {
        writeln!(text, "g{at} = [\"@g{}\"]", at - 1).unwrap();
    }
    text
}

fn rules(count: usize) -> String {
    let mut text = "postern = 1\n[group]\nit = [\"a\"]\n[admin.allow]\n".to_owned();
    for at in 0..count {
        writeln!(text, "r{at} = {{ who = \"@it\" }}").unwrap();
    }
    text
}

#[test]
fn each_limit_holds_and_what_is_just_below_it_loads() {
    // good.toml has three areas
    assert!(load(areas(1021)).is_ok());
    assert_eq!(
        refused(areas(1022)),
        "1025 areas in one app, the limit is 1024"
    );
    assert!(load(group_levels(16)).is_ok());
    assert!(refused(group_levels(17)).contains("more than 16 levels"));
    assert!(refused(group_levels(5000)).contains("more than 16 levels"));
    assert!(refused(rules(200_001)).contains("the limit is 200000"));
    let padding = " ".repeat(8 * 1024 * 1024);
    assert_eq!(
        refused(format!("{GOOD}{padding}")),
        "file is larger than 8 MiB"
    );
    let deep = |count| GOOD.replace("\"/admin\"]", &format!("\"{}\"]", "/a".repeat(count)));
    let deep =
        |count| deep(count).replace("example/admin", &format!("example{}", "/a".repeat(count)));
    assert!(load(deep(32)).is_ok());
    assert!(refused(deep(33)).contains("is not an area"));
}

#[test]
fn deep_nesting_is_refused_without_running_out_of_stack() {
    for text in [
        format!(
            "postern = 1\nx = {}1{}\n",
            "[".repeat(100_000),
            "]".repeat(100_000)
        ),
        format!("postern = 1\nx = {}1\n", "{a=".repeat(100_000)),
        format!("postern = 1\n[{}a]\n", "a.".repeat(100_000)),
    ] {
        assert!(load(text).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_gives_findings_with_places(
        at in 0..GOOD.len(), cut in 0usize..40, put in "[\\[\\]{}\"=,.#@!*/\n a-z0-9é]{0,6}",
    ) {
        let end = (at + cut).min(GOOD.len());
        let text = format!("{}{put}{}", GOOD.get(..at).unwrap(), GOOD.get(end..).unwrap());
        let mut sources = Sources::new();
        sources.add("policy.toml", text);
        if let Err(diags) = policy::load(&sources) {
            prop_assert!(!diags.is_empty());
            for diag in diags {
                let line = diag.one_line(&sources);
                prop_assert!(line.starts_with("policy.toml:"), "{}", line);
                prop_assert!(!line.chars().any(char::is_control), "{}", line);
            }
        }
    }

    #[test]
    fn any_text_is_loaded_or_refused(text in "\\PC{0,200}") {
        drop(load(text));
    }
}
