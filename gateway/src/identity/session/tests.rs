use std::sync::Arc;
use std::time::Duration;

use super::{EndReason, SessionChange, SessionError};
use crate::audit::Event;
use crate::identity::tests::{Bench, HOST, NOW, code};
use crate::identity::{CodeStep, PasswordStep};
use crate::ids::{DeviceId, SessionId};

const HOUR: i64 = 3600;
const APP: &str = "app.example.org";

#[tokio::test]
async fn a_session_ends_an_hour_after_its_last_use() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    assert!(sessions.find(&cookie, HOST, NOW + HOUR - 1).is_some());
    assert_eq!(session.expires(), NOW + 2 * HOUR - 1);
    assert!(session.is_live(NOW + 2 * HOUR - 2));
    assert!(sessions.find(&cookie, HOST, NOW + 2 * HOUR - 1).is_none());
    let ended = sessions.expired(NOW + 2 * HOUR).await;
    assert_eq!(ended.len(), 1);
    assert_eq!(bench.journal.count(Event::SessionEnded, "idle"), 1);
    assert!(bench.store.sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_session_ends_twelve_hours_after_its_start_whatever_the_use() {
    let bench = Bench::new().await;
    let (_, cookie) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    for half_hours in 1..24 {
        let now = NOW + half_hours * HOUR / 2;
        assert!(sessions.find(&cookie, HOST, now).is_some(), "{half_hours}");
        assert!(sessions.expired(now).await.is_empty());
    }
    assert!(sessions.find(&cookie, HOST, NOW + 12 * HOUR).is_none());
    sessions.expired(NOW + 12 * HOUR).await;
    assert_eq!(bench.journal.count(Event::SessionEnded, "expired"), 1);
}

#[tokio::test]
async fn a_clock_set_back_lengthens_no_session() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    sessions.time();
    // Somebody else is seen when the hour is over; then the clock is set back.
    bench.sign_in("bob", NOW + HOUR).await;
    assert!(sessions.find(&cookie, HOST, NOW + 60).is_none());
    assert!(!session.is_live(NOW + 60));
}

#[tokio::test]
async fn a_live_session_survives_a_restart_with_its_times_and_devices() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    let app = sessions.mint(&session, APP).await.unwrap();
    sessions
        .bind_device(&session, DeviceId(7), None)
        .await
        .unwrap();
    assert!(sessions.find(&cookie, HOST, NOW + 600).is_some());
    sessions.expired(NOW + 600).await;
    let csrf = session.csrf();

    let bench = bench.restart(NOW + 700).await;
    let sessions = bench.identity.sessions();
    let kept = sessions.find_by_id(session.id).unwrap();
    assert_eq!(
        (kept.created, kept.login_at, kept.mfa_at()),
        (NOW, NOW, NOW)
    );
    assert_eq!(kept.last_used(), NOW + 600);
    assert_eq!(kept.csrf(), csrf);
    assert_eq!(
        sessions.opened_by(DeviceId(7), NOW + 700).unwrap().id,
        kept.id
    );
    assert!(sessions.find(&cookie, HOST, NOW + 700).is_some());
    assert!(sessions.find(&app, APP, NOW + 700).is_some());
}

#[tokio::test]
async fn a_session_idle_over_a_restart_is_over() {
    let bench = Bench::new().await;
    let (_, cookie) = bench.sign_in("alice", NOW).await;
    let bench = bench.restart(NOW + HOUR).await;
    let sessions = bench.identity.sessions();
    assert!(sessions.find(&cookie, HOST, NOW + HOUR).is_none());
}

#[tokio::test]
async fn an_ended_session_stays_ended_over_a_restart() {
    let bench = Bench::new().await;
    let (alice, dead) = bench.sign_in("alice", NOW).await;
    let (_, live) = bench.sign_in("bob", NOW).await;
    let sessions = bench.identity.sessions();
    assert!(sessions.end(alice.id, EndReason::SignedOut).await.unwrap());
    assert!(!sessions.end(alice.id, EndReason::SignedOut).await.unwrap());
    assert!(!alice.is_live(NOW));
    assert!(sessions.find(&dead, HOST, NOW).is_none());
    let bench = bench.restart(NOW).await;
    let sessions = bench.identity.sessions();
    assert!(sessions.find(&dead, HOST, NOW).is_none());
    assert!(sessions.find(&live, HOST, NOW).is_some());
}

