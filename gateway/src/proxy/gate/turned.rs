//! Answers of the gate to requests that do not pass: the way to sign in, and pages that say why not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{StatusCode, header};
use pingora_error::Result;
use pingora_proxy::Session;

use super::keep::{Leave, keep_form};
use super::{Answered, request_record};
use crate::access::{Denied, Quarantine};
use crate::audit::{Event, reason};
use crate::bans::Offence;
use crate::clock;
use crate::gateway::Gateway;
use crate::justify::Asked;
use crate::mail::Alarm;
use crate::pages::Problem;
use crate::proxy::app::RequestCtl;
use crate::proxy::head::Refused;
use crate::proxy::identify::Identified;
use crate::proxy::pep::Ctx;
use crate::proxy::{answer, cookies, headers, offence, own};

/// When a person who has as much open as may be is to ask again.
const FULL: Duration = Duration::from_secs(5);

/// Answers a request that got no permit: by the way to sign in where that helps.
pub(in crate::proxy) async fn turn_away(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
    who: &Identified,
    denied: Denied,
) -> Result<Answered> {
    let needed = match denied {
        Denied::Login => Problem::SignInNeeded,
        Denied::Deny { .. } if who.quarantine != Quarantine::Open => Problem::SignInNeeded,
        Denied::StepUp => Problem::StepUpNeeded,
        Denied::Reason => return problem(gw, session, ctx, Problem::ReasonNeeded).await,
        Denied::Deny { .. } if ctx.snap.policy.hide() => {
            return problem(gw, session, ctx, Problem::NotFound).await;
        }
        Denied::Deny { .. } => return problem(gw, session, ctx, Problem::Denied).await,
        Denied::AuditDown => return problem(gw, session, ctx, Problem::Unavailable).await,
    };
    to_sign_in(gw, session, ctx, who, needed).await
}

/// Sends a navigation to sign in and tells everything else where that would be.
async fn to_sign_in(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
    who: &Identified,
    needed: Problem,
) -> Result<Answered> {
    let Some(target) = ctx.target.clone() else {
        return problem(gw, session, ctx, needed).await;
    };
    if !ctx.wants_page {
        return problem(gw, session, ctx, needed).await;
    }
    let path = match (needed, &who.caller.session) {
        (Problem::StepUpNeeded, _) => "/signin/step-up?",
        // signed in, but too long ago for this rule
        (_, Some(_)) => "/signin?anew=1&",
        (_, None) => "/signin?",
    };
    depart(gw, session, ctx, who, path, &Leave::to(&target)).await
}

/// Sends a navigation to where its person is asked why they come; everything else is told so.
pub(super) async fn ask_why(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    who: &Identified,
    asked: &Asked,
) -> Result<Answered> {
    let form = keep_form(gw, ctl, session, ctx, who).await?;
    let page = ctx.target.as_ref().filter(|_| ctx.wants_page);
    let page = page.map(Leave::to);
    let signed_in = who.caller.session.is_some();
    match form.or(page) {
        Some(leave) if signed_in => {
            let asked = Some(asked.clone());
            let leave = Leave { asked, ..leave };
            depart(gw, session, ctx, who, "/signin/reason?", &leave).await
        }
        _ => problem(gw, session, ctx, Problem::ReasonNeeded).await,
    }
}

/// Sends a browser to a form of the sign-in host, to come back to this app.
pub(super) async fn depart(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
    who: &Identified,
    path: &str,
    leave: &Leave,
) -> Result<Answered> {
    let Some(target) = ctx.target.clone() else {
        return problem(gw, session, ctx, Problem::SignInNeeded).await;
    };
    let base = own::sign_in_origin(gw, &target);
    let departure = gw.handover.depart(
        target.host.as_str(),
        &target.authority(),
        &leave.to,
        leave
            .nonce
            .as_deref()
            .or_else(|| who.cookies.one(cookies::NONCE)),
        who.caller.source,
        clock::now(),
    );
    if let Some(asked) = &leave.asked {
        gw.handover.ask(&departure.rt, asked.clone());
    }
    let to = format!("{base}{path}rt={}", departure.rt);
    let mut response = answer::redirect(StatusCode::SEE_OTHER, &to);
    let nonce = cookies::set(cookies::NONCE, &departure.nonce, Some(900));
    response
        .headers_mut()
        .insert(header::SET_COOKIE, headers::value(&nonce));
    answer::send(gw, session, ctx, response).await?;
    Ok(Answered::Yes)
}

