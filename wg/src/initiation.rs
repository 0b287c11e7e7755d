//! Who sent a handshake initiation, and when: read before a tunnel exists or answers.
//!
//! boringtun keeps the greatest timestamp of a peer in memory only and shows none, so the first
//! message of the handshake is opened here as well.
//! Source: WireGuard paper section 5.4.2 (`Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`).

use blake2::digest::consts::U16;
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::aead::{AeadInOut, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use hmac::{Mac as _, SimpleHmac};
use x25519_dalek::{SharedSecret, StaticSecret};
use zeroize::Zeroizing;

use crate::keys::{PrivateKey, PublicKey};
use crate::mark::Stamp;

/// Length of an initiation in bytes.
pub(crate) const LEN: usize = 148;

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

type Key = Zeroizing<[u8; 32]>;

/// Checks the first MAC of handshake messages: whoever makes it knows the gateway's public key.
/// Source: WireGuard paper section 5.4.4.
pub(crate) struct FirstMac(Zeroizing<[u8; 32]>);

impl FirstMac {
    pub(crate) fn new(public: &PublicKey) -> Self {
        Self(Zeroizing::new(hash(&[
            b"mac1----".as_slice(),
            public.as_bytes(),
        ])))
    }

    /// Says whether the first of the two MACs at the end of `message` is right.
    pub(crate) fn is_right(&self, message: &[u8]) -> bool {
        let macs = message.len().checked_sub(32);
        let Some((body, macs)) = macs.and_then(|at| message.split_at_checked(at)) else {
            return false;
        };
        let mac = Blake2sMac::<U16>::new_from_slice(&*self.0);
        let (Ok(mac), Some(first)) = (mac, macs.get(..16)) else {
            return false;
        };
        mac.chain_update(body).verify_slice(first).is_ok()
    }
}

/// Opens initiations addressed to one private key.
pub(crate) struct Reader {
    private: StaticSecret,
    /// Hash and chaining key after the responder's public key was mixed in.
    hash: [u8; 32],
    chain: [u8; 32],
}

/// An initiation whose static key is decrypted, but not yet proved.
pub(crate) struct Opened<'a> {
    /// The key the sender claims; proved only by [`Opened::stamp`].
    pub(crate) peer: PublicKey,
    hash: [u8; 32],
    chain: Key,
    sealed_stamp: &'a [u8; 28],
}

impl Reader {
    pub(crate) fn new(private: &PrivateKey) -> Self {
        let chain = hash(&[CONSTRUCTION]);
        let named = hash(&[&chain, IDENTIFIER]);
        Self {
            private: private.secret().clone(),
            hash: hash(&[&named, private.public_key().as_bytes()]),
            chain,
        }
    }

    /// Decrypts the sender's static key. The MACs must have been checked before.
    pub(crate) fn open<'a>(&self, message: &'a [u8; LEN]) -> Option<Opened<'a>> {
        let (_, rest) = message.split_first_chunk::<8>()?;
        let (ephemeral, rest) = rest.split_first_chunk::<32>()?;
        let (sealed_static, rest) = rest.split_first_chunk::<48>()?;
        let sealed_stamp = rest.first_chunk::<28>()?;

        let transcript = hash(&[&self.hash, ephemeral]);
        let chain = derive(&self.chain, ephemeral).0;
        let shared = agree(&self.private, *ephemeral)?;
        let (chain, key) = derive(&*chain, shared.as_bytes());
        let peer = unseal::<32, 48>(&key, sealed_static, &transcript)?;
        Some(Opened {
            peer: PublicKey::from_bytes(peer).ok()?,
            hash: hash(&[&transcript, sealed_static]),
            chain,
            sealed_stamp,
        })
    }

    /// Decrypts the timestamp, which proves that the sender has the private half of the key.
    pub(crate) fn stamp(&self, opened: &Opened<'_>) -> Option<Stamp> {
        let shared = agree(&self.private, *opened.peer.as_bytes())?;
        let (_, key) = derive(&*opened.chain, shared.as_bytes());
        unseal::<12, 28>(&key, opened.sealed_stamp, &opened.hash)
    }
}

