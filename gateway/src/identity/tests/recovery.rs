//! Recovery codes, and the resets that lead to a new second factor.

use super::*;

/// Enrols carol by a link and gives her recovery codes and her app's secret.
async fn carol(bench: &Bench) -> (ShownCodes, [u8; 20]) {
    let token = bench.identity.enrol_link("carol", NOW).await.unwrap();
    let secret = begin(bench, &token, NOW).await;
    let code = totp::code_at(&secret, NOW);
    let step = finish(bench, &token, PASSWORD, &code, NOW).await;
    let EnrolStep::Done(codes) = step else {
        panic!("{step:?}")
    };
    (codes, secret)
}

async fn begin(bench: &Bench, token: &str, now: i64) -> [u8; 20] {
    let view = bench.identity.enrol_begin(token, &bench.at(now)).await;
    let secret = view.unwrap().secret_base32;
    let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes());
    secret.unwrap().try_into().unwrap()
}

async fn finish(bench: &Bench, token: &str, password: &str, code: &str, now: i64) -> EnrolStep {
    let password = Zeroizing::new(password.to_owned());
    let answers = Answers { password, code };
    bench
        .identity
        .enrol_finish(token, answers, &bench.at(now))
        .await
}

async fn recover(bench: &Bench, code: &str, now: i64) -> RecoverStep {
    let half = bench.half("carol", bench.at(now)).await;
    bench.identity.recover(&half, code, &bench.at(now)).await
}

async fn recovered(bench: &Bench, code: &str, now: i64) -> String {
    let step = recover(bench, code, now).await;
    let RecoverStep::Enrol { token } = step else {
        panic!("{step:?}")
    };
    token
}

#[tokio::test]
async fn an_enrolment_gives_ten_codes_of_which_only_hashes_are_kept() {
    let bench = Bench::new().await;
    let (codes, _) = carol(&bench).await;
    assert_eq!(codes.len(), 10);
    let distinct: std::collections::BTreeSet<_> = codes.iter().map(|c| c.as_str()).collect();
    assert_eq!(distinct.len(), 10);
    // Sixteen characters of five bits are 80 bits.
    assert!(codes.iter().all(|c| c.replace('-', "").len() == 16));
    assert_eq!(bench.identity.recovery_left("carol").await.unwrap(), 10);
    for file in std::fs::read_dir(bench.folder()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for code in &codes {
            for text in [code.to_string(), code.replace('-', "")] {
                assert!(!bytes.windows(text.len()).any(|w| w == text.as_bytes()));
            }
        }
    }
    assert!(!bench.journal.text().contains(codes[0].as_str()));
}

#[tokio::test]
async fn a_recovery_code_leads_to_a_new_app_and_to_nothing_else() {
    let bench = Bench::new().await;
    let (codes, old) = carol(&bench).await;
    let token = recovered(&bench, &codes[3].to_uppercase(), NOW).await;
    let sessions = bench.identity.sessions();
    assert!(sessions.list().is_empty());
    assert!(sessions.find(&token, HOST, NOW).is_none());
    assert_eq!(bench.identity.recovery_left("carol").await.unwrap(), 9);
    assert_eq!(
        bench
            .journal
            .count(Event::FactorChanged, "recovery-code-used"),
        1
    );
    let view = bench.identity.enrol_begin(&token, &bench.at(NOW)).await;
    assert_eq!(view.unwrap().kind, LinkKind::Recovery);

    let new = begin(&bench, &token, NOW).await;
    assert_ne!(new, old);
    let wrong = finish(&bench, &token, "", &totp::code_at(&old, NOW), NOW).await;
    assert!(matches!(wrong, EnrolStep::WrongCode));
    let step = finish(&bench, &token, "", &totp::code_at(&new, NOW), NOW).await;
    let EnrolStep::Done(fresh) = step else {
        panic!("{step:?}")
    };
    // Earlier codes and the earlier app are void; the password stands.
    assert_eq!(bench.identity.recovery_left("carol").await.unwrap(), 10);
    assert!(matches!(
        recover(&bench, &codes[4], NOW).await,
        RecoverStep::Refused
    ));
    let later = NOW + 60;
    let half = bench.half("carol", bench.at(later)).await;
    let from = bench.at(later);
    let step = bench
        .identity
        .code(&half, &totp::code_at(&old, later), &from)
        .await;
    assert!(matches!(step, CodeStep::Refused));
    let step = bench
        .identity
        .code(&half, &totp::code_at(&new, later), &from)
        .await;
    assert!(matches!(step, CodeStep::SignedIn { .. }));
    assert!(!fresh.iter().any(|code| codes.contains(code)));
}

