//! Serving: from a checked configuration to a clean stop.

mod inherited;
mod listeners;
mod notify;
mod sweep;

use std::io::ErrorKind::PermissionDenied;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::acme::Acme;
use crate::audit::{Audit, AuditError, Durability, Event, Record, reason};
use crate::bans::{Bans, Watched};
use crate::cli::exit::Exit;
use crate::clock;
use crate::config::Config;
use crate::config::lock::{self, Lock, LockError};
use crate::control::{self, acts};
use crate::descriptors;
use crate::gateway::Gateway;
use crate::identity::{Identity, IdentityError, Recorder};
use crate::justify::Reasons;
use crate::limits::{Limits, Rate};
use crate::mail::{Alarm, Mail, Relay, RelayError};
use crate::observe;
use crate::operate;
use crate::proxy::front::cache::Store as Answers;
use crate::proxy::handover::Handover;
use crate::proxy::kept::Kept;
use crate::proxy::reports::Reports;
use crate::proxy::statement::{Signer, StatementError};
use crate::proxy::tls::{self, CertError, Checks, InternalCa};
use crate::proxy::{CUT, DRAIN, Edges};
use crate::reload::change::Wanted;
use crate::reload::history::{By, History, How};
use crate::reload::start::Fallback;
use crate::reload::{self, Rejected};
use crate::reproof::Reproof;
use crate::rotation;
use crate::secrets::{KeyError, Keys};
use crate::store::{self, StoreError};
use crate::streams::{People, Streams};
use crate::traces::{Collector, Traces, TracesError};
use crate::tunnel;
use crate::upstreams::{self, Own, Upstreams, roots};

use self::listeners::Listeners;
use self::notify::Notify;

