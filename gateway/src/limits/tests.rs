use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Budget, Key, Limits, Rate};
use crate::clock;

fn rate(name: &str, count: u32, per: u64, burst: u32) -> Rate {
    Rate {
        name: name.into(),
        count,
        per: Duration::from_secs(per),
        burst,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn person(name: &str) -> Key {
    Key::Person(name.into())
}

fn limits() -> (Limits, Instant) {
    let now = clock::now();
    (Limits::new(&Rate::of_source(), now), now)
}

fn after(now: Instant, ms: u64) -> Instant {
    now + Duration::from_millis(ms)
}

#[test]
fn five_a_minute_burst_five_lets_six_pass_and_one_more_every_twelve_seconds() {
    let (limits, now) = limits();
    let login = rate("login", 5, 60, 5);
    let key = person("demo");
    for remaining in (0..6).rev() {
        let budget = limits.rate(&key, &login, now).unwrap();
        assert_eq!((budget.limit, budget.remaining), (6, remaining));
    }
    let refused = limits.rate(&key, &login, now).unwrap_err();
    assert_eq!(refused.seconds(), 12);
    assert!(limits.rate(&key, &login, after(now, 11_999)).is_err());
    assert!(limits.rate(&key, &login, after(now, 12_000)).is_ok());
    assert!(limits.rate(&key, &login, after(now, 12_001)).is_err());
    assert!(limits.rate(&key, &login, after(now, 24_000)).is_ok());
}

#[test]
fn the_tiers_of_the_guides_let_their_number_pass_and_then_one_each_share_of_the_time() {
    for (count, per, each_ms) in [
        (100_u32, 60_u64, 600_u64),
        (300, 60, 200),
        (1000, 60, 60),
        (5, 3600, 720_000),
        (60, 60, 1000),
    ] {
        let (limits, now) = limits();
        let tier = rate("tier", count, per, count - 1);
        let key = person("demo");
        let passed = (0..2 * count).filter(|_| limits.rate(&key, &tier, now).is_ok());
        assert_eq!(passed.count(), count as usize, "{count} in {per} s");
        let refused = limits.rate(&key, &tier, now).unwrap_err();
        assert_eq!(refused.seconds(), each_ms.div_ceil(1000), "{count}");
        assert!(limits.rate(&key, &tier, after(now, each_ms - 1)).is_err());
        assert!(limits.rate(&key, &tier, after(now, each_ms)).is_ok());
        // after the whole time the whole number passes again, and not one more
        let later = after(now, each_ms + per * 1000);
        let passed = (0..2 * count).filter(|_| limits.rate(&key, &tier, later).is_ok());
        assert_eq!(passed.count(), count as usize, "{count} in {per} s");
    }
}

#[test]
fn a_refused_request_costs_nothing() {
    let (limits, now) = limits();
    let tier = rate("t", 1, 10, 0);
    let key = person("demo");
    limits.rate(&key, &tier, now).unwrap();
    for ms in 0..9_999 {
        assert!(limits.rate(&key, &tier, after(now, ms)).is_err());
    }
    assert!(limits.rate(&key, &tier, after(now, 10_000)).is_ok());
}

#[test]
fn the_budget_says_what_is_left_and_when_it_is_full() {
    let (limits, now) = limits();
    let tier = rate("t", 20, 1, 59);
    let budget = limits.rate(&person("a"), &tier, now).unwrap();
    let expected = Budget {
        limit: 60,
        remaining: 59,
        reset: 1,
    };
    assert_eq!(budget, expected);
    for _ in 0..59 {
        limits.rate(&person("a"), &tier, now).unwrap();
    }
    let refused = limits.rate(&person("a"), &tier, now).unwrap_err();
    assert_eq!(
        (refused.limit, refused.seconds(), refused.reset),
        (60, 1, 3)
    );
}

#[test]
fn another_person_another_tier_and_the_source_have_their_own_budgets() {
    let (limits, now) = limits();
    let tier = rate("t", 1, 60, 0);
    limits.rate(&person("a"), &tier, now).unwrap();
    assert!(limits.rate(&person("a"), &tier, now).is_err());
    assert!(limits.rate(&person("b"), &tier, now).is_ok());
    assert!(limits.rate(&person("a"), &rate("u", 1, 60, 0), now).is_ok());
    let source = Key::of(None, ip("192.0.2.1"));
    assert!(limits.rate(&source, &tier, now).is_ok());
    assert!(limits.rate(&source, &tier, now).is_err());
}

#[test]
fn a_person_has_one_budget_wherever_they_come_from() {
    let name: Arc<str> = "demo".into();
    let web = Key::of(Some(&name), ip("192.0.2.1"));
    assert_eq!(web, Key::of(Some(&name), ip("10.200.200.7")));
    assert_ne!(web, Key::of(None, ip("192.0.2.1")));
}

#[test]
fn an_unchanged_tier_outlives_reloads_and_sweeps_and_a_changed_one_starts_afresh() {
    let (limits, now) = limits();
    let key = person("demo");
    limits.rate(&key, &rate("t", 1, 600, 0), now).unwrap();
    limits.sweep(after(now, 60_000));
    assert!(
        limits
            .rate(&key, &rate("t", 1, 600, 0), after(now, 60_000))
            .is_err()
    );
    assert!(
        limits
            .rate(&key, &rate("t", 2, 600, 0), after(now, 60_000))
            .is_ok()
    );
}

#[test]
fn sources_are_addresses_or_sixty_fours_and_twins_are_not_hit() {
    let now = clock::now();
    let limits = Limits::new(&rate("source", 2, 1, 1), now);
    for (first, same, other) in [
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
    ] {
        assert!(limits.source(ip(first), now).is_ok());
        assert!(limits.source(ip(same), now).is_ok());
        let refused = limits.source(ip(first), now).unwrap_err();
        assert_eq!(refused.seconds(), 1);
        assert!(limits.source(ip(other), now).is_ok());
    }
}

#[test]
fn the_default_source_budget_is_200_a_second_burst_400() {
    let (limits, now) = limits();
    let passed = (0..1000).filter(|_| limits.source(ip("192.0.2.1"), now).is_ok());
    assert_eq!(passed.count(), 401);
    let later = after(now, 1000);
    let passed = (0..1000).filter(|_| limits.source(ip("192.0.2.1"), later).is_ok());
    assert_eq!(passed.count(), 200);
}

#[test]
fn keys_are_bounded_and_a_hot_key_is_never_displaced() {
    let now = clock::now();
    let limits = Limits::bounded(&rate("source", 1, 3600, 0), 1000, now);
    let hot = ip("192.0.2.1");
    limits.source(hot, now).unwrap();
    let flood = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
    let passed = (0..20_000).filter(|n| limits.source(flood(*n), now).is_ok());
    // 999 places and at most 1,024 shared budgets
    assert!(passed.count() <= 999 + 1024);
    assert_eq!(limits.keys(), 1000);
    assert!(limits.source(hot, now).is_err());
    let whole = after(now, 2 * 3_600_000 + 1);
    limits.sweep(whole);
    assert_eq!(limits.keys(), 0);
    assert!(limits.source(flood(19_999), whole).is_ok());
}

#[test]
fn keys_of_all_tiers_count_together_and_leave_with_their_tier() {
    let now = clock::now();
    let limits = Limits::bounded(&Rate::of_source(), 10, now);
    for n in 0..20 {
        let tier = rate(&format!("t{n}"), 1, 1, 0);
        limits.rate(&person("demo"), &tier, now).unwrap();
    }
    assert_eq!(limits.keys(), 10);
    limits.sweep(after(now, 10_000));
    assert_eq!(limits.keys(), 0);
    assert!(limits.tiers.read().is_empty());
}

#[test]
fn time_does_not_run_backwards() {
    let (limits, now) = limits();
    let tier = rate("t", 1, 10, 0);
    limits
        .rate(&person("a"), &tier, after(now, 20_000))
        .unwrap();
    assert!(limits.rate(&person("a"), &tier, now).is_err());
    assert!(limits.rate(&person("a"), &tier, after(now, 30_000)).is_ok());
}

#[test]
fn no_rate_is_out_of_range() {
    let (limits, now) = limits();
    let key = person("demo");
    let huge = Rate {
        name: "huge".into(),
        count: 1,
        per: Duration::MAX,
        burst: u32::MAX,
    };
    assert!(limits.rate(&key, &huge, now).is_ok());
    let fast = rate("fast", u32::MAX, 1, u32::MAX);
    assert!(limits.rate(&key, &fast, now).is_ok());
    let instant = rate("instant", 5, 0, 5);
    assert!(limits.rate(&key, &instant, now).is_ok());
    let none = limits.rate(&key, &rate("none", 0, 60, 5), now).unwrap_err();
    assert_eq!(none.seconds(), 60);
}

#[test]
fn parallel_requests_count_each() {
    let (limits, now) = limits();
    let tier = rate("t", 1, 3600, 99);
    let passed: usize = std::thread::scope(|scope| {
        let run = || {
            (0..100)
                .filter(|_| limits.rate(&person("a"), &tier, now).is_ok())
                .count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(passed, 100);
}

#[test]
fn a_site_of_ipv6_has_four_times_the_budget_of_one_source_of_it() {
    let now = clock::now();
    let limits = Limits::new(&rate("source", 1, 60, 1), now);
    let of = |net: u16| ip(&format!("2001:db8:0:{net:x}::1"));
    for net in 0..2 {
        assert!(limits.source(of(net), now).is_ok() && limits.source(of(net), now).is_ok());
        assert!(limits.source(of(net), now).is_err(), "one source");
    }
    assert!(limits.source(of(2), now).is_ok(), "the fifth of five");
    assert!(limits.source(of(3), now).is_err(), "one site");
    assert!(limits.source(of(0x100), now).is_ok(), "another site");
    assert!(limits.source(of(3), after(now, 15_000)).is_ok());
}

#[test]
fn handshakes_have_a_budget_of_their_own() {
    let (limits, now) = limits();
    let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
    for _ in 0..=400 {
        limits.handshake(a, now).unwrap();
    }
    assert!(limits.handshake(a, now).is_err());
    assert!(limits.handshake(b, now).is_ok() && limits.source(a, now).is_ok());
    assert!(limits.handshake(a, after(now, 10)).is_ok());
}
