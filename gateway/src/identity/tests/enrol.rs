//! Enrolment by one-time link.

use super::super::{Answers, EnrolStep};
use super::*;

const NEW_PASSWORD: &str = "nine pears in a bowl";

async fn begin(bench: &Bench, token: &str, now: i64) -> [u8; 20] {
    let view = bench
        .identity
        .enrol_begin(token, &bench.at(now))
        .await
        .unwrap();
    let secret = data_encoding::BASE32_NOPAD.decode(view.secret_base32.as_bytes());
    secret.unwrap().try_into().unwrap()
}

async fn finish(bench: &Bench, token: &str, password: &str, code: &str, now: i64) -> EnrolStep {
    let password = Zeroizing::new(password.to_owned());
    let from = bench.at(now);
    let answers = Answers { password, code };
    bench.identity.enrol_finish(token, answers, &from).await
}

#[tokio::test]
async fn a_link_a_password_and_one_right_code_enrol() {
    let bench = Bench::new().await;
    let token = bench.identity.enrol_link("carol", NOW).await.unwrap();
    assert!(!bench.identity.is_enrolled("carol").await.unwrap());
    let secret = begin(&bench, &token, NOW).await;
    let right = totp::code_at(&secret, NOW);
    assert!(matches!(
        finish(&bench, &token, NEW_PASSWORD, &right, NOW).await,
        EnrolStep::Done(_)
    ));
    assert_eq!(bench.journal.count(Event::FactorChanged, "enrolled"), 1);

    let step = bench.password("carol", NEW_PASSWORD, bench.at(NOW)).await;
    let PasswordStep::Code { half } = step else {
        panic!("{step:?}")
    };
    // The code that enrolled is used up.
    let step = bench.identity.code(&half, &right, &bench.at(NOW)).await;
    assert!(matches!(step, CodeStep::Refused));
    let next = totp::code_at(&secret, NOW + 30);
    let step = bench.identity.code(&half, &next, &bench.at(NOW + 30)).await;
    assert!(matches!(step, CodeStep::SignedIn { .. }));
}

#[tokio::test]
async fn a_link_works_once() {
    let bench = Bench::new().await;
    let token = bench.identity.enrol_link("carol", NOW).await.unwrap();
    let secret = begin(&bench, &token, NOW).await;
    let right = totp::code_at(&secret, NOW);
    assert!(matches!(
        finish(&bench, &token, NEW_PASSWORD, &right, NOW).await,
        EnrolStep::Done(_)
    ));
    assert!(matches!(
        finish(&bench, &token, PASSWORD, &right, NOW).await,
        EnrolStep::Expired
    ));
    assert!(
        bench
            .identity
            .enrol_begin(&token, &bench.at(NOW))
            .await
            .is_none()
    );
}

#[tokio::test]
async fn a_link_works_for_a_day_and_a_newer_one_voids_it() {
    let bench = Bench::new().await;
    let first = bench.identity.enrol_link("carol", NOW).await.unwrap();
    let second = bench.identity.enrol_link("carol", NOW).await.unwrap();
    assert!(
        bench
            .identity
            .enrol_begin(&first, &bench.at(NOW))
            .await
            .is_none()
    );
    let day = NOW + 24 * 3600;
    assert!(
        bench
            .identity
            .enrol_begin(&second, &bench.at(day - 1))
            .await
            .is_some()
    );
    assert!(
        bench
            .identity
            .enrol_begin(&second, &bench.at(day))
            .await
            .is_none()
    );
    assert!(
        bench
            .identity
            .enrol_begin("nonsense", &bench.at(NOW))
            .await
            .is_none()
    );
}

#[tokio::test]
async fn a_link_of_a_disabled_user_opens_nothing() {
    let bench = Bench::new().await;
    let token = bench.identity.enrol_link("mallory", NOW).await.unwrap();
    assert!(
        bench
            .identity
            .enrol_begin(&token, &bench.at(NOW))
            .await
            .is_none()
    );
    bench.people.set("mallory", Standing::Active);
    assert!(
        bench
            .identity
            .enrol_begin(&token, &bench.at(NOW))
            .await
            .is_some()
    );
}

