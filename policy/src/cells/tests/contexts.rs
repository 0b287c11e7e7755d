//! Reach in contexts and invariants against asking the plain reading every question.

use std::collections::BTreeSet;

use super::{addresses, instants, load, target};
use crate::cells::Scope;
use crate::compile::Policy;
use crate::decide::Outcome;
use crate::ir::{Device, Ir};
use crate::naive::world::{Dice, add_like, sources};
use crate::naive::{self, Request};
use crate::source::Sources;

/// Ages of codes around those that rules of random worlds ask for.
const CODES: [Option<u32>; 6] = [None, Some(0), Some(300), Some(301), Some(3600), Some(3601)];
const DEVICES: [Device; 3] = [Device::Any, Device::Known, Device::Managed];

/// A person who asks, where they are and when.
#[derive(Clone, Copy)]
struct Asker<'a> {
    user: Option<&'a str>,
    ip: std::net::IpAddr,
    tunnel: bool,
    unix: i64,
}

/// The proofs by which a place lets somebody in, of all devices, methods and ages of codes; counts what it asks.
fn opened(
    policy: &Policy,
    in_force: &Ir,
    to: &str,
    asker: Asker<'_>,
    asked: &mut u64,
) -> Vec<(Device, Option<u32>)> {
    let methods: &[&str] = match super::has_methods(to) {
        true => &["GET", "POST", "PROPFIND"],
        false => &["GET"],
    };
    let mut out = Vec::new();
    for method in methods {
        let target = target(policy, to, method);
        for device in DEVICES {
            for mfa_age in CODES {
                let request = Request {
                    user: asker.user.map(str::to_owned),
                    mfa_age,
                    login_age: 0,
                    device,
                    ip: asker.ip,
                    tunnel: asker.tunnel,
                    unix: Some(asker.unix),
                    target: target.clone(),
                };
                *asked += 1;
                if naive::decide(in_force, &request).0 == Outcome::Allow {
                    out.push((device, mfa_age));
                }
            }
        }
    }
    out
}

/// Where one can be: each kind of address, and the tunnel.
fn sources_of(policy: &Policy) -> Vec<(std::net::IpAddr, bool)> {
    let plain = addresses(policy).into_iter();
    let mut out: Vec<_> = plain.map(|ip| (ip, false)).collect();
    out.push(([10, 0, 0, 1].into(), true));
    out
}

/// Property 8 in contexts: who reaches a place from an address at an instant is who is let in there and then, by some
/// method, device and code. Over 100,000 questions to the plain reading.
#[test]
fn p8_reach_in_a_context_is_what_asking_every_question_there_gives() {
    let mut asked = 0;
    for seed in 0..40 {
        let policy = load(&sources(&mut Dice(seed)));
        let in_force = naive::enforced(&policy.ir);
        let times = instants(&policy);
        let mut dice = Dice(seed ^ 0x77);
        for sample in policy.samples() {
            let (ip, tunnel) = dice.pick(&sources_of(&policy));
            let unix = dice.pick(&times);
            let stamp = jiff::Timestamp::from_second(unix).unwrap().to_string();
            let at = stamp.get(..16).unwrap().replace('T', " ");
            let from = match tunnel {
                true => "tunnel".to_owned(),
                false => ip.to_string(),
            };
            let scope = Scope::In(format!("{from}@{at} UTC"));
            let answer = policy.who_can_in(&sample.resource, &scope).unwrap();
            let listed: BTreeSet<&str> = answer.users.iter().map(|g| g.name.as_str()).collect();
            let mut enters = |user: Option<&str>| {
                let asker = Asker {
                    user,
                    ip,
                    tunnel,
                    unix,
                };
                !opened(&policy, &in_force, &sample.to, asker, &mut asked).is_empty()
            };
            let open = enters(None);
            assert_eq!(
                open,
                listed.contains("anyone"),
                "{seed} {scope:?} {}",
                sample.to
            );
            for user in policy.users().filter(|user| !user.disabled) {
                let name = &*user.name;
                let (enters, told) = (enters(Some(name)), listed.contains(name));
                assert!(enters || !told, "{seed} {scope:?} {name} {}", sample.to);
                assert!(
                    told || open || !enters,
                    "{seed} {scope:?} {name} {}",
                    sample.to
                );
            }
        }
    }
    assert!(asked >= 100_000, "only {asked} questions");
}

/// The world with an invariant; whether it stands.
fn stands(first: &Sources, invariant: &str) -> bool {
    let mut more = Sources::new();
    let mut put = false;
    for file in first.files() {
        let mut text = first.text(file).to_owned();
        if !put && !first.is_list(file) && !first.path(file).contains('/') {
            text.push_str(invariant);
            put = true;
        }
        add_like(&mut more, first, file, text);
    }
    assert!(put, "no file of the root");
    match crate::check(&more) {
        Ok(_) => true,
        Err(found) => {
            let lines: Vec<String> = found.iter().map(|d| d.one_line(&more)).collect();
            assert!(
                found.iter().all(|d| d.code == "invariant-broken"),
                "{lines:?}"
            );
            false
        }
    }
}

/// An invariant fails exactly if some question to the plain reading breaks it.
#[test]
fn an_invariant_stands_exactly_if_no_question_breaks_it() {
    let (mut held, mut broken, mut asked) = (0, 0, 0);
    for seed in 0..3 {
        let first = sources(&mut Dice(seed));
        let policy = load(&first);
        let in_force = naive::enforced(&policy.ir);
        let times = instants(&policy);
        let places = sources_of(&policy);
        let all = policy.samples().into_iter();
        let all: Vec<_> = all.filter(|s| s.resource.starts_with("app.a")).collect();
        let mut found: Vec<(Option<String>, Device, Option<u32>)> = Vec::new();
        let users: Vec<String> = policy.users().map(|user| user.name.to_string()).collect();
        for user in users.iter().map(Some).chain([None]) {
            for &(ip, tunnel) in &places {
                for &unix in &times {
                    let user = user.map(String::as_str);
                    let asker = Asker {
                        user,
                        ip,
                        tunnel,
                        unix,
                    };
                    for sample in &all {
                        let open = opened(&policy, &in_force, &sample.to, asker, &mut asked);
                        let own = |(device, code)| (user.map(str::to_owned), device, code);
                        found.extend(open.into_iter().map(own));
                    }
                }
            }
        }
        let reach = "\n[[invariant]]\nname = \"i\"\nreach = [\"app.a\"]\n";
        let of = |name: &str| found.iter().any(|(user, ..)| user.as_deref() == Some(name));
        let known = found.iter().all(|(_, device, _)| *device >= Device::Known);
        let coded = found
            .iter()
            .all(|(_, _, code)| code.is_some_and(|age| age <= 3600));
        for (rest, expected) in [
            ("never = \"u0\"", !of("u0")),
            ("never = \"u1\"", !of("u1")),
            ("requires = { device = \"known\" }", known),
            ("requires = { mfa = \"1h\" }", coded),
        ] {
            let told = stands(&first, &format!("{reach}{rest}\n"));
            assert_eq!(told, expected, "{seed} {rest}");
            held += u32::from(told);
            broken += u32::from(!told);
        }
    }
    assert!(
        held >= 3 && broken >= 3 && asked >= 100_000,
        "{held} {broken} {asked}"
    );
}
