//! The properties of the language, one test each, by the numbers of the list they stand in.
//!
//! 1 totality: `total.rs`. 2 order, 3 soundness and default deny, 4 guards, rules and areas move outcomes one way and
//! only where they stand, 11 shadow: here. 5 canonical forms, 6 honesty, 7 freshness, 10 print and parse: `proofs.rs`.
//! 8 reach and diff are what asking every question gives: `cells/tests.rs`.

use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{compiled, long};
use super::world::{Dice, add_like, request, sources};
use super::{
    Request, Target, collapsed, decode, enforced, facts, guard_stops, offer, without_params,
};
use crate::compile::{self, Policy};
use crate::decide::Outcome;
use crate::ir::{Allow, Area, Device, Guard, Ir, Mfa, Pattern, Resource, Seg, Who};
use crate::lane::Lanes;
use crate::source::{Sources, Span};

/// In each of 32 worlds: 102,400 requests for each property.
pub(super) const REQUESTS: usize = 3_200;

pub(super) fn world(seed: u64) -> (Dice, Policy) {
    let mut dice = Dice(seed);
    let policy = crate::load(&sources(&mut dice)).unwrap().policy;
    (dice, policy)
}

pub(super) fn remake(ir: Ir) -> Policy {
    compile::compile(ir, Vec::new(), &Sources::new()).unwrap()
}

fn every_list(ir: &mut Ir) -> Vec<&mut Vec<Allow>> {
    let areas = ir.apps.iter_mut().flat_map(|app| &mut app.areas);
    let lists = areas.map(|area| &mut area.allows);
    let nets = ir.nets.iter_mut().map(|net| &mut net.allows);
    lists.chain(nets).chain([&mut ir.admin]).collect()
}

fn everyone(mfa: Mfa) -> Allow {
    Allow {
        name: "zz".into(),
        who: Arc::new(Who {
            any_user: true,
            ..Who::default()
        }),
        from: None,
        device: Device::Any,
        mfa,
        login: 36_000,
        idle: None,
        sessions: None,
        methods: None,
        rate: None,
        headers: None,
        when: None,
        shadow: false,
        span: Span::default(),
    }
}

pub(super) fn some_guard(dice: &mut Dice) -> Guard {
    Guard {
        id: "deny.zz".to_owned(),
        who: dice.chance(50).then(|| Who {
            groups: vec![0],
            ..Who::default()
        }),
        from: dice.chance(50).then(|| vec![0]),
        device_not: dice.chance(30).then_some(Device::Known),
        on: None,
        when: dice.chance(30).then(|| vec![0]),
        unless_when: dice.chance(30).then(|| vec![1]),
        shadow: false,
        reason: "r".to_owned(),
        span: Span::default(),
    }
}

/// One exact path, so that it lies in or outside of every other area.
fn some_area(dice: &mut Dice) -> Area {
    let segs: Vec<&str> = (0..=dice.roll(3))
        .map(|_| dice.pick(&["a", "b", "(c", "sh"]))
        .collect();
    let literal = |seg: &&str| Seg::Literal((*seg).to_owned());
    Area {
        front: None,
        lanes: Lanes::default(),
        pattern: Arc::new(Pattern {
            segs: segs.iter().map(literal).collect(),
            exact: true,
            text: format!("=/{}", segs.join("/")),
        }),
        public: None,
        shadow: false,
        allows: match dice.chance(50) {
            true => vec![everyone(Mfa::Session)],
            false => Vec::new(),
        },
        span: Span::default(),
    }
}

/// Puts the area into every app that has no such area.
fn split(ir: &mut Ir, area: &Area) {
    for app in &mut ir.apps {
        let taken = |other: &Area| other.pattern.same(&area.pattern);
        if !app.areas.iter().any(taken) {
            app.areas.push(area.clone());
        }
    }
}

fn lies_in(area: &Area, request: &Request) -> bool {
    let Target::Http(_, path, _) = &request.target else {
        return false;
    };
    let plain = collapsed(&without_params(path).to_uppercase().replace("%2F", "/"));
    let kept = format!("/{}", without_params(path).trim_start_matches('/'));
    [plain, kept].iter().any(|path| lies_at(area, path))
}

