//! The edge threads: each serves its share of the connections on a runtime of its own.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use pingora_core::connectors::TransportConnector;
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::accept::accept;
use super::caps::{Caps, Place};
use super::conn::{self, ConnOrigin};
use super::direct::{self, Direct};
use super::headers;
use super::pep::Pep;
use super::proxied::{self, Refusals};
use super::tls::Profiles;
use crate::bans;
use crate::descriptors;
use crate::gateway::Gateway;
use crate::ids::Door;
use crate::upstreams::roots;

const QUEUE: usize = 1024;
/// How many connections more than the least busy edge one may have that keeps what it accepts; as many as that one has,
/// where these are fewer.
const SLACK: usize = 16;
/// How many connections to upstreams an edge keeps for requests to come...
const POOL: usize = 128;
/// ...and how often it looks whether they are still good. While no timer is armed, the first of a connection costs a
/// system call to wake the thread that arms it; this is shorter than the limits of [`conn`], so that those are never
/// the next to end.
const SWEEP: Duration = Duration::from_secs(5);
/// How long what was open when the gateway stops may take to end by itself; what has no end of its own is cut sooner.
pub(crate) const DRAIN: Duration = Duration::from_secs(24);
/// How long it takes to end once it is cut.
pub(crate) const CUT: Duration = Duration::from_secs(2);
/// How long the header of a proxy may take.
const HEADER: Duration = Duration::from_secs(10);

/// What one edge thread serves with.
pub(crate) struct Edge {
    /// The gateway.
    pub(crate) gw: Arc<Gateway>,
    /// pingora, with this thread's own pool of upstream connections.
    pub(crate) proxy: Arc<HttpProxy<Pep>>,
    /// Connections to upstreams for requests that need no more than that.
    pub(crate) direct: Direct,
    /// TLS towards clients.
    pub(crate) tls: Arc<Profiles>,
    /// Turns true when the gateway stops.
    pub(crate) shutdown: ShutdownWatch,
    /// HSTS where nothing else is said.
    pub(crate) hsts: HeaderValue,
    refusals: Arc<Refusals>,
}

/// All edge threads. The one that accepts a connection keeps it, unless another is less busy: a
/// connection that changes threads costs two of them a wake-up.
pub(crate) struct Edges {
    lanes: Vec<Lane>,
    stop: watch::Sender<bool>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    caps: Arc<Caps>,
    /// Connections closed for a PROXY header.
    pub(crate) refusals: Arc<Refusals>,
}

impl Edges {
    /// Starts `count` edge threads (at least one).
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn start(
        gw: &Arc<Gateway>,
        tls: &Arc<Profiles>,
        count: usize,
    ) -> std::io::Result<Self> {
        let (stop, shutdown) = watch::channel(false);
        let caps = Arc::new(caps(gw));
        let refusals = Arc::new(Refusals::default());
        // one for all edges: it holds the roots of the system
        let connector = TransportConnector::new(Some(roots::options(POOL)));
        let connector = Arc::new(connector);
        let mut lanes = Vec::new();
        let mut threads = Vec::new();
        for at in 0..count.max(1) {
            let (lane, inbox) = mpsc::channel(QUEUE);
            let (gw, tls) = (Arc::clone(gw), Arc::clone(tls));
            let (shutdown, refusals) = (shutdown.clone(), Arc::clone(&refusals));
            let direct = Direct::new(Arc::clone(&connector), POOL);
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            lanes.push(Lane {
                inbox: lane,
                runtime: runtime.handle().clone(),
                open: Arc::default(),
            });
            let thread = thread::Builder::new()
                .name(format!("edge-{at}"))
                .spawn(move || run(&runtime, gw, tls, direct, shutdown, refusals, inbox))?;
            threads.push(thread);
        }
        Ok(Self {
            lanes,
            stop,
            threads: Mutex::new(threads),
            caps,
            refusals,
        })
    }

