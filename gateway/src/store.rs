//! Durable state.

pub(crate) mod copy;
mod factors;
mod guard;
mod mail;
mod proofs;
mod reseal;
mod rows;
mod schema;
mod sqlite;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;

pub(crate) use self::guard::{BanRow, BrowserRow};
#[cfg(test)]
pub(crate) use self::mail::MAILS_OF_ONE;
pub(crate) use self::mail::{MailRow, MailStore, ResetRow};
pub(crate) use self::proofs::{BindingRow, ClockRow, Point, ProofStore};
pub(crate) use self::reseal::{Reseal, Sealed};
pub(crate) use self::tokens::{TokenRow, TokenStore, UsedRow};
use crate::ids::{DeviceId, Door, SessionId};

/// Opens the store in the data folder, making it if there is none. Blocks; call it before serving.
///
/// # Errors
/// [`StoreError::Newer`] if a later version wrote it, [`StoreError::Database`] if it cannot be read.
pub(crate) fn open(data_dir: &Path) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(sqlite::Sqlite::open(&data_dir.join(copy::FILE))?))
}

/// What is kept over a restart. Each call that returned `Ok` survives a crash of the machine.
#[async_trait]
pub(crate) trait Store: MailStore + ProofStore + TokenStore {
    /// Reads the factors of a user.
    async fn credentials(&self, user: &str) -> Result<Option<Credentials>, StoreError>;
    /// Sets the factors of a user; the last accepted step never becomes smaller.
    async fn put_credentials(&self, user: &str, new: Credentials) -> Result<(), StoreError>;
    /// Lists the password verifiers that were brought from elsewhere and are not ours yet.
    async fn foreign_verifiers(&self) -> Result<Vec<String>, StoreError>;
    /// Replaces a password verifier if it still is `old`; says whether it was.
    async fn rehash(&self, user: &str, old: &str, new: &str) -> Result<bool, StoreError>;
    /// Replaces the password verifier of a user who has factors; says whether there was one.
    async fn put_verifier(&self, user: &str, phc: &str) -> Result<bool, StoreError>;
    /// Replaces the TOTP secret of a user who has one; says whether there was one. The last
    /// accepted step never becomes smaller.
    async fn put_totp(&self, user: &str, sealed: Vec<u8>, step: i64) -> Result<bool, StoreError>;
    /// Forgets the second factor of a user, keeps the password unless it was brought from
    /// elsewhere; says whether there were factors.
    async fn drop_totp(&self, user: &str) -> Result<bool, StoreError>;
    /// Accepts a TOTP step if it is greater than the last accepted one; says whether it was.
    async fn accept_step(&self, user: &str, step: i64) -> Result<bool, StoreError>;
    /// Replaces all recovery codes of a user.
    async fn put_recovery(&self, user: &str, codes: Vec<Hash>) -> Result<(), StoreError>;
    /// Uses a recovery code up; says whether it was there. Of parallel uses one finds it.
    async fn use_recovery(&self, user: &str, code: &Hash) -> Result<bool, StoreError>;
    /// Counts the recovery codes that are left.
    async fn recovery_left(&self, user: &str) -> Result<usize, StoreError>;
    /// Notes that a user came from places; says whether there were places before, and whether
    /// each of these was among them. The newest [`PLACES_PER_USER`] are kept.
    async fn visited(&self, user: &str, places: Vec<Hash>, at: i64) -> Result<Visited, StoreError>;
    /// Tells when a user last signed in from a place that is kept, in steady seconds.
    async fn last_visit(&self, user: &str) -> Result<Option<i64>, StoreError>;
    /// Keeps a notice; the newest [`NOTICES_PER_USER`] of a user are kept.
    async fn put_notice(&self, user: &str, notice: NoticeRow) -> Result<(), StoreError>;
    /// Lists the notices of a user, the newest first.
    async fn notices(&self, user: &str) -> Result<Vec<NoticeRow>, StoreError>;
    /// Forgets a notice of a user unless it is about the session `by`; says whether it did.
    async fn drop_notice(&self, user: &str, id: i64, by: SessionId) -> Result<bool, StoreError>;
    /// Puts what `anew` gives in the place of each sealed secret, all or none; counts those it
    /// gave something for.
    async fn reseal(&self, anew: Reseal) -> Result<usize, StoreError>;
    /// Tells whether factors, a link or a session of a user are kept.
    async fn knows(&self, user: &str) -> Result<bool, StoreError>;
    /// Forgets the factors, links and sessions of a user.
    async fn remove_user(&self, user: &str) -> Result<(), StoreError>;

