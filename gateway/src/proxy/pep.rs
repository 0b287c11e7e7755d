//! The policy enforcement point: the only `ProxyHttp`, and the order of one request.
//!
//! Accept (conn), strict head, identify, limit, decide, commit, forward, answer. A request that is not forwarded is answered here; there is no path
//! to [`Pep::upstream_peer`] without a [`Permit`].

mod ended;
mod passed;
mod told;

pub(super) use told::Told;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use super::app::RequestCtl;
use super::cached::Keeping;
use super::direct::Got;
use super::frames::Frames;
use super::front::compress::Compressor;
use super::gate::{self, Answered, Passed};
use super::head::Target;
use super::upstream::{self, Route};
use super::{answer, cached, direct, headers, parts, served};
use crate::access::Permit;
use crate::audit::{Record, reason};
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::{Session as SignIn, Token};
use crate::pages::{self, Problem};
use crate::snapshot::Snapshot;
use crate::streams::StreamGuard;
use crate::traces::Active;

/// The enforcement point.
pub(crate) struct Pep {
    gw: Arc<Gateway>,
}

impl Pep {
    /// Makes the enforcement point of one edge.
    pub(crate) fn new(gw: Arc<Gateway>) -> Self {
        Self { gw }
    }
}

/// What one request carries from step to step.
pub(crate) struct Ctx {
    pub(crate) ctl: Option<Arc<RequestCtl>>,
    pub(crate) snap: Arc<Snapshot>,
    pub(crate) request_id: Arc<str>,
    /// Short, drawn by us: what a denied page shows and the record of the denial holds.
    code: OnceLock<String>,
    pub(crate) method: String,
    pub(crate) target: Option<Target>,
    pub(crate) app: Option<policy::AppIx>,
    pub(crate) session: Option<Arc<SignIn>>,
    /// What an app's request showed instead of a session.
    pub(crate) token: Option<Arc<Token>>,
    pub(crate) budget: Option<crate::limits::Budget>,
    /// Where in a trace it stands, once it was forwarded.
    trace: Option<String>,
    /// Its span, if it is traced.
    pub(crate) span: Option<Box<Active>>,
    pub(crate) forwarded: bool,
    pub(crate) upgrade: bool,
    pub(crate) wants_page: bool,
    /// Answers of 1xx so far.
    hints: u32,
    /// Where it goes.
    pub(crate) route: Route,
    /// Most bytes of its body.
    body_max: u64,
    compressor: Option<Compressor>,
    /// What it does for those who want the same.
    pub(super) keeping: Keeping,
    frames: Frames,
    permit: Option<Permit>,
    rule: Option<Arc<str>>,
    ended: Option<Record>,
    open: Option<StreamGuard>,
    sent: u64,
}

impl Ctx {
    /// Keeps what the gate gave; from here on the request may be forwarded.
    fn pass(&mut self, passed: Passed) {
        self.rule = Some(Arc::clone(passed.permit.rule()));
        self.permit = Some(passed.permit);
        self.open = Some(passed.open);
        self.ended = Some(passed.ended);
    }

    /// Its short code, drawn when it is first asked for.
    pub(crate) fn code(&self) -> &str {
        self.code.get_or_init(answer::code)
    }

    /// Tells whether the gate let it pass.
    pub(super) fn permitted(&self) -> bool {
        self.permit.is_some()
    }

    /// Names the person, by session or token.
    pub(crate) fn user(&self) -> Option<&Arc<str>> {
        let session = self.session.as_ref().map(|s| &s.user);
        session.or_else(|| self.token.as_ref().map(|t| &t.user))
    }

    /// Notes the status of an answer for the record.
    pub(crate) fn status(&mut self, status: u16) {
        if let Some(ended) = &mut self.ended {
            ended.status = Some(status);
        }
        self.trace(|span| span.answered(status));
    }

    /// Puts a decision on record, and in its span if it is traced.
    pub(crate) fn decided(&mut self, gw: &Gateway, record: Record) {
        self.trace(|span| span.decided(&record));
        gw.audit.note(record);
    }

    /// Notes something in its span, if it is traced.
    pub(crate) fn trace(&mut self, note: impl FnOnce(&mut Active)) {
        if let Some(span) = &mut self.span {
            note(span);
        }
    }

    /// Notes in the record where the answer came from.
    pub(crate) fn detail(&mut self, text: &str) {
        if let Some(ended) = &mut self.ended {
            ended.detail = Some(text.to_owned());
        }
    }

    /// Counts bytes of an answer's body for the record.
    pub(crate) fn sent(&mut self, bytes: usize) {
        add(&mut self.sent, bytes);
    }

    /// What is to be noted of bytes after an upgrade: of those to the app, and of those from it.
    pub(super) fn ways(&mut self) -> (ToApp<'_>, OfApp<'_>) {
        let ctl = self.ctl.as_deref();
        let (frames, session) = (&mut self.frames, self.session.as_deref());
        let sent = &mut self.sent;
        (
            ToApp {
                ctl,
                frames,
                session,
            },
            OfApp { ctl, sent },
        )
    }

