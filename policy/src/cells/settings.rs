//! What two policies say otherwise besides who is let in: how long sessions live, which names the tunnel looks up,
//! where an app's requests go, what it is told.
//!
//! Compared is what the canonical form prints, so that no key which is part of the digest can be forgotten. Keys
//! that do nothing but decide are left to the exact changes of access.

mod loosens;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use toml::{Table, Value};

use super::places::sample;
use crate::canon::PathOpts;
use crate::compile::{AppIx, Policy};
use crate::print::{Piece, Topic, pieces, same_names};
use loosens::loosens;

/// One key that says something else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Setting {
    /// What it is about, such as `tunnel`, `default`, `app.paie/admin`, `app.paie#it` or `user.laure`.
    pub of: String,
    /// The key, with a dot before one within an inline table; `rule` for a whole rule that is new or gone.
    pub key: String,
    /// What the first policy says, as a file would; `None` where it says nothing.
    pub before: Option<String>,
    /// What the second policy says.
    pub after: Option<String>,
    /// Whether it lets somebody do or reach what could not be done or reached.
    pub widens: bool,
    /// Of a zone, schedule or group, the `file:line` that defines it, by the second policy if that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Before and after for people.
    #[serde(skip)]
    shown: String,
}

/// Keys that do nothing but decide: what they change is told as changes of access.
const DECIDES: [(&str, &[&str]); 6] = [
    ("default", &["mfa", "device"]),
    ("user", &["disabled"]),
    (
        "deny",
        &["who", "from", "when", "unless-when", "device-not", "on"],
    ),
    (
        "rule",
        &["who", "from", "when", "device", "mfa", "login", "methods"],
    ),
    ("app", &["host"]),
    ("net", &["to", "port"]),
];

/// What is so where nothing is said.
const UNSAID: [(&str, &str); 4] = [
    ("dns.others", "forward"),
    ("dns.quarantine", "forward"),
    ("reprove.moved", "false"),
    ("shadow", "false"),
];

/// All keys that say something else, those that widen first.
pub(super) fn settings(before: &Policy, after: &Policy) -> Vec<Setting> {
    let (old, new) = (pieces(&before.ir), pieces(&after.ir));
    let topics: BTreeSet<&Topic<'_>> = old.keys().chain(new.keys()).collect();
    let named = same_names(&before.ir, &after.ir);
    let (mut own, mut other) = (String::new(), String::new());
    let mut out = Vec::new();
    for topic in topics {
        let sides = (old.get(topic), new.get(topic));
        if named && matches!(sides, (Some(was), Some(is)) if was.is_same_app(is)) {
            continue;
        }
        write(sides.0, &mut own);
        write(sides.1, &mut other);
        if own != other {
            let both = sides.0.is_some() && sides.1.is_some();
            let from = out.len();
            compare(topic, (&own, &other), both, &mut out);
            for setting in out.iter_mut().skip(from) {
                let place = |policy| definition(policy, topic, setting);
                setting.at = place(after).or_else(|| place(before));
            }
        }
    }
    readings(before, after, &mut out);
    out.sort_by(|a, b| b.widens.cmp(&a.widens).then_with(|| a.cmp(b)));
    out
}

/// Tells of apps that take `%2F` or `//` where areas or what they take change: which paths are refused because they
/// could be read in two ways moves with them, and is no change of access that has a place. In doubt it widens.
fn readings(before: &Policy, after: &Policy, out: &mut Vec<Setting>) {
    let mut told = BTreeSet::new();
    for app in &after.ir.apps {
        for host in app.hosts.iter().filter(|_| !app.shadow) {
            let name = sample(host);
            let (Some(was), Some(is)) = (before.hosts.find(&name), after.hosts.find(&name)) else {
                continue;
            };
            let (old, new) = (before.app(AppIx(was)).path, after.app(AppIx(is)).path);
            let takes = |opts: PathOpts| opts.slashes || opts.empties;
            let same = || old == new && patterns(before, was) == patterns(after, is);
            if !(takes(old) || takes(new)) || same() || !told.insert(&app.id) {
                continue;
            }
            out.push(Setting {
                of: app.id.clone(),
                key: "readings".to_owned(),
                before: None,
                after: None,
                widens: takes(new),
                at: None,
                shown: "other paths with %2F or // are refused".to_owned(),
            });
        }
    }
}

/// Where a policy defines the zone, schedule or group that a setting is about.
fn definition(policy: &Policy, topic: &Topic<'_>, setting: &Setting) -> Option<String> {
    let full = |tenant: &Option<&str>, name: &str| match tenant {
        Some(tenant) => format!("{tenant}/{name}"),
        None => name.to_owned(),
    };
    let ir = &policy.ir;
    let span = match topic {
        Topic::Groups(tenant) => {
            let group = ir.group(&full(tenant, &setting.key))?;
            ir.groups.get(group as usize)?.span
        }
        Topic::Zones(tenant) => {
            let zone = ir.zone(&full(tenant, &setting.key))?;
            ir.zones.get(zone as usize)?.span
        }
        Topic::Schedules(tenant) => {
            let (_, name) = setting.of.split_once("schedule.")?;
            let name = full(tenant, name);
            let mut all = ir.schedules.iter();
            all.find(|schedule| schedule.name == name)?.span
        }
        Topic::Settings
        | Topic::Rates(_)
        | Topic::HeaderSets(_)
        | Topic::User(_)
        | Topic::Guard(_)
        | Topic::App(_)
        | Topic::Net(_)
        | Topic::Admin => return None,
    };
    policy.place_of(span)
}

