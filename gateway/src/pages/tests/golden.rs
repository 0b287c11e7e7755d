//! Every page as the browser gets it, in files under `golden/`; `BLESS=1` writes them anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request};

use super::fake::{Answer, Fake, GOOD_KEY, NONCE, news};
use super::handlers::{get, post, token_of_browser, token_of_session};
use super::proofs::{ending, held};
use crate::identity::Due;
use crate::pages::desk::{Ask, Here};
use crate::pages::lang::Lang;
use crate::pages::problem::{Detail, Problem, problem};

fn file(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("src/pages/golden").join(format!("{name}.html"))
}

fn check(name: &str, body: &str) {
    let path = file(name);
    // the version of the stylesheet is not what a golden page is about
    let body = body.replace(crate::pages::assets::VERSION.as_str(), "VERSION");
    let body = body.replace(crate::pages::assets::SCRIPT_VERSION.as_str(), "VERSION");
    let body = body.replace(crate::pages::assets::KEY_MAKER_VERSION.as_str(), "VERSION");
    let body = body.replace(crate::pages::assets::WATCH_VERSION.as_str(), "VERSION");
    let body = body.replace(crate::pages::assets::BASE, "STYLE");
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &body).unwrap();
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        held == body,
        "{name} differs; look at it and run with BLESS=1"
    );
}

fn nadia_here(here: Here) -> Fake {
    let mut fake = Fake::nadia();
    fake.visit.here = here;
    fake
}

pub(super) async fn all() -> Vec<(&'static str, Answer)> {
    let stranger = Fake::stranger();
    let half = Fake::stranger().with_cookie("__Host-postern-login", "half");
    let nadia = Fake::nadia();
    let enrolling = Fake::stranger().with_cookie("__Host-postern-enrol", "invite");
    let mut bare = Fake::nadia();
    bare.apps.clear();
    bare.devices.clear();
    bare.visit.contact = Some("Help desk, room 12, help@example.org".to_owned());
    let csrf = token_of_browser();
    let wrong = format!("csrf={csrf}&username=nadia&password=wrong&rt=app1");
    let mut pages = vec![
        ("signin", stranger.gate(get("/signin")).await),
        (
            "signin-fr",
            stranger.gate(get("/signin?lang=fr&rt=app1")).await,
        ),
        ("signin-de", stranger.gate(get("/signin?lang=de")).await),
        ("signin-wrong", stranger.gate(post("/signin", &wrong)).await),
        ("code", half.gate(get("/signin/code?rt=app1")).await),
        ("code-de", half.gate(get("/signin/code?lang=de")).await),
        ("step-up", nadia.gate(get("/signin/step-up")).await),
        ("why", nadia.gate(get("/signin/reason?rt=crm1")).await),
        (
            "why-de",
            nadia.gate(get("/signin/reason?lang=de&rt=crm1")).await,
        ),
        ("portal", nadia.gate(get("/")).await),
        ("portal-de", nadia.gate(get("/?lang=de")).await),
        ("portal-bare", bare.gate(get("/")).await),
        ("account", nadia.gate(get("/account")).await),
        ("account-fr", nadia.gate(get("/account?lang=fr")).await),
        ("enrol", enrolling.gate(get("/enrol")).await),
        ("enrol-de", enrolling.gate(get("/enrol?lang=de")).await),
        ("enrol-dead", stranger.gate(get("/enrol/nothing")).await),
        ("leave", nadia.app(get("/.postern/signout")).await),
        ("signed-out", stranger.app(get("/.postern/signout")).await),
    ];
    for (name, here) in [
        ("portal-open", Here::Open("laptop".to_owned())),
        ("portal-closed", Here::Closed("laptop".to_owned())),
        (
            "portal-not-yours",
            Here::NotYours("phone of Max".to_owned()),
        ),
    ] {
        pages.push((name, nadia_here(here).gate(get("/")).await));
    }
    pages.extend(factors().await);
    pages.extend(devices().await);
    pages
}

