//! CORS preflights of callers not signed in, answered in an app's place where its policy says `preflight = true`.
//!
//! A browser sends a preflight without cookies, so no rule for people could ever let it through. The answer only tells
//! the browser that it may send the real request, which is decided like any other. It is given to pages of the
//! policy's own apps; pages of others, and for a tenant's app those of all but the tenant, get an answer without a
//! permission.
//!
//! Source: Fetch Standard, section "CORS protocol".

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};

use super::head::{self, Target};
use super::headers;
use crate::access::Caller;

/// How long a browser may keep the answer, in seconds.
const MAX_AGE: &str = "600";
/// The most request fields one preflight may ask for.
const MAX_ASKED: usize = 32;

/// Answers a preflight; `None` for all that is none, or is for the app to answer.
pub(crate) fn answer(
    policy: &policy::Policy,
    app: policy::AppIx,
    target: &Target,
    caller: &Caller,
    request: &http::request::Parts,
) -> Option<Response<Bytes>> {
    if !policy.app(app).preflight
        || caller.user().is_some()
        || request.method != http::Method::OPTIONS
    {
        return None;
    }
    let origin = one(&request.headers, &header::ORIGIN)?;
    let method = one(&request.headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let fields = response.headers_mut();
    fields.insert(
        header::VARY,
        headers::value("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    );
    fields.insert(header::CACHE_CONTROL, headers::value("no-store"));
    let asked = asked(&request.headers);
    if let (true, true, Some(asked)) = (
        is_own(policy, app, target, origin),
        head::is_method(method),
        asked,
    ) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, headers::value(origin));
        fields.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            headers::value("true"),
        );
        fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, headers::value(method));
        fields.insert(header::ACCESS_CONTROL_MAX_AGE, headers::value(MAX_AGE));
        if !asked.is_empty() {
            fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers::value(&asked));
        }
    }
    Some(response)
}

/// The text of a field that stands there exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(first)
}

/// Whether an origin is that of an app of the same owner, by https and on the port this request came by.
fn is_own(policy: &policy::Policy, app: policy::AppIx, target: &Target, origin: &str) -> bool {
    let Some(authority) = origin.strip_prefix("https://") else {
        return false;
    };
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (authority, None),
    };
    let same_port = port.map(str::to_owned) == target.port.map(|port| port.to_string());
    let host = policy::canon::host(name)
        .ok()
        .filter(|host| host.as_str() == name);
    let owner = |app| policy.app(app).tenant();
    let of = host.and_then(|host| policy.app_for(&host));
    same_port && of.is_some_and(|of| owner(of) == owner(app))
}

/// The request fields a preflight asks for, in lower case and joined by `, `; `None` for more than a list of a few
/// names.
fn asked(headers: &HeaderMap) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for line in headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        for word in line.to_str().ok()?.split(',') {
            let word = word.trim();
            if word.is_empty() {
                continue;
            }
            let name: HeaderName = word.parse().ok()?;
            names.push(name.as_str().to_owned());
        }
    }
    (names.len() <= MAX_ASKED).then(|| names.join(", "))
}

#[cfg(test)]
mod tests;
