//! Moving through a list.

use super::call::Call;
use super::desk::Page;
use super::texts;
use crate::pages::fill;

/// Where a list is, and the ways to the pages beside it.
pub(crate) struct Pager {
    /// Such as `51 to 100 of 214`; empty where all is shown.
    pub(crate) shown: String,
    /// The page before.
    pub(crate) previous: Option<String>,
    /// The page after.
    pub(crate) next: Option<String>,
}

impl Pager {
    /// Describes the place of a page in its list.
    pub(crate) fn new<T>(call: &Call, page: &Page<T>, per_page: usize) -> Self {
        let at = page.skipped / per_page.max(1);
        let end = page.skipped + page.lines.len();
        let href = |number: usize| {
            let rest = call.query.without_all(&["page", "done"]);
            let joint = if rest.is_empty() { "" } else { "&" };
            format!("?{rest}{joint}page={number}")
        };
        let w = texts::Frame::of(call.ctx.lang);
        let texts = [
            ("from", (page.skipped + 1).min(end)),
            ("to", end),
            ("total", page.total),
        ];
        let whole = page.skipped == 0 && end == page.total;
        let shown = texts
            .iter()
            .fold(w.shown.to_owned(), |text, (name, count)| {
                fill(&text, name, &count.to_string())
            });
        Self {
            shown: if whole { String::new() } else { shown },
            previous: (at > 0).then(|| href(at)),
            next: (end < page.total).then(|| href(at + 2)),
        }
    }
}
