use axum::body::Body;
use http::{Method, Request};
use serde_json::Value;

use super::fake::{Fake, HOST, KEY, NONCE, SESSION_SECRET};
use super::golden;
use crate::ids::SessionId;
use crate::pages::csrf;
use crate::pages::desk::Here;

pub(crate) fn get(uri: &str) -> Request<Body> {
    let request = Request::builder().uri(uri).header("accept", "text/html");
    request.body(Body::empty()).unwrap()
}

/// A form as a browser sends it from a page of ours.
pub(crate) fn post(uri: &str, body: &str) -> Request<Body> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header("accept", "text/html")
        .header("user-agent", "test browser")
        .header("origin", format!("https://{HOST}"))
        .header("content-type", "application/x-www-form-urlencoded");
    request.body(Body::from(body.to_owned())).unwrap()
}

pub(super) fn token_of_browser() -> String {
    csrf::token(KEY, HOST, NONCE)
}

pub(crate) fn token_of_session() -> String {
    csrf::token(SESSION_SECRET.as_bytes(), HOST, "")
}

fn password_form(user: &str, password: &str) -> String {
    let csrf = token_of_browser();
    format!("csrf={csrf}&username={user}&password={password}")
}

#[tokio::test]
async fn a_stranger_on_the_portal_is_sent_to_sign_in_and_a_script_is_told() {
    let stranger = Fake::stranger();
    for (path, form) in [("/", "/signin"), ("/account", "/signin?rt=_account")] {
        let answer = stranger.gate(get(path)).await;
        assert_eq!(answer.status(), 303);
        assert_eq!(answer.header("location"), form);
        let mut request = get(path);
        request.headers_mut().remove("accept");
        assert_eq!(stranger.gate(request).await.status(), 303);
        let mut request = get(path);
        let cors = http::HeaderValue::from_static("cors");
        request.headers_mut().insert("sec-fetch-mode", cors);
        let answer = stranger.gate(request).await;
        assert_eq!(answer.status(), 401);
        let json: Value = serde_json::from_str(answer.body()).unwrap();
        assert_eq!(json["error"], "sign-in-needed");
        assert_eq!(json["sign_in"], "https://gate.example.org/signin");
    }
    let portal = Fake::nadia().gate(get("/")).await;
    assert!(portal.is_page());
    assert!(portal.body().contains("href=\"https://wiki.example.org/\""));
}

#[tokio::test]
async fn the_sign_in_form_has_its_fields_in_double_quotes() {
    let page = Fake::stranger().gate(get("/signin?rt=app1")).await;
    let csrf = token_of_browser();
    for field in [
        "method=\"post\" action=\"/signin\"",
        "name=\"username\"",
        "name=\"password\"",
        "name=\"rt\" value=\"app1\"",
        "autocomplete=\"username\"",
        "autocomplete=\"current-password\"",
        &format!("name=\"csrf\" value=\"{csrf}\""),
    ] {
        assert!(page.body().contains(field), "{field}");
    }
    assert!(page.cookies().is_empty(), "the nonce is kept");
    let mut fresh = Fake::stranger();
    fresh.cookies.clear();
    let page = fresh.gate(get("/signin")).await;
    assert!(page.cookies()[0].starts_with("__Host-postern-csrf="));
}

