//! Passwords brought from elsewhere.

use super::*;

const APR1: &str = "$apr1$abcdefgh$nPQESR5Xy6o6pZFOac3oY/";
/// Of `admin123`.
const WEAK: &str = "{SHA}+GW1NiOxIf007lQmx5Llwzr4wic=";

async fn import(bench: &Bench, user: &str, verifier: &str) -> bool {
    let done = bench.identity.import(user, verifier, NOW).await;
    done.unwrap()
}

async fn ticket(bench: &Bench, password: &str) -> (String, LinkKind) {
    let step = bench.password("carol", password, bench.at(NOW)).await;
    let PasswordStep::Enrol { token } = step else {
        panic!("{step:?}")
    };
    let view = bench.identity.enrol_begin(&token, &bench.at(NOW)).await;
    (token, view.unwrap().kind)
}

async fn finish(bench: &Bench, token: &str, password: &str) -> (EnrolStep, [u8; 20]) {
    let view = bench.identity.enrol_begin(token, &bench.at(NOW)).await;
    let secret = view.unwrap().secret_base32;
    let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes());
    let secret: [u8; 20] = secret.unwrap().try_into().unwrap();
    let answers = Answers {
        password: Zeroizing::new(password.to_owned()),
        code: &totp::code_at(&secret, NOW),
    };
    let from = bench.at(NOW);
    let step = bench.identity.enrol_finish(token, answers, &from).await;
    (step, secret)
}

#[tokio::test]
async fn an_imported_password_becomes_ours_and_leads_to_enrolment_only() {
    let bench = Bench::new().await;
    assert!(import(&bench, "carol", APR1).await);
    assert_eq!(bench.journal.count(Event::FactorChanged, "imported"), 1);
    let wrong = bench.password("carol", "wrong", bench.at(NOW)).await;
    assert!(matches!(wrong, PasswordStep::Refused));

    let right = |bench: &Bench| {
        let journal = &bench.journal;
        journal.count(Event::FactorChanged, "imported-password-right")
    };
    assert_eq!(right(&bench), 0);
    let (first, kind) = ticket(&bench, PASSWORD).await;
    assert_eq!(kind, LinkKind::Imported);
    assert_eq!(right(&bench), 1);
    assert!(bench.identity.sessions().list().is_empty());
    let kept = bench.store.credentials("carol").await.unwrap().unwrap();
    assert!(kept.phc.starts_with("$argon2id$"), "{}", kept.phc);
    assert_eq!(bench.journal.count(Event::FactorChanged, "changed"), 1);
    assert!(!bench.identity.is_enrolled("carol").await.unwrap());

    // Whoever did not finish begins anew with the password, and the earlier link is void.
    let (token, _) = ticket(&bench, PASSWORD).await;
    let view = bench.identity.enrol_begin(&first, &bench.at(NOW)).await;
    assert!(view.is_none());
    let (step, secret) = finish(&bench, &token, "").await;
    assert!(matches!(step, EnrolStep::Done(_)), "{step:?}");
    let half = bench.half("carol", bench.at(NOW)).await;
    let next = NOW + 30;
    let code = totp::code_at(&secret, next);
    let step = bench.identity.code(&half, &code, &bench.at(next)).await;
    assert!(matches!(step, CodeStep::SignedIn { .. }));
}

#[tokio::test]
async fn an_imported_password_that_is_too_weak_is_replaced_at_enrolment() {
    let bench = Bench::new().await;
    assert!(import(&bench, "carol", WEAK).await);
    let (token, kind) = ticket(&bench, "admin123").await;
    assert_eq!(kind, LinkKind::ImportedWeak);
    let (step, _) = finish(&bench, &token, "admin123").await;
    assert!(matches!(step, EnrolStep::Weak(_)), "{step:?}");
    let (step, _) = finish(&bench, &token, PASSWORD).await;
    assert!(matches!(step, EnrolStep::Done(_)), "{step:?}");
    let old = bench.password("carol", "admin123", bench.at(NOW)).await;
    assert!(matches!(old, PasswordStep::Refused));
    bench.half("carol", bench.at(NOW)).await;
}

#[tokio::test]
async fn nothing_that_is_there_is_overwritten_by_an_import() {
    let bench = Bench::new().await;
    assert!(!import(&bench, "alice", WEAK).await);
    let step = bench.password("alice", "admin123", bench.at(NOW)).await;
    assert!(matches!(step, PasswordStep::Refused));
    bench.sign_in("alice", NOW).await;
    assert!(import(&bench, "carol", WEAK).await);
    assert!(!import(&bench, "carol", APR1).await);
    ticket(&bench, "admin123").await;
}

