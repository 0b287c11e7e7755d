//! What is told of every rule, in the order in which rules are numbered.

use std::sync::Arc;

use super::RuleInfo;
use crate::ir::{Allow, Ir};
use crate::source::{Places, Span};
use crate::text::Text;

/// Rules that are built in, in their order.
const BUILT_IN: [&str; super::BUILT_IN] =
    ["default", "bad-request", "no-such-app", "no-such-service"];

/// Names all rules: those that are built in, guards, those of apps area by area, of nets and of the console.
pub(super) fn all(ir: &Ir, places: &Places, count: usize) -> Vec<RuleInfo> {
    let mut rules = Rules {
        places,
        near: 0,
        id: String::new(),
        all: Vec::with_capacity(count),
    };
    for id in BUILT_IN {
        rules.all.push(RuleInfo {
            id: format!("builtin.{id}").into(),
            file: "".into(),
            line: 0,
            reason: None,
        });
    }
    for guard in &ir.guards {
        rules.id.clone_from(&guard.id);
        rules.add(guard.span, Some(guard.reason.as_str().into()));
    }
    for app in &ir.apps {
        for area in &app.areas {
            let prefix = [app.id.as_str(), &area.pattern.text];
            rules.allows(&area.allows, prefix, area.public.as_ref());
        }
    }
    for net in &ir.nets {
        rules.allows(&net.allows, [&net.id, ""], None);
    }
    rules.allows(&ir.admin, ["admin", ""], None);
    rules.all
}

struct Rules<'a> {
    places: &'a Places,
    /// The line of the rule before, near which the next one mostly stands.
    near: u32,
    /// Where ids are put together.
    id: String,
    all: Vec<RuleInfo>,
}

impl Rules<'_> {
    fn allows(&mut self, allows: &[Allow], prefix: [&str; 2], public: Option<&Text>) {
        for allow in allows {
            self.id.clear();
            for part in prefix.into_iter().chain(["#", allow.name.as_str()]) {
                self.id.push_str(part);
            }
            let reason = public.filter(|_| allow.who.anyone).map(Text::share);
            self.add(allow.span, reason);
        }
    }

    /// Adds the rule whose id was put together.
    fn add(&mut self, span: Span, reason: Option<Arc<str>>) {
        let place = self.places.line_near(span, self.near);
        let (file, line) = place.unwrap_or_else(|| ("".into(), 1));
        self.near = line;
        self.all.push(RuleInfo {
            id: self.id.as_str().into(),
            file,
            line,
            reason,
        });
    }
}
