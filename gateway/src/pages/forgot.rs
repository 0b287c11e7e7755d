//! A forgotten password: asking for a link by mail, and the page the link opens.

mod words;

use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use zeroize::Zeroizing;

use super::answer::{self, Policy};
use super::ctx::{Ctx, Page, Proof, see_other};
use super::desk::{ForgotStep, ResetStep};
use super::form::{SIGN_IN_MAX, Spec};
use super::problem::Problem;
use super::texts::fill;
use super::{csrf, views};
pub(super) use words::{Words, of as words};

const FORGOT_FORM: Spec = Spec {
    required: &["username"],
    optional: &[],
    limit: SIGN_IN_MAX,
};
const RESET_FORM: Spec = Spec {
    required: &["password", "again"],
    optional: &[],
    limit: SIGN_IN_MAX,
};
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// `GET /signin/forgot`: asks for the name, or says whom to ask where no mail is sent.
pub(crate) async fn form(mut ctx: Ctx) -> Response {
    if !ctx.desk.has_mail() {
        return whom_to_ask(&ctx).into();
    }
    forgot_page(&mut ctx, StatusCode::OK, None).into()
}

/// `POST /signin/forgot`: the same answer for every name.
pub(crate) async fn ask(mut ctx: Ctx, body: Body) -> Response {
    if !ctx.desk.has_mail() {
        return whom_to_ask(&ctx).into();
    }
    let fields = match ctx.form(Proof::Browser, &FORGOT_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let words = words(ctx.lang);
    match ctx.desk.forgot(fields.value("username")).await {
        ForgotStep::Taken => {
            let text = words.sent_text.to_owned();
            message(&ctx, StatusCode::OK, words.sent_title, text, "/signin").into()
        }
        ForgotStep::Throttled(wait) => {
            let text = throttled(&ctx, wait);
            let page = forgot_page(&mut ctx, StatusCode::TOO_MANY_REQUESTS, Some(text));
            page.retry_after(wait).into()
        }
    }
}

/// `GET /signin/reset/{token}`: moves the token out of the URL into a cookie.
pub(crate) async fn open(Path(token): Path<String>, ctx: Ctx) -> Response {
    if !csrf::is_opaque(&token) || ctx.desk.reset_user(&token).await.is_none() {
        return dead(&ctx).into();
    }
    let mut page = see_other("/signin/reset");
    answer::resetting(&mut page.0, &token);
    page.into()
}

/// `GET /signin/reset`: the form of the link this browser opened.
pub(crate) async fn reset_form(mut ctx: Ctx) -> Response {
    match opened(&ctx).await {
        Some((_, user)) => reset_page(&mut ctx, &user, StatusCode::OK, None).into(),
        None => dead(&ctx).into(),
    }
}

/// `POST /signin/reset`: the new password, twice.
pub(crate) async fn reset(mut ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Browser, &RESET_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let Some((token, user)) = opened(&ctx).await else {
        return dead(&ctx).into();
    };
    let new = Zeroizing::new(fields.value("password").to_owned());
    let step = if new.as_str() == fields.value("again") {
        Some(ctx.desk.reset(&token, new).await)
    } else {
        None
    };
    drop(fields);
    answer_to(&mut ctx, &user, step)
}

/// Answers a form; `None` stands for two passwords that differ.
fn answer_to(ctx: &mut Ctx, user: &str, step: Option<ResetStep>) -> Response {
    let t = ctx.t();
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    let (status, error, wait) = match step {
        Some(ResetStep::Done) => return done(ctx).into(),
        Some(ResetStep::Dead) => return dead(ctx).into(),
        Some(ResetStep::Unavailable) => return ctx.problem(Problem::Unavailable),
        None => (wrong, t.error_again.to_owned(), None),
        Some(ResetStep::Weak(weak)) => {
            let text = weak.text(t, ctx.desk.password_minimum());
            (wrong, text, None)
        }
        Some(ResetStep::Throttled(wait)) => {
            let text = throttled(ctx, wait);
            (StatusCode::TOO_MANY_REQUESTS, text, Some(wait))
        }
        Some(ResetStep::Overloaded) => {
            let text = t.error_busy.to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, text, Some(BUSY_WAIT))
        }
    };
    let page = reset_page(ctx, user, status, Some(error));
    match wait {
        Some(wait) => page.retry_after(wait).into(),
        None => page.into(),
    }
}

/// The token this browser holds, with its user, while it is good.
async fn opened(ctx: &Ctx) -> Option<(String, String)> {
    let token = ctx.desk.cookie(answer::RESET)?;
    let token = csrf::is_opaque(token).then(|| token.to_owned())?;
    let user = ctx.desk.reset_user(&token).await?;
    Some((token, user))
}

fn throttled(ctx: &Ctx, wait: Duration) -> String {
    let minutes = wait.as_secs().div_ceil(60).max(1);
    fill(ctx.t().error_throttled, "minutes", &minutes.to_string())
}

fn forgot_page(ctx: &mut Ctx, status: StatusCode, error: Option<String>) -> Page {
    let csrf = ctx.token(Proof::Browser);
    let view = views::Forgot {
        f: ctx.frame("/signin/forgot", true),
        words: words(ctx.lang),
        csrf,
        error,
    };
    let mut page = ctx.page(status, &view, Policy::Page);
    ctx.keep_nonce(&mut page);
    page
}

fn reset_page(ctx: &mut Ctx, user: &str, status: StatusCode, error: Option<String>) -> Page {
    let csrf = ctx.token(Proof::Browser);
    let minimum = ctx.desk.password_minimum();
    let view = views::Reset {
        f: ctx.scripted(ctx.frame("/signin/reset", true)),
        words: words(ctx.lang),
        csrf,
        user,
        rule: fill(ctx.t().enrol_rule, "min", &minimum.to_string()),
        minimum,
        error,
    };
    let mut page = ctx.page(status, &view, Policy::Script);
    ctx.keep_nonce(&mut page);
    page
}

fn whom_to_ask(ctx: &Ctx) -> Page {
    let words = words(ctx.lang);
    let text = match ctx.visit().contact.as_deref() {
        Some(contact) => fill(words.ask_contact, "contact", contact),
        None => words.ask_admin.to_owned(),
    };
    message(ctx, StatusCode::OK, words.title, text, "/signin/forgot")
}

fn done(ctx: &Ctx) -> Page {
    let words = words(ctx.lang);
    let text = words.done_text.to_owned();
    let mut page = message(ctx, StatusCode::OK, words.done_title, text, "/signin");
    answer::expire(&mut page.0, &[answer::RESET, answer::LOGIN]);
    page
}

fn dead(ctx: &Ctx) -> Page {
    let words = words(ctx.lang);
    let text = words.dead_text.to_owned();
    let mut page = message(
        ctx,
        StatusCode::NOT_FOUND,
        words.dead_title,
        text,
        "/signin/forgot",
    );
    answer::expire(&mut page.0, &[answer::RESET]);
    page
}

/// A page that says one thing and leads back to signing in; `path` shows it in another language.
fn message(
    ctx: &Ctx,
    status: StatusCode,
    heading: &'static str,
    text: String,
    path: &'static str,
) -> Page {
    let view = views::ForgotMessage {
        f: ctx.frame(path, true),
        heading,
        text,
        back: words(ctx.lang).back,
    };
    ctx.page(status, &view, Policy::Page)
}
