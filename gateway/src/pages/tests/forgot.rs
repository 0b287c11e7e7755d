use super::fake::{Fake, NONCE};
use super::handlers::{get, post, token_of_browser};

fn form(fields: &str) -> String {
    format!("csrf={}&{fields}", token_of_browser())
}

#[tokio::test]
async fn every_name_gets_the_same_answer() {
    let stranger = Fake::stranger();
    let ask = |name: &str| post("/signin/forgot", &form(&format!("username={name}")));
    let known = stranger.gate(ask("nadia")).await;
    let unknown = stranger.gate(ask("nobody")).await;
    assert_eq!(known.status(), 200);
    assert_eq!(known.body(), unknown.body());
    assert_eq!(stranger.acts(), ["forgot nadia", "forgot nobody"]);
    let late = stranger.gate(ask("eager")).await;
    assert_eq!(late.status(), 429);
    assert_eq!(late.header("retry-after"), "600");
}

#[tokio::test]
async fn a_form_from_elsewhere_asks_for_nothing() {
    let stranger = Fake::stranger();
    let foreign = post("/signin/forgot", "csrf=x&username=nadia");
    assert_eq!(stranger.gate(foreign).await.status(), 403);
    let mut other = post("/signin/forgot", &form("username=nadia"));
    let origin = http::HeaderValue::from_static("https://evil.example");
    other.headers_mut().insert("origin", origin);
    assert_eq!(stranger.gate(other).await.status(), 403);
    let doubled = post("/signin/forgot", &form("username=nadia&username=ben"));
    assert_eq!(stranger.gate(doubled).await.status(), 400);
    assert!(stranger.acts().is_empty());
}

#[tokio::test]
async fn without_mail_nothing_is_taken() {
    let mut fake = Fake::stranger();
    fake.mail = false;
    let answer = fake
        .gate(post("/signin/forgot", &form("username=nadia")))
        .await;
    assert!(answer.body().contains("sends no mails"));
    assert!(fake.acts().is_empty());
}

#[tokio::test]
async fn a_link_leaves_the_url_and_a_dead_one_leaves_no_cookie() {
    let stranger = Fake::stranger();
    let good = stranger.gate(get(&format!("/signin/reset/{NONCE}"))).await;
    assert_eq!(
        (good.status(), good.header("location")),
        (303, "/signin/reset")
    );
    let kept = good.cookies();
    assert!(
        kept.iter()
            .any(|c| c.starts_with("__Host-postern-reset=AAAA")),
        "{kept:?}"
    );
    for dead in ["BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", "x", "%0d%0a"] {
        let answer = stranger.gate(get(&format!("/signin/reset/{dead}"))).await;
        assert_eq!(answer.status(), 404, "{dead}");
        assert!(answer.cookies().iter().all(|c| !c.contains("reset=B")));
    }
}

#[tokio::test]
async fn a_new_password_is_typed_twice_and_answered() {
    let linked = Fake::stranger().with_cookie("__Host-postern-reset", NONCE);
    for (fields, status) in [
        ("password=one&again=two", 422),
        ("password=short&again=short", 422),
        ("password=late&again=late", 404),
        ("password=eager&again=eager", 429),
        ("password=crowd&again=crowd", 503),
        ("password=down&again=down", 503),
        ("password=fine&again=fine", 200),
    ] {
        let answer = linked.gate(post("/signin/reset", &form(fields))).await;
        assert_eq!(answer.status(), status, "{fields}");
    }
    assert!(!linked.acts().contains(&format!("reset {NONCE} one")));
    let stranger = Fake::stranger();
    let answer = stranger
        .gate(post("/signin/reset", &form("password=a&again=a")))
        .await;
    assert_eq!(answer.status(), 404);
    assert!(stranger.acts().is_empty());
}
