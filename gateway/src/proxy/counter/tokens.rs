//! The person's own tokens for apps, for the pages.

use std::time::Duration;

use async_trait::async_trait;
use policy::{AppIx, Outcome};

use super::Counter;
use crate::access::Quarantine;
use crate::audit::reason;
use crate::identity::{NewToken, Token, TokenError};
use crate::ids::TokenId;
use crate::pages::{MadeToken, TokenApp, TokenDesk, TokenFault, TokenView, WantedToken};
use crate::proxy::own;

const DAY_SECS: u64 = 86_400;

#[async_trait]
impl TokenDesk for Counter {
    fn token_apps(&self) -> Vec<TokenApp> {
        let open = self.takers().into_iter();
        open.map(|(at, most)| TokenApp {
            id: self.snap.policy.app(at).id.to_string(),
            name: shown(&self.snap.policy.app(at).id).to_owned(),
            days: (most.as_secs() / DAY_SECS).max(1),
        })
        .collect()
    }

    fn own_tokens(&self) -> Vec<TokenView> {
        let Some(session) = &self.caller.session else {
            return Vec::new();
        };
        let all = self.gw.sessions.tokens().into_iter();
        all.filter(|token| token.user == session.user)
            .map(|token| self.token_view(&token))
            .collect()
    }

    async fn make_token(&self, wanted: &WantedToken<'_>) -> Result<MadeToken, TokenFault> {
        let session = self.caller.session.as_ref();
        let session = session.ok_or(TokenFault::NotConfirmed)?;
        let policy = &self.snap.policy;
        let takers = self.takers();
        let mut named = takers
            .iter()
            .filter(|(at, _)| *policy.app(*at).id == *wanted.app);
        let (at, most) = named.next().ok_or(TokenFault::NoApp)?;
        let asked = Duration::from_secs(wanted.days.max(1).saturating_mul(DAY_SECS));
        let new = NewToken {
            app: wanted.app,
            name: wanted.name,
            life: asked.min(*most),
        };
        let from = self.from();
        let made = self.gw.identity.make_token(session, &new, &from);
        let (token, text) = made.await.map_err(|error| self.token_fault(&error))?;
        let port = self.port.map(|p| format!(":{p}")).unwrap_or_default();
        let host = own::nearest(policy.app(*at).exact_hosts(), &self.visit.host);
        Ok(MadeToken {
            name: token.name.to_string(),
            app: shown(&token.app).to_owned(),
            url: format!("https://{}{port}/", host.unwrap_or_default()),
            text,
            expires: token.expires,
        })
    }

    async fn revoke_token(&self, id: TokenId) -> Result<(), TokenFault> {
        let Some(session) = &self.caller.session else {
            return Err(TokenFault::Unknown);
        };
        let own = |token: &Token| token.id == id && token.user == session.user;
        let ended = self.gw.sessions.end_tokens(own, reason::REVOKED).await;
        self.gw.cut_ended();
        match ended {
            Ok(gone) if gone.is_empty() => Err(TokenFault::Unknown),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "a restart might bring a revoked token back");
                Err(TokenFault::Unavailable)
            }
        }
    }
}

impl Counter {
    /// The apps that take tokens and may be open to the person, with the greatest age they take.
    fn takers(&self) -> Vec<(AppIx, Duration)> {
        if self.quarantine != Quarantine::Open || self.caller.session.is_none() {
            return Vec::new();
        }
        let takers = self.snap.policy.apps().filter_map(|(at, _)| {
            let most = self.snap.policy.takes_tokens(at)?;
            let opens = self.caller.opens(&self.snap, at);
            (opens != Outcome::Deny).then_some((at, most))
        });
        takers.collect()
    }

    fn token_view(&self, token: &Token) -> TokenView {
        let used = token.used();
        TokenView {
            id: token.id,
            name: token.name.to_string(),
            app: shown(&token.app).to_owned(),
            created: token.created,
            expires: token.expires,
            used: used.map(|used| (used.at, self.place(used.place.to_canonical()))),
        }
    }

    fn token_fault(&self, error: &TokenError) -> TokenFault {
        match error {
            TokenError::NotConfirmed | TokenError::Ended => TokenFault::NotConfirmed,
            TokenError::BadName => TokenFault::BadName,
            TokenError::NameTaken => TokenFault::NameTaken,
            TokenError::TooMany(most) => TokenFault::TooMany(*most),
            TokenError::Store(_) | TokenError::Audit(_) => {
                let request = &self.visit.request_id;
                tracing::error!(%error, %request, "a token could not be made");
                TokenFault::Unavailable
            }
        }
    }
}

/// The name people know an app by.
pub(super) fn shown(id: &str) -> &str {
    id.split_once("app.").map_or(id, |(_, name)| name)
}
