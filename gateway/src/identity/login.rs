//! The sign-in state machine: a session can be made only from both proofs.
//!
//! ```text
//!  AwaitingPassword --verified--> AwaitingCode --accepted(CodeProof)--> Authenticated
//!        | Refusal                     | Refusal, 5 tries, 5 minutes
//!        | imported, no second factor  | recovered(RecoveryProof)
//!        +---------------+-------------+
//!                        v
//!                     MayEnrol: a second factor can be set, no session made
//! ```
//! It does no IO. The caller compares the password ([`AwaitingPassword::phc`] says with what) and
//! the code, and asks for the standing of the user before each input.

mod halves;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

pub(crate) use self::halves::Halves;
use super::password::Verdict;
use super::totp::Matched;
use crate::audit::reason;

/// Seconds between the right password and the right code.
pub(crate) const HALF_SECS: i64 = 300;
/// Codes that may be tried with one right password.
const CODE_TRIES: u8 = 5;
const NAME_MAX: usize = 64;

/// A user name in its one canonical spelling: NFKC, lower case, `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UserName(Arc<str>);

impl UserName {
    /// Reads a name as somebody typed it; blanks around it are refused, not trimmed.
    pub(crate) fn parse(typed: &str) -> Option<Self> {
        if typed.len() > NAME_MAX * 4 {
            return None;
        }
        let name: String = typed.nfkc().collect::<String>().to_lowercase();
        let mut bytes = name.bytes();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = name.len() <= NAME_MAX
            && bytes.next().is_some_and(plain)
            && bytes.all(|b| plain(b) || b"._-".contains(&b));
        good.then(|| Self(name.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

/// How a user stands in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is no such user.
    Unknown,
    /// There is, and may not sign in.
    Disabled,
    /// May sign in.
    Active,
}

/// Says who exists; implemented by the policy snapshot.
pub(crate) trait Directory: Send + Sync {
    /// Looks a canonical user name up.
    fn standing(&self, user: &str) -> Standing;
}

/// Why a sign-in was refused. The person is told nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    UserUnknown,
    UserDisabled,
    NoCredentials,
    BadPassword,
    BadCode,
    BadRecoveryCode,
    CodeReplayed,
    HalfExpired,
    /// A link of an admin waits for the user; until then nothing else leads to enrolment.
    LinkAwaits,
    /// Sessions of the user were ended while the sign-in was under way.
    Revoked,
}

impl Refusal {
    /// The reason code of the record.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::UserUnknown => reason::USER_UNKNOWN,
            Self::UserDisabled => reason::USER_DISABLED,
            Self::NoCredentials => reason::NO_CREDENTIALS,
            Self::BadPassword => reason::BAD_PASSWORD,
            Self::BadCode => reason::BAD_CODE,
            Self::BadRecoveryCode => reason::BAD_RECOVERY_CODE,
            Self::CodeReplayed => reason::CODE_REPLAYED,
            Self::HalfExpired => reason::HALF_EXPIRED,
            Self::LinkAwaits => reason::LINK_AWAITS,
            Self::Revoked => reason::REVOKED,
        }
    }
}

/// Shows that the password of a user was right; only [`AwaitingPassword::verified`] makes one.
#[derive(Debug)]
struct PasswordProof {
    user: UserName,
}

/// Shows that a code of a user was right and unused; only [`CodeProof::new`] makes one.
#[derive(Debug)]
pub(crate) struct CodeProof {
    user: UserName,
    at: i64,
}

impl CodeProof {
    /// Takes the matched step and whether the store accepted it as greater than all before.
    ///
    /// # Errors
    /// [`Refusal::CodeReplayed`] if it did not.
    pub(crate) fn new(
        user: &UserName,
        _matched: Matched,
        accepted: bool,
        now: i64,
    ) -> Result<Self, Refusal> {
        if !accepted {
            return Err(Refusal::CodeReplayed);
        }
        Ok(Self {
            user: user.clone(),
            at: now,
        })
    }

    pub(crate) fn user(&self) -> &str {
        self.user.as_str()
    }

    /// When it was right, in steady seconds.
    pub(crate) fn at(&self) -> i64 {
        self.at
    }
}

/// Shows that a recovery code of a user was right and unused; only [`RecoveryProof::new`] makes
/// one.
#[derive(Debug)]
pub(crate) struct RecoveryProof {
    user: UserName,
}

impl RecoveryProof {
    /// Takes whether the store had the code, and has it no longer.
    ///
    /// # Errors
    /// [`Refusal::BadRecoveryCode`] if it had not.
    pub(crate) fn new(user: &UserName, used: bool) -> Result<Self, Refusal> {
        let user = user.clone();
        used.then_some(Self { user })
            .ok_or(Refusal::BadRecoveryCode)
    }
}

/// What there is of a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Second {
    /// An authenticator app.
    Present,
    /// None: only a link of an admin leads to one.
    Absent,
    /// None, and the password was brought from elsewhere: it leads to enrolment.
    Imported,
}

/// Somebody typed a name and a password.
pub(crate) struct AwaitingPassword {
    name: Option<UserName>,
    phc: Option<String>,
    second: Second,
    epoch: u64,
}

