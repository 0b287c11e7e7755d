//! The person's own devices, as the browser sends them.

use axum::body::Body;
use http::{HeaderValue, Request};

use super::fake::{Fake, GOOD_KEY, HOLE, USED_KEY};
use super::handlers::{get, post, token_of_session};

const LIST: &str = "/account/devices";
const ADD: &str = "/account/devices/add";
const RENAME: &str = "/account/devices/rename";
const REVOKE: &str = "/account/devices/revoke";

fn confirmed() -> Fake {
    let mut nadia = Fake::nadia();
    nadia.confirmed = true;
    nadia
}

fn with_session(fields: &str) -> String {
    format!("csrf={}&{fields}", token_of_session())
}

fn addition(name: &str, key: &str) -> String {
    let key = key.replace('+', "%2B").replace('/', "%2F");
    with_session(&format!(
        "name={name}&public_key={}",
        key.replace('=', "%3D")
    ))
}

/// As the page's own script asks.
fn by_script(mut request: Request<Body>) -> Request<Body> {
    let headers = request.headers_mut();
    headers.insert("accept", HeaderValue::from_static("application/json"));
    headers.insert("sec-fetch-mode", HeaderValue::from_static("cors"));
    headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
    request
}

#[tokio::test]
async fn every_change_of_a_device_asks_for_password_and_code_first() {
    let rename = with_session("device=d1&name=desk");
    let revoke = with_session("device=d1");
    let add = addition("desk", GOOD_KEY);
    for (path, form, act) in [
        (RENAME, &rename, "devices"),
        (REVOKE, &revoke, "devices"),
        (ADD, &add, "add-device"),
    ] {
        let nadia = Fake::nadia();
        let refused = nadia.gate(post(path, form)).await;
        assert_eq!(refused.status(), 403, "{path}");
        let hidden = format!("name=\"act\" value=\"{act}\"");
        assert!(refused.body().contains(&hidden), "{path}");
        assert!(nadia.acts().is_empty(), "{path}");
        let confirmed = confirmed();
        let done = confirmed.gate(post(path, form)).await;
        assert!(done.status() < 400, "{path}");
        assert_eq!(confirmed.acts().len(), 1, "{path}");
    }
    for (path, hidden) in [(ADD, "add-device"), ("/account/devices/change", "devices")] {
        let page = Fake::nadia().gate(get(path)).await;
        assert!(page.is_page(), "{path}");
        let hidden = format!("name=\"act\" value=\"{hidden}\"");
        assert!(page.body().contains(&hidden), "{path}");
        assert!(!page.body().contains("<script"), "{path}");
    }
    let change = confirmed().gate(get("/account/devices/change")).await;
    assert_eq!((change.status(), change.header("location")), (303, LIST));
}

#[tokio::test]
async fn password_and_code_lead_on_to_the_devices() {
    for (act, to) in [("devices", LIST), ("add-device", ADD)] {
        let form = with_session(&format!("act={act}&password=right&code=123456"));
        let answer = Fake::nadia().gate(post("/account/confirm", &form)).await;
        assert_eq!((answer.status(), answer.header("location")), (303, to));
    }
}

