use std::time::Duration;

use zeroize::Zeroizing;

use super::{Limits, Lockout, Throttled, Who};
use crate::ids::DeviceId;
use crate::store::CounterRow;

const NOW: i64 = 1_800_000_000;

fn limits() -> Limits {
    Limits {
        failures: 5,
        failure_wait: Duration::from_secs(900),
        source_posts_per_minute: 60,
        source_posts_burst: 59,
    }
}

fn lockout(rows: &[CounterRow]) -> Lockout {
    Lockout::new(limits(), Zeroizing::new([1; 32]), rows, NOW)
}

fn who(lockout: &Lockout, account: &str, source: &str) -> Who {
    lockout.who(account, source.parse().unwrap(), None)
}

fn fail(lockout: &Lockout, who: &Who, now: i64) -> Result<(), Throttled> {
    lockout.begin_password(who, now).map(drop)
}

fn retry(result: Result<(), Throttled>) -> u64 {
    result.unwrap_err().retry_after.as_secs()
}

#[test]
fn a_source_has_sixty_posts_at_once_and_one_more_each_second() {
    let lockout = lockout(&[]);
    let source = "192.0.2.1".parse().unwrap();
    for _ in 0..60 {
        lockout.post(source, NOW).unwrap();
    }
    assert_eq!(retry(lockout.post(source, NOW)), 1);
    assert!(lockout.post("192.0.2.2".parse().unwrap(), NOW).is_ok());
    for _ in 0..20 {
        lockout.post(source, NOW + 20).unwrap();
    }
    assert!(lockout.post(source, NOW + 20).is_err());
    assert!(lockout.post(source, NOW + 21).is_ok());
}

#[test]
fn a_site_of_ipv6_has_four_times_the_posts_of_one_source_of_it() {
    let limits = Limits {
        source_posts_per_minute: 5,
        source_posts_burst: 5,
        ..limits()
    };
    let lockout = Lockout::new(limits, Zeroizing::new([1; 32]), &[], NOW);
    let of = |net: u16| format!("2001:db8:0:{net:x}::1").parse().unwrap();
    for net in 0..21 {
        lockout.post(of(net), NOW).unwrap();
    }
    assert_eq!(retry(lockout.post(of(21), NOW)), 3);
    assert!(lockout.post(of(0x100), NOW).is_ok(), "another site");
    // what was refused took nothing from its own budget
    for net in 21..25 {
        let now = NOW + 3 * i64::from(net - 20);
        assert!(lockout.post(of(21), now).is_ok(), "{net}");
    }
}

#[test]
fn five_posts_a_minute_burst_five_lets_six_pass_and_one_more_each_twelve_seconds() {
    let limits = Limits {
        source_posts_per_minute: 5,
        source_posts_burst: 5,
        ..limits()
    };
    let lockout = Lockout::new(limits, Zeroizing::new([1; 32]), &[], NOW);
    let source = "192.0.2.1".parse().unwrap();
    for _ in 0..6 {
        lockout.post(source, NOW).unwrap();
    }
    assert_eq!(retry(lockout.post(source, NOW)), 12);
    assert_eq!(retry(lockout.post(source, NOW + 11)), 1);
    assert!(lockout.post(source, NOW + 12).is_ok());
    assert_eq!(retry(lockout.post(source, NOW + 12)), 12);
    assert!(lockout.post(source, NOW + 24).is_ok());
    // a refused post costs nothing, and a quiet minute makes the burst whole
    assert!((0..6).all(|_| lockout.post(source, NOW + 96).is_ok()));
    assert!(lockout.post(source, NOW + 96).is_err());
}

#[test]
fn the_sixth_failure_of_a_pair_waits_fifteen_minutes() {
    let lockout = lockout(&[]);
    let pair = who(&lockout, "alice", "192.0.2.1");
    for n in 0..5 {
        assert!(fail(&lockout, &pair, NOW + n).is_ok());
    }
    assert_eq!(retry(fail(&lockout, &pair, NOW + 5)), 899);
    assert_eq!(retry(fail(&lockout, &pair, NOW + 903)), 1);
    assert!(fail(&lockout, &pair, NOW + 904).is_ok());
}

#[test]
fn other_accounts_and_other_sources_do_not_wait() {
    let lockout = lockout(&[]);
    let pair = who(&lockout, "alice", "192.0.2.1");
    for _ in 0..5 {
        fail(&lockout, &pair, NOW).unwrap();
    }
    assert!(fail(&lockout, &pair, NOW).is_err());
    assert!(fail(&lockout, &who(&lockout, "bob", "192.0.2.1"), NOW).is_ok());
    assert!(fail(&lockout, &who(&lockout, "alice", "192.0.2.2"), NOW).is_ok());
    let device = lockout.who("alice", "192.0.2.1".parse().unwrap(), Some(DeviceId(1)));
    assert!(fail(&lockout, &device, NOW).is_ok());
}

#[test]
fn right_passwords_do_not_count() {
    let lockout = lockout(&[]);
    let pair = who(&lockout, "alice", "192.0.2.1");
    for _ in 0..200 {
        let tried = lockout.begin_password(&pair, NOW).unwrap();
        lockout.undo(tried, NOW);
    }
    assert!(fail(&lockout, &pair, NOW).is_ok());
}

#[test]
fn one_ipv6_network_and_a_mapped_address_are_one_source() {
    let lockout = lockout(&[]);
    for (a, b) in [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"),
        ("192.0.2.7", "::ffff:192.0.2.7"),
    ] {
        for _ in 0..5 {
            fail(&lockout, &who(&lockout, "alice", a), NOW).unwrap();
        }
        assert!(fail(&lockout, &who(&lockout, "alice", b), NOW).is_err());
    }
    assert!(fail(&lockout, &who(&lockout, "alice", "2001:db8:0:2::1"), NOW).is_ok());
}

