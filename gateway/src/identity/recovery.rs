//! Recovery codes: ten stand-ins for the second factor, each good once.

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use super::Identity;
use super::engine::{Failed, standing};
use super::lockout::Throttled;
use super::login::{MayEnrol, RecoveryProof, Refusal, Standing, UserName};
use super::notices::NoticeKind;
use super::record::Context;
use super::session::token_hash;
use crate::audit::{Event, Record, reason};
use crate::ids;
use crate::secrets;
use crate::store::{Hash, LinkKind, LinkRow, StoreError};

/// Codes of one set.
const CODES: usize = 10;
/// Random bytes of a code: 80 bits, above the 64 of security.md R-RC-01.
const BYTES: usize = 10;
/// Characters of a code.
const CHARS: usize = 16;
/// How long a sign-in may take to set a second factor.
const TICKET_SECS: i64 = 30 * 60;

/// Recovery codes as they are shown, once.
pub(crate) type ShownCodes = Vec<Zeroizing<String>>;

/// What a recovery code gave.
#[derive(Debug)]
pub(crate) enum RecoverStep {
    /// Right: `token` opens the enrolment of a second factor for half an hour, and nothing else.
    Enrol {
        token: String,
    },
    Refused,
    Throttled {
        retry_after: std::time::Duration,
    },
    /// The half-way sign-in is spent; begin anew.
    Expired,
    Unavailable,
}

impl Identity {
    /// Takes a recovery code after a right password; `half` is the half-way cookie. It counts as
    /// a try at the second factor like any other.
    pub(crate) async fn recover(&self, half: &str, code: &str, from: &Context<'_>) -> RecoverStep {
        let now = self.steady(from.now);
        if let Err(Throttled { retry_after }) = self.lockout.post(from.source, now) {
            self.note_limited(None, from);
            return RecoverStep::Throttled { retry_after };
        }
        let token = token_hash(half);
        let user = token.and_then(|token| self.halves.count_try(&token, now));
        let (Some(token), Some(user)) = (token, user) else {
            let failed = Failed::Refused(Refusal::HalfExpired);
            return match self.conclude(failed, None, from).await {
                Failed::Unavailable => RecoverStep::Unavailable,
                Failed::Refused(_) | Failed::Throttled(_) | Failed::Overloaded => {
                    RecoverStep::Expired
                }
            };
        };
        let failed = match self.try_recovery(&token, &user, code, from).await {
            Ok(token) => return RecoverStep::Enrol { token },
            Err(failed) => failed,
        };
        match self.conclude(failed, Some(&user), from).await {
            Failed::Refused(Refusal::HalfExpired | Refusal::Revoked) => RecoverStep::Expired,
            Failed::Refused(_) => RecoverStep::Refused,
            Failed::Throttled(retry_after) => RecoverStep::Throttled { retry_after },
            Failed::Overloaded | Failed::Unavailable => RecoverStep::Unavailable,
        }
    }

    /// Counts the recovery codes a user has left.
    ///
    /// # Errors
    /// [`StoreError`] if the store gives no answer.
    pub(crate) async fn recovery_left(&self, user: &str) -> Result<usize, StoreError> {
        self.store.recovery_left(user).await
    }

    async fn try_recovery(
        &self,
        token: &Hash,
        user: &UserName,
        code: &str,
        from: &Context<'_>,
    ) -> Result<String, Failed> {
        let now = self.steady(from.now);
        let proof = self.prove_recovery(user, code, from).await?;
        let half = self
            .halves
            .take(token, now)
            .ok_or(Failed::Refused(Refusal::HalfExpired))?;
        let may = half
            .recovered(&proof, standing(Some(user), from))
            .map_err(Failed::Refused)?;
        let left = self.store.recovery_left(user.as_str()).await?;
        let mut record = Record::new(Event::FactorChanged, "ok", reason::RECOVERY_CODE_USED);
        record.user = Some(user.shared());
        let mut record = from.stamp(record);
        record.detail = Some(format!("{left} left; {}", from.agent));
        self.recorder.durable(record).await?;
        let detail = left.to_string();
        self.tell(user.as_str(), NoticeKind::RecoveryUsed, from, &detail)
            .await;
        self.ticket(&may, LinkKind::Recovery, from).await
    }

