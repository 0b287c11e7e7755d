//! The person's own factors, as the browser sends them.

use super::fake::{Fake, news};
use super::handlers::{get, post, token_of_browser, token_of_session};
use crate::pages::desk::Ask;

fn confirmed() -> Fake {
    let mut nadia = Fake::nadia();
    nadia.confirmed = true;
    nadia
}

fn half() -> Fake {
    Fake::stranger().with_cookie("__Host-postern-login", "half")
}

fn with_session(fields: &str) -> String {
    format!("csrf={}{fields}", token_of_session())
}

#[tokio::test]
async fn the_second_step_offers_a_recovery_code_and_a_step_up_does_not() {
    let page = half().gate(get("/signin/code?rt=app1")).await;
    assert!(page.body().contains("href=\"/signin/recovery?rt=app1\""));
    let page = Fake::nadia().gate(get("/signin/step-up")).await;
    assert!(page.is_page() && !page.body().contains("/signin/recovery"));
}

#[tokio::test]
async fn a_recovery_code_leads_to_enrolment_and_makes_no_session() {
    let csrf = token_of_browser();
    let form = |code: &str| format!("csrf={csrf}&recovery={code}&rt=app1");
    let answer = half()
        .gate(post("/signin/recovery", &form("abcd-efgh-ijkl-mnop")))
        .await;
    assert_eq!(
        (answer.status(), answer.header("location")),
        (303, "/enrol")
    );
    let cookies = answer.cookies();
    assert!(cookies[0].starts_with("__Host-postern-enrol=invite; "));
    assert!(cookies[1].starts_with("__Host-postern-login=; "));
    assert!(!cookies.iter().any(|c| c.starts_with("__Host-postern=")));
    for (code, status, wait) in [("wrong", 401, ""), ("wait", 429, "900"), ("down", 503, "")] {
        let answer = half().gate(post("/signin/recovery", &form(code))).await;
        assert_eq!(answer.status(), status, "{code}");
        assert_eq!(answer.header("retry-after"), wait, "{code}");
        assert!(answer.body().contains("name=\"recovery\""));
        assert!(!answer.body().contains(code) || code == "wait");
    }
}

#[tokio::test]
async fn a_recovery_code_needs_the_first_step_and_the_token_of_its_form() {
    let csrf = token_of_browser();
    let form = format!("csrf={csrf}&recovery=abcd-efgh-ijkl-mnop");
    let answer = Fake::stranger().gate(get("/signin/recovery")).await;
    assert_eq!(answer.header("location"), "/signin");
    let late = Fake::stranger().with_cookie("__Host-postern-login", "old");
    for fake in [late, Fake::stranger()] {
        let answer = fake.gate(post("/signin/recovery", &form)).await;
        assert_eq!(answer.status(), 401);
        assert!(answer.body().contains("name=\"password\""));
    }
    let fake = half();
    let forged = post("/signin/recovery", "csrf=x&recovery=abcd-efgh-ijkl-mnop");
    assert_eq!(fake.gate(forged).await.status(), 403);
    assert!(fake.acts().is_empty());
    assert_eq!(
        fake.gate(post("/signin/recovery", &form)).await.status(),
        303
    );
}

#[tokio::test]
async fn an_imported_password_leads_to_enrolment() {
    let fake = Fake::stranger();
    let csrf = token_of_browser();
    let form = format!("csrf={csrf}&username=brought&password=right");
    let answer = fake.gate(post("/signin", &form)).await;
    assert_eq!(
        (answer.status(), answer.header("location")),
        (303, "/enrol")
    );
    assert!(answer.cookies()[0].starts_with("__Host-postern-enrol=invite; "));
}

#[tokio::test]
async fn an_enrolment_asks_for_what_its_link_wants() {
    let csrf = token_of_browser();
    for (ask, password, again) in [
        (Ask::NewPassword, true, true),
        (Ask::BetterPassword, true, true),
        (Ask::Password, true, false),
        (Ask::Recovered, false, false),
        (Ask::Imported, false, false),
    ] {
        let mut fake = Fake::stranger().with_cookie("__Host-postern-enrol", "invite");
        fake.ask = ask;
        let page = fake.gate(get("/enrol")).await;
        assert_eq!(
            page.body().contains("name=\"password\""),
            password,
            "{ask:?}"
        );
        assert_eq!(page.body().contains("name=\"again\""), again, "{ask:?}");
        let fields = match (password, again) {
            (true, true) => "&password=x&again=x",
            (true, false) => "&password=x",
            (false, _) => "",
        };
        let form = format!("csrf={csrf}{fields}&code=123456");
        let done = fake.gate(post("/enrol", &form)).await;
        assert!(done.is_page(), "{ask:?}");
        assert!(done.body().contains("abcd-efgh-ijkl-mnop"), "{ask:?}");
    }
}

