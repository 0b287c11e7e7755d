//! What in a rule changed, where one rule's change explains a change of access.

use super::Side;
use super::diff::rules;
use crate::compile::{Policy, RuleIx};
use crate::ir::Allow;
use crate::print;
use crate::resolve::tenants::cut_area;

/// What a rule says, by key, in the words of the files; written so that it compares with another policy's.
type Stated = Vec<(&'static str, String)>;

/// Says what changed in the rule that decides in `after`, else in the one that decided in `before`: "`from` removed",
/// or that it is new or gone. `None` where neither says anything else than before: then groups, zones, schedules, the
/// area or another rule explain it.
pub(super) fn what(
    [before, after]: [&Side<'_>; 2],
    old: RuleIx,
    new: RuleIx,
) -> Option<(RuleOf, String)> {
    let id = |side: &Side<'_>, rule: RuleIx| side.policy.rule(rule).id.to_string();
    let is = id(after, new);
    let said = stated(after, &is).and_then(|stated| match self::stated(before, &is) {
        Some(earlier) => told(&earlier, &stated),
        None => (!stands(before.policy, &is)).then(|| "new".to_owned()),
    });
    if let Some(text) = said {
        return Some((RuleOf::After, text));
    }
    let was = id(before, old);
    let earlier = stated(before, &was)?;
    let text = match stated(after, &was) {
        Some(later) => told(&earlier, &later),
        None => (!stands(after.policy, &was)).then(|| "removed".to_owned()),
    };
    Some((RuleOf::Before, text?))
}

/// Whether a policy has a rule or guard of an id anywhere: one that only lies in another area is not gone.
fn stands(policy: &Policy, id: &str) -> bool {
    let ir = &policy.ir;
    let Some((place, name)) = id.rsplit_once('#') else {
        return ir.guards.iter().any(|guard| guard.id == id);
    };
    let holds = |allows: &[Allow]| allows.iter().any(|allow| *allow.name == *name);
    if place == "admin" {
        return holds(&ir.admin);
    }
    let (app, area) = cut_area(place);
    let found = ir.apps.binary_search_by(|known| known.id.as_str().cmp(app));
    if let Some(app) = found.ok().and_then(|at| ir.apps.get(at)) {
        let mut areas = app.areas.iter();
        return areas.any(|own| *own.pattern.text == *area && holds(&own.allows));
    }
    let mut nets = ir.nets.iter();
    nets.any(|net| net.id == place && holds(&net.allows))
}

/// In which policy the rule stands whose change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RuleOf {
    Before,
    After,
}

fn told(was: &Stated, is: &Stated) -> Option<String> {
    let find = |list: &Stated, key: &str| {
        let found = list.iter().find(|(own, _)| *own == key);
        found.map(|(_, value)| value.clone())
    };
    let mut parts = Vec::new();
    for (key, value) in was {
        match find(is, key) {
            None => parts.push(format!("`{key}` removed")),
            Some(other) if other != *value => parts.push(format!("`{key}` changed")),
            Some(_) => {}
        }
    }
    let added = is.iter().filter(|(key, _)| find(was, key).is_none());
    parts.extend(added.map(|(key, _)| format!("`{key}` added")));
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What the rule or guard of an id says in a place; `None` where it does not stand.
fn stated(side: &Side<'_>, id: &str) -> Option<Stated> {
    let policy: &Policy = side.policy;
    if let Some(guard) = policy.ir.guards.iter().find(|guard| guard.id == id) {
        return Some(print::guard_keys(&policy.ir, guard));
    }
    let all = rules(side)?.iter().zip(side.allows());
    let mut found = all.filter(|(_, compiled)| *policy.rule(compiled.rule).id == *id);
    let (rule, _) = found.next()?;
    Some(print::allow_keys(&policy.ir, rule))
}
