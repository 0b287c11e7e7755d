//! A forgotten password: a link by mail sets a new one. The second factor stays what it is, and
//! signing in asks for it as ever.

use zeroize::Zeroizing;

use super::Identity;
use super::enrolment::FactorError;
use super::lockout::Throttled;
use super::login::{Standing, UserName};
use super::notices::NoticeKind;
use super::password::{Place, Weak};
use super::record::Context;
use super::session::{EndReason, token_hash};
use crate::audit::{Event, Record, reason};
use crate::ids;
use crate::secrets;
use crate::store::{Credentials, Hash, ResetRow};

/// How long a link counts.
pub(crate) const RESET_SECS: i64 = 20 * 60;

/// What a link and a new password gave.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ResetStep {
    /// The password is set; every session of the person is over.
    Done,
    /// The password was not taken; tell why.
    Weak(Weak),
    /// The link is unknown, used, too old, or the password was changed since.
    Dead,
    Throttled {
        retry_after: std::time::Duration,
    },
    Overloaded,
    Unavailable,
}

impl Identity {
    /// Sends the link to whoever the name is, if they may have one. The caller answers before,
    /// and the same for every name, so that nobody learns who exists.
    pub(crate) async fn send_reset(&self, typed: &str, from: &Context<'_>) {
        if let Err(error) = self.try_send_reset(typed, from).await {
            tracing::error!(%error, "a link for a forgotten password could not be made");
        }
    }

    async fn try_send_reset(&self, typed: &str, from: &Context<'_>) -> Result<(), FactorError> {
        let user = UserName::parse(typed);
        let Some(user) = user.filter(|u| from.directory.standing(u.as_str()) == Standing::Active)
        else {
            self.recorder
                .note(self.asked(None, "deny", reason::USER_UNKNOWN, from));
            return Ok(());
        };
        let deny = |why| self.asked(Some(&user), "deny", why, from);
        let now = self.steady(from.now);
        let Some(kept) = self.replaceable(&user, now).await? else {
            self.recorder.note(deny(reason::NO_CREDENTIALS));
            return Ok(());
        };
        let Some(post) = self.post.get() else {
            return Ok(());
        };
        let token = ids::token();
        let row = ResetRow {
            hash: token_hash(&token).ok_or(FactorError::BadName)?,
            user: user.as_str().to_owned(),
            mark: self.mark(&kept),
            made: now,
            expires: now.saturating_add(RESET_SECS),
        };
        if !self.store.put_reset(row).await? {
            self.recorder.note(deny(reason::THROTTLED));
            return Ok(());
        }
        let record = self.asked(Some(&user), "ok", reason::RESET_LINK_MADE, from);
        self.recorder.durable(record).await?;
        post.reset(user.as_str(), &token, from.now, from.source)
            .await;
        Ok(())
    }

    /// Names the user of a link that counts.
    pub(crate) async fn reset_begin(&self, token: &str, from: &Context<'_>) -> Option<String> {
        let now = self.steady(from.now);
        let (row, _) = self.good_reset(token, now, from).await.ok()??;
        Some(row.user)
    }

    /// Uses a link up and sets the password of its user; of parallel tries one does.
    pub(crate) async fn reset_finish(
        &self,
        token: &str,
        password: Zeroizing<String>,
        from: &Context<'_>,
    ) -> ResetStep {
        let now = self.steady(from.now);
        if let Err(Throttled { retry_after }) = self.lockout.post(from.source, now) {
            self.note_limited(None, from);
            return ResetStep::Throttled { retry_after };
        }
        match self.try_reset(token, password, now, from).await {
            Ok(ResetStep::Dead) => self.refuse_reset(from).await,
            Ok(step) => step,
            Err(error) => {
                tracing::error!(%error, "a forgotten password could not be replaced");
                ResetStep::Unavailable
            }
        }
    }

