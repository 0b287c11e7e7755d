//! Rules that never decide, and rules that decide with other obligations than one might think.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::slice;

use crate::cells::{Grid, Side, Split, Spot, World};
use crate::compile::{Allow, Policy, RuleIx};
use crate::decide::Outcome;
use crate::diag::Diagnostic;
use crate::ir;
use crate::resolve::invariants::Place;
use crate::source::Span;

/// Most rules named by one finding.
const NAMED: usize = 3;

/// A walk over all places.
pub(super) struct Survey<'p, 'o> {
    pub(super) policy: &'p Policy,
    pub(super) world: World<'p>,
    /// The same policy twice, to compare a place with itself under other rules.
    pub(super) pair: World<'p>,
    /// Rules and guards that decided something somewhere.
    pub(super) deciding: BTreeSet<RuleIx>,
    pub(super) out: &'o mut Vec<Diagnostic>,
}

/// A rule as written and as compiled.
#[derive(Clone, Copy)]
struct Rule<'p> {
    ir: &'p ir::Allow,
    compiled: &'p Allow,
}

impl<'p> Survey<'p, '_> {
    /// Looks at one place; gives the people who get in.
    pub(super) fn place(&mut self, place: Place, allows: &'p [ir::Allow]) -> BTreeSet<String> {
        let side = Side::of(self.policy, place);
        let (here, reached) = self.decided(side);
        let rules: Vec<Rule<'p>> = allows
            .iter()
            .zip(side.allows())
            .filter(|(ir, _)| !ir.shadow)
            .map(|(ir, compiled)| Rule { ir, compiled })
            .collect();
        for &rule in &rules {
            if !here.contains(&rule.compiled.rule) {
                self.never_decides(side, rule, &rules);
            }
        }
        let alike = |a: &ir::Allow, b: &ir::Allow| obliges(a) == obliges(b);
        let first = rules.first().map(|rule| rule.ir);
        if rules
            .iter()
            .any(|rule| first.is_some_and(|first| !alike(first, rule.ir)))
        {
            for &rule in rules
                .iter()
                .filter(|rule| here.contains(&rule.compiled.rule))
            {
                self.other_obligations(side, rule, &rules);
            }
        }
        self.deciding.extend(here);
        reached
    }

    /// The rules and guards that decide anything in a place, and the people who get in.
    fn decided(&mut self, side: Side<'p>) -> (BTreeSet<RuleIx>, BTreeSet<String>) {
        let grid = Grid::new(&mut self.world, &[side], &Split::default());
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
        (here, reached)
    }

    /// Says why a rule decides nothing: nobody is in it, guards stop all of them, or other rules decide instead.
    fn never_decides(&mut self, side: Side<'p>, rule: Rule<'p>, rules: &[Rule<'p>]) {
        let Spot::Rules { guards, http, .. } = side.spot else {
            return;
        };
        let alone = |guards| Side {
            spot: Spot::Rules {
                guards,
                allows: slice::from_ref(rule.compiled),
                http,
            },
            ..side
        };
        let (free, guarded) = (alone(&[]), alone(guards));
        let mut offers = false;
        let mut stops: BTreeSet<RuleIx> = BTreeSet::new();
        let mut passes = false;
        let grid = Grid::new(&mut self.pair, &[free, guarded], &Split::default());
        grid.run(|_, _, decisions| {
            if let [free, guarded] = decisions
                && free.outcome > Outcome::Deny
            {
                offers = true;
                passes |= guarded.outcome > Outcome::Deny;
                stops.insert(guarded.rule);
            }
        });
        let id = &self.policy.rule(rule.compiled.rule).id;
        let span = rule.ir.span;
        let finding = if !offers {
            if self.policy.is_empty(&rule.ir.who) {
                return;
            }
            Diagnostic::warning("matches-nobody", span, format!("rule {id} admits nobody"))
                .help("nobody who is enabled is in its `who`; correct it or take the rule out")
        } else if !passes {
            let guards = self.policy.ir.guards.iter().zip(&self.policy.guards);
            let named = guards.filter(|(_, guard)| stops.contains(&guard.rule));
            let named = named.map(|(guard, _)| (guard.id.clone(), guard.span));
            let title = format!("rule {id} is never reached: guards stop all it admits");
            let finding = Diagnostic::warning("unreachable-allow", span, title);
            name_all(finding, named, "stops them")
                .help("no rule overrides a guard; narrow the guard or take the rule out")
        } else {
            let instead = self.instead(side, guarded);
            let named = rules.iter().filter(|r| instead.contains(&r.compiled.rule));
            let named = named.map(|r| {
                let id = &self.policy.rule(r.compiled.rule).id;
                (id.to_string(), r.ir.span)
            });
            let title = format!("rule {id} never decides: other rules cover all it admits");
            let finding = Diagnostic::warning("shadowed-allow", span, title);
            name_all(finding, named, "decides instead")
                .help("take it out, or move it up if its conditions are the ones meant")
        };
        self.out.push(finding);
    }

    /// What decides in a place where a rule alone would have let somebody in.
    fn instead(&mut self, whole: Side<'p>, alone: Side<'p>) -> BTreeSet<RuleIx> {
        let mut out = BTreeSet::new();
        let grid = Grid::new(&mut self.pair, &[whole, alone], &Split::default());
        grid.run(|_, _, decisions| {
            if let [whole, alone] = decisions
                && alone.outcome > Outcome::Deny
            {
                out.insert(whole.rule);
            }
        });
        out
    }

    /// Says where a rule lets somebody in, but one listed before it does so with other obligations.
    fn other_obligations(&mut self, side: Side<'p>, rule: Rule<'p>, rules: &[Rule<'p>]) {
        let Spot::Rules { guards, http, .. } = side.spot else {
            return;
        };
        let alone = Side {
            spot: Spot::Rules {
                guards,
                allows: slice::from_ref(rule.compiled),
                http,
            },
            ..side
        };
        let mut both: BTreeSet<RuleIx> = BTreeSet::new();
        let grid = Grid::new(&mut self.pair, &[side, alone], &Split::default());
        grid.run(|_, _, decisions| {
            if let [whole, alone] = decisions
                && whole.outcome == Outcome::Allow
                && alone.outcome == Outcome::Allow
            {
                both.insert(whole.rule);
            }
        });
        let differs = |other: &&Rule<'p>| {
            both.contains(&other.compiled.rule) && obliges(other.ir) != obliges(rule.ir)
        };
        let Some(first) = rules.iter().find(differs) else {
            return;
        };
        let id = |rule: &Rule<'_>| self.policy.rule(rule.compiled.rule).id.to_string();
        let (ours, theirs) = (rule.ir, first.ir);
        let differing = [
            ("rate", ours.rate != theirs.rate),
            ("headers", ours.headers != theirs.headers),
            ("idle", ours.idle != theirs.idle),
            ("sessions", ours.sessions != theirs.sessions),
        ];
        let differing = differing.iter().filter(|(_, differs)| *differs);
        let names: Vec<&str> = differing.map(|(name, _)| *name).collect();
        let what = names.join(" and ");
        let title = format!(
            "rules {} and {} let the same requests in with different {what}",
            id(first),
            id(&rule)
        );
        self.out.push(
            Diagnostic::warning("differing-obligations", rule.ir.span, title)
                .related(first.ir.span, "listed first, so its own count")
                .help("make them alike, or list first the one that is meant"),
        );
    }
}

/// What a rule obliges to, beyond whom it lets in.
fn obliges(rule: &ir::Allow) -> [Option<u32>; 4] {
    [
        rule.rate,
        rule.headers,
        rule.idle.map(NonZeroU32::get),
        rule.sessions.map(NonZeroU32::get),
    ]
}

fn name_all(
    finding: Diagnostic,
    named: impl Iterator<Item = (String, Span)>,
    verb: &str,
) -> Diagnostic {
    named.take(NAMED).fold(finding, |finding, (id, span)| {
        finding.related(span, format!("{id} {verb}"))
    })
}