    /// Keeps the link of an admin; an earlier one of the same user is void, and so is a password
    /// of theirs that was brought from elsewhere.
    async fn put_link(&self, link: LinkRow) -> Result<(), StoreError>;
    /// Keeps a link that a sign-in made, unless one of an admin counts at `now`; says whether it
    /// did.
    async fn put_ticket(&self, link: LinkRow, now: i64) -> Result<bool, StoreError>;
    /// Tells whether a link of an admin for a user counts at `now`.
    async fn awaits_link(&self, user: &str, now: i64) -> Result<bool, StoreError>;
    /// Reads a link that has not expired at `now`.
    async fn link(&self, hash: &Hash, now: i64) -> Result<Option<LinkRow>, StoreError>;
    /// Keeps a pending secret with a link unless it has one; returns the one it has then.
    async fn pend(&self, hash: &Hash, sealed: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError>;
    /// Uses a link up and sets the factors of its user, all or none; says whether it did.
    async fn redeem(&self, hash: &Hash, now: i64, new: Redeemed) -> Result<bool, StoreError>;
    /// Forgets the links that a sign-in made, of one user or of all; those of admins stay.
    async fn drop_tickets(&self, user: Option<&str>) -> Result<(), StoreError>;

    /// Lists all sessions with their cookies, the oldest cookie first.
    async fn sessions(&self) -> Result<Vec<SessionRow>, StoreError>;
    /// Keeps a new session with its first cookie.
    async fn put_session(&self, row: SessionRow) -> Result<(), StoreError>;
    /// Sets the one cookie of a session on a host; says whether the session still is there. The
    /// newest [`COOKIES_PER_SESSION`] are kept.
    async fn put_cookie(
        &self,
        session: SessionId,
        cookie: CookieRow,
        mfa_at: Option<i64>,
    ) -> Result<bool, StoreError>;
    /// Removes sessions for ever.
    async fn end_sessions(&self, ids: Vec<SessionId>) -> Result<(), StoreError>;
    /// Notes how sessions were used.
    async fn touch_sessions(&self, used: Vec<(SessionId, UseRow)>) -> Result<(), StoreError>;
    /// Says that no session opens a device any more.
    async fn release_device(&self, device: DeviceId) -> Result<(), StoreError>;

    /// Lists all devices, revoked ones too.
    async fn devices(&self) -> Result<Vec<DeviceRow>, StoreError>;
    /// Keeps a device, new or changed.
    async fn put_device(&self, row: DeviceRow) -> Result<(), StoreError>;
    /// Keeps new devices, all or none.
    async fn put_devices(&self, rows: Vec<DeviceRow>) -> Result<(), StoreError>;
    /// Notes where devices were heard and their greatest handshake time stamps.
    async fn heard_devices(&self, rows: Vec<HeardRow>) -> Result<(), StoreError>;

    /// Lists the sign-in counters.
    async fn counters(&self) -> Result<Vec<CounterRow>, StoreError>;
    /// Keeps counters; those at zero are forgotten.
    async fn put_counters(&self, rows: Vec<CounterRow>) -> Result<(), StoreError>;
    /// Forgets counters last changed before `before`.
    async fn prune_counters(&self, before: i64) -> Result<(), StoreError>;

    /// Lists the known browsers of all people, the one used last at the end.
    async fn browsers(&self) -> Result<Vec<BrowserRow>, StoreError>;
    /// Lists the sessions that were opened in a known browser.
    async fn known_sessions(&self) -> Result<Vec<SessionId>, StoreError>;
    /// Keeps and forgets browsers, and notes that a session was opened in a known one.
    async fn put_browsers(
        &self,
        rows: Vec<BrowserRow>,
        gone: Vec<u64>,
        known: Option<SessionId>,
    ) -> Result<(), StoreError>;
    /// Forgets the browsers of a user, or of everybody.
    async fn forget_browsers(&self, user: Option<&str>) -> Result<(), StoreError>;

    /// Lists the bans, those that are over too.
    async fn bans(&self) -> Result<Vec<BanRow>, StoreError>;
    /// Keeps and forgets bans.
    async fn put_bans(&self, rows: Vec<BanRow>, gone: Vec<IpNet>) -> Result<(), StoreError>;
}

/// Hosts a session has a cookie on at a time; the oldest makes room for the next.
pub(crate) const COOKIES_PER_SESSION: usize = 64;

/// Places of a user that are remembered.
pub(crate) const PLACES_PER_USER: usize = 64;

/// Notices of a user that are kept.
pub(crate) const NOTICES_PER_USER: usize = 20;

/// The kinds of sign-in counters.
pub(crate) const COUNTER_KINDS: [&str; 3] = ["pair", "account", "code"];

/// SHA-256 of a token; tokens themselves are never kept.
pub(crate) type Hash = [u8; 32];

/// The factors of a user.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// PHC string of the password verifier.
    pub(crate) phc: String,
    /// Sealed TOTP secret; without one nobody signs in.
    pub(crate) totp: Option<Vec<u8>>,
    /// The greatest TOTP step ever accepted; steps up to it are dead.
    pub(crate) last_step: i64,
    /// When both factors were confirmed, in UNIX seconds.
    pub(crate) enrolled: i64,
    /// The verifier was brought from elsewhere: the password alone leads to enrolment, once.
    pub(crate) imported: bool,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("last_step", &self.last_step)
            .field("enrolled", &self.enrolled)
            .finish_non_exhaustive()
    }
}

