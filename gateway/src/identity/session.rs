//! Sessions: in memory, written through.

mod tables;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use futures_util::StreamExt;
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::sync::broadcast;

use self::tables::Tables;
use super::login::Authenticated;
use super::record::{Context, Recorder};
use super::steady::Steady;
use crate::audit::{Event, Record, reason};
use crate::ids::{self, DeviceId, Door, SessionId};
use crate::secrets::{self, Keys};
use crate::store::{CookieRow, Hash, SessionRow, Store, StoreError};

/// Sessions of one person at a time; the oldest is replaced by the next.
const PER_USER: usize = 20;
/// How far the stored time of last use may lag behind.
const TOUCH_SECS: i64 = 60;
/// A stored session that begins later than this in the future is damaged, and so over.
const FUTURE_SECS: i64 = 300;
/// Changes a slow subscriber may lag behind before it has to look at everything again.
const CHANGES: usize = 1024;
/// Records of ends that wait for the journal together.
const RECORDS_AT_ONCE: usize = 64;

/// How long sessions live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    /// Without use.
    pub(crate) idle: Duration,
    /// From the sign-in, whatever the use.
    pub(crate) absolute: Duration,
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
    mfa_at: AtomicI64,
    last_used: AtomicI64,
    /// `last_used` as the store has it.
    kept_used: AtomicI64,
    idle: i64,
    absolute_end: i64,
    ended: AtomicBool,
    devices: Mutex<Vec<DeviceId>>,
    csrf: String,
    steady: Arc<Steady>,
}

impl Session {
    /// When the last code was right.
    pub(crate) fn mfa_at(&self) -> i64 {
        self.mfa_at.load(Ordering::Acquire)
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

    /// The token that forms of this session carry.
    pub(crate) fn csrf(&self) -> String {
        self.csrf.clone()
    }

    fn why_over(&self, time: i64) -> EndReason {
        if time < self.absolute_end {
            EndReason::Idle
        } else {
            EndReason::Expired
        }
    }

    fn row(&self) -> SessionRow {
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
            devices: self.devices(),
            cookies: Vec::new(),
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    SignedOut,
    Revoked,
    UserDisabled,
    UserRemoved,
    /// Password or second factor were set anew.
    FactorChanged,
    Idle,
    Expired,
    Policy,
    /// The person has too many; this was the oldest.
    Replaced,
}

impl EndReason {
    /// The reason code of the record.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::SignedOut => reason::SIGNED_OUT,
            Self::Revoked => reason::REVOKED,
            Self::UserDisabled => reason::USER_DISABLED,
            Self::UserRemoved => reason::REMOVED,
            Self::FactorChanged => reason::USER_CHANGED,
            Self::Idle => reason::IDLE,
            Self::Expired => reason::EXPIRED,
            Self::Policy => reason::POLICY,
            Self::Replaced => reason::REPLACED,
        }
    }
}

/// What changed; who keeps streams open listens. A lagging listener must look at everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionChange {
    /// The session is over.
    Ended(SessionId),
    /// A session opened the device.
    DeviceBound(DeviceId),
    /// The session that opened the device is over.
    DeviceReleased(DeviceId),
}

