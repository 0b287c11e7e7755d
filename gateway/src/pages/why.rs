//! The page that asks a person why they come, before an area that wants to know.

mod words;

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

use super::ctx::{Ctx, Page, Proof, see_other, with_rt};
use super::desk::proofs::{Said, Wondering};
use super::form::{SIGN_IN_MAX, Spec};
use super::proofs::length;
use super::signin::{leading_page, onward, return_id};
use super::texts::fill;
use super::views::Frame;

const FORM: Spec = Spec {
    required: &["reason"],
    optional: &["rt"],
    limit: SIGN_IN_MAX,
};

#[derive(Template)]
#[template(path = "why.html")]
struct View<'a> {
    f: Frame<'a>,
    w: &'static words::Words,
    lead: String,
    csrf: String,
    rt: Option<&'a str>,
    error: Option<&'static str>,
}

/// `GET /signin/reason`: asks.
pub(crate) async fn form(mut ctx: Ctx) -> Response {
    let rt = ctx.rt.take();
    let rt = rt.as_deref();
    if ctx.person().is_none() {
        return see_other(&with_rt("/signin", rt)).into();
    }
    match rt.and_then(|rt| ctx.desk.wondering(rt)) {
        Some(asks) => page(&ctx, &asks, rt, None).into(),
        None => onward(&ctx, rt).await,
    }
}

/// `POST /signin/reason`: the reason.
pub(crate) async fn give(mut ctx: Ctx, body: Body) -> Response {
    if ctx.person().is_none() && ctx.is_same_origin() {
        return see_other(&with_rt("/signin", ctx.rt.as_deref())).into();
    }
    let fields = match ctx.form(Proof::Session, &FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let rt = return_id(fields.find("rt"), ctx.rt.take());
    let Some(rt) = rt.as_deref() else {
        return see_other("/").into();
    };
    let Some(asks) = ctx.desk.wondering(rt) else {
        return onward(&ctx, Some(rt)).await;
    };
    match ctx.desk.justify(rt, fields.value("reason")) {
        Said::Kept(next) => see_other(next.as_deref().unwrap_or("/")).into(),
        Said::Unclear => {
            let error = words::of(ctx.lang).unclear;
            page(&ctx, &asks, Some(rt), Some(error)).into()
        }
    }
}

fn page(ctx: &Ctx, asks: &Wondering, rt: Option<&str>, error: Option<&'static str>) -> Page {
    let w = words::of(ctx.lang);
    let lead = fill(w.lead, "app", &asks.app);
    let view = View {
        f: Frame {
            rt,
            ..ctx.frame("/signin/reason", true)
        },
        w,
        lead: fill(&lead, "time", &length(asks.hold, ctx.lang)),
        csrf: ctx.session_token(),
        rt,
        error,
    };
    let status = match error {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    leading_page(ctx, rt, &view, status)
}
