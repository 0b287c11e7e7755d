//! Answers of the pages: bodies with every header they must carry.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

/// The session cookie of a host.
pub(crate) const SESSION: &str = "__Host-postern";
/// The cookie of a half-way sign-in.
pub(crate) const LOGIN: &str = "__Host-postern-login";
/// The nonce that proves forms before a sign-in.
pub(crate) const NONCE: &str = "__Host-postern-csrf";
/// The enrolment link a browser opened, kept out of the URL.
pub(crate) const ENROL: &str = "__Host-postern-enrol";
/// The link of a forgotten password that a browser opened, kept out of the URL.
pub(crate) const RESET: &str = "__Host-postern-reset";
/// The language chosen by the switch.
pub(crate) const LANG: &str = "__Host-postern-lang";

const HALF_WAY_SECS: u32 = 300;
const ENROL_SECS: u32 = 1800;
const RESET_SECS: u32 = 1200;
const YEAR_SECS: u32 = 31_536_000;

/// Headers every answer of ours carries, whatever it holds.
const ALWAYS: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // no-referrer would make browsers send `Origin: null` with our own forms
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
         microphone=(), midi=(), payment=(), usb=()",
    ),
];

/// What a page of ours may load, run and send to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Policy<'a> {
    /// The stylesheet of its own host; forms go to itself.
    Page,
    /// As `Page`, and the script of its own host.
    Script,
    /// As `Script`, and the script may ask its own host; nothing may make markup out of text, for
    /// the page holds a private key.
    Keys,
    /// As `Script`, which may ask its own host for more.
    Live,
    /// As `Page`, and the redirect after the form may lead to this origin.
    FormTo(&'a str),
    /// One inline style with this SHA-256 in base64, and no form.
    Inline(&'a str),
}

impl Policy<'_> {
    fn value(self) -> HeaderValue {
        let (style, forms) = match self {
            Self::Page | Self::Script | Self::Keys | Self::Live => {
                ("'self'".to_owned(), "'self'".to_owned())
            }
            Self::FormTo(origin) if is_origin(origin) => {
                ("'self'".to_owned(), format!("'self' {origin}"))
            }
            Self::FormTo(_) => ("'self'".to_owned(), "'self'".to_owned()),
            Self::Inline(hash) => (format!("'sha256-{hash}'"), "'none'".to_owned()),
        };
        let scripts = match self {
            Self::Script => " script-src 'self';",
            Self::Keys => {
                " script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; \
                 trusted-types 'none';"
            }
            Self::Live => " script-src 'self'; connect-src 'self';",
            Self::Page | Self::FormTo(_) | Self::Inline(_) => "",
        };
        let text = format!(
            "default-src 'none';{scripts} style-src {style}; img-src 'self' data:; form-action {forms}; \
             base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
        );
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    }
}

/// Makes an HTML answer.
pub(crate) fn html(status: StatusCode, body: String, policy: Policy<'_>) -> Response<Bytes> {
    let mut answer = bare(status, "text/html; charset=utf-8", Bytes::from(body));
    let csp = policy.value();
    answer
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, csp);
    answer
}

/// Makes a JSON answer.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Bytes> {
    let body = Bytes::from(value.to_string());
    bare(status, "application/json; charset=utf-8", body)
}

/// Makes a 303 to a path of ours or to a return target the hand-over names.
pub(crate) fn see_other(to: &str) -> Response<Bytes> {
    let location = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/"));
    let mut answer = bare(
        StatusCode::SEE_OTHER,
        "text/plain; charset=utf-8",
        Bytes::new(),
    );
    answer.headers_mut().insert(header::LOCATION, location);
    answer
}

/// Makes an answer with every standing header and a policy that allows nothing.
pub(crate) fn bare(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Bytes> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::UNAUTHORIZED {
        // a 401 must name a scheme (RFC 9110 section 15.5.2); no browser opens its own dialog for this one
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Postern"),
        );
    }
    harden(headers);
    answer
}

/// Adds what every answer of ours carries where it is not set yet.
pub(crate) fn harden(headers: &mut HeaderMap) {
    for (name, value) in ALWAYS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ));
}

