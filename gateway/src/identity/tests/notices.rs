//! What people are told of.

use super::*;

async fn kinds(bench: &Bench, user: &str) -> Vec<NoticeKind> {
    let notices = bench.identity.notices(user).await.unwrap();
    notices.into_iter().map(|n| n.kind).collect()
}

async fn sign_in(bench: &Bench, source: &str, agent: &str, now: i64) {
    let mut from = bench.from(now, source);
    from.agent = agent;
    let half = bench.half("alice", from).await;
    let step = bench.identity.code(&half, &code(now), &from).await;
    assert!(matches!(step, CodeStep::SignedIn { .. }), "{step:?}");
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";
const NEWER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0";
const CURL: &str = "curl/8.5.0";

#[tokio::test]
async fn a_new_network_or_browser_is_told_and_a_known_one_is_not() {
    let bench = Bench::new().await;
    sign_in(&bench, "192.0.2.1", FIREFOX, NOW).await;
    assert!(
        kinds(&bench, "alice").await.is_empty(),
        "the first is no news"
    );
    sign_in(&bench, "192.0.2.200", NEWER, NOW + 30).await;
    assert!(kinds(&bench, "alice").await.is_empty());
    let bench = bench.restart(NOW + 31).await;
    sign_in(&bench, "198.51.100.1", FIREFOX, NOW + 60).await;
    assert_eq!(kinds(&bench, "alice").await, [NoticeKind::NewPlace]);
    assert_eq!(bench.journal.count(Event::SignedIn, "new-place"), 1);
    sign_in(&bench, "198.51.100.1", CURL, NOW + 90).await;
    sign_in(&bench, "192.0.2.1", CURL, NOW + 120).await;
    assert_eq!(kinds(&bench, "alice").await.len(), 2);
    assert_eq!(bench.journal.count(Event::SignedIn, "new-place"), 2);
    let notices = bench.identity.notices("alice").await.unwrap();
    assert_eq!(notices[0].detail, "curl");
    assert_eq!(notices[0].source, Some("198.51.100.1".parse().unwrap()));
    assert!(kinds(&bench, "bob").await.is_empty());
    let live = bench.identity.sessions().of_user("alice");
    let told = notices[0].session.unwrap();
    assert!(live.iter().any(|s| s.id == told));
}

#[tokio::test]
async fn a_notice_stays_until_its_person_has_seen_it() {
    let bench = Bench::new().await;
    sign_in(&bench, "192.0.2.1", FIREFOX, NOW).await;
    sign_in(&bench, "192.0.2.1", CURL, NOW + 30).await;
    let bench = bench.restart(NOW + 31).await;
    let notices = bench.identity.notices("alice").await.unwrap();
    let id = notices[0].id;
    let live = bench.identity.sessions().of_user("alice");
    let about = notices[0].session.unwrap();
    let other = live.iter().find(|s| s.id != about).unwrap().id;
    let dismiss = async |user, by| bench.identity.dismiss(user, id, by).await.unwrap();
    assert!(!dismiss("bob", other).await);
    assert!(!dismiss("alice", about).await, "by the stranger, perhaps");
    assert_eq!(kinds(&bench, "alice").await.len(), 1);
    assert!(dismiss("alice", other).await);
    assert!(kinds(&bench, "alice").await.is_empty());
    assert!(!dismiss("alice", other).await);
}

#[tokio::test]
async fn a_used_code_that_is_tried_again_is_told() {
    let bench = Bench::new().await;
    bench.sign_in("alice", NOW).await;
    let half = bench.half("alice", bench.at(NOW)).await;
    let step = bench
        .identity
        .code(&half, &wrong_code(NOW), &bench.at(NOW))
        .await;
    assert!(matches!(step, CodeStep::Refused));
    assert!(kinds(&bench, "alice").await.is_empty());
    let step = bench.identity.code(&half, &code(NOW), &bench.at(NOW)).await;
    assert!(matches!(step, CodeStep::Refused));
    assert_eq!(kinds(&bench, "alice").await, [NoticeKind::CodeReplayed]);
    // Within a session it is no news.
    let (session, _) = bench.sign_in("bob", NOW).await;
    let from = bench.at(NOW);
    let step = bench.identity.step_up(&session, &code(NOW), &from).await;
    assert!(matches!(step, StepUp::Refused));
    assert!(kinds(&bench, "bob").await.is_empty());
}

#[tokio::test]
async fn a_series_of_failures_is_told_at_the_next_proof_and_a_slip_is_not() {
    let bench = Bench::new().await;
    bench.sign_in("alice", NOW).await;
    let wrong = async |source: &str, at| {
        let step = bench.password("alice", "wrong", bench.from(at, source));
        assert!(matches!(step.await, PasswordStep::Refused));
    };
    for _ in 0..4 {
        wrong("192.0.2.1", NOW).await;
    }
    bench.sign_in("alice", NOW + 30).await;
    assert!(kinds(&bench, "alice").await.is_empty(), "four are a slip");
    for n in 0..4 {
        wrong("192.0.2.1", NOW + 30).await;
        wrong(&format!("198.51.100.{n}"), NOW + 30).await;
    }
    assert!(
        kinds(&bench, "alice").await.is_empty(),
        "nobody came in yet"
    );
    let (session, _) = bench.sign_in("alice", NOW + 60).await;
    let told = bench.identity.notices("alice").await.unwrap();
    let told: Vec<_> = told.iter().map(|n| (n.kind, n.detail.as_str())).collect();
    assert_eq!(told, [(NoticeKind::ManyFailures, "8")]);
    for n in 0..5 {
        wrong(&format!("203.0.113.{n}"), NOW + 60).await;
    }
    let from = bench.at(NOW + 90);
    let code = code(NOW + 90);
    let step = bench.identity.step_up(&session, &code, &from).await;
    assert!(matches!(step, StepUp::Done { .. }), "{step:?}");
    assert_eq!(kinds(&bench, "alice").await.len(), 2);
    bench.sign_in("alice", NOW + 120).await;
    assert_eq!(kinds(&bench, "alice").await.len(), 2, "each series once");
    assert!(kinds(&bench, "bob").await.is_empty());
}

#[tokio::test]
async fn notices_and_places_are_bounded_and_the_newest_stay() {
    let bench = Bench::new().await;
    for n in 0..30 {
        let row = store::NoticeRow {
            id: 0,
            kind: "codes-renewed".to_owned(),
            at: n,
            session: None,
            source: None,
            detail: String::new(),
        };
        bench.store.put_notice("alice", row).await.unwrap();
    }
    let notices = bench.identity.notices("alice").await.unwrap();
    assert_eq!(notices.len(), store::NOTICES_PER_USER);
    assert_eq!(notices[0].at, 29);
    for n in 0..100 {
        let place = vec![[n; 32]];
        bench
            .store
            .visited("alice", place, i64::from(n))
            .await
            .unwrap();
    }
    let seen = bench.store.visited("alice", vec![[99; 32], [0; 32]], 200);
    let seen = seen.await.unwrap();
    assert_eq!((seen.first, seen.known), (false, vec![true, false]));
    let nobody = bench.store.visited("bob", vec![[99; 32]], 200);
    assert!(nobody.await.unwrap().first);
}

#[tokio::test]
async fn whoever_is_forgotten_leaves_no_notice_and_no_place() {
    let bench = Bench::new().await;
    sign_in(&bench, "192.0.2.1", FIREFOX, NOW).await;
    sign_in(&bench, "192.0.2.1", CURL, NOW + 30).await;
    bench.identity.forget("alice", NOW).await.unwrap();
    assert!(kinds(&bench, "alice").await.is_empty());
    let seen = bench.store.visited("alice", vec![[1; 32]], NOW).await;
    assert!(seen.unwrap().first);
}

#[tokio::test]
async fn a_notice_about_no_session_is_dismissed_by_any() {
    let bench = Bench::new().await;
    let (session, _) = bench.sign_in("alice", NOW).await;
    let row = store::NoticeRow {
        id: 0,
        kind: "codes-renewed".to_owned(),
        at: NOW,
        session: None,
        source: None,
        detail: String::new(),
    };
    bench.store.put_notice("alice", row).await.unwrap();
    let id = bench.identity.notices("alice").await.unwrap()[0].id;
    let seen = bench.identity.dismiss("alice", id, session.id).await;
    assert!(seen.unwrap());
}
