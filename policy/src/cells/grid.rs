//! The classes of one place, and a decision for each combination of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::rc::Rc;

use super::label::{self, Labels};
use super::places::{Side, Spot};
use super::{Cell, DIMS};
use crate::compile::{Allow, DEFAULT, Guard, Policy, SubjectBits, TimeClass, ZoneClass};
use crate::decide::{Ask, Context, Decision, Subject};
use crate::ir::{Device, Mfa};

/// All people of some policies, each name once, sorted.
#[derive(Debug)]
struct Crowd {
    names: Vec<String>,
    /// For each person, who that is in each policy, enabled.
    known: Vec<Vec<Option<u32>>>,
    /// For each person, in which policies there is one, as a key.
    kind: Vec<u64>,
    kinds: BTreeMap<u64, usize>,
}

/// The classes of people, addresses and instants of some policies.
#[derive(Debug)]
pub(crate) struct World<'p> {
    policies: Vec<&'p Policy>,
    crowd: Rc<Crowd>,
    /// Whether somebody not signed in is part of it.
    nobody: bool,
    /// For a policy and an atom, the people in it; `None` when that is everybody the policy knows.
    holders: HashMap<(usize, u32), Option<Rc<Vec<u32>>>>,
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
        }
    }

    fn times(&mut self, lists: &[Vec<u32>]) -> &[State] {
        let policies = &self.policies;
        self.times
            .entry(lists.to_vec())
            .or_insert_with(|| sweep(policies, lists))
    }

    fn holders(&mut self, side: usize, atom: u32) -> Option<Rc<Vec<u32>>> {
        let (policies, crowd) = (&self.policies, &self.crowd);
        let found = self.holders.entry((side, atom)).or_insert_with(|| {
            let policy = policies.get(side)?;
            let users: HashSet<u32> = policy.atoms.people(atom, &policy.ir).collect();
            let known = |person: &&Vec<Option<u32>>| person.get(side).copied().flatten();
            let all = crowd
                .known
                .iter()
                .filter_map(|person| known(&person))
                .count();
            let held = (0u32..)
                .zip(&crowd.known)
                .filter(|(_, person)| known(person).is_some_and(|user| users.contains(&user)));
            let held: Vec<u32> = held.map(|(ix, _)| ix).collect();
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
        known: Vec::new(),
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
        *out.kinds.entry(kind).or_default() += 1;
        out.names.push(name.to_owned());
        out.known.push(known);
        out.kind.push(kind);
    }
    out
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
    let mut seen = HashSet::new();
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
    /// Its position in the grid.
    pub(crate) id: usize,
    crowd: Rc<Crowd>,
    members: Members,
    bits: Vec<Option<SubjectBits>>,
}

#[derive(Debug)]
enum Members {
    /// Somebody not signed in.
    Nobody,
    Listed(Vec<u32>),
    /// All of a kind but these, sorted.
    Rest(u64, Vec<u32>),
}

impl Group {
    pub(crate) fn anonymous(&self) -> bool {
        matches!(self.members, Members::Nobody)
    }

    /// The people, sorted; none for somebody not signed in.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |ix: &u32| self.crowd.names.get(*ix as usize).cloned();
        match &self.members {
            Members::Nobody => Vec::new(),
            Members::Listed(list) => list.iter().filter_map(name).collect(),
            Members::Rest(kind, except) => {
                let all = (0u32..).zip(&self.crowd.kind);
                let rest =
                    all.filter(|(ix, own)| *own == kind && except.binary_search(ix).is_err());
                rest.filter_map(|(ix, _)| name(&ix)).collect()
            }
        }
    }
}

/// The classes of one place.
#[derive(Debug)]
pub(crate) struct Grid<'p> {
    sides: Vec<Side<'p>>,
    pub(crate) groups: Vec<Group>,
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

/// Atoms a person is in, each with the position of its policy.
type Held = Vec<(usize, u32)>;

/// Groups people by what the rules of the place see of them.
fn groups(world: &mut World<'_>, sides: &[Side<'_>]) -> Vec<Group> {
    let mut everybody: Vec<Vec<u32>> = Vec::new();
    let mut seen: HashMap<u32, Held> = HashMap::new();
    for (ix, side) in sides.iter().enumerate() {
        let mut atoms: Vec<u32> = allows(side).map(|allow| allow.atom).collect();
        atoms.extend(guards(side).filter_map(|guard| guard.atom));
        atoms.sort_unstable();
        atoms.dedup();
        let mut all = Vec::new();
        for atom in atoms {
            match world.holders(ix, atom) {
                Some(list) => {
                    for &person in list.iter() {
                        seen.entry(person).or_default().push((ix, atom));
                    }
                }
                None => all.push(atom),
            }
        }
        everybody.push(all);
    }
    let crowd = &world.crowd;
    let kind = |person: u32| crowd.kind.get(person as usize).copied().unwrap_or(0);
    let mut named: BTreeMap<(u64, Held), Vec<u32>> = BTreeMap::new();
    let mut people: Vec<(u32, Held)> = seen.into_iter().collect();
    people.sort_unstable();
    let mut except: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (person, atoms) in people {
        except.entry(kind(person)).or_default().push(person);
        named.entry((kind(person), atoms)).or_default().push(person);
    }
    let bits = |kind: u64, atoms: &[(usize, u32)]| -> Vec<Option<SubjectBits>> {
        let sides = sides.iter().zip(&everybody).enumerate();
        sides
            .map(|(ix, (side, all))| {
                let known = kind >> (everybody.len() - 1 - ix) & 1 == 1;
                let own = atoms
                    .iter()
                    .filter(|(at, _)| *at == ix)
                    .map(|(_, atom)| *atom);
                known.then(|| side.policy.atoms.only(own.chain(all.iter().copied())))
            })
            .collect()
    };
    let mut found: Vec<(Members, Vec<Option<SubjectBits>>)> = Vec::new();
    if world.nobody {
        found.push((Members::Nobody, vec![None; sides.len()]));
    }
    for ((kind, atoms), list) in named {
        found.push((Members::Listed(list), bits(kind, &atoms)));
    }
    for (&kind, &count) in &crowd.kinds {
        let except = except.remove(&kind).unwrap_or_default();
        if except.len() < count {
            found.push((Members::Rest(kind, except), bits(kind, &[])));
        }
    }
    found
        .into_iter()
        .enumerate()
        .map(|(id, (members, bits))| Group {
            id,
            crowd: Rc::clone(crowd),
            members,
            bits,
        })
        .collect()
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
