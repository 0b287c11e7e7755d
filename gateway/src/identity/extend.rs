//! One code puts off the end of a session, once: what stands on it stays open.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Failed;
use super::lockout::Throttled;
use super::login::{Refusal, UserName};
use super::{Context, Identity, Session, StepUp};
use crate::audit::{Event, Record, reason};

/// No session lives longer from its sign-in (security.md R-SE-08).
const DAY_SECS: i64 = 24 * 60 * 60;

impl Identity {
    /// Says by how much the end of a session may be put off, where the policy allows `most`;
    /// `None` where it was put off before or lives for a day already.
    pub(crate) fn may_extend(&self, session: &Session, most: Option<Duration>) -> Option<Duration> {
        let most = i64::try_from(most?.as_secs()).unwrap_or(i64::MAX);
        let lived = session.absolute_end().saturating_sub(session.created);
        let left = most.min(DAY_SECS.saturating_sub(lived));
        let secs = u64::try_from(left).ok().filter(|secs| *secs > 0)?;
        (session.extended() == 0).then(|| Duration::from_secs(secs))
    }

    /// Takes a code that puts off the end of a session; its cookie of this host changes.
    pub(crate) async fn extend(
        &self,
        session: &Arc<Session>,
        code: &str,
        most: Option<Duration>,
        from: &Context<'_>,
    ) -> StepUp {
        let user = UserName::parse(&session.user).filter(|_| session.is_live(from.now));
        let by = self.may_extend(session, most);
        let (Some(user), Some(by)) = (user, by) else {
            return StepUp::Expired;
        };
        let failed = match self.try_extend(session, &user, code, by, from).await {
            Ok(cookie) => return StepUp::Done { cookie },
            Err(failed) => failed,
        };
        match self.conclude(failed, Some(&user), from).await {
            Failed::Refused(Refusal::Revoked) => StepUp::Expired,
            Failed::Refused(_) => StepUp::Refused,
            Failed::Throttled(retry_after) => StepUp::Throttled { retry_after },
            Failed::Overloaded | Failed::Unavailable => StepUp::Unavailable,
        }
    }

    async fn try_extend(
        &self,
        session: &Arc<Session>,
        user: &UserName,
        code: &str,
        by: Duration,
        from: &Context<'_>,
    ) -> Result<String, Failed> {
        let now = self.steady(from.now);
        let throttled = |Throttled { retry_after }| Failed::Throttled(retry_after);
        self.lockout.post(from.source, now).map_err(throttled)?;
        let who = self.who(user.as_str(), from);
        let proof = self.prove_code(&who, user, code, from).await?;
        let mut record = Record::new(Event::SignedIn, "ok", reason::EXTENDED);
        record.user = Some(user.shared());
        record.session = Some(session.id);
        let mut record = from.stamp(record);
        record.detail = Some(format!("the session ends {} s later", by.as_secs()));
        self.recorder.durable(record).await?;
        let cookie = self.sessions.stepped_up(session, from.host, &proof).await?;
        self.sessions.extend(session, by).await?;
        self.forgive(user.as_str(), &who, from.now).await;
        Ok(cookie)
    }
}
