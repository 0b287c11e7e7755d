//! The person's own tokens for apps: list, make, revoke.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

use super::account::{Act, confirm_page, confirmed};
use super::answer::Policy;
use super::ctx::{Ctx, Page, Proof, see_other};
use super::desk::Person;
use super::desk::tokens::{MadeToken, TokenFault, WantedToken};
use super::form::{FORM_MAX, SIGN_IN_MAX, Spec};
use super::portal::stranger;
use super::problem::Problem;
use super::texts::fill;
use super::token_views as views;
use crate::ids::TokenId;

const LIST: &str = "/account/tokens";
const MAKE_FORM: Spec = Spec {
    required: &["app", "name", "days"],
    optional: &[],
    limit: SIGN_IN_MAX,
};
const REVOKE_FORM: Spec = Spec {
    required: &["token"],
    optional: &[],
    limit: FORM_MAX,
};

/// `GET /account/tokens`: the person's tokens.
pub(crate) async fn list(ctx: Ctx) -> Response {
    match ctx.person() {
        Some(person) => list_page(&ctx, person, StatusCode::OK, None).into(),
        None => stranger(&ctx),
    }
}

/// `GET /account/tokens/make`: the form, once password and code were given.
pub(crate) async fn make_form(ctx: Ctx) -> Response {
    match confirmed(&ctx, Act::MakeToken, StatusCode::OK) {
        Ok(person) => make_page(&ctx, person, StatusCode::OK, &Asked::default()).into(),
        Err(instead) => *instead,
    }
}

/// `POST /account/tokens/make`: makes a token and shows it, once.
pub(crate) async fn make(ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Session, &MAKE_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let person = match confirmed(&ctx, Act::MakeToken, StatusCode::FORBIDDEN) {
        Ok(person) => person,
        Err(instead) => return *instead,
    };
    let Ok(days) = fields.value("days").parse() else {
        return ctx.problem(Problem::BadRequest);
    };
    let (app, name) = (fields.value("app"), fields.value("name").trim());
    let wanted = WantedToken { app, name, days };
    let fault = match ctx.desk.make_token(&wanted).await {
        Ok(made) => return made_page(&ctx, person, &made).into(),
        Err(fault) => fault,
    };
    if fault == TokenFault::NotConfirmed {
        return confirm_page(&ctx, person, Act::MakeToken, status(fault), None).into();
    }
    if fault == TokenFault::Unavailable {
        return ctx.problem(Problem::Unavailable);
    }
    let asked = Asked {
        app,
        name,
        error: Some(text(&ctx, fault)),
    };
    make_page(&ctx, person, status(fault), &asked).into()
}

/// `POST /account/tokens/revoke`: a token counts no longer.
pub(crate) async fn revoke(ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Session, &REVOKE_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let Some(person) = ctx.person() else {
        return ctx.problem(Problem::FormRefused);
    };
    let Ok(token) = fields.value("token").parse::<TokenId>() else {
        return ctx.problem(Problem::BadRequest);
    };
    match ctx.desk.revoke_token(token).await {
        Ok(()) => see_other(LIST).into(),
        Err(TokenFault::Unavailable) => ctx.problem(Problem::Unavailable),
        Err(fault) => {
            let error = Some(text(&ctx, fault));
            list_page(&ctx, person, status(fault), error).into()
        }
    }
}

/// What stands in the form for a token.
#[derive(Default)]
struct Asked<'a> {
    app: &'a str,
    name: &'a str,
    error: Option<String>,
}

fn status(fault: TokenFault) -> StatusCode {
    match fault {
        TokenFault::NotConfirmed => StatusCode::FORBIDDEN,
        TokenFault::Unknown => StatusCode::NOT_FOUND,
        TokenFault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        TokenFault::BadName
        | TokenFault::NameTaken
        | TokenFault::TooMany(_)
        | TokenFault::NoApp => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn text(ctx: &Ctx, fault: TokenFault) -> String {
    let d = ctx.lang.token_texts();
    let text = match fault {
        TokenFault::NotConfirmed => ctx.t().confirm_lead,
        TokenFault::BadName => d.error_name,
        TokenFault::NameTaken => d.error_name_taken,
        TokenFault::TooMany(count) => return fill(d.error_many, "count", &count.to_string()),
        TokenFault::NoApp => d.error_app,
        TokenFault::Unknown => d.error_unknown,
        TokenFault::Unavailable => ctx.t().unavailable_text,
    };
    text.to_owned()
}

fn list_page(ctx: &Ctx, person: &Person, status: StatusCode, error: Option<String>) -> Page {
    let view = views::Tokens {
        f: ctx.frame_of(person, LIST),
        d: ctx.lang.token_texts(),
        csrf: ctx.session_token(),
        can_make: !ctx.desk.token_apps().is_empty(),
        tokens: ctx.desk.own_tokens(),
        error,
    };
    ctx.page(status, &view, Policy::Page)
}

fn make_page(ctx: &Ctx, person: &Person, status: StatusCode, asked: &Asked<'_>) -> Page {
    let view = views::TokenMake {
        f: ctx.frame_of(person, Act::MakeToken.path()),
        d: ctx.lang.token_texts(),
        csrf: ctx.session_token(),
        apps: ctx.desk.token_apps(),
        app: asked.app,
        name: asked.name,
        error: asked.error.clone(),
    };
    ctx.page(status, &view, Policy::Page)
}

fn made_page(ctx: &Ctx, person: &Person, made: &MadeToken) -> Page {
    let mut frame = ctx.frame_of(person, Act::MakeToken.path());
    // Shown again in another language it would be the empty form.
    frame.switch = false;
    let view = views::TokenMade {
        f: frame,
        d: ctx.lang.token_texts(),
        made,
    };
    ctx.page(StatusCode::OK, &view, Policy::Page)
}
