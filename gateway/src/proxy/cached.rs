//! Answering from what is kept, and keeping what the app answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use policy::front::Shared;

use super::front::cache::{self, Answer, Key, Label, Lead, Said, Stored, Times};
use super::front::range::{self, Part as Wanted, Version};
use super::pep::Ctx;
use super::{answer, conn, cookies, head, parts};
use crate::clock;
use crate::gateway::Gateway;

/// How long a request waits for another that asks for the same.
const WAIT: Duration = Duration::from_secs(10);

/// What a record says of an answer that was kept.
mod mark {
    /// It was still to be used.
    pub(super) const FRESH: &str = "answered from the cache";
    /// It was older, and the app is asked meanwhile.
    pub(super) const STALE: &str = "answered from the cache, stale, while the app is asked";
    /// It was older, and the app failed.
    pub(super) const STANDS_IN: &str = "answered from the cache, stale, for the app failed";
}

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
    /// When its head came.
    since: Instant,
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
    let duty = ctx.ctl.as_ref().and_then(|c| c.conn.refresh.lock().take());
    if let Some(lead) = duty {
        // another policy has other names
        ctx.keeping.lead = lead.is_for(&key).then_some(lead);
        ctx.detail("asked again for the cache");
        return Ok(false);
    }
    if session.req_header().headers.contains_key(header::RANGE) {
        let Some(stored) = gw.cache.whole(&key, clock::now()) else {
            return Ok(false);
        };
        send(gw, session, ctx, &stored, mark::FRESH).await?;
        return Ok(true);
    }
    let knows = asks_whether(&session.req_header().headers);
    let deadline = clock::now() + WAIT;
    loop {
        match gw.cache.look(key, knows, clock::now()) {
            Said::Answer(stored) => {
                let fresh = stored.is_fresh(clock::now());
                let mark = if fresh { mark::FRESH } else { mark::STALE };
                send(gw, session, ctx, &stored, mark).await?;
                return Ok(true);
            }
            Said::Ask(lead, Some(stale)) if ctx.method == "GET" => {
                refresh(gw, session, ctx, lead);
                send(gw, session, ctx, &stale, mark::STALE).await?;
                return Ok(true);
            }
            Said::Ask(lead, stale) => {
                // an answer without a body is none to keep
                let whole = ctx.method == "GET";
                ctx.keeping.lead = whole.then_some(lead);
                ctx.keeping.stale = stale;
                return Ok(false);
            }
            Said::Alone => return Ok(false),
            Said::Wait(mut flight, until) => {
                let now = clock::now();
                if now >= deadline {
                    return Ok(false);
                }
                let until = until.map_or(deadline, |until| until.min(deadline));
                let left = until.saturating_duration_since(now);
                // whether there was news, its end or none, it is looked at again
                let _news = tokio::time::timeout(left, flight.changed()).await;
            }
        }
    }
}

/// Has the app asked behind the answer that is given out meanwhile; where many are asked already, the next request sees
/// to it.
fn refresh(gw: &Arc<Gateway>, session: &Session, ctx: &Ctx, lead: Lead) {
    let place = gw.cache.may_refresh();
    let (Some(ctl), Some(target), Some(place)) = (&ctx.ctl, &ctx.target, place) else {
        return;
    };
    let headers = &session.req_header().headers;
    let head = once_more(&target.authority(), &target.path_and_query(), headers);
    // a head of HTTP/2 may be one that HTTP/1 has no room for
    if head::scan(&head).is_err() {
        return;
    }
    conn::ask_behind(&ctl.edge, &ctl.conn, head, lead, place);
}

/// Fields of a request that are not those of one made once more: of the connection, and of what its client has already.
const LEFT_OUT: [HeaderName; 14] = [
    header::HOST,
    header::COOKIE,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::RANGE,
    header::IF_RANGE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("x-request-id"),
];

