//! The classes of one place, and a decision for each combination of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::label::{self, Labels};
use super::places::{Side, Spot};
use super::{Cell, DIMS};
use crate::compile::{Allow, DEFAULT, Guard, Policy, SubjectBits, TimeClass, ZoneClass};
use crate::decide::{Ask, Context, Decision, Subject};
use crate::ir::{Device, Mfa};

/// People no rule of the policies tells apart; no names stands for somebody not signed in.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) names: Vec<String>,
    /// For each policy; `None` where nobody of that name can sign in.
    bits: Vec<Option<SubjectBits>>,
}

/// The classes of people, addresses and instants of some policies.
#[derive(Debug)]
pub(crate) struct World<'p> {
    policies: Vec<&'p Policy>,
    people: Vec<Person>,
    zones: Vec<(Vec<ZoneClass>, String)>,
    /// For lists of schedules: each way they can stand.
    times: BTreeMap<Vec<Vec<u32>>, Vec<State>>,
}

/// One way schedules can stand, with the first instant at which they do.
type State = (i64, Vec<bool>);

/// What else must be told apart, beyond what the rules do.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) mfa: Option<Mfa>,
    pub(crate) login: Option<u32>,
    pub(crate) device: Device,
    /// Zones of the first policy.
    pub(crate) from: Option<Vec<u32>>,
}

impl<'p> World<'p> {
    pub(crate) fn new(policies: &[&'p Policy]) -> Self {
        Self {
            policies: policies.to_vec(),
            people: people(policies, None),
            zones: zones(policies),
            times: BTreeMap::new(),
        }
    }

    /// Like [`Self::new`], with one person only; `None` is somebody not signed in.
    pub(crate) fn of_one(policies: &[&'p Policy], name: Option<&str>) -> Self {
        let mut people = people(policies, Some(name.unwrap_or("")));
        people.retain(|person| person.names.is_empty() == name.is_none());
        Self {
            policies: policies.to_vec(),
            people,
            zones: zones(policies),
            times: BTreeMap::new(),
        }
    }

    fn times(&mut self, lists: &[Vec<u32>]) -> &[State] {
        let policies = &self.policies;
        self.times
            .entry(lists.to_vec())
            .or_insert_with(|| sweep(policies, lists))
    }
}

fn people(policies: &[&Policy], only: Option<&str>) -> Vec<Person> {
    let mut kinds: BTreeMap<Vec<Option<Vec<u64>>>, Person> = BTreeMap::new();
    let mut names: Vec<&str> = policies
        .iter()
        .flat_map(|policy| policy.users.iter().map(|user| &*user.name))
        .filter(|name| only.is_none_or(|only| only == *name))
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let bits: Vec<Option<SubjectBits>> =
            policies.iter().map(|policy| policy.subject(name)).collect();
        if bits.iter().all(Option::is_none) {
            continue;
        }
        let key = bits.iter().map(|bits| bits.as_ref().map(SubjectBits::key));
        let person = kinds.entry(key.collect()).or_insert_with(|| Person {
            names: Vec::new(),
            bits,
        });
        person.names.push(name.to_owned());
    }
    let nobody = Person {
        names: Vec::new(),
        bits: vec![None; policies.len()],
    };
    std::iter::once(nobody).chain(kinds.into_values()).collect()
}

/// Each combination of classes some address has, with the names of its zones in the last policy.
fn zones(policies: &[&Policy]) -> Vec<(Vec<ZoneClass>, String)> {
    let mut borders: Vec<IpAddr> = policies.iter().flat_map(|p| p.zones.borders()).collect();
    borders.push(IpAddr::from([0, 0, 0, 0]));
    borders.push(IpAddr::from([0u16; 8]));
    borders.sort_unstable();
    borders.dedup();
    let mut out: Vec<(Vec<ZoneClass>, String)> = Vec::new();
    let sources = borders.into_iter().map(|ip| (ip, false));
    let tunnel = (IpAddr::from([0, 0, 0, 0]), true);
    let mut seen = std::collections::HashSet::new();
    for (ip, inside) in std::iter::once(tunnel).chain(sources) {
        let classes: Vec<ZoneClass> = policies.iter().map(|p| p.zone(ip, inside)).collect();
        if !seen.insert(classes.clone()) {
            continue;
        }
        let named = policies.last().zip(classes.last());
        let label = named.map_or_else(String::new, |(policy, &class)| {
            policy.zone_names(class).join(" and ")
        });
        out.push((classes, label));
    }
    out
}

/// Walks along time from change to change.
fn sweep(policies: &[&Policy], lists: &[Vec<u32>]) -> Vec<State> {
    let asked: Vec<(&Policy, u32)> = policies
        .iter()
        .zip(lists)
        .flat_map(|(policy, list)| list.iter().map(|&schedule| (*policy, schedule)))
        .collect();
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
        let state = asked.iter().map(|(policy, ix)| policy.times.holds(*ix, at));
        found.entry(state.collect()).or_insert(at);
        let next = asked
            .iter()
            .map(|(policy, ix)| policy.times.step(*ix, at))
            .min();
        at = next.unwrap_or(end).max(at + 1);
    }
    found.into_iter().map(|(state, at)| (at, state)).collect()
}

