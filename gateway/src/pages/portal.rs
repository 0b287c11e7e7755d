//! The portal, the account page and signing out.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

use super::accept;
use super::answer::{self, Policy};
use super::ctx::{Ctx, Page, Proof, see_other};
use super::desk::Person;
use super::form::{FORM_MAX, Spec};
use super::problem::Problem;
use super::texts::fill;
use super::views;
use crate::ids::SessionId;

const BARE_FORM: Spec = Spec {
    required: &[],
    optional: &[],
    limit: FORM_MAX,
};
const END_FORM: Spec = Spec {
    required: &["session"],
    optional: &[],
    limit: FORM_MAX,
};

/// `GET /`: what the person may open.
pub(crate) async fn portal(ctx: Ctx) -> Response {
    let Some(person) = ctx.person() else {
        return stranger(&ctx);
    };
    let view = views::Portal {
        f: ctx.frame_of(person, "/"),
        greeting: fill(ctx.t().portal_greeting, "name", &person.user),
        here: &ctx.visit().here,
        apps: ctx.desk.apps(),
        devices: ctx.desk.devices(),
    };
    ctx.page(StatusCode::OK, &view, Policy::Page).into()
}

/// `GET /account`: the person's sessions and devices.
pub(crate) async fn account(ctx: Ctx) -> Response {
    match ctx.person() {
        Some(person) => account_page(&ctx, person, StatusCode::OK, None).into(),
        None => stranger(&ctx),
    }
}

/// `POST /account/end`: ends one session of the person.
pub(crate) async fn end(ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Session, &END_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let Some(person) = ctx.person() else {
        return ctx.problem(Problem::FormRefused);
    };
    let Ok(id) = fields.value("session").parse::<SessionId>() else {
        return ctx.problem(Problem::BadRequest);
    };
    let own = ctx.desk.sessions().iter().any(|s| s.current && s.id == id);
    if !ctx.desk.end(id).await {
        let error = Some(ctx.t().error_not_ended.to_owned());
        return account_page(&ctx, person, StatusCode::NOT_FOUND, error).into();
    }
    if own {
        return gone(&ctx, "/signin").into();
    }
    see_other("/account").into()
}

/// `POST /account/end-all`: ends every session of the person, this one too.
pub(crate) async fn end_all(ctx: Ctx, body: Body) -> Response {
    if let Err(refusal) = ctx.form(Proof::Session, &BARE_FORM, body).await {
        return refusal;
    }
    if ctx.desk.end_all().await {
        gone(&ctx, "/signin").into()
    } else {
        ctx.problem(Problem::Unavailable)
    }
}

/// `POST /signout` on the sign-in host.
pub(crate) async fn sign_out(ctx: Ctx, body: Body) -> Response {
    leave(&ctx, body, "/signin").await
}

/// `GET /.postern/signout` on an application's host: asks first.
pub(crate) async fn leave_form(mut ctx: Ctx) -> Response {
    if ctx.person().is_none() {
        let portal = ctx.visit().portal.clone();
        return gone(&ctx, &portal).into();
    }
    let csrf = ctx.token(Proof::Session);
    let view = views::Leave {
        f: ctx.frame("/.postern/signout", true),
        csrf,
    };
    ctx.page(StatusCode::OK, &view, Policy::Page).into()
}

/// `POST /.postern/signout` on an application's host.
pub(crate) async fn leave_app(ctx: Ctx, body: Body) -> Response {
    let portal = ctx.visit().portal.clone();
    leave(&ctx, body, &portal).await
}

async fn leave(ctx: &Ctx, body: Body, back: &str) -> Response {
    if ctx.person().is_none() {
        return if ctx.is_same_origin() {
            gone(ctx, back).into()
        } else {
            ctx.problem(Problem::FormRefused)
        };
    }
    if let Err(refusal) = ctx.form(Proof::Session, &BARE_FORM, body).await {
        return refusal;
    }
    if ctx.desk.sign_out().await {
        gone(ctx, back).into()
    } else {
        ctx.problem(Problem::Unavailable)
    }
}

/// Sends a person who is not signed in to the form, and everything else away.
fn stranger(ctx: &Ctx) -> Response {
    if accept::is_script(&ctx.headers) {
        ctx.problem(Problem::SignInNeeded)
    } else {
        see_other("/signin").into()
    }
}

fn gone(ctx: &Ctx, back: &str) -> Page {
    let t = ctx.t();
    let view = views::Message {
        f: ctx.frame("/signin", false),
        heading: t.signed_out_title,
        text: t.signed_out_text,
        link: Some(views::Link {
            href: back,
            text: t.signed_out_link,
        }),
    };
    let mut page = ctx.page(StatusCode::OK, &view, Policy::Page);
    answer::signed_out(&mut page.0);
    page
}

fn account_page(ctx: &Ctx, person: &Person, status: StatusCode, error: Option<String>) -> Page {
    let f = ctx.frame_of(person, "/account");
    let csrf = f.person.as_ref().map(|p| p.csrf.clone());
    let view = views::Account {
        csrf: csrf.unwrap_or_default(),
        f,
        sessions: ctx.desk.sessions().into_iter().map(Into::into).collect(),
        devices: ctx.desk.devices(),
        error,
    };
    ctx.page(status, &view, Policy::Page)
}