/// Writes the head of a request that is made once more.
fn once_more(authority: &str, target: &str, headers: &HeaderMap) -> Vec<u8> {
    let start = format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    let mut head = start.into_bytes();
    let mut field = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    };
    // of the connection is also what it names. Source: RFC 9110 section 7.6.1
    let named = headers.get_all(header::CONNECTION).iter();
    let named = named.filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = named
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .collect();
    let of_connection = |name: &HeaderName| {
        named
            .iter()
            .any(|own| own.eq_ignore_ascii_case(name.as_str()))
    };
    let all = headers
        .iter()
        .filter(|(name, _)| !LEFT_OUT.contains(name) && !of_connection(name));
    all.for_each(|(name, value)| field(name.as_str(), value.as_bytes()));
    // HTTP/2 may have it in crumbs. Source: RFC 9113 section 8.2.3
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if !crumbs.is_empty() {
        field("Cookie", &crumbs.join(&b"; "[..]));
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Tells whether a client has an answer already and asks whether it still stands.
fn asks_whether(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_NONE_MATCH) || headers.contains_key(header::IF_MODIFIED_SINCE)
}

/// Takes out of a request on behalf of others what is its client's alone: what that has already.
pub(crate) fn for_all(ctx: &Ctx, head: &mut HeaderMap) {
    if ctx.keeping.lead.is_some() {
        head.remove(header::IF_NONE_MATCH);
        head.remove(header::IF_MODIFIED_SINCE);
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
    let mut owner = match (&written.shared, user) {
        (Shared::All(_), _) | (Shared::Strangers, None) => Vec::new(),
        (Shared::No | Shared::Strangers, Some(user)) => format!("+{user}").into_bytes(),
        (Shared::No, None) => format!("-{}", ctx.ctl.as_ref()?.conn.peer.ip()).into_bytes(),
    };
    if !owner.is_empty()
        && let Some(cookies) = cookies::for_upstream(headers)
    {
        // its app may know people by cookies of its own; no name has this byte
        owner.push(b' ');
        owner.extend_from_slice(cookies.as_bytes());
    }
    // two lines may be read as one, and what is no text names nothing
    let text = |name| match headers.get_all(name).iter().collect::<Vec<_>>().as_slice() {
        [] => Some(""),
        [one] => one.to_str().ok(),
        _ => None,
    };
    let parts = [
        &*ctx.snap.digest,
        &*ctx.snap.policy.app(app).id,
        &target.authority(),
        &target.path_and_query(),
        text(header::ACCEPT_ENCODING)?,
        text(header::ORIGIN)?,
    ];
    Some(cache::key(&parts, &owner))
}

/// Tells whether a request says that it has no body.
fn is_empty(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
}

/// Begins to keep an app's answer, if it may be kept. `true` where what is kept must stand in for it.
pub(crate) fn head_came(ctx: &mut Ctx, answer: &response::Parts) -> bool {
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
        if let Some(lead) = ctx.keeping.lead.take() {
            match failed {
                true => lead.failed(clock::now()),
                false => lead.forget(clock::now()),
            }
        }
        return false;
    };
    let since = clock::now();
    if let Some(lead) = &ctx.keeping.lead {
        lead.passing(since);
    }
    let (Some(target), Some(app)) = (&ctx.target, ctx.app) else {
        return false;
    };
    let label = Label {
        app: Arc::clone(&ctx.snap.policy.app(app).id),
        path: target.path.as_str().to_owned(),
        tags: cache::tags(answer),
    };
    let mut head = answer.clone();
    for name in [
        cache::TAGS,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::CONTENT_LENGTH,
    ] {
        head.headers.remove(name);
    }
    ctx.keeping.part = Some(Part {
        head: head.into(),
        label,
        times,
        since,
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
        ctx.keeping.part = None;
        if let Some(lead) = ctx.keeping.lead.take() {
            lead.forget(clock::now());
        }
        return;
    }
    if end && let (Some(part), Some(lead)) = (ctx.keeping.part.take(), ctx.keeping.lead.take()) {
        let answer = Answer {
            head: part.head,
            body: part.body.freeze(),
            label: part.label,
        };
        lead.keep(answer, part.times, part.since);
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
    if let Some(lead) = ctx.keeping.lead.take() {
        lead.failed(clock::now());
    }
    let Some(stored) = ctx.keeping.stale.take() else {
        return Ok(false);
    };
    send(gw, session, ctx, &stored, mark::STANDS_IN).await?;
    Ok(true)
}

async fn send(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
    stored: &Stored,
    mark: &'static str,
) -> Result<()> {
    let mut head = stored.head.clone();
    let body = part(session, &ctx.method, stored, &mut head)?;
    head.insert_header(header::AGE, stored.age(clock::now()).to_string())?;
    let front = ctx.route.front.clone();
    parts::of_answer(&mut head, |parts| {
        answer::to_others(session, &mut parts.headers, ctx);
        answer::finish(gw, &mut parts.headers, ctx)
    })?;
    let compress = front.as_ref().and_then(|front| front.compress.as_ref());
    let mut compressor = match compress {
        // a part is one of the bytes that its client has others of
        Some(compress) if head.status == StatusCode::OK => {
            compress.start(session.req_header(), &mut head)?
        }
        Some(_) | None => None,
    };
    answer::unchunk(session, &mut head);
    ctx.status(head.status.as_u16());
    ctx.detail(mark);
    let empty = body.is_empty() || ctx.method == "HEAD";
    session.write_response_header(Box::new(head), empty).await?;
    if empty {
        return Ok(());
    }
    let mut body = Some(body);
    if let Some(compressor) = &mut compressor {
        compressor.part(&mut body, true);
    }
    ctx.sent(body.as_ref().map_or(0, Bytes::len));
    session.write_response_body(body, true).await
}

/// Says in the head what of a kept answer a request gets, and returns that.
///
/// Source: RFC 9110 sections 13.2.2, 14.2, 15.5.17.
fn part(
    session: &Session,
    method: &str,
    stored: &Stored,
    head: &mut ResponseHeader,
) -> Result<Bytes> {
    let text = |name| head.headers.get(name).and_then(|v| v.to_str().ok());
    let tag = text(header::ETAG).unwrap_or_default();
    let opaque = tag.strip_prefix("W/").unwrap_or(tag);
    let length = u64::try_from(stored.body.len()).unwrap_or(u64::MAX);
    let version = Version {
        tag: opaque,
        strong: !tag.is_empty() && opaque == tag,
        changed: text(header::LAST_MODIFIED)
            .and_then(range::instant)
            .unwrap_or(i64::MAX),
        length,
    };
    let wanted = match range::wanted(&session.req_header().headers, &version) {
        // a range is of what GET gives. Source: RFC 9110 section 14.2
        Wanted::Of(..) | Wanted::Outside if method != "GET" => Wanted::Whole,
        Wanted::Of(first, last) => Wanted::Of(first, last),
        other @ (Wanted::Whole | Wanted::NotModified | Wanted::Outside) => other,
    };
    let (status, body) = match wanted {
        Wanted::Whole => (StatusCode::OK, stored.body.clone()),
        Wanted::NotModified => (StatusCode::NOT_MODIFIED, Bytes::new()),
        Wanted::Outside => {
            head.insert_header(header::CONTENT_RANGE, format!("bytes */{length}"))?;
            (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
        }
        Wanted::Of(first, last) => {
            let range = format!("bytes {first}-{last}/{length}");
            head.insert_header(header::CONTENT_RANGE, range)?;
            let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
            let end = at(last.saturating_add(1)).min(stored.body.len());
            let body = stored.body.slice(at(first).min(end)..end);
            (StatusCode::PARTIAL_CONTENT, body)
        }
    };
    head.set_status(status)?;
    if status != StatusCode::NOT_MODIFIED {
        head.insert_header(header::CONTENT_LENGTH, body.len().to_string())?;
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::once_more;

    #[test]
    fn a_request_made_once_more_keeps_who_asks_and_asks_for_the_whole() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "other.example"),
            ("cookie", "a=1"),
            ("accept", "text/html"),
            ("cookie", "b=2"),
            ("range", "bytes=0-1"),
            ("if-none-match", "\"a\""),
            ("connection", "keep-alive"),
            ("x-request-id", "one"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let head = once_more("app.example", "/a?b", &headers);
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "GET /a?b HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\
             accept: text/html\r\nCookie: a=1; b=2\r\n\r\n"
        );
    }
}
