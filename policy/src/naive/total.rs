//! Property 1: whatever comes, there is an answer. Sources load or are refused; a request gets a decision, and
//! deciding takes no memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::laws::{REQUESTS, cases, world};
use super::tests::long;
use super::world::{Dice, add_like, request, sources};
use super::{Request, Target};
use crate::canon;
use crate::compile::Policy;
use crate::decide::{Context, Decision, Outcome, Subject};
use crate::diag::Edit;
use crate::ir::{Device, Proto};
use crate::source::Sources;

/// Decides, and counts what that takes from the heap; `None` where a host or path has no canonical form.
fn counted(policy: &Policy, request: &Request) -> Option<(Decision, u64)> {
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
    let zone = policy.zone(request.ip, request.tunnel);
    let mut out = None;
    let time = |unix: Option<i64>| unix.map_or_else(Default::default, |unix| policy.tick(unix));
    let taken = match &request.target {
        Target::Http(host, path, method) => {
            let host = canon::host(host).ok()?;
            let path = canon::path_with(path.as_bytes(), policy.path_opts(&host)).ok()?;
            allocation_counter::measure(|| {
                let context = Context::new(zone, time(request.unix));
                out = Some(policy.decide_http(&subject, &host, &path, method, &context));
            })
        }
        Target::Flow(dst, port, proto) => allocation_counter::measure(|| {
            let context = Context::new(zone, time(request.unix));
            out = Some(policy.decide_flow(&subject, *dst, *port, *proto, &context));
        }),
        Target::Admin(method) => allocation_counter::measure(|| {
            let context = Context::new(zone, time(request.unix));
            out = Some(policy.decide_admin(&subject, method, &context));
        }),
    };
    out.map(|decision| (decision, taken.count_total))
}

fn bytes<const N: usize>(dice: &mut Dice) -> [u8; N] {
    std::array::from_fn(|_| u8::try_from(dice.roll(256)).unwrap())
}

fn some_ip(dice: &mut Dice) -> IpAddr {
    let v4 = Ipv4Addr::from(bytes(dice));
    let v6 = Ipv6Addr::from(bytes::<16>(dice));
    dice.pick(&[
        IpAddr::V4(v4),
        IpAddr::V6(v4.to_ipv6_mapped()),
        IpAddr::V6(v6),
    ])
}

