use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::book::{Book, BookError, Notice, Offence};
use crate::audit::reason;
use crate::config::{Bans as Figures, Jail};
use crate::store::BanRow;

const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3600;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn of(n: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + n).to_be_bytes())
}

fn figures(maxretry: u32, findtime: u64, bantime: u64) -> Figures {
    Figures {
        maxretry,
        findtime: Duration::from_secs(findtime),
        bantime: Duration::from_secs(bantime),
        ..Figures::default()
    }
}

fn book() -> Book {
    Book::new(Figures::default(), Vec::new(), NOW)
}

/// Does something wrong once; whoever does too much is banned.
fn fail(book: &mut Book, source: &str, now: i64) {
    offend(book, ip(source), Offence::SignIn, now);
}

fn offend(book: &mut Book, source: IpAddr, what: Offence, now: i64) {
    if let Some(candidate) = book.hit(source, what, now) {
        book.judge(candidate, source, now, |_| None);
    }
}

fn fails(book: &mut Book, source: &str, times: usize, now: i64) {
    (0..times).for_each(|_| fail(book, source, now));
}

fn is_banned(book: &Book, source: &str, now: i64) -> bool {
    book.find(ip(source), now).is_some()
}

#[test]
fn twenty_failures_in_ten_minutes_ban_for_an_hour_and_nineteen_do_not() {
    let mut book = book();
    fails(&mut book, "192.0.2.1", 19, NOW);
    assert!(!is_banned(&book, "192.0.2.1", NOW));
    fail(&mut book, "192.0.2.1", NOW + 599);
    assert!(is_banned(&book, "192.0.2.1", NOW + 599));
    assert!(is_banned(&book, "::ffff:192.0.2.1", NOW + 599));
    assert!(!is_banned(&book, "192.0.2.2", NOW + 599));
    assert!(is_banned(&book, "192.0.2.1", NOW + 599 + HOUR - 1));
    assert!(!is_banned(&book, "192.0.2.1", NOW + 599 + HOUR));
}

#[test]
fn failures_further_apart_than_the_find_time_never_ban() {
    let mut book = Book::new(figures(3, 600, 3600), Vec::new(), NOW);
    for n in 0..100 {
        fail(&mut book, "192.0.2.1", NOW + n * 300);
        assert!(!is_banned(&book, "192.0.2.1", NOW + n * 300), "{n}");
    }
    // the window slides: two late ones and one that is 599 seconds old make three
    fail(&mut book, "192.0.2.1", NOW + 99 * 300 + 1);
    assert!(is_banned(&book, "192.0.2.1", NOW + 99 * 300 + 1));
}

#[test]
fn the_figures_of_fail2ban_in_the_guides_are_kept_exactly() {
    // bantime 3600, findtime 600, maxretry 3; and the jail for rate limits with 5, 600, 7200
    let limited = Jail {
        maxretry: 5,
        findtime: Duration::from_secs(600),
        bantime: Duration::from_secs(7200),
    };
    let figures = Figures {
        limited,
        ..figures(3, 600, 3600)
    };
    let mut book = Book::new(figures, Vec::new(), NOW);
    for (source, what, hits, length) in [
        ("192.0.2.1", Offence::SignIn, 3, 3600),
        ("192.0.2.2", Offence::Limited, 5, 7200),
    ] {
        for n in 1..hits {
            offend(&mut book, ip(source), what, NOW + n);
            assert!(!is_banned(&book, source, NOW + n), "{source} {n}");
        }
        offend(&mut book, ip(source), what, NOW + 599);
        let row = book.find(ip(source), NOW + 599).unwrap();
        assert_eq!(row.until, Some(NOW + 599 + length));
    }
}

#[test]
fn an_office_with_one_wrong_password_is_not_banned() {
    let mut book = book();
    // five tries are compared, then the pair of source and account waits and gets 429
    fails(&mut book, "192.0.2.1", 5, NOW);
    for n in 0..100 {
        offend(&mut book, ip("192.0.2.1"), Offence::Limited, NOW + n * 5);
    }
    assert!(!is_banned(&book, "192.0.2.1", NOW + 500));
    // a fifth of an office of twenty may mistype once each
    fails(&mut book, "192.0.2.1", 4, NOW + 500);
    assert!(!is_banned(&book, "192.0.2.1", NOW + 500));
}

