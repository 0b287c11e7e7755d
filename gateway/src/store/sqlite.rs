//! The store in one `SQLite` file, written by one thread.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::{
    BanRow, BrowserRow, CookieRow, CounterRow, Credentials, DeviceRow, Hash, HeardRow, LinkRow,
    NoticeRow, Redeemed, Reseal, SessionRow, Store, StoreError, UseRow, Visited, factors, guard,
    mail, reseal, rows, schema,
};
use crate::ids::{DeviceId, SessionId};

/// Jobs that may wait for the thread; who comes later waits for a place.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// `SQLite` behind a bounded queue. Dropping it waits for the jobs that were accepted.
pub(super) struct Sqlite {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let db = connect(path)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || serve(db, queue))
            .map_err(|_| StoreError::Stopped)?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Runs `work` in one transaction on the store's thread; durable when it returns `Ok`.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(move |db| {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        })
        .await
    }

    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            // Who asked may be gone; what was asked is done all the same.
            drop(answer.send(work(db)));
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Stopped)?;
        jobs.send(job).await.map_err(|_| StoreError::Stopped)?;
        let result = wait.await.map_err(|_| StoreError::Stopped)?;
        Ok(result?)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    // SQLite would make the file readable to all; its -wal and -shm inherit the mode.
    let made = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    drop(made.map_err(|e| StoreError::Folder {
        path: path.to_owned(),
        what: e.to_string(),
    })?);
    let mut db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF;",
    )?;
    schema::migrate(&mut db)?;
    Ok(db)
}