    /// Accepts on a listener of the web door, on the thread of one edge, until that is aborted.
    pub(crate) fn listen(
        &self,
        gw: &Arc<Gateway>,
        listener: TcpListener,
        tls: bool,
        at: usize,
    ) -> Option<JoinHandle<()>> {
        let at = at % self.lanes.len().max(1);
        let lane = self.lanes.get(at)?;
        let accept = accept(Arc::clone(gw), listener, tls, at);
        Some(lane.runtime.spawn(accept))
    }

    /// Deals a connection, which does not block, to the least busy edge; over the caps or with
    /// full lanes it is closed.
    pub(crate) fn give(&self, stream: TcpStream, origin: ConnOrigin) {
        if let Some((_, least)) = self.least() {
            self.deal(least, Socket::Free(stream), origin);
        }
    }

    /// As [`Edges::give`], for a connection that an edge accepted and keeps, unless another is
    /// less busy.
    pub(super) fn keep(&self, stream: tokio::net::TcpStream, origin: ConnOrigin, by: usize) {
        let Some((at, least)) = self.least() else {
            return;
        };
        match self.lanes.get(by) {
            Some(own) if at == by || own.open() <= least.open() + SLACK.min(least.open()) => {
                self.deal(own, Socket::Watched(stream), origin);
            }
            Some(_) | None => {
                if let Ok(stream) = stream.into_std() {
                    self.deal(least, Socket::Free(stream), origin);
                }
            }
        }
    }

    fn least(&self) -> Option<(usize, &Lane)> {
        let lanes = self.lanes.iter().enumerate();
        lanes.min_by_key(|(_, lane)| lane.open())
    }

    fn deal(&self, lane: &Lane, socket: Socket, origin: ConnOrigin) {
        if let Some(place) = self.caps.admit(socket.fd(), &origin) {
            let busy = Busy::new(&lane.open);
            // a full lane gives the connection back, and dropping it closes it
            drop(lane.inbox.try_send((socket, origin, place, busy)));
        }
    }

    /// Counts the open client connections.
    pub(crate) fn connections(&self) -> usize {
        self.caps.open()
    }

    /// Returns how many there may be, and how many were closed for want of room.
    pub(crate) fn room(&self) -> (usize, u64) {
        (self.caps.most, self.caps.refused())
    }

    /// Stops taking connections; idle ones end, busy ones finish their request.
    pub(crate) fn drain(&self) {
        let _ = self.stop.send(true);
    }

    /// Waits for the threads to end; they do once [`Edges::drain`] was called and their
    /// connections are gone or the wait inside them is over.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            drop(thread.join());
        }
    }
}

/// Caps that leave a descriptor for each upstream, and some for everything else.
fn caps(gw: &Arc<Gateway>) -> Caps {
    let http = &gw.config.http;
    let table = descriptors::claim();
    let most = table.connections(http.max_connections, descriptors::used());
    let (limit, kept_back) = (table.limit, table.kept_back());
    if most < http.max_connections {
        let wanted = http.max_connections;
        tracing::warn!(
            limit,
            most,
            wanted,
            "the limit of open files allows fewer connections"
        );
    }
    tracing::info!(limit, kept_back, connections = most, "descriptors");
    let gw = Arc::downgrade(gw);
    let homes = move || gw.upgrade().map(|gw| bans::homes(&gw)).unwrap_or_default();
    Caps::new(most, http.max_connections_per_source, Box::new(homes))
}

/// The way to one edge thread.
struct Lane {
    inbox: mpsc::Sender<Given>,
    runtime: runtime::Handle,
    open: Arc<AtomicUsize>,
}

