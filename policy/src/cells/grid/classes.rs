//! Addresses, devices, methods and ages as the rules of one place tell them apart.

use std::collections::BTreeMap;

use super::{Split, allows, guards};
use crate::cells::places::{Side, Spot};
use crate::cells::world::World;
use crate::compile::{Allow, ZoneClass};
use crate::ir::{Device, Mfa};

/// For each class one member in every policy, and the names of its zones.
pub(super) fn merge_zones(
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
pub(super) fn devices(sides: &[Side<'_>], split: &Split) -> Vec<Device> {
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
pub(super) fn methods(sides: &[Side<'_>]) -> (Vec<Vec<u64>>, Vec<Vec<String>>) {
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

pub(super) fn age_of(mfa: Mfa) -> Option<u32> {
    match mfa {
        Mfa::Age(max) => Some(max),
        Mfa::None | Mfa::Session => None,
    }
}

/// The greatest age of each class, then one beyond all.
pub(super) fn ages(
    sides: &[Side<'_>],
    extra: Option<u32>,
    age: impl Fn(&Allow) -> Option<u32>,
) -> Vec<u32> {
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
