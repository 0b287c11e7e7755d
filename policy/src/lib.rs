//! The policy language of Postern: files to a compiled policy, a request to a decision.
//!
//! Pure: no IO, no clock, and no threads but those within one [`load`] of a large policy. [`load`] turns [`Sources`]
//! into a [`Policy`] or into everything that is wrong with them; [`Policy`] answers requests from both doors.
#![forbid(unsafe_code)]

pub mod canon;
pub mod cells;
mod compile;
mod decide;
mod diag;
mod dns;
pub mod front;
pub mod guard;
mod hash;
mod headers;
mod ir;
mod lane;
mod lint;
mod naive;
mod networks;
mod print;
mod query;
mod replay;
mod resolve;
mod show;
mod source;
mod syntax;
mod testrun;
mod text;
mod trace;

pub use cells::{
    Change, Diff, Grantee, Open, Opening, Reachable, Sample, Scope, Setting, WhatCan, WhoCan, diff,
};
pub use compile::{
    App, AppIx, HostPattern, ObligationIx, Obligations, Policy, Rate, RuleInfo, RuleIx,
    SubjectBits, TimeClass, User, ZoneClass,
};
pub use decide::{Context, Decision, Outcome, Subject};
pub use diag::{Diagnostic, Edit, Severity};
pub use dns::{DnsName, DnsOthers, DnsQuarantine, DnsRefusal, TunnelDns};
pub use headers::{HeaderField, HeaderSet, HeaderValues, Person};
pub use ir::{At, Device, Proto, Reprove, SignInDoor, Upstream};
pub use lane::{Lanes, Proof};
pub use naive::Disagreement;
pub use query::{Query, QueryError, QueryField, QueryText};
pub use replay::{AuditInput, AuditTarget, ReplayChange, Replayer, replay};
pub use resolve::{Wanted, cut_area, wanted};
pub use show::{Show, ShownApp, ShownArea, ShownGuard, ShownNet, ShownRule};
pub use source::{FileId, Location, Sources, Span};
pub use syntax::{FORMAT_VERSION, json_schema};
pub use testrun::TestResult;
pub use trace::{AllowTrace, Explanation, GuardTrace};

/// A policy that may be used: everything resolved and every test passed.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled policy.
    pub policy: Policy,
    /// Findings that do not stop the policy.
    pub warnings: Vec<Diagnostic>,
    /// How many `[[test]]` passed.
    pub tests_passed: usize,
}

/// A policy whose tests ran, passed or not: for `policy test`, never for traffic.
#[derive(Debug)]
pub struct Checked {
    /// The compiled policy.
    pub policy: Policy,
    /// Findings that do not stop the policy.
    pub warnings: Vec<Diagnostic>,
    /// Every `[[test]]`, in order.
    pub tests: Vec<TestResult>,
}

/// Loads a policy: parse, resolve, compile, run its tests.
///
/// # Errors
/// Every error, sorted by place; never empty. A failed test is one, and points at
/// the test. The policy in force should stay in force.
pub fn load(sources: &Sources) -> Result<Loaded, Vec<Diagnostic>> {
    let checked = check(sources)?;
    let failed = checked.tests.iter().filter_map(TestResult::diagnostic);
    let mut diags = checked.warnings;
    diags.extend(failed);
    if diags.iter().any(|d| d.severity == Severity::Error) {
        return Err(sorted(diags));
    }
    Ok(Loaded {
        policy: checked.policy,
        warnings: diags,
        tests_passed: checked.tests.len(),
    })
}

/// Does all that [`load`] does, but a failed test is a result, not an error.
///
/// # Errors
/// As [`load`]; failed tests are among them only beside another error. A test that cannot be asked (an unknown name)
/// is an error here too.
pub fn check(sources: &Sources) -> Result<Checked, Vec<Diagnostic>> {
    let read = match read_in_parts(sources, syntax::PART) {
        Some(read) => read,
        None => read_whole(sources).map_err(sorted)?,
    };
    let Read {
        ir,
        invariants,
        tests,
        mut diags,
    } = read;
    let policy = match compile::compile(ir, invariants, sources) {
        Ok(policy) => policy,
        Err((span, text)) => {
            diags.push(Diagnostic::error("limit", span, text));
            return Err(sorted(diags));
        }
    };
    let tests = testrun::run(&policy, &tests, &mut diags);
    diags.extend(cells::check_invariants(&policy));
    if diags.iter().any(|d| d.severity == Severity::Error) {
        diags.extend(tests.iter().filter_map(TestResult::diagnostic));
        return Err(sorted(diags));
    }
    Ok(Checked {
        policy,
        warnings: sorted(diags),
        tests,
    })
}

/// Finds what is wrong in files whatever the names in them mean: all that can be said of some files of a policy when
/// others of it cannot be read.
pub fn misspelt(sources: &Sources) -> Vec<Diagnostic> {
    sorted(syntax::parse(sources).1)
}

/// Files that were read and whose names resolve.
struct Read {
    ir: ir::Ir,
    invariants: Vec<resolve::invariants::Invariant>,
    tests: Vec<syntax::TestAst>,
    diags: Vec<Diagnostic>,
}

impl Read {
    /// Keeps the tests of a tree, and lets go of it.
    fn new(
        ast: syntax::Ast,
        (ir, invariants): (ir::Ir, Vec<resolve::invariants::Invariant>),
        diags: Vec<Diagnostic>,
    ) -> Self {
        Self {
            ir,
            invariants,
            tests: ast.tests,
            diags,
        }
    }
}

fn read_whole(sources: &Sources) -> Result<Read, Vec<Diagnostic>> {
    let (mut ast, mut diags) = syntax::parse(sources);
    if syntax::is_broken(&diags) {
        return Err(diags);
    }
    match resolve::resolve(&mut ast, &[], sources, &mut diags) {
        Some(resolved) => Ok(Read::new(ast, resolved, diags)),
        None => Err(diags),
    }
}

/// Like [`read_whole`], for files of which some have more than `size` bytes. `None` for others, and whenever anything
/// is wrong or unusual.
fn read_in_parts(sources: &Sources, size: usize) -> Option<Read> {
    let (mut ast, parts, mut diags) = syntax::in_parts(sources, size)?;
    let sound = |diags: &[Diagnostic]| diags.iter().all(|d| d.severity != Severity::Error);
    if !sound(&diags) {
        return None;
    }
    let resolved = resolve::resolve(&mut ast, &parts, sources, &mut diags)?;
    sound(&diags).then(|| Read::new(ast, resolved, diags))
}

/// In the order of places. Beside errors, warnings are left out: they may only follow from what is wrong.
fn sorted(mut diags: Vec<Diagnostic>) -> Vec<Diagnostic> {
    if diags.iter().any(|d| d.severity == Severity::Error) {
        diags.retain(|d| d.severity == Severity::Error);
    }
    diags.sort_by_key(|d| (d.span.file, d.span.start, d.severity));
    diags.dedup();
    diags
}
