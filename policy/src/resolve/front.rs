//! The front's keys of an area, checked against its place.

use std::sync::Arc;

use super::Cx;
use crate::diag::{Diagnostic, show};
use crate::front::{Shared, Written};
use crate::ir::Pattern;
use crate::syntax::{AreaAst, Words};

/// Returns the keys an area has of its own.
pub(super) fn written(
    cx: &mut Cx<'_>,
    ast: &AreaAst,
    pattern: &Pattern,
    id: &str,
) -> Option<Arc<Written>> {
    let front = ast.front.as_ref()?;
    if let (Some(span), Some(strip)) = (front.strip, &front.written.strip) {
        let rest = pattern.text.trim_start_matches('=').strip_prefix(&**strip);
        if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let title = format!("paths of {} do not begin with {}", show(id), show(strip));
            let help = "it can only be taken off in an area whose path begins with it";
            cx.diags
                .push(Diagnostic::error("bad-value", span, title).help(help));
        }
    }
    if let Some(span) = front.files
        && (pattern.exact || pattern.has_star())
    {
        let title = format!("files of a folder cannot stand at {}", show(id));
        let help = "give them an area of a plain path, such as \"/docs\"";
        cx.diags
            .push(Diagnostic::error("misplaced", span, title).help(help));
    }
    if let (Some(span), Some(Some(cache))) = (front.cache, &front.written.cache)
        && cache.shared == Shared::Strangers
        && !is_open(ast)
    {
        let title = format!(
            "one answer for strangers in {}, which is not open to anyone",
            show(id)
        );
        let help = "what one person was answered others would get; if it is the same for all, write  shared = \"reason\"";
        cx.diags
            .push(Diagnostic::error("shared-cache", span, title).help(help));
    }
    if let Some(span) = front.justify {
        let title = if is_open(ast) {
            Some(format!(
                "`justify` in {}, which is open to anyone",
                show(id)
            ))
        } else {
            let tokens = ast.tokens.is_some();
            tokens.then(|| format!("`justify` beside `tokens` in {}", show(id)))
        };
        if let Some(title) = title {
            let help = "only a person who is signed in can say why; give what is open to others an area of its own";
            cx.diags
                .push(Diagnostic::error("misplaced", span, title).help(help));
        }
    }
    if front.written.is_empty() {
        return None;
    }
    if let Some(known) = cx.held.fronts.get(&front.written) {
        return Some(Arc::clone(known));
    }
    let new = Arc::new(front.written.clone());
    cx.held.fronts.insert(Arc::clone(&new));
    Some(new)
}

/// Whether a rule of the area itself lets anyone in.
pub(super) fn is_open(ast: &AreaAst) -> bool {
    let opens = |words: &Words| words.list().v.iter().any(|word| word.v == "anyone");
    let mut all = ast.allows.iter().filter_map(|def| def.body.who.as_ref());
    all.any(opens)
}
