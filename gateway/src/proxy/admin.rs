//! The console's door: every request is decided by the policy's `[admin]` before a page sees it.

use std::sync::Arc;

use http::{Method, StatusCode};
use pingora_error::Result;
use pingora_proxy::Session;

use super::app::RequestCtl;
use super::counter::Counter;
use super::gate::{self, Answered};
use super::head::Target;
use super::identify::Identified;
use super::pep::Ctx;
use super::{answer, offence, own};
use crate::access::{self, Denied, Permit};
use crate::audit::{Event, Record};
use crate::console::{self, Act, SharedConsole};
use crate::gateway::Gateway;
use crate::operate::office::{Actor, Office};
use crate::pages::{self, Problem};

static CONSOLE: std::sync::LazyLock<axum::Router> = std::sync::LazyLock::new(console::routes);

/// Answers a request to the console, or turns it away.
pub(super) async fn console(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    target: &Target,
    who: Identified,
) -> Result<Answered> {
    // a form that needs a fresh code or sign-in leads there, and back to the page of its path
    ctx.wants_page = pages::may_redirect(&Method::GET, &session.req_header().headers);
    let mut verdict = access::console(&ctx.snap, &who.caller, target, &ctx.method, who.quarantine);
    verdict.record_mut().request_id = Some(Arc::clone(&ctx.request_id));
    if verdict.outcome() == policy::Outcome::Deny {
        verdict.record_mut().code = Some(ctx.code().into());
    }
    if let Some(over) = gate::over_rate(gw, &who, &verdict, ctx) {
        return gate::limited(gw, ctl, session, ctx, over).await;
    }
    let ended = verdict.record().sequel(Event::RequestEnded);
    ctx.trace(|span| span.decided(verdict.record()));
    match verdict.commit(&gw.audit).await {
        Ok(permit) => {
            let admitted = Admitted { permit, who, ended };
            serve(gw, ctl, session, ctx, target, admitted).await
        }
        Err(denied) => {
            if matches!(denied, Denied::Deny { .. }) {
                offence::note_probe(gw, ctl, ctx, session.req_header());
            }
            if matches!(denied, Denied::StepUp | Denied::Login) {
                keep(ctl, session, target, &who).await?;
            }
            gate::turn_away(gw, session, ctx, &who, denied).await
        }
    }
}

/// Keeps the form of a page of ours that a fresh code comes before; its text may be long work.
async fn keep(
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    target: &Target,
    who: &Identified,
) -> Result<()> {
    let path = target.path.as_str();
    let Some(signed_in) = who
        .caller
        .session
        .as_ref()
        .filter(|_| console::is_kept(path))
    else {
        return Ok(());
    };
    let head = session.req_header();
    if head.method != Method::POST || !pages::is_same_origin(&head.headers, &target.authority()) {
        return Ok(());
    }
    if let Some(body) = own::read_body_of(session, console::body_max(path)).await? {
        ctl.body_ended();
        console::keep(&signed_in.user, &target.path_and_query(), body);
    }
    Ok(())
}

/// A request that may come in.
struct Admitted {
    permit: Permit,
    who: Identified,
    ended: Record,
}

async fn serve(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    target: &Target,
    admitted: Admitted,
) -> Result<Answered> {
    let Admitted {
        permit,
        who,
        mut ended,
    } = admitted;
    let limit = console::body_max(target.path.as_str());
    let Some(body) = own::read_body_of(session, limit).await? else {
        return gate::problem(gw, session, ctx, Problem::TooLarge).await;
    };
    ctl.body_ended();
    let Some(signed_in) = who.caller.session.clone() else {
        return gate::problem(gw, session, ctx, Problem::Denied).await;
    };
    if Act::of(&ctx.method) == Act::Write {
        // an act may end the session it is done in, and is answered all the same
        ctl.conn.let_go();
    }
    let actor = Actor {
        may_act: access::may_act(&ctx.snap, &who.caller),
        caller: who.caller.clone(),
        session: signed_in,
        source: who.caller.source,
        request_id: Arc::clone(&ctx.request_id),
        act: Act::of(&ctx.method),
        door: who.caller.door,
        opened: ctl.conn.opened,
    };
    let office: SharedConsole = Arc::new(Office::new(gw, &ctx.snap, actor, permit));
    let desk = Arc::new(Counter::new(gw, ctl, ctx, target, who, session));
    let response = own::ask_pages(&CONSOLE, session, target, desk, Some(office), body).await;
    ended.outcome = "ok";
    ended.status = Some(response.status().as_u16());
    gw.audit.note(ended);
    if response.status() == StatusCode::NOT_FOUND {
        offence::note_probe(gw, ctl, ctx, session.req_header());
    }
    if Act::of(&ctx.method) == Act::Write && gw.history.waits_since(ctl.conn.opened) {
        // what waits is confirmed over a connection that is newer than it
        session.set_keepalive(None);
        ctl.conn.retire();
    }
    answer::send(gw, session, ctx, response).await?;
    Ok(Answered::Yes)
}