#[tokio::test]
async fn of_sessions_of_one_second_the_last_is_the_newest() {
    let bench = Bench::new().await;
    for user in ["alice", "bob"] {
        let mut opened = Vec::new();
        // three codes that hold at one time
        for at in [NOW - 30, NOW, NOW + 30] {
            let half = bench.half(user, bench.at(NOW)).await;
            let step = bench.identity.code(&half, &code(at), &bench.at(NOW)).await;
            let CodeStep::SignedIn { session, .. } = step else {
                panic!("{step:?}")
            };
            opened.push(session.id);
        }
        let listed = bench.identity.sessions().of_user(user);
        let listed: Vec<_> = listed.iter().map(|session| session.id).collect();
        assert_eq!(listed, opened);
    }
}

#[tokio::test]
async fn a_cookie_opens_the_host_it_was_made_for_and_no_other() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    let app = sessions.mint(&session, APP).await.unwrap();
    assert!(sessions.find(&app, APP, NOW).is_some());
    assert!(sessions.find(&app, HOST, NOW).is_none());
    assert!(sessions.find(&cookie, APP, NOW).is_none());
    let again = sessions.mint(&session, APP).await.unwrap();
    assert!(sessions.find(&app, APP, NOW).is_none());
    assert!(sessions.find(&again, APP, NOW).is_some());
}

#[tokio::test]
async fn an_ended_session_gets_no_cookie_and_no_device() {
    let bench = Bench::new().await;
    let (session, _) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    sessions.end(session.id, EndReason::Revoked).await.unwrap();
    let minted = sessions.mint(&session, APP).await;
    assert!(matches!(minted, Err(SessionError::Ended)));
    let bound = sessions.bind_device(&session, DeviceId(1), None).await;
    assert!(matches!(bound, Err(SessionError::Ended)));
    assert!(sessions.opened_by(DeviceId(1), NOW).is_none());
}

#[tokio::test]
async fn foreign_cookie_values_open_nothing() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    let id = session.id.to_string();
    let padded = format!("{cookie}=");
    let upper = cookie.to_uppercase();
    for foreign in [
        "",
        "x",
        &id,
        &padded,
        &upper,
        &crate::ids::token(),
        &"A".repeat(5000),
    ] {
        assert!(sessions.find(foreign, HOST, NOW).is_none());
    }
    assert!(sessions.find(&cookie, HOST, NOW).is_some());
}

#[tokio::test]
async fn a_device_has_one_session_and_closes_with_it() {
    let bench = Bench::new().await;
    let (first, _) = bench.sign_in("alice", NOW).await;
    let (second, _) = bench.sign_in("alice", NOW + 30).await;
    let sessions = bench.identity.sessions();
    let device = DeviceId(3);
    let mut changes = sessions.subscribe();
    sessions.bind_device(&first, device, None).await.unwrap();
    sessions.bind_device(&second, device, None).await.unwrap();
    assert!(first.devices().is_empty());
    assert_eq!(sessions.opened_by(device, NOW).unwrap().id, second.id);
    sessions.end(first.id, EndReason::Revoked).await.unwrap();
    assert!(sessions.opened_by(device, NOW).is_some());
    sessions.end(second.id, EndReason::Revoked).await.unwrap();
    assert!(sessions.opened_by(device, NOW).is_none());
    for change in [
        SessionChange::DeviceBound(device),
        SessionChange::DeviceBound(device),
        SessionChange::Ended(first.id),
        SessionChange::Ended(second.id),
        SessionChange::DeviceReleased(device),
    ] {
        assert_eq!(changes.recv().await.unwrap(), change);
    }
}

#[tokio::test]
async fn ending_all_of_a_user_leaves_the_others() {
    let bench = Bench::new().await;
    let (first, _) = bench.sign_in("alice", NOW).await;
    let (second, _) = bench.sign_in("alice", NOW + 30).await;
    let (bob, _) = bench.sign_in("bob", NOW + 30).await;
    let sessions = bench.identity.sessions();
    let mut ended = sessions
        .end_user("alice", EndReason::UserDisabled)
        .await
        .unwrap();
    ended.sort();
    let mut both = vec![first.id, second.id];
    both.sort();
    assert_eq!(ended, both);
    assert_eq!(bench.journal.count(Event::SessionEnded, "user-disabled"), 2);
    let left: Vec<SessionId> = sessions.list().iter().map(|s| s.id).collect();
    assert_eq!(left, [bob.id]);
    sessions.end_all(EndReason::Revoked).await.unwrap();
    assert!(sessions.list().is_empty());
    bench.sign_in("alice", NOW + 60).await;
}

