//! Sets of people as bits: each distinct `who` is an atom, evaluated once per sign-in.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Guard, User};
use crate::hash::Keyed;
use crate::ir::{Ir, Who};

/// What the rules of one policy need to know about one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectBits {
    held: Held,
    stamp: u32,
    /// Whether some guard may be for this person.
    guarded: bool,
}

/// The atoms a person is in, where a decision finds them at once if they are few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Of a policy with few atoms, one bit each.
    Bits([u64; WORDS]),
    /// By number, sorted, filled up with [`NOBODY`].
    Few([u32; FEW]),
    Many(Box<[u64]>),
}

const WORDS: usize = 4;
const FEW: usize = 8;
/// No atom has this number.
const NOBODY: u32 = u32::MAX;

impl Held {
    /// Of the atoms, sorted, of a policy with so many of them.
    fn new(atoms: &[u32], all: usize) -> Self {
        if all > WORDS * 64 && atoms.len() <= FEW {
            let mut few = [NOBODY; FEW];
            for (slot, atom) in few.iter_mut().zip(atoms) {
                *slot = *atom;
            }
            return Self::Few(few);
        }
        let mut words = vec![0u64; all.div_ceil(64).max(WORDS)];
        for &atom in atoms {
            if let Some(word) = words.get_mut(atom as usize / 64) {
                *word |= 1 << (atom % 64);
            }
        }
        match words.try_into() {
            Ok(words) => Self::Bits(words),
            Err(words) => Self::Many(words.into()),
        }
    }

    /// Whether an atom is one of a few; without branches, for who is asked for cannot be foretold.
    #[inline]
    pub(crate) fn among(few: &[u32; FEW], atom: u32) -> bool {
        few.iter().fold(false, |hit, own| hit | (*own == atom))
    }

    /// Whether the bit of an atom is set.
    #[inline]
    pub(crate) fn bit(words: &[u64], atom: u32) -> bool {
        let word = words.get(atom as usize / 64);
        word.is_some_and(|word| word >> (atom % 64) & 1 == 1)
    }
}

/// For one atom: the sets of guards that name the people in it, one set per kind of person.
type Witness = Vec<Vec<u32>>;

/// All distinct `who` of a policy.
#[derive(Debug)]
pub(crate) struct Atoms {
    whos: Vec<Arc<Who>>,
    witnesses: Vec<Witness>,
    /// Those of guards, sorted.
    guards: Vec<u32>,
    /// Whether some guard is for everybody.
    unnamed: bool,
    stamp: u32,
}

