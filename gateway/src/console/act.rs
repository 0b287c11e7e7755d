//! Asking before an act, and doing it.

use askama::Template;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::call::Call;
use super::deed::{Consent, Deed};
use super::desk::Outcome;
use super::shell::{Section, Shell};
use super::texts;
use crate::control::{Code, Refusal};
use crate::pages::{FORM_MAX, Problem, Proof, Spec, see_other};

const FORM: Spec = Spec {
    required: &[],
    optional: &[],
    limit: FORM_MAX,
};

/// An act that is asked about.
#[derive(Serialize)]
struct Question<'a> {
    deed: &'a Deed,
}

#[derive(Template)]
#[template(path = "console/act.html")]
struct QuestionPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Acts,
    question: String,
    deed: &'a Deed,
    back: String,
}

#[derive(Serialize)]
struct Refused<'a> {
    error: &'static str,
    message: &'a str,
}

#[derive(Template)]
#[template(path = "console/refused.html")]
struct RefusedPage<'a> {
    f: Shell<'a>,
    message: &'a str,
    back: String,
}

/// `GET /admin/do/{deed}`: says what would happen, and asks.
pub(crate) async fn ask(call: Call, Path(name): Path<String>) -> Response {
    let Some(deed) = Deed::parse(&name, &call.query) else {
        return call.ctx.problem(Problem::NotFound);
    };
    let w = texts::Acts::of(call.ctx.lang);
    let view = QuestionPage {
        f: call.shell(section(&deed)),
        w,
        question: deed.question(w),
        back: deed.back(),
        deed: &deed,
    };
    call.reply(StatusCode::OK, &Question { deed: &deed }, &view)
}

/// `POST /admin/do/{deed}`: does it.
pub(crate) async fn carry_out(call: Call, Path(name): Path<String>, body: Body) -> Response {
    let fields = match call.ctx.form(Proof::Session, &FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    drop(fields);
    let Some(deed) = Deed::parse(&name, &call.query) else {
        return call.ctx.problem(Problem::NotFound);
    };
    let Some(acts) = call.console.acts() else {
        return call.ctx.problem(Problem::Denied);
    };
    match acts.carry_out(&deed, &Consent::default()).await {
        Ok(Outcome::Done) => done(&deed),
        Err(refusal) => refused(&call, &deed, &refusal),
    }
}

fn done(deed: &Deed) -> Response {
    let back = deed.back();
    let joint = if back.contains('?') { '&' } else { '?' };
    see_other(&format!("{back}{joint}done=1")).into()
}

fn refused(call: &Call, deed: &Deed, refusal: &Refusal) -> Response {
    let (status, error) = match refusal.code {
        Code::Usage | Code::Data => (StatusCode::UNPROCESSABLE_ENTITY, "not-possible"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Code::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        Code::Permission => (StatusCode::FORBIDDEN, "denied"),
        Code::Config | Code::Held => (StatusCode::CONFLICT, "held"),
    };
    let message = &refusal.message;
    let view = RefusedPage {
        f: call.shell(section(deed)),
        message,
        back: deed.back(),
    };
    call.reply(status, &Refused { error, message }, &view)
}

fn section(deed: &Deed) -> Section {
    match deed {
        Deed::EndSession { .. } | Deed::EndSessions { .. } => Section::Sessions,
    }
}
