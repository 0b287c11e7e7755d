//! The classes of one place, and a decision for each combination of them.

mod classes;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::label::{self, Labels};
use super::places::{Side, Spot};
use super::world::{Crowd, World};
use super::{Cell, DIMS};
use crate::compile::{Allow, DEFAULT, Guard, SubjectBits, TimeClass, ZoneClass};
use crate::decide::{Ask, Context, Decision, Subject};
use crate::ir::{Device, Mfa};
use classes::{age_of, ages, devices, merge_zones, methods};

/// What else must be told apart, beyond what the rules do.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) mfa: Option<Mfa>,
    pub(crate) login: Option<u32>,
    pub(crate) device: Device,
    /// Zones of the first policy.
    pub(crate) from: Option<Vec<u32>>,
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
        let named = lists.iter().enumerate().flat_map(|(side, list)| {
            let world = &*world;
            list.iter().map(move |&ix| world.schedule(side, ix))
        });
        let names: Vec<String> = named.collect();
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

    /// Whether a class of methods holds one by name.
    pub(crate) fn has_method(&self, class: usize, name: &str) -> bool {
        let held = self.labels.methods.get(class);
        held.is_some_and(|held| held.iter().any(|own| own == name))
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
                foreign: side.policy.foreign(subject, &context),
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