#[test]
fn parallel_hits_count_each_and_ban_once() {
    let book = parking_lot::Mutex::new(book());
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| fail(&mut book.lock(), "192.0.2.1", NOW));
        }
    });
    let mut book = book.into_inner();
    assert_eq!(book.take_changes().notices.len(), 1);
    assert!(is_banned(&book, "192.0.2.1", NOW));
}

#[test]
fn jails_count_apart_and_one_without_a_figure_never_bans() {
    let mut book = book();
    fails(&mut book, "192.0.2.1", 19, NOW);
    for _ in 0..299 {
        offend(&mut book, ip("192.0.2.1"), Offence::Limited, NOW);
    }
    for _ in 0..10_000 {
        offend(&mut book, ip("192.0.2.1"), Offence::Probe, NOW);
    }
    assert!(!is_banned(&book, "192.0.2.1", NOW));
    offend(&mut book, ip("192.0.2.1"), Offence::Limited, NOW);
    let row = book.find(ip("192.0.2.1"), NOW).unwrap();
    assert_eq!(row.reason, reason::MANY_LIMITS);
    let off = Figures {
        enabled: false,
        ..Figures::default()
    };
    let mut book = Book::new(off, Vec::new(), NOW);
    fails(&mut book, "192.0.2.1", 1000, NOW);
    assert!(!is_banned(&book, "192.0.2.1", NOW));
}

#[test]
fn each_next_ban_is_twice_as_long_up_to_a_day_and_a_quiet_month_forgets() {
    let mut book = book();
    let mut now = NOW;
    for hours in [1, 2, 4, 8, 16, 24, 24] {
        fails(&mut book, "192.0.2.1", 20, now);
        let row = book.find(ip("192.0.2.1"), now).unwrap();
        assert_eq!(row.until, Some(now + hours * HOUR), "{hours}");
        now += hours * HOUR;
        book.sweep(now);
        book.forget(now);
    }
    now += 30 * 86_400;
    book.forget(now);
    fails(&mut book, "192.0.2.1", 20, now);
    let row = book.find(ip("192.0.2.1"), now).unwrap();
    assert_eq!((row.until, row.times), (Some(now + HOUR), 1));
}

#[test]
fn an_ipv6_source_is_its_64_and_a_site_counts_for_four() {
    let mut book = book();
    for n in 0..20 {
        fail(&mut book, &format!("2001:db8::{n:x}"), NOW);
    }
    assert!(is_banned(&book, "2001:db8::ffff:1", NOW));
    assert!(!is_banned(&book, "2001:db8:0:1::1", NOW));
    // 80 failures over a whole /56, never 20 of one /64
    let mut book = Book::new(Figures::default(), Vec::new(), NOW);
    for n in 0..79 {
        fail(&mut book, &format!("2001:db8:0:{n:x}::1"), NOW);
    }
    assert_eq!(book.count(), 0);
    fail(&mut book, "2001:db8:0:ff::1", NOW);
    assert!(is_banned(&book, "2001:db8:0:aa::1", NOW));
    assert!(!is_banned(&book, "2001:db8:0:100::1", NOW));
}

#[test]
fn four_banned_parts_make_the_site_banned() {
    let mut book = Book::new(figures(20, 600, 3600), Vec::new(), NOW);
    for n in 0..4 {
        let at = NOW + n * 601; // so that the site's own count stays low
        fails(&mut book, &format!("2001:db8:0:{n:x}::1"), 20, at);
        assert_eq!(is_banned(&book, "2001:db8:0:80::1", at), n == 3, "{n}");
    }
    assert!(!is_banned(&book, "2001:db8:0:180::1", NOW + 3 * 601));
}

#[test]
fn a_spared_source_starts_again_from_nothing() {
    let mut book = book();
    for _ in 0..19 {
        assert_eq!(book.hit(of(1), Offence::SignIn, NOW), None);
    }
    let candidate = book.hit(of(1), Offence::SignIn, NOW).unwrap();
    book.spare(candidate);
    for _ in 0..19 {
        assert_eq!(book.hit(of(1), Offence::SignIn, NOW), None);
    }
    assert!(book.hit(of(1), Offence::SignIn, NOW).is_some());
}

