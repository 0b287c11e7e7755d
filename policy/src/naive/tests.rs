//! The compiled policy against the plain reading.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::{Dice, request, sources};
use super::{Request, Target, app_of, collapsed, decide, decide_by, enforced};
use crate::canon;
use crate::compile::{BAD_REQUEST, Policy};
use crate::decide::{Context, Decision, Outcome, Subject};
use crate::ir::Ir;
use crate::lane::Proof;
use crate::resolve::tenants::owner;

pub(crate) fn compiled(policy: &Policy, request: &Request) -> Decision {
    compiled_by(policy, Proof::SignIn, request)
}

fn compiled_by(policy: &Policy, proof: Proof, request: &Request) -> Decision {
    let bits = request
        .user
        .as_deref()
        .and_then(|user| policy.subject(user));
    let subject = Subject {
        bits: bits.as_ref(),
        mfa_age: request.mfa_age,
        login_age: request.login_age,
        device: request.device,
    };
    let context = Context::new(
        policy.zone(request.ip, request.tunnel),
        request
            .unix
            .map_or_else(Default::default, |unix| policy.tick(unix)),
    );
    match &request.target {
        Target::Http(host, path, method) => {
            let host = canon::host(host).unwrap();
            let Ok(path) = canon::path_with(path.as_bytes(), policy.path_opts(&host)) else {
                return Decision::deny(BAD_REQUEST);
            };
            policy.decide_http_by(proof, &subject, &host, &path, method, &context)
        }
        Target::Flow(dst, port, proto) => {
            policy.decide_flow(&subject, *dst, *port, *proto, &context)
        }
        Target::Admin(method) => policy.decide_admin(&subject, method, &context),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: size().0, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    /// 400 policies of 400 requests: 160,000 decisions.
    #[test]
    fn compiled_and_naive_never_differ(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let sources = sources(&mut dice);
        let policy = crate::load(&sources).unwrap().policy;
        let in_force = enforced(&policy.ir);
        for _ in 0..size().1 {
            let request = request(&mut dice);
            let ours = compiled(&policy, &request);
            let rule = policy.rule(ours.rule).id.to_string();
            let Some(request) = taken(&policy, &in_force, &request) else {
                prop_assert_eq!((ours.outcome, rule.as_str(), ours.shadow), (Outcome::Deny, "builtin.bad-request", None));
                continue;
            };
            let naive = decide(&in_force, &request);
            prop_assert_eq!(header_set(&policy, ours), naive_header_set(&in_force, &naive), "{:?}", request);
            prop_assert_eq!(&(ours.outcome, rule), &naive, "{:?}", request);
            let would = decide(&policy.ir, &request);
            let shadow = ours.shadow.map(|(outcome, rule)| (outcome, policy.rule(rule).id.to_string()));
            prop_assert_eq!(shadow, (would != naive).then_some(would), "{:?}", request);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: size().0, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    /// Devices without a cookie and tokens, by the same worlds.
    #[test]
    fn other_proofs_are_taken_where_the_plain_reading_takes_them(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let policy = crate::load(&sources(&mut dice)).unwrap().policy;
        let in_force = enforced(&policy.ir);
        for _ in 0..size().1 {
            let request = request(&mut dice);
            if !matches!(request.target, Target::Http(..)) {
                continue;
            }
            let Some(request) = taken(&policy, &in_force, &request) else { continue };
            for proof in [Proof::Device, Proof::Token] {
                let ours = compiled_by(&policy, proof, &request);
                let rule = policy.rule(ours.rule).id.to_string();
                let naive = decide_by(&in_force, proof, &request);
                prop_assert_eq!((ours.outcome, rule), naive, "{:?} {:?}", proof, request);
                let offers = matches!(ours.outcome, Outcome::Login | Outcome::StepUp);
                prop_assert!(proof == Proof::Device || !offers, "{:?}", request);
            }
        }
    }
}

/// The request as the app takes it; `None` where its path has parameters or encoded slashes that the app does not
/// take, or too many readings. The app in force has the word, where there is one.
fn taken(policy: &Policy, in_force: &Ir, request: &Request) -> Option<Request> {
    let mut out = request.clone();
    let Target::Http(host, path, _) = &mut out.target else {
        return Some(out);
    };
    let takes = |ir: &Ir| {
        let app = &ir.apps[app_of(ir, host)?];
        Some((app.path_params, app.encoded_slashes, app.empty_segments))
    };
    let (params, slashes, empties) = takes(in_force)
        .or_else(|| takes(&policy.ir))
        .unwrap_or_default();
    let slash = path.to_uppercase().contains("%2F");
    let empty = path.trim_start_matches('/').contains("//");
    if (path.contains(';') && !params) || (slash && (!slashes || (empty && empties))) {
        return None;
    }
    if !empties {
        *path = collapsed(path);
    }
    Some(out)
}

fn header_set(policy: &Policy, decision: Decision) -> Option<String> {
    let set = policy.obligations(decision.obligations).headers.as_ref();
    set.map(|set| set.name.clone())
}

/// The set of the rule that decided, found by its id.
fn naive_header_set(ir: &Ir, (_, rule): &(Outcome, String)) -> Option<String> {
    let (place, name) = rule.split_once('#')?;
    let areas = ir.apps.iter().flat_map(|app| {
        let areas = app.areas.iter();
        areas.map(|area| (format!("{}{}", app.id, area.pattern.text), &area.allows))
    });
    let (_, allows) = areas.into_iter().find(|(id, _)| id == place)?;
    let set = allows.iter().find(|allow| allow.name == name)?.headers?;
    Some(ir.header_sets[set as usize].name.clone())
}

/// How many worlds, and how many requests in each: 160,000, or 10^8 where `POSTERN_LONG=1` asks for the long run.
fn size() -> (u32, usize) {
    if long() { (100_000, 1000) } else { (400, 400) }
}

/// Whether the long run is asked for.
#[expect(
    clippy::disallowed_methods,
    reason = "the length of a test run is no part of the policy"
)]
pub(crate) fn long() -> bool {
    std::env::var("POSTERN_LONG").is_ok_and(|value| value == "1")
}

/// A comparison proves little about answers that never come up.
#[test]
fn the_random_worlds_reach_every_kind_of_answer() {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let policy = crate::load(&sources(&mut dice)).unwrap().policy;
        for _ in 0..100 {
            let (outcome, rule) = decide(&enforced(&policy.ir), &request(&mut dice));
            let rule = match owner(&rule) {
                Some(tenant) => rule.split_at(tenant.len() + 1).1.to_owned(),
                None => rule,
            };
            let kind = match rule.split(['.', '/', '=', '#']).next().unwrap() {
                "deny" => "guard".to_owned(),
                "builtin" => rule.clone(),
                place if rule.contains('/') => format!("{place} area"),
                place => place.to_owned(),
            };
            *seen.entry(format!("{outcome} {kind}")).or_default() += 1;
        }
    }
    let all = [
        "allow admin",
        "allow app",
        "allow app area",
        "allow net",
        "deny builtin.bad-request",
        "deny builtin.default",
        "deny builtin.no-such-app",
        "deny builtin.no-such-service",
        "deny guard",
        "login admin",
        "login app",
        "login app area",
        "login net",
        "step-up admin",
        "step-up app",
        "step-up app area",
        "step-up net",
    ];
    assert_eq!(seen.keys().map(String::as_str).collect::<Vec<_>>(), all);
    assert!(seen.values().all(|&count| count >= 5), "{seen:?}");
}
