//! Sign-in from the form to the session.

use super::*;

fn refused(step: &PasswordStep) -> bool {
    matches!(step, PasswordStep::Refused)
}

#[tokio::test]
async fn password_and_code_together_open_a_session() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    assert_eq!(&*session.user, "alice");
    assert_eq!((session.login_at, session.mfa_at()), (NOW, NOW));
    let found = bench.identity.sessions().find(&cookie, HOST, NOW).unwrap();
    assert_eq!(found.id, session.id);
    let record = bench.journal.last();
    assert_eq!(
        (record.event, record.reason),
        (Event::SignedIn, "signed-in")
    );
    assert_eq!(record.session, Some(session.id));
    assert_eq!(record.user.as_deref(), Some("alice"));
}

#[tokio::test]
async fn the_password_alone_opens_nothing() {
    let bench = Bench::new().await;
    let half = bench.half("alice", bench.at(NOW)).await;
    assert!(bench.identity.sessions().find(&half, HOST, NOW).is_none());
    assert!(bench.identity.sessions().list().is_empty());
}

#[tokio::test]
async fn a_code_without_the_password_opens_nothing() {
    let bench = Bench::new().await;
    let token = crate::ids::token();
    for half in [token.as_str(), "", "x"] {
        let step = bench.identity.code(half, &code(NOW), &bench.at(NOW)).await;
        assert!(matches!(step, CodeStep::Expired));
    }
    let (session, _) = bench.sign_in("alice", NOW).await;
    assert_eq!(bench.identity.sessions().list().len(), 1);
    assert_eq!(&*session.user, "alice");
}

#[tokio::test]
async fn one_spelling_of_a_name_is_one_user() {
    let bench = Bench::new().await;
    for spelling in ["Alice", "ALICE", "\u{ff41}lice"] {
        let step = bench.password(spelling, PASSWORD, bench.at(NOW)).await;
        assert!(matches!(step, PasswordStep::Code { .. }), "{spelling}");
    }
    for other in [" alice", "alice ", "al ice", "аlice"] {
        let step = bench.password(other, PASSWORD, bench.at(NOW)).await;
        assert!(refused(&step), "{other}");
    }
}

#[tokio::test]
async fn unknown_disabled_and_unenrolled_users_cost_one_argon2_run_like_the_rest() {
    let bench = Bench::new().await;
    for (user, reason) in [
        ("alice", "bad-password"),
        ("nobody", "user-unknown"),
        ("no name at all!", "user-unknown"),
        ("mallory", "user-disabled"),
        ("carol", "no-credentials"),
    ] {
        let before = bench.identity.passwords.runs();
        let step = bench
            .password(user, "wrong wrong wrong wrong", bench.at(NOW))
            .await;
        assert!(refused(&step), "{user}");
        assert_eq!(bench.identity.passwords.runs() - before, 1, "{user}");
        assert_eq!(
            bench.journal.count(Event::SignInFailed, reason),
            1 + usize::from(user.contains(' '))
        );
    }
}

#[tokio::test]
async fn the_right_password_of_a_disabled_user_is_refused_like_a_wrong_one() {
    let bench = Bench::new().await;
    assert!(refused(
        &bench.password("mallory", PASSWORD, bench.at(NOW)).await
    ));
    bench.people.set("mallory", Standing::Active);
    let step = bench.password("mallory", PASSWORD, bench.at(NOW)).await;
    assert!(matches!(step, PasswordStep::Code { .. }));
}

#[tokio::test]
async fn who_is_disabled_between_password_and_code_gets_no_session() {
    let bench = Bench::new().await;
    let half = bench.half("alice", bench.at(NOW)).await;
    bench.people.set("alice", Standing::Disabled);
    let step = bench.identity.code(&half, &code(NOW), &bench.at(NOW)).await;
    assert!(matches!(step, CodeStep::Refused));
    assert!(bench.identity.sessions().list().is_empty());
    assert_eq!(bench.journal.count(Event::SignInFailed, "user-disabled"), 1);
}

