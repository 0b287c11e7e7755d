//! What changes from one policy to another, exactly.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::alike::Alike;
use super::changed::Cause;
use super::moved::Moved;
use super::settings::{self, Setting};
use super::{Cell, Grid, Group, Side, Split, World, joint_places, label};
use crate::compile::{Policy, RuleIx};
use crate::decide::Outcome;
use crate::ir::Allow;
use crate::resolve::invariants::Place;
use crate::source::Span;

/// One change for one person in one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// The person; `anyone` is somebody not signed in.
    pub user: String,
    /// The place, such as `app.paie/admin`.
    pub resource: String,
    /// The outcome under the first policy.
    pub before: Outcome,
    /// The outcome under the second policy.
    pub after: Outcome,
    /// Each is a set of conditions that hold together; empty is "always".
    pub contexts: Vec<String>,
    /// The file of what is responsible: of the rule of the second policy, else of the first; where both say what they
    /// said, of the zone, schedule or group that changed. Empty where neither decision came from a rule of the files.
    pub file: String,
    /// Its line, from 1; 0 where there is none.
    pub line: u32,
    /// What changed in that rule or guard: `new`, `removed`, or its keys, such as "`from` removed"; then what changed
    /// that it names, such as "`[schedule] day` changed". Absent where nothing did, so that another rule explains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// File and line of the rule that decides in the second policy, whichever rule is responsible.
    #[serde(skip)]
    pub(crate) decides: (String, u32),
}

/// All changes. The serialised form is the contract of `policy diff --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Whether somebody is allowed what was not allowed before, or a setting widens.
    pub widens: bool,
    /// Sorted by person, place and outcomes.
    pub changes: Vec<Change>,
    /// What else is said otherwise, that which widens first.
    pub settings: Vec<Setting>,
    #[serde(skip)]
    groups: Vec<(String, Vec<String>)>,
}

/// Compares two policies over all people, places and contexts of both, and all they say besides. A name only one of
/// them has is denied by the other.
pub fn diff(before: &Policy, after: &Policy) -> Diff {
    let mut out = Diff {
        widens: false,
        changes: Vec::new(),
        settings: Vec::new(),
        groups: groups(after),
    };
    if before.digest == after.digest {
        return out;
    }
    let policies = [before, after];
    let mut world = World::new(&policies);
    let moved = Moved::new(before, after);
    let mut alike = Alike::new(&world, policies);
    for place in joint_places(&policies) {
        super::lanes::compare(&mut world, &place, &mut out);
        if alike.place(&mut world, &place.sides) {
            continue;
        }
        let grid = Grid::new(&mut world, &place.sides, &Split::default());
        let mut found: BTreeMap<Key, Vec<Cell>> = BTreeMap::new();
        grid.run(|group, cell, decisions| {
            let [a, b] = decisions else { return };
            if a.outcome == b.outcome {
                return;
            }
            let key = (group.id, a.outcome, b.outcome, a.rule, b.rule);
            found.entry(key).or_default().push(cell);
        });
        for ((id, was, is, old, new), cells) in found {
            let group = grid.groups.get(id);
            let names = match group.is_none_or(Group::anonymous) {
                true => vec!["anyone".to_owned()],
                false => group.map(Group::names).unwrap_or_default(),
            };
            out.widens |= is == Outcome::Allow;
            let [one, other] = place.sides.as_slice() else {
                continue;
            };
            let cause = Cause::new(&moved, [one, other], old, new);
            let mut contexts = label::contexts(&grid.labels, grid.sizes(), &cells);
            if let Some(note) = &place.note {
                match contexts.as_mut_slice() {
                    [] => contexts.push(note.clone()),
                    list => list.iter_mut().for_each(|text| {
                        text.push_str("; ");
                        text.push_str(note);
                    }),
                }
            }
            let decides = after.rule(new);
            for user in names {
                let (file, line, what) = cause.of(&moved, &user);
                out.changes.push(Change {
                    user,
                    resource: place.id.clone(),
                    before: was,
                    after: is,
                    contexts: contexts.clone(),
                    file,
                    line,
                    what,
                    decides: (decides.file.to_string(), decides.line),
                });
            }
        }
    }
    exempt(before, after, Outcome::Login, Outcome::Allow, &mut out);
    exempt(after, before, Outcome::Allow, Outcome::Login, &mut out);
    out.changes.sort();
    out.settings = settings::settings(before, after);
    out.widens |= out.settings.iter().any(|setting| setting.widens);
    out
}