#[test]
fn bans_survive_a_restart_with_their_growth_and_no_clock_makes_them_longer() {
    let mut first = book();
    fails(&mut first, "192.0.2.1", 20, NOW);
    first.add(net("198.51.100.0/24"), None, None, NOW).unwrap();
    let rows = first.take_changes().rows;
    assert_eq!(rows.len(), 2);
    let second = Book::new(Figures::default(), rows.clone(), NOW + 60);
    assert!(is_banned(&second, "192.0.2.1", NOW + HOUR - 1));
    assert!(!is_banned(&second, "192.0.2.1", NOW + HOUR));
    assert!(is_banned(&second, "198.51.100.9", NOW + 1000 * HOUR));
    // over by the restart, and still remembered
    let mut third = Book::new(Figures::default(), rows.clone(), NOW + 2 * HOUR);
    fails(&mut third, "192.0.2.1", 20, NOW + 2 * HOUR);
    let row = third.find(ip("192.0.2.1"), NOW + 2 * HOUR).unwrap();
    assert_eq!((row.times, row.until), (2, Some(NOW + 4 * HOUR)));
    // the wall clock was set back before the restart: an hour from now, no more
    let back = NOW - 100 * HOUR;
    let fourth = Book::new(Figures::default(), rows, back);
    assert!(is_banned(&fourth, "192.0.2.1", back + HOUR - 1));
    assert!(!is_banned(&fourth, "192.0.2.1", back + HOUR));
}

#[test]
fn an_operator_bans_any_network_and_lifts_what_lies_in_it_or_around_it() {
    let mut book = book();
    let hour = Some(Duration::from_secs(3600));
    book.add(net("192.0.2.0/24"), hour, Some("scans".to_owned()), NOW)
        .unwrap();
    book.add(net("2001:db8::/32"), None, None, NOW).unwrap();
    assert!(is_banned(&book, "192.0.2.200", NOW));
    assert!(is_banned(&book, "2001:db8:9::1", NOW));
    assert!(!is_banned(&book, "192.0.3.1", NOW));
    assert!(book.remove(&net("203.0.113.0/24"), NOW).is_empty());
    // an address in it lifts the whole
    let lifted = book.remove(&net("192.0.2.7/32"), NOW);
    assert_eq!(lifted.first().map(|r| r.network), Some(net("192.0.2.0/24")));
    assert!(!is_banned(&book, "192.0.2.200", NOW));
    assert!(is_banned(&book, "2001:db8:9::1", NOW));
    for n in 1..4 {
        fails(&mut book, &format!("192.0.2.{n}"), 20, NOW);
    }
    assert_eq!(book.remove(&net("192.0.2.0/24"), NOW).len(), 3);
    assert_eq!(book.count(), 1);
}

#[test]
fn a_lifted_ban_is_forgotten_with_its_failures_and_its_growth() {
    let mut book = book();
    fails(&mut book, "192.0.2.1", 20, NOW);
    book.remove(&net("192.0.2.1/32"), NOW);
    fails(&mut book, "192.0.2.1", 19, NOW);
    assert!(!is_banned(&book, "192.0.2.1", NOW));
    fail(&mut book, "192.0.2.1", NOW);
    assert_eq!(book.find(ip("192.0.2.1"), NOW).unwrap().times, 1);
}

#[test]
fn the_journal_hears_of_the_begin_and_the_end_of_each_ban_once() {
    let mut book = book();
    fails(&mut book, "192.0.2.1", 100, NOW);
    let changes = book.take_changes();
    assert!(matches!(
        changes.notices.as_slice(),
        [Notice::Banned(row)] if row.network == net("192.0.2.1/32")
    ));
    book.sweep(NOW + HOUR - 1);
    assert!(book.take_changes().notices.is_empty());
    book.sweep(NOW + HOUR);
    book.sweep(NOW + HOUR);
    let changes = book.take_changes();
    assert!(matches!(
        changes.notices.as_slice(),
        [Notice::Unbanned(_, reason::EXPIRED)]
    ));
    book.add(net("192.0.2.9/32"), None, None, NOW).unwrap();
    book.remove(&net("192.0.2.9/32"), NOW);
    let changes = book.take_changes();
    assert_eq!(changes.gone, [net("192.0.2.9/32")]);
    assert!(matches!(
        changes.notices.as_slice(),
        [Notice::Banned(_), Notice::Unbanned(_, reason::BY_OPERATOR)]
    ));
    assert_eq!(book.count(), 0);
}

