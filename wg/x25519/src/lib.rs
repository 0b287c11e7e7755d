//! X25519 ([RFC 7748](https://www.rfc-editor.org/rfc/rfc7748)) with the names of `x25519-dalek` 2 and the
//! arithmetic of AWS-LC: the workspace puts this crate in that one's place, so that boringtun's
//! handshakes take AWS-LC's time without a change to boringtun. Only what boringtun and `wg` use is here.
//!
//! Keys, points and shared secrets are 32 bytes, little endian. Scalars are clamped at each use, the
//! highest bit of a point is ignored. An agreement that comes to zero, because the other side named a point
//! of low order, has zero bytes and says so by [`SharedSecret::was_contributory`].

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use rand_core::{CryptoRng, RngCore};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A point, as the other side sends it.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A private key that is kept; wiped when dropped.
#[derive(Clone)]
pub struct StaticSecret {
    bytes: Zeroizing<[u8; 32]>,
    key: Loaded,
}

/// A private key of one handshake, used more than once within it.
#[derive(Clone)]
pub struct ReusableSecret(Loaded);

/// A private key of one handshake, used once.
pub struct EphemeralSecret(Loaded);

/// What both sides come to; wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SharedSecret([u8; 32]);

/// A key as AWS-LC holds it: its public half is known, and it is wiped with its last copy.
#[derive(Clone)]
struct Loaded(Arc<agreement::PrivateKey>);

fn draw(mut random: impl RngCore + CryptoRng) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    random.fill_bytes(&mut *bytes);
    bytes
}

impl Loaded {
    fn new(bytes: &[u8; 32]) -> Self {
        // any 32 bytes are a key: what fails is memory, which ends the process as everywhere in Rust
        let key = agreement::PrivateKey::from_private_key(&X25519, bytes);
        Self(Arc::new(key.unwrap_or_else(|_| std::process::abort())))
    }

    fn random(random: impl RngCore + CryptoRng) -> Self {
        Self::new(&draw(random))
    }

    fn public(&self) -> PublicKey {
        let key = self.0.compute_public_key();
        let bytes = key.ok().and_then(|key| key.as_ref().try_into().ok());
        PublicKey(bytes.unwrap_or_default())
    }

    fn agree(&self, theirs: &PublicKey) -> SharedSecret {
        let mut shared = SharedSecret([0; 32]);
        let theirs = UnparsedPublicKey::new(&X25519, &theirs.0);
        // refused where the result is zero, and zero it stays
        let _ = agreement::agree(&self.0, theirs, (), |bytes| {
            shared.0 = bytes.try_into().map_err(|_| ())?;
            Ok(())
        });
        shared
    }
}

impl PublicKey {
    /// Returns the 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// Borrows the 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for PublicKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<&StaticSecret> for PublicKey {
    fn from(secret: &StaticSecret) -> Self {
        secret.key.public()
    }
}

impl From<&ReusableSecret> for PublicKey {
    fn from(secret: &ReusableSecret) -> Self {
        secret.0.public()
    }
}

impl From<&EphemeralSecret> for PublicKey {
    fn from(secret: &EphemeralSecret) -> Self {
        secret.0.public()
    }
}

impl StaticSecret {
    /// Makes a key of 32 bytes of `random`.
    pub fn random_from_rng<R: RngCore + CryptoRng>(random: R) -> Self {
        Self::from(*draw(random))
    }

    /// Multiplies the point by the key.
    #[must_use]
    pub fn diffie_hellman(&self, theirs: &PublicKey) -> SharedSecret {
        self.key.agree(theirs)
    }

    /// Copies the 32 bytes out, as they came.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        *self.bytes
    }
}

impl From<[u8; 32]> for StaticSecret {
    fn from(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self {
            key: Loaded::new(&bytes),
            bytes,
        }
    }
}

impl ReusableSecret {
    /// Makes a key of 32 bytes of `random`.
    pub fn random_from_rng<R: RngCore + CryptoRng>(random: R) -> Self {
        Self(Loaded::random(random))
    }

    /// Multiplies the point by the key.
    #[must_use]
    pub fn diffie_hellman(&self, theirs: &PublicKey) -> SharedSecret {
        self.0.agree(theirs)
    }
}

impl EphemeralSecret {
    /// Makes a key of 32 bytes of `random`.
    pub fn random_from_rng<R: RngCore + CryptoRng>(random: R) -> Self {
        Self(Loaded::random(random))
    }

    /// Multiplies the point by the key, which is gone then.
    #[must_use]
    pub fn diffie_hellman(self, theirs: &PublicKey) -> SharedSecret {
        self.0.agree(theirs)
    }
}

impl SharedSecret {
    /// Copies the 32 bytes out.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// Borrows the 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the other side's point was one of the large group: the bytes are not all zero
    /// ([RFC 7748 section 6.1](https://www.rfc-editor.org/rfc/rfc7748#section-6.1)).
    #[must_use]
    pub fn was_contributory(&self) -> bool {
        !bool::from(self.0.ct_eq(&[0; 32]))
    }
}

macro_rules! redacted {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    )*};
}
redacted!(StaticSecret, ReusableSecret, EphemeralSecret, SharedSecret);

#[cfg(test)]
mod tests;
