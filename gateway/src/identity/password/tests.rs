use zeroize::Zeroizing;

use super::{BadVerifier, Cost, Hasher, Verdict};

fn hasher(pepper: u8) -> Hasher {
    let cost = Cost::new(19 * 1024, 2).unwrap();
    Hasher::new(cost, vec![Zeroizing::new([pepper; 32])]).unwrap()
}

#[test]
fn the_right_password_matches_and_another_does_not() {
    let hasher = hasher(1);
    let phc = hasher.hash("a zebra under the stairs").unwrap();
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_eq!(
        hasher.verify("a zebra under the stairs", Some(&phc)),
        Ok(Verdict::Match)
    );
    for wrong in [
        "",
        "a zebra under the stair",
        "A zebra under the stairs",
        "a zebra under the stairs ",
    ] {
        assert_eq!(hasher.verify(wrong, Some(&phc)), Ok(Verdict::Mismatch));
    }
}

#[test]
fn two_verifiers_of_one_password_differ() {
    let hasher = hasher(1);
    assert_ne!(hasher.hash("same").unwrap(), hasher.hash("same").unwrap());
}

#[test]
fn a_verifier_is_of_no_use_with_another_pepper() {
    let phc = hasher(1).hash("a zebra under the stairs").unwrap();
    let other = hasher(2).verify("a zebra under the stairs", Some(&phc));
    assert_eq!(other, Ok(Verdict::Mismatch));
}

#[test]
fn the_whole_password_counts() {
    let hasher = hasher(1);
    let long = "x".repeat(1023);
    for (kept, typed) in [
        (format!("{long}a"), format!("{long}b")),
        ("nul\0one".to_owned(), "nul\0two".to_owned()),
        (" blank".to_owned(), "blank".to_owned()),
    ] {
        let phc = hasher.hash(&kept).unwrap();
        assert_eq!(hasher.verify(&typed, Some(&phc)), Ok(Verdict::Mismatch));
        assert_eq!(hasher.verify(&kept, Some(&phc)), Ok(Verdict::Match));
    }
}

#[test]
fn two_ways_to_type_one_text_are_one_password() {
    let hasher = hasher(1);
    let phc = hasher.hash("cafe\u{301} \u{ff11}").unwrap();
    assert_eq!(hasher.verify("caf\u{e9} 1", Some(&phc)), Ok(Verdict::Match));
    assert_eq!(hasher.verify("cafe 1", Some(&phc)), Ok(Verdict::Mismatch));
}

#[test]
fn nobody_has_the_dummy_password_and_it_costs_a_run() {
    let hasher = hasher(1);
    let before = hasher.runs();
    assert_eq!(hasher.verify("anything", None), Ok(Verdict::Mismatch));
    assert_eq!(hasher.runs() - before, 1);
}

#[test]
fn parameters_below_the_floor_or_above_the_ceiling_are_refused() {
    for (memory, passes) in [
        (19_455, 2),
        (19_456, 1),
        (1_048_577, 2),
        (19_456, 65),
        (0, 0),
    ] {
        assert!(Cost::new(memory, passes).is_err());
    }
    for (memory, passes) in [(19_456, 2), (65_536, 3), (1_048_576, 64)] {
        assert!(Cost::new(memory, passes).is_ok());
    }
}

#[test]
fn a_stored_verifier_outside_the_limits_is_refused_without_a_run() {
    let hasher = hasher(1);
    let good = hasher.hash("password").unwrap();
    let before = hasher.runs();
    for (from, to) in [
        ("m=19456", "m=19455"),
        ("m=19456", "m=4194304"),
        ("t=2", "t=1"),
        ("t=2", "t=1000000"),
    ] {
        let bad = good.replace(from, to);
        let verdict = hasher.verify("password", Some(&bad));
        assert!(matches!(verdict, Err(BadVerifier::Cost(_))), "{bad}");
    }
    for bad in [
        good.replace("argon2id", "argon2i"),
        good.replace("argon2id", "argon2d"),
        good.replace("v=19", "v=16"),
        good.replace("$v=19", ""),
        good.replace("p=1", "p=2"),
        good.replace(",p=1", ""),
        String::new(),
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$c2hvcnQ".to_owned(),
        "$apr1$salt$hash".to_owned(),
        "plain".to_owned(),
    ] {
        let verdict = hasher.verify("password", Some(&bad));
        assert_eq!(verdict, Err(BadVerifier::Malformed), "{bad}");
    }
    assert_eq!(hasher.runs(), before);
}

#[test]
fn a_verifier_with_older_parameters_matches_and_is_outdated() {
    let cost = Cost::new(20 * 1024, 3).unwrap();
    let old = Hasher::new(cost, vec![Zeroizing::new([1; 32])]).unwrap();
    let phc = old.hash("password").unwrap();
    let now = hasher(1);
    assert_eq!(
        now.verify("password", Some(&phc)),
        Ok(Verdict::MatchOutdated)
    );
    assert_eq!(now.verify("passwore", Some(&phc)), Ok(Verdict::Mismatch));
}

#[test]
fn a_password_too_long_for_a_foreign_verifier_costs_a_run_and_is_refused() {
    let hasher = hasher(1);
    for (length, verdict) in [(256, Verdict::MatchOutdated), (257, Verdict::Mismatch)] {
        let password = "a".repeat(length);
        let digest = <sha1::Sha1 as sha1::Digest>::digest(&password);
        let verifier = format!("{{SHA}}{}", data_encoding::BASE64.encode(&digest));
        let before = hasher.runs();
        assert_eq!(hasher.verify(&password, Some(&verifier)), Ok(verdict));
        let cost = u64::from(verdict == Verdict::Mismatch);
        assert_eq!(hasher.runs() - before, cost, "{length}");
    }
}

#[test]
fn a_verifier_of_an_older_key_matches_and_is_made_anew_with_the_newest() {
    let cost = Cost::new(19 * 1024, 2).unwrap();
    let key = |byte| Zeroizing::new([byte; 32]);
    let first = Hasher::new(cost, vec![key(1)]).unwrap();
    let second = Hasher::new(cost, vec![key(2), key(1)]).unwrap();
    let third = Hasher::new(cost, vec![key(3), key(2), key(1)]).unwrap();
    let (oldest, middle) = (
        first.hash("open sesame").unwrap(),
        second.hash("open sesame").unwrap(),
    );
    assert!(middle.contains("keyid="), "{middle}");
    for phc in [&oldest, &middle] {
        let right = third.verify("open sesame", Some(phc));
        assert_eq!(right, Ok(Verdict::MatchOutdated));
        assert_eq!(third.verify("open sesam", Some(phc)), Ok(Verdict::Mismatch));
    }
    let newest = third.hash("open sesame").unwrap();
    assert_eq!(
        third.verify("open sesame", Some(&newest)),
        Ok(Verdict::Match)
    );
    // a key that is gone is said, not taken for a wrong password
    let lost = second.verify("open sesame", Some(&newest));
    assert_eq!(lost, Err(BadVerifier::Key));
}