#[tokio::test]
async fn a_bad_verifier_is_not_imported() {
    let bench = Bench::new().await;
    for bad in ["admin123", "$2y$31$abc", ""] {
        assert!(bench.identity.import("carol", bad, NOW).await.is_err());
    }
    assert!(bench.store.credentials("carol").await.unwrap().is_none());
}

#[tokio::test]
async fn an_imported_user_costs_one_argon2_run_like_the_rest() {
    let bench = Bench::new().await;
    assert!(import(&bench, "carol", APR1).await);
    for user in ["carol", "nobody", "alice"] {
        let before = bench.identity.passwords.runs();
        let step = bench
            .password(user, "wrong wrong wrong", bench.at(NOW))
            .await;
        assert!(matches!(step, PasswordStep::Refused));
        assert_eq!(bench.identity.passwords.runs() - before, 1, "{user}");
    }
}

#[tokio::test]
async fn a_reset_ends_the_way_in_by_the_imported_password_alone() {
    let bench = Bench::new().await;
    assert!(import(&bench, "carol", APR1).await);
    ticket(&bench, PASSWORD).await;
    bench
        .identity
        .reset_totp("carol", "left the company laptop", NOW)
        .await
        .unwrap();
    let step = bench.password("carol", PASSWORD, bench.at(NOW)).await;
    assert!(matches!(step, PasswordStep::Refused), "{step:?}");
}

#[tokio::test]
async fn an_imported_password_of_a_disabled_user_opens_nothing() {
    let bench = Bench::new().await;
    assert!(import(&bench, "carol", APR1).await);
    bench.people.set("carol", Standing::Disabled);
    let step = bench.password("carol", PASSWORD, bench.at(NOW)).await;
    assert!(matches!(step, PasswordStep::Refused));
    bench.people.set("carol", Standing::Active);
    ticket(&bench, PASSWORD).await;
}

#[tokio::test]
async fn the_link_of_an_admin_ends_the_way_in_by_the_imported_password() {
    let bench = Bench::new().await;
    assert!(import(&bench, "carol", WEAK).await);
    let (first, _) = ticket(&bench, "admin123").await;
    let link = bench.identity.enrol_link("carol", NOW).await.unwrap();
    let view = bench.identity.enrol_begin(&first, &bench.at(NOW)).await;
    assert!(view.is_none());
    let step = bench.password("carol", "admin123", bench.at(NOW)).await;
    assert!(matches!(step, PasswordStep::Refused), "{step:?}");
    assert!(!import(&bench, "carol", WEAK).await, "a link is out");
    let view = bench.identity.enrol_begin(&link, &bench.at(NOW)).await;
    assert_eq!(view.unwrap().kind, LinkKind::Invite);
    let (step, _) = finish(&bench, &link, "admin123").await;
    assert!(matches!(step, EnrolStep::Weak(_)), "{step:?}");
    let (step, _) = finish(&bench, &link, PASSWORD).await;
    assert!(matches!(step, EnrolStep::Done(_)), "{step:?}");
}

#[tokio::test]
async fn a_user_whose_link_is_too_old_can_be_imported() {
    let bench = Bench::new().await;
    bench.identity.enrol_link("carol", NOW).await.unwrap();
    let later = NOW + 24 * 3600;
    let import = async |now| bench.identity.import("carol", WEAK, now).await.unwrap();
    assert!(!import(later - 1).await);
    assert!(import(later).await);
}

#[tokio::test]
async fn after_a_reset_an_imported_person_sets_a_password_that_keeps_the_rules() {
    let bench = Bench::new().await;
    assert!(import(&bench, "carol", WEAK).await);
    ticket(&bench, "admin123").await;
    let reset = bench.identity.reset_totp("carol", "lost phone", NOW);
    assert!(reset.await.unwrap());
    let link = bench.identity.enrol_link("carol", NOW).await.unwrap();
    let view = bench.identity.enrol_begin(&link, &bench.at(NOW)).await;
    assert_eq!(view.unwrap().kind, LinkKind::Invite);
    let (step, _) = finish(&bench, &link, "admin123").await;
    assert!(matches!(step, EnrolStep::Weak(_)), "{step:?}");
    let (step, _) = finish(&bench, &link, PASSWORD).await;
    assert!(matches!(step, EnrolStep::Done(_)), "{step:?}");
}

#[tokio::test]
async fn a_right_imported_password_leads_nowhere_without_a_journal() {
    let bench = Bench::new().await;
    assert!(import(&bench, "carol", APR1).await);
    ticket(&bench, PASSWORD).await;
    bench.journal.break_down();
    let step = bench.password("carol", PASSWORD, bench.at(NOW)).await;
    assert!(matches!(step, PasswordStep::Unavailable), "{step:?}");
}
