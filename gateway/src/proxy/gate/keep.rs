//! A form whose sender must sign in again, or say why they come, is kept on the way there.

use std::sync::Arc;

use pingora_error::Result;
use pingora_proxy::Session;
use zeroize::Zeroizing;

use crate::clock;
use crate::gateway::Gateway;
use crate::ids;
use crate::justify::Asked;
use crate::pages;
use crate::proxy::app::RequestCtl;
use crate::proxy::head::Target;
use crate::proxy::identify::Identified;
use crate::proxy::pep::Ctx;
use crate::proxy::{cookies, kept, own};

/// Keeps a form that somebody sent whose session ran out, or is too old for the rule, and returns
/// where it is offered after the sign-in.
pub(super) async fn keep_form(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &Ctx,
    who: &Identified,
) -> Result<Option<Leave>> {
    let Some(target) = ctx.target.clone() else {
        return Ok(None);
    };
    let headers = &session.req_header().headers;
    if ctx.method != "POST" || !pages::is_kept_form(headers, &target.authority()) {
        return Ok(None);
    }
    let host = target.host.as_str();
    let cookie = who.cookies.one(cookies::SESSION);
    let past = || gw.sessions.ran_out(cookie?, host, clock::unix());
    let user = match &who.caller.session {
        Some(session) => Some(Arc::clone(&session.user)),
        None => past(),
    };
    let Some(user) = user else {
        return Ok(None);
    };
    let Some(body) = own::read_body_of(session, kept::BODY_MAX).await? else {
        return Ok(None);
    };
    ctl.body_ended();
    let nonce = who.cookies.one(cookies::NONCE);
    let nonce = nonce.map_or_else(ids::token, str::to_owned);
    let owner = kept::Owner {
        user: &user,
        nonce: &nonce,
        host,
    };
    let form = kept::Form {
        path_and_query: target.path_and_query(),
        body: Zeroizing::new(body.to_vec()),
    };
    let id = gw.kept.put(&gw.keys, &owner, &form, clock::now());
    Ok(id.map(|id| Leave {
        to: format!("/.postern/again?form={id}"),
        nonce: Some(nonce),
        asked: None,
    }))
}

/// Where a browser that must sign in is to come back to.
pub(super) struct Leave {
    pub(super) to: String,
    /// The nonce to bind it to, if not that of its cookie.
    pub(super) nonce: Option<String>,
    /// The area that wants to know why they come.
    pub(super) asked: Option<Asked>,
}

impl Leave {
    /// Leads back to what was asked for.
    pub(super) fn to(target: &Target) -> Self {
        Self {
            to: target.path_and_query(),
            nonce: None,
            asked: None,
        }
    }
}