/// What an enrolment sets.
#[derive(Clone)]
pub(crate) struct Redeemed {
    /// PHC string of the new password; `None` keeps the one there is.
    pub(crate) phc: Option<String>,
    /// Sealed TOTP secret.
    pub(crate) totp: Vec<u8>,
    /// The step its first code used up.
    pub(crate) step: i64,
    /// UNIX seconds.
    pub(crate) at: i64,
    /// The recovery codes, in place of all earlier ones.
    pub(crate) codes: Vec<Hash>,
}

/// What an enrolment link lets its bearer do, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkKind {
    /// Set a password and a second factor.
    Invite,
    /// Set a second factor with the password that stands.
    Reset,
    /// Set a second factor; password and recovery code were right a moment ago.
    Recovery,
    /// Set a second factor; the imported password was right a moment ago.
    Imported,
    /// As `Imported`, and a new password, for the imported one is too weak.
    ImportedWeak,
}

impl LinkKind {
    const ALL: [Self; 5] = [
        Self::Invite,
        Self::Reset,
        Self::Recovery,
        Self::Imported,
        Self::ImportedWeak,
    ];

    /// Names the kind as it is kept.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Reset => "reset",
            Self::Recovery => "recovery",
            Self::Imported => "imported",
            Self::ImportedWeak => "imported-weak",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Tells whether a sign-in made the link, so that whatever ends sessions ends it too.
    pub(crate) fn is_ticket(self) -> bool {
        match self {
            Self::Invite | Self::Reset => false,
            Self::Recovery | Self::Imported | Self::ImportedWeak => true,
        }
    }
}