/// Says why a session could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// It is over, or its user's sessions were ended meanwhile.
    #[error("the session is over")]
    Ended,
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All sessions of the gateway.
///
/// A cookie holds 256 random bits; only their SHA-256 is kept. Each cookie counts on the one host
/// it was made for. Ending works in memory at once and is written before the answer; what could
/// not be written is tried again at each sweep.
pub(crate) struct Sessions {
    tables: RwLock<Tables>,
    /// Ended in memory, not yet in the store.
    unwritten: Mutex<Vec<SessionId>>,
    changes: broadcast::Sender<SessionChange>,
    lifetimes: Lifetimes,
    csrf_key: zeroize::Zeroizing<[u8; 32]>,
    steady: Arc<Steady>,
    store: Arc<dyn Store>,
    recorder: Arc<dyn Recorder>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    /// Takes up the sessions that were kept.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub(crate) async fn load(
        store: Arc<dyn Store>,
        keys: &Keys,
        recorder: Arc<dyn Recorder>,
        lifetimes: Lifetimes,
        steady: Arc<Steady>,
    ) -> Result<Self, StoreError> {
        let rows = store.sessions().await?;
        let sessions = Self {
            tables: RwLock::default(),
            unwritten: Mutex::default(),
            changes: broadcast::channel(CHANGES).0,
            lifetimes,
            csrf_key: keys.derive("csrf"),
            steady,
            store,
            recorder,
        };
        let now = sessions.time();
        {
            let mut tables = sessions.tables.write();
            for row in rows {
                let session = Arc::new(sessions.restore(&row, now));
                tables.insert(session, row.cookies);
            }
        }
        Ok(sessions)
    }

    /// The time sessions live by: never turns back.
    pub(crate) fn time(&self) -> i64 {
        self.steady.at(i64::MIN)
    }

    /// Finds the live session of a cookie value on `host` and notes its use.
    pub(crate) fn find(&self, cookie: &str, host: &str, now: i64) -> Option<Arc<Session>> {
        let hash = token_hash(cookie)?;
        let session = self.tables.read().by_cookie(&hash, host)?;
        if !session.is_live(now) {
            return None;
        }
        session.touch(now);
        Some(session)
    }

    /// Finds a session that has not ended, live or waiting for its sweep.
    pub(crate) fn find_by_id(&self, id: SessionId) -> Option<Arc<Session>> {
        self.tables.read().get(id)
    }

    /// Lists the sessions in the order of their ids.
    pub(crate) fn list(&self) -> Vec<Arc<Session>> {
        self.tables.read().all()
    }

    /// Lists the sessions of a user, the oldest first.
    pub(crate) fn of_user(&self, user: &str) -> Vec<Arc<Session>> {
        self.tables.read().of_user(user)
    }

    /// Counts how often the sessions of a user were ended as a whole.
    pub(crate) fn epoch(&self, user: &str) -> u64 {
        self.tables.read().epoch(user)
    }

    /// Makes the session of a sign-in and its cookie for `host`.
    ///
    /// # Errors
    /// [`SessionError::Ended`] if all sessions of the user were ended since the sign-in began.
    pub(crate) async fn open(
        &self,
        id: SessionId,
        who: Authenticated,
        from: &Context<'_>,
    ) -> Result<(Arc<Session>, String), SessionError> {
        let session = Arc::new(self.fresh(id, &who, from));
        let token = ids::token();
        let cookie = cookie_row(&token, from.host);
        let mut row = session.row();
        row.cookies.push(cookie.clone());
        self.store.put_session(row).await?;
        let added = {
            let mut tables = self.tables.write();
            let same = tables.epoch(&session.user) == who.epoch();
            if same {
                tables.insert(Arc::clone(&session), vec![cookie]);
            }
            same
        };
        if !added {
            self.unwritten.lock().push(id);
            self.write_ends().await?;
            return Err(SessionError::Ended);
        }
        self.replace_oldest(&session.user).await;
        Ok((session, token))
    }

    /// Makes the cookie of a live session for another host; an earlier one for it is dead.
    ///
    /// # Errors
    /// [`SessionError`]; no cookie was made.
    pub(crate) async fn mint(
        &self,
        session: &Arc<Session>,
        host: &str,
    ) -> Result<String, SessionError> {
        if !session.is_live(i64::MIN) {
            return Err(SessionError::Ended);
        }
        self.new_cookie(session, host, None).await
    }

    /// Notes a right code at `at` and changes the cookie of `host`.
    ///
    /// # Errors
    /// [`SessionError`]; nothing changed.
    pub(crate) async fn stepped_up(
        &self,
        session: &Arc<Session>,
        host: &str,
        proof: &super::login::CodeProof,
    ) -> Result<String, SessionError> {
        if *session.user != *proof.user() || !session.is_live(i64::MIN) {
            return Err(SessionError::Ended);
        }
        let token = self.new_cookie(session, host, Some(proof.at())).await?;
        session.mfa_at.fetch_max(proof.at(), Ordering::AcqRel);
        Ok(token)
    }

    /// Ends a session; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError`]: it is over, but a restart before the next sweep might bring it back.
    pub(crate) async fn end(&self, id: SessionId, why: EndReason) -> Result<bool, StoreError> {
        let gone = self.tables.write().remove(id);
        let ended = gone.is_some();
        self.finish(gone.into_iter().collect(), why).await?;
        Ok(ended)
    }

    /// Ends all sessions of a user, and every sign-in of theirs that is under way.
    ///
    /// # Errors
    /// As [`Sessions::end`].
    pub(crate) async fn end_user(
        &self,
        user: &str,
        why: EndReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        let gone = self.tables.write().remove_user(user);
        let ids = gone.iter().map(|session| session.id).collect();
        self.finish(gone, why).await?;
        Ok(ids)
    }

    /// Ends all sessions, and every sign-in that is under way.
    ///
    /// # Errors
    /// As [`Sessions::end`].
    pub(crate) async fn end_all(&self, why: EndReason) -> Result<Vec<SessionId>, StoreError> {
        let gone = self.tables.write().remove_all();
        let ids = gone.iter().map(|session| session.id).collect();
        self.finish(gone, why).await?;
        Ok(ids)
    }

    /// Ends the sessions whose time is over and returns them; call it each second. Writes the
    /// times of last use, and ends that could not be written before.
    pub(crate) async fn expired(&self, now: i64) -> Vec<Arc<Session>> {
        let time = self.steady.at(now);
        let mut gone = Vec::new();
        for why in [EndReason::Idle, EndReason::Expired] {
            let over: Vec<_> = self
                .list()
                .into_iter()
                .filter(|s| !s.is_live(now) && s.why_over(time) == why)
                .filter_map(|s| self.tables.write().remove(s.id))
                .collect();
            gone.extend(over.iter().map(Arc::clone));
            report(self.finish(over, why).await);
        }
        report(self.write_uses().await);
        report(self.write_ends().await);
        gone
    }

    /// Says that a live session opens a device; an earlier session of it no longer does.
    ///
    /// # Errors
    /// [`SessionError`]; nothing changed.
    pub(crate) async fn bind_device(
        &self,
        session: &Session,
        device: DeviceId,
    ) -> Result<(), SessionError> {
        if !session.is_live(i64::MIN) {
            return Err(SessionError::Ended);
        }
        self.store.bind_device(session.id, device).await?;
        if !self.tables.write().bind(session.id, device) {
            return Err(SessionError::Ended);
        }
        self.tell(SessionChange::DeviceBound(device));
        Ok(())
    }

    /// Finds the live session that opened a tunnel device.
    pub(crate) fn opened_by(&self, device: DeviceId, now: i64) -> Option<Arc<Session>> {
        let session = self.tables.read().by_device(device)?;
        session.is_live(now).then_some(session)
    }

    /// Listens for changes from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<SessionChange> {
        self.changes.subscribe()
    }

    fn fresh(&self, id: SessionId, who: &Authenticated, from: &Context<'_>) -> Session {
        let now = self.steady.at(from.now);
        let row = SessionRow {
            id,
            user: who.user().as_str().to_owned(),
            door: from.door,
            source: from.source,
            created: now,
            login_at: who.at(),
            mfa_at: who.at(),
            last_used: now,
            expires: now.saturating_add(seconds(self.lifetimes.absolute)),
            devices: Vec::new(),
            cookies: Vec::new(),
        };
        self.restore(&row, now)
    }

    fn restore(&self, row: &SessionRow, now: i64) -> Session {
        let sane = row.created <= now.saturating_add(FUTURE_SECS);
        let end = row.created.saturating_add(seconds(self.lifetimes.absolute));
        let id = row.id.0.to_le_bytes();
        Session {
            id: row.id,
            user: row.user.as_str().into(),
            door: row.door,
            source: row.source,
            created: row.created,
            login_at: row.login_at,
            mfa_at: AtomicI64::new(row.mfa_at.min(now)),
            last_used: AtomicI64::new(row.last_used.min(now)),
            kept_used: AtomicI64::new(row.last_used),
            idle: seconds(self.lifetimes.idle),
            absolute_end: if sane { end.min(row.expires) } else { i64::MIN },
            ended: AtomicBool::new(false),
            devices: Mutex::new(row.devices.clone()),
            csrf: BASE64URL_NOPAD.encode(&secrets::hmac(&self.csrf_key, &[b"session", &id])),
            steady: Arc::clone(&self.steady),
        }
    }

    async fn new_cookie(
        &self,
        session: &Arc<Session>,
        host: &str,
        mfa_at: Option<i64>,
    ) -> Result<String, SessionError> {
        let token = ids::token();
        let cookie = cookie_row(&token, host);
        let there = self
            .store
            .put_cookie(session.id, cookie.clone(), mfa_at)
            .await?;
        if !there || !self.tables.write().add_cookie(session.id, cookie) {
            return Err(SessionError::Ended);
        }
        Ok(token)
    }

    async fn replace_oldest(&self, user: &str) {
        let all = self.of_user(user);
        for session in all.iter().take(all.len().saturating_sub(PER_USER)) {
            report(self.end(session.id, EndReason::Replaced).await.map(drop));
        }
    }

    /// Tells, writes and records the end of sessions that have left the tables.
    async fn finish(&self, gone: Vec<Arc<Session>>, why: EndReason) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        for session in &gone {
            self.tell(SessionChange::Ended(session.id));
            for device in session.devices() {
                self.tell(SessionChange::DeviceReleased(device));
            }
        }
        self.unwritten.lock().extend(gone.iter().map(|s| s.id));
        let written = self.write_ends().await;
        futures_util::stream::iter(&gone)
            .for_each_concurrent(RECORDS_AT_ONCE, |session| async move {
                // Revocation goes on when the journal is broken.
                report(self.recorder.durable(ended(session, why)).await);
            })
            .await;
        written
    }

    async fn write_ends(&self) -> Result<(), StoreError> {
        let ids = self.unwritten.lock().clone();
        if ids.is_empty() {
            return Ok(());
        }
        self.store.end_sessions(ids.clone()).await?;
        self.unwritten.lock().retain(|id| !ids.contains(id));
        Ok(())
    }

    async fn write_uses(&self) -> Result<(), StoreError> {
        let used: Vec<_> = self
            .list()
            .into_iter()
            .map(|session| (session.last_used(), session))
            .filter(|(at, s)| at - s.kept_used.load(Ordering::Acquire) >= TOUCH_SECS)
            .collect();
        if used.is_empty() {
            return Ok(());
        }
        let rows = used.iter().map(|(at, session)| (session.id, *at)).collect();
        self.store.touch_sessions(rows).await?;
        for (at, session) in used {
            session.kept_used.store(at, Ordering::Release);
        }
        Ok(())
    }

    fn tell(&self, change: SessionChange) {
        // Nobody listens: then there is nothing to close.
        drop(self.changes.send(change));
    }
}

/// SHA-256 of a token as cookies and links carry it; `None` for what we never made.
pub(super) fn token_hash(token: &str) -> Option<Hash> {
    if token.len() != 43 {
        return None;
    }
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
    Some(Sha256::digest(bytes).into())
}

fn cookie_row(token: &str, host: &str) -> CookieRow {
    CookieRow {
        hash: token_hash(token).unwrap_or_else(|| Sha256::digest(token).into()),
        host: host.to_owned(),
    }
}

fn ended(session: &Session, why: EndReason) -> Record {
    let event = if why == EndReason::SignedOut {
        Event::SignedOut
    } else {
        Event::SessionEnded
    };
    let mut record = Record::new(event, "ok", why.reason());
    record.user = Some(Arc::clone(&session.user));
    record.session = Some(session.id);
    record.source = Some(session.source);
    record
}

fn report<E: std::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(%error, "the end or use of a session could not be written");
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
