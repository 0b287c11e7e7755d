//! Cookies of ours: read strictly, and never shown to an app.
//!
//! Source: RFC 6265bis section 5.7; RFC 9113 section 8.2.3; security.md R-SE-03, R-SE-04, R-SE-18.

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
                None => found.push((name, plain(value).then(|| value.to_owned()))),
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
    pairs(headers).any(|(n, _)| n == name)
}

fn ours(name: &str) -> Option<&'static str> {
    [
        SESSION, LOGIN, NONCE, CSRF, ENROL, RESET, BROWSER, PIN, LANG,
    ]
    .into_iter()
    .find(|n| *n == name)
}

fn plain(value: &str) -> bool {
    (1..=128).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim_ascii().split_once('='))
}

/// Builds the one Cookie line an app gets: all lines joined, every cookie of ours left out.
/// `None` when nothing is left. A line that is not text is dropped whole.
pub(crate) fn for_upstream(headers: &HeaderMap) -> Option<HeaderValue> {
    let kept: Vec<&str> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .map(str::trim_ascii)
        .filter(|pair| !pair.is_empty() && !names_ours(pair))
        .collect();
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_str(&kept.join("; ")).ok()
}

fn names_ours(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default().trim_ascii();
    name.is_empty() || name.to_ascii_lowercase().starts_with(PREFIX)
}

/// Tells whether an app's Set-Cookie may pass: it names no cookie of ours and sets no Domain, so
/// one app can neither touch our session nor throw cookies at its neighbours.
pub(crate) fn app_may_set(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    let mut parts = text.split(';');
    let named = parts.next().unwrap_or_default();
    let domain = parts.any(|attribute| {
        let key = attribute.split('=').next().unwrap_or_default();
        key.trim_ascii().eq_ignore_ascii_case("domain")
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
    use super::{Cookies, NONCE, SESSION, app_may_set, for_upstream, set};
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
    fn cookies_of_ours_carry_every_attribute() {
        let text = set(SESSION, "v", None);
        assert_eq!(
            text,
            "__Host-postern=v; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
    }
}
