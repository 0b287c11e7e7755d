//! The key of a browser with a page of the portal open: by it the page says silently that a device
//! which is heard from elsewhere is still in its person's hands.
//!
//! The page draws an ECDSA key pair on P-256 that it cannot read out, and gives the public half
//! within the session, right after a code. What is signed names session, device and address and is
//! good once, for a minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use parking_lot::Mutex;

use crate::ids::{self, DeviceId, SessionId};
use crate::store::Point;

/// How long a challenge is good.
const LIFE: Duration = Duration::from_secs(60);
/// How long a challenge that is given out again must still be good.
const MARGIN: Duration = Duration::from_secs(30);
/// Begins every challenge; a page signs nothing else with this key.
pub(crate) const PREFIX: &str = "postern-reproof-1";
/// Begins a point that is not compressed (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// Why a signature opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The session's browser gave no key.
    NoKey,
    /// Nothing was asked, or it was answered or is too old, or the device is elsewhere again.
    NotAsked,
    /// It is not that of the key.
    Wrong,
}

impl Refused {
    /// What the record says.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::NoKey => "the browser has given no key",
            Self::NotAsked => "the signature is not for what was asked last",
            Self::Wrong => "the signature is not that of the browser's key",
        }
    }
}

/// What a page was asked to sign.
struct Asked {
    session: SessionId,
    place: IpAddr,
    text: String,
    until: Instant,
}

/// The keys of browsers, one a session, and what is asked of them, one thing a device.
#[derive(Default)]
pub(crate) struct Browsers {
    keys: Mutex<HashMap<SessionId, Point>>,
    asked: Mutex<HashMap<DeviceId, Asked>>,
}

impl Browsers {
    /// Reads a public key as `WebCrypto` exports it raw; only the form is looked at.
    pub(crate) fn point(raw: &[u8]) -> Option<Point> {
        let point: Point = raw.try_into().ok()?;
        (point.first() == Some(&UNCOMPRESSED)).then_some(point)
    }

    /// Takes the key of a session's browser; an earlier one is dead.
    pub(crate) fn put(&self, session: SessionId, key: Point) {
        self.keys.lock().insert(session, key);
    }

    /// Tells whether a session's browser gave a key.
    pub(crate) fn has(&self, session: SessionId) -> bool {
        self.keys.lock().contains_key(&session)
    }

    /// Returns what the page is to sign for a device that is heard from `place`; the same
    /// while that is fresh. `None` without a key.
    pub(crate) fn ask(
        &self,
        session: SessionId,
        device: DeviceId,
        place: IpAddr,
        now: Instant,
    ) -> Option<String> {
        if !self.has(session) {
            return None;
        }
        let mut asked = self.asked.lock();
        let again = asked.get(&device).filter(|asked| {
            let fresh = now
                .checked_add(MARGIN)
                .is_some_and(|then| then < asked.until);
            fresh && (asked.session, asked.place) == (session, place)
        });
        if let Some(again) = again {
            // two open pages sign the same
            return Some(again.text.clone());
        }
        let nonce = ids::token();
        let text = format!("{PREFIX} {nonce} {session} {device} {place}");
        let new = Asked {
            session,
            place,
            text: text.clone(),
            until: now.checked_add(LIFE)?,
        };
        asked.insert(device, new);
        Some(text)
    }

    /// Checks the answer to a challenge, which is used up by it.
    ///
    /// # Errors
    /// [`Refused`]; the device stays as it is.
    pub(crate) fn answer(
        &self,
        session: SessionId,
        device: DeviceId,
        place: IpAddr,
        signature: &[u8],
        now: Instant,
    ) -> Result<(), Refused> {
        let key = self.keys.lock().get(&session).copied();
        let key = key.ok_or(Refused::NoKey)?;
        let asked = self.asked.lock().remove(&device);
        let asked = asked.ok_or(Refused::NotAsked)?;
        if asked.session != session || asked.place != place || now >= asked.until {
            return Err(Refused::NotAsked);
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
            .verify(asked.text.as_bytes(), signature)
            .map_err(|_| Refused::Wrong)
    }

    /// Forgets the keys of sessions that are over.
    pub(crate) fn keep(&self, is_live: impl Fn(SessionId) -> bool) {
        self.keys.lock().retain(|id, _| is_live(*id));
        self.asked.lock().retain(|_, asked| is_live(asked.session));
    }
}
