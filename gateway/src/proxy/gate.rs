//! The gate: steps 2 to 6 of a request, in their order, and every answer that is not an app's.

mod keep;
mod turned;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use pingora_error::Result;
use pingora_proxy::Session;

use self::keep::keep_form;
pub(crate) use self::turned::problem;
pub(super) use self::turned::{Limit, limited, turn_away};
use self::turned::{ask_why, bad_token, depart, refuse};
use super::app::RequestCtl;
use super::front::Front;
use super::head::{self, Refused, Target};
use super::identify::{Identified, identify};
use super::pep::Ctx;
pub(crate) use super::record::request_record;
use super::{answer, cookies, native, offence, own, preflight};
use crate::access::{self, Denied, HttpQuestion, Permit, Quarantine, Verdict};
use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::gateway::Gateway;
use crate::ids::Door;
use crate::justify::Asked;
use crate::limits;
use crate::pages::Problem;
use crate::streams::{Kind, Stream, StreamGuard};

/// Whether the gate answered the request itself.
pub(crate) enum Answered {
    /// The answer is out.
    Yes,
    /// The request may be forwarded.
    No(Box<Passed>),
}

/// What a request needs to be forwarded.
pub(crate) struct Passed {
    /// The proof that the allow is on record.
    pub(crate) permit: Permit,
    /// Its place in the table of open streams.
    pub(crate) open: StreamGuard,
    /// The record to complete when it ends.
    pub(crate) ended: Record,
}

/// What a host name stands for.
enum Place {
    Own,
    App(policy::AppIx),
    Unknown,
}

/// Takes a request from its head to a permit, or answers it.
///
/// # Errors
/// Only when the answer cannot be sent.
pub(crate) async fn pass(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
) -> Result<Answered> {
    let target = match read_target(session, &ctx.snap.policy) {
        Ok(target) => target,
        Err(refused) => return refuse(gw, ctl, session, ctx, refused).await,
    };
    ctx.target = Some(target.clone());
    let headers = &session.req_header().headers;
    let mut who = identify(
        gw,
        &ctl.conn,
        headers,
        target.host.as_str(),
        own::usage(&target),
    );
    let place = place(gw, ctx, &target);
    let native = match place {
        Place::App(app) if ctl.conn.tls && !own::is_own_path(target.path.as_str()) => {
            native::identify(gw, &ctl.conn, &ctx.snap, headers, (&target, app), &mut who)
        }
        Place::App(_) | Place::Own | Place::Unknown => Ok(()),
    };
    ctx.session = who.caller.session.clone();
    ctx.token = who.caller.token.clone();
    if !ctl.conn.is_behind()
        && let Err(retry) = limit_source(gw, &who)
    {
        return limited(gw, ctl, session, ctx, Limit::Source(retry.wait)).await;
    }
    if native.is_err() {
        return bad_token(gw, ctl, session, ctx).await;
    }
    if !ctl.conn.tls {
        return plain_http(gw, ctl, session, ctx, &target, &place, &who).await;
    }
    let sni = ctl.conn.sni.as_deref();
    if matches!(place, Place::Unknown) {
        return unknown(gw, ctl, session, ctx, &target, &who).await;
    }
    let host = target.host.as_str();
    if !ctx.snap.certs.same_certificate(sni, host) || !ctl.edge.tls.is_same(sni, host) {
        return refuse(gw, ctl, session, ctx, misdirected()).await;
    }
    match place {
        Place::Own if target.path.forward() == "/healthz" => health(gw, session, ctx).await,
        Place::Own => own::sign_in_host(gw, ctl, session, ctx, &target, who).await,
        Place::App(_) if own::is_own_path(target.path.as_str()) => {
            own::app_host(gw, ctl, session, ctx, &target, who).await
        }
        Place::App(app) => to_app(gw, ctl, session, ctx, target, app, who).await,
        Place::Unknown => Ok(Answered::Yes),
    }
}

/// Charges the budget of the source for a request of somebody unknown. The signed-in are limited
/// by person and tier after the decision, so that an office behind one address is not one person.
fn limit_source(gw: &Gateway, who: &Identified) -> std::result::Result<(), limits::RetryAfter> {
    if who.caller.user().is_some() {
        return Ok(());
    }
    gw.limits.source(who.caller.source, clock::now())
}