impl AwaitingPassword {
    /// Starts a sign-in. `kept` is the verifier of the user, if there is one, and what stands
    /// beside it; `epoch` counts how often their sessions were ended.
    pub(crate) fn new(
        name: Option<UserName>,
        standing: Standing,
        kept: Option<(String, Second)>,
        epoch: u64,
    ) -> Self {
        let (phc, second) = kept.unzip();
        Self {
            name,
            phc: phc.filter(|_| standing == Standing::Active),
            second: second.unwrap_or(Second::Absent),
            epoch,
        }
    }

    /// The verifier to compare with; `None` asks for the same work with no hope.
    pub(crate) fn phc(&self) -> Option<&str> {
        self.phc.as_deref()
    }

    /// Takes the verdict and the standing as it is now.
    ///
    /// # Errors
    /// The [`Refusal`] for the record; the person sees one answer for all of them.
    pub(crate) fn verified(
        self,
        verdict: Verdict,
        standing: Standing,
        now: i64,
    ) -> Result<PasswordRight, Refusal> {
        let user = self.name.ok_or(Refusal::UserUnknown)?;
        match standing {
            Standing::Unknown => return Err(Refusal::UserUnknown),
            Standing::Disabled => return Err(Refusal::UserDisabled),
            Standing::Active => {}
        }
        if self.phc.is_none() {
            return Err(Refusal::NoCredentials);
        }
        match verdict {
            Verdict::Mismatch => return Err(Refusal::BadPassword),
            Verdict::Match | Verdict::MatchOutdated => {}
        }
        let (proof, epoch) = (PasswordProof { user }, self.epoch);
        match self.second {
            Second::Absent => Err(Refusal::NoCredentials),
            Second::Imported => Ok(PasswordRight::Enrol(MayEnrol { proof, epoch })),
            Second::Present => Ok(PasswordRight::Code(AwaitingCode {
                proof,
                expires: now.saturating_add(HALF_SECS),
                tries: CODE_TRIES,
                epoch,
            })),
        }
    }
}

/// What a right password leads to.
#[derive(Debug)]
pub(crate) enum PasswordRight {
    /// The code.
    Code(AwaitingCode),
    /// The enrolment of a second factor, and nothing else.
    Enrol(MayEnrol),
}

impl PasswordRight {
    pub(crate) fn user(&self) -> &UserName {
        match self {
            Self::Code(half) => half.user(),
            Self::Enrol(may) => may.user(),
        }
    }
}

/// A user may set a second factor anew; no session can be made from it.
#[derive(Debug)]
pub(crate) struct MayEnrol {
    proof: PasswordProof,
    epoch: u64,
}

impl MayEnrol {
    pub(crate) fn user(&self) -> &UserName {
        &self.proof.user
    }

    /// How often the sessions of the user had been ended when the sign-in began.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// The password was right, the code is not there yet. Opens nothing but the code form.
#[derive(Debug)]
pub(crate) struct AwaitingCode {
    proof: PasswordProof,
    expires: i64,
    tries: u8,
    epoch: u64,
}

impl AwaitingCode {
    pub(crate) fn user(&self) -> &UserName {
        &self.proof.user
    }

    /// Counts one code before it is compared.
    ///
    /// # Errors
    /// [`Refusal::HalfExpired`] after five minutes or five codes; the state is spent then.
    fn count_try(&mut self, now: i64) -> Result<(), Refusal> {
        if now >= self.expires {
            return Err(Refusal::HalfExpired);
        }
        self.tries = self.tries.checked_sub(1).ok_or(Refusal::HalfExpired)?;
        Ok(())
    }

    /// Takes a recovery code in place of the code: it leads to enrolment, never to a session.
    ///
    /// # Errors
    /// As [`AwaitingCode::accepted`].
    pub(crate) fn recovered(
        self,
        code: &RecoveryProof,
        standing: Standing,
    ) -> Result<MayEnrol, Refusal> {
        match standing {
            Standing::Unknown => return Err(Refusal::UserUnknown),
            Standing::Disabled => return Err(Refusal::UserDisabled),
            Standing::Active => {}
        }
        if self.proof.user != code.user {
            return Err(Refusal::BadRecoveryCode);
        }
        Ok(MayEnrol {
            proof: self.proof,
            epoch: self.epoch,
        })
    }

    /// Joins both proofs.
    ///
    /// # Errors
    /// [`Refusal`] if the user may no longer sign in, or the proofs are not of one user.
    pub(crate) fn accepted(
        self,
        code: CodeProof,
        standing: Standing,
    ) -> Result<Authenticated, Refusal> {
        match standing {
            Standing::Unknown => return Err(Refusal::UserUnknown),
            Standing::Disabled => return Err(Refusal::UserDisabled),
            Standing::Active => {}
        }
        if self.proof.user != code.user {
            return Err(Refusal::BadCode);
        }
        Ok(Authenticated {
            password: self.proof,
            code,
            epoch: self.epoch,
        })
    }
}

/// Both proofs of one user, in one sign-in; the only thing a session is made from.
#[derive(Debug)]
pub(crate) struct Authenticated {
    password: PasswordProof,
    code: CodeProof,
    epoch: u64,
}

impl Authenticated {
    pub(crate) fn user(&self) -> &UserName {
        &self.password.user
    }

    /// When the code was right, in steady seconds.
    pub(crate) fn at(&self) -> i64 {
        self.code.at
    }

    /// How often the sessions of the user had been ended when the sign-in began.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}
