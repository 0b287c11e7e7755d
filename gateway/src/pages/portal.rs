//! The portal, and signing out.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

use super::accept;
use super::answer::{self, Policy};
use super::ctx::{Ctx, Page, Proof, see_other, with_rt};
use super::form::{FORM_MAX, Spec};
use super::problem::Problem;
use super::texts::fill;
use super::{notices, proofs, views};

pub(super) const BARE_FORM: Spec = Spec {
    required: &[],
    optional: &[],
    limit: FORM_MAX,
};

/// `GET /`: what the person may open.
pub(crate) async fn portal(ctx: Ctx) -> Response {
    let Some(person) = ctx.person() else {
        return stranger(&ctx);
    };
    let codes_left = ctx.desk.codes_left().await;
    let quiet = proofs::quiet(&ctx);
    let (frame, to) = match quiet.watch || quiet.wait_secs.is_some() {
        true => (ctx.watching(ctx.frame_of(person, "/")), Policy::Live),
        false => (ctx.frame_of(person, "/"), Policy::Page),
    };
    let view = views::Portal {
        ending: proofs::banner(&ctx),
        quiet,
        notices: notices::lines(&ctx).await,
        csrf: ctx.session_token(),
        offer_codes: codes_left == Some(0),
        f: frame,
        greeting: fill(ctx.t().portal_greeting, "name", &person.user),
        here: &ctx.visit().here,
        apps: ctx.desk.apps(),
        devices: ctx.desk.devices(),
    };
    ctx.page(StatusCode::OK, &view, to).into()
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

/// Sends a person who is not signed in to the form, to come back here, and everything else away.
pub(super) fn stranger(ctx: &Ctx) -> Response {
    if accept::is_script(&ctx.headers) {
        ctx.problem(Problem::SignInNeeded)
    } else {
        let here = ctx.looks_at.as_deref().filter(|path| *path != "/");
        let rt = here.map(|path| ctx.desk.leave(path));
        see_other(&with_rt("/signin", rt.as_deref())).into()
    }
}

pub(super) fn gone(ctx: &Ctx, back: &str) -> Page {
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
