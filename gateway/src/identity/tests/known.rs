//! Browsers that signed somebody in before, and the account that is attacked from elsewhere.

use super::*;
use crate::identity::{BROWSER_SECS, Session};

/// Signs in from a browser that shows `token`; returns its session and the token it gets.
async fn enter(bench: &Bench, user: &str, at: i64, token: Option<&str>) -> (Arc<Session>, String) {
    let from = by_browser(bench, at, "198.51.100.9", token);
    let half = bench.half(user, from).await;
    let step = bench.identity.code(&half, &code(at), &from).await;
    let CodeStep::SignedIn { session, .. } = step else {
        panic!("{step:?}")
    };
    let sessions = bench.identity.sessions();
    let next = sessions.remember_browser(&session, token).await.unwrap();
    (session, next.unwrap())
}

fn by_browser<'a>(bench: &'a Bench, at: i64, source: &str, token: Option<&'a str>) -> Context<'a> {
    Context {
        browser: token,
        ..bench.from(at, source)
    }
}

fn is_known(bench: &Bench, user: &str, token: &str) -> bool {
    bench.identity.sessions().browser(user, token).is_some()
}

fn source(n: u32) -> String {
    let [_, b, c, d] = n.to_be_bytes();
    format!("10.{b}.{c}.{d}")
}

#[tokio::test]
async fn an_attack_from_many_places_does_not_keep_the_person_out() {
    let tries = match std::env::var_os("POSTERN_LONG") {
        Some(_) => 10_000,
        None => 1_000,
    };
    let bench = Bench::new().await;
    let (_, token) = enter(&bench, "alice", NOW, None).await;
    let mut evaluated = 0;
    for n in 0..tries {
        let from = bench.from(NOW + 60, &source(n));
        let step = bench.password("alice", "not the password", from).await;
        match &step {
            PasswordStep::Refused => evaluated += 1,
            PasswordStep::Throttled { retry_after } => assert_eq!(retry_after.as_secs(), 900),
            PasswordStep::Code { .. }
            | PasswordStep::Enrol { .. }
            | PasswordStep::Overloaded
            | PasswordStep::Unavailable => {
                panic!("{step:?}")
            }
        }
    }
    assert_eq!(evaluated, 100);
    let bench = bench.restart(NOW + 61).await;
    let fresh = bench.from(NOW + 61, "198.51.100.9");
    let step = bench.password("alice", PASSWORD, fresh).await;
    assert!(matches!(step, PasswordStep::Throttled { .. }), "{step:?}");
    let (session, _) = enter(&bench, "alice", NOW + 61, Some(&token)).await;
    assert!(session.is_in_known_browser());
}

#[tokio::test]
async fn a_known_browser_waits_for_its_own_failures_and_for_no_others() {
    let bench = Bench::new().await;
    let (_, token) = enter(&bench, "alice", NOW, None).await;
    let known = by_browser(&bench, NOW, "198.51.100.9", Some(&token));
    let fresh = by_browser(&bench, NOW, "198.51.100.9", None);
    for _ in 0..5 {
        let step = bench.password("alice", "wrong", known).await;
        assert!(matches!(step, PasswordStep::Refused));
    }
    // elsewhere, and without the cookie, the same browser has its other budget
    let elsewhere = by_browser(&bench, NOW, "192.0.2.200", Some(&token));
    let step = bench.password("alice", PASSWORD, elsewhere).await;
    assert!(matches!(step, PasswordStep::Throttled { .. }), "{step:?}");
    let step = bench.password("alice", PASSWORD, fresh).await;
    assert!(matches!(step, PasswordStep::Code { .. }), "{step:?}");
}

#[tokio::test]
async fn a_token_counts_for_its_own_person_and_for_a_second_one_of_the_same_browser() {
    let bench = Bench::new().await;
    let (first, token) = enter(&bench, "alice", NOW, None).await;
    assert!(!first.is_in_known_browser());
    assert!(is_known(&bench, "alice", &token) && !is_known(&bench, "bob", &token));
    let (session, shared) = enter(&bench, "bob", NOW, Some(&token)).await;
    assert!(!session.is_in_known_browser());
    assert!(is_known(&bench, "alice", &shared) && is_known(&bench, "bob", &shared));
    for strange in ["", "x", &crate::ids::token()] {
        assert!(!is_known(&bench, "alice", strange));
    }
}

#[tokio::test]
async fn a_token_changes_at_each_sign_in_and_the_one_before_counts_until_then() {
    let bench = Bench::new().await;
    let (_, first) = enter(&bench, "alice", NOW, None).await;
    let (session, second) = enter(&bench, "alice", NOW + 30, Some(&first)).await;
    assert!(session.is_in_known_browser());
    assert_ne!(first, second);
    // the answer that held the second may have been lost
    assert!(is_known(&bench, "alice", &first));
    let (_, third) = enter(&bench, "alice", NOW + 60, Some(&second)).await;
    assert!(!is_known(&bench, "alice", &first));
    assert!(is_known(&bench, "alice", &second) && is_known(&bench, "alice", &third));
    let rows = bench.store.browsers().await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
}

