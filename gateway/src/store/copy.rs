//! A copy of the store while it is in use, and what must not come back with it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use serde::Serialize;

use super::{StoreError, schema, sqlite};

/// The name of the store in the state folder.
pub(crate) const FILE: &str = "state.db";

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// People with a password.
    pub(crate) people: u64,
    /// Devices, revoked ones too.
    pub(crate) devices: u64,
    /// Sessions that were not ended.
    pub(crate) sessions: u64,
}

/// What was ended because it may have been used or ended since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Ended {
    /// Sessions.
    pub(crate) sessions: usize,
    /// Invitations and links to a new password.
    pub(crate) links: usize,
    /// Recovery codes.
    pub(crate) recovery_codes: usize,
    /// Mails that were not sent yet.
    pub(crate) mails: usize,
}

/// Writes the store of a state folder to a new file as it is at one instant; who uses it is not
/// held up.
///
/// # Errors
/// [`StoreError`] if it cannot be read or the file cannot be written.
pub(crate) fn copy(data: &Path, to: &Path) -> Result<(), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(data.join(FILE), flags)?;
    db.busy_timeout(Duration::from_secs(5))?;
    let failed = |what: String| StoreError::Folder {
        path: to.to_owned(),
        what,
    };
    // SQLite would make the file readable to all
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(to);
    drop(made.map_err(|e| failed(e.to_string()))?);
    let path = to.to_str().ok_or_else(|| failed("not UTF-8".to_owned()))?;
    db.execute("VACUUM INTO ?1", [path])?;
    Ok(())
}

/// Checks a copy from end to end and counts what it holds.
///
/// # Errors
/// [`StoreError::Folder`] for a damaged file, [`StoreError::Newer`] for one of a later version.
pub(crate) fn look(path: &Path) -> Result<Counts, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    let said: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Err(StoreError::Folder {
            path: path.to_owned(),
            what: format!("the store is damaged: {said}"),
        });
    }
    schema::is_known(&db)?;
    let count = |table: &str| -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM {table}");
        let count: i64 = db.query_row(&sql, [], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    };
    Ok(Counts {
        people: count("credentials")?,
        devices: count("devices")?,
        sessions: count("sessions")?,
    })
}

/// Ends in the store of a state folder whatever may have been used up or ended since it was
/// copied; codes of authenticator apps count from `step` on.
///
/// # Errors
/// [`StoreError`]; nothing is ended then.
pub(crate) fn settle(data: &Path, step: i64) -> Result<Ended, StoreError> {
    let mut db = sqlite::connect(&data.join(FILE))?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let ended = Ended {
        sessions: tx.execute("DELETE FROM sessions", [])?,
        links: tx.execute("DELETE FROM links", [])? + tx.execute("DELETE FROM resets", [])?,
        recovery_codes: tx.execute("DELETE FROM recovery", [])?,
        mails: tx.execute("DELETE FROM mails", [])?,
    };
    tx.execute("DELETE FROM browsers", [])?;
    tx.execute("DELETE FROM tokens", [])?;
    let before = step.saturating_sub(1);
    tx.execute(
        "UPDATE credentials SET last_step = ?1 WHERE last_step < ?1",
        [before],
    )?;
    tx.commit()?;
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::Folder;
    use super::{Counts, Ended, copy, look, settle};
    use crate::ids::{Door, SessionId};
    use crate::store::{CookieRow, Credentials, Hash, LinkRow, SessionRow, UseRow, open};

    const CODE: Hash = [3; 32];

    async fn filled(folder: &Folder) {
        let store = open(folder.path()).unwrap();
        let credentials = Credentials {
            phc: "$argon2id$".to_owned(),
            totp: Some(vec![1]),
            last_step: 40,
            enrolled: 5,
            imported: false,
        };
        store.put_credentials("zoe", credentials).await.unwrap();
        store.put_recovery("zoe", vec![CODE]).await.unwrap();
        let link = LinkRow {
            hash: [4; 32],
            user: "ann".to_owned(),
            expires: 1 << 40,
            pending: None,
            kind: crate::store::LinkKind::Invite,
        };
        store.put_link(link).await.unwrap();
        let session = SessionRow {
            id: SessionId(7),
            user: "zoe".to_owned(),
            door: Door::Web,
            source: "192.0.2.1".parse().unwrap(),
            created: 1,
            login_at: 1,
            mfa_at: 1,
            used: UseRow::default(),
            expires: 1 << 40,
            agent: String::new(),
            devices: Vec::new(),
            cookies: vec![CookieRow {
                hash: [5; 32],
                host: "gate".to_owned(),
            }],
        };
        store.put_session(session).await.unwrap();
    }

    #[tokio::test]
    async fn a_copy_of_a_store_in_use_holds_all_of_it_and_is_for_its_owner_only() {
        let (folder, other) = (Folder::new(), Folder::new());
        filled(&folder).await;
        let held = open(folder.path()).unwrap();
        let to = other.path().join("state.db");
        copy(folder.path(), &to).unwrap();
        let mode = std::fs::metadata(&to).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let wanted = Counts {
            people: 1,
            devices: 0,
            sessions: 1,
        };
        assert_eq!(look(&to).unwrap(), wanted);
        assert!(copy(folder.path(), &to).is_err(), "it is there already");
        drop(held);
        let restored = open(other.path()).unwrap();
        assert_eq!(restored.sessions().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_may_have_been_used_since_is_ended_and_the_rest_stays() {
        let folder = Folder::new();
        filled(&folder).await;
        let wanted = Ended {
            sessions: 1,
            links: 1,
            recovery_codes: 1,
            mails: 0,
        };
        assert_eq!(settle(folder.path(), 90).unwrap(), wanted);
        let store = open(folder.path()).unwrap();
        assert!(store.sessions().await.unwrap().is_empty());
        assert!(!store.use_recovery("zoe", &CODE).await.unwrap());
        assert!(store.link(&[4; 32], 1).await.unwrap().is_none());
        assert!(store.credentials("zoe").await.unwrap().is_some());
        assert!(!store.accept_step("zoe", 89).await.unwrap());
        assert!(store.accept_step("zoe", 90).await.unwrap());
        drop(store);
        assert_eq!(settle(folder.path(), 50).unwrap(), Ended::default());
        let store = open(folder.path()).unwrap();
        assert!(
            !store.accept_step("zoe", 90).await.unwrap(),
            "it never falls"
        );
    }

    #[test]
    fn what_is_no_store_or_a_damaged_one_is_told() {
        let folder = Folder::new();
        let path = folder.path().join("state.db");
        std::fs::write(&path, "x".repeat(8192)).unwrap();
        assert!(look(&path).is_err());
    }
}
