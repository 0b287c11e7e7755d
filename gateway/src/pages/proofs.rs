//! Another proof: one code for a device that is held, or for a session that is about to end.

mod words;

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use http::StatusCode;

use super::answer;
use super::ctx::{Ctx, Page, Proof, see_other, with_rt};
use super::desk::SecondStep;
use super::desk::proofs::{Ending, Held, Watch};
use super::form::{FORM_MAX, SIGN_IN_MAX, Spec};
use super::lang::Lang;
use super::problem::Problem;
use super::signin::{Again, entered, form_page, return_id};
use super::texts::fill;
use super::views;
use crate::identity::Due;

const CODE_FORM: Spec = Spec {
    required: &["code"],
    optional: &["rt"],
    limit: SIGN_IN_MAX,
};
const KEY_FORM: Spec = Spec {
    required: &["key"],
    optional: &[],
    limit: FORM_MAX,
};
const SIGNATURE_FORM: Spec = Spec {
    required: &["signature"],
    optional: &[],
    limit: FORM_MAX,
};
/// How long before its end a session says so.
pub(super) const SHOWN: Duration = Duration::from_secs(15 * 60);

/// `GET /signin/device`: asks for a code for the device the request came by.
pub(crate) async fn form(mut ctx: Ctx) -> Response {
    let rt = ctx.rt.take();
    match ctx.desk.held() {
        Some(held) => code_page(&ctx, &held, rt.as_deref(), None).into(),
        None => see_other(&with_rt("/signin", rt.as_deref())).into(),
    }
}

