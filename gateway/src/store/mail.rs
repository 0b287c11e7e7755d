//! Mails that wait to be sent, and links of those who forgot their password.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::sqlite::Sqlite;
use super::{Hash, StoreError};

type Sql<T> = rusqlite::Result<T>;

/// Mails that may wait.
pub(crate) const MAILS_MAX: i64 = 1000;
/// Mails that may wait for one person.
pub(crate) const MAILS_OF_ONE: i64 = 20;
/// Links one person is sent within an hour.
pub(crate) const RESETS_OF_ONE: i64 = 3;
const HOUR: i64 = 3600;

/// What is kept of mails and reset links. Each call that returned `Ok` survives a crash.
#[async_trait]
pub(crate) trait MailStore: Send + Sync {
    /// Keeps a mail; says whether there was room, over all and for its person.
    async fn put_mail(&self, mail: MailRow) -> Result<bool, StoreError>;
    /// Lists mails that are due, the oldest first, at most `most`.
    async fn due_mails(&self, now: i64, most: usize) -> Result<Vec<MailRow>, StoreError>;
    /// Tells when the next mail is due.
    async fn next_mail(&self) -> Result<Option<i64>, StoreError>;
    /// Counts the mails that wait.
    #[cfg(test)]
    async fn mails(&self) -> Result<u64, StoreError>;
    /// Notes that a mail was tried and is due again later.
    async fn put_off_mail(&self, id: i64, tries: u32, due: i64) -> Result<(), StoreError>;
    /// Forgets a mail that was sent or given up.
    async fn drop_mail(&self, id: i64) -> Result<(), StoreError>;

    /// Keeps a reset link, unless its user was sent enough of them within the hour; says whether
    /// it did.
    async fn put_reset(&self, row: ResetRow) -> Result<bool, StoreError>;
    /// Finds a reset link that counts at `now`.
    async fn reset(&self, hash: &Hash, now: i64) -> Result<Option<ResetRow>, StoreError>;
    /// Uses a reset link up, and with it every other of its user: sets the verifier if it still
    /// is `old`; says whether it did. Of parallel uses one does.
    async fn use_reset(
        &self,
        hash: &Hash,
        now: i64,
        old: &str,
        new: &str,
    ) -> Result<bool, StoreError>;
}

/// A mail that waits; times are UNIX seconds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MailRow {
    /// Random.
    pub(crate) id: i64,
    /// Whom it is for: a user, or empty for the administrators.
    pub(crate) user: String,
    pub(crate) made: i64,
    pub(crate) due: i64,
    /// When it is given up.
    pub(crate) until: i64,
    pub(crate) tries: u32,
    pub(crate) sealed: Vec<u8>,
}

impl std::fmt::Debug for MailRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailRow")
            .field("id", &self.id)
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}

/// The link of somebody who forgot the password; times are UNIX seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResetRow {
    pub(crate) hash: Hash,
    pub(crate) user: String,
    /// Keyed hash of the verifier it replaces; another one voids the link.
    pub(crate) mark: Hash,
    pub(crate) made: i64,
    pub(crate) expires: i64,
}

#[async_trait]
impl MailStore for Sqlite {
    async fn put_mail(&self, mail: MailRow) -> Result<bool, StoreError> {
        self.write(move |tx| put_mail(tx, &mail)).await
    }

