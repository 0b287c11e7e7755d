//! Refusals and errors, each as a page and as its JSON twin.

use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use serde_json::json;

use super::answer::{self, Policy};
use super::lang::{Lang, Wishes};
use super::texts::{Texts, fill};
use super::{accept, assets};

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// 400: not readable without doubt.
    BadRequest,
    /// 401: nobody is signed in.
    SignInNeeded,
    /// 401: a fresh code is needed.
    StepUpNeeded,
    /// 403: somebody signed in must say why they come.
    ReasonNeeded,
    /// 403: the policy says no.
    Denied,
    /// 403: a form without its proof.
    FormRefused,
    /// 404: nothing here, or nothing to be seen.
    NotFound,
    /// 405: not by this method.
    MethodNotAllowed,
    /// 408: a body that comes too slowly.
    TooSlow,
    /// 413: too many bytes.
    TooLarge,
    /// 414: a target of too many bytes.
    TargetTooLong,
    /// 415: not a form of ours.
    UnsupportedType,
    /// 417: something else than a 100 is expected, or one without a body.
    BadExpectation,
    /// 421: the connection is for another host.
    Misdirected,
    /// 429: too often.
    TooManyRequests,
    /// 431: too many fields.
    HeadTooLarge,
    /// 500: a fault of ours.
    Internal,
    /// 502: the application gave no usable answer.
    BadUpstream,
    /// 502: there is no way to the application.
    Unreachable,
    /// 503: not now.
    Unavailable,
    /// 503: the application can take nothing now.
    AppBusy,
    /// 503: the application is being worked on.
    Maintenance,
    /// 504: the application took too long.
    UpstreamTimeout,
}

impl Problem {
    /// Every problem, for tables and tests.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 23] = [
        Self::BadRequest,
        Self::SignInNeeded,
        Self::StepUpNeeded,
        Self::ReasonNeeded,
        Self::Denied,
        Self::FormRefused,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::TooSlow,
        Self::TooLarge,
        Self::TargetTooLong,
        Self::UnsupportedType,
        Self::BadExpectation,
        Self::Misdirected,
        Self::TooManyRequests,
        Self::HeadTooLarge,
        Self::Internal,
        Self::BadUpstream,
        Self::Unreachable,
        Self::Unavailable,
        Self::AppBusy,
        Self::Maintenance,
        Self::UpstreamTimeout,
    ];

    /// Returns the status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::SignInNeeded | Self::StepUpNeeded => StatusCode::UNAUTHORIZED,
            Self::ReasonNeeded | Self::Denied | Self::FormRefused => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::UnsupportedType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadExpectation => StatusCode::EXPECTATION_FAILED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadUpstream | Self::Unreachable => StatusCode::BAD_GATEWAY,
            Self::Unavailable | Self::AppBusy | Self::Maintenance => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Names the problem as JSON answers write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::SignInNeeded => "sign-in-needed",
            Self::StepUpNeeded => "step-up-needed",
            Self::ReasonNeeded => "reason-needed",
            Self::Denied => "denied",
            Self::FormRefused => "form-refused",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::TooSlow => "too-slow",
            Self::TooLarge => "too-large",
            Self::TargetTooLong => "target-too-long",
            Self::UnsupportedType => "unsupported-type",
            Self::BadExpectation => "bad-expectation",
            Self::Misdirected => "misdirected",
            Self::TooManyRequests => "too-many-requests",
            Self::HeadTooLarge => "head-too-large",
            Self::Internal => "internal",
            Self::BadUpstream => "bad-upstream",
            Self::Unreachable => "app-unreachable",
            Self::AppBusy => "app-busy",
            Self::Unavailable => "unavailable",
            Self::Maintenance => "maintenance",
            Self::UpstreamTimeout => "upstream-timeout",
        }
    }

    fn texts(self, t: &Texts) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest | Self::TargetTooLong | Self::BadExpectation | Self::HeadTooLarge => {
                (t.bad_request_title, t.bad_request_text)
            }
            Self::SignInNeeded => (t.sign_in_needed_title, t.sign_in_needed_text),
            Self::StepUpNeeded => (t.step_up_needed_title, t.step_up_needed_text),
            Self::ReasonNeeded => (t.reason_needed_title, t.reason_needed_text),
            Self::Denied => (t.denied_title, t.denied_text),
            Self::FormRefused => (t.form_refused_title, t.form_refused_text),
            Self::NotFound => (t.not_found_title, t.not_found_text),
            Self::MethodNotAllowed => (t.method_title, t.method_text),
            Self::TooSlow => (t.too_slow_title, t.too_slow_text),
            Self::TooLarge => (t.too_large_title, t.too_large_text),
            Self::UnsupportedType => (t.type_title, t.type_text),
            Self::Misdirected => (t.misdirected_title, t.misdirected_text),
            Self::TooManyRequests => (t.too_many_title, t.too_many_text),
            Self::Internal => (t.internal_title, t.internal_text),
            Self::BadUpstream => (t.bad_upstream_title, t.bad_upstream_text),
            Self::Unreachable => (t.unreachable_title, t.unreachable_text),
            Self::AppBusy => (t.app_busy_title, t.app_busy_text),
            Self::Unavailable => (t.unavailable_title, t.unavailable_text),
            Self::Maintenance => (t.maintenance_title, t.maintenance_text),
            Self::UpstreamTimeout => (t.upstream_timeout_title, t.upstream_timeout_text),
        }
    }
}

