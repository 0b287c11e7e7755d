//! `[[test]]` and `[[invariant]]`.

use super::super::keys;
use super::super::read::Reader;
use super::super::tree::{Entry, Table};
use super::super::{AsAst, Ast, ExpectAst, InvariantAst, RequiresAst, Sp, TestAst};
use crate::source::Span;

pub(super) fn tests(r: &mut Reader<'_>, entry: &Entry<'_>, ast: &mut Ast) {
    let Some(items) = entry.value.as_array() else {
        r.wrong_type(entry.value, entry.key, "written [[test]]");
        return;
    };
    for item in items {
        match item.as_table() {
            Some(table) => {
                let span = item.span();
                ast.tests.push(test(r, table, span));
            }
            None => r.wrong_type(item, entry.key, "written [[test]]"),
        }
    }
}

fn test(r: &mut Reader<'_>, table: Table<'_>, span: Span) -> TestAst {
    let mut test = TestAst {
        span,
        name: None,
        subject: AsAst::default(),
        to: None,
        expect: None,
    };
    for e in table.entries() {
        match e.key {
            "name" => test.name = r.string(&e).map(|word| word.v.to_string()),
            "as" => test.subject = subject(r, &e),
            "to" => test.to = r.string(&e),
            "expect" => test.expect = expect(r, &e),
            _ => r.stray_key(&e, keys::TEST, "[[test]]"),
        }
    }
    r.require(table, span, "[[test]]", "to", "\"https://host/path\"");
    r.require(table, span, "[[test]]", "expect", "\"deny\"");
    test
}

pub(super) fn invariants(r: &mut Reader<'_>, entry: &Entry<'_>, ast: &mut Ast) {
    let Some(items) = entry.value.as_array() else {
        r.wrong_type(entry.value, entry.key, "written [[invariant]]");
        return;
    };
    for item in items {
        match item.as_table() {
            Some(table) => {
                let span = item.span();
                ast.invariants.push(invariant(r, table, span));
            }
            None => r.wrong_type(item, entry.key, "written [[invariant]]"),
        }
    }
}

fn invariant(r: &mut Reader<'_>, table: Table<'_>, span: Span) -> InvariantAst {
    let mut out = InvariantAst {
        span,
        name: None,
        reach: None,
        only: None,
        never: None,
        requires: None,
        who: None,
        can_reach: None,
        disjoint: None,
    };
    for e in table.entries() {
        match e.key {
            "name" => out.name = r.string(&e).map(|word| word.v.to_string()),
            "reach" => out.reach = r.strings(&e),
            "only" => out.only = r.strings(&e),
            "never" => out.never = r.strings(&e),
            "requires" => out.requires = requires(r, &e),
            "who" => out.who = r.strings(&e),
            "can-reach" => out.can_reach = r.strings(&e),
            "tenants-disjoint" => {
                let v = r.boolean(&e).unwrap_or(true);
                out.disjoint = Some(Sp { v, span: e.span });
            }
            _ => r.stray_key(&e, keys::INVARIANT, "[[invariant]]"),
        }
    }
    out
}

fn requires(r: &mut Reader<'_>, entry: &Entry<'_>) -> Option<RequiresAst> {
    let table = r.table(entry)?;
    let mut out = RequiresAst::default();
    for e in table.entries() {
        match e.key {
            "device" => out.device = r.string(&e),
            "mfa" => out.mfa = r.string(&e),
            "login" => out.login = r.string(&e),
            "from" => out.from = r.strings(&e),
            _ => r.stray_key(&e, keys::REQUIRES, "`requires` of an invariant"),
        }
    }
    Some(out)
}

fn subject(r: &mut Reader<'_>, entry: &Entry<'_>) -> AsAst {
    let mut subject = AsAst::default();
    let Some(table) = r.table(entry) else {
        return subject;
    };
    for e in table.entries() {
        match e.key {
            "user" => subject.user = r.string(&e),
            "groups" => subject.groups = r.strings(&e).map(|list| list.v).unwrap_or_default(),
            "by" => subject.by = r.string(&e),
            "from" => subject.from = r.string(&e),
            "at" => subject.at = r.string(&e),
            "device" => subject.device = r.string(&e),
            "mfa" => subject.mfa = r.string(&e),
            "login" => subject.login = r.string(&e),
            _ => r.stray_key(&e, keys::AS, "`as` of a test"),
        }
    }
    subject
}

/// What a test may expect.
pub(in crate::syntax) const OUTCOMES: [&str; 4] = ["allow", "step-up", "login", "deny"];

/// `"deny"`, or `{ deny = "rule id" }`.
fn expect(r: &mut Reader<'_>, entry: &Entry<'_>) -> Option<ExpectAst> {
    if let Some(table) = entry.value.as_table() {
        let entries: Vec<Entry<'_>> = table.entries().collect();
        let [only] = entries.as_slice() else {
            r.wrong_type(
                entry.value,
                entry.key,
                "an outcome or { outcome = \"rule id\" }",
            );
            return None;
        };
        let outcome = r.word(only);
        let rule = r.string(only);
        return r
            .one_of(&outcome, "an outcome", &OUTCOMES)
            .then_some(ExpectAst { outcome, rule });
    }
    let outcome = r.string(entry)?;
    r.one_of(&outcome, "an outcome", &OUTCOMES)
        .then_some(ExpectAst {
            outcome,
            rule: None,
        })
}
