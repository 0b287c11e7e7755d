//! One client connection from accept to close.

mod life;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use parking_lot::Mutex;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use rustls::ProtocolVersion;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use self::life::{IDLE, Life};
use super::app::App;
use super::edge::Edge;
use super::front::cache::Lead;
use super::head::{self, MAX_HEAD, Refused};
use super::headers::new_request_id;
use super::pep::Told;
use super::stream::gathered::Gathered;
use super::stream::{ClientStream, Collected, HeadRead, Transport};
use crate::audit::{Event, Record, reason};
use crate::bans::Offence;
use crate::clock;
use crate::ids::{DeviceId, Door, SessionId};
use crate::streams::{KillSwitch, Kind, Stream, StreamGuard};
use crate::tunnel::pace::Paced;

const HANDSHAKE: Duration = Duration::from_secs(10);
pub(super) const HEAD: Duration = Duration::from_secs(10);
/// The length of HTTP/2's connection preface. Source: RFC 9113 section 3.4.
const PREFACE: usize = 24;
/// How long the first request of a connection may take to come when the gateway stops.
const FIRST: Duration = Duration::from_secs(3);
/// What is on its way between a request that is made once more and its answer.
const BEHIND: usize = 64 * 1024;

/// What stands for a body in chunks that other software may read otherwise.
const BENT: Refused = Refused {
    status: 400,
    reason: "bad-chunk",
};

/// Where a connection came in.
#[derive(Clone, Debug)]
pub(crate) struct ConnOrigin {
    /// The door.
    pub(crate) door: Door,
    /// The client's address; inside the tunnel, the device's own.
    pub(crate) peer: SocketAddr,
    /// The tunnel device whose bytes these are.
    pub(crate) device: Option<DeviceId>,
    /// Whether TLS is to be spoken (port 443) or not (port 80).
    pub(crate) tls: bool,
    /// Whether the peer is a listed proxy, whose header names the client.
    pub(crate) proxied: bool,
}

/// What is known of a connection for its whole life.
pub(crate) struct ConnCtx {
    /// The door it came by.
    pub(crate) door: Door,
    /// The client's address; inside the tunnel, the device's own.
    pub(crate) peer: SocketAddr,
    /// The tunnel device whose bytes these are, proved by decryption.
    pub(crate) device: Option<DeviceId>,
    /// Whether it speaks TLS.
    pub(crate) tls: bool,
    /// The server name the client asked for in its TLS hello.
    pub(crate) sni: Option<String>,
    /// When it could carry its first request.
    pub(crate) opened: Instant,
    /// How many requests it may carry, and how long.
    pub(crate) life: Life,
    /// Cuts the whole connection.
    pub(crate) kill: KillSwitch,
    /// What was told of its person last.
    pub(super) told: Mutex<Option<Told>>,
    held: Mutex<Option<(SessionId, StreamGuard)>>,
    /// Has it take no further requests; only of HTTP/2.
    retire: Mutex<Option<watch::Sender<bool>>>,
    /// The duty of its one request, where that is made behind an answer that was given out.
    pub(super) refresh: Mutex<Option<Lead>>,
}

impl ConnCtx {
    pub(super) fn new(origin: &ConnOrigin, sni: Option<String>, kill: KillSwitch) -> Arc<Self> {
        let opened = clock::now();
        Arc::new(Self {
            refresh: Mutex::new(None),
            door: origin.door,
            peer: origin.peer,
            device: origin.device,
            tls: origin.tls,
            sni,
            opened,
            life: Life::new(opened),
            kill,
            told: Mutex::new(None),
            held: Mutex::new(None),
            retire: Mutex::new(None),
        })
    }

    /// What is known of a connection that stands for this one.
    fn behind(&self, lead: Lead) -> Arc<Self> {
        Arc::new(Self {
            door: self.door,
            peer: self.peer,
            device: self.device,
            tls: self.tls,
            sni: self.sni.clone(),
            opened: self.opened,
            life: Life::new(clock::now()),
            kill: KillSwitch::new(),
            told: Mutex::new(None),
            held: Mutex::new(None),
            retire: Mutex::new(None),
            refresh: Mutex::new(Some(lead)),
        })
    }

    /// Tells whether it carries a request that is made once more behind an answer that was given out, and charged then.
    pub(super) fn is_behind(&self) -> bool {
        self.refresh.lock().is_some()
    }

    /// Counts a request; tells whether the connection is to take no further one.
    pub(super) fn is_at_its_last(&self, edge: &Edge) -> bool {
        let most = edge.gw.config.http.max_requests_per_connection;
        self.life.is_last(most, clock::now())
    }

    /// Tells whether the connection carries a session.
    pub(crate) fn is_held(&self) -> bool {
        self.held.lock().is_some()
    }

    /// Has an HTTP/2 connection tell its client to ask what it asks next over another one (RFC 9113 6.8); what is
    /// open on it is finished. One of HTTP/1 ends with its answer, by `set_keepalive`.
    pub(super) fn retire(&self) {
        if let Some(retire) = &*self.retire.lock() {
            retire.send_replace(true);
        }
    }