/// The patterns of an app's areas, and whether each is in shadow.
fn patterns(policy: &Policy, app: u32) -> Vec<(&str, bool, bool)> {
    let app = policy.ir.apps.get(app as usize);
    let areas = app.into_iter().flat_map(|app| &app.areas);
    let mut all: Vec<_> = areas
        .map(|area| (&*area.pattern.text, area.pattern.exact, area.shadow))
        .collect();
    all.sort_unstable();
    all
}

fn write(piece: Option<&Piece<'_>>, out: &mut String) {
    out.clear();
    if let Some(piece) = piece {
        piece.write(out);
    }
}

/// Whose key it is, and the key.
type Key = (String, String);

/// What one policy says of one thing.
#[derive(Default)]
struct Said {
    keys: BTreeMap<Key, Value>,
    /// The ids of its rules, each with what it says in full.
    rules: BTreeMap<String, String>,
}

fn compare(topic: &Topic<'_>, (own, other): (&str, &str), both: bool, out: &mut Vec<Setting>) {
    let (own, other) = (read(topic, own), read(topic, other));
    let rules: BTreeSet<&String> = own.rules.keys().chain(other.rules.keys()).collect();
    for id in rules {
        let (was, is) = (own.rules.get(id), other.rules.get(id));
        if both && was.is_some() != is.is_some() {
            out.push(Setting {
                of: id.clone(),
                key: "rule".to_owned(),
                before: was.cloned(),
                after: is.cloned(),
                widens: false,
                at: None,
                shown: if is.is_some() { "is new" } else { "is gone" }.to_owned(),
            });
        }
    }
    // where paths are told apart by nothing, their spelling opens nothing
    let areas = [&own, &other].iter().any(|said| said.areas() > 1);
    let keys: BTreeSet<&Key> = own.keys.keys().chain(other.keys.keys()).collect();
    for key in keys {
        let rule_of_one = |said: &Said| key.0.contains('#') && !said.rules.contains_key(&key.0);
        if rule_of_one(&own) || rule_of_one(&other) {
            continue;
        }
        let (was, is) = (own.value(key), other.value(key));
        let empty = |value: &Option<Value>| {
            value.as_ref().is_none_or(|v| {
                v.as_bool() == Some(false) || v.as_array().is_some_and(Vec::is_empty)
            })
        };
        if was == is || (!both && empty(&was) && empty(&is)) {
            continue;
        }
        let widens = both && (areas || key.1 != "case-insensitive");
        let widens = widens && loosens(topic, &key.1, was.as_ref(), is.as_ref());
        out.push(Setting {
            shown: shown(was.as_ref(), is.as_ref()),
            of: key.0.clone(),
            key: key.1.clone(),
            before: was.map(|value| value.to_string()),
            after: is.map(|value| value.to_string()),
            widens,
            at: None,
        });
    }
}

impl Said {
    fn value(&self, key: &Key) -> Option<Value> {
        let unsaid = || {
            let (_, text) = UNSAID.iter().find(|(name, _)| *name == key.1)?;
            Some(match *text {
                "false" => Value::Boolean(false),
                text => Value::String(text.to_owned()),
            })
        };
        self.keys.get(key).cloned().or_else(unsaid)
    }

    fn areas(&self) -> usize {
        let of: BTreeSet<&str> = self.keys.keys().map(|(of, _)| of.as_str()).collect();
        of.into_iter().filter(|of| !of.contains('#')).count()
    }
}

/// Reads what was printed of one thing, without the keys that only decide.
fn read(topic: &Topic<'_>, text: &str) -> Said {
    let (mut said, mut place, mut skip) = (Said::default(), String::new(), false);
    for line in text.lines().filter(|line| !line.is_empty()) {
        let Ok(table) = line.parse::<Table>() else {
            debug_assert!(false, "what is printed can be read: {line}");
            continue;
        };
        if line.starts_with('[') {
            let names = names(&table);
            // devices without a sign-in are told as changes of access
            skip = names == ["tunnel", "headless"];
            place = place_of(topic, &names);
        } else if !skip {
            line_of(&mut said, &place, table);
        }
    }
    said
}

/// The names of a table that was opened, one within the other.
fn names(table: &Table) -> Vec<String> {
    let mut out = Vec::new();
    let mut at = Some(table);
    while let Some((name, inner)) = at.and_then(|table| table.iter().next()) {
        out.push(name.clone());
        at = inner.as_table();
    }
    out
}

