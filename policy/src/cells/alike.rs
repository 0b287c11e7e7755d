//! Which places two policies decide alike for everybody, told by what their rules and guards mean.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use super::places::{Side, Spot};
use super::world::World;
use crate::compile::{Allow, Guard, Policy};

/// Compares what two policies refer to, each pair of things once.
#[derive(Debug)]
pub(super) struct Alike<'p> {
    policies: [&'p Policy; 2],
    /// Whether the same people are known to both.
    people: bool,
    atoms: Pairs<u32>,
    froms: Pairs<u32>,
    whens: Pairs<u32>,
    methods: Pairs<u64>,
    /// For two lists of guards, those that have no counterpart.
    guards: HashMap<[List; 2], Apart<'p>>,
    /// Whether a set of people of a side has somebody of a set of the policy before.
    meets: HashMap<(usize, u32, u32), bool>,
}

type Pairs<K> = HashMap<[K; 2], bool>;

/// Guards, each with its side.
type Apart<'p> = Rc<[(usize, &'p Guard)]>;

/// Where a list of guards lies, of those that are held once.
type List = (*const u32, usize);

fn once<K: Copy + Eq + Hash>(
    known: &mut Pairs<K>,
    pair: [K; 2],
    of: impl FnOnce() -> bool,
) -> bool {
    *known.entry(pair).or_insert_with(of)
}

