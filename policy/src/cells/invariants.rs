//! Invariants over all people, times, networks and devices.

use std::collections::{BTreeMap, HashSet};

use super::places::id_of;
use super::{Cell, Grid, Side, Split, World, label};
use crate::compile::{Policy, RuleIx};
use crate::decide::{Decision, Outcome};
use crate::diag::{Diagnostic, show};
use crate::ir::{Device, Mfa, Who};
use crate::resolve::invariants::{Demand, Invariant, Place};
use crate::resolve::tenants::{EVERYBODY, owner};

/// Checks the invariants of a policy; each that is broken gives one finding with the first way to break it.
pub(crate) fn check(policy: &Policy) -> Vec<Diagnostic> {
    if policy.invariants.is_empty() {
        return Vec::new();
    }
    let mut world = World::new(&[policy]);
    let mut out = Vec::new();
    for invariant in &policy.invariants {
        let mut broken = invariant
            .demands
            .iter()
            .filter_map(|demand| breach(policy, &mut world, invariant, demand));
        if let Some(text) = broken.next() {
            let title = format!("invariant `{}` is broken: {text}", show(&invariant.name));
            out.push(
                Diagnostic::error("invariant-broken", invariant.span, title)
                    .label("this invariant")
                    .help("correct the rule or the invariant; `postern policy who-can` shows all"),
            );
        }
    }
    out
}

fn breach<'p>(
    policy: &'p Policy,
    world: &mut World<'p>,
    invariant: &Invariant,
    demand: &Demand,
) -> Option<String> {
    for &place in &invariant.places {
        let found = match demand {
            Demand::Only(who) => {
                let bad = |name: Option<&str>| !is_in(policy, who, name);
                intruder(policy, world, place, |_| true, bad)
            }
            Demand::Never(who) => {
                let bad = |name: Option<&str>| is_in(policy, who, name);
                intruder(policy, world, place, |_| true, bad)
            }
            Demand::Requires {
                device,
                mfa,
                login,
                from,
            } => too_easy(policy, world, place, (*device, *mfa, *login, from.as_ref())),
            Demand::CanReach(who) => locked_out(policy, world, place, who),
            Demand::Disjoint => trespasser(policy, world, place),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Whether a person is in a set; nobody in particular is in no set.
fn is_in(policy: &Policy, who: &Who, name: Option<&str>) -> bool {
    let user = name.and_then(|name| policy.ir.user(name));
    let person = user.and_then(|ix| policy.ir.users.get(ix as usize));
    match (user, person) {
        (Some(ix), Some(person)) => who.holds(Some(ix), &person.groups),
        _ => who.anyone,
    }
}

/// The first person named by another tenant's files who reaches an area by a rule that is not for anyone.
fn trespasser<'p>(policy: &'p Policy, world: &mut World<'p>, place: Place) -> Option<String> {
    let id = id_of(policy, place);
    let own = owner(&id)?;
    let groups = policy.ir.tenants.iter().filter(|tenant| tenant.name != own);
    let mut others: BTreeMap<&str, &str> = BTreeMap::new();
    for tenant in groups {
        let all = policy.ir.group(&format!("{}/{EVERYBODY}", tenant.name));
        let group = all.and_then(|ix| policy.ir.groups.get(ix as usize));
        for &user in group.iter().flat_map(|group| &group.members) {
            let user = policy.ir.users.get(user as usize);
            others.extend(user.map(|user| (user.name.as_str(), tenant.name.as_str())));
        }
    }
    let named = |decision: &Decision| !policy.obligations(decision.obligations).public;
    let bad = |name: Option<&str>| name.is_some_and(|name| others.contains_key(name));
    let found = intruder(policy, world, place, named, bad)?;
    let tenant = found.split(' ').next().and_then(|name| others.get(name))?;
    Some(format!("{found}, and is named by tenant {tenant}"))
}

/// The first person of a kind who reaches a place by an allow that counts.
fn intruder<'p>(
    policy: &'p Policy,
    world: &mut World<'p>,
    place: Place,
    counts: impl Fn(&Decision) -> bool,
    bad: impl Fn(Option<&str>) -> bool,
) -> Option<String> {
    let grid = Grid::new(world, &[Side::of(policy, place)], &Split::default());
    let mut found: Option<(usize, String, RuleIx, Vec<Cell>)> = None;
    let mut fine: HashSet<usize> = HashSet::new();
    grid.run(|group, cell, decisions| {
        let allowed = decisions.iter().find(|d| d.outcome == Outcome::Allow);
        let Some(decision) = allowed.filter(|d| counts(d)) else {
            return;
        };
        if let Some((id, _, rule, cells)) = &mut found {
            if *id == group.id && *rule == decision.rule {
                cells.push(cell);
            }
            return;
        }
        if fine.contains(&group.id) {
            return;
        }
        let name = match group.anonymous() {
            true => bad(None).then(|| "anyone".to_owned()),
            false => group.names().into_iter().find(|name| bad(Some(name))),
        };
        match name {
            Some(name) => found = Some((group.id, name, decision.rule, vec![cell])),
            None => {
                fine.insert(group.id);
            }
        }
    });
    let (_, name, rule, cells) = found?;
    let contexts = label::contexts(&grid.labels, grid.sizes(), &cells);
    let when = contexts.first().map(|text| format!(" ({text})"));
    Some(format!(
        "{name} reaches {} by {}{}",
        id_of(policy, place),
        policy.rule(rule).id,
        when.unwrap_or_default()
    ))
}

type Wanted<'a> = (Device, Mfa, Option<u32>, Option<&'a Vec<u32>>);

