//! Paths that an app may read in two ways, where it takes `%2F` or empty segments.

use super::{Ask, Decision};
use crate::canon::CanonPath;
use crate::compile::{AppRules, BAD_REQUEST, Policy, Tree};

impl Policy {
    /// Decides a path that its app may read in two ways: refused where they lie in different areas, since either
    /// could be the one the app sees.
    #[cold]
    pub(super) fn decide_two_readings(
        &self,
        rules: &AppRules,
        ask: &Ask<'_>,
        path: &CanonPath<'_>,
    ) -> Decision {
        let decide = |tree: Tree, ask: &Ask<'_>| match self.reads_apart(tree, path) {
            true => Decision::deny(BAD_REQUEST),
            false => self.evaluate(ask, self.allows_at(rules, tree, path)),
        };
        let decision = decide(rules.tree, ask);
        if !rules.shadowed {
            return decision;
        }
        let shadow = Ask {
            shadow: true,
            ..*ask
        };
        decision.or_would(Some(decide(
            rules.shadow_tree.unwrap_or(rules.tree),
            &shadow,
        )))
    }

    /// Whether the two readings of a path, if it has two, lie in different areas.
    pub(crate) fn reads_apart(&self, tree: Tree, path: &CanonPath<'_>) -> bool {
        let other = path.other_reading();
        other.is_some_and(|other| self.trees.find(tree, other) != self.trees.find(tree, path))
    }
}
