//! The statements about factors, their enrolment, and what a person hears of them.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::rows::parsed_option;
use super::{
    Hash, LinkKind, LinkRow, NOTICES_PER_USER, NoticeRow, PLACES_PER_USER, Redeemed, Visited,
};
use crate::ids::SessionId;

type Sql<T> = rusqlite::Result<T>;

pub(super) fn foreign_verifiers(db: &Connection) -> Sql<Vec<String>> {
    db.prepare("SELECT phc FROM credentials WHERE imported = 1 AND phc NOT LIKE '$argon2id$%'")?
        .query_map([], |row| row.get(0))?
        .collect()
}

pub(super) fn put_verifier(tx: &Transaction<'_>, user: &str, phc: &str) -> Sql<bool> {
    tx.prepare_cached("UPDATE credentials SET phc = ?2 WHERE user = ?1")?
        .execute([user, phc])
        .map(|changed| changed == 1)
}

pub(super) fn put_totp(tx: &Transaction<'_>, user: &str, sealed: &[u8], step: i64) -> Sql<bool> {
    tx.prepare_cached(
        "UPDATE credentials SET totp = ?2, last_step = max(last_step, ?3)
         WHERE user = ?1 AND length(totp) > 0",
    )?
    .execute(params![user, sealed, step])
    .map(|changed| changed == 1)
}

/// Recovery codes stand in for the second factor, so they go with it.
pub(super) fn drop_totp(tx: &Transaction<'_>, user: &str) -> Sql<bool> {
    tx.execute("DELETE FROM recovery WHERE user = ?1", [user])?;
    tx.execute("DELETE FROM links WHERE user = ?1", [user])?;
    // An imported password may be too weak to stand beside the next second factor.
    let gone = drop_imported(tx, user)?;
    let kept = tx
        .prepare_cached("UPDATE credentials SET totp = x'' WHERE user = ?1")?
        .execute([user])?;
    Ok(gone || kept == 1)
}

fn drop_imported(tx: &Transaction<'_>, user: &str) -> Sql<bool> {
    tx.prepare_cached("DELETE FROM credentials WHERE user = ?1 AND imported = 1")?
        .execute([user])
        .map(|gone| gone == 1)
}

/// The user of a link is unique, so an earlier one of theirs goes.
pub(super) fn put_link(tx: &Transaction<'_>, link: &LinkRow) -> Sql<()> {
    drop_imported(tx, &link.user)?;
    tx.prepare_cached("DELETE FROM links WHERE user = ?1")?
        .execute([&link.user])?;
    insert_link(tx, link)
}

pub(super) fn put_ticket(tx: &Transaction<'_>, link: &LinkRow, now: i64) -> Sql<bool> {
    if awaits_link(tx, &link.user, now)? {
        return Ok(false);
    }
    tx.prepare_cached("DELETE FROM links WHERE user = ?1")?
        .execute([&link.user])?;
    insert_link(tx, link)?;
    Ok(true)
}

pub(super) fn awaits_link(db: &Connection, user: &str, now: i64) -> Sql<bool> {
    let mut find = db.prepare_cached("SELECT kind FROM links WHERE user = ?1 AND expires > ?2")?;
    let kind: Option<String> = find
        .query_row(params![user, now], |row| row.get(0))
        .optional()?;
    // A kind that cannot be read is no ticket of ours.
    Ok(kind.is_some_and(|kind| LinkKind::parse(&kind).is_none_or(|kind| !kind.is_ticket())))
}

fn insert_link(tx: &Transaction<'_>, link: &LinkRow) -> Sql<()> {
    tx.prepare_cached(
        "INSERT INTO links (hash, user, expires, pending, kind) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        link.hash.as_slice(),
        link.user,
        link.expires,
        link.pending,
        link.kind.name()
    ])
    .map(drop)
}

pub(super) fn redeem(tx: &Transaction<'_>, hash: &Hash, now: i64, new: &Redeemed) -> Sql<bool> {
    let user: Option<String> = tx
        .prepare_cached("SELECT user FROM links WHERE hash = ?1 AND expires > ?2")?
        .query_row(params![hash.as_slice(), now], |row| row.get(0))
        .optional()?;
    let Some(user) = user else {
        return Ok(false);
    };
    let set = match &new.phc {
        Some(phc) => tx
            .prepare_cached(
                "INSERT INTO credentials (user, phc, totp, last_step, enrolled, imported)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0)
                 ON CONFLICT (user) DO UPDATE SET phc = ?2, totp = ?3,
                     last_step = max(last_step, ?4), enrolled = ?5, imported = 0",
            )?
            .execute(params![user, phc, new.totp, new.step, new.at])?,
        None => tx
            .prepare_cached(
                "UPDATE credentials SET totp = ?2, last_step = max(last_step, ?3),
                     enrolled = ?4, imported = 0
                 WHERE user = ?1",
            )?
            .execute(params![user, new.totp, new.step, new.at])?,
    };
    if set == 0 {
        return Ok(false);
    }
    tx.prepare_cached("DELETE FROM links WHERE hash = ?1")?
        .execute([hash.as_slice()])?;
    put_recovery(tx, &user, &new.codes)?;
    Ok(true)
}

