//! What is offered against the plain reading, which is asked every value of every field.

use std::collections::BTreeMap;

use super::{Flip, Refused};
use crate::cells::tests::{addresses, instants};
use crate::compile::Policy;
use crate::decide::Outcome;
use crate::ir::{Device, Ir};
use crate::lane::Proof;
use crate::naive::check::tests::question;
use crate::naive::world::{Dice, sources};
use crate::naive::{any_holds, enforced};
use crate::query::{Query, Target};

/// One question that is refused, and how the plain reading is asked about it.
struct Asked<'a> {
    policy: &'a Policy,
    ir: Ir,
    query: Query,
    flips: Vec<Flip>,
}

impl<'a> Asked<'a> {
    /// `None` where the question is allowed, or is about nothing.
    fn new(policy: &'a Policy, query: Query) -> Option<Self> {
        if policy.decide(&query).outcome == Outcome::Allow {
            return None;
        }
        let reached = policy.reach(&query)?;
        let refused = Refused {
            policy,
            query: &query,
            reached: &reached,
        };
        let flips = refused.flips();
        let ir = member(&enforced(&policy.ir), query.user, &query.groups);
        Some(Self {
            policy,
            ir,
            query,
            flips,
        })
    }

    fn allows(&self, query: &Query) -> bool {
        self.allows_in(&self.ir, query)
    }

    fn allows_in(&self, ir: &Ir, query: &Query) -> bool {
        self.policy.plainly(ir, query).0 == Outcome::Allow
    }

    fn offers(&self, flip: &Flip) -> bool {
        self.flips.contains(flip)
    }

    fn web(&self) -> bool {
        matches!(self.query.target, Target::Http { .. })
    }

    fn people(&self) {
        let (ir, query) = (&self.policy.ir, &self.query);
        let in_force = enforced(ir);
        for (group, ix) in ir.groups.iter().zip(0u32..) {
            let with = |groups: Vec<u32>| {
                self.allows_in(&member(&in_force, query.user, &groups), query)
                    && query.bits.is_some()
            };
            let inside = |own: u32| ir.groups[own as usize].within.contains(&ix);
            if query.groups.contains(&ix) {
                let left = query.groups.iter().copied().filter(|own| !inside(*own));
                let leaves = with(left.collect());
                let less = (0u32..)
                    .zip(&ir.groups)
                    .any(|(own, _)| inside(own) && self.offers(&Flip::NotIn(own)));
                assert!(!leaves || less, "leaving {}", group.name);
                assert!(leaves || !self.offers(&Flip::NotIn(ix)), "{}", group.name);
            } else {
                let joined = query.groups.iter().chain(&group.within).copied();
                let joins = with(joined.collect());
                assert_eq!(joins, self.offers(&Flip::In(ix)), "joining {}", group.name);
            }
        }
        self.names(&in_force);
        let stranger = Query {
            user: None,
            user_name: None,
            bits: None,
            by: Proof::SignIn,
            ..query.clone()
        };
        let open = query.bits.is_some() && self.allows(&stranger);
        assert_eq!(open, self.offers(&Flip::NotSignedIn));
        let mut enabled = self.ir.clone();
        enabled.users.iter_mut().for_each(|u| u.disabled = false);
        let able = query.user.is_some() && query.bits.is_none();
        let able = able && self.allows_in(&enabled, query);
        assert_eq!(able, self.offers(&Flip::Enabled));
    }

    /// With the same groups, everybody else, and one whom no file names.
    fn names(&self, in_force: &Ir) {
        let (users, query) = (&self.policy.ir.users, &self.query);
        let named = self.flips.iter().find_map(|flip| {
            if let Flip::NamedWith(users) = flip {
                Some(users.as_slice())
            } else {
                None
            }
        });
        let named = named.unwrap_or_default();
        let unnamed = self.offers(&Flip::NotNamed);
        if query.bits.is_none() {
            assert!(named.is_empty() && !unnamed);
            return;
        }
        let mut ir = in_force.clone();
        ir.users.iter_mut().for_each(|user| user.disabled = false);
        let mut nobody = ir.users[0].clone();
        nobody.name = "zz".to_owned().into();
        ir.users.push(nobody);
        for ix in 0..=u32::try_from(users.len()).unwrap() {
            if query.user == Some(ix) {
                continue;
            }
            let ir = member(&ir, Some(ix), &query.groups);
            let as_other = Query {
                user_name: Some(ir.users[ix as usize].name.to_string()),
                ..query.clone()
            };
            let allows = self.allows_in(&ir, &as_other);
            match users.get(ix as usize) {
                None => assert!(allows || !unnamed, "being nobody"),
                Some(_) => assert!(allows || !named.contains(&ix), "{ix}"),
            }
            assert!(!allows || named.contains(&ix) || unnamed, "{ix}");
        }
    }

