//! The statements that move whole records between tables and types.

use std::str::FromStr;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{
    CookieRow, CounterRow, Credentials, DeviceRow, Hash, HeardRow, LinkKind, LinkRow, SessionRow,
    UseRow,
};
use crate::ids::{DeviceId, Door, SessionId};

type Sql<T> = rusqlite::Result<T>;

pub(super) fn credentials(db: &Connection, user: &str) -> Sql<Option<Credentials>> {
    db.prepare_cached(
        "SELECT phc, totp, last_step, enrolled, imported FROM credentials WHERE user = ?1",
    )?
    .query_row([user], |row| {
        let totp: Vec<u8> = row.get(1)?;
        Ok(Credentials {
            phc: row.get(0)?,
            totp: Some(totp).filter(|sealed| !sealed.is_empty()),
            last_step: row.get(2)?,
            enrolled: row.get(3)?,
            imported: row.get(4)?,
        })
    })
    .optional()
}

/// Sets the factors; steps never run backwards, whatever secret they belong to.
pub(super) fn put_credentials(tx: &Transaction<'_>, user: &str, new: &Credentials) -> Sql<()> {
    tx.prepare_cached(
        "INSERT INTO credentials (user, phc, totp, last_step, enrolled, imported)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (user) DO UPDATE SET
             phc = ?2, totp = ?3, last_step = max(last_step, ?4), enrolled = ?5, imported = ?6",
    )?
    .execute(params![
        user,
        new.phc,
        // The column came before factors could lack one half.
        new.totp.as_deref().unwrap_or_default(),
        new.last_step,
        new.enrolled,
        new.imported
    ])
    .map(drop)
}

pub(super) fn link(db: &Connection, hash: &Hash, now: i64) -> Sql<Option<LinkRow>> {
    db.prepare_cached(
        "SELECT hash, user, expires, pending, kind FROM links WHERE hash = ?1 AND expires > ?2",
    )?
    .query_row(params![hash.as_slice(), now], |row| {
        let kind: String = row.get(4)?;
        Ok(LinkRow {
            kind: LinkKind::parse(&kind).ok_or_else(|| malformed(4))?,
            hash: row.get(0)?,
            user: row.get(1)?,
            expires: row.get(2)?,
            pending: row.get(3)?,
        })
    })
    .optional()
}

/// Reads the sessions; one that cannot be read is left out, so its owner is signed out.
pub(super) fn sessions(db: &Connection) -> Sql<Vec<SessionRow>> {
    let mut all: Vec<SessionRow> = db
        .prepare_cached(
            "SELECT id, user, door, source, created, login_at, mfa_at, last_used, expires, agent,
                    pause, idle, most, extended
             FROM sessions ORDER BY id",
        )?
        .query_map([], session)?
        .filter_map(Result::ok)
        .collect();
    let mut cookies = db.prepare_cached(
        "SELECT hash, host FROM session_cookies WHERE session = ?1 ORDER BY made",
    )?;
    let mut devices = db.prepare_cached("SELECT device FROM session_devices WHERE session = ?1")?;
    for row in &mut all {
        let id = row.id.0.cast_signed();
        row.cookies = cookies
            .query_map([id], |row| {
                Ok(CookieRow {
                    hash: row.get(0)?,
                    host: row.get(1)?,
                })
            })?
            .filter_map(Result::ok)
            .collect();
        row.devices = devices
            .query_map([id], |row| row.get(0).map(DeviceId))?
            .filter_map(Result::ok)
            .collect();
    }
    Ok(all)
}

fn session(row: &Row<'_>) -> Sql<SessionRow> {
    let id: i64 = row.get(0)?;
    let door: String = row.get(2)?;
    Ok(SessionRow {
        id: SessionId(id.cast_unsigned()),
        user: row.get(1)?,
        door: match door.as_str() {
            "web" => Door::Web,
            "tunnel" => Door::Tunnel,
            _ => return Err(malformed(2)),
        },
        source: parsed(row, 3)?,
        created: row.get(4)?,
        login_at: row.get(5)?,
        mfa_at: row.get(6)?,
        used: UseRow {
            last: row.get(7)?,
            pause: row.get(10)?,
            idle: row.get(11)?,
            most: row.get(12)?,
            extended: row.get(13)?,
        },
        expires: row.get(8)?,
        agent: row.get(9)?,
        devices: Vec::new(),
        cookies: Vec::new(),
    })
}

pub(super) fn put_session(tx: &Transaction<'_>, row: &SessionRow) -> Sql<()> {
    tx.prepare_cached(
        "INSERT INTO sessions
             (id, user, door, source, created, login_at, mfa_at, last_used, expires, agent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        row.id.0.cast_signed(),
        row.user,
        row.door.name(),
        row.source.to_string(),
        row.created,
        row.login_at,
        row.mfa_at,
        row.used.last,
        row.expires,
        row.agent
    ])?;
    for cookie in &row.cookies {
        put_cookie(tx, row.id, cookie, None)?;
    }
    Ok(())
}

pub(super) fn touch_sessions(tx: &Transaction<'_>, used: &[(SessionId, UseRow)]) -> Sql<()> {
    let mut touch = tx.prepare_cached(
        "UPDATE sessions SET last_used = ?2, pause = ?3, idle = ?4, most = ?5, extended = ?6
         WHERE id = ?1",
    )?;
    used.iter().try_for_each(|(id, row)| {
        touch
            .execute(params![
                id.0.cast_signed(),
                row.last,
                row.pause,
                row.idle,
                row.most,
                row.extended
            ])
            .map(drop)
    })
}

