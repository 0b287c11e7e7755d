use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use pingora_http::ResponseHeader;
use policy::front::{Cache, Shared};

use super::{
    ANSWERS, Answer, Label, Lead, Said, Store, Times, Which, key, may_keep, may_look, tags,
};
use crate::clock;

const BYTES: u64 = 64 << 20;
const TIMES: Times = Times {
    fresh: Duration::from_secs(10),
    stale: Duration::from_secs(10),
    age: Duration::ZERO,
};

fn ok() -> ResponseHeader {
    ResponseHeader::build(200, None).unwrap()
}

fn answer(body: Vec<u8>) -> Answer {
    labelled(body, "app.shop", "/", &[])
}

fn labelled(body: Vec<u8>, app: &str, path: &str, tags: &[&str]) -> Answer {
    Answer {
        head: ok(),
        body: Bytes::from(body),
        label: Label {
            app: app.into(),
            path: path.to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        },
    }
}

fn lead(said: Said) -> (Lead, bool) {
    match said {
        Said::Ask(lead, stale) => (lead, stale.is_some()),
        Said::Answer(_) => panic!("answered"),
        Said::Alone => panic!("alone"),
        Said::Wait(..) => panic!("must wait"),
    }
}

#[test]
fn one_of_many_asks_and_the_others_wait_and_then_have_it() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    let name = key(&["a"], b"");
    let (first, stale) = lead(store.look(name, false, now));
    assert!(!stale);
    let Said::Wait(waiting, None) = store.look(name, false, now) else {
        panic!("two ask")
    };
    assert!(waiting.has_changed().is_ok());
    first.keep(answer(b"x".to_vec()), TIMES, now);
    assert!(waiting.has_changed().is_err(), "the wait is over");
    assert!(matches!(store.look(name, false, now), Said::Answer(kept) if kept.body == "x"));
    // whom the app did not answer leaves the duty to the next
    let (failed, _) = lead(store.look(key(&["b"], b""), false, now));
    drop(failed);
    lead(store.look(key(&["b"], b""), false, now));
}

#[test]
fn an_old_answer_stands_in_while_one_asks_and_not_for_ever() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    let name = key(&["a"], b"");
    let (first, _) = lead(store.look(name, false, now));
    first.keep(answer(Vec::new()), TIMES, now);
    let at = |secs| now + Duration::from_secs(secs);
    assert!(matches!(store.look(name, false, at(9)), Said::Answer(kept) if kept.age(at(9)) == 9));
    let (asks, stale) = lead(store.look(name, false, at(11)));
    assert!(stale);
    assert!(matches!(store.look(name, false, at(11)), Said::Answer(_)));
    drop(asks);
    let (_asks, stale) = lead(store.look(name, false, at(21)));
    assert!(!stale);
}

#[test]
fn what_is_forgotten_is_of_the_app_the_path_and_the_tag_and_nothing_else() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    let all = [
        ("app.shop", "/prices", &["p", "q"][..]),
        ("app.shop", "/prices/7", &["p"][..]),
        ("app.shop", "/pricesx", &["q"][..]),
        ("app.other", "/prices", &["p"][..]),
    ];
    let name = |app: &str, path: &str| key(&[app, path], b"");
    let fill = || {
        for (app, path, tags) in all {
            if let Said::Ask(lead, _) = store.look(name(app, path), false, now) {
                lead.keep(labelled(Vec::new(), app, path, tags), TIMES, now);
            }
        }
    };
    let forget = |path: Option<&str>, tag: Option<&str>| {
        fill();
        store.purge(&Which {
            app: "app.shop".into(),
            path: path.map(str::to_owned),
            tag: tag.map(str::to_owned),
        })
    };
    assert_eq!(forget(None, None), 3);
    assert_eq!(forget(Some("/prices"), None), 2);
    assert_eq!(forget(Some("/"), None), 3);
    assert_eq!(forget(None, Some("p")), 2);
    assert_eq!(forget(Some("/pricesx"), Some("p")), 0);
    let other = store.look(name("app.other", "/prices"), false, now);
    assert!(matches!(other, Said::Answer(_)), "another app's stays");
    // what was asked for before is old when it comes
    let (late, _) = lead(store.look(name("app.shop", "/late"), false, now));
    assert_eq!(forget(Some("/late"), None), 0);
    late.keep(labelled(Vec::new(), "app.shop", "/late", &[]), TIMES, now);
    lead(store.look(name("app.shop", "/late"), false, now));
}