#[tokio::test]
async fn both_proofs_lead_to_the_page_first_asked_for() {
    let fake = Fake::stranger();
    let form = password_form("nadia", "right") + "&rt=app1";
    let page = fake.gate(post("/signin", &form)).await;
    assert!(page.is_page());
    assert!(page.body().contains("name=\"code\""));
    assert!(page.body().contains("action=\"/signin/code\""));
    assert!(page.body().contains("autocomplete=\"one-time-code\""));
    assert_eq!(
        page.cookies(),
        ["__Host-postern-login=half; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=300"]
    );
    assert!(
        page.header("content-security-policy")
            .contains("form-action 'self' https://app.example.org;")
    );

    let half = fake.clone().with_cookie("__Host-postern-login", "half");
    let csrf = token_of_browser();
    let form = format!("csrf={csrf}&code=123456&rt=app1");
    let answer = half.gate(post("/signin/code", &form)).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(
        answer.header("location"),
        "https://app.example.org/.postern/enter?c=1"
    );
    assert!(answer.cookies()[0].starts_with("__Host-postern=fresh; "));
    assert!(answer.cookies()[1].starts_with("__Host-postern-login=; "));
    assert_eq!(
        fake.acts(),
        [
            "password nadia test browser",
            "code half 123456 Some(\"app1\")"
        ]
    );

    let form = format!("csrf={csrf}&code=123456");
    let answer = half.gate(post("/signin/code", &form)).await;
    assert_eq!(answer.header("location"), "/");
}

#[tokio::test]
async fn a_return_id_in_the_url_does_as_well() {
    let half = Fake::stranger().with_cookie("__Host-postern-login", "half");
    let form = format!("csrf={}&code=123456", token_of_browser());
    let answer = half.gate(post("/signin/code?rt=app1", &form)).await;
    assert!(answer.header("location").starts_with("https://app."));
}

#[tokio::test]
async fn refused_tries_say_so_and_no_more() {
    let fake = Fake::stranger();
    for (user, status, wait) in [
        ("nadia", 401, ""),
        ("nobody", 401, ""),
        ("eager", 429, "90"),
        ("crowd", 503, "2"),
        ("down", 503, ""),
    ] {
        let answer = fake.gate(post("/signin", &password_form(user, "x"))).await;
        assert_eq!(answer.status(), status, "{user}");
        assert_eq!(answer.header("retry-after"), wait, "{user}");
        assert!(answer.body().contains("role=\"alert\""));
        assert!(answer.body().contains("name=\"password\""));
        assert!(answer.cookies().is_empty());
        let scheme = if status == 401 { "Postern" } else { "" };
        assert_eq!(answer.header("www-authenticate"), scheme);
    }
    let one = fake
        .gate(post("/signin", &password_form("nadia", "x")))
        .await;
    let two = fake
        .gate(post("/signin", &password_form("adian", "x")))
        .await;
    assert_eq!(one.body().replace("nadia", "adian"), two.body());
    assert_eq!(one.0.headers(), two.0.headers());
}

#[tokio::test]
async fn a_wrong_code_asks_again_and_a_late_one_starts_over() {
    let csrf = token_of_browser();
    let half = Fake::stranger().with_cookie("__Host-postern-login", "half");
    for (code, status, wait) in [
        ("000000", 401, ""),
        ("999999", 429, "900"),
        ("888888", 503, ""),
    ] {
        let form = format!("csrf={csrf}&code={code}");
        let answer = half.gate(post("/signin/code", &form)).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.header("retry-after"), wait);
        assert!(answer.body().contains("name=\"code\""));
    }
    let form = format!("csrf={csrf}&code=123456");
    let late = Fake::stranger().with_cookie("__Host-postern-login", "old");
    for fake in [late, Fake::stranger()] {
        let answer = fake.gate(post("/signin/code", &form)).await;
        assert_eq!(answer.status(), 401);
        assert!(answer.body().contains("name=\"password\""));
        assert!(!answer.cookies().iter().any(|c| c.contains("fresh")));
    }
}

#[tokio::test]
async fn a_signed_in_person_goes_straight_on() {
    let nadia = Fake::nadia();
    for (uri, to) in [
        (
            "/signin?rt=app1",
            "https://app.example.org/.postern/enter?c=1",
        ),
        ("/signin?rt=gone", "/"),
        ("/signin", "/"),
    ] {
        let answer = nadia.gate(get(uri)).await;
        assert_eq!(answer.status(), 303, "{uri}");
        assert_eq!(answer.header("location"), to, "{uri}");
    }
    assert!(
        Fake::stranger()
            .gate(get("/signin?rt=app1"))
            .await
            .is_page()
    );
}