    /// Unties the connection from its session, so that the request that ends the session gets
    /// its answer.
    pub(crate) fn let_go(&self) {
        *self.held.lock() = None;
    }

    /// Ties the connection to the session whose requests it carries, so that the session's end
    /// closes it even while it is idle.
    pub(crate) fn hold(&self, edge: &Edge, session: SessionId, user: &Arc<str>) {
        let mut held = self.held.lock();
        if held.as_ref().is_some_and(|(id, _)| *id == session) {
            return;
        }
        let guard = edge.gw.streams.open(Stream {
            kind: Kind::Connection,
            session: Some(session),
            token: None,
            device: self.device,
            user: Some(Arc::clone(user)),
            recheck_at: None,
            question: None,
            kill: self.kill.clone(),
        });
        *held = Some((session, guard));
    }
}

/// Serves one connection until it ends or is cut.
pub(crate) async fn serve(edge: Arc<Edge>, io: TcpStream, origin: ConnOrigin) {
    let kill = KillSwitch::new();
    let io = kill.takes(Paced::new(io, origin.door == Door::Tunnel));
    if !origin.tls {
        let ctx = ConnCtx::new(&origin, None, kill);
        return carry(edge, Box::new(io), ctx, false).await;
    }
    let shaken = timeout(HANDSHAKE, handshake(&edge, Gathered::new(io), origin.door)).await;
    let Ok(Some(mut stream)) = shaken else {
        return;
    };
    let (gathered, tls) = stream.get_mut();
    gathered.settle();
    // until TLS 1.2 a client waits for the end of the handshake
    let waits = tls.protocol_version() != Some(ProtocolVersion::TLSv1_3);
    if waits && !matches!(timeout(HANDSHAKE, stream.flush()).await, Ok(Ok(()))) {
        return;
    }
    let (sni, h2) = {
        let (_, tls) = stream.get_ref();
        let sni = tls.server_name().map(str::to_owned);
        (sni, tls.alpn_protocol() == Some(b"h2"))
    };
    let ctx = ConnCtx::new(&origin, sni, kill);
    carry(edge, Box::new(stream), ctx, h2).await;
}

/// Makes a request once more behind its answer, decided and recorded as any other of its person; what the app says to
/// it is kept and goes to nobody. `place` is held as long as that lasts.
pub(super) fn ask_behind(
    edge: &Arc<Edge>,
    conn: &ConnCtx,
    head: Vec<u8>,
    lead: Lead,
    place: OwnedSemaphorePermit,
) {
    let (near, mut far) = tokio::io::duplex(BEHIND);
    let ctx = conn.behind(lead);
    tokio::spawn(carry(Arc::clone(edge), Box::new(near), ctx, false));
    tokio::spawn(async move {
        if far.write_all(&head).await.is_ok() {
            drop(tokio::io::copy(&mut far, &mut tokio::io::sink()).await);
        }
        drop(place);
    });
}

/// Finishes the handshake with the settings for the name asked for; `None` when it fails, or was
/// a directory's look at a challenge, which ends with the handshake.
async fn handshake<S: Transport>(edge: &Edge, io: S, door: Door) -> Option<TlsStream<S>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), io)
        .await
        .ok()?;
    let answers = edge.gw.acme.answers();
    let challenge = answers.certificate(&start.client_hello());
    if let Some(config) = challenge.filter(|_| door == Door::Web) {
        let mut stream = start.into_stream(config).await.ok()?;
        drop(stream.shutdown().await);
        return None;
    }
    let config = Arc::clone(edge.tls.pick(start.client_hello().server_name()));
    start.into_stream(config).await.ok()
}

async fn carry(edge: Arc<Edge>, io: Box<dyn Transport>, ctx: Arc<ConnCtx>, h2: bool) {
    let bans = Arc::clone(&edge.gw.bans);
    let _guest = bans.guests.enter(&ctx);
    if ctx.door == Door::Web && bans.refuses(ctx.peer.ip()) {
        return; // banned since it was accepted
    }
    let kill = ctx.kill.clone();
    let mut stream = ClientStream::new(io, Arc::clone(&ctx), h2);
    if h2
        && !matches!(
            timeout(HEAD, stream.read_ahead(PREFACE)).await,
            Ok(Ok(true))
        )
    {
        return;
    }
    let app = Arc::new(App::new(edge, ctx, h2));
    let work = async {
        if h2 {
            http2(&app, Box::new(stream)).await;
        } else {
            http1(&app, Box::new(stream)).await;
        }
    };
    let mut work = pin!(work);
    tokio::select! {
        biased;
        () = kill.wait() => {}
        () = &mut work => {}
    }
}