#[test]
fn tags_are_words_between_commas_and_not_too_many() {
    let mut head = ok();
    head.append_header("cache-tag", "a, b,,c").unwrap();
    head.append_header("cache-tag", "d".repeat(200)).unwrap();
    assert_eq!(tags(&head), ["a", "b", "c"]);
    head.insert_header("cache-tag", "x,".repeat(100)).unwrap();
    assert_eq!(tags(&head).len(), 32);
}

#[test]
fn what_is_kept_is_bounded_and_the_least_used_goes_first() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    let put = |n: usize, bytes: usize| {
        let (lead, _) = lead(store.look(key(&[&n.to_string()], b""), false, now));
        lead.keep(answer(vec![0; bytes]), TIMES, now);
    };
    for n in 0..ANSWERS + 5 {
        put(n, 1);
    }
    assert_eq!(store.inner.lock().kept.len(), ANSWERS);
    let has = |n: usize| {
        store
            .inner
            .lock()
            .kept
            .contains_key(&key(&[&n.to_string()], b""))
    };
    assert!(!has(4) && has(5));
    for n in 0..20 {
        put(100_000 + n, (8 << 20) - 64);
    }
    let inner = store.inner.lock();
    assert!(
        inner.bytes <= BYTES && inner.kept.len() == 8,
        "{}",
        inner.kept.len()
    );
    assert_eq!(inner.used.len(), inner.kept.len());
    assert!(inner.flights.is_empty());
}

#[test]
fn the_answers_of_two_people_have_two_names() {
    assert_ne!(key(&["a", "b"], b"ines"), key(&["a", "b"], b"max"));
    assert_ne!(key(&["a", "b"], b""), key(&["ab", ""], b""));
}