#[tokio::test]
async fn a_strange_return_id_is_dropped() {
    for uri in [
        "/signin?rt=https://evil.org/",
        "/signin?rt=%22%3E%3Cb%3E",
        "/signin?rt=app1&rt=app2",
        "/signin?rt=",
    ] {
        let page = Fake::stranger().gate(get(uri)).await;
        assert!(page.is_page(), "{uri}");
        assert!(!page.body().contains("name=\"rt\""), "{uri}");
        assert!(!page.body().contains("evil"), "{uri}");
    }
}

#[tokio::test]
async fn a_form_needs_both_proofs_of_its_origin() {
    let session = format!("csrf={}", token_of_session());
    let nadia = Fake::nadia();
    assert_eq!(nadia.gate(post("/signout", &session)).await.status(), 200);

    let foreign = |name: &'static str, value: &'static str| {
        let mut request = post("/signout", &session);
        request.headers_mut().remove("origin");
        if !value.is_empty() {
            let value = http::HeaderValue::from_static(value);
            request.headers_mut().insert(name, value);
        }
        request
    };
    let answer = nadia.gate(foreign("sec-fetch-site", "same-origin")).await;
    assert_eq!(answer.status(), 200);
    let before = nadia.acts().len();
    for request in [
        foreign("origin", ""),
        foreign("origin", "null"),
        foreign("origin", "https://app.example.org"),
        foreign("sec-fetch-site", "same-site"),
        post("/signout", ""),
        post("/signout", "csrf="),
        post("/signout", &format!("csrf={}", token_of_browser())),
        post("/account/end-all", "csrf=wrong"),
    ] {
        let answer = nadia.gate(request).await;
        assert_eq!(answer.status(), 403);
        assert!(!answer.header("content-security-policy").is_empty());
    }
    assert_eq!(nadia.acts().len(), before, "nothing was done");
}