    /// Notes why there is no answer of the app.
    fn failed(&mut self, problem: Problem) {
        let known = self.route.failed.take();
        let too_large = problem == Problem::TooLarge;
        let known = known.or_else(|| too_large.then(|| (reason::TOO_LARGE, String::new())));
        if let (Some(ended), Some((reason, detail))) = (&mut self.ended, known) {
            ended.outcome = "failed";
            ended.reason = reason;
            ended.detail = (!detail.is_empty()).then_some(detail);
        }
    }
}

/// Takes note of what a client sends after an upgrade.
pub(super) struct ToApp<'a> {
    ctl: Option<&'a RequestCtl>,
    frames: &'a mut Frames,
    session: Option<&'a SignIn>,
}

impl ToApp<'_> {
    /// Counts bytes; those of messages are use of the session.
    pub(super) fn came(&mut self, bytes: &[u8]) {
        if let Some(ctl) = self.ctl {
            ctl.body_came(bytes.len());
        }
        if let Some(session) = self.session
            && self.frames.take(bytes)
        {
            session.touch(clock::unix());
        }
    }
}

/// Takes note of what an app sends after an upgrade.
pub(super) struct OfApp<'a> {
    ctl: Option<&'a RequestCtl>,
    sent: &'a mut u64,
}

impl OfApp<'_> {
    /// Counts bytes.
    pub(super) fn came(&mut self, bytes: usize) {
        if let Some(ctl) = self.ctl {
            ctl.part_came();
        }
        add(self.sent, bytes);
    }
}

fn add(sum: &mut u64, bytes: usize) {
    *sum = sum.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
}

pub(super) fn internal(why: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InternalError, why)
}

#[async_trait]
impl ProxyHttp for Pep {
    type CTX = Ctx;

