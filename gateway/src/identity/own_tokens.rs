//! What people do with their own tokens for apps beside keeping them: they hear of new ones.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::Identity;
use super::notices::NoticeKind;
use super::record::Context;
use super::session::{NewToken, Session, Token, TokenError};

impl Identity {
    /// Makes a token for the person of a confirmed session and tells them, so that one made by
    /// somebody else in their name is seen.
    ///
    /// # Errors
    /// [`TokenError`]; there is no such token then.
    pub(crate) async fn make_token(
        &self,
        session: &Session,
        new: &NewToken<'_>,
        from: &Context<'_>,
    ) -> Result<(Arc<Token>, Zeroizing<String>), TokenError> {
        let made = self.sessions.make_token(session, new, from).await?;
        let detail = format!("{}, {}", new.name, new.app);
        let kind = NoticeKind::TokenMade;
        self.tell(&session.user, kind, from, &detail).await;
        Ok(made)
    }
}