fn read_target(
    session: &mut Session,
    policy: &policy::Policy,
) -> std::result::Result<Target, Refused> {
    let ends = session.is_body_done();
    let head = session.req_header();
    let http2 = session.as_downstream().is_http2();
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    if http2 {
        head::scan_h2(head.method.as_str(), raw_target(head), &head.headers, ends)?;
    } else if authority.is_some() {
        return Err(Refused {
            status: 400,
            reason: "bad-target-form",
        });
    }
    let target = head::target(raw_target(head), authority, &head.headers, |host| {
        policy.path_opts(host)
    })?;
    let path = target.path.as_str();
    if path != target.path.forward() && own::is_own_path(path) {
        return Err(Refused {
            status: 400,
            reason: "ambiguous-path",
        });
    }
    Ok(target)
}

fn raw_target(head: &pingora_http::RequestHeader) -> &[u8] {
    head.raw_path()
}

fn place(gw: &Gateway, ctx: &Ctx, target: &Target) -> Place {
    let host = target.host.as_str();
    if gw.config.http.sign_in.iter().any(|own| own == host) {
        return Place::Own;
    }
    match ctx.snap.policy.app_for(&target.host) {
        Some(app) => Place::App(app),
        None => Place::Unknown,
    }
}

async fn plain_http(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    target: &Target,
    place: &Place,
    who: &Identified,
) -> Result<Answered> {
    let refused = |status, reason| Refused { status, reason };
    if matches!(place, Place::Unknown) {
        return refuse(gw, ctl, session, ctx, refused(421, reason::NO_SUCH_APP)).await;
    }
    if !matches!(ctx.method.as_str(), "GET" | "HEAD") {
        return refuse(gw, ctl, session, ctx, refused(405, "plain-http-method")).await;
    }
    if let Some(live) = answer::challenge(gw, ctl.conn.door, target) {
        answer::send(gw, session, ctx, live).await?;
        return Ok(Answered::Yes);
    }
    let port = match ctl.conn.door {
        Door::Tunnel => None,
        Door::Web => https_port(gw),
    };
    let to_portal = who.quarantine != Quarantine::Open && matches!(place, Place::App(_));
    let (host, path) = if to_portal {
        (
            own::sign_in_host_for(gw, target.host.as_str()),
            "/".to_owned(),
        )
    } else {
        (target.host.as_str().to_owned(), target.path_and_query())
    };
    let port = port.map(|p| format!(":{p}")).unwrap_or_default();
    let to = format!("https://{host}{port}{path}");
    let response = answer::redirect(StatusCode::MOVED_PERMANENTLY, &to);
    answer::send(gw, session, ctx, response).await?;
    Ok(Answered::Yes)
}

fn misdirected() -> Refused {
    Refused {
        status: 421,
        reason: reason::NO_SUCH_APP,
    }
}

/// Refuses a request to a host no app in force has. Where an app in shadow has it, the record says what would be.
async fn unknown(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    target: &Target,
    who: &Identified,
) -> Result<Answered> {
    if ctx.snap.policy.shadow_app_for(&target.host).is_none() {
        return refuse(gw, ctl, session, ctx, misdirected()).await;
    }
    let mut verdict = access::http(&ctx.snap, &who.caller, target, &ctx.method, who.quarantine);
    verdict.record_mut().request_id = Some(Arc::clone(&ctx.request_id));
    verdict.record_mut().status = Some(421);
    ctx.trace(|span| span.decided(verdict.record()));
    drop(verdict.commit(&gw.audit).await);
    session.set_keepalive(None);
    problem(gw, session, ctx, Problem::Misdirected).await
}

fn https_port(gw: &Gateway) -> Option<u16> {
    let first = gw.config.http.https.first().map(SocketAddr::port);
    first.filter(|port| *port != 443)
}

