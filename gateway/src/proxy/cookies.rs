//! Cookies of ours: read strictly, and never shown to an app.
//!
//! Source: RFC 6265bis section 5.7; RFC 9113 section 8.2.3; security.md R-SE-03, R-SE-04, R-SE-18.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

/// The session cookie of a host.
pub(crate) const SESSION: &str = "__Host-postern";
/// The half-way cookie between password and code.
pub(crate) const LOGIN: &str = "__Host-postern-login";
/// The nonce that binds a hand-over to the browser that asked for it.
pub(crate) const NONCE: &str = "__Host-postern-nonce";
/// The pre-session token of the sign-in form.
pub(crate) const CSRF: &str = "__Host-postern-csrf";
/// The enrolment link of a browser, taken out of its URL.
pub(crate) const ENROL: &str = "__Host-postern-enrol";
/// The link of a forgotten password that a browser opened, taken out of its URL.
pub(crate) const RESET: &str = "__Host-postern-reset";
/// The token of a browser that signed somebody in.
pub(crate) const BROWSER: &str = "__Host-postern-device";
/// The upstreams a browser is pinned to, joined by dots.
pub(crate) const PIN: &str = "__Host-postern-pin";
/// The language a person chose.
pub(crate) const LANG: &str = "__Host-postern-lang";

const PREFIX: &str = "__host-postern";

/// The cookies of ours that one request carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cookies(Vec<(&'static str, Option<String>)>);

impl Cookies {
    /// Reads every Cookie line. A name of ours that comes twice, or with a value that is not
    /// plain base64url text, counts as absent: of two values neither can be trusted.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut found: Vec<(&'static str, Option<String>)> = Vec::new();
        for (name, value) in pairs(headers) {
            let Some(name) = ours(name) else { continue };
            match found.iter_mut().find(|(n, _)| *n == name) {
                Some(twice) => twice.1 = None,
                None => found.push((name, plain(value))),
            }
        }
        Self(found)
    }

    /// Returns the one value of the cookie, if it came exactly once and well-formed.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(n, _)| *n == name)?;
        value.as_deref()
    }
}

/// Tells whether a request carries a cookie of a name, once or more often, whatever it is worth.
pub(crate) fn shows(headers: &HeaderMap, name: &str) -> bool {
    pairs(headers).any(|(n, _)| n == name.as_bytes())
}

fn ours(name: &[u8]) -> Option<&'static str> {
    [
        SESSION, LOGIN, NONCE, CSRF, ENROL, RESET, BROWSER, PIN, LANG,
    ]
    .into_iter()
    .find(|n| n.as_bytes() == name)
}

/// Returns a value that may be one of ours.
fn plain(value: &[u8]) -> Option<String> {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = (1..=128).contains(&value.len()) && value.iter().all(is_plain);
    let text = std::str::from_utf8(value).ok().filter(|_| fits);
    text.map(str::to_owned)
}

/// Splits every Cookie line; those of an app may hold any bytes that a field may.
fn crumbs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b';'))
        .map(<[u8]>::trim_ascii)
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    crumbs(headers).filter_map(|pair| {
        let at = pair.iter().position(|b| *b == b'=')?;
        Some((pair.get(..at)?, pair.get(at + 1..)?))
    })
}

/// Builds the one Cookie line an app gets: all lines joined, every cookie of ours left out.
/// `None` when nothing is left.
pub(crate) fn for_upstream(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut kept = Vec::new();
    for pair in crumbs(headers) {
        if pair.is_empty() || names_ours(pair) {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(pair);
    }
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_maybe_shared(Bytes::from(kept)).ok()
}

fn names_ours(pair: &[u8]) -> bool {
    let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
    let name = name.trim_ascii();
    let start = name.get(..PREFIX.len()).unwrap_or_default();
    name.is_empty() || start.eq_ignore_ascii_case(PREFIX.as_bytes())
}

/// Tells whether an app's Set-Cookie may pass: it names no cookie of ours and sets no Domain, so
/// one app can neither touch our session nor throw cookies at its neighbours.
pub(crate) fn app_may_set(value: &HeaderValue) -> bool {
    let mut parts = value.as_bytes().split(|b| *b == b';');
    let named = parts.next().unwrap_or_default();
    let domain = parts.any(|attribute| {
        let key = attribute.split(|b| *b == b'=').next().unwrap_or_default();
        key.trim_ascii().eq_ignore_ascii_case(b"domain")
    });
    !domain && !names_ours(named)
}

/// Writes a Set-Cookie value of ours; `max_age` in seconds, none for the browser's session.
pub(crate) fn set(name: &str, value: &str, max_age: Option<u64>) -> String {
    let age = max_age
        .map(|s| format!("; Max-Age={s}"))
        .unwrap_or_default();
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}")
}

