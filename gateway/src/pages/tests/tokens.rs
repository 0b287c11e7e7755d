//! The person's own tokens, as the browser sends them.

use super::fake::Fake;
use super::handlers::{get, post, token_of_session};

const LIST: &str = "/account/tokens";
const MAKE: &str = "/account/tokens/make";
const REVOKE: &str = "/account/tokens/revoke";

fn nadia() -> Fake {
    let mut nadia = Fake::nadia();
    nadia.takes_tokens = true;
    nadia
}

fn confirmed() -> Fake {
    let mut nadia = nadia();
    nadia.confirmed = true;
    nadia
}

fn with_session(fields: &str) -> String {
    format!("csrf={}&{fields}", token_of_session())
}

fn wanted(name: &str) -> String {
    with_session(&format!("app=app.git&name={name}&days=30"))
}

#[tokio::test]
async fn a_token_is_made_behind_password_and_code_and_shown_once() {
    let asking = nadia();
    let refused = asking.gate(post(MAKE, &wanted("desk"))).await;
    assert_eq!(refused.status(), 403);
    assert!(refused.body().contains("name=\"act\" value=\"make-token\""));
    assert!(asking.acts().is_empty());
    let asked = asking.gate(get(MAKE)).await;
    assert!(asked.body().contains("value=\"make-token\"") && !asked.body().contains("app.git"));
    let nadia = confirmed();
    let form = nadia.gate(get(MAKE)).await;
    assert!(
        form.body().contains("value=\"app.git\"") && form.body().contains("value=\"90\" selected")
    );
    let made = nadia.gate(post(MAKE, &wanted("desk"))).await;
    assert!(made.is_page() && made.body().contains("ptk_secret"));
    assert_eq!(made.header("cache-control"), "no-store");
    assert_eq!(nadia.acts(), ["make token app.git desk 30"]);
    assert!(!nadia.gate(get(LIST)).await.body().contains("ptk_secret"));
}

#[tokio::test]
async fn each_fault_is_told_on_the_form_and_a_good_name_is_not_one() {
    for (name, status) in [
        ("", 422),
        ("laptop", 422),
        ("eleventh", 422),
        ("late", 403),
        ("down", 503),
        ("desk", 200),
    ] {
        let answer = confirmed().gate(post(MAKE, &wanted(name))).await;
        assert_eq!(answer.status(), status, "{name}");
    }
    let other = with_session("app=app.web&name=desk&days=30");
    assert_eq!(confirmed().gate(post(MAKE, &other)).await.status(), 422);
    let odd = with_session("app=app.git&name=desk&days=some");
    assert_eq!(confirmed().gate(post(MAKE, &odd)).await.status(), 400);
}

#[tokio::test]
async fn tokens_are_listed_and_revoked_without_another_code() {
    let nadia = nadia();
    let list = nadia.gate(get(LIST)).await;
    assert!(
        list.body().contains("&#60;b&#62;laptop") && list.body().contains("office (192.0.2.1)")
    );
    let revoke = |id: &str| with_session(&format!("token={id}"));
    let done = nadia.gate(post(REVOKE, &revoke("taaaaaaaaaaaao"))).await;
    assert_eq!(
        (done.status(), done.header("location")),
        (303.try_into().unwrap(), LIST)
    );
    let unknown = nadia.gate(post(REVOKE, &revoke("taaaaaaaaaaaaa"))).await;
    assert_eq!(unknown.status(), 404);
    assert_eq!(nadia.gate(post(REVOKE, &revoke("x"))).await.status(), 400);
    assert_eq!(
        nadia.acts(),
        ["revoke taaaaaaaaaaaao", "revoke taaaaaaaaaaaaa"]
    );
}

#[tokio::test]
async fn the_account_leads_to_tokens_where_some_app_takes_them() {
    let link = "href=\"/account/tokens\"";
    assert!(nadia().gate(get("/account")).await.body().contains(link));
    assert!(
        !Fake::nadia()
            .gate(get("/account"))
            .await
            .body()
            .contains(link)
    );
    assert_eq!(Fake::stranger().gate(get(LIST)).await.status(), 303);
}