#[tokio::test]
async fn a_wrong_present_password_is_told_at_a_reset() {
    let mut fake = Fake::stranger().with_cookie("__Host-postern-enrol", "invite");
    fake.ask = Ask::Password;
    let csrf = token_of_browser();
    let form = format!("csrf={csrf}&password=not+mine&code=123456");
    let answer = fake.gate(post("/enrol", &form)).await;
    assert_eq!(answer.status(), 422);
    assert!(answer.body().contains("The password is not right."));
}

#[tokio::test]
async fn recovery_codes_are_shown_once_and_can_be_saved_without_a_script() {
    let fake = confirmed();
    let page = fake.gate(post("/account/codes", &with_session(""))).await;
    assert!(page.is_page());
    assert_eq!(page.header("cache-control"), "no-store");
    let file = page
        .body()
        .split("href=\"data:text/plain;charset=utf-8;base64,");
    let base64 = file.last().unwrap().split('"').next().unwrap();
    let base64 = base64.replace("&#43;", "+").replace("&#x2B;", "+");
    let text = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("Recovery codes of nadia at gate.example.org\r\n"));
    for code in ["abcd-efgh-ijkl-mnop", "jbcd-efgh-ijkl-mnop"] {
        assert!(text.contains(code) && page.body().contains(code));
    }
    // What needs the script is not shown without it.
    assert_eq!(page.body().matches("type=\"button\" hidden").count(), 2);
    let again = fake.gate(get("/account/codes")).await;
    assert!(again.is_page() && !again.body().contains("bcd-efgh"));
}

#[tokio::test]
async fn changes_ask_for_password_and_code_first() {
    let nadia = Fake::nadia();
    for (path, act) in [
        ("/account/password", "password"),
        ("/account/app", "app"),
        ("/account/codes", "codes"),
    ] {
        let page = nadia.gate(get(path)).await;
        assert!(page.is_page(), "{path}");
        let hidden = format!("name=\"act\" value=\"{act}\"");
        assert!(page.body().contains(&hidden), "{path}");
        assert!(page.body().contains("action=\"/account/confirm\""));
        assert!(!page.body().contains("JBSW"), "no secret: {path}");

        let fields = match act {
            "password" => "&password=x&again=x",
            "app" => "&code=123456",
            _ => "",
        };
        let form = with_session(fields);
        let refused = nadia.gate(post(path, &form)).await;
        assert_eq!(refused.status(), 403, "{path}");
        assert!(nadia.acts().is_empty(), "{path}");
        let done = confirmed().gate(post(path, &form)).await;
        assert!(done.status() < 400, "{path}");
        let stranger = Fake::stranger().gate(get(path)).await;
        let back_here = format!("/signin?rt={}", path.replace('/', "_"));
        assert_eq!(stranger.header("location"), back_here);
    }
}

