//! Changes of one's own factors.

use super::super::Session;
use super::*;

const NEW_PASSWORD: &str = "nine pears in a bowl";

async fn confirm(bench: &Bench, session: &Arc<Session>, password: &str, now: i64) -> StepUp {
    let password = Zeroizing::new(password.to_owned());
    bench
        .identity
        .confirm(session, password, &code(now), &bench.at(now))
        .await
}

/// Signs alice in and confirms her session half a minute later.
pub(super) async fn confirmed(bench: &Bench) -> (Arc<Session>, i64) {
    let (session, _) = bench.sign_in("alice", NOW).await;
    let now = NOW + 30;
    let step = confirm(bench, &session, PASSWORD, now).await;
    assert!(matches!(step, StepUp::Done { .. }), "{step:?}");
    (session, now)
}

async fn change(bench: &Bench, session: &Arc<Session>, others: Others, now: i64) -> ChangeStep {
    let new = Zeroizing::new(NEW_PASSWORD.to_owned());
    bench
        .identity
        .change_password(session, new, others, &bench.at(now))
        .await
}

fn new_secret(bench: &Bench, session: &Arc<Session>, now: i64) -> Option<[u8; 20]> {
    let view = bench.identity.totp_begin(session, &bench.at(now))?;
    let secret = data_encoding::BASE32_NOPAD.decode(view.secret_base32.as_bytes());
    Some(secret.unwrap().try_into().unwrap())
}

#[tokio::test]
async fn a_confirmation_needs_both_factors_and_changes_the_cookie() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    assert!(!session.is_confirmed(NOW), "a sign-in is no confirmation");
    let now = NOW + 30;
    let wrong = confirm(&bench, &session, "not the password at all", now).await;
    assert!(matches!(wrong, StepUp::Refused));
    let password = Zeroizing::new(PASSWORD.to_owned());
    let from = bench.at(now);
    let wrong = bench
        .identity
        .confirm(&session, password, &wrong_code(now), &from)
        .await;
    assert!(matches!(wrong, StepUp::Refused));
    assert!(!session.is_confirmed(now));
    let step = confirm(&bench, &session, PASSWORD, now).await;
    let StepUp::Done { cookie: fresh } = step else {
        panic!("{step:?}")
    };
    assert!(session.is_confirmed(now));
    let sessions = bench.identity.sessions();
    assert!(sessions.find(&cookie, HOST, now).is_none());
    assert!(sessions.find(&fresh, HOST, now).is_some());
}

#[tokio::test]
async fn a_confirmation_counts_five_minutes_in_its_own_session() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let (other, _) = bench.sign_in("alice", now + 30).await;
    assert!(!other.is_confirmed(now + 30));
    assert!(session.is_confirmed(now + 299));
    assert!(!session.is_confirmed(now + 300));
    let step = change(&bench, &other, Others::Keep, now + 31).await;
    assert!(matches!(step, ChangeStep::NotConfirmed));
    let step = change(&bench, &session, Others::Keep, now + 300).await;
    assert!(matches!(step, ChangeStep::NotConfirmed));
    let step = change(&bench, &session, Others::Keep, now + 299).await;
    assert!(!matches!(step, ChangeStep::Done), "time does not go back");
}

#[tokio::test]
async fn a_confirmation_does_not_survive_a_restart() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let id = session.id;
    drop(session);
    let bench = bench.restart(now + 1).await;
    let session = bench.identity.sessions().find_by_id(id).unwrap();
    assert!(session.is_live(now + 1));
    assert!(!session.is_confirmed(now + 1));
}

#[tokio::test]
async fn guesses_at_a_confirmation_are_throttled_by_the_one_engine() {
    let bench = Bench::new().await;
    let (session, _) = bench.sign_in("alice", NOW).await;
    let now = NOW + 30;
    for _ in 0..5 {
        let step = confirm(&bench, &session, "not the password at all", now).await;
        assert!(matches!(step, StepUp::Refused));
    }
    let step = confirm(&bench, &session, PASSWORD, now).await;
    assert!(matches!(step, StepUp::Throttled { .. }));
    // The form of the sign-in counts with it, and the other way round.
    let step = bench.password("alice", PASSWORD, bench.at(now)).await;
    assert!(matches!(step, PasswordStep::Throttled { .. }));
    let step = confirm(&bench, &session, PASSWORD, now + 900).await;
    assert!(matches!(step, StepUp::Done { .. }));
}