fn lies_at(area: &Area, path: &str) -> bool {
    let parts = path.split('/').skip(1).map(decode);
    let wanted = area.pattern.segs.iter().map(|seg| match seg {
        Seg::Literal(text) => text.as_str(),
        Seg::Star => unreachable!(),
    });
    let parts: Vec<String> = parts.collect();
    parts.len() == area.pattern.segs.len()
        && parts
            .iter()
            .zip(wanted)
            .all(|(part, wanted)| part.to_lowercase() == wanted)
}

/// The rule of an id, with the place it stands in.
fn rule_of<'a>(ir: &'a Ir, id: &str) -> Option<(&'a Allow, Resource)> {
    let mut all: Vec<(String, &Allow, Resource)> = Vec::new();
    for (app, ix) in ir.apps.iter().zip(0u32..) {
        for area in &app.areas {
            let ids = area.allows.iter().map(|allow| {
                let id = format!("{}{}#{}", app.id, area.pattern.text, allow.name);
                (id, allow, Resource::App(ix))
            });
            all.extend(ids);
        }
    }
    for (net, ix) in ir.nets.iter().zip(0u32..) {
        let ids = net.allows.iter();
        all.extend(ids.map(|allow| {
            let id = format!("{}#{}", net.id, allow.name);
            (id, allow, Resource::Net(ix))
        }));
    }
    let admin = ir.admin.iter();
    all.extend(admin.map(|allow| (format!("admin#{}", allow.name), allow, Resource::Admin)));
    let found = all.into_iter().find(|(known, _, _)| known == id);
    found.map(|(_, allow, resource)| (allow, resource))
}