/// Why the gateway does not start. Exit codes follow sysexits(3).
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The state folder is taken, exposed or unusable.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The master key is missing, exposed or damaged.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal cannot be opened; nothing may be granted without it.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The policy or a certificate is not usable.
    #[error(transparent)]
    Set(#[from] Rejected),
    /// The login engine cannot start.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The key of signed statements is not usable.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// `[mail]` names a file that is not usable.
    #[error(transparent)]
    Mail(#[from] RelayError),
    /// `[traces]` names a file that is not usable.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] CertError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The operating system refuses something else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

impl StartError {
    /// Returns the exit code: 69 unavailable, 70 internal, 77 permission, 78 configuration.
    pub(crate) fn exit_code(&self) -> u8 {
        let exit = match self {
            Self::Lock(e) => Exit::from(e),
            Self::Key(e) => Exit::from(e),
            Self::Store(e) => Exit::from(e),
            Self::Audit(e) => Exit::from(e),
            Self::Identity(e) => Exit::from(e),
            Self::Set(Rejected::Files(e)) => Exit::from(&e.first),
            Self::Set(Rejected::Certificates(e)) | Self::Tls(e) => Exit::from(e),
            Self::Set(Rejected::Policy(_) | Rejected::Guard(_) | Rejected::Failed(_)) => {
                Exit::Config
            }
            Self::Mail(e) => Exit::from(e),
            Self::Traces(e) => Exit::from(e),
            Self::Statement(_) | Self::System { .. } => Exit::Internal,
            Self::Listen { source, .. } if source.kind() == PermissionDenied => Exit::Permission,
            Self::Listen { .. } => Exit::Unavailable,
        };
        exit.number()
    }
}

/// Serves until SIGTERM or SIGINT; `ready` is called once everything listens.
///
/// # Errors
/// [`StartError`] with nothing left open.
pub(crate) fn serve(
    config: Config,
    fallback: Fallback,
    ready: impl FnOnce(&Arc<Gateway>),
) -> Result<(), StartError> {
    descriptors::claim();
    // read beside everything else; whoever needs them first waits for the rest
    thread::spawn(roots::file);
    let lock = lock::acquire(&config.data)?;
    let keys = Arc::new(Keys::load(&config.master_key)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| system("start a runtime", source))?;
    runtime.block_on(async move {
        let mut signals = Signals::catch()?;
        let gw = open(config, keys, fallback).await?;
        let notify = Notify::from_environment();
        let listeners = Listeners::bind(&gw.config, &notify)?;
        let doors = start(&gw, listeners, &notify, ready).await?;
        notify.ready();
        tokio::select! {
            () = signals.stop(&gw) => {}
            () = notify.watch(|| gw.is_alive(clock::unix())) => {}
        }
        notify.stopping();
        shut(doors).await;
        stop(&gw, lock).await;
        Ok(())
    })
}

fn system(what: &'static str, source: std::io::Error) -> StartError {
    StartError::System { what, source }
}

/// Opens everything the gateway stands on, listening nowhere yet.
async fn open(
    config: Config,
    keys: Arc<Keys>,
    fallback: Fallback,
) -> Result<Arc<Gateway>, StartError> {
    let config = Arc::new(config);
    let authority = open_authority(&config, &keys).map_err(Rejected::from)?;
    let history = History::open(&config.data, Arc::clone(&keys))
        .map_err(|source| system("open the policy history", source))?;
    let checks = Checks::open(&config.data, &keys);
    let started = reload::start::start(&config, &checks, authority.as_ref(), &history, fallback)?;
    for warning in &started.warnings {
        tracing::warn!(%warning, "policy");
    }
    if let Some(error) = &started.cached {
        tracing::error!(%error, "THE POLICY FOLDER IS NOT IN FORCE: the last good policy stands in for it");
    }
    let store = store::open(&config.data)?;
    let audit = Arc::new(Audit::open(
        &config.data.join("audit"),
        &keys.derive_all("audit"),
    )?);
    for record in started.records {
        audit.write(record, Durability::Durable).await?;
    }
    match rotation::settle(&config.data, &keys, &*store, &history, &audit).await {
        Ok(0) => {}
        Ok(done) => tracing::info!(secrets = done, "sealed under the new master key"),
        // what was not sealed anew opens as before
        Err(error) => tracing::error!(%error, "the next start tries again"),
    }
    let bans = Bans::open(&config.bans, Arc::clone(&store)).await?;
    let recorder = Arc::clone(&audit) as Arc<dyn Recorder>;
    let identity = Identity::open(
        acts::settings(&config),
        Arc::clone(&store),
        Arc::clone(&keys),
        Watched::new(recorder, Arc::clone(&bans)),
        clock::unix(),
    )
    .await?;
    let sessions = Arc::clone(identity.sessions());
    let devices = Arc::clone(identity.devices());
    let own = config.http.sign_in.first();
    let relay = Relay::open(&config.mail, own.map_or("localhost", String::as_str))?;
    let mail = Mail::new(relay, Arc::clone(&store), Arc::clone(&keys));
    let collector = Collector::open(&config.traces)?;
    let traces = collector.map(|collector| Traces::start(&config.traces, collector));
    let signer = Signer::open(&config.data, &keys, clock::unix())?;
    let reproof = Reproof::with_keys(sessions.browser_keys().await?);
    let gw = Arc::new(Gateway {
        acme: Acme::new(&config, &keys),
        bans,
        mail,
        signer,
        cache: Arc::new(Answers::new(config.http.cache_max)),
        reports: Reports::default(),
        upstreams: Upstreams::new(&keys, Own::new(&config)),
        snapshot: ArcSwap::from_pointee(started.snapshot),
        history: Arc::new(history),
        cached: AtomicBool::new(started.cached.is_some()),
        authority,
        checks,
        keys,
        audit,
        identity,
        sessions,
        devices,
        streams: Streams::new(),
        people: People::new(config.http.max_streams_per_person),
        limits: Arc::new(Limits::new(&Rate::of_source(), clock::now())),
        traces,
        handover: Handover::default(),
        kept: Kept::default(),
        alarms: AtomicU64::new(0),
        reasons: Reasons::default(),
        reproof,
        edges: OnceLock::new(),
        reloading: tokio::sync::Mutex::default(),
        tunnel: OnceLock::new(),
        reload_error: parking_lot::Mutex::new(started.cached),
        owed: parking_lot::Mutex::default(),
        heartbeat: AtomicI64::new(clock::unix()),
        started: clock::unix(),
        config,
    });
    gw.bans.guard(&gw);
    gw.mail.serve(&gw);
    let stands_in = gw.cached.load(Ordering::Relaxed);
    if let (true, Some(why)) = (stands_in, gw.reload_error.lock().clone()) {
        gw.mail.alarm(Alarm::Policy { why });
    }
    gw.bound_sessions(&gw.snapshot.load_full()).await;
    Ok(gw)
}

/// Opens the internal authority, or makes it, unless it is switched off.
///
/// # Errors
/// When its files are not usable.
pub(crate) fn open_authority(
    config: &Config,
    keys: &Arc<Keys>,
) -> Result<Option<InternalCa>, CertError> {
    if !config.tls.internal_ca {
        return Ok(None);
    }
    let name = config
        .http
        .sign_in
        .first()
        .map_or("Postern", String::as_str);
    let dir = config.data.join("ca");
    Ok(Some(InternalCa::open(&dir, name, keys, clock::unix())?))
}

async fn start(
    gw: &Arc<Gateway>,
    mut listeners: Listeners,
    notify: &Notify,
    ready: impl FnOnce(&Arc<Gateway>),
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let current = Arc::clone(gw);
    let tls = tls::Profiles::new(&gw.config.tls.profile, move || {
        Arc::clone(&current.snapshot.load().certs)
    })?;
    let count = match gw.config.http.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        given => given,
    };
    let edges = Edges::start(gw, &Arc::new(tls), count)
        .map_err(|source| system("start an edge thread", source))?;
    let edges = gw.edges.get_or_init(|| edges);
    let https = listeners.https.into_iter().map(|listener| (listener, true));
    let http = listeners.http.into_iter().map(|listener| (listener, false));
    let doors = https.chain(http).enumerate();
    let doors = doors.filter_map(|(at, (listener, tls))| edges.listen(gw, listener, tls, at));
    let doors = doors.collect();
    if let Some(listener) = listeners.admin {
        tokio::spawn(observe::serve(Arc::clone(gw), listener));
    }
    open_tunnel(gw, listeners.tunnel.take(), notify).await;
    open_control(gw)?;
    tokio::spawn(reload::watch::run(Arc::clone(gw)));
    tokio::spawn(sweep::run(Arc::clone(gw)));
    tokio::spawn(upstreams::watch(Arc::clone(gw)));
    let mut record = Record::new(Event::Started, "ok", reason::START);
    record.policy = Some(Arc::clone(&gw.snapshot.load().digest));
    record.detail = Some(env!("CARGO_PKG_VERSION").to_owned());
    gw.audit.write(record, Durability::Durable).await?;
    ready(gw);
    Ok(doors)
}

/// Ends the acceptance of connections: whoever connects from here on waits for the next gateway, if a service manager
/// holds the sockets, and is refused else.
async fn shut(doors: Vec<JoinHandle<()>>) {
    for door in &doors {
        door.abort();
    }
    for door in doors {
        // an edge thread that is stuck holds nothing up
        drop(tokio::time::timeout(Duration::from_secs(1), door).await);
    }
}

async fn open_tunnel(gw: &Arc<Gateway>, passed: Option<UdpSocket>, notify: &Notify) {
    if !gw.config.tunnel.enabled {
        return;
    }
    let is_new = passed.is_none();
    let handle = tunnel::Handle::start(gw, passed).await;
    if let Some(socket) = handle.socket().filter(|_| is_new) {
        notify.keep(&listeners::name("udp", gw.config.tunnel.listen), &*socket);
    }
    if let Some(why) = handle.why_down() {
        tracing::error!(%why, "the tunnel door stays shut; the HTTPS door is open");
    }
    drop(gw.tunnel.set(handle));
    operate::uapi::open(gw);
}

fn open_control(gw: &Arc<Gateway>) -> Result<(), StartError> {
    let listener = control::bind(&gw.config.control_socket())
        .map_err(|source| system("open the control socket", source))?;
    let operator: Arc<dyn control::Operator> = Arc::new(operate::Desk::new(Arc::clone(gw)));
    tokio::spawn(control::serve(listener, operator));
    Ok(())
}

/// Ends in order: no new connections, idle ones closed, busy
/// ones given time, the journal closed last.
async fn stop(gw: &Arc<Gateway>, lock: Lock) {
    tracing::info!("stopping");
    let since = clock::now();
    if let Some(edges) = gw.edges.get() {
        edges.drain();
        let deadline = tokio::time::sleep(DRAIN);
        tokio::pin!(deadline);
        while edges.connections() > 0 {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                () = &mut deadline => break,
            }
        }
    }
    gw.streams.kill_all();
    let edges = Arc::clone(gw);
    let ended = tokio::task::spawn_blocking(move || edges.edges.get().map(Edges::join));
    // a little longer than an edge gives itself
    if tokio::time::timeout(CUT + Duration::from_secs(1), ended)
        .await
        .is_err()
    {
        tracing::warn!("an edge thread does not end");
    }
    let tunnel = async {
        if let Some(tunnel) = gw.tunnel.get() {
            tunnel.shutdown().await;
        }
    };
    let traces = async {
        if let Some(traces) = &gw.traces {
            traces.close(left(since)).await;
        }
    };
    tokio::join!(tunnel, traces);
    gw.identity.sweep(clock::unix()).await;
    let record = Record::new(Event::Stopped, "ok", reason::STOP);
    drop(gw.audit.write(record, Durability::Durable).await);
    gw.audit.close().await;
    drop(std::fs::remove_file(gw.config.control_socket()));
    drop(lock);
}

/// Tells how long the last traces may take: what the connections left of their time, within bounds.
fn left(since: Instant) -> Duration {
    let left = (DRAIN + CUT).saturating_sub(clock::now().saturating_duration_since(since));
    left.clamp(Duration::from_millis(500), Duration::from_secs(3))
}

/// The signals that end or reload the gateway; caught from before it listens.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn catch() -> Result<Self, StartError> {
        let catch = |kind| signal(kind).map_err(|source| system("catch signals", source));
        Ok(Self {
            term: catch(SignalKind::terminate())?,
            int: catch(SignalKind::interrupt())?,
            hup: catch(SignalKind::hangup())?,
        })
    }

    /// Waits for the signal to stop; SIGHUP reloads.
    async fn stop(&mut self, gw: &Arc<Gateway>) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => return,
                _ = self.hup.recv() => {
                    let wanted = Wanted::disk(How::Signal, By::default());
                    if reload::reload(gw, wanted).await.is_err() {
                        tracing::debug!("the refusal was logged where it happened");
                    }
                }
            }
        }
    }
}