#[test]
fn what_could_not_be_written_is_written_again() {
    let mut book = book();
    fails(&mut book, "192.0.2.1", 20, NOW);
    let changes = book.take_changes();
    assert!(book.take_changes().rows.is_empty());
    book.put_back(&changes);
    assert_eq!(book.take_changes().rows, changes.rows);
}

#[test]
fn sources_near_their_ban_are_not_pushed_out_and_bans_are_bounded() {
    let mut book = book();
    fails(&mut book, "192.0.2.1", 19, NOW);
    for n in 0..40_000 {
        offend(&mut book, of(n), Offence::SignIn, NOW);
    }
    fail(&mut book, "192.0.2.1", NOW);
    assert!(is_banned(&book, "192.0.2.1", NOW));
    let mut book = Book::new(figures(1, 600, 3600), Vec::new(), NOW);
    book.add(net("198.51.100.7/32"), None, None, NOW).unwrap();
    for n in 0..66_000 {
        offend(&mut book, of(n), Offence::SignIn, NOW + i64::from(n / 1000));
    }
    assert_eq!(book.count(), 65_536);
    assert!(is_banned(&book, "198.51.100.7", NOW));
    assert!(book.find(of(65_999), NOW + 66).is_some());
}

#[test]
fn operators_cannot_fill_the_book() {
    let mut book = book();
    for n in 0..10_000 {
        book.add(IpNet::from(of(n)), None, None, NOW).unwrap();
    }
    let full = book.add(net("192.0.2.1/32"), None, None, NOW);
    assert_eq!(full.map(drop), Err(BookError::Full));
    assert!(book.add(IpNet::from(of(1)), None, None, NOW).is_ok());
}

#[test]
fn an_operators_ban_is_replaced_by_the_next_and_outlasts_those_of_the_gateway() {
    let mut book = book();
    let hour = Some(Duration::from_secs(3600));
    book.add(net("192.0.2.1/32"), None, None, NOW).unwrap();
    fails(&mut book, "192.0.2.1", 100, NOW);
    let row: &BanRow = book.find(ip("192.0.2.1"), NOW).unwrap();
    assert_eq!((row.until, row.times), (None, 1));
    book.add(net("192.0.2.1/32"), hour, None, NOW).unwrap();
    assert_eq!(book.list(NOW).len(), 1);
    assert!(!is_banned(&book, "192.0.2.1", NOW + HOUR));
}

/// Fails once and is judged; what holds a home is spared.
fn fail_beside(book: &mut Book, source: &str, home: &str, now: i64) {
    let (source, home) = (ip(source), ip(home));
    if let Some(candidate) = book.hit(source, Offence::SignIn, now) {
        let spares = |network: &IpNet| network.contains(&home).then_some("home");
        book.judge(candidate, source, now, spares);
    }
}

#[test]
fn a_site_is_spared_for_any_part_of_it_and_the_source_alone_is_banned_then() {
    let (near, far) = ("2001:db8:0:aa::1", "2001:db8:0:1aa::1");
    for (home, site_falls) in [(near, false), (far, true)] {
        // by the failures of the whole site
        let mut book = book();
        for n in 0..80 {
            fail_beside(&mut book, &format!("2001:db8:0:{n:x}::1"), home, NOW);
        }
        assert_eq!(is_banned(&book, near, NOW), site_falls, "{home}");
        assert!(is_banned(&book, "2001:db8:0:4f::1", NOW));
        assert_eq!(is_banned(&book, "2001:db8:0:4e::1", NOW), site_falls);
        // by four of its parts
        let mut book = self::book();
        for n in 0..4 {
            let at = NOW + n * 601;
            for _ in 0..20 {
                fail_beside(&mut book, &format!("2001:db8:0:{n:x}::1"), home, at);
            }
        }
        let at = NOW + 3 * 601;
        assert!(is_banned(&book, "2001:db8:0:3::1", at));
        assert_eq!(is_banned(&book, near, at), site_falls, "{home}");
    }
}

#[test]
fn a_source_that_is_spared_itself_is_not_banned() {
    let mut book = book();
    for n in 0..40 {
        fail_beside(&mut book, "192.0.2.1", "192.0.2.1", NOW + n);
        fail_beside(&mut book, "192.0.2.2", "192.0.2.1", NOW + n);
    }
    assert!(!is_banned(&book, "192.0.2.1", NOW + 39));
    assert!(is_banned(&book, "192.0.2.2", NOW + 39));
}
