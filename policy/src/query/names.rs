//! The words of a question that name something, looked up before there is a compiled policy too.

use std::net::IpAddr;

use jiff::civil::DateTime;

use super::{
    QueryError, QueryField, QueryText, Target, age, by, device, error, mfa_age, nobody_in_groups,
    target,
};
use crate::compile::{TimeClass, zone_of};
use crate::diag::{Meant, show};
use crate::ir::{DAYS, Group, Schedule, User, Zone, index};

/// What a question may name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// By name.
    pub(crate) users: &'a [User],
    /// By name.
    pub(crate) groups: &'a [Group],
    pub(crate) zones: &'a [Zone],
    pub(crate) schedules: &'a [Schedule],
}

impl Names<'_> {
    /// Everything that keeps a question from being asked.
    pub(crate) fn faults(&self, text: &QueryText) -> Vec<QueryError> {
        let mut out = Vec::new();
        let user = text.user.as_deref();
        out.extend(user.and_then(|name| self.user(name).err()));
        let groups = text.groups.iter().enumerate();
        out.extend(groups.filter_map(|(at, name)| self.group(at, name).err()));
        out.extend(nobody_in_groups(text).err());
        out.extend(by(text.by.as_deref()).err());
        let from = text.from.as_deref();
        let named = from.filter(|from| from.parse::<IpAddr>().is_err());
        out.extend(named.and_then(|name| self.zone(name).err()));
        out.extend(text.at.as_deref().and_then(|at| self.time(at).err()));
        out.extend(device(text.device.as_deref()).err());
        out.extend(mfa_age(text.mfa.as_deref()).err());
        out.extend(age(QueryField::Login, text.login.as_deref()).err());
        out.extend(target(&text.to, |_, _| Target::BadRequest("")).err());
        out
    }

    /// Finds a person.
    pub(super) fn user(&self, name: &str) -> Result<u32, QueryError> {
        index(self.users, name, |user| &user.name).ok_or_else(|| {
            let names = self.users.iter().map(|user| &user.name);
            error(QueryField::User, &format!("unknown user `{}`", show(name)))
                .meant(Meant::near(name, names))
        })
    }

    /// Finds the group at a place of the question.
    pub(super) fn group(&self, at: usize, name: &str) -> Result<u32, QueryError> {
        let bare = name.strip_prefix('@').unwrap_or(name);
        index(self.groups, bare, |group| &group.name).ok_or_else(|| {
            let names = self.groups.iter().map(|group| &group.name);
            let title = format!("unknown group `{}`", show(name));
            error(QueryField::Group(at), &title).meant(Meant::near(bare, names))
        })
    }

    /// Finds a zone.
    pub(super) fn zone(&self, name: &str) -> Result<u32, QueryError> {
        let at = self.zones.iter().position(|zone| zone.name == name);
        at.and_then(|at| u32::try_from(at).ok())
            .ok_or_else(|| self.unknown_zone(name))
    }

    pub(super) fn unknown_zone(&self, name: &str) -> QueryError {
        let names = self.zones.iter().map(|zone| &zone.name);
        error(QueryField::From, &format!("unknown zone `{}`", show(name)))
            .meant(Meant::near(name, names))
    }

    /// Reads a wall time; the time zone is the one written, else the only one the schedules have, else UTC.
    pub(super) fn time(&self, text: &str) -> Result<TimeClass, QueryError> {
        let title = format!("`{}` is not a time", show(text));
        let bad = || error(QueryField::At, &title).help("write tue 10:00 or 2026-10-12 10:00");
        let (wall, named) = match text.rsplit_once(' ') {
            Some((wall, zone)) if zone.starts_with(|c: char| c.is_ascii_uppercase()) => {
                (wall, Some(zone))
            }
            _ => (text, None),
        };
        let civil = civil(wall).ok_or_else(bad)?;
        let mut zones: Vec<&str> = self.schedules.iter().map(|s| s.tz.as_str()).collect();
        zones.sort_unstable();
        zones.dedup();
        let zone = match (named, zones.as_slice()) {
            (Some(zone), _) => zone,
            (None, []) => "UTC",
            (None, [zone]) => zone,
            (None, [zone, ..]) => {
                let title = format!("`{}` could be in several time zones", show(text));
                let help = format!("name one: {text} {zone}");
                return Err(error(QueryField::At, &title).help(&help));
            }
        };
        let zone = zone_of(zone).map_err(|title| error(QueryField::At, &title))?;
        let zoned = civil.to_zoned(zone).map_err(|_| bad())?;
        Ok(TimeClass::at(zoned.timestamp().as_second()))
    }
}

/// `tue 10:00`, `2026-10-12 10:00` or the same with a `T`.
fn civil(text: &str) -> Option<DateTime> {
    let (day, time) = text.split_once([' ', 'T'])?;
    let time: jiff::civil::Time = time.parse().ok()?;
    let date = match DAYS.iter().position(|name| *name == day) {
        // 2026-01-05 is a monday
        Some(at) => jiff::civil::date(2026, 1, 5 + i8::try_from(at).ok()?),
        None => day.parse().ok()?,
    };
    Some(date.to_datetime(time))
}
