//! Password verifiers: argon2id over a peppered, normalised password.

mod dues;
mod foreign;
mod pool;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, KeyId, ParamsBuilder, PasswordHasher, PasswordVerifier, Version};
use data_encoding::BASE64_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::RwLock;
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

pub(crate) use self::dues::Dues;
pub(crate) use self::foreign::{BadForeign, Foreign};
pub(crate) use self::pool::{Overloaded, Place, Pool};
pub(crate) use self::rules::{Rules, Weak};
use crate::ids;
use crate::secrets::hmac;

/// Least memory and passes (OWASP Password Storage: m = 19 MiB, t = 2, p = 1).
const FLOOR: Cost = Cost {
    memory_kib: 19 * 1024,
    passes: 2,
};
/// Most that a stored verifier may ask for.
const CEILING: Cost = Cost {
    memory_kib: 1024 * 1024,
    passes: 64,
};
const SALT: usize = 16;
/// Longest password in bytes that verifiers of other products are tried with: SHA-crypt's work
/// grows with the password.
const FOREIGN_MAX: usize = 256;

/// What one argon2id run costs; a value stands between the floor and the ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    memory_kib: u32,
    passes: u32,
}

impl Cost {
    /// Takes the memory in KiB and the number of passes over it.
    ///
    /// # Errors
    /// [`BadCost`] below 19 MiB or 2 passes, above 1 GiB or 64 passes.
    pub(crate) fn new(memory_kib: u32, passes: u32) -> Result<Self, BadCost> {
        let memory = (FLOOR.memory_kib..=CEILING.memory_kib).contains(&memory_kib);
        let time = (FLOOR.passes..=CEILING.passes).contains(&passes);
        (memory && time)
            .then_some(Self { memory_kib, passes })
            .ok_or(BadCost { memory_kib, passes })
    }
}

/// Says that parameters of argon2id are outside what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "argon2 with {memory_kib} KiB and {passes} passes is outside 19456..=1048576 KiB and 2..=64 passes"
)]
pub(crate) struct BadCost {
    memory_kib: u32,
    passes: u32,
}

/// What comparing a password with a verifier gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Right; the verifier has the present parameters.
    Match,
    /// Right; the verifier should be made anew with the present parameters.
    MatchOutdated,
    /// Wrong.
    Mismatch,
}

/// Says that a stored verifier cannot be used; nothing was computed with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadVerifier {
    /// Not an argon2id PHC string with salt and output.
    #[error("the stored password verifier is malformed")]
    Malformed,
    /// Its parameters are outside what is allowed.
    #[error(transparent)]
    Cost(#[from] BadCost),
    /// It was made with a master key that is no longer in the key file.
    #[error("the stored password verifier was made with another master key")]
    Key,
    /// Argon2 refused, most likely for want of memory.
    #[error("argon2 failed")]
    Failed,
}

/// A key of passwords, and the name verifiers know it by.
struct Pepper {
    key: Zeroizing<[u8; 32]>,
    name: Vec<u8>,
}

/// Makes and checks password verifiers. Slow by design: run it in a [`Pool`].
///
/// The password is normalised to NFKC, all of it is hashed with HMAC-SHA-256 under the pepper, and
/// the result goes to argon2id with a salt of its own.
pub(crate) struct Hasher {
    cost: Cost,
    /// The newest first; verifiers name theirs, those of the first there was name none.
    peppers: Vec<Pepper>,
    /// Stands in for users who have no verifier, so that they cost the same.
    dummy: String,
    /// What verifiers of other products cost; everybody pays it.
    dues: RwLock<Dues>,
    runs: AtomicU64,
}

impl Hasher {
    /// Makes a hasher, with one verifier nobody has the password of: its salt and hash are drawn,
    /// so that a start costs no run and no memory. The first of the `keys` is for new verifiers,
    /// the others for what they made.
    ///
    /// # Errors
    /// [`BadVerifier::Malformed`] if the parameters cannot be written or there is no key.
    pub(crate) fn new(cost: Cost, keys: Vec<Zeroizing<[u8; 32]>>) -> Result<Self, BadVerifier> {
        let first = keys.len().checked_sub(1).ok_or(BadVerifier::Malformed)?;
        let named = keys.into_iter().enumerate().map(|(at, key)| {
            let name = match at == first {
                true => Vec::new(),
                false => name_of(&key),
            };
            Pepper { key, name }
        });
        let dummy = format!(
            "$argon2id$v=19$m={},t={},p=1${}${}",
            cost.memory_kib,
            cost.passes,
            BASE64_NOPAD.encode(&ids::random::<SALT>()),
            BASE64_NOPAD.encode(&ids::random::<32>()),
        );
        PasswordHash::new(&dummy).map_err(|_| BadVerifier::Malformed)?;
        Ok(Self {
            cost,
            peppers: named.collect(),
            dummy,
            dues: RwLock::default(),
            runs: AtomicU64::new(0),
        })
    }