pub(super) fn put_cookie(
    tx: &Transaction<'_>,
    session: SessionId,
    cookie: &CookieRow,
    mfa_at: Option<i64>,
) -> Sql<bool> {
    let id = session.0.cast_signed();
    let there = tx
        .prepare_cached("UPDATE sessions SET mfa_at = coalesce(?2, mfa_at) WHERE id = ?1")?
        .execute((id, mfa_at))?;
    if there == 0 {
        return Ok(false);
    }
    tx.prepare_cached(
        "INSERT OR REPLACE INTO session_cookies (hash, session, host, made)
         SELECT ?1, ?2, ?3, coalesce(max(made), 0) + 1 FROM session_cookies WHERE session = ?2",
    )?
    .execute(params![cookie.hash.as_slice(), id, cookie.host])?;
    tx.prepare_cached(
        "DELETE FROM session_cookies WHERE hash IN (
             SELECT hash FROM session_cookies WHERE session = ?1
             ORDER BY made DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute((
        id,
        i64::try_from(super::COOKIES_PER_SESSION).unwrap_or(i64::MAX),
    ))?;
    Ok(true)
}

pub(super) fn devices(db: &Connection) -> Sql<Vec<DeviceRow>> {
    db.prepare_cached(
        "SELECT id, user, name, public_key, psk, address4, address6, managed, created, revoked,
                endpoint, mark
         FROM devices ORDER BY id",
    )?
    .query_map([], device)?
    .collect()
}

fn device(row: &Row<'_>) -> Sql<DeviceRow> {
    Ok(DeviceRow {
        id: DeviceId(row.get(0)?),
        user: row.get(1)?,
        name: row.get(2)?,
        public_key: row.get(3)?,
        psk: row.get(4)?,
        address4: parsed(row, 5)?,
        address6: parsed_option(row, 6)?,
        managed: row.get(7)?,
        created: row.get(8)?,
        revoked: row.get(9)?,
        endpoint: parsed_option(row, 10)?,
        mark: row.get(11)?,
    })
}

pub(super) fn put_device(tx: &Transaction<'_>, row: &DeviceRow) -> Sql<()> {
    tx.prepare_cached(
        "INSERT INTO devices
             (id, user, name, public_key, psk, address4, address6, managed, created, revoked,
              endpoint, mark)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (id) DO UPDATE SET
             name = ?3, psk = ?5, managed = ?8, revoked = ?10, endpoint = ?11, mark = ?12",
    )?
    .execute(params![
        row.id.0,
        row.user,
        row.name,
        row.public_key.as_slice(),
        row.psk,
        row.address4.to_string(),
        row.address6.map(|a| a.to_string()),
        row.managed,
        row.created,
        row.revoked,
        row.endpoint.map(|a| a.to_string()),
        row.mark.as_ref().map(<[u8; 12]>::as_slice)
    ])
    .map(drop)
}

pub(super) fn heard(tx: &Transaction<'_>, heard: &[HeardRow]) -> Sql<()> {
    let mut update = tx.prepare_cached(
        "UPDATE devices SET endpoint = coalesce(?2, endpoint),
             mark = CASE WHEN mark IS NULL OR ?3 > mark THEN coalesce(?3, mark) ELSE mark END
         WHERE id = ?1",
    )?;
    heard.iter().try_for_each(|row| {
        let endpoint = row.endpoint.map(|a| a.to_string());
        let mark = row.mark.as_ref().map(<[u8; 12]>::as_slice);
        update.execute(params![row.id.0, endpoint, mark]).map(drop)
    })
}

/// Reads the counters of the kinds this version knows.
pub(super) fn counters(db: &Connection) -> Sql<Vec<CounterRow>> {
    db.prepare_cached("SELECT kind, key, count, since, last FROM counters")?
        .query_map([], |row| {
            let kind: String = row.get(0)?;
            let known = super::COUNTER_KINDS.iter().find(|known| **known == kind);
            Ok(CounterRow {
                kind: known.copied().ok_or_else(|| malformed(0))?,
                key: row.get(1)?,
                count: row.get(2)?,
                since: row.get(3)?,
                last: row.get(4)?,
            })
        })?
        .collect()
}

pub(super) fn put_counters(tx: &Transaction<'_>, counters: &[CounterRow]) -> Sql<()> {
    let mut put = tx.prepare_cached(
        "INSERT OR REPLACE INTO counters (kind, key, count, since, last)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut forget = tx.prepare_cached("DELETE FROM counters WHERE kind = ?1 AND key = ?2")?;
    for row in counters {
        if row.count == 0 {
            forget.execute(params![row.kind, row.key])?;
        } else {
            put.execute(params![row.kind, row.key, row.count, row.since, row.last])?;
        }
    }
    Ok(())
}

pub(super) fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> Sql<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| malformed(column))
}

pub(super) fn parsed_option<T: FromStr>(row: &Row<'_>, column: usize) -> Sql<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|t| t.parse().map_err(|_| malformed(column)))
        .transpose()
}

pub(super) fn malformed(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "malformed".to_owned(), Type::Text)
}
