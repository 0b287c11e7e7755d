//! Why a question is answered as it is: the same decision, told step by step.

mod conditions;
mod flips;
mod text;

use serde::Serialize;

use crate::compile::{Allow, Policy, RuleInfo};
use crate::decide::{Decision, Outcome};
use crate::ir::{self, Resource, Who};
use crate::query::{Query, Target};
use crate::replay::AuditInput;
use flips::Refused;

/// One rule of the area, and whether it let the caller in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AllowTrace {
    /// Rule id.
    pub rule: String,
    /// Whether it allows.
    pub ok: bool,
    /// Each condition that fails, or `all conditions hold`.
    pub why: String,
    /// The conditions the rule states that hold, such as `from`; a stranger has no `who`, `login` and `mfa`.
    pub holds: Vec<&'static str>,
}

/// One guard over the place that stops nobody here, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuardTrace {
    /// Guard id.
    pub rule: String,
    /// Each of its conditions that fails.
    pub why: String,
}

/// An answer with its reasons. The serialised form is the contract of `policy explain --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What happens.
    pub outcome: Outcome,
    /// The rule that decided.
    pub rule: String,
    /// The app, net or `admin`; `None` when there is none.
    pub app: Option<String>,
    /// The most specific area; the root area ends with `/`. `None` outside of apps.
    pub area: Option<String>,
    /// `file:line` of the deciding rule, or else of the area, net or app.
    pub at: Option<String>,
    /// Ids of the guards that hold, in order.
    pub guards: Vec<String>,
    /// The guards in force over the place that do not hold, in order.
    pub guards_passed: Vec<GuardTrace>,
    /// The rules of the area in order.
    pub allows: Vec<AllowTrace>,
    /// Name of the header set the app gets, of an allow.
    pub headers: Option<String>,
    /// For how long a reason holds, of an allow whose person is asked why they come.
    pub justify: Option<String>,
    /// What would be decided if what is in shadow were in force, where that is not the same: `allow by app.a#it`.
    pub shadow: Option<String>,
    /// Single changes that would make it an allow.
    pub would_allow: Vec<String>,
    #[serde(skip)]
    digest: String,
    #[serde(skip)]
    notes: Vec<String>,
}

/// What a question reaches.
struct Reached<'p> {
    resource: Resource,
    id: &'p str,
    place: crate::source::Span,
    area: Option<&'p ir::Area>,
    app: Option<&'p ir::App>,
    rules: &'p [ir::Allow],
    compiled: &'p [Allow],
    method: Option<u64>,
    justify: Option<String>,
}

impl Reached<'_> {
    /// Why the area does not take somebody for who they are.
    fn lane_miss(&self, query: &Query) -> Option<String> {
        let area = self.area.filter(|_| query.bits.is_some())?;
        area.lanes.miss(query.by, query.mfa_age)
    }
}

impl Policy {
    /// Explains the answer to a question of this policy.
    pub fn explain(&self, query: &Query) -> Explanation {
        let decision = self.decide(query);
        let rule = self.rule(decision.rule);
        let reached = self.reach(query);
        let mut out = Explanation {
            outcome: decision.outcome,
            rule: rule.id.to_string(),
            app: reached.as_ref().map(|reached| reached.id.to_owned()),
            area: None,
            at: place(rule),
            guards: Vec::new(),
            guards_passed: Vec::new(),
            allows: Vec::new(),
            headers: self.header_set(&decision),
            justify: None,
            shadow: decision
                .shadow
                .map(|(outcome, rule)| format!("{outcome} by {}", self.rule(rule).id)),
            would_allow: Vec::new(),
            digest: self.digest().to_owned(),
            notes: Vec::new(),
        };
        if let Target::BadRequest(reason) = &query.target {
            out.notes.push(format!("no canonical form: {reason}"));
        }
        let Some(mut reached) = reached else {
            return out;
        };
        if decision.outcome == Outcome::Allow {
            out.justify = reached.justify.take();
        }
        out.area = reached.area.map(|area| area_id(reached.id, area));
        self.trace_guards(query, &reached, &mut out);
        out.allows = self.trace_allows(query, &reached);
        if decision.outcome != Outcome::Allow {
            let refused = Refused {
                policy: self,
                query,
                reached: &reached,
            };
            out.would_allow = refused.would_allow();
        }
        out.at = out.at.or_else(|| self.place_of(reached.place));
        self.note_areas(query, &reached, &mut out.notes);
        self.note_readings(query, &mut out.notes);
        let asks = matches!(&query.target, Target::Http { method, .. } if method == "OPTIONS");
        if asks && query.user.is_none() && reached.app.is_some_and(|app| app.preflight) {
            let note = "the gateway answers it itself where it is a CORS preflight";
            out.notes.push(note.to_owned());
        }
        out
    }

