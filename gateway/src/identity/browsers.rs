//! The browsers people signed in with before: each holds a token that makes it known.
//!
//! A known browser has failures of its own, so that an attack on the account from elsewhere does
//! not keep the person out, and it is what the policy calls a `known` device. The token outlives
//! sign-out; whatever takes the person's factors or sessions away takes it away too.

use std::collections::BTreeMap;
use std::fmt;

use parking_lot::Mutex;

use super::session::{EndReason, Session, Sessions, token_hash};
use crate::ids;
use crate::store::{BrowserRow, Hash, StoreError};

/// Browsers of one person; the one not used for longest gives way.
const PER_USER: usize = 16;
/// A browser that was not used for so long is forgotten.
pub(crate) const BROWSER_SECS: i64 = 90 * 86_400;

/// Names a known browser of one person; it stays the same while the token changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrowserId(u64);

impl fmt::Display for BrowserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "browser-{:016x}", self.0)
    }
}

/// The known browsers of everybody; bounded by the number of people.
#[derive(Default)]
pub(super) struct Browsers {
    rows: Mutex<BTreeMap<String, Vec<BrowserRow>>>,
    /// Whose rows the store still has although they are forgotten; `None` is everybody.
    unwritten: Mutex<Vec<Option<String>>>,
    /// One change at a time, so that memory and store never cross.
    changing: tokio::sync::Mutex<()>,
}

/// What remembering a browser changed.
struct Change {
    token: String,
    rows: Vec<BrowserRow>,
    gone: Vec<u64>,
    was_known: bool,
}

impl Browsers {
    pub(super) fn load(rows: Vec<BrowserRow>) -> Self {
        let mut all: BTreeMap<String, Vec<BrowserRow>> = BTreeMap::new();
        for row in rows {
            all.entry(row.user.clone()).or_default().push(row);
        }
        Self {
            rows: Mutex::new(all),
            ..Self::default()
        }
    }

    fn find(&self, user: &str, token: &str, now: i64) -> Option<BrowserId> {
        let hash = token_hash(token)?;
        let rows = self.rows.lock();
        let mine = rows.get(user)?.iter();
        let mut known = mine.filter(|row| holds(row, &hash) && is_fresh(row, now));
        known.next().map(|row| BrowserId(row.id))
    }

    /// Draws the next token of a browser. Everybody who was known by the token before is known
    /// by the new one.
    fn renew(&self, user: &str, shown: Option<&str>, now: i64) -> Option<Change> {
        let shown = shown.and_then(token_hash);
        let token = ids::token();
        let hash = token_hash(&token)?;
        let mut all = self.rows.lock();
        let mut rows = Vec::new();
        let mut was_known = false;
        for row in all.values_mut().flatten() {
            let Some(shown) = shown.filter(|shown| holds(row, shown) && is_fresh(row, now)) else {
                continue;
            };
            row.before = Some(shown);
            row.hash = hash;
            if row.user == user {
                row.used = now;
                was_known = true;
            }
            rows.push(row.clone());
        }
        let mine = all.entry(user.to_owned()).or_default();
        if !was_known {
            let fresh = BrowserRow {
                id: u64::from_le_bytes(ids::random()),
                user: user.to_owned(),
                hash,
                before: None,
                used: now,
            };
            mine.push(fresh.clone());
            rows.push(fresh);
        }
        mine.sort_by_key(|row| (is_fresh(row, now), row.used));
        let stale = mine.iter().filter(|row| !is_fresh(row, now)).count();
        let over = stale.max(mine.len().saturating_sub(PER_USER));
        let gone = mine.drain(..over).map(|row| row.id).collect();
        Some(Change {
            token,
            rows,
            gone,
            was_known,
        })
    }

    fn forget(&self, user: Option<&str>) {
        let mut rows = self.rows.lock();
        match user {
            Some(user) => drop(rows.remove(user)),
            None => rows.clear(),
        }
        self.unwritten.lock().push(user.map(str::to_owned));
    }
}

impl Sessions {
    /// Finds the known browser of a person by the token it showed.
    pub(super) fn browser(&self, user: &str, token: &str) -> Option<BrowserId> {
        self.browsers.find(user, token, self.time())
    }

    /// Makes the browser of a fresh session known from its next sign-in on; returns the token for
    /// its cookie. One that was known already keeps its name and makes this session one of a
    /// known browser. `None` if the session is over already.
    ///
    /// # Errors
    /// [`StoreError`]; the browser is as it was before.
    pub(crate) async fn remember_browser(
        &self,
        session: &Session,
        shown: Option<&str>,
    ) -> Result<Option<String>, StoreError> {
        let _one = self.browsers.changing.lock().await;
        if !session.is_live(i64::MIN) {
            return Ok(None);
        }
        let Some(change) = self.browsers.renew(&session.user, shown, self.time()) else {
            return Ok(None);
        };
        let known = change.was_known.then_some(session.id);
        let written = self.store.put_browsers(change.rows, change.gone, known);
        written.await?;
        if change.was_known {
            session.note_known_browser();
        }
        Ok(Some(change.token))
    }

    /// Forgets the known browsers of a person, or of everybody, unless a session merely ended where
    /// it was. Which browser a session was in is not kept, so all of a person's go.
    pub(super) async fn forget_browsers(&self, user: Option<&str>, why: EndReason) {
        let stays = match why {
            EndReason::SignedOut | EndReason::Idle | EndReason::Expired | EndReason::Replaced => {
                true
            }
            EndReason::SignedOutElsewhere
            | EndReason::Revoked
            | EndReason::UserDisabled
            | EndReason::UserRemoved
            | EndReason::FactorChanged => false,
        };
        if !stays {
            let _one = self.browsers.changing.lock().await;
            self.browsers.forget(user);
            self.write_forgotten().await;
        }
    }

    /// Tries again to forget in the store what is forgotten in memory.
    pub(super) async fn forget_the_rest(&self) {
        if !self.browsers.unwritten.lock().is_empty() {
            let _one = self.browsers.changing.lock().await;
            self.write_forgotten().await;
        }
    }

    async fn write_forgotten(&self) {
        let users = std::mem::take(&mut *self.browsers.unwritten.lock());
        for user in users {
            if let Err(error) = self.store.forget_browsers(user.as_deref()).await {
                tracing::error!(%error, "known browsers could not be forgotten yet");
                self.browsers.unwritten.lock().push(user);
            }
        }
    }
}

fn holds(row: &BrowserRow, hash: &Hash) -> bool {
    row.hash == *hash || row.before.as_ref() == Some(hash)
}

fn is_fresh(row: &BrowserRow, now: i64) -> bool {
    now.saturating_sub(row.used) < BROWSER_SECS
}