fn kept(fields: &[(&'static str, &str)]) -> Option<Times> {
    let written = Cache {
        ttl: 60,
        stale: 5,
        shared: Shared::No,
        most: 1000,
    };
    let mut answer = ok();
    for (name, value) in fields {
        answer.append_header(*name, *value).unwrap();
    }
    may_keep(&written, &answer)
}

#[test]
fn what_a_cookie_privacy_or_the_request_shapes_is_never_kept() {
    for fields in [
        &[("set-cookie", "a=b")][..],
        &[("cache-control", "private")],
        &[("cache-control", "public, no-store")],
        &[("cache-control", "no-cache=\"x\"")],
        &[("cache-control", "max-age=0")],
        &[("cache-control", "max-age=soon")],
        &[("vary", "Cookie")],
        &[("vary", "*")],
        &[("content-length", "1001")],
        &[("content-range", "bytes 0-1/2")],
    ] {
        assert_eq!(kept(fields), None, "{fields:?}");
    }
    let fresh = |fields| kept(fields).map(|times| times.fresh.as_secs());
    assert_eq!(fresh(&[]), Some(60));
    assert_eq!(fresh(&[("cache-control", "public, max-age=7")]), Some(7));
    assert_eq!(
        fresh(&[
            ("cache-control", "max-age=700"),
            ("vary", "Accept-Encoding")
        ]),
        Some(60)
    );
}

#[test]
fn a_request_with_a_token_a_condition_or_a_wish_for_the_new_goes_to_the_app() {
    let looks = |name: &'static str, value: &'static str| {
        let mut map = HeaderMap::new();
        map.insert(name, HeaderValue::from_static(value));
        may_look(&map)
    };
    assert!(looks("accept", "text/html"));
    assert!(!looks("authorization", "Bearer x"));
    assert!(looks("range", "bytes=0-1"));
    assert!(looks("if-none-match", "\"a\""));
    assert!(!looks("if-match", "\"a\""));
    assert!(!looks(
        "if-unmodified-since",
        "Sun, 06 Nov 1994 08:49:37 GMT"
    ));
    assert!(!looks("cache-control", "no-cache"));
    assert!(!looks("cache-control", "max-age=0"));
    assert!(looks("cache-control", "max-age=60"));
}

#[test]
fn what_is_larger_than_the_store_is_not_kept_and_drives_nothing_out() {
    let (store, now) = (Arc::new(Store::new(1000)), clock::now());
    let put = |name: &str, bytes| {
        let (lead, _) = lead(store.look(key(&[name], b""), false, now));
        lead.keep(answer(vec![0; bytes]), TIMES, now);
    };
    put("small", 600);
    put("large", 1001);
    let kept = |name: &str| store.whole(&key(&[name], b""), now).is_some();
    assert_eq!((kept("small"), kept("large")), (true, false));
    put("other", 600);
    assert_eq!((kept("small"), kept("other")), (false, true));
}

#[test]
fn what_the_app_takes_back_is_forgotten_and_a_failure_leaves_it() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    let name = key(&["a"], b"");
    lead(store.look(name, false, now))
        .0
        .keep(answer(Vec::new()), TIMES, now);
    let later = now + Duration::from_secs(11);
    assert!(
        store.whole(&name, later).is_none(),
        "a part is of what stands"
    );
    let (failed, stale) = lead(store.look(name, false, later));
    drop(failed);
    assert!(stale && store.whole(&name, now).is_some());
    lead(store.look(name, false, later)).0.forget(later);
    assert!(store.whole(&name, now).is_none());
}

#[test]
fn what_an_app_says_of_how_long_shortens_it() {
    let times = |fields: &[(&'static str, &str)]| {
        let times: Times = kept(fields).unwrap();
        let secs = |d: Duration| d.as_secs();
        (secs(times.fresh), secs(times.stale), secs(times.age))
    };
    let date = ("date", "Sun, 06 Nov 1994 08:49:00 GMT");
    let expires = ("expires", "Sun, 06 Nov 1994 08:49:07 GMT");
    assert_eq!(times(&[date, expires]), (7, 5, 0));
    // the app's own word on it goes first
    assert_eq!(
        times(&[date, expires, ("cache-control", "max-age=9")]),
        (9, 5, 0)
    );
    assert_eq!(
        times(&[("cache-control", "max-age=9, s-maxage=\"8\"")]),
        (8, 0, 0)
    );
    assert_eq!(
        times(&[("age", "4"), ("cache-control", "max-age=9")]),
        (5, 5, 4)
    );
    assert_eq!(times(&[("cache-control", "must-revalidate")]), (60, 0, 0));
    assert_eq!(times(&[("cache-control", "proxy-revalidate")]), (60, 0, 0));
    for gone in [
        &[expires][..],
        &[("expires", "0")],
        &[("expires", "Sun, 06 Nov 1994 08:49:00 GMT"), date],
        &[("age", "9"), ("cache-control", "max-age=9")],
        &[("cache-control", "s-maxage=0, max-age=9")],
    ] {
        assert_eq!(kept(gone), None, "{gone:?}");
    }
}

#[test]
fn who_reads_slowly_holds_the_others_up_for_a_second_and_no_more() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    let name = key(&["a"], b"");
    let (slow, _) = lead(store.look(name, false, now));
    let Said::Wait(waiting, None) = store.look(name, false, now) else {
        panic!("two ask")
    };
    slow.passing(now);
    assert!(waiting.has_changed().unwrap(), "those who wait hear of it");
    let later = now + super::PASSING;
    let Said::Wait(next, Some(until)) = store.look(name, false, now) else {
        panic!("nobody waits for what is on its way")
    };
    assert!(
        !next.has_changed().unwrap(),
        "which is no news to who comes now"
    );
    assert_eq!(until, later);
    let (next, _) = lead(store.look(name, false, later));
    // the first one's end is not that of the second
    let came_first = now + Duration::from_millis(1);
    next.keep(answer(b"new".to_vec()), TIMES, later);
    slow.keep(answer(b"old".to_vec()), TIMES, came_first);
    let said = store.look(name, false, later);
    assert!(matches!(said, Said::Answer(kept) if kept.body == "new"));
    let name = key(&["b"], b"");
    let (slow, _) = lead(store.look(name, false, now));
    slow.passing(now);
    let (_next, _) = lead(store.look(name, false, later));
    drop(slow);
    assert!(matches!(
        store.look(name, false, later),
        Said::Wait(_, None)
    ));
}

#[test]
fn nobody_waits_in_turn_for_what_is_not_to_be_kept() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    let name = key(&["a"], b"");
    lead(store.look(name, false, now)).0.forget(now);
    let (one, _) = lead(store.look(name, false, now));
    let (_two, _) = lead(store.look(name, false, now));
    assert!(matches!(store.look(name, true, now), Said::Alone));
    // one that may be kept after all is, and all is as before
    one.keep(answer(Vec::new()), TIMES, now);
    assert!(matches!(store.look(name, false, now), Said::Answer(_)));
    let old = now + Duration::from_secs(21);
    let (_one, _) = lead(store.look(name, false, old));
    assert!(matches!(store.look(name, false, old), Said::Wait(..)));
    // after a failure it is a second, in which what is old is given out and nobody asks
    let stale = key(&["c"], b"");
    lead(store.look(stale, false, now))
        .0
        .keep(answer(Vec::new()), TIMES, now);
    let old = now + Duration::from_secs(11);
    let (fails, had) = lead(store.look(stale, false, old));
    assert!(had);
    fails.failed(old);
    assert!(matches!(store.look(stale, false, old), Said::Answer(_)));
    let (_one, had) = lead(store.look(stale, false, old + super::FAILED));
    assert!(had);
    assert!(matches!(
        store.look(stale, false, old + super::FAILED),
        Said::Answer(_)
    ));
    let name = key(&["b"], b"");
    lead(store.look(name, false, now)).0.failed(now);
    let (_one, _) = lead(store.look(name, false, now));
    let (_two, _) = lead(store.look(name, false, now));
    let later = now + super::FAILED;
    let (_three, _) = lead(store.look(name, false, later));
    assert!(matches!(store.look(name, false, later), Said::Wait(..)));
}

#[test]
fn how_many_names_each_asks_alone_for_is_bounded() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    for n in 0..=super::ALONE {
        lead(store.look(key(&[&n.to_string()], b""), false, now))
            .0
            .forget(now);
    }
    assert_eq!(store.inner.lock().alone.len(), super::ALONE);
    // what has passed makes room
    let later = now + super::UNKEPT;
    lead(store.look(key(&["x"], b""), false, later))
        .0
        .forget(later);
    assert_eq!(store.inner.lock().alone.len(), 1);
}

#[test]
fn who_has_an_answer_already_fills_the_store_only_where_it_was_filled_before() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    let name = key(&["a"], b"");
    assert!(matches!(store.look(name, true, now), Said::Alone));
    let (first, _) = lead(store.look(name, false, now));
    assert!(matches!(store.look(name, true, now), Said::Wait(..)));
    first.keep(answer(Vec::new()), TIMES, now);
    assert!(matches!(store.look(name, true, now), Said::Answer(_)));
    lead(store.look(name, true, now + Duration::from_secs(21)));
}
