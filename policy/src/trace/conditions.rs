//! The conditions of a rule: which fail, and which hold.

use super::Reached;
use crate::compile::{Allow, Policy};
use crate::ir::{self, Device, Mfa, Who};
use crate::lane::Proof;
use crate::query::Query;
use crate::resolve::values::show_duration;

/// The conditions that a rule states and that hold, by name; what cannot be told of a stranger is left out.
pub(super) fn holding(query: &Query, rule: &ir::Allow, misses: &[String]) -> Vec<&'static str> {
    let known = query.bits.is_some() && !rule.who.anyone;
    let stated = [
        ("methods", rule.methods.is_some()),
        ("from", rule.from.is_some()),
        ("when", rule.when.is_some()),
        ("device", rule.device > Device::Any),
        ("who", known),
        ("login", known),
        ("mfa", known && rule.mfa != Mfa::None),
    ];
    let failed = |name: &str| {
        let mut misses = misses.iter().filter_map(|miss| miss.split_once(':'));
        misses.any(|(miss, _)| miss == name)
    };
    let stated = stated.into_iter().filter(|(_, stated)| *stated);
    let names = stated.map(|(name, _)| name);
    names.filter(|name| !failed(name)).collect()
}

impl Policy {
    /// Each condition of a rule that does not hold.
    pub(super) fn misses(
        &self,
        query: &Query,
        rule: &ir::Allow,
        compiled: &Allow,
        reached: &Reached<'_>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        if let (Some(methods), Some(bit)) = (&rule.methods, reached.method)
            && compiled.methods & bit == 0
        {
            out.push(format!("methods: only {}", methods.join(", ")));
        } else if reached.method == Some(0) {
            out.push("methods: an unusual method must be named".to_owned());
        }
        out.extend(self.place_miss(query, rule.from.as_deref()));
        if let Some(when) = rule.when.as_ref()
            && !self.times.any(compiled.when, query.time)
        {
            let unknown = query.time.unix().is_none();
            let now = if unknown {
                "the time is not known"
            } else {
                "outside"
            };
            out.push(format!("when: {now}, only {}", self.schedule_list(when)));
        }
        if rule.shadow {
            out.push("shadow: not in force".to_owned());
        }
        if query.device < rule.device {
            let has = query.device.as_str();
            out.push(format!("device: {has}, needs {}", rule.device.as_str()));
        }
        if rule.who.anyone {
            return out;
        }
        if query.bits.is_none() {
            out.push(stranger(query));
            return out;
        }
        if !rule.who.holds(query.user, &query.groups) {
            out.push(self.who_miss(query, &rule.who));
        }
        if query.login_age > rule.login && query.by != Proof::Token {
            out.push(format!(
                "login: {} ago, at most {}",
                show_duration(query.login_age),
                show_duration(rule.login)
            ));
        }
        if !rule.mfa.accepts(query.mfa_age) {
            out.push(mfa_miss(rule.mfa, query.mfa_age));
        }
        out
    }
}

impl Policy {
    /// Each condition of a guard that does not hold, with `lane` saying why the place takes nobody
    /// for who they are. A time that is not known lifts no guard.
    pub(super) fn guard_misses(
        &self,
        query: &Query,
        guard: &ir::Guard,
        lane: Option<&String>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        match &guard.who {
            Some(_) if query.bits.is_none() => out.push(stranger(query)),
            Some(_) if lane.is_some() => out.extend(lane.cloned()),
            Some(who) if !who.holds(query.user, &query.groups) => {
                out.push(self.who_miss(query, who));
            }
            Some(_) | None => {}
        }
        out.extend(self.place_miss(query, guard.from.as_deref()));
        if let Some(class) = guard.device_not.filter(|class| query.device >= *class) {
            let (has, class) = (query.device.as_str(), class.as_str());
            out.push(match has == class {
                true => format!("device-not: {has}"),
                false => format!("device-not: {has}, which is {class} too"),
            });
        }
        let Some(unix) = query.time.unix() else {
            return out;
        };
        let holds = |list: &[u32]| list.iter().any(|&ix| self.times.holds(ix, unix));
        if let Some(when) = guard.when.as_ref().filter(|list| !holds(list)) {
            out.push(format!("when: outside, only {}", self.schedule_list(when)));
        }
        if let Some(when) = guard.unless_when.as_ref().filter(|list| holds(list)) {
            out.push(format!("unless-when: in {}", self.schedule_list(when)));
        }
        out
    }

    fn place_miss(&self, query: &Query, from: Option<&[u32]>) -> Option<String> {
        let from = from.filter(|from| !self.is_from(query, from))?;
        let here = self.zone_names(query.zone).join(", ");
        Some(format!("from: {here}, not {}", self.zone_list(from)))
    }

    fn who_miss(&self, query: &Query, who: &Who) -> String {
        let name = query.user_name.as_deref().unwrap_or("");
        format!("who: {name} is not in {}", self.who_list(who))
    }
}

/// Why nobody is known to ask.
fn stranger(query: &Query) -> String {
    match &query.user_name {
        Some(name) => format!("who: {name} is disabled"),
        None => "who: not signed in".to_owned(),
    }
}

fn mfa_miss(mfa: Mfa, age: Option<u32>) -> String {
    let has = match age {
        Some(age) => format!("code {} ago", show_duration(age)),
        None => "no code in this session".to_owned(),
    };
    match mfa {
        Mfa::Age(max) => format!("mfa: {has}, at most {}", show_duration(max)),
        Mfa::Session | Mfa::None => format!("mfa: {has}"),
    }
}
