//! The people, addresses and instants of some policies, as far as any rule of them can tell.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use super::names::{self, Kind};
use crate::compile::{Policy, ZoneClass};

/// All people of some policies, each name once, sorted.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) names: Vec<String>,
    /// For each policy and user of it, which of the people that is, if enabled.
    ids: Vec<Vec<Option<u32>>>,
    /// For each person, in which policies there is one, as a key.
    pub(super) kind: Vec<u64>,
    pub(super) kinds: BTreeMap<u64, usize>,
}

/// The classes of people, addresses and instants of some policies.
#[derive(Debug)]
pub(crate) struct World<'p> {
    policies: Vec<&'p Policy>,
    pub(super) crowd: Rc<Crowd>,
    /// Whether somebody not signed in is part of it.
    pub(super) nobody: bool,
    /// For a policy and an atom, the people in it; `None` when that is everybody the policy knows.
    holders: HashMap<(usize, u32), Option<Rc<Vec<u32>>>>,
    pub(super) zones: Vec<(Vec<ZoneClass>, String)>,
    /// For lists of schedules: each way they can stand.
    times: BTreeMap<Vec<Vec<u32>>, Vec<State>>,
    /// The one instant that is asked about, if it is one.
    pub(super) only_at: Option<i64>,
}

/// One way schedules can stand, with the first instant at which they do.
pub(crate) type State = (i64, Vec<bool>);

impl<'p> World<'p> {
    pub(crate) fn new(policies: &[&'p Policy]) -> Self {
        Self::made(policies, crowd(policies, None), true)
    }

    /// Like [`Self::new`], with one person only; `None` is somebody not signed in.
    pub(crate) fn of_one(policies: &[&'p Policy], name: Option<&str>) -> Self {
        let crowd = crowd(policies, Some(name.unwrap_or_default()));
        Self::made(policies, crowd, name.is_none())
    }

    fn made(policies: &[&'p Policy], crowd: Crowd, nobody: bool) -> Self {
        Self {
            policies: policies.to_vec(),
            crowd: Rc::new(crowd),
            nobody,
            holders: HashMap::new(),
            zones: zones(policies),
            times: BTreeMap::new(),
            only_at: None,
        }
    }

    /// The first of the policies.
    pub(super) fn first(&self) -> Option<&'p Policy> {
        self.policies.first().copied()
    }

    /// What a schedule of one of the policies is called.
    pub(super) fn schedule(&self, side: usize, ix: u32) -> String {
        names::schedule(&self.policies, side, ix)
    }

    pub(super) fn times(&mut self, lists: &[Vec<u32>]) -> &[State] {
        let (policies, only) = (&self.policies, self.only_at);
        self.times
            .entry(lists.to_vec())
            .or_insert_with(|| match only {
                Some(at) => vec![(at, state(&asked(policies, lists), at))],
                None => sweep(policies, lists),
            })
    }

    /// Whether each of the policies knows all of the people.
    pub(super) fn all_known(&self) -> bool {
        let all = self.crowd.names.len();
        let mut ids = self.crowd.ids.iter();
        ids.all(|ids| ids.iter().flatten().count() == all)
    }

    /// The people in an atom of a policy, sorted; `None` when that is everybody the policy knows.
    pub(super) fn holders(&mut self, side: usize, atom: u32) -> Option<Rc<Vec<u32>>> {
        let (policies, crowd) = (&self.policies, &self.crowd);
        let found = self.holders.entry((side, atom)).or_insert_with(|| {
            let (policy, ids) = (policies.get(side)?, crowd.ids.get(side)?);
            let people = policy.atoms.people(atom, &policy.ir);
            let held = people.filter_map(|user| ids.get(user as usize).copied().flatten());
            let mut held: Vec<u32> = held.collect();
            held.sort_unstable();
            held.dedup();
            let all = ids.iter().flatten().count();
            (held.len() < all).then(|| Rc::new(held))
        });
        found.clone()
    }
}

fn crowd(policies: &[&Policy], only: Option<&str>) -> Crowd {
    let mut names: Vec<&str> = policies
        .iter()
        .flat_map(|policy| policy.users.iter().map(|user| &*user.name))
        .filter(|name| only.is_none_or(|only| only == *name))
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut out = Crowd {
        names: Vec::new(),
        ids: policies
            .iter()
            .map(|policy| vec![None; policy.users.len()])
            .collect(),
        kind: Vec::new(),
        kinds: BTreeMap::new(),
    };
    for name in names {
        let known: Vec<Option<u32>> = policies
            .iter()
            .map(|policy| {
                let ix = *policy.user_ix.get(name)?;
                let user = policy.ir.users.get(ix as usize)?;
                (!user.disabled).then_some(ix)
            })
            .collect();
        let kind = known
            .iter()
            .fold(0, |sum, user| sum << 1 | u64::from(user.is_some()));
        if kind == 0 {
            continue;
        }
        let person = u32::try_from(out.names.len()).unwrap_or(u32::MAX);
        for (ids, user) in out.ids.iter_mut().zip(known) {
            let user = user.and_then(|user| ids.get_mut(user as usize));
            if let Some(id) = user {
                *id = Some(person);
            }
        }
        *out.kinds.entry(kind).or_default() += 1;
        out.names.push(name.to_owned());
        out.kind.push(kind);
    }
    out
}

/// Each combination of classes some address has, with what it is called.
fn zones(policies: &[&Policy]) -> Vec<(Vec<ZoneClass>, String)> {
    let mut borders: Vec<IpAddr> = policies.iter().flat_map(|p| p.zones.borders()).collect();
    borders.push(IpAddr::from([0, 0, 0, 0]));
    borders.push(IpAddr::from([0u16; 8]));
    borders.sort_unstable();
    borders.dedup();
    let classes = |ip: IpAddr, inside: bool| -> Vec<ZoneClass> {
        policies.iter().map(|p| p.zone(ip, inside)).collect()
    };
    let tunnel = (classes(IpAddr::from([0, 0, 0, 0]), true), Vec::new());
    let mut kinds: Vec<Kind> = vec![tunnel];
    let mut known: HashMap<Vec<ZoneClass>, usize> = HashMap::new();
    let mut ends = borders.iter().skip(1);
    for &first in &borders {
        let own = classes(first, false);
        let at = *known.entry(own.clone()).or_insert_with(|| {
            kinds.push((own, Vec::new()));
            kinds.len() - 1
        });
        let last = last_before(first, ends.next().copied());
        if let Some((_, ranges)) = kinds.get_mut(at) {
            ranges.push((first, last));
        }
    }
    let labels = names::zones(policies, &kinds);
    let classes = kinds.into_iter().map(|(classes, _)| classes);
    classes.zip(labels).collect()
}

/// The last address of the stretch that begins with one and ends before another, or with its family.
fn last_before(first: IpAddr, next: Option<IpAddr>) -> IpAddr {
    match (first, next) {
        (IpAddr::V4(_), Some(IpAddr::V4(next))) => {
            IpAddr::V4(Ipv4Addr::from(u32::from(next).saturating_sub(1)))
        }
        (IpAddr::V4(_), _) => IpAddr::V4(Ipv4Addr::BROADCAST),
        (IpAddr::V6(_), Some(IpAddr::V6(next))) => {
            IpAddr::V6(Ipv6Addr::from(u128::from(next).saturating_sub(1)))
        }
        (IpAddr::V6(_), _) => IpAddr::V6(Ipv6Addr::from(u128::MAX)),
    }
}

/// The schedules of each list with their policy.
fn asked<'p>(policies: &[&'p Policy], lists: &[Vec<u32>]) -> Vec<(&'p Policy, u32)> {
    policies
        .iter()
        .zip(lists)
        .flat_map(|(policy, list)| list.iter().map(|&schedule| (*policy, schedule)))
        .collect()
}

