//! The decision: guards, then the most specific area, then the union of its rules. Never allocates.

mod outcome;
mod readings;

use std::net::IpAddr;

use crate::canon::{self, CanonHost, CanonPath};
use crate::compile::{
    Allow, AppIx, AppRules, BAD_REQUEST, DEFAULT, Guard, Held, Methods, NO_OBLIGATIONS,
    NO_SUCH_APP, NO_SUCH_SERVICE, NetRules, ObligationIx, Policy, RuleIx, SubjectBits, TimeClass,
    Tree, ZoneClass,
};
use crate::ir::{Device, Proto};
pub use outcome::Outcome;

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

/// Where the request comes from, and when.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// From [`Policy::zone`] of the same policy.
    pub zone: ZoneClass,
    /// From [`Policy::tick`]; the default stands for a time that is not known, which opens no scheduled rule.
    pub time: TimeClass,
}

impl Context {
    /// Makes a context.
    pub fn new(zone: ZoneClass, time: TimeClass) -> Self {
        Self { zone, time }
    }
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
    /// What would be decided if the rules in shadow were in force, where that is not the same.
    pub shadow: Option<(Outcome, RuleIx)>,
    /// For an allow that depends on the age of code or sign-in, or on a schedule: seconds after which it must be
    /// decided again, at least 1. Until then it stands.
    pub expires_in: Option<u32>,
}

impl Decision {
    pub(crate) const fn deny(rule: RuleIx) -> Self {
        Self {
            outcome: Outcome::Deny,
            rule,
            obligations: NO_OBLIGATIONS,
            shadow: None,
            expires_in: None,
        }
    }

    /// Adds what would be decided where what is in shadow applies: by its own shadow, if it has one.
    fn or_would(self, would: Option<Self>) -> Self {
        let Some(would) = would else { return self };
        let would = would.shadow.unwrap_or((would.outcome, would.rule));
        Self {
            shadow: (would != (self.outcome, self.rule)).then_some(would),
            ..self
        }
    }
}

/// One question to the rules of one place.
pub(crate) struct Ask<'a> {
    pub(crate) subject: &'a Subject<'a>,
    pub(crate) context: &'a Context,
    pub(crate) guards: &'a [u32],
    pub(crate) method: u64,
    /// Whether rules in shadow count.
    pub(crate) shadow: bool,
    /// Whether bits or class were made by other files.
    pub(crate) foreign: bool,
}

