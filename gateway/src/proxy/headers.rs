//! Header fields across the gateway: what is dropped, what is set.
//!
//! Source: RFC 9110 section 7.6.1; security.md R-AZ-12..17, R-PX-26..28.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora_error::Result;

use super::pep::internal;
use crate::ids::{is_request_id, label};

/// Names (folded) that only the gateway may set towards an app.
const IDENTITY: [&str; 17] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-original-url",
    "x-original-uri",
    "x-original-method",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-ssl-client-verify",
    "proxy",
    "proxy-authorization",
];

const IDENTITY_PREFIXES: [&str; 6] = [
    "x-postern-",
    "x-forwarded-",
    "x-auth-",
    "x-authenticated-",
    "remote-",
    "x-remote-",
];

/// Tells whether a request field must not come from a client: an identity or forwarding name,
/// or any name with other than letters, digits and `-`, such as `X_A` and `X.A`, which some servers read as `X-A`.
pub(crate) fn is_reserved(name: &str) -> bool {
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return true;
    }
    let begins = |with: &&str| {
        let start = name.get(..with.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    IDENTITY.iter().any(|own| name.eq_ignore_ascii_case(own))
        || IDENTITY_PREFIXES.iter().any(begins)
}

/// Lists the fields of a request that must not reach an app: reserved ones, and those of any header set of the root or
/// of the app's tenant, whichever set the app gets.
pub(crate) fn reserved_in(
    headers: &HeaderMap,
    policy: &policy::Policy,
    app: policy::AppIx,
) -> Vec<HeaderName> {
    headers
        .keys()
        .filter(|name| is_reserved(name.as_str()) || policy.owns_header(app, name.as_str()))
        .cloned()
        .collect()
}

/// Tells whether Connection has a word, in whichever of its lines. Source: RFC 9110 section 7.6.1.
pub(crate) fn connection_says(headers: &HeaderMap, wanted: &str) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter();
    let mut words = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    words.any(|word| word.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}

/// Fields of an app's answer that only the gateway or nobody may send, or that end at this hop (RFC 9110 section 7.6.1).
pub(crate) const ANSWER_DROPPED: [&str; 18] = [
    "alt-svc",
    "clear-site-data",
    "public-key-pins",
    "public-key-pins-report-only",
    "strict-transport-security",
    "x-accel-redirect",
    "x-accel-buffering",
    "x-accel-charset",
    "x-accel-expires",
    "x-accel-limit-rate",
    "x-sendfile",
    "x-powered-by",
    "server",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "keep-alive",
    "te",
];

/// The `base` preset: each exactly once on every answer of an app, an app's own value kept
/// where it sets one.
pub(crate) const BASE: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("x-frame-options", "SAMEORIGIN"),
];

/// Writes the HSTS value; sub-domains are included from one day on.
/// Source: RFC 6797 section 6.1.
pub(crate) fn hsts(seconds: u64) -> String {
    if seconds >= 86_400 {
        format!("max-age={seconds}; includeSubDomains")
    } else {
        format!("max-age={seconds}")
    }
}

/// Draws the name of a request that came with none of its own: 127 bits at random. It begins with a letter, so that a
/// command takes it for no option.
pub(super) fn new_request_id() -> String {
    let mut drawn = label::<16>();
    let [first, ..] = &mut drawn;
    *first &= 0x7f;
    BASE64URL_NOPAD.encode(&drawn)
}

/// Reads a client's request id if it is one, and only one.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(&X_REQUEST_ID).iter();
    let (id, None) = (lines.next()?.to_str().ok()?, lines.next()) else {
        return None;
    };
    is_request_id(id).then(|| id.to_owned())
}

/// Reads where in a trace a client says that its request stands, written as version 00; more than one place is none.
/// Source: W3C Trace Context, section 3.2.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(&TRACEPARENT).iter();
    let (line, None) = (lines.next()?.to_str().ok()?, lines.next()) else {
        return None;
    };
    let hex = |text: &str, digits: usize| {
        let known = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        text.len() == digits && text.bytes().all(known)
    };
    let named = |text: &str, digits: usize| hex(text, digits) && text.bytes().any(|b| b != b'0');
    let mut parts = line.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let (parent, flags) = (parts.next()?, parts.next()?);
    // what a later version adds comes behind another hyphen
    let whole = version != "00" || parts.next().is_none();
    let sound = hex(version, 2) && version != "ff" && hex(flags, 2);
    (sound && whole && named(trace, 32) && named(parent, 16))
        .then(|| format!("00-{trace}-{parent}-{flags}"))
}

