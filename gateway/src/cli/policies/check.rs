//! `postern policy check` and `policy test`: a folder read as a start reads it, and whether it locks people out.

use std::path::Path;

use policy::{Checked, Diagnostic, Policy, Severity, Sources, TestResult, guard};
use serde::Serialize;

use super::read;
use crate::cli::exit::{Exit, Failure};
use crate::cli::findings::{self, Finding};
use crate::cli::{Global, block_on, offline, out, render};

/// The help of `policy check`.
pub(super) const CHECK: &str = "Examples:
  postern policy check
  postern policy check --policy ./policy.new --json

Beside what a start reads this asks whether somebody who is enrolled could act in [admin] at all times: nobody is
an error, one person a warning. Putting such a policy in force is held, unless the one before has nobody either.
Who is enrolled is asked of the running gateway or read from its state folder; where neither can be had, that is
said. People whom the policy in force does not know count as not enrolled.";

#[derive(Serialize)]
struct CheckAnswer<'a> {
    ok: bool,
    digest: Option<&'a str>,
    tests: usize,
    findings: &'a [Finding],
    notes: &'a [String],
}

/// Loads a folder and asks whom it locks out.
///
/// # Errors
/// [`Exit::Config`] for a policy that does not load, or in which nobody could act in the console.
pub(super) fn check(dir: &Path, global: &Global) -> Result<(), Failure> {
    let sources = read(dir).inspect_err(|failure| refuse(&failure.findings, global.json))?;
    let (loaded, found, notes) = match policy::load(&sources) {
        Ok(mut loaded) => {
            let (found, notes) = lockout(&loaded.policy, enrolled(global));
            let mut all = std::mem::take(&mut loaded.warnings);
            all.extend(found);
            (Some(loaded), all, notes)
        }
        Err(found) => (None, found, Vec::new()),
    };
    let ok = found.iter().all(|d| d.severity != Severity::Error);
    if global.json {
        let sound = loaded.as_ref().filter(|_| ok);
        out::json(&CheckAnswer {
            ok,
            digest: sound.map(|loaded| loaded.policy.digest()),
            tests: sound.map_or(0, |loaded| loaded.tests_passed),
            findings: &findings::all(&sources, &found),
            notes: &notes,
        });
    } else {
        notes
            .iter()
            .for_each(|note| out::note(&format!("note: {note}")));
    }
    let Some(loaded) = loaded.filter(|_| ok) else {
        return Err(Failure::policy(&sources, &found));
    };
    if global.json {
        return Ok(());
    }
    if !found.is_empty() {
        out::note(&render::all(&sources, &found));
    }
    let (tests, warnings) = (loaded.tests_passed, found.len());
    out::line(&format!(
        "{}: ok, {tests} tests passed, {warnings} warnings",
        dir.display()
    ));
    Ok(())
}

/// Gives the answer for a folder that is not read.
fn refuse(findings: &[Finding], json: bool) {
    if json {
        out::json(&CheckAnswer {
            ok: false,
            digest: None,
            tests: 0,
            findings,
            notes: &[],
        });
    }
}

/// Who has both factors, or why that is not known.
type Enrolled = Result<Vec<String>, String>;

/// Asks the running gateway, else its state folder; makes nothing.
fn enrolled(global: &Global) -> Enrolled {
    let first = |failure: Failure| failure.text.lines().next().unwrap_or_default().to_owned();
    let config = global.config().map_err(first)?;
    if !config.data.exists() {
        return Ok(Vec::new());
    }
    let asked = block_on(async {
        let gateway = offline::any(config).await?;
        Ok(gateway.user_enrolled().await?)
    });
    asked.map_err(first)
}

/// Asks the guard of the console; where nobody's enrolment tells anything, everybody counts as enrolled.
fn lockout(policy: &Policy, enrolled: Enrolled) -> (Vec<Diagnostic>, Vec<String>) {
    let all = |note: String| (guard::lockout(policy, |_| true), vec![note]);
    match enrolled {
        Ok(names) if names.is_empty() => all(
            "nobody is enrolled yet; whether somebody could act in [admin] was asked as if everybody were"
                .to_owned(),
        ),
        Ok(names) => {
            let is_enrolled = |name: &str| names.iter().any(|own| own == name);
            (guard::lockout(policy, is_enrolled), Vec::new())
        }
        Err(why) => all(format!(
            "who is enrolled is not known from here ({why}); whether somebody could act in [admin] was asked as if everybody were"
        )),
    }
}

