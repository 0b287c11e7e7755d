//! Findings about a policy that is valid: rules that never decide, names nobody uses, doors wider than their house,
//! fields that permit more than they should.
//!
//! They look at every class of people and contexts of every place, which takes seconds for very large policies.
//! So they run for `policy lint` only; what a load warns of is found while names are resolved.

mod fronts;
mod names;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::cells::World;
use crate::compile::{Policy, RuleIx};
use crate::diag::{Diagnostic, Severity};
use crate::ir::{self, Resource, Who};
use crate::resolve::invariants::Place;
use crate::source::Span;

impl Policy {
    /// Looks for what is allowed but probably not meant; all are warnings. `now`, in seconds since 1970, finds dates
    /// that have passed.
    pub fn lint(&self, now: Option<i64>) -> Vec<Diagnostic> {
        let mut out = Vec::new();
        let mut survey = rules::Survey {
            policy: self,
            world: World::new(&[self]),
            pair: World::new(&[self, self]),
            deciding: BTreeSet::new(),
            out: &mut out,
        };
        for (app, ix) in self.ir.apps.iter().zip(0u32..) {
            let mut reach: Vec<BTreeSet<String>> = Vec::new();
            for (area, at) in app.areas.iter().zip(0u32..) {
                reach.push(match app.shadow || area.shadow {
                    true => BTreeSet::new(),
                    false => survey.place(Place::Area(ix, at), &area.allows),
                });
            }
            looser(app, &reach, survey.out);
        }
        for (net, ix) in self.ir.nets.iter().zip(0u32..) {
            if !net.shadow {
                survey.place(Place::Net(ix), &net.allows);
            }
        }
        survey.place(Place::Admin, &self.ir.admin);
        let deciding = survey.deciding;
        self.idle_guards(&deciding, &mut out);
        self.few_admins(&mut out);
        self.unused(&mut out);
        self.headless_devices(&mut out);
        self.weak_presets(&mut out);
        self.overlapping_zones(&mut out);
        self.past(now, &mut out);
        out.sort_by_key(|d| (d.span.file, d.span.start));
        out
    }

    fn idle_guards(&self, deciding: &BTreeSet<RuleIx>, out: &mut Vec<Diagnostic>) {
        for (guard, compiled) in self.ir.guards.iter().zip(&self.guards) {
            let empty = guard.who.as_ref().is_some_and(|who| self.is_empty(who));
            let in_shadow = guard.shadow || guard.on.iter().flatten().any(|on| self.in_shadow(*on));
            if !in_shadow && !empty && !deciding.contains(&compiled.rule) {
                out.push(
                    Diagnostic::warning(
                        "guard-never-fires",
                        guard.span,
                        format!("guard {} never stops anything", guard.id),
                    )
                    .help("take it out, or correct whom and what it names"),
                );
            }
        }
    }

    fn in_shadow(&self, resource: Resource) -> bool {
        match resource {
            Resource::App(ix) => self.ir.apps.get(ix as usize).is_some_and(|app| app.shadow),
            Resource::Net(ix) => self.ir.nets.get(ix as usize).is_some_and(|net| net.shadow),
            Resource::Admin => false,
        }
    }

    /// Whether a set names only groups without members.
    fn is_empty(&self, who: &Who) -> bool {
        let member = |ix: &u32| {
            let group = self.ir.groups.get(*ix as usize);
            group.is_some_and(|group| !group.members.is_empty())
        };
        !who.any_user && !who.anyone && who.users.is_empty() && !who.groups.iter().any(member)
    }

    /// Devices that reach nets though nobody has signed in.
    fn headless_devices(&self, out: &mut Vec<Diagnostic>) {
        for entry in &self.ir.headless {
            let ids = entry
                .nets
                .iter()
                .filter_map(|&ix| self.ir.nets.get(ix as usize));
            let nets: Vec<&str> = ids.map(|net| net.id.as_str()).collect();
            let whose = entry.name(&self.ir.users);
            let title = format!("{whose} reaches {} without a sign-in", nets.join(", "));
            out.push(Diagnostic::warning("headless", entry.span, title).help(
                "keep it only where nobody can sign in, with as few nets as the device needs",
            ));
        }
    }

    /// A console in which one person, or nobody, can act at any time.
    fn few_admins(&self, out: &mut Vec<Diagnostic>) {
        if self.ir.admin.is_empty() {
            return;
        }
        let found = crate::guard::lockout(self, |_| true).into_iter();
        out.extend(found.map(|finding| Diagnostic {
            severity: Severity::Warning,
            ..finding
        }));
    }
}

/// Areas that let somebody in whom the whole app does not.
fn looser(app: &ir::App, reach: &[BTreeSet<String>], out: &mut Vec<Diagnostic>) {
    let areas: Vec<(&ir::Area, &BTreeSet<String>)> = app.areas.iter().zip(reach).collect();
    for (area, own) in &areas {
        let parents = areas.iter().filter(|(other, _)| {
            !other.shadow
                && !other.pattern.same(&area.pattern)
                && other.pattern.contains(&area.pattern)
        });
        let parent = parents.max_by_key(|(other, _)| other.pattern.segs.len());
        let Some((parent, outer)) = parent else {
            continue;
        };
        if outer.contains("anyone") || area.public.is_some() || outer.is_empty() {
            continue;
        }
        if let Some(name) = own.iter().find(|name| !outer.contains(*name)) {
            out.push(looser_than(area.span, &app.id, area, parent, name));
        }
    }
}

fn looser_than(
    span: Span,
    app: &str,
    area: &ir::Area,
    parent: &ir::Area,
    name: &str,
) -> Diagnostic {
    let (own, outer) = (area.pattern.shown(), parent.pattern.shown());
    Diagnostic::warning(
        "looser-area",
        span,
        format!("{app}{own} admits {name}, whom {outer} does not"),
    )
    .help("fine if meant: an area replaces what stands above it")
}
