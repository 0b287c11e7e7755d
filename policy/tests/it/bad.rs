//! Every mistake has a finding with a place and a way out, written down in a golden file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use policy::{Diagnostic, Edit, Severity, Sources};

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

/// 2026-11-20: after some schedules of the folders, before others.
const NOW: i64 = 1_795_132_800;

/// What a load warns of and what `policy lint` adds.
fn doubts(sources: &Sources) -> Vec<Diagnostic> {
    let loaded = policy::load(sources).unwrap_or_else(|diags| panic!("{diags:?}"));
    let mut found = loaded.warnings;
    found.extend(loaded.policy.lint(Some(NOW)));
    found.sort_by_key(|diag| (diag.span.file, diag.span.start));
    found
}

#[test]
fn each_doubtful_folder_loads_with_the_warnings_written_down() {
    let mut differ = Vec::new();
    for dir in support::listed(&support::root().join("tests/warn")) {
        let sources = support::folder(&dir);
        let found = doubts(&sources);
        assert!(found.iter().all(|diag| diag.severity == Severity::Warning));
        let out = render(&sources, &found);
        differ.extend(support::golden(&dir.join("expected.txt"), &out).err());
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Each folder has a twin that differs in what the warning is about.
#[test]
fn the_twin_of_a_doubtful_folder_lacks_its_warning() {
    for dir in support::listed(&support::root().join("tests/warn")) {
        let codes = |dir: &Path| -> BTreeSet<&str> {
            let found = doubts(&support::folder(dir));
            found.iter().map(|diag| diag.code).collect()
        };
        let (own, twin) = (codes(&dir), codes(&dir.join("twin")));
        let gone = own.difference(&twin).count();
        assert!(gone > 0, "{}: {own:?} {twin:?}", dir.display());
    }
}

fn render(sources: &Sources, diags: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diag in diags {
        writeln!(out, "{}", diag.one_line(sources)).unwrap();
        for (span, note) in &diag.related {
            writeln!(out, "    {} {note}", sources.locate(span)).unwrap();
        }
        if let Some(Edit { span, text }) = diag.fix(sources) {
            let wrong = sources.text(span.file);
            let wrong = wrong.get(span.start as usize..span.end as usize).unwrap();
            writeln!(out, "    {} `{wrong}` to `{text}`", sources.locate(&span)).unwrap();
        }
    }
    out
}

/// The files with one of them changed.
fn edited(sources: &Sources, edit: &Edit) -> Sources {
    let mut out = Sources::new();
    for file in sources.files() {
        let mut text = sources.text(file).to_owned();
        if file == edit.span.file {
            text.replace_range(edit.span.start as usize..edit.span.end as usize, &edit.text);
        }
        let (path, relative) = (sources.path(file), sources.relative(file));
        match sources.is_list(file) {
            true => out.add_list(path, relative, text),
            false => out.add_at(path, relative, text),
        };
    }
    out
}

#[test]
fn a_fix_takes_its_finding_away_and_every_suggestion_of_a_name_has_one() {
    let mut fixes = 0;
    for dir in support::listed(&support::root().join("tests/bad")) {
        let sources = support::folder(&dir);
        let found = policy::load(&sources).err().unwrap_or_default();
        let told = |diags: &[Diagnostic], diag: &Diagnostic| {
            let same = |d: &&Diagnostic| (d.code, &d.title) == (diag.code, &diag.title);
            diags.iter().filter(same).count()
        };
        for diag in &found {
            let place = diag.one_line(&sources);
            let Some(edit) = diag.fix(&sources) else {
                let help = diag.help.as_deref().unwrap_or_default();
                assert!(!help.starts_with("did you mean"), "{place}");
                continue;
            };
            let left = policy::load(&edited(&sources, &edit)).err();
            let left = told(&left.unwrap_or_default(), diag);
            assert_eq!(left + 1, told(&found, diag), "{place}");
            fixes += 1;
        }
    }
    assert!(fixes >= 40, "only {fixes}");
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
        seen.extend(doubts(&support::folder(&dir)).iter().map(|diag| diag.code));
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
        "differing-obligations",
        "domain-twice",
        "duplicate-key",
        "empty-group",
        "empty-list",
        "empty-who",
        "expired",
        "group-cycle",
        "guard-never-fires",
        "headless",
        "host-bits",
        "host-twice",
        "in-tenant-domain",
        "invariant-broken",
        "limit",
        "lock-out",
        "looser-area",
        "matches-nobody",
        "misplaced",
        "missing-file",
        "missing-key",
        "never-asked",
        "never-true",
        "no-attributes",
        "no-effect",
        "no-rate",
        "one-admin",
        "other-tenant",
        "outside-domains",
        "overlap",
        "overlapping-zones",
        "public-unused",
        "quota",
        "readings",
        "reserved",
        "shared-cache",
        "shadowed-allow",
        "syntax",
        "test-failed",
        "unclaimed",
        "unknown-key",
        "unknown-name",
        "unreachable-allow",
        "unused",
        "upstream-of-gateway",
        "upstream-of-others",
        "upstream-outside",
        "version",
        "weak-preset",
        "weaker-mfa",
        "world-open",
        "wraps-midnight",
        "wrong-type",
    ];
    assert_eq!(seen, all.into_iter().collect());
}