#[tokio::test]
async fn a_sign_in_form_needs_the_nonce_of_its_browser() {
    let form = password_form("nadia", "right");
    let fake = Fake::stranger();
    assert_eq!(fake.gate(post("/signin", &form)).await.status(), 200);
    let mut bare = Fake::stranger();
    bare.cookies.clear();
    let other = Fake::stranger().with_cookie("__Host-postern-csrf", &"B".repeat(43));
    for fake in [bare, other] {
        assert_eq!(fake.gate(post("/signin", &form)).await.status(), 403);
        assert!(fake.acts().is_empty());
    }
    let answer = fake
        .gate(post("/signin", "username=nadia&password=right"))
        .await;
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn forms_are_read_strictly() {
    let good = password_form("nadia", "right");
    let kind = "application/x-www-form-urlencoded";
    for (kind, body, status) in [
        (kind, good.clone(), 200),
        ("application/json", good.clone(), 415),
        ("multipart/form-data; boundary=a", good.clone(), 415),
        (kind, good.clone() + "&password=right", 400),
        (kind, good.clone() + "&admin=1", 400),
        (kind, "csrf=x&username=nadia".to_owned(), 400),
        (kind, password_form("nadia", &"x".repeat(4096)), 413),
        (kind, good + "%", 400),
    ] {
        let mut request = post("/signin", &body);
        let kind = http::HeaderValue::from_str(kind).unwrap();
        request.headers_mut().insert("content-type", kind);
        let answer = Fake::stranger().gate(request).await;
        assert_eq!(answer.status(), status, "{body}");
    }
}

#[tokio::test]
async fn a_fresh_code_changes_the_cookie() {
    let nadia = Fake::nadia();
    let form = format!("csrf={}&code=123456&rt=app1", token_of_session());
    let answer = nadia.gate(post("/signin/step-up", &form)).await;
    assert_eq!(answer.status(), 303);
    assert!(answer.header("location").starts_with("https://app."));
    assert!(answer.cookies()[0].starts_with("__Host-postern=fresh; "));
    let form = format!("csrf={}&code=000000", token_of_session());
    let answer = nadia.gate(post("/signin/step-up", &form)).await;
    assert_eq!(answer.status(), 401);
    assert!(answer.body().contains("action=\"/signin/step-up\""));
    let answer = Fake::stranger().gate(get("/signin/step-up?rt=app1")).await;
    assert_eq!(answer.header("location"), "/signin?rt=app1");
}

#[tokio::test]
async fn a_reason_leads_on_and_one_that_says_nothing_does_not() {
    let nadia = Fake::nadia();
    let csrf = token_of_session();
    let form = format!("csrf={csrf}&reason=ticket+4711&rt=crm1");
    let answer = nadia.gate(post("/signin/reason", &form)).await;
    assert_eq!(answer.status(), 303);
    assert!(answer.header("location").starts_with("https://crm."));
    assert_eq!(nadia.acts(), ["justify crm1 ticket 4711"]);
    let page = nadia.gate(get("/signin/reason?rt=crm1")).await;
    assert!(page.body().contains("crm asks everybody"));
    assert!(page.body().contains("holds for 90 min"));
    let form = format!("csrf={csrf}&reason=no&rt=crm1");
    let answer = nadia.gate(post("/signin/reason", &form)).await;
    assert_eq!(answer.status(), 422);
    assert!(answer.body().contains("at least 3"));
    let forged = "csrf=x&reason=ticket+4711&rt=crm1";
    assert_eq!(
        nadia.gate(post("/signin/reason", forged)).await.status(),
        403
    );
    assert_eq!(nadia.acts().len(), 2);
    // nothing asks: straight on
    let answer = nadia.gate(get("/signin/reason?rt=app1")).await;
    assert!(answer.header("location").starts_with("https://app."));
    assert_eq!(
        nadia.gate(get("/signin/reason")).await.header("location"),
        "/"
    );
    let answer = Fake::stranger().gate(get("/signin/reason?rt=crm1")).await;
    assert_eq!(answer.header("location"), "/signin?rt=crm1");
    let answer = Fake::stranger()
        .gate(post("/signin/reason?rt=crm1", "a=b"))
        .await;
    assert_eq!(answer.header("location"), "/signin?rt=crm1");
}

#[tokio::test]
async fn signing_out_ends_the_session_and_clears_the_browser() {
    let nadia = Fake::nadia();
    let csrf = token_of_session();
    let answer = nadia.gate(post("/signout", &format!("csrf={csrf}"))).await;
    assert!(answer.is_page());
    assert_eq!(answer.header("clear-site-data"), "\"cache\", \"storage\"");
    assert!(answer.cookies()[0].starts_with("__Host-postern=; "));
    assert!(answer.cookies()[0].ends_with("; Max-Age=0"));
    assert_eq!(nadia.acts(), ["sign out"]);

    let answer = nadia.gate(get("/signout")).await;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.header("allow"), "POST");
    let answer = Fake::stranger().gate(post("/signout", "")).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn the_token_of_an_app_host_is_no_good_on_the_portal() {
    let mut on_app = Fake::nadia();
    on_app.visit.host = "app.example.org".to_owned();
    on_app.visit.authority = "app.example.org".to_owned();
    let page = on_app.app(get("/.postern/signout")).await;
    let token = csrf::token(SESSION_SECRET.as_bytes(), "app.example.org", "");
    assert!(page.body().contains(&format!("value=\"{token}\"")));

    let nadia = Fake::nadia();
    let stolen = nadia.gate(post("/signout", &format!("csrf={token}"))).await;
    assert_eq!(stolen.status(), 403);
    let mut request = post("/.postern/signout", &format!("csrf={token}"));
    let origin = http::HeaderValue::from_static("https://app.example.org");
    request.headers_mut().insert("origin", origin);
    let answer = on_app.app(request).await;
    assert!(answer.is_page());
    assert!(answer.body().contains("href=\"https://gate.example.org/\""));
    assert_eq!(on_app.acts(), ["sign out"]);
}

#[tokio::test]
async fn an_app_host_has_nothing_of_the_portal() {
    for path in ["/", "/signin", "/account", "/.postern/", "/postern.css"] {
        assert_eq!(Fake::nadia().app(get(path)).await.status(), 404, "{path}");
    }
    let sheet = Fake::nadia().app(get("/.postern/postern.css")).await;
    assert_eq!(sheet.header("content-type"), "text/css; charset=utf-8");
}

#[tokio::test]
async fn a_person_ends_own_sessions_one_or_all() {
    let nadia = Fake::nadia();
    let csrf = token_of_session();
    let end = |id: u64| {
        post(
            "/account/end",
            &format!("csrf={csrf}&session={}", SessionId(id)),
        )
    };
    let answer = nadia.gate(end(2)).await;
    assert_eq!(
        (answer.status(), answer.header("location")),
        (303, "/account")
    );
    let answer = nadia.gate(end(1)).await;
    assert!(answer.is_page() && !answer.header("clear-site-data").is_empty());
    let answer = nadia.gate(end(3)).await;
    assert_eq!(answer.status(), 404);
    assert!(answer.body().contains("role=\"alert\""));
    let answer = nadia
        .gate(post("/account/end", &format!("csrf={csrf}&session=x")))
        .await;
    assert_eq!(answer.status(), 400);
    let answer = nadia
        .gate(post("/account/end-all", &format!("csrf={csrf}")))
        .await;
    assert!(answer.is_page() && !answer.header("clear-site-data").is_empty());
    assert_eq!(nadia.acts().last().map(String::as_str), Some("end all"));
}

#[tokio::test]
async fn an_enrolment_link_leaves_the_url_and_works_to_the_end() {
    let fresh = Fake::stranger();
    let answer = fresh.gate(get("/enrol/invite")).await;
    assert_eq!(
        (answer.status(), answer.header("location")),
        (303, "/enrol")
    );
    assert!(answer.cookies()[0].starts_with("__Host-postern-enrol=invite; "));
    for dead in ["/enrol/other", "/enrol/a%20b", "/enrol"] {
        assert_eq!(fresh.gate(get(dead)).await.status(), 404, "{dead}");
    }

    let browser = Fake::stranger().with_cookie("__Host-postern-enrol", "invite");
    let csrf = token_of_browser();
    let form = |password: &str, again: &str, code: &str| {
        format!("csrf={csrf}&password={password}&again={again}&code={code}")
    };
    for (form, words) in [
        (
            form("a+long+pass+phrase", "another", "123456"),
            "not the same",
        ),
        (form("short", "short", "123456"), "at least 15"),
        (
            form("password1234567", "password1234567", "123456"),
            "easy to guess",
        ),
        (
            form("a+long+pass+phrase", "a+long+pass+phrase", "000000"),
            "code is not right",
        ),
    ] {
        let answer = browser.gate(post("/enrol", &form)).await;
        assert_eq!(answer.status(), 422);
        assert!(answer.body().contains(words), "{words}");
        assert!(
            !answer.body().contains("long pass"),
            "passwords are not repeated"
        );
    }
    for (password, status, wait) in [("long", 422, ""), ("eager", 429, "60"), ("crowd", 503, "2")] {
        let form = form(password, password, "123456");
        let answer = browser.gate(post("/enrol", &form)).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.header("retry-after"), wait);
        assert!(answer.body().contains("JBSW Y3DP"));
    }
    let good = form("a+long+pass+phrase", "a+long+pass+phrase", "123456");
    let answer = browser.gate(post("/enrol", &good)).await;
    assert!(answer.is_page());
    assert!(answer.cookies()[0].starts_with("__Host-postern-enrol=; "));
    assert_eq!(fresh.gate(post("/enrol/invite", &good)).await.status(), 200);
    assert_eq!(fresh.gate(post("/enrol", &good)).await.status(), 404);
}

