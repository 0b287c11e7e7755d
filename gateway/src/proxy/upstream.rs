//! Step 7: the upstream of a request, what it is told when one fails, and whether another is asked.

use std::os::unix::io::RawFd;
use std::sync::Arc;
use std::time::Duration;

use http::{header, response};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::cookies;
use super::direct::{self, Got, Lane};
use super::front::Front;
use super::headers;
use super::pep::{Ctx, internal};
use crate::audit::reason;
use crate::clock;
use crate::descriptors::{self, Claim};
use crate::explain::end::went;
use crate::limits::Key;
use crate::pages::Problem;
use crate::upstreams::{Choice, Full, InUse, Limits, Nowhere, Pool, Slot, bit};

/// The most pools of one host that a browser can be pinned in.
const PINS: usize = 6;

/// Where one request goes.
#[derive(Default)]
pub(crate) struct Route {
    /// The settings of its area.
    pub(crate) front: Option<Arc<Front>>,
    /// The pins its browser showed.
    pub(crate) pin: Option<String>,
    /// Whether it is a call of gRPC.
    pub(crate) calls: bool,
    /// Whether the head of an answer came.
    pub(crate) answered: bool,
    /// Why it got no answer: a code of [`reason`], and what went wrong with which upstream.
    pub(crate) failed: Option<(&'static str, String)>,
    /// When it may be made again, where it was refused for what others do.
    pub(crate) wait: Option<Duration>,
    choice: Option<Choice>,
    using: Option<InUse>,
    slot: Option<Slot>,
    lane: Option<Arc<Lane>>,
    tried: u64,
    /// Whether it is made for the second time, the first one having been sent.
    again: bool,
}

impl Route {
    fn pool(&self) -> Option<&Arc<Pool>> {
        self.front.as_ref()?.pool()
    }

    /// Notes what an upstream did not do; returns whether another request may be made to another.
    fn note(&mut self, error: &Error, late: bool) {
        let Some(using) = self.using.take() else {
            return;
        };
        let (reason, what) = told(error, late);
        let why = format!("{what}: {}", using.0.to);
        let rests = using.0.broke(&why, clock::now(), clock::unix());
        if rests {
            tracing::warn!(upstream = %using.0.to, why = what, "an upstream rests");
        }
        let pool = self.front.as_ref().and_then(|front| front.pool());
        if let (Some(pool), Some(slot)) = (pool, &mut self.slot)
            && pool.broke(slot, clock::now())
        {
            tracing::warn!(upstream = %using.0.to, "a breaker opens");
        }
        self.failed = Some((reason, why));
    }

    /// Returns the connection pingora asks over, where it is one of ours.
    pub(super) fn got(&self) -> Option<Got> {
        self.lane.as_ref()?.got()
    }