    fn header_set(&self, decision: &Decision) -> Option<String> {
        let set = self.obligations(decision.obligations).headers.as_ref()?;
        (decision.outcome == Outcome::Allow).then(|| set.name.clone())
    }

    fn reach(&self, query: &Query) -> Option<Reached<'_>> {
        match &query.target {
            Target::Http { method, host, path } => {
                let ix = self.app_for(host)?;
                let (app, rules) = (self.ir.apps.get(ix.0 as usize)?, self.app_rules(ix)?);
                let at = self.trees.find(rules.tree, path)? as usize;
                let area = app.areas.get(at)?;
                let compiled = self.areas(rules).get(at)?;
                Some(Reached {
                    resource: Resource::App(ix.0),
                    id: &app.id,
                    place: area.span,
                    area: Some(area),
                    app: Some(app),
                    rules: &area.allows,
                    compiled: self.allows(compiled),
                    method: Some(self.methods.bit(method)),
                    justify: self.asked(ix, compiled),
                })
            }
            Target::Flow { dst, port, proto } => {
                let ix = self.net_table.find(*dst, *port, *proto)?;
                let (net, rules) = (self.ir.nets.get(ix as usize)?, self.nets.get(ix as usize)?);
                Some(Reached {
                    resource: Resource::Net(ix),
                    id: &net.id,
                    place: net.span,
                    area: None,
                    app: None,
                    rules: &net.allows,
                    compiled: &rules.allows,
                    method: None,
                    justify: None,
                })
            }
            Target::Admin { method } => Some(Reached {
                resource: Resource::Admin,
                id: "admin",
                place: self.ir.admin.first()?.span,
                area: None,
                app: None,
                rules: &self.ir.admin,
                compiled: &self.admin.allows,
                method: Some(self.methods.bit(method)),
                justify: None,
            }),
            Target::BadRequest(_) => None,
        }
    }

    fn trace_guards(&self, query: &Query, reached: &Reached<'_>, out: &mut Explanation) {
        let lane = reached.lane_miss(query);
        for guard in self.guards_over(reached) {
            let misses = self.guard_misses(query, guard, lane.as_ref());
            match misses.is_empty() {
                true => out.guards.push(guard.id.clone()),
                false => out.guards_passed.push(GuardTrace {
                    rule: guard.id.clone(),
                    why: misses.join("; "),
                }),
            }
        }
    }

    /// The guards in force over what a question reaches.
    fn guards_over(&self, reached: &Reached<'_>) -> impl Iterator<Item = &ir::Guard> {
        let resource = reached.resource;
        self.ir.guards.iter().filter(move |guard| {
            let on = guard.on.as_ref();
            !guard.shadow && on.is_none_or(|list| list.contains(&resource))
        })
    }

    pub(crate) fn schedule_list(&self, list: &[u32]) -> String {
        let named = list
            .iter()
            .filter_map(|&ix| self.ir.schedules.get(ix as usize));
        let names: Vec<&str> = named.map(|schedule| schedule.name.as_str()).collect();
        names.join(", ")
    }

    fn trace_allows(&self, query: &Query, reached: &Reached<'_>) -> Vec<AllowTrace> {
        let rules = reached.rules.iter().zip(reached.compiled);
        let lane = reached.lane_miss(query);
        rules
            .map(|(rule, compiled)| {
                let lane = lane.as_ref().filter(|_| !rule.who.anyone);
                let mut misses: Vec<String> = lane.cloned().into_iter().collect();
                misses.extend(self.misses(query, rule, compiled, reached));
                AllowTrace {
                    holds: conditions::holding(query, rule, &misses),
                    rule: self.rule(compiled.rule).id.to_string(),
                    ok: misses.is_empty(),
                    why: if misses.is_empty() {
                        "all conditions hold".to_owned()
                    } else {
                        misses.join("; ")
                    },
                }
            })
            .collect()
    }

    /// Finds the rule that comes closest to letting a person in, the first of those that miss fewest conditions, and
    /// names those: `app.paie#it: from, mfa`. `None` where nobody is signed in, and where no rule stands.
    pub fn nearest(&self, record: &AuditInput) -> Option<String> {
        let query = self.query_of(record).ok()?;
        query.bits.as_ref()?;
        let reached = self.reach(&query)?;
        let traced = self.trace_allows(&query, &reached).into_iter();
        let (allow, misses) = traced
            .zip(reached.rules)
            .filter(|(allow, rule)| !allow.ok && !rule.shadow)
            .map(|(allow, _)| {
                let names = allow
                    .why
                    .split("; ")
                    .map(|miss| match miss.split_once(':') {
                        Some((name, _)) => name.to_owned(),
                        None => miss.to_owned(),
                    });
                let names: Vec<String> = names.collect();
                (allow, names)
            })
            .min_by_key(|(_, misses)| misses.len())?;
        Some(format!("{}: {}", allow.rule, misses.join(", ")))
    }

    fn is_from(&self, query: &Query, from: &[u32]) -> bool {
        let zones = self.zones.members(query.zone).unwrap_or_default();
        zones.iter().any(|zone| from.contains(zone))
    }

    pub(crate) fn zone_list(&self, zones: &[u32]) -> String {
        let names = zones
            .iter()
            .filter_map(|&ix| self.ir.zones.get(ix as usize));
        let names: Vec<&str> = names.map(|zone| zone.name.as_str()).collect();
        names.join(", ")
    }

    /// A set of people as the file writes it; small groups with their members.
    pub(crate) fn who_list(&self, who: &Who) -> String {
        let user = |ix: &u32| {
            self.ir
                .users
                .get(*ix as usize)
                .map(|user| user.name.to_string())
        };
        let group = |ix: &u32| self.ir.groups.get(*ix as usize);
        let mut out: Vec<String> = Vec::new();
        out.extend(who.any_user.then(|| "any-user".to_owned()));
        for held in who.groups.iter().filter_map(group) {
            let members: Vec<String> = held.members.iter().take(4).filter_map(user).collect();
            let all = held.members.len() == members.len() && !members.is_empty();
            let listed = if all {
                format!(" ({})", members.join(", "))
            } else {
                String::new()
            };
            out.push(format!("@{}{listed}", held.name));
        }
        out.extend(who.users.iter().filter_map(user));
        let without = who.not_groups.iter().filter_map(group);
        out.extend(without.map(|group| format!("!@{}", group.name)));
        out.extend(
            who.not_users
                .iter()
                .filter_map(user)
                .map(|name| format!("!{name}")),
        );
        out.join(", ")
    }

    /// Says where a less specific area would have allowed what this one refuses.
    fn note_areas(&self, query: &Query, reached: &Reached<'_>, notes: &mut Vec<String>) {
        let (Some(area), Some(app), Target::Http { path, .. }) =
            (reached.area, reached.app, &query.target)
        else {
            return;
        };
        let wider = app
            .areas
            .iter()
            .filter(|other| !other.shadow && other.pattern.matches(path.as_str(), app.fold));
        let mut names: Vec<&str> = wider.map(|other| other.pattern.shown()).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        notes.push(format!("most specific of: {}", names.join(", ")));
        if !area.pattern.text.is_empty()
            && let Some(root) = app.areas.first()
            && let Some(rule) = root.allows.iter().find(|rule| {
                !rule.who.anyone
                    && query.bits.is_some()
                    && rule.who.holds(query.user, &query.groups)
            })
        {
            let name = query.user_name.as_deref().unwrap_or("");
            let shown = area.pattern.shown();
            notes.push(format!(
                "`/` names {name} (#{}), but {shown} replaces it",
                rule.name
            ));
        }
    }

    /// Says where an app could read the path in another way, which lies elsewhere.
    fn note_readings(&self, query: &Query, notes: &mut Vec<String>) {
        let Target::Http { host, path, .. } = &query.target else {
            return;
        };
        let rules = self.app_for(host).and_then(|app| self.app_rules(app));
        if rules.is_some_and(|rules| self.reads_apart(rules.tree, path)) {
            notes.push(format!(
                "the app could read it as {} or as {}, which lie in different areas",
                path.forward(),
                path.as_str()
            ));
        }
    }

    pub(crate) fn place_of(&self, span: crate::source::Span) -> Option<String> {
        let (path, line) = self.places.line(span)?;
        Some(format!("{path}:{line}"))
    }
}

fn area_id(app: &str, area: &ir::Area) -> String {
    match area.pattern.text.as_str() {
        "" => format!("{app}/"),
        text => format!("{app}{text}"),
    }
}

pub(crate) fn place(rule: &RuleInfo) -> Option<String> {
    (rule.line > 0).then(|| format!("{}:{}", rule.file, rule.line))
}
