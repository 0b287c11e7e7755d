//! The keyed chain over the records.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What stands between a record's fields and its chain value.
pub(super) const MARK: &[u8] = b",\"chain\":\"";
/// Length of [`MARK`], 64 hex digits and the closing `"}`.
const SEAL: usize = MARK.len() + 64 + 2;

/// A chain value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link(pub(super) [u8; 32]);

impl Link {
    /// What the very first record follows.
    pub(super) const START: Self = Self([0; 32]);

    pub(super) fn hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    pub(super) fn parse(hex: &[u8]) -> Option<Self> {
        let bytes = HEXLOWER.decode(hex).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

/// A place in the chain: the last record's number and chain value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) seq: u64,
    pub(super) link: Link,
}

impl Position {
    /// The place before the first record.
    pub(super) const START: Self = Self {
        seq: 0,
        link: Link::START,
    };
}

/// The journal's keys, the newest first, each with the key schedule done once. The newest makes
/// the chain, older ones check what they made.
#[derive(Clone)]
pub(super) struct ChainKey {
    newest: Hmac<Sha256>,
    older: Vec<Hmac<Sha256>>,
}

impl ChainKey {
    #[cfg(test)]
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self {
            newest: schedule(key),
            older: Vec::new(),
        }
    }

    /// Takes the newest key first; with none at all nothing follows anything.
    pub(super) fn ring(keys: &[Zeroizing<[u8; 32]>]) -> Self {
        let (newest, older) = keys.split_first().map_or_else(
            || (schedule(&crate::ids::random()), Vec::new()),
            |(newest, older)| {
                (
                    schedule(newest),
                    older.iter().map(|k| schedule(k)).collect(),
                )
            },
        );
        Self { newest, older }
    }

    /// Returns the chain value of a record's bytes after `prev`.
    ///
    /// Source: [RFC 2104 section 2](https://www.rfc-editor.org/rfc/rfc2104#section-2)
    pub(super) fn link(&self, prev: &Link, body: &[u8]) -> Link {
        link(&self.newest, prev, body)
    }

    /// Tells which key made a chain value: 0 for the newest, greater for older ones.
    pub(super) fn maker(&self, prev: &Link, body: &[u8], made: &Link) -> Option<usize> {
        let mut keys = std::iter::once(&self.newest).chain(&self.older);
        keys.position(|key| link(key, prev, body) == *made)
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn schedule(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

fn link(key: &Hmac<Sha256>, prev: &Link, body: &[u8]) -> Link {
    let mut mac = key.clone();
    mac.update(&prev.0);
    mac.update(body);
    Link(mac.finalize().into_bytes().into())
}

/// A line taken apart without judging it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed<'a> {
    pub(super) seq: u64,
    pub(super) body: &'a [u8],
    pub(super) link: Link,
}

impl<'a> Sealed<'a> {
    /// Takes a line (without its line feed) apart; `None` if it has not the form of a record.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (body, seal) = line.split_at_checked(line.len().checked_sub(SEAL)?)?;
        let hex = seal.strip_prefix(MARK)?.strip_suffix(b"\"}")?;
        let digits = body.strip_prefix(b"{\"seq\":")?;
        let digits = digits.split(|b| *b == b',').next()?;
        Some(Self {
            seq: std::str::from_utf8(digits).ok()?.parse().ok()?,
            body,
            link: Link::parse(hex)?,
        })
    }

    /// Tells whether the record follows `prev` and is unchanged.
    pub(super) fn follows(&self, prev: &Link, key: &ChainKey) -> bool {
        self.maker(prev, key).is_some()
    }

    /// Tells by which key the record follows `prev`; `None` if it does not.
    pub(super) fn maker(&self, prev: &Link, key: &ChainKey) -> Option<usize> {
        key.maker(prev, self.body, &self.link)
    }

    pub(super) fn position(&self) -> Position {
        Position {
            seq: self.seq,
            link: self.link,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ChainKey, Link, Sealed};

    #[test]
    fn the_chain_value_is_the_hmac_of_both_parts() {
        // key "Jefe", message split over prev and body: the value is over their concatenation
        let mut padded = [0; 32];
        padded[..4].copy_from_slice(b"Jefe"); // HMAC pads keys with zeros, RFC 2104 section 2
        let message = b"what do ya want for nothing?    !";
        let (prev, body) = message.split_at(32);
        let key = ChainKey::new(&padded);
        let link = key.link(&Link(prev.try_into().unwrap()), body);
        let whole = {
            use hmac::{KeyInit, Mac};
            let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(b"Jefe").unwrap();
            mac.update(message);
            mac.finalize().into_bytes()
        };
        assert_eq!(link.0[..], whole[..]);
    }

    #[test]
    fn only_lines_of_records_are_taken_apart() {
        let hex = "00".repeat(32);
        let good = format!("{{\"seq\":12,\"x\":1,\"chain\":\"{hex}\"}}");
        assert_eq!(Sealed::parse(good.as_bytes()).unwrap().seq, 12);
        for bad in [
            "",
            "{}",
            "{\"seq\":12}",
            good.trim_start_matches('{'),
            good.trim_end_matches('}'),
        ] {
            assert!(Sealed::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
