//! Names that nothing uses, zones that share addresses, dates that have passed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::compile::Policy;
use crate::diag::Diagnostic;
use crate::ir::{self, Who};
use crate::resolve::invariants::Demand;
use crate::resolve::tenants::{EVERYBODY, split};
use crate::source::Span;

/// Most pairs of zones reported.
const MAX_PAIRS: usize = 100;

/// What some rule, guard or invariant names, by index.
#[derive(Default)]
struct Named {
    groups: BTreeSet<u32>,
    zones: BTreeSet<u32>,
    schedules: BTreeSet<u32>,
    rates: BTreeSet<u32>,
    header_sets: BTreeSet<u32>,
}

impl Named {
    fn of(policy: &Policy) -> Self {
        let ir = &policy.ir;
        let mut out = Self::default();
        let areas = ir.apps.iter().flat_map(|app| &app.areas);
        let nets = ir.nets.iter().flat_map(|net| &net.allows);
        let allows = areas.flat_map(|area| &area.allows).chain(nets);
        for allow in allows.chain(&ir.admin) {
            out.who(&allow.who);
            out.zones
                .extend(allow.from.iter().flat_map(|list| list.iter()));
            out.schedules
                .extend(allow.when.iter().flat_map(|list| list.iter()));
            out.rates.extend(allow.rate);
            out.header_sets.extend(allow.headers);
        }
        for guard in &ir.guards {
            guard.who.iter().for_each(|who| out.who(who));
            out.zones.extend(guard.from.iter().flatten());
            let times = guard.when.iter().chain(&guard.unless_when);
            out.schedules.extend(times.flatten());
        }
        for demand in policy.invariants.iter().flat_map(|inv| &inv.demands) {
            match demand {
                Demand::Only(who) | Demand::Never(who) | Demand::CanReach(who) => out.who(who),
                Demand::Requires { from, .. } => out.zones.extend(from.iter().flatten()),
                Demand::Disjoint => {}
            }
        }
        out.rates.extend(ir.defaults.rate);
        out.header_sets.extend(ir.defaults.headers);
        out
    }

    fn who(&mut self, who: &Who) {
        self.groups.extend(who.groups.iter().chain(&who.not_groups));
    }
}

impl Policy {
    /// Groups, zones, schedules, rates and header sets that no rule names.
    pub(super) fn unused(&self, out: &mut Vec<Diagnostic>) {
        let named = Named::of(self);
        let ir = &self.ir;
        let held = |group: &ir::Group| group.within.iter().any(|ix| named.groups.contains(ix));
        let own = ir
            .groups
            .iter()
            .filter(|group| split(&group.name).1 != EVERYBODY);
        for group in own.filter(|group| !held(group)) {
            out.push(
                unused("group", &format!("@{}", group.name), group.span)
                    .help("take it out, unless an app reads it from the request"),
            );
        }
        // the first two are built in
        for (zone, ix) in ir.zones.iter().zip(0u32..).skip(2) {
            let used = named.zones.contains(&ix) || zone.internet_of().is_some();
            out.extend((!used).then(|| unnamed("zone", &zone.name, zone.span)));
        }
        for (schedule, ix) in ir.schedules.iter().zip(0u32..) {
            let used = named.schedules.contains(&ix);
            out.extend((!used).then(|| unnamed("schedule", &schedule.name, schedule.span)));
        }
        for (rate, ix) in ir.rates.iter().zip(0u32..) {
            let used = named.rates.contains(&ix);
            out.extend((!used).then(|| unnamed("rate", &rate.name, rate.span)));
        }
        for (set, ix) in ir.header_sets.iter().zip(0u32..) {
            if !named.header_sets.contains(&ix) {
                out.push(
                    unused("header set", &set.name, set.span)
                        .help("fine if its names are only to be kept from clients"),
                );
            }
        }
    }

    /// Zones that share addresses.
    pub(super) fn overlapping_zones(&self, out: &mut Vec<Diagnostic>) {
        let zones = self.ir.zones.iter().zip(0usize..);
        let mut nets: Vec<(IpAddr, IpAddr, IpNet, usize)> = zones
            .flat_map(|(zone, ix)| {
                let nets = zone.nets.iter();
                nets.map(move |net| (net.network(), net.broadcast(), *net, ix))
            })
            .collect();
        // of networks that begin alike the wider first: it holds the other
        nets.sort_by(|a, b| (a.0, b.1, a.3).cmp(&(b.0, a.1, b.3)));
        let mut open: Vec<&(IpAddr, IpAddr, IpNet, usize)> = Vec::new();
        let mut seen: BTreeSet<(usize, usize)> = BTreeSet::new();
        for net in &nets {
            open.retain(|held| held.1.is_ipv4() == net.0.is_ipv4() && held.1 >= net.0);
            for held in open.iter().filter(|held| held.3 != net.3) {
                let pair = (held.3.min(net.3), held.3.max(net.3));
                if seen.len() < MAX_PAIRS && seen.insert(pair) {
                    out.extend(self.overlap(pair, net.2));
                }
            }
            open.push(net);
        }
    }

    fn overlap(&self, (one, two): (usize, usize), net: IpNet) -> Option<Diagnostic> {
        let (one, two) = (self.ir.zones.get(one)?, self.ir.zones.get(two)?);
        // no file sees the zones of two tenants
        let spaces = split(&one.name).0.zip(split(&two.name).0);
        if spaces.is_some_and(|(one, two)| one != two) {
            return None;
        }
        let (first, second) = match one.span < two.span {
            true => (one, two),
            false => (two, one),
        };
        let title = format!(
            "zones `{}` and `{}` both hold {net}",
            first.name, second.name
        );
        Some(
            Diagnostic::warning("overlapping-zones", second.span, title)
                .related(first.span, "the other zone")
                .help(
                    "an address there is in both, and each rule from either holds; fine if meant",
                ),
        )
    }

    /// Schedules whose last date has passed.
    pub(super) fn past(&self, now: Option<i64>, out: &mut Vec<Diagnostic>) {
        let now = now.and_then(|now| jiff::Timestamp::from_second(now).ok());
        let Some(now) = now else { return };
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        for schedule in &self.ir.schedules {
            let last = schedule
                .between
                .as_ref()
                .map(|(_, to)| to.parse::<jiff::civil::Date>());
            if let Some(Ok(last)) = last
                && last < today
            {
                let title = format!("schedule `{}` ended on {last}", schedule.name);
                out.push(
                    Diagnostic::warning("expired", schedule.span, title)
                        .help("take out what uses it, or give it new dates"),
                );
            }
        }
    }
}

fn unnamed(kind: &str, name: &str, span: Span) -> Diagnostic {
    unused(kind, name, span).help("take it out, or name it in a rule")
}

fn unused(kind: &str, name: &str, span: Span) -> Diagnostic {
    Diagnostic::warning("unused", span, format!("{kind} `{name}` is used nowhere"))
}
