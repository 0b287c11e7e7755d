//! Enrolment by a one-time link: a password and an authenticator app.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use zeroize::Zeroizing;

use super::answer::{self, Policy};
use super::ctx::{Ctx, Page, Proof, see_other};
use super::desk::{Ask, EnrolStep, Enrolment};
use super::form::{SIGN_IN_MAX, Spec};
use super::problem::Problem;
use super::qr::Qr;
use super::texts::fill;
use super::{codes, csrf, views};
use crate::identity::ShownCodes;

const ENROL_FORM: Spec = Spec {
    required: &["code"],
    optional: &["password", "again"],
    limit: SIGN_IN_MAX,
};
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// `GET /enrol/{token}`: moves the token out of the URL into a cookie.
pub(crate) async fn open(Path(token): Path<String>, ctx: Ctx) -> Response {
    if !csrf::is_opaque(&token) || ctx.desk.enrolment(&token).await.is_none() {
        return dead(&ctx).into();
    }
    let mut page = see_other("/enrol");
    answer::enrolling(&mut page.0, &token);
    page.into()
}

/// `GET /enrol`: the form of the link this browser opened.
pub(crate) async fn form(mut ctx: Ctx) -> Response {
    let Some(token) = opened(&ctx) else {
        return dead(&ctx).into();
    };
    match ctx.desk.enrolment(&token).await {
        Some(enrolment) => enrol_page(&mut ctx, &enrolment, StatusCode::OK, None).into(),
        None => dead(&ctx).into(),
    }
}

/// `POST /enrol`: password twice and one code.
pub(crate) async fn finish(ctx: Ctx, body: Body) -> Response {
    match opened(&ctx) {
        Some(token) => complete(ctx, &token, body).await,
        None => dead(&ctx).into(),
    }
}

/// `POST /enrol/{token}`: the same for a client that kept to the link.
pub(crate) async fn finish_by_link(Path(token): Path<String>, ctx: Ctx, body: Body) -> Response {
    complete(ctx, &token, body).await
}

async fn complete(mut ctx: Ctx, token: &str, body: Body) -> Response {
    let fields = match ctx.form(Proof::Browser, &ENROL_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let Some(enrolment) = ctx.desk.enrolment(token).await else {
        return dead(&ctx).into();
    };
    let password = Zeroizing::new(fields.value("password").to_owned());
    let same = !enrolment.ask.is_new() || password.as_str() == fields.value("again");
    let step = if same {
        Some(ctx.desk.enrol(token, password, fields.value("code")).await)
    } else {
        None
    };
    drop(fields);
    answer_to(&mut ctx, &enrolment, step)
}

/// Answers a form; `None` stands for two passwords that differ.
fn answer_to(ctx: &mut Ctx, enrolment: &Enrolment, step: Option<EnrolStep>) -> Response {
    let t = ctx.t();
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    let (status, error, wait) = match step {
        Some(EnrolStep::Done(codes)) => return done(ctx, &enrolment.user, &codes).into(),
        Some(EnrolStep::Dead) => return dead(ctx).into(),
        Some(EnrolStep::Unavailable) => return ctx.problem(Problem::Unavailable),
        None => (wrong, t.error_again.to_owned(), None),
        Some(EnrolStep::WrongCode) => (wrong, t.error_code.to_owned(), None),
        Some(EnrolStep::WrongPassword) => (wrong, t.error_password.to_owned(), None),
        Some(EnrolStep::Weak(weak)) => (wrong, weak.text(t, enrolment.minimum), None),
        Some(EnrolStep::Throttled(wait)) => {
            let minutes = wait.as_secs().div_ceil(60).max(1).to_string();
            let text = fill(t.error_throttled, "minutes", &minutes);
            (StatusCode::TOO_MANY_REQUESTS, text, Some(wait))
        }
        Some(EnrolStep::Overloaded) => {
            let text = t.error_busy.to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, text, Some(BUSY_WAIT))
        }
    };
    let page = enrol_page(ctx, enrolment, status, Some(error));
    match wait {
        Some(wait) => page.retry_after(wait).into(),
        None => page.into(),
    }
}

fn opened(ctx: &Ctx) -> Option<String> {
    let token = ctx.desk.cookie(answer::ENROL)?;
    csrf::is_opaque(token).then(|| token.to_owned())
}

fn enrol_page(
    ctx: &mut Ctx,
    enrolment: &Enrolment,
    status: StatusCode,
    error: Option<String>,
) -> Page {
    let t = ctx.t();
    let csrf = ctx.token(Proof::Browser);
    let (heading, lead) = match enrolment.ask {
        Ask::NewPassword => (t.enrol_title, t.enrol_lead),
        Ask::BetterPassword => (t.enrol_title, t.enrol_weak_lead),
        Ask::Imported => (t.enrol_title, t.enrol_imported_lead),
        Ask::Password => (t.enrol_app_title, t.enrol_reset_lead),
        Ask::Recovered => (t.enrol_app_title, t.enrol_recovered_lead),
    };
    let sessions = enrolment.sessions.iter().cloned().map(Into::into);
    let view = views::Enrol {
        f: ctx.scripted(ctx.frame("/enrol", true)),
        csrf,
        user: &enrolment.user,
        heading,
        lead: fill(lead, "name", &enrolment.user),
        ask: enrolment.ask,
        sessions: sessions.collect(),
        rule: fill(t.enrol_rule, "min", &enrolment.minimum.to_string()),
        minimum: enrolment.minimum,
        qr: Qr::encode(&enrolment.otpauth),
        secret: grouped(&enrolment.secret),
        error,
    };
    let mut page = ctx.page(status, &view, Policy::Script);
    ctx.keep_nonce(&mut page);
    page
}

fn done(ctx: &Ctx, user: &str, codes: &ShownCodes) -> Page {
    let t = ctx.t();
    let shown = codes::Shown {
        user,
        codes,
        heading: t.enrol_done_title,
        lead: t.enrol_done_text,
        next: "/signin",
        next_text: t.codes_kept_sign_in,
    };
    let mut page = codes::page(ctx, ctx.frame("/signin", false), &shown);
    answer::expire(&mut page.0, &[answer::ENROL, answer::NONCE]);
    page
}

fn dead(ctx: &Ctx) -> Page {
    let t = ctx.t();
    let view = views::Message {
        f: ctx.frame("/enrol", true),
        heading: t.enrol_dead_title,
        text: t.enrol_dead_text,
        link: None,
    };
    let mut page = ctx.page(StatusCode::NOT_FOUND, &view, Policy::Page);
    answer::expire(&mut page.0, &[answer::ENROL]);
    page
}

/// Writes a secret in groups of four, as apps show it.
pub(super) fn grouped(secret: &str) -> String {
    let mut text = String::with_capacity(secret.len() + secret.len() / 4);
    for (i, c) in secret.chars().enumerate() {
        if i > 0 && i % 4 == 0 {
            text.push(' ');
        }
        text.push(c);
    }
    text
}
