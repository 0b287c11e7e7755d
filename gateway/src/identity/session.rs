//! Sessions: in memory, written through.

mod binding;
mod ends;
mod state;
mod tables;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::sync::broadcast;

use self::binding::Bindings;
pub(crate) use self::binding::{Binding, Due};
use self::state::seconds;
pub(crate) use self::state::{EndReason, Lifetimes, Session};
use self::tables::Tables;
use self::tokens::Tokens;
pub(crate) use self::tokens::{NewToken, TOKEN_PREFIX, Token, TokenError};
use super::browsers::Browsers;
use super::login::Authenticated;
use super::record::{Context, Recorder};
use super::steady::Steady;
use crate::ids::{self, DeviceId, SessionId, TokenId};
use crate::secrets::{self, Keys};
use crate::store::{CookieRow, Hash, SessionRow, Store, StoreError, UseRow};

/// Characters of a User-Agent field that are kept.
const AGENT_MAX: usize = 256;
/// How far the stored time of last use may lag behind.
const TOUCH_SECS: i64 = 60;
/// Changes a slow subscriber may lag behind before it has to look at everything again.
const CHANGES: usize = 1024;

/// What changed; who keeps streams open listens. A lagging listener must look at everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionChange {
    /// The session is over.
    Ended(SessionId),
    /// A session opened the device.
    DeviceBound(DeviceId),
    /// The session that opened the device is over.
    DeviceReleased(DeviceId),
    /// The token counts no longer.
    TokenEnded(TokenId),
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
    bindings: Bindings,
    tokens: Tokens,
    /// Ended in memory, not yet in the store.
    unwritten: Mutex<Vec<SessionId>>,
    changes: broadcast::Sender<SessionChange>,
    lifetimes: Lifetimes,
    csrf_key: zeroize::Zeroizing<[u8; 32]>,
    steady: Arc<Steady>,
    pub(super) browsers: Browsers,
    pub(super) store: Arc<dyn Store>,
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
        let known = store.known_sessions().await?;
        let browsers = Browsers::load(store.browsers().await?);
        let tokens = Tokens::load(&*store, keys, &steady).await?;
        let sessions = Self {
            tables: RwLock::default(),
            bindings: Bindings::default(),
            tokens,
            unwritten: Mutex::default(),
            changes: broadcast::channel(CHANGES).0,
            lifetimes,
            csrf_key: keys.derive("csrf"),
            steady,
            browsers,
            store,
            recorder,
        };
        let now = sessions.time();
        for row in sessions.store.bindings().await? {
            let steady = Arc::clone(&sessions.steady);
            sessions.bindings.put(Binding::new(&row, steady));
        }
        {
            let mut tables = sessions.tables.write();
            for row in rows {
                let session = Arc::new(sessions.restore(&row, now));
                if known.contains(&session.id) {
                    session.note_known_browser();
                }
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

    /// As [`Sessions::find`], for a page that asks by itself: that is no use.
    pub(crate) fn glance(&self, cookie: &str, host: &str, now: i64) -> Option<Arc<Session>> {
        let session = self.tables.read().by_cookie(&token_hash(cookie)?, host)?;
        session.is_live(now).then_some(session)
    }

    /// Tells whose session a cookie was of that ran out lately, idle or old; not of one that was
    /// ended in any other way.
    pub(crate) fn ran_out(&self, cookie: &str, host: &str, now: i64) -> Option<Arc<str>> {
        let hash = token_hash(cookie)?;
        let tables = self.tables.read();
        if let Some(session) = tables.by_cookie(&hash, host) {
            return (!session.is_live(now)).then(|| Arc::clone(&session.user));
        }
        tables.ran_out(&hash, host, self.steady.at(now))
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

    /// Puts off the end of a session, unless it was put off before.
    ///
    /// # Errors
    /// [`SessionError`]; it holds until a restart if only the store failed.
    pub(super) async fn extend(&self, session: &Session, by: Duration) -> Result<(), SessionError> {
        if !session.is_live(i64::MIN) || !session.extend(seconds(by)) {
            return Err(SessionError::Ended);
        }
        let row = (session.id, session.used());
        Ok(self.store.touch_sessions(vec![row]).await?)
    }

    /// Finds the live session that opened a tunnel device; whether a proof is due again is not
    /// asked.
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
            used: UseRow {
                last: now,
                ..UseRow::default()
            },
            expires: now.saturating_add(seconds(self.lifetimes.absolute)),
            agent: from.agent.chars().take(AGENT_MAX).collect(),
            devices: Vec::new(),
            cookies: Vec::new(),
        };
        self.restore(&row, now)
    }

    fn restore(&self, row: &SessionRow, now: i64) -> Session {
        let id = row.id.0.to_le_bytes();
        let csrf = secrets::hmac(&self.csrf_key, &[b"session", &id]);
        Session::from_row(row, &self.lifetimes, csrf, Arc::clone(&self.steady), now)
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

    async fn write_uses(&self) -> Result<(), StoreError> {
        let stale = |s: &Arc<Session>| {
            let lag = s.last_used() - s.kept_used.load(Ordering::Acquire);
            lag >= TOUCH_SECS || s.bound.load(Ordering::Acquire)
        };
        let used: Vec<_> = self.list().into_iter().filter(stale).collect();
        if used.is_empty() {
            return Ok(());
        }
        let newly = |s: &Arc<Session>| s.bound.swap(false, Ordering::AcqRel);
        let bound: Vec<_> = used.iter().filter(|s| newly(s)).map(Arc::clone).collect();
        let rows: Vec<_> = used.iter().map(|s| (s.id, s.used())).collect();
        if let Err(error) = self.store.touch_sessions(rows.clone()).await {
            for session in bound {
                session.bound.store(true, Ordering::Release);
            }
            return Err(error);
        }
        for (session, (_, row)) in used.iter().zip(rows) {
            session.kept_used.store(row.last, Ordering::Release);
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

fn report<E: std::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(%error, "the end or use of a session could not be written");
    }
}
