//! Signing in: name and password, then the code; and a fresh code for a live session.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use zeroize::Zeroizing;

use super::answer::{self, Policy};
use super::ctx::{Ctx, Page, Proof, see_other, with_rt};
use super::desk::{Credentials, FirstStep, SecondStep};
use super::form::{SIGN_IN_MAX, Spec};
use super::texts::fill;
use super::{csrf, forgot, views};

const PASSWORD_FORM: Spec = Spec {
    required: &["username", "password"],
    optional: &["rt"],
    limit: SIGN_IN_MAX,
};
const CODE_FORM: Spec = Spec {
    required: &["code"],
    optional: &["rt"],
    limit: SIGN_IN_MAX,
};
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// Why a form is shown again.
#[derive(Clone, Copy)]
pub(super) enum Again {
    Wrong,
    Expired,
    Throttled(Duration),
    Busy,
    Unavailable,
}

/// `GET /signin`: the form, or straight on for a person who is signed in.
pub(crate) async fn form(mut ctx: Ctx) -> Response {
    let rt = ctx.rt.take();
    if ctx.person().is_some() && !ctx.anew {
        return onward(&ctx, rt.as_deref()).await;
    }
    if ctx.desk.held().is_some() && !ctx.anew {
        return see_other(&with_rt("/signin/device", rt.as_deref())).into();
    }
    password_page(&mut ctx, rt.as_deref(), "", None).into()
}

/// `POST /signin`: name and password.
pub(crate) async fn password(mut ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Browser, &PASSWORD_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let rt = return_id(fields.find("rt"), ctx.rt.take());
    let user = fields.value("username").to_owned();
    let attempt = Credentials {
        user: user.clone(),
        password: Zeroizing::new(fields.value("password").to_owned()),
        agent: ctx.agent(),
    };
    drop(fields);
    let again = match ctx.desk.password(attempt).await {
        FirstStep::Code(half) => {
            let mut page = code_page(&mut ctx, rt.as_deref(), None);
            answer::half_way(&mut page.0, &half);
            return page.into();
        }
        FirstStep::Enrol(token) => return enrolling(&token),
        FirstStep::Refused => Again::Wrong,
        FirstStep::Throttled(wait) => Again::Throttled(wait),
        FirstStep::Overloaded => Again::Busy,
        FirstStep::Unavailable => Again::Unavailable,
    };
    password_page(&mut ctx, rt.as_deref(), &user, Some(again)).into()
}

/// `GET /signin/code`: the code form again, after a reload or a change of language.
pub(crate) async fn code_form(mut ctx: Ctx) -> Response {
    let rt = ctx.rt.take();
    if ctx.person().is_some() || ctx.desk.cookie(answer::LOGIN).is_none() {
        return see_other(&with_rt("/signin", rt.as_deref())).into();
    }
    code_page(&mut ctx, rt.as_deref(), None).into()
}

/// `POST /signin/code`: the code of a half-way sign-in.
pub(crate) async fn code(mut ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Browser, &CODE_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let rt = return_id(fields.find("rt"), ctx.rt.take());
    let rt = rt.as_deref();
    let Some(half) = ctx.desk.cookie(answer::LOGIN).map(str::to_owned) else {
        return password_page(&mut ctx, rt, "", Some(Again::Expired)).into();
    };
    let again = match ctx.desk.code(&half, fields.value("code"), rt).await {
        SecondStep::Done { cookie, next } => return entered(&cookie, next.as_deref()),
        SecondStep::Expired => {
            let mut page = password_page(&mut ctx, rt, "", Some(Again::Expired));
            answer::expire(&mut page.0, &[answer::LOGIN]);
            return page.into();
        }
        SecondStep::Refused => Again::Wrong,
        SecondStep::Throttled(wait) => Again::Throttled(wait),
        SecondStep::Unavailable => Again::Unavailable,
    };
    code_page(&mut ctx, rt, Some(again)).into()
}

/// `GET /signin/step-up`: asks a signed-in person for a fresh code.
pub(crate) async fn step_up_form(mut ctx: Ctx) -> Response {
    let rt = ctx.rt.take();
    if ctx.person().is_none() {
        return see_other(&with_rt("/signin", rt.as_deref())).into();
    }
    step_up_page(&mut ctx, rt.as_deref(), None).into()
}