/// One request within an app.
#[derive(Clone, Copy)]
struct Request<'a> {
    subject: &'a Subject<'a>,
    path: &'a CanonPath<'a>,
    method: u64,
    context: &'a Context,
    foreign: bool,
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
        // asked first, so that what is known of the person is on its way from memory
        let foreign = self.foreign(subject, context);
        let Some(method) = self.method_bit(method) else {
            return Decision::deny(BAD_REQUEST);
        };
        let request = Request {
            subject,
            path,
            method,
            context,
            foreign,
        };
        if self.shadow_hosts.is_some() {
            return self.decide_beside_shadow(&request, host);
        }
        match self.app_for(host).and_then(|ix| self.app_rules(ix)) {
            Some(rules) => self.decide_in(rules, &request),
            None => Decision::deny(NO_SUCH_APP),
        }
    }

    /// Where apps are in shadow: what is decided, and what would be if they were in force.
    #[cold]
    fn decide_beside_shadow(&self, request: &Request<'_>, host: &CanonHost) -> Decision {
        let decide = |app: Option<AppIx>| {
            let rules = app.and_then(|ix| self.app_rules(ix))?;
            Some(self.decide_in(rules, request))
        };
        let decision = decide(self.app_for(host)).unwrap_or(Decision::deny(NO_SUCH_APP));
        decision.or_would(decide(self.shadow_app_for(host)))
    }

    /// The bit of a method, none set for one that no rule names; `None` for what can be no method here.
    #[inline]
    fn method_bit(&self, method: &str) -> Option<u64> {
        let ordinary = Methods::ordinary(method);
        if ordinary.is_none() && canon::method(method).is_err() {
            return None;
        }
        Some(ordinary.unwrap_or_else(|| self.methods.bit(method)))
    }

    /// Decides a request within one app.
    #[inline]
    fn decide_in(&self, rules: &AppRules, request: &Request<'_>) -> Decision {
        let Request { path, .. } = *request;
        if rules.windows && !canon::plain_for_windows(path.as_str()) {
            return Decision::deny(BAD_REQUEST);
        }
        let ask = Ask {
            subject: request.subject,
            context: request.context,
            guards: &rules.guards,
            method: request.method,
            shadow: false,
            foreign: request.foreign,
        };
        if path.other_reading().is_some() {
            return self.decide_two_readings(rules, &ask, path);
        }
        let enforced = self.allows_at(rules, rules.tree, path);
        if !rules.shadowed {
            return self.evaluate(&ask, enforced);
        }
        let decision = self.evaluate(&ask, enforced);
        let would = rules.shadow_tree;
        let would = would.map_or(enforced, |tree| self.allows_at(rules, tree, path));
        self.with_shadow(decision, &ask, would)
    }

    /// The rules of the most specific area of a path; none where no area has it.
    #[inline]
    fn allows_at(&self, rules: &AppRules, tree: Tree, path: &CanonPath<'_>) -> &[Allow] {
        let area = self.trees.find(tree, path);
        let area = area.and_then(|area| self.areas(rules).get(area as usize));
        area.map_or(&[][..], |area| self.allows(area))
    }

    /// Adds what the rules in shadow would change.
    fn with_shadow(&self, decision: Decision, ask: &Ask<'_>, allows: &[Allow]) -> Decision {
        let would = self.evaluate(
            &Ask {
                shadow: true,
                ..*ask
            },
            allows,
        );
        decision.or_would(Some(would))
    }

    /// Decides where there are no paths; where there are no methods either, `method` has every bit.
    fn decide_plain(
        &self,
        subject: &Subject<'_>,
        context: &Context,
        rules: &NetRules,
        method: u64,
    ) -> Decision {
        let ask = Ask {
            subject,
            context,
            guards: &rules.guards,
            method,
            shadow: false,
            foreign: self.foreign(subject, context),
        };
        let decision = self.evaluate(&ask, &rules.allows);
        if rules.shadowed {
            return self.with_shadow(decision, &ask, &rules.allows);
        }
        decision
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
        let decide = |ix: u32| {
            let rules = self.nets.get(ix as usize)?;
            Some(self.decide_plain(subject, context, rules, u64::MAX))
        };
        let decision = net
            .and_then(decide)
            .unwrap_or(Decision::deny(NO_SUCH_SERVICE));
        let would = self
            .shadow_net_table
            .as_ref()
            .and_then(|table| table.find(dst, port, proto));
        decision.or_would(would.filter(|_| would != net).and_then(decide))
    }

    /// Decides access to the gateway's own console. Looking is GET and HEAD, acting is POST.
    pub fn decide_admin(&self, subject: &Subject<'_>, method: &str, context: &Context) -> Decision {
        self.method_bit(method)
            .map_or(Decision::deny(BAD_REQUEST), |method| {
                self.decide_plain(subject, context, &self.admin, method)
            })
    }

    /// The best outcome of a GET over the areas of an app, for a list of apps. Rules for anyone count only in the
    /// root area, so that a public health probe does not put an app on everybody's list.
    pub fn opens(&self, subject: &Subject<'_>, app: AppIx, context: &Context) -> Outcome {
        let Some(rules) = self.app_rules(app).filter(|rules| !rules.shadow) else {
            return Outcome::Deny;
        };
        let ask = Ask {
            subject,
            context,
            guards: &rules.guards,
            method: self.methods.bit("GET"),
            shadow: false,
            foreign: self.foreign(subject, context),
        };
        if ask.foreign || self.guard_hit(&ask).is_some() {
            return Outcome::Deny;
        }
        let mut best = Outcome::Deny;
        for (at, area) in self.areas(rules).iter().enumerate() {
            let allows = self.allows(area).iter();
            let counted = allows.filter(|allow| at == 0 || !allow.anyone);
            for allow in counted.filter(|allow| !allow.shadow && !area.shadow) {
                best = best.max(self.weigh(&ask, allow));
            }
        }
        best
    }

    pub(crate) fn evaluate(&self, ask: &Ask<'_>, allows: &[Allow]) -> Decision {
        if ask.foreign {
            return Decision::deny(DEFAULT);
        }
        if let Some(rule) = self.guard_hit(ask) {
            return Decision::deny(rule);
        }
        // the sets a person is in are told apart once, not for every rule
        let best = match ask.subject.bits.map(SubjectBits::held) {
            None => self.best(ask, allows, |_| true),
            Some(Held::Few(few)) => self.best(ask, allows, |atom| Held::among(few, atom)),
            Some(Held::Bits(words)) => self.best(ask, allows, |atom| Held::bit(words, atom)),
            Some(Held::Many(words)) => self.best(ask, allows, |atom| Held::bit(words, atom)),
        };
        let (outcome, Some(allow)) = best else {
            return Decision::deny(DEFAULT);
        };
        let stands = outcome == Outcome::Allow;
        Decision {
            outcome,
            rule: allow.rule,
            obligations: allow.obligations,
            shadow: None,
            expires_in: stands.then(|| self.expires_in(ask, allow)).flatten(),
        }
    }

    /// The first of the rules that offer most, of those for whom `named` says that they are.
    #[inline(always)]
    fn best<'a>(
        &self,
        ask: &Ask<'_>,
        allows: &'a [Allow],
        named: impl Fn(u32) -> bool,
    ) -> (Outcome, Option<&'a Allow>) {
        let mut best = (Outcome::Deny, None);
        for allow in allows {
            if !(allow.anyone || named(allow.atom)) || (allow.shadow && !ask.shadow) {
                continue;
            }
            let outcome = self.offer(ask, allow);
            if outcome > best.0 {
                best = (outcome, Some(allow));
                if outcome == Outcome::Allow {
                    break;
                }
            }
        }
        best
    }

    /// Whether bits or class were made by other files.
    #[inline]
    pub(crate) fn foreign(&self, subject: &Subject<'_>, context: &Context) -> bool {
        !self.zones.knows(context.zone) || subject.bits.is_some_and(|bits| !self.atoms.made(bits))
    }

    /// The first guard, in the order of names, that holds.
    #[inline]
    fn guard_hit(&self, ask: &Ask<'_>) -> Option<RuleIx> {
        if !self.atoms.guarded(ask.subject.bits) {
            return None;
        }
        let mut bound = self.bound(ask);
        let hit = bound.find(|guard| {
            names(guard, ask.subject) && self.guard_applies(guard, ask.subject.device, ask.context)
        });
        hit.map(|guard| guard.rule)
    }

    /// The guards that count for a question.
    fn bound<'a>(&'a self, ask: &'a Ask<'_>) -> impl Iterator<Item = &'a Guard> {
        let guards = ask.guards.iter();
        let guards = guards.filter_map(|&ix| self.guards.get(ix as usize));
        guards.filter(|guard| ask.shadow || !guard.shadow)
    }

    /// Whether a guard's facts of the request hold, whoever asks. A time that is not known never lifts a guard.
    #[inline]
    pub(crate) fn guard_applies(&self, guard: &Guard, device: Device, context: &Context) -> bool {
        self.from.holds(guard.from, context.zone)
            && guard.device_not.is_none_or(|class| device < class)
            && (context.time.unix().is_none() || self.times.any(guard.when, context.time))
            && (guard.unless_when == 0 || !self.times.any(guard.unless_when, context.time))
    }

    /// How long an allow stands for certain: until a code or sign-in is too old, or a schedule may change it.
    fn expires_in(&self, ask: &Ask<'_>, allow: &Allow) -> Option<u32> {
        let time = ask.context.time;
        let ages = ages_last(ask.subject, allow);
        let guarded = self.atoms.guarded(ask.subject.bits);
        if allow.when == 0 && !guarded {
            return ages;
        }
        let own = self.times.edge(allow.when, time);
        if !guarded {
            return [ages, own].into_iter().flatten().min();
        }
        let timed = self.bound(ask).filter(|guard| {
            guard.when.max(guard.unless_when) > 0
                && names(guard, ask.subject)
                && self.from.holds(guard.from, ask.context.zone)
                && guard
                    .device_not
                    .is_none_or(|class| ask.subject.device < class)
        });
        let edges = timed.flat_map(|guard| {
            [guard.when, guard.unless_when].map(|list| self.times.edge(list, time))
        });
        edges.chain([ages, own]).flatten().min()
    }

    /// What one rule offers.
    fn weigh(&self, ask: &Ask<'_>, allow: &Allow) -> Outcome {
        let named = |bits: &SubjectBits| bits.holds(allow.atom);
        if !allow.anyone && !ask.subject.bits.is_none_or(named) {
            return Outcome::Deny;
        }
        self.offer(ask, allow)
    }

    /// What a rule offers that is for whoever asks: first come the facts of the request, then the proofs.
    #[inline]
    fn offer(&self, ask: &Ask<'_>, allow: &Allow) -> Outcome {
        let (subject, context) = (ask.subject, ask.context);
        let facts = allow.methods & ask.method != 0
            && self.from.holds(allow.from, context.zone)
            && self.times.any(allow.when, context.time)
            && subject.device >= allow.device;
        if !facts {
            return Outcome::Deny;
        }
        if allow.anyone {
            return Outcome::Allow;
        }
        if subject.bits.is_none() {
            return if self.somebody_could(ask, allow.atom) {
                Outcome::Login
            } else {
                Outcome::Deny
            };
        }
        if subject.login_age > allow.login {
            Outcome::Login
        } else if !allow.mfa.accepts(subject.mfa_age) {
            Outcome::StepUp
        } else {
            Outcome::Allow
        }
    }

    /// Whether some enabled person is in the set and under no guard that holds here.
    fn somebody_could(&self, ask: &Ask<'_>, atom: u32) -> bool {
        let stops = |ix: &u32| {
            ask.guards.contains(ix)
                && self.guards.get(*ix as usize).is_none_or(|guard| {
                    (ask.shadow || !guard.shadow)
                        && self.guard_applies(guard, ask.subject.device, ask.context)
                })
        };
        let mut kinds = self.atoms.witnesses(atom).iter();
        kinds.any(|named| !named.iter().any(stops))
    }
}

/// Whether a guard is for this caller.
fn names(guard: &Guard, subject: &Subject<'_>) -> bool {
    guard
        .atom
        .is_none_or(|atom| subject.bits.is_some_and(|bits| bits.holds(atom)))
}

fn ages_last(subject: &Subject<'_>, allow: &Allow) -> Option<u32> {
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
