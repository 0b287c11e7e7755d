//! One session and its times.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use parking_lot::Mutex;

use crate::audit::reason;
use crate::identity::steady::Steady;
use crate::ids::{DeviceId, Door, SessionId};
use crate::store::{SessionRow, UseRow};

/// A stored session that begins later than this in the future is damaged, and so over.
const FUTURE_SECS: i64 = 300;

/// How long password and code given for an act on the own account count
/// (security.md R-SE-11).
const CONFIRMED_SECS: i64 = 300;
/// Stands for never.
const NEVER: i64 = i64::MIN;

/// How long sessions live, and how many.
#[derive(Debug)]
pub(crate) struct Lifetimes {
    /// Without use.
    pub(crate) idle: Duration,
    /// From the sign-in, whatever the use.
    pub(crate) absolute: Duration,
    /// Of one person at a time; the oldest ends for the next.
    pub(crate) per_user: usize,
    ceiling: Arc<Ceiling>,
}

/// What holds for every session at the moment: the configuration, tightened by the policy in force.
#[derive(Debug)]
struct Ceiling {
    /// Seconds without use.
    idle: AtomicI64,
    /// Sessions of one person at a time, at least 1.
    most: AtomicUsize,
}

impl Lifetimes {
    pub(crate) fn new(idle: Duration, absolute: Duration, per_user: usize) -> Self {
        Self {
            idle,
            absolute,
            per_user,
            ceiling: Arc::new(Ceiling {
                idle: AtomicI64::new(seconds(idle)),
                most: AtomicUsize::new(per_user.max(1)),
            }),
        }
    }

    /// Takes what the policy in force says for everybody; it only tightens.
    pub(super) fn tighten(&self, idle: Option<Duration>, most: Option<u32>) {
        let idle = idle.map_or(self.idle, |idle| idle.min(self.idle));
        let most = most.and_then(|most| usize::try_from(most).ok());
        let most = most.map_or(self.per_user, |most| most.min(self.per_user));
        self.ceiling.idle.store(seconds(idle), Ordering::Release);
        self.ceiling.most.store(most.max(1), Ordering::Release);
    }

    pub(super) fn most(&self) -> usize {
        self.ceiling.most.load(Ordering::Acquire)
    }
}

/// Sessions made or read since the start.
static MADE: AtomicU64 = AtomicU64::new(0);

