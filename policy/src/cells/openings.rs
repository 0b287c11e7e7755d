//! Requests that an app gets from people whom no rule names: those not signed in, and whoever is.

use std::collections::BTreeMap;

use serde::Serialize;

use super::places::id_of;
use super::{Cell, Grid, Group, Side, Split, World, label};
use crate::canon;
use crate::compile::{AppIx, Policy, RuleIx};
use crate::decide::Outcome;
use crate::front::Source;
use crate::resolve::invariants::Place;

/// Who may send a request without being named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Open {
    /// Somebody not signed in.
    Anyone,
    /// Whoever is signed in.
    AnyUser,
}

/// A path of an app that takes a request from people whom no rule names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opening {
    /// The app, such as `app.paie`.
    pub app: String,
    /// The area that decides, such as `app.paie/api`.
    pub area: String,
    /// The path.
    pub path: String,
    /// From whom.
    pub who: Open,
    /// The rule that allows it.
    pub rule: String,
    /// The file of that rule.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
    /// Each is a set of conditions that hold together; empty is "always".
    pub contexts: Vec<String>,
}

impl Policy {
    /// Lists which of these paths take a method from people whom no rule names, for each app in force: exactly, in any
    /// context there is. What anyone may is not listed again for whoever is signed in. An area that takes no such
    /// method, or whose answers are none of an app's, has none.
    pub fn openings(&self, method: &str, paths: &[&str]) -> Vec<Opening> {
        let mut world = World::new(&[self]);
        let mut known: BTreeMap<Place, Vec<(Open, RuleIx, Vec<String>)>> = BTreeMap::new();
        let mut found = Vec::new();
        for (app, written) in self.apps() {
            for path in paths {
                let Some(place) = self.taking(app, method, path) else {
                    continue;
                };
                let open = known
                    .entry(place)
                    .or_insert_with(|| unnamed(self, &mut world, place, method));
                found.extend(open.iter().map(|(who, rule, contexts)| {
                    let rule = self.rule(*rule);
                    Opening {
                        app: written.id.to_string(),
                        area: id_of(self, place),
                        path: (*path).to_owned(),
                        who: *who,
                        rule: rule.id.to_string(),
                        file: rule.file.to_string(),
                        line: rule.line,
                        contexts: contexts.clone(),
                    }
                }));
            }
        }
        found
    }

    /// Finds the area of a path, if its app would get the method at all.
    fn taking(&self, app: AppIx, method: &str, path: &str) -> Option<Place> {
        let rules = self.app_rules(app).filter(|rules| !rules.shadow)?;
        let path = canon::path_with(path.as_bytes(), self.app(app).path).ok()?;
        let front = self.app(app).fronts.get(self.front(app, &path))?;
        let methods = front.methods.as_ref();
        let taken = methods.is_none_or(|all| all.iter().any(|own| own == method));
        if !taken || !matches!(front.source, Source::Pool(_)) || self.reads_apart(rules.tree, &path)
        {
            return None;
        }
        let area = self.trees.find(rules.tree, &path)?;
        Some(Place::Area(app.0, area))
    }

    /// Tells whether a rule of a place is for whoever is signed in.
    fn is_for_any_user(&self, place: Place, rule: RuleIx) -> bool {
        let Place::Area(app, area) = place else {
            return false;
        };
        let app = self.ir.apps.get(app as usize);
        let area = app.and_then(|app| app.areas.get(area as usize));
        let id = &self.rule(rule).id;
        let name = id.rsplit_once('#').map_or("", |(_, name)| name);
        let mut allows = area.iter().flat_map(|area| &area.allows);
        allows.any(|allow| allow.name.as_str() == name && allow.who.any_user)
    }
}

