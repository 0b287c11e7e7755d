//! Exact answers against asking every question there is.

mod alike;
mod contexts;
mod exact;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Grid, JointPlace, Split, World, diff, joint_places};
use crate::compile::Policy;
use crate::decide::Outcome;
use crate::ir::Device;
use crate::naive::tests::{compiled, long};
use crate::naive::world::{Dice, add_like, request, sources};
use crate::naive::{self, Request, Target};
use crate::query::{self, QueryText};
use crate::source::Sources;

/// In each of 16 worlds: 102,400 requests.
const REQUESTS: usize = 6_400;

fn load(sources: &Sources) -> Policy {
    crate::load(sources).unwrap().policy
}

/// The first policy without one of its rules, if it has one that can go.
fn one_rule_less(dice: &mut Dice, first: &Sources) -> Option<Policy> {
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
            return Some(loaded.policy);
        }
    }
    None
}

/// A second policy near the first: other zones, schedules and groups, one line less, or another world altogether.
fn neighbour(dice: &mut Dice, first: &Sources) -> Policy {
    let near = match dice.chance(50) {
        true => exact::moved(dice, first),
        false => one_rule_less(dice, first),
    };
    near.unwrap_or_else(|| load(&sources(dice)))
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
        Target::Admin(_) => "admin".to_owned(),
    }
}

