//! The keys that statements are signed by: one that signs, and for a while its successor or predecessor.
//!
//! A key signs for 90 days. Its successor is drawn and published a day before it signs, so that an app that keeps
//! the set of keys for hours knows it in time; the old one is published an hour longer than it signs, since what
//! it signed is good for a minute. Source: RFC 7517; NIST SP 800-57 part 1, section 5.3.6.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

const DAY: i64 = 86_400;
/// Seconds from the drawing of a key to that of the next.
pub(super) const LIFE: i64 = 90 * DAY;
/// Seconds a key is published before it signs.
pub(super) const AHEAD: i64 = DAY;
/// Seconds a key is published after it has signed for the last time.
pub(super) const AFTER: i64 = 3600;
/// What a key's file of before there were several begins with: the tag of PKCS #8.
pub(super) const SINGLE: u8 = 0x30;

/// One key.
pub(super) struct Key {
    /// When it was drawn, in seconds since 1970.
    born: i64,
    pub(super) pair: EcdsaKeyPair,
    pub(super) kid: String,
    pkcs8: Zeroizing<Vec<u8>>,
}

/// The keys, the newest first; never empty.
#[derive(Clone)]
pub(super) struct Ring {
    newest: Arc<Key>,
    older: Option<Arc<Key>>,
}

/// A key as it is written, in base 64.
#[derive(Serialize, Deserialize)]
struct Written {
    born: i64,
    pkcs8: String,
}

impl Drop for Written {
    fn drop(&mut self) {
        self.pkcs8.zeroize();
    }
}

impl Key {
    fn draw(born: i64) -> Option<Self> {
        let drawn = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
        let pkcs8 = drawn.to_pkcs8v1().ok()?;
        Self::read(born, Zeroizing::new(pkcs8.as_ref().to_vec()))
    }

    fn read(born: i64, pkcs8: Zeroizing<Vec<u8>>) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).ok()?;
        let digest = Sha256::digest(pair.public_key().as_ref());
        let kid = BASE64URL_NOPAD.encode(digest.get(..12).unwrap_or_default());
        Some(Self {
            born,
            pair,
            kid,
            pkcs8,
        })
    }
}

impl Ring {
    /// Draws the first key. `None` where the system gives no randomness.
    pub(super) fn draw(unix: i64) -> Option<Self> {
        Some(Self {
            newest: Arc::new(Key::draw(unix)?),
            older: None,
        })
    }

    /// Reads what [`Self::write`] wrote, or the one key of a file of before. `None` when it is neither.
    pub(super) fn read(bytes: &[u8], unix: i64) -> Option<Self> {
        if bytes.first() == Some(&SINGLE) {
            let key = Key::read(unix, Zeroizing::new(bytes.to_vec()))?;
            return Some(Self {
                newest: Arc::new(key),
                older: None,
            });
        }
        let written: Vec<Written> = serde_json::from_slice(bytes).ok()?;
        let mut keys = written.iter().map(|one| {
            let pkcs8 = BASE64.decode(one.pkcs8.as_bytes()).ok()?;
            Key::read(one.born, Zeroizing::new(pkcs8)).map(Arc::new)
        });
        let newest = keys.next()??;
        let older = match keys.next() {
            Some(key) => Some(key?),
            None => None,
        };
        keys.next().is_none().then_some(Self { newest, older })
    }

    /// Writes the keys with their secrets, to be sealed.
    pub(super) fn write(&self) -> Zeroizing<Vec<u8>> {
        let written: Vec<Written> = self
            .all()
            .map(|key| Written {
                born: key.born,
                pkcs8: BASE64.encode(&key.pkcs8),
            })
            .collect();
        Zeroizing::new(serde_json::to_vec(&written).unwrap_or_default())
    }