    async fn due_mails(&self, now: i64, most: usize) -> Result<Vec<MailRow>, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.run(move |db| {
            db.prepare_cached(
                "SELECT id, user, made, due, until, tries, sealed FROM mails
                 WHERE due <= ?1 ORDER BY made, id LIMIT ?2",
            )?
            .query_map((now, most), mail)?
            .collect()
        })
        .await
    }

    async fn next_mail(&self) -> Result<Option<i64>, StoreError> {
        self.run(|db| db.query_row("SELECT min(due) FROM mails", [], |row| row.get(0)))
            .await
    }

    #[cfg(test)]
    async fn mails(&self) -> Result<u64, StoreError> {
        self.run(|db| {
            let count: i64 = db.query_row("SELECT count(*) FROM mails", [], |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
        .await
    }

    async fn put_off_mail(&self, id: i64, tries: u32, due: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.prepare_cached("UPDATE mails SET tries = ?2, due = ?3 WHERE id = ?1")?
                .execute((id, tries, due))
                .map(drop)
        })
        .await
    }

    async fn drop_mail(&self, id: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.prepare_cached("DELETE FROM mails WHERE id = ?1")?
                .execute([id])
                .map(drop)
        })
        .await
    }

    async fn put_reset(&self, row: ResetRow) -> Result<bool, StoreError> {
        self.write(move |tx| put_reset(tx, &row)).await
    }

    async fn reset(&self, hash: &Hash, now: i64) -> Result<Option<ResetRow>, StoreError> {
        let hash = *hash;
        self.run(move |db| {
            db.prepare_cached(
                "SELECT hash, user, mark, made, expires FROM resets
                 WHERE hash = ?1 AND expires > ?2",
            )?
            .query_row(params![hash.as_slice(), now], reset)
            .optional()
        })
        .await
    }

    async fn use_reset(
        &self,
        hash: &Hash,
        now: i64,
        old: &str,
        new: &str,
    ) -> Result<bool, StoreError> {
        let (hash, old, new) = (*hash, old.to_owned(), new.to_owned());
        self.write(move |tx| use_reset(tx, &hash, now, &old, &new))
            .await
    }
}

/// Forgets what waits for a user and their links.
pub(super) fn forget(tx: &Transaction<'_>, user: &str) -> Sql<()> {
    tx.execute("DELETE FROM mails WHERE user = ?1", [user])?;
    tx.execute("DELETE FROM resets WHERE user = ?1", [user])
        .map(drop)
}

fn mail(row: &Row<'_>) -> Sql<MailRow> {
    Ok(MailRow {
        id: row.get(0)?,
        user: row.get(1)?,
        made: row.get(2)?,
        due: row.get(3)?,
        until: row.get(4)?,
        tries: row.get(5)?,
        sealed: row.get(6)?,
    })
}

fn reset(row: &Row<'_>) -> Sql<ResetRow> {
    Ok(ResetRow {
        hash: row.get(0)?,
        user: row.get(1)?,
        mark: row.get(2)?,
        made: row.get(3)?,
        expires: row.get(4)?,
    })
}

fn put_mail(tx: &Transaction<'_>, mail: &MailRow) -> Sql<bool> {
    let (all, own): (i64, i64) = tx
        .prepare_cached("SELECT count(*), coalesce(sum(user = ?1), 0) FROM mails")?
        .query_row([&mail.user], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if all >= MAILS_MAX || own >= MAILS_OF_ONE {
        return Ok(false);
    }
    tx.prepare_cached(
        "INSERT INTO mails (id, user, made, due, until, tries, sealed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        mail.id,
        mail.user,
        mail.made,
        mail.due,
        mail.until,
        mail.tries,
        mail.sealed
    ])?;
    Ok(true)
}

/// Spent and expired links stay for an hour, so that they count.
fn put_reset(tx: &Transaction<'_>, row: &ResetRow) -> Sql<bool> {
    tx.prepare_cached("DELETE FROM resets WHERE made <= ?1")?
        .execute([row.made.saturating_sub(HOUR)])?;
    let sent: i64 = tx
        .prepare_cached("SELECT count(*) FROM resets WHERE user = ?1")?
        .query_row([&row.user], |row| row.get(0))?;
    if sent >= RESETS_OF_ONE {
        return Ok(false);
    }
    tx.prepare_cached(
        "INSERT INTO resets (hash, user, mark, made, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        row.hash.as_slice(),
        row.user,
        row.mark.as_slice(),
        row.made,
        row.expires
    ])?;
    Ok(true)
}

fn use_reset(tx: &Transaction<'_>, hash: &Hash, now: i64, old: &str, new: &str) -> Sql<bool> {
    let user: Option<String> = tx
        .prepare_cached("SELECT user FROM resets WHERE hash = ?1 AND expires > ?2")?
        .query_row(params![hash.as_slice(), now], |row| row.get(0))
        .optional()?;
    let Some(user) = user else {
        return Ok(false);
    };
    let set = tx
        .prepare_cached("UPDATE credentials SET phc = ?3 WHERE user = ?1 AND phc = ?2")?
        .execute([&*user, old, new])?;
    if set == 0 {
        return Ok(false);
    }
    tx.prepare_cached("UPDATE resets SET expires = 0 WHERE user = ?1")?
        .execute([&user])?;
    Ok(true)
}
