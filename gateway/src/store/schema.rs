//! The tables, and how an older store becomes the current one.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Each entry leads from the version that is its index to the next; entries are never changed.
const STEPS: &[&str] = &[
    "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE credentials (
        user TEXT PRIMARY KEY, phc TEXT NOT NULL, totp BLOB NOT NULL,
        last_step INTEGER NOT NULL, enrolled INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE links (
        hash BLOB PRIMARY KEY, user TEXT NOT NULL UNIQUE, expires INTEGER NOT NULL,
        pending BLOB) STRICT, WITHOUT ROWID;
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY, user TEXT NOT NULL, door TEXT NOT NULL, source TEXT NOT NULL,
        created INTEGER NOT NULL, login_at INTEGER NOT NULL, mfa_at INTEGER NOT NULL,
        last_used INTEGER NOT NULL, expires INTEGER NOT NULL) STRICT;
    CREATE TABLE session_cookies (
        hash BLOB PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
        host TEXT NOT NULL, UNIQUE (session, host)) STRICT, WITHOUT ROWID;
    CREATE TABLE session_devices (
        device INTEGER PRIMARY KEY,
        session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE) STRICT;
    CREATE INDEX session_devices_session ON session_devices (session);
    CREATE TABLE devices (
        id INTEGER PRIMARY KEY, user TEXT NOT NULL, name TEXT NOT NULL,
        public_key BLOB NOT NULL, psk BLOB, address4 TEXT NOT NULL, address6 TEXT,
        managed INTEGER NOT NULL, created INTEGER NOT NULL, revoked INTEGER,
        endpoint TEXT, mark BLOB) STRICT;
    CREATE UNIQUE INDEX devices_key ON devices (public_key) WHERE revoked IS NULL;
    CREATE UNIQUE INDEX devices_address4 ON devices (address4) WHERE revoked IS NULL;
    CREATE TABLE counters (
        kind TEXT NOT NULL, key BLOB NOT NULL, count INTEGER NOT NULL, since INTEGER NOT NULL,
        last INTEGER NOT NULL, PRIMARY KEY (kind, key)) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE session_cookies ADD COLUMN made INTEGER NOT NULL DEFAULT 0;
",
    "
    CREATE TABLE browsers (
        id INTEGER PRIMARY KEY, user TEXT NOT NULL, hash BLOB NOT NULL, before BLOB,
        used INTEGER NOT NULL) STRICT;
    CREATE INDEX browsers_user ON browsers (user);
    CREATE TABLE browser_sessions (
        session INTEGER PRIMARY KEY REFERENCES sessions ON DELETE CASCADE) STRICT;
    CREATE TABLE bans (
        network TEXT PRIMARY KEY, since INTEGER NOT NULL, until INTEGER, times INTEGER NOT NULL,
        reason TEXT NOT NULL, note TEXT) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE credentials ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE links ADD COLUMN kind TEXT NOT NULL DEFAULT 'invite';
    ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT '';
    CREATE TABLE recovery (
        user TEXT NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (user, hash)) STRICT, WITHOUT ROWID;
    CREATE TABLE places (
        user TEXT NOT NULL, hash BLOB NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (user, hash)) STRICT, WITHOUT ROWID;
    CREATE TABLE notices (
        id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, kind TEXT NOT NULL,
        at INTEGER NOT NULL, session INTEGER, source TEXT, detail TEXT NOT NULL) STRICT;
    CREATE INDEX notices_user ON notices (user);
",
    "
    ALTER TABLE sessions ADD COLUMN pause INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN idle INTEGER;
    ALTER TABLE sessions ADD COLUMN most INTEGER;
    CREATE TABLE mails (
        id INTEGER PRIMARY KEY, user TEXT NOT NULL, made INTEGER NOT NULL, due INTEGER NOT NULL,
        until INTEGER NOT NULL, tries INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;
    CREATE INDEX mails_due ON mails (due);
    CREATE TABLE resets (
        hash BLOB PRIMARY KEY, user TEXT NOT NULL, mark BLOB NOT NULL, made INTEGER NOT NULL,
        expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX resets_user ON resets (user);
",
    "
    ALTER TABLE session_devices ADD COLUMN place TEXT;
    ALTER TABLE session_devices ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE session_devices ADD COLUMN pause INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN extended INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE session_keys (
        session INTEGER PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
        point BLOB NOT NULL) STRICT;
    CREATE TABLE app_clocks (
        user TEXT PRIMARY KEY, off INTEGER NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE tokens (
        id INTEGER PRIMARY KEY, user TEXT NOT NULL, app TEXT NOT NULL, name TEXT NOT NULL,
        hash BLOB NOT NULL UNIQUE, created INTEGER NOT NULL, expires INTEGER NOT NULL,
        used INTEGER, place TEXT) STRICT;
    CREATE INDEX tokens_user ON tokens (user);
",
];

/// Tells a store that a later version wrote, and brings nothing up to date.
pub(super) fn is_known(db: &Connection) -> Result<(), StoreError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match found > known {
        true => Err(StoreError::Newer { found, known }),
        false => Ok(()),
    }
}

/// Brings the schema up to date.
pub(super) fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", known)?;
    tx.commit()?;
    Ok(())
}