    fn places(&self) {
        let plain = addresses(self.policy).into_iter().map(|ip| (ip, false));
        let tunnel = std::iter::once(([0, 0, 0, 0].into(), true));
        for (ip, inside) in plain.chain(tunnel) {
            let zone = self.policy.zone(ip, inside);
            let there = Query {
                zone,
                source: Some((ip, inside)),
                ..self.query.clone()
            };
            let offered = self.offers(&Flip::From(zone));
            assert_eq!(self.allows(&there), offered, "from {ip}");
        }
    }

    fn times(&self, times: &[i64]) {
        let standings = self.flips.iter().filter_map(|flip| {
            if let Flip::At(standing) = flip {
                Some(standing)
            } else {
                None
            }
        });
        let standings: Vec<_> = standings.collect();
        for &unix in times {
            let then = Query {
                time: self.policy.tick(unix),
                ..self.query.clone()
            };
            let offered = standings.iter().any(|standing| {
                let mut parts = standing.iter();
                parts.all(|(ix, holds)| any_holds(&self.ir, &[*ix], unix) == *holds)
            });
            assert_eq!(self.allows(&then), offered, "at {unix}");
        }
    }

    fn methods_and_devices(&self) {
        let listed = self.flips.iter().find_map(|flip| {
            if let Flip::Methods(names) = flip {
                Some(names.clone())
            } else {
                None
            }
        });
        let listed = listed.unwrap_or_default();
        for name in ["GET", "HEAD", "POST", "PUT", "OPTIONS", "PROPFIND", "BREW"] {
            let mut other = self.query.clone();
            if let Target::Http { method, .. } | Target::Admin { method } = &mut other.target {
                name.clone_into(method);
                let offered = listed.iter().any(|own| own == name);
                assert_eq!(self.allows(&other), offered, "{name}");
            }
        }
        let listed = self.flips.iter().find_map(|flip| {
            if let Flip::Devices(devices) = flip {
                Some(devices.clone())
            } else {
                None
            }
        });
        let listed = listed.unwrap_or_default();
        for device in [Device::Any, Device::Known, Device::Managed] {
            let other = Query {
                device,
                ..self.query.clone()
            };
            let offered = listed.contains(&device);
            assert_eq!(self.allows(&other), offered, "{device:?}");
        }
    }

    fn proofs(&self) {
        if self.query.bits.is_none() {
            return;
        }
        let token = self.web() && self.query.by == Proof::Token;
        let aged = |mfa_age, login_age| {
            self.allows(&Query {
                mfa_age,
                login_age,
                ..self.query.clone()
            })
        };
        let codes = [0, 299, 300, 301, 3600, 3601, 28_800, 28_801, 2_000_000];
        let mut codes = codes.into_iter().map(Some).chain([None]);
        let code = codes.any(|age| aged(age, self.query.login_age));
        let offered = match token {
            true => &Flip::Token,
            false => &Flip::Code,
        };
        assert_eq!(code, self.offers(offered));
        let mut logins = [0, 3600, 3601, 36_000, 72_000, 72_001].into_iter();
        let alone = logins.any(|age| aged(self.query.mfa_age, age));
        let signs_in = self.offers(&Flip::SignIn);
        assert!(!alone || signs_in, "an age of the sign-in");
        assert!(!signs_in || aged(Some(0), 0), "a fresh sign-in");
        assert!(token || code || signs_in || !aged(Some(0), 0), "both");
        for by in [Proof::SignIn, Proof::Device, Proof::Token] {
            let fresh = by == Proof::Token || self.query.by == Proof::Token;
            let other = Query {
                by,
                mfa_age: if fresh { Some(0) } else { self.query.mfa_age },
                login_age: if fresh { 0 } else { self.query.login_age },
                ..self.query.clone()
            };
            let offered = self.offers(&Flip::By(by));
            let allows = self.web() && by != self.query.by && self.allows(&other);
            assert!(allows || !offered, "{by:?}");
            // what is not taken is as good as nothing
            assert!(
                !allows || offered || self.offers(&Flip::NotSignedIn),
                "{by:?}"
            );
        }
    }
}