/// What an error answer says besides its kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Detail<'a> {
    /// The request id.
    pub(crate) request_id: &'a str,
    /// The code of the rule (`D-xxxx`); leave it out where the answer must not tell.
    pub(crate) code: Option<&'a str>,
    /// Where to sign in or to give a fresh code.
    pub(crate) sign_in: Option<&'a str>,
    /// Whom to ask, from the configuration.
    pub(crate) contact: Option<&'a str>,
    /// How long to wait; becomes `Retry-After` in whole seconds, rounded up.
    pub(crate) retry_after: Option<Duration>,
}

/// Makes the answer to a problem: a page if the request wants one, else JSON.
pub(crate) fn problem(
    kind: Problem,
    lang: Lang,
    headers: &HeaderMap,
    detail: &Detail<'_>,
) -> Response<Bytes> {
    let mut answer = if accept::wants_html(headers) {
        page(kind, lang, detail)
    } else {
        twin(kind, detail)
    };
    if let Some(wait) = detail.retry_after {
        let value = HeaderValue::from(seconds(wait));
        answer.headers_mut().insert(RETRY_AFTER, value);
    }
    answer
}

/// Chooses the language of an error answer from the headers of its request.
pub(crate) fn language(headers: &HeaderMap, cookie: Option<&str>, setting: Option<&str>) -> Lang {
    let accept = headers.get(http::header::ACCEPT_LANGUAGE);
    let wishes = Wishes {
        query: None,
        cookie,
        setting,
        accept: accept.and_then(|v| v.to_str().ok()),
    };
    wishes.choose()
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    lang: Lang,
    t: &'static Texts,
    css: &'static str,
    status: u16,
    heading: &'static str,
    text: &'static str,
    wait: Option<String>,
    sign_in: Option<&'a str>,
    code: Option<&'a str>,
    request_id: &'a str,
    contact: Option<&'a str>,
    asks: bool,
}

fn page(kind: Problem, lang: Lang, detail: &Detail<'_>) -> Response<Bytes> {
    let t = lang.texts();
    let (heading, text) = kind.texts(t);
    let view = ProblemPage {
        lang,
        t,
        css: assets::BASE,
        status: kind.status().as_u16(),
        heading,
        text,
        wait: detail
            .retry_after
            .map(|w| fill(t.problem_wait, "seconds", &seconds(w).to_string())),
        sign_in: detail.sign_in,
        code: detail.code,
        request_id: detail.request_id,
        contact: detail.contact,
        asks: kind == Problem::Denied,
    };
    let body = view.render().unwrap_or_else(|_| heading.to_owned());
    answer::html(kind.status(), body, Policy::Inline(&assets::BASE_HASH))
}

fn twin(kind: Problem, detail: &Detail<'_>) -> Response<Bytes> {
    let mut value = json!({"error": kind.name(), "request_id": detail.request_id});
    if let Some(map) = value.as_object_mut() {
        if let Some(code) = detail.code {
            map.insert("code".to_owned(), code.into());
        }
        if let Some(url) = detail.sign_in {
            map.insert("sign_in".to_owned(), url.into());
        }
    }
    answer::json(kind.status(), &value)
}

/// Rounds a wait up to whole seconds, at least one.
fn seconds(wait: Duration) -> u64 {
    let more = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(more).max(1)
}

#[cfg(test)]
mod tests;