/// The pages about the person's own factors.
async fn factors() -> Vec<(&'static str, Answer)> {
    let half = Fake::stranger().with_cookie("__Host-postern-login", "half");
    let nadia = Fake::nadia();
    let mut told = Fake::nadia();
    told.notices = news();
    told.codes_left = 0;
    let mut confirmed = Fake::nadia();
    confirmed.confirmed = true;
    let asked = |ask| {
        let mut fake = Fake::stranger().with_cookie("__Host-postern-enrol", "invite");
        fake.ask = ask;
        fake
    };
    let session = format!("csrf={}", token_of_session());
    let browser = format!("csrf={}", token_of_browser());
    let short = format!("{session}&password=short&again=short&others=end");
    let stranger = Fake::stranger();
    let mut mailless = Fake::stranger();
    mailless.mail = false;
    mailless.visit.contact = Some("help@example.org".to_owned());
    let linked = Fake::stranger().with_cookie("__Host-postern-reset", NONCE);
    let named = format!("{browser}&username=nadia");
    let too_short = format!("{browser}&password=short&again=short");
    let chosen = format!("{browser}&password=long+enough&again=long+enough");
    let enrolled = format!("{browser}&password=x&again=x&code=123456");
    vec![
        ("recovery", half.gate(get("/signin/recovery?rt=app1")).await),
        (
            "recovery-fr",
            half.gate(get("/signin/recovery?lang=fr")).await,
        ),
        ("forgot", stranger.gate(get("/signin/forgot")).await),
        (
            "forgot-none-de",
            mailless.gate(get("/signin/forgot?lang=de")).await,
        ),
        (
            "forgot-sent-fr",
            stranger.gate(post("/signin/forgot?lang=fr", &named)).await,
        ),
        ("reset", linked.gate(get("/signin/reset")).await),
        (
            "reset-short-de",
            linked.gate(post("/signin/reset?lang=de", &too_short)).await,
        ),
        (
            "reset-done",
            linked.gate(post("/signin/reset", &chosen)).await,
        ),
        ("reset-dead", stranger.gate(get("/signin/reset")).await),
        (
            "enrol-reset",
            asked(Ask::Password).gate(get("/enrol")).await,
        ),
        (
            "enrol-recovered",
            asked(Ask::Recovered).gate(get("/enrol")).await,
        ),
        (
            "enrol-imported-de",
            asked(Ask::Imported).gate(get("/enrol?lang=de")).await,
        ),
        (
            "enrol-weak",
            asked(Ask::BetterPassword).gate(get("/enrol")).await,
        ),
        (
            "enrol-done",
            asked(Ask::NewPassword)
                .gate(post("/enrol", &enrolled))
                .await,
        ),
        ("portal-told", told.gate(get("/")).await),
        ("again", nadia.app(get("/.postern/again?form=note")).await),
        (
            "again-gone-de",
            nadia.app(get("/.postern/again?form=x&lang=de")).await,
        ),
        (
            "portal-ending",
            ending(7, Some(Duration::from_secs(7200)))
                .gate(get("/"))
                .await,
        ),
        (
            "portal-ending-fr",
            ending(1, None).gate(get("/?lang=fr")).await,
        ),
        (
            "account-ending-de",
            ending(15, Some(Duration::from_secs(5400)))
                .gate(get("/account?lang=de"))
                .await,
        ),
        (
            "device-moved",
            held(Due::Moved).gate(get("/signin/device")).await,
        ),
        (
            "device-idle-fr",
            held(Due::Idle).gate(get("/signin/device?lang=fr")).await,
        ),
        (
            "device-old-de",
            held(Due::Age)
                .gate(get("/signin/device?lang=de&rt=app1"))
                .await,
        ),
        ("account-told-de", told.gate(get("/account?lang=de")).await),
        ("confirm", nadia.gate(get("/account/password")).await),
        ("confirm-fr", nadia.gate(get("/account/app?lang=fr")).await),
        ("password", confirmed.gate(get("/account/password")).await),
        (
            "password-de",
            confirmed.gate(get("/account/password?lang=de")).await,
        ),
        (
            "password-short",
            confirmed.gate(post("/account/password", &short)).await,
        ),
        ("app", confirmed.gate(get("/account/app")).await),
        ("codes-new", confirmed.gate(get("/account/codes")).await),
        (
            "codes",
            confirmed.gate(post("/account/codes", &session)).await,
        ),
        (
            "codes-fr",
            confirmed
                .gate(post("/account/codes?lang=fr", &session))
                .await,
        ),
    ]
}

