//! Apps of large files, read and resolved part by part on several threads, so that no tree of all of them is ever held.
//!
//! What comes of a part depends on nothing but the part, and all is put in one order: how many threads there are and
//! which takes what changes nothing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Cx, MAX_ALLOWS, resource};
use crate::diag::{Diagnostic, Severity};
use crate::hash::Keyed;
use crate::ir::{App, Host};
use crate::source::Sources;
use crate::syntax::Part;
use crate::text::Texts;

/// How many parts are worked on at a time.
const HANDS: usize = 2;

/// What came of the parts that one thread took.
struct Done {
    apps: Vec<App>,
    allows: usize,
    diags: Vec<Diagnostic>,
}

/// Adds the apps of the parts; `None` if the files must be read whole.
pub(super) fn join(
    cx: &mut Cx<'_>,
    mut apps: Vec<App>,
    parts: &[Part],
    sources: &Sources,
) -> Option<Vec<App>> {
    if parts.is_empty() {
        return Some(apps);
    }
    let (next, shared) = (AtomicUsize::new(0), &*cx);
    let done: Option<Vec<Done>> = thread::scope(|scope| {
        let hand = || take(shared, parts, sources, &next);
        let others: Vec<_> = (1..HANDS).map(|_| scope.spawn(hand)).collect();
        let own = hand();
        let others = others.into_iter().map(|hand| hand.join().ok().flatten());
        others.chain([own]).collect()
    });
    let done = done?;
    apps.reserve_exact(done.iter().map(|done| done.apps.len()).sum());
    for done in done {
        cx.allows += done.allows;
        cx.diags.extend(done.diags);
        apps.extend(done.apps);
    }
    apps.sort_by(|a, b| a.id.cmp(&b.id));
    (cx.allows <= MAX_ALLOWS && are_distinct(&apps)).then_some(apps)
}

/// Reads and resolves parts until none is left; `None` as soon as anything is wrong with one.
fn take(shared: &Cx<'_>, parts: &[Part], sources: &Sources, next: &AtomicUsize) -> Option<Done> {
    let (mut apps, mut diags, mut texts) = (Vec::new(), Vec::new(), Texts::default());
    let mut cx = shared.fork(&mut diags);
    while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
        let defs = part.apps(sources, &mut texts, cx.diags)?;
        apps.extend(resource::apps(&mut cx, defs));
        if cx.diags.iter().any(|d| d.severity == Severity::Error) {
            return None;
        }
    }
    let allows = cx.allows;
    Some(Done {
        apps,
        allows,
        diags,
    })
}

/// Whether no app and no host stands twice among apps sorted by id.
fn are_distinct(apps: &[App]) -> bool {
    let mut ids = apps.iter().zip(apps.iter().skip(1));
    let mut hosts = apps.iter().flat_map(|app| &app.hosts);
    let mut seen: HashSet<&Host, Keyed> = HashSet::default();
    seen.reserve(apps.len());
    ids.all(|(a, b)| a.id != b.id) && hosts.all(|host| seen.insert(host))
}

#[cfg(test)]
mod tests;