/// A request of which every part may be anything.
fn anything(dice: &mut Dice) -> Request {
    let length = dice.roll(24);
    let text = String::from_utf8_lossy(&bytes::<24>(dice)[..length]).into_owned();
    let target = match dice.roll(5) {
        0 => Target::Flow(
            some_ip(dice),
            u16::from_ne_bytes(bytes(dice)),
            dice.pick(&[Proto::Tcp, Proto::Udp, Proto::Icmp]),
        ),
        1 => Target::Admin(dice.pick(&["GET", "POST", "", &text]).to_owned()),
        _ => Target::Http(
            dice.pick(&["a.example", "b.example", "x.b.example", &text])
                .to_owned(),
            format!("/{text}"),
            dice.pick(&["GET", "", "get", "\u{e9}\0", &text]).to_owned(),
        ),
    };
    let word = |dice: &mut Dice| u32::from_ne_bytes(bytes(dice));
    let unix = i64::from_ne_bytes(bytes(dice));
    Request {
        user: dice.pick(&[None, Some("u0".to_owned()), Some(text)]),
        mfa_age: dice.chance(70).then(|| word(dice)),
        login_age: word(dice),
        device: dice.pick(&[Device::Any, Device::Known, Device::Managed]),
        ip: some_ip(dice),
        tunnel: dice.chance(50),
        unix: dice.pick(&[None, Some(i64::MIN), Some(i64::MAX), Some(unix), Some(0)]),
        target,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p1_no_decision_takes_memory(seed in any::<u64>()) {
        let (mut dice, policy) = world(seed);
        for _ in 0..REQUESTS {
            let request = request(&mut dice);
            let Some((_, taken)) = counted(&policy, &request) else { continue };
            prop_assert_eq!(taken, 0, "{:?}", request);
        }
    }

    #[test]
    fn p1_any_request_gets_a_decision(seed in any::<u64>()) {
        let (mut dice, policy) = world(seed);
        for _ in 0..REQUESTS {
            let request = anything(&mut dice);
            let Some((decision, taken)) = counted(&policy, &request) else { continue };
            prop_assert_eq!(taken, 0, "{:?}", request);
            prop_assert!(!policy.rule(decision.rule).id.is_empty());
            prop_assert!(decision.expires_in != Some(0), "{request:?}");
            if decision.outcome == Outcome::Allow {
                prop_assert!(policy.rule(decision.rule).id.contains('#'));
            }
        }
    }

    #[test]
    fn p1_any_bytes_are_loaded_or_refused_with_places(
        seed in any::<u64>(), noise in vec((any::<u16>(), 0usize..30, vec(any::<u8>(), 0..8)), 1..4),
    ) {
        let mut dice = Dice(seed);
        let good = sources(&mut dice);
        let mut bad = Sources::new();
        for file in good.files() {
            let mut bytes = good.text(file).as_bytes().to_vec();
            for (at, cut, put) in &noise {
                let at = usize::from(*at) % (bytes.len() + 1);
                let end = (at + cut).min(bytes.len());
                bytes.splice(at..end, put.iter().copied());
            }
            add_like(&mut bad, &good, file, String::from_utf8_lossy(&bytes).into_owned());
        }
        if let Err(diags) = crate::load(&bad) {
            prop_assert!(!diags.is_empty());
            for diag in diags {
                let line = diag.one_line(&bad);
                if let Some(Edit { span, .. }) = diag.fix(&bad) {
                    let text = bad.text(span.file);
                    prop_assert!(text.get(span.start as usize..span.end as usize).is_some(), "{line}");
                }
                prop_assert!((line.contains(".toml:") || line.contains(".txt:")) && !line.chars().any(char::is_control), "{line}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if long() { 10_000_000 } else { 100_000 }, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    /// 100,000 files, or 10^7 in the long run.
    #[test]
    fn p1_pure_noise_is_refused(bytes in vec(any::<u8>(), 0..60)) {
        let mut sources = Sources::new();
        sources.add("policy.toml", String::from_utf8_lossy(&bytes).into_owned());
        prop_assert!(crate::load(&sources).is_err());
    }
}

/// At the last instant there is, what a schedule allows still stands for a second; the long run found it standing for none.
#[test]
fn p1_an_allow_at_the_end_of_time_is_not_over_at_once() {
    let mut sources = Sources::new();
    let text = "postern = 1\n[group]\nit = [\"ann\"]\n[schedule.all]\ndays = [\"mon-sun\"]\ntz = \"UTC\"\n\
                [admin]\nallow.it = { who = \"@it\", when = \"all\" }\n";
    sources.add("policy.toml", text.to_owned());
    let policy = crate::load(&sources).unwrap().policy;
    for unix in [0, i64::MAX - 1, i64::MAX] {
        let request = Request {
            user: Some("ann".to_owned()),
            mfa_age: Some(0),
            login_age: 0,
            device: Device::Any,
            ip: Ipv4Addr::LOCALHOST.into(),
            tunnel: false,
            unix: Some(unix),
            target: Target::Admin("GET".to_owned()),
        };
        let (decision, _) = counted(&policy, &request).unwrap();
        assert_eq!(decision.outcome, Outcome::Allow, "{unix}");
        assert!(
            decision.expires_in.is_some_and(|left| left > 0),
            "{unix}: {decision:?}"
        );
    }
}

/// The counter counts: what does take memory is seen.
#[test]
fn p1_a_question_in_words_does_take_memory() {
    let (_, policy) = world(1);
    let text = crate::QueryText {
        to: "https://a.example/a".to_owned(),
        ..crate::QueryText::default()
    };
    let taken = allocation_counter::measure(|| drop(policy.query(&text)));
    assert!(taken.count_total > 0);
}