impl Lane {
    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// Counts a connection among those of its edge until it is dropped.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection on its way to an edge.
type Given = (Socket, ConnOrigin, Place, Busy);

/// The socket of a connection.
enum Socket {
    /// Watched by the edge that it is for.
    Watched(tokio::net::TcpStream),
    /// Watched by nobody.
    Free(TcpStream),
}

impl Socket {
    fn fd(&self) -> RawFd {
        match self {
            Self::Watched(stream) => stream.as_raw_fd(),
            Self::Free(stream) => stream.as_raw_fd(),
        }
    }
}

fn run(
    runtime: &Runtime,
    gw: Arc<Gateway>,
    tls: Arc<Profiles>,
    direct: Direct,
    shutdown: ShutdownWatch,
    refusals: Arc<Refusals>,
    mut inbox: mpsc::Receiver<Given>,
) {
    runtime.block_on(async move {
        let proxy = http_proxy(&Arc::new(server_conf()), Pep::new(Arc::clone(&gw)));
        let hsts = headers::hsts(gw.config.http.hsts_seconds);
        let edge = Arc::new(Edge {
            hsts: headers::value(&hsts),
            gw,
            proxy: Arc::new(proxy),
            direct,
            tls,
            shutdown: shutdown.clone(),
            refusals,
        });
        let mut stopping = shutdown;
        let mut open = tokio::task::JoinSet::new();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                given = inbox.recv() => {
                    let Some(given) = given else { break };
                    open.spawn(serve(Arc::clone(&edge), given));
                    while open.try_join_next().is_some() {}
                }
                _ = sweep.tick() => edge.direct.sweep(),
                _ = stopping.changed() => break,
            }
        }
        // what was dealt before the end is served to its end
        inbox.close();
        while let Some(given) = inbox.recv().await {
            open.spawn(serve(Arc::clone(&edge), given));
        }
        let finish = async { while open.join_next().await.is_some() {} };
        let _ = timeout(DRAIN + CUT, finish).await;
    });
}

fn server_conf() -> ServerConf {
    ServerConf {
        threads: 1,
        max_retries: direct::TRIES,
        upstream_keepalive_pool_size: POOL,
        ca_file: roots::file().map(str::to_owned),
        ..ServerConf::default()
    }
}

async fn serve(edge: Arc<Edge>, (socket, mut origin, mut place, _busy): Given) {
    let stream = match socket {
        Socket::Watched(stream) => Ok(stream),
        Socket::Free(stream) => tokio::net::TcpStream::from_std(stream),
    };
    let Ok(mut stream) = stream else {
        return;
    };
    if !real_source(&edge, &mut stream, &mut origin, &mut place).await {
        return;
    }
    let is_free = !origin.tls || origin.door == Door::Tunnel;
    if is_free || place.may_shake(&edge.gw.limits, origin.peer.ip()) {
        conn::serve(edge, stream, origin).await;
    }
}

/// Finds out who stands behind a connection; `false` where it must be closed.
async fn real_source(
    edge: &Edge,
    stream: &mut tokio::net::TcpStream,
    origin: &mut ConnOrigin,
    place: &mut Place,
) -> bool {
    if !origin.proxied {
        let nobody = edge.gw.config.http.proxy_protocol_from.is_empty();
        if nobody || origin.door != Door::Web {
            return true;
        }
        let begun = timeout(HEADER, proxied::begins(stream)).await;
        if begun == Ok(true) {
            edge.refusals.unlisted();
        }
        return begun == Ok(false);
    }
    let Ok(Ok(source)) = timeout(HEADER, proxied::read(stream)).await else {
        edge.refusals.bad();
        return false;
    };
    if let Some(source) = source {
        origin.peer = source;
    }
    let ip = origin.peer.ip();
    let banned = source.is_some() && edge.gw.bans.refuses(ip);
    !banned && place.settle(ip)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CUT, DRAIN};

    /// The unit that the packages bring.
    const UNIT: &str = include_str!("../../../deploy/postern.service");

    #[test]
    fn whatever_is_open_a_stop_ends_before_the_service_manager_kills() {
        let limit = UNIT
            .lines()
            .find_map(|line| line.strip_prefix("TimeoutStopSec="));
        let limit = Duration::from_secs(limit.unwrap().parse().unwrap());
        // listeners are shut before, tunnel and journal behind
        let others = Duration::from_secs(3);
        assert!(DRAIN + CUT + others < limit, "{limit:?}");
        assert!(
            DRAIN >= Duration::from_secs(20),
            "and slow answers have time"
        );
    }
}
