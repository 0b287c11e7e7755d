//! Proof that a form came from a page of ours: a token and the browser's word on the origin.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::header::ORIGIN;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Says whether the browser vouches that the request comes from `authority` itself:
/// `Origin` is our own, or it is absent and `Sec-Fetch-Site` is `same-origin`; neither contradicts.
pub(crate) fn is_same_origin(headers: &HeaderMap, authority: &str) -> bool {
    let own = format!("https://{}", authority.trim_end_matches(":443"));
    let origin = single(headers, ORIGIN.as_str());
    let site = single(headers, "sec-fetch-site");
    match (origin, site) {
        (Line::One(origin), Line::Absent) => origin == own,
        (Line::One(origin), Line::One(site)) => origin == own && site == "same-origin",
        (Line::Absent, Line::One(site)) => site == "same-origin",
        (Line::Absent, Line::Absent) | (Line::Many, _) | (_, Line::Many) => false,
    }
}

/// Makes the token of a form: bound to `secret` (a session's, or the pages' own key), to the host
/// it is shown on, and to the nonce of a browser that is not signed in yet.
///
/// The host is part of it so that an application, which shares its origin with our sign-out page
/// there, never holds a token that the portal takes.
pub(crate) fn token(secret: &[u8], host: &str, nonce: &str) -> String {
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret) else {
        return String::new();
    };
    mac.update(b"postern form\0");
    mac.update(host.as_bytes());
    mac.update(b"\0");
    mac.update(nonce.as_bytes());
    BASE64URL_NOPAD.encode(&mac.finalize().into_bytes())
}

/// Compares a token with the right one in constant time; an empty one is never right.
pub(crate) fn matches(given: &str, right: &str) -> bool {
    !right.is_empty() && bool::from(given.as_bytes().ct_eq(right.as_bytes()))
}

/// Says whether a cookie value can be a nonce of ours.
pub(crate) fn is_nonce(value: &str) -> bool {
    value.len() == 43 && is_opaque(value)
}

/// Says whether a text is an opaque id: base64url characters, 1 to 128 of them.
pub(crate) fn is_opaque(value: &str) -> bool {
    (1..=128).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

enum Line<'a> {
    Absent,
    One(&'a str),
    Many,
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Line<'a> {
    let mut all = headers.get_all(name).iter();
    match (all.next().map(|v| v.to_str()), all.next()) {
        (None, _) => Line::Absent,
        (Some(Ok(value)), None) => Line::One(value),
        (Some(_), _) => Line::Many,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{is_nonce, is_opaque, is_same_origin, matches, token};

    #[test]
    fn the_browser_must_vouch_and_nothing_may_contradict() {
        let own = ("origin", "https://gate.example.org");
        let same = ("sec-fetch-site", "same-origin");
        for (lines, want) in [
            (vec![own], true),
            (vec![same], true),
            (vec![own, same], true),
            (vec![], false),
            (vec![("origin", "null"), same], false),
            (vec![("origin", "null")], false),
            (vec![("origin", "https://app.gate.example.org")], false),
            (
                vec![("origin", "https://app.gate.example.org"), same],
                false,
            ),
            (vec![("origin", "http://gate.example.org")], false),
            (vec![("origin", "https://gate.example.org:8443")], false),
            (vec![("origin", "https://gate.example.org.evil.org")], false),
            (vec![own, ("sec-fetch-site", "same-site")], false),
            (vec![own, ("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "none")], false),
            (vec![own, ("origin", "https://evil.org")], false),
            (vec![same, ("sec-fetch-site", "cross-site")], false),
        ] {
            let headers: HeaderMap = lines
                .iter()
                .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
                .collect();
            let got = is_same_origin(&headers, "gate.example.org");
            assert_eq!(got, want, "{lines:?}");
        }
    }

    #[test]
    fn the_port_is_part_of_the_origin_unless_it_is_the_default() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "origin",
            HeaderValue::from_static("https://g.localhost:8443"),
        );
        assert!(is_same_origin(&headers, "g.localhost:8443"));
        assert!(!is_same_origin(&headers, "g.localhost"));
        headers.insert("origin", HeaderValue::from_static("https://g.localhost"));
        assert!(is_same_origin(&headers, "g.localhost:443"));
    }

    #[test]
    fn a_token_is_good_for_one_secret_one_host_and_one_nonce() {
        let right = token(b"key", "gate.example.org", "nonce");
        assert!(matches(&right, &token(b"key", "gate.example.org", "nonce")));
        for other in [
            token(b"yek", "gate.example.org", "nonce"),
            token(b"key", "app.example.org", "nonce"),
            token(b"key", "gate.example.org", "other"),
            String::new(),
        ] {
            assert!(!matches(&other, &right));
        }
        assert!(!matches("", ""));
    }

    #[test]
    fn ids_are_plain_and_bounded() {
        assert!(is_nonce(&crate::ids::token()));
        assert!(!is_nonce("short"));
        assert!(is_opaque("aZ09-_"));
        for bad in ["", "a b", "a\"b", "a;b", "\u{e9}", &"x".repeat(129)] {
            assert!(!is_opaque(bad), "{bad}");
        }
    }
}
