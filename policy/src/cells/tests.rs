//! Exact answers against asking every question there is.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Grid, JointPlace, Split, World, diff, joint_places};
use crate::compile::Policy;
use crate::decide::Outcome;
use crate::naive::tests::compiled;
use crate::naive::world::{Dice, add_like, request, sources};
use crate::naive::{Request, Target};
use crate::source::Sources;

fn load(sources: &Sources) -> Policy {
    crate::load(sources).unwrap().policy
}

/// A second policy near the first: one line less, or another world altogether.
fn neighbour(dice: &mut Dice, first: &Sources) -> Policy {
    for _ in 0..8 {
        let mut changed = Sources::new();
        let mut cut = false;
        for file in first.files() {
            let lines: Vec<&str> = first.text(file).lines().collect();
            let at = dice.roll(lines.len());
            let gone = !cut && lines[at].starts_with("allow.") && dice.chance(70);
            cut |= gone;
            let kept = lines
                .iter()
                .enumerate()
                .filter(|(ix, _)| !gone || *ix != at);
            let text: Vec<&str> = kept.map(|(_, line)| *line).collect();
            add_like(&mut changed, first, file, format!("{}\n", text.join("\n")));
        }
        if cut && let Ok(loaded) = crate::load(&changed) {
            return loaded.policy;
        }
    }
    load(&sources(dice))
}

fn text(request: &Request) -> String {
    match &request.target {
        Target::Http(host, path, _) => format!("https://{host}{path}"),
        Target::Flow(ip, port, proto) => {
            let host = match ip {
                std::net::IpAddr::V4(_) => ip.to_string(),
                std::net::IpAddr::V6(_) => format!("[{ip}]"),
            };
            match proto {
                crate::Proto::Tcp => format!("tcp://{host}:{port}"),
                crate::Proto::Udp => format!("udp://{host}:{port}"),
                crate::Proto::Icmp => format!("icmp://{ip}"),
            }
        }
        Target::Admin => "admin".to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two policies differ on a request exactly if a change of the diff is about its person, place and outcomes.
    #[test]
    fn a_diff_covers_what_differs_and_nothing_else(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let first = sources(&mut dice);
        let a = load(&first);
        let b = neighbour(&mut dice, &first);
        let there = diff(&a, &b);
        let back = diff(&b, &a);
        prop_assert!(diff(&a, &a).changes.is_empty());
        let pairs = |d: &super::Diff, swap: bool| -> BTreeSet<(String, Outcome, Outcome)> {
            d.changes.iter().map(|c| match swap {
                false => (c.user.clone(), c.before, c.after),
                true => (c.user.clone(), c.after, c.before),
            }).collect()
        };
        prop_assert_eq!(pairs(&there, false), pairs(&back, true));
        let changed: BTreeSet<(String, Outcome, Outcome)> = pairs(&there, false);
        for _ in 0..150 {
            let request = Request { unix: Some(1_774_656_000 + i64::try_from(dice.roll(30_000_000)).unwrap()), ..request(&mut dice) };
            let able = |user: &String| a.subject(user).is_some() && b.subject(user).is_some();
            if !request.user.iter().all(able) { continue; }
            let (x, y) = (compiled(&a, &request).outcome, compiled(&b, &request).outcome);
            if x != y {
                let user = request.user.clone().unwrap_or_else(|| "anyone".to_owned());
                prop_assert!(changed.contains(&(user.clone(), x, y)), "{request:?} {x} {y}");
                let ids: Vec<String> = [&a, &b].iter().filter_map(|policy| {
                    let place = policy.place(&text(&request)).ok()?;
                    Some(super::places::id_of(policy, place))
                }).collect();
                let there = there.changes.iter().any(|c| {
                    c.user == user && (c.before, c.after) == (x, y) && ids.contains(&c.resource)
                });
                prop_assert!(there, "{request:?} {x} {y} {ids:?}");
            }
        }
    }

    /// Every cell is real: the decision of the cell is the decision of a request made from it; and who reaches what
    /// in a random request is listed as reaching it.
    #[test]
    fn who_can_lists_exactly_those_who_can(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let policy = load(&sources(&mut dice));
        for _ in 0..150 {
            let request = Request { unix: Some(1_774_656_000 + i64::try_from(dice.roll(30_000_000)).unwrap()), ..request(&mut dice) };
            let decision = compiled(&policy, &request);
            if decision.outcome != Outcome::Allow { continue; }
            let answer = policy.who_can(&text(&request)).unwrap();
            let user = request.user.as_deref().filter(|u| policy.subject(u).is_some());
            let listed = answer.users.iter().any(|g| Some(g.name.as_str()) == user || g.name == "anyone");
            prop_assert!(listed, "{request:?} {answer:?}");
            if let Some(user) = user {
                let what = policy.what_can(user).unwrap();
                prop_assert!(what.resources.iter().any(|r| r.resource == answer.resource), "{what:?}");
            }
        }
    }
}

/// Nobody is listed who is not let in somewhere: each listed person is found by asking all combinations.
#[test]
fn nobody_is_listed_in_vain() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let policy = load(&sources(&mut dice));
        let mut world = World::new(&[&policy]);
        for JointPlace { sides, id, .. } in joint_places(&[&policy]) {
            let grid = Grid::new(&mut world, &sides, &Split::default());
            let mut allowed: BTreeSet<String> = BTreeSet::new();
            grid.run(|group, _, decisions| {
                if decisions[0].outcome == Outcome::Allow {
                    allowed.extend(group.names());
                }
            });
            let answer = policy.who_can(&id).unwrap();
            let open = answer.users.iter().any(|g| g.name == "anyone");
            let listed: BTreeSet<String> = answer
                .users
                .iter()
                .map(|g| g.name.clone())
                .filter(|n| n != "anyone")
                .collect();
            assert!(listed.is_subset(&allowed), "{id}");
            assert!(open || listed == allowed, "{id} {listed:?} {allowed:?}");
        }
    }
}