/// The policy with one person in these groups and in no other.
fn member(ir: &Ir, user: Option<u32>, groups: &[u32]) -> Ir {
    let mut ir = ir.clone();
    let Some(user) = user else { return ir };
    for (group, ix) in ir.groups.iter_mut().zip(0u32..) {
        group.members.retain(|own| *own != user);
        if groups.contains(&ix) {
            group.members.push(user);
        }
    }
    ir
}

/// A random world with guards that schedules and groups lift.
fn guarded(dice: &mut Dice) -> Policy {
    let mut all = sources(dice);
    let mut text = "postern = 1\n".to_owned();
    for at in 0..dice.roll(3) {
        let when = dice.pick(&[
            "when = \"s0\"",
            "when = [\"s1\", \"s2\"]",
            "unless-when = \"s2\"",
        ]);
        let who = dice.pick(&["", "who = \"@g0\"\n", "who = [\"@g2\", \"u1\"]\n"]);
        let when = if dice.chance(60) { when } else { "" };
        let on = dice.pick(&["app.a", "app.b", "admin"]);
        text.push_str(&format!(
            "[deny.x{at}]\non = {on:?}\nreason = \"r\"\n{who}{when}\n"
        ));
    }
    all.add("more.toml", text);
    crate::load(&all).unwrap().policy
}

/// The first guard that is told to hold is the one that decides, and one that is told not to hold never does.
fn guards_told(policy: &Policy, query: &Query) {
    let told = policy.explain(query);
    if told.app.is_none() || told.rule == "builtin.bad-request" {
        return;
    }
    let decides = !told.rule.contains('#') && !told.rule.starts_with("builtin.");
    assert_eq!(
        told.guards.first(),
        decides.then_some(&told.rule),
        "{}",
        told.to_text()
    );
}

/// C.9: what is offered is an allow, and where nothing of a field is offered, none of its values allows. 1,500 refused
/// questions, each asked again for every value of every field.
#[test]
fn what_is_offered_allows_and_what_is_not_does_not() {
    let (mut asked, mut told) = (0, BTreeMap::<String, u32>::new());
    for seed in 0..if crate::naive::tests::long() {
        3_000
    } else {
        50
    } {
        let mut dice = Dice(seed);
        let policy = guarded(&mut dice);
        let mut times = instants(&policy);
        times
            .extend((0..20).map(|_| 1_767_225_600 + i64::try_from(dice.roll(34_000_000)).unwrap()));
        for _ in 0..40 {
            let Ok(mut query) = policy.query(&question(&mut dice)) else {
                continue;
            };
            if dice.chance(70) {
                query.time = policy.tick(dice.pick(&times));
            }
            guards_told(&policy, &query);
            let Some(asking) = Asked::new(&policy, query) else {
                continue;
            };
            asked += 1;
            for flip in &asking.flips {
                let text = policy.say(flip);
                let kind = text.split(" @").next().unwrap();
                let kind = if let Flip::At(standing) = flip {
                    format!("{} schedules", standing.len())
                } else {
                    kind.split(" with ").next().unwrap().to_owned()
                };
                *told.entry(kind).or_default() += 1;
            }
            asking.people();
            asking.places();
            asking.times(&times);
            asking.methods_and_devices();
            asking.proofs();
        }
    }
    assert!(asked >= 1000, "only {asked}");
    for kind in ["not being in", "1 schedules", "2 schedules"] {
        let times = told.get(kind).copied().unwrap_or_default();
        assert!(times >= 2, "{kind} {told:?}");
    }
}
