//! Curve25519 keys that are safe to hand to the protocol.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::KeyError;

/// The canonical encodings of all points whose order divides 8.
/// Source: RFC 7748 section 6.1 asks for the check of the shared secret that these make zero.
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    [
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0,
    ],
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f,
    ],
];

/// A peer's static public key: canonical and not of low order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Accepts the 32 bytes of a key.
    ///
    /// # Errors
    /// [`KeyError::NotCanonical`] for a value of 2^255 - 19 or more, [`KeyError::LowOrder`] for a
    /// point that makes every shared secret zero; refuse the enrolment in both cases.
    /// Source: [RFC 7748 sections 5 and 6.1](https://www.rfc-editor.org/rfc/rfc7748).
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        if !is_canonical(&bytes) {
            return Err(KeyError::NotCanonical);
        }
        if LOW_ORDER.contains(&bytes) {
            return Err(KeyError::LowOrder);
        }
        Ok(Self(bytes))
    }

    /// Returns the 32 bytes, little endian.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn to_dalek(self) -> x25519_dalek::PublicKey {
        x25519_dalek::PublicKey::from(self.0)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(*decode(text)?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = BASE64.encode(&self.0);
        write!(f, "PublicKey({}…)", text.get(..8).unwrap_or_default())
    }
}

/// The gateway's (or a generated device's) static private key; wiped when dropped.
#[derive(Clone)]
pub struct PrivateKey(StaticSecret);

impl PrivateKey {
    /// Wraps 32 random bytes; clamping happens at each use.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(StaticSecret::from(bytes))
    }

    /// Derives the public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        // A clamped scalar times the base point is canonical and of the large prime order.
        PublicKey(x25519_dalek::PublicKey::from(&self.0).to_bytes())
    }

    /// Writes the key as base64 for a device's config file; the text is wiped when dropped.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(&*Zeroizing::new(self.0.to_bytes())))
    }

    pub(crate) fn secret(&self) -> &StaticSecret {
        &self.0
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Ok(Self::from_bytes(*decode(text)?))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

/// A preshared key; wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; 32]);

impl PresharedKey {
    /// Wraps 32 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Writes the key as base64 for a device's config file; the text is wiped when dropped.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(&self.0))
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl FromStr for PresharedKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Ok(Self(*decode(text)?))
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(redacted)")
    }
}

/// 32 bytes from the 44 characters that wg(8) prints.
fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let bytes = Zeroizing::new(
        BASE64
            .decode(text.as_bytes())
            .map_err(|_| KeyError::Encoding)?,
    );
    let array = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Encoding)?;
    Ok(Zeroizing::new(array))
}

/// Says whether the little-endian value is below 2^255 - 19.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    let largest = *high == 0x7f && middle.iter().all(|b| *b == 0xff) && *low >= 0xed;
    *high <= 0x7f && !largest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> [u8; 32] {
        data_encoding::HEXLOWER
            .decode(text.as_bytes())
            .unwrap()
            .try_into()
            .unwrap()
    }

    #[test]
    fn rfc_7748_section_6_1_keys_agree() {
        let alice = PrivateKey::from_bytes(hex(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        ));
        let public = alice.public_key();
        assert_eq!(
            *public.as_bytes(),
            hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        );
        let bob = PrivateKey::from_bytes(hex(
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ));
        let shared = alice.secret().diffie_hellman(&bob.public_key().to_dalek());
        assert_eq!(
            *shared.as_bytes(),
            hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
        );
    }

    #[test]
    fn every_listed_low_order_point_makes_a_zero_secret_and_is_refused() {
        let secret = StaticSecret::from([7; 32]);
        for point in LOW_ORDER {
            let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(point));
            assert!(!shared.was_contributory());
            assert!(matches!(
                PublicKey::from_bytes(point),
                Err(KeyError::LowOrder)
            ));
        }
        let honest = PrivateKey::from_bytes([9; 32]).public_key();
        assert!(PublicKey::from_bytes(*honest.as_bytes()).is_ok());
    }

    #[test]
    fn a_key_of_p_or_more_is_refused_and_one_below_is_not() {
        let mut p = [0xff; 32];
        p[0] = 0xed;
        p[31] = 0x7f;
        assert!(matches!(
            PublicKey::from_bytes(p),
            Err(KeyError::NotCanonical)
        ));
        p[0] = 0xeb;
        assert!(PublicKey::from_bytes(p).is_ok());
        p[31] = 0xff;
        assert!(matches!(
            PublicKey::from_bytes(p),
            Err(KeyError::NotCanonical)
        ));
    }

    #[test]
    fn base64_is_read_strictly() {
        let key = PrivateKey::from_bytes([9; 32]).public_key();
        let text = key.to_string();
        assert_eq!(text.parse::<PublicKey>().unwrap(), key);
        for bad in [
            "",
            "AAAA",
            text.trim_end_matches('='),
            &format!("{text} "),
            &format!("{text}\n"),
        ] {
            assert!(matches!(bad.parse::<PublicKey>(), Err(KeyError::Encoding)));
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let private = PrivateKey::from_bytes([3; 32]);
        let psk = PresharedKey::from_bytes([3; 32]);
        assert_eq!(format!("{private:?}"), "PrivateKey(redacted)");
        assert_eq!(format!("{psk:?}"), "PresharedKey(redacted)");
    }
}
