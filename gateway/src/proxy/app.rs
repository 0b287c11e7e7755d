//! One request inside a connection: what can cut it, and the deadlines it runs under.

use std::os::unix::io::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::apps::{HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;

use super::conn::ConnCtx;
use super::edge::Edge;
use super::stream::{Far, Intake};
use crate::clock;
use crate::streams::KillSwitch;

/// How often a request that waits for its upstream is looked at.
const WATCH: Duration = Duration::from_secs(1);
/// How often a request body that is still coming in is looked at.
const CHECK: Duration = Duration::from_secs(5);
/// A body slower than this many bytes a second, counted from its start, is cut...
const SLOWEST: u64 = 500;
/// ...once it has had this long.
const GRACE: Duration = Duration::from_secs(10);
/// How long what has no end of its own goes on once the gateway stops; it is looked at every [`CHECK`].
const LASTS: Duration = Duration::from_secs(3);

tokio::task_local! {
    static REQUEST: Arc<RequestCtl>;
}

/// Handles of one request that live outside pingora's own state.
pub(crate) struct RequestCtl {
    /// The connection it came on.
    pub(crate) conn: Arc<ConnCtx>,
    /// The edge that serves it.
    pub(crate) edge: Arc<Edge>,
    /// Cuts this request, its answer and, after an upgrade, its socket.
    pub(crate) kill: KillSwitch,
    /// When its head was whole.
    pub(crate) started: Instant,
    /// Where its client's bytes come from and go to once they are no HTTP; only where none came early.
    pub(crate) far: Option<Far>,
    /// Ends its body; only of HTTP/1, where no other request shares the connection.
    intake: Option<Intake>,
    body_bytes: AtomicU64,
    body_done: AtomicBool,
    /// How many milliseconds it may take in all; 0 where nothing is said.
    body_limit: AtomicU64,
    unhurried: AtomicBool,
    slow: AtomicBool,
    ended: AtomicBool,
    lasts: AtomicBool,
    upstream: Waiting,
}

/// What a request waits for; times are in milliseconds after its start, 0 for none.
#[derive(Default)]
struct Waiting {
    /// The connection to the upstream.
    fd: AtomicI32,
    /// When the head of the answer is due; it is not while the request's body comes.
    head: AtomicU64,
    /// How long after the body that is.
    patience: AtomicU64,
    /// How long the answer may be silent.
    idle: AtomicU64,
    /// When the last part of it came.
    part: AtomicU64,
    /// Whether the upstream was cut for being late.
    late: AtomicBool,
}

impl RequestCtl {
    /// Returns the handles of the request that the running task serves, if it serves one.
    pub(crate) fn current() -> Option<Arc<Self>> {
        REQUEST.try_with(Arc::clone).ok()
    }

    /// Counts request body bytes.
    pub(crate) fn body_came(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        // an app may begin to answer before it has the whole body: until then it may be silent
        if self.upstream.part.load(Ordering::Relaxed) != 0 {
            self.part_came();
        }
    }

    /// Says that the request is whole, and no upgrade.
    pub(crate) fn is_whole(&self) {
        if let Some(intake) = &self.intake {
            intake.is_whole();
        }
    }

    /// Says that no (more) request body is awaited; its rate is no longer watched, and the answer is.
    pub(crate) fn body_ended(&self) {
        if self.body_done.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.upstream.head.load(Ordering::Relaxed) != 0 {
            let patience = self.upstream.patience.load(Ordering::Relaxed);
            let due = self.millis(clock::now()).saturating_add(patience);
            self.upstream.head.store(due, Ordering::Relaxed);
        }
    }

    /// Says how long the body may take in all.
    pub(crate) fn limit_body(&self, limit: Duration) {
        let limit = millis(limit).max(1);
        self.body_limit.store(limit, Ordering::Relaxed);
    }

    /// Tells whether the body took longer than it may in all.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let limit = self.body_limit.load(Ordering::Relaxed);
        limit != 0 && self.millis(now) > limit
    }

    /// Says that the body may come as slowly as it likes, within what it may take in all.
    pub(crate) fn may_pause(&self) {
        self.unhurried.store(true, Ordering::Relaxed);
    }

    /// Says that its answer has no end of its own, so that a gateway that stops does not wait for it.
    pub(crate) fn has_no_end(&self) {
        self.lasts.store(true, Ordering::Relaxed);
    }

    /// Tells whether (more of) a request body is awaited.
    pub(crate) fn awaits_body(&self) -> bool {
        !self.body_done.load(Ordering::Relaxed)
    }

    /// Tells whether it was cut for a body that came too slowly.
    pub(crate) fn was_too_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// Tells whether its body was refused for its chunks.
    pub(crate) fn was_bent(&self) -> bool {
        self.intake.as_ref().is_some_and(Intake::is_bent)
    }

    /// Returns the request body bytes so far.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes.load(Ordering::Relaxed)
    }

    /// Starts to wait for the answer of an upstream; `idle` where it may be silent for less than until its head.
    pub(crate) fn watch(&self, fd: RawFd, head: Duration, idle: Option<Duration>) {
        let patience = millis(head);
        let due = self.millis(clock::now()).saturating_add(patience);
        self.upstream.patience.store(patience, Ordering::Relaxed);
        self.upstream.fd.store(fd, Ordering::Relaxed);
        self.upstream.late.store(false, Ordering::Relaxed);
        self.upstream.part.store(0, Ordering::Relaxed);
        let idle = idle.map_or(0, millis);
        self.upstream.idle.store(idle, Ordering::Relaxed);
        self.upstream.head.store(due, Ordering::Relaxed);
    }

    /// Says that the head of an answer came.
    pub(crate) fn head_came(&self) {
        self.upstream.head.store(0, Ordering::Relaxed);
        self.part_came();
    }

    /// Says that from here on either side may speak, and that neither may be silent for longer than that.
    pub(crate) fn may_be_silent(&self, limit: Duration) {
        self.upstream.idle.store(millis(limit), Ordering::Relaxed);
        self.part_came();
    }

    /// Says that a part of an answer came.
    pub(crate) fn part_came(&self) {
        if self.upstream.idle.load(Ordering::Relaxed) != 0 {
            let now = self.millis(clock::now());
            self.upstream.part.store(now, Ordering::Relaxed);
        }
    }

    /// Says that the exchange with the upstream is over; returns whether it was cut for being late.
    pub(crate) fn answered(&self) -> bool {
        self.upstream.head.store(0, Ordering::Relaxed);
        self.upstream.idle.store(0, Ordering::Relaxed);
        self.upstream.late.swap(false, Ordering::Relaxed)
    }

    /// Cuts the connection to an upstream that is late. The request then fails like any whose upstream went away, so
    /// that its client gets a page.
    fn cut_late(&self, now: Instant) {
        let now = self.millis(now);
        let head = self.upstream.head.load(Ordering::Relaxed);
        let (idle, part) = (
            self.upstream.idle.load(Ordering::Relaxed),
            self.upstream.part.load(Ordering::Relaxed),
        );
        let silent = idle != 0 && part != 0 && now > part.saturating_add(idle);
        let due = head != 0 && now >= head && !self.awaits_body();
        if !due && !silent {
            return;
        }
        self.upstream.head.store(0, Ordering::Relaxed);
        self.upstream.idle.store(0, Ordering::Relaxed);
        self.upstream.late.store(true, Ordering::Relaxed);
        let fd = self.upstream.fd.load(Ordering::Relaxed);
        // an error here is a connection that is gone already
        let _ = nix::sys::socket::shutdown(fd, nix::sys::socket::Shutdown::Both);
    }

    /// Tells whether an upstream is watched.
    fn waits(&self) -> bool {
        let waiting = &self.upstream;
        waiting.head.load(Ordering::Relaxed) != 0 || waiting.idle.load(Ordering::Relaxed) != 0
    }

    fn millis(&self, now: Instant) -> u64 {
        // never 0, which stands for none
        millis(now.saturating_duration_since(self.started)).max(1)
    }

    /// Tells whether its body comes too slowly, or takes too long in all; from then on it does.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        let slow = self.too_slow(now);
        self.slow.fetch_or(slow, Ordering::Relaxed) || slow
    }

    /// Has the reading of its body fail, so that its client is told why; over HTTP/2, the next part of it to come.
    /// `false` where that was tried.
    fn end_body(&self) -> bool {
        let first = !self.ended.swap(true, Ordering::Relaxed);
        if let Some(intake) = self.intake.as_ref().filter(|_| first) {
            intake.end();
        }
        first
    }

    fn too_slow(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.started);
        let hurried = !self.unhurried.load(Ordering::Relaxed);
        let slow = age > GRACE && self.body_bytes() < SLOWEST.saturating_mul(age.as_secs());
        self.awaits_body() && ((hurried && slow) || self.is_over(now))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A connection's requests as pingora's HTTP server application.