    /// All that are published, the newest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.newest)
            .chain(&self.older)
            .map(|key| &**key)
    }

    /// The key that signs now: the newest one once it was published for a day, or where it is the only one.
    pub(super) fn signs(&self, unix: i64) -> &Key {
        match &self.older {
            Some(older) if unix < self.newest.born.saturating_add(AHEAD) => older,
            _ => &self.newest,
        }
    }

    /// The ring as it has to be from now on, where that is another: with a successor, or without a key that signs
    /// no more. A clock that steps back a little changes nothing; a key that was drawn more than a day ahead of it,
    /// by a clock that was wrong then, is as old as if it were drawn now.
    pub(super) fn turned(&self, unix: i64) -> Option<Self> {
        let age = unix.saturating_sub(self.newest.born);
        if age < -AHEAD {
            let newest = Key::read(unix, self.newest.pkcs8.clone())?;
            return Some(Self {
                newest: Arc::new(newest),
                older: self.older.clone(),
            });
        }
        if age >= LIFE {
            return Some(Self {
                newest: Arc::new(Key::draw(unix)?),
                older: Some(Arc::clone(&self.newest)),
            });
        }
        let over = self.older.is_some() && age >= AHEAD + AFTER;
        over.then(|| Self {
            newest: Arc::clone(&self.newest),
            older: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{AFTER, AHEAD, LIFE, Ring};

    const NOW: i64 = 1_800_000_000;

    fn kids(ring: &Ring) -> Vec<&str> {
        ring.all().map(|key| key.kid.as_str()).collect()
    }

    #[test]
    fn a_successor_is_published_a_day_before_it_signs_and_the_old_key_an_hour_longer() {
        let first = Ring::draw(NOW).unwrap();
        let old = first.signs(NOW).kid.clone();
        assert!(first.turned(NOW + LIFE - 1).is_none());
        let drawn = NOW + LIFE;
        let both = first.turned(drawn).unwrap();
        assert_eq!(kids(&both).len(), 2);
        assert_eq!(both.signs(drawn).kid, old);
        assert_eq!(both.signs(drawn + AHEAD - 1).kid, old);
        let new = kids(&both)[0].to_owned();
        assert_ne!(new, old);
        assert_eq!(both.signs(drawn + AHEAD).kid, new);
        assert!(both.turned(drawn + AHEAD + AFTER - 1).is_none());
        let one = both.turned(drawn + AHEAD + AFTER).unwrap();
        assert_eq!(kids(&one), [new.as_str()]);
        assert_eq!(one.signs(drawn + AHEAD + AFTER).kid, new);
    }

    #[test]
    fn a_clock_that_steps_back_turns_nothing() {
        let ring = Ring::draw(NOW).unwrap();
        assert!(ring.turned(NOW - AHEAD).is_none());
        let both = ring.turned(NOW + LIFE).unwrap();
        assert!(both.turned(NOW + LIFE - AHEAD).is_none());
    }

    #[test]
    fn a_key_drawn_by_a_clock_far_ahead_is_as_old_as_if_it_were_drawn_now() {
        let ahead = NOW + 10 * LIFE;
        let both = Ring::draw(NOW).unwrap().turned(ahead).unwrap();
        let set_right = both.turned(NOW).unwrap();
        assert_eq!(kids(&set_right), kids(&both));
        assert_eq!(set_right.signs(NOW).kid, kids(&both)[1]);
        assert_eq!(set_right.signs(NOW + AHEAD).kid, kids(&both)[0]);
        assert!(set_right.turned(NOW).is_none());
        assert!(set_right.turned(NOW + LIFE).is_some());
        assert!(both.turned(i64::MIN).is_some());
    }

    #[test]
    fn what_is_written_is_read_again_and_a_single_key_of_before_too() {
        let first = Ring::draw(NOW).unwrap();
        let both = first.turned(NOW + LIFE).unwrap();
        let read = Ring::read(&both.write(), NOW).unwrap();
        assert_eq!(kids(&read), kids(&both));
        assert!(read.turned(NOW + LIFE).is_none());
        let single = Ring::read(&first.newest.pkcs8, NOW + 5).unwrap();
        assert_eq!(kids(&single), kids(&first));
        assert!(
            single.turned(NOW + LIFE).is_none(),
            "its age counts from now"
        );
        for damaged in [&b""[..], b"[]", b"[{}]", b"0", b"{}"] {
            assert!(Ring::read(damaged, NOW).is_none());
        }
    }
}
