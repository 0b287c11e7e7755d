//! What is kept against guessing: the browsers a person signed in with, and the bans.

use ipnet::IpNet;
use rusqlite::{Connection, Row, Transaction, params};

use super::Hash;
use super::rows::{malformed, parsed};
use crate::ids::SessionId;

type Sql<T> = rusqlite::Result<T>;

/// A browser that signed a person in; times are steady UNIX seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrowserRow {
    /// Stays the same while its token changes.
    pub(crate) id: u64,
    pub(crate) user: String,
    /// SHA-256 of the token in its cookie.
    pub(crate) hash: Hash,
    /// The token before, which counts until the present one was shown.
    pub(crate) before: Option<Hash>,
    pub(crate) used: i64,
}

/// A ban, in force or remembered so that the next one lasts longer; steady UNIX seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BanRow {
    pub(crate) network: IpNet,
    pub(crate) since: i64,
    /// `None` until it is lifted.
    pub(crate) until: Option<i64>,
    /// How often the network was banned without a long pause.
    pub(crate) times: u32,
    /// A reason code.
    pub(crate) reason: String,
    /// What the operator wrote.
    pub(crate) note: Option<String>,
}

pub(super) fn browsers(db: &Connection) -> Sql<Vec<BrowserRow>> {
    db.prepare_cached("SELECT id, user, hash, before, used FROM browsers ORDER BY used, id")?
        .query_map([], |row| {
            Ok(BrowserRow {
                id: row.get::<_, i64>(0)?.cast_unsigned(),
                user: row.get(1)?,
                hash: row.get(2)?,
                before: row.get(3)?,
                used: row.get(4)?,
            })
        })?
        .collect()
}

/// Lists the sessions that were opened in a browser known before.
pub(super) fn known_sessions(db: &Connection) -> Sql<Vec<SessionId>> {
    db.prepare_cached("SELECT session FROM browser_sessions")?
        .query_map([], |row| row.get::<_, i64>(0))?
        .map(|id| id.map(|id| SessionId(id.cast_unsigned())))
        .collect()
}

pub(super) fn put_browsers(
    tx: &Transaction<'_>,
    rows: &[BrowserRow],
    gone: &[u64],
    known: Option<SessionId>,
) -> Sql<()> {
    let mut put = tx.prepare_cached(
        "INSERT OR REPLACE INTO browsers (id, user, hash, before, used)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for row in rows {
        let before = row.before.as_ref().map(<Hash>::as_slice);
        let id = row.id.cast_signed();
        put.execute(params![id, row.user, row.hash.as_slice(), before, row.used])?;
    }
    let mut forget = tx.prepare_cached("DELETE FROM browsers WHERE id = ?1")?;
    for id in gone {
        forget.execute([id.cast_signed()])?;
    }
    if let Some(session) = known {
        tx.prepare_cached(
            "INSERT OR IGNORE INTO browser_sessions (session)
             SELECT id FROM sessions WHERE id = ?1",
        )?
        .execute([session.0.cast_signed()])?;
    }
    Ok(())
}

pub(super) fn forget_browsers(tx: &Transaction<'_>, user: Option<&str>) -> Sql<()> {
    tx.prepare_cached("DELETE FROM browsers WHERE user = ?1 OR ?1 IS NULL")?
        .execute([user])
        .map(drop)
}

/// Reads the bans; one that cannot be read is left out.
pub(super) fn bans(db: &Connection) -> Sql<Vec<BanRow>> {
    let rows = db
        .prepare_cached("SELECT network, since, until, times, reason, note FROM bans")?
        .query_map([], ban)?
        .filter_map(Result::ok)
        .collect();
    Ok(rows)
}

fn ban(row: &Row<'_>) -> Sql<BanRow> {
    let network: IpNet = parsed(row, 0)?;
    if network != network.trunc() {
        return Err(malformed(0));
    }
    Ok(BanRow {
        network,
        since: row.get(1)?,
        until: row.get(2)?,
        times: row.get(3)?,
        reason: row.get(4)?,
        note: row.get(5)?,
    })
}

pub(super) fn put_bans(tx: &Transaction<'_>, rows: &[BanRow], gone: &[IpNet]) -> Sql<()> {
    let mut forget = tx.prepare_cached("DELETE FROM bans WHERE network = ?1")?;
    for network in gone {
        forget.execute([network.to_string()])?;
    }
    let mut put = tx.prepare_cached(
        "INSERT OR REPLACE INTO bans (network, since, until, times, reason, note)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for row in rows {
        let network = row.network.to_string();
        put.execute(params![
            network, row.since, row.until, row.times, row.reason, row.note
        ])?;
    }
    Ok(())
}
