//! Errors of the directory's client as causes of the plan.

use std::error::Error as _;

use certs::plan::{Cause, Failure};
use instant_acme::{Error, Problem};

use super::transport::Heard;

/// Turns an error of a client into a failure, with the wish of its directory.
pub(super) fn of(error: &Error, heard: &Heard) -> Failure {
    let mut failure = match error {
        Error::Api(problem) => of_problem(problem),
        Error::Timeout(_) => Failure::new(Cause::Slow, error.to_string()),
        Error::Crypto | Error::KeyRejected => Failure::new(Cause::Account, error.to_string()),
        Error::Str(_) | Error::Unsupported(_) => Failure::new(Cause::Server, error.to_string()),
        Error::Http(_) | Error::InvalidUri(_) | Error::Json(_) | Error::Other(_) | _ => {
            Failure::new(by_status(heard.status()), chain(error))
        }
    };
    failure.retry_after = heard.retry_after();
    failure
}

/// Turns a directory's problem into a failure.
pub(super) fn of_problem(problem: &Problem) -> Failure {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let detail = problem.detail.as_deref().unwrap_or(kind);
    let mut text = detail.to_owned();
    for part in &problem.subproblems {
        text.push_str("; ");
        text.push_str(&part.to_string());
    }
    let mut cause = Cause::of_problem(kind);
    // some directories say so of names that have no address
    if cause == Cause::Connection && unresolved(detail) {
        cause = Cause::Dns;
    }
    Failure::new(cause, text)
}

fn unresolved(detail: &str) -> bool {
    ["could not resolve", "no such host", "NXDOMAIN", "SERVFAIL"]
        .iter()
        .any(|words| detail.contains(words))
}

/// Tells whether the directory has forgotten the account.
pub(super) fn is_forgotten(error: &Error) -> bool {
    is_problem(error, "accountDoesNotExist")
}

/// Tells whether the directory refused a number that it had just given.
pub(super) fn is_bad_nonce(error: &Error) -> bool {
    is_problem(error, "badNonce")
}

/// Tells whether an order may have been refused because it named the one it follows: anything but
/// what would befall it without that as well.
pub(super) fn may_be_of_replaces(error: &Error) -> bool {
    let others = [
        "badNonce",
        "rateLimited",
        "accountDoesNotExist",
        "serverInternal",
    ];
    if matches!(error, Error::Api(_)) {
        return !others.iter().any(|name| is_problem(error, name));
    }
    // the second is an answer that does not name it in turn
    matches!(error, Error::Unsupported(_)) || error.to_string().starts_with("replaces ")
}

fn is_problem(error: &Error, name: &str) -> bool {
    let Error::Api(problem) = error else {
        return false;
    };
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.strip_prefix("urn:ietf:params:acme:error:") == Some(name)
}

/// An answer that is none of the protocol is known by its status alone.
fn by_status(status: u16) -> Cause {
    match status {
        429 => Cause::RateLimited,
        500.. => Cause::Server,
        _ => Cause::Unreachable,
    }
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use certs::plan::Cause;
    use instant_acme::{Error, Problem};

    use super::super::transport::Heard;
    use super::{by_status, of_problem};

    fn problem(kind: &str, detail: &str) -> Problem {
        let json = serde_json::json!({
            "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_error_of_the_client_is_a_cause() {
        let heard = Heard::default();
        let of = |error: Error| super::of(&error, &heard).cause;
        assert_eq!(of(Error::Timeout(None)), Cause::Slow);
        assert_eq!(of(Error::Str("no Location")), Cause::Server);
        assert_eq!(of(Error::Crypto), Cause::Account);
        assert_eq!(of(Error::Api(problem("caa", ""))), Cause::Caa);
        let json = serde_json::from_str::<u8>("<html>").unwrap_err();
        assert_eq!(of(Error::Json(json)), Cause::Unreachable);
    }

    #[test]
    fn a_connection_that_failed_for_want_of_an_address_is_the_dns() {
        let of = |detail: &str| of_problem(&problem("connection", detail)).cause;
        assert_eq!(of("lookup a.test: no such host"), Cause::Dns);
        assert_eq!(of("connection refused"), Cause::Connection);
    }

    #[test]
    fn an_answer_that_is_none_of_the_protocol_is_known_by_its_status() {
        assert_eq!(by_status(429), Cause::RateLimited);
        assert_eq!(by_status(502), Cause::Server);
        assert_eq!(by_status(404), Cause::Unreachable);
    }
}
