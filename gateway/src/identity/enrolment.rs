//! Enrolment by one-time link: a new TOTP secret confirmed by one right code, and with it a new
//! password, the one that stands, or none, as the link says.

use zeroize::Zeroizing;

use super::Identity;
use super::devices::DeviceError;
use super::engine::Failed;
use super::lockout::Throttled;
use super::login::{Refusal, Standing, UserName};
use super::notices::NoticeKind;
use super::password::{BadForeign, Place, Weak};
use super::record::Context;
use super::recovery::ShownCodes;
use super::session::{EndReason, token_hash};
use super::totp::{self, Code, SharedSecret};
use crate::audit::{AuditError, Event, Record, reason};
use crate::ids;
use crate::store::{Hash, LinkKind, LinkRow, Redeemed, StoreError};

/// How long a link counts.
const LINK_SECS: i64 = 24 * 3600;
/// The kind of sealed TOTP secrets in use, and of those that wait for their first code.
pub(super) const TOTP: &str = "totp";
pub(super) const PENDING: &str = "totp-pending";

/// What the enrolment page shows.
pub(crate) struct EnrolView {
    /// What the form asks for besides the code.
    pub(crate) kind: LinkKind,
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

/// What the form of an enrolment holds.
pub(crate) struct Answers<'a> {
    /// The new password, or the one that stands, as [`LinkKind`] says; empty if none is asked for.
    pub(crate) password: Zeroizing<String>,
    pub(crate) code: &'a str,
}

/// What finishing an enrolment gave.
#[derive(Debug)]
pub(crate) enum EnrolStep {
    /// Both factors are set; the person can sign in with the next code. The recovery codes are
    /// shown once.
    Done(ShownCodes),
    /// The password that stands was not right.
    WrongPassword,
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
    Foreign(#[from] BadForeign),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl Identity {
    /// Makes a one-time link for a user, good for 24 hours; an earlier one is void, and so is a
    /// password of theirs that was brought from elsewhere.
    ///
    /// # Errors
    /// [`FactorError`]; no link counts then.
    pub(crate) async fn enrol_link(&self, user: &str, now: i64) -> Result<String, FactorError> {
        let user = UserName::parse(user).ok_or(FactorError::BadName)?;
        let token = ids::token();
        // So that no password is imported for whoever gets the link meanwhile.
        let _one = self.enrolling.lock().await;
        let link = LinkRow {
            kind: self.link_kind(user.as_str()).await?,
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

    /// A link keeps the password of a user whose second factor alone was reset.
    async fn link_kind(&self, user: &str) -> Result<LinkKind, StoreError> {
        let kept = self.store.credentials(user).await?;
        let reset = kept.is_some_and(|kept| kept.totp.is_none() && !kept.imported);
        Ok(if reset {
            LinkKind::Reset
        } else {
            LinkKind::Invite
        })
    }

    /// Opens a link: the same pending secret as long as it is not confirmed.
    pub(crate) async fn enrol_begin(&self, token: &str, from: &Context<'_>) -> Option<EnrolView> {
        let now = self.steady(from.now);
        let link = self.link(token, now, from).await?;
        let secret = self.pending(&link).await?;
        Some(EnrolView {
            otpauth: totp::otpauth(&self.settings.issuer, &link.user, &secret),
            secret_base32: totp::base32(&secret),
            kind: link.kind,
            user: link.user,
        })
    }

    /// Uses a link up: sets the pending secret and, if the link says so, the password; all or none.
    pub(crate) async fn enrol_finish(
        &self,
        token: &str,
        Answers { password, code }: Answers<'_>,
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
        let password = match self.enrol_password(&link, password, from).await {
            Ok(new) => new,
            Err(step) => return step,
        };
        match self.enrol_code(&link, code, from, now).await {
            Ok(Some(new)) => self.redeem(link, new, password, from, now).await,
            Ok(None) => EnrolStep::WrongCode,
            Err(step) => step,
        }
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

    /// Takes the password as the link asks for it; gives a new one back.
    async fn enrol_password(
        &self,
        link: &LinkRow,
        password: Zeroizing<String>,
        from: &Context<'_>,
    ) -> Result<Option<Zeroizing<String>>, EnrolStep> {
        match link.kind {
            LinkKind::Recovery | LinkKind::Imported => return Ok(None),
            LinkKind::Invite | LinkKind::ImportedWeak => {
                return match self.rules.check(&password, &link.user) {
                    Ok(()) => Ok(Some(password)),
                    Err(weak) => Err(EnrolStep::Weak(weak)),
                };
            }
            LinkKind::Reset => {}
        }
        let user = UserName::parse(&link.user).ok_or(EnrolStep::Expired)?;
        let Err(failed) = self.prove_password(&user, password, from).await else {
            return Ok(None);
        };
        Err(match self.conclude(failed, Some(&user), from).await {
            Failed::Refused(Refusal::BadPassword) => EnrolStep::WrongPassword,
            Failed::Refused(_) => EnrolStep::Expired,
            Failed::Throttled(retry_after) => EnrolStep::Throttled { retry_after },
            Failed::Overloaded => EnrolStep::Overloaded,
            Failed::Unavailable => EnrolStep::Unavailable,
        })
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
        (totp, step): (Vec<u8>, i64),
        password: Option<Zeroizing<String>>,
        from: &Context<'_>,
        now: i64,
    ) -> EnrolStep {
        let phc = match password {
            None => None,
            Some(password) => match self.passwords.hash(Place::Common, password).await {
                Ok(Ok(phc)) => Some(phc),
                Ok(Err(_)) => return EnrolStep::Unavailable,
                Err(_) => return EnrolStep::Overloaded,
            },
        };
        let (shown, codes) = self.draw_codes(&link.user);
        let new = Redeemed {
            phc,
            totp,
            step,
            at: from.now,
            codes,
        };
        match self.store_redeemed(&link, new, from, now).await {
            Ok(true) => EnrolStep::Done(shown),
            Ok(false) => self.refuse_link(from).await,
            Err(error) => {
                tracing::error!(%error, "an enrolment could not be written");
                EnrolStep::Unavailable
            }
        }
    }

    async fn store_redeemed(
        &self,
        link: &LinkRow,
        new: Redeemed,
        from: &Context<'_>,
        now: i64,
    ) -> Result<bool, FactorError> {
        // One at a time, so that the record is never about a link that another used up meanwhile.
        let _one = self.enrolling.lock().await;
        let (hash, user): (&Hash, &str) = (&link.hash, &link.user);
        let good = self.store.link(hash, now).await?.is_some();
        if from.directory.standing(user) != Standing::Active || !good {
            return Ok(false);
        }
        let mut record = Record::new(Event::FactorChanged, "ok", reason::ENROLLED);
        record.user = Some(user.into());
        record.detail = Some(format!("link: {}", link.kind.name()));
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
        if matches!(link.kind, LinkKind::Recovery | LinkKind::Reset) {
            self.tell(user, NoticeKind::TotpReplaced, from, "").await;
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