/// The rules of a place by which people get in whom none names, and in which contexts.
fn unnamed<'p>(
    policy: &'p Policy,
    world: &mut World<'p>,
    place: Place,
    method: &str,
) -> Vec<(Open, RuleIx, Vec<String>)> {
    let grid = Grid::new(world, &[Side::of(policy, place)], &Split::default());
    let mut cells: BTreeMap<(Open, RuleIx), Vec<Cell>> = BTreeMap::new();
    grid.run(|group: &Group, cell, decisions| {
        let allowed = decisions.iter().find(|d| d.outcome == Outcome::Allow);
        let [_, _, _, methods, ..] = cell;
        let Some(decision) = allowed.filter(|_| grid.has_method(methods, method)) else {
            return;
        };
        let who = match group.anonymous() {
            true => Open::Anyone,
            false => Open::AnyUser,
        };
        let named = who == Open::AnyUser && !policy.is_for_any_user(place, decision.rule);
        if !named {
            let cells = cells.entry((who, decision.rule)).or_default();
            if !cells.contains(&cell) {
                cells.push(cell);
            }
        }
    });
    let open = cells.into_iter();
    open.map(|((who, rule), cells)| {
        (
            who,
            rule,
            label::contexts(&grid.labels, grid.sizes(), &cells),
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{Open, Opening};
    use crate::compile::Policy;
    use crate::source::Sources;

    const PATHS: [&str; 3] = ["/register", "/api/auth/register", "/signup"];

    fn policy(text: &str) -> Policy {
        let mut sources = Sources::new();
        let head = "postern = 1\n[group]\nstaff = [\"ana\", \"bob\"]\n";
        sources.add(
            "users.toml",
            "postern = 1\n[user.ana]\n[user.bob]\n".to_owned(),
        );
        sources.add("policy.toml", format!("{head}{text}"));
        let loaded = crate::load(&sources);
        loaded.unwrap_or_else(|d| panic!("{text}\n{d:?}")).policy
    }

    fn app(rules: &str) -> String {
        format!("[app.kpi]\nhost = \"kpi.example\"\nupstream = \"http://127.0.0.1:1\"\n{rules}\n")
    }

    fn openings(text: &str) -> Vec<Opening> {
        policy(&app(text)).openings("POST", &PATHS)
    }

    fn brief(text: &str) -> Vec<(String, Open)> {
        let all = openings(text).into_iter();
        all.map(|opening| (opening.path, opening.who)).collect()
    }

    #[test]
    fn whom_no_rule_names_may_sign_up_where_the_area_says_anyone_or_any_user() {
        let all = |who| PATHS.map(|path| (path.to_owned(), who)).to_vec();
        let named = "allow.staff = { who = \"@staff\" }";
        assert!(brief(named).is_empty());
        let user = "allow.all = { who = \"any-user\" }";
        assert_eq!(brief(user), all(Open::AnyUser));
        let anyone = "public = \"a site for all\"\nallow.all = { who = \"anyone\" }";
        assert_eq!(brief(anyone), all(Open::Anyone));
    }

    #[test]
    fn an_area_of_its_own_closes_the_path_and_one_for_all_opens_it() {
        let closed = "allow.all = { who = \"any-user\" }\n[app.kpi.\"/api/auth/register\"]\nallow.staff = { who = \"@staff\" }";
        let paths: Vec<String> = brief(closed).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["/register", "/signup"]);
        let open = "allow.staff = { who = \"@staff\" }\n[app.kpi.\"/signup\"]\npublic = \"clients sign up\"\nallow.all = { who = \"anyone\" }";
        let found = openings(open);
        assert_eq!(found.len(), 1, "{found:?}");
        let signup = &found[0];
        assert_eq!(
            (signup.area.as_str(), signup.who),
            ("app.kpi/signup", Open::Anyone)
        );
        assert_eq!(signup.rule, "app.kpi/signup#all");
        assert_eq!((signup.file.as_str(), signup.line), ("policy.toml", 10));
    }

    #[test]
    fn reading_is_not_signing_up_and_a_condition_is_told() {
        let reads = "allow.all = { who = \"any-user\", methods = \"read\" }";
        assert!(brief(reads).is_empty());
        let front = "methods = \"read\"\nallow.all = { who = \"any-user\" }";
        assert!(brief(front).is_empty());
        let office = "allow.all = { who = \"any-user\", from = \"tunnel\" }";
        let found = openings(office);
        assert!(
            found.iter().all(|o| o.contexts.concat().contains("tunnel")),
            "{found:?}"
        );
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn a_guard_against_it_closes_it() {
        let open = "allow.all = { who = \"any-user\" }";
        let guard =
            "\n[deny.sign-ups]\non = \"app.kpi\"\nfrom = \"internet\"\nreason = \"inside only\"";
        let found = openings(&format!("{open}{guard}"));
        assert!(
            found.iter().all(|o| o.contexts.concat().contains("tunnel")),
            "{found:?}"
        );
        let all = "\n[deny.sign-ups]\non = \"app.kpi\"\nwho = \"any-user\"\nreason = \"nobody\"";
        assert!(brief(&format!("{open}{all}")).is_empty());
        assert_eq!(brief(open).len(), 3);
    }
}