/// Adds the devices that need no sign-in for a net under the second policy, and need one under the first.
fn exempt(one: &Policy, other: &Policy, before: Outcome, after: Outcome, out: &mut Diff) {
    let had: BTreeSet<_> = exemptions(one).map(|(of, _)| of).collect();
    let new = exemptions(other).filter(|(of, _)| !had.contains(of));
    for ((user, device, net), span) in new {
        let (file, line) = match other.places.line(span) {
            Some((file, line)) => (file.to_string(), line),
            None => (String::new(), 0),
        };
        out.widens |= after == Outcome::Allow;
        out.changes.push(Change {
            user,
            resource: net,
            before,
            after,
            contexts: vec![format!("without a sign-in, through {device}")],
            decides: (file.clone(), line),
            file,
            line,
            what: None,
        });
    }
}

pub(super) fn rules<'p>(side: &Side<'p>) -> Option<&'p [Allow]> {
    let ir = &side.policy.ir;
    match side.place? {
        Place::Admin => Some(&ir.admin),
        Place::Net(ix) => Some(&ir.nets.get(ix as usize)?.allows),
        Place::Area(app, area) => {
            let areas = &ir.apps.get(app as usize)?.areas;
            Some(&areas.get(area as usize)?.allows)
        }
    }
}

/// The devices that need no sign-in, with whose they are, by which net, and where that is said.
fn exemptions(policy: &Policy) -> impl Iterator<Item = ((String, String, String), Span)> + '_ {
    let ir = &policy.ir;
    ir.headless.iter().flat_map(move |entry| {
        let user = ir.users.get(entry.user as usize);
        let user = user.map_or(String::new(), |user| user.name.to_string());
        let device = entry.name(&ir.users);
        let nets = entry.nets.iter();
        nets.filter_map(|&ix| ir.nets.get(ix as usize))
            .map(move |net| {
                let of = (user.clone(), device.clone(), net.id.to_string());
                (of, entry.span)
            })
    })
}

type Key = (usize, Outcome, Outcome, RuleIx, RuleIx);

fn groups(policy: &Policy) -> Vec<(String, Vec<String>)> {
    let name = |ix: &u32| {
        let user = policy.ir.users.get(*ix as usize)?;
        (!user.disabled).then(|| user.name.to_string())
    };
    let groups = policy.ir.groups.iter();
    let mut out: Vec<(String, Vec<String>)> = groups
        .map(|group| {
            let members: Vec<String> = group.members.iter().filter_map(name).collect();
            (format!("@{}", group.name), members)
        })
        .collect();
    out.retain(|(_, members)| members.len() > 1);
    out
}

impl Diff {
    /// Renders the changes of access for a terminal, those that widen first, people with the same change together;
    /// then what else is said otherwise.
    pub fn to_text(&self) -> String {
        let mut joined: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
        for change in &self.changes {
            let widens = change.after == Outcome::Allow;
            let mark = match (change.before, change.after) {
                (_, Outcome::Allow) => '+',
                (Outcome::Allow, _) => '-',
                _ => '~',
            };
            let when = match change.contexts.as_slice() {
                [] => "always".to_owned(),
                list => list.join("  |  "),
            };
            let place = match change.line {
                0 => String::new(),
                line => format!("   {}:{line}", change.file),
            };
            let what = change.what.as_ref().map(|what| format!("  {what}"));
            let what = what.unwrap_or_default();
            let text = format!(
                "{mark} {} -> {}\t{}   {when}{place}{what}",
                change.before, change.after, change.resource
            );
            let users = joined.entry((!widens, text)).or_default();
            users.push(change.user.clone());
        }
        let mut out = String::new();
        for ((_, text), users) in joined {
            let (head, rest) = text.split_once('\t').unwrap_or((&text, ""));
            out.push_str(&format!("{head}   {}   {rest}\n", self.people(&users)));
        }
        out.push_str(&settings::to_text(&self.settings));
        if self.changes.is_empty() && self.settings.is_empty() {
            out.push_str("no change\n");
        }
        out
    }

    fn people(&self, users: &[String]) -> String {
        let group = self.groups.iter().find(|(_, members)| members == users);
        match (group, users) {
            (Some((name, members)), _) => format!("{name} ({} users)", members.len()),
            (None, [a, b, c, d, rest @ ..]) if !rest.is_empty() => {
                format!("{a}, {b}, {c}, {d} and {} more", rest.len())
            }
            (None, list) => list.join(", "),
        }
    }
}
