//! Enrolment by one-time link: a new password and a new TOTP secret, confirmed by one right code.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::Identity;
use super::devices::{Device, DeviceError};
use super::lockout::Throttled;
use super::login::{Standing, UserName};
use super::password::{Place, Weak};
use super::record::Context;
use super::session::{EndReason, token_hash};
use super::totp::{self, Code, SharedSecret};
use crate::audit::{AuditError, Event, Record, reason};
use crate::ids;
use crate::store::{Credentials, Hash, LinkRow, StoreError};

/// How long a link counts.
const LINK_SECS: i64 = 24 * 3600;
/// The kind of sealed TOTP secrets in use, and of those that wait for their first code.
pub(super) const TOTP: &str = "totp";
const PENDING: &str = "totp-pending";

/// What the enrolment page shows.
pub(crate) struct EnrolView {
    pub(crate) user: String,
    /// For the QR code.
    pub(crate) otpauth: Zeroizing<String>,
    /// For typing by hand.
    pub(crate) secret_base32: Zeroizing<String>,
}

impl std::fmt::Debug for EnrolView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolView")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What finishing an enrolment gave.
#[derive(Debug)]
pub(crate) enum EnrolStep {
    /// Both factors are set; the person can sign in with the next code.
    Done,
    /// The password was not taken; tell why.
    Weak(Weak),
    /// The code was wrong; the link still counts.
    WrongCode,
    /// The link is unknown, used or too old.
    Expired,
    Throttled {
        retry_after: std::time::Duration,
    },
    Overloaded,
    Unavailable,
}

/// The factors that were set for somebody.
pub(crate) struct Enrolled {
    pub(crate) totp_secret_base32: Zeroizing<String>,
    pub(crate) otpauth: Zeroizing<String>,
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolled").finish_non_exhaustive()
    }
}

