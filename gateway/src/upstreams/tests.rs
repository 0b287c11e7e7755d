use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use policy::front::{Balance, Check, Member as WrittenMember, Pool as Written, TlsTo};
use policy::{At, Upstream};

use super::member::{Address, Health, InUse, Nowhere};
use super::{Choice, Limits, Own, Pool, Upstreams, bit};
use crate::clock;
use crate::ids;
use crate::secrets::Keys;

fn keys() -> Keys {
    let folder = std::env::temp_dir().join(ids::token());
    std::fs::create_dir(&folder).unwrap();
    let keys = Keys::create(&folder.join("master")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    keys
}

fn member(last: u8, weight: u32, drain: bool) -> WrittenMember {
    WrittenMember {
        to: Upstream {
            tls: false,
            http2: false,
            at: At::Net(format!("192.0.2.{last}"), 80),
        },
        weight,
        drain,
        tls: TlsTo::default(),
    }
}

fn written(members: Vec<WrittenMember>) -> Written {
    Written {
        members,
        balance: Balance::RoundRobin,
        sticky: true,
        check: None,
        concurrency: None,
        breaker: None,
        networks: Vec::new(),
    }
}

/// An app of the policy language; what it is called does not matter.
fn policy() -> policy::Policy {
    let mut sources = policy::Sources::new();
    let text = "postern = 1\n[group]\nit = [\"nadia\"]\n[app.a]\nhost = \"a.example\"\nupstream = \"http://192.0.2.1:80\"\nallow.it = { who = \"@it\" }\n";
    sources.add("policy.toml", text.to_owned());
    policy::load(&sources).unwrap().policy
}

fn pool(upstreams: &Upstreams, written: &Written) -> Pool {
    let policy = policy();
    let (_, app) = policy.apps().next().unwrap();
    upstreams.pool(app, "/", written, policy.digest())
}

fn fail(pool: &Pool, at: usize, times: u32, now: Instant) {
    for _ in 0..times {
        pool.places()[at].member.broke("why", now, 7);
    }
}

fn chosen(pool: &Pool, count: usize, now: Instant) -> Vec<usize> {
    let choose = |_| pool.choose(None, 0, now).unwrap().at;
    (0..count).map(choose).collect()
}

#[test]
fn turns_go_round_by_weight_and_skip_who_rests_or_drains() {
    let upstreams = Upstreams::new(&keys(), Own::default());
    let members = vec![member(1, 2, false), member(2, 1, false), member(3, 1, true)];
    let pool = pool(&upstreams, &written(members));
    let now = clock::now();
    let all = chosen(&pool, 40, now);
    let count = |at| all.iter().filter(|a| **a == at).count();
    assert!(
        count(2) == 0 && count(0) > count(1) && count(1) > 0,
        "{all:?}"
    );
    fail(&pool, 0, 2, now);
    assert_eq!(
        pool.places()[0].member.health(now),
        Health::Up,
        "twice is nothing"
    );
    fail(&pool, 0, 1, now);
    assert_eq!(pool.places()[0].member.health(now), Health::Out);
    assert_eq!(chosen(&pool, 5, now), [1; 5]);
    // when nobody is well the resting are asked, and then the draining
    fail(&pool, 1, 3, now);
    let resting: BTreeSet<usize> = chosen(&pool, 10, now).into_iter().collect();
    assert_eq!(resting, BTreeSet::from([0, 1]));
    let last = pool.choose(None, bit(0) | bit(1), now).unwrap();
    assert_eq!(last.at, 2);
    assert!(pool.choose(None, 0b111, now).is_none());
}

/// A pool whose upstreams are probed.
fn probed(members: Vec<WrittenMember>) -> Written {
    let check = Check {
        path: "/health".to_owned(),
        status: None,
        every: 10,
        timeout: 1,
        up: 2,
        down: 3,
        body: None,
        json: Vec::new(),
    };
    Written {
        check: Some(check),
        ..written(members)
    }
}

#[test]
fn one_whose_check_has_not_passed_yet_gets_nothing_while_another_is_known_to_be_well() {
    let upstreams = Upstreams::new(&keys(), Own::default());
    let both = probed(vec![member(1, 1, false), member(2, 1, false)]);
    let first = pool(&upstreams, &both);
    let now = clock::now();
    let health = |pool: &Pool, at: usize| pool.places()[at].member.health(now);
    // at a start none is known, and nobody is refused for that
    assert_eq!([health(&first, 0), health(&first, 1)], [Health::Untried; 2]);
    assert_eq!(chosen(&first, 4, now), [0, 1, 0, 1]);
    assert!(first.places()[0].member.trouble(now).is_some());
    // a probe that fails is no pass, one that passes is enough
    first.places()[1].member.probe_failed("503", 3, 7);
    first.places()[0].member.probe_passed(2, 7);
    assert_eq!(
        [health(&first, 0), health(&first, 1)],
        [Health::Up, Health::Untried]
    );
    assert!(first.places()[0].member.trouble(now).is_none());
    assert_eq!(chosen(&first, 4, now), [0; 4]);
    // a request that failed there may still be made again here
    assert_eq!(first.choose(None, bit(0), now).unwrap().at, 1);
    // one that was there keeps its browsers over a start
    let pin = first.places()[1].pin.clone();
    assert_eq!(first.choose(Some(&pin), 0, now).unwrap().at, 1);
    first.places()[1].member.probe_passed(2, 8);
    assert_eq!(
        chosen(&first, 4, now)
            .into_iter()
            .collect::<BTreeSet<_>>()
            .len(),
        2
    );
    // a new one beside them, and one that takes their place
    let three = probed(vec![
        member(1, 1, true),
        member(2, 1, false),
        member(3, 1, false),
    ]);
    let second = pool(&upstreams, &three);
    assert_eq!(chosen(&second, 4, now), [1; 4]);
    let replaced = probed(vec![member(1, 1, true), member(3, 1, false)]);
    let third = pool(&upstreams, &replaced);
    assert_eq!(
        chosen(&third, 4, now),
        [0; 4],
        "the old one goes on until the new one is known"
    );
    third.places()[1].member.probe_passed(2, 9);
    assert_eq!(chosen(&third, 4, now), [1; 4]);
}

#[test]
fn without_a_check_none_is_waited_for() {
    let upstreams = Upstreams::new(&keys(), Own::default());
    let one = pool(&upstreams, &written(vec![member(1, 1, false)]));
    let now = clock::now();
    assert_eq!(one.places()[0].member.health(now), Health::Up);
    // it served already: a policy that begins to probe it takes nothing away
    let both = pool(
        &upstreams,
        &probed(vec![member(1, 1, false), member(2, 1, false)]),
    );
    let health = |at: usize| both.places()[at].member.health(now);
    assert_eq!([health(0), health(1)], [Health::Up, Health::Untried]);
}

#[test]
fn turns_go_on_over_a_reload_and_end_with_their_area() {
    let upstreams = Upstreams::new(&keys(), Own::default());
    let both = written(vec![member(1, 1, false), member(2, 1, false)]);
    let now = clock::now();
    let before = pool(&upstreams, &both);
    assert_eq!(chosen(&before, 3, now), [0, 1, 0]);
    let after = pool(&upstreams, &both);
    assert_eq!(chosen(&after, 2, now), [1, 0]);
    drop((before, after));
    upstreams.keep_only(&policy());
    assert_eq!(chosen(&pool(&upstreams, &both), 1, now), [0]);
}

#[test]
fn a_rest_ends_grows_and_is_forgotten_after_an_answer() {
    let upstreams = Upstreams::new(&keys(), Own::default());
    let pool = pool(
        &upstreams,
        &written(vec![member(1, 1, false), member(2, 1, false)]),
    );
    let now = clock::now();
    let member = &pool.places()[0].member;
    let after = |secs| member.health(now + Duration::from_secs(secs));
    fail(&pool, 0, 3, now);
    assert_eq!((after(9), after(11)), (Health::Out, Health::Up));
    assert_eq!(member.trouble(now), Some((7, "why".to_owned())));
    let later = now + Duration::from_secs(11);
    assert!(
        member.broke("again", later, 18),
        "one failure more is enough"
    );
    let after = |secs| member.health(later + Duration::from_secs(secs));
    assert_eq!((after(19), after(21)), (Health::Out, Health::Up));
    for _ in 0..20 {
        member.broke("again", later, 18);
    }
    assert_eq!(
        after(301),
        Health::Up,
        "a rest is never longer than five minutes"
    );
    member.worked();
    assert_eq!(member.health(later), Health::Up);
    assert!(!member.broke("first", later, 19));
}

#[test]
fn a_check_takes_out_and_brings_back_after_as_many_probes_as_it_says() {
    let upstreams = Upstreams::new(&keys(), Own::default());
    let check = Check {
        path: "/".to_owned(),
        status: None,
        every: 1,
        timeout: 1,
        up: 2,
        down: 3,
        body: None,
        json: Vec::new(),
    };
    let with = Written {
        check: Some(check),
        ..written(vec![member(1, 1, false), member(2, 1, false)])
    };
    let checked = pool(&upstreams, &with);
    let now = clock::now();
    let member = &checked.places()[0].member;
    let failed = [1, 2, 3, 4].map(|_| member.probe_failed("status 503", 3, 9));
    assert_eq!(failed, [false, false, true, false]);
    assert_eq!(member.health(now), Health::Down);
    assert_eq!(chosen(&checked, 3, now), [1; 3]);
    assert!(!member.probe_passed(2, 10));
    assert!(!member.probe_failed("x", 3, 10));
    assert!(!member.probe_passed(2, 11), "two in a row");
    assert!(member.probe_passed(2, 12));
    assert_eq!(member.health(now), Health::Up);
    for _ in 0..3 {
        checked.places()[1].member.probe_failed("x", 3, 13);
        member.probe_failed("x", 3, 13);
    }
    assert!(
        checked.choose(None, 0, now).is_none(),
        "none whose check fails is ever asked"
    );
    // a policy without the check asks it again
    let again = pool(&upstreams, &written(vec![member_of(&checked, 0)]));
    assert!(again.choose(None, 0, now).is_some());
}

fn member_of(pool: &Pool, at: usize) -> WrittenMember {
    WrittenMember {
        to: pool.places()[at].member.to.clone(),
        weight: 1,
        drain: false,
        tls: TlsTo::default(),
    }
}

#[test]
fn a_pin_leads_back_to_its_upstream_and_no_other_text_does() {
    let upstreams = Upstreams::new(&keys(), Own::default());
    let members = || vec![member(1, 1, false), member(2, 1, false), member(3, 1, true)];
    let first = pool(&upstreams, &written(members()));
    let now = clock::now();
    let pins: Vec<String> = first.places().iter().map(|p| p.pin.clone()).collect();
    let at = |pool: &Pool, pin: &str| pool.choose(Some(pin), 0, now).unwrap();
    for (place, pin) in pins.iter().enumerate() {
        for text in [pin.clone(), format!("AAAA.{pin}"), format!("{pin}.AAAA")] {
            let choice = at(&first, &text);
            assert_eq!(
                choice,
                Choice {
                    at: place,
                    pinned: true
                },
                "{text}"
            );
        }
    }
    for wrong in [
        "",
        "AAAAAAAAAAAAAAAAAAAA",
        pins[0].get(1..).unwrap(),
        &pins[0].to_lowercase(),
    ] {
        assert!(!at(&first, wrong).pinned, "{wrong}");
    }
    // another gateway's pin is no pin here, and one without `sticky` has none
    let other = pool(
        &Upstreams::new(&keys(), Own::default()),
        &written(members()),
    );
    assert!(!at(&other, &pins[0]).pinned);
    let loose = Written {
        sticky: false,
        ..written(members())
    };
    assert!(!at(&pool(&upstreams, &loose), &pins[0]).pinned);
    // one that is gone is not waited for
    fail(&first, 1, 3, now);
    let choice = at(&first, &pins[1]);
    assert_eq!(
        choice,
        Choice {
            at: 0,
            pinned: false
        }
    );
}

#[test]
fn the_fewest_under_way_are_asked_where_the_policy_says_so() {
    let upstreams = Upstreams::new(&keys(), Own::default());
    let least = Written {
        balance: Balance::LeastConnections,
        ..written(vec![member(1, 1, false), member(2, 3, false)])
    };
    let pool = pool(&upstreams, &least);
    let now = clock::now();
    let mut open: Vec<InUse> = Vec::new();
    for _ in 0..8 {
        let choice = pool.choose(None, 0, now).unwrap();
        open.extend(pool.enter(choice));
    }
    let counts = [0, 1].map(|at| pool.places()[at].member.open());
    assert_eq!(counts, [2, 6]);
    open.clear();
    assert_eq!(pool.places()[1].member.open(), 0);
}

#[test]
fn second_tries_are_a_share_of_the_requests() {
    let upstreams = Upstreams::new(&keys(), Own::default());
    let pool = pool(
        &upstreams,
        &written(vec![member(1, 1, false), member(2, 1, false)]),
    );
    let free = (0..1000).take_while(|_| pool.may_retry()).count();
    assert_eq!(free, 20);
    let choice = pool.choose(None, 0, clock::now()).unwrap();
    for _ in 0..10 {
        drop(pool.enter(choice));
    }
    assert_eq!((0..1000).take_while(|_| pool.may_retry()).count(), 2);
}

#[test]
fn what_is_known_of_an_upstream_outlives_a_change_of_the_policy_and_no_more() {
    let upstreams = Upstreams::new(&keys(), Own::default());
    let first = pool(
        &upstreams,
        &written(vec![member(1, 1, false), member(2, 1, false)]),
    );
    let now = clock::now();
    fail(&first, 0, 3, now);
    let second = pool(
        &upstreams,
        &written(vec![member(3, 1, false), member(1, 5, false)]),
    );
    assert_eq!(second.places()[1].member.health(now), Health::Out);
    upstreams.keep_only(&policy());
    assert_eq!(upstreams.members.lock().len(), 1, "only 192.0.2.1 is named");
}

#[test]
fn connections_of_another_policy_or_with_other_tls_are_never_shared() {
    let upstreams = Upstreams::new(&keys(), Own::default());
    let policy = policy();
    let (_, app) = policy.apps().next().unwrap();
    let limits = Limits {
        connect: Duration::from_secs(1),
        read: None,
    };
    let group = |digest: &str, name: Option<&str>| {
        let mut member = member(1, 1, false);
        member.to.tls = true;
        member.tls.name = name.map(str::to_owned);
        let pool = upstreams.pool(app, "/", &written(vec![member]), digest);
        let choice = pool.choose(None, 0, clock::now()).unwrap();
        let address = Address::Net("192.0.2.1:80".parse().unwrap());
        let peer = pool.peer(choice, address, limits, false).unwrap();
        (peer.group_key, peer.sni)
    };
    let (one, name) = group("a", None);
    assert_eq!((one, name.as_str()), (group("a", None).0, "192.0.2.1"));
    assert_ne!(one, group("b", None).0);
    let (other, name) = group("a", Some("app.internal"));
    assert_ne!(one, other);
    assert_eq!(name, "app.internal");
}

pub(super) fn by_name(host: &str, foreign: bool, networks: &[&str]) -> super::Member {
    let to = Upstream {
        tls: false,
        http2: false,
        at: At::Net(host.to_owned(), 80),
    };
    let limits = super::member::Limits {
        foreign,
        networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
        own: Arc::default(),
    };
    super::Member::new(&to, limits, clock::now())
}

fn learn(member: &super::Member, addresses: &[&str], now: Instant) {
    let addresses: Vec<_> = addresses.iter().map(|a| a.parse().unwrap()).collect();
    member.learn(addresses.into_iter(), now);
}

#[tokio::test]
async fn a_tenants_name_never_leads_to_the_gateways_own_machine() {
    let now = clock::now();
    assert!(by_name("localhost", false, &[]).address(now).await.is_ok());
    let of_tenant = by_name("localhost", true, &[]);
    assert!(matches!(
        of_tenant.address(now).await,
        Err(Nowhere::Outside(ip)) if ip.is_loopback()
    ));
}

#[tokio::test]
async fn a_name_that_moves_out_of_its_networks_leads_nowhere_until_it_is_back() {
    let app = by_name("app.internal", false, &["10.1.0.0/16"]);
    let now = clock::now();
    let at = |address: &str| Ok(Address::Net(address.parse().unwrap()));
    let outside = |ip: &str| Err(Nowhere::Outside(ip.parse().unwrap()));
    learn(&app, &["10.1.0.9:80"], now);
    assert_eq!(app.address(now).await, at("10.1.0.9:80"));
    learn(&app, &["10.2.0.9:80"], now);
    assert_eq!(app.address(now).await, outside("10.2.0.9"));
    // of several addresses those within count
    learn(&app, &["10.2.0.9:80", "10.1.0.8:80"], now);
    assert_eq!(app.address(now).await, at("10.1.0.8:80"));
    assert_eq!(app.outside(), 2);
    learn(&app, &["10.1.0.7:80"], now);
    assert_eq!(
        (app.address(now).await, app.outside()),
        (at("10.1.0.7:80"), 2)
    );
}

#[tokio::test]
async fn without_networks_a_name_leads_anywhere_but_to_a_link() {
    let app = by_name("app.internal", false, &[]);
    let now = clock::now();
    for address in ["203.0.113.9:80", "127.0.0.1:80", "[fd00::1]:80"] {
        learn(&app, &[address], now);
        let found = Address::Net(address.parse().unwrap());
        assert_eq!(app.address(now).await, Ok(found));
    }
    for address in [
        "169.254.169.254:80",
        "[fe80::1]:80",
        "0.0.0.0:80",
        "224.0.0.1:80",
    ] {
        learn(&app, &[address], now);
        assert!(
            matches!(app.address(now).await, Err(Nowhere::Outside(_))),
            "{address}"
        );
    }
}

#[tokio::test]
async fn an_address_is_used_for_a_while_and_looked_up_anew_once_it_fails() {
    let app = by_name(
        "localhost",
        false,
        &["127.0.0.0/8", "::1/128", "10.1.0.0/16"],
    );
    let now = clock::now();
    let old = Ok(Address::Net("10.1.0.9:80".parse().unwrap()));
    learn(&app, &["10.1.0.9:80"], now);
    let later = |secs| now + Duration::from_secs(secs);
    assert_eq!(app.address(later(29)).await, old);
    // it was looked up just now
    app.next_address(now);
    assert_eq!(app.address(now).await, old);
    app.next_address(later(2));
    assert_ne!(app.address(later(2)).await, old);
    learn(&app, &["10.1.0.9:80"], now);
    assert_ne!(app.address(later(31)).await, old);
}

#[tokio::test]
async fn addresses_that_failed_come_last_also_after_a_new_look_until_all_have() {
    let app = by_name("localhost", false, &["10.1.0.0/16"]);
    let all = ["10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80"];
    let now = clock::now();
    learn(&app, &all, now);
    for expected in [0, 1, 2, 0, 1] {
        let first = Ok(Address::Net(all[expected].parse().unwrap()));
        assert_eq!(app.address(now).await, first);
        app.next_address(now);
        // the name server gives them in the same order each time
        learn(&app, &all, now);
    }
}

#[tokio::test]
async fn a_name_that_is_not_found_is_not_looked_up_for_a_while_and_old_addresses_stay() {
    let app = by_name("nowhere.invalid", false, &["10.1.0.0/16"]);
    let now = clock::now();
    let later = |secs| now + Duration::from_secs(secs);
    learn(&app, &["10.1.0.9:80"], now);
    let old = Ok(Address::Net("10.1.0.9:80".parse().unwrap()));
    assert_eq!(app.address(later(31)).await, old);
    assert_eq!(app.address(later(31)).await, old);
}

#[tokio::test]
async fn a_name_never_leads_to_the_gateways_own_listeners_whatever_networks_are_named() {
    let mut config = crate::config::Config::default();
    config.http.https = vec!["10.1.0.1:80".parse().unwrap()];
    let own = Arc::new(Own::new(&config));
    let now = clock::now();
    for (foreign, networks) in [(true, ["10.1.0.0/16"]), (false, ["10.1.0.0/16"])] {
        let to = Upstream {
            tls: false,
            http2: false,
            at: At::Net("localhost".to_owned(), 80),
        };
        let networks = networks.iter().map(|n| n.parse().unwrap()).collect();
        let limits = super::member::Limits {
            foreign,
            networks,
            own: Arc::clone(&own),
        };
        let app = super::Member::new(&to, limits, now);
        learn(&app, &["10.1.0.1:80"], now);
        assert!(matches!(app.address(now).await, Err(Nowhere::Outside(_))));
        learn(&app, &["10.1.0.2:80"], now);
        assert!(app.address(now).await.is_ok());
    }
}

#[tokio::test]
async fn what_a_name_leads_to_is_known_once_it_was_looked_up_but_not_of_a_tenants() {
    let now = clock::now();
    let of_root = by_name("localhost", false, &[]);
    assert!(of_root.named().is_empty());
    drop(of_root.address(now).await);
    assert!(of_root.named().iter().any(|ip| ip.is_loopback()));
    for foreign in [true, false] {
        let literal = by_name("192.0.2.1", foreign, &[]);
        drop(literal.address(now).await);
        assert!(literal.named().is_empty(), "it is no name");
    }
}