    /// Compares a recovery code and uses it up; durable before it returns.
    async fn prove_recovery(
        &self,
        user: &UserName,
        code: &str,
        from: &Context<'_>,
    ) -> Result<RecoveryProof, Failed> {
        let now = self.steady(from.now);
        let who = self.who(user.as_str(), from);
        let throttled = |Throttled { retry_after }| Failed::Throttled(retry_after);
        let tried = self.lockout.begin_code(&who, now).map_err(throttled)?;
        match standing(Some(user), from) {
            Standing::Unknown => return Err(Failed::Refused(Refusal::UserUnknown)),
            Standing::Disabled => return Err(Failed::Refused(Refusal::UserDisabled)),
            Standing::Active => {}
        }
        let awaits = match self.store.awaits_link(user.as_str(), now).await {
            Ok(awaits) => awaits,
            Err(error) => return Err(self.not_tried(tried, now, error.into())),
        };
        if awaits {
            return Err(Failed::Refused(Refusal::LinkAwaits));
        }
        let code = read(code).ok_or(Failed::Refused(Refusal::BadRecoveryCode))?;
        let mut used = false;
        for hash in self.code_hashes(user.as_str(), &code) {
            match self.store.use_recovery(user.as_str(), &hash).await {
                Ok(found) => used |= found,
                Err(error) => return Err(self.not_tried(tried, now, error.into())),
            }
        }
        let proof = RecoveryProof::new(user, used).map_err(Failed::Refused)?;
        self.lockout.undo(tried, now);
        self.keep_cleared().await;
        Ok(proof)
    }

    /// Makes the link that a sign-in without a second factor ends in. It is void as soon as
    /// sessions of the user are ended as a whole, and never takes the place of an admin's.
    pub(super) async fn ticket(
        &self,
        may: &MayEnrol,
        kind: LinkKind,
        from: &Context<'_>,
    ) -> Result<String, Failed> {
        let user = may.user().as_str();
        let token = ids::token();
        let link = LinkRow {
            kind,
            hash: token_hash(&token).ok_or(Failed::Unavailable)?,
            user: user.to_owned(),
            expires: self.steady(from.now).saturating_add(TICKET_SECS),
            pending: None,
        };
        let now = self.steady(from.now);
        if !self.store.put_ticket(link, now).await? {
            return Err(Failed::Refused(Refusal::LinkAwaits));
        }
        if self.sessions.epoch(user) != may.epoch() {
            self.store.drop_tickets(Some(user)).await?;
            return Err(Failed::Refused(Refusal::Revoked));
        }
        Ok(token)
    }

    /// Tells what an imported password leads to: a new one is asked for if it breaks our rules.
    pub(super) fn ticket_kind(&self, password: &str, user: &str) -> LinkKind {
        match self.rules.check(password, user) {
            Ok(()) => LinkKind::Imported,
            Err(_) => LinkKind::ImportedWeak,
        }
    }

    /// Draws a set of codes: what is shown, and what is kept of it.
    pub(super) fn draw_codes(&self, user: &str) -> (ShownCodes, Vec<Hash>) {
        let drawn = (0..CODES).map(|_| {
            let bytes = Zeroizing::new(ids::random::<BYTES>());
            let code = Zeroizing::new(BASE32_NOPAD.encode(&*bytes).to_lowercase());
            let hash = self.code_hash(user, &code);
            (grouped(&code), hash)
        });
        drawn.unzip()
    }

    /// The keyed hash of a code: without the master key a stolen store tells nothing.
    fn code_hash(&self, user: &str, code: &str) -> Hash {
        hash_of(&self.keys.derive("recovery"), user, code)
    }

    /// What may be kept of a code, by whichever master key it was made.
    fn code_hashes(&self, user: &str, code: &str) -> Vec<Hash> {
        let keys = self.keys.derive_all("recovery");
        keys.iter().map(|key| hash_of(key, user, code)).collect()
    }
}

fn hash_of(key: &[u8; 32], user: &str, code: &str) -> Hash {
    secrets::hmac(key, &[user.as_bytes(), &[0xff], code.as_bytes()])
}

/// Reads a code as somebody typed it: case, blanks and dashes do not matter, nor do the digits
/// that the alphabet lacks for looking like letters.
fn read(typed: &str) -> Option<Zeroizing<String>> {
    let mut code = Zeroizing::new(String::with_capacity(CHARS));
    for c in typed.chars() {
        match c.to_ascii_lowercase() {
            ' ' | '-' => continue,
            '0' => code.push('o'),
            '1' => code.push('l'),
            '8' => code.push('b'),
            c @ ('a'..='z' | '2'..='7') => code.push(c),
            _ => return None,
        }
        if code.len() > CHARS {
            return None;
        }
    }
    (code.len() == CHARS).then_some(code)
}

/// Writes a code in groups of four.
fn grouped(code: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(CHARS + CHARS / 4));
    for (at, c) in code.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{grouped, read};

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = "abcdefgh2345ijkl";
        assert_eq!(grouped(code).as_str(), "abcd-efgh-2345-ijkl");
        for typed in [
            "abcd-efgh-2345-ijkl",
            "ABCD EFGH 2345 IJKL",
            "abcdefgh2345ijk1",
            " abcd-efgh-2345-ijkl ",
        ] {
            assert_eq!(read(typed).unwrap().as_str(), code, "{typed}");
        }
    }

    #[test]
    fn everything_else_is_no_code() {
        for typed in [
            "",
            "123456",
            "abcd-efgh-2345-ijk",
            "abcd-efgh-2345-ijklm",
            "abcd-efgh-2345-ijk9",
            "abcd_efgh_2345_ijkl",
            "äbcd-efgh-2345-ijkl",
        ] {
            assert!(read(typed).is_none(), "{typed}");
        }
    }
}