#[cfg(test)]
mod tests {
    use super::{Cookies, NONCE, SESSION, app_may_set, for_upstream, set, shows};
    use http::{HeaderMap, HeaderValue};

    fn lines(lines: &[&'static str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append("cookie", HeaderValue::from_static(line));
        }
        map
    }

    #[test]
    fn one_session_cookie_is_read() {
        let c = Cookies::read(&lines(&["a=b; __Host-postern=abc-_9"]));
        assert_eq!(c.one(SESSION), Some("abc-_9"));
        assert_eq!(c.one(NONCE), None);
    }

    #[test]
    fn two_values_or_strange_ones_count_as_none() {
        for twice in [
            &["__Host-postern=a; __Host-postern=b"][..],
            &["__Host-postern=a", "__Host-postern=a"],
            &["__Host-postern=a b"],
            &["__Host-postern=\"a\""],
            &["__Host-postern="],
            &["__host-postern=a"],
            &["=__Host-postern=a"],
        ] {
            assert_eq!(Cookies::read(&lines(twice)).one(SESSION), None, "{twice:?}");
        }
    }

    #[test]
    fn an_app_never_sees_a_cookie_of_ours() {
        let map = lines(&[
            "a=b; __Host-postern=secret",
            "__HOST-Postern-login=x; c=d",
            "=x",
        ]);
        assert_eq!(for_upstream(&map).unwrap(), "a=b; c=d");
        assert_eq!(for_upstream(&lines(&["__Host-postern=secret"])), None);
    }

    #[test]
    fn an_app_sets_its_own_cookies_and_no_others() {
        let may = |v: &'static str| app_may_set(&HeaderValue::from_static(v));
        assert!(may("sid=1; Path=/; HttpOnly"));
        assert!(may("__Host-app=1; Path=/; Secure"));
        assert!(!may("__Host-postern=1; Path=/; Secure"));
        assert!(!may("sid=1; Domain=example.org"));
        assert!(!may("sid=1; domain =.example.org"));
    }

    #[test]
    fn a_cookie_that_is_no_ascii_takes_no_other_with_it() {
        for strange in ["name=Zoé", "näme=x", "k=\u{1f600}"] {
            let mut map = HeaderMap::new();
            let line = format!("{strange}; __Host-postern=abc; a=b");
            map.append("cookie", HeaderValue::from_bytes(line.as_bytes()).unwrap());
            assert_eq!(Cookies::read(&map).one(SESSION), Some("abc"), "{strange}");
            assert!(shows(&map, SESSION), "{strange}");
            let kept = for_upstream(&map).unwrap();
            assert_eq!(kept.as_bytes(), format!("{strange}; a=b").as_bytes());
        }
        // nor does a byte that is no text at all
        let mut map = HeaderMap::new();
        let line = HeaderValue::from_bytes(b"a=\xff; __Host-postern=\xff").unwrap();
        map.append("cookie", line);
        assert_eq!(Cookies::read(&map).one(SESSION), None);
        assert_eq!(for_upstream(&map).unwrap().as_bytes(), b"a=\xff");
    }

    #[test]
    fn an_app_may_set_what_is_no_ascii_but_no_cookie_of_ours() {
        let may = |v: &str| app_may_set(&HeaderValue::from_bytes(v.as_bytes()).unwrap());
        assert!(may("name=Zoé; Path=/"));
        assert!(!may("__Host-postern=é"));
        assert!(!may("name=Zoé; Domain=example.org"));
    }

    #[test]
    fn cookies_of_ours_carry_every_attribute() {
        let text = set(SESSION, "v", None);
        assert_eq!(
            text,
            "__Host-postern=v; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
    }
}