#[tokio::test]
async fn a_form_without_the_sessions_proof_changes_nothing() {
    let key = GOOD_KEY.replace('/', "%2F").replace('=', "%3D");
    for (path, fields) in [
        (RENAME, "device=d1&name=desk".to_owned()),
        (REVOKE, "device=d1".to_owned()),
        (ADD, format!("name=desk&public_key={key}")),
    ] {
        let nadia = confirmed();
        let forged = nadia.gate(post(path, &format!("csrf=x&{fields}"))).await;
        assert_eq!(forged.status(), 403, "{path}");
        let bare = nadia.gate(post(path, &fields)).await;
        assert_eq!(bare.status(), 403, "{path}");
        let mut foreign = post(path, &with_session(&fields));
        let origin = HeaderValue::from_static("https://app.example.org");
        foreign.headers_mut().insert("origin", origin);
        assert_eq!(nadia.gate(foreign).await.status(), 403, "{path}");
        let stranger = Fake::stranger();
        let signed_out = stranger.gate(post(path, &with_session(&fields))).await;
        assert_eq!(signed_out.status(), 403, "{path}");
        let wrong = nadia.gate(get(path)).await;
        assert_eq!(
            wrong.status(),
            if path == ADD { 200 } else { 405 },
            "{path}"
        );
        assert!(nadia.acts().is_empty() && stranger.acts().is_empty());
        let own = nadia.gate(post(path, &with_session(&fields))).await;
        assert!(own.status() < 400, "{path}");
    }
    for path in [LIST, ADD, "/account/devices/change"] {
        let answer = Fake::stranger().gate(get(path)).await;
        let back_here = format!("/signin?rt={}", path.replace('/', "_"));
        assert_eq!(answer.header("location"), back_here);
    }
}

#[tokio::test]
async fn the_list_has_forms_once_confirmed_and_facts_before() {
    let page = Fake::nadia().gate(get(LIST)).await;
    assert!(page.is_page());
    for fact in [
        "laptop",
        "10.200.200.2",
        "office (192.0.2.7)",
        "1 MB received",
    ] {
        assert!(page.body().contains(fact), "{fact}");
    }
    assert!(!page.body().contains("action=\"/account/devices/"));
    assert!(page.body().contains("href=\"/account/devices/change\""));
    let page = confirmed().gate(get(LIST)).await;
    for path in [RENAME, REVOKE] {
        let forms = page.body().matches(&format!("action=\"{path}\"")).count();
        assert_eq!(forms, 2, "two of three are not revoked: {path}");
    }
    assert!(!page.body().contains("href=\"/account/devices/change\""));
    for path in ["/", "/account"] {
        let page = Fake::nadia().gate(get(path)).await;
        assert!(page.body().contains("href=\"/account/devices\""), "{path}");
    }
}

#[tokio::test]
async fn a_device_of_somebody_else_is_not_found_and_an_own_one_is_changed() {
    let nadia = confirmed();
    for (device, status) in [("d77", 404), ("d1", 303)] {
        let rename = with_session(&format!("device={device}&name=desk"));
        let revoke = with_session(&format!("device={device}"));
        for (path, form) in [(RENAME, rename), (REVOKE, revoke)] {
            let answer = nadia.gate(post(path, &form)).await;
            assert_eq!(answer.status(), status, "{path} {device}");
        }
    }
    for bad in ["1", "d-1", "d99999999999", ""] {
        let form = with_session(&format!("device={bad}"));
        assert_eq!(nadia.gate(post(REVOKE, &form)).await.status(), 400, "{bad}");
    }
    let acts = [
        "rename d77 desk",
        "revoke d77",
        "rename d1 desk",
        "revoke d1",
    ];
    assert_eq!(nadia.acts(), acts);
}

#[tokio::test]
async fn a_name_that_is_not_taken_is_told_on_the_list() {
    for (name, status) in [("", 422), ("laptop", 422), ("late", 403), ("down", 503)] {
        let form = with_session(&format!("device=d2&name={name}"));
        let answer = confirmed().gate(post(RENAME, &form)).await;
        assert_eq!(answer.status(), status, "{name}");
    }
    let nadia = confirmed();
    let form = with_session("device=d2&name=+tablet+");
    assert_eq!(nadia.gate(post(RENAME, &form)).await.status(), 303);
    assert_eq!(nadia.acts(), ["rename d2 tablet"]);
}

