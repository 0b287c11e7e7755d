//! The compiled policy against the plain reading, and laws that hold for both.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::{Dice, add_like, request, sources};
use super::{Request, Target, app_of, decide, enforced};
use crate::canon;
use crate::compile::{BAD_REQUEST, Policy};
use crate::decide::{Context, Decision, Outcome, Subject};
use crate::ir::{Device, Ir};
use crate::resolve::tenants::owner;

const REQUESTS: usize = 400;

pub(crate) fn compiled(policy: &Policy, request: &Request) -> Decision {
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
            policy.decide_http(&subject, &host, &path, method, &context)
        }
        Target::Flow(dst, port, proto) => {
            policy.decide_flow(&subject, *dst, *port, *proto, &context)
        }
        Target::Admin => policy.decide_admin(&subject, &context),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: worlds(), max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    /// 400 policies of 400 requests: 160,000 decisions.
    #[test]
    fn compiled_and_naive_never_differ_and_the_laws_hold(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let sources = sources(&mut dice);
        let policy = crate::load(&sources).unwrap().policy;
        let in_force = enforced(&policy.ir);
        for _ in 0..REQUESTS {
            let request = request(&mut dice);
            let ours = compiled(&policy, &request);
            let rule = policy.rule(ours.rule).id.to_string();
            if ambiguous(&policy, &in_force, &request) {
                prop_assert_eq!((ours.outcome, rule.as_str(), ours.shadow), (Outcome::Deny, "builtin.bad-request", None));
                continue;
            }
            let naive = decide(&in_force, &request);
            prop_assert_eq!(header_set(&policy, ours), naive_header_set(&in_force, &naive), "{:?}", request);
            prop_assert_eq!(&(ours.outcome, rule), &naive, "{:?}", request);
            let would = decide(&policy.ir, &request);
            let shadow = ours.shadow.map(|(outcome, rule)| (outcome, policy.rule(rule).id.to_string()));
            prop_assert_eq!(shadow, (would != naive).then_some(would), "{:?}", request);
            laws(&policy, &request, ours)?;
        }
    }

    /// The order of files and tables does not change the digest.
    #[test]
    fn order_does_not_change_the_digest(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let first = sources(&mut dice);
        let mut second = crate::source::Sources::new();
        let files: Vec<_> = first.files().collect();
        for file in files.into_iter().rev() {
            let text = first.text(file);
            if first.is_list(file) {
                add_like(&mut second, &first, file, text.to_owned());
                continue;
            }
            let (head, rest) = text.split_once('\n').unwrap();
            let mut tables: Vec<String> = rest.split("\n[").map(|t| format!("[{}\n", t.trim_start_matches('['))).collect();
            tables.reverse();
            let rest = if rest.is_empty() { String::new() } else { tables.concat() };
            add_like(&mut second, &first, file, format!("{head}\n{rest}"));
        }
        let digest = |sources: &_| crate::load(sources).unwrap().policy.digest().to_owned();
        prop_assert_eq!(digest(&first), digest(&second));
    }
}

/// Whether a path has parameters that the app does not take. The app in force has the word, where there is one.
fn ambiguous(policy: &Policy, in_force: &Ir, request: &Request) -> bool {
    let Target::Http(host, path, _) = &request.target else {
        return false;
    };
    let takes = |ir: &Ir| app_of(ir, host).map(|app| ir.apps[app].path_params);
    path.contains(';')
        && !takes(in_force)
            .or_else(|| takes(&policy.ir))
            .unwrap_or(false)
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

/// 400 worlds; the long run of 250,000 worlds (10^8 requests) is asked for by `POSTERN_LONG=1`.
#[expect(
    clippy::disallowed_methods,
    reason = "the length of a test run is no part of the policy"
)]
fn worlds() -> u32 {
    let long = std::env::var("POSTERN_LONG").is_ok_and(|value| value == "1");
    if long { 250_000 } else { 400 }
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

fn laws(policy: &Policy, request: &Request, ours: Decision) -> Result<(), TestCaseError> {
    let fresh_code = Request {
        mfa_age: Some(0),
        ..request.clone()
    };
    let fresh_login = Request {
        login_age: 0,
        ..request.clone()
    };
    let better_device = Request {
        device: Device::Managed,
        ..request.clone()
    };
    for better in [&fresh_code, &fresh_login, &better_device] {
        let outcome = compiled(policy, better).outcome;
        prop_assert!(
            outcome >= ours.outcome || outcome == Outcome::Allow,
            "{:?}",
            better
        );
    }
    match ours.outcome {
        Outcome::StepUp => prop_assert_eq!(compiled(policy, &fresh_code).outcome, Outcome::Allow),
        Outcome::Login => {
            let mut admitted = policy.users().map(|user| {
                let name = Some(user.name.to_string());
                compiled(
                    policy,
                    &Request {
                        user: name,
                        login_age: 0,
                        ..request.clone()
                    },
                )
            });
            prop_assert!(
                admitted.any(|d| d.outcome >= Outcome::StepUp),
                "{:?}",
                request
            );
        }
        Outcome::Allow => {
            prop_assert!(policy.rule(ours.rule).id.contains('#'));
            if let Some(left) = ours.expires_in {
                let later = |secs: u32| Request {
                    login_age: request.login_age + secs,
                    mfa_age: request.mfa_age.map(|age| age + secs),
                    unix: request.unix.map(|unix| unix + i64::from(secs)),
                    ..request.clone()
                };
                prop_assert_eq!(compiled(policy, &later(left - 1)).outcome, Outcome::Allow);
            }
        }
        Outcome::Deny => {}
    }
    Ok(())
}
