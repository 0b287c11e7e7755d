//! What the pages ask about a person's own tokens for apps.

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::ids::TokenId;

/// The person's own tokens, as one request to the pages sees them.
#[async_trait]
pub(crate) trait TokenDesk {
    /// Lists the apps that take tokens and that the person may open.
    fn token_apps(&self) -> Vec<TokenApp>;
    /// Lists the person's tokens, the oldest first.
    fn own_tokens(&self) -> Vec<TokenView>;
    /// Makes a token, if the session is confirmed.
    async fn make_token(&self, wanted: &WantedToken<'_>) -> Result<MadeToken, TokenFault>;
    /// Revokes a token of the person; what it has open is cut when this returns.
    async fn revoke_token(&self, token: TokenId) -> Result<(), TokenFault>;
}

/// An app that takes tokens.
#[derive(Clone, Debug)]
pub(crate) struct TokenApp {
    /// Such as `app.git`.
    pub(crate) id: String,
    /// The name people know it by.
    pub(crate) name: String,
    /// The greatest age of a token it takes, in whole days; at least 1.
    pub(crate) days: u64,
}

/// A token as its person sees it. Times are UNIX seconds.
#[derive(Clone, Debug)]
pub(crate) struct TokenView {
    pub(crate) id: TokenId,
    /// The device it was made for.
    pub(crate) name: String,
    /// The name of the app.
    pub(crate) app: String,
    pub(crate) created: i64,
    pub(crate) expires: i64,
    /// When it was last used, and the zones and the address it was used from.
    pub(crate) used: Option<(i64, String)>,
}

/// What a person wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantedToken<'a> {
    /// The id of the app.
    pub(crate) app: &'a str,
    /// The name of the device.
    pub(crate) name: &'a str,
    /// For how many days; what the app takes bounds it.
    pub(crate) days: u64,
}

/// A token that was made; shown once.
pub(crate) struct MadeToken {
    /// The device it is for.
    pub(crate) name: String,
    /// The name of the app.
    pub(crate) app: String,
    /// The address of the app.
    pub(crate) url: String,
    /// The token.
    pub(crate) text: Zeroizing<String>,
    /// UNIX seconds.
    pub(crate) expires: i64,
}

/// Why an act on a token was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenFault {
    /// Password and code are wanted first.
    NotConfirmed,
    /// The name is empty, too long, or has characters that cannot be seen.
    BadName,
    /// The person has another token of that name.
    NameTaken,
    /// The person has this many tokens, and may not have more.
    TooMany(usize),
    /// The app takes no tokens, or the person may not open it.
    NoApp,
    /// The person has no such token.
    Unknown,
    /// It could not be stored or recorded now.
    Unavailable,
}
