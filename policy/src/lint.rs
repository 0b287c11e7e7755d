//! Findings about a policy that is valid: rules that never decide, groups nobody uses, doors wider than their house.

use std::collections::BTreeSet;

use crate::cells::{Grid, Side, Split, World};
use crate::compile::{Policy, RuleIx};
use crate::decide::Outcome;
use crate::diag::Diagnostic;
use crate::ir::{self, Who};
use crate::resolve::invariants::Place;
use crate::source::Span;

impl Policy {
    /// Looks for what is allowed but probably not meant; all are warnings. `now`, in seconds since 1970, finds dates
    /// that have passed.
    pub fn lint(&self, now: Option<i64>) -> Vec<Diagnostic> {
        let mut out = Vec::new();
        let mut world = World::new(&[self]);
        let mut deciding: BTreeSet<RuleIx> = BTreeSet::new();
        for (app, ix) in self.ir.apps.iter().zip(0u32..) {
            let mut reach: Vec<BTreeSet<String>> = Vec::new();
            for (area, at) in app.areas.iter().zip(0u32..) {
                if area.shadow {
                    reach.push(BTreeSet::new());
                    continue;
                }
                reach.push(self.survey(
                    &mut world,
                    Place::Area(ix, at),
                    &area.allows,
                    &mut deciding,
                    &mut out,
                ));
            }
            looser(app, &reach, &mut out);
        }
        for (net, ix) in self.ir.nets.iter().zip(0u32..) {
            self.survey(
                &mut world,
                Place::Net(ix),
                &net.allows,
                &mut deciding,
                &mut out,
            );
        }
        self.survey(
            &mut world,
            Place::Admin,
            &self.ir.admin,
            &mut deciding,
            &mut out,
        );
        self.idle_guards(&deciding, &mut out);
        self.unused(&mut out);
        self.past(now, &mut out);
        out.sort_by_key(|d| (d.span.file, d.span.start));
        out
    }

    /// Rules of a place that decide nothing, and who gets in.
    fn survey<'p>(
        &'p self,
        world: &mut World<'p>,
        place: Place,
        allows: &[ir::Allow],
        deciding: &mut BTreeSet<RuleIx>,
        out: &mut Vec<Diagnostic>,
    ) -> BTreeSet<String> {
        let side = Side::of(self, place);
        let grid = Grid::new(world, &[side], &Split::default());
        let mut reached: BTreeSet<String> = BTreeSet::new();
        let mut here: BTreeSet<RuleIx> = BTreeSet::new();
        let mut seen: BTreeSet<usize> = BTreeSet::new();
        grid.run(|group, _, decisions| {
            let Some(decision) = decisions.first() else {
                return;
            };
            here.insert(decision.rule);
            if decision.outcome == Outcome::Allow && seen.insert(group.id) {
                match group.anonymous() {
                    true => {
                        reached.insert("anyone".to_owned());
                    }
                    false => reached.extend(group.names()),
                }
            }
        });
        for (allow, compiled) in allows.iter().zip(side.allows()) {
            if !allow.shadow && !here.contains(&compiled.rule) {
                out.push(
                    Diagnostic::warning(
                        "never-decides",
                        allow.span,
                        format!("rule {} never decides anything", self.rule(compiled.rule).id),
                    )
                    .help("rules before it, or guards, cover all it allows; take it out or move it up"),
                );
            }
        }
        deciding.extend(here);
        reached
    }

    fn idle_guards(&self, deciding: &BTreeSet<RuleIx>, out: &mut Vec<Diagnostic>) {
        for (guard, compiled) in self.ir.guards.iter().zip(&self.guards) {
            let empty = guard.who.as_ref().is_some_and(|who| self.is_empty(who));
            if !guard.shadow && !empty && !deciding.contains(&compiled.rule) {
                out.push(
                    Diagnostic::warning(
                        "never-decides",
                        guard.span,
                        format!("guard {} never stops anything", guard.id),
                    )
                    .help("take it out, or correct whom and what it names"),
                );
            }
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

    /// Groups, zones and schedules that no rule names.
    fn unused(&self, out: &mut Vec<Diagnostic>) {
        let areas = self.ir.apps.iter().flat_map(|app| &app.areas);
        let nets = self.ir.nets.iter().flat_map(|net| &net.allows);
        let allows = areas
            .flat_map(|area| &area.allows)
            .chain(nets)
            .chain(&self.ir.admin);
        let allows: Vec<&ir::Allow> = allows.collect();
        let guards = &self.ir.guards;
        let mut schedules: BTreeSet<u32> = BTreeSet::new();
        schedules.extend(allows.iter().flat_map(|allow| allow.when.iter().flatten()));
        for guard in guards {
            schedules.extend(guard.when.iter().chain(&guard.unless_when).flatten());
        }
        for (schedule, ix) in self.ir.schedules.iter().zip(0u32..) {
            if !schedules.contains(&ix) {
                let title = format!("schedule `{}` is used nowhere", schedule.name);
                out.push(Diagnostic::warning("unused", schedule.span, title));
            }
        }
    }

    /// Schedules whose last date has passed.
    fn past(&self, now: Option<i64>, out: &mut Vec<Diagnostic>) {
        let now = now.and_then(|now| jiff::Timestamp::from_second(now).ok());
        let Some(now) = now else { return };
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        for schedule in &self.ir.schedules {
            let last = schedule
                .between
                .as_ref()
                .map(|(_, to)| to.parse::<jiff::civil::Date>());
            if let Some(Ok(last)) = last
                && last < today
            {
                let title = format!("schedule `{}` ended on {last}", schedule.name);
                out.push(
                    Diagnostic::warning("expired", schedule.span, title)
                        .help("take out what uses it, or give it new dates"),
                );
            }
        }
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