#[tokio::test]
async fn the_twenty_first_session_of_a_person_replaces_the_oldest() {
    let bench = Bench::new().await;
    let (oldest, _) = bench.sign_in("alice", NOW).await;
    let sessions = Arc::clone(bench.identity.sessions());
    let mut now = NOW;
    for _ in 0..19 {
        now += 30;
        bench.sign_in("alice", now).await;
    }
    assert!(sessions.find_by_id(oldest.id).is_some());
    bench.sign_in("alice", now + 30).await;
    assert!(sessions.find_by_id(oldest.id).is_none());
    assert_eq!(sessions.of_user("alice").len(), 20);
    assert_eq!(bench.journal.count(Event::SessionEnded, "replaced"), 1);
}

#[tokio::test]
async fn every_sign_in_gets_a_cookie_of_its_own() {
    let bench = Bench::new().await;
    let (first, a) = bench.sign_in("alice", NOW).await;
    let (second, b) = bench.sign_in("alice", NOW + 30).await;
    assert_ne!(a, b);
    assert_ne!(first.id, second.id);
    assert_ne!(first.csrf(), second.csrf());
    let step = bench.password("alice", "wrong", bench.at(NOW + 30)).await;
    assert!(matches!(step, PasswordStep::Refused));
    let step = bench.identity.code(&a, "000000", &bench.at(NOW + 30)).await;
    assert!(matches!(step, CodeStep::Expired));
}

#[tokio::test]
async fn an_end_that_could_not_be_written_holds_and_is_written_by_a_later_sweep() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    let db = rusqlite::Connection::open(bench.folder().join("state.db")).unwrap();
    let block = "CREATE TRIGGER full BEFORE DELETE ON sessions
                 BEGIN SELECT raise(ABORT, 'disk full'); END";
    db.execute_batch(block).unwrap();
    let sessions = bench.identity.sessions();
    assert!(sessions.end(session.id, EndReason::Revoked).await.is_err());
    assert!(sessions.find(&cookie, HOST, NOW).is_none());
    assert_eq!(bench.journal.count(Event::SessionEnded, "revoked"), 1);
    assert_eq!(bench.store.sessions().await.unwrap().len(), 1);
    db.execute_batch("DROP TRIGGER full").unwrap();
    drop(db);
    sessions.expired(NOW).await;
    assert!(bench.store.sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_session_that_could_not_be_written_is_none() {
    let bench = Bench::new().await;
    let db = rusqlite::Connection::open(bench.folder().join("state.db")).unwrap();
    let block = "CREATE TRIGGER full BEFORE INSERT ON sessions
                 BEGIN SELECT raise(ABORT, 'disk full'); END";
    db.execute_batch(block).unwrap();
    let half = bench.half("alice", bench.at(NOW)).await;
    let code = code(NOW);
    let step = bench.identity.code(&half, &code, &bench.at(NOW)).await;
    assert!(matches!(step, CodeStep::Unavailable));
    assert!(bench.identity.sessions().list().is_empty());
    db.execute_batch("DROP TRIGGER full").unwrap();
    bench.sign_in("alice", NOW + 30).await;
}

#[tokio::test]
async fn a_session_has_sixty_four_cookies_and_the_oldest_goes_first() {
    let bench = Bench::new().await;
    let (session, first) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    let host = |n: usize| format!("app{n}.example.org");
    let mut cookies = Vec::new();
    for n in 0..63 {
        cookies.push(sessions.mint(&session, &host(n)).await.unwrap());
    }
    assert!(sessions.find(&first, HOST, NOW).is_some());
    cookies.push(sessions.mint(&session, &host(63)).await.unwrap());
    assert!(sessions.find(&first, HOST, NOW).is_none());
    // A new cookie for a host it has one for pushes nobody out, and is the newest then.
    cookies[0] = sessions.mint(&session, &host(0)).await.unwrap();
    cookies.push(sessions.mint(&session, &host(64)).await.unwrap());

    let check = |bench: &Bench| {
        let sessions = bench.identity.sessions();
        for (n, cookie) in cookies.iter().enumerate() {
            let found = sessions.find(cookie, &host(n), NOW).is_some();
            assert_eq!(found, n != 1, "{n}");
        }
    };
    check(&bench);
    let kept = bench.store.sessions().await.unwrap();
    assert_eq!(kept.first().unwrap().cookies.len(), 64);
    check(&bench.restart(NOW).await);
}

#[tokio::test]
async fn a_rule_binds_the_session_it_lets_in_and_no_other() {
    let bench = Bench::new().await;
    let (alice, _) = bench.sign_in("alice", NOW).await;
    let (bob, _) = bench.sign_in("bob", NOW).await;
    alice.bind(Some(Duration::from_secs(600)), None);
    alice.bind(Some(Duration::from_secs(1200)), None);
    assert_eq!(alice.expires(), NOW + 600);
    assert_eq!(bob.expires(), NOW + HOUR);
    let sessions = bench.identity.sessions();
    sessions.expired(NOW + 1).await;
    let bench = bench.restart(NOW + 2).await;
    let sessions = bench.identity.sessions();
    let kept = sessions.find_by_id(alice.id).unwrap();
    assert_eq!(kept.expires(), NOW + 600);
    sessions.expired(NOW + 600).await;
    assert!(sessions.find_by_id(alice.id).is_none());
    assert!(sessions.find_by_id(bob.id).is_some());
    assert_eq!(bench.journal.count(Event::SessionEnded, "idle"), 1);
}

#[tokio::test]
async fn a_pause_is_remembered_whatever_is_done_after_it() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    let limit = Duration::from_secs(600);
    assert!(sessions.find(&cookie, HOST, NOW + 600).is_some());
    assert!(!session.has_paused(limit));
    assert!(sessions.find(&cookie, HOST, NOW + 1201).is_some());
    assert!(sessions.find(&cookie, HOST, NOW + 1202).is_some());
    assert!(session.has_paused(limit));
    assert!(!session.has_paused(Duration::from_secs(601)));
    sessions.expired(NOW + 1202).await;
    let bench = bench.restart(NOW + 1210).await;
    let kept = bench.identity.sessions().find_by_id(session.id).unwrap();
    assert!(kept.has_paused(limit));
    let (anew, _) = bench.sign_in("alice", NOW + 1220).await;
    assert!(!anew.has_paused(limit));
}