    /// Makes the PHC string of a password with a fresh salt.
    ///
    /// # Errors
    /// [`BadVerifier::Failed`] if there is no memory for a run.
    pub(crate) fn hash(&self, password: &str) -> Result<String, BadVerifier> {
        let salt = ids::random::<SALT>();
        let pepper = self.peppers.first().ok_or(BadVerifier::Failed)?;
        let hash = self
            .argon2(self.cost, pepper)?
            .hash_password_with_salt(&*pepper.mix(password), &salt)
            .map_err(|_| BadVerifier::Failed)?;
        Ok(hash.to_string())
    }

    /// Compares a password with a verifier. Without one, the same work gives [`Verdict::Mismatch`].
    /// A verifier of another product costs no more, whoever's it is: see [`Dues`].
    ///
    /// # Errors
    /// [`BadVerifier`] if the verifier is malformed or its parameters are outside what is allowed.
    pub(crate) fn verify(&self, password: &str, phc: Option<&str>) -> Result<Verdict, BadVerifier> {
        if let Some(foreign) = phc.filter(|phc| !is_ours(phc)) {
            return self.verify_foreign(password, foreign);
        }
        self.pay_dues(password, None);
        self.verify_ours(password, phc)
    }

    fn verify_ours(&self, password: &str, phc: Option<&str>) -> Result<Verdict, BadVerifier> {
        let hash = PasswordHash::new(phc.unwrap_or(&self.dummy));
        let hash = hash.map_err(|_| BadVerifier::Malformed)?;
        let cost = cost_of(&hash)?;
        let pepper = match phc {
            Some(_) => self.pepper_of(&hash)?,
            None => self.peppers.first().ok_or(BadVerifier::Failed)?,
        };
        let newest = self.peppers.first().is_some_and(|p| p.name == pepper.name);
        let checked = self
            .argon2(cost, pepper)?
            .verify_password(&*pepper.mix(password), &hash);
        match checked {
            _ if phc.is_none() => Ok(Verdict::Mismatch),
            Ok(()) if cost == self.cost && newest => Ok(Verdict::Match),
            Ok(()) => Ok(Verdict::MatchOutdated),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(Verdict::Mismatch),
            Err(_) => Err(BadVerifier::Failed),
        }
    }

    /// Compares with a verifier of another product. A wrong password costs a run of argon2id all
    /// the same; a right one costs it when its new verifier is made.
    fn verify_foreign(&self, password: &str, verifier: &str) -> Result<Verdict, BadVerifier> {
        let foreign = Foreign::kept(verifier).map_err(|_| BadVerifier::Malformed)?;
        if password.len() <= FOREIGN_MAX && foreign.matches(password) {
            return Ok(Verdict::MatchOutdated);
        }
        self.pay_dues(password, Some(&foreign));
        self.verify_ours(password, None)
    }

    fn pay_dues(&self, password: &str, own: Option<&Foreign>) {
        let dues = *self.dues.read();
        if password.len() <= FOREIGN_MAX {
            dues.pay(password, own);
        }
    }

    /// Counts the runs of argon2id since the start.
    #[cfg(test)]
    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// Finds the pepper that a verifier was made with.
    fn pepper_of(&self, hash: &PasswordHash) -> Result<&Pepper, BadVerifier> {
        let name = match hash.params.get_str("keyid") {
            Some(text) => BASE64_NOPAD.decode(text.as_bytes()),
            None => Ok(Vec::new()),
        };
        let name = name.map_err(|_| BadVerifier::Malformed)?;
        let found = self.peppers.iter().find(|pepper| pepper.name == name);
        found.ok_or(BadVerifier::Key)
    }

