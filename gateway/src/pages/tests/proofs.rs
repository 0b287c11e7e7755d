//! Another proof for a device, and the end of a session.

use std::time::Duration;

use super::fake::{Fake, HOST, SESSION_SECRET};
use super::handlers::{get, post, token_of_session};
use crate::identity::Due;
use crate::pages::csrf;
use crate::pages::desk::proofs::{Ending, Held, Watch};

const MINUTE: Duration = Duration::from_secs(60);
const OTHER: &str = "secret of another session";

/// Nadia's laptop, which waits for a code.
pub(super) fn held(due: Due) -> Fake {
    let mut fake = Fake::stranger();
    fake.held = Some(Held {
        csrf: SESSION_SECRET.to_owned(),
        device: "laptop".to_owned(),
        due,
    });
    fake
}

/// Nadia, whose session ends soon.
pub(super) fn ending(minutes: u32, more: Option<Duration>) -> Fake {
    let mut fake = Fake::nadia();
    let within = MINUTE * minutes;
    fake.ending = Some(Ending { within, more });
    fake
}

fn code(path: &str, code: &str) -> http::Request<axum::body::Body> {
    post(
        path,
        &format!("csrf={}&code={code}&rt=app1", token_of_session()),
    )
}

#[tokio::test]
async fn a_held_device_is_asked_for_a_code_and_for_no_password() {
    let fake = held(Due::Moved);
    for path in ["/signin?rt=app1", "/signin/device?rt=app1"] {
        let answer = fake.gate(get(path)).await;
        match answer.status() {
            303 => assert_eq!(answer.header("location"), "/signin/device?rt=app1"),
            _ => {
                assert!(answer.body().contains("laptop is at another address"));
                assert!(!answer.body().contains("name=\"password\""));
            }
        }
    }
    let anew = fake.gate(get("/signin?anew=1")).await;
    assert!(anew.body().contains("name=\"password\""));
    let stranger = Fake::stranger().gate(get("/signin/device")).await;
    assert_eq!(stranger.header("location"), "/signin");
}

#[tokio::test]
async fn a_right_code_opens_it_and_leads_on_and_a_wrong_one_does_not() {
    let fake = held(Due::Age);
    let answer = fake.gate(code("/signin/device", "123456")).await;
    assert_eq!(answer.status(), 303);
    assert!(
        answer
            .header("location")
            .starts_with("https://app.example.org/")
    );
    assert!(answer.header("set-cookie").contains("fresh"));
    assert_eq!(
        fake.gate(code("/signin/device", "000000")).await.status(),
        401
    );
    let waits = fake.gate(code("/signin/device", "999999")).await;
    assert_eq!((waits.status(), waits.header("retry-after")), (429, "900"));
    let stranger = Fake::stranger();
    assert_eq!(
        stranger
            .gate(code("/signin/device", "123456"))
            .await
            .status(),
        303
    );
    assert!(stranger.acts().is_empty());
}

#[tokio::test]
async fn no_proof_is_taken_from_elsewhere() {
    let fake = held(Due::Moved);
    let foreign = csrf::token(OTHER.as_bytes(), HOST, "");
    for path in ["/signin/device", "/signin/device/proof"] {
        let fields = format!("csrf={foreign}&code=123456&signature=AAAA");
        assert_eq!(fake.gate(post(path, &fields)).await.status() / 100, 4);
        let mut request = code(path, "123456");
        let origin = http::HeaderValue::from_static("https://evil.example");
        request.headers_mut().insert("origin", origin);
        assert_eq!(fake.gate(request).await.status() / 100, 4);
    }
    assert!(fake.acts().is_empty());
}

#[tokio::test]
async fn a_page_gives_its_key_within_the_session_and_signs_for_a_held_device() {
    let key = "A".repeat(87);
    let csrf = token_of_session();
    let nadia = Fake::nadia();
    let given = nadia.gate(post(
        "/signin/device/key",
        &format!("csrf={csrf}&key={key}"),
    ));
    assert_eq!(given.await.status(), 200);
    let bad = nadia.gate(post("/signin/device/key", &format!("csrf={csrf}&key=AAAA")));
    assert_eq!(bad.await.status(), 403);
    let signature = format!("csrf={csrf}&signature={}", "A".repeat(86));
    let fake = held(Due::Moved);
    let signed = fake.gate(post("/signin/device/proof", &signature));
    assert_eq!(signed.await.status(), 200);
    let stranger = nadia.gate(post("/signin/device/proof", &signature)).await;
    assert_eq!(stranger.status(), 401);
}

#[tokio::test]
async fn the_end_of_a_session_is_shown_in_its_last_quarter_of_an_hour() {
    let more = Some(MINUTE * 120);
    for (path, minutes, shown) in [("/", 15, true), ("/account", 15, true), ("/", 16, false)] {
        let page = ending(minutes, more).gate(get(path)).await;
        assert_eq!(
            page.body().contains("action=\"/account/extend\""),
            shown,
            "{path}"
        );
        let again = format!("content=\"60;url={path}?glance\"");
        assert_eq!(page.body().contains(&again), !shown, "{}", page.body());
    }
    let last = ending(5, None).gate(get("/")).await;
    assert!(last.body().contains("ends in 5 minutes"));
    assert!(!last.body().contains("/account/extend"));
}

#[tokio::test]
async fn a_code_puts_the_end_off_and_a_wrong_one_does_not() {
    let nadia = ending(5, Some(MINUTE * 90));
    let done = nadia.gate(code("/account/extend", "123456")).await;
    assert_eq!((done.status(), done.header("location")), (303, "/"));
    let wrong = nadia.gate(code("/account/extend", "000000")).await;
    assert_eq!(wrong.status(), 401);
    assert!(wrong.body().contains("90 min more"));
    let forged = nadia
        .gate(post("/account/extend", "csrf=x&code=123456"))
        .await;
    assert_eq!(forged.status(), 403);
    assert_eq!(nadia.acts(), ["extend 123456", "extend 000000"]);
    let stranger = Fake::stranger()
        .gate(code("/account/extend", "123456"))
        .await;
    assert_eq!(stranger.header("location"), "/signin");
}

#[tokio::test]
async fn a_page_in_a_device_that_may_move_watches_it_and_any_other_does_not() {
    let mut nadia = Fake::nadia();
    nadia.watch = Some(Watch::WithNewKey);
    let page = nadia.gate(get("/")).await;
    assert!(page.body().contains("data-watch") && page.body().contains("data-key"));
    assert!(
        page.header("content-security-policy")
            .contains("connect-src 'self'")
    );
    nadia.watch = Some(Watch::WithKey);
    assert!(!nadia.gate(get("/")).await.body().contains("data-key"));
    let plain = Fake::nadia().gate(get("/")).await;
    assert!(!plain.body().contains("data-watch") && !plain.body().contains("<script"));
}

#[tokio::test]
async fn a_kept_form_is_shown_with_a_button_to_its_person_and_nothing_to_anybody_else() {
    let nadia = Fake::nadia();
    let page = nadia.app(get("/.postern/again?form=note")).await;
    let body = page.body();
    assert!(body.contains("gate.example.org/notes?x=1"), "{body}");
    assert!(body.contains("action=\"/notes?x=1"));
    assert!(!body.contains("<script"), "nothing sends it by itself");
    assert_eq!(
        body.matches("s3cr3t").count(),
        1,
        "in the field, not in the table"
    );
    assert_eq!(
        nadia.app(get("/.postern/again?form=other")).await.status(),
        404
    );
    let stranger = Fake::stranger().app(get("/.postern/again?form=note")).await;
    assert_eq!(stranger.status(), 303);
}
