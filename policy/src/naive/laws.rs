//! Laws about two policies that differ in one thing.

use proptest::prelude::*;

use super::tests::compiled;
use super::world::{Dice, request, sources};
use super::{Target, enforced, without_params};
use crate::compile::{self, Policy};
use crate::decide::Outcome;
use crate::ir::{Allow, Area, Device, Guard, Ir, Mfa, Pattern, Seg, Who};
use crate::source::{Sources, Span};

fn remake(ir: Ir) -> Policy {
    compile::compile(ir, Vec::new(), &Sources::new()).unwrap()
}

fn every_list(ir: &mut Ir) -> Vec<&mut Vec<Allow>> {
    let areas = ir.apps.iter_mut().flat_map(|app| &mut app.areas);
    let lists = areas.map(|area| &mut area.allows);
    let nets = ir.nets.iter_mut().map(|net| &mut net.allows);
    lists.chain(nets).chain([&mut ir.admin]).collect()
}

fn everyone() -> Who {
    Who {
        any_user: true,
        ..Who::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_change_moves_outcomes_only_one_way(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let policy = crate::load(&sources(&mut dice)).unwrap().policy;
        let mut bare = policy.ir.clone();
        every_list(&mut bare).into_iter().for_each(Vec::clear);
        let bare = remake(bare);
        let mut guarded = policy.ir.clone();
        guarded.guards.push(Guard {
            id: "deny.zz".to_owned(),
            who: dice.chance(50).then(|| Who { groups: vec![0], ..Who::default() }),
            from: dice.chance(50).then(|| vec![0]),
            device_not: dice.chance(30).then_some(Device::Known),
            on: None,
            when: dice.chance(30).then(|| vec![0]),
            unless_when: dice.chance(30).then(|| vec![1]),
            shadow: false,
            reason: "r".to_owned(),
            span: Span::default(),
        });
        let guarded = remake(guarded);
        let mut wider = policy.ir.clone();
        {
            let mut lists = every_list(&mut wider);
            let at = dice.roll(lists.len());
            lists[at].push(Allow {
                name: "zz".to_owned(),
                who: everyone(),
                from: None,
                device: Device::Any,
                mfa: dice.pick(&[Mfa::None, Mfa::Session, Mfa::Age(300)]),
                login: 36_000,
                methods: None,
                rate: None,
                headers: None,
                when: dice.chance(30).then(|| vec![0]),
                shadow: false,
                span: Span::default(),
            });
        }
        let wider = remake(wider);
        let plain = remake(enforced(&policy.ir));
        let mut split = policy.ir.clone();
        for app in &mut split.apps {
            let pattern = Pattern { segs: vec![Seg::Literal("a".to_owned())], exact: true, text: "=/a".to_owned() };
            if !app.areas.iter().any(|area| area.pattern.same(&pattern)) {
                app.areas.push(Area { pattern, public: None, shadow: false, allows: Vec::new(), span: Span::default() });
            }
        }
        let split = remake(split);
        for _ in 0..200 {
            let request = request(&mut dice);
            let was = compiled(&policy, &request).outcome;
            prop_assert!(compiled(&bare, &request).outcome == Outcome::Deny, "no rule, no access");
            prop_assert!(compiled(&guarded, &request).outcome <= was, "a guard never opens: {request:?}");
            prop_assert!(compiled(&wider, &request).outcome >= was, "a rule never closes: {request:?}");
            prop_assert_eq!(compiled(&plain, &request).outcome, was, "shadow changes nothing");
            let inside = matches!(&request.target, Target::Http(_, path, _) if without_params(path).eq_ignore_ascii_case("/a"));
            let now = compiled(&split, &request);
            prop_assert!(inside || now.outcome == was, "an area changes only what lies in it: {request:?}");
        }
    }

    #[test]
    fn the_canonical_form_has_the_same_digest(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let policy = crate::load(&sources(&mut dice)).unwrap().policy;
        let written = policy.canonical();
        let again = match crate::load(&written) {
            Ok(loaded) => loaded.policy,
            Err(diags) => panic!("{}", diags[0].one_line(&written)),
        };
        prop_assert_eq!(policy.digest(), again.digest());
    }
}

/// The long run is asked for by `POSTERN_LONG=1`.
#[expect(
    clippy::disallowed_methods,
    reason = "the length of a test run is no part of the policy"
)]
pub(super) fn cases() -> u32 {
    let long = std::env::var("POSTERN_LONG").is_ok_and(|value| value == "1");
    if long { 40_000 } else { 80 }
}
