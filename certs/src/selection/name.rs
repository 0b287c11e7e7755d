//! Host names as keys of a table.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The longest name that is held in place.
const SHORT: usize = 30;

/// A host name. Most are held in the table itself: a name elsewhere is one more wait for memory at
/// each look.
pub(super) enum Name {
    /// Its length in bytes and its bytes, zeros behind them.
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

impl Name {
    pub(super) fn new(name: &str) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(name.as_bytes());
                Self::Short(len, bytes)
            }
            (None, _) | (_, Err(_)) => Self::Long(name.as_bytes().into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

// all three of what they borrow as, so that a table finds a name by its bytes
impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Name {}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.bytes().escape_ascii(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Name, SHORT};

    #[test]
    fn names_of_every_length_are_found_and_no_other() {
        let name = |len: usize| "a".repeat(len);
        let lengths = 0..=300;
        let table: HashMap<Name, usize> =
            lengths.clone().map(|n| (Name::new(&name(n)), n)).collect();
        assert_eq!(table.len(), 301);
        for len in lengths {
            let name = name(len);
            assert_eq!(table.get(name.as_bytes()), Some(&len));
            assert_eq!(table.get(format!("{name}\0").as_bytes()), None, "{len}");
        }
        let (short, long) = (Name::new(&name(SHORT)), Name::new(&name(SHORT + 1)));
        assert!(matches!(short, Name::Short(..)));
        assert!(matches!(long, Name::Long(_)));
        assert_eq!(format!("{:?}", Name::new("é")), "\\xc3\\xa9");
    }
}
