//! Every mistake has a finding with a place and a way out, written down in a golden file.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use policy::{Diagnostic, Severity, Sources};

use crate::support;

#[test]
fn each_bad_folder_gives_exactly_the_findings_written_down() {
    let mut differ = Vec::new();
    let mut folders = 0;
    for dir in support::listed(&support::root().join("tests/bad")) {
        let sources = support::folder(&dir);
        let Err(diags) = policy::load(&sources) else {
            panic!("{} was loaded", dir.display())
        };
        assert!(diags.iter().all(|diag| diag.severity == Severity::Error));
        let out = render(&sources, &diags);
        differ.extend(support::golden(&dir.join("expected.txt"), &out).err());
        folders += 1;
    }
    assert!(folders >= 180, "only {folders} bad folders");
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn each_doubtful_folder_loads_with_the_warnings_written_down() {
    let mut differ = Vec::new();
    for dir in support::listed(&support::root().join("tests/warn")) {
        let sources = support::folder(&dir);
        let loaded =
            policy::load(&sources).unwrap_or_else(|diags| panic!("{}: {diags:?}", dir.display()));
        assert!(!loaded.warnings.is_empty(), "{}", dir.display());
        let out = render(&sources, &loaded.warnings);
        differ.extend(support::golden(&dir.join("expected.txt"), &out).err());
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

fn render(sources: &Sources, diags: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diag in diags {
        writeln!(out, "{}", diag.one_line(sources)).unwrap();
        for (span, note) in &diag.related {
            writeln!(out, "    {} {note}", sources.locate(span)).unwrap();
        }
    }
    out
}

/// The twin: the folder all bad ones are variations of.
#[test]
fn the_folder_behind_the_bad_ones_is_good() {
    let mut sources = Sources::new();
    sources.add("policy.toml", include_str!("good.toml").to_owned());
    let loaded = policy::load(&sources).unwrap_or_else(|diags| panic!("{diags:?}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn every_reason_code_has_a_folder() {
    let mut seen = BTreeSet::new();
    for dir in support::listed(&support::root().join("tests/bad")) {
        let sources = support::folder(&dir);
        let diags = policy::load(&sources).err().into_iter().flatten();
        seen.extend(diags.map(|diag| diag.code));
    }
    for dir in support::listed(&support::root().join("tests/warn")) {
        let loaded = policy::load(&support::folder(&dir)).unwrap();
        seen.extend(loaded.warnings.iter().map(|diag| diag.code));
    }
    let all = [
        "always",
        "area-twice",
        "bad-invariant",
        "bad-name",
        "bad-path",
        "bad-test",
        "bad-value",
        "bad-who",
        "binds-nothing",
        "defined-twice",
        "denies-all",
        "domain-twice",
        "duplicate-key",
        "empty-group",
        "empty-list",
        "empty-who",
        "group-cycle",
        "host-bits",
        "host-twice",
        "in-tenant-domain",
        "invariant-broken",
        "limit",
        "matches-nobody",
        "misplaced",
        "missing-file",
        "missing-key",
        "never-asked",
        "never-true",
        "no-attributes",
        "no-rate",
        "not-built-yet",
        "other-tenant",
        "outside-domains",
        "overlap",
        "public-unused",
        "quota",
        "reserved",
        "syntax",
        "test-failed",
        "unclaimed",
        "unknown-key",
        "unknown-name",
        "version",
        "weaker-mfa",
        "world-open",
        "wraps-midnight",
        "wrong-type",
    ];
    assert_eq!(seen, all.into_iter().collect());
}