#[tokio::test]
async fn the_pending_secret_stays_the_same_until_it_is_confirmed_and_is_sealed() {
    let bench = Bench::new().await;
    let token = bench.identity.enrol_link("carol", NOW).await.unwrap();
    let secret = begin(&bench, &token, NOW).await;
    assert_eq!(begin(&bench, &token, NOW).await, secret);
    let bench = bench.restart(NOW).await;
    assert_eq!(begin(&bench, &token, NOW).await, secret);
    for file in std::fs::read_dir(bench.folder()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(20).any(|window| window == secret));
        assert!(!bytes.windows(20).any(|window| window == SECRET));
        assert!(!bytes.windows(43).any(|window| window == token.as_bytes()));
    }
}

#[tokio::test]
async fn a_weak_password_or_a_wrong_code_leaves_the_link_and_the_old_factors() {
    let bench = Bench::new().await;
    let token = bench.identity.enrol_link("alice", NOW).await.unwrap();
    let secret = begin(&bench, &token, NOW).await;
    let right = totp::code_at(&secret, NOW);
    let weak = finish(&bench, &token, "short", &right, NOW).await;
    assert!(matches!(weak, EnrolStep::Weak(_)));
    let wrong = finish(&bench, &token, NEW_PASSWORD, "12345", NOW).await;
    assert!(matches!(wrong, EnrolStep::WrongCode));
    bench.sign_in("alice", NOW).await;
    assert!(matches!(
        finish(&bench, &token, NEW_PASSWORD, &right, NOW).await,
        EnrolStep::Done(_)
    ));
    // Whatever was signed in with the old factors is over.
    assert!(bench.identity.sessions().list().is_empty());
}

