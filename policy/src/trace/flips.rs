//! What would make an answer an allow: one field of the question changed at a time, over every class of it that the
//! rules and guards of the place tell apart.

mod times;

use std::collections::BTreeSet;

use super::Reached;
use crate::compile::{Policy, ZoneClass};
use crate::decide::Outcome;
use crate::ir::{self, Device};
use crate::lane::Proof;
use crate::query::{Query, Target};
use times::Standing;

/// Most people who are named one by one.
const NAMED: usize = 4;

/// One change of one field after which the answer is an allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flip {
    /// Being in a group, and in those that hold it.
    In(u32),
    /// Not being in a group, nor in those it holds.
    NotIn(u32),
    /// Standing where each of these people is named, with the same groups.
    NamedWith(Vec<u32>),
    /// Not being named by any rule or guard here, with the same groups.
    NotNamed,
    /// The account not being disabled.
    Enabled,
    NotSignedIn,
    From(ZoneClass),
    At(Standing),
    Methods(Vec<String>),
    Devices(Vec<Device>),
    By(Proof),
    Code,
    Token,
    SignIn,
    /// Of a stranger: being somebody.
    Somebody,
}

/// A question that is refused, and what it reaches.
#[derive(Clone, Copy)]
pub(super) struct Refused<'a> {
    pub(super) policy: &'a Policy,
    pub(super) query: &'a Query,
    pub(super) reached: &'a Reached<'a>,
}

impl Refused<'_> {
    /// Says each change.
    pub(super) fn would_allow(&self) -> Vec<String> {
        let flips = self.flips();
        flips.iter().map(|flip| self.policy.say(flip)).collect()
    }

    /// The changes in the order in which they are told. A group is not told where leaving one within it does.
    pub(super) fn flips(&self) -> Vec<Flip> {
        let mut out = Vec::new();
        let known = self.query.bits.is_some();
        if known {
            self.people(&mut out);
        } else if self.query.user.is_some()
            && self.allows(&self.as_member(self.query.groups.clone()))
        {
            out.push(Flip::Enabled);
        }
        self.places(&mut out);
        self.instants(&mut out);
        self.methods(&mut out);
        let devices = [Device::Any, Device::Known, Device::Managed].into_iter();
        let devices = devices.filter(|device| *device != self.query.device);
        let with = |device| Query {
            device,
            ..self.query.clone()
        };
        let devices: Vec<Device> = devices.filter(|d| self.allows(&with(*d))).collect();
        out.extend((!devices.is_empty()).then_some(Flip::Devices(devices)));
        if known {
            self.proofs(&mut out);
        }
        let helped = out.iter().any(|flip| matches!(flip, Flip::By(_)));
        let signs_in = out.contains(&Flip::SignIn) || out.contains(&Flip::Code) || helped;
        if !signs_in && self.policy.decide(self.query).outcome == Outcome::Login {
            out.push(Flip::Somebody);
        }
        out
    }

    fn allows(&self, query: &Query) -> bool {
        self.policy.decide(query).outcome == Outcome::Allow
    }

    /// Who asks: groups, names, and nobody.
    fn people(&self, out: &mut Vec<Flip>) {
        let told = self.told_apart();
        for (group, ix) in self.policy.ir.groups.iter().zip(0u32..) {
            let counts = group.within.iter().any(|held| told.groups.contains(held));
            if !counts || self.query.groups.contains(&ix) {
                continue;
            }
            let mut groups = self.query.groups.clone();
            groups.extend(&group.within);
            groups.sort_unstable();
            groups.dedup();
            if self.allows(&self.as_member(groups)) {
                out.push(Flip::In(ix));
            }
        }
        let left = |ix: u32| {
            let inside = move |own: &u32| self.within(*own, ix);
            self.query.groups.iter().copied().filter(inside)
        };
        let without = |ix: u32| {
            let groups = self.query.groups.iter().copied();
            groups.filter(|own| !self.within(*own, ix)).collect()
        };
        let counts = |ix: &u32| left(*ix).any(|own| told.groups.contains(&own));
        let leave = self.query.groups.iter().copied().filter(counts);
        let leave: Vec<u32> = leave
            .filter(|ix| self.allows(&self.as_member(without(*ix))))
            .collect();
        let least = |ix: &&u32| {
            !leave
                .iter()
                .any(|own| own != *ix && self.within(*own, **ix))
        };
        out.extend(leave.iter().filter(least).map(|ix| Flip::NotIn(*ix)));
        let as_user = |user: Option<u32>| Query {
            bits: Some(self.policy.subject_with(user, &self.query.groups)),
            ..self.query.clone()
        };
        let others = told.users.iter().filter(|ix| Some(**ix) != self.query.user);
        let named: Vec<u32> = others
            .filter(|ix| self.allows(&as_user(Some(**ix))))
            .copied()
            .collect();
        out.extend((!named.is_empty()).then_some(Flip::NamedWith(named)));
        let own = self
            .query
            .user
            .is_some_and(|user| told.users.contains(&user));
        if own && self.allows(&as_user(None)) {
            out.push(Flip::NotNamed);
        }
        let stranger = Query {
            user: None,
            user_name: None,
            groups: Vec::new(),
            bits: None,
            by: Proof::SignIn,
            ..self.query.clone()
        };
        if self.allows(&stranger) {
            out.push(Flip::NotSignedIn);
        }
    }

    /// Whether a group is another, or held by it.
    fn within(&self, group: u32, other: u32) -> bool {
        let group = self.policy.ir.groups.get(group as usize);
        group.is_some_and(|group| group.within.binary_search(&other).is_ok())
    }

    fn as_member(&self, groups: Vec<u32>) -> Query {
        Query {
            bits: Some(self.policy.subject_with(self.query.user, &groups)),
            groups,
            ..self.query.clone()
        }
    }

    fn places(&self, out: &mut Vec<Flip>) {
        for zone in self
            .policy
            .zones
            .all()
            .filter(|&class| class != self.query.zone)
        {
            let other = Query {
                zone,
                source: None,
                ..self.query.clone()
            };
            if self.allows(&other) {
                out.push(Flip::From(zone));
            }
        }
    }

    /// The methods by which it would be an allow, as one change.
    fn methods(&self, out: &mut Vec<Flip>) {
        let (Target::Http { method, .. } | Target::Admin { method }) = &self.query.target else {
            return;
        };
        let with = |name: &str| {
            let mut other = self.query.clone();
            if let Target::Http { method, .. } | Target::Admin { method } = &mut other.target {
                name.clone_into(method);
            }
            other
        };
        let names = self.policy.methods.names().filter(|name| name != method);
        let names = names.filter(|name| self.allows(&with(name)));
        let names: Vec<String> = names.map(str::to_owned).collect();
        out.extend((!names.is_empty()).then_some(Flip::Methods(names)));
    }

    /// By what the person is known, and how old that is. Fresher is never worse, so the freshest stands for all.
    fn proofs(&self, out: &mut Vec<Flip>) {
        let web = matches!(self.query.target, Target::Http { .. });
        for by in [Proof::SignIn, Proof::Device, Proof::Token] {
            // the age of a token is none of a session
            let fresh = by == Proof::Token || self.query.by == Proof::Token;
            let other = Query {
                by,
                mfa_age: if fresh { Some(0) } else { self.query.mfa_age },
                login_age: if fresh { 0 } else { self.query.login_age },
                ..self.query.clone()
            };
            let lanes = self.reached.area.map(|area| area.lanes).unwrap_or_default();
            let taken = lanes.take(by, other.mfa_age);
            if web && by != self.query.by && taken && self.allows(&other) {
                out.push(Flip::By(by));
            }
        }
        let with = |mfa_age, login_age| Query {
            mfa_age,
            login_age,
            ..self.query.clone()
        };
        let token = web && self.query.by == Proof::Token;
        let code = self.allows(&with(Some(0), self.query.login_age));
        out.extend(code.then_some(if token { Flip::Token } else { Flip::Code }));
        let alone = self.allows(&with(self.query.mfa_age, 0));
        // a code is part of a sign-in
        let both = || !code && self.allows(&with(Some(0), 0));
        if !token && (alone || both()) {
            out.push(Flip::SignIn);
        }
    }

    /// The rules in force of a place, and the guards over it.
    fn in_force(
        &self,
    ) -> (
        impl Iterator<Item = &ir::Allow>,
        impl Iterator<Item = &ir::Guard>,
    ) {
        let rules = self.reached.rules.iter().filter(|rule| !rule.shadow);
        (rules, self.policy.guards_over(self.reached))
    }

    /// Whom the rules and guards of a place name.
    fn told_apart(&self) -> ToldApart {
        let (rules, guards) = self.in_force();
        let whos = rules.map(|rule| &*rule.who);
        let whos = whos.chain(guards.filter_map(|guard| guard.who.as_ref()));
        let mut out = ToldApart::default();
        for who in whos {
            out.groups.extend(who.groups.iter().chain(&who.not_groups));
            out.users.extend(who.users.iter().chain(&who.not_users));
        }
        out
    }
}

