//! What is kept of proofs for tunnel devices: where and when they were given, and browsers' keys.

use std::net::IpAddr;

use async_trait::async_trait;
use rusqlite::{Transaction, params};

use super::StoreError;
use super::sqlite::Sqlite;
use crate::ids::{DeviceId, SessionId};

/// What is known of a device since its person opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BindingRow {
    pub(crate) device: DeviceId,
    /// Where the device was heard from when its person gave the proof.
    pub(crate) place: Option<IpAddr>,
    /// When it was last used; steady UNIX seconds.
    pub(crate) used: i64,
    /// The longest time without use, in seconds.
    pub(crate) pause: i64,
}

/// The clock of a person's authenticator app, as the last refused code showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClockRow {
    pub(crate) user: String,
    /// Seconds; positive is ahead.
    pub(crate) off: i64,
    /// When that was; UNIX seconds of the wall clock.
    pub(crate) at: i64,
}

/// A point of P-256, uncompressed (SEC 1 section 2.3.3).
pub(crate) type Point = [u8; 65];

/// What is kept of proofs for tunnel devices. Each call that returned `Ok` survives a crash.
#[async_trait]
pub(crate) trait ProofStore: Send + Sync {
    /// Lists what is known of the devices that sessions opened.
    async fn bindings(&self) -> Result<Vec<BindingRow>, StoreError>;
    /// Says that a session opens a device from now on; an earlier one of the device no longer does.
    async fn bind(&self, session: SessionId, row: BindingRow) -> Result<(), StoreError>;
    /// Notes how devices were used.
    async fn touch_bindings(&self, rows: Vec<BindingRow>) -> Result<(), StoreError>;
    /// Lists the keys of browsers by the sessions they belong to.
    async fn browser_keys(&self) -> Result<Vec<(SessionId, Point)>, StoreError>;
    /// Keeps the one key of a session's browser; says whether the session still is there.
    async fn put_browser_key(&self, session: SessionId, key: Point) -> Result<bool, StoreError>;
    /// Lists the people whose authenticator app shows another time.
    async fn app_clocks(&self) -> Result<Vec<ClockRow>, StoreError>;
    /// Notes that the app of a person shows another time.
    async fn put_app_clock(&self, row: ClockRow) -> Result<(), StoreError>;
    /// Forgets it: a code was right.
    async fn drop_app_clock(&self, user: &str) -> Result<(), StoreError>;
}

#[async_trait]
impl ProofStore for Sqlite {
    async fn bindings(&self) -> Result<Vec<BindingRow>, StoreError> {
        self.run(|db| {
            db.prepare_cached("SELECT device, place, used, pause FROM session_devices")?
                .query_map([], |row| {
                    let place: Option<String> = row.get(1)?;
                    Ok(BindingRow {
                        device: DeviceId(row.get(0)?),
                        // one that cannot be read is none: the device has moved then
                        place: place.and_then(|place| place.parse().ok()),
                        used: row.get(2)?,
                        pause: row.get(3)?,
                    })
                })?
                .collect()
        })
        .await
    }

    async fn bind(&self, session: SessionId, row: BindingRow) -> Result<(), StoreError> {
        self.write(move |tx| {
            let bound = tx
                .prepare_cached(
                    "INSERT OR REPLACE INTO session_devices (device, session)
                     SELECT ?1, id FROM sessions WHERE id = ?2",
                )?
                .execute((row.device.0, session.0.cast_signed()))?;
            match bound {
                0 => Ok(()),
                _ => touch(tx, &row),
            }
        })
        .await
    }

    async fn touch_bindings(&self, rows: Vec<BindingRow>) -> Result<(), StoreError> {
        self.write(move |tx| rows.iter().try_for_each(|row| touch(tx, row)))
            .await
    }

    async fn browser_keys(&self) -> Result<Vec<(SessionId, Point)>, StoreError> {
        self.run(|db| {
            db.prepare_cached("SELECT session, point FROM session_keys")?
                .query_map([], |row| {
                    let id: i64 = row.get(0)?;
                    Ok((SessionId(id.cast_unsigned()), row.get(1)?))
                })?
                .collect()
        })
        .await
    }

    async fn put_browser_key(&self, session: SessionId, key: Point) -> Result<bool, StoreError> {
        self.write(move |tx| {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO session_keys (session, point)
                 SELECT id, ?2 FROM sessions WHERE id = ?1",
            )?
            .execute(params![session.0.cast_signed(), key.as_slice()])
            .map(|count| count > 0)
        })
        .await
    }

    async fn app_clocks(&self) -> Result<Vec<ClockRow>, StoreError> {
        self.run(|db| {
            db.prepare_cached("SELECT user, off, at FROM app_clocks ORDER BY user")?
                .query_map([], |row| {
                    Ok(ClockRow {
                        user: row.get(0)?,
                        off: row.get(1)?,
                        at: row.get(2)?,
                    })
                })?
                .collect()
        })
        .await
    }

    async fn put_app_clock(&self, row: ClockRow) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO app_clocks (user, off, at) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![row.user, row.off, row.at])
            .map(drop)
        })
        .await
    }

    async fn drop_app_clock(&self, user: &str) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.write(move |tx| {
            tx.prepare_cached("DELETE FROM app_clocks WHERE user = ?1")?
                .execute([user])
                .map(drop)
        })
        .await
    }
}

fn touch(tx: &Transaction<'_>, row: &BindingRow) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE session_devices SET place = ?2, used = ?3, pause = ?4 WHERE device = ?1",
    )?
    .execute(params![
        row.device.0,
        row.place.map(|place| place.to_string()),
        row.used,
        row.pause
    ])
    .map(drop)
}
