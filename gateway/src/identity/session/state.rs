//! One session and its times.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use parking_lot::Mutex;

use crate::audit::reason;
use crate::identity::steady::Steady;
use crate::ids::{DeviceId, Door, SessionId};
use crate::store::SessionRow;

/// A stored session that begins later than this in the future is damaged, and so over.
const FUTURE_SECS: i64 = 300;

/// How long password and code given for an act on the own account count
/// (security.md R-SE-11).
const CONFIRMED_SECS: i64 = 300;
/// Stands for never.
const NEVER: i64 = i64::MIN;

/// How long sessions live, and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    /// Without use.
    pub(crate) idle: Duration,
    /// From the sign-in, whatever the use.
    pub(crate) absolute: Duration,
    /// Of one person at a time; the oldest ends for the next.
    pub(crate) per_user: usize,
}

/// One person signed in by one browser. Times are steady UNIX seconds.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) user: Arc<str>,
    pub(crate) door: Door,
    pub(crate) source: IpAddr,
    pub(crate) created: i64,
    pub(crate) login_at: i64,
    /// The User-Agent field of the sign-in.
    pub(crate) agent: Arc<str>,
    pub(super) mfa_at: AtomicI64,
    /// When password and code were last given for an act on the account; a restart forgets it.
    confirmed_at: AtomicI64,
    last_used: AtomicI64,
    /// `last_used` as the store has it.
    pub(super) kept_used: AtomicI64,
    idle: i64,
    absolute_end: i64,
    pub(super) ended: AtomicBool,
    known_browser: AtomicBool,
    pub(super) devices: Mutex<Vec<DeviceId>>,
    csrf: String,
    steady: Arc<Steady>,
}

impl Session {
    /// Makes a session of what is kept; one from the future is damaged, and so over.
    pub(super) fn from_row(
        row: &SessionRow,
        lifetimes: Lifetimes,
        csrf: [u8; 32],
        steady: Arc<Steady>,
        now: i64,
    ) -> Self {
        let sane = row.created <= now.saturating_add(FUTURE_SECS);
        let end = row.created.saturating_add(seconds(lifetimes.absolute));
        Self {
            id: row.id,
            user: row.user.as_str().into(),
            door: row.door,
            source: row.source,
            created: row.created,
            login_at: row.login_at,
            agent: row.agent.as_str().into(),
            mfa_at: AtomicI64::new(row.mfa_at.min(now)),
            confirmed_at: AtomicI64::new(NEVER),
            last_used: AtomicI64::new(row.last_used.min(now)),
            kept_used: AtomicI64::new(row.last_used),
            idle: seconds(lifetimes.idle),
            absolute_end: if sane { end.min(row.expires) } else { i64::MIN },
            ended: AtomicBool::new(false),
            known_browser: AtomicBool::new(false),
            devices: Mutex::new(row.devices.clone()),
            csrf: BASE64URL_NOPAD.encode(&csrf),
            steady,
        }
    }

    /// When the last code was right.
    pub(crate) fn mfa_at(&self) -> i64 {
        self.mfa_at.load(Ordering::Acquire)
    }

    /// Notes that password and code were right at `at`, in steady seconds.
    pub(in crate::identity) fn confirm(&self, at: i64) {
        self.confirmed_at.fetch_max(at, Ordering::AcqRel);
    }

    /// Tells whether password and code were given in this session within five minutes.
    pub(crate) fn is_confirmed(&self, now: i64) -> bool {
        let at = self.confirmed_at.load(Ordering::Acquire);
        at != NEVER && self.is_live(now) && self.steady.at(now).saturating_sub(at) < CONFIRMED_SECS
    }

    /// When the session was last used.
    pub(crate) fn last_used(&self) -> i64 {
        self.last_used.load(Ordering::Acquire)
    }

    /// When the session ends if it is not used again.
    pub(crate) fn expires(&self) -> i64 {
        let idle = self.last_used().saturating_add(self.idle);
        idle.min(self.absolute_end)
    }

    /// The tunnel devices the session opens.
    pub(crate) fn devices(&self) -> Vec<DeviceId> {
        self.devices.lock().clone()
    }

    /// Tells whether the session still counts at `now` (UNIX seconds of the wall clock; one that
    /// was set back lengthens nothing).
    pub(crate) fn is_live(&self, now: i64) -> bool {
        !self.ended.load(Ordering::Acquire) && self.steady.at(now) < self.expires()
    }

    /// How long ago the last code was right.
    pub(crate) fn mfa_age(&self, now: i64) -> Duration {
        let age = self.steady.at(now) - self.mfa_at();
        Duration::from_secs(u64::try_from(age).unwrap_or(0))
    }

    /// Notes use by the person: a request, client data on a WebSocket or a flow; not pings.
    pub(crate) fn touch(&self, now: i64) {
        let now = self.steady.at(now);
        self.last_used.fetch_max(now, Ordering::AcqRel);
    }

    /// Tells whether the browser had signed the person in before.
    pub(crate) fn is_in_known_browser(&self) -> bool {
        self.known_browser.load(Ordering::Acquire)
    }

    pub(in crate::identity) fn note_known_browser(&self) {
        self.known_browser.store(true, Ordering::Release);
    }

    /// The token that forms of this session carry.
    pub(crate) fn csrf(&self) -> String {
        self.csrf.clone()
    }

    pub(super) fn why_over(&self, time: i64) -> EndReason {
        if time < self.absolute_end {
            EndReason::Idle
        } else {
            EndReason::Expired
        }
    }

    pub(super) fn row(&self) -> SessionRow {
        SessionRow {
            id: self.id,
            user: self.user.to_string(),
            door: self.door,
            source: self.source,
            created: self.created,
            login_at: self.login_at,
            mfa_at: self.mfa_at(),
            last_used: self.last_used(),
            expires: self.absolute_end,
            agent: self.agent.to_string(),
            devices: self.devices(),
            cookies: Vec::new(),
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    SignedOut,
    /// Its person signed it out from another session, or all of theirs at once.
    SignedOutElsewhere,
    Revoked,
    UserDisabled,
    UserRemoved,
    /// Password or second factor were set anew.
    FactorChanged,
    Idle,
    Expired,
    /// The person has too many; this was the oldest.
    Replaced,
}

impl EndReason {
    /// The reason code of the record.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::SignedOut | Self::SignedOutElsewhere => reason::SIGNED_OUT,
            Self::Revoked => reason::REVOKED,
            Self::UserDisabled => reason::USER_DISABLED,
            Self::UserRemoved => reason::REMOVED,
            Self::FactorChanged => reason::USER_CHANGED,
            Self::Idle => reason::IDLE,
            Self::Expired => reason::EXPIRED,
            Self::Replaced => reason::REPLACED,
        }
    }
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
