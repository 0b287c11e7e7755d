//! The gateway's own pages: sign-in, portal, account, enrolment, and every error page.

mod accept;
mod account;
mod again;
mod answer;
mod assets;
mod ca;
mod codes;
mod csrf;
mod ctx;
mod desk;
mod device_views;
mod devices;
mod enrol;
mod forgot;
mod form;
mod lang;
mod notices;
mod portal;
mod problem;
mod proofs;
mod qr;
mod recovery;
mod signin;
mod texts;
mod token_views;
mod tokens;
mod views;
mod why;

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use axum::routing::{get, post};

pub(crate) use accept::{is_kept_form, may_redirect, wants_html};
pub(crate) use answer::{Policy, json};
pub(crate) use assets::{SCRIPT_VERSION as SCRIPT, VERSION as STYLE};
pub(crate) use csrf::is_same_origin;
pub(crate) use ctx::{Ctx, Proof, SharedDesk, see_other};
pub(crate) use desk::devices::{DeviceDesk, DeviceFault, DeviceView, NewConfig};
pub(crate) use desk::proofs::{Ending, Held, KeptForm, ProofDesk, Said, Watch, Wondering};
pub(crate) use desk::tokens::{MadeToken, TokenApp, TokenDesk, TokenFault, TokenView, WantedToken};
pub(crate) use desk::{
    App, Ask, ChangeStep, Credentials, Desk, DeviceLine, DeviceState, EnrolStep, Enrolment,
    FirstStep, ForgotStep, Here, Person, RecoveryStep, ResetStep, SecondStep, SessionRow, Visit,
    Weakness,
};
pub(crate) use form::{FORM_MAX, Fields, Spec, decode, parse};
pub(crate) use lang::Lang;
pub(crate) use notices::text as notice_text;
pub(crate) use problem::{Detail, Problem, language, problem};
pub(crate) use texts::{Texts, fill};
pub(crate) use views::minute;

/// The routes of the sign-in host; each request needs its desk as an extension.
pub(crate) fn sign_in_host() -> Router {
    let routes = Router::new()
        .route("/", get(portal::portal))
        .route("/signin", get(signin::form).post(signin::password))
        .route("/signin/code", get(signin::code_form).post(signin::code))
        .route("/signin/recovery", get(recovery::form).post(recovery::code))
        .route("/signin/forgot", get(forgot::form).post(forgot::ask))
        .route("/signin/reset", get(forgot::reset_form).post(forgot::reset))
        .route("/signin/reset/{token}", get(forgot::open))
        .route(
            "/signin/step-up",
            get(signin::step_up_form).post(signin::step_up),
        )
        .route("/signin/reason", get(why::form).post(why::give))
        .route("/signin/device", get(proofs::form).post(proofs::prove))
        .route("/signin/device/key", post(proofs::key))
        .route("/signin/device/proof", post(proofs::signature))
        .route("/signout", post(portal::sign_out))
        .route("/account", get(account::account))
        .route("/account/end", post(account::end))
        .route("/account/end-others", post(account::end_others))
        .route("/account/end-all", post(account::end_all))
        .route("/account/notice", post(account::dismiss))
        .route("/account/extend", post(proofs::extend))
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
        .route("/account/devices", get(devices::list))
        .route("/account/devices/change", get(devices::change))
        .route("/account/devices/rename", post(devices::rename))
        .route("/account/devices/revoke", post(devices::revoke))
        .route(
            "/account/devices/add",
            get(devices::add_form).post(devices::add),
        )
        .route("/account/tokens", get(tokens::list))
        .route("/account/tokens/revoke", post(tokens::revoke))
        .route(
            "/account/tokens/make",
            get(tokens::make_form).post(tokens::make),
        )
        .route("/.postern/devices.js", get(key_maker))
        .route("/.postern/watch.js", get(watch))
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
    let routes = Router::new().route(
        "/.postern/signout",
        get(portal::leave_form).post(portal::leave_app),
    );
    finished(routes.route("/.postern/again", get(again::page)))
}

/// Adds what every kind of host has, and the last word on headers.
pub(crate) fn finished(routes: Router) -> Router {
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

async fn key_maker(RawQuery(query): RawQuery) -> Response {
    assets::key_maker(query.as_deref()).map(Body::from)
}

async fn watch(RawQuery(query): RawQuery) -> Response {
    assets::watch(query.as_deref()).map(Body::from)
}

async fn icon() -> Response {
    assets::icon().map(Body::from)
}

async fn hardened(mut answer: Response) -> Response {
    answer::harden(answer.headers_mut());
    answer
}

#[cfg(test)]
pub(crate) mod tests;