async fn health(gw: &Arc<Gateway>, session: &mut Session, ctx: &mut Ctx) -> Result<Answered> {
    let up = gw.audit.healthy();
    let (status, body) = if up {
        (StatusCode::OK, "{\"status\":\"up\"}\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "{\"status\":\"down\"}\n")
    };
    let response = answer::json(status, body.to_owned());
    answer::send(gw, session, ctx, response).await?;
    Ok(Answered::Yes)
}

async fn to_app(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    target: Target,
    app: policy::AppIx,
    who: Identified,
) -> Result<Answered> {
    let at = ctx.snap.policy.front(app, &target.path);
    ctx.route.front = gw.fronts(&ctx.snap).of_app(app).get(at).cloned();
    ctx.route.pin = who.cookies.one(cookies::PIN).map(str::to_owned);
    ctx.app = Some(app);
    if let Some(span) = &mut ctx.span {
        span.of(ctx.snap.policy.area_id(app, &target.path));
    }
    ctx.upgrade = session.is_upgrade_req();
    if let Some(signed_in) = &who.caller.session {
        ctl.conn.hold(&ctl.edge, signed_in.id, &signed_in.user);
    }
    let front = ctx.route.front.clone();
    let cors = front.as_ref().and_then(|front| front.cors.as_ref());
    if let Some(response) = cors.and_then(|cors| cors.preflight(session.req_header())) {
        return by_preflight(gw, ctl, session, ctx, response).await;
    }
    let hide = ctx.snap.policy.hide();
    let of_front = front.as_ref();
    let refused = of_front.and_then(|front| front.refuses(&ctx.method, ctx.upgrade, hide));
    if let Some(refused) = refused.or_else(|| too_old(session, of_front)) {
        return refuse(gw, ctl, session, ctx, refused).await;
    }
    if let Some(response) = preflight::answer(
        &ctx.snap.policy,
        app,
        &target,
        &who.caller,
        session.req_header(),
    ) {
        return by_preflight(gw, ctl, session, ctx, response).await;
    }
    if ctx.upgrade && !may_upgrade(&session.req_header().headers, &target) {
        let refused = Refused {
            status: if ctx.snap.policy.hide() { 404 } else { 403 },
            reason: "foreign-origin",
        };
        return refuse(gw, ctl, session, ctx, refused).await;
    }
    let mut verdict = access::http(&ctx.snap, &who.caller, &target, &ctx.method, who.quarantine);
    verdict.record_mut().request_id = Some(Arc::clone(&ctx.request_id));
    if verdict.outcome() == policy::Outcome::Deny {
        verdict.record_mut().code = Some(ctx.code().into());
    }
    if !ctl.conn.is_behind()
        && let Some(over) = over_rate(gw, &who, &verdict, ctx)
    {
        return limited(gw, ctl, session, ctx, over).await;
    }
    let asked = front.as_ref().and_then(|front| front.asked.as_ref());
    let asked = asked.filter(|asked| !is_justified(gw, &who, &mut verdict, asked));
    let person = allowed_person(&who, &verdict);
    let place = person.and_then(|user| gw.people.enter(user));
    if person.is_some() && place.is_none() {
        return limited(gw, ctl, session, ctx, Limit::Streams).await;
    }
    let justified = verdict.record().justification.is_some();
    let ended = verdict.record().sequel(Event::RequestEnded);
    ctx.trace(|span| span.decided(verdict.record()));
    match verdict.commit(&gw.audit).await {
        Ok(permit) => {
            let question = HttpQuestion {
                gw: Arc::clone(gw),
                caller: who.caller,
                target,
                method: ctx.method.clone(),
                justified,
            };
            let open = open(gw, ctl, &permit, question).with(place);
            Ok(Answered::No(Box::new(Passed {
                permit,
                open,
                ended,
            })))
        }
        Err(denied) => {
            if matches!(denied, Denied::Deny { .. }) {
                offence::note_probe(gw, ctl, ctx, session.req_header());
            } else {
                offence::note_scan(gw, ctl, ctx, session.req_header());
            }
            if denied == Denied::Login
                && let Some(leave) = keep_form(gw, ctl, session, ctx, &who).await?
            {
                let path = match who.caller.session {
                    Some(_) => "/signin?anew=1&",
                    None => "/signin?",
                };
                return depart(gw, session, ctx, &who, path, &leave).await;
            }
            if denied == Denied::Reason
                && let Some(asked) = asked
            {
                return ask_why(gw, ctl, session, ctx, &who, asked).await;
            }
            turn_away(gw, session, ctx, &who, denied).await
        }
    }
}

/// Refuses HTTP/1.0 to an app of HTTP/2: pingora gives such an answer chunks, which the client would not know.
fn too_old(session: &Session, front: Option<&Arc<Front>>) -> Option<Refused> {
    let old = session.req_header().version == http::Version::HTTP_10;
    let pool = front.and_then(|front| front.pool());
    let refused = old && pool.is_some_and(|pool| pool.http2());
    refused.then_some(Refused {
        status: 400,
        reason: "old-version",
    })
}

/// Puts the reason that a person gave into the record of an allow; without one it is refused until they do.
fn is_justified(gw: &Gateway, who: &Identified, verdict: &mut Verdict, asked: &Asked) -> bool {
    if verdict.outcome() != policy::Outcome::Allow {
        return true;
    }
    let session = who.caller.session.as_ref();
    let given = session.and_then(|s| gw.reasons.find(s.id, asked, clock::now()));
    match given {
        Some(reason) => verdict.record_mut().justification = Some(Arc::clone(reason.text())),
        None => verdict.ask_why(),
    }
    verdict.outcome() == policy::Outcome::Allow
}

/// Names the person that an allow is for; what is open for them is counted.
fn allowed_person<'a>(who: &'a Identified, verdict: &Verdict) -> Option<&'a Arc<str>> {
    let allowed = verdict.outcome() == policy::Outcome::Allow;
    allowed.then(|| who.caller.user()).flatten()
}