#[tokio::test]
async fn password_and_code_lead_on_to_the_act_with_a_new_cookie() {
    let nadia = Fake::nadia();
    let form = |password: &str, code: &str| {
        with_session(&format!("&act=app&password={password}&code={code}"))
    };
    let answer = nadia
        .gate(post("/account/confirm", &form("right", "123456")))
        .await;
    assert_eq!(
        (answer.status(), answer.header("location")),
        (303, "/account/app")
    );
    assert!(answer.cookies()[0].starts_with("__Host-postern=fresh; "));
    for (password, code, status) in [
        ("wrong", "123456", 401),
        ("right", "000000", 401),
        ("right", "999999", 429),
        ("right", "888888", 503),
    ] {
        let answer = nadia
            .gate(post("/account/confirm", &form(password, code)))
            .await;
        assert_eq!(answer.status(), status, "{password} {code}");
        assert!(answer.cookies().is_empty());
    }
    let strange = with_session("&act=//evil.org&password=right&code=123456");
    let answer = nadia.gate(post("/account/confirm", &strange)).await;
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn a_new_password_is_explained_where_it_is_not_taken() {
    let nadia = confirmed();
    for (new, again, status, words) in [
        ("short", "short", 422, "at least 15 characters"),
        (
            "password1234567",
            "password1234567",
            422,
            "too easy to guess",
        ),
        ("one+pass+phrase", "another", 422, "not the same"),
        ("eager", "eager", 429, "again in 1 min"),
        ("crowd", "crowd", 503, "Too many people"),
        ("late", "late", 403, "action=\"/account/confirm\""),
        ("down", "down", 503, ""),
    ] {
        let form = with_session(&format!("&password={new}&again={again}"));
        let answer = nadia.gate(post("/account/password", &form)).await;
        assert_eq!(answer.status(), status, "{new}");
        assert!(answer.body().contains(words), "{new}");
    }
    let form = with_session("&password=a+new+one&again=a+new+one&others=end");
    let answer = nadia.gate(post("/account/password", &form)).await;
    assert_eq!(answer.header("location"), "/account");
    let acts = nadia.acts();
    assert_eq!(acts.last().unwrap(), "change-password a new one End");
    let form = with_session("&password=a+new+one&again=a+new+one");
    nadia.gate(post("/account/password", &form)).await;
    assert_eq!(
        nadia.acts().last().unwrap(),
        "change-password a new one Keep"
    );
    let page = nadia.gate(get("/account/password")).await;
    assert!(
        page.body()
            .contains("name=\"others\" value=\"end\" checked")
    );
}

#[tokio::test]
async fn another_app_counts_after_a_right_code() {
    let nadia = confirmed();
    let page = nadia.gate(get("/account/app")).await;
    assert!(page.body().contains("JBSW Y3DP"));
    let wrong = with_session("&code=000000");
    let answer = nadia.gate(post("/account/app", &wrong)).await;
    assert_eq!(answer.status(), 422);
    let right = with_session("&code=123456&others=end");
    let answer = nadia.gate(post("/account/app", &right)).await;
    assert_eq!(answer.header("location"), "/account");
}

#[tokio::test]
async fn notices_are_told_once_seen_and_escaped() {
    let mut nadia = Fake::nadia();
    nadia.notices = news();
    for path in ["/", "/account"] {
        let page = nadia.gate(get(path)).await;
        assert_eq!(
            page.body().matches("action=\"/account/notice\"").count(),
            news().len()
        );
        assert!(page.body().contains("192.0.2.9 (Firefox, Windows)"));
        assert!(!page.body().contains("<phone>"));
        // The session it is about is live, so it can be ended from there.
        assert!(page.body().contains("That was not me"));
    }
    let answer = nadia
        .gate(post("/account/notice", &with_session("&notice=1")))
        .await;
    assert_eq!(answer.header("location"), "/account");
    assert_eq!(nadia.acts(), ["dismiss 1"]);
    let strange = with_session("&notice=x");
    let answer = nadia.gate(post("/account/notice", &strange)).await;
    assert_eq!(answer.status(), 400);
    let forged = nadia.gate(post("/account/notice", "csrf=x&notice=1")).await;
    assert_eq!(forged.status(), 403);
    let calm = Fake::nadia().gate(get("/")).await;
    assert!(!calm.body().contains("/account/notice"));
}

#[tokio::test]
async fn a_notice_about_the_session_that_looks_cannot_be_put_away_there() {
    let mut nadia = Fake::nadia();
    nadia.notices = news();
    let here = crate::pages::desk::Desk::sessions(&nadia)
        .into_iter()
        .find(|s| s.current);
    nadia.notices[0].session = here.map(|s| s.id);
    let page = nadia.gate(get("/")).await;
    assert_eq!(
        page.body().matches("action=\"/account/notice\"").count(),
        news().len() - 1
    );
    assert!(page.body().contains("192.0.2.9 (Firefox, Windows)"));
}

#[tokio::test]
async fn who_has_no_recovery_codes_is_offered_some() {
    let mut nadia = Fake::nadia();
    let page = nadia.gate(get("/")).await;
    assert!(!page.body().contains("/account/codes"));
    nadia.codes_left = 0;
    let page = nadia.gate(get("/")).await;
    assert!(page.body().contains("href=\"/account/codes\""));
}

#[tokio::test]
async fn all_other_sessions_are_ended_by_one_button() {
    let nadia = Fake::nadia();
    let page = nadia.gate(get("/account")).await;
    assert!(page.body().contains("action=\"/account/end-others\""));
    assert!(page.body().contains("office (192.0.2.7)"));
    let answer = nadia
        .gate(post("/account/end-others", &with_session("")))
        .await;
    assert_eq!(answer.header("location"), "/account");
    assert_eq!(nadia.acts(), ["end others"]);
    let forged = nadia.gate(post("/account/end-others", "csrf=x")).await;
    assert_eq!(forged.status(), 403);
}

#[tokio::test]
async fn the_script_is_a_file_of_its_own_kept_by_version() {
    let nadia = confirmed();
    let page = nadia.gate(get("/account/password")).await;
    let src = page.body().split("<script src=\"").nth(1).unwrap();
    let src = src.split('"').next().unwrap();
    let script = nadia.gate(get(src)).await;
    assert_eq!(
        script.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    assert!(script.header("cache-control").contains("immutable"));
    assert_eq!(script.header("x-content-type-options"), "nosniff");
    let other = nadia.gate(get("/.postern/pages.js")).await;
    assert!(!other.header("cache-control").contains("immutable"));
}