/// Which of them hold at an instant.
fn state(asked: &[(&Policy, u32)], at: i64) -> Vec<bool> {
    let held = asked.iter().map(|(policy, ix)| policy.times.holds(*ix, at));
    held.collect()
}

/// Each way in which schedules of a policy stand at some time, with the first instant at which they do.
pub(crate) fn standings(policy: &Policy, schedules: &[u32]) -> Vec<State> {
    sweep(&[policy], &[schedules.to_vec()])
}

/// Walks along time from change to change.
fn sweep(policies: &[&Policy], lists: &[Vec<u32>]) -> Vec<State> {
    let asked = asked(policies, lists);
    if asked.is_empty() {
        return vec![(0, Vec::new())];
    }
    let spans = policies
        .iter()
        .zip(lists)
        .map(|(policy, list)| policy.times.horizon(list));
    let (mut at, end) = spans.fold((i64::MAX, i64::MIN), |sum, span| {
        (sum.0.min(span.0), sum.1.max(span.1))
    });
    let mut found: BTreeMap<Vec<bool>, i64> = BTreeMap::new();
    while at < end {
        found.entry(state(&asked, at)).or_insert(at);
        let next = asked
            .iter()
            .map(|(policy, ix)| policy.times.step(*ix, at))
            .min();
        at = next.unwrap_or(end).max(at + 1);
    }
    found.into_iter().map(|(state, at)| (at, state)).collect()
}