impl Policy {
    fn say(&self, flip: &Flip) -> String {
        let group = |ix: &u32| {
            let group = self.ir.groups.get(*ix as usize);
            group.map_or_else(String::new, |group| format!("@{}", group.name))
        };
        match flip {
            Flip::In(ix) => format!("being in {}", group(ix)),
            Flip::NotIn(ix) => format!("not being in {}", group(ix)),
            Flip::NamedWith(users) => format!("being named with {}", self.some_of(users)),
            Flip::NotNamed => "not being named".to_owned(),
            Flip::Enabled => "the account not being disabled".to_owned(),
            Flip::NotSignedIn => "not being signed in".to_owned(),
            Flip::From(class) => format!("from {}", self.zone_names(*class).join(" and ")),
            Flip::At(standing) => self.say_standing(standing),
            Flip::Methods(names) => format!("method {}", names.join(" or ")),
            Flip::Devices(devices) => {
                let words: Vec<&str> = devices.iter().map(|device| device.as_str()).collect();
                format!("device {}", words.join(" or "))
            }
            Flip::By(Proof::SignIn) => "a sign-in in the browser".to_owned(),
            Flip::By(Proof::Device) => "a tunnel device without a cookie".to_owned(),
            Flip::By(Proof::Token) => "a token".to_owned(),
            Flip::Code => "a fresh code".to_owned(),
            Flip::Token => "a fresh token".to_owned(),
            Flip::SignIn => "a fresh sign-in".to_owned(),
            Flip::Somebody => "signing in as somebody the rule names".to_owned(),
        }
    }

    fn some_of(&self, users: &[u32]) -> String {
        let named = users.iter().take(NAMED);
        let names = named.filter_map(|ix| self.ir.users.get(*ix as usize));
        let names: Vec<&str> = names.map(|user| &*user.name).collect();
        match users.len().checked_sub(NAMED) {
            Some(more @ 1..) => format!("{} or {more} more", names.join(", ")),
            _ => names.join(" or "),
        }
    }
}

/// Groups and people that the rules and guards of a place name.
#[derive(Default)]
struct ToldApart {
    groups: BTreeSet<u32>,
    users: BTreeSet<u32>,
}

#[cfg(test)]
mod tests;
