//! The short way to an app: for a request without a body, that of a WebSocket too, to an upstream of HTTP/1.
//!
//! pingora runs an exchange as two halves that talk over channels, and gives each connection that waits a task of its
//! own. A request without a body needs neither: it is sent, then its answer is passed on, by one loop. The client's
//! side is pingora's own session, that of the app is read and written here, and every filter is that of the long way.
//! Either way every byte of an answer is judged before pingora reads it ([`judged`]), and connections wait here.

mod asked;
mod idle;
mod judge;
mod judged;
mod lane;
mod upgraded;

pub(super) use judged::is_bent;
pub(super) use lane::{Got, Lane};

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Version, header, request};
use parking_lot::Mutex;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::UniqueID as _;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::authority::validate_request_authority;
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use tokio::io::AsyncWriteExt as _;

use self::asked::{Asked, Limits};
use self::idle::Idle;
use self::judged::Judged;
use super::app::RequestCtl;
use super::pep::{Ctx, Pep, internal};
use super::upstream;
use crate::clock;

/// How many upstreams a request is taken to at most; sent, it is twice.
pub(super) const TRIES: usize = 4;
/// How many parts of an answer are written at once at most.
const PARTS: usize = 4;
/// Fields that end at this hop. Source: RFC 9110 section 7.6.1.
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// The connections of one edge to upstreams of HTTP/1.
pub(crate) struct Direct {
    connector: Arc<TransportConnector>,
    idle: Mutex<Idle>,
}

impl Direct {
    /// Keeps at most `most` connections that wait for their next request; `connector` makes new ones.
    pub(crate) fn new(connector: Arc<TransportConnector>, most: usize) -> Self {
        Self {
            connector,
            idle: Mutex::new(Idle::new(most)),
        }
    }

    /// Closes what waited too long, and what its upstream has closed.
    pub(crate) fn sweep(&self) {
        self.idle.lock().sweep(clock::now());
    }

    /// Returns a connection for the next request, and whether it is one that waited.
    async fn connect(&self, peer: &HttpPeer, upgrade: bool) -> Result<(Box<Judged>, bool)> {
        let kept = self.idle.lock().take(peer.reuse_hash(), clock::now());
        let reused = kept.is_some();
        let mut judged = match kept {
            Some(judged) => judged,
            // rare and large: each request would move room for it about
            None => Box::new(Judged::new(
                Box::pin(self.connector.new_stream(peer)).await?,
            )),
        };
        judged.expect(upgrade);
        Ok((judged, reused))
    }

    /// Keeps the connection of an exchange that is over, if both sides allow it.
    async fn release(&self, asked: Asked, peer: &HttpPeer) {
        let (mut judged, _, keeps) = asked.into_parts();
        if keeps {
            self.keep(judged, peer);
        } else {
            // who closes first has nothing to say of it
            drop(judged.shutdown().await);
        }
    }

    /// Keeps a connection; one with an answer that is not whole is closed.
    fn keep(&self, judged: Box<Judged>, peer: &HttpPeer) {
        if judged.is_whole() {
            let wait = peer.idle_timeout().unwrap_or(Duration::ZERO);
            let until = clock::now() + wait;
            self.idle.lock().put(peer.reuse_hash(), judged, until);
        }
    }
}

/// Tells whether a request may take the short way.
pub(super) fn fits(ctl: &RequestCtl, session: &mut Session, ctx: &Ctx) -> bool {
    let pool = ctx.route.front.as_ref().and_then(|front| front.pool());
    if pool.is_none_or(|pool| pool.http2()) {
        return false;
    }
    if ctx.upgrade {
        return ctl.far.is_some() && upgrades_only(&session.req_header().headers);
    }
    session.is_body_done() && names_nothing(&session.req_header().headers)
}

/// Tells whether a request for an upgrade has no body and Connection names no other field.
fn upgrades_only(headers: &http::HeaderMap) -> bool {
    let usual = |line: &HeaderValue| {
        let mut names = line
            .as_bytes()
            .split(|b| *b == b',')
            .map(<[u8]>::trim_ascii);
        names.all(|name| {
            name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"keep-alive")
        })
    };
    !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.get_all(header::UPGRADE).iter().count() == 1
        && headers.get_all(header::CONNECTION).iter().all(usual)
}

/// Tells whether Connection names no other field, so that nothing but the usual ends at this hop.
fn names_nothing(headers: &http::HeaderMap) -> bool {
    let mut lines = headers.get_all(header::CONNECTION).iter();
    match (lines.next(), lines.next()) {
        (None, _) => true,
        (Some(line), None) => {
            let line = line.as_bytes();
            line.eq_ignore_ascii_case(b"keep-alive") || line.eq_ignore_ascii_case(b"close")
        }
        (Some(_), Some(_)) => false,
    }
}

/// Sends a request to its app and passes the answer on.
///
/// # Errors
/// What [`upstream::connect_failed`] and [`upstream::broke`] make of it, for the page that says so.
pub(super) async fn exchange(
    pep: &Pep,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
) -> Result<()> {
    let mut tries = 1;
    loop {
        match attempt(pep, ctl, session, ctx).await {
            Err(error) if error.retry() && tries < TRIES => tries += 1,
            end => return end,
        }
    }
}