#[tokio::test]
async fn wrong_codes_of_a_link_are_limited_apart_from_the_account() {
    let bench = Bench::new().await;
    let token = bench.identity.enrol_link("alice", NOW).await.unwrap();
    begin(&bench, &token, NOW).await;
    for _ in 0..10 {
        let step = finish(&bench, &token, NEW_PASSWORD, "000000x", NOW).await;
        assert!(matches!(step, EnrolStep::WrongCode));
    }
    let step = finish(&bench, &token, NEW_PASSWORD, "000000x", NOW).await;
    assert!(matches!(step, EnrolStep::Throttled { .. }));
    bench.sign_in("alice", NOW).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_uses_of_one_link_enrol_once() {
    let bench = Arc::new(Bench::new().await);
    let token = bench.identity.enrol_link("carol", NOW).await.unwrap();
    let hash = super::super::token_hash(&token).unwrap();
    let redeem = (0..100).map(|n| {
        let bench = Arc::clone(&bench);
        tokio::spawn(async move {
            let new = store::Redeemed {
                phc: Some(n.to_string()),
                totp: vec![1],
                step: 0,
                at: NOW,
                codes: Vec::new(),
            };
            bench.store.redeem(&hash, NOW, new).await.unwrap()
        })
    });
    let tasks: Vec<_> = redeem.collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap());
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn set_credentials_keeps_to_the_rules_and_ends_sessions() {
    let bench = Bench::new().await;
    let (_, cookie) = bench.sign_in("alice", NOW).await;
    let set = |password: &str| {
        let password = Zeroizing::new(password.to_owned());
        bench.identity.set_credentials("alice", password, None, NOW)
    };
    assert!(set("too short").await.is_err());
    let sessions = bench.identity.sessions();
    assert!(sessions.find(&cookie, HOST, NOW).is_some());
    let enrolled = set(NEW_PASSWORD).await.unwrap();
    assert!(sessions.find(&cookie, HOST, NOW).is_none());
    assert!(
        enrolled
            .otpauth
            .contains(enrolled.totp_secret_base32.as_str())
    );
}

#[tokio::test]
async fn a_forgotten_user_has_no_factors_and_no_sessions() {
    let bench = Bench::new().await;
    let (_, cookie) = bench.sign_in("alice", NOW).await;
    let devices = bench.identity.devices();
    let hers = devices.add(flow::new_device("alice", 1)).await.unwrap();
    let his = devices.add(flow::new_device("bob", 2)).await.unwrap();
    bench.identity.forget("alice", NOW).await.unwrap();
    assert!(!devices.is_of(hers.id, "alice"));
    assert!(devices.is_of(his.id, "bob"));
    assert!(!bench.identity.is_enrolled("alice").await.unwrap());
    assert!(bench.identity.is_enrolled("bob").await.unwrap());
    assert!(bench.identity.sessions().find(&cookie, HOST, NOW).is_none());
}

#[tokio::test]
async fn an_enrolment_that_cannot_be_recorded_sets_nothing() {
    let bench = Bench::new().await;
    let token = bench.identity.enrol_link("carol", NOW).await.unwrap();
    let secret = begin(&bench, &token, NOW).await;
    let right = totp::code_at(&secret, NOW);
    bench.journal.break_down();
    let step = finish(&bench, &token, NEW_PASSWORD, &right, NOW).await;
    assert!(matches!(step, EnrolStep::Unavailable));
    assert!(!bench.identity.is_enrolled("carol").await.unwrap());
    let bench = bench.restart(NOW).await;
    let step = finish(&bench, &token, NEW_PASSWORD, &right, NOW).await;
    assert!(matches!(step, EnrolStep::Done(_)));
    assert!(bench.identity.is_enrolled("carol").await.unwrap());
}

#[tokio::test]
async fn an_enrolment_ends_sessions_even_if_their_end_cannot_be_written() {
    let bench = Bench::new().await;
    let token = bench.identity.enrol_link("alice", NOW).await.unwrap();
    let secret = begin(&bench, &token, NOW).await;
    let (_, cookie) = bench.sign_in("alice", NOW).await;
    let db = rusqlite::Connection::open(bench.folder().join("state.db")).unwrap();
    let block = "CREATE TRIGGER full BEFORE DELETE ON sessions
                 BEGIN SELECT raise(ABORT, 'disk full'); END";
    db.execute_batch(block).unwrap();
    let right = totp::code_at(&secret, NOW);
    let step = finish(&bench, &token, NEW_PASSWORD, &right, NOW).await;
    assert!(matches!(step, EnrolStep::Done(_)));
    assert!(bench.identity.sessions().find(&cookie, HOST, NOW).is_none());
}

#[tokio::test]
async fn a_reset_user_keeps_the_devices() {
    let bench = Bench::new().await;
    let (_, cookie) = bench.sign_in("alice", NOW).await;
    let devices = bench.identity.devices();
    let hers = devices.add(flow::new_device("alice", 1)).await.unwrap();
    bench.identity.forget_factors("alice").await.unwrap();
    assert!(devices.is_of(hers.id, "alice"));
    assert!(!bench.identity.is_enrolled("alice").await.unwrap());
    assert!(bench.identity.is_enrolled("bob").await.unwrap());
    assert!(bench.identity.sessions().find(&cookie, HOST, NOW).is_none());
    bench.identity.forget("alice", NOW).await.unwrap();
    assert!(!devices.is_of(hers.id, "alice"));
}

#[tokio::test]
async fn forgetting_goes_on_after_an_error_and_tells_it() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    let one = devices.add(flow::new_device("alice", 1)).await.unwrap();
    let two = devices.add(flow::new_device("alice", 2)).await.unwrap();
    bench.journal.break_down();
    assert!(bench.identity.forget("alice", NOW).await.is_err());
    for device in [one, two] {
        assert!(!devices.is_of(device.id, "alice"));
    }
    assert!(!bench.identity.is_enrolled("alice").await.unwrap());
}

#[tokio::test]
async fn whatever_a_namesake_left_is_found_and_forgotten() {
    let bench = Bench::new().await;
    let forget = |user| bench.identity.forget_namesake(user, NOW);
    // Factors only, then a link only, then a device only.
    assert!(forget("alice").await.unwrap());
    assert!(!bench.identity.is_enrolled("alice").await.unwrap());
    assert!(!forget("carol").await.unwrap());
    let token = bench.identity.enrol_link("carol", NOW).await.unwrap();
    assert!(forget("carol").await.unwrap());
    let view = bench.identity.enrol_begin(&token, &bench.at(NOW)).await;
    assert!(view.is_none());
    let devices = bench.identity.devices();
    let device = devices.add(flow::new_device("carol", 1)).await.unwrap();
    assert!(forget("carol").await.unwrap());
    assert!(!devices.is_of(device.id, "carol"));
    assert!(!forget("carol").await.unwrap());
    assert!(bench.identity.is_enrolled("bob").await.unwrap());
}