/// What is known of the places a user came from before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visited {
    /// There was no place before, so nothing can be new.
    pub(crate) first: bool,
    /// Whether each of the places was known.
    pub(crate) known: Vec<bool>,
}

/// Something a person must hear of; times are UNIX seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoticeRow {
    /// Given by the store; whatever it is when it is put.
    pub(crate) id: i64,
    pub(crate) kind: String,
    pub(crate) at: i64,
    /// The session it is about.
    pub(crate) session: Option<SessionId>,
    /// Where it came from.
    pub(crate) source: Option<IpAddr>,
    /// A word of whoever did it, or the browser.
    pub(crate) detail: String,
}

/// An enrolment link.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LinkRow {
    pub(crate) kind: LinkKind,
    pub(crate) hash: Hash,
    pub(crate) user: String,
    /// UNIX seconds.
    pub(crate) expires: i64,
    /// Sealed TOTP secret that waits for its first right code.
    pub(crate) pending: Option<Vec<u8>>,
}

impl std::fmt::Debug for LinkRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkRow")
            .field("user", &self.user)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// A session as it is kept; times are UNIX seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionRow {
    pub(crate) id: SessionId,
    pub(crate) user: String,
    pub(crate) door: Door,
    pub(crate) source: IpAddr,
    pub(crate) created: i64,
    pub(crate) login_at: i64,
    pub(crate) mfa_at: i64,
    pub(crate) used: UseRow,
    /// End of the absolute lifetime.
    pub(crate) expires: i64,
    /// The User-Agent field of the sign-in.
    pub(crate) agent: String,
    pub(crate) devices: Vec<DeviceId>,
    pub(crate) cookies: Vec<CookieRow>,
}

/// How a session was used, and what the rules that let it in bound it to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UseRow {
    /// UNIX seconds.
    pub(crate) last: i64,
    /// The longest time without use, in seconds.
    pub(crate) pause: i64,
    /// Seconds without use after which it ends.
    pub(crate) idle: Option<i64>,
    /// Sessions of its person at a time.
    pub(crate) most: Option<u32>,
    /// Seconds by which its end was put off, once.
    pub(crate) extended: i64,
}

/// One cookie of a session; it counts on one host only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CookieRow {
    pub(crate) hash: Hash,
    pub(crate) host: String,
}

/// A device as it is kept; times are UNIX seconds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DeviceRow {
    pub(crate) id: DeviceId,
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) public_key: [u8; 32],
    /// Sealed pre-shared key.
    pub(crate) psk: Option<Vec<u8>>,
    pub(crate) address4: Ipv4Addr,
    pub(crate) address6: Option<Ipv6Addr>,
    pub(crate) managed: bool,
    pub(crate) created: i64,
    pub(crate) revoked: Option<i64>,
    pub(crate) endpoint: Option<SocketAddr>,
    /// The greatest TAI64N of a handshake.
    pub(crate) mark: Option<[u8; 12]>,
}

/// What was heard of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeardRow {
    pub(crate) id: DeviceId,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) mark: Option<[u8; 12]>,
}

/// A sign-in counter; the key is a keyed hash and names nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CounterRow {
    pub(crate) kind: &'static str,
    pub(crate) key: Vec<u8>,
    pub(crate) count: i64,
    /// UNIX seconds.
    pub(crate) since: i64,
    /// UNIX seconds.
    pub(crate) last: i64,
}

/// Says why the store gave no answer. Grants stop then; revocations go on in memory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The data folder may not be used.
    #[error("data folder {}: {what}", path.display())]
    Folder { path: PathBuf, what: String },
    /// A later version of Postern wrote the store.
    #[error(
        "the store has schema version {found}, this version knows {known}; use the newer binary"
    )]
    Newer { found: i64, known: i64 },
    /// The database refused.
    #[error("store: {0}")]
    Database(#[from] rusqlite::Error),
    /// The store's thread has ended.
    #[error("the store has stopped")]
    Stopped,
}
