//! Names that do not mean to two policies the same: zones, schedules, groups, and people themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;

use crate::compile::Policy;
use crate::ir::{Group, INTERNET, Ir, Schedule, Who, Zone};
use crate::resolve::tenants::split;
use crate::source::Span;

/// What changed beneath rules that say what they said.
#[derive(Debug, Default)]
pub(super) struct Moved {
    zones: BTreeMap<String, Row>,
    schedules: BTreeMap<String, Row>,
    groups: BTreeMap<String, Row>,
    /// For each person, and for `anyone`, the groups in which they are on one side only.
    joined: HashMap<String, BTreeSet<String>>,
    /// For each group that somebody joined or left, those that hold it in either policy.
    within: BTreeMap<String, BTreeSet<String>>,
    /// What happened to people whom one policy lets in and the other does not.
    people: HashMap<String, &'static str>,
}

/// One definition that changed, with where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) text: String,
    pub(super) file: String,
    pub(super) line: u32,
}

/// What a rule or guard refers to.
#[derive(Debug, Default)]
pub(super) struct Refers<'p> {
    pub(super) who: Option<&'p Who>,
    pub(super) from: &'p [u32],
    pub(super) when: Vec<u32>,
}

/// Names in both policies, each with how it is defined.
fn rows<'p, T: 'p>(
    policies: [&'p Policy; 2],
    kind: &str,
    all: impl Fn(&'p Ir) -> &'p [T],
    name: impl Fn(&'p T) -> (&'p str, Span),
    same: impl Fn(&T, &T) -> bool,
) -> BTreeMap<String, Row> {
    let [before, after] = policies;
    let named = |policy: &'p Policy| -> BTreeMap<&'p str, &'p T> {
        let all = all(&policy.ir).iter();
        all.map(|item| (name(item).0, item)).collect()
    };
    let (old, new) = (named(before), named(after));
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let mut out = BTreeMap::new();
    for own in names {
        let (word, policy, item) = match (old.get(own), new.get(own)) {
            (Some(was), Some(is)) if same(was, is) => continue,
            (Some(_), Some(is)) => ("changed", after, *is),
            (None, Some(is)) => ("is new", after, *is),
            (Some(was), None) => ("is gone", before, *was),
            (None, None) => continue,
        };
        let place = policy.places.line(name(item).1);
        let (file, line) =
            place.map_or((String::new(), 0), |(file, line)| (file.to_string(), line));
        let text = format!("`[{kind}] {own}` {word}");
        out.insert(own.to_owned(), Row { text, file, line });
    }
    out
}

impl Moved {
    pub(super) fn new(before: &Policy, after: &Policy) -> Self {
        let both = [before, after];
        let mut zones = rows(
            both,
            "zone",
            |ir| ir.zones.get(2..).unwrap_or_default(),
            |zone: &Zone| (zone.name.as_str(), zone.span),
            |was, is| IpNet::aggregate(&was.nets) == IpNet::aggregate(&is.nets),
        );
        zones.retain(|name, _| !name.ends_with("/internet"));
        let schedules = rows(
            both,
            "schedule",
            |ir| ir.schedules.as_slice(),
            |schedule: &Schedule| (schedule.name.as_str(), schedule.span),
            Schedule::same_as,
        );
        let mut out = Self {
            zones,
            schedules,
            ..Self::default()
        };
        out.memberships(both);
        out
    }

    fn memberships(&mut self, [before, after]: [&Policy; 2]) {
        type People = BTreeMap<String, (bool, BTreeSet<String>)>;
        let of = |policy: &Policy| -> People {
            let people = policy.users.iter().map(|user| {
                let groups = user.groups.iter().map(ToString::to_string);
                (user.name.to_string(), (!user.disabled, groups.collect()))
            });
            people.collect()
        };
        let (old, new) = (of(before), of(after));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let (none, mut touched) = (BTreeSet::new(), BTreeSet::new());
        for name in names {
            let (was, is) = (old.get(name), new.get(name));
            let groups = [was, is].map(|own| own.map_or(&none, |(_, groups)| groups));
            let [left, joined] = groups;
            let differ: BTreeSet<String> = left.symmetric_difference(joined).cloned().collect();
            touched.extend(differ.iter().cloned());
            if !differ.is_empty() {
                self.joined.insert(name.clone(), differ);
            }
            let word = match (was, is) {
                (None, _) => "is new",
                (_, None) => "is gone",
                (Some((false, _)), Some((true, _))) => "enabled",
                (Some((true, _)), Some((false, _))) => "disabled",
                (Some(_), Some(_)) => continue,
            };
            self.people.insert(name.clone(), word);
        }
        if touched.is_empty() {
            return;
        }
        for policy in [before, after] {
            let groups = &policy.ir.groups;
            for group in groups.iter().filter(|g| touched.contains(g.name.as_str())) {
                let above = group.within.iter();
                let above = above.filter_map(|&ix| groups.get(ix as usize));
                let above = above.map(|group| group.name.to_string());
                let own = self.within.entry(group.name.to_string()).or_default();
                own.extend(above);
            }
        }
        self.groups = rows(
            [before, after],
            "group",
            |ir| ir.groups.as_slice(),
            |group: &Group| (group.name.as_str(), group.span),
            |_, _| false,
        );
        self.groups.retain(|name, _| touched.contains(name));
        self.joined.insert("anyone".to_owned(), touched);
    }

    /// The zones and schedules a rule of one of the policies refers to that changed.
    pub(super) fn places(&self, ir: &Ir, refers: &Refers<'_>, out: &mut Vec<Row>) {
        let mut add = |row: &Row| {
            if !out.contains(row) {
                out.push(row.clone());
            }
        };
        for &ix in &refers.when {
            let schedule = ir.schedules.get(ix as usize);
            if let Some(row) = schedule.and_then(|own| self.schedules.get(&own.name)) {
                add(row);
            }
        }
        for &ix in refers.from {
            let Some(zone) = ir.zones.get(ix as usize) else {
                continue;
            };
            // it is what no zone is that its files can name
            let rest = ix == INTERNET || zone.internet_of().is_some();
            let counts = |name: &str| match rest {
                true => {
                    let space = split(name).0;
                    space.is_none() || space == zone.internet_of()
                }
                false => zone.name == name,
            };
            let rows = self.zones.iter().filter(|(name, _)| counts(name));
            rows.map(|(_, row)| row).for_each(&mut add);
        }
    }

    /// The groups a rule of one of the policies refers to which somebody joined or left.
    pub(super) fn groups(&self, ir: &Ir, refers: &Refers<'_>, out: &mut BTreeSet<String>) {
        let named = refers
            .who
            .into_iter()
            .flat_map(|who| who.groups.iter().chain(&who.not_groups));
        let named = named.filter_map(|&ix| ir.groups.get(ix as usize));
        let touched = named.filter(|group| self.within.contains_key(group.name.as_str()));
        out.extend(touched.map(|group| group.name.to_string()));
    }

    /// Whether something changed about a person.
    pub(super) fn concerns(&self, user: &str) -> bool {
        self.joined.contains_key(user) || self.people.contains_key(user)
    }

    /// What changed about a person who is or was in some of these groups: the innermost ones, else the account.
    pub(super) fn person(&self, user: &str, groups: &BTreeSet<String>) -> Vec<Row> {
        let joined = self.joined.get(user);
        let holds =
            |own: &str, other: &str| self.within.get(own).is_some_and(|w| w.contains(other));
        let leads = |own: &&String| groups.iter().any(|group| holds(own, group));
        let counted: Vec<&String> = joined.into_iter().flatten().filter(leads).collect();
        let inner = |own: &&&String| {
            let mut others = counted.iter().filter(|other| other != own);
            !others.any(|other| holds(other, own))
        };
        let rows = counted.iter().filter(inner);
        let rows = rows.filter_map(|name| self.groups.get(*name).cloned());
        let mut out: Vec<Row> = rows.collect();
        if let (true, Some(word)) = (out.is_empty(), self.people.get(user)) {
            out.push(Row {
                text: format!("`[user] {user}` {word}"),
                file: String::new(),
                line: 0,
            });
        }
        out
    }
}
