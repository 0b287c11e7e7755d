//! What the control socket says of tokens for apps.

use serde::{Deserialize, Serialize};

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenLine {
    /// Its id.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) user: String,
    /// The app it is for, such as `app.git`.
    pub(crate) app: String,
    /// The device it was made for.
    pub(crate) name: String,
    /// RFC 3339.
    pub(crate) created: String,
    /// RFC 3339.
    pub(crate) expires: String,
    /// RFC 3339; `None` if it was never used.
    pub(crate) last_used: Option<String>,
    /// The address it was last used from.
    pub(crate) place: Option<String>,
}

/// Which tokens were revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokensEnded {
    /// Their ids.
    pub(crate) tokens: Vec<String>,
}
