//! The writer thread: drains the queue, writes and syncs once, answers all who wait.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::event::Event;
use super::flood::Flood;
use super::journal::Journal;
use super::record::{Record, Stamped};
use super::{AuditError, Durability, reason};
use crate::clock;

/// Records the queue may hold.
const QUEUE_MAX: usize = 8192;
/// Places of the queue that only durable records may take.
const RESERVED: usize = 2048;

/// How long one who may wait does so for a place.
const PATIENCE: Duration = Duration::from_secs(2);

/// The times of the writer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Longest a batched record waits for others.
    pub(super) batch: Duration,
    /// How often sums, the head and recovery are looked at.
    pub(super) tick: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            batch: Duration::from_millis(50),
            tick: Duration::from_secs(1),
        }
    }
}

/// One who waits for a record to be on disk.
pub(super) enum Waiter {
    Task(oneshot::Sender<Result<u64, AuditError>>),
}

impl Waiter {
    fn tell(self, answer: Result<u64, AuditError>) {
        // who no longer waits needs no answer
        match self {
            Self::Task(waiter) => drop(waiter.send(answer)),
        }
    }
}

/// A record on its way.
pub(super) struct Entry {
    pub(super) stamped: Stamped,
    /// Set for durable records.
    pub(super) waiter: Option<Waiter>,
}

impl Entry {
    fn durability(&self) -> Durability {
        match self.waiter {
            Some(_) => Durability::Durable,
            None => Durability::Batched,
        }
    }
}

/// How many records there may be in the queue for one more to be taken.
fn places(durability: Durability) -> usize {
    match durability {
        Durability::Durable => QUEUE_MAX,
        Durability::Batched => QUEUE_MAX - RESERVED,
    }
}

/// What the handle and the writer share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// How many are in the queue.
    queued: AtomicUsize,
    /// Tells that the queue was emptied.
    freed: Notify,
    flood: Mutex<Flood>,
    /// Why the journal is broken; `None` while it is well.
    fault: Mutex<Option<Arc<str>>>,
    healthy: AtomicBool,
    seq: AtomicU64,
    lost: AtomicU64,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// A durable record is waiting.
    urgent: bool,
    closing: bool,
    /// The writer is gone.
    ended: bool,
    closers: Vec<oneshot::Sender<()>>,
}