pub(super) fn drop_tickets(tx: &Transaction<'_>, user: Option<&str>) -> Sql<()> {
    let mut drop_one =
        tx.prepare_cached("DELETE FROM links WHERE kind = ?1 AND (?2 IS NULL OR user = ?2)")?;
    let tickets = LinkKind::ALL.into_iter().filter(|kind| kind.is_ticket());
    for kind in tickets {
        drop_one.execute(params![kind.name(), user])?;
    }
    Ok(())
}

pub(super) fn put_recovery(tx: &Transaction<'_>, user: &str, codes: &[Hash]) -> Sql<()> {
    tx.prepare_cached("DELETE FROM recovery WHERE user = ?1")?
        .execute([user])?;
    let mut put = tx.prepare_cached("INSERT INTO recovery (user, hash) VALUES (?1, ?2)")?;
    codes
        .iter()
        .try_for_each(|hash| put.execute(params![user, hash.as_slice()]).map(drop))
}

pub(super) fn use_recovery(tx: &Transaction<'_>, user: &str, code: &Hash) -> Sql<bool> {
    tx.prepare_cached("DELETE FROM recovery WHERE user = ?1 AND hash = ?2")?
        .execute(params![user, code.as_slice()])
        .map(|gone| gone == 1)
}

pub(super) fn recovery_left(db: &Connection, user: &str) -> Sql<usize> {
    let left: i64 = db
        .prepare_cached("SELECT count(*) FROM recovery WHERE user = ?1")?
        .query_row([user], |row| row.get(0))?;
    Ok(usize::try_from(left).unwrap_or(0))
}

pub(super) fn visited(tx: &Transaction<'_>, user: &str, places: &[Hash], at: i64) -> Sql<Visited> {
    let first: bool = tx
        .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM places WHERE user = ?1)")?
        .query_row([user], |row| row.get(0))?;
    let mut find = tx.prepare_cached("SELECT 1 FROM places WHERE user = ?1 AND hash = ?2")?;
    let known: Sql<Vec<bool>> = places
        .iter()
        .map(|place| find.exists(params![user, place.as_slice()]))
        .collect();
    let mut put =
        tx.prepare_cached("INSERT OR REPLACE INTO places (user, hash, last) VALUES (?1, ?2, ?3)")?;
    for place in places {
        put.execute(params![user, place.as_slice(), at])?;
    }
    tx.prepare_cached(
        "DELETE FROM places WHERE user = ?1 AND hash IN (
             SELECT hash FROM places WHERE user = ?1 ORDER BY last DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![user, count(PLACES_PER_USER)])?;
    Ok(Visited {
        first,
        known: known?,
    })
}

pub(super) fn last_visit(db: &Connection, user: &str) -> Sql<Option<i64>> {
    db.prepare_cached("SELECT max(last) FROM places WHERE user = ?1")?
        .query_row([user], |row| row.get(0))
}

pub(super) fn put_notice(tx: &Transaction<'_>, user: &str, notice: &NoticeRow) -> Sql<()> {
    tx.prepare_cached(
        "INSERT INTO notices (user, kind, at, session, source, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        user,
        notice.kind,
        notice.at,
        notice.session.map(|id| id.0.cast_signed()),
        notice.source.map(|ip| ip.to_string()),
        notice.detail
    ])?;
    tx.prepare_cached(
        "DELETE FROM notices WHERE user = ?1 AND id IN (
             SELECT id FROM notices WHERE user = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![user, count(NOTICES_PER_USER)])
    .map(drop)
}

pub(super) fn notices(db: &Connection, user: &str) -> Sql<Vec<NoticeRow>> {
    db.prepare_cached(
        "SELECT id, kind, at, session, source, detail FROM notices
         WHERE user = ?1 ORDER BY id DESC",
    )?
    .query_map([user], notice)?
    .collect()
}

fn notice(row: &Row<'_>) -> Sql<NoticeRow> {
    let session: Option<i64> = row.get(3)?;
    Ok(NoticeRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        at: row.get(2)?,
        session: session.map(|id| SessionId(id.cast_unsigned())),
        source: parsed_option(row, 4)?,
        detail: row.get(5)?,
    })
}

pub(super) fn drop_notice(tx: &Transaction<'_>, user: &str, id: i64, by: SessionId) -> Sql<bool> {
    tx.prepare_cached("DELETE FROM notices WHERE user = ?1 AND id = ?2 AND session IS NOT ?3")?
        .execute(params![user, id, by.0.cast_signed()])
        .map(|gone| gone == 1)
}

fn count(places: usize) -> i64 {
    i64::try_from(places).unwrap_or(i64::MAX)
}
