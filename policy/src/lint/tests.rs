//! Lints of random policies against decisions: what is said to decide nothing decides nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::compile::{self, Policy};
use crate::ir::{Allow, Ir};
use crate::naive::tests::{compiled, long};
use crate::naive::world::{Dice, request, sources};
use crate::source::{Sources, Span};

const NEVER: [&str; 3] = ["matches-nobody", "shadowed-allow", "unreachable-allow"];

fn every_list(ir: &mut Ir) -> Vec<&mut Vec<Allow>> {
    let areas = ir.apps.iter_mut().flat_map(|app| &mut app.areas);
    let lists = areas.map(|area| &mut area.allows);
    let nets = ir.nets.iter_mut().map(|net| &mut net.allows);
    lists.chain(nets).chain([&mut ir.admin]).collect()
}

/// The policy without the rules of one finding.
fn without(policy: &Policy, gone: Span) -> Policy {
    let mut ir = policy.ir.clone();
    for list in every_list(&mut ir) {
        list.retain(|allow| allow.span != gone);
    }
    compile::compile(ir, Vec::new(), &Sources::new()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if long() { 5_000 } else { 60 }, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rule_said_to_decide_nothing_can_go_and_its_guards_and_rivals_are_real(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let sources = sources(&mut dice);
        let policy = crate::load(&sources).unwrap().policy;
        let found = policy.lint(None);
        let never = found.iter().filter(|finding| NEVER.contains(&finding.code)).take(4);
        for finding in never {
            let less = without(&policy, finding.span);
            let place = sources.locate(&finding.span);
            let own = |rule| {
                let info = policy.rule(rule);
                &*info.file == place.path && info.line == place.line && info.id.contains('#')
            };
            prop_assert!(finding.code == "matches-nobody" || !finding.related.is_empty(), "{finding:?}");
            for _ in 0..200 {
                let request = request(&mut dice);
                let (with, without) = (compiled(&policy, &request), compiled(&less, &request));
                prop_assert!(!own(with.rule), "{finding:?} {request:?}");
                prop_assert_eq!(with.outcome, without.outcome, "{:?} {:?}", finding, request);
            }
        }
    }
}

/// A law about findings that never come up would prove nothing.
#[test]
fn the_random_worlds_give_every_kind_of_finding_about_rules() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for seed in 0..80 {
        let mut dice = Dice(seed);
        let policy = crate::load(&sources(&mut dice)).unwrap().policy;
        seen.extend(policy.lint(None).iter().map(|finding| finding.code));
    }
    for code in NEVER
        .iter()
        .chain(&["differing-obligations", "guard-never-fires", "looser-area"])
    {
        assert!(seen.contains(code), "{code}: {seen:?}");
    }
}
