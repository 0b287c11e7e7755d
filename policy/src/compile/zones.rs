//! Source addresses to classes, and sets of zones to sets of classes.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::hash::Keyed;
use crate::ir::{self, INTERNET, TUNNEL};

/// The set of zones an address is in, as an index of one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ZoneClass {
    ix: u32,
    stamp: u32,
}

/// Elementary intervals of all networks, each with its class.
#[derive(Debug)]
pub(crate) struct ZoneTable {
    stamp: u32,
    v4: Vec<(u128, u32)>,
    v6: Vec<(u128, u32)>,
    /// The zones of each class, sorted.
    classes: Vec<Vec<u32>>,
}

impl ZoneTable {
    pub(crate) fn tunnel(&self) -> ZoneClass {
        self.make(TUNNEL)
    }

    pub(crate) fn class(&self, ip: IpAddr) -> ZoneClass {
        let (table, bits) = match ip.to_canonical() {
            IpAddr::V4(v4) => (&self.v4, u128::from(u32::from(v4))),
            IpAddr::V6(v6) => (&self.v6, u128::from(v6)),
        };
        let after = table.partition_point(|&(start, _)| start <= bits);
        let hit = after.checked_sub(1).and_then(|at| table.get(at));
        self.make(hit.map_or(INTERNET, |&(_, class)| class))
    }

    /// The class that is in `zone` and nothing else, or else any class in it.
    pub(crate) fn class_of_zone(&self, zone: u32) -> Option<ZoneClass> {
        let held = (0u32..)
            .zip(&self.classes)
            .filter(|(_, zones)| zones.contains(&zone));
        let best = held.min_by_key(|(_, zones)| zones.len())?;
        Some(self.make(best.0))
    }

    /// The first address of every interval.
    pub(crate) fn borders(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.iter().filter_map(|&(start, _)| {
            let bits = u32::try_from(start).ok()?;
            Some(IpAddr::from(bits.to_be_bytes()))
        });
        let v6 = self
            .v6
            .iter()
            .map(|&(start, _)| IpAddr::from(start.to_be_bytes()));
        v4.chain(v6)
    }

    /// All classes.
    pub(crate) fn all(&self) -> impl Iterator<Item = ZoneClass> {
        (0u32..).zip(&self.classes).map(|(ix, _)| self.make(ix))
    }

    /// The zones of a class; `None` for a class of another policy.
    #[inline]
    pub(crate) fn members(&self, class: ZoneClass) -> Option<&[u32]> {
        (class.stamp == self.stamp)
            .then(|| self.classes.get(class.ix as usize))?
            .map(Vec::as_slice)
    }

    #[inline]
    pub(crate) fn knows(&self, class: ZoneClass) -> bool {
        self.members(class).is_some()
    }

    /// Marks the classes as those of one policy.
    pub(super) fn stamped(self, stamp: u32) -> Self {
        Self { stamp, ..self }
    }

    fn make(&self, ix: u32) -> ZoneClass {
        ZoneClass {
            ix,
            stamp: self.stamp,
        }
    }
}

/// Its classes are to be stamped.
pub(super) fn compile(zones: &[ir::Zone]) -> ZoneTable {
    let spheres = Spheres::new(zones);
    let nowhere = spheres.members(std::iter::empty());
    let mut table = ZoneTable {
        stamp: 0,
        v4: Vec::new(),
        v6: Vec::new(),
        classes: vec![vec![TUNNEL], nowhere.clone()],
    };
    let mut known: HashMap<Vec<u32>, u32> = [(vec![TUNNEL], TUNNEL), (nowhere, INTERNET)].into();
    table.v4 = intervals(zones, true, &spheres, &mut table.classes, &mut known);
    table.v6 = intervals(zones, false, &spheres, &mut table.classes, &mut known);
    table
}

/// For whom an address outside of named zones is `internet`: each tenant sees the root's zones and its own.
struct Spheres {
    /// For each zone, the `internet` of the tenant whose it is; `None` is the root's.
    owner: Vec<Option<u32>>,
    /// `internet` of each tenant that has zones.
    internets: Vec<u32>,
}

impl Spheres {
    fn new(zones: &[ir::Zone]) -> Self {
        let own = (0u32..).zip(zones);
        let internets: HashMap<&str, u32> = own
            .filter_map(|(ix, zone)| Some((zone.internet_of()?, ix)))
            .collect();
        let owner = |zone: &ir::Zone| {
            let (tenant, _) = zone.name.split_once('/')?;
            internets.get(tenant).copied()
        };
        let owner = zones.iter().map(owner).collect();
        let mut internets: Vec<u32> = internets.into_values().collect();
        internets.sort_unstable();
        Self { owner, internets }
    }

