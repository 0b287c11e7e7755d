//! Sealed secrets under another key.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use rusqlite::{Transaction, params};

use crate::ids::DeviceId;

/// What a sealed secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// The TOTP secret of a person.
    Totp,
    /// The TOTP secret that a link proposes.
    Pending,
    /// The preshared key of a device.
    Psk,
}

/// Seals a secret anew, given its owner and its bytes; `None` leaves it as it is.
pub(crate) type Reseal = Arc<dyn Fn(Sealed, &str, &[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// Goes through all tables that hold sealed secrets.
pub(super) fn all(tx: &Transaction<'_>, anew: &Reseal) -> rusqlite::Result<usize> {
    Ok(people(tx, anew)? + links(tx, anew)? + devices(tx, anew)?)
}

fn people(tx: &Transaction<'_>, anew: &Reseal) -> rusqlite::Result<usize> {
    let mut found = tx.prepare("SELECT user, totp FROM credentials")?;
    let rows = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut changed = 0;
    for row in rows {
        let (user, sealed): (String, Vec<u8>) = row?;
        if let Some(fresh) = anew(Sealed::Totp, &user, &sealed) {
            let set = "UPDATE credentials SET totp = ?2 WHERE user = ?1";
            changed += tx.execute(set, params![user, fresh])?;
        }
    }
    Ok(changed)
}

fn links(tx: &Transaction<'_>, anew: &Reseal) -> rusqlite::Result<usize> {
    let mut found = tx.prepare("SELECT hash, pending FROM links WHERE pending IS NOT NULL")?;
    let rows = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut changed = 0;
    for row in rows {
        let (hash, sealed): (Vec<u8>, Vec<u8>) = row?;
        if let Some(fresh) = anew(Sealed::Pending, &HEXLOWER.encode(&hash), &sealed) {
            let set = "UPDATE links SET pending = ?2 WHERE hash = ?1";
            changed += tx.execute(set, params![hash, fresh])?;
        }
    }
    Ok(changed)
}

fn devices(tx: &Transaction<'_>, anew: &Reseal) -> rusqlite::Result<usize> {
    let mut found = tx.prepare("SELECT id, psk FROM devices WHERE psk IS NOT NULL")?;
    let rows = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut changed = 0;
    for row in rows {
        let (id, sealed): (u32, Vec<u8>) = row?;
        if let Some(fresh) = anew(Sealed::Psk, &DeviceId(id).to_string(), &sealed) {
            let set = "UPDATE devices SET psk = ?2 WHERE id = ?1";
            changed += tx.execute(set, params![id, fresh])?;
        }
    }
    Ok(changed)
}
