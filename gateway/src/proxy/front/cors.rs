//! Answers for pages of other origins, by the policy's list.
//!
//! Where an area has a list, it is the whole truth: preflights are answered here and never reach the app, and what the
//! app says of other origins is dropped. Permission to read is no permission to come in: a request is decided like any
//! other. Source: Fetch Standard, section "CORS protocol".

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use policy::front::Cors as Written;

use crate::proxy::answer::add_vary;
use crate::proxy::headers::value;

/// What pages of other origins may do.
pub(crate) struct Cors {
    written: Written,
    methods: HeaderValue,
    expose: Option<HeaderValue>,
}

impl Cors {
    /// Reads the policy's key.
    pub(super) fn new(written: Written) -> Self {
        let expose = written.expose.join(", ");
        Self {
            methods: value(&written.methods.join(", ")),
            expose: (!expose.is_empty()).then(|| value(&expose)),
            written,
        }
    }

    /// Answers a preflight; `None` for all that is none.
    pub(crate) fn preflight(&self, request: &http::request::Parts) -> Option<Response<Bytes>> {
        if request.method != Method::OPTIONS {
            return None;
        }
        let origin = one(&request.headers, &header::ORIGIN)?;
        let method = one(&request.headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let fields = response.headers_mut();
        let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        fields.insert(header::VARY, value(vary));
        fields.insert(header::CACHE_CONTROL, value("no-store"));
        let permitted = self.written.methods.iter().any(|m| m == method);
        if self.names(origin) && permitted && self.fields_permitted(&request.headers) {
            fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value(origin));
            fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            let names = self.written.headers.join(", ");
            fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, value(&names));
            let age = self.written.max_age.to_string();
            fields.insert(header::ACCESS_CONTROL_MAX_AGE, value(&age));
            if self.written.credentials {
                fields.insert(
                    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                    HeaderValue::from_static("true"),
                );
            }
        }
        Some(response)
    }

    /// Says on an answer who may read it.
    pub(crate) fn mark(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        let of_app: Vec<HeaderName> = answer
            .keys()
            .filter(|name| name.as_str().starts_with("access-control-"))
            .cloned()
            .collect();
        for name in of_app {
            answer.remove(name);
        }
        add_vary(answer, "Origin");
        let Some(origin) = one(request, &header::ORIGIN).filter(|o| self.names(o)) else {
            return;
        };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value(origin));
        if self.written.credentials {
            answer.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
        if let Some(expose) = &self.expose {
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    fn names(&self, origin: &str) -> bool {
        self.written.origins.iter().any(|known| known == origin)
    }

    /// Whether every request field a preflight asks for is on the list.
    fn fields_permitted(&self, request: &HeaderMap) -> bool {
        let lines = request.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
        lines.iter().all(|line| {
            let Ok(line) = line.to_str() else {
                return false;
            };
            let words = line.split(',').map(|word| word.trim().to_ascii_lowercase());
            let mut words = words.filter(|word| !word.is_empty());
            words.all(|word| self.written.headers.contains(&word))
        })
    }
}

/// The text of a field that stands there exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::{Cors, Written};
    use http::{HeaderMap, HeaderValue, Request};

    fn cors(credentials: bool) -> Cors {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect();
        Cors::new(Written {
            origins: words(&["https://a.example"]),
            methods: words(&["GET", "POST"]),
            headers: words(&["content-type", "x-token"]),
            expose: words(&["x-total"]),
            credentials,
            max_age: 600,
        })
    }

    fn preflight(fields: &[(&str, &str)]) -> Option<http::Response<bytes::Bytes>> {
        let mut request = Request::options("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        cors(true).preflight(&parts)
    }

    const ORIGIN: (&str, &str) = ("origin", "https://a.example");
    const POST: (&str, &str) = ("access-control-request-method", "POST");

    #[test]
    fn a_preflight_of_a_listed_origin_is_permitted_and_carries_no_data() {
        let fields = ("access-control-request-headers", "X-Token, content-type");
        let answer = preflight(&[ORIGIN, POST, fields]).unwrap();
        assert_eq!(answer.status(), 204);
        assert!(answer.body().is_empty());
        assert_eq!(
            answer.headers()["access-control-allow-origin"],
            "https://a.example"
        );
        assert_eq!(
            answer.headers()["access-control-allow-methods"],
            "GET, POST"
        );
        assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
    }

    #[test]
    fn another_origin_method_or_field_gets_an_answer_without_permission() {
        let put = ("access-control-request-method", "PUT");
        let field = ("access-control-request-headers", "x-token, x-other");
        for fields in [
            &[("origin", "https://b.example"), POST][..],
            &[("origin", "https://a.example.evil.example"), POST],
            &[("origin", "null"), POST],
            &[ORIGIN, put],
            &[ORIGIN, POST, field],
        ] {
            let answer = preflight(fields).unwrap();
            assert!(
                !answer.headers().contains_key("access-control-allow-origin"),
                "{fields:?}"
            );
        }
        assert!(preflight(&[ORIGIN]).is_none(), "no preflight");
    }

    #[test]
    fn an_answer_names_the_origin_of_a_listed_page_and_never_what_the_app_says() {
        let marked = |origin: &'static str| {
            let mut request = HeaderMap::new();
            request.insert("origin", HeaderValue::from_static(origin));
            let mut answer = HeaderMap::new();
            answer.insert("access-control-allow-origin", HeaderValue::from_static("*"));
            cors(false).mark(&request, &mut answer);
            answer
        };
        let fine = marked("https://a.example");
        assert_eq!(fine["access-control-allow-origin"], "https://a.example");
        assert_eq!(fine["access-control-expose-headers"], "x-total");
        assert!(!fine.contains_key("access-control-allow-credentials"));
        let other = marked("https://b.example");
        assert!(!other.contains_key("access-control-allow-origin"));
        assert_eq!(other["vary"], "Origin");
    }
}
