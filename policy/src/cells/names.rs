//! Names of zones and schedules, told apart where they do not mean the same to two policies.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use crate::compile::{Policy, ZoneClass};
use crate::ir::{DAYS, Schedule, clock};

/// Most networks that are named one by one.
const NAMED: usize = 4;

/// Classes of addresses that no policy tells apart: one for each policy, and the stretches of addresses that have
/// them, each with its first and last.
pub(super) type Kind = (Vec<ZoneClass>, Vec<(IpAddr, IpAddr)>);

/// What each kind of addresses is called. Of one policy, by its zones; of two, by the zones that mean the same to both,
/// and else by networks with the zones on either side.
pub(super) fn zones(policies: &[&Policy], kinds: &[Kind]) -> Vec<String> {
    let [before, after] = policies else {
        let first = policies.first();
        let label = |(classes, _): &Kind| {
            let named = first.zip(classes.first());
            let names = named.map(|(policy, class)| policy.zone_names(*class));
            names.unwrap_or_default().join(" and ")
        };
        return kinds.iter().map(label).collect();
    };
    let sides = kinds.iter().map(|(classes, ranges)| {
        let mut names = [before, after]
            .into_iter()
            .zip(classes)
            .map(|(policy, class)| policy.zone_names(*class));
        let mut next = || names.next().unwrap_or_default();
        (next(), next(), ranges)
    });
    let sides: Vec<_> = sides.collect();
    let mut moved: BTreeSet<&str> = BTreeSet::new();
    for (was, is, _) in &sides {
        let only = |one: &[&'_ str], other: &[&str]| -> Vec<usize> {
            let apart = one.iter().enumerate().filter(|(_, n)| !other.contains(n));
            apart.map(|(at, _)| at).collect()
        };
        moved.extend(only(was, is).into_iter().filter_map(|at| was.get(at)));
        moved.extend(only(is, was).into_iter().filter_map(|at| is.get(at)));
    }
    let label = |(was, is, ranges): &(Vec<&str>, Vec<&str>, &Vec<(IpAddr, IpAddr)>)| {
        if was == is && !is.iter().any(|name| moved.contains(name)) {
            return is.join(" and ");
        }
        let mut words: Vec<String> = Vec::new();
        let gone = was.iter().filter(|name| !is.contains(name));
        for name in is.iter().chain(gone) {
            let (held, holds) = (was.contains(name), is.contains(name));
            words.push(match (held, holds) {
                (true, true) if !moved.contains(name) => (*name).to_owned(),
                (true, true) => format!("{name} as it was and as it will be"),
                (true, false) => format!("{name} as it was"),
                (false, _) => format!("{name} as it will be"),
            });
        }
        match (was.as_slice(), is.as_slice()) {
            // no list of networks says it better
            (["internet"], ["internet"]) => words.join(", "),
            _ => format!("{} ({})", networks(ranges), words.join(", ")),
        }
    };
    sides.iter().map(label).collect()
}

/// The networks of some stretches of addresses, as few as hold them.
fn networks(ranges: &[(IpAddr, IpAddr)]) -> String {
    let mut nets: Vec<IpNet> = Vec::new();
    for range in ranges {
        match *range {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                nets.extend(Ipv4Subnets::new(first, last, 0).map(IpNet::V4));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                nets.extend(Ipv6Subnets::new(first, last, 0).map(IpNet::V6));
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) => {}
        }
    }
    let nets = IpNet::aggregate(&nets);
    let named: Vec<String> = nets.iter().take(NAMED).map(ToString::to_string).collect();
    match nets.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", named.join(" and ")),
        _ => named.join(" and "),
    }
}

/// What a schedule of one of the policies is called: by its name, and where the other has one of that name that is not
/// the same, by its hours too.
pub(super) fn schedule(policies: &[&Policy], side: usize, ix: u32) -> String {
    let of = |side: usize| policies.get(side).map(|policy| &policy.ir.schedules);
    let Some(own) = of(side).and_then(|all| all.get(ix as usize)) else {
        return String::new();
    };
    let other = (0..policies.len()).filter(|at| *at != side);
    let mut others = other.filter_map(|at| {
        let mut all = of(at)?.iter();
        all.find(|schedule| schedule.name == own.name)
    });
    match others.all(|other| other.same_as(own)) {
        true => own.name.clone(),
        false => {
            let which = if side == 0 { "was" } else { "will be" };
            format!("{} as it {which} ({})", own.name, own.hours())
        }
    }
}

impl Schedule {
    /// Whether it holds whenever the other does; its name is not compared.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        (&self.days, &self.times, &self.between, &self.tz)
            == (&other.days, &other.times, &other.between, &other.tz)
    }

    /// Such as `mon-fri 08:00-18:00 Europe/Paris`.
    fn hours(&self) -> String {
        let mut parts = Vec::new();
        if let Some(days) = &self.days {
            parts.push(weekdays(days));
        }
        if let Some(times) = &self.times {
            let spans = times
                .iter()
                .map(|(a, b)| format!("{}-{}", clock(*a), clock(*b)));
            parts.push(spans.collect::<Vec<_>>().join(","));
        }
        if let Some((from, to)) = &self.between {
            parts.push(format!("{from}..{to}"));
        }
        if parts.is_empty() {
            parts.push("always".to_owned());
        }
        parts.push(self.tz.clone());
        parts.join(" ")
    }
}

/// Days of the week, those that follow each other as one: `mon-wed,sat`.
fn weekdays(days: &[u8]) -> String {
    let name = |day: u8| DAYS.get(usize::from(day)).copied().unwrap_or_default();
    let mut spans: Vec<(u8, u8)> = Vec::new();
    for &day in days {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == day => *last = day,
            _ => spans.push((day, day)),
        }
    }
    let text = spans.into_iter().map(|(first, last)| match first == last {
        true => name(first).to_owned(),
        false => format!("{}-{}", name(first), name(last)),
    });
    text.collect::<Vec<_>>().join(",")
}