/// Sets the session cookie of this host and drops the ones a sign-in used.
pub(crate) fn signed_in(answer: &mut Response<Bytes>, cookie: &str) {
    set_cookie(answer, SESSION, cookie, None);
    expire(answer, &[LOGIN, NONCE]);
}

/// Keeps the half-way state for as long as it is good.
pub(crate) fn half_way(answer: &mut Response<Bytes>, half: &str) {
    set_cookie(answer, LOGIN, half, Some(HALF_WAY_SECS));
}

/// Keeps the enrolment link a browser opened.
pub(crate) fn enrolling(answer: &mut Response<Bytes>, token: &str) {
    set_cookie(answer, ENROL, token, Some(ENROL_SECS));
}

/// Keeps the link of a forgotten password that a browser opened.
pub(crate) fn resetting(answer: &mut Response<Bytes>, token: &str) {
    set_cookie(answer, RESET, token, Some(RESET_SECS));
}

/// Keeps the nonce of forms before a sign-in.
pub(crate) fn nonce(answer: &mut Response<Bytes>, nonce: &str) {
    set_cookie(answer, NONCE, nonce, None);
}

/// Keeps the chosen language.
pub(crate) fn language(answer: &mut Response<Bytes>, code: &str) {
    set_cookie(answer, LANG, code, Some(YEAR_SECS));
}

/// Drops the session cookie of this host and what pages of it left in the browser.
pub(crate) fn signed_out(answer: &mut Response<Bytes>) {
    expire(answer, &[SESSION, LOGIN, NONCE]);
    answer.headers_mut().insert(
        HeaderName::from_static("clear-site-data"),
        HeaderValue::from_static("\"cache\", \"storage\""),
    );
}

/// Drops cookies of this host.
pub(crate) fn expire(answer: &mut Response<Bytes>, names: &[&str]) {
    for name in names {
        set_cookie(answer, name, "", Some(0));
    }
}

fn set_cookie(answer: &mut Response<Bytes>, name: &str, value: &str, max_age: Option<u32>) {
    let mut text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax");
    if let Some(secs) = max_age {
        text.push_str(&format!("; Max-Age={secs}"));
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Says whether a text is a plain https origin, so that nothing else gets into the policy.
fn is_origin(text: &str) -> bool {
    text.strip_prefix("https://").is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::{Policy, html, see_other, signed_in, signed_out};

    fn csp(policy: Policy<'_>) -> String {
        let page = html(StatusCode::OK, String::new(), policy);
        let value = page.headers().get("content-security-policy").unwrap();
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_form_policy_names_the_exact_target_and_nothing_else() {
        assert_eq!(
            csp(Policy::FormTo("https://app.example.org:8443")),
            "default-src 'none'; style-src 'self'; img-src 'self' data:; \
             form-action 'self' https://app.example.org:8443; base-uri 'none'; \
             frame-ancestors 'none'; object-src 'none'"
        );
        for bad in [
            "https://a.org; script-src *",
            "https://a.org https://b.org",
            "http://a.org",
            "https://",
            "*",
            "https://*.org",
        ] {
            assert_eq!(csp(Policy::FormTo(bad)), csp(Policy::Page), "{bad}");
        }
    }

    #[test]
    fn a_redirect_cannot_carry_a_line_break() {
        let answer = see_other("/\r\nset-cookie: a=b");
        assert_eq!(answer.headers().get("location").unwrap(), "/");
        assert_eq!(see_other("/x").headers().get("location").unwrap(), "/x");
    }

    #[test]
    fn cookies_are_host_bound_secure_and_out_of_reach_of_scripts() {
        let mut answer = see_other("/");
        signed_in(&mut answer, "abc");
        signed_out(&mut answer);
        let cookies: Vec<&str> = answer
            .headers()
            .get_all("set-cookie")
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect();
        assert_eq!(
            cookies.first(),
            Some(&"__Host-postern=abc; Path=/; Secure; HttpOnly; SameSite=Lax")
        );
        for cookie in cookies {
            assert!(cookie.starts_with("__Host-postern"), "{cookie}");
            assert!(cookie.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"));
            assert!(!cookie.to_lowercase().contains("domain"));
        }
        let clear = answer.headers().get("clear-site-data").unwrap();
        assert_eq!(clear, "\"cache\", \"storage\"");
    }
}