async fn attempt(
    pep: &Pep,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
) -> Result<()> {
    if !ctx.permitted() {
        return Err(internal("no permit"));
    }
    let peer = upstream::peer(ctx).await?;
    let direct = &ctl.edge.direct;
    let (stream, reused) = match direct.connect(&peer, ctx.upgrade).await {
        Ok(connected) => connected,
        Err(mut error) => {
            error.as_up();
            return Err(upstream::connect_failed(session, ctx, error).into_up());
        }
    };
    upstream::room(ctx, stream.id(), reused)?;
    let limits = Limits {
        read: peer.options.read_timeout,
        write: peer.options.write_timeout,
    };
    upstream::watch(ctx, stream.id());
    let mut asked = Asked::new(stream, limits);
    let ended = match converse(pep, session, ctx, &mut asked).await {
        Ok(_) if asked.was_upgraded() => upgraded::pass(ctl, session, ctx, asked, &peer).await,
        Ok(whole) => {
            let late = ctl.answered();
            if whole && !late {
                direct.release(asked, &peer).await;
            }
            Ok(())
        }
        Err(error) => Err(error),
    };
    ended.map_err(|error| upstream::broke(session, ctx, error, reused))
}

/// Asks and passes the answer on; returns whether it was read whole.
async fn converse(
    pep: &Pep,
    session: &mut Session,
    ctx: &mut Ctx,
    asked: &mut Asked,
) -> Result<bool> {
    let mut head = ask(session, ctx.upgrade);
    pep.to_app(session, &mut head, ctx)?;
    let head = RequestHeader::from(head);
    validate_request_authority(&head).map_err(|e| e.into_in())?;
    asked.ask(&head).await.map_err(|e| e.into_up())?;
    loop {
        let first = next(session, ctx, asked).await?;
        let mut whole = first.is_end();
        let mut parts = Vec::with_capacity(PARTS);
        parts.push(filter(pep, session, ctx, first)?);
        while !whole && !asked.was_upgraded() && parts.len() < PARTS {
            // what is here already goes out with it
            let Some(part) = asked.here() else {
                break;
            };
            let part = part.unwrap_or_else(|e| HttpTask::Failed(e.into_up()));
            whole = part.is_end();
            parts.push(filter(pep, session, ctx, part)?);
        }
        let written = session.write_response_tasks(parts).await?;
        if whole || written || asked.was_upgraded() {
            return Ok(whole);
        }
    }
}

/// Starts the head of the request to an app with what the client sent.
fn ask(session: &Session, upgrade: bool) -> request::Parts {
    let mut head = session.req_header().as_owned_parts();
    head.version = Version::HTTP_11;
    for name in &HOP_BY_HOP {
        if !(upgrade && *name == header::UPGRADE) {
            head.headers.remove(name);
        }
    }
    head
}

/// Waits for the next part of an answer, as long as its client does.
async fn next(session: &mut Session, ctx: &Ctx, asked: &mut Asked) -> Result<HttpTask> {
    if ctx.upgrade {
        let part = asked.next().await;
        return Ok(part.unwrap_or_else(|e| HttpTask::Failed(e.into_up())));
    }
    tokio::select! {
        biased;
        part = asked.next() => {
            Ok(part.unwrap_or_else(|e| HttpTask::Failed(e.into_up())))
        }
        left = session.as_mut().read_body_or_idle(true) => {
            Err(left.err().unwrap_or_else(|| internal("bytes behind the request")).into_down())
        }
    }
}

/// Takes a part of an answer through the filters.
fn filter(pep: &Pep, session: &mut Session, ctx: &mut Ctx, part: HttpTask) -> Result<HttpTask> {
    Ok(match part {
        HttpTask::Header(mut head, end) => {
            frame(session, &mut head, end)?;
            pep.of_app(session, &mut head, ctx)?;
            HttpTask::Header(head, end)
        }
        HttpTask::Body(mut body, end) => {
            pep.part_of_app(&mut body, end, ctx);
            HttpTask::Body(body, end)
        }
        other @ (HttpTask::UpgradedBody(..)
        | HttpTask::Trailer(_)
        | HttpTask::Done
        | HttpTask::Failed(_)) => other,
    })
}

/// Gives an answer that ends with its connection a length by chunks, so that the client's connection need not end.
fn frame(session: &Session, head: &mut ResponseHeader, end: bool) -> Result<()> {
    let bodiless = session.req_header().method == Method::HEAD
        || matches!(head.status.as_u16(), 100..=199 | 204 | 304);
    let framed = head.headers.contains_key(header::TRANSFER_ENCODING)
        || head.headers.contains_key(header::CONTENT_LENGTH);
    if !bodiless && !framed && !end {
        head.set_version(Version::HTTP_11);
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::{names_nothing, upgrades_only};

    fn lines(lines: &[&'static str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append(header::CONNECTION, HeaderValue::from_static(line));
        }
        map
    }

    #[test]
    fn what_connection_names_takes_the_long_way() {
        for plain in [&[][..], &["keep-alive"], &["Keep-Alive"], &["close"]] {
            assert!(names_nothing(&lines(plain)), "{plain:?}");
        }
        for names in [
            &["x-forwarded-for"][..],
            &["keep-alive, x-inner"],
            &["keep-alive", "x-inner"],
            &["upgrade"],
            &[""],
        ] {
            assert!(!names_nothing(&lines(names)), "{names:?}");
        }
    }

    #[test]
    fn an_upgrade_with_a_body_or_a_named_field_takes_the_long_way() {
        let head = |more: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            let usual = [
                ("upgrade", "websocket"),
                ("connection", "keep-alive, Upgrade"),
            ];
            for (name, value) in usual.iter().chain(more) {
                map.append(*name, HeaderValue::from_static(value));
            }
            map
        };
        assert!(upgrades_only(&head(&[])));
        assert!(upgrades_only(&head(&[("origin", "https://app.example")])));
        for more in [
            ("connection", "x-inner"),
            ("connection", "upgrade, x-inner"),
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
        ] {
            assert!(!upgrades_only(&head(&[more])), "{more:?}");
        }
        assert!(!upgrades_only(&HeaderMap::new()));
    }
}