impl Atoms {
    /// For an atom, the kinds of enabled people in it.
    pub(crate) fn witnesses(&self, atom: u32) -> &[Vec<u32>] {
        self.witnesses.get(atom as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn bits(&self, user: Option<u32>, groups: &[u32]) -> SubjectBits {
        let atoms = (0u32..).zip(&self.whos);
        self.only(
            atoms
                .filter(|(_, who)| who.holds(user, groups))
                .map(|(ix, _)| ix),
        )
    }

    /// Bits of a person of whom nothing is known but that they are in these sets.
    pub(crate) fn only(&self, atoms: impl Iterator<Item = u32>) -> SubjectBits {
        let mut atoms: Vec<u32> = atoms.collect();
        atoms.sort_unstable();
        atoms.dedup();
        SubjectBits {
            held: Held::new(&atoms, self.whos.len()),
            stamp: self.stamp,
            guarded: self.unnamed || atoms.iter().any(|at| self.guards.binary_search(at).is_ok()),
        }
    }

    /// The people in an atom, disabled ones too; some may come twice.
    pub(crate) fn people<'a>(&'a self, atom: u32, ir: &'a Ir) -> impl Iterator<Item = u32> + 'a {
        let who = self.whos.get(atom as usize);
        who.into_iter().flat_map(|who| {
            candidates(who, ir).filter(|&user| {
                let person = ir.users.get(user as usize);
                person.is_some_and(|person| who.holds(Some(user), &person.groups))
            })
        })
    }

    /// Whether some guard may be for whoever asks.
    #[inline]
    pub(crate) fn guarded(&self, bits: Option<&SubjectBits>) -> bool {
        bits.map_or(self.unnamed, |bits| bits.guarded)
    }

    #[inline]
    pub(crate) fn made(&self, bits: &SubjectBits) -> bool {
        bits.stamp == self.stamp
    }
}

impl SubjectBits {
    #[inline]
    pub(crate) fn holds(&self, atom: u32) -> bool {
        match &self.held {
            Held::Few(few) => Held::among(few, atom),
            Held::Bits(words) => Held::bit(words, atom),
            Held::Many(words) => Held::bit(words, atom),
        }
    }

    /// The sets the person is in.
    #[inline]
    pub(crate) fn held(&self) -> &Held {
        &self.held
    }
}

impl Who {
    /// Whether a signed-in person with these groups (sorted, through nesting) is in the set.
    pub(crate) fn holds(&self, user: Option<u32>, groups: &[u32]) -> bool {
        let named = |users: &[u32], named: &[u32]| {
            user.is_some_and(|user| users.binary_search(&user).is_ok())
                || named
                    .iter()
                    .any(|group| groups.binary_search(group).is_ok())
        };
        (self.anyone || self.any_user || named(&self.users, &self.groups))
            && !named(&self.not_users, &self.not_groups)
    }
}

#[derive(Default)]
pub(super) struct Interner {
    whos: Vec<Arc<Who>>,
    known: HashMap<Arc<Who>, u32, Keyed>,
}

impl Interner {
    pub(super) fn intern(&mut self, who: &Arc<Who>) -> u32 {
        if let Some(&atom) = self.known.get(who) {
            return atom;
        }
        let atom = u32::try_from(self.whos.len()).unwrap_or(u32::MAX);
        self.whos.push(Arc::clone(who));
        self.known.insert(Arc::clone(who), atom);
        atom
    }

    pub(super) fn finish(self, ir: &Ir, guards: &[Guard], stamp: u32) -> Atoms {
        let whos = self.whos;
        let named: Vec<Option<Vec<u32>>> = (0u32..)
            .zip(&ir.users)
            .map(|(ix, user)| {
                let binds = |guard: &Guard| {
                    let who = guard.atom.and_then(|atom| whos.get(atom as usize));
                    who.is_some_and(|who| who.holds(Some(ix), &user.groups))
                };
                let sets = (0u32..).zip(guards).filter(|(_, guard)| binds(guard));
                (!user.disabled).then(|| sets.map(|(ix, _)| ix).collect())
            })
            .collect();
        let witnesses = whos.iter().map(|who| witness(who, ir, &named)).collect();
        let mut named: Vec<u32> = guards.iter().filter_map(|guard| guard.atom).collect();
        named.sort_unstable();
        Atoms {
            whos,
            witnesses,
            guards: named,
            unnamed: guards.iter().any(|guard| guard.atom.is_none()),
            stamp,
        }
    }
}

fn witness(who: &Who, ir: &Ir, named: &[Option<Vec<u32>>]) -> Witness {
    let mut kinds: BTreeSet<&Vec<u32>> = BTreeSet::new();
    for user in candidates(who, ir) {
        let groups = ir.users.get(user as usize).map_or(&[][..], |u| &u.groups);
        let Some(Some(set)) = named.get(user as usize) else {
            continue;
        };
        if !who.holds(Some(user), groups) {
            continue;
        }
        if set.is_empty() {
            return vec![Vec::new()];
        }
        kinds.insert(set);
    }
    kinds.into_iter().cloned().collect()
}

fn candidates<'a>(who: &'a Who, ir: &'a Ir) -> Box<dyn Iterator<Item = u32> + 'a> {
    if who.any_user || who.anyone {
        return Box::new((0u32..).zip(&ir.users).map(|(ix, _)| ix));
    }
    let groups = who.groups.iter();
    let members = groups
        .filter_map(|&ix| ir.groups.get(ix as usize))
        .flat_map(|group| &group.members);
    Box::new(who.users.iter().chain(members).copied())
}

pub(super) fn users(ir: &Ir) -> Vec<User> {
    let groups: Vec<Arc<str>> = ir.groups.iter().map(|g| g.name.share()).collect();
    ir.users
        .iter()
        .map(|user| User {
            name: user.name.share(),
            display: user.display.clone(),
            mail: user.mail.clone(),
            language: user.language.clone(),
            disabled: user.disabled,
            groups: user
                .groups
                .iter()
                .filter_map(|&ix| groups.get(ix as usize).cloned())
                .collect(),
            attributes: user.attributes.clone(),
        })
        .collect()
}