fn place_of(topic: &Topic<'_>, names: &[String]) -> String {
    let space = |tenant: &Option<&str>| tenant.map_or_else(String::new, |t| format!("{t}/"));
    let name = |at: usize| names.get(at).map_or("", String::as_str);
    match topic {
        Topic::Settings | Topic::User(_) => names.join("."),
        Topic::Rates(tenant) => format!("{}rate", space(tenant)),
        Topic::HeaderSets(tenant) => format!("{}headers.{}", space(tenant), name(1)),
        Topic::Groups(tenant) => format!("{}group", space(tenant)),
        Topic::Zones(tenant) => format!("{}zone", space(tenant)),
        Topic::Schedules(tenant) => format!("{}schedule.{}", space(tenant), name(1)),
        Topic::Guard(id) | Topic::Net(id) => (*id).to_owned(),
        Topic::App(id) => match name(2) {
            "" => format!("{id}/"),
            path => format!("{id}{path}"),
        },
        Topic::Admin => "admin".to_owned(),
    }
}

/// Adds the keys of a line; those of a rule are told under its id.
fn line_of(said: &mut Said, place: &str, table: Table) {
    for (key, value) in table {
        let (Value::Table(rules), "allow") = (&value, key.as_str()) else {
            flat(said, place, key, value);
            continue;
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        for (name, rule) in rules {
            let id = format!("{place}#{name}");
            said.rules.insert(id.clone(), rule.to_string());
            for (key, value) in rule.as_table().into_iter().flatten() {
                flat(said, &id, key.clone(), value.clone());
            }
        }
    }
}

fn flat(said: &mut Said, place: &str, key: String, value: Value) {
    if let Value::Table(inner) = value {
        for (name, value) in inner {
            flat(said, place, format!("{key}.{name}"), value);
        }
    } else if !decides(place, &key) {
        said.keys.insert((place.to_owned(), key), value);
    }
}

/// Whether a key does nothing but decide.
fn decides(place: &str, key: &str) -> bool {
    let kind = match place.contains('#') {
        true => "rule",
        false => {
            let own = crate::resolve::tenants::owner(place).map_or(0, |tenant| tenant.len() + 1);
            let rest = place.get(own..).unwrap_or_default();
            rest.split_once('.').map_or(rest, |(kind, _)| kind)
        }
    };
    let keys = DECIDES.iter().find(|(of, _)| *of == kind);
    keys.is_some_and(|(_, keys)| keys.contains(&key))
}

/// Before and after for people; of lists what came and what went.
fn shown(was: Option<&Value>, is: Option<&Value>) -> String {
    let none: &[Value] = &[];
    let list = |value: Option<&Value>| match value {
        None => Some(none.to_vec()),
        Some(value) => value.as_array().cloned(),
    };
    let text =
        |value: Option<&Value>| value.map_or_else(|| "(unsaid)".to_owned(), Value::to_string);
    let (Some(old), Some(new)) = (list(was), list(is)) else {
        return format!("{} -> {}", text(was), text(is));
    };
    let texts = |list: &[Value]| list.iter().map(Value::to_string).collect::<Vec<_>>();
    let (old, new) = (texts(&old), texts(&new));
    // lists of networks may be very long
    let (before, after): (BTreeSet<&String>, BTreeSet<&String>) =
        (old.iter().collect(), new.iter().collect());
    let gone = old.iter().filter(|item| !after.contains(item));
    let gone = gone.map(|item| format!("-{item}"));
    let came = new.iter().filter(|item| !before.contains(item));
    let came = came.map(|item| format!("+{item}"));
    let parts: Vec<String> = gone.chain(came).collect();
    match parts.is_empty() {
        true => format!("{} -> {}", text(was), text(is)),
        false => parts.join(" "),
    }
}

/// Most places that are named of a change that many share.
const NAMED: usize = 4;

/// A line for each change, places with the same change together.
pub(super) fn to_text(settings: &[Setting]) -> String {
    let mut joined: BTreeMap<(bool, &str, &str, &str), Vec<&str>> = BTreeMap::new();
    for setting in settings {
        let key = (
            !setting.widens,
            setting.key.as_str(),
            setting.shown.as_str(),
            setting.at.as_deref().unwrap_or_default(),
        );
        joined.entry(key).or_default().push(&setting.of);
    }
    let mut out = String::new();
    for ((tightens, key, shown, at), of) in joined {
        let at = match at {
            "" => String::new(),
            at => format!("   {at}"),
        };
        let mark = if tightens { '~' } else { '+' };
        let named: Vec<&str> = of.iter().take(NAMED).copied().collect();
        let mut places = named.join(", ");
        if of.len() > NAMED {
            places.push_str(&format!(" and {} more", of.len() - NAMED));
        }
        out.push_str(&format!(
            "{mark} setting   {places}   {key}   {shown}{at}\n"
        ));
    }
    out
}

#[cfg(test)]
mod tests;
