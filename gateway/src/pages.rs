//! The gateway's own pages: sign-in, portal, account, enrolment, and every error page.

mod accept;
mod account;
mod answer;
mod assets;
mod ca;
mod codes;
mod csrf;
mod ctx;
mod desk;
mod enrol;
mod form;
mod lang;
mod notices;
mod portal;
mod problem;
mod qr;
mod recovery;
mod signin;
mod texts;
mod views;

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use axum::routing::{get, post};

pub(crate) use accept::may_redirect;
pub(crate) use ctx::SharedDesk;
pub(crate) use desk::{
    App, Ask, ChangeStep, Credentials, Desk, DeviceLine, DeviceState, EnrolStep, Enrolment,
    FirstStep, Here, Person, RecoveryStep, SecondStep, SessionRow, Visit, Weakness,
};
pub(crate) use problem::{Detail, Problem, language, problem};

/// The routes of the sign-in host; each request needs its desk as an extension.
pub(crate) fn sign_in_host() -> Router {
    let routes = Router::new()
        .route("/", get(portal::portal))
        .route("/signin", get(signin::form).post(signin::password))
        .route("/signin/code", get(signin::code_form).post(signin::code))
        .route("/signin/recovery", get(recovery::form).post(recovery::code))
        .route(
            "/signin/step-up",
            get(signin::step_up_form).post(signin::step_up),
        )
        .route("/signout", post(portal::sign_out))
        .route("/account", get(account::account))
        .route("/account/end", post(account::end))
        .route("/account/end-others", post(account::end_others))
        .route("/account/end-all", post(account::end_all))
        .route("/account/notice", post(account::dismiss))
        .route("/account/confirm", post(account::confirm))
        .route(
            "/account/password",
            get(account::password_form).post(account::password),
        )
        .route("/account/app", get(account::app_form).post(account::app))
        .route(
            "/account/codes",
            get(account::codes_form).post(account::codes),
        )
        .route("/ca", get(ca::page))
        .route("/ca/root.pem", get(ca::pem))
        .route("/ca/root.crt", get(ca::der))
        .route("/enrol", get(enrol::form).post(enrol::finish))
        .route(
            "/enrol/{token}",
            get(enrol::open).post(enrol::finish_by_link),
        )
        .route("/postern.css", get(stylesheet));
    finished(routes)
}

/// The routes under `/.postern/` of an application's host.
pub(crate) fn app_host() -> Router {
    let signout = get(portal::leave_form).post(portal::leave_app);
    finished(Router::new().route("/.postern/signout", signout))
}

/// Adds what both kinds of host have, and the last word on headers.
fn finished(routes: Router) -> Router {
    routes
        .route("/.postern/postern.css", get(stylesheet))
        .route("/.postern/pages.js", get(script))
        .route("/.postern/icon.svg", get(icon))
        .fallback(ctx::not_found)
        .method_not_allowed_fallback(ctx::wrong_method)
        .layer(axum::middleware::map_response(hardened))
}

async fn stylesheet(RawQuery(query): RawQuery) -> Response {
    assets::stylesheet(query.as_deref()).map(Body::from)
}

async fn script(RawQuery(query): RawQuery) -> Response {
    assets::script(query.as_deref()).map(Body::from)
}

async fn icon() -> Response {
    assets::icon().map(Body::from)
}

async fn hardened(mut answer: Response) -> Response {
    answer::harden(answer.headers_mut());
    answer
}

#[cfg(test)]
mod tests;