/// The same files with files and tables in the opposite order.
fn turned(first: &Sources) -> Sources {
    let mut second = Sources::new();
    let files: Vec<_> = first.files().collect();
    for file in files.into_iter().rev() {
        let text = first.text(file);
        if first.is_list(file) {
            add_like(&mut second, first, file, text.to_owned());
            continue;
        }
        let (head, rest) = text.split_once('\n').unwrap();
        let tables = rest.split("\n[");
        let mut tables: Vec<String> = tables
            .map(|table| format!("[{}\n", table.trim_start_matches('[')))
            .collect();
        tables.reverse();
        let rest = match rest.is_empty() {
            true => String::new(),
            false => tables.concat(),
        };
        add_like(&mut second, first, file, format!("{head}\n{rest}"));
    }
    second
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p2_the_order_of_files_tables_and_rules_changes_no_outcome(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let first = sources(&mut dice);
        let policy = crate::load(&first).unwrap().policy;
        let again = crate::load(&turned(&first)).unwrap().policy;
        prop_assert_eq!(policy.digest(), again.digest());
        let mut mixed = policy.ir.clone();
        for list in every_list(&mut mixed) {
            for at in (1..list.len()).rev() {
                let other = dice.roll(at + 1);
                list.swap(at, other);
            }
        }
        let mixed = remake(mixed);
        for _ in 0..REQUESTS {
            let request = request(&mut dice);
            let was = compiled(&policy, &request);
            let id = policy.rule(was.rule).id.to_string();
            let now = compiled(&again, &request);
            prop_assert_eq!((was.outcome, id), (now.outcome, again.rule(now.rule).id.to_string()), "{:?}", request);
            prop_assert_eq!(was.outcome, compiled(&mixed, &request).outcome, "{:?}", request);
        }
    }

    #[test]
    fn p3_an_allow_names_a_rule_all_of_whose_conditions_hold(seed in any::<u64>()) {
        let (mut dice, policy) = world(seed);
        let ir = &policy.ir;
        for _ in 0..REQUESTS {
            let request = request(&mut dice);
            let decision = compiled(&policy, &request);
            if decision.outcome != Outcome::Allow { continue; }
            let (allow, resource) = rule_of(ir, &policy.rule(decision.rule).id).unwrap();
            let method = match &request.target {
                Target::Http(_, _, method) | Target::Admin(method) => Some(method.as_str()),
                Target::Flow(..) => None,
            };
            let me = request.user.as_deref().filter(|name| policy.subject(name).is_some());
            prop_assert!(!allow.shadow);
            prop_assert!(facts(ir, allow, &request, method), "{request:?}");
            prop_assert_eq!(offer(ir, allow, &request, resource, me), Outcome::Allow, "{:?}", request);
            let stopped = ir.guards.iter().any(|guard| {
                !guard.shadow && guard_stops(ir, guard, &request, resource, me)
            });
            prop_assert!(!stopped, "{request:?}");
        }
    }

    #[test]
    fn p3_without_rules_nothing_is_allowed(seed in any::<u64>()) {
        let (mut dice, policy) = world(seed);
        let mut bare = policy.ir;
        every_list(&mut bare).into_iter().for_each(Vec::clear);
        let bare = remake(bare);
        for _ in 0..REQUESTS {
            let request = request(&mut dice);
            prop_assert_eq!(compiled(&bare, &request).outcome, Outcome::Deny, "{:?}", request);
        }
    }

    #[test]
    fn p4_a_guard_never_raises_an_outcome(seed in any::<u64>()) {
        let (mut dice, policy) = world(seed);
        let mut guarded = policy.ir.clone();
        guarded.guards.push(some_guard(&mut dice));
        let guarded = remake(guarded);
        for _ in 0..REQUESTS {
            let request = request(&mut dice);
            let was = compiled(&policy, &request).outcome;
            prop_assert!(compiled(&guarded, &request).outcome <= was, "{request:?}");
        }
    }

    #[test]
    fn p4_a_rule_never_lowers_an_outcome(seed in any::<u64>()) {
        let (mut dice, policy) = world(seed);
        let mut wider = policy.ir.clone();
        let rule = Allow {
            when: dice.chance(30).then(|| [0].into()),
            ..everyone(dice.pick(&[Mfa::None, Mfa::Session, Mfa::Age(300)]))
        };
        let mut lists = every_list(&mut wider);
        let at = dice.roll(lists.len());
        lists[at].push(rule);
        let wider = remake(wider);
        for _ in 0..REQUESTS {
            let request = request(&mut dice);
            let was = compiled(&policy, &request).outcome;
            prop_assert!(compiled(&wider, &request).outcome >= was, "{request:?}");
        }
    }

    #[test]
    fn p4_an_area_changes_only_requests_inside_it(seed in any::<u64>()) {
        let (mut dice, policy) = world(seed);
        let area = some_area(&mut dice);
        let mut more = policy.ir.clone();
        split(&mut more, &area);
        let more = remake(more);
        for _ in 0..REQUESTS {
            let request = request(&mut dice);
            if lies_in(&area, &request) { continue; }
            let (was, now) = (compiled(&policy, &request), compiled(&more, &request));
            prop_assert_eq!(was.outcome, now.outcome, "{:?}", request);
            prop_assert_eq!(&policy.rule(was.rule).id, &more.rule(now.rule).id, "{:?}", request);
        }
    }

    #[test]
    fn p11_what_is_in_shadow_changes_no_outcome(seed in any::<u64>()) {
        let (mut dice, policy) = world(seed);
        let without = remake(enforced(&policy.ir));
        let mut more = policy.ir.clone();
        let shadow = Allow { shadow: true, ..everyone(Mfa::None) };
        every_list(&mut more).into_iter().for_each(|list| list.insert(0, shadow.clone()));
        more.guards.insert(0, Guard { shadow: true, who: None, from: None, ..some_guard(&mut dice) });
        split(&mut more, &Area { shadow: true, ..some_area(&mut dice) });
        let more = remake(more);
        for _ in 0..REQUESTS {
            let request = request(&mut dice);
            let was = compiled(&policy, &request);
            for other in [&without, &more] {
                let now = compiled(other, &request);
                prop_assert_eq!(was.outcome, now.outcome, "{:?}", request);
                // an app in shadow says how its paths with parameters are read, so how they are refused
                if !matches!(&request.target, Target::Http(_, path, _) if path.contains(';') || path.contains("%2") || path.contains("//")) {
                    prop_assert_eq!(&policy.rule(was.rule).id, &other.rule(now.rule).id, "{:?}", request);
                }
            }
        }
    }
}

/// 32 worlds for each property, with 102,400 requests in all; 10^8 where `POSTERN_LONG=1` asks for the long run.
pub(super) fn cases() -> u32 {
    if long() { 31_250 } else { 32 }
}
