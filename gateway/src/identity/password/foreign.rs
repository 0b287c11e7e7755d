//! Password verifiers that were brought from elsewhere. Each is compared once: the sign-in that
//! finds it right replaces it by one of our own.

mod apr1;
#[cfg(test)]
mod tests;

use argon2::PasswordVerifier;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use sha_crypt::ShaCrypt;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Greatest cost of bcrypt that is imported: a quarter of a second, which everybody's sign-in takes longer while one
/// such verifier waits.
const BCRYPT_MAX: u32 = 12;
/// Greatest cost of bcrypt that was imported before.
const BCRYPT_KEPT_MAX: u32 = 14;
/// Rounds of MD5-crypt.
const MD5_ROUNDS: u32 = 1000;
/// Rounds of SHA-crypt where the verifier names none.
const SHA_CRYPT_ROUNDS: u32 = 5000;
/// Rounds of DES crypt.
const DES_ROUNDS: u32 = 25;
/// Characters of a verifier of DES crypt: two of salt, eleven of hash.
const DES_LENGTH: usize = 13;
/// Greatest number of rounds of SHA-crypt.
const SHA_CRYPT_MAX: u32 = 100_000;
/// Greatest number of PBKDF2 iterations.
const PBKDF2_MAX: u32 = 1_200_000;
/// Longest verifier in bytes.
const TEXT_MAX: usize = 512;

/// A verifier of another product, in bounds of cost.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// Apache's and the older md5-crypt.
    Md5Crypt(apr1::Md5Crypt),
    /// `{SHA}` of htpasswd: SHA-1 without salt.
    Sha1([u8; 20]),
    /// `$2y$` and its like; the text is well-formed.
    Bcrypt(String),
    /// The oldest of crypt(3), `htpasswd -d`; the text is well-formed.
    DesCrypt(String),
    /// `$5$` and `$6$` of crypt(3); the text is well-formed.
    ShaCrypt(String),
    /// PBKDF2 with HMAC-SHA-256; the salt is used as the bytes of its text.
    Pbkdf2 {
        iterations: u32,
        salt: String,
        hash: [u8; 32],
    },
}

/// What the cost of a verifier is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    DesCrypt,
    Md5Crypt,
    Sha1,
    /// Powers of two.
    Bcrypt,
    /// Rounds.
    Sha256Crypt,
    /// Rounds.
    Sha512Crypt,
    /// Iterations.
    Pbkdf2,
}

impl Family {
    pub(super) const ALL: [Self; 7] = [
        Self::DesCrypt,
        Self::Md5Crypt,
        Self::Sha1,
        Self::Bcrypt,
        Self::Sha256Crypt,
        Self::Sha512Crypt,
        Self::Pbkdf2,
    ];
}

