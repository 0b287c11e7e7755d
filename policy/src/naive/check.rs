//! One question decided a second time, by the plain reading.

use std::net::IpAddr;

use serde::Serialize;

use super::{Request, Target, decide_by, enforced};
use crate::compile::{Policy, ZoneClass};
use crate::decide::Outcome;
use crate::ir::Ir;
use crate::lane::Proof;
use crate::query::{self, Query};

/// Two answers to one question that must be the same; a fault of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("the compiled policy says {compiled}, the plain reading of the files says {plain}")]
pub struct Disagreement {
    /// Outcome and rule of the compiled policy, which decides requests, and what is in shadow.
    pub compiled: String,
    /// Those of the plain interpreter.
    pub plain: String,
}

impl Policy {
    /// Decides a question again by the plain interpreter of the language, which shares no table with
    /// [`Policy::decide`]. Groups of the question alone are for questions about a sign-in.
    ///
    /// # Errors
    /// [`Disagreement`] if the two differ: report it, and trust neither.
    pub fn check(&self, query: &Query) -> Result<(), Disagreement> {
        let decision = self.decide(query);
        let told = |(outcome, rule): (Outcome, &str)| format!("{outcome} by {rule}");
        let shadow = decision
            .shadow
            .map(|(outcome, rule)| told((outcome, &self.rule(rule).id)));
        let compiled = (
            told((decision.outcome, &self.rule(decision.rule).id)),
            shadow,
        );
        let all = self.with_groups(query);
        let ours = self.plainly(&enforced(&all), query);
        let would = self.plainly(&all, query);
        // an area in shadow that takes other proofs is not asked for those
        let shadow = match query.by {
            Proof::SignIn => (would != ours).then(|| told((would.0, &would.1))),
            Proof::Device | Proof::Token => compiled.1.clone(),
        };
        let plain = (told((ours.0, &ours.1)), shadow);
        if compiled == plain {
            return Ok(());
        }
        let said = |(answer, shadow): (String, Option<String>)| match shadow {
            Some(shadow) => format!("{answer} (in shadow {shadow})"),
            None => answer,
        };
        Err(Disagreement {
            compiled: said(compiled),
            plain: said(plain),
        })
    }

    pub(crate) fn plainly(&self, ir: &Ir, query: &Query) -> (Outcome, String) {
        let default = || (Outcome::Deny, "builtin.default".to_owned());
        let target = match &query.target {
            query::Target::Http { method, host, path } => Target::Http(
                host.as_str().to_owned(),
                path.forward().to_owned(),
                method.clone(),
            ),
            query::Target::Flow { dst, port, proto } => {
                Target::Flow(dst.to_canonical(), *port, *proto)
            }
            query::Target::Admin { method } => Target::Admin(method.clone()),
            query::Target::BadRequest(_) => {
                return (Outcome::Deny, "builtin.bad-request".to_owned());
            }
        };
        let Some((ip, tunnel)) = query.source.or_else(|| self.somewhere(query.zone)) else {
            return default();
        };
        let request = Request {
            user: query.user_name.clone(),
            mfa_age: query.mfa_age,
            login_age: query.login_age,
            device: query.device,
            ip: ip.to_canonical(),
            tunnel,
            unix: query.time.unix(),
            target,
        };
        // only requests of the web are asked with other proofs
        let by = match request.target {
            Target::Http(..) => query.by,
            Target::Flow(..) | Target::Admin(_) => Proof::SignIn,
        };
        let answer = decide_by(ir, by, &request);
        let disabled = query.user.is_some() && query.bits.is_none();
        match answer.0 {
            Outcome::Login if disabled => default(),
            Outcome::Allow | Outcome::StepUp | Outcome::Login | Outcome::Deny => answer,
        }
    }

    /// An address of a class of sources.
    fn somewhere(&self, class: ZoneClass) -> Option<(IpAddr, bool)> {
        let first = IpAddr::from([0, 0, 0, 0]);
        if class == self.zones.tunnel() {
            return Some((first, true));
        }
        let six = IpAddr::from([0u16; 8]);
        let mut all = self.zones.borders().chain([first, six]);
        all.find(|ip| self.zones.class(*ip) == class)
            .map(|ip| (ip, false))
    }

    /// The policy with the person in the groups that the question puts them in.
    fn with_groups(&self, query: &Query) -> Ir {
        let mut ir = self.ir.clone();
        let Some(user) = query.user else { return ir };
        for &group in &query.groups {
            if let Some(group) = ir.groups.get_mut(group as usize)
                && !group.members.contains(&user)
            {
                group.members.push(user);
            }
        }
        ir
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::QueryText;
    use crate::naive::world::{Dice, sources};

    const TO: [&str; 9] = [
        "https://a.example/",
        "https://a.example/a/b",
        "POST https://b.example/a",
        "https://x.b.example/sh/a",
        "https://b.example/a%2Fb",
        "https://a.example//a;x",
        "tcp://10.1.2.3:22",
        "admin",
        "POST admin",
    ];

    pub(crate) fn question(dice: &mut Dice) -> QueryText {
        let word =
            |dice: &mut Dice, words: &[&str]| dice.chance(70).then(|| dice.pick(words).to_owned());
        let user = word(dice, &["u0", "u1", "u2", "u3", "u4"]);
        let by = word(dice, &["sign-in", "device", "token"]);
        QueryText {
            // whom a group holds only for the question cannot sign in where another proof is not taken
            groups: match user.is_some() && by.is_none() && dice.chance(60) {
                true => vec![dice.pick(&["g0", "g1", "@g2"]).to_owned()],
                false => Vec::new(),
            },
            user,
            by,
            from: word(dice, &["tunnel", "internet", "10.1.2.3", "192.0.2.1"]),
            at: word(dice, &["2026-01-05 10:00 UTC", "2026-03-29 02:30 UTC"]),
            device: word(dice, &["any", "known", "managed"]),
            mfa: word(dice, &["none", "1m", "30m"]),
            login: word(dice, &["1m", "2h", "30h"]),
            to: dice.pick(&TO).to_owned(),
        }
    }

    /// 20,000 questions in words.
    #[test]
    fn the_plain_reading_agrees_with_every_answer() {
        let mut asked = 0;
        for seed in 0..100 {
            let mut dice = Dice(seed);
            let policy = crate::load(&sources(&mut dice)).unwrap().policy;
            for _ in 0..250 {
                let text = question(&mut dice);
                let Ok(query) = policy.query(&text) else {
                    continue;
                };
                assert_eq!(policy.check(&query), Ok(()), "{seed} {text:?}");
                asked += 1;
            }
        }
        assert!(asked >= 20_000, "only {asked}");
    }

    #[test]
    fn a_table_that_does_not_say_what_the_files_say_is_found_out() {
        let text = "postern = 1\n[group]\nit = [\"ann\"]\n[admin]\nallow.it = { who = \"@it\" }\n";
        let mut sources = crate::Sources::new();
        sources.add("policy.toml", text.to_owned());
        let mut policy = crate::load(&sources).unwrap().policy;
        let asked = QueryText {
            user: Some("ann".to_owned()),
            to: "admin".to_owned(),
            ..QueryText::default()
        };
        let query = policy.query(&asked).unwrap();
        assert_eq!(policy.check(&query), Ok(()));
        policy.ir.admin.clear();
        let differ = policy.check(&query).unwrap_err();
        assert_eq!(
            (differ.compiled.as_str(), differ.plain.as_str()),
            ("allow by admin#it", "deny by builtin.default")
        );
    }
}
