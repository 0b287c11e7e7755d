//! What a signed-in person does to their own factors, each behind password and code.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::engine::{Failed, standing};
use super::enrolment::{EnrolView, FactorError, TOTP};
use super::lockout::Throttled;
use super::login::{Refusal, Standing, UserName};
use super::notices::NoticeKind;
use super::password::{Verdict, Weak};
use super::record::Context;
use super::recovery::ShownCodes;
use super::session::{EndReason, Session};
use super::totp::{self, Code, SharedSecret};
use super::{Identity, StepUp};
use crate::audit::{Event, Record, reason};
use crate::ids::SessionId;
use crate::store::LinkKind;

/// How long a new secret waits for its first code.
const PENDING_SECS: i64 = 30 * 60;

/// What happens to the other sessions of a person who changes a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    End,
    Keep,
}

/// What a change of one's own factors gave.
#[derive(Debug)]
pub(crate) enum ChangeStep {
    /// Done.
    Done,
    /// Done; the codes are shown once.
    Codes(ShownCodes),
    /// Password and code were not given within five minutes in this session.
    NotConfirmed,
    /// The password was not taken; tell why.
    Weak(Weak),
    /// The code was wrong; the old app still counts.
    WrongCode,
    Throttled(Duration),
    Overloaded,
    Unavailable,
}

impl From<FactorError> for ChangeStep {
    fn from(error: FactorError) -> Self {
        tracing::error!(%error, "a factor could not be changed");
        Self::Unavailable
    }
}

/// The secrets that wait for their first code: at most one a user, in memory only.
#[derive(Default)]
pub(super) struct Replacing(Mutex<BTreeMap<Arc<str>, Pending>>);

struct Pending {
    session: SessionId,
    secret: SharedSecret,
    until: i64,
}

impl Replacing {
    /// Gives the secret of a session; draws one if there is none, in place of any other session's.
    fn begin(&self, session: &Session, now: i64) -> SharedSecret {
        let mut all = self.0.lock();
        all.retain(|_, pending| now < pending.until);
        let found = all.get(&session.user).filter(|p| p.session == session.id);
        if let Some(pending) = found {
            return pending.secret.clone();
        }
        let secret = totp::draw();
        let pending = Pending {
            session: session.id,
            secret: secret.clone(),
            until: now.saturating_add(PENDING_SECS),
        };
        all.insert(Arc::clone(&session.user), pending);
        secret
    }

    fn find(&self, session: &Session, now: i64) -> Option<SharedSecret> {
        let all = self.0.lock();
        let pending = all.get(&session.user)?;
        let good = pending.session == session.id && now < pending.until;
        good.then(|| pending.secret.clone())
    }

    /// Takes the secret out; a second taker finds nothing.
    fn take(&self, session: &Session, secret: &SharedSecret) -> bool {
        let mut all = self.0.lock();
        let same = all
            .get(&session.user)
            .is_some_and(|p| p.session == session.id && *p.secret == **secret);
        if same {
            all.remove(&session.user);
        }
        same
    }
}