/// One person signed in by one browser. Times are steady UNIX seconds.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) user: Arc<str>,
    pub(crate) door: Door,
    pub(crate) source: IpAddr,
    pub(crate) created: i64,
    /// Its place among those of the same second.
    made: u64,
    pub(crate) login_at: i64,
    /// The User-Agent field of the sign-in.
    pub(crate) agent: Arc<str>,
    pub(super) mfa_at: AtomicI64,
    /// When password and code were last given for an act on the account; a restart forgets it.
    confirmed_at: AtomicI64,
    last_used: AtomicI64,
    /// The longest time without use, in seconds.
    pause: AtomicI64,
    /// Seconds without use after which it ends, by the rules that let it in.
    bound_idle: AtomicI64,
    /// Sessions of its person at a time, by the rules that let it in.
    bound_most: AtomicU32,
    /// Bound by a rule, and not written yet.
    pub(super) bound: AtomicBool,
    /// `last_used` as the store has it.
    pub(super) kept_used: AtomicI64,
    ceiling: Arc<Ceiling>,
    /// Before it was put off.
    absolute_end: i64,
    /// Seconds by which the end was put off, once.
    extended: AtomicI64,
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
        lifetimes: &Lifetimes,
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
            made: MADE.fetch_add(1, Ordering::Relaxed),
            login_at: row.login_at,
            agent: row.agent.as_str().into(),
            mfa_at: AtomicI64::new(row.mfa_at.min(now)),
            confirmed_at: AtomicI64::new(NEVER),
            last_used: AtomicI64::new(row.used.last.min(now)),
            pause: AtomicI64::new(row.used.pause),
            bound_idle: AtomicI64::new(row.used.idle.unwrap_or(i64::MAX)),
            bound_most: AtomicU32::new(row.used.most.unwrap_or(u32::MAX)),
            bound: AtomicBool::new(false),
            kept_used: AtomicI64::new(row.used.last),
            ceiling: Arc::clone(&lifetimes.ceiling),
            absolute_end: if sane { end.min(row.expires) } else { i64::MIN },
            extended: AtomicI64::new(row.used.extended.max(0)),
            ended: AtomicBool::new(false),
            known_browser: AtomicBool::new(false),
            devices: Mutex::new(row.devices.clone()),
            csrf: BASE64URL_NOPAD.encode(&csrf),
            steady,
        }
    }

    /// Orders sessions from the oldest to the newest.
    pub(super) fn age_order(&self) -> (i64, u64) {
        (self.created, self.made)
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
        let bound = self.bound_idle.load(Ordering::Acquire);
        let idle = bound.min(self.ceiling.idle.load(Ordering::Acquire));
        let idle = self.last_used().saturating_add(idle);
        idle.min(self.absolute_end())
    }

    /// When the session ends, however much it is used.
    pub(crate) fn absolute_end(&self) -> i64 {
        self.absolute_end.saturating_add(self.extended())
    }

    /// How long it goes on, however much it is used, where a sign-in counts for `login`.
    pub(crate) fn ends_in(&self, login: Duration, now: i64) -> Duration {
        let counts = self.login_at.saturating_add(seconds(login));
        let end = self
            .absolute_end()
            .min(counts.saturating_add(self.extended()));
        let left = end.saturating_sub(self.steady.at(now));
        Duration::from_secs(u64::try_from(left).unwrap_or(0))
    }

    /// By how many seconds its end was put off; 0 if it was not.
    pub(crate) fn extended(&self) -> i64 {
        self.extended.load(Ordering::Acquire)
    }

    /// Puts its end off; says whether it was not put off before.
    pub(super) fn extend(&self, secs: i64) -> bool {
        let (none, order) = (0, Ordering::AcqRel);
        let put_off = self
            .extended
            .compare_exchange(none, secs, order, Ordering::Acquire);
        put_off.is_ok()
    }

    /// Tightens the session to what the rule that lets it in asks for; never loosens it.
    pub(crate) fn bind(&self, idle: Option<Duration>, most: Option<u32>) {
        let idle = idle.map_or(i64::MAX, seconds);
        let most = most.unwrap_or(u32::MAX);
        let idle_was = self.bound_idle.fetch_min(idle, Ordering::AcqRel);
        let most_was = self.bound_most.fetch_min(most, Ordering::AcqRel);
        if idle < idle_was || most < most_was {
            self.bound.store(true, Ordering::Release);
        }
    }

    /// Tells whether the session once lay unused for longer than `idle`.
    pub(crate) fn has_paused(&self, idle: Duration) -> bool {
        self.pause.load(Ordering::Acquire) > seconds(idle)
    }

    pub(super) fn most(&self) -> u32 {
        self.bound_most.load(Ordering::Acquire)
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
        // the pause first: whoever sees the new use sees it too
        let pause = now.saturating_sub(self.last_used());
        self.pause.fetch_max(pause, Ordering::AcqRel);
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
        if time < self.absolute_end() {
            EndReason::Idle
        } else {
            EndReason::Expired
        }
    }

    pub(super) fn used(&self) -> UseRow {
        let idle = self.bound_idle.load(Ordering::Acquire);
        let most = self.most();
        UseRow {
            last: self.last_used(),
            pause: self.pause.load(Ordering::Acquire),
            idle: Some(idle).filter(|idle| *idle < i64::MAX),
            most: Some(most).filter(|most| *most < u32::MAX),
            extended: self.extended(),
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
            used: self.used(),
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