pub(crate) struct App {
    pub(crate) edge: Arc<Edge>,
    pub(crate) conn: Arc<ConnCtx>,
    /// That of the next request.
    pub(super) far: Mutex<Option<Far>>,
    /// That of the next request.
    pub(super) intake: Mutex<Option<Intake>>,
    h2: bool,
}

impl App {
    /// Serves the requests of one connection.
    pub(crate) fn new(edge: Arc<Edge>, conn: Arc<ConnCtx>, h2: bool) -> Self {
        Self {
            edge,
            conn,
            far: Mutex::new(None),
            intake: Mutex::new(None),
            h2,
        }
    }
}

#[async_trait]
impl HttpServerApp for App {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let ctl = Arc::new(RequestCtl {
            conn: Arc::clone(&self.conn),
            edge: Arc::clone(&self.edge),
            kill: KillSwitch::new(),
            started: clock::now(),
            far: self.far.lock().take(),
            intake: self.intake.lock().take(),
            body_bytes: AtomicU64::new(0),
            body_done: AtomicBool::new(false),
            body_limit: AtomicU64::new(0),
            unhurried: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            lasts: AtomicBool::new(false),
            upstream: Waiting::default(),
        });
        // one of HTTP/1 is told of its end with its head
        let _open = self.h2.then(|| self.conn.life.enter());
        if self.h2 && self.conn.is_at_its_last(&self.edge) {
            self.conn.retire();
        }
        let work = self.edge.proxy.process_new_http(session, shutdown);
        let work = REQUEST.scope(Arc::clone(&ctl), work);
        tokio::pin!(work);
        let check = tokio::time::sleep(WATCH);
        tokio::pin!(check);
        let mut stops: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                reused = &mut work => return reused,
                () = ctl.kill.wait() => return None,
                // an HTTP/1 request ends with its connection's own task
                () = self.conn.kill.wait(), if self.h2 => return None,
                () = &mut check => {
                    let now = clock::now();
                    if ctl.is_late(now) && !ctl.end_body() {
                        return None;
                    }
                    ctl.cut_late(now);
                    if *self.edge.shutdown.borrow() && ctl.lasts.load(Ordering::Relaxed)
                        && now.saturating_duration_since(*stops.get_or_insert(now)) >= LASTS
                    {
                        ctl.kill.kill();
                    }
                    let next = if ctl.waits() { WATCH } else { CHECK };
                    let next = tokio::time::Instant::from_std(now) + next;
                    check.as_mut().reset(next);
                }
            }
        }
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options
            .max_concurrent_streams(100)
            .max_header_list_size(32 * 1024)
            .initial_window_size(1 << 20)
            .initial_connection_window_size(4 << 20);
        Some(options)
    }
}
