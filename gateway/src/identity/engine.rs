//! What happens inside a step of a sign-in.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::enrolment::TOTP;
use super::lockout::{Throttled, Try, Who};
use super::login::{
    AwaitingPassword, CodeProof, PasswordRight, Refusal, Second, Standing, UserName,
};
use super::password::{self, Place, Verdict};
use super::record::Context;
use super::session::{Session, SessionError, token_hash};
use super::totp::{self, Code};
use super::{Identity, PasswordStep};
use crate::audit::{AuditError, Event, Record, reason};
use crate::ids::{self, SessionId};
use crate::store::{Credentials, Hash, StoreError};

/// How a step that did not succeed is answered.
pub(super) enum Failed {
    Refused(Refusal),
    Throttled(Duration),
    Overloaded,
    Unavailable,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "sign-in stopped: the store gives no answer");
        Self::Unavailable
    }
}

impl From<AuditError> for Failed {
    fn from(error: AuditError) -> Self {
        tracing::error!(%error, "sign-in stopped: the journal takes no record");
        Self::Unavailable
    }
}

impl From<SessionError> for Failed {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Ended => Self::Refused(Refusal::Revoked),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl Identity {
    pub(super) async fn try_password(
        &self,
        name: Option<&UserName>,
        typed: &str,
        password: Zeroizing<String>,
        from: &Context<'_>,
    ) -> Result<PasswordStep, Failed> {
        let now = self.steady(from.now);
        let throttled = |Throttled { retry_after }| Failed::Throttled(retry_after);
        self.lockout.post(from.source, now).map_err(throttled)?;
        // A text that is no name is counted too, and apart from every name.
        let account = name.map_or_else(|| format!("?{typed}"), |n| n.as_str().to_owned());
        let who = self.who(&account, from);
        let tried = self.lockout.begin_password(&who, now).map_err(throttled)?;
        let waiting = match self.look_up(name, from).await {
            Ok(waiting) => waiting,
            Err(error) => return Err(self.not_tried(tried, now, error.into())),
        };
        let place = self.place(&who);
        let kind = self.ticket_kind(&password, &account);
        let phc = waiting.phc().map(str::to_owned);
        let checked = self.passwords.verify(place, password, phc.clone()).await;
        let Ok(checked) = checked else {
            return Err(self.not_tried(tried, now, Failed::Overloaded));
        };
        let (verdict, renewed) = checked.unwrap_or_else(|error| {
            tracing::error!(%error, "a stored password verifier is unusable");
            (Verdict::Mismatch, None)
        });
        let right = waiting
            .verified(verdict, standing(name, from), now)
            .map_err(Failed::Refused)?;
        self.lockout.undo(tried, now);
        self.keep_cleared().await;
        if let (Some(new), Some(old)) = (renewed, phc) {
            self.renew_verifier(right.user(), &old, &new).await?;
        }
        match right {
            PasswordRight::Code(half) => {
                let token = ids::token();
                let hash = token_hash(&token).ok_or(Failed::Unavailable)?;
                self.halves.put(hash, half);
                Ok(PasswordStep::Code { half: token })
            }
            PasswordRight::Enrol(may) => {
                let mut record = Record::new(Event::FactorChanged, "ok", reason::IMPORTED_RIGHT);
                record.user = Some(may.user().shared());
                let mut record = from.stamp(record);
                record.detail = Some(from.agent.to_owned());
                self.recorder.durable(record).await?;
                let token = self.ticket(&may, kind, from).await?;
                Ok(PasswordStep::Enrol { token })
            }
        }
    }

    /// Reads the verifier. A name that cannot exist costs a read too.
    async fn look_up(
        &self,
        name: Option<&UserName>,
        from: &Context<'_>,
    ) -> Result<AwaitingPassword, StoreError> {
        let key = name.map_or("", UserName::as_str);
        let epoch = self.sessions.epoch(key);
        let kept = self.store.credentials(key).await?;
        let kept = kept.map(|kept| {
            let second = match (kept.totp, kept.imported) {
                (Some(_), _) => Second::Present,
                (None, true) => Second::Imported,
                (None, false) => Second::Absent,
            };
            (kept.phc, second)
        });
        Ok(AwaitingPassword::new(
            name.cloned(),
            standing(name, from),
            kept,
            epoch,
        ))
    }

