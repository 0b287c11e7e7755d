//! What an app is told of a request: whose it is, by which rule, and where in a trace it stands.

use std::sync::{Arc, Weak};
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue};
use pingora_error::Result;
use pingora_proxy::Session;
use policy::AppIx;

use super::{Ctx, internal};
use crate::access;
use crate::clock;
use crate::gateway::Gateway;
use crate::ids::SessionId;
use crate::proxy::head::Target;
use crate::proxy::headers::{
    self, TRACEPARENT, TRACESTATE, X_POSTERN_GROUPS, X_POSTERN_RULE, X_POSTERN_USER, field,
};
use crate::proxy::own;
use crate::proxy::statement::{Claims, FIELD, Signed, is_fresh};
use crate::snapshot::Snapshot;
use crate::traces::Active;

/// Sets the fields about the person and the rule, and those of the header set the decision carries.
///
/// # Errors
/// Without a permit.
pub(super) fn who(
    gw: &Gateway,
    upstream: &mut HeaderMap,
    ctx: &Ctx,
    target: &Target,
) -> Result<()> {
    if let Some(rule) = &ctx.rule {
        upstream.insert(X_POSTERN_RULE, field(rule)?);
    }
    if let Some(name) = ctx.user() {
        upstream.insert(X_POSTERN_USER, field(name)?);
        let (groups, statement) = about(gw, ctx, target, name)?;
        upstream.insert(X_POSTERN_GROUPS, groups);
        if let Some(statement) = statement {
            upstream.insert(FIELD, statement);
        }
    }
    set_fields(upstream, ctx)
}

/// What an app was told of a person on one connection; it says so again while nothing of it changes.
pub(in crate::proxy) struct Told {
    snap: Weak<Snapshot>,
    user: Arc<str>,
    session: Option<SessionId>,
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
    fn holds(&self, ctx: &Ctx, authority: &str, now: Instant) -> bool {
        let rule = ctx.rule.as_ref();
        Weak::as_ptr(&self.snap) == Arc::as_ptr(&ctx.snap)
            && ctx.user() == Some(&self.user)
            && self.session == session(ctx)
            && Some(self.app) == ctx.app
            && rule.is_some_and(|rule| **rule == *self.rule)
            && self.authority == authority
            && is_fresh(self.since, now)
    }
}

/// The session of a person who is signed in; none of one who shows a token.
fn session(ctx: &Ctx) -> Option<SessionId> {
    ctx.session.as_ref().map(|signed_in| signed_in.id)
}

/// The groups of a person and the signed statement, for the app that is asked.
fn about(
    gw: &Gateway,
    ctx: &Ctx,
    target: &Target,
    name: &Arc<str>,
) -> Result<(HeaderValue, Option<HeaderValue>)> {
    let (Some(ctl), Some(app), Some(rule)) = (&ctx.ctl, ctx.app, &ctx.rule) else {
        return Err(internal("no permit"));
    };
    let (authority, now) = (target.authority(), clock::now());
    let mut known = ctl.conn.told.lock();
    if let Some(told) = &*known
        && told.holds(ctx, &authority, now)
    {
        return Ok((told.groups.clone(), Some(told.statement.clone())));
    }
    let user = ctx.snap.policy.user(name);
    let groups = user.map(|user| groups(ctx, user)).unwrap_or_default();
    let groups = field(&groups)?;
    let Some(signed) = statement(gw, ctx, target, name, now) else {
        return Ok((groups, None));
    };
    let statement = field(&signed.token)?;
    *known = Some(Told {
        snap: Arc::downgrade(&ctx.snap),
        user: Arc::clone(name),
        session: session(ctx),
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
fn statement(gw: &Gateway, ctx: &Ctx, target: &Target, name: &str, now: Instant) -> Option<Signed> {
    let user = ctx.snap.policy.user(name)?;
    let claims = Claims {
        session: session(ctx),
        issuer: format!("{}/", own::sign_in_origin(gw, target)),
        audience: format!("https://{}/", target.authority()),
        subject: name.to_owned(),
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
fn set_fields(upstream: &mut HeaderMap, ctx: &Ctx) -> Result<()> {
    let Some(permit) = &ctx.permit else {
        return Err(internal("no permit"));
    };
    let Some(set) = permit.headers() else {
        return Ok(());
    };
    let user = ctx.user().and_then(|name| {
        let user = ctx.snap.policy.user(name)?;
        Some((name, groups(ctx, user)))
    });
    let values = policy::HeaderValues {
        person: user.as_ref().map(|(name, groups)| policy::Person {
            name,
            groups,
            session_secs: age(ctx),
        }),
        rule: permit.rule(),
        device: permit.device(),
    };
    for known in &set.fields {
        if let Some(text) = known.fill(&values) {
            let name = HeaderName::try_from(&known.name).map_err(|_| internal("name"))?;
            upstream.insert(name, field(&text)?);
        }
    }
    Ok(())
}

/// Returns the seconds since the sign-in, or since the token was made.
fn age(ctx: &Ctx) -> u64 {
    let now = clock::unix();
    let session = ctx.session.as_ref().map(|s| access::login_age(s, now));
    let age = session.or_else(|| ctx.token.as_ref().map(|t| t.age(now)));
    age.unwrap_or(0).into()
}

/// Says where in a trace the request stands: behind its own span if it is traced, else where its client says, else where
/// one begins. Nothing is decided by it.
///
/// # Errors
/// None in practice; header building reports one.
pub(super) fn trace(
    session: &Session,
    upstream: &mut HeaderMap,
    span: Option<&Active>,
    known: &mut Option<String>,
) -> Result<()> {
    let of_client = headers::traceparent(&session.req_header().headers);
    if of_client.is_none() {
        upstream.remove(TRACESTATE);
    }
    if let Some(span) = span {
        upstream.insert(TRACEPARENT, field(&span.towards())?);
        return Ok(());
    }
    let place = known.get_or_insert_with(|| of_client.unwrap_or_else(headers::new_trace));
    upstream.insert(TRACEPARENT, field(place)?);
    Ok(())
}
