use axum::body::Body;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::{FormError, Spec, parse, read};

const SPEC: Spec = Spec {
    required: &["username", "password"],
    optional: &["rt"],
    limit: 128,
};

#[test]
fn each_field_is_known_and_stands_once() {
    let long = "x".repeat(40);
    for (body, want) in [
        ("username=a&password=b&csrf=c".to_owned(), None),
        ("password=b&username=a".to_owned(), None),
        ("username=a&password=b&csrf=c&rt=r".to_owned(), None),
        ("username=&password=".to_owned(), None),
        (format!("username=a&password={long}"), None),
        (
            "username=a".to_owned(),
            Some(FormError::Missing("password")),
        ),
        (String::new(), Some(FormError::Missing("username"))),
        (
            "username=a&password=b&password=c".to_owned(),
            Some(FormError::Doubled("password")),
        ),
        (
            "username=a&user%6eame=b&password=c".to_owned(),
            Some(FormError::Doubled("username")),
        ),
        (
            "username=a&password=b&csrf=1&csrf=1".to_owned(),
            Some(FormError::Doubled("csrf")),
        ),
        (
            "username=a&password=b&role=admin".to_owned(),
            Some(FormError::Unknown),
        ),
        (
            "username[]=a&password=b".to_owned(),
            Some(FormError::Unknown),
        ),
        (
            "username=a&&password=b".to_owned(),
            Some(FormError::Encoding),
        ),
        ("username&password=b".to_owned(), Some(FormError::Encoding)),
        (
            "username=%4&password=b".to_owned(),
            Some(FormError::Encoding),
        ),
        (
            "username=%zz&password=b".to_owned(),
            Some(FormError::Encoding),
        ),
        (
            "username=%ff&password=b".to_owned(),
            Some(FormError::Encoding),
        ),
    ] {
        assert_eq!(parse(&SPEC, body.as_bytes()).err(), want, "{body}");
    }
}

#[test]
fn blanks_and_unicode_of_a_password_are_kept_and_nul_is_none() {
    let fields = parse(&SPEC, "username=a&password=+%2B%01%C3%A9=é ".as_bytes()).unwrap();
    assert_eq!(fields.value("password"), " +\u{1}é=é ");
    for nul in ["a%00", "%00", "a\0"] {
        let refused = parse(&SPEC, format!("username=a&password={nul}").as_bytes());
        assert_eq!(refused.err(), Some(FormError::Encoding), "{nul}");
    }
}

async fn read_as(kind: Option<&'static str>, body: String) -> Option<FormError> {
    let mut headers = HeaderMap::new();
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    read(&SPEC, &headers, Body::from(body)).await.err()
}

#[tokio::test]
async fn only_urlencoded_bodies_are_read() {
    let good = || "username=a&password=b".to_owned();
    for kind in [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "Application/X-WWW-Form-Urlencoded;charset=utf-8",
    ] {
        assert_eq!(read_as(Some(kind), good()).await, None, "{kind}");
    }
    for kind in [
        "multipart/form-data; boundary=x",
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded; charset=utf-16",
        "",
    ] {
        let refused = read_as(Some(kind), good()).await;
        assert_eq!(refused, Some(FormError::ContentType), "{kind}");
    }
    assert_eq!(read_as(None, good()).await, Some(FormError::ContentType));
}

#[tokio::test]
async fn a_packed_body_is_refused() {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let refused = read(&SPEC, &headers, Body::from("username=a&password=b")).await;
    assert_eq!(refused.err(), Some(FormError::ContentType));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let kind = Some("application/x-www-form-urlencoded");
    let fits = format!("username=a&password={}", "x".repeat(108));
    assert_eq!(fits.len(), 128);
    assert_eq!(read_as(kind, fits.clone()).await, None);
    assert_eq!(read_as(kind, fits + "x").await, Some(FormError::TooLarge));

    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("129"));
    let refused = read(&SPEC, &headers, Body::from("username=a&password=b")).await;
    assert_eq!(refused.err(), Some(FormError::TooLarge));
}