async fn http2(app: &Arc<App>, stream: Box<ClientStream>) {
    let mut all = app.edge.shutdown.clone();
    let (retire, shutdown) = watch::channel(*all.borrow());
    *app.conn.retire.lock() = Some(retire);
    let mut work = pin!(app.process_new(stream, &shutdown));
    tokio::select! {
        _ = &mut work => return,
        // an error is a gateway that is gone
        _ = all.wait_for(|stops| *stops) => app.conn.retire(),
        () = app.conn.life.idle(IDLE) => return,
    }
    // a client that does not hear that nothing more is taken holds nothing up
    let unheard = async {
        tokio::time::sleep(FIRST).await;
        app.conn.life.idle(FIRST).await;
    };
    tokio::select! {
        _ = &mut work => {}
        () = unheard => {}
    }
}

async fn http1(app: &Arc<App>, mut stream: Box<ClientStream>) {
    let mut settings: Option<HttpPersistentSettings> = None;
    let mut grace = FIRST;
    loop {
        let shutdown = app.edge.shutdown.clone();
        if !wait_for_request(app, &mut stream, grace).await {
            return;
        }
        grace = Duration::ZERO;
        let head = match strict_head(&mut stream).await {
            Ok(head) => head,
            Err(refused) => return refuse(app, &mut stream, refused).await,
        };
        if !stream.follow(head) {
            return refuse(app, &mut stream, Some(BENT)).await;
        }
        *app.far.lock() = stream.far(head);
        *app.intake.lock() = Some(stream.intake());
        let wire = stream.wire();
        let mut session = ServerSession::new_http1(stream);
        if let Some(settings) = settings.take() {
            settings.apply_to_session(&mut session);
        }
        // what else is said of this is said anew by the request's own head
        let ends = *shutdown.borrow() || app.conn.is_at_its_last(&app.edge);
        session.set_keepalive_reuses_remaining(ends.then_some(0));
        let reused = Collected::new(app.process_new_http(session, &shutdown), wire).await;
        let Some((back, persistent)) = reused.map(ReusedHttpStream::consume) else {
            return;
        };
        settings = persistent;
        let Ok(same) = back.into_any().downcast::<ClientStream>() else {
            return;
        };
        stream = same;
    }
}

/// Waits for the next request; `false` when none comes. When the gateway stops, one that is here is still served, and
/// `grace` is left for one to come.
async fn wait_for_request(app: &App, stream: &mut ClientStream, grace: Duration) -> bool {
    let mut shutdown = app.edge.shutdown.clone();
    let over = async {
        // an error is a gateway that is gone
        drop(shutdown.wait_for(|stops| *stops).await);
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        biased;
        parked = timeout(IDLE, stream.park()) => matches!(parked, Ok(Ok(true))),
        () = over => false,
    }
}

/// Reads the head within its deadline and judges it; returns its length in bytes. `Err(None)` is a client that left.
async fn strict_head(stream: &mut ClientStream) -> Result<usize, Option<Refused>> {
    let late = Refused {
        status: 408,
        reason: "head-too-slow",
    };
    let large = Refused {
        status: 431,
        reason: "head-too-large",
    };
    let read = timeout(HEAD, stream.read_head(MAX_HEAD)).await;
    match read {
        Err(_) => Err(Some(late)),
        Ok(Ok(HeadRead::Whole(len))) => match head::scan(stream.ahead(len)) {
            Ok(()) => Ok(len),
            Err(refused) => Err(Some(refused)),
        },
        Ok(Ok(HeadRead::TooLarge)) => Err(Some(large)),
        Ok(Ok(HeadRead::Closed | HeadRead::Broken) | Err(_)) => Err(None),
    }
}

async fn refuse(app: &App, stream: &mut ClientStream, refused: Option<Refused>) {
    let Some(Refused { status, reason }) = refused else {
        return;
    };
    let id = new_request_id();
    let mut record = Record::new(Event::AccessDecided, "deny", reason::BAD_REQUEST);
    record.source = Some(app.conn.peer.ip());
    record.device = app.conn.device;
    record.request_id = Some(id.as_str().into());
    record.status = Some(status);
    record.rule = Some("builtin.bad-request".into());
    record.detail = Some(reason.to_owned());
    app.edge.gw.audit.note(record);
    let (door, source) = (app.conn.door, app.conn.peer.ip());
    app.edge.gw.bans.offence(door, source, Offence::Probe);
    let name = StatusCode::from_u16(status).ok();
    let name = name
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Bad Request");
    let body = format!("{{\"error\":\"{reason}\"}}\n");
    let mut answer = format!(
        "HTTP/1.1 {status} {name}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Request-ID: {id}\r\nConnection: close\r\n",
        body.len()
    );
    if app.conn.tls {
        let hsts = app.edge.hsts.to_str().unwrap_or_default();
        answer.push_str(&format!("Strict-Transport-Security: {hsts}\r\n"));
    }
    answer.push_str("\r\n");
    answer.push_str(&body);
    let _ = timeout(HANDSHAKE, stream.answer_and_close(answer.as_bytes())).await;
}