impl Shared {
    pub(super) fn new(seq: u64) -> Self {
        Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            queued: AtomicUsize::new(0),
            freed: Notify::new(),
            flood: Mutex::default(),
            fault: Mutex::new(None),
            healthy: AtomicBool::new(true),
            seq: AtomicU64::new(seq),
            lost: AtomicU64::new(0),
        }
    }

    pub(super) fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    pub(super) fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn broken(&self) -> AuditError {
        let why = self.fault.lock().clone();
        AuditError::Broken {
            why: why.unwrap_or_else(|| "the writer ended".into()),
        }
    }

    /// Queues a record, or sums it up.
    pub(super) fn push(&self, entry: Entry) -> Result<(), AuditError> {
        if !self.healthy() {
            return Err(self.broken());
        }
        if !Flood::concerns(&entry.stamped, entry.durability()) {
            return self.enqueue(entry);
        }
        match self.flood.lock().admit(entry.stamped) {
            None => Ok(()),
            Some(stamped) => self.enqueue(Entry {
                stamped,
                waiter: None,
            }),
        }
    }

    /// Waits until the queue has a place, though not for ever: a disk that stalls is to make requests late before it makes
    /// them fail.
    pub(super) async fn room(&self, durability: Durability) {
        let has_room = || self.queued.load(Ordering::Relaxed) < places(durability);
        if has_room() {
            return;
        }
        let freed = async {
            loop {
                let freed = self.freed.notified();
                if has_room() {
                    break;
                }
                freed.await;
            }
        };
        // where it stays full the record is refused, as it is for those who do not wait
        let _ = timeout(PATIENCE, freed).await;
    }

    fn enqueue(&self, entry: Entry) -> Result<(), AuditError> {
        let durability = entry.durability();
        let mut queue = self.queue.lock();
        if queue.closing {
            return Err(AuditError::Closed);
        }
        if queue.entries.len() >= places(durability) {
            return Err(AuditError::Full);
        }
        queue.urgent |= entry.waiter.is_some();
        queue.entries.push_back(entry);
        self.queued.store(queue.entries.len(), Ordering::Relaxed);
        let wake = queue.urgent || queue.entries.len() == 1 || queue.is_filling();
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    pub(super) fn close(&self, closer: Option<oneshot::Sender<()>>) {
        let mut queue = self.queue.lock();
        queue.closing = true;
        if !queue.ended {
            queue.closers.extend(closer);
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Waits for work, lets batched records gather, and takes all; the queue goes on in `spare`.
    fn drain(&self, pace: Pace, spare: VecDeque<Entry>) -> (VecDeque<Entry>, bool) {
        let mut queue = self.queue.lock();
        self.wake.wait_while_for(
            &mut queue,
            |q| q.entries.is_empty() && !q.closing,
            pace.tick,
        );
        if !queue.entries.is_empty() {
            let gather = |q: &mut Queue| !q.urgent && !q.closing && !q.is_filling();
            self.wake.wait_while_for(&mut queue, gather, pace.batch);
        }
        queue.urgent = false;
        let taken = std::mem::replace(&mut queue.entries, spare);
        self.emptied();
        (taken, queue.closing)
    }

    fn emptied(&self) {
        self.queued.store(0, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// Refuses records from here on, and all that wait.
    fn fail(&self, why: Arc<str>) {
        *self.fault.lock() = Some(why);
        self.healthy.store(false, Ordering::Release);
        let mut queue = self.queue.lock();
        let entries = std::mem::take(&mut queue.entries);
        self.emptied();
        drop(queue);
        for entry in entries {
            self.refuse(entry.waiter);
        }
    }

    fn refuse(&self, waiter: Option<Waiter>) {
        match waiter {
            Some(waiter) => waiter.tell(Err(self.broken())),
            None => self.lose(),
        }
    }

    fn heal(&self) {
        self.healthy.store(true, Ordering::Release);
        *self.fault.lock() = None;
    }
}

impl Queue {
    fn is_filling(&self) -> bool {
        self.entries.len() >= QUEUE_MAX / 4
    }
}

/// Starts the writer.
///
/// # Errors
/// If the operating system gives no thread.
pub(super) fn spawn(
    shared: Arc<Shared>,
    journal: Journal,
    clock: fn() -> u64,
    pace: Pace,
) -> io::Result<JoinHandle<()>> {
    let mut writer = Writer {
        ending: Ending(shared),
        journal,
        clock,
        pace,
        ticked: clock::now(),
    };
    Builder::new()
        .name("audit".to_owned())
        .spawn(move || writer.run())
}

struct Writer {
    ending: Ending,
    journal: Journal,
    clock: fn() -> u64,
    pace: Pace,
    ticked: Instant,
}

/// Marks the journal as broken when the writer ends for whatever reason, a panic too.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.fail("the writer ended".into());
        let mut queue = self.0.queue.lock();
        queue.closing = true;
        queue.ended = true;
        queue.closers.clear();
    }
}

impl Writer {
    fn run(&mut self) {
        let mut spare = VecDeque::new();
        loop {
            let (mut entries, closing) = self.shared().drain(self.pace, spare);
            let tick = clock::now().duration_since(self.ticked) >= self.pace.tick;
            if tick {
                self.ticked = clock::now();
            }
            if self.shared().healthy() {
                self.commit(&mut entries, tick || closing, closing);
            } else {
                entries
                    .drain(..)
                    .for_each(|e| self.shared().refuse(e.waiter));
                if tick {
                    self.recover();
                }
            }
            if closing {
                return;
            }
            // a burst's memory is given back
            entries.shrink_to(QUEUE_MAX / 8);
            spare = entries;
        }
    }

    fn shared(&self) -> &Shared {
        &self.ending.0
    }

    /// Writes and syncs entries and answers those who wait; `tick` adds sums and seals the head.
    fn commit(&mut self, entries: &mut VecDeque<Entry>, tick: bool, closing: bool) {
        let extra = if tick {
            self.extra(closing)
        } else {
            Vec::new()
        };
        let first = self.journal.seq() + 1;
        let result = self.write(entries, &extra);
        let durable = self.journal.seq();
        self.shared().seq.store(durable, Ordering::Release);
        if let Err(e) = &result {
            self.break_off(e, extra.len());
        }
        for (seq, entry) in (first..).zip(entries.drain(..)) {
            match entry.waiter {
                Some(waiter) if seq <= durable => waiter.tell(Ok(seq)),
                waiter if seq > durable => self.shared().refuse(waiter),
                _ => {}
            }
        }
        if tick
            && result.is_ok()
            && let Err(e) = self.journal.seal()
        {
            self.break_off(&e, 0);
        }
    }

    fn write(&mut self, entries: &VecDeque<Entry>, extra: &[Stamped]) -> io::Result<()> {
        let entries = entries.iter().map(|entry| &entry.stamped);
        self.journal.append(entries.chain(extra))?;
        self.journal.sync()
    }

    /// Collects the sums that are due, and a record of what was lost.
    fn extra(&self, all: bool) -> Vec<Stamped> {
        let now = (self.clock)();
        let mut extra = self.shared().flood.lock().due(now, all);
        let lost = self.shared().lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let record = Record {
                detail: Some(format!("{lost} records found no room and are lost")),
                ..Record::new(Event::Limited, "failed", reason::JOURNAL_OVERRUN)
            };
            extra.push(Stamped::new(now, record));
        }
        extra
    }

    fn break_off(&self, error: &io::Error, lost: usize) {
        tracing::error!(%error, "the audit journal is broken, nothing more is granted");
        self.shared().fail(error.to_string().into());
        (0..lost).for_each(|_| self.shared().lose());
    }

    /// Tries to write again, in a new segment that starts with a record of what happened.
    fn recover(&mut self) {
        let now = (self.clock)();
        let lost = self.shared().lost.load(Ordering::Relaxed);
        let why = self.shared().broken().to_string();
        let record = Record {
            detail: Some(format!("{why}; {lost} records without an answer are lost")),
            ..Record::new(Event::Started, "ok", reason::JOURNAL_RECOVERED)
        };
        let result = self.journal.recover(now).and_then(|()| {
            let result = self.journal.append([&Stamped::new(now, record)]);
            result
                .and_then(|()| self.journal.sync())
                .map_err(|e| AuditError::Broken {
                    why: e.to_string().into(),
                })
        });
        match result {
            Ok(()) => {
                self.shared().lost.fetch_sub(lost, Ordering::Relaxed);
                self.shared()
                    .seq
                    .store(self.journal.seq(), Ordering::Release);
                self.shared().heal();
                tracing::warn!("the audit journal is written again");
            }
            Err(error) => tracing::warn!(%error, "the audit journal is still broken"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Entry, PATIENCE, Pace, QUEUE_MAX, RESERVED, Shared};
    use crate::audit::record::Stamped;
    use crate::audit::{AuditError, Durability, Event, Record, reason};

    fn entry() -> Entry {
        let record = Record {
            user: Some("demo".into()),
            ..Record::new(Event::SignedIn, "ok", reason::RULE)
        };
        Entry {
            stamped: Stamped::new(0, record),
            waiter: None,
        }
    }

    fn full() -> Arc<Shared> {
        let shared = Shared::new(0);
        for _ in 0..QUEUE_MAX - RESERVED {
            shared.push(entry()).unwrap();
        }
        assert!(matches!(shared.push(entry()), Err(AuditError::Full)));
        Arc::new(shared)
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_waits_until_the_disk_has_taken_it() {
        let shared = full();
        shared.room(Durability::Durable).await;
        let waits = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                shared.room(Durability::Batched).await;
                shared.push(entry())
            }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waits.is_finished());
        let (taken, _) = shared.drain(Pace::default(), VecDeque::new());
        assert_eq!(taken.len(), QUEUE_MAX - RESERVED);
        assert!(waits.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_disk_takes_nothing_the_wait_ends_and_the_record_is_refused() {
        let (shared, begin) = (full(), tokio::time::Instant::now());
        shared.room(Durability::Batched).await;
        assert_eq!(begin.elapsed(), PATIENCE);
        assert!(matches!(shared.push(entry()), Err(AuditError::Full)));
        shared.fail("a full disk".into());
        shared.room(Durability::Batched).await;
        assert_eq!(begin.elapsed(), PATIENCE);
        assert!(matches!(
            shared.push(entry()),
            Err(AuditError::Broken { .. })
        ));
    }
}