    async fn try_reset(
        &self,
        token: &str,
        password: Zeroizing<String>,
        now: i64,
        from: &Context<'_>,
    ) -> Result<ResetStep, FactorError> {
        let Some((row, _)) = self.good_reset(token, now, from).await? else {
            return Ok(ResetStep::Dead);
        };
        if let Err(weak) = self.rules.check(&password, &row.user) {
            return Ok(ResetStep::Weak(weak));
        }
        let phc = match self.passwords.hash(Place::Common, password).await {
            Ok(Ok(phc)) => phc,
            Ok(Err(_)) => return Err(FactorError::Argon2),
            Err(_) => return Ok(ResetStep::Overloaded),
        };
        // One at a time, so that the record is never about a link that another used up meanwhile.
        let _one = self.enrolling.lock().await;
        let Some((row, kept)) = self.good_reset(token, now, from).await? else {
            return Ok(ResetStep::Dead);
        };
        let mut record = Record::new(Event::FactorChanged, "ok", reason::PASSWORD_SET);
        record.user = Some(row.user.as_str().into());
        record.detail = Some("link by mail".to_owned());
        self.recorder.durable(from.stamp(record)).await?;
        let set = self.store.use_reset(&row.hash, now, &kept.phc, &phc).await;
        if !matches!(set, Ok(false)) {
            // The new password may count even after an error, so what stood on the old one must not.
            let why = EndReason::FactorChanged;
            if let Err(error) = self.sessions.end_user(&row.user, why).await {
                tracing::error!(%error, "ends of sessions wait for the next sweep");
            }
        }
        if !set? {
            return Ok(ResetStep::Dead);
        }
        self.tell(&row.user, NoticeKind::PasswordChanged, from, "")
            .await;
        Ok(ResetStep::Done)
    }

    /// Finds a link that counts, with the factors of its user as they are.
    async fn good_reset(
        &self,
        token: &str,
        now: i64,
        from: &Context<'_>,
    ) -> Result<Option<(ResetRow, Credentials)>, FactorError> {
        let Some(hash) = token_hash(token) else {
            return Ok(None);
        };
        let Some(row) = self.store.reset(&hash, now).await? else {
            return Ok(None);
        };
        let user = UserName::parse(&row.user);
        let Some(user) = user.filter(|u| from.directory.standing(u.as_str()) == Standing::Active)
        else {
            return Ok(None);
        };
        let kept = self.replaceable(&user, now).await?;
        let kept = kept.filter(|kept| self.mark(kept) == row.mark);
        Ok(kept.map(|kept| (row, kept)))
    }

    /// The factors of a user whose password a link may replace: both are there and their own, and
    /// no link of an administrator waits.
    async fn replaceable(
        &self,
        user: &UserName,
        now: i64,
    ) -> Result<Option<Credentials>, FactorError> {
        if self.store.awaits_link(user.as_str(), now).await? {
            return Ok(None);
        }
        let kept = self.store.credentials(user.as_str()).await?;
        Ok(kept.filter(|kept| kept.totp.is_some() && !kept.imported))
    }

    fn mark(&self, kept: &Credentials) -> Hash {
        secrets::hmac(&self.keys.derive("reset"), &[kept.phc.as_bytes()])
    }

    fn asked(
        &self,
        user: Option<&UserName>,
        outcome: &'static str,
        why: &'static str,
        from: &Context<'_>,
    ) -> Record {
        let mut record = Record::new(Event::FactorChanged, outcome, why);
        record.user = user.map(UserName::shared);
        record.detail = Some("password forgotten".to_owned());
        from.stamp(record)
    }

    async fn refuse_reset(&self, from: &Context<'_>) -> ResetStep {
        let record = Record::new(Event::FactorChanged, "failed", reason::RESET_LINK_BAD);
        match self.recorder.durable(from.stamp(record)).await {
            Ok(()) => ResetStep::Dead,
            Err(_) => ResetStep::Unavailable,
        }
    }
}
