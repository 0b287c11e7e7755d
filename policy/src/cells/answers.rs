//! Who can reach a thing, and what a person can reach.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::places::id_of;
use super::{Cell, Grid, Group, JointPlace, Scope, Side, Split, World, joint_places, label};
use crate::compile::{Policy, RuleIx};
use crate::decide::Outcome;
use crate::diag::{did_you_mean, show};
use crate::query::{QueryError, QueryField, Target};
use crate::resolve::invariants::Place;

/// One person or `anyone` who can reach a thing by one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grantee {
    /// The person; `anyone` needs no sign-in and stands for all.
    pub name: String,
    /// Always `allow`: with a fresh code and sign-in, a step-up becomes one.
    pub outcome: Outcome,
    /// The rule that allows.
    pub rule: String,
    /// Each is a set of conditions that hold together; empty is "always".
    pub contexts: Vec<String>,
}

/// All who can reach a thing. The serialised form is the contract of `policy who-can --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhoCan {
    /// The place, such as `app.paie/admin`.
    pub resource: String,
    /// The contexts it was asked for, such as `now`; absent is all.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Sorted by name, then rule.
    pub users: Vec<Grantee>,
}

/// A place a person can reach by one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reachable {
    /// The place, such as `app.paie/admin`.
    pub resource: String,
    /// Always `allow`: with a fresh code and sign-in, a step-up becomes one.
    pub outcome: Outcome,
    /// The rule that allows.
    pub rule: String,
    /// Each is a set of conditions that hold together; empty is "always".
    pub contexts: Vec<String>,
}

/// All a person can reach. The serialised form is the contract of `policy what-can --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhatCan {
    /// The person, or `anyone`.
    pub user: String,
    /// The contexts it was asked for, such as `now`; absent is all.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Sorted by place, then rule.
    pub resources: Vec<Reachable>,
}

impl Policy {
    /// Says who can reach a thing: a URL as in [`crate::QueryText::to`], or the id of an app, area, net or `admin`.
    /// People who need no more than `anyone` needs are not listed.
    ///
    /// # Errors
    /// The thing does not exist or is written wrongly.
    pub fn who_can(&self, resource: &str) -> Result<WhoCan, QueryError> {
        self.who_can_in(resource, &Scope::Ever)
    }

    /// Like [`Self::who_can`], for some contexts only.
    ///
    /// # Errors
    /// As [`Self::who_can`], or the scope names no zone or time.
    pub fn who_can_in(&self, resource: &str, scope: &Scope) -> Result<WhoCan, QueryError> {
        let bounds = scope.bounds(self)?;
        let place = self.place(resource)?;
        let mut world = World::new(&[self]).within(bounds);
        let side = Side::of(self, place);
        let found = granted(&mut world, side);
        let mut users: Vec<Grantee> = Vec::new();
        for (names, rule, contexts) in found {
            for name in names {
                users.push(Grantee {
                    name,
                    outcome: Outcome::Allow,
                    rule: self.rule(rule).id.to_string(),
                    contexts: contexts.clone(),
                });
            }
        }
        users.sort_by(|a, b| (&a.name, &a.rule).cmp(&(&b.name, &b.rule)));
        Ok(WhoCan {
            resource: id_of(self, place),
            scope: scope.named(),
            users,
        })
    }

    /// Says what a person, or `anyone`, can reach; of what anyone can reach, a person's list holds all too.
    ///
    /// # Errors
    /// Nobody has that name.
    pub fn what_can(&self, user: &str) -> Result<WhatCan, QueryError> {
        self.what_can_in(user, &Scope::Ever)
    }

    /// Like [`Self::what_can`], for some contexts only.
    ///
    /// # Errors
    /// As [`Self::what_can`], or the scope names no zone or time.
    pub fn what_can_in(&self, user: &str, scope: &Scope) -> Result<WhatCan, QueryError> {
        let bounds = scope.bounds(self)?;
        let anyone = user == "anyone";
        if !anyone && self.user(user).is_none() {
            let names = self.users.iter().map(|user| &*user.name);
            return Err(QueryError {
                field: QueryField::User,
                title: format!("unknown user `{}`", show(user)),
                help: did_you_mean(user, names.chain(["anyone"])),
                meant: None,
            });
        }
        let mut world = World::of_one(&[self], (!anyone).then_some(user)).within(bounds);
        let mut resources: Vec<Reachable> = Vec::new();
        for JointPlace { id, sides, .. } in joint_places(&[self]) {
            let Some(side) = sides.first() else { continue };
            for (_, rule, contexts) in granted(&mut world, *side) {
                resources.push(Reachable {
                    resource: id.clone(),
                    outcome: Outcome::Allow,
                    rule: self.rule(rule).id.to_string(),
                    contexts,
                });
            }
        }
        resources.sort_by(|a, b| (&a.resource, &a.rule).cmp(&(&b.resource, &b.rule)));
        Ok(WhatCan {
            user: user.to_owned(),
            scope: scope.named(),
            resources,
        })
    }

