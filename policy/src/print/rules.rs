//! Rules and guards, key by key.

use super::words::{list, pair, push, quote};
use super::{Printer, split_id};
use crate::ir::{self, Allow, Ir, Mfa};
use crate::resolve::values::show_duration;

/// A key with its value as its file would have it.
type Key = (&'static str, String);

/// What a guard says that decides; names are those of the root.
pub(crate) fn guard_keys(ir: &Ir, guard: &ir::Guard) -> Vec<Key> {
    let mut keys = Printer { ir, tenant: None }.guard_keys(guard);
    keys.retain(|(key, _)| *key != "reason");
    keys
}

/// What a rule says that decides; names are those of the root. What is as if it were not written is left out.
pub(crate) fn allow_keys(ir: &Ir, allow: &Allow) -> Vec<Key> {
    let mut keys = Printer { ir, tenant: None }.allow_keys(allow);
    let duties = ["idle", "sessions", "rate", "headers"];
    keys.retain(|(key, value)| {
        !duties.contains(key) && (*key, value.as_str()) != ("device", "\"any\"")
    });
    keys
}

impl Printer<'_> {
    pub(super) fn guard(&self, out: &mut String, guard: &ir::Guard) {
        let id = split_id(&guard.id);
        let name = id.strip_prefix("deny.").unwrap_or(id);
        push(out, &format!("\n[deny.{}]", quote(name)));
        for (key, value) in self.guard_keys(guard) {
            pair(out, key, &value);
        }
    }

    fn guard_keys(&self, guard: &ir::Guard) -> Vec<Key> {
        let mut out = Vec::new();
        if let Some(who) = &guard.who {
            out.push(("who", self.who(who)));
        }
        if let Some(from) = &guard.from {
            out.push(("from", self.zones(from)));
        }
        if let Some(class) = guard.device_not {
            out.push(("device-not", quote(class.as_str())));
        }
        for (key, when) in [("when", &guard.when), ("unless-when", &guard.unless_when)] {
            if let Some(when) = when {
                out.push((key, self.schedules(when)));
            }
        }
        if let Some(on) = &guard.on {
            let ids: Vec<String> = on
                .iter()
                .filter_map(|resource| self.resource(*resource))
                .collect();
            let ids: Vec<&str> = match self.tenant {
                Some(_) => ids.iter().map(|id| split_id(id)).collect(),
                None => ids.iter().map(String::as_str).collect(),
            };
            out.push(("on", list(&ids)));
        }
        let shadow = if guard.shadow { "true" } else { "false" };
        out.push(("shadow", shadow.to_owned()));
        out.push(("reason", quote(&guard.reason)));
        out
    }

    pub(super) fn allows(&self, out: &mut String, allows: &[Allow]) {
        for allow in allows {
            let keys = self.allow_keys(allow).into_iter();
            let parts: Vec<String> = keys
                .map(|(key, value)| format!("{key} = {value}"))
                .collect();
            let line = format!("allow.{} = {{ {} }}", quote(&allow.name), parts.join(", "));
            push(out, &line);
        }
    }

    fn allow_keys(&self, allow: &Allow) -> Vec<Key> {
        let mut out = vec![("who", self.who(&allow.who))];
        if let Some(from) = &allow.from {
            out.push(("from", self.zones(from)));
        }
        if let Some(when) = &allow.when {
            out.push(("when", self.schedules(when)));
        }
        out.push(("device", quote(allow.device.as_str())));
        if !allow.who.anyone {
            out.push(("mfa", quote(&mfa(allow.mfa))));
            out.push(("login", quote(&show_duration(allow.login))));
            let idle = allow.idle.map(|secs| quote(&show_duration(secs.get())));
            out.extend(idle.map(|idle| ("idle", idle)));
            out.extend(allow.sessions.map(|most| ("sessions", most.to_string())));
        }
        if let Some(methods) = &allow.methods {
            out.push(("methods", list(methods)));
        }
        if let Some(rate) = self.rate(allow.rate) {
            out.push(("rate", quote(&self.refer(rate))));
        }
        if let Some(set) = self.header_set(allow.headers) {
            out.push(("headers", quote(&self.refer(set))));
        }
        if allow.shadow {
            out.push(("shadow", "true".to_owned()));
        }
        out
    }
}

pub(super) fn mfa(mfa: Mfa) -> String {
    match mfa {
        Mfa::None => "none".to_owned(),
        Mfa::Session => "session".to_owned(),
        Mfa::Age(secs) => show_duration(secs),
    }
}