#[tokio::test]
async fn a_recovery_code_is_refused_the_second_time_also_after_a_restart() {
    let bench = Bench::new().await;
    let (codes, _) = carol(&bench).await;
    recovered(&bench, &codes[0], NOW).await;
    let again = recover(&bench, &codes[0], NOW).await;
    assert!(matches!(again, RecoverStep::Refused));
    assert_eq!(
        bench
            .journal
            .count(Event::SignInFailed, "bad-recovery-code"),
        1
    );
    let bench = bench.restart(NOW + 1).await;
    let again = recover(&bench, &codes[0], NOW + 1).await;
    assert!(matches!(again, RecoverStep::Refused));
    recovered(&bench, &codes[1], NOW + 1).await;
}

#[tokio::test]
async fn a_code_of_somebody_else_is_refused() {
    let bench = Bench::new().await;
    let (codes, _) = carol(&bench).await;
    let half = bench.half("alice", bench.at(NOW)).await;
    let step = bench
        .identity
        .recover(&half, &codes[0], &bench.at(NOW))
        .await;
    assert!(matches!(step, RecoverStep::Refused));
    recovered(&bench, &codes[0], NOW).await;
}

#[tokio::test]
async fn a_recovery_code_without_the_password_opens_nothing() {
    let bench = Bench::new().await;
    let (codes, _) = carol(&bench).await;
    let token = crate::ids::token();
    for half in [token.as_str(), "", "x"] {
        let step = bench
            .identity
            .recover(half, &codes[0], &bench.at(NOW))
            .await;
        assert!(matches!(step, RecoverStep::Expired));
    }
    assert_eq!(bench.identity.recovery_left("carol").await.unwrap(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_parallel_uses_of_one_recovery_code_one_wins() {
    let bench = Arc::new(Bench::new().await);
    let (codes, _) = carol(&bench).await;
    let mut halves = Vec::new();
    for n in 0..20 {
        let from = bench.from(NOW, &format!("192.0.2.{n}"));
        halves.push(bench.half("carol", from).await);
    }
    let code = codes[0].to_string();
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let (bench, code) = (Arc::clone(&bench), code.clone());
            let half = halves[n % halves.len()].clone();
            tokio::spawn(async move {
                let from = bench.from(NOW, &format!("198.51.100.{n}"));
                let step = bench.identity.recover(&half, &code, &from).await;
                matches!(step, RecoverStep::Enrol { .. })
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap());
    }
    assert_eq!(won, 1);
    assert_eq!(bench.identity.recovery_left("carol").await.unwrap(), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_parallel_uses_in_the_store_one_wins() {
    let bench = Arc::new(Bench::new().await);
    bench
        .store
        .put_recovery("carol", vec![[7; 32], [8; 32]])
        .await
        .unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.store.use_recovery("carol", &[7; 32]).await.unwrap() })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap());
    }
    assert_eq!(won, 1);
    assert_eq!(bench.store.recovery_left("carol").await.unwrap(), 1);
}

#[tokio::test]
async fn recovery_codes_count_with_the_codes_of_the_app() {
    let bench = Bench::new().await;
    let (codes, secret) = carol(&bench).await;
    for n in 0..10 {
        let from = bench.from(NOW, &format!("192.0.2.{n}"));
        let half = bench.half("carol", from).await;
        if n % 2 == 0 {
            let step = bench.identity.recover(&half, "nonsense", &from).await;
            assert!(matches!(step, RecoverStep::Refused), "{n}");
        } else {
            let step = bench.identity.code(&half, "nonsense", &from).await;
            assert!(matches!(step, CodeStep::Refused), "{n}");
        }
    }
    let from = bench.from(NOW, "192.0.2.99");
    let half = bench.half("carol", from).await;
    let step = bench.identity.recover(&half, &codes[0], &from).await;
    assert!(matches!(step, RecoverStep::Throttled { .. }));
    let code = totp::code_at(&secret, NOW + 30);
    let step = bench.identity.code(&half, &code, &from).await;
    assert!(matches!(step, CodeStep::Throttled { .. }));
    let later = NOW + 3600;
    recovered(&bench, &codes[0], later).await;
}

#[tokio::test]
async fn five_wrong_recovery_codes_spend_the_half_way_sign_in() {
    let bench = Bench::new().await;
    let (codes, _) = carol(&bench).await;
    let half = bench.half("carol", bench.at(NOW)).await;
    for _ in 0..5 {
        let step = bench
            .identity
            .recover(&half, "nonsense", &bench.at(NOW))
            .await;
        assert!(matches!(step, RecoverStep::Refused));
    }
    let step = bench
        .identity
        .recover(&half, &codes[0], &bench.at(NOW))
        .await;
    assert!(matches!(step, RecoverStep::Expired));
}

#[tokio::test]
async fn whatever_ends_the_sessions_ends_a_recovery_under_way() {
    let bench = Bench::new().await;
    let (codes, _) = carol(&bench).await;
    let token = recovered(&bench, &codes[0], NOW).await;
    let sessions = bench.identity.sessions();
    sessions
        .end_user("alice", EndReason::Revoked)
        .await
        .unwrap();
    let view = bench.identity.enrol_begin(&token, &bench.at(NOW)).await;
    assert!(view.is_some());
    sessions
        .end_user("carol", EndReason::Revoked)
        .await
        .unwrap();
    let view = bench.identity.enrol_begin(&token, &bench.at(NOW)).await;
    assert!(view.is_none());
    // Links of an admin stay, for nobody signed in to get them.
    let link = bench.identity.enrol_link("carol", NOW).await.unwrap();
    sessions.end_all(EndReason::Revoked).await.unwrap();
    let view = bench.identity.enrol_begin(&link, &bench.at(NOW)).await;
    assert!(view.is_some());
}

#[tokio::test]
async fn a_recovery_under_way_counts_for_half_an_hour_and_not_for_the_disabled() {
    let bench = Bench::new().await;
    let (codes, _) = carol(&bench).await;
    let token = recovered(&bench, &codes[0], NOW).await;
    let opens = async |now| {
        let view = bench.identity.enrol_begin(&token, &bench.at(now)).await;
        view.is_some()
    };
    bench.people.set("carol", Standing::Disabled);
    assert!(!opens(NOW).await);
    bench.people.set("carol", Standing::Active);
    assert!(opens(NOW + 1799).await);
    assert!(!opens(NOW + 1800).await);
}

#[tokio::test]
async fn without_a_journal_nobody_recovers() {
    let bench = Bench::new().await;
    let (codes, _) = carol(&bench).await;
    let half = bench.half("carol", bench.at(NOW)).await;
    bench.journal.break_down();
    let step = bench
        .identity
        .recover(&half, &codes[0], &bench.at(NOW))
        .await;
    assert!(matches!(step, RecoverStep::Unavailable));
}

#[tokio::test]
async fn a_reset_keeps_the_password_and_takes_everything_else() {
    let bench = Bench::new().await;
    let (codes, old) = carol(&bench).await;
    let half = bench.half("carol", bench.at(NOW)).await;
    let kept = bench.identity.reset_totp("carol", "lost phone", NOW);
    assert!(kept.await.unwrap());
    assert!(!bench.identity.is_enrolled("carol").await.unwrap());
    assert_eq!(bench.identity.recovery_left("carol").await.unwrap(), 0);
    assert_eq!(bench.journal.count(Event::FactorChanged, "totp-reset"), 1);
    let step = bench
        .identity
        .recover(&half, &codes[0], &bench.at(NOW))
        .await;
    assert!(!matches!(step, RecoverStep::Enrol { .. }));
    // The password alone leads nowhere, not even to enrolment.
    let step = bench.password("carol", PASSWORD, bench.at(NOW)).await;
    assert!(matches!(step, PasswordStep::Refused), "{step:?}");

    let token = bench.identity.enrol_link("carol", NOW).await.unwrap();
    let view = bench.identity.enrol_begin(&token, &bench.at(NOW)).await;
    assert_eq!(view.unwrap().kind, LinkKind::Reset);
    let new = begin(&bench, &token, NOW).await;
    assert_ne!(new, old);
    let code = totp::code_at(&new, NOW);
    let wrong = finish(&bench, &token, "not the password at all", &code, NOW).await;
    assert!(matches!(wrong, EnrolStep::WrongPassword), "{wrong:?}");
    let done = finish(&bench, &token, PASSWORD, &code, NOW).await;
    assert!(matches!(done, EnrolStep::Done(_)), "{done:?}");
    let half = bench.half("carol", bench.at(NOW + 30)).await;
    let code = totp::code_at(&new, NOW + 30);
    let step = bench.identity.code(&half, &code, &bench.at(NOW + 30)).await;
    assert!(matches!(step, CodeStep::SignedIn { .. }));
    let notices = bench.identity.notices("carol").await.unwrap();
    let reset = notices.iter().find(|n| n.kind == NoticeKind::FactorReset);
    assert_eq!(reset.unwrap().detail, "lost phone");
}

#[tokio::test]
async fn passwords_guessed_with_a_reset_link_are_throttled_like_any_other() {
    let bench = Bench::new().await;
    carol(&bench).await;
    bench
        .identity
        .reset_totp("carol", "lost phone", NOW)
        .await
        .unwrap();
    let token = bench.identity.enrol_link("carol", NOW).await.unwrap();
    let secret = begin(&bench, &token, NOW).await;
    let code = totp::code_at(&secret, NOW);
    for _ in 0..5 {
        let step = finish(&bench, &token, "not the password at all", &code, NOW).await;
        assert!(matches!(step, EnrolStep::WrongPassword));
    }
    let step = finish(&bench, &token, PASSWORD, &code, NOW).await;
    assert!(matches!(step, EnrolStep::Throttled { .. }), "{step:?}");
    let later = NOW + 900;
    let code = totp::code_at(&secret, later);
    let step = finish(&bench, &token, PASSWORD, &code, later).await;
    assert!(matches!(step, EnrolStep::Done(_)), "{step:?}");
}

#[tokio::test]
async fn a_recovery_takes_no_link_of_an_admin_away() {
    let bench = Bench::new().await;
    let (codes, _) = carol(&bench).await;
    let link = bench.identity.enrol_link("carol", NOW).await.unwrap();
    let step = recover(&bench, &codes[0], NOW).await;
    assert!(matches!(step, RecoverStep::Refused), "{step:?}");
    assert_eq!(bench.journal.count(Event::SignInFailed, "link-awaits"), 1);
    assert_eq!(bench.identity.recovery_left("carol").await.unwrap(), 10);
    let view = bench.identity.enrol_begin(&link, &bench.at(NOW)).await;
    assert!(view.is_some());
    recovered(&bench, &codes[0], NOW + 24 * 3600).await;
}

#[tokio::test]
async fn a_ticket_replaces_a_ticket_and_never_a_live_link_of_an_admin() {
    let bench = Bench::new().await;
    let link = |kind, n| store::LinkRow {
        kind,
        hash: [n; 32],
        user: "carol".to_owned(),
        expires: NOW + 60,
        pending: None,
    };
    let put = async |kind, n, now| bench.store.put_ticket(link(kind, n), now).await.unwrap();
    assert!(put(LinkKind::Recovery, 1, NOW).await);
    assert!(put(LinkKind::ImportedWeak, 2, NOW).await);
    for kind in [LinkKind::Invite, LinkKind::Reset] {
        bench.store.put_link(link(kind, 3)).await.unwrap();
        assert!(!put(LinkKind::Imported, 4, NOW + 59).await);
        assert!(
            bench
                .store
                .link(&[3; 32], NOW + 59)
                .await
                .unwrap()
                .is_some()
        );
    }
    assert!(put(LinkKind::Imported, 4, NOW + 60).await);
}
