//! What would make an answer an allow: one field changed at a time.

use super::SOME_MONDAY;
use crate::compile::Policy;
use crate::decide::Outcome;
use crate::ir::Device;
use crate::lane::Proof;
use crate::query::{Query, Target};

impl Policy {
    /// Changes one field at a time over all it can be, and keeps what would be an allow.
    pub(super) fn would_allow(&self, query: &Query) -> Vec<String> {
        let allowed = |query: &Query| self.decide(query).outcome == Outcome::Allow;
        let mut out = Vec::new();
        if query.bits.is_some() {
            for (group, ix) in self.ir.groups.iter().zip(0u32..) {
                if query.groups.contains(&ix) {
                    continue;
                }
                let mut other = query.clone();
                other.groups.extend(&group.within);
                other.groups.sort_unstable();
                other.groups.dedup();
                other.bits = Some(self.subject_with(other.user, &other.groups));
                if allowed(&other) {
                    out.push(format!("being in @{}", group.name));
                }
            }
        }
        for class in self.zones.all().filter(|&class| class != query.zone) {
            let other = Query {
                zone: class,
                source: None,
                ..query.clone()
            };
            if allowed(&other) {
                out.push(format!("from {}", self.zone_names(class).join(" and ")));
            }
        }
        for (schedule, ix) in self.ir.schedules.iter().zip(0u32..) {
            let held = self
                .times
                .next_held(ix, query.time.unix().unwrap_or(SOME_MONDAY));
            let other = Query {
                time: held.map_or(query.time, |unix| self.tick(unix)),
                ..query.clone()
            };
            if other.time != query.time && allowed(&other) {
                out.push(format!("in {}", schedule.name));
            }
        }
        out.extend(self.other_methods(query, allowed));
        for device in [Device::Known, Device::Managed] {
            let other = Query {
                device,
                ..query.clone()
            };
            if device > query.device && allowed(&other) {
                out.push(format!("device {}", device.as_str()));
            }
        }
        let signed_in = Query {
            by: Proof::SignIn,
            ..query.clone()
        };
        if query.by != Proof::SignIn && query.bits.is_some() && allowed(&signed_in) {
            out.push("a sign-in in the browser".to_owned());
        }
        let fresh_code = Query {
            mfa_age: Some(0),
            ..query.clone()
        };
        let fresh_login = Query {
            login_age: 0,
            mfa_age: Some(0),
            ..query.clone()
        };
        if query.bits.is_some() && allowed(&fresh_code) {
            out.push("a fresh code".to_owned());
        } else if query.bits.is_some() && allowed(&fresh_login) {
            out.push("a fresh sign-in".to_owned());
        } else if self.decide(query).outcome == Outcome::Login {
            out.push("signing in as somebody the rule names".to_owned());
        }
        out
    }

    /// The methods by which it would be an allow, as one change.
    fn other_methods(&self, query: &Query, allowed: impl Fn(&Query) -> bool) -> Option<String> {
        let (Target::Http { method, .. } | Target::Admin { method }) = &query.target else {
            return None;
        };
        let with = |name: &str| {
            let mut other = query.clone();
            if let Target::Http { method, .. } | Target::Admin { method } = &mut other.target {
                name.clone_into(method);
            }
            other
        };
        let names = self.methods.names().filter(|name| name != method);
        let names: Vec<&str> = names.filter(|name| allowed(&with(name))).collect();
        (!names.is_empty()).then(|| format!("method {}", names.join(" or ")))
    }
}