fn serve(mut db: Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(&mut db);
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn credentials(&self, user: &str) -> Result<Option<Credentials>, StoreError> {
        let user = user.to_owned();
        self.run(move |db| rows::credentials(db, &user)).await
    }

    async fn put_credentials(&self, user: &str, new: Credentials) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.write(move |tx| rows::put_credentials(tx, &user, &new))
            .await
    }

    async fn reseal(&self, anew: Reseal) -> Result<usize, StoreError> {
        self.write(move |tx| reseal::all(tx, &anew)).await
    }

    async fn rehash(&self, user: &str, old: &str, new: &str) -> Result<bool, StoreError> {
        let (user, old, new) = (user.to_owned(), old.to_owned(), new.to_owned());
        self.write(move |tx| {
            tx.prepare_cached("UPDATE credentials SET phc = ?3 WHERE user = ?1 AND phc = ?2")?
                .execute([user, old, new])
                .map(|changed| changed == 1)
        })
        .await
    }

    async fn accept_step(&self, user: &str, step: i64) -> Result<bool, StoreError> {
        let user = user.to_owned();
        self.write(move |tx| {
            tx.prepare_cached(
                "UPDATE credentials SET last_step = ?2 WHERE user = ?1 AND last_step < ?2",
            )?
            .execute(params![user, step])
            .map(|changed| changed == 1)
        })
        .await
    }

    async fn put_verifier(&self, user: &str, phc: &str) -> Result<bool, StoreError> {
        let (user, phc) = (user.to_owned(), phc.to_owned());
        self.write(move |tx| factors::put_verifier(tx, &user, &phc))
            .await
    }

    async fn put_totp(&self, user: &str, sealed: Vec<u8>, step: i64) -> Result<bool, StoreError> {
        let user = user.to_owned();
        self.write(move |tx| factors::put_totp(tx, &user, &sealed, step))
            .await
    }

    async fn drop_totp(&self, user: &str) -> Result<bool, StoreError> {
        let user = user.to_owned();
        self.write(move |tx| factors::drop_totp(tx, &user)).await
    }

    async fn put_recovery(&self, user: &str, codes: Vec<Hash>) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.write(move |tx| factors::put_recovery(tx, &user, &codes))
            .await
    }

    async fn use_recovery(&self, user: &str, code: &Hash) -> Result<bool, StoreError> {
        let (user, code) = (user.to_owned(), *code);
        self.write(move |tx| factors::use_recovery(tx, &user, &code))
            .await
    }

    async fn foreign_verifiers(&self) -> Result<Vec<String>, StoreError> {
        self.run(|db| factors::foreign_verifiers(db)).await
    }

    async fn recovery_left(&self, user: &str) -> Result<usize, StoreError> {
        let user = user.to_owned();
        self.run(move |db| factors::recovery_left(db, &user)).await
    }

    async fn visited(&self, user: &str, places: Vec<Hash>, at: i64) -> Result<Visited, StoreError> {
        let user = user.to_owned();
        self.write(move |tx| factors::visited(tx, &user, &places, at))
            .await
    }

    async fn last_visit(&self, user: &str) -> Result<Option<i64>, StoreError> {
        let user = user.to_owned();
        self.run(move |db| factors::last_visit(db, &user)).await
    }

    async fn put_notice(&self, user: &str, notice: NoticeRow) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.write(move |tx| factors::put_notice(tx, &user, &notice))
            .await
    }

    async fn notices(&self, user: &str) -> Result<Vec<NoticeRow>, StoreError> {
        let user = user.to_owned();
        self.run(move |db| factors::notices(db, &user)).await
    }

    async fn drop_notice(&self, user: &str, id: i64, by: SessionId) -> Result<bool, StoreError> {
        let user = user.to_owned();
        self.write(move |tx| factors::drop_notice(tx, &user, id, by))
            .await
    }

    async fn drop_tickets(&self, user: Option<&str>) -> Result<(), StoreError> {
        let user = user.map(str::to_owned);
        self.write(move |tx| factors::drop_tickets(tx, user.as_deref()))
            .await
    }

    async fn knows(&self, user: &str) -> Result<bool, StoreError> {
        let user = user.to_owned();
        self.run(move |db| {
            db.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM credentials WHERE user = ?1)
                     OR EXISTS (SELECT 1 FROM links WHERE user = ?1)
                     OR EXISTS (SELECT 1 FROM sessions WHERE user = ?1)",
            )?
            .query_row([user], |row| row.get(0))
        })
        .await
    }

    async fn remove_user(&self, user: &str) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.write(move |tx| {
            tx.execute("DELETE FROM credentials WHERE user = ?1", [&user])?;
            tx.execute("DELETE FROM links WHERE user = ?1", [&user])?;
            tx.execute("DELETE FROM browsers WHERE user = ?1", [&user])?;
            tx.execute("DELETE FROM tokens WHERE user = ?1", [&user])?;
            tx.execute("DELETE FROM recovery WHERE user = ?1", [&user])?;
            tx.execute("DELETE FROM places WHERE user = ?1", [&user])?;
            tx.execute("DELETE FROM notices WHERE user = ?1", [&user])?;
            mail::forget(tx, &user)?;
            tx.execute("DELETE FROM sessions WHERE user = ?1", [&user])
                .map(drop)
        })
        .await
    }

    async fn put_link(&self, link: LinkRow) -> Result<(), StoreError> {
        self.write(move |tx| factors::put_link(tx, &link)).await
    }

    async fn put_ticket(&self, link: LinkRow, now: i64) -> Result<bool, StoreError> {
        self.write(move |tx| factors::put_ticket(tx, &link, now))
            .await
    }

    async fn awaits_link(&self, user: &str, now: i64) -> Result<bool, StoreError> {
        let user = user.to_owned();
        self.run(move |db| factors::awaits_link(db, &user, now))
            .await
    }

    async fn link(&self, hash: &Hash, now: i64) -> Result<Option<LinkRow>, StoreError> {
        let hash = *hash;
        self.run(move |db| rows::link(db, &hash, now)).await
    }

    async fn pend(&self, hash: &Hash, sealed: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        let hash = *hash;
        self.write(move |tx| {
            tx.prepare_cached("UPDATE links SET pending = ?2 WHERE hash = ?1 AND pending IS NULL")?
                .execute(params![hash.as_slice(), sealed])?;
            tx.prepare_cached("SELECT pending FROM links WHERE hash = ?1")?
                .query_row([hash.as_slice()], |row| row.get(0))
                .optional()
        })
        .await
    }

    async fn redeem(&self, hash: &Hash, now: i64, new: Redeemed) -> Result<bool, StoreError> {
        let hash = *hash;
        self.write(move |tx| factors::redeem(tx, &hash, now, &new))
            .await
    }

    async fn sessions(&self) -> Result<Vec<SessionRow>, StoreError> {
        self.run(|db| rows::sessions(db)).await
    }

    async fn put_session(&self, row: SessionRow) -> Result<(), StoreError> {
        self.write(move |tx| rows::put_session(tx, &row)).await
    }

    async fn put_cookie(
        &self,
        session: SessionId,
        cookie: CookieRow,
        mfa_at: Option<i64>,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| rows::put_cookie(tx, session, &cookie, mfa_at))
            .await
    }

    async fn end_sessions(&self, ids: Vec<SessionId>) -> Result<(), StoreError> {
        self.write(move |tx| {
            let mut end = tx.prepare_cached("DELETE FROM sessions WHERE id = ?1")?;
            ids.iter()
                .try_for_each(|id| end.execute([id.0.cast_signed()]).map(drop))
        })
        .await
    }

    async fn touch_sessions(&self, used: Vec<(SessionId, UseRow)>) -> Result<(), StoreError> {
        self.write(move |tx| rows::touch_sessions(tx, &used)).await
    }

    async fn release_device(&self, device: DeviceId) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.prepare_cached("DELETE FROM session_devices WHERE device = ?1")?
                .execute([device.0])
                .map(drop)
        })
        .await
    }

    async fn devices(&self) -> Result<Vec<DeviceRow>, StoreError> {
        self.run(|db| rows::devices(db)).await
    }

    async fn put_device(&self, row: DeviceRow) -> Result<(), StoreError> {
        self.write(move |tx| rows::put_device(tx, &row)).await
    }

    async fn put_devices(&self, new: Vec<DeviceRow>) -> Result<(), StoreError> {
        self.write(move |tx| new.iter().try_for_each(|row| rows::put_device(tx, row)))
            .await
    }

    async fn heard_devices(&self, heard: Vec<HeardRow>) -> Result<(), StoreError> {
        self.write(move |tx| rows::heard(tx, &heard)).await
    }

    async fn counters(&self) -> Result<Vec<CounterRow>, StoreError> {
        self.run(|db| rows::counters(db)).await
    }

    async fn put_counters(&self, counters: Vec<CounterRow>) -> Result<(), StoreError> {
        self.write(move |tx| rows::put_counters(tx, &counters))
            .await
    }

    async fn prune_counters(&self, before: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM counters WHERE last < ?1", [before])
                .map(drop)
        })
        .await
    }

    async fn browsers(&self) -> Result<Vec<BrowserRow>, StoreError> {
        self.run(|db| guard::browsers(db)).await
    }

    async fn known_sessions(&self) -> Result<Vec<SessionId>, StoreError> {
        self.run(|db| guard::known_sessions(db)).await
    }

    async fn put_browsers(
        &self,
        rows: Vec<BrowserRow>,
        gone: Vec<u64>,
        known: Option<SessionId>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| guard::put_browsers(tx, &rows, &gone, known))
            .await
    }

    async fn forget_browsers(&self, user: Option<&str>) -> Result<(), StoreError> {
        let user = user.map(str::to_owned);
        self.write(move |tx| guard::forget_browsers(tx, user.as_deref()))
            .await
    }

    async fn bans(&self) -> Result<Vec<BanRow>, StoreError> {
        self.run(|db| guard::bans(db)).await
    }

    async fn put_bans(&self, rows: Vec<BanRow>, gone: Vec<IpNet>) -> Result<(), StoreError> {
        self.write(move |tx| guard::put_bans(tx, &rows, &gone))
            .await
    }
}
