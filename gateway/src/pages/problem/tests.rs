use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::{Detail, Problem, problem};
use crate::pages::assets;
use crate::pages::lang::Lang;

fn browser() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("text/html"));
    headers
}

const DETAIL: Detail<'_> = Detail {
    request_id: "r1",
    code: Some("D-0017"),
    sign_in: Some("https://gate.example.org/signin?rt=x"),
    contact: Some("help@example.org"),
    retry_after: Some(Duration::from_millis(1500)),
};

#[test]
fn every_problem_is_a_page_and_a_json_twin_with_the_same_status() {
    for kind in Problem::ALL {
        for lang in Lang::ALL {
            let page = problem(kind, lang, &browser(), &DETAIL);
            let twin = problem(kind, lang, &HeaderMap::new(), &DETAIL);
            assert_eq!(page.status(), kind.status());
            assert_eq!(twin.status(), kind.status());
            let body = String::from_utf8(page.body().to_vec()).unwrap();
            assert!(body.contains(&format!("<html lang=\"{}\">", lang.code())));
            for word in ["D-0017", "r1", "help@example.org", "rt=x"] {
                assert!(body.contains(word), "{kind:?} lacks {word}");
            }
            let json: Value = serde_json::from_slice(twin.body()).unwrap();
            assert_eq!(json["error"], kind.name());
            assert_eq!(json["code"], "D-0017");
            assert_eq!(json["request_id"], "r1");
            assert_eq!(json["sign_in"], "https://gate.example.org/signin?rt=x");
            for answer in [&page, &twin] {
                assert_eq!(answer.headers().get("retry-after").unwrap(), "2");
                assert!(answer.headers().contains_key("content-security-policy"));
                assert_eq!(answer.headers().get("cache-control").unwrap(), "no-store");
                assert_eq!(
                    answer.headers().get("x-content-type-options").unwrap(),
                    "nosniff"
                );
            }
        }
    }
}

#[test]
fn what_is_not_told_is_absent() {
    let detail = Detail {
        request_id: "r1",
        ..Detail::default()
    };
    let twin = problem(Problem::NotFound, Lang::En, &HeaderMap::new(), &detail);
    let json: Value = serde_json::from_slice(twin.body()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"error": "not-found", "request_id": "r1"})
    );
    assert!(!twin.headers().contains_key("retry-after"));
}

#[test]
fn hostile_words_are_escaped_in_pages_and_quoted_in_json() {
    let evil = "\"><script>alert(1)</script>";
    let detail = Detail {
        request_id: evil,
        code: Some(evil),
        sign_in: Some(evil),
        contact: Some(evil),
        retry_after: None,
    };
    let page = problem(Problem::Denied, Lang::En, &browser(), &detail);
    let body = String::from_utf8(page.body().to_vec()).unwrap();
    assert!(!body.contains("<script"));
    assert!(!body.contains("\"\">"));
    let twin = problem(Problem::Denied, Lang::En, &HeaderMap::new(), &detail);
    let json: Value = serde_json::from_slice(twin.body()).unwrap();
    assert_eq!(json["code"], evil);
    let kind = twin.headers().get("content-type").unwrap();
    assert_eq!(kind, "application/json; charset=utf-8");
}

#[test]
fn the_policy_allows_exactly_the_style_the_page_carries() {
    let page = problem(Problem::Denied, Lang::En, &browser(), &DETAIL);
    let body = String::from_utf8(page.body().to_vec()).unwrap();
    let (_, rest) = body.split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    assert_eq!(style, assets::BASE);
    let csp = page.headers().get("content-security-policy").unwrap();
    let hash = format!("style-src 'sha256-{}'", *assets::BASE_HASH);
    assert!(csp.to_str().unwrap().contains(&hash));
}
