//! What operators do to tokens for apps.

use super::{Acts, time};
use crate::audit::reason;
use crate::control::{Code, Refusal, TokenLine, TokensEnded, Which};
use crate::identity::Token;
use crate::ids::TokenId;

impl Acts<'_> {
    /// See [`crate::control::Operator::token_list`].
    pub(crate) fn token_list(&self) -> Vec<TokenLine> {
        let all = self.identity.sessions().tokens();
        all.iter().map(|token| line(token)).collect()
    }

    /// See [`crate::control::Operator::token_revoke`]; streams end as the tokens' end is announced.
    pub(crate) async fn token_revoke(&self, which: &Which) -> Result<TokensEnded, Refusal> {
        let none =
            |text: &str| Refusal::new(Code::Data, format!("no token {}", text.escape_debug()));
        let wanted = match which {
            Which::Id(text) => Some(text.parse::<TokenId>().map_err(|_| none(text))?),
            Which::User(_) | Which::All => None,
        };
        let is = |token: &Token| match which {
            Which::Id(_) => Some(token.id) == wanted,
            Which::User(user) => *token.user == **user,
            Which::All => true,
        };
        let gone = self.identity.sessions().end_tokens(is, reason::REVOKED);
        let gone = gone.await?;
        if let (Which::Id(text), true) = (which, gone.is_empty()) {
            return Err(none(text));
        }
        let tokens = gone.iter().map(|token| token.id.to_string()).collect();
        Ok(TokensEnded { tokens })
    }
}

fn line(token: &Token) -> TokenLine {
    let used = token.used();
    TokenLine {
        id: token.id.to_string(),
        user: token.user.to_string(),
        app: token.app.to_string(),
        name: token.name.to_string(),
        created: time(token.created),
        expires: time(token.expires),
        last_used: used.map(|used| time(used.at)),
        place: used.map(|used| used.place.to_canonical().to_string()),
    }
}
