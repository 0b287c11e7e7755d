//! Sets of cells as few boxes, and boxes as words.

use std::collections::BTreeMap;

use super::{Cell, DIMS};
use crate::ir::Device;
use crate::resolve::values::show_duration;

/// What the classes of a grid are called.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    pub(super) zones: Vec<Vec<String>>,
    pub(super) times: Vec<String>,
    pub(super) devices: Vec<String>,
    pub(super) methods: Vec<Vec<String>>,
    /// Greatest ages of codes; the last class has no end.
    pub(super) mfa: Vec<u32>,
    pub(super) asks_code: bool,
    /// Greatest ages of sign-ins; the last class has no end.
    pub(super) login: Vec<u32>,
}

/// In each dimension the positions a box holds, sorted.
type Box6 = [Vec<usize>; DIMS];

/// The ordinary methods, sorted.
const ORDINARY: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// Writes a set of cells as contexts: each is a set of conditions that hold together, an empty list is "always".
pub(crate) fn contexts(labels: &Labels, sizes: [usize; DIMS], cells: &[Cell]) -> Vec<String> {
    let mut out: Vec<String> = boxes(cells)
        .iter()
        .map(|held| describe(labels, sizes, held))
        .collect();
    out.retain(|text| !text.is_empty());
    out
}

/// Joins cells into disjoint boxes that hold exactly them.
fn boxes(cells: &[Cell]) -> Vec<Box6> {
    let mut all: Vec<Box6> = cells.iter().map(|cell| cell.map(|at| vec![at])).collect();
    for dim in (0..DIMS).rev() {
        let mut joined: BTreeMap<Box6, Vec<usize>> = BTreeMap::new();
        for mut held in all {
            let own = held.get_mut(dim).map(std::mem::take).unwrap_or_default();
            joined.entry(held).or_default().extend(own);
        }
        all = joined
            .into_iter()
            .map(|(mut held, mut own)| {
                own.sort_unstable();
                if let Some(slot) = held.get_mut(dim) {
                    *slot = own;
                }
                held
            })
            .collect();
    }
    all
}

fn describe(labels: &Labels, sizes: [usize; DIMS], held: &Box6) -> String {
    let [zones, times, devices, methods, mfa, login] = held;
    let [
        all_zones,
        all_times,
        all_devices,
        all_methods,
        all_mfa,
        all_login,
    ] = sizes;
    let mut parts: Vec<String> = Vec::new();
    if zones.len() < all_zones {
        parts.push(format!("from {}", pick(&labels.zones, zones).join(", ")));
    }
    if times.len() < all_times {
        let named = times.iter().filter_map(|&at| labels.times.get(at).cloned());
        parts.push(named.collect::<Vec<_>>().join(" or "));
    }
    if devices.len() < all_devices {
        let named = devices
            .iter()
            .filter_map(|&at| labels.devices.get(at).cloned());
        let named: Vec<String> = named.collect();
        parts.push(format!("device {}", named.join(" or ")));
    }
    if methods.len() < all_methods {
        let named = pick(&labels.methods, methods);
        // a method that no rule here names is denied everywhere; that goes without saying
        let rest = (0..all_methods).filter(|at| !methods.contains(at));
        let unnamed = |at: usize| {
            let class = labels.methods.get(at);
            class.is_some_and(|class| class.iter().any(|name| name == "others"))
        };
        if named != ORDINARY || !rest.into_iter().all(unnamed) {
            parts.push(format!("methods {}", named.join(", ")));
        }
    }
    if mfa.len() < all_mfa {
        let codes = mfa.iter().map(|&at| match labels.asks_code {
            true => at.checked_sub(1),
            false => Some(at),
        });
        parts.push(ages("code", "no code", &labels.mfa, codes));
    }
    if login.len() < all_login {
        parts.push(ages(
            "sign-in",
            "",
            &labels.login,
            login.iter().copied().map(Some),
        ));
    }
    parts.join("; ")
}

fn pick(labels: &[Vec<String>], held: &[usize]) -> Vec<String> {
    let lists = held.iter().filter_map(|&at| labels.get(at));
    let mut out: Vec<String> = lists.flatten().cloned().collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// Ages as ranges, joined where they meet.
fn ages(what: &str, none: &str, cuts: &[u32], held: impl Iterator<Item = Option<usize>>) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for at in held {
        match (at, ranges.last_mut()) {
            (None, _) => out.push(none.to_owned()),
            (Some(at), Some(last)) if last.1 + 1 == at => last.1 = at,
            (Some(at), _) => ranges.push((at, at)),
        }
    }
    let end = cuts.len().saturating_sub(1);
    let shown = |at: usize| show_duration(cuts.get(at).copied().unwrap_or(0));
    for (first, last) in ranges {
        out.push(match (first.checked_sub(1), last == end) {
            (None, true) => format!("with a {what}"),
            (None, false) => format!("{what} up to {} old", shown(last)),
            (Some(before), true) => format!("{what} older than {}", shown(before)),
            (Some(before), false) => {
                format!("{what} {} to {} old", shown(before), shown(last))
            }
        });
    }
    out.join(" or ")
}

/// One way schedules can stand.
pub(super) fn time(names: &[String], state: &[bool]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (name, holds) in names.iter().zip(state) {
        let part = format!("{} {name}", if *holds { "in" } else { "outside" });
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join(" and ")
}

/// The devices of each class, which begins with the given one.
pub(super) fn devices(least: &[Device]) -> Vec<String> {
    let all = [Device::Any, Device::Known, Device::Managed];
    least
        .iter()
        .zip(least.iter().skip(1).map(Some).chain([None]))
        .map(|(from, next)| {
            let held = all
                .iter()
                .filter(|d| *d >= from && next.is_none_or(|next| *d < next));
            let words = held.map(|device| match device {
                Device::Any => "unknown",
                Device::Known | Device::Managed => device.as_str(),
            });
            words.collect::<Vec<_>>().join(" or ")
        })
        .collect()
}