    /// The zones of an address that lies in some, with each `internet` it is in too.
    fn members(&self, named: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut out: Vec<u32> = named.collect();
        let owner = |ix: &u32| self.owner.get(*ix as usize).copied().flatten();
        let theirs: BTreeSet<Option<u32>> = out.iter().map(owner).collect();
        if !theirs.contains(&None) {
            out.push(INTERNET);
            let free = self
                .internets
                .iter()
                .filter(|ix| !theirs.contains(&Some(**ix)));
            out.extend(free);
            out.sort_unstable();
        }
        out
    }
}

fn intervals(
    zones: &[ir::Zone],
    v4: bool,
    spheres: &Spheres,
    classes: &mut Vec<Vec<u32>>,
    known: &mut HashMap<Vec<u32>, u32>,
) -> Vec<(u128, u32)> {
    let mut edges: Vec<(u128, bool, u32)> = Vec::new();
    for (zone, ix) in zones.iter().zip(0u32..) {
        for net in zone
            .nets
            .iter()
            .filter(|net| matches!(net, IpNet::V4(_)) == v4)
        {
            let (first, last) = range(*net);
            edges.push((first, true, ix));
            // the last address of a family needs no end
            edges.extend(last.checked_add(1).map(|end| (end, false, ix)));
        }
    }
    edges.sort_unstable();
    let mut out: Vec<(u128, u32)> = Vec::new();
    // networks of one zone may nest, so each is counted
    let mut open: std::collections::BTreeMap<u32, u32> = std::collections::BTreeMap::new();
    let mut rest = edges.as_slice();
    while let Some(&(at, _, _)) = rest.first() {
        let here = rest.partition_point(|&(start, _, _)| start == at);
        let (now, later) = rest.split_at(here);
        for &(_, opens, zone) in now {
            let count = open.entry(zone).or_insert(0);
            *count = if opens {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
        }
        open.retain(|_, count| *count > 0);
        let members = spheres.members(open.keys().copied());
        let class = *known.entry(members.clone()).or_insert_with(|| {
            classes.push(members);
            u32::try_from(classes.len() - 1).unwrap_or(INTERNET)
        });
        out.push((at, class));
        rest = later;
    }
    out
}

fn range(net: IpNet) -> (u128, u128) {
    match net {
        IpNet::V4(v4) => (
            u128::from(u32::from(v4.network())),
            u128::from(u32::from(v4.broadcast())),
        ),
        IpNet::V6(v6) => (u128::from(v6.network()), u128::from(v6.broadcast())),
    }
}

/// Interned `from` lists as bit sets over classes. Set 0 is everywhere.
#[derive(Debug, Default)]
pub(crate) struct FromSets {
    /// One set behind the other.
    words: Vec<u64>,
    /// Words of a set.
    stride: u32,
    known: HashMap<Vec<u32>, u32, Keyed>,
}

impl FromSets {
    pub(super) fn intern(&mut self, from: Option<&[u32]>, zones: &ZoneTable) -> u32 {
        let Some(from) = from else { return 0 };
        if let Some(&ix) = self.known.get(from) {
            return ix;
        }
        let wanted: BTreeSet<u32> = from.iter().copied().collect();
        let stride = zones.classes.len().div_ceil(64);
        let start = self.words.len();
        self.stride = u32::try_from(stride).unwrap_or(u32::MAX);
        self.words.resize(start + stride, 0);
        for (at, members) in zones.classes.iter().enumerate() {
            if members.iter().any(|zone| wanted.contains(zone))
                && let Some(word) = self.words.get_mut(start + at / 64)
            {
                *word |= 1 << (at % 64);
            }
        }
        self.known.insert(
            from.to_vec(),
            u32::try_from(self.known.len() + 1).unwrap_or(u32::MAX),
        );
        u32::try_from(self.known.len()).unwrap_or(u32::MAX)
    }

    /// Whether a class lies in an interned list.
    #[inline]
    pub(crate) fn holds(&self, set: u32, class: ZoneClass) -> bool {
        let Some(at) = set.checked_sub(1) else {
            return true;
        };
        let word = class.ix / 64;
        if word >= self.stride {
            return false;
        }
        let word = self.words.get((at * self.stride + word) as usize);
        word.is_some_and(|word| word >> (class.ix % 64) & 1 == 1)
    }
}