/// The first allow with less proof than wanted.
fn too_easy<'p>(
    policy: &'p Policy,
    world: &mut World<'p>,
    place: Place,
    (device, mfa, login, from): Wanted<'_>,
) -> Option<String> {
    let split = Split {
        mfa: (mfa != Mfa::None).then_some(mfa),
        login,
        device,
        from: from.cloned(),
    };
    let grid = Grid::new(world, &[Side::of(policy, place)], &split);
    let tokens = super::lanes::of(&Side::of(policy, place)).tokens;
    let mut found: Option<(String, RuleIx, &'static str)> = None;
    grid.run(|group, [z, _, d, _, c, l], decisions| {
        let allowed = decisions.iter().find(|d| d.outcome == Outcome::Allow);
        let (Some(decision), None) = (allowed, &found) else {
            return;
        };
        let zones = grid.zones.get(z).and_then(|classes| classes.first());
        let inside = from.is_none_or(|from| {
            let members = zones.and_then(|&class| policy.zones.members(class));
            members.is_some_and(|members| members.iter().any(|zone| from.contains(zone)))
        });
        let code = grid.mfa.get(c).copied().flatten();
        let signed = grid.login.get(l).copied().unwrap_or(u32::MAX);
        let fresh = login.is_none_or(|most| !group.anonymous() && signed <= most);
        let any = grid.devices.get(d) == Some(&Device::Any);
        let token = !group.anonymous() && any && tokens > login;
        let lacks = if grid.devices.get(d).is_none_or(|held| *held < device) {
            "on a lesser device"
        } else if !mfa.accepts(code.filter(|_| !group.anonymous())) {
            "without such a code"
        } else if !fresh {
            "with an older sign-in"
        } else if login.is_some() && token {
            "by a token, without such a sign-in"
        } else if !inside {
            "from elsewhere"
        } else {
            return;
        };
        let name = group.names().into_iter().next();
        found = Some((
            name.unwrap_or_else(|| "anyone".to_owned()),
            decision.rule,
            lacks,
        ));
    });
    let (name, rule, lacks) = found?;
    Some(format!(
        "{name} reaches {} by {} {lacks}",
        id_of(policy, place),
        policy.rule(rule).id
    ))
}

/// The first person of a set who reaches a place in no context.
fn locked_out<'p>(
    policy: &'p Policy,
    world: &mut World<'p>,
    place: Place,
    who: &Who,
) -> Option<String> {
    let grid = Grid::new(world, &[Side::of(policy, place)], &Split::default());
    let mut reached: HashSet<String> = HashSet::new();
    let mut seen: HashSet<usize> = HashSet::new();
    grid.run(|group, _, decisions| {
        let allowed = decisions.iter().any(|d| d.outcome == Outcome::Allow);
        if allowed && seen.insert(group.id) {
            reached.extend(group.names());
        }
    });
    let all = policy.users.iter().map(|user| &*user.name);
    let mut lost = all.filter(|name| is_in(policy, who, Some(name)) && !reached.contains(*name));
    let name = lost.next()?;
    Some(format!("{name} cannot reach {}", id_of(policy, place)))
}
