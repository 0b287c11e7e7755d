//! The verifiers were made with openssl 3, Python's hashlib and its crypt.

use super::{BadForeign, Foreign};

const PASSWORD: &str = "a zebra under the stairs";
const APR1: &str = "$apr1$abcdefgh$nPQESR5Xy6o6pZFOac3oY/";
const SHA1: &str = "{SHA}wtE0GL+mcxUwurKYjuaDa96UZE4=";
const SHA256_CRYPT: &str = "$5$saltsalt$6GgjaQKoE2.Fr6F6QBHBgxwLqlFMg6mRrqFpiQy4RN6";
const SHA512_CRYPT: &str = "$6$saltsalt$1teJzqmC8mayn7AaGVTAZxJ218ACXXnxYLTgU02n0r8modbd1ZKw9EVYJcbLRvL1n/zonM4br/MBAZdoT/aRr1";
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuu8HGcnEyVkGAUO2Nu40wB3qdsQ2CDtgC";
/// The first is of Apache's documentation of htpasswd.
const DES_CRYPT: [(&str, &str); 4] = [
    ("rqXexS6ZhobKA", "myPassword"),
    ("abhv/ZnAzL36k", "secret12"),
    ("xOhvVxyEf74yk", PASSWORD),
    (".//p8rLaGq0ec", "myPassword"),
];
const PBKDF2_HASH: &str = "23a8dad9284991bacc4d398555bcf716857bab146c1d98af811601dd8778a29f";

fn matches(verifier: &str, password: &str) -> bool {
    Foreign::parse(verifier).unwrap().matches(password)
}

#[test]
fn each_kind_takes_its_password_and_no_other() {
    let salt = "ab".repeat(32);
    let hexadecimal = format!("pbkdf2_sha256$100000${salt}${PBKDF2_HASH}");
    let base64 = "pbkdf2_sha256$1000$saltsalt$a9Mtn0RJ93R6qCqsrpYEdQtJbdpugy5q1TQfSGGw+8w=";
    for verifier in [
        APR1,
        SHA1,
        SHA256_CRYPT,
        SHA512_CRYPT,
        BCRYPT,
        &BCRYPT.replace("$2b$", "$2y$"),
        &hexadecimal,
        base64,
    ] {
        assert!(matches(verifier, PASSWORD), "{verifier}");
        for wrong in ["", "a zebra under the stair", "A zebra under the stairs"] {
            assert!(!matches(verifier, wrong), "{verifier}");
        }
    }
}

#[test]
fn md5_crypt_matches_known_verifiers() {
    // The first is of Apache's documentation of htpasswd.
    assert!(matches("$apr1$r31.x$j3zodSkM/Fy1k.C7BiKXJ.", "myPassword"));
    assert!(matches("$1$abcdefgh$m3qHNtj6LxEo0Vc16Jukm0", "short"));
    assert!(!matches("$apr1$abcdefgh$m3qHNtj6LxEo0Vc16Jukm0", "short"));
}

#[test]
fn clear_text_is_refused() {
    for clear in [
        "secret",
        "rqXexS6ZhobK",
        "rqXexS6ZhobKAA",
        "rqXexS6Zhob-A",
        PBKDF2_HASH,
        "admin123",
    ] {
        assert_eq!(Foreign::parse(clear).err(), Some(BadForeign::Clear));
    }
}

#[test]
fn des_crypt_compares_eight_characters_as_it_always_did() {
    for (verifier, password) in DES_CRYPT {
        let foreign = Foreign::parse(verifier).unwrap();
        assert!(foreign.is_short(), "{verifier}");
        let eight = password.get(..8).unwrap();
        for right in [password, eight, &format!("{eight} and more")] {
            assert!(foreign.matches(right), "{verifier}");
        }
        for wrong in [
            "",
            eight.get(..7).unwrap(),
            &eight.to_uppercase(),
            "password",
        ] {
            assert!(!foreign.matches(wrong), "{verifier}");
        }
    }
    assert!(!Foreign::parse(APR1).unwrap().is_short());
}