/// Says why a verifier cannot be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadForeign {
    #[error("a password in clear is not taken")]
    Clear,
    #[error("not a whole {0} verifier")]
    Malformed(&'static str),
    #[error("a {0} verifier that costs too much to compare, at most {1}")]
    Costly(&'static str, u32),
    #[error("verifiers of this kind are not known")]
    Unknown,
}

impl Foreign {
    /// Reads a verifier as files carry it.
    ///
    /// # Errors
    /// [`BadForeign`]; nothing of the text is in it, for it may be a password.
    pub(crate) fn parse(text: &str) -> Result<Self, BadForeign> {
        Self::within(text, BCRYPT_MAX)
    }

    /// Reads a verifier that was taken before, by the bounds of then.
    ///
    /// # Errors
    /// As [`Foreign::parse`].
    pub(super) fn kept(text: &str) -> Result<Self, BadForeign> {
        Self::within(text, BCRYPT_KEPT_MAX)
    }

    fn within(text: &str, bcrypt_max: u32) -> Result<Self, BadForeign> {
        if text.len() > TEXT_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadForeign::Unknown);
        }
        if let Some(base64) = text.strip_prefix("{SHA}") {
            let bad = BadForeign::Malformed("{SHA}");
            let hash = BASE64.decode(base64.as_bytes()).map_err(|_| bad)?;
            return hash.try_into().map(Self::Sha1).map_err(|_| bad);
        }
        if let Some(rest) = text.strip_prefix("pbkdf2_sha256$") {
            return pbkdf2_of(rest).ok_or(BadForeign::Malformed("PBKDF2"))?;
        }
        match text.strip_prefix('$').and_then(|rest| rest.split_once('$')) {
            Some(("apr1" | "1", _)) => apr1::Md5Crypt::parse(text)
                .map(Self::Md5Crypt)
                .ok_or(BadForeign::Malformed("MD5-crypt")),
            Some(("2a" | "2b" | "2y", rest)) => bcrypt_of(text, rest, bcrypt_max),
            Some(("5" | "6", rest)) => sha_crypt_of(text, rest),
            Some(_) => Err(BadForeign::Unknown),
            None if is_des_crypt(text) => Ok(Self::DesCrypt(text.to_owned())),
            None => Err(BadForeign::Clear),
        }
    }

    /// Says whether it knows no more than eight characters of a password.
    pub(crate) fn is_short(&self) -> bool {
        matches!(self, Self::DesCrypt(_))
    }

    /// Says what comparing a password with it costs.
    pub(super) fn cost(&self) -> (Family, u32) {
        match self {
            Self::DesCrypt(_) => (Family::DesCrypt, DES_ROUNDS),
            Self::Md5Crypt(_) => (Family::Md5Crypt, MD5_ROUNDS),
            Self::Sha1(_) => (Family::Sha1, 1),
            Self::Bcrypt(text) => {
                let cost = text.split('$').nth(2).and_then(|cost| cost.parse().ok());
                (Family::Bcrypt, cost.unwrap_or(BCRYPT_MAX))
            }
            Self::ShaCrypt(text) => {
                let named = text
                    .split('$')
                    .nth(2)
                    .and_then(|p| p.strip_prefix("rounds="));
                let rounds = named.and_then(|n| n.parse().ok());
                let family = if text.starts_with("$5$") {
                    Family::Sha256Crypt
                } else {
                    Family::Sha512Crypt
                };
                (family, rounds.unwrap_or(SHA_CRYPT_ROUNDS))
            }
            Self::Pbkdf2 { iterations, .. } => (Family::Pbkdf2, *iterations),
        }
    }

    /// Makes a verifier of this cost that no password is known for.
    pub(super) fn nobodys(family: Family, cost: u32) -> Self {
        match family {
            Family::DesCrypt => Self::DesCrypt(".".repeat(DES_LENGTH)),
            Family::Md5Crypt => Self::Md5Crypt(apr1::Md5Crypt::nobodys()),
            Family::Sha1 => Self::Sha1([0; 20]),
            Family::Bcrypt => Self::Bcrypt(format!("$2b${cost:02}${}", ".".repeat(53))),
            Family::Sha256Crypt | Family::Sha512Crypt => {
                let (id, length) = if family == Family::Sha256Crypt {
                    ("5", 43)
                } else {
                    ("6", 86)
                };
                let hash = ".".repeat(length);
                Self::ShaCrypt(format!("${id}$rounds={cost}$nobodyssaltnobod${hash}"))
            }
            Family::Pbkdf2 => Self::Pbkdf2 {
                iterations: cost,
                salt: "nobodyssaltnobod".to_owned(),
                hash: [0; 32],
            },
        }
    }

    /// Compares a password, as typed, in constant time with respect to the verifier.
    pub(crate) fn matches(&self, password: &str) -> bool {
        let password = password.as_bytes();
        match self {
            // Eight characters of a password count; the sign-in that is right keeps all that was typed.
            Self::DesCrypt(text) => des_crypt(password, text),
            Self::Md5Crypt(md5) => md5.matches(password),
            Self::Sha1(hash) => {
                let digest: [u8; 20] = Sha1::digest(password).into();
                digest.ct_eq(hash).into()
            }
            // bcrypt knows 72 bytes of a password; so did whoever made the verifier.
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Self::ShaCrypt(text) => sha_crypt::PasswordHashRef::new(text)
                .is_ok_and(|hash| ShaCrypt::default().verify_password(password, hash).is_ok()),
            Self::Pbkdf2 {
                iterations,
                salt,
                hash,
            } => {
                let mut out = [0; 32];
                pbkdf2::pbkdf2_hmac::<Sha256>(password, salt.as_bytes(), *iterations, &mut out);
                out.ct_eq(hash).into()
            }
        }
    }
}

