//! What explains a change of access: one rule's change, or that of a zone, schedule or group it names.

use std::collections::BTreeSet;

use super::Side;
use super::diff::rules;
use super::moved::{Moved, Refers, Row};
use crate::compile::{Policy, RuleIx};
use crate::ir::Allow;
use crate::print;
use crate::resolve::tenants::cut_area;

/// What a rule says, by key, in the words of the files; written so that it compares with another policy's.
type Stated = Vec<(&'static str, String)>;

/// Says what changed in the rule that decides in `after`, else in the one that decided in `before`: "`from` removed",
/// or that it is new or gone. `None` where neither says anything else than before.
fn what([before, after]: [&Side<'_>; 2], old: RuleIx, new: RuleIx) -> Option<(RuleOf, String)> {
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

/// Why two decisions of a place differ, for all people it does not tell apart.
#[derive(Debug)]
pub(super) struct Cause {
    /// The file and line of the responsible rule.
    rule: (String, u32),
    /// What changed in it.
    told: Option<String>,
    /// Zones and schedules the rules refer to that changed.
    rows: Vec<Row>,
    /// Groups they refer to which somebody joined or left.
    groups: BTreeSet<String>,
}

/// What a change says of why it is: file, line, and what changed.
pub(super) type Why = (String, u32, Option<String>);

impl Cause {
    pub(super) fn new(moved: &Moved, sides: [&Side<'_>; 2], old: RuleIx, new: RuleIx) -> Self {
        let [before, after] = sides.map(|side| side.policy);
        let said = what(sides, old, new);
        let rule = match (after.rule(new).line, &said) {
            (0, _) | (_, Some((RuleOf::Before, _))) => before.rule(old),
            _ => after.rule(new),
        };
        let mut out = Self {
            rule: (rule.file.to_string(), rule.line),
            told: said.map(|(_, text)| text),
            rows: Vec::new(),
            groups: BTreeSet::new(),
        };
        let whole = ["new", "removed"];
        if out
            .told
            .as_deref()
            .is_some_and(|told| whole.contains(&told))
        {
            return out;
        }
        for (side, rule) in sides.into_iter().zip([old, new]) {
            let id = &side.policy.rule(rule).id;
            if let Some(refers) = refers(side, id) {
                moved.places(&side.policy.ir, &refers, &mut out.rows);
                moved.groups(&side.policy.ir, &refers, &mut out.groups);
            }
        }
        out
    }

    /// Why it is for one of the people: where the rules say what they said, the line is that of the first definition
    /// that changed.
    pub(super) fn of(&self, moved: &Moved, user: &str) -> Why {
        let mut rows = match moved.concerns(user) {
            true => moved.person(user, &self.groups),
            false => Vec::new(),
        };
        rows.extend(self.rows.iter().cloned());
        let placed = rows.iter().find(|row| row.line > 0);
        let (file, line) = match (&self.told, placed) {
            (None, Some(row)) => (row.file.clone(), row.line),
            _ => self.rule.clone(),
        };
        let rows = rows.into_iter().map(|row| row.text);
        let parts: Vec<String> = self.told.iter().cloned().chain(rows).collect();
        (file, line, (!parts.is_empty()).then(|| parts.join(", ")))
    }
}

/// What the rule or guard of an id refers to in a place; `None` where it does not stand.
fn refers<'p>(side: &Side<'p>, id: &str) -> Option<Refers<'p>> {
    let policy: &'p Policy = side.policy;
    if let Some(guard) = policy.ir.guards.iter().find(|guard| guard.id == *id) {
        let when = [&guard.when, &guard.unless_when].into_iter().flatten();
        return Some(Refers {
            who: guard.who.as_ref(),
            from: guard.from.as_deref().unwrap_or_default(),
            when: when.flatten().copied().collect(),
        });
    }
    let all = rules(side)?.iter().zip(side.allows());
    let mut found = all.filter(|(_, compiled)| *policy.rule(compiled.rule).id == *id);
    let (rule, _) = found.next()?;
    Some(Refers {
        who: Some(&rule.who),
        from: rule.from.as_deref().unwrap_or_default(),
        when: rule.when.as_deref().unwrap_or_default().to_vec(),
    })
}

/// In which policy the rule stands whose change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RuleOf {
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
