//! The acts of the console. Each has one address, which holds all that it is about: GET shows what would
//! happen and asks, POST does it. So a fresh code or sign-in on the way loses nothing.

use serde::Serialize;

use super::call::{Query, encode};
use super::texts;
use crate::pages::fill;

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub(crate) enum Deed {
    /// One session ends, with everything that stands on it.
    EndSession {
        /// Its id.
        session: String,
    },
    /// Every session of a person ends.
    EndSessions {
        /// The person.
        user: String,
    },
}

/// What the person agreed to on the page that asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Consent {}

impl Deed {
    /// Reads an act from its address; `None` for one there is not, or that lacks something.
    pub(crate) fn parse(name: &str, query: &Query) -> Option<Self> {
        let user = || query.get("user").map(str::to_owned);
        match name {
            "end-session" => Some(Self::EndSession {
                session: query.get("session")?.to_owned(),
            }),
            "end-sessions" => Some(Self::EndSessions { user: user()? }),
            _ => None,
        }
    }

    /// Asks whether to do it.
    pub(crate) fn question(&self, w: &texts::Acts) -> String {
        match self {
            Self::EndSession { session } => fill(w.end_session, "session", session),
            Self::EndSessions { user } => fill(w.end_sessions, "user", user),
        }
    }

    /// Says what it brings with it.
    pub(crate) fn effect(&self, w: &texts::Acts) -> &'static str {
        match self {
            Self::EndSession { .. } | Self::EndSessions { .. } => w.end_effect,
        }
    }

    /// Names it on the button that does it.
    pub(crate) fn button(&self, w: &texts::Acts) -> &'static str {
        match self {
            Self::EndSession { .. } | Self::EndSessions { .. } => w.end_button,
        }
    }

    /// Whether it takes something away from somebody.
    pub(crate) fn takes_away(&self) -> bool {
        match self {
            Self::EndSession { .. } | Self::EndSessions { .. } => true,
        }
    }

    /// Where it was asked for, and where to go on from it.
    pub(crate) fn back(&self) -> String {
        match self {
            Self::EndSession { .. } => "/admin/sessions".to_owned(),
            Self::EndSessions { user } => format!("/admin/sessions?user={}", encode(user)),
        }
    }
}
