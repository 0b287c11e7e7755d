//! What passes the enforcement point: the head of a request to an app, the parts of its answer.

use bytes::Bytes;
use http::{HeaderValue, header};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::{Ctx, Pep, internal, told};
use crate::proxy::front::cache::TAGS;
use crate::proxy::{answer, cached, cookies, headers, native, upstream};

const HTTPS: HeaderValue = HeaderValue::from_static("https");

impl Pep {
    /// Makes the head of a request to an app out of the client's.
    ///
    /// # Errors
    /// Without a target or permit; header building reports some that do not occur in practice.
    pub(in crate::proxy) fn to_app(
        &self,
        session: &Session,
        upstream: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let (Some(ctl), Some(target), Some(app)) = (&ctx.ctl, &ctx.target, ctx.app) else {
            return Err(internal("no target"));
        };
        for name in headers::reserved_in(&upstream.headers, &ctx.snap.policy, app) {
            upstream.remove_header(&name);
        }
        native::hide(upstream, ctx.token.as_ref());
        let cookie = cookies::for_upstream(&session.req_header().headers);
        upstream.remove_header(&header::COOKIE);
        if let Some(cookie) = cookie {
            upstream.insert_header(header::COOKIE, cookie)?;
        }
        let front = ctx.route.front.as_ref();
        let uri = match front.filter(|front| !front.path.is_none()) {
            Some(front) => {
                if let Some(prefix) = front.path.prefix() {
                    upstream.insert_header("X-Forwarded-Prefix", prefix)?;
                }
                let (path, query) = (target.path.forward(), target.query.as_deref());
                front.path.to_app(path, query)
            }
            None => target.path_and_query(),
        };
        let uri = uri.parse().map_err(|_| internal("target"))?;
        upstream.set_uri(uri);
        let value = |text: String| HeaderValue::try_from(text).map_err(|_| internal("value"));
        let authority = value(target.authority())?;
        upstream.insert_header(header::HOST, authority.clone())?;
        let source = value(ctl.conn.peer.ip().to_string())?;
        upstream.insert_header("X-Forwarded-For", source.clone())?;
        upstream.insert_header("X-Real-IP", source)?;
        upstream.insert_header("X-Forwarded-Proto", HTTPS)?;
        upstream.insert_header("X-Forwarded-Host", authority)?;
        let port = HeaderValue::from(target.port.unwrap_or(443));
        upstream.insert_header("X-Forwarded-Port", port)?;
        upstream.insert_header("X-Request-ID", &*ctx.request_id)?;
        told::trace(session, upstream, &mut ctx.trace)?;
        told::who(&self.gw, upstream, ctx, target)?;
        if ctx.upgrade {
            // a client's own list could name, and so take away, what is set here
            upstream.insert_header(header::CONNECTION, "upgrade")?;
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
        if upstream.status == http::StatusCode::SWITCHING_PROTOCOLS {
            if !ctx.upgrade {
                return Err(Error::explain(
                    ErrorType::HTTPStatus(502),
                    "101 nobody asked for",
                ));
            }
            let silence = ctx.route.front.as_ref().map(|front| front.stream);
            session.set_read_timeout(silence);
        }
        answer::clean(upstream)?;
        let last = !upstream.status.is_informational();
        if last || upstream.status == http::StatusCode::SWITCHING_PROTOCOLS {
            if let Some(ctl) = &ctx.ctl {
                ctl.head_came();
            }
            ctx.route.answered = true;
        }
        if last {
            answer::of_app(upstream, ctx)?;
            if cached::head_came(ctx, upstream) {
                let why = "what is kept stands in";
                return Err(Error::explain(ErrorType::HTTPStatus(502), why).into_up());
            }
            upstream.remove_header(TAGS);
            answer::to_others(session, upstream, ctx)?;
        }
        answer::finish(&self.gw, upstream, ctx)?;
        if ctx.route.answered {
            upstream::answered(ctx, upstream)?;
        }
        if last && let Some(compress) = ctx.route.front.as_ref().and_then(|f| f.compress.as_ref()) {
            ctx.compressor = compress.start(session.req_header(), upstream)?;
        }
        ctx.status(upstream.status.as_u16());
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
    }
}