    /// Finds the place of an id, or of a URL that is not refused whoever asks.
    pub(crate) fn place(&self, text: &str) -> Result<Place, QueryError> {
        self.place_by(text, true)
    }

    /// Finds the place of an id, or the one that a URL matches; `refused` says whether it is asked if one is that an
    /// app could read in two ways.
    pub(super) fn place_by(&self, text: &str, refused: bool) -> Result<Place, QueryError> {
        let bad = |help: Option<String>| QueryError {
            field: QueryField::To,
            title: format!("unknown resource `{}`", show(text)),
            help,
            meant: None,
        };
        if text.contains("://") {
            let asked = crate::QueryText {
                to: text.to_owned(),
                ..crate::QueryText::default()
            };
            let query = self.query(&asked)?;
            return match &query.target {
                Target::Http { host, path, .. } => {
                    let app = self.app_for(host).ok_or_else(|| bad(None))?;
                    let rules = self.app_rules(app).ok_or_else(|| bad(None))?;
                    if refused && self.reads_apart(rules.tree, path) {
                        let help = "the app could read this path in two ways that lie in different areas, so it is refused";
                        return Err(bad(Some(help.to_owned())));
                    }
                    let area = self.trees.find(rules.tree, path).ok_or_else(|| bad(None))?;
                    Ok(Place::Area(app.0, area))
                }
                Target::Flow { dst, port, proto } => {
                    let net = self.net_table.find(*dst, *port, *proto);
                    net.map(Place::Net).ok_or_else(|| bad(None))
                }
                Target::Admin { .. } => Ok(Place::Admin),
                Target::BadRequest(reason) => Err(bad(Some(format!(
                    "no request can have this path: {reason}"
                )))),
            };
        }
        let mut all: Vec<(String, Place)> = vec![("admin".to_owned(), Place::Admin)];
        for (app, ix) in self.ir.apps.iter().zip(0u32..) {
            for (area, at) in app.areas.iter().zip(0u32..) {
                let place = Place::Area(ix, at);
                all.push((id_of(self, place), place));
                if area.pattern.text.is_empty() {
                    all.push((app.id.clone(), place));
                }
            }
        }
        let nets = self.ir.nets.iter().zip(0u32..);
        all.extend(nets.map(|(net, ix)| (net.id.clone(), Place::Net(ix))));
        let found = all.iter().find(|(id, _)| id == text);
        found
            .map(|(_, place)| *place)
            .ok_or_else(|| bad(did_you_mean(text, all.iter().map(|(id, _)| id))))
    }
}

type Granted = (Vec<String>, RuleIx, Vec<String>);

/// For each group of people and each rule that allows, the contexts. What anyone may do is listed for `anyone` only,
/// where the world holds somebody not signed in.
fn granted<'p>(world: &mut World<'p>, side: Side<'p>) -> Vec<Granted> {
    let grid = Grid::new(world, &[side], &Split::default());
    let mut open: HashSet<Cell> = HashSet::new();
    let mut found: BTreeMap<(usize, RuleIx), Vec<Cell>> = BTreeMap::new();
    grid.run(|group, cell, decisions| {
        let Some(decision) = decisions.first() else {
            return;
        };
        if decision.outcome != Outcome::Allow || open.contains(&cell) {
            return;
        }
        if group.anonymous() {
            open.insert(cell);
        }
        let cells = found.entry((group.id, decision.rule)).or_default();
        cells.push(cell);
    });
    found
        .into_iter()
        .map(|((id, rule), cells)| {
            let contexts = label::contexts(&grid.labels, grid.sizes(), &cells);
            let group = grid.groups.get(id);
            let names = match group.is_none_or(Group::anonymous) {
                true => vec!["anyone".to_owned()],
                false => group.map(Group::names).unwrap_or_default(),
            };
            (names, rule, contexts)
        })
        .collect()
}

impl WhoCan {
    /// Renders the answer for a terminal, one person and rule a line.
    pub fn to_text(&self) -> String {
        let mut out = head(&self.resource, self.scope.as_deref());
        for user in &self.users {
            line(&mut out, &user.name, &user.rule, &user.contexts);
        }
        if self.users.is_empty() {
            out.push_str("  nobody\n");
        }
        out
    }
}

impl WhatCan {
    /// Renders the answer for a terminal, one place and rule a line.
    pub fn to_text(&self) -> String {
        let mut out = head(&self.user, self.scope.as_deref());
        for place in &self.resources {
            line(&mut out, &place.resource, &place.rule, &place.contexts);
        }
        if self.resources.is_empty() {
            out.push_str("  nothing\n");
        }
        out
    }
}

fn head(of: &str, scope: Option<&str>) -> String {
    let scope = scope.map(|scope| format!("   ({scope})"));
    format!("{of}{}\n", scope.unwrap_or_default())
}

fn line(out: &mut String, name: &str, rule: &str, contexts: &[String]) {
    let when = match contexts {
        [] => "always".to_owned(),
        list => list.join("  |  "),
    };
    out.push_str(&format!("  {name:<24} {rule:<32} {when}\n"));
}
