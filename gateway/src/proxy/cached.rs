//! Answering from what is kept, and keeping what the app answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use policy::front::Shared;

use super::answer;
use super::front::cache::{self, Answer, Key, Label, Lead, Said, Stored, Times};
use super::pep::Ctx;
use crate::clock;
use crate::gateway::Gateway;

/// How long a request waits for another that asks for the same.
const WAIT: Duration = Duration::from_secs(10);

/// What a request that asks the app on behalf of others carries.
#[derive(Default)]
pub(crate) struct Keeping {
    lead: Option<Lead>,
    /// What stands in where the app fails.
    stale: Option<Arc<Stored>>,
    part: Option<Part>,
}

/// An answer on its way into the store.
struct Part {
    head: ResponseHeader,
    label: Label,
    times: Times,
    body: BytesMut,
    most: u64,
}

/// Answers a request from what is kept; `false` where the app is to be asked.
///
/// # Errors
/// When the client is gone.
pub(crate) async fn answer(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
) -> Result<bool> {
    let Some(key) = key(session, ctx) else {
        return Ok(false);
    };
    let deadline = clock::now() + WAIT;
    loop {
        match gw.cache.look(key, clock::now()) {
            Said::Answer(stored) => {
                send(gw, session, ctx, &stored).await?;
                return Ok(true);
            }
            Said::Ask(lead, stale) => {
                // an answer without a body is none to keep
                let whole = ctx.method == "GET";
                ctx.keeping.lead = whole.then_some(lead);
                ctx.keeping.stale = stale;
                return Ok(false);
            }
            Said::Wait(mut flight) => {
                let left = deadline.saturating_duration_since(clock::now());
                // it ends by an error, for nothing is ever said on it
                if tokio::time::timeout(left, flight.changed()).await.is_err() {
                    return Ok(false);
                }
            }
        }
    }
}

/// Names the answer to a request; `None` where it is always asked for.
fn key(session: &Session, ctx: &Ctx) -> Option<Key> {
    let written = ctx.route.front.as_ref()?.cache.as_ref()?;
    let (target, app) = (ctx.target.as_ref()?, ctx.app?);
    let headers = &session.req_header().headers;
    let plain = matches!(ctx.method.as_str(), "GET" | "HEAD") && !ctx.upgrade;
    if !plain || !is_empty(headers) || !cache::may_look(headers) {
        return None;
    }
    let user = ctx.user().map(|user| &**user);
    let owner = match (&written.shared, user) {
        (Shared::All(_), _) | (Shared::Strangers, None) => String::new(),
        (Shared::No | Shared::Strangers, Some(user)) => format!("+{user}"),
        (Shared::No, None) => format!("-{}", ctx.ctl.as_ref()?.conn.peer.ip()),
    };
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let parts = [
        &*ctx.snap.digest,
        &*ctx.snap.policy.app(app).id,
        &target.authority(),
        &target.path_and_query(),
        text(header::ACCEPT_ENCODING).unwrap_or_default(),
        text(header::ORIGIN).unwrap_or_default(),
    ];
    Some(cache::key(&parts, &owner))
}

/// Tells whether a request says that it has no body.
fn is_empty(headers: &http::HeaderMap) -> bool {
    !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
}

/// Begins to keep an app's answer, if it may be kept. `true` where what is kept must stand in for it.
pub(crate) fn head_came(ctx: &mut Ctx, answer: &ResponseHeader) -> bool {
    let failed = matches!(answer.status.as_u16(), 500 | 502 | 503 | 504);
    if failed && ctx.keeping.stale.is_some() {
        return true;
    }
    ctx.keeping.stale = None;
    let front = ctx.route.front.clone();
    let written = front.as_ref().and_then(|front| front.cache.as_ref());
    let times = written.and_then(|written| Some((written, cache::may_keep(written, answer)?)));
    let Some((written, times)) = times.filter(|_| ctx.keeping.lead.is_some()) else {
        // those who wait need not
        ctx.keeping.lead = None;
        return false;
    };
    let (Some(target), Some(app)) = (&ctx.target, ctx.app) else {
        return false;
    };
    let label = Label {
        app: Arc::clone(&ctx.snap.policy.app(app).id),
        path: target.path.as_str().to_owned(),
        tags: cache::tags(answer),
    };
    let mut head = answer.clone();
    head.remove_header(cache::TAGS);
    for name in [
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::CONTENT_LENGTH,
    ] {
        head.remove_header(&name);
    }
    ctx.keeping.part = Some(Part {
        head,
        label,
        times,
        body: BytesMut::new(),
        most: written.most,
    });
    false
}

/// Takes a part of an app's answer; the last one puts it into the store.
pub(crate) fn part_came(ctx: &mut Ctx, bytes: Option<&Bytes>, end: bool) {
    let Some(part) = &mut ctx.keeping.part else {
        return;
    };
    if let Some(bytes) = bytes {
        part.body.extend_from_slice(bytes);
    }
    if u64::try_from(part.body.len()).unwrap_or(u64::MAX) > part.most {
        (ctx.keeping.part, ctx.keeping.lead) = (None, None);
        return;
    }
    if end && let (Some(part), Some(lead)) = (ctx.keeping.part.take(), ctx.keeping.lead.take()) {
        let answer = Answer {
            head: part.head,
            body: part.body.freeze(),
            label: part.label,
        };
        lead.keep(answer, part.times, clock::now());
    }
}

/// Answers by what is kept where the app failed; `false` where nothing is.
///
/// # Errors
/// When the client is gone.
pub(crate) async fn stand_in(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
) -> Result<bool> {
    ctx.keeping.lead = None;
    let Some(stored) = ctx.keeping.stale.take() else {
        return Ok(false);
    };
    send(gw, session, ctx, &stored).await?;
    Ok(true)
}

async fn send(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
    stored: &Stored,
) -> Result<()> {
    let mut head = stored.head.clone();
    let known = session.req_header().headers.get(header::IF_NONE_MATCH);
    let same = known.is_some() && known == stored.head.headers.get(header::ETAG);
    if same {
        head.set_status(StatusCode::NOT_MODIFIED)?;
    } else {
        head.insert_header(header::CONTENT_LENGTH, stored.body.len().to_string())?;
    }
    head.insert_header(header::AGE, stored.age(clock::now()).to_string())?;
    let front = ctx.route.front.clone();
    if let Some(cors) = front.as_ref().and_then(|front| front.cors.as_ref()) {
        cors.mark(&session.req_header().headers, &mut head)?;
    }
    answer::finish(gw, &mut head, ctx)?;
    let compress = front.as_ref().and_then(|front| front.compress.as_ref());
    let mut compressor = match compress {
        Some(compress) => compress.start(session.req_header(), &mut head)?,
        None => None,
    };
    if compressor.is_some() {
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    ctx.status(head.status.as_u16());
    ctx.detail("answered from the cache");
    let empty = same || stored.body.is_empty() || ctx.method == "HEAD";
    session.write_response_header(Box::new(head), empty).await?;
    if empty {
        return Ok(());
    }
    let mut body = Some(stored.body.clone());
    if let Some(compressor) = &mut compressor {
        compressor.part(&mut body, true);
    }
    ctx.sent(body.as_ref().map_or(0, Bytes::len));
    session.write_response_body(body, true).await
}