#[tokio::test]
async fn a_changed_password_replaces_the_old_one_and_ends_the_other_sessions() {
    let bench = Bench::new().await;
    let (other, _) = bench.sign_in("alice", NOW - 60).await;
    let (bob, _) = bench.sign_in("bob", NOW).await;
    let (session, now) = confirmed(&bench).await;
    let half = bench.half("alice", bench.at(now)).await;
    let step = change(&bench, &session, Others::End, now).await;
    assert!(matches!(step, ChangeStep::Done), "{step:?}");
    assert!(session.is_live(now) && bob.is_live(now));
    assert!(!other.is_live(now));
    // Nor does a sign-in come through that began with the old password.
    let late = now + 30;
    let step = bench
        .identity
        .code(&half, &code(late), &bench.at(late))
        .await;
    assert!(matches!(step, CodeStep::Expired), "{step:?}");
    let step = bench.password("alice", PASSWORD, bench.at(late)).await;
    assert!(matches!(step, PasswordStep::Refused));
    let step = bench.password("alice", NEW_PASSWORD, bench.at(late)).await;
    assert!(matches!(step, PasswordStep::Code { .. }));
    assert_eq!(bench.journal.count(Event::FactorChanged, "password-set"), 4);
    let notices = bench.identity.notices("alice").await.unwrap();
    assert_eq!(notices[0].kind, NoticeKind::PasswordChanged);
}

#[tokio::test]
async fn other_sessions_stay_where_the_person_says_so() {
    let bench = Bench::new().await;
    let (other, _) = bench.sign_in("alice", NOW - 60).await;
    let (session, now) = confirmed(&bench).await;
    let step = change(&bench, &session, Others::Keep, now).await;
    assert!(matches!(step, ChangeStep::Done), "{step:?}");
    assert!(session.is_live(now) && other.is_live(now));
}

#[tokio::test]
async fn a_weak_password_changes_nothing() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    for weak in ["short", "passwordpassword", "alicealicealice", HOST] {
        let new = Zeroizing::new(weak.to_owned());
        let from = bench.at(now);
        let step = bench
            .identity
            .change_password(&session, new, Others::End, &from)
            .await;
        assert!(matches!(step, ChangeStep::Weak(_)), "{weak}");
    }
    let step = bench.password("alice", PASSWORD, bench.at(now)).await;
    assert!(matches!(step, PasswordStep::Code { .. }));
}

#[tokio::test]
async fn another_app_counts_after_its_first_right_code_and_the_old_one_until_then() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let secret = new_secret(&bench, &session, now).unwrap();
    assert_eq!(new_secret(&bench, &session, now), Some(secret));
    let from = bench.at(now);
    let wrong = bench
        .identity
        .totp_replace(&session, &code(now), Others::End, &from)
        .await;
    assert!(matches!(wrong, ChangeStep::WrongCode));
    let (other, _) = bench.sign_in("alice", now + 30).await;

    let later = now + 60;
    let right = totp::code_at(&secret, later);
    let from = bench.at(later);
    let done = bench
        .identity
        .totp_replace(&session, &right, Others::End, &from)
        .await;
    assert!(matches!(done, ChangeStep::Done), "{done:?}");
    assert!(session.is_live(later));
    assert!(!other.is_live(later));
    assert_eq!(
        bench.journal.count(Event::FactorChanged, "totp-replaced"),
        1
    );
    let again = later + 30;
    let half = bench.half("alice", bench.at(again)).await;
    let step = bench
        .identity
        .code(&half, &code(again), &bench.at(again))
        .await;
    assert!(matches!(step, CodeStep::Refused));
    let right = totp::code_at(&secret, again);
    let step = bench.identity.code(&half, &right, &bench.at(again)).await;
    assert!(matches!(step, CodeStep::SignedIn { .. }));
}

#[tokio::test]
async fn one_new_secret_waits_at_a_time() {
    let bench = Bench::new().await;
    let (first, now) = confirmed(&bench).await;
    let (second, _) = bench.sign_in("alice", now + 30).await;
    let now = now + 60;
    let step = confirm(&bench, &second, PASSWORD, now).await;
    assert!(matches!(step, StepUp::Done { .. }));
    let old = new_secret(&bench, &first, now).unwrap();
    let new = new_secret(&bench, &second, now).unwrap();
    assert_ne!(old, new);
    let from = bench.at(now);
    let right = totp::code_at(&old, now);
    let step = bench
        .identity
        .totp_replace(&first, &right, Others::Keep, &from)
        .await;
    assert!(matches!(step, ChangeStep::NotConfirmed), "{step:?}");
    let right = totp::code_at(&new, now);
    let step = bench
        .identity
        .totp_replace(&second, &right, Others::Keep, &from)
        .await;
    assert!(matches!(step, ChangeStep::Done), "{step:?}");
}

