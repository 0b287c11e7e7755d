//! The account page: sessions, and the person's own factors.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use zeroize::Zeroizing;

use super::answer::{self, Policy};
use super::ctx::{Ctx, Page, Proof, see_other};
use super::desk::{ChangeStep, Person, SecondStep};
use super::enrol::grouped;
use super::form::{FORM_MAX, Fields, SIGN_IN_MAX, Spec};
use super::portal::{BARE_FORM, gone, stranger};
use super::problem::Problem;
use super::qr::Qr;
use super::texts::fill;
use super::{codes, notices, proofs, views};
use crate::identity::Others;
use crate::ids::SessionId;

const END_FORM: Spec = Spec {
    required: &["session"],
    optional: &[],
    limit: FORM_MAX,
};
const NOTICE_FORM: Spec = Spec {
    required: &["notice"],
    optional: &[],
    limit: FORM_MAX,
};
const CONFIRM_FORM: Spec = Spec {
    required: &["act", "password", "code"],
    optional: &[],
    limit: SIGN_IN_MAX,
};
const PASSWORD_FORM: Spec = Spec {
    required: &["password", "again"],
    optional: &["others"],
    limit: SIGN_IN_MAX,
};
const APP_FORM: Spec = Spec {
    required: &["code"],
    optional: &["others"],
    limit: SIGN_IN_MAX,
};
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// An act on the account that asks for password and code first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Password,
    App,
    Codes,
    Devices,
    AddDevice,
    MakeToken,
}

impl Act {
    const ALL: [Self; 6] = [
        Self::Password,
        Self::App,
        Self::Codes,
        Self::Devices,
        Self::AddDevice,
        Self::MakeToken,
    ];

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Password => "/account/password",
            Self::App => "/account/app",
            Self::Codes => "/account/codes",
            Self::Devices => "/account/devices",
            Self::AddDevice => "/account/devices/add",
            Self::MakeToken => "/account/tokens/make",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::App => "app",
            Self::Codes => "codes",
            Self::Devices => "devices",
            Self::AddDevice => "add-device",
            Self::MakeToken => "make-token",
        }
    }
}

/// `GET /account`: the person's sessions, factors and devices.
pub(crate) async fn account(ctx: Ctx) -> Response {
    match ctx.person() {
        Some(person) => account_page(&ctx, person, StatusCode::OK, None)
            .await
            .into(),
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
        return account_page(&ctx, person, StatusCode::NOT_FOUND, error)
            .await
            .into();
    }
    if own {
        return gone(&ctx, "/signin").into();
    }
    see_other("/account").into()
}