/// `ITERATIONS$SALT$HASH`: 64 digits of hexadecimal, or base64.
fn pbkdf2_of(rest: &str) -> Option<Result<Foreign, BadForeign>> {
    let mut parts = rest.split('$');
    let (Some(iterations), Some(salt), Some(hash), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let iterations: u32 = iterations.parse().ok().filter(|n| *n > 0)?;
    if iterations > PBKDF2_MAX {
        return Some(Err(BadForeign::Costly("PBKDF2", PBKDF2_MAX)));
    }
    let hash = match hash.len() {
        64 => HEXLOWER_PERMISSIVE.decode(hash.as_bytes()).ok()?,
        _ => BASE64.decode(hash.as_bytes()).ok()?,
    };
    (!salt.is_empty()).then_some(())?;
    Some(Ok(Foreign::Pbkdf2 {
        iterations,
        salt: salt.to_owned(),
        hash: hash.try_into().ok()?,
    }))
}

/// `COST$` and 53 characters of salt and hash.
fn bcrypt_of(text: &str, rest: &str, most: u32) -> Result<Foreign, BadForeign> {
    let bad = BadForeign::Malformed("bcrypt");
    let (cost, tail) = rest.split_once('$').ok_or(bad)?;
    if cost.len() != 2 || tail.len() != 53 || !tail.bytes().all(is_of_crypt) {
        return Err(bad);
    }
    let cost: u32 = cost.parse().map_err(|_| bad)?;
    match cost {
        0..=3 => Err(bad),
        _ if cost <= most => Ok(Foreign::Bcrypt(text.to_owned())),
        _ => Err(BadForeign::Costly("bcrypt", most)),
    }
}

/// Says whether a text has the shape of DES crypt; a password in clear of this length may have it too.
fn is_des_crypt(text: &str) -> bool {
    text.len() == DES_LENGTH && text.bytes().all(is_of_crypt)
}

/// Says whether crypt(3) writes salts and hashes with this character.
fn is_of_crypt(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/'
}

fn des_crypt(password: &[u8], verifier: &str) -> bool {
    crypt3_rs::unix::crypt(password, verifier)
        .is_ok_and(|hash| hash.as_str().as_bytes().ct_eq(verifier.as_bytes()).into())
}

/// `[rounds=N$]SALT$HASH`.
fn sha_crypt_of(text: &str, rest: &str) -> Result<Foreign, BadForeign> {
    let bad = BadForeign::Malformed("SHA-crypt");
    if let Some(more) = rest.strip_prefix("rounds=") {
        let (rounds, _) = more.split_once('$').ok_or(bad)?;
        let rounds: u32 = rounds.parse().map_err(|_| bad)?;
        if rounds > SHA_CRYPT_MAX {
            return Err(BadForeign::Costly("SHA-crypt", SHA_CRYPT_MAX));
        }
    }
    let length = if text.starts_with("$5$") { 43 } else { 86 };
    let hash = rest.rsplit('$').next().unwrap_or_default();
    let fields = rest.split('$').count() - usize::from(rest.starts_with("rounds="));
    let whole = hash.len() == length && fields == 2;
    if !whole || sha_crypt::PasswordHashRef::new(text).is_err() {
        return Err(bad);
    }
    Ok(Foreign::ShaCrypt(text.to_owned()))
}