/// Answers with a problem page or its JSON twin.
pub(crate) async fn problem(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
    problem: Problem,
) -> Result<Answered> {
    answer::problem(gw, session, ctx, problem, None).await?;
    Ok(Answered::Yes)
}

/// Refuses a request for its head, on record.
pub(super) async fn refuse(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    refused: Refused,
) -> Result<Answered> {
    let mut record = request_record(Event::AccessDecided, "deny", reason::BAD_REQUEST, ctl, ctx);
    record.rule = Some("builtin.bad-request".into());
    if refused.reason == reason::NO_SUCH_APP {
        record.reason = reason::NO_SUCH_APP;
        record.rule = Some("builtin.no-such-app".into());
    } else {
        record.detail = Some(refused.reason.to_owned());
    }
    record.status = Some(refused.status);
    let problem_shown = answer::problem_of_status(refused.status);
    if problem_shown == Problem::Denied {
        record.code = Some(ctx.code().into());
    }
    ctx.decided(gw, record);
    offence::note_probe(gw, ctl, ctx, session.req_header());
    session.set_keepalive(None);
    problem(gw, session, ctx, problem_shown).await
}

/// Refuses a request with a token that is none, on record: it counts as a wrong password does.
pub(super) async fn bad_token(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
) -> Result<Answered> {
    (ctx.session, ctx.token) = (None, None);
    let mut record = request_record(Event::AccessDecided, "deny", reason::TOKEN_BAD, ctl, ctx);
    record.status = Some(401);
    ctx.decided(gw, record);
    let headers = &session.req_header().headers;
    offence::note(gw, ctl, ctx, headers, Offence::SignIn);
    session.set_keepalive(None);
    problem(gw, session, ctx, Problem::SignInNeeded).await
}

/// Of what there was too much.
pub(in crate::proxy) enum Limit {
    /// Requests of somebody unknown.
    Source(Duration),
    /// Requests of a tier of the policy.
    Tier {
        name: Arc<str>,
        wait: Duration,
        /// Whether administrators hear of it.
        alert: bool,
    },
    /// What one person has open.
    Streams,
}

impl Limit {
    fn wait(&self) -> Duration {
        match self {
            Self::Source(wait) | Self::Tier { wait, .. } => *wait,
            Self::Streams => FULL,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Source(_) => "source".to_owned(),
            Self::Tier { name, .. } => format!("rate {name}"),
            Self::Streams => "streams".to_owned(),
        }
    }
}

/// Answers a request of which there are too many, on record.
pub(in crate::proxy) async fn limited(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    limit: Limit,
) -> Result<Answered> {
    let mut record = request_record(Event::Limited, "limited", reason::RATE_LIMITED, ctl, ctx);
    record.status = Some(429);
    record.detail = Some(limit.detail());
    if let Limit::Tier {
        name, alert: true, ..
    } = &limit
    {
        record.reason = reason::SENSITIVE_LIMITED;
        gw.alarms.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(tier = %name, request.id = %ctx.request_id, "a sensitive limit is used up");
        gw.mail.alarm(Alarm::Limit {
            tier: Arc::clone(name),
            user: record.user.clone(),
            source: record.source,
            host: record.host.clone(),
        });
    }
    ctx.decided(gw, record);
    offence::note(
        gw,
        ctl,
        ctx,
        &session.req_header().headers,
        Offence::Limited,
    );
    let wait = Some(limit.wait());
    answer::problem(gw, session, ctx, Problem::TooManyRequests, wait).await?;
    Ok(Answered::Yes)
}
