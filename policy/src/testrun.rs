//! The tests that a policy carries: `[[test]]`, run at every load.

use crate::compile::Policy;
use crate::diag::{Diagnostic, Meant, show};
use crate::query::{Names, QueryError, QueryField, QueryText};
use crate::resolve::tenants::owner;
use crate::source::Span;
use crate::syntax::{ExpectAst, TestAst, Word};

/// How one `[[test]]` went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// Its name, or its question when it has none.
    pub name: String,
    /// Where it stands.
    pub span: Span,
    /// Whether the answer was the expected one.
    pub passed: bool,
    /// Such as `allow` or `deny by deny.x`.
    pub expected: String,
    /// Such as `allow by app.paie#it`.
    pub got: String,
    /// The answer explained, for people; empty where it was the expected one.
    pub explanation: String,
}

impl TestResult {
    /// The finding for a test that failed.
    pub(crate) fn diagnostic(&self) -> Option<Diagnostic> {
        let title = format!(
            "test `{}` expected {}, got {}",
            show(&self.name),
            self.expected,
            self.got
        );
        let finding = Diagnostic::error("test-failed", self.span, title)
            .label("this test")
            .help("correct the rule or the test; `postern policy explain` shows why");
        (!self.passed).then_some(finding)
    }
}

/// Looks up every word of the tests that are written down, so that all mistakes in them are told whatever else is wrong.
pub(crate) fn check(names: Names<'_>, tests: &[TestAst], diags: &mut Vec<Diagnostic>) {
    for test in tests {
        let faults = names.faults(&asked(test)).into_iter();
        let is_said = |error: &QueryError| error.field != QueryField::To || test.to.is_some();
        diags.extend(faults.filter(is_said).map(|error| bad(test, error)));
    }
}

/// Runs all tests; those that cannot be asked become findings.
pub(crate) fn run(
    policy: &Policy,
    tests: &[TestAst],
    diags: &mut Vec<Diagnostic>,
) -> Vec<TestResult> {
    tests
        .iter()
        .filter_map(|test| one(policy, test, diags))
        .collect()
}

fn one(policy: &Policy, test: &TestAst, diags: &mut Vec<Diagnostic>) -> Option<TestResult> {
    let (to, expect) = (test.to.as_ref()?, test.expect.as_ref()?);
    let known = known_rule(policy, expect, diags);
    let query = policy.query(&asked(test));
    let query = query.map_err(|error| diags.push(bad(test, error)));
    let (Ok(query), true) = (query, known) else {
        return None;
    };
    let decision = policy.decide(&query);
    let rule = &policy.rule(decision.rule).id;
    let right = expect.outcome.v == decision.outcome.as_str();
    let by = expect.rule.as_ref().is_none_or(|own| own.v == **rule);
    let passed = right && by;
    Some(TestResult {
        name: test.name.clone().unwrap_or_else(|| to.v.to_string()),
        span: test.span,
        passed,
        expected: match &expect.rule {
            Some(rule) => format!("{} by {}", expect.outcome.v, rule.v),
            None => expect.outcome.v.to_string(),
        },
        got: format!("{} by {rule}", decision.outcome),
        // it costs more than the decision, and every load runs the tests
        explanation: match passed {
            true => String::new(),
            false => policy.explain(&query).to_text(),
        },
    })
}

fn asked(test: &TestAst) -> QueryText {
    let subject = &test.subject;
    let own = |word: &Word| word.v.to_string();
    let text = |word: &Option<Word>| word.as_ref().map(own);
    QueryText {
        user: text(&subject.user),
        groups: subject.groups.iter().map(own).collect(),
        by: text(&subject.by),
        from: text(&subject.from),
        at: text(&subject.at),
        device: text(&subject.device),
        mfa: text(&subject.mfa),
        login: text(&subject.login),
        to: text(&test.to).unwrap_or_default(),
    }
}

fn bad(test: &TestAst, error: QueryError) -> Diagnostic {
    let span = place(test, error.field).unwrap_or(test.span);
    Diagnostic::error("bad-test", span, error.title)
        .help_opt(error.help)
        .meant(error.meant.map(|meant| *meant))
}

/// Whether the rule a test names exists; a rule that does not is a finding, not a failed test.
fn known_rule(policy: &Policy, expect: &ExpectAst, diags: &mut Vec<Diagnostic>) -> bool {
    let Some(rule) = &expect.rule else {
        return true;
    };
    let mut ids = policy.rules.iter().map(|info| &*info.id);
    if ids.any(|id| rule.v == id) {
        return true;
    }
    let ids = policy.rules.iter().map(|info| &*info.id);
    diags.push(
        Diagnostic::error(
            "unknown-name",
            rule.span,
            format!("unknown rule `{}`", show(&rule.v)),
        )
        .meant(tenants_rule(policy, &rule.v).or_else(|| Meant::near(&rule.v, ids))),
    );
    false
}

/// Rules are named as the journal names them, in tenants' files too.
fn tenants_rule(policy: &Policy, rule: &str) -> Option<Meant> {
    let mut ids = policy.rules.iter().map(|info| &*info.id);
    let found = ids
        .find(|id| owner(id).is_some() && id.split_once('/').is_some_and(|(_, own)| own == rule))?;
    Some(Meant::name(rule, found.to_string()))
}

fn place(test: &TestAst, field: QueryField) -> Option<Span> {
    let subject = &test.subject;
    let word = match field {
        QueryField::User => subject.user.as_ref(),
        QueryField::Group(at) => subject.groups.get(at),
        QueryField::By => subject.by.as_ref(),
        QueryField::From => subject.from.as_ref(),
        QueryField::At => subject.at.as_ref(),
        QueryField::Device => subject.device.as_ref(),
        QueryField::Mfa => subject.mfa.as_ref(),
        QueryField::Login => subject.login.as_ref(),
        QueryField::To => test.to.as_ref(),
    };
    word.map(|word| word.span)
}
