//! What an app is told of a request: whose it is, by which rule, and where in a trace it stands.

use std::sync::{Arc, Weak};
use std::time::Instant;

use http::HeaderValue;
use pingora_error::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use policy::AppIx;

use super::{Ctx, internal};
use crate::access;
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::Session as SignIn;
use crate::ids::SessionId;
use crate::proxy::head::Target;
use crate::proxy::headers::{self, TRACEPARENT, TRACESTATE};
use crate::proxy::own;
use crate::proxy::statement::{Claims, FIELD, Signed, is_fresh};
use crate::snapshot::Snapshot;

/// Sets the fields about the person and the rule, and those of the header set the decision carries.
///
/// # Errors
/// Without a permit.
pub(super) fn who(
    gw: &Gateway,
    upstream: &mut RequestHeader,
    ctx: &Ctx,
    target: &Target,
) -> Result<()> {
    if let Some(rule) = &ctx.rule {
        upstream.insert_header("X-Postern-Rule", &**rule)?;
    }
    if let Some(signed_in) = &ctx.session {
        upstream.insert_header("X-Postern-User", &*signed_in.user)?;
        let (groups, statement) = about(gw, ctx, target, signed_in)?;
        upstream.insert_header("X-Postern-Groups", groups)?;
        if let Some(statement) = statement {
            upstream.insert_header(FIELD, statement)?;
        }
    }
    set_fields(upstream, ctx)
}

/// What an app was told of a person on one connection; it says so again while nothing of it changes.
pub(in crate::proxy) struct Told {
    snap: Weak<Snapshot>,
    session: SessionId,
    app: AppIx,
    rule: Arc<str>,
    authority: String,
    groups: HeaderValue,
    statement: HeaderValue,
    /// When the statement was signed.
    since: Instant,
}

impl Told {
    /// Tells whether it is what a request's app is to be told now.
    fn holds(&self, ctx: &Ctx, session: SessionId, authority: &str, now: Instant) -> bool {
        let rule = ctx.rule.as_ref();
        Weak::as_ptr(&self.snap) == Arc::as_ptr(&ctx.snap)
            && self.session == session
            && Some(self.app) == ctx.app
            && rule.is_some_and(|rule| **rule == *self.rule)
            && self.authority == authority
            && is_fresh(self.since, now)
    }
}

/// The groups of a person and the signed statement, for the app that is asked.
fn about(
    gw: &Gateway,
    ctx: &Ctx,
    target: &Target,
    signed_in: &SignIn,
) -> Result<(HeaderValue, Option<HeaderValue>)> {
    let (Some(ctl), Some(app), Some(rule)) = (&ctx.ctl, ctx.app, &ctx.rule) else {
        return Err(internal("no permit"));
    };
    let (authority, now) = (target.authority(), clock::now());
    let mut known = ctl.conn.told.lock();
    if let Some(told) = &*known
        && told.holds(ctx, signed_in.id, &authority, now)
    {
        return Ok((told.groups.clone(), Some(told.statement.clone())));
    }
    let user = ctx.snap.policy.user(&signed_in.user);
    let groups = user.map(|user| groups(ctx, user)).unwrap_or_default();
    let value = |text: String| HeaderValue::try_from(text).map_err(|_| internal("groups"));
    let groups = value(groups)?;
    let Some(signed) = statement(gw, ctx, target, signed_in, now) else {
        return Ok((groups, None));
    };
    let statement = value(signed.token)?;
    *known = Some(Told {
        snap: Arc::downgrade(&ctx.snap),
        session: signed_in.id,
        app,
        rule: Arc::clone(rule),
        authority,
        groups: groups.clone(),
        statement: statement.clone(),
        since: signed.since,
    });
    Ok((groups, Some(statement)))
}

/// Makes the signed statement about the person for the app that is asked.
fn statement(
    gw: &Gateway,
    ctx: &Ctx,
    target: &Target,
    signed_in: &SignIn,
    now: Instant,
) -> Option<Signed> {
    let user = ctx.snap.policy.user(&signed_in.user)?;
    let claims = Claims {
        session: signed_in.id,
        issuer: format!("{}/", own::sign_in_origin(gw, target)),
        audience: format!("https://{}/", target.authority()),
        subject: signed_in.user.to_string(),
        groups: groups(ctx, user)
            .split_terminator(',')
            .map(str::to_owned)
            .collect(),
        rule: ctx.rule.as_ref()?.to_string(),
    };
    gw.signer.sign(claims, clock::unix(), now)
}

/// The groups of a person as the app that is asked may know them.
fn groups(ctx: &Ctx, user: &policy::User) -> String {
    let app = ctx.app.map(|app| ctx.snap.policy.app(app));
    app.map(|app| app.groups_of(user)).unwrap_or_default()
}

/// Sets the fields of the header set the decision carries.
fn set_fields(upstream: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let Some(permit) = &ctx.permit else {
        return Err(internal("no permit"));
    };
    let Some(set) = permit.headers() else {
        return Ok(());
    };
    let user = ctx.session.as_ref().and_then(|signed_in| {
        let user = ctx.snap.policy.user(&signed_in.user)?;
        Some((signed_in, groups(ctx, user)))
    });
    let values = policy::HeaderValues {
        person: user.as_ref().map(|(signed_in, groups)| policy::Person {
            name: &signed_in.user,
            groups,
            session_secs: access::login_age(signed_in, clock::unix()).into(),
        }),
        rule: permit.rule(),
        device: permit.device(),
    };
    for field in &set.fields {
        if let Some(text) = field.fill(&values) {
            upstream.insert_header(field.name.clone(), text)?;
        }
    }
    Ok(())
}

/// Says where in a trace the request stands: where its client says, else where one begins. Nothing is decided by it.
///
/// # Errors
/// None in practice; header building reports one.
pub(super) fn trace(
    session: &Session,
    upstream: &mut RequestHeader,
    known: &mut Option<String>,
) -> Result<()> {
    let of_client = headers::traceparent(&session.req_header().headers);
    if of_client.is_none() {
        upstream.remove_header(TRACESTATE);
    }
    let place = known.get_or_insert_with(|| of_client.unwrap_or_else(headers::new_trace));
    upstream.insert_header(TRACEPARENT, place.as_str())
}