/// `POST /account/end-others`: ends every session of the person but this one.
pub(crate) async fn end_others(ctx: Ctx, body: Body) -> Response {
    if let Err(refusal) = ctx.form(Proof::Session, &BARE_FORM, body).await {
        return refusal;
    }
    if ctx.desk.end_others().await {
        see_other("/account").into()
    } else {
        ctx.problem(Problem::Unavailable)
    }
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

/// `POST /account/notice`: the person has seen a notice.
pub(crate) async fn dismiss(ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Session, &NOTICE_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let Ok(id) = fields.value("notice").parse::<i64>() else {
        return ctx.problem(Problem::BadRequest);
    };
    // One that is gone already is as good as seen.
    ctx.desk.dismiss(id).await;
    see_other("/account").into()
}

/// `POST /account/confirm`: password and code; leads on to the act they are for.
pub(crate) async fn confirm(ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Session, &CONFIRM_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let act = Act::ALL
        .into_iter()
        .find(|a| a.name() == fields.value("act"));
    let (Some(act), Some(person)) = (act, ctx.person()) else {
        return ctx.problem(Problem::BadRequest);
    };
    let password = Zeroizing::new(fields.value("password").to_owned());
    let t = ctx.t();
    let (status, text, wait) = match ctx.desk.confirm(password, fields.value("code")).await {
        SecondStep::Done { cookie, .. } => {
            let mut page = see_other(act.path());
            answer::signed_in(&mut page.0, &cookie);
            return page.into();
        }
        SecondStep::Expired => return see_other("/signin").into(),
        SecondStep::Refused => (StatusCode::UNAUTHORIZED, t.error_confirm.to_owned(), None),
        SecondStep::Throttled(wait) => throttled(&ctx, wait),
        SecondStep::Unavailable => return ctx.problem(Problem::Unavailable),
    };
    let page = confirm_page(&ctx, person, act, status, Some(text));
    with_wait(page, wait).into()
}

/// `GET /account/password`: the form for a new password.
pub(crate) async fn password_form(ctx: Ctx) -> Response {
    match confirmed(&ctx, Act::Password, StatusCode::OK) {
        Ok(person) => password_page(&ctx, person, StatusCode::OK, None).into(),
        Err(instead) => *instead,
    }
}

/// `POST /account/password`: a new password, twice.
pub(crate) async fn password(ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Session, &PASSWORD_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let person = match confirmed(&ctx, Act::Password, StatusCode::FORBIDDEN) {
        Ok(person) => person,
        Err(instead) => return *instead,
    };
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    let new = Zeroizing::new(fields.value("password").to_owned());
    if new.as_str() != fields.value("again") {
        let text = ctx.t().error_again.to_owned();
        return password_page(&ctx, person, wrong, Some(text)).into();
    }
    let step = ctx.desk.change_password(new, others(&fields)).await;
    let (status, text, wait) = match outcome(&ctx, person, Act::Password, step) {
        Ok(answer) => return answer,
        Err(again) => again,
    };
    with_wait(password_page(&ctx, person, status, Some(text)), wait).into()
}

/// `GET /account/app`: the secret for another authenticator app.
pub(crate) async fn app_form(ctx: Ctx) -> Response {
    match confirmed(&ctx, Act::App, StatusCode::OK) {
        Ok(person) => app_page(&ctx, person, StatusCode::OK, None).into(),
        Err(instead) => *instead,
    }
}

/// `POST /account/app`: the first code of the other app.
pub(crate) async fn app(ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Session, &APP_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let person = match confirmed(&ctx, Act::App, StatusCode::FORBIDDEN) {
        Ok(person) => person,
        Err(instead) => return *instead,
    };
    let step = ctx.desk.change_app(fields.value("code"), others(&fields));
    let (status, text, wait) = match outcome(&ctx, person, Act::App, step.await) {
        Ok(answer) => return answer,
        Err(again) => again,
    };
    with_wait(app_page(&ctx, person, status, Some(text)), wait).into()
}

/// `GET /account/codes`: asks before the recovery codes are made anew.
pub(crate) async fn codes_form(ctx: Ctx) -> Response {
    match confirmed(&ctx, Act::Codes, StatusCode::OK) {
        Ok(person) => codes_page(&ctx, person, StatusCode::OK, None).into(),
        Err(instead) => *instead,
    }
}

/// `POST /account/codes`: makes the recovery codes anew and shows them once.
pub(crate) async fn codes(ctx: Ctx, body: Body) -> Response {
    if let Err(refusal) = ctx.form(Proof::Session, &BARE_FORM, body).await {
        return refusal;
    }
    let person = match confirmed(&ctx, Act::Codes, StatusCode::FORBIDDEN) {
        Ok(person) => person,
        Err(instead) => return *instead,
    };
    let step = ctx.desk.new_codes().await;
    let (status, text, wait) = match outcome(&ctx, person, Act::Codes, step) {
        Ok(answer) => return answer,
        Err(again) => again,
    };
    with_wait(codes_page(&ctx, person, status, Some(text)), wait).into()
}

/// Why a form of an act is shown again: status, text, and when to try again.
type AgainFor = (StatusCode, String, Option<Duration>);

/// Answers a change, or says what to show the form again with.
fn outcome(ctx: &Ctx, person: &Person, act: Act, step: ChangeStep) -> Result<Response, AgainFor> {
    let t = ctx.t();
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    match step {
        ChangeStep::Done => Ok(see_other("/account").into()),
        ChangeStep::Codes(made) => {
            let shown = codes::Shown {
                user: &person.user,
                codes: &made,
                heading: t.codes_made_title,
                lead: t.codes_new_done,
                next: "/account",
                next_text: t.codes_kept,
            };
            Ok(codes::page(ctx, ctx.frame("/account", false), &shown).into())
        }
        ChangeStep::NotConfirmed => {
            Ok(confirm_page(ctx, person, act, StatusCode::FORBIDDEN, None).into())
        }
        ChangeStep::Weak(weak) => Err((wrong, weak.text(t, ctx.desk.password_minimum()), None)),
        ChangeStep::WrongCode => Err((wrong, t.error_code.to_owned(), None)),
        ChangeStep::Throttled(wait) => Err(throttled(ctx, wait)),
        ChangeStep::Overloaded => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err((status, t.error_busy.to_owned(), Some(BUSY_WAIT)))
        }
        ChangeStep::Unavailable => Ok(ctx.problem(Problem::Unavailable)),
    }
}