#[tokio::test]
async fn sign_out_and_a_restart_leave_a_browser_known_and_what_takes_away_does_not() {
    let bench = Bench::new().await;
    let (session, token) = enter(&bench, "alice", NOW, None).await;
    let sessions = bench.identity.sessions();
    sessions
        .end(session.id, EndReason::SignedOut)
        .await
        .unwrap();
    sessions
        .end_user("alice", EndReason::SignedOut)
        .await
        .unwrap();
    let bench = bench.restart(NOW + 30).await;
    let (session, mut token) = enter(&bench, "alice", NOW + 30, Some(&token)).await;
    assert!(session.is_in_known_browser());
    let bench = bench.restart(NOW + 31).await;
    let kept = bench.identity.sessions().find_by_id(session.id).unwrap();
    assert!(kept.is_in_known_browser());
    for (n, why) in (2..).zip([
        EndReason::SignedOutElsewhere,
        EndReason::FactorChanged,
        EndReason::Revoked,
        EndReason::UserDisabled,
        EndReason::UserRemoved,
    ]) {
        let at = NOW + 30 * n;
        let (_, other) = enter(&bench, "bob", at, None).await;
        let sessions = bench.identity.sessions();
        sessions.end_user("alice", why).await.unwrap();
        assert!(!is_known(&bench, "alice", &token), "{why:?}");
        assert!(is_known(&bench, "bob", &other), "{why:?}");
        let rows = bench.store.browsers().await.unwrap();
        assert!(rows.iter().all(|row| row.user == "bob"), "{why:?}");
        token = enter(&bench, "alice", at, None).await.1;
    }
    let sessions = bench.identity.sessions();
    sessions.end_all(EndReason::Revoked).await.unwrap();
    assert!(bench.store.browsers().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_new_password_makes_every_browser_unknown() {
    let bench = Bench::new().await;
    let (_, token) = enter(&bench, "alice", NOW, None).await;
    let password = Zeroizing::new("another zebra, not the one before".to_owned());
    let set = bench
        .identity
        .set_credentials("alice", password, Some(SECRET), NOW);
    set.await.unwrap();
    assert!(!is_known(&bench, "alice", &token));
}

#[tokio::test]
async fn a_person_has_sixteen_known_browsers_and_none_for_ever() {
    let bench = Bench::new().await;
    let mut tokens = Vec::new();
    for n in 0..17 {
        let at = NOW + 30 * n;
        tokens.push(enter(&bench, "alice", at, None).await.1);
    }
    assert!(!is_known(&bench, "alice", &tokens[0]));
    assert!(tokens.iter().skip(1).all(|t| is_known(&bench, "alice", t)));
    assert_eq!(bench.store.browsers().await.unwrap().len(), 16);
    let later = NOW + 30 * 16 + BROWSER_SECS;
    let bench = bench.restart(later).await;
    assert!(!is_known(&bench, "alice", &tokens[16]));
    enter(&bench, "alice", later, Some(&tokens[16])).await;
    assert_eq!(bench.store.browsers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_browser_of_a_session_that_is_over_is_not_remembered() {
    let bench = Bench::new().await;
    let (session, _) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    sessions.end(session.id, EndReason::Revoked).await.unwrap();
    let token = sessions.remember_browser(&session, None).await.unwrap();
    assert_eq!(token, None);
    assert!(bench.store.browsers().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_store_keeps_hashes_and_no_token() {
    let bench = Bench::new().await;
    let (_, token) = enter(&bench, "alice", NOW, None).await;
    let rows = bench.store.browsers().await.unwrap();
    assert_eq!(
        rows.first().map(|r| r.hash),
        super::super::token_hash(&token)
    );
    let files = std::fs::read_dir(bench.folder()).unwrap();
    for file in files {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let found = bytes.windows(token.len()).any(|w| w == token.as_bytes());
        assert!(!found);
    }
}

#[tokio::test]
async fn a_session_signed_out_from_another_takes_the_known_browsers_along() {
    let bench = Bench::new().await;
    let (lost, _) = enter(&bench, "alice", NOW, None).await;
    let (here, token) = enter(&bench, "alice", NOW + 30, None).await;
    let sessions = bench.identity.sessions();
    let (_, other) = enter(&bench, "bob", NOW, None).await;
    sessions.end(here.id, EndReason::SignedOut).await.unwrap();
    assert!(is_known(&bench, "alice", &token));
    sessions
        .end(lost.id, EndReason::SignedOutElsewhere)
        .await
        .unwrap();
    assert!(!is_known(&bench, "alice", &token));
    assert!(is_known(&bench, "bob", &other));
}

#[tokio::test]
async fn a_person_without_a_session_loses_browsers_and_tickets_when_disabled() {
    let bench = Bench::new().await;
    let (session, token) = enter(&bench, "alice", NOW, None).await;
    let sessions = bench.identity.sessions();
    sessions
        .end(session.id, EndReason::SignedOut)
        .await
        .unwrap();
    let ticket = store::LinkRow {
        kind: LinkKind::Recovery,
        hash: [1; 32],
        user: "alice".to_owned(),
        expires: NOW + 600,
        pending: None,
    };
    assert!(bench.store.put_ticket(ticket, NOW).await.unwrap());
    assert!(is_known(&bench, "alice", &token));
    let epoch = sessions.epoch("alice");
    let ended = sessions.end_user("alice", EndReason::UserDisabled).await;
    assert!(ended.unwrap().is_empty());
    assert!(!is_known(&bench, "alice", &token));
    assert!(bench.store.link(&[1; 32], NOW).await.unwrap().is_none());
    assert_ne!(sessions.epoch("alice"), epoch);
}