impl Identity {
    /// Takes password and code within a session, for acts on the own account; they count there for
    /// five minutes. The cookie of this host changes.
    pub(crate) async fn confirm(
        &self,
        session: &Arc<Session>,
        password: Zeroizing<String>,
        code: &str,
        from: &Context<'_>,
    ) -> StepUp {
        let user = UserName::parse(&session.user);
        let Some(user) = user.filter(|_| session.is_live(from.now)) else {
            return StepUp::Expired;
        };
        let failed = match self.try_confirm(session, &user, password, code, from).await {
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

    async fn try_confirm(
        &self,
        session: &Arc<Session>,
        user: &UserName,
        password: Zeroizing<String>,
        code: &str,
        from: &Context<'_>,
    ) -> Result<String, Failed> {
        let now = self.steady(from.now);
        let throttled = |Throttled { retry_after }| Failed::Throttled(retry_after);
        self.lockout.post(from.source, now).map_err(throttled)?;
        self.prove_password(user, password, from).await?;
        let who = self.who(user.as_str(), from);
        let proof = self.prove_code(&who, user, code, from).await?;
        let mut record = Record::new(Event::SignedIn, "ok", reason::CONFIRMED);
        record.user = Some(user.shared());
        record.session = Some(session.id);
        self.recorder.durable(from.stamp(record)).await?;
        let cookie = self.sessions.stepped_up(session, from.host, &proof).await?;
        session.confirm(proof.at());
        self.forgive(user.as_str(), &who, from.now).await;
        Ok(cookie)
    }

    /// Compares the password that stands, counted like one of a sign-in.
    pub(super) async fn prove_password(
        &self,
        user: &UserName,
        password: Zeroizing<String>,
        from: &Context<'_>,
    ) -> Result<(), Failed> {
        let now = self.steady(from.now);
        let who = self.who(user.as_str(), from);
        let throttled = |Throttled { retry_after }| Failed::Throttled(retry_after);
        let tried = self.lockout.begin_password(&who, now).map_err(throttled)?;
        let kept = match self.store.credentials(user.as_str()).await {
            Ok(kept) => kept.filter(|_| standing(Some(user), from) == Standing::Active),
            Err(error) => return Err(self.not_tried(tried, now, error.into())),
        };
        let phc = kept.map(|kept| kept.phc);
        let place = self.place(&who);
        let Ok(checked) = self.passwords.verify(place, password, phc).await else {
            return Err(self.not_tried(tried, now, Failed::Overloaded));
        };
        let (verdict, _) = checked.unwrap_or_else(|error| {
            tracing::error!(%error, "a stored password verifier is unusable");
            (Verdict::Mismatch, None)
        });
        match verdict {
            Verdict::Mismatch => Err(Failed::Refused(Refusal::BadPassword)),
            Verdict::Match | Verdict::MatchOutdated => {
                self.lockout.undo(tried, now);
                Ok(())
            }
        }
    }

    /// Changes the password of the person of a confirmed session.
    pub(crate) async fn change_password(
        &self,
        session: &Arc<Session>,
        password: Zeroizing<String>,
        others: Others,
        from: &Context<'_>,
    ) -> ChangeStep {
        if let Err(step) = self.may_change(session, from) {
            return step;
        }
        if let Err(weak) = self.rules.check(&password, &session.user) {
            return ChangeStep::Weak(weak);
        }
        let who = self.who(&session.user, from);
        let phc = match self.passwords.hash(self.place(&who), password).await {
            Ok(Ok(phc)) => phc,
            Ok(Err(error)) => {
                tracing::error!(%error, "a password could not be changed");
                return ChangeStep::Unavailable;
            }
            Err(_) => return ChangeStep::Overloaded,
        };
        match self.store_password(session, &phc, others, from).await {
            Ok(step) => step,
            Err(error) => error.into(),
        }
    }

    async fn store_password(
        &self,
        session: &Arc<Session>,
        phc: &str,
        others: Others,
        from: &Context<'_>,
    ) -> Result<ChangeStep, FactorError> {
        let _one = self.enrolling.lock().await;
        if !session.is_confirmed(from.now) {
            return Ok(ChangeStep::NotConfirmed);
        }
        self.record_change(session, reason::PASSWORD_SET, from)
            .await?;
        let set = self.store.put_verifier(&session.user, phc).await;
        if !matches!(set, Ok(false)) {
            // The new password may count even after an error.
            self.end_others(session, others).await;
        }
        if !set? {
            return Ok(ChangeStep::Unavailable);
        }
        self.tell(&session.user, NoticeKind::PasswordChanged, from, "")
            .await;
        Ok(ChangeStep::Done)
    }

    /// Gives the secret for another authenticator app, the same until it is confirmed or half an
    /// hour old; the one in use stays. `None` unless the session is confirmed.
    pub(crate) fn totp_begin(
        &self,
        session: &Arc<Session>,
        from: &Context<'_>,
    ) -> Option<EnrolView> {
        if !session.is_confirmed(from.now) {
            return None;
        }
        let secret = self.replacing.begin(session, self.steady(from.now));
        Some(EnrolView {
            kind: LinkKind::Recovery,
            user: session.user.to_string(),
            otpauth: totp::otpauth(&self.settings.issuer, &session.user, &secret),
            secret_base32: totp::base32(&secret),
        })
    }

    /// Puts the new secret in force after its first right code.
    pub(crate) async fn totp_replace(
        &self,
        session: &Arc<Session>,
        code: &str,
        others: Others,
        from: &Context<'_>,
    ) -> ChangeStep {
        if let Err(step) = self.may_change(session, from) {
            return step;
        }
        let now = self.steady(from.now);
        let Some(secret) = self.replacing.find(session, now) else {
            return ChangeStep::NotConfirmed;
        };
        let who = self.who(&session.user, from);
        let tried = match self.lockout.begin_code(&who, now) {
            Ok(tried) => tried,
            Err(Throttled { retry_after }) => {
                self.note_limited(Some(&session.user), from);
                return ChangeStep::Throttled(retry_after);
            }
        };
        let matched = Code::parse(code).and_then(|code| totp::check(&*secret, &code, from.now));
        let Some(matched) = matched else {
            let mut record = Record::new(Event::FactorChanged, "failed", reason::BAD_CODE);
            record.user = Some(Arc::clone(&session.user));
            record.session = Some(session.id);
            return match self.keep_failure(from.stamp(record)).await {
                Ok(()) => ChangeStep::WrongCode,
                Err(_) => ChangeStep::Unavailable,
            };
        };
        self.lockout.undo(tried, now);
        let done = self.store_totp(session, &secret, matched.step(), others, from);
        match done.await {
            Ok(step) => step,
            Err(error) => error.into(),
        }
    }

    async fn store_totp(
        &self,
        session: &Arc<Session>,
        secret: &SharedSecret,
        step: i64,
        others: Others,
        from: &Context<'_>,
    ) -> Result<ChangeStep, FactorError> {
        let _one = self.enrolling.lock().await;
        if !session.is_confirmed(from.now) || !self.replacing.take(session, secret) {
            return Ok(ChangeStep::NotConfirmed);
        }
        self.record_change(session, reason::TOTP_REPLACED, from)
            .await?;
        let sealed = self.keys.seal(TOTP, &session.user, &**secret);
        let set = self.store.put_totp(&session.user, sealed, step).await;
        if !matches!(set, Ok(false)) {
            self.end_others(session, others).await;
        }
        if !set? {
            return Ok(ChangeStep::Unavailable);
        }
        self.tell(&session.user, NoticeKind::TotpReplaced, from, "")
            .await;
        Ok(ChangeStep::Done)
    }

    /// Makes the recovery codes of the person of a confirmed session anew; earlier ones are void.
    pub(crate) async fn renew_codes(
        &self,
        session: &Arc<Session>,
        from: &Context<'_>,
    ) -> ChangeStep {
        if let Err(step) = self.may_change(session, from) {
            return step;
        }
        match self.store_codes(session, from).await {
            Ok(codes) => ChangeStep::Codes(codes),
            Err(error) => error.into(),
        }
    }

    async fn store_codes(
        &self,
        session: &Arc<Session>,
        from: &Context<'_>,
    ) -> Result<ShownCodes, FactorError> {
        let _one = self.enrolling.lock().await;
        let (shown, hashes) = self.draw_codes(&session.user);
        self.record_change(session, reason::RECOVERY_CODES_MADE, from)
            .await?;
        let put = self.store.put_recovery(&session.user, hashes).await;
        self.end_others(session, Others::Keep).await;
        put?;
        self.tell(&session.user, NoticeKind::CodesRenewed, from, "")
            .await;
        Ok(shown)
    }

    /// Counts a post and asks whether the session may change factors.
    fn may_change(&self, session: &Session, from: &Context<'_>) -> Result<(), ChangeStep> {
        let now = self.steady(from.now);
        if let Err(Throttled { retry_after }) = self.lockout.post(from.source, now) {
            self.note_limited(Some(&session.user), from);
            return Err(ChangeStep::Throttled(retry_after));
        }
        let active = from.directory.standing(&session.user) == Standing::Active;
        if !active || !session.is_confirmed(from.now) {
            return Err(ChangeStep::NotConfirmed);
        }
        Ok(())
    }

    async fn record_change(
        &self,
        session: &Session,
        why: &'static str,
        from: &Context<'_>,
    ) -> Result<(), FactorError> {
        let mut record = Record::new(Event::FactorChanged, "ok", why);
        record.user = Some(Arc::clone(&session.user));
        record.session = Some(session.id);
        Ok(self.recorder.durable(from.stamp(record)).await?)
    }

    /// Ends what stands on the factors of before: sign-ins under way, and other sessions if so
    /// wished.
    async fn end_others(&self, session: &Session, others: Others) {
        let (user, why) = (&session.user, EndReason::FactorChanged);
        let ended = match others {
            Others::Keep => self.sessions.end_sign_ins(user).await,
            Others::End => {
                let ended = self.sessions.end_others(user, session.id, why).await;
                ended.map(drop)
            }
        };
        if let Err(error) = ended {
            tracing::error!(%error, "ends of sessions wait for the next sweep");
        }
    }
}