#[tokio::test]
async fn without_a_script_the_configuration_has_a_hole_and_no_key() {
    let nadia = confirmed();
    let page = nadia.gate(post(ADD, &addition("desk", GOOD_KEY))).await;
    assert!(page.is_page());
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(
        page.body()
            .contains("PrivateKey = &#60;the private key&#62;")
    );
    assert!(!page.body().contains("<script"));
    let file = page.body().split("charset=utf-8;base64,").nth(1).unwrap();
    let base64 = file.split('"').next().unwrap().replace("&#43;", "+");
    let text = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(HOLE));
    assert_eq!(nadia.acts(), [format!("add device desk {GOOD_KEY}")]);
}

#[tokio::test]
async fn the_pages_own_script_gets_the_configuration_as_json() {
    let nadia = confirmed();
    let request = by_script(post(ADD, &addition("desk", GOOD_KEY)));
    let answer = nadia.gate(request).await;
    assert_eq!(answer.status(), 200);
    let told: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(told["name"], "desk");
    assert_eq!(told["placeholder"], HOLE);
    let config = told["config"].as_str().unwrap();
    assert_eq!(config.matches(HOLE).count(), 1);
    let late = by_script(post(ADD, &addition("desk", GOOD_KEY)));
    let late = Fake::nadia().gate(late).await;
    assert_eq!(late.status(), 403);
    assert!(late.body().contains("\"error\":\"not-confirmed\""));
}

#[tokio::test]
async fn what_stands_against_a_new_device_is_told_on_page_and_as_json() {
    let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (name, key, status, error) in [
        ("desk", zero, 422, "bad-key"),
        ("desk", "short", 422, "bad-key"),
        ("desk", USED_KEY, 422, "key-taken"),
        ("", GOOD_KEY, 422, "bad-name"),
        ("laptop", GOOD_KEY, 422, "name-taken"),
        ("eleventh", GOOD_KEY, 422, "too-many-devices"),
        ("full", GOOD_KEY, 422, "no-address"),
        ("twentieth", GOOD_KEY, 429, "too-many-today"),
        ("late", GOOD_KEY, 403, "not-confirmed"),
        ("down", GOOD_KEY, 503, "unavailable"),
    ] {
        let form = addition(name, key);
        let page = confirmed().gate(post(ADD, &form)).await;
        assert_eq!(page.status(), status, "{name} {key}");
        assert!(!page.body().contains(HOLE));
        let told = confirmed().gate(by_script(post(ADD, &form))).await;
        assert_eq!(told.status(), status, "{name} {key}");
        let told: serde_json::Value = serde_json::from_str(told.body()).unwrap();
        assert_eq!(told["error"], error);
        if status == 422 {
            let text = told["text"].as_str().unwrap();
            let text = text.replace('\'', "&#39;");
            assert!(page.body().contains(&text), "{text}");
            let typed = format!("name=\"name\" type=\"text\" maxlength=\"64\" value=\"{name}\"");
            assert!(page.body().contains(&typed), "what was typed stays");
        }
    }
    let nadia = confirmed();
    let taken = nadia.gate(post(ADD, &addition("desk", GOOD_KEY))).await;
    assert!(taken.is_page());
}

#[tokio::test]
async fn the_page_that_makes_keys_may_ask_its_own_host_and_no_other_page_may() {
    let page = confirmed().gate(get(ADD)).await;
    let csp = page.header("content-security-policy").to_owned();
    for part in [
        "default-src 'none'",
        "script-src 'self';",
        "connect-src 'self';",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ] {
        assert!(csp.contains(part), "{part}: {csp}");
    }
    let script = page.body().split("<script src=\"").nth(1).unwrap();
    let script = script.split('"').next().unwrap();
    let script = confirmed().gate(get(script)).await;
    assert_eq!(script.status(), 200);
    assert!(script.header("content-type").starts_with("text/javascript"));
    assert!(script.header("cache-control").contains("immutable"));
    for path in [LIST, "/account/password", "/account"] {
        let page = confirmed().gate(get(path)).await;
        let csp = page.header("content-security-policy");
        assert!(!csp.contains("connect-src"), "{path}");
    }
}
