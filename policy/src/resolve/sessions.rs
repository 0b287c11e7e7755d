//! What rules say about the sessions of those they let in.

use std::fmt::Display;
use std::num::NonZeroU32;

use super::Cx;
use super::settings::positive;
use crate::diag::Diagnostic;
use crate::resolve::values::show_duration;
use crate::syntax::{AllowAst, AllowKey, Sp};

/// What a rule obliges the sessions of its people to.
pub(super) struct Bounds {
    /// Seconds.
    pub(super) idle: Option<NonZeroU32>,
    pub(super) sessions: Option<NonZeroU32>,
}

/// Reads `idle` and `sessions` of a rule; they only tighten what holds for everybody.
pub(super) fn of_rule(cx: &mut Cx<'_>, ast: &AllowAst, rule: impl Display + Copy) -> Bounds {
    let idle = ast
        .word(AllowKey::Idle)
        .and_then(|word| positive(word, cx.diags));
    let sessions = ast
        .sessions
        .as_deref()
        .and_then(|most| count(most, cx.diags));
    if let (Some(word), Some(own), Some(all)) = (ast.word(AllowKey::Idle), idle, cx.defaults.idle)
        && own >= all
    {
        cx.diags
            .push(no_effect(rule, word.span, &show_duration(all)));
    }
    if let (Some(at), Some(own), Some(all)) =
        (ast.sessions.as_deref(), sessions, cx.defaults.sessions)
        && own >= all
    {
        cx.diags.push(no_effect(rule, at.span, &all.to_string()));
    }
    Bounds {
        idle: idle.and_then(NonZeroU32::new),
        sessions: sessions.and_then(NonZeroU32::new),
    }
}

fn no_effect(rule: impl Display, span: crate::source::Span, all: &str) -> Diagnostic {
    let title = format!("rule {rule} asks for no more than [default], where {all} holds for all");
    Diagnostic::warning("no-effect", span, title)
        .help("a rule can only tighten it; take it out, or write less")
}

/// Reads how many sessions a person may have.
pub(super) fn count(most: &Sp<u64>, diags: &mut Vec<Diagnostic>) -> Option<u32> {
    let fits = u32::try_from(most.v).ok().filter(|&n| n > 0);
    if fits.is_none() {
        diags.push(
            Diagnostic::error("bad-value", most.span, "`sessions` must be at least 1")
                .help("leave it out for no limit"),
        );
    }
    fits
}

/// Those whom a rule for anyone lets in need no session.
pub(super) fn check_anyone(cx: &mut Cx<'_>, ast: &AllowAst, rule: impl Display + Copy) {
    let idle = ast.word(AllowKey::Idle).map(|word| word.span);
    let sessions = ast.sessions.as_deref().map(|most| most.span);
    for span in idle.into_iter().chain(sessions) {
        let title = format!("rule {rule} is for anyone, so nobody signs in");
        cx.diags.push(
            Diagnostic::error("never-asked", span, title)
                .help("take `idle` and `sessions` out, or use \"any-user\""),
        );
    }
}