/// Answers a CORS preflight in the app's place, on record.
async fn by_preflight(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    response: Response<Bytes>,
) -> Result<Answered> {
    let mut record = request_record(Event::AccessDecided, "allow", reason::PREFLIGHT, ctl, ctx);
    record.rule = Some("builtin.preflight".into());
    record.status = Some(response.status().as_u16());
    ctx.decided(gw, record);
    answer::send(gw, session, ctx, response).await?;
    Ok(Answered::Yes)
}

/// Where a request says that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A page of the app itself.
    Own,
    /// It says nothing, as no browser does that asks for a socket (RFC 6455 section 4.1).
    Unsaid,
    /// Another page, one that cannot be named, or several.
    Other,
}

impl Origin {
    /// Reads it.
    pub(super) fn of(headers: &http::HeaderMap, target: &Target) -> Self {
        let mut lines = headers.get_all(header::ORIGIN).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::Unsaid,
            (Some(origin), None)
                if origin.as_bytes() == format!("https://{}", target.authority()).as_bytes() =>
            {
                Self::Own
            }
            (Some(_), _) => Self::Other,
        }
    }
}

/// Tells whether a request for a WebSocket comes from a page of the app, or from a program: one that shows a token, or
/// runs on a device in the tunnel, shows no session of a browser. Source: RFC 6455 section 10.2; security.md R-AZ-19.
fn may_upgrade(headers: &http::HeaderMap, target: &Target) -> bool {
    match Origin::of(headers, target) {
        Origin::Own => true,
        Origin::Unsaid => !cookies::shows(headers, cookies::SESSION),
        Origin::Other => false,
    }
}

/// Charges the tier of an allow; tells where it is used up.
pub(super) fn over_rate(
    gw: &Gateway,
    who: &Identified,
    verdict: &Verdict,
    ctx: &mut Ctx,
) -> Option<Limit> {
    if verdict.outcome() != policy::Outcome::Allow {
        return None;
    }
    let rate = verdict.rate()?;
    let key = limits::Key::of(who.caller.user(), who.caller.source);
    match gw.limits.rate(&key, &rate.into(), clock::now()) {
        Ok(budget) => {
            ctx.budget = Some(budget);
            None
        }
        Err(retry) => {
            ctx.budget = Some(limits::Budget {
                limit: retry.limit,
                remaining: 0,
                reset: retry.reset,
            });
            Some(Limit::Tier {
                name: Arc::clone(&rate.name),
                wait: retry.wait,
                alert: rate.alert,
            })
        }
    }
}

fn open(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    permit: &Permit,
    question: HttpQuestion,
) -> StreamGuard {
    let caller = &question.caller;
    let stream = Stream {
        kind: Kind::Request,
        session: caller.session.as_ref().map(|s| s.id),
        token: caller.token.as_ref().map(|t| t.id),
        device: ctl.conn.device,
        user: caller.user().map(Arc::clone),
        recheck_at: permit.recheck_at(),
        question: Some(Arc::new(question)),
        kill: ctl.kill.clone(),
    };
    gw.enter(stream)
}