/// People one place does not tell apart.
#[derive(Debug)]
pub(crate) struct Group {
    /// Sorted; empty for somebody not signed in.
    pub(crate) names: Vec<String>,
    bits: Vec<Option<SubjectBits>>,
}

impl Group {
    pub(crate) fn anonymous(&self) -> bool {
        self.names.is_empty()
    }
}

/// The classes of one place.
#[derive(Debug)]
pub(crate) struct Grid<'p> {
    sides: Vec<Side<'p>>,
    groups: Vec<Group>,
    pub(crate) zones: Vec<Vec<ZoneClass>>,
    times: Vec<TimeClass>,
    pub(crate) devices: Vec<Device>,
    methods: Vec<Vec<u64>>,
    pub(crate) mfa: Vec<Option<u32>>,
    pub(crate) login: Vec<u32>,
    pub(crate) labels: Labels,
}

impl<'p> Grid<'p> {
    pub(crate) fn new(world: &mut World<'p>, sides: &[Side<'p>], split: &Split) -> Self {
        let mut labels = Labels::default();
        let lists: Vec<Vec<u32>> = sides.iter().map(schedules).collect();
        let names = sides.iter().zip(&lists).flat_map(|(side, list)| {
            let named = list
                .iter()
                .filter_map(|&ix| side.policy.ir.schedules.get(ix as usize));
            named.map(|schedule| schedule.name.as_str())
        });
        let names: Vec<&str> = names.collect();
        let mut times = Vec::new();
        for (at, state) in world.times(&lists) {
            times.push(TimeClass::at(*at));
            labels.times.push(label::time(&names, state));
        }
        let (zones, zone_labels) = merge_zones(world, sides, split);
        labels.zones = zone_labels;
        let devices = devices(sides, split);
        labels.devices = label::devices(&devices);
        let (methods, method_labels) = methods(sides);
        labels.methods = method_labels;
        let mut mfa = ages(sides, split.mfa.and_then(age_of), |allow| age_of(allow.mfa));
        labels.mfa.clone_from(&mfa);
        let asked = |allow: &Allow| !allow.anyone && allow.mfa != Mfa::None;
        let any = split.mfa.is_some() || sides.iter().any(|side| allows(side).any(asked));
        labels.asks_code = any;
        let mut with_codes: Vec<Option<u32>> = mfa.drain(..).map(Some).collect();
        if any {
            with_codes.insert(0, None);
        }
        let login = ages(sides, split.login, |allow| {
            (!allow.anyone).then_some(allow.login)
        });
        labels.login.clone_from(&login);
        Self {
            sides: sides.to_vec(),
            groups: groups(world, sides),
            zones,
            times,
            devices,
            methods,
            mfa: with_codes,
            login,
            labels,
        }
    }

    /// Decides every cell of every group, in order.
    pub(crate) fn run(&self, mut visit: impl FnMut(&Group, Cell, &[Decision])) {
        let mut decisions = Vec::with_capacity(self.sides.len());
        for group in &self.groups {
            for (z, zones) in self.zones.iter().enumerate() {
                for (t, &time) in self.times.iter().enumerate() {
                    for (d, &device) in self.devices.iter().enumerate() {
                        for (m, methods) in self.methods.iter().enumerate() {
                            for (c, &mfa_age) in self.mfa.iter().enumerate() {
                                for (l, &login_age) in self.login.iter().enumerate() {
                                    decisions.clear();
                                    for (ix, side) in self.sides.iter().enumerate() {
                                        let subject = Subject {
                                            bits: group.bits.get(ix).and_then(Option::as_ref),
                                            mfa_age,
                                            login_age,
                                            device,
                                        };
                                        let zone = zones.get(ix).copied();
                                        let method = methods.get(ix).copied().unwrap_or(0);
                                        decisions.push(decide(
                                            side,
                                            group,
                                            &subject,
                                            zone.map(|zone| Context::new(zone, time)),
                                            method,
                                        ));
                                    }
                                    visit(group, [z, t, d, m, c, l], &decisions);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// How many classes each dimension has.
    pub(crate) fn sizes(&self) -> [usize; DIMS] {
        [
            self.zones.len(),
            self.times.len(),
            self.devices.len(),
            self.methods.len(),
            self.mfa.len(),
            self.login.len(),
        ]
    }
}

fn decide(
    side: &Side<'_>,
    group: &Group,
    subject: &Subject<'_>,
    context: Option<Context>,
    method: u64,
) -> Decision {
    let absent = !group.anonymous() && subject.bits.is_none();
    match (side.spot, context) {
        (Spot::Rules { guards, allows, .. }, Some(context)) if !absent => {
            let ask = Ask {
                subject,
                context: &context,
                guards,
                method,
                shadow: false,
            };
            side.policy.evaluate(&ask, allows)
        }
        (Spot::Closed(rule), _) => Decision::deny(rule),
        (Spot::Rules { .. }, _) => Decision::deny(DEFAULT),
    }
}

fn allows<'a>(side: &'a Side<'_>) -> impl Iterator<Item = &'a Allow> {
    let list = match side.spot {
        Spot::Rules { allows, .. } => allows,
        Spot::Closed(_) => &[],
    };
    list.iter().filter(|allow| !allow.shadow)
}

fn guards<'a>(side: &'a Side<'_>) -> impl Iterator<Item = &'a Guard> {
    let list = match side.spot {
        Spot::Rules { guards, .. } => guards,
        Spot::Closed(_) => &[],
    };
    let found = list
        .iter()
        .filter_map(|&ix| side.policy.guards.get(ix as usize));
    found.filter(|guard| !guard.shadow)
}

fn schedules(side: &Side<'_>) -> Vec<u32> {
    let times = &side.policy.times;
    let mut out: Vec<u32> = allows(side)
        .map(|allow| allow.when)
        .chain(guards(side).flat_map(|guard| [guard.when, guard.unless_when]))
        .flat_map(|list| times.list(list).iter().copied())
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// Groups people by what the rules of the place see of them.
fn groups(world: &World<'_>, sides: &[Side<'_>]) -> Vec<Group> {
    let atoms: Vec<Vec<u32>> = sides
        .iter()
        .map(|side| {
            let mut atoms: Vec<u32> = allows(side).map(|allow| allow.atom).collect();
            atoms.extend(guards(side).filter_map(|guard| guard.atom));
            atoms.sort_unstable();
            atoms.dedup();
            atoms
        })
        .collect();
    let mut kinds: BTreeMap<Vec<Option<Vec<bool>>>, Group> = BTreeMap::new();
    let mut out = Vec::new();
    for person in &world.people {
        if person.names.is_empty() {
            out.push(Group {
                names: Vec::new(),
                bits: person.bits.clone(),
            });
            continue;
        }
        let key = person.bits.iter().zip(&atoms).map(|(bits, atoms)| {
            let bits = bits.as_ref()?;
            Some(atoms.iter().map(|&atom| bits.holds(atom)).collect())
        });
        let group = kinds.entry(key.collect()).or_insert_with(|| Group {
            names: Vec::new(),
            bits: person.bits.clone(),
        });
        group.names.extend(person.names.iter().cloned());
    }
    for mut group in kinds.into_values() {
        group.names.sort_unstable();
        out.push(group);
    }
    out
}

fn merge_zones(
    world: &World<'_>,
    sides: &[Side<'_>],
    split: &Split,
) -> (Vec<Vec<ZoneClass>>, Vec<Vec<String>>) {
    let mut kinds: BTreeMap<Vec<bool>, usize> = BTreeMap::new();
    let mut classes: Vec<Vec<ZoneClass>> = Vec::new();
    let mut labels: Vec<Vec<String>> = Vec::new();
    for (zone, name) in &world.zones {
        let mut key: Vec<bool> = Vec::new();
        for (side, &class) in sides.iter().zip(zone) {
            let sets = allows(side).map(|allow| allow.from);
            let sets = sets.chain(guards(side).map(|guard| guard.from));
            key.extend(sets.map(|set| side.policy.from.holds(set, class)));
        }
        if let (Some(from), Some(side), Some(&class)) = (&split.from, sides.first(), zone.first()) {
            let members = side.policy.zones.members(class).unwrap_or_default();
            key.push(members.iter().any(|zone| from.contains(zone)));
        }
        let fresh = classes.len();
        let at = *kinds.entry(key).or_insert(fresh);
        if at == fresh {
            classes.push(zone.clone());
            labels.push(Vec::new());
        }
        if let Some(list) = labels.get_mut(at)
            && !list.contains(name)
        {
            list.push(name.clone());
        }
    }
    (classes, labels)
}

/// The least device of each class.
fn devices(sides: &[Side<'_>], split: &Split) -> Vec<Device> {
    let mut out = vec![Device::Any, split.device];
    for side in sides {
        out.extend(allows(side).map(|allow| allow.device));
        out.extend(guards(side).filter_map(|guard| guard.device_not));
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// For each class the bit of one of its methods in each policy, and the names of all of them.
fn methods(sides: &[Side<'_>]) -> (Vec<Vec<u64>>, Vec<Vec<String>>) {
    let http = sides
        .iter()
        .any(|side| matches!(side.spot, Spot::Rules { http: true, .. }));
    if !http {
        return (vec![vec![u64::MAX; sides.len()]], vec![Vec::new()]);
    }
    let mut names: Vec<&str> = Vec::new();
    for side in sides {
        for name in side.policy.methods.names() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let mut kinds: BTreeMap<Vec<bool>, usize> = BTreeMap::new();
    let mut bits: Vec<Vec<u64>> = Vec::new();
    let mut labels: Vec<Vec<String>> = Vec::new();
    for name in names.into_iter().map(Some).chain([None]) {
        let own: Vec<u64> = sides
            .iter()
            .map(|side| name.map_or(0, |name| side.policy.methods.bit(name)))
            .collect();
        let key = sides
            .iter()
            .zip(&own)
            .flat_map(|(side, bit)| allows(side).map(move |allow| allow.methods & bit != 0));
        let fresh = bits.len();
        let at = *kinds.entry(key.collect()).or_insert(fresh);
        if at == fresh {
            bits.push(own);
            labels.push(Vec::new());
        }
        if let Some(list) = labels.get_mut(at) {
            list.push(name.unwrap_or("others").to_owned());
        }
    }
    (bits, labels)
}

fn age_of(mfa: Mfa) -> Option<u32> {
    match mfa {
        Mfa::Age(max) => Some(max),
        Mfa::None | Mfa::Session => None,
    }
}

/// The greatest age of each class, then one beyond all.
fn ages(sides: &[Side<'_>], extra: Option<u32>, age: impl Fn(&Allow) -> Option<u32>) -> Vec<u32> {
    let mut cuts: Vec<u32> = extra.into_iter().collect();
    for side in sides {
        let asked = allows(side).filter(|allow| !allow.anyone);
        cuts.extend(asked.filter_map(&age));
    }
    cuts.sort_unstable();
    cuts.dedup();
    let beyond = cuts.last().map_or(0, |last| last.saturating_add(1));
    cuts.push(beyond);
    cuts
}