/// The pages about the person's own devices.
async fn devices() -> Vec<(&'static str, Answer)> {
    let nadia = Fake::nadia();
    let mut confirmed = Fake::nadia();
    confirmed.confirmed = true;
    let mut bare = confirmed.clone();
    bare.devices.clear();
    let key = GOOD_KEY.replace('/', "%2F").replace('=', "%3D");
    let form = |name: &str| {
        let csrf = token_of_session();
        format!("csrf={csrf}&name={name}&public_key={key}")
    };
    let add = "/account/devices/add";
    vec![
        ("devices", nadia.gate(get("/account/devices")).await),
        (
            "devices-confirmed",
            confirmed.gate(get("/account/devices")).await,
        ),
        (
            "devices-confirmed-de",
            confirmed.gate(get("/account/devices?lang=de")).await,
        ),
        (
            "devices-fr",
            nadia.gate(get("/account/devices?lang=fr")).await,
        ),
        ("devices-bare", bare.gate(get("/account/devices")).await),
        ("device-add", confirmed.gate(get(add)).await),
        (
            "device-add-fr",
            confirmed.gate(get("/account/devices/add?lang=fr")).await,
        ),
        (
            "device-add-taken",
            confirmed.gate(post(add, &form("laptop"))).await,
        ),
        (
            "device-added",
            confirmed.gate(post(add, &form("phone"))).await,
        ),
        (
            "device-added-de",
            confirmed
                .gate(post("/account/devices/add?lang=de", &form("phone")))
                .await,
        ),
    ]
}

pub(super) fn denied(lang: Lang) -> String {
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("text/html"));
    let detail = Detail {
        request_id: "01KARQ0Z3M",
        code: Some("D-0017"),
        contact: None,
        ..Detail::default()
    };
    let page = problem(Problem::Denied, lang, &headers, &detail);
    String::from_utf8(page.body().to_vec()).unwrap()
}

#[tokio::test]
async fn pages_look_as_the_golden_files_say() {
    for (name, answer) in Box::pin(all()).await {
        check(name, answer.body());
    }
    for (name, lang) in [("denied", Lang::En), ("denied-fr", Lang::Fr)] {
        check(name, &denied(lang));
    }
}

#[tokio::test]
async fn every_page_names_its_language_and_loads_nothing_foreign() {
    for (name, answer) in Box::pin(all()).await {
        let body = answer.body();
        assert!(body.contains("<html lang=\""), "{name}");
        // Where there is a script it is a file of ours, and the answer allows no other.
        let inline = body.replace("<script src=\"/.postern/pages.js?v=", "");
        let inline = inline.replace("<script src=\"/.postern/devices.js?v=", "");
        assert!(!inline.contains("<script"), "{name}");
        let scripted = body.contains("<script");
        let csp = answer.header("content-security-policy");
        assert_eq!(
            csp.contains("script-src 'self';"),
            scripted,
            "{name}: {csp}"
        );
        assert!(csp.starts_with("default-src 'none'"), "{name}");
        assert!(
            !body.contains(" onclick") && !body.contains("javascript:"),
            "{name}"
        );
        assert!(!body.contains(" style="), "{name}");
        assert!(
            !body.contains("='"),
            "{name} has an attribute in single quotes"
        );
        for piece in body.split("src=\"").skip(1) {
            assert!(piece.starts_with('/'), "{name}");
        }
    }
}

/// Writes every page with its style inside, for looking at them in a browser.
#[tokio::test]
async fn pages_can_be_written_out_for_looking_at() {
    let Some(dir) = std::env::var_os("POSTERN_PAGES_OUT").map(PathBuf::from) else {
        return;
    };
    let sheet = Fake::stranger().gate(get("/postern.css")).await;
    let style = format!("<style>{}</style></head>", sheet.body());
    std::fs::create_dir_all(&dir).unwrap();
    for (name, answer) in Box::pin(all()).await {
        let page = answer.body().replacen("</head>", &style, 1);
        std::fs::write(dir.join(format!("{name}.html")), page).unwrap();
    }
    std::fs::write(dir.join("denied.html"), denied(Lang::En)).unwrap();
    let gone = Fake::nadia();
    let request = Request::builder()
        .method(Method::GET)
        .uri("/nothing")
        .header("accept", "text/html")
        .body(Body::empty())
        .unwrap();
    let page = gone.gate(request).await;
    std::fs::write(dir.join("not-found.html"), page.body()).unwrap();
}