/// `POST /signin/device`: the code.
pub(crate) async fn prove(mut ctx: Ctx, body: Body) -> Response {
    let Some(held) = ctx.desk.held() else {
        return see_other(&with_rt("/signin", ctx.rt.as_deref())).into();
    };
    let fields = match ctx.form(Proof::Held, &CODE_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let rt = return_id(fields.find("rt"), ctx.rt.take());
    let rt = rt.as_deref();
    match ctx.desk.prove_again(fields.value("code"), rt).await {
        SecondStep::Done { cookie, next } => entered(&cookie, next.as_deref()),
        SecondStep::Expired => see_other(&with_rt("/signin?anew=1", None)).into(),
        SecondStep::Refused => code_page(&ctx, &held, rt, Some(Again::Wrong)).into(),
        SecondStep::Throttled(wait) => {
            code_page(&ctx, &held, rt, Some(Again::Throttled(wait))).into()
        }
        SecondStep::Unavailable => code_page(&ctx, &held, rt, Some(Again::Unavailable)).into(),
    }
}

fn code_page(ctx: &Ctx, held: &Held, rt: Option<&str>, again: Option<Again>) -> Page {
    let words = words::of(ctx.lang);
    let lead = match held.due {
        Due::Moved => words.moved,
        Due::Age => words.age,
        Due::Idle => words.idle,
    };
    let lead = fill(lead, "device", &held.device);
    let view = views::Code {
        f: views::Frame {
            rt,
            ..ctx.frame("/signin/device", true)
        },
        action: "/signin/device",
        heading: words.title,
        lead: &lead,
        button: words.button,
        back: "/signin?anew=1".to_owned(),
        back_text: words.anew,
        recovery: None,
        csrf: ctx.proof(Proof::Held),
        rt,
        error: again.map(|a| a.text(ctx, ctx.t().error_code)),
    };
    form_page(ctx, rt, &view, again)
}

/// `POST /signin/device/key`: the public half of the key that an open page drew.
pub(crate) async fn key(ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Session, &KEY_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let raw = BASE64URL_NOPAD.decode(fields.value("key").as_bytes());
    let kept = match raw {
        Ok(raw) => ctx.desk.keep_key(&raw).await,
        Err(_) => false,
    };
    said(kept)
}

/// `POST /signin/device/proof`: what an open page signed.
pub(crate) async fn signature(ctx: Ctx, body: Body) -> Response {
    if ctx.desk.held().is_none() {
        return ctx.problem(Problem::SignInNeeded);
    }
    let fields = match ctx.form(Proof::Held, &SIGNATURE_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let raw = BASE64URL_NOPAD.decode(fields.value("signature").as_bytes());
    let opened = match raw {
        Ok(raw) => ctx.desk.signed(&raw).await,
        Err(_) => false,
    };
    said(opened)
}

fn said(done: bool) -> Response {
    let status = match done {
        true => StatusCode::OK,
        false => StatusCode::FORBIDDEN,
    };
    let page = answer::json(status, &serde_json::json!({ "done": done }));
    Page(page).into()
}

/// `POST /account/extend`: a code that puts off the end of the session.
pub(crate) async fn extend(ctx: Ctx, body: Body) -> Response {
    if ctx.person().is_none() && ctx.is_same_origin() {
        return see_other("/signin").into();
    }
    let fields = match ctx.form(Proof::Session, &CODE_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let again = match ctx.desk.extend(fields.value("code")).await {
        SecondStep::Done { cookie, next } => return entered(&cookie, next.as_deref()),
        SecondStep::Expired => return see_other("/").into(),
        SecondStep::Refused => Again::Wrong,
        SecondStep::Throttled(wait) => Again::Throttled(wait),
        SecondStep::Unavailable => Again::Unavailable,
    };
    let words = words::of(ctx.lang);
    let shown = ctx.desk.ending().and_then(|e| Some((e, e.more?)));
    let lead = shown.map_or(String::new(), |(_, more)| {
        fill(words.more, "time", &length(more, ctx.lang))
    });
    let view = views::Code {
        f: ctx.frame("/", false),
        action: "/account/extend",
        heading: words.more_button,
        lead: &lead,
        button: words.more_button,
        back: "/".to_owned(),
        back_text: ctx.t().stepup_back,
        recovery: None,
        csrf: ctx.session_token(),
        rt: None,
        error: Some(again.text(&ctx, ctx.t().error_code)),
    };
    form_page(&ctx, None, &view, Some(again)).into()
}

/// What portal and account page say of the end of the session.
pub(super) fn banner(ctx: &Ctx) -> Option<views::EndingBanner> {
    let ending = ctx.desk.ending().filter(|e| e.within <= SHOWN)?;
    let words = words::of(ctx.lang);
    let minutes = ending.within.as_secs().div_ceil(60).to_string();
    let text = match ending.more {
        Some(_) => words.ends,
        None => words.ends_last,
    };
    let more = ending.more.map(|more| views::EndingForm {
        csrf: ctx.session_token(),
        text: fill(words.more, "time", &length(more, ctx.lang)),
        button: words.more_button,
    });
    Some(views::EndingBanner {
        text: fill(text, "minutes", &minutes),
        more,
    })
}

/// What the page does by itself: it shows the end of the session in time, and watches the device.
pub(super) fn quiet(ctx: &Ctx) -> views::Quiet {
    let later = |e: &Ending| e.within.checked_sub(SHOWN).filter(|wait| !wait.is_zero());
    let wait = ctx.desk.ending().as_ref().and_then(later);
    let watch = ctx.desk.watch();
    views::Quiet {
        wait_secs: wait.map(|wait| wait.as_secs().max(1)),
        csrf: ctx.session_token(),
        watch: watch.is_some(),
        new_key: watch == Some(Watch::WithNewKey),
    }
}

/// Writes a time in hours, where it is whole ones, or else in minutes.
pub(super) fn length(time: Duration, lang: Lang) -> String {
    let words = words::of(lang);
    let secs = time.as_secs();
    let (count, unit) = match secs {
        s if s >= 3600 && s.is_multiple_of(3600) => (s / 3600, words.hour),
        s => (s.div_ceil(60), words.minute),
    };
    fill(unit, "count", &count.to_string())
}