#[derive(Serialize)]
struct TestAnswer<'a> {
    ok: bool,
    passed: usize,
    failed: usize,
    tests: Vec<TestLine<'a>>,
}

#[derive(Serialize)]
struct TestLine<'a> {
    name: &'a str,
    file: &'a str,
    line: u32,
    passed: bool,
    expected: &'a str,
    got: &'a str,
}

/// Runs the tests of a folder and tells each.
///
/// # Errors
/// [`Exit::Config`] for a policy that does not load or whose tests fail.
pub(super) fn test(dir: &Path, json: bool) -> Result<(), Failure> {
    let sources = read(dir)?;
    let Checked { tests, .. } =
        policy::check(&sources).map_err(|found| Failure::policy(&sources, &found))?;
    let failed: Vec<&TestResult> = tests.iter().filter(|t| !t.passed).collect();
    let passed = tests.len() - failed.len();
    if json {
        let line = |test| test_line(&sources, test);
        out::json(&TestAnswer {
            ok: failed.is_empty(),
            passed,
            failed: failed.len(),
            tests: tests.iter().map(line).collect(),
        });
    } else {
        tests.iter().for_each(|test| tell(&sources, test));
        out::line(&format!("{passed} passed, {} failed", failed.len()));
    }
    if failed.is_empty() {
        return Ok(());
    }
    let lines = failed
        .iter()
        .map(|t| format!("{}: test `{}` failed", sources.locate(&t.span), t.name));
    let lines: Vec<String> = lines.collect();
    Err(Failure::new(Exit::Config, lines.join("\n")))
}

fn test_line<'a>(sources: &'a Sources, test: &'a TestResult) -> TestLine<'a> {
    let at = sources.locate(&test.span);
    TestLine {
        name: &test.name,
        file: at.path,
        line: at.line,
        passed: test.passed,
        expected: &test.expected,
        got: &test.got,
    }
}

fn tell(sources: &Sources, test: &TestResult) {
    if test.passed {
        out::line(&format!("ok      {}", test.name));
        return;
    }
    let at = sources.locate(&test.span);
    out::line(&format!(
        "FAILED  {}\n        {at}: expected {}, got {}",
        test.name, test.expected, test.got
    ));
    for line in test.explanation.lines() {
        out::line(&format!("        {line}"));
    }
}

#[cfg(test)]
mod tests {
    use policy::{Policy, Sources};

    use super::lockout;

    fn policy(admin: &str) -> Policy {
        let mut sources = Sources::new();
        let text = format!(
            "postern = 1\n[group]\nit = [\"ann\", \"bob\"]\n[schedule.day]\ntime = \"08:00-18:00\"\ntz = \"UTC\"\n{admin}"
        );
        sources.add("policy.toml", text);
        policy::load(&sources).unwrap().policy
    }

    fn told(admin: &str, enrolled: Result<&[&str], &str>) -> (Vec<(String, &'static str)>, bool) {
        let enrolled = enrolled
            .map(|names| names.iter().map(|&name| name.to_owned()).collect())
            .map_err(str::to_owned);
        let (found, notes) = lockout(&policy(admin), enrolled);
        let found = found.into_iter();
        let found = found.map(|d| (d.severity.as_str().to_owned(), d.code));
        (found.collect(), notes.is_empty())
    }

    #[test]
    fn fewer_than_two_enrolled_administrators_are_a_warning_and_none_an_error() {
        let console = "[admin]\nallow.it = { who = \"@it\" }\n";
        let by_day = "[admin]\nallow.it = { who = \"@it\", when = \"day\" }\n";
        let error = vec![("error".to_owned(), "lock-out")];
        let warning = vec![("warning".to_owned(), "one-admin")];
        let none = Vec::new();
        for (admin, enrolled, expected, sure) in [
            (console, Ok(&["ann", "bob"][..]), &none, true),
            (console, Ok(&["ann", "carl"]), &warning, true),
            (console, Ok(&["carl"]), &error, true),
            (by_day, Ok(&["ann", "bob"]), &error, true),
            ("", Ok(&["ann", "bob"]), &error, true),
            // nobody yet, or not known: what the rules alone say, with a note
            (console, Ok(&[]), &none, false),
            (by_day, Ok(&[]), &error, false),
            (console, Err("no file"), &none, false),
            (by_day, Err("no file"), &error, false),
        ] {
            let told = told(admin, enrolled);
            assert_eq!(told, (expected.clone(), sure), "{admin} {enrolled:?}");
        }
    }
}
