//! A quick keyed hash for tables of names that administrators write.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Makes hashers with one key, random for each table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    key: [u64; 2],
}

impl Default for Keyed {
    fn default() -> Self {
        let random = RandomState::new();
        Self {
            key: [random.hash_one(0u8), random.hash_one(1u8) | 1],
        }
    }
}

impl Keyed {
    /// Folded multiplication, eight bytes a turn; the last eight may overlap with those before.
    #[inline]
    pub(crate) fn bytes(self, start: u64, bytes: &[u8]) -> u64 {
        let [first, second] = self.key;
        let mut hash = first ^ start ^ (bytes.len() as u64);
        let tail = match bytes.last_chunk::<8>() {
            Some(last) => {
                for word in bytes.as_chunks::<8>().0 {
                    hash = fold(hash ^ u64::from_le_bytes(*word), second);
                }
                u64::from_le_bytes(*last)
            }
            None => bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        fold(fold(hash ^ tail, second), first | 1)
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded {
            key: *self,
            hash: 0,
        }
    }
}

/// Hashes one value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folded {
    key: Keyed,
    hash: u64,
}

impl Folded {
    fn number(&mut self, value: u64) {
        let [first, second] = self.key.key;
        self.hash = fold(self.hash ^ first ^ value, second);
    }
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        self.hash = self.key.bytes(self.hash, bytes);
    }

    fn write_u8(&mut self, value: u8) {
        self.number(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.number(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.number(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.number(value as u64);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

/// The half of a product that depends on all bits of both factors.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves of a product"
)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b | 1);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_hashes_one_text_alike_and_two_tables_do_not() {
        let (one, two) = (Keyed::default(), Keyed::default());
        assert_eq!(one.hash_one("a.office"), one.hash_one("a.office"));
        assert_ne!(one.hash_one("a.office"), one.hash_one("b.office"));
        assert_ne!(one.hash_one([1u32, 2]), one.hash_one([2u32, 1]));
        assert_ne!(one.hash_one("a.office"), two.hash_one("a.office"));
    }
}