    fn another(&self) -> bool {
        let pool = self.pool();
        pool.is_some_and(|pool| pool.has_other(self.tried, clock::now()) && pool.may_retry())
    }
}

/// Chooses the upstream of a request and describes the connection to it.
///
/// # Errors
/// 503 when none is left that is well; a connect error when its name has no address.
pub(crate) async fn peer(ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
    let Some(front) = ctx.route.front.clone() else {
        return Err(internal("no settings"));
    };
    let Some(pool) = front.pool() else {
        return Err(internal("no upstreams"));
    };
    let now = clock::now();
    if ctx.route.slot.is_none() {
        let Some(source) = ctx.ctl.as_ref().map(|ctl| ctl.conn.peer.ip()) else {
            return Err(internal("no connection"));
        };
        match pool.admit(|| Key::of(ctx.user(), source), now) {
            Ok(slot) => ctx.route.slot = Some(slot),
            Err(full) => return Err(refused(ctx, full)),
        }
    }
    let choice = pool.choose(ctx.route.pin.as_deref(), ctx.route.tried, now);
    let Some((choice, using)) = choice.and_then(|c| Some((c, pool.enter(c)?))) else {
        ctx.route.failed = Some((reason::UPSTREAM_DOWN, went::NONE_WELL.to_owned()));
        let why = went::NONE_WELL;
        return Err(Error::explain(ErrorType::HTTPStatus(503), why));
    };
    let member = Arc::clone(&using.0);
    ctx.route.choice = Some(choice);
    ctx.route.tried |= bit(choice.at);
    ctx.route.using = Some(using);
    ctx.trace(|span| span.asks(&member.to.at));
    let address = match member.address(now).await {
        Ok(address) => address,
        Err(nowhere) => {
            let mut error = Error::explain(ErrorType::ConnectError, "no address");
            failed(ctx, &error, false);
            if let Nowhere::Outside(_) = nowhere {
                let why = format!("{}: {nowhere}", member.to);
                ctx.route.failed = Some((reason::UPSTREAM_OUTSIDE, why));
            }
            error.set_retry(ctx.route.another());
            return Err(error.into_up());
        }
    };
    let limits = Limits {
        connect: front.connect,
        // while a body goes there the watch alone tells whether the answer is late
        read: (!ctx.upgrade && !awaits_body(ctx)).then(|| front.head.max(silence(ctx, &front))),
    };
    match pool.peer(choice, address, limits, ctx.upgrade) {
        Ok(peer) => Ok(Box::new(peer)),
        Err(why) => {
            ctx.route.failed = Some((reason::UPSTREAM_TLS, format!("{}: {why}", member.to)));
            ctx.trace(|span| span.broke(reason::UPSTREAM_TLS));
            Err(Error::explain(ErrorType::InvalidCert, why).into_up())
        }
    }
}

/// Leads pingora over a connection of ours to an upstream of HTTP/1.
pub(super) fn long_way(ctx: &mut Ctx, peer: Box<HttpPeer>) -> Box<HttpPeer> {
    let ours = ctx.route.pool().is_some_and(|pool| !pool.http2());
    let Some(ctl) = ctx.ctl.as_ref().filter(|_| ours) else {
        return peer;
    };
    let (lane, shown) = Lane::to(&ctl.edge, peer, ctx.upgrade);
    ctx.route.lane = Some(lane);
    shown
}

/// Refuses a request at once for what others do; it never waits its turn.
fn refused(ctx: &mut Ctx, full: Full) -> Box<Error> {
    ctx.route.wait = Some(full.wait());
    let (reason, why) = match full {
        Full::Busy(_) => (reason::APP_BUSY, "as many requests as may be are under way"),
        Full::Broken(_) => (reason::APP_RESTS, "those before got no answer"),
    };
    ctx.route.failed = Some((reason, why.to_owned()));
    Error::explain(ErrorType::HTTPStatus(503), why)
}

fn awaits_body(ctx: &Ctx) -> bool {
    ctx.ctl.as_ref().is_some_and(|ctl| ctl.awaits_body())
}

/// Tells how long an answer may be silent.
pub(super) fn silence(ctx: &Ctx, front: &Front) -> Duration {
    if ctx.route.calls {
        front.stream
    } else {
        front.idle
    }
}

/// Tells how long the body of a request may take in all: that of a call of gRPC is a stream as well.
pub(super) fn until_whole(ctx: &Ctx, front: &Front) -> Duration {
    if ctx.route.calls {
        front.stream.max(front.body)
    } else {
        front.body
    }
}

/// Gives a new connection to an upstream back that would take what is kept for others.
///
/// # Errors
/// 503, which says nothing of the upstream.
pub(super) fn room(ctx: &mut Ctx, fd: RawFd, reused: bool) -> Result<()> {
    let claim = match ctx.user() {
        Some(_) => Claim::Known,
        None => Claim::Stranger,
    };
    if reused || descriptors::fits(fd, claim) {
        return Ok(());
    }
    let why = "as many descriptors as may be are open";
    ctx.route.failed = Some((reason::OVERLOADED, why.to_owned()));
    Err(Error::explain(ErrorType::HTTPStatus(503), why))
}

/// Starts to wait for the answer on a connection to an upstream.
pub(super) fn watch(ctx: &Ctx, fd: RawFd) {
    if let (Some(ctl), Some(front)) = (&ctx.ctl, &ctx.route.front) {
        let silence = silence(ctx, front);
        let watched = silence < front.head || ctx.route.calls || ctl.awaits_body();
        ctl.watch(fd, front.head, watched.then_some(silence));
    }
}

/// Tells whether a request is a call of gRPC to an upstream that can take it: both sides may speak when they like, for
/// as long as an area's streams may.
pub(super) fn is_call(session: &Session, ctx: &Ctx) -> bool {
    let kind = session.req_header().headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    ctx.route.pool().is_some_and(|pool| pool.http2())
        && kind.is_some_and(|kind| kind.starts_with("application/grpc"))
}

/// What an upstream did that answered in HTTP/1.1 where it was to speak HTTP/2.
const NOT_HTTP2: ErrorType = ErrorType::new("NotHttp2");

/// Refuses to go on over HTTP/1.1 with an upstream that was to speak HTTP/2.
///
/// # Errors
/// Where the connection came out as another version; nothing was sent over it.
pub(super) fn same_version(ctx: &Ctx, version: http::Version) -> Result<()> {
    let wanted = ctx.route.pool().is_some_and(|pool| pool.http2());
    if wanted && version != http::Version::HTTP_2 {
        return Err(Error::explain(NOT_HTTP2, "not HTTP/2").into_up());
    }
    Ok(())
}

/// Notes that no connection came about. Nothing was sent, so another upstream may be asked whatever the method, as
/// long as no earlier one was given a part of the body.
pub(crate) fn connect_failed(session: &Session, ctx: &mut Ctx, mut e: Box<Error>) -> Box<Error> {
    if let Some(using) = &ctx.route.using {
        using.0.next_address(clock::now());
    }
    failed(ctx, &e, false);
    let whole = !session.as_ref().retry_buffer_truncated();
    e.set_retry(whole && ctx.route.another());
    e
}

/// Notes that an exchange broke. A request that changes nothing is made again, once, if not one byte of an answer is out:
/// to the same upstream where it only closed a connection that had waited too long, else to another.
pub(crate) fn broke(
    session: &Session,
    ctx: &mut Ctx,
    mut e: Box<Error>,
    reused: bool,
) -> Box<Error> {
    let late = ctx.ctl.as_ref().is_some_and(|ctl| ctl.answered());
    if direct::is_bent(&e) {
        e.etype = ErrorType::InvalidHTTPHeader;
    }
    let safe = matches!(ctx.method.as_str(), "GET" | "HEAD" | "OPTIONS");
    let unanswered = !has_answered(session) && !ctx.route.answered;
    let whole = !session.as_ref().retry_buffer_truncated();
    // what the library says may be made again was not begun: a stream refused, a connection that ends in good order
    let unbegun = *e.etype() == ErrorType::H2Error && e.retry();
    let closed = is_closed(e.etype()) || unbegun;
    let again = safe && whole && unanswered && closed && !late && !ctx.route.again;
    if again && reused {
        // a connection that waited too long says nothing of the upstream
        if let Some(choice) = ctx.route.choice.take() {
            ctx.route.tried &= !bit(choice.at);
        }
        ctx.route.using = None;
        let may = ctx.route.pool().is_some_and(|pool| pool.may_retry());
        ctx.route.again = may;
        e.set_retry(may);
        if !may {
            ctx.route.failed = Some((reason::RESET, told(&e, late).1.to_owned()));
        }
        ctx.trace(|span| span.broke(reason::RESET));
        return e;
    }
    let of_upstream = *e.esource() == ErrorSource::Upstream;
    if of_upstream {
        failed(ctx, &e, late);
    }
    ctx.route.again |= of_upstream && again && ctx.route.another();
    e.set_retry(of_upstream && again && ctx.route.again);
    e
}

/// Notes what an upstream did not do.
fn failed(ctx: &mut Ctx, error: &Error, late: bool) {
    ctx.route.note(error, late);
    ctx.trace(|span| span.broke(told(error, late).0));
}

fn is_closed(kind: &ErrorType) -> bool {
    matches!(
        kind,
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
    )
}

fn is_of_tls(kind: &ErrorType) -> bool {
    matches!(
        kind,
        ErrorType::TLSHandshakeFailure
            | ErrorType::TLSWantX509Lookup
            | ErrorType::InvalidCert
            | ErrorType::HandshakeError
    )
}

/// What went wrong: a code of [`reason`], and words for the record.
fn told(error: &Error, late: bool) -> (&'static str, &'static str) {
    use ErrorType as E;
    let kind = error.etype();
    if late || matches!(kind, E::ReadTimedout | E::WriteTimedout) {
        return (reason::TIMEOUT, went::SILENT);
    }
    if matches!(kind, E::ConnectTimedout | E::TLSHandshakeTimedout) {
        return (reason::TIMEOUT, went::CONNECT_LATE);
    }
    let of_http = matches!(
        kind,
        E::InvalidHTTPHeader | E::UnknownError | E::H2Error | E::InvalidH2
    );
    if *kind == NOT_HTTP2 {
        (reason::UPSTREAM_BAD, went::NOT_HTTP2)
    } else if is_of_tls(kind) {
        (reason::UPSTREAM_TLS, went::TLS)
    } else if of_http {
        (reason::UPSTREAM_BAD, went::NOT_HTTP)
    } else if is_closed(kind) {
        (reason::RESET, went::BROKEN)
    } else if matches!(kind, E::ConnectRefused) {
        (reason::UPSTREAM_DOWN, went::REFUSED)
    } else if matches!(kind, E::ConnectNoRoute) {
        (reason::UPSTREAM_DOWN, went::NO_ROUTE)
    } else {
        (reason::UPSTREAM_DOWN, went::UNCONNECTED)
    }
}

/// Notes that an upstream answered, and pins the browser to it where its area says so.
///
/// # Errors
/// None in practice; header building reports one.
pub(crate) fn answered(ctx: &mut Ctx, answer: &mut response::Parts) -> Result<()> {
    if let Some(using) = &ctx.route.using {
        using.0.worked();
    }
    if let Some(slot) = &mut ctx.route.slot
        && let Some(pool) = ctx.route.front.as_ref().and_then(|front| front.pool())
    {
        pool.worked(slot);
    }
    if let Some(ctl) = ctx.ctl.as_ref().filter(|_| has_no_end(answer)) {
        ctl.has_no_end();
    }
    let Some((pool, choice)) = ctx.route.pool().zip(ctx.route.choice) else {
        return Ok(());
    };
    let Some(place) = pool.places().get(choice.at) else {
        return Ok(());
    };
    if !pool.sticky || choice.pinned {
        return Ok(());
    }
    let others = ctx.route.pin.as_deref().unwrap_or_default().split('.');
    let others =
        others.filter(|pin| !pin.is_empty() && !pool.places().iter().any(|p| p.pin == *pin));
    let mut pins = vec![place.pin.as_str()];
    pins.extend(others.take(PINS - 1));
    let cookie = cookies::set(cookies::PIN, &pins.join("."), None);
    answer
        .headers
        .append(header::SET_COOKIE, headers::field(&cookie)?);
    Ok(())
}

/// Tells whether an answer goes on until a side ends it: a socket, or a stream of events.
fn has_no_end(answer: &response::Parts) -> bool {
    let kind = answer.headers.get(header::CONTENT_TYPE);
    let events = |kind: &[u8]| {
        const EVENTS: &[u8] = b"text/event-stream";
        let start = kind.get(..EVENTS.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(EVENTS))
    };
    answer.status == http::StatusCode::SWITCHING_PROTOCOLS
        || kind.is_some_and(|kind| events(kind.as_bytes()))
}

/// Tells whether the head of an answer is out; what went before it is none.
pub(super) fn has_answered(session: &Session) -> bool {
    let written = session.response_written();
    written.is_some_and(|head| !head.status.is_informational())
}

/// Tells a client that asked first to send its body: the gateway takes it, whatever the app thinks of asking.
///
/// HTTP/2 has no such answer in the library; there the body comes after the client's own patience. HTTP/1.0 has none
/// at all; there what is expected is ignored.
/// Source: RFC 9110 section 10.1.1; security.md R-PX-11.
pub(super) async fn invite(session: &mut Session) -> Result<()> {
    let head = session.req_header();
    let asks = head.version == http::Version::HTTP_11 && head.headers.contains_key(header::EXPECT);
    if !asks || session.as_downstream().is_http2() || session.is_body_done() {
        return Ok(());
    }
    session.as_downstream_mut().write_continue_response().await
}

/// Tells whether a request says that its body is over the limit.
pub(super) fn too_long(session: &Session, most: u64) -> bool {
    let length = session.req_header().headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length > most)
}

/// The page for what went wrong.
pub(super) fn problem_of(e: &Error) -> Problem {
    match (e.etype(), e.esource()) {
        (ErrorType::HTTPStatus(413), _) => Problem::TooLarge,
        (ErrorType::HTTPStatus(502), _) => Problem::BadUpstream,
        (ErrorType::HTTPStatus(503), _) => Problem::AppBusy,
        (ErrorType::ConnectTimedout | ErrorType::ReadTimedout, _) => Problem::UpstreamTimeout,
        (ErrorType::HTTPStatus(_), _) | (_, ErrorSource::Downstream) => Problem::BadRequest,
        (
            ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::TLSHandshakeTimedout,
            _,
        ) => Problem::Unreachable,
        (kind, _) if is_of_tls(kind) => Problem::Unreachable,
        _ => Problem::BadUpstream,
    }
}
