//! What an operator does to the factors of people: setting, importing, resetting, forgetting.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::Identity;
use super::devices::Device;
use super::enrolment::{Enrolled, FactorError, TOTP};
use super::login::UserName;
use super::notices::NoticeKind;
use super::password::{Foreign, Place};
use super::session::EndReason;
use super::totp;
use crate::audit::{Event, Record, reason};
use crate::store::{Credentials, StoreError};

/// What is kept of a person besides their sessions and devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// They have a password.
    pub(crate) password: bool,
    /// They have an authenticator app.
    pub(crate) totp: bool,
    /// How many recovery codes are left.
    pub(crate) codes: usize,
    /// A link of an administrator waits for them.
    pub(crate) invited: bool,
    /// When they last signed in, in seconds since the UNIX epoch.
    pub(crate) last_sign_in: Option<i64>,
    /// How long they wait before the next try from places nobody knows.
    pub(crate) locked: Option<Duration>,
}

impl Identity {
    /// Tells what is kept of a person.
    ///
    /// # Errors
    /// [`StoreError`] if the store gives no answer.
    pub(crate) async fn kept(&self, user: &str, now: i64) -> Result<Kept, StoreError> {
        let credentials = self.store.credentials(user).await?;
        let has_password = |c: &Credentials| !c.phc.is_empty();
        let live = self.sessions.of_user(user);
        let newest = live.iter().map(|session| session.login_at).max();
        Ok(Kept {
            password: credentials.as_ref().is_some_and(has_password),
            totp: credentials.is_some_and(|c| c.totp.is_some()),
            codes: self.store.recovery_left(user).await?,
            invited: self.store.awaits_link(user, self.steady(now)).await?,
            last_sign_in: self.store.last_visit(user).await?.max(newest),
            locked: self.locked(user, now),
        })
    }

    /// Tells how long an account waits before the next try from places nobody knows; `None` if it does not.
    pub(crate) fn locked(&self, user: &str, now: i64) -> Option<Duration> {
        self.lockout.waits(user, self.steady(now))
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
            totp: Some(self.keys.seal(TOTP, user.as_str(), &*secret)),
            last_step: 0,
            enrolled: now,
            imported: false,
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
        let kept = self.store.credentials(user).await?;
        Ok(kept.is_some_and(|kept| kept.totp.is_some()))
    }

    /// Forgets the factors and links of a user who stays, and ends their sessions; devices stay.
    ///
    /// # Errors
    /// [`FactorError`] with the first thing that could not be written; the rest is done.
    pub(crate) async fn forget_factors(&self, user: &str) -> Result<(), FactorError> {
        self.drop_factors(user, EndReason::FactorChanged).await
    }

    /// Keeps a verifier of another product for a user who has neither factors nor a link of an
    /// admin; says whether it did. Their
    /// first sign-in makes it one of ours and leads to the enrolment of a second factor.
    ///
    /// # Errors
    /// [`FactorError`]; nothing was kept then.
    pub(crate) async fn import(
        &self,
        user: &str,
        verifier: &str,
        now: i64,
    ) -> Result<bool, FactorError> {
        let user = UserName::parse(user).ok_or(FactorError::BadName)?;
        let foreign = Foreign::parse(verifier)?;
        let _one = self.enrolling.lock().await;
        let awaits = self.store.awaits_link(user.as_str(), self.steady(now));
        if awaits.await? || self.store.credentials(user.as_str()).await?.is_some() {
            return Ok(false);
        }
        let mut record = Record::new(Event::FactorChanged, "ok", reason::IMPORTED);
        record.user = Some(user.shared());
        self.recorder.durable(record).await?;
        let new = Credentials {
            phc: verifier.to_owned(),
            totp: None,
            last_step: 0,
            enrolled: now,
            imported: true,
        };
        self.passwords.add_due(&foreign);
        self.store.put_credentials(user.as_str(), new).await?;
        Ok(true)
    }

    /// Takes the second factor of a user away, with recovery codes and links, and ends their
    /// sessions; the password stays, unless imported, and is asked for at the next enrolment. The person is told
    /// why. Says whether there was a password to keep; nothing happened if not.
    ///
    /// # Errors
    /// [`FactorError`]; nothing changed if the reason could not be recorded.
    pub(crate) async fn reset_totp(
        &self,
        user: &str,
        why: &str,
        now: i64,
    ) -> Result<bool, FactorError> {
        let _one = self.enrolling.lock().await;
        if self.store.credentials(user).await?.is_none() {
            return Ok(false);
        }
        let mut record = Record::new(Event::FactorChanged, "ok", reason::TOTP_RESET);
        record.user = Some(user.into());
        record.detail = Some(why.to_owned());
        self.recorder.durable(record).await?;
        let dropped = self.store.drop_totp(user).await;
        // The factor may be gone even after an error.
        let ended = self.sessions.end_user(user, EndReason::FactorChanged).await;
        let there = dropped?;
        ended?;
        self.tell_by_admin(user, NoticeKind::FactorReset, now, why)
            .await;
        Ok(there)
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
                let revoked = revoked.map(drop).map_err(FactorError::from);
                done = done.and(revoked);
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
}