/// `POST /signin/step-up`: the fresh code.
pub(crate) async fn step_up(mut ctx: Ctx, body: Body) -> Response {
    if ctx.person().is_none() && ctx.is_same_origin() {
        return see_other(&with_rt("/signin", ctx.rt.as_deref())).into();
    }
    let fields = match ctx.form(Proof::Session, &CODE_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let rt = return_id(fields.find("rt"), ctx.rt.take());
    let rt = rt.as_deref();
    let again = match ctx.desk.step_up(fields.value("code"), rt).await {
        SecondStep::Done { cookie, next } => return entered(&cookie, next.as_deref()),
        SecondStep::Expired => return see_other(&with_rt("/signin", rt)).into(),
        SecondStep::Refused => Again::Wrong,
        SecondStep::Throttled(wait) => Again::Throttled(wait),
        SecondStep::Unavailable => Again::Unavailable,
    };
    step_up_page(&mut ctx, rt, Some(again)).into()
}

/// Sends a browser whose sign-in opened an enrolment there.
pub(super) fn enrolling(token: &str) -> Response {
    let mut page = see_other("/enrol");
    answer::enrolling(&mut page.0, token);
    answer::expire(&mut page.0, &[answer::LOGIN]);
    page.into()
}

pub(super) async fn onward(ctx: &Ctx, rt: Option<&str>) -> Response {
    let next = match rt {
        Some(rt) => ctx.desk.onward(rt).await,
        None => None,
    };
    see_other(next.as_deref().unwrap_or("/")).into()
}

pub(super) fn entered(cookie: &str, next: Option<&str>) -> Response {
    let mut page = see_other(next.unwrap_or("/"));
    answer::signed_in(&mut page.0, cookie);
    page.into()
}

pub(super) fn return_id(field: Option<&str>, query: Option<String>) -> Option<String> {
    let field = field.filter(|rt| csrf::is_opaque(rt)).map(str::to_owned);
    field.or(query)
}

pub(super) fn password_page(
    ctx: &mut Ctx,
    rt: Option<&str>,
    username: &str,
    again: Option<Again>,
) -> Page {
    let csrf = ctx.token(Proof::Browser);
    let view = views::SignIn {
        f: views::Frame {
            rt,
            ..ctx.frame("/signin", true)
        },
        csrf,
        rt,
        username,
        forgot: forgot::words(ctx.lang).link,
        error: again.map(|a| a.text(ctx, ctx.t().error_credentials)),
    };
    form_page(ctx, rt, &view, again)
}

fn code_page(ctx: &mut Ctx, rt: Option<&str>, again: Option<Again>) -> Page {
    let t = ctx.t();
    let csrf = ctx.token(Proof::Browser);
    let view = views::Code {
        f: views::Frame {
            rt,
            ..ctx.frame("/signin/code", true)
        },
        action: "/signin/code",
        heading: t.code_title,
        lead: t.code_lead,
        button: t.code_button,
        back: with_rt("/signin", rt),
        back_text: t.code_back,
        recovery: Some(with_rt("/signin/recovery", rt)),
        csrf,
        rt,
        error: again.map(|a| a.text(ctx, t.error_code)),
    };
    form_page(ctx, rt, &view, again)
}

fn step_up_page(ctx: &mut Ctx, rt: Option<&str>, again: Option<Again>) -> Page {
    let t = ctx.t();
    let csrf = ctx.token(Proof::Session);
    let view = views::Code {
        f: views::Frame {
            rt,
            ..ctx.frame("/signin/step-up", true)
        },
        action: "/signin/step-up",
        heading: t.stepup_title,
        lead: t.stepup_lead,
        button: t.stepup_button,
        back: "/".to_owned(),
        back_text: t.stepup_back,
        recovery: None,
        csrf,
        rt,
        error: again.map(|a| a.text(ctx, t.error_code)),
    };
    form_page(ctx, rt, &view, again)
}

pub(super) fn form_page(
    ctx: &Ctx,
    rt: Option<&str>,
    view: &impl askama::Template,
    again: Option<Again>,
) -> Page {
    let status = again.map_or(StatusCode::OK, Again::status);
    let page = leading_page(ctx, rt, view, status);
    match again {
        Some(Again::Throttled(wait)) => page.retry_after(wait),
        Some(Again::Busy) => page.retry_after(BUSY_WAIT),
        Some(Again::Wrong | Again::Expired | Again::Unavailable) | None => page,
    }
}

/// Shows a form whose answer leads on to a return target.
pub(super) fn leading_page(
    ctx: &Ctx,
    rt: Option<&str>,
    view: &impl askama::Template,
    status: StatusCode,
) -> Page {
    let target = rt.and_then(|rt| ctx.desk.target_origin(rt));
    let to = target.as_deref().map_or(Policy::Page, Policy::FormTo);
    let mut page = ctx.page(status, view, to);
    ctx.keep_nonce(&mut page);
    page
}

impl Again {
    fn status(self) -> StatusCode {
        match self {
            Self::Wrong | Self::Expired => StatusCode::UNAUTHORIZED,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn text(self, ctx: &Ctx, wrong: &'static str) -> String {
        let t = ctx.t();
        match self {
            Self::Wrong => wrong.to_owned(),
            Self::Expired => t.error_expired.to_owned(),
            Self::Busy => t.error_busy.to_owned(),
            Self::Unavailable => t.error_unavailable.to_owned(),
            Self::Throttled(wait) => {
                let minutes = wait.as_secs().div_ceil(60).max(1);
                fill(t.error_throttled, "minutes", &minutes.to_string())
            }
        }
    }
}
