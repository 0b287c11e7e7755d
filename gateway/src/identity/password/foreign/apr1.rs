//! MD5-crypt, in the forms of Apache (`$apr1$`) and of older systems (`$1$`).

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

const ROUNDS: usize = 1000;
const SALT_MAX: usize = 8;
const HASH: usize = 22;
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A verifier: its mark, salt and hash.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Md5Crypt {
    magic: &'static str,
    salt: String,
    hash: String,
}

impl Md5Crypt {
    /// Reads `$apr1$SALT$HASH` or `$1$SALT$HASH`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let magic = ["$apr1$", "$1$"]
            .into_iter()
            .find(|m| text.starts_with(m))?;
        let (salt, hash) = text.strip_prefix(magic)?.split_once('$')?;
        let good = salt.len() <= SALT_MAX
            && hash.len() == HASH
            && hash.bytes().all(|b| ALPHABET.contains(&b));
        good.then(|| Self {
            magic,
            salt: salt.to_owned(),
            hash: hash.to_owned(),
        })
    }

    /// Makes a verifier that no password is known for.
    pub(super) fn nobodys() -> Self {
        Self {
            magic: "$apr1$",
            salt: "nobodyss".to_owned(),
            hash: ".".repeat(HASH),
        }
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        let digest = self.digest(password);
        encode(&digest)
            .as_bytes()
            .ct_eq(self.hash.as_bytes())
            .into()
    }

    fn digest(&self, password: &[u8]) -> [u8; 16] {
        let salt = self.salt.as_bytes();
        let inner = md5(&[password, salt, password]);
        let mut outer = Md5::new();
        outer.update(password);
        outer.update(self.magic);
        outer.update(salt);
        let mut left = password.len();
        while left > 0 {
            let part = inner.get(..left.min(16)).unwrap_or_default();
            outer.update(part);
            left -= part.len();
        }
        let mut bits = password.len();
        while bits > 0 {
            let first = password.get(..1).unwrap_or_default();
            outer.update(if bits & 1 == 1 { &[0] } else { first });
            bits >>= 1;
        }
        let first: [u8; 16] = outer.finalize().into();
        (0..ROUNDS).fold(first, |before, round| {
            let odd = round % 2 == 1;
            let (head, tail): (&[u8], &[u8]) = if odd {
                (password, &before)
            } else {
                (&before, password)
            };
            let salted = if round % 3 == 0 { &[] } else { salt };
            let typed = if round % 7 == 0 { &[] } else { password };
            md5(&[head, salted, typed, tail])
        })
    }
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Writes the bytes in the order and the alphabet of crypt(3).
fn encode(digest: &[u8; 16]) -> String {
    let [
        d0,
        d1,
        d2,
        d3,
        d4,
        d5,
        d6,
        d7,
        d8,
        d9,
        da,
        db,
        dc,
        dd,
        de,
        df,
    ] = *digest;
    let threes = [
        [d0, d6, dc],
        [d1, d7, dd],
        [d2, d8, de],
        [d3, d9, df],
        [d4, da, d5],
    ];
    let mut text = String::with_capacity(HASH);
    for [high, middle, low] in threes {
        let bits = u32::from(high) << 16 | u32::from(middle) << 8 | u32::from(low);
        push(&mut text, bits, 4);
    }
    push(&mut text, u32::from(db), 2);
    text
}

/// Writes `count` characters of six bits, the lowest first.
fn push(text: &mut String, mut bits: u32, count: usize) {
    for _ in 0..count {
        let at = usize::try_from(bits & 0x3f).unwrap_or(0);
        text.push(char::from(ALPHABET.get(at).copied().unwrap_or(b'.')));
        bits >>= 6;
    }
}
