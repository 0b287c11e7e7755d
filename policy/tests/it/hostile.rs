//! Files that are large, deep or broken: a finding, never a panic, never a wait.

use policy::{Diagnostic, Sources};

use crate::support;
use proptest::prelude::*;

const GOOD: &str = include_str!("good.toml");

fn load(text: String) -> Result<policy::Loaded, Vec<Diagnostic>> {
    let mut sources = Sources::new();
    sources.add("policy.toml", text);
    policy::load(&sources)
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
    #![proptest_config(ProptestConfig { cases: if support::long() { 100_000 } else { 1500 }, failure_persistence: None, ..ProptestConfig::default() })]

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
