//! The decision: guards, then the most specific area, then the union of its rules. Never allocates.

use std::net::IpAddr;

use serde::Serialize;

use crate::canon::{self, CanonHost, CanonPath};
use crate::compile::{
    Allow, AppIx, AppRules, BAD_REQUEST, DEFAULT, NO_OBLIGATIONS, NO_SUCH_APP, NO_SUCH_SERVICE,
    ObligationIx, Policy, RuleIx, SubjectBits, ZoneClass,
};
use crate::ir::{Device, Proto};

/// What happens to a request. Greater is better for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Refused; neither signing in nor a fresh code would help.
    Deny,
    /// Signing in could help.
    Login,
    /// A fresh code would help.
    StepUp,
    /// Let through, with obligations.
    Allow,
}

impl Outcome {
    /// The word of the policy language, the journal and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Login => "login",
            Self::StepUp => "step-up",
            Self::Allow => "allow",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who asks, with what proof.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// From [`Policy::subject`] of the same policy; `None` when nobody is signed in.
    pub bits: Option<&'a SubjectBits>,
    /// Seconds since the last code of this session; `None` when there was none.
    pub mfa_age: Option<u32>,
    /// Seconds since the sign-in; not read when nobody is signed in.
    pub login_age: u32,
    /// How well the device is known.
    pub device: Device,
}

/// Where the request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// From [`Policy::zone`] of the same policy.
    pub zone: ZoneClass,
}

/// The answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens.
    pub outcome: Outcome,
    /// The rule that decided, or that would allow after signing in or a fresh code.
    pub rule: RuleIx,
    /// Obligations of that rule.
    pub obligations: ObligationIx,
    /// For an allow that depends on the age of code or sign-in: seconds until it no longer stands, at least 1.
    pub expires_in: Option<u32>,
}

impl Decision {
    pub(crate) const fn deny(rule: RuleIx) -> Self {
        Self {
            outcome: Outcome::Deny,
            rule,
            obligations: NO_OBLIGATIONS,
            expires_in: None,
        }
    }
}

impl Policy {
    /// Decides one HTTP request by its canonical host and path. HEAD follows GET.
    pub fn decide_http(
        &self,
        subject: &Subject<'_>,
        host: &CanonHost,
        path: &CanonPath<'_>,
        method: &str,
        context: &Context,
    ) -> Decision {
        if canon::method(method).is_err() {
            return Decision::deny(BAD_REQUEST);
        }
        let Some(rules) = self.app_for(host).and_then(|ix| self.app_rules(ix)) else {
            return Decision::deny(NO_SUCH_APP);
        };
        let area = rules.trie.find(path.as_str());
        let allows = area.and_then(|area| rules.areas.get(area as usize));
        let allows = allows.map_or(&[][..], |area| &area.allows);
        self.evaluate(
            subject,
            context,
            &rules.guards,
            allows,
            self.methods.bit(method),
        )
    }

    /// Decides one flow from a tunnel device. The port of ICMP is not read.
    pub fn decide_flow(
        &self,
        subject: &Subject<'_>,
        dst: IpAddr,
        port: u16,
        proto: Proto,
        context: &Context,
    ) -> Decision {
        let net = self.net_table.find(dst, port, proto);
        let Some(rules) = net.and_then(|ix| self.nets.get(ix as usize)) else {
            return Decision::deny(NO_SUCH_SERVICE);
        };
        self.evaluate(subject, context, &rules.guards, &rules.allows, u64::MAX)
    }

    /// Decides access to the gateway's own console.
    pub fn decide_admin(&self, subject: &Subject<'_>, context: &Context) -> Decision {
        let rules = &self.admin;
        self.evaluate(subject, context, &rules.guards, &rules.allows, u64::MAX)
    }

    /// The best outcome of a GET over the areas of an app, for a list of apps. Rules for anyone count only in the
    /// root area, so that a public health probe does not put an app on everybody's list.
    pub fn opens(&self, subject: &Subject<'_>, app: AppIx, context: &Context) -> Outcome {
        let Some(rules) = self.app_rules(app) else {
            return Outcome::Deny;
        };
        if self.foreign(subject, context)
            || self.guard_hit(subject, context, &rules.guards).is_some()
        {
            return Outcome::Deny;
        }
        let get = self.methods.bit("GET");
        let mut best = Outcome::Deny;
        for (at, area) in rules.areas.iter().enumerate() {
            let counted = area.allows.iter().filter(|allow| at == 0 || !allow.anyone);
            for allow in counted {
                best = best.max(self.weigh(subject, context, &rules.guards, allow, get));
            }
        }
        best
    }