/// Begins a trace that nobody has to record.
pub(crate) fn new_trace() -> String {
    let mut place = String::with_capacity(55);
    place.push_str("00-");
    HEXLOWER.encode_append(&label::<16>(), &mut place);
    place.push('-');
    HEXLOWER.encode_append(&label::<8>(), &mut place);
    place.push_str("-00");
    place
}

/// The field that says where in a trace a request stands...
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// ...and the one that means nothing without it.
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

// what apps and clients are told; names that are read once cost no request anything
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(crate) const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const X_POSTERN_RULE: HeaderName = HeaderName::from_static("x-postern-rule");
pub(crate) const X_POSTERN_USER: HeaderName = HeaderName::from_static("x-postern-user");
pub(crate) const X_POSTERN_GROUPS: HeaderName = HeaderName::from_static("x-postern-groups");
pub(crate) const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
pub(crate) const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
pub(crate) const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Makes a header value of text that is known to be clean; empty if it is not.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// Makes the value of a field of a text.
///
/// # Errors
/// A text that no field may hold, which does not occur in practice.
pub(super) fn field(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| internal("value"))
}

#[cfg(test)]
mod tests {
    use super::{hsts, is_reserved, new_request_id, new_trace, request_id, traceparent};
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn a_place_in_a_trace_is_kept_if_it_is_one_and_a_new_one_is_one() {
        let read = |lines: &[&str]| {
            let mut map = HeaderMap::new();
            for line in lines {
                map.append("traceparent", HeaderValue::from_str(line).unwrap());
            }
            traceparent(&map)
        };
        let sound = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(read(&[sound]).as_deref(), Some(sound));
        let later = sound.replacen("00-", "cc-", 1) + "-what-comes-later";
        assert_eq!(read(&[&later]).as_deref(), Some(sound));
        let new = new_trace();
        assert_eq!(read(&[&new]), Some(new.clone()));
        assert_ne!(new, new_trace());
        let zeros = |n: usize| "0".repeat(n);
        for bad in [
            String::new(),
            sound.replacen("00-", "ff-", 1),
            sound.replacen("00-", "0-", 1),
            sound.to_uppercase(),
            format!("{sound}-more"),
            format!("{sound} "),
            sound.replace("-01", ""),
            sound.replace("-01", "-1"),
            sound.replace("0af7651916cd43dd8448eb211c80319c", &zeros(32)),
            sound.replace("b7ad6b7169203331", &zeros(16)),
            sound.replace("b7ad", "b7a"),
            sound.replace("b7ad", "b7ag"),
        ] {
            assert_eq!(read(&[&bad]), None, "{bad}");
        }
        assert_eq!(read(&[sound, sound]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn identity_names_and_their_twins_are_reserved() {
        for name in [
            "X-Postern-User",
            "x_postern_user",
            "X-Forwarded-For",
            "x-forwarded-host",
            "Forwarded",
            "X-Real-IP",
            "remote-user",
            "x-auth-request-email",
            "x-original-url",
            "X-HTTP-Method-Override",
            "any_name",
            "X.Postern.User",
            "x-forwarded.for",
            "x~real~ip",
            "remote+user",
        ] {
            assert!(is_reserved(name), "{name}");
        }
    }

    #[test]
    fn ordinary_names_pass() {
        for name in [
            "accept",
            "authorization",
            "x-csrf-token",
            "content-type",
            "x-request-id",
            "x-2fa",
        ] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn a_request_id_that_is_drawn_is_one_and_looks_like_no_option() {
        for _ in 0..1_000 {
            let id = new_request_id();
            let letter = id.starts_with(|c: char| c.is_ascii_alphabetic());
            assert!(letter && crate::ids::is_request_id(&id), "{id}");
        }
    }

    #[test]
    fn a_request_id_is_kept_if_it_is_one() {
        let given = |v| request_id(&map(&[("x-request-id", v)]));
        assert_eq!(given("abcdef-123").as_deref(), Some("abcdef-123"));
        assert_eq!(given("short"), None);
        assert_eq!(given("bad id with blanks"), None);
        let mut two = map(&[("x-request-id", "abcdef-123")]);
        two.append("x-request-id", HeaderValue::from_static("abcdef-124"));
        assert_eq!(request_id(&two), None);
    }

    #[test]
    fn hsts_of_a_trial_names_no_subdomains() {
        assert_eq!(hsts(300), "max-age=300");
        assert_eq!(hsts(63_072_000), "max-age=63072000; includeSubDomains");
    }
}