    fn argon2(&self, cost: Cost, pepper: &Pepper) -> Result<Argon2<'static>, BadVerifier> {
        let mut params = ParamsBuilder::new();
        params.m_cost(cost.memory_kib).t_cost(cost.passes).p_cost(1);
        params.keyid(KeyId::new(&pepper.name).map_err(|_| BadVerifier::Failed)?);
        let params = params.build().map_err(|_| BadVerifier::Failed)?;
        self.runs.fetch_add(1, Ordering::Relaxed);
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

impl Pepper {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    fn mix(&self, password: &str) -> Zeroizing<[u8; 32]> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&*self.key).expect("HMAC takes keys of every length");
        // Character by character, so that no second copy of the password is made.
        let mut utf8 = Zeroizing::new([0; 4]);
        for c in password.nfkc() {
            mac.update(c.encode_utf8(&mut *utf8).as_bytes());
        }
        Zeroizing::new(mac.finalize().into_bytes().into())
    }
}

/// Names a pepper without giving it away. Source: RFC 9106 section 3.1 leaves such names to us.
fn name_of(key: &[u8; 32]) -> Vec<u8> {
    let digest = hmac(key, &[b"name"]);
    digest.get(..6).unwrap_or_default().to_vec()
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// Tells a verifier made here from one of another product.
pub(super) fn is_ours(verifier: &str) -> bool {
    verifier.starts_with("$argon2id$")
}

/// Reads the parameters of a verifier and refuses what we did not make.
fn cost_of(hash: &PasswordHash) -> Result<Cost, BadVerifier> {
    let ours = hash.algorithm.as_str() == "argon2id"
        && hash.version == Some(Version::V0x13.into())
        && hash.salt.as_ref().is_some_and(|salt| salt.len() >= SALT)
        && hash.hash.as_ref().is_some_and(|out| out.len() == 32);
    let number = |name: &str| hash.params.get_decimal(name);
    if !ours || number("p") != Some(1) {
        return Err(BadVerifier::Malformed);
    }
    let memory = number("m").ok_or(BadVerifier::Malformed)?;
    let passes = number("t").ok_or(BadVerifier::Malformed)?;
    Ok(Cost::new(memory, passes)?)
}

/// A hasher and its pool, shared by everything that checks passwords.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    hasher: Arc<Hasher>,
    pool: Arc<Pool>,
}

impl Passwords {
    /// Puts a hasher behind a pool of `threads` places.
    pub(crate) fn new(hasher: Hasher, threads: usize) -> std::io::Result<Self> {
        Ok(Self {
            hasher: Arc::new(hasher),
            pool: Arc::new(Pool::new(threads)?),
        })
    }

    /// Says which verifiers of other products are kept.
    pub(crate) fn set_dues(&self, dues: Dues) {
        *self.hasher.dues.write() = dues;
    }

    /// Takes one verifier of another product more into account.
    pub(crate) fn add_due(&self, foreign: &Foreign) {
        self.hasher.dues.write().add(foreign);
    }

    /// Compares off the async threads; see [`Hasher::verify`]. A right password whose verifier is
    /// outdated gives a new one with the verdict.
    pub(crate) async fn verify(
        &self,
        place: Place,
        password: Zeroizing<String>,
        phc: Option<String>,
    ) -> Result<Result<(Verdict, Option<String>), BadVerifier>, Overloaded> {
        let hasher = Arc::clone(&self.hasher);
        let work = move || {
            let verdict = hasher.verify(&password, phc.as_deref())?;
            // Without memory for it, the next sign-in tries again.
            let renewed = (verdict == Verdict::MatchOutdated)
                .then(|| hasher.hash(&password).ok())
                .flatten();
            Ok((verdict, renewed))
        };
        self.pool.run(place, work).await
    }

    /// Makes a verifier off the async threads; see [`Hasher::hash`].
    pub(crate) async fn hash(
        &self,
        place: Place,
        password: Zeroizing<String>,
    ) -> Result<Result<String, BadVerifier>, Overloaded> {
        let hasher = Arc::clone(&self.hasher);
        self.pool.run(place, move || hasher.hash(&password)).await
    }

    /// Counts the runs of argon2id since the start.
    #[cfg(test)]
    pub(crate) fn runs(&self) -> u64 {
        self.hasher.runs()
    }
}