/// X25519; `None` where the result is zero ([RFC 7748 section 6.1](https://www.rfc-editor.org/rfc/rfc7748)).
fn agree(private: &StaticSecret, public: [u8; 32]) -> Option<SharedSecret> {
    let shared = private.diffie_hellman(&x25519_dalek::PublicKey::from(public));
    shared.was_contributory().then_some(shared)
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Blake2s256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The two-output key derivation of the paper.
fn derive(chain: &[u8], input: &[u8]) -> (Key, Key) {
    let extracted = Zeroizing::new(hmac(chain, &[input]));
    let first = Zeroizing::new(hmac(&*extracted, &[&[1]]));
    let second = Zeroizing::new(hmac(&*extracted, &[&*first, &[2]]));
    (first, second)
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // Every caller's key is 32 bytes, and HMAC takes any length.
    let Ok(mut mac) = SimpleHmac::<Blake2s256>::new_from_slice(key) else {
        return [0; 32];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Opens an AEAD text of `SEALED` = `PLAIN` + 16 bytes under nonce zero.
fn unseal<const PLAIN: usize, const SEALED: usize>(
    key: &[u8; 32],
    sealed: &[u8; SEALED],
    aad: &[u8],
) -> Option<[u8; PLAIN]> {
    let (text, tag) = sealed.split_first_chunk::<PLAIN>()?;
    let tag = Tag::try_from(tag).ok()?;
    let mut plain = *text;
    ChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(&[0; 12].into(), aad, plain.as_mut_slice().into(), &tag)
        .ok()?;
    Some(plain)
}

#[cfg(test)]
mod tests {
    use boringtun::noise::{Tunn, TunnResult};

    use super::*;

    fn initiation(client: &PrivateKey, server: PublicKey) -> [u8; LEN] {
        let mut tunn = Tunn::new(
            client.secret().clone(),
            server.to_dalek(),
            None,
            None,
            1,
            None,
        );
        let mut buffer = [0; LEN];
        let TunnResult::WriteToNetwork(message) =
            tunn.format_handshake_initiation(&mut buffer, false)
        else {
            panic!("no initiation");
        };
        (&*message).try_into().unwrap()
    }

    #[test]
    fn the_key_and_the_rising_stamps_of_a_real_client_are_read() {
        let (server, client) = (
            PrivateKey::from_bytes([1; 32]),
            PrivateKey::from_bytes([2; 32]),
        );
        let reader = Reader::new(&server);
        let first = initiation(&client, server.public_key());
        let second = initiation(&client, server.public_key());
        let opened = reader.open(&first).unwrap();
        assert_eq!(opened.peer, client.public_key());
        let a = reader.stamp(&opened).unwrap();
        let b = reader.stamp(&reader.open(&second).unwrap()).unwrap();
        assert!(a < b, "{a:?} {b:?}");
        assert_eq!(a[0], 0x40);
    }

    #[test]
    fn a_changed_byte_is_refused_in_either_part() {
        let (server, client) = (
            PrivateKey::from_bytes([1; 32]),
            PrivateKey::from_bytes([2; 32]),
        );
        let reader = Reader::new(&server);
        let honest = initiation(&client, server.public_key());
        for at in 8..88 {
            let mut forged = honest;
            forged[at] ^= 1;
            assert!(reader.open(&forged).is_none(), "byte {at}");
        }
        for at in 88..116 {
            let mut forged = honest;
            forged[at] ^= 1;
            let opened = reader.open(&forged).unwrap();
            assert!(reader.stamp(&opened).is_none(), "byte {at}");
        }
        let stranger = Reader::new(&PrivateKey::from_bytes([3; 32]));
        assert!(stranger.open(&honest).is_none());
    }
}