#[test]
fn a_verifier_that_is_not_whole_is_refused() {
    for (text, kind) in [
        ("{SHA}", "{SHA}"),
        ("{SHA}wtE0GL", "{SHA}"),
        ("$apr1$abcdefgh$", "MD5-crypt"),
        ("$apr1$abcdefghi$nPQESR5Xy6o6pZFOac3oY/", "MD5-crypt"),
        ("$apr1$abcdefgh$nPQESR5Xy6o6pZFOac3oY", "MD5-crypt"),
        ("$2y$04$abc", "bcrypt"),
        (
            "$2y$4$abcdefghijklmnopqrstuu8HGcnEyVkGAUO2Nu40wB3qdsQ2CDtgC",
            "bcrypt",
        ),
        (
            "$2y$00$abcdefghijklmnopqrstuu8HGcnEyVkGAUO2Nu40wB3qdsQ2CDtgC",
            "bcrypt",
        ),
        ("$6$saltsalt$1teJzqmC8mayn7Aa", "SHA-crypt"),
        (
            "$5$6GgjaQKoE2.Fr6F6QBHBgxwLqlFMg6mRrqFpiQy4RN6",
            "SHA-crypt",
        ),
        ("pbkdf2_sha256$100000$salt", "PBKDF2"),
        ("pbkdf2_sha256$0$salt$23a8", "PBKDF2"),
        ("pbkdf2_sha256$10$salt$23a8", "PBKDF2"),
        ("pbkdf2_sha256$x$salt$23a8", "PBKDF2"),
    ] {
        let bad = Foreign::parse(text).err();
        assert_eq!(bad, Some(BadForeign::Malformed(kind)), "{text}");
    }
    for text in ["$argon2id$v=19$m=1", "$y$j9T$x", "{SSHA}x y", "$7$x"] {
        let bad = Foreign::parse(text).err();
        assert_eq!(bad, Some(BadForeign::Unknown), "{text}");
    }
}

#[test]
fn a_verifier_that_costs_too_much_is_refused() {
    for cost in ["$13$", "$14$", "$31$"] {
        let costly = Foreign::parse(&BCRYPT.replace("$04$", cost)).err();
        assert_eq!(costly, Some(BadForeign::Costly("bcrypt", 12)), "{cost}");
    }
    // who was imported before keeps the password
    assert!(Foreign::kept(&BCRYPT.replace("$04$", "$14$")).is_ok());
    assert!(Foreign::kept(&BCRYPT.replace("$04$", "$15$")).is_err());
    let rounds = SHA512_CRYPT.replace("$6$", "$6$rounds=999999999$");
    let costly = Foreign::parse(&rounds).err();
    assert_eq!(costly, Some(BadForeign::Costly("SHA-crypt", 100_000)));
    let pbkdf2 = format!("pbkdf2_sha256$4000000000$salt${PBKDF2_HASH}");
    let costly = Foreign::parse(&pbkdf2).err();
    assert_eq!(costly, Some(BadForeign::Costly("PBKDF2", 1_200_000)));
    let rounds = SHA512_CRYPT.replace("$6$", "$6$rounds=100001$");
    assert!(Foreign::parse(&rounds).is_err());
    let pbkdf2 = format!("pbkdf2_sha256$1200001$salt${PBKDF2_HASH}");
    assert!(Foreign::parse(&pbkdf2).is_err());
    for dear in [
        BCRYPT.replace("$04$", "$12$"),
        SHA512_CRYPT.replace("$6$", "$6$rounds=100000$"),
        format!("pbkdf2_sha256$1200000$salt${PBKDF2_HASH}"),
    ] {
        assert!(Foreign::parse(&dear).is_ok(), "{dear}");
    }
}