    /// None: what pingora would put in does nothing here.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    fn new_ctx(&self) -> Ctx {
        Ctx {
            ctl: RequestCtl::current(),
            snap: self.gw.snapshot.load_full(),
            request_id: headers::new_request_id().into(),
            code: OnceLock::new(),
            method: String::new(),
            target: None,
            app: None,
            session: None,
            token: None,
            budget: None,
            trace: None,
            span: None,
            forwarded: false,
            upgrade: false,
            wants_page: false,
            hints: 0,
            route: Route::default(),
            body_max: self.gw.config.http.body_max,
            compressor: None,
            keeping: Keeping::default(),
            frames: Frames::default(),
            permit: None,
            rule: None,
            ended: None,
            open: None,
            sent: 0,
        }
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let Some(ctl) = &ctx.ctl else {
            return Err(internal("no connection"));
        };
        let upgrades = session.is_upgrade_req();
        if session.is_body_done() || upgrades {
            ctl.body_ended();
        }
        if session.is_body_done() && !upgrades {
            ctl.is_whole();
        }
        session.set_write_timeout(Some(Duration::from_secs(30)));
        let http2 = session.as_downstream().is_http2();
        let head = session.req_header();
        if let Some(traces) = &self.gw.traces {
            ctx.span = traces.begin(&head.headers, http2);
        }
        // pingora reads the first line alone
        let closes = headers::connection_says(&head.headers, "close");
        if let Some(id) = headers::request_id(&head.headers) {
            ctx.request_id = id.into();
        }
        head.method.as_str().clone_into(&mut ctx.method);
        ctx.wants_page = pages::may_redirect(&head.method, &head.headers);
        if closes {
            session.set_keepalive(None);
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let ctl = ctx.ctl.clone().ok_or_else(|| internal("no connection"))?;
        match gate::pass(&self.gw, &ctl, session, ctx).await? {
            Answered::Yes => Ok(true),
            Answered::No(passed) => {
                ctx.pass(*passed);
                let front = ctx.route.front.as_ref();
                if let Some(wait) = front.and_then(|front| front.is_closed(clock::now())) {
                    let problem = Problem::Maintenance;
                    ctx.route.failed = Some((reason::MAINTENANCE, String::new()));
                    ctx.status(problem.status().as_u16());
                    ctx.failed(problem);
                    answer::problem(&self.gw, session, ctx, problem, Some(wait)).await?;
                    return Ok(true);
                }
                if upstream::is_call(session, ctx) {
                    ctx.route.calls = true;
                    ctl.may_pause();
                }
                if let Some(front) = &ctx.route.front {
                    ctl.limit_body(upstream::until_whole(ctx, front));
                }
                if let Some(most) = ctx.route.front.as_ref().and_then(|f| f.body_max) {
                    ctx.body_max = most;
                }
                if upstream::too_long(session, ctx.body_max) {
                    ctx.status(Problem::TooLarge.status().as_u16());
                    ctx.failed(Problem::TooLarge);
                    answer::problem(&self.gw, session, ctx, Problem::TooLarge, None).await?;
                    return Ok(true);
                }
                if served::answer(&self.gw, session, ctx).await?
                    || cached::answer(&self.gw, session, ctx).await?
                {
                    return Ok(true);
                }
                upstream::invite(session).await?;
                if !direct::fits(&ctl, session, ctx) {
                    return Ok(false);
                }
                direct::exchange(self, &ctl, session, ctx).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        if ctx.permit.is_none() {
            return Err(internal("no permit"));
        }
        let peer = upstream::peer(ctx).await?;
        Ok(upstream::long_way(ctx, peer))
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let got = ctx.route.got().unwrap_or(Got { fd, reused });
        upstream::room(ctx, got.fd, got.reused)?;
        upstream::watch(ctx, got.fd);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        upstream::same_version(ctx, upstream.version)?;
        parts::of_request(upstream, |parts| self.to_app(session, parts, ctx))
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if ctx.upgrade {
            ctx.ways().0.came(body.as_deref().unwrap_or_default());
            return Ok(());
        }
        let Some(ctl) = &ctx.ctl else { return Ok(()) };
        ctl.body_came(body.as_ref().map_or(0, Bytes::len));
        if end {
            ctl.body_ended();
            ctl.is_whole();
        } else if ctl.is_late(clock::now()) {
            let why = "body too slow";
            return Err(Error::explain(ErrorType::HTTPStatus(408), why));
        }
        if ctl.body_bytes() > ctx.body_max {
            return Err(Error::explain(
                ErrorType::HTTPStatus(413),
                "body over the limit",
            ));
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        upstream: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        self.of_app(session, upstream, ctx)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        self.part_of_app(body, end, ctx);
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut http::HeaderMap,
        ctx: &mut Ctx,
    ) -> Result<Option<Bytes>> {
        if let Some(ctl) = &ctx.ctl {
            ctl.part_came();
        }
        answer::clean_trailers(trailers);
        let Some(compressor) = &mut ctx.compressor else {
            return Ok(None);
        };
        // what was compressed must be made whole; it ends the answer, and the trailers have no place
        let mut rest = None;
        compressor.part(&mut rest, true);
        Ok(rest)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Ctx,
        e: Box<Error>,
    ) -> Box<Error> {
        upstream::connect_failed(session, ctx, e)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        e: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        let reused = ctx.route.got().map_or(reused, |got| got.reused);
        upstream::broke(session, ctx, e, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, ctx: &mut Ctx) -> FailToProxy {
        let ctl = ctx.ctl.as_ref();
        let slow = ctl.is_some_and(|ctl| ctl.was_too_slow());
        let bent = ctl.is_some_and(|ctl| ctl.was_bent());
        let problem = match ctx.route.failed {
            _ if slow => Problem::TooSlow,
            _ if bent => Problem::BadRequest,
            Some((reason::TIMEOUT, _)) => Problem::UpstreamTimeout,
            Some((reason::APP_BUSY | reason::APP_RESTS, _)) => Problem::AppBusy,
            Some((reason::OVERLOADED, _)) => Problem::Unavailable,
            _ => upstream::problem_of(e),
        };
        let dead = !slow
            && !bent
            && *e.esource() == ErrorSource::Downstream
            && !matches!(e.etype(), ErrorType::HTTPStatus(_));
        let status = problem.status().as_u16();
        ctx.status(status);
        ctx.failed(problem);
        let unanswered = !dead && !upstream::has_answered(session);
        let stood_in =
            unanswered && matches!(cached::stand_in(&self.gw, session, ctx).await, Ok(true));
        if !stood_in && (slow || bent) {
            session.set_keepalive(None);
        }
        if unanswered && !stood_in {
            drop(answer::problem(&self.gw, session, ctx, problem, ctx.route.wait).await);
        }
        if unanswered {
            // the library itself ends a stream of HTTP/2 only where nothing failed, and a head alone does not
            drop(session.as_downstream_mut().finish_body().await);
        }
        FailToProxy {
            error_code: if dead || stood_in { 0 } else { status },
            can_reuse_downstream: false,
        }
    }

    /// The last step before the client's connection is given back: nothing of the upstream's is watched from here on.
    async fn logging(&self, _session: &mut Session, _e: Option<&Error>, ctx: &mut Ctx) {
        if let Some(ctl) = &ctx.ctl {
            ctl.answered();
        }
    }

    fn suppress_error_log(&self, _session: &Session, ctx: &Ctx, e: &Error) -> bool {
        tracing::info!(
            request.id = %ctx.request_id,
            error.kind = ?e.etype(),
            error.source = e.esource().as_str(),
            "request failed"
        );
        true
    }

    fn request_summary(&self, _session: &Session, ctx: &Ctx) -> String {
        format!("request {}", ctx.request_id)
    }
}
