//! A bounded pool of threads for password hashing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How long a password waits for a place.
const QUEUE_WAIT: Duration = Duration::from_secs(1);
/// How many may wait; more could not be served within [`QUEUE_WAIT`] anyway.
const WAITING_MAX: usize = 256;

/// Says that the gateway has more passwords to check than it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub(crate) struct Overloaded;

/// Whose password it is that needs a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Anybody's.
    Common,
    /// That of a person on a known device of theirs; one place is kept for these.
    Kept,
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads that run one job each; a permit stands for one free thread.
#[derive(Debug)]
pub(crate) struct Pool {
    jobs: mpsc::Sender<Job>,
    common: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Pool {
    /// Starts `threads` threads, at least two: one of them is the kept place.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let threads = threads.max(2);
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name("password".to_owned())
                .spawn(move || serve(&queue))?;
        }
        Ok(Self {
            jobs,
            common: Arc::new(Semaphore::new(threads - 1)),
            kept: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Runs `work` on a thread of the pool.
    ///
    /// # Errors
    /// [`Overloaded`] if no place came free within one second; `work` was not run then.
    pub(crate) async fn run<T, F>(&self, place: Place, work: F) -> Result<T, Overloaded>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let permit = self.place(place).await?;
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move || {
            let value = work();
            // Held to the end of the run even if nobody waits, so that memory stays bounded.
            drop(permit);
            drop(answer.send(value));
        });
        self.jobs.send(job).map_err(|_| Overloaded)?;
        wait.await.map_err(|_| Overloaded)
    }

    async fn place(&self, place: Place) -> Result<OwnedSemaphorePermit, Overloaded> {
        let _waiting = Waiting::enter(&self.waiting)?;
        let common = Arc::clone(&self.common).acquire_owned();
        let permit = match place {
            Place::Common => tokio::time::timeout(QUEUE_WAIT, common).await,
            Place::Kept => {
                let kept = Arc::clone(&self.kept).acquire_owned();
                tokio::time::timeout(QUEUE_WAIT, async {
                    tokio::select! {
                        biased;
                        permit = kept => permit,
                        permit = common => permit,
                    }
                })
                .await
            }
        };
        permit.map_err(|_| Overloaded)?.map_err(|_| Overloaded)
    }
}

fn serve(queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = queue.lock().recv();
        let Ok(job) = job else { return };
        job();
    }
}

/// Counts one who waits for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Result<Self, Overloaded> {
        let entered = Self(count);
        let before = count.fetch_add(1, Ordering::AcqRel);
        if before >= WAITING_MAX {
            return Err(Overloaded);
        }
        Ok(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::{Overloaded, Place, Pool};

    #[tokio::test(start_paused = true)]
    async fn a_full_pool_answers_overloaded_and_keeps_one_place() {
        let pool = Arc::new(Pool::new(2).unwrap());
        let (release, gate) = mpsc::channel::<()>();
        let busy = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(Place::Common, move || gate.recv().is_ok()).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(pool.run(Place::Common, || 1).await, Err(Overloaded));
        assert_eq!(pool.run(Place::Kept, || 2).await, Ok(2));
        release.send(()).unwrap();
        assert_eq!(busy.await.unwrap(), Ok(true));
        assert_eq!(pool.run(Place::Common, || 3).await, Ok(3));
    }
}
