//! Request methods as bits.

use crate::text::Text;

/// Methods as bits: seven ordinary ones, then those that rules name.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    extra: Vec<String>,
}

const ORDINARY: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Bits left for methods that rules name.
pub(super) const MAX_EXTRA: usize = 57;

impl Methods {
    /// The bit of an ordinary method.
    #[inline]
    pub(crate) fn ordinary(name: &str) -> Option<u64> {
        let at = match name {
            "GET" => 0,
            "HEAD" => 1,
            "POST" => 2,
            "PUT" => 3,
            "PATCH" => 4,
            "DELETE" => 5,
            "OPTIONS" => 6,
            _ => return None,
        };
        Some(1 << at)
    }

    /// The bit of a method; none when no rule could name it.
    pub(crate) fn bit(&self, name: &str) -> u64 {
        let extra = || {
            let at = self.extra.iter().position(|known| known == name)?;
            Some(1 << (ORDINARY.len() + at))
        };
        Self::ordinary(name).or_else(extra).unwrap_or(0)
    }

    /// All methods that have a bit.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        ORDINARY
            .into_iter()
            .chain(self.extra.iter().map(String::as_str))
    }

    pub(super) fn mask(&mut self, names: Option<&[Text]>) -> Option<u64> {
        let Some(names) = names else {
            return Some((1 << ORDINARY.len()) - 1);
        };
        let mut mask = 0;
        for name in names {
            if self.bit(name) == 0 {
                if self.extra.len() == MAX_EXTRA {
                    return None;
                }
                self.extra.push(name.to_string());
            }
            mask |= self.bit(name);
        }
        Some(mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ordinary_method_has_the_bit_of_its_place() {
        for (at, name) in ORDINARY.into_iter().enumerate() {
            assert_eq!(Methods::ordinary(name), Some(1 << at));
        }
        assert_eq!(Methods::ordinary("get"), None);
    }
}