#[tokio::test]
async fn ending_the_sessions_of_a_user_ends_a_sign_in_under_way() {
    let bench = Bench::new().await;
    let half = bench.half("alice", bench.at(NOW)).await;
    let other = bench.half("bob", bench.at(NOW)).await;
    let sessions = bench.identity.sessions();
    sessions
        .end_user("alice", EndReason::Revoked)
        .await
        .unwrap();
    let step = bench.identity.code(&half, &code(NOW), &bench.at(NOW)).await;
    assert!(matches!(step, CodeStep::Expired), "{step:?}");
    let step = bench
        .identity
        .code(&other, &code(NOW), &bench.at(NOW))
        .await;
    assert!(matches!(step, CodeStep::SignedIn { .. }));
    assert_eq!(sessions.list().len(), 1);
    assert_eq!(bench.store.sessions().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_code_is_refused_the_second_time() {
    let bench = Bench::new().await;
    bench.sign_in("alice", NOW).await;
    let half = bench.half("alice", bench.at(NOW)).await;
    let step = bench.identity.code(&half, &code(NOW), &bench.at(NOW)).await;
    assert!(matches!(step, CodeStep::Refused));
    assert_eq!(bench.journal.count(Event::SignInFailed, "code-replayed"), 1);
    let next = NOW + 30;
    let step = bench
        .identity
        .code(&half, &code(next), &bench.at(next))
        .await;
    assert!(matches!(step, CodeStep::SignedIn { .. }));
}

#[tokio::test]
async fn a_used_code_and_those_before_it_stay_dead_over_a_restart() {
    let bench = Bench::new().await;
    bench.sign_in("alice", NOW).await;
    let bench = bench.restart(NOW + 1).await;
    let half = bench.half("alice", bench.at(NOW + 1)).await;
    for dead in [code(NOW), code(NOW - 30)] {
        let step = bench.identity.code(&half, &dead, &bench.at(NOW + 1)).await;
        assert!(matches!(step, CodeStep::Refused));
    }
    assert_eq!(bench.journal.count(Event::SignInFailed, "code-replayed"), 2);
    let step = bench
        .identity
        .code(&half, &code(NOW + 30), &bench.at(NOW + 1))
        .await;
    assert!(matches!(step, CodeStep::SignedIn { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_parallel_uses_of_one_code_open_one_session() {
    let bench = Arc::new(Bench::new().await);
    let mut halves = Vec::new();
    for n in 0..20 {
        let bench = Arc::clone(&bench);
        // One after the other: more at a time than there are places would be overload.
        let half = tokio::spawn(async move {
            let from = bench.from(NOW, &format!("192.0.2.{n}"));
            bench.half("alice", from).await
        });
        halves.push(half.await.unwrap());
    }
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let bench = Arc::clone(&bench);
            let half = halves[n % halves.len()].clone();
            tokio::spawn(async move {
                let from = bench.from(NOW, &format!("198.51.100.{n}"));
                let step = bench.identity.code(&half, &code(NOW), &from).await;
                matches!(step, CodeStep::SignedIn { .. })
            })
        })
        .collect();
    let mut opened = 0;
    for task in tasks {
        opened += usize::from(task.await.unwrap());
    }
    assert_eq!(opened, 1);
    assert_eq!(bench.identity.sessions().list().len(), 1);
    assert_eq!(bench.store.sessions().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_right_password_counts_for_five_minutes() {
    let bench = Bench::new().await;
    let half = bench.half("alice", bench.at(NOW)).await;
    let late = NOW + 300;
    let step = bench
        .identity
        .code(&half, &code(late), &bench.at(late))
        .await;
    assert!(matches!(step, CodeStep::Expired));
    let half = bench.half("alice", bench.at(late)).await;
    let in_time = late + 299;
    let step = bench
        .identity
        .code(&half, &code(in_time), &bench.at(in_time))
        .await;
    assert!(matches!(step, CodeStep::SignedIn { .. }));
}

#[tokio::test]
async fn a_right_password_counts_for_five_codes() {
    let bench = Bench::new().await;
    let half = bench.half("alice", bench.at(NOW)).await;
    for _ in 0..5 {
        let step = bench
            .identity
            .code(&half, &wrong_code(NOW), &bench.at(NOW))
            .await;
        assert!(matches!(step, CodeStep::Refused));
    }
    let step = bench.identity.code(&half, &code(NOW), &bench.at(NOW)).await;
    assert!(matches!(step, CodeStep::Expired));
}

#[tokio::test]
async fn an_account_takes_ten_wrong_codes_then_waits_an_hour() {
    let bench = Bench::new().await;
    for n in 0..10 {
        let from = bench.from(NOW, &format!("192.0.2.{n}"));
        let half = bench.half("alice", from).await;
        let step = bench.identity.code(&half, &wrong_code(NOW), &from).await;
        assert!(matches!(step, CodeStep::Refused), "{n}");
    }
    // The right password does not reset it, nor does a restart.
    let bench = bench.restart(NOW + 60).await;
    let from = bench.from(NOW + 60, "192.0.2.99");
    let half = bench.half("alice", from).await;
    let step = bench.identity.code(&half, &code(NOW + 60), &from).await;
    assert!(matches!(step, CodeStep::Throttled { retry_after } if retry_after.as_secs() == 3540));
    let later = NOW + 3600;
    let from = bench.from(later, "192.0.2.99");
    let half = bench.half("alice", from).await;
    let step = bench.identity.code(&half, &code(later), &from).await;
    assert!(matches!(step, CodeStep::SignedIn { .. }));
}

#[tokio::test]
async fn five_wrong_passwords_make_that_source_wait_and_no_other() {
    let bench = Bench::new().await;
    for user in ["alice", "nobody"] {
        for _ in 0..5 {
            assert!(refused(&bench.password(user, "wrong", bench.at(NOW)).await));
        }
    }
    for user in ["alice", "nobody"] {
        let before = bench.identity.passwords.runs();
        let step = bench.password(user, PASSWORD, bench.at(NOW + 1)).await;
        assert!(
            matches!(step, PasswordStep::Throttled { retry_after } if retry_after.as_secs() == 899),
            "{user}"
        );
        assert_eq!(bench.identity.passwords.runs(), before);
    }
    let elsewhere = bench.from(NOW + 1, "198.51.100.7");
    assert!(matches!(
        bench.password("alice", PASSWORD, elsewhere).await,
        PasswordStep::Code { .. }
    ));
    let bench = bench.restart(NOW + 2).await;
    assert!(matches!(
        bench.password("alice", PASSWORD, bench.at(NOW + 2)).await,
        PasswordStep::Throttled { .. }
    ));
    assert!(matches!(
        bench.password("alice", PASSWORD, bench.at(NOW + 900)).await,
        PasswordStep::Code { .. }
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_parallel_tries_at_most_five_are_compared() {
    let bench = Arc::new(Bench::new().await);
    let before = bench.identity.passwords.runs();
    let tries: Vec<_> = (0..100)
        .map(|_| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.password("alice", "wrong", bench.at(NOW)).await })
        })
        .collect();
    let (mut compared, mut throttled) = (0, 0);
    for step in tries {
        let step = step.await.unwrap();
        match &step {
            PasswordStep::Refused => compared += 1,
            PasswordStep::Throttled { .. } => throttled += 1,
            PasswordStep::Overloaded => {}
            PasswordStep::Code { .. } | PasswordStep::Enrol { .. } | PasswordStep::Unavailable => {
                panic!("{step:?}")
            }
        }
    }
    assert!((1..=5).contains(&compared), "{compared}");
    assert!(throttled > 0);
    assert_eq!(bench.identity.passwords.runs() - before, compared);
}

#[tokio::test]
async fn without_a_journal_nobody_signs_in_and_revocation_works() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("bob", NOW).await;
    let half = bench.half("alice", bench.at(NOW)).await;
    bench.journal.break_down();
    let step = bench.identity.code(&half, &code(NOW), &bench.at(NOW)).await;
    assert!(matches!(step, CodeStep::Unavailable));
    assert!(matches!(
        bench.password("alice", "wrong", bench.at(NOW)).await,
        PasswordStep::Unavailable
    ));
    let sessions = bench.identity.sessions();
    assert_eq!(sessions.list().len(), 1);
    assert!(sessions.end(session.id, EndReason::Revoked).await.unwrap());
    assert!(sessions.find(&cookie, HOST, NOW).is_none());
}

#[tokio::test]
async fn records_name_existing_users_only_and_hold_no_secret() {
    let bench = Bench::new().await;
    bench
        .password("my-secret-by-mistake", "another secret", bench.at(NOW))
        .await;
    bench
        .password("alice", "another secret", bench.at(NOW))
        .await;
    bench.sign_in("alice", NOW).await;
    let text = bench.journal.text();
    assert!(text.contains("alice"));
    for secret in ["mistake", "another", PASSWORD, &code(NOW)] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn an_outdated_verifier_is_renewed_at_sign_in() {
    let bench = Bench::new().await;
    let old = bench.store.credentials("alice").await.unwrap().unwrap();
    let pepper = bench.keys.derive_all("pepper");
    let cost = super::super::Cost::new(20 * 1024, 2).unwrap();
    let heavier = super::super::Hasher::new(cost, pepper).unwrap();
    let mut outdated = old.clone();
    outdated.phc = heavier.hash(PASSWORD).unwrap();
    bench
        .store
        .put_credentials("alice", outdated)
        .await
        .unwrap();
    bench.half("alice", bench.at(NOW)).await;
    let new = bench.store.credentials("alice").await.unwrap().unwrap();
    assert!(new.phc.contains("m=19456,t=2,p=1"));
    assert_eq!(bench.journal.last().event, Event::FactorChanged);
    bench.half("alice", bench.at(NOW)).await;
    let same = bench.store.credentials("alice").await.unwrap().unwrap();
    assert_eq!(same.phc, new.phc);
}

#[tokio::test]
async fn step_up_needs_a_fresh_code_and_changes_the_cookie() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    let identity = &bench.identity;
    let replayed = identity.step_up(&session, &code(NOW), &bench.at(NOW)).await;
    assert!(matches!(replayed, StepUp::Refused));
    assert_eq!(session.mfa_at(), NOW);
    let later = NOW + 600;
    let step = identity
        .step_up(&session, &code(later), &bench.at(later))
        .await;
    let StepUp::Done { cookie: fresh } = step else {
        panic!("{step:?}")
    };
    assert_eq!(session.mfa_at(), later);
    assert!(identity.sessions().find(&cookie, HOST, later).is_none());
    assert!(identity.sessions().find(&fresh, HOST, later).is_some());
    let bench = bench.restart(later + 1).await;
    let kept = bench
        .identity
        .sessions()
        .find(&fresh, HOST, later + 1)
        .unwrap();
    assert_eq!(kept.mfa_at(), later);
}

#[tokio::test]
async fn step_up_of_an_ended_session_is_refused() {
    let bench = Bench::new().await;
    let (session, _) = bench.sign_in("alice", NOW).await;
    let identity = &bench.identity;
    identity
        .sessions()
        .end(session.id, EndReason::SignedOut)
        .await
        .unwrap();
    let later = NOW + 30;
    let step = identity
        .step_up(&session, &code(later), &bench.at(later))
        .await;
    assert!(matches!(step, StepUp::Expired));
    assert_eq!(bench.journal.count(Event::SignedOut, "signed-out"), 1);
}

#[tokio::test]
async fn a_known_device_keeps_its_own_tries_while_the_account_is_attacked() {
    let bench = Bench::new().await;
    let device = bench
        .identity
        .devices()
        .add(new_device("alice", 1))
        .await
        .unwrap();
    let who = bench
        .identity
        .lockout
        .who("alice", "203.0.113.9".parse().unwrap(), None);
    let mut at = NOW;
    for n in 0..100 {
        // One failure each from ever new places, without the cost of argon2.
        let source = format!("203.0.{}.{n}", n / 200).parse().unwrap();
        let from = bench.identity.lockout.who("alice", source, None);
        drop(bench.identity.lockout.begin_password(&from, at).unwrap());
        at += 1;
    }
    assert!(bench.identity.lockout.begin_password(&who, at).is_err());
    let step = bench.password("alice", PASSWORD, bench.at(at)).await;
    assert!(matches!(step, PasswordStep::Throttled { .. }));
    let inside = bench.by_device(at, device.id);
    let half = bench.half("alice", inside).await;
    assert!(matches!(
        bench.identity.code(&half, &code(at), &inside).await,
        CodeStep::SignedIn { .. }
    ));
    // Bob's account is not helped by alice's device, and alice is free again.
    assert!(matches!(
        bench.password("alice", PASSWORD, bench.at(at)).await,
        PasswordStep::Code { .. }
    ));
}

#[tokio::test]
async fn a_half_way_sign_in_that_nobody_finished_is_recorded() {
    let bench = Bench::new().await;
    bench.half("alice", bench.at(NOW)).await;
    bench.identity.sweep(NOW + 299).await;
    assert_eq!(bench.journal.count(Event::SignInFailed, "half-expired"), 0);
    bench.identity.sweep(NOW + 300).await;
    assert_eq!(bench.journal.count(Event::SignInFailed, "half-expired"), 1);
}

pub(crate) fn new_device(user: &str, n: u8) -> super::super::NewDevice<'_> {
    let mut public_key = [7; 32];
    public_key[0] = n;
    super::super::NewDevice {
        user,
        name: Box::leak(format!("device {n}").into_boxed_str()),
        public_key,
        psk: super::super::Psk::Generate,
        address4: None,
        address6: None,
        now: NOW,
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_on_record_and_still_no_code() {
    let bench = Bench::new().await;
    let half = bench.half("alice", bench.at(NOW)).await;
    let late = code(NOW - 120);
    let step = bench.identity.code(&half, &late, &bench.at(NOW)).await;
    assert!(matches!(step, CodeStep::Refused), "{step:?}");
    assert_eq!(bench.journal.count(Event::ClockJumped, "app-clock-off"), 1);
    let wrong = wrong_code(NOW);
    let step = bench.identity.code(&half, &wrong, &bench.at(NOW)).await;
    assert!(matches!(step, CodeStep::Refused), "{step:?}");
    let right = code(NOW);
    let step = bench.identity.code(&half, &right, &bench.at(NOW)).await;
    assert!(matches!(step, CodeStep::SignedIn { .. }), "{step:?}");
    assert_eq!(bench.journal.count(Event::ClockJumped, "app-clock-off"), 1);
}
