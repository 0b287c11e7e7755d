//! Identifiers and random tokens.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};

/// Names a tunnel device; written `d7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DeviceId(pub(crate) u32);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}", self.0)
    }
}

impl FromStr for DeviceId {
    type Err = BadId;
    fn from_str(s: &str) -> Result<Self, BadId> {
        let digits = s.strip_prefix('d').ok_or(BadId)?;
        digits.parse().map(Self).map_err(|_| BadId)
    }
}

/// Names a session in lists and records; not a secret, and never what a cookie holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

impl SessionId {
    /// Draws a fresh id.
    pub(crate) fn draw() -> Self {
        Self(u64::from_le_bytes(random()))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        spell(f, 's', self.0)
    }
}

impl FromStr for SessionId {
    type Err = BadId;
    fn from_str(s: &str) -> Result<Self, BadId> {
        read('s', s).map(Self)
    }
}

/// Names a token for an app in lists and records; not a secret, and no part of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TokenId(pub(crate) u64);

impl TokenId {
    /// Draws a fresh id.
    pub(crate) fn draw() -> Self {
        Self(u64::from_le_bytes(random()))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        spell(f, 't', self.0)
    }
}

impl FromStr for TokenId {
    type Err = BadId;

    fn from_str(s: &str) -> Result<Self, BadId> {
        read('t', s).map(Self)
    }
}

/// Writes a number as its kind's letter and lower-case base32.
fn spell(f: &mut fmt::Formatter<'_>, kind: char, id: u64) -> fmt::Result {
    let text = BASE32_NOPAD.encode(&id.to_be_bytes()).to_lowercase();
    write!(f, "{kind}{text}")
}

/// Reads what [`spell`] writes.
fn read(kind: char, text: &str) -> Result<u64, BadId> {
    let text = text.strip_prefix(kind).ok_or(BadId)?.to_uppercase();
    let bytes = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| BadId)?;
    let bytes: [u8; 8] = bytes.try_into().map_err(|_| BadId)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Tells whether a text can name a request: 8 to 64 letters, digits, `-` or `_`, whoever drew it.
pub(crate) fn is_request_id(text: &str) -> bool {
    (8..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Says that a text is not an identifier of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this gateway")]
pub(crate) struct BadId;

/// The door a person came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Door {
    /// HTTPS from outside the tunnel.
    Web,
    /// Through a WireGuard device.
    Tunnel,
}

impl Door {
    /// Names the door as records and listings write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Tunnel => "tunnel",
        }
    }
}

/// Fills `N` bytes from the operating system's generator.
///
/// # Panics
/// If the operating system has no randomness to give: nothing secret may be made then.
#[expect(
    clippy::expect_used,
    reason = "without randomness no secret may be made; stopping is the safe answer"
)]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// How much a thread draws at once for labels, in bytes.
const DRAWN: usize = 1024;

thread_local! {
    static LABELS: RefCell<([u8; DRAWN], usize)> = const { RefCell::new(([0; DRAWN], DRAWN)) };
}

/// Gives `N` random bytes for names that are shown, such as request ids; never for secrets,
/// since bytes to come lie in memory. One draw serves many labels.
pub(crate) fn label<const N: usize>() -> [u8; N] {
    LABELS.with_borrow_mut(|(drawn, used)| {
        let given = drawn.get(*used..).and_then(|rest| rest.first_chunk());
        if let Some(given) = given {
            *used = used.saturating_add(N);
            return *given;
        }
        *drawn = random();
        *used = N;
        drawn.first_chunk().map_or_else(random, |first| *first)
    })
}

/// Draws a 256-bit token as unpadded base64url.
pub(crate) fn token() -> String {
    BASE64URL_NOPAD.encode(&random::<32>())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{DRAWN, DeviceId, SessionId, TokenId, label};

    #[test]
    fn labels_never_repeat_within_a_draw_or_over_several() {
        let drawn: HashSet<[u8; 16]> = (0..DRAWN).map(|_| label()).collect();
        assert_eq!(drawn.len(), DRAWN);
        assert_ne!(label::<DRAWN>(), label::<DRAWN>());
    }

    #[test]
    fn ids_survive_a_round_trip() {
        let id = SessionId::draw();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("d7".parse(), Ok(DeviceId(7)));
        let id = TokenId::draw();
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn other_texts_are_no_ids() {
        for bad in ["", "7", "d", "d-1", "dx", "s", "s!", "d99999999999"] {
            assert!(bad.parse::<DeviceId>().is_err());
            assert!(bad.parse::<SessionId>().is_err());
            assert!(bad.parse::<TokenId>().is_err());
        }
    }
}
