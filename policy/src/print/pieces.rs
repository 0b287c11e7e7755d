//! A policy in pieces that can be compared with those of another, each written as its file would have it.

use std::collections::BTreeMap;

use super::{Printer, owner};
use crate::ir::{self, Ir};

/// What a piece is about; `None` stands for the root beside the tenants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic<'a> {
    /// `[default]`, `[tunnel]` and the tenants.
    Settings,
    Rates(Option<&'a str>),
    HeaderSets(Option<&'a str>),
    Groups(Option<&'a str>),
    Zones(Option<&'a str>),
    Schedules(Option<&'a str>),
    User(&'a str),
    Guard(&'a str),
    App(&'a str),
    Net(&'a str),
    Admin,
}

/// One piece, written only when it is asked for: all together may be long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    ir: &'a Ir,
    tenant: Option<&'a str>,
    of: Of<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Of<'a> {
    Settings,
    Rates,
    HeaderSets,
    Groups,
    Zones,
    Schedules,
    User(&'a ir::User),
    Guard(&'a ir::Guard),
    App(&'a ir::App),
    Net(&'a ir::Net),
    Admin,
}

impl Piece<'_> {
    /// Writes it behind what is there.
    pub(crate) fn write(&self, out: &mut String) {
        let printer = Printer {
            ir: self.ir,
            tenant: self.tenant,
        };
        match self.of {
            Of::Settings => {
                printer.settings(out);
                printer.tenants(out);
            }
            Of::Rates => printer.rates(out),
            Of::HeaderSets => printer.header_sets(out),
            Of::Groups => printer.groups(out),
            Of::Zones => printer.zone_table(out),
            Of::Schedules => printer.schedule_tables(out),
            Of::User(user) => Printer::user_table(out, user),
            Of::Guard(guard) => printer.guard(out, guard),
            Of::App(app) => printer.app(out, app),
            Of::Net(net) => printer.net(out, net),
            Of::Admin => printer.admin(out),
        }
    }

    /// Whether this is an app that holds the same values as that of another policy, by the same numbers.
    pub(crate) fn is_same_app(&self, other: &Piece<'_>) -> bool {
        match (self.of, other.of) {
            (Of::App(own), Of::App(other)) => ir::same(own, other),
            _ => false,
        }
    }
}

/// Whether the numbers of people, groups, zones, schedules, rates and header sets stand for the same names in two
/// policies.
pub(crate) fn same_names(one: &Ir, other: &Ir) -> bool {
    fn same<T>(own: &[T], other: &[T], name: impl Fn(&T) -> &str) -> bool {
        own.iter().map(&name).eq(other.iter().map(&name))
    }
    same(&one.users, &other.users, |user| &user.name)
        && same(&one.groups, &other.groups, |group| &group.name)
        && same(&one.zones, &other.zones, |zone| &zone.name)
        && same(&one.schedules, &other.schedules, |schedule| &schedule.name)
        && same(&one.rates, &other.rates, |rate| &rate.name)
        && same(&one.header_sets, &other.header_sets, |set| &set.name)
}

/// All pieces of a policy.
pub(crate) fn pieces(ir: &Ir) -> BTreeMap<Topic<'_>, Piece<'_>> {
    let piece = |tenant, of| Piece { ir, tenant, of };
    let mut out = BTreeMap::new();
    out.insert(Topic::Settings, piece(None, Of::Settings));
    out.insert(Topic::Admin, piece(None, Of::Admin));
    let tenants = ir.tenants.iter().map(|tenant| Some(tenant.name.as_str()));
    for tenant in std::iter::once(None).chain(tenants) {
        out.insert(Topic::Rates(tenant), piece(tenant, Of::Rates));
        out.insert(Topic::HeaderSets(tenant), piece(tenant, Of::HeaderSets));
        out.insert(Topic::Groups(tenant), piece(tenant, Of::Groups));
        out.insert(Topic::Zones(tenant), piece(tenant, Of::Zones));
        out.insert(Topic::Schedules(tenant), piece(tenant, Of::Schedules));
    }
    let users = ir.users.iter();
    out.extend(users.map(|user| (Topic::User(&user.name), piece(None, Of::User(user)))));
    let guards = ir.guards.iter();
    out.extend(guards.map(|guard| {
        let of = piece(owner(&guard.id), Of::Guard(guard));
        (Topic::Guard(&guard.id), of)
    }));
    let apps = ir.apps.iter();
    out.extend(apps.map(|app| (Topic::App(&app.id), piece(owner(&app.id), Of::App(app)))));
    let nets = ir.nets.iter();
    out.extend(nets.map(|net| (Topic::Net(&net.id), piece(None, Of::Net(net)))));
    out
}