#[test]
fn a_hundred_failures_from_anywhere_leave_only_known_devices() {
    let lockout = lockout(&[]);
    for n in 0..100 {
        let from = who(&lockout, "alice", &format!("192.0.2.{n}"));
        fail(&lockout, &from, NOW).unwrap();
    }
    let fresh = who(&lockout, "alice", "198.51.100.1");
    assert_eq!(retry(fail(&lockout, &fresh, NOW)), 900);
    assert!(fail(&lockout, &who(&lockout, "bob", "198.51.100.1"), NOW).is_ok());
    let known = lockout.who("alice", "10.0.0.2".parse().unwrap(), Some(DeviceId(1)));
    assert!(fail(&lockout, &known, NOW).is_ok());
    lockout.clear(&known, NOW);
    assert!(fail(&lockout, &fresh, NOW).is_ok());
}

#[test]
fn codes_count_ten_an_hour_over_all_sources_and_a_device_apart() {
    let lockout = lockout(&[]);
    for n in 0..10 {
        let from = who(&lockout, "alice", &format!("192.0.2.{n}"));
        drop(lockout.begin_code(&from, NOW).unwrap());
    }
    let fresh = who(&lockout, "alice", "198.51.100.1");
    assert_eq!(retry(lockout.begin_code(&fresh, NOW + 10).map(drop)), 3590);
    // The password is another counter, and a right one does not help.
    let tried = lockout.begin_password(&fresh, NOW + 10).unwrap();
    lockout.undo(tried, NOW + 10);
    assert!(lockout.begin_code(&fresh, NOW + 10).is_err());
    let known = lockout.who("alice", "10.0.0.2".parse().unwrap(), Some(DeviceId(1)));
    assert!(lockout.begin_code(&known, NOW + 10).is_ok());
    assert!(lockout.begin_code(&fresh, NOW + 3600).is_ok());
}

#[test]
fn parallel_tries_count_each() {
    let lockout = lockout(&[]);
    let pair = who(&lockout, "alice", "192.0.2.1");
    let begun: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| usize::from(fail(&lockout, &pair, NOW).is_ok())))
            .collect();
        tries.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(begun, 5);
}

#[test]
fn counters_survive_a_restart_and_do_not_wait_longer_for_a_clock_set_back() {
    let first = lockout(&[]);
    let pair = who(&first, "alice", "192.0.2.1");
    let later = NOW + 100_000;
    for _ in 0..5 {
        fail(&first, &pair, later).unwrap();
    }
    let rows = first.take_changed();
    assert!(first.take_changed().is_empty());
    first.put_back(&rows);
    assert_eq!(first.take_changed(), rows);
    // The wall clock was ahead before the restart: the wait begins anew, no more.
    let second = lockout(&rows);
    assert_eq!(retry(fail(&second, &pair, NOW)), 900);
    assert!(fail(&second, &pair, NOW + 900).is_ok());
}

#[test]
fn a_hundred_failures_by_a_known_device_make_it_wait_a_day_and_nobody_else() {
    let lockout = lockout(&[]);
    let source = "192.0.2.1".parse().unwrap();
    let known = lockout.who_by("alice", source, Some("browser-1"));
    for n in 0..100 {
        fail(&lockout, &known, NOW + n / 5 * 900).unwrap();
    }
    let last = NOW + 99 / 5 * 900;
    assert_eq!(retry(fail(&lockout, &known, last + 900)), 86_400 - 900);
    let other = lockout.who_by("alice", source, Some("browser-2"));
    assert!(fail(&lockout, &other, last + 900).is_ok());
    assert!(fail(&lockout, &who(&lockout, "alice", "192.0.2.9"), last).is_ok());
    assert!(fail(&lockout, &known, last + 86_400).is_ok());
}

#[test]
fn an_office_behind_one_address_is_not_shut_out_by_one_bad_password() {
    let lockout = lockout(&[]);
    let office = "192.0.2.1";
    for _ in 0..1000 {
        fail(&lockout, &who(&lockout, "mallory", office), NOW).ok();
    }
    for n in 0..50 {
        let colleague = who(&lockout, &format!("user{n}"), office);
        let tried = lockout.begin_password(&colleague, NOW).unwrap();
        lockout.undo(tried, NOW);
    }
    assert!(fail(&lockout, &who(&lockout, "mallory", office), NOW).is_err());
}

#[test]
fn rows_name_nobody() {
    let lockout = lockout(&[]);
    fail(&lockout, &who(&lockout, "alice", "192.0.2.1"), NOW).unwrap();
    let text = format!("{:?}", lockout.take_changed());
    assert!(!text.contains("alice") && !text.contains("192.0.2"));
}

#[test]
fn an_account_is_told_to_wait_while_it_does_and_not_after_it_was_cleared() {
    let lockout = lockout(&[]);
    let stranger = who(&lockout, "alice", "192.0.2.1");
    assert_eq!(lockout.waits("alice", NOW), None);
    for _ in 0..10 {
        drop(lockout.begin_code(&stranger, NOW).unwrap());
    }
    assert!(lockout.begin_code(&stranger, NOW).is_err());
    assert_eq!(
        lockout.waits("alice", NOW + 600),
        Some(Duration::from_secs(3000))
    );
    assert_eq!(lockout.waits("alice", NOW + 3600), None);
    assert_eq!(lockout.waits("bob", NOW + 600), None);
    lockout.clear(&stranger, NOW + 600);
    assert_eq!(lockout.waits("alice", NOW + 600), None);
    assert!(lockout.begin_code(&stranger, NOW + 600).is_ok());
}