fn throttled(ctx: &Ctx, wait: Duration) -> AgainFor {
    let minutes = wait.as_secs().div_ceil(60).max(1).to_string();
    let text = fill(ctx.t().error_throttled, "minutes", &minutes);
    (StatusCode::TOO_MANY_REQUESTS, text, Some(wait))
}

fn with_wait(page: Page, wait: Option<Duration>) -> Page {
    match wait {
        Some(wait) => page.retry_after(wait),
        None => page,
    }
}

/// Returns the person of a confirmed session, or what to answer instead: the question for password
/// and code, with the status `or`.
pub(super) fn confirmed(ctx: &Ctx, act: Act, or: StatusCode) -> Result<&Person, Box<Response>> {
    let person = ctx.person().ok_or_else(|| Box::new(stranger(ctx)))?;
    if ctx.desk.is_confirmed() {
        return Ok(person);
    }
    Err(Box::new(confirm_page(ctx, person, act, or, None).into()))
}

fn others(fields: &Fields) -> Others {
    match fields.find("others") {
        Some(_) => Others::End,
        None => Others::Keep,
    }
}

pub(super) fn confirm_page(
    ctx: &Ctx,
    person: &Person,
    act: Act,
    status: StatusCode,
    error: Option<String>,
) -> Page {
    let view = views::Confirm {
        f: ctx.frame_of(person, act.path()),
        csrf: ctx.session_token(),
        user: &person.user,
        act: act.name(),
        error,
    };
    ctx.page(status, &view, Policy::Page)
}

fn password_page(ctx: &Ctx, person: &Person, status: StatusCode, error: Option<String>) -> Page {
    let minimum = ctx.desk.password_minimum();
    let view = views::Password {
        f: ctx.scripted(ctx.frame_of(person, Act::Password.path())),
        csrf: ctx.session_token(),
        user: &person.user,
        rule: fill(ctx.t().enrol_rule, "min", &minimum.to_string()),
        minimum,
        error,
    };
    ctx.page(status, &view, Policy::Script)
}

fn app_page(ctx: &Ctx, person: &Person, status: StatusCode, error: Option<String>) -> Page {
    let Some(other) = ctx.desk.other_app() else {
        return confirm_page(ctx, person, Act::App, StatusCode::FORBIDDEN, None);
    };
    let view = views::OtherApp {
        f: ctx.frame_of(person, Act::App.path()),
        csrf: ctx.session_token(),
        qr: Qr::encode(&other.otpauth),
        secret: grouped(&other.secret),
        error,
    };
    ctx.page(status, &view, Policy::Page)
}

fn codes_page(ctx: &Ctx, person: &Person, status: StatusCode, error: Option<String>) -> Page {
    let view = views::NewCodes {
        f: ctx.frame_of(person, Act::Codes.path()),
        csrf: ctx.session_token(),
        error,
    };
    ctx.page(status, &view, Policy::Page)
}

/// Whether tokens are of any use to the person.
fn has_tokens(ctx: &Ctx) -> bool {
    !ctx.desk.token_apps().is_empty() || !ctx.desk.own_tokens().is_empty()
}

async fn account_page(
    ctx: &Ctx,
    person: &Person,
    status: StatusCode,
    error: Option<String>,
) -> Page {
    let t = ctx.t();
    let left = ctx.desk.codes_left().await.map(|left| match left {
        0 => t.codes_none.to_owned(),
        left => fill(t.codes_left, "count", &left.to_string()),
    });
    let quiet = proofs::quiet(ctx);
    let (frame, to) = match quiet.watch || quiet.wait_secs.is_some() {
        true => (ctx.watching(ctx.frame_of(person, "/account")), Policy::Live),
        false => (ctx.frame_of(person, "/account"), Policy::Page),
    };
    let view = views::Account {
        ending: proofs::banner(ctx),
        quiet,
        csrf: ctx.session_token(),
        f: frame,
        notices: notices::lines(ctx).await,
        codes: left,
        sessions: ctx.desk.sessions().into_iter().map(Into::into).collect(),
        devices: ctx.desk.devices(),
        tokens: has_tokens(ctx).then(|| ctx.lang.token_texts().title),
        error,
    };
    ctx.page(status, &view, to)
}