#[tokio::test]
async fn hostile_names_stay_text() {
    let evil = "\"><script>alert('1')</script>&amp;{{7*7}}";
    let mut fake = Fake::nadia();
    fake.apps[0].name = evil.to_owned();
    fake.apps[0].url = format!("https://a.example/{evil}");
    fake.devices[0].name = evil.to_owned();
    fake.visit.here = Here::NotYours(evil.to_owned());
    fake.visit.contact = Some(evil.to_owned());
    fake.visit.authority = evil.to_owned();
    if let Some(person) = fake.visit.person.as_mut() {
        person.user = evil.into();
    }
    for path in ["/", "/account", "/signin/step-up"] {
        let page = fake.gate(get(path)).await;
        assert!(page.is_page());
        assert!(!page.body().contains("<script"), "{path}");
        assert!(!page.body().contains("\"\">"), "{path}");
    }
    let form = password_form("%22%3E%3Cscript%3E", "x");
    let page = Fake::stranger().gate(post("/signin", &form)).await;
    assert_eq!(page.status(), 401);
    assert!(!page.body().contains("<script"));
    assert!(page.body().contains("value=\"&#34;&#62;&#60;script&#62;\""));
}

#[tokio::test]
async fn the_language_is_chosen_kept_and_not_lost_on_the_way() {
    let page = Fake::stranger().gate(get("/signin?lang=fr&rt=app1")).await;
    assert!(page.body().contains("<html lang=\"fr\">"));
    assert!(page.cookies()[0].starts_with("__Host-postern-lang=fr; "));
    assert!(page.body().contains("href=\"/signin?lang=de&#38;rt=app1\""));
    let kept = Fake::stranger().with_cookie("__Host-postern-lang", "de");
    let page = kept.gate(get("/signin")).await;
    assert!(page.body().contains("<html lang=\"de\">"));
    assert!(page.cookies().is_empty());
    let mut fake = Fake::nadia();
    if let Some(person) = fake.visit.person.as_mut() {
        person.language = Some("de".to_owned());
    }
    assert!(
        fake.gate(get("/"))
            .await
            .body()
            .contains("<html lang=\"de\">")
    );
    let mut request = get("/signin?lang=xx");
    let accept = http::HeaderValue::from_static("fr-BE,en;q=0.5");
    request.headers_mut().insert("accept-language", accept);
    let page = Fake::stranger().gate(request).await;
    assert!(page.body().contains("<html lang=\"fr\">"));
    assert!(page.cookies().is_empty());
}

#[tokio::test]
async fn no_answer_is_without_its_headers() {
    let nadia = Fake::nadia();
    let mut answers: Vec<_> = Box::pin(golden::all())
        .await
        .into_iter()
        .map(|(_, a)| a)
        .collect();
    for uri in [
        "/",
        "/signin",
        "/nothing",
        "/postern.css",
        "/.postern/icon.svg",
        "/signout",
    ] {
        answers.push(nadia.gate(get(uri)).await);
    }
    for answer in answers {
        let csp = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(csp.contains(part), "{csp}");
        }
        assert!(!csp.contains("unsafe"));
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value);
        }
        assert!(!answer.header("permissions-policy").is_empty());
        assert!(answer.header("access-control-allow-origin").is_empty());
        let kind = answer.header("content-type");
        if kind.starts_with("text/html") {
            assert_eq!(answer.header("cache-control"), "no-store");
        }
        assert!(kind.contains("charset=utf-8") || kind == "image/svg+xml");
    }
}

#[tokio::test]
async fn a_request_without_its_desk_is_a_fault_of_ours() {
    use tower::ServiceExt;
    let answer = crate::pages::sign_in_host()
        .oneshot(get("/"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 500);
}