/// Tells whether no segment of a path ends in a dot or a space, holds a colon or looks like a short name.
fn plain_on_windows(path: &str) -> bool {
    let named = [("%20", " "), ("%2E", "."), ("%3A", ":"), ("%7E", "~")];
    let path = named
        .iter()
        .fold(path.to_owned(), |path, (written, meant)| {
            path.replace(written, meant)
        });
    let is_short = path
        .split('~')
        .skip(1)
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    !path.split('/').any(|segment| segment.ends_with(['.', ' ']))
        && !path.contains(':')
        && !is_short
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if long() { 15_625 } else { 16 }, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two policies differ on a request exactly if a change of the diff is about its person, place and outcomes.
    #[test]
    fn p8_a_diff_covers_what_differs_and_nothing_else(seed in any::<u64>()) {
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
        for _ in 0..REQUESTS {
            let request = Request { unix: Some(1_774_656_000 + i64::try_from(dice.roll(30_000_000)).unwrap()), ..request(&mut dice) };
            let able = |user: &String| a.subject(user).is_some() && b.subject(user).is_some();
            if !request.user.iter().all(able) { continue; }
            let (x, y) = (compiled(&a, &request).outcome, compiled(&b, &request).outcome);
            if x != y {
                let refused = [&a, &b].iter().any(|policy| compiled(policy, &request).rule == crate::compile::BAD_REQUEST);
                let path = match &request.target {
                    Target::Http(_, path, _) => path.trim_start_matches('/').to_ascii_uppercase(),
                    Target::Flow(..) | Target::Admin(_) => String::new(),
                };
                // which paths have two readings moves with the areas, and is told as such
                let told = |key: &str| there.settings.iter().any(|setting| setting.key == key);
                if refused && told("readings") && (path.contains("%2F") || path.contains("//")) { continue; }
                // and so are those that Windows would read as others
                if refused && told("case-insensitive") && !plain_on_windows(&path) { continue; }
                let user = request.user.clone().unwrap_or_else(|| "anyone".to_owned());
                prop_assert!(changed.contains(&(user.clone(), x, y)), "{request:?} {x} {y}");
                let ids: Vec<String> = [&a, &b].iter().filter_map(|policy| {
                    let place = policy.place_by(&text(&request), false).ok()?;
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
    fn p8_who_can_lists_exactly_those_who_can(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let policy = load(&sources(&mut dice));
        let mut places: BTreeMap<String, crate::WhoCan> = BTreeMap::new();
        let mut people: BTreeMap<String, crate::WhatCan> = BTreeMap::new();
        for _ in 0..REQUESTS {
            let request = Request { unix: Some(1_774_656_000 + i64::try_from(dice.roll(30_000_000)).unwrap()), ..request(&mut dice) };
            let decision = compiled(&policy, &request);
            if decision.outcome != Outcome::Allow { continue; }
            let answer = places
                .entry(text(&request))
                .or_insert_with_key(|to| policy.who_can(to).unwrap());
            let user = request.user.as_deref().filter(|u| policy.subject(u).is_some());
            let listed = answer.users.iter().any(|g| Some(g.name.as_str()) == user || g.name == "anyone");
            prop_assert!(listed, "{request:?} {answer:?}");
            if let Some(user) = user {
                let what = people
                    .entry(user.to_owned())
                    .or_insert_with_key(|user| policy.what_can(user).unwrap());
                prop_assert!(what.resources.iter().any(|r| r.resource == answer.resource), "{what:?}");
            }
        }
    }
}

/// Nobody is listed who is not let in somewhere: each listed person is found by asking all combinations.
#[test]
fn p8_nobody_is_listed_in_vain() {
    for seed in 0..if long() { 400 } else { 20 } {
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

/// One instant for each combination of schedules that holds at some time of a year.
pub(crate) fn instants(policy: &Policy) -> Vec<i64> {
    let mut seen: BTreeSet<Vec<bool>> = BTreeSet::new();
    let hours = (0..400 * 8).map(|at| 1_767_225_600 + at * 3 * 3600 + 1800);
    let new = |unix: &i64| {
        let schedules = 0..u32::try_from(policy.ir.schedules.len()).unwrap();
        let holds: Vec<bool> = schedules
            .map(|ix| naive::any_holds(&policy.ir, &[ix], *unix))
            .collect();
        seen.insert(holds)
    };
    hours.filter(new).collect()
}

fn has_methods(to: &str) -> bool {
    to == "admin" || to.starts_with("https:")
}

fn target(policy: &Policy, to: &str, method: &str) -> Target {
    let text = QueryText {
        to: match has_methods(to) {
            true => format!("{method} {to}"),
            false => to.to_owned(),
        },
        ..QueryText::default()
    };
    match policy.query(&text).unwrap().target {
        query::Target::Http { method, host, path } => {
            Target::Http(host.as_str().to_owned(), path.as_str().to_owned(), method)
        }
        query::Target::Flow { dst, port, proto } => Target::Flow(dst, port, proto),
        query::Target::Admin { method } => Target::Admin(method),
        query::Target::BadRequest(reason) => panic!("{to}: {reason}"),
    }
}

/// Ages of code and sign-in, just behind what the rules of random worlds ask for.
fn ages() -> Vec<(Option<u32>, u32)> {
    let codes = [Some(0), None, Some(301), Some(3601), Some(28_801)];
    let logins = [0, 3601, 36_001, 72_001];
    let pair = |login| codes.map(|code| (code, login));
    logins.into_iter().flat_map(pair).collect()
}

/// An address of each kind the zones tell apart: borders of all networks, once for each set of zones they lie in.
pub(crate) fn addresses(policy: &Policy) -> Vec<std::net::IpAddr> {
    let nets = || policy.ir.zones.iter().flat_map(|zone| &zone.nets);
    let behind = |net: &ipnet::IpNet| match net {
        ipnet::IpNet::V4(v4) => u32::from(v4.broadcast())
            .checked_add(1)
            .map(|at| at.to_be_bytes().into()),
        ipnet::IpNet::V6(v6) => u128::from(v6.broadcast())
            .checked_add(1)
            .map(|at| at.to_be_bytes().into()),
    };
    let fixed = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
    let borders = nets()
        .flat_map(|net| [Some(net.network()), behind(net)])
        .flatten();
    let mut seen: BTreeSet<Vec<bool>> = BTreeSet::new();
    fixed
        .into_iter()
        .chain(borders)
        .filter(|ip| seen.insert(nets().map(|net| net.contains(ip)).collect()))
        .collect()
}

/// Every question one person can ask about one place.
fn questions<'a>(
    policy: &'a Policy,
    user: Option<&'a str>,
    to: &'a str,
    times: &'a [i64],
    ages: &'a [(Option<u32>, u32)],
) -> impl Iterator<Item = Request> + 'a {
    let methods: &[&str] = match has_methods(to) {
        true => &["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"],
        false => &["GET"],
    };
    let targets = methods.iter().map(move |method| target(policy, to, method));
    targets.flat_map(move |target| {
        let froms = addresses(policy);
        froms.into_iter().enumerate().flat_map(move |(at, ip)| {
            let target = target.clone();
            let tunnels: &[bool] = if at == 0 { &[false, true] } else { &[false] };
            let devices = [Device::Any, Device::Known, Device::Managed];
            tunnels.iter().flat_map(move |tunnel| {
                let target = target.clone();
                times.iter().flat_map(move |unix| {
                    let target = target.clone();
                    devices.into_iter().flat_map(move |device| {
                        let target = target.clone();
                        ages.iter().map(move |(mfa_age, login_age)| Request {
                            user: user.map(str::to_owned),
                            mfa_age: *mfa_age,
                            login_age: *login_age,
                            device,
                            ip,
                            tunnel: *tunnel,
                            unix: Some(*unix),
                            target: target.clone(),
                        })
                    })
                })
            })
        })
    })
}

/// Property 8, reach: who is listed is exactly who is let in when every question is asked of the plain reading.
#[test]
fn p8_reach_is_what_asking_every_question_gives() {
    for seed in 0..if long() { 60 } else { 3 } {
        let policy = load(&sources(&mut Dice(seed)));
        let times = instants(&policy);
        assert!(times.len() >= 6, "{times:?}");
        let in_force = naive::enforced(&policy.ir);
        let allowed = |user: Option<&str>, to: &str| {
            let mut all = questions(&policy, user, to, &times, &[(Some(0), 0), (None, 0)]);
            all.any(|request| naive::decide(&in_force, &request).0 == Outcome::Allow)
        };
        let reach: BTreeMap<&str, BTreeSet<String>> = policy
            .users()
            .map(|user| {
                let what = policy.what_can(&user.name).unwrap().resources;
                (&*user.name, what.into_iter().map(|r| r.resource).collect())
            })
            .collect();
        for sample in policy.samples() {
            let answer = policy.who_can(&sample.resource).unwrap();
            let listed: BTreeSet<&str> = answer.users.iter().map(|g| g.name.as_str()).collect();
            let open = allowed(None, &sample.to);
            assert_eq!(open, listed.contains("anyone"), "{seed} {}", sample.to);
            for user in policy.users() {
                let enters = allowed(Some(&user.name), &sample.to);
                let told = listed.contains(&*user.name);
                let reaches = reach[&*user.name].contains(&sample.resource);
                assert!(enters || !told, "{seed} {} {}", user.name, sample.to);
                assert!(
                    told || open || !enters,
                    "{seed} {} {}",
                    user.name,
                    sample.to
                );
                assert!(
                    !enters || user.disabled || reaches,
                    "{seed} {} {}",
                    user.name,
                    sample.to
                );
            }
        }
    }
}

/// Property 8, diff: each change is found by asking both policies every question about that person and place.
#[test]
fn p8_every_change_of_a_diff_is_real() {
    let (mut checked, ages) = (0, ages());
    for seed in 0..if long() { 300 } else { 28 } {
        let mut dice = Dice(seed);
        let first = sources(&mut dice);
        let a = load(&first);
        let Some(b) = one_rule_less(&mut dice, &first) else {
            continue;
        };
        let times = instants(&a);
        let samples = a.samples();
        let changes = diff(&a, &b).changes;
        for change in changes.iter().take(12) {
            let user = (change.user != "anyone").then_some(change.user.as_str());
            let mut there = samples.iter().filter(|s| s.resource == change.resource);
            let real = there.any(|sample| {
                let mut all = questions(&a, user, &sample.to, &times, &ages);
                all.any(|request| {
                    let outcomes = [&a, &b].map(|policy| compiled(policy, &request).outcome);
                    outcomes == [change.before, change.after]
                })
            });
            assert!(real, "{seed} {change:?}");
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} changes");
}
