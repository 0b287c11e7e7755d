use super::{
    AwaitingCode, AwaitingPassword, CodeProof, Halves, PasswordRight, RecoveryProof, Refusal,
    Second, Standing, UserName,
};
use crate::identity::password::Verdict;
use crate::identity::totp::{self, Code, Matched};

const SECRET: &[u8; 20] = b"12345678901234567890";

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

fn half(user: &str, now: i64) -> AwaitingCode {
    match right(user, Second::Present, now) {
        Ok(PasswordRight::Code(half)) => half,
        other => panic!("{other:?}"),
    }
}

fn right(user: &str, second: Second, now: i64) -> Result<PasswordRight, Refusal> {
    AwaitingPassword::new(Some(name(user)), Standing::Active, Some(kept(second)), 0).verified(
        Verdict::Match,
        Standing::Active,
        now,
    )
}

fn kept(second: Second) -> (String, Second) {
    ("$argon2id".to_owned(), second)
}

fn matched() -> Matched {
    let code = Code::parse(&totp::code_at(SECRET, 59)).unwrap();
    totp::check(SECRET, &code, 59).unwrap()
}

#[test]
fn names_have_one_canonical_spelling() {
    for (typed, canonical) in [
        ("alice", "alice"),
        ("ALICE", "alice"),
        ("a.l-i_c3", "a.l-i_c3"),
        ("\u{ff21}lice", "alice"),
        ("\u{212a}ate", "kate"),
        ("0day", "0day"),
    ] {
        assert_eq!(name(typed).as_str(), canonical);
    }
    assert!(UserName::parse(&"a".repeat(64)).is_some());
}

#[test]
fn other_texts_are_no_names() {
    let long = "a".repeat(65);
    for bad in [
        "",
        " alice",
        "alice ",
        "al ice",
        "alice\0",
        "alice\n",
        ".alice",
        "-a",
        "_a",
        "al/ice",
        "alice@example.org",
        "\u{430}lice",
        "alic\u{e9}",
        "ali\u{200b}ce",
        long.as_str(),
    ] {
        assert!(UserName::parse(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn only_an_active_user_offers_a_verifier_to_compare_with() {
    let phc = || Some(kept(Second::Present));
    let waiting = |standing| AwaitingPassword::new(Some(name("alice")), standing, phc(), 0);
    assert!(waiting(Standing::Active).phc().is_some());
    assert!(waiting(Standing::Disabled).phc().is_none());
    assert!(waiting(Standing::Unknown).phc().is_none());
}

#[test]
fn a_match_is_not_enough_for_who_may_not_sign_in() {
    let phc = || Some(kept(Second::Present));
    let verified = |before, phc, after| {
        AwaitingPassword::new(Some(name("alice")), before, phc, 0)
            .verified(Verdict::Match, after, 0)
            .map(drop)
    };
    use Standing::{Active, Disabled, Unknown};
    assert_eq!(verified(Active, phc(), Active), Ok(()));
    assert_eq!(
        verified(Active, phc(), Disabled),
        Err(Refusal::UserDisabled)
    );
    assert_eq!(verified(Active, phc(), Unknown), Err(Refusal::UserUnknown));
    assert_eq!(
        verified(Disabled, phc(), Active),
        Err(Refusal::NoCredentials)
    );
    assert_eq!(verified(Active, None, Active), Err(Refusal::NoCredentials));
    let nameless = AwaitingPassword::new(None, Active, phc(), 0);
    let nameless = nameless.verified(Verdict::Match, Active, 0).map(drop);
    assert_eq!(nameless, Err(Refusal::UserUnknown));
}

#[test]
fn a_right_password_without_a_second_factor_leads_to_no_code_form() {
    let refused = right("alice", Second::Absent, 0);
    assert_eq!(refused.map(drop), Err(Refusal::NoCredentials));
    let imported = right("alice", Second::Imported, 0);
    assert!(matches!(imported, Ok(PasswordRight::Enrol(_))));
    let present = right("alice", Second::Present, 0);
    assert!(matches!(present, Ok(PasswordRight::Code(_))));
}

#[test]
fn a_recovery_code_of_the_same_active_user_leads_to_enrolment() {
    assert!(RecoveryProof::new(&name("alice"), false).is_err());
    let proof = |user: &str| RecoveryProof::new(&name(user), true).unwrap();
    let may = half("alice", 0).recovered(&proof("alice"), Standing::Active);
    assert_eq!(may.unwrap().user().as_str(), "alice");
    for (user, standing, why) in [
        ("bob", Standing::Active, Refusal::BadRecoveryCode),
        ("alice", Standing::Disabled, Refusal::UserDisabled),
        ("alice", Standing::Unknown, Refusal::UserUnknown),
    ] {
        let refused = half("alice", 0).recovered(&proof(user), standing);
        assert_eq!(refused.map(drop), Err(why));
    }
}

#[test]
fn a_replayed_step_is_no_proof() {
    let refused = CodeProof::new(&name("alice"), matched(), false, 0);
    assert_eq!(refused.map(drop), Err(Refusal::CodeReplayed));
    let proof = CodeProof::new(&name("alice"), matched(), true, 7).unwrap();
    assert_eq!((proof.user(), proof.at()), ("alice", 7));
}

#[test]
fn both_proofs_must_be_of_one_user_who_still_may_sign_in() {
    let proof = |user: &str| CodeProof::new(&name(user), matched(), true, 7).unwrap();
    let both = half("alice", 0)
        .accepted(proof("alice"), Standing::Active)
        .unwrap();
    assert_eq!((both.user().as_str(), both.at()), ("alice", 7));
    for (user, standing, why) in [
        ("bob", Standing::Active, Refusal::BadCode),
        ("alice", Standing::Disabled, Refusal::UserDisabled),
        ("alice", Standing::Unknown, Refusal::UserUnknown),
    ] {
        let refused = half("alice", 0).accepted(proof(user), standing);
        assert_eq!(refused.map(drop), Err(why));
    }
}

#[test]
fn a_half_way_sign_in_is_taken_once() {
    let halves = Halves::default();
    halves.put([1; 32], half("alice", 0));
    assert!(halves.take(&[2; 32], 0).is_none());
    assert!(halves.take(&[1; 32], 0).is_some());
    assert!(halves.take(&[1; 32], 0).is_none());
}

#[test]
fn the_ten_thousand_and_first_half_way_sign_in_pushes_out_the_oldest() {
    let halves = Halves::default();
    let key = |n: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        key
    };
    for n in 0..=10_000 {
        halves.put(key(n), half("alice", 0));
        // Spent ones leave no trace that grows.
        halves.take(&key(n + 1), 0);
    }
    assert_eq!(halves.len(), 10_000);
    assert!(halves.take(&key(0), 0).is_none());
    assert!(halves.take(&key(1), 0).is_some());
}
