//! Asking before an act, and doing it.

use askama::Template;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::call::Call;
use super::deed::{Consent, Deed};
use super::desk::{Again, NotDone, Outcome, Preview};
use super::shell::Shell;
use super::texts;
use crate::control::{Code, Refusal};
use crate::edits::lines::Mark;
use crate::pages::{FORM_MAX, Fields, Problem, Proof, Spec, fill, see_other};

const FORM: Spec = Spec {
    required: &[],
    optional: &["digest", "wider", "accept"],
    limit: FORM_MAX,
};

/// An act that is asked about.
#[derive(Serialize)]
struct Question<'a> {
    deed: &'a Deed,
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<&'a Preview>,
}

#[derive(Template)]
#[template(path = "console/act.html")]
struct QuestionPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Acts,
    deed: &'a Deed,
    preview: Option<&'a Preview>,
    /// Why it is asked again.
    again: Option<&'static str>,
}

impl QuestionPage<'_> {
    fn is_possible(&self) -> bool {
        self.preview
            .is_none_or(|p| p.is_possible() && !p.files.is_empty())
    }

    fn accepts(&self, wider: &usize) -> String {
        fill(self.w.accept, "count", &wider.to_string())
    }
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

#[derive(Template)]
#[template(path = "console/link.html")]
struct LinkPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Acts,
    link: &'a str,
    back: String,
}

/// `GET /admin/do/{deed}`: says what would happen, and asks.
pub(crate) async fn ask(call: Call, Path(name): Path<String>) -> Response {
    let Some(deed) = Deed::parse(&name, &call.query) else {
        return call.ctx.problem(Problem::NotFound);
    };
    let Deed::Edit(edit) = &deed else {
        return question(&call, StatusCode::OK, &deed, None, None);
    };
    match call.console.preview(edit).await {
        Ok(preview) => question(&call, StatusCode::OK, &deed, Some(&preview), None),
        Err(refusal) => refused(&call, &deed, &refusal),
    }
}

fn question(
    call: &Call,
    status: StatusCode,
    deed: &Deed,
    preview: Option<&Preview>,
    again: Option<&'static str>,
) -> Response {
    let view = QuestionPage {
        f: call.shell(deed.section()),
        w: texts::Acts::of(call.ctx.lang),
        deed,
        preview,
        again,
    };
    call.reply(status, &Question { deed, preview }, &view)
}

/// `POST /admin/do/{deed}`: does it.
pub(crate) async fn carry_out(call: Call, Path(name): Path<String>, body: Body) -> Response {
    let fields = match call.ctx.form(Proof::Session, &FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let Some(deed) = Deed::parse(&name, &call.query) else {
        return call.ctx.problem(Problem::NotFound);
    };
    let Some(acts) = call.console.acts() else {
        return call.ctx.problem(Problem::Denied);
    };
    match acts.carry_out(&deed, &consent(&fields)).await {
        Ok(Outcome::Done) => done(&deed),
        Ok(Outcome::Link(link)) => link_page(&call, &deed, &link),
        Err(NotDone::Refused(refusal)) => refused(&call, &deed, &refusal),
        Err(NotDone::AskAgain(preview, again)) => {
            let w = texts::Acts::of(call.ctx.lang);
            let why = match again {
                Again::Changed => w.changed,
                Again::Held => w.held,
            };
            question(
                &call,
                StatusCode::CONFLICT,
                &deed,
                Some(&preview),
                Some(why),
            )
        }
    }
}

fn consent(fields: &Fields) -> Consent {
    let accepted = fields.find("accept").is_some();
    Consent {
        digest: fields.value("digest").to_owned(),
        wider: fields.value("wider").parse().ok().filter(|_| accepted),
    }
}

fn done(deed: &Deed) -> Response {
    let back = deed.back();
    let joint = if back.contains('?') { '&' } else { '?' };
    see_other(&format!("{back}{joint}done=1")).into()
}

fn link_page(call: &Call, deed: &Deed, link: &str) -> Response {
    #[derive(Serialize)]
    struct Link<'a> {
        link: &'a str,
    }
    let view = LinkPage {
        f: call.shell(deed.section()),
        w: texts::Acts::of(call.ctx.lang),
        link,
        back: deed.back(),
    };
    call.reply(StatusCode::OK, &Link { link }, &view)
}

fn refused(call: &Call, deed: &Deed, refusal: &Refusal) -> Response {
    failure(call, deed.section(), deed.back(), refusal)
}

/// Says why something is not possible.
pub(crate) fn failure(
    call: &Call,
    section: super::shell::Section,
    back: String,
    refusal: &Refusal,
) -> Response {
    let (status, error) = kind(refusal.code);
    let message = &refusal.message;
    let view = RefusedPage {
        f: call.shell(section),
        message,
        back,
    };
    call.reply(status, &Refused { error, message }, &view)
}

/// The status of a refusal, and its word in JSON.
pub(crate) fn kind(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::Usage | Code::Data => (StatusCode::UNPROCESSABLE_ENTITY, "not-possible"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Code::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        Code::Permission => (StatusCode::FORBIDDEN, "denied"),
        Code::Config | Code::Held => (StatusCode::CONFLICT, "held"),
    }
}