/// Says why factors could not be set or a link not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FactorError {
    #[error("not a user name: lower-case letters, digits, dot, underscore, dash; at most 64")]
    BadName,
    #[error(transparent)]
    Weak(#[from] Weak),
    #[error("too many passwords wait to be checked")]
    Overloaded,
    #[error("argon2 failed")]
    Argon2,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl Identity {
    /// Makes a one-time link for a user, good for 24 hours; an earlier one is void.
    ///
    /// # Errors
    /// [`FactorError`]; no link counts then.
    pub(crate) async fn enrol_link(&self, user: &str, now: i64) -> Result<String, FactorError> {
        let user = UserName::parse(user).ok_or(FactorError::BadName)?;
        let token = ids::token();
        let link = LinkRow {
            hash: token_hash(&token).ok_or(FactorError::BadName)?,
            user: user.as_str().to_owned(),
            expires: self.steady(now).saturating_add(LINK_SECS),
            pending: None,
        };
        let mut record = Record::new(Event::FactorChanged, "ok", reason::ENROL_LINK_MADE);
        record.user = Some(user.shared());
        self.recorder.durable(record).await?;
        self.store.put_link(link).await?;
        Ok(token)
    }

    /// Opens a link: the same pending secret as long as it is not confirmed.
    pub(crate) async fn enrol_begin(&self, token: &str, from: &Context<'_>) -> Option<EnrolView> {
        let now = self.steady(from.now);
        let link = self.link(token, now, from).await?;
        let secret = self.pending(&link).await?;
        Some(EnrolView {
            otpauth: totp::otpauth(&self.settings.issuer, &link.user, &secret),
            secret_base32: totp::base32(&secret),
            user: link.user,
        })
    }

    /// Uses a link up: sets the password and the pending secret, both or neither.
    pub(crate) async fn enrol_finish(
        &self,
        token: &str,
        password: Zeroizing<String>,
        code: &str,
        from: &Context<'_>,
    ) -> EnrolStep {
        let now = self.steady(from.now);
        if let Err(Throttled { retry_after }) = self.lockout.post(from.source, now) {
            self.note_limited(None, from);
            return EnrolStep::Throttled { retry_after };
        }
        let Some(link) = self.link(token, now, from).await else {
            return self.refuse_link(from).await;
        };
        if let Err(weak) = self.rules.check(&password, &link.user) {
            return EnrolStep::Weak(weak);
        }
        match self.enrol_code(&link, code, from, now).await {
            Ok(Some(new)) => self.redeem(link, new, password, from, now).await,
            Ok(None) => EnrolStep::WrongCode,
            Err(step) => step,
        }
    }

    /// Sets both factors of a user at once; for the trial and the command line. Sessions of the
    /// user end.
    ///
    /// # Errors
    /// [`FactorError`]; nothing changed then.
    pub(crate) async fn set_credentials(
        &self,
        user: &str,
        password: Zeroizing<String>,
        totp_secret: Option<[u8; 20]>,
        now: i64,
    ) -> Result<Enrolled, FactorError> {
        let user = UserName::parse(user).ok_or(FactorError::BadName)?;
        self.rules.check(&password, user.as_str())?;
        let secret = totp_secret.map_or_else(totp::draw, Zeroizing::new);
        let phc = self.passwords.hash(Place::Kept, password).await;
        let phc = phc.map_err(|_| FactorError::Overloaded)?;
        let phc = phc.map_err(|_| FactorError::Argon2)?;
        let new = Credentials {
            phc,
            totp: self.keys.seal(TOTP, user.as_str(), &*secret),
            last_step: 0,
            enrolled: now,
        };
        let mut record = Record::new(Event::FactorChanged, "ok", reason::PASSWORD_SET);
        record.user = Some(user.shared());
        self.recorder.durable(record).await?;
        self.store.put_credentials(user.as_str(), new).await?;
        self.sessions
            .end_user(user.as_str(), EndReason::FactorChanged)
            .await?;
        Ok(Enrolled {
            totp_secret_base32: totp::base32(&secret),
            otpauth: totp::otpauth(&self.settings.issuer, user.as_str(), &secret),
        })
    }

    /// Tells whether a user has both factors.
    ///
    /// # Errors
    /// [`StoreError`] if the store gives no answer.
    pub(crate) async fn is_enrolled(&self, user: &str) -> Result<bool, StoreError> {
        Ok(self.store.credentials(user).await?.is_some())
    }

    /// Forgets the factors and links of a user who stays, and ends their sessions; devices stay.
    ///
    /// # Errors
    /// [`FactorError`] with the first thing that could not be written; the rest is done.
    pub(crate) async fn forget_factors(&self, user: &str) -> Result<(), FactorError> {
        self.drop_factors(user, EndReason::FactorChanged).await
    }

    /// Forgets the factors and links of a user who was removed, ends their sessions and revokes
    /// their devices.
    ///
    /// # Errors
    /// [`FactorError`] with the first thing that could not be written; the rest is done.
    pub(crate) async fn forget(&self, user: &str, now: i64) -> Result<(), FactorError> {
        let mut done = self.drop_factors(user, EndReason::UserRemoved).await;
        for device in self.devices.list() {
            if device.revoked.is_none() && *device.user == *user {
                let revoked = self.devices.revoke(device.id, now).await;
                done = done.and(revoked.map(drop).map_err(FactorError::from));
            }
        }
        done
    }

    /// Forgets what is left of an earlier person of a name, before somebody else gets it; says
    /// whether there was anything.
    ///
    /// # Errors
    /// As [`Identity::forget`]; the name must not be given away then.
    pub(crate) async fn forget_namesake(&self, user: &str, now: i64) -> Result<bool, FactorError> {
        let devices = self.devices.list();
        let device = |d: &Arc<Device>| d.revoked.is_none() && *d.user == *user;
        let left = !self.sessions.of_user(user).is_empty()
            || devices.iter().any(device)
            || self.store.knows(user).await?;
        if left {
            self.forget(user, now).await?;
        }
        Ok(left)
    }

    /// Goes on after an error: whatever can be taken away is.
    async fn drop_factors(&self, user: &str, why: EndReason) -> Result<(), FactorError> {
        let ended = self.sessions.end_user(user, why).await.map(drop);
        let removed = self.store.remove_user(user).await;
        let mut record = Record::new(Event::FactorChanged, "ok", reason::REMOVED);
        record.user = Some(user.into());
        let recorded = self.recorder.durable(record).await;
        ended.and(removed)?;
        Ok(recorded?)
    }

    /// Finds a link that counts, of a user who may sign in.
    async fn link(&self, token: &str, now: i64, from: &Context<'_>) -> Option<LinkRow> {
        let hash = token_hash(token)?;
        let link = self.store.link(&hash, now).await.ok()??;
        let active = from.directory.standing(&link.user) == Standing::Active;
        active.then_some(link)
    }

    async fn pending(&self, link: &LinkRow) -> Option<SharedSecret> {
        let sealed = match &link.pending {
            Some(sealed) => sealed.clone(),
            None => {
                let drawn = self.keys.seal(PENDING, &owner(link), &*totp::draw());
                // Whoever was first has drawn the secret that counts.
                self.store.pend(&link.hash, drawn).await.ok()??
            }
        };
        let plain = self.keys.open(PENDING, &owner(link), &sealed)?;
        plain.as_slice().try_into().ok().map(Zeroizing::new)
    }

    /// Compares the first code; gives the sealed secret and the step it used up.
    async fn enrol_code(
        &self,
        link: &LinkRow,
        code: &str,
        from: &Context<'_>,
        now: i64,
    ) -> Result<Option<(Vec<u8>, i64)>, EnrolStep> {
        // A counter of its own: whoever holds a link cannot use up the tries of the account.
        let who = self
            .lockout
            .who(&format!("enrol:{}", link.user), from.source, None);
        let tried = match self.lockout.begin_code(&who, now) {
            Ok(tried) => tried,
            Err(Throttled { retry_after }) => {
                self.note_limited(Some(&link.user), from);
                return Err(EnrolStep::Throttled { retry_after });
            }
        };
        let pending = link.pending.is_some();
        let secret = if pending {
            self.pending(link).await
        } else {
            None
        };
        let secret = secret.ok_or(EnrolStep::Expired)?;
        let matched = Code::parse(code).and_then(|code| totp::check(&*secret, &code, from.now));
        if let Some(matched) = matched {
            self.lockout.undo(tried, now);
            let sealed = self.keys.seal(TOTP, &link.user, &*secret);
            return Ok(Some((sealed, matched.step())));
        }
        let mut record = Record::new(Event::FactorChanged, "failed", reason::BAD_CODE);
        record.user = Some(link.user.as_str().into());
        if self.keep_failure(from.stamp(record)).await.is_err() {
            return Err(EnrolStep::Unavailable);
        }
        Ok(None)
    }

    async fn redeem(
        &self,
        link: LinkRow,
        (totp, last_step): (Vec<u8>, i64),
        password: Zeroizing<String>,
        from: &Context<'_>,
        now: i64,
    ) -> EnrolStep {
        let phc = match self.passwords.hash(Place::Common, password).await {
            Ok(Ok(phc)) => phc,
            Ok(Err(_)) => return EnrolStep::Unavailable,
            Err(_) => return EnrolStep::Overloaded,
        };
        let new = Credentials {
            phc,
            totp,
            last_step,
            enrolled: from.now,
        };
        match self
            .store_redeemed(&link.hash, &link.user, new, from, now)
            .await
        {
            Ok(true) => EnrolStep::Done,
            Ok(false) => self.refuse_link(from).await,
            Err(error) => {
                tracing::error!(%error, "an enrolment could not be written");
                EnrolStep::Unavailable
            }
        }
    }

    async fn store_redeemed(
        &self,
        hash: &Hash,
        user: &str,
        new: Credentials,
        from: &Context<'_>,
        now: i64,
    ) -> Result<bool, FactorError> {
        // One at a time, so that the record is never about a link that another used up meanwhile.
        let _one = self.enrolling.lock().await;
        let link = self.store.link(hash, now).await?;
        if from.directory.standing(user) != Standing::Active || link.is_none() {
            return Ok(false);
        }
        let mut record = Record::new(Event::FactorChanged, "ok", reason::ENROLLED);
        record.user = Some(user.into());
        self.recorder.durable(from.stamp(record)).await?;
        let redeemed = self.store.redeem(hash, now, new).await;
        if !matches!(redeemed, Ok(false)) {
            // The new factors may count even after an error, so the old sessions must not.
            let ended = self.sessions.end_user(user, EndReason::FactorChanged).await;
            if let Err(error) = ended {
                tracing::error!(%error, "ends of sessions wait for the next sweep");
            }
        }
        if !redeemed? {
            return Ok(false);
        }
        let who = self.lockout.who(user, from.source, None);
        self.lockout.clear(&who, now);
        Ok(true)
    }

    async fn refuse_link(&self, from: &Context<'_>) -> EnrolStep {
        let record = Record::new(Event::FactorChanged, "failed", reason::ENROL_LINK_BAD);
        match self.recorder.durable(from.stamp(record)).await {
            Ok(()) => EnrolStep::Expired,
            Err(_) => EnrolStep::Unavailable,
        }
    }
}

/// A pending secret opens only with the link it was drawn for.
fn owner(link: &LinkRow) -> String {
    data_encoding::HEXLOWER.encode(&link.hash)
}
