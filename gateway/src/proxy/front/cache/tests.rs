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
        Said::Wait(_) => panic!("must wait"),
    }
}

#[test]
fn one_of_many_asks_and_the_others_wait_and_then_have_it() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    let name = key(&["a"], "");
    let (first, stale) = lead(store.look(name, now));
    assert!(!stale);
    let Said::Wait(waiting) = store.look(name, now) else {
        panic!("two ask")
    };
    assert!(waiting.has_changed().is_ok());
    first.keep(answer(b"x".to_vec()), TIMES, now);
    assert!(waiting.has_changed().is_err(), "the wait is over");
    assert!(matches!(store.look(name, now), Said::Answer(kept) if kept.body == "x"));
    // whom the app did not answer leaves the duty to the next
    let (failed, _) = lead(store.look(key(&["b"], ""), now));
    drop(failed);
    lead(store.look(key(&["b"], ""), now));
}

#[test]
fn an_old_answer_stands_in_while_one_asks_and_not_for_ever() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    let name = key(&["a"], "");
    let (first, _) = lead(store.look(name, now));
    first.keep(answer(Vec::new()), TIMES, now);
    let at = |secs| now + Duration::from_secs(secs);
    assert!(matches!(store.look(name, at(9)), Said::Answer(kept) if kept.age(at(9)) == 9));
    let (asks, stale) = lead(store.look(name, at(11)));
    assert!(stale);
    assert!(matches!(store.look(name, at(11)), Said::Answer(_)));
    drop(asks);
    let (_asks, stale) = lead(store.look(name, at(21)));
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
    let name = |app: &str, path: &str| key(&[app, path], "");
    let fill = || {
        for (app, path, tags) in all {
            if let Said::Ask(lead, _) = store.look(name(app, path), now) {
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
    let other = store.look(name("app.other", "/prices"), now);
    assert!(matches!(other, Said::Answer(_)), "another app's stays");
    // what was asked for before is old when it comes
    let (late, _) = lead(store.look(name("app.shop", "/late"), now));
    assert_eq!(forget(Some("/late"), None), 0);
    late.keep(labelled(Vec::new(), "app.shop", "/late", &[]), TIMES, now);
    lead(store.look(name("app.shop", "/late"), now));
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
        let (lead, _) = lead(store.look(key(&[&n.to_string()], ""), now));
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
            .contains_key(&key(&[&n.to_string()], ""))
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
    assert_ne!(key(&["a", "b"], "ines"), key(&["a", "b"], "max"));
    assert_ne!(key(&["a", "b"], ""), key(&["ab", ""], ""));
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
        let (lead, _) = lead(store.look(key(&[name], ""), now));
        lead.keep(answer(vec![0; bytes]), TIMES, now);
    };
    put("small", 600);
    put("large", 1001);
    let kept = |name: &str| store.whole(&key(&[name], ""), now).is_some();
    assert_eq!((kept("small"), kept("large")), (true, false));
    put("other", 600);
    assert_eq!((kept("small"), kept("other")), (false, true));
}

#[test]
fn what_the_app_takes_back_is_forgotten_and_a_failure_leaves_it() {
    let (store, now) = (Arc::new(Store::new(BYTES)), clock::now());
    let name = key(&["a"], "");
    lead(store.look(name, now))
        .0
        .keep(answer(Vec::new()), TIMES, now);
    let later = now + Duration::from_secs(11);
    assert!(
        store.whole(&name, later).is_none(),
        "a part is of what stands"
    );
    let (failed, stale) = lead(store.look(name, later));
    drop(failed);
    assert!(stale && store.whole(&name, now).is_some());
    lead(store.look(name, later)).0.forget();
    assert!(store.whole(&name, now).is_none());
}