    pub(crate) fn app_rules(&self, app: AppIx) -> Option<&AppRules> {
        self.app_rules.get(app.0 as usize)
    }

    pub(crate) fn evaluate(
        &self,
        subject: &Subject<'_>,
        context: &Context,
        guards: &[u32],
        allows: &[Allow],
        method: u64,
    ) -> Decision {
        if self.foreign(subject, context) {
            return Decision::deny(DEFAULT);
        }
        if let Some(rule) = self.guard_hit(subject, context, guards) {
            return Decision::deny(rule);
        }
        let mut best = Decision::deny(DEFAULT);
        for allow in allows {
            let outcome = self.weigh(subject, context, guards, allow, method);
            if outcome > best.outcome {
                best = Decision {
                    outcome,
                    rule: allow.rule,
                    obligations: allow.obligations,
                    expires_in: None,
                };
                if outcome == Outcome::Allow {
                    best.expires_in = expires_in(subject, allow);
                    break;
                }
            }
        }
        best
    }

    /// Whether bits or class were made by other files.
    fn foreign(&self, subject: &Subject<'_>, context: &Context) -> bool {
        !self.zones.knows(context.zone) || subject.bits.is_some_and(|bits| !self.atoms.made(bits))
    }

    /// The first guard, in the order of names, that holds.
    fn guard_hit(
        &self,
        subject: &Subject<'_>,
        context: &Context,
        guards: &[u32],
    ) -> Option<RuleIx> {
        let mut bound = guards.iter().filter_map(|&ix| self.guards.get(ix as usize));
        let hit = bound.find(|guard| {
            let named = guard
                .atom
                .is_none_or(|atom| subject.bits.is_some_and(|bits| bits.holds(atom)));
            named && self.guard_applies(guard, subject.device, context)
        });
        hit.map(|guard| guard.rule)
    }

    /// Whether a guard's facts of the request hold, whoever asks.
    pub(crate) fn guard_applies(
        &self,
        guard: &crate::compile::Guard,
        device: Device,
        context: &Context,
    ) -> bool {
        self.from.holds(guard.from, context.zone)
            && guard.device_not.is_none_or(|class| device < class)
    }

    /// What one rule offers. Facts of the request come first, then who, then the proofs.
    pub(crate) fn weigh(
        &self,
        subject: &Subject<'_>,
        context: &Context,
        guards: &[u32],
        allow: &Allow,
        method: u64,
    ) -> Outcome {
        let facts = allow.methods & method != 0
            && self.from.holds(allow.from, context.zone)
            && subject.device >= allow.device;
        if !facts {
            return Outcome::Deny;
        }
        if allow.anyone {
            return Outcome::Allow;
        }
        let Some(bits) = subject.bits else {
            return if self.somebody_could(allow.atom, guards, subject.device, context) {
                Outcome::Login
            } else {
                Outcome::Deny
            };
        };
        if !bits.holds(allow.atom) {
            Outcome::Deny
        } else if subject.login_age > allow.login {
            Outcome::Login
        } else if !allow.mfa.accepts(subject.mfa_age) {
            Outcome::StepUp
        } else {
            Outcome::Allow
        }
    }

    /// Whether some enabled person is in the set and under no guard that holds here.
    fn somebody_could(&self, atom: u32, guards: &[u32], device: Device, context: &Context) -> bool {
        let stops = |ix: &u32| {
            guards.contains(ix)
                && self
                    .guards
                    .get(*ix as usize)
                    .is_none_or(|guard| self.guard_applies(guard, device, context))
        };
        let mut kinds = self.atoms.witnesses(atom).iter();
        kinds.any(|named| !named.iter().any(stops))
    }
}

fn expires_in(subject: &Subject<'_>, allow: &Allow) -> Option<u32> {
    if allow.anyone {
        return None;
    }
    let login = allow.login.saturating_sub(subject.login_age);
    let left = match (allow.mfa, subject.mfa_age) {
        (crate::ir::Mfa::Age(max), Some(age)) => login.min(max.saturating_sub(age)),
        _ => login,
    };
    Some(left.saturating_add(1))
}