    async fn renew_verifier(&self, user: &UserName, old: &str, new: &str) -> Result<(), Failed> {
        if self.store.rehash(user.as_str(), old, new).await? {
            let mut record = Record::new(Event::FactorChanged, "ok", reason::CHANGED);
            record.user = Some(user.shared());
            record.detail = Some("password verifier made with the present parameters".to_owned());
            self.recorder.durable(record).await?;
            if !password::is_ours(old) {
                self.count_dues().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn try_code(
        &self,
        token: &Hash,
        user: &UserName,
        code: &str,
        from: &Context<'_>,
    ) -> Result<(Arc<Session>, String), Failed> {
        let now = self.steady(from.now);
        let who = self.who(user.as_str(), from);
        let proof = self.prove_code(&who, user, code, from).await?;
        let half = self
            .halves
            .take(token, now)
            .ok_or(Failed::Refused(Refusal::HalfExpired))?;
        let both = half
            .accepted(proof, standing(Some(user), from))
            .map_err(Failed::Refused)?;
        let id = SessionId::draw();
        let place = self.arrive(user, from).await?;
        let mut record = Record::new(Event::SignedIn, "ok", place.reason());
        record.user = Some(user.shared());
        record.session = Some(id);
        let mut record = from.stamp(record);
        record.detail = Some(format!("password, totp; {}", from.agent));
        self.recorder.durable(record).await?;
        let opened = self.sessions.open(id, both, from).await?;
        self.tell_place(place, &opened.0, from).await;
        self.forgive(user.as_str(), &who, from.now).await;
        Ok(opened)
    }

    pub(super) async fn try_step_up(
        &self,
        session: &Arc<Session>,
        user: &UserName,
        code: &str,
        from: &Context<'_>,
    ) -> Result<String, Failed> {
        let now = self.steady(from.now);
        let throttled = |Throttled { retry_after }| Failed::Throttled(retry_after);
        self.lockout.post(from.source, now).map_err(throttled)?;
        let who = self.who(user.as_str(), from);
        let proof = self.prove_code(&who, user, code, from).await?;
        let mut record = Record::new(Event::SignedIn, "ok", reason::STEP_UP);
        record.user = Some(user.shared());
        record.session = Some(session.id);
        self.recorder.durable(from.stamp(record)).await?;
        let cookie = self.sessions.stepped_up(session, from.host, &proof).await?;
        self.forgive(user.as_str(), &who, from.now).await;
        Ok(cookie)
    }

    /// Compares a code and uses its step up; durable before it returns.
    pub(super) async fn prove_code(
        &self,
        who: &Who,
        user: &UserName,
        code: &str,
        from: &Context<'_>,
    ) -> Result<CodeProof, Failed> {
        let now = self.steady(from.now);
        let throttled = |Throttled { retry_after }| Failed::Throttled(retry_after);
        let tried = self.lockout.begin_code(who, now).map_err(throttled)?;
        let secret = match self.totp_secret(user, from).await {
            Ok(secret) => secret,
            Err(failed) => return Err(self.not_tried(tried, now, failed)),
        };
        let typed = Code::parse(code);
        let matched = typed
            .as_ref()
            .and_then(|c| totp::check(&secret, c, from.now));
        let Some(matched) = matched else {
            let off = typed.and_then(|c| totp::off_by(&secret, &c, from.now));
            self.note_clock(user, off, from).await;
            return Err(Failed::Refused(Refusal::BadCode));
        };
        let accepted = self
            .store
            .accept_step(user.as_str(), matched.step())
            .await?;
        let proof = CodeProof::new(user, matched, accepted, now).map_err(Failed::Refused)?;
        self.lockout.undo(tried, now);
        self.forget_clock(user.as_str()).await;
        Ok(proof)
    }

    /// Records that the clock of a person's app seems to be off, which the person is not told.
    async fn note_clock(&self, user: &UserName, off: Option<i64>, from: &Context<'_>) {
        let Some(off) = off else { return };
        let side = if off < 0 { "behind" } else { "ahead" };
        let mut record = Record::new(Event::ClockJumped, "ok", reason::APP_CLOCK_OFF);
        record.user = Some(user.shared());
        let secs = off.unsigned_abs();
        record.detail = Some(format!(
            "the authenticator app is about {secs} s {side}, or the code was an old one"
        ));
        self.recorder.note(from.stamp(record));
        self.keep_clock(user.as_str(), off, from.now).await;
    }

    async fn totp_secret(
        &self,
        user: &UserName,
        from: &Context<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, Failed> {
        match standing(Some(user), from) {
            Standing::Unknown => return Err(Failed::Refused(Refusal::UserUnknown)),
            Standing::Disabled => return Err(Failed::Refused(Refusal::UserDisabled)),
            Standing::Active => {}
        }
        let kept = self.store.credentials(user.as_str()).await?;
        let kept: Credentials = kept.ok_or(Failed::Refused(Refusal::NoCredentials))?;
        let sealed = kept.totp.ok_or(Failed::Refused(Refusal::NoCredentials))?;
        let secret = self.keys.open(TOTP, user.as_str(), &sealed);
        secret.ok_or_else(|| {
            tracing::error!(user = user.as_str(), "a sealed TOTP secret does not open");
            Failed::Unavailable
        })
    }

    /// Takes back the count of a try that came to no comparison.
    pub(super) fn not_tried(&self, tried: Try, now: i64, failed: Failed) -> Failed {
        self.lockout.undo(tried, now);
        failed
    }

    /// Records a step that did not succeed and keeps its counters, before it is answered.
    pub(super) async fn conclude(
        &self,
        failed: Failed,
        name: Option<&UserName>,
        from: &Context<'_>,
    ) -> Failed {
        let reason = match &failed {
            Failed::Refused(refusal) => refusal.reason(),
            Failed::Overloaded => reason::OVERLOADED,
            Failed::Throttled(_) => {
                self.note_limited(name.map(UserName::as_str), from);
                return failed;
            }
            Failed::Unavailable => reason::INTERNAL,
        };
        let mut record = Record::new(Event::SignInFailed, "failed", reason);
        record.user = known_name(name, from);
        let mut record = from.stamp(record);
        record.detail = Some(from.agent.to_owned());
        if matches!(failed, Failed::Unavailable) {
            // The store or the journal is the trouble; the journal counts what it cannot take.
            self.recorder.note(record);
            return failed;
        }
        match self.keep_failure(record).await {
            Ok(()) => failed,
            Err(unavailable) => unavailable,
        }
    }

    pub(super) async fn keep_failure(&self, record: Record) -> Result<(), Failed> {
        self.recorder.durable(record).await?;
        self.keep_counters().await?;
        Ok(())
    }

    pub(super) async fn keep_counters(&self) -> Result<(), StoreError> {
        let _one = self.counters.lock().await;
        let rows = self.lockout.take_changed();
        if rows.is_empty() {
            return Ok(());
        }
        let written = self.store.put_counters(rows.clone()).await;
        if written.is_err() {
            self.lockout.put_back(&rows);
        }
        written
    }

    /// Keeps counters after a step that succeeded. If that fails, a restart finds them too high,
    /// never too low; the step stands.
    pub(super) async fn keep_cleared(&self) {
        if let Err(error) = self.keep_counters().await {
            tracing::error!(%error, "sign-in counters could not be written");
        }
    }

    pub(super) fn note_limited(&self, user: Option<&str>, from: &Context<'_>) {
        let mut record = Record::new(Event::Limited, "limited", reason::THROTTLED);
        let exists = |user: &&str| from.directory.standing(user) != Standing::Unknown;
        record.user = user.filter(exists).map(Arc::from);
        self.recorder.note(from.stamp(record));
    }

    /// Names who tries; a device or browser counts only if it is one of that very account.
    pub(super) fn who(&self, account: &str, from: &Context<'_>) -> Who {
        let device = from
            .device
            .filter(|device| self.devices.is_of(*device, account));
        let browser = || {
            let browser = self.sessions.browser(account, from.browser?)?;
            Some(browser.to_string())
        };
        let known = device.map(|device| device.to_string()).or_else(browser);
        self.lockout.who_by(account, from.source, known.as_deref())
    }

    pub(super) fn place(&self, who: &Who) -> Place {
        if who.is_known() {
            Place::Kept
        } else {
            Place::Common
        }
    }

    pub(super) fn steady(&self, now: i64) -> i64 {
        self.time.at(now)
    }
}

pub(super) fn standing(name: Option<&UserName>, from: &Context<'_>) -> Standing {
    name.map_or(Standing::Unknown, |name| {
        from.directory.standing(name.as_str())
    })
}

/// The name for the record: only of a user who exists, so that passwords typed into the wrong
/// field stay out of the journal.
fn known_name(name: Option<&UserName>, from: &Context<'_>) -> Option<Arc<str>> {
    let exists = standing(name, from) != Standing::Unknown;
    name.filter(|_| exists).map(UserName::shared)
}