#[tokio::test]
async fn a_rule_for_two_sessions_ends_the_oldest_and_every_later_one_too_many() {
    let bench = Bench::new().await;
    let mut all = Vec::new();
    for at in 0..3 {
        all.push(bench.sign_in("alice", NOW + 40 * at).await.0);
    }
    let (bob, _) = bench.sign_in("bob", NOW + 90).await;
    let sessions = bench.identity.sessions();
    let left = || -> Vec<_> { sessions.of_user("alice").iter().map(|s| s.id).collect() };
    assert_eq!(left().len(), 3);
    all[2].bind(None, Some(2));
    sessions.expired(NOW + 91).await;
    assert_eq!(left(), [all[1].id, all[2].id]);
    let (fourth, _) = bench.sign_in("alice", NOW + 130).await;
    assert_eq!(left(), [all[2].id, fourth.id]);
    assert!(sessions.find_by_id(bob.id).is_some());
    assert_eq!(bench.journal.count(Event::SessionEnded, "replaced"), 2);
}

#[tokio::test]
async fn what_the_policy_says_of_everybody_holds_at_once_and_only_tightens() {
    let bench = Bench::new().await;
    let (first, _) = bench.sign_in("alice", NOW).await;
    let (second, _) = bench.sign_in("alice", NOW + 40).await;
    let sessions = bench.identity.sessions();
    sessions
        .tighten(Some(Duration::from_secs(9 * 3600)), Some(50))
        .await;
    assert_eq!(second.expires(), NOW + 40 + HOUR);
    assert_eq!(sessions.of_user("alice").len(), 2);
    sessions
        .tighten(Some(Duration::from_secs(300)), Some(1))
        .await;
    assert_eq!(second.expires(), NOW + 340);
    assert!(sessions.find_by_id(first.id).is_none());
    assert!(sessions.find_by_id(second.id).is_some());
    sessions.tighten(None, None).await;
    assert_eq!(second.expires(), NOW + 40 + HOUR);
}

#[tokio::test]
async fn a_disputed_device_is_closed_over_a_restart_until_the_next_sign_in() {
    let bench = Bench::new().await;
    let (session, _) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    let (device, other) = (DeviceId(3), DeviceId(4));
    sessions.bind_device(&session, device, None).await.unwrap();
    sessions.bind_device(&session, other, None).await.unwrap();
    assert!(sessions.dispute_device(device).await.unwrap());
    assert!(!sessions.dispute_device(device).await.unwrap(), "no news");
    assert!(sessions.is_disputed(device) && !sessions.is_disputed(other));
    assert!(sessions.opened_by(device, NOW).is_none());
    assert!(sessions.opened_by(other, NOW).is_some());

    let bench = bench.restart(NOW + 1).await;
    let sessions = bench.identity.sessions();
    assert!(sessions.opened_by(device, NOW + 1).is_none());
    assert!(sessions.opened_by(other, NOW + 1).is_some());
    sessions.dispute_device(device).await.unwrap();
    let (session, _) = bench.sign_in("alice", NOW + 30).await;
    sessions.bind_device(&session, device, None).await.unwrap();
    assert!(!sessions.is_disputed(device));
    assert!(sessions.opened_by(device, NOW + 30).is_some());
}
