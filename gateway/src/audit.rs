//! The audit journal: one writer, group commit, a keyed chain over daily files.
//!
//! Records are JSON lines in `DATA/audit/YYYY-MM-DD.jsonl`. Each line ends in `chain`, the
//! HMAC-SHA-256 of the previous chain value and the line's bytes before that field. The first
//! record of a file names in `prev` the chain value it follows. A file `head` holds the last
//! number and chain value, sealed by a code, so that a cut tail is noticed.

pub(crate) mod again;
mod chain;
mod event;
mod files;
mod flood;
mod head;
mod inputs;
mod journal;
mod lines;
pub(crate) mod newest;
pub(crate) mod query;
pub(crate) mod reason;
mod record;
mod resume;
mod tail;
pub(crate) mod used;
pub(crate) mod verify;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use self::chain::ChainKey;
use self::journal::Journal;
use self::record::Stamped;
use self::writer::{Entry, Pace, Shared, Waiter};
use crate::clock;

pub(crate) use self::event::Event;
pub(crate) use self::inputs::{Answer, Inputs};
pub(crate) use self::record::Record;

/// When a write may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// After `fdatasync`.
    Durable,
    /// As soon as the queue has it; it is on disk at most 100 ms later.
    Batched,
}

/// Says why the journal did not take a record.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AuditError {
    /// The folder or a file in it could not be used.
    #[error("audit journal at {}: {source}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: Arc<io::Error>,
    },
    /// Others may read or write the folder.
    #[error("audit folder {} has mode {mode:o}, it must be 700", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    /// Another process writes this journal.
    #[error("audit journal at {} is in use by another process", path.display())]
    Busy { path: PathBuf },
    /// Writing failed; the journal tries to recover by itself every second.
    #[error("audit journal is broken: {why}")]
    Broken { why: Arc<str> },
    /// More records are waiting than the queue may hold.
    #[error("audit queue is full")]
    Full,
    /// The journal was closed.
    #[error("audit journal is closed")]
    Closed,
}

/// The handle of the journal. Dropping it writes what is queued and ends the writer.
pub(crate) struct Audit {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    clock: fn() -> u64,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").field("seq", &self.seq()).finish()
    }
}

impl Audit {
    /// Opens the journal in `dir`, repairs a torn last line and continues the sequence. The folder
    /// is made (0700) if it is missing. The first key makes the chain from here on, the others made it before.
    ///
    /// # Errors
    /// `Folder`, `Exposed` and `Busy`; nothing may be granted then.
    pub(crate) fn open(dir: &Path, keys: &[Zeroizing<[u8; 32]>]) -> Result<Self, AuditError> {
        Self::open_with(dir, keys, clock::unix_ms, Pace::default())
    }

    fn open_with(
        dir: &Path,
        keys: &[Zeroizing<[u8; 32]>],
        clock: fn() -> u64,
        pace: Pace,
    ) -> Result<Self, AuditError> {
        let journal = Journal::open(dir, ChainKey::ring(keys), clock())?;
        let shared = Arc::new(Shared::new(journal.seq()));
        let writer = writer::spawn(Arc::clone(&shared), journal, clock, pace).map_err(|e| {
            AuditError::Folder {
                path: dir.to_owned(),
                source: Arc::new(e),
            }
        })?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(writer)),
            clock,
        })
    }

    /// Writes a record. Durable: answers after it is on disk, with its number. Batched: answers
    /// once it is queued, with the last number written so far. Where the queue is full it waits for
    /// a place, for two seconds at most.
    ///
    /// The record is written even if the caller stops waiting.
    ///
    /// # Errors
    /// `Broken`, `Full` or `Closed`: the record is not in the journal, so nothing may be granted
    /// on its account.
    pub(crate) async fn write(
        &self,
        record: Record,
        durability: Durability,
    ) -> Result<u64, AuditError> {
        self.shared.room(durability).await;
        match durability {
            Durability::Batched => self.queue(record),
            Durability::Durable => {
                let (tell, told) = oneshot::channel();
                self.submit(record, Some(Waiter::Task(tell)))?;
                told.await.unwrap_or_else(|_| Err(self.shared.broken()))
            }
        }
    }

    /// Queues a record without an answer. A record that finds no room is counted, and the count is
    /// written as soon as the journal takes records again.
    pub(crate) fn note(&self, record: Record) {
        if self.queue(record).is_err() {
            self.shared.lose();
        }
    }

    /// Tells whether the journal can be written.
    pub(crate) fn healthy(&self) -> bool {
        self.shared.healthy()
    }

    /// Returns the number of the last record on disk; 0 when there is none.
    pub(crate) fn seq(&self) -> u64 {
        self.shared.seq()
    }

    /// Writes what is queued, seals the head and ends the writer. Later writes fail with `Closed`.
    pub(crate) async fn close(&self) {
        let (tell, told) = oneshot::channel();
        self.shared.close(Some(tell));
        let _ = told.await;
    }

    fn queue(&self, record: Record) -> Result<u64, AuditError> {
        self.submit(record, None)?;
        Ok(self.shared.seq())
    }

    fn submit(&self, record: Record, waiter: Option<Waiter>) -> Result<(), AuditError> {
        let stamped = Stamped::new((self.clock)(), record);
        self.shared.push(Entry { stamped, waiter })
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.shared.close(None);
        if let Some(writer) = self.writer.lock().take() {
            drop(writer.join());
        }
    }
}

#[cfg(test)]
mod tests;
