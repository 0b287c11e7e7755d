//! Kept answers as an operator forgets them.

use serde::{Deserialize, Serialize};

/// What is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// The app, such as `paie` or `app.paie`.
    pub(crate) app: String,
    /// Only answers to this path and those below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Only answers the app gave this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
}

/// What was forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Purged {
    /// The app, such as `app.paie`.
    pub(crate) app: String,
    /// How many answers.
    pub(crate) answers: u64,
}
