//! Page or JSON: what the asking side can show.

use http::header::{ACCEPT, UPGRADE};
use http::{HeaderMap, HeaderValue, Method};

use super::lang::weight;
use super::{csrf, form};

/// Says whether an answer should be a page: `Accept` names text/html with a weight above 0,
/// `Sec-Fetch-Mode` is absent or `navigate`, and it is no upgrade.
///
/// `*/*` alone is what `fetch`, XHR and scripts send, so it does not ask for a page.
pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    if headers.contains_key(UPGRADE) {
        return false;
    }
    let mut modes = headers.get_all("sec-fetch-mode").iter();
    match (modes.next(), modes.next()) {
        (None, _) => {}
        (Some(mode), None) if mode == "navigate" => {}
        (Some(_), _) => return false,
    }
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(names_html)
}

/// Says whether a request that needs a sign-in may be redirected to it instead of getting 401.
pub(crate) fn may_redirect(method: &Method, headers: &HeaderMap) -> bool {
    (method == Method::GET || method == Method::HEAD) && wants_html(headers)
}

/// Says whether a POST is a plain form that a browser's page of the same origin sent by navigation;
/// a client that says nothing of where a request comes from is none.
pub(crate) fn is_kept_form(headers: &HeaderMap, authority: &str) -> bool {
    let page = wants_html(headers) && csrf::is_same_origin(headers, authority);
    page && form::is_urlencoded(headers)
}

/// Says whether a request plainly comes from a script: a browser says it is no navigation, or
/// `Accept` leaves no room for a page. Clients that take anything are not counted as scripts.
pub(crate) fn is_script(headers: &HeaderMap) -> bool {
    let anything = match headers.get(ACCEPT).map(HeaderValue::to_str) {
        None => true,
        Some(value) => value.is_ok_and(|v| v.contains("*/*")),
    };
    let browser = headers.contains_key("sec-fetch-mode") || headers.contains_key(UPGRADE);
    !wants_html(headers) && (browser || !anything)
}

fn names_html(range: &str) -> bool {
    let mut parts = range.split(';');
    let kind = parts.next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/html") && weight(parts) > 0
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::{may_redirect, wants_html};

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn only_navigations_and_plain_clients_that_name_html_get_pages() {
        let html = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (lines, want) in [
            (vec![("accept", html)], true),
            (vec![("accept", "text/html")], true),
            (vec![("accept", "TEXT/HTML;level=1;q=0.5")], true),
            (
                vec![("accept", "application/json"), ("accept", "text/html")],
                true,
            ),
            (vec![("accept", html), ("sec-fetch-mode", "navigate")], true),
            (vec![("accept", html), ("sec-fetch-mode", "cors")], false),
            (
                vec![("accept", html), ("sec-fetch-mode", "same-origin")],
                false,
            ),
            (vec![("accept", html), ("sec-fetch-mode", "no-cors")], false),
            (
                vec![("accept", html), ("sec-fetch-mode", "websocket")],
                false,
            ),
            (vec![("accept", html), ("upgrade", "websocket")], false),
            (
                vec![
                    ("accept", html),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-mode", "cors"),
                ],
                false,
            ),
            (vec![("accept", "text/html;q=0")], false),
            (vec![("accept", "application/json")], false),
            (vec![("accept", "*/*")], false),
            (vec![("accept", "text/htmlx")], false),
            (vec![("sec-fetch-mode", "navigate")], false),
            (vec![], false),
        ] {
            assert_eq!(wants_html(&headers(&lines)), want, "{lines:?}");
        }
    }

    #[test]
    fn only_safe_methods_are_redirected() {
        let html = headers(&[("accept", "text/html")]);
        assert!(may_redirect(&Method::GET, &html));
        assert!(may_redirect(&Method::HEAD, &html));
        assert!(!may_redirect(&Method::POST, &html));
        assert!(!may_redirect(&Method::OPTIONS, &html));
        assert!(!may_redirect(&Method::GET, &HeaderMap::new()));
    }
}
