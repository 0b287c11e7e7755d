//! What passes the enforcement point: the head of a request to an app, the parts of its answer.

use bytes::Bytes;
use http::{HeaderValue, header, request, response};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::{Ctx, Pep, internal, told};
use crate::proxy::front::cache::TAGS;
use crate::proxy::{answer, cached, cookies, headers, native, parts, upstream};
use crate::traces::Active;

const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// Answers of 1xx before the last one. Source: security.md R-PX-24.
const HINTS: u32 = 8;

/// What stands for an answer that two readers would read in two ways; its connection is not used again.
fn bad_answer(why: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, why).into_up()
}

/// Checks that one field at most says where an answer ends, in the one form there is. That of HTTP/1 was judged by its
/// bytes (`direct::judge`); of HTTP/2 this is what the library shows.
///
/// Source: RFC 9112 section 6.3; security.md R-PX-23.
fn is_framed_once(answer: &response::Parts) -> Result<()> {
    let mut codings = answer.headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some() || !coding.is_none_or(chunked) {
        return Err(bad_answer("a transfer coding that is not chunked"));
    }
    let mut lengths = answer.headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next().map(HeaderValue::as_bytes);
    let number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if lengths.next().is_some() || !length.is_none_or(number) {
        return Err(bad_answer("not one length"));
    }
    if length.is_some() && coding.is_some() {
        return Err(bad_answer("a length beside chunks"));
    }
    let some = length.is_some_and(|text| text.iter().any(|digit| *digit != b'0'));
    if is_empty(answer) && (some || coding.is_some()) {
        return Err(bad_answer("a body where none may be"));
    }
    Ok(())
}

/// Tells whether an answer has no body, and so may say no length of one. Source: RFC 9110 section 8.6.
fn is_empty(answer: &response::Parts) -> bool {
    answer.status.is_informational() || answer.status == http::StatusCode::NO_CONTENT
}

impl Pep {
    /// Makes the head of a request to an app out of the client's.
    ///
    /// # Errors
    /// Without a target or permit; header building reports some that do not occur in practice.
    pub(in crate::proxy) fn to_app(
        &self,
        session: &Session,
        head: &mut request::Parts,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let (Some(ctl), Some(target), Some(app)) = (&ctx.ctl, &ctx.target, ctx.app) else {
            return Err(internal("no target"));
        };
        let uri = &mut head.uri;
        let upstream = &mut head.headers;
        for name in headers::reserved_in(upstream, &ctx.snap.policy, app) {
            upstream.remove(&name);
        }
        native::hide(upstream, ctx.token.as_ref());
        let cookie = cookies::for_upstream(&session.req_header().headers);
        upstream.remove(header::COOKIE);
        upstream.remove(header::EXPECT);
        cached::for_all(ctx, upstream);
        if let Some(cookie) = cookie {
            upstream.insert(header::COOKIE, cookie);
        }
        let front = ctx.route.front.as_ref();
        let to = match front.filter(|front| !front.path.is_none()) {
            Some(front) => {
                if let Some(prefix) = front.path.prefix() {
                    upstream.insert(headers::X_FORWARDED_PREFIX, headers::field(prefix)?);
                }
                let (path, query) = (target.path.forward(), target.query.as_deref());
                front.path.to_app(path, query)
            }
            None => target.path_and_query(),
        };
        *uri = to.parse().map_err(|_| internal("target"))?;
        let authority = headers::field(&target.authority())?;
        upstream.insert(header::HOST, authority.clone());
        let source = headers::field(&ctl.conn.peer.ip().to_string())?;
        upstream.insert(headers::X_FORWARDED_FOR, source.clone());
        upstream.insert(headers::X_REAL_IP, source);
        upstream.insert(headers::X_FORWARDED_PROTO, HTTPS);
        upstream.insert(headers::X_FORWARDED_HOST, authority);
        let port = HeaderValue::from(target.port.unwrap_or(443));
        upstream.insert(headers::X_FORWARDED_PORT, port);
        upstream.insert(headers::X_REQUEST_ID, headers::field(&ctx.request_id)?);
        told::trace(session, upstream, ctx.span.as_deref(), &mut ctx.trace)?;
        told::who(&self.gw, upstream, ctx, target)?;
        if ctx.upgrade {
            // a client's own list could name, and so take away, what is set here
            upstream.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        ctx.forwarded = true;
        Ok(())
    }

    /// Makes the head of an answer out of an app's.
    ///
    /// # Errors
    /// An answer that may not pass.
    pub(in crate::proxy) fn of_app(
        &self,
        session: &mut Session,
        upstream: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        parts::of_answer(upstream, |parts| self.parts_of_app(session, parts, ctx))?;
        let last = !upstream.status.is_informational();
        if last && let Some(compress) = ctx.route.front.as_ref().and_then(|f| f.compress.as_ref()) {
            ctx.compressor = compress.start(session.req_header(), upstream)?;
        }
        if last {
            answer::unchunk(session, upstream);
        }
        ctx.status(upstream.status.as_u16());
        Ok(())
    }

    fn parts_of_app(
        &self,
        session: &Session,
        upstream: &mut response::Parts,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if upstream.status == http::StatusCode::SWITCHING_PROTOCOLS {
            let to = upstream.headers.get(header::UPGRADE);
            let websocket = to.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
            if !ctx.upgrade || !websocket {
                return Err(bad_answer("101 to what nobody asked for"));
            }
            if let (Some(ctl), Some(front)) = (&ctx.ctl, &ctx.route.front) {
                ctl.may_be_silent(front.stream);
            }
        }
        is_framed_once(upstream)?;
        if is_empty(upstream) {
            upstream.headers.remove(header::CONTENT_LENGTH);
        }
        if upstream.status.is_informational() {
            ctx.hints += 1;
            if ctx.hints > HINTS {
                return Err(bad_answer("too many answers before the last"));
            }
        }
        answer::clean(&mut upstream.headers);
        if upstream.status != http::StatusCode::SWITCHING_PROTOCOLS {
            // what else it could speak, to the gateway; a browser would be told of an upgrade that does not come
            upstream.headers.remove(header::UPGRADE);
        }
        let last = !upstream.status.is_informational();
        if last || upstream.status == http::StatusCode::SWITCHING_PROTOCOLS {
            if let Some(ctl) = &ctx.ctl {
                ctl.head_came();
            }
            ctx.route.answered = true;
            let status = upstream.status.as_u16();
            ctx.trace(|span| span.heard(status));
        }
        if last {
            answer::of_app(upstream, ctx)?;
            if cached::head_came(ctx, upstream) {
                let why = "what is kept stands in";
                return Err(Error::explain(ErrorType::HTTPStatus(502), why).into_up());
            }
            upstream.headers.remove(TAGS);
            answer::to_others(session, &mut upstream.headers, ctx);
        }
        answer::finish(&self.gw, &mut upstream.headers, ctx)?;
        if ctx.route.answered {
            upstream::answered(ctx, upstream)?;
        }
        Ok(())
    }

    /// Takes note of a part of an app's answer, and compresses it where that is due.
    pub(in crate::proxy) fn part_of_app(&self, body: &mut Option<Bytes>, end: bool, ctx: &mut Ctx) {
        if let Some(ctl) = &ctx.ctl {
            ctl.part_came();
        }
        cached::part_came(ctx, body.as_ref(), end);
        if let Some(compressor) = &mut ctx.compressor {
            compressor.part(body, end);
        }
        ctx.sent(body.as_ref().map_or(0, Bytes::len));
        if end {
            ctx.trace(Active::whole);
        }
    }
}