#[tokio::test]
async fn without_a_confirmation_no_secret_and_no_codes_are_given() {
    let bench = Bench::new().await;
    let (session, _) = bench.sign_in("alice", NOW).await;
    assert!(new_secret(&bench, &session, NOW).is_none());
    let from = bench.at(NOW);
    let step = bench.identity.renew_codes(&session, &from).await;
    assert!(matches!(step, ChangeStep::NotConfirmed));
    let now = NOW + 30;
    confirm(&bench, &session, PASSWORD, now).await;
    assert!(new_secret(&bench, &session, now).is_some());
    let step = bench.identity.renew_codes(&session, &bench.at(now)).await;
    let ChangeStep::Codes(first) = step else {
        panic!("{step:?}")
    };
    assert_eq!(first.len(), 10);
    assert_eq!(bench.identity.recovery_left("alice").await.unwrap(), 10);
    let step = bench.identity.renew_codes(&session, &bench.at(now)).await;
    assert!(matches!(step, ChangeStep::Codes(_)));
    // Of the first set none counts any more.
    let half = bench.half("alice", bench.at(now)).await;
    let step = bench
        .identity
        .recover(&half, &first[0], &bench.at(now))
        .await;
    assert!(matches!(step, RecoverStep::Refused));
    assert_eq!(bench.identity.recovery_left("alice").await.unwrap(), 10);
}

#[tokio::test]
async fn a_disabled_person_changes_nothing() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    bench.people.set("alice", Standing::Disabled);
    let step = change(&bench, &session, Others::Keep, now).await;
    assert!(matches!(step, ChangeStep::NotConfirmed));
    bench.people.set("alice", Standing::Active);
    let step = change(&bench, &session, Others::Keep, now).await;
    assert!(matches!(step, ChangeStep::Done));
}

#[tokio::test]
async fn a_change_that_cannot_be_recorded_changes_nothing() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    bench.journal.break_down();
    let step = change(&bench, &session, Others::End, now).await;
    assert!(matches!(step, ChangeStep::Unavailable), "{step:?}");
    let bench = bench.restart(now + 1).await;
    let step = bench.password("alice", PASSWORD, bench.at(now + 1)).await;
    assert!(matches!(step, PasswordStep::Code { .. }));
}

#[tokio::test]
async fn a_change_ends_sign_ins_under_way_also_where_other_sessions_stay() {
    let bench = Bench::new().await;
    let (other, _) = bench.sign_in("alice", NOW - 60).await;
    let (session, now) = confirmed(&bench).await;
    let ticket = store::LinkRow {
        kind: LinkKind::Recovery,
        hash: [1; 32],
        user: "alice".to_owned(),
        expires: now + 600,
        pending: None,
    };
    let under_way = async || {
        assert!(bench.store.put_ticket(ticket.clone(), now).await.unwrap());
        bench.identity.sessions().epoch("alice")
    };
    let is_void = async |epoch| {
        let gone = bench.store.link(&[1; 32], now).await.unwrap().is_none();
        gone && bench.identity.sessions().epoch("alice") != epoch
    };
    let epoch = under_way().await;
    assert!(!is_void(epoch).await);
    let step = change(&bench, &session, Others::Keep, now).await;
    assert!(matches!(step, ChangeStep::Done), "{step:?}");
    assert!(is_void(epoch).await);

    let epoch = under_way().await;
    let secret = new_secret(&bench, &session, now).unwrap();
    let code = totp::code_at(&secret, now);
    let from = bench.at(now);
    let step = bench
        .identity
        .totp_replace(&session, &code, Others::Keep, &from);
    assert!(matches!(step.await, ChangeStep::Done));
    assert!(is_void(epoch).await);

    let epoch = under_way().await;
    let step = bench.identity.renew_codes(&session, &from).await;
    assert!(matches!(step, ChangeStep::Codes(_)), "{step:?}");
    assert!(is_void(epoch).await);
    assert!(session.is_live(now) && other.is_live(now));
}