impl<'p> Alike<'p> {
    pub(super) fn new(world: &World<'p>, policies: [&'p Policy; 2]) -> Self {
        Self {
            policies,
            people: world.all_known(),
            atoms: HashMap::new(),
            froms: HashMap::new(),
            whens: HashMap::new(),
            methods: HashMap::new(),
            guards: HashMap::new(),
            meets: HashMap::new(),
        }
    }

    /// Whether both sides of a place come to the same outcome in each context, whoever asks. Where in doubt they do
    /// not: rules in another order, or two that are as good as one.
    pub(super) fn place(&mut self, world: &mut World<'p>, sides: &[Side<'p>]) -> bool {
        let [before, after] = sides else { return false };
        let [old, new] = [in_force(before), in_force(after)];
        if old.is_empty() && new.is_empty() {
            return true;
        }
        // somebody only one policy knows is nobody to the other, and let in here where anyone is
        let public = || old.iter().any(|allow| allow.anyone);
        let (Spot::Rules { guards: held, .. }, Spot::Rules { guards: hold, .. }) =
            (before.spot, after.spot)
        else {
            return false;
        };
        old.len() == new.len()
            && (self.people || !public())
            && old.iter().zip(&new).all(|(a, b)| self.allow(world, a, b))
            && self.stop_nobody(world, [held, hold], &old)
    }

    fn allow(&mut self, world: &mut World<'p>, a: &Allow, b: &Allow) -> bool {
        (a.anyone, a.device, a.mfa, a.login) == (b.anyone, b.device, b.mfa, b.login)
            && self.named([a.methods, b.methods])
            && self.from(world, [a.from, b.from])
            && self.when([a.when, b.when])
            && (a.anyone || self.who(world, [a.atom, b.atom]))
    }

    fn guard(&mut self, world: &mut World<'p>, a: &Guard, b: &Guard) -> bool {
        let who = match (a.atom, b.atom) {
            (Some(a), Some(b)) => self.who(world, [a, b]),
            (a, b) => a == b,
        };
        who && a.device_not == b.device_not
            && self.from(world, [a.from, b.from])
            && self.when([a.when, b.when])
            && self.when([a.unless_when, b.unless_when])
    }

    fn who(&mut self, world: &mut World<'p>, pair: [u32; 2]) -> bool {
        let everybody = self.people;
        once(&mut self.atoms, pair, || {
            let [a, b] = pair;
            match (world.holders(0, a), world.holders(1, b)) {
                (Some(a), Some(b)) => a == b,
                (None, None) => everybody,
                _ => false,
            }
        })
    }

    fn from(&mut self, world: &World<'p>, pair: [u32; 2]) -> bool {
        let policies = self.policies;
        once(&mut self.froms, pair, || {
            world.zones.iter().all(|(classes, _)| {
                let sides = policies.iter().zip(pair).zip(classes);
                let mut held = sides.map(|((policy, set), class)| policy.from.holds(set, *class));
                held.next() == held.next()
            })
        })
    }

    fn when(&mut self, pair: [u32; 2]) -> bool {
        let [before, after] = self.policies;
        once(&mut self.whens, pair, || {
            let of = |policy: &'p Policy, list: u32| {
                let list = policy.times.list(list).iter();
                list.map(move |&ix| policy.ir.schedules.get(ix as usize))
            };
            let [a, b] = pair;
            // no list is always
            (a == 0) == (b == 0)
                && of(before, a).count() == of(after, b).count()
                && of(before, a).zip(of(after, b)).all(|pair| match pair {
                    (Some(a), Some(b)) => a.same_as(b),
                    _ => false,
                })
        })
    }

    fn named(&mut self, pair: [u64; 2]) -> bool {
        let [before, after] = self.policies;
        once(&mut self.methods, pair, || {
            let [a, b] = pair;
            let mut names = before.methods.names().chain(after.methods.names());
            names.all(|name| {
                (before.methods.bit(name) & a != 0) == (after.methods.bit(name) & b != 0)
            })
        })
    }

    /// Whether each guard that has no counterpart is for people whom none of the rules names.
    fn stop_nobody(
        &mut self,
        world: &mut World<'p>,
        lists: [&'p [u32]; 2],
        allows: &[&Allow],
    ) -> bool {
        let apart = self.apart(world, lists);
        apart.iter().all(|(side, guard)| {
            guard.atom.is_some_and(|atom| {
                allows
                    .iter()
                    .all(|allow| !allow.anyone && !self.meets(world, *side, atom, allow.atom))
            })
        })
    }

    /// The guards in force between those with which both lists begin and end alike.
    fn apart(&mut self, world: &mut World<'p>, lists: [&'p [u32]; 2]) -> Rc<[(usize, &'p Guard)]> {
        let key = lists.map(|list| (list.as_ptr(), list.len()));
        if let Some(known) = self.guards.get(&key) {
            return Rc::clone(known);
        }
        let [before, after] = self.policies;
        let of = |policy: &'p Policy, list: &[u32]| -> Vec<&'p Guard> {
            let all = list.iter();
            let all = all.filter_map(|&ix| policy.guards.get(ix as usize));
            all.filter(|guard| !guard.shadow).collect()
        };
        let [old, new] = lists;
        let (old, new) = (of(before, old), of(after, new));
        let (mut old, mut new) = (old.as_slice(), new.as_slice());
        while let ([a, old_rest @ ..], [b, new_rest @ ..]) = (old, new)
            && self.guard(world, a, b)
        {
            (old, new) = (old_rest, new_rest);
        }
        while let ([old_rest @ .., a], [new_rest @ .., b]) = (old, new)
            && self.guard(world, a, b)
        {
            (old, new) = (old_rest, new_rest);
        }
        let sides = old.iter().map(|guard| (0, *guard));
        let sides = sides.chain(new.iter().map(|guard| (1, *guard)));
        let apart: Apart<'p> = sides.collect();
        self.guards.insert(key, Rc::clone(&apart));
        apart
    }

    fn meets(&mut self, world: &mut World<'p>, side: usize, guard: u32, allow: u32) -> bool {
        let known = self.meets.entry((side, guard, allow));
        *known.or_insert_with(
            || match (world.holders(side, guard), world.holders(0, allow)) {
                (Some(stopped), Some(named)) => {
                    stopped.iter().any(|one| named.binary_search(one).is_ok())
                }
                _ => true,
            },
        )
    }
}

fn in_force<'p>(side: &Side<'p>) -> Vec<&'p Allow> {
    let allows = side.allows().iter();
    allows.filter(|allow| !allow.shadow).collect()
}
