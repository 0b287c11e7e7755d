//! What the console asks of the rest of the gateway, as plain values.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Serialize, Serializer};

use super::deed::{Consent, Deed};
use crate::clock;
use crate::control::Refusal;
use crate::pages::minute;

/// The console of one request, as an extension of it.
pub(crate) type SharedConsole = Arc<dyn Console>;

/// The gateway as one permitted request to the console sees it.
#[async_trait]
pub(crate) trait Console: Send + Sync {
    /// What the request may change things with; `None` unless it was decided as an act.
    fn acts(&self) -> Option<&dyn Acts>;

    /// Lists live sessions, of one person or of all; the last used comes first.
    fn sessions(&self, user: Option<&str>) -> Vec<SessionLine>;
}

/// What an act may change; each is on record with who did it before it is answered.
#[async_trait]
pub(crate) trait Acts: Send + Sync {
    /// Does what was asked for.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was changed.
    async fn carry_out(&self, deed: &Deed, consent: &Consent) -> Result<Outcome, Refusal>;
}

/// What came of an act.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in force.
    Done,
}

/// An instant in seconds since the UNIX epoch: to the minute for people, RFC 3339 in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At(pub(crate) i64);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&minute(self.0))
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let ms = u64::try_from(self.0).unwrap_or(0).saturating_mul(1000);
        to.serialize_str(&clock::rfc3339(ms))
    }
}

/// A live session.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionLine {
    /// The id as lists write it.
    pub(crate) id: String,
    /// Who signed in.
    pub(crate) user: String,
    /// `web` or `tunnel`.
    pub(crate) door: &'static str,
    /// The address it came from.
    pub(crate) source: String,
    /// The zones of the policy the address is in.
    pub(crate) zones: Vec<String>,
    /// Browser and system in a few words; empty if unknown.
    pub(crate) browser: String,
    /// The tunnel devices it opens.
    pub(crate) devices: Vec<String>,
    /// When it began.
    pub(crate) created: At,
    /// When it was last used.
    pub(crate) last_used: At,
    /// When it ends unless it is used.
    pub(crate) expires: At,
    /// Whether it is the one that looks.
    pub(crate) own: bool,
}
