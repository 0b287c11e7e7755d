pub(in crate::console) mod fake;
mod look;

use fake::{Office, Plan};
use serde_json::Value;

use super::{Again, Deed, Preview, StopLine};
use crate::edits::Edit;
use crate::edits::lines::{Line, Mark};
use crate::pages::tests::fake::Fake;
use crate::pages::tests::handlers::{get, post, token_of_session};

/// Every act by an address of its own, and where it leads; a link is shown instead of that.
const ACTS: [(&str, &str); 18] = [
    ("end-session?session=saaaaaaaaaaaaa", "/admin/sessions"),
    ("end-sessions?user=zoe", "/admin/person?user=zoe"),
    ("revoke-device?device=d7", "/admin/devices"),
    ("revoke-token?token=taaaaaaaaaaaaa", "/admin/tokens"),
    ("clear-device?device=d7", "/admin/devices"),
    ("mark-device?device=d7&class=managed", "/admin/devices"),
    ("ban?network=192.0.2.1&time=1h&note=", "/admin/bans"),
    ("unban?network=192.0.2.1%2F32", "/admin/bans"),
    ("renew-certificate?name=gate.example.org", "/admin/certs"),
    ("unlock?user=zoe", "/admin/person?user=zoe"),
    ("invite?user=zoe", "link"),
    ("reset?user=zoe&reason=lost+phone", "link"),
    ("add?user=eve&name=&mail=&group=it", "link"),
    ("disable?user=zoe", "/admin/person?user=zoe"),
    ("enable?user=zoe", "/admin/person?user=zoe"),
    ("remove?user=zoe", "/admin/people"),
    ("join?user=zoe&group=it", "/admin/person?user=zoe"),
    ("leave?user=zoe&group=acme%2Fit", "/admin/person?user=zoe"),
];

fn with_token(more: &str) -> String {
    format!("csrf={}{more}", token_of_session())
}

fn asking_json(path: &str) -> http::Request<axum::body::Body> {
    let mut request = get(path);
    let json = http::HeaderValue::from_static("application/json");
    request.headers_mut().insert("accept", json);
    request
}

#[tokio::test]
async fn every_act_is_asked_about_and_done_once_it_is_confirmed() {
    for (act, back) in ACTS {
        let (office, nadia) = (Office::default(), Fake::nadia());
        let path = format!("/admin/do/{act}");
        let asked = nadia.console(Some(office.looking()), get(&path)).await;
        assert!(asked.is_page(), "{act}: {}", asked.body());
        assert!(asked.body().contains("method=\"post\""), "{act}");
        assert_eq!(office.done(), [], "{act}");
        let done = nadia
            .console(Some(office.acting()), post(&path, &with_token("")))
            .await;
        assert_eq!(office.done().len(), 1, "{act}");
        if back == "link" {
            assert!(
                done.is_page() && done.body().contains("https://gate/enrol/secret"),
                "{act}"
            );
            assert_eq!(done.header("cache-control"), "no-store");
        } else {
            assert_eq!(done.status(), 303, "{act}");
            let joint = if back.contains('?') { '&' } else { '?' };
            assert_eq!(done.header("location"), format!("{back}{joint}done=1"));
        }
    }
}

#[tokio::test]
async fn no_act_is_done_without_token_origin_or_a_permit_to_act() {
    for (act, _) in ACTS {
        let (office, nadia) = (Office::default(), Fake::nadia());
        let path = format!("/admin/do/{act}");
        let mut foreign = post(&path, &with_token(""));
        let origin = http::HeaderValue::from_static("https://app.example.org");
        foreign.headers_mut().insert("origin", origin);
        for (console, request) in [
            (Some(office.acting()), post(&path, "csrf=wrong")),
            (Some(office.acting()), post(&path, "")),
            (Some(office.acting()), foreign),
            (Some(office.looking()), post(&path, &with_token(""))),
            (None, post(&path, &with_token(""))),
        ] {
            let answer = nadia.console(console, request).await;
            assert_eq!(answer.status(), 403, "{act}");
        }
        let stranger = Fake::stranger()
            .console(Some(office.acting()), post(&path, ""))
            .await;
        assert_eq!(stranger.status(), 403, "{act}");
        assert_eq!(office.done(), [], "{act}");
    }
}

#[tokio::test]
async fn an_act_that_lacks_something_or_is_not_there_is_not_found() {
    let (office, nadia) = (Office::default(), Fake::nadia());
    for act in [
        "end-session",
        "disable?user=",
        "disable?user=a&user=b",
        "join?user=zoe",
        "mark-device?device=d7&class=any",
        "reset?user=zoe",
        "format-disk?user=zoe",
    ] {
        let path = format!("/admin/do/{act}");
        for request in [get(&path), post(&path, &with_token(""))] {
            let answer = nadia.console(Some(office.acting()), request).await;
            assert_eq!(answer.status(), 404, "{act}");
        }
    }
    assert_eq!(office.done(), []);
}

fn held(guard: &str, wider: Option<usize>) -> Preview {
    let mut preview = fake::preview();
    preview.wider = wider;
    preview.stops = vec![StopLine {
        guard: guard.to_owned(),
        text: "2 pairs of person & place".to_owned(),
    }];
    preview
}

#[tokio::test]
async fn an_edit_is_shown_by_lines_and_carries_what_was_seen() {
    let (office, nadia) = (Office::default(), Fake::nadia());
    let page = nadia
        .console(Some(office.looking()), get("/admin/do/disable?user=zoe"))
        .await;
    let body = page.body();
    assert!(
        body.contains("<del>- it = [&#34;zoe&#34;] &#60;b&#62;</del>"),
        "{body}"
    );
    assert!(body.contains("<ins>+ it = []</ins>"), "{body}");
    assert!(body.contains("name=\"digest\" value=\"seen\""), "{body}");
    assert!(!body.contains("name=\"accept\""));
    let form = with_token("&digest=seen");
    nadia
        .console(
            Some(office.acting()),
            post("/admin/do/disable?user=zoe", &form),
        )
        .await;
    let user = "zoe".to_owned();
    let done = office.done();
    assert_eq!(done[0].0, Deed::Edit(Edit::Disable { user }));
    assert_eq!(done[0].1.digest, "seen");
}

#[tokio::test]
async fn what_a_guard_holds_can_be_applied_only_if_it_can_be_accepted() {
    let nadia = Fake::nadia();
    let path = "/admin/do/leave?user=zoe&group=it";
    let locked = Office::showing(held("lock-out", None));
    let page = nadia.console(Some(locked.looking()), get(path)).await;
    assert!(
        page.body()
            .contains("<b>lock-out</b>: <span lang=\"en\">2 pairs of person &#38; place")
    );
    assert!(
        !page.body().contains("<button class=\"danger\""),
        "{}",
        page.body()
    );
    let open = Office::showing(held("world-open", Some(2)));
    let page = nadia.console(Some(open.looking()), get(path)).await;
    assert!(page.body().contains("name=\"wider\" value=\"2\""));
    assert!(page.body().contains("<button class=\"danger\""));
    for (form, accepted) in [
        ("&wider=2&digest=seen", None),
        ("&wider=2&accept=1&digest=seen", Some(2)),
    ] {
        nadia
            .console(Some(open.acting()), post(path, &with_token(form)))
            .await;
        assert_eq!(open.done().last().unwrap().1.wider, accepted);
    }
}

#[tokio::test]
async fn an_edit_of_files_that_changed_or_that_a_guard_holds_is_asked_about_again() {
    for (again, text) in [
        (Again::Changed, "The files were changed since you looked."),
        (Again::Held, "A guard holds this."),
    ] {
        let office = Office::answering(Plan::AskAgain(again));
        let form = with_token("&digest=old");
        let request = post("/admin/do/enable?user=zoe", &form);
        let answer = Fake::nadia().console(Some(office.acting()), request).await;
        assert_eq!(answer.status(), 409);
        assert!(answer.body().contains(text), "{}", answer.body());
        assert!(answer.body().contains("name=\"digest\" value=\"seen\""));
    }
}

#[tokio::test]
async fn what_is_not_possible_is_said_with_its_reason() {
    let office = Office::answering(Plan::Refuse);
    let request = post("/admin/do/unlock?user=zoe", &with_token(""));
    let answer = Fake::nadia().console(Some(office.acting()), request).await;
    assert_eq!(answer.status(), 422);
    assert!(
        answer.body().contains("no user &#60;zoe&#62;"),
        "{}",
        answer.body()
    );
}

#[tokio::test]
async fn each_list_is_a_page_in_three_languages_and_one_model_in_json() {
    let nadia = Fake::nadia();
    for (path, field, title) in [
        (
            "/admin/people?q=zo",
            "people",
            ["People", "Personnes", "Personen"],
        ),
        (
            "/admin/person?user=zoe",
            "groups",
            ["Account", "Compte", "Konto"],
        ),
        ("/admin/groups", "groups", ["Groups", "Groupes", "Gruppen"]),
        (
            "/admin/group?group=it",
            "people",
            ["Take out", "Retirer", "Herausnehmen"],
        ),
        (
            "/admin/devices?q=",
            "devices",
            ["Devices", "Appareils", "Geräte"],
        ),
        (
            "/admin/sessions?user=zoe",
            "sessions",
            ["Signed in", "Connexion", "Angemeldet"],
        ),
        ("/admin/tokens", "tokens", ["Tokens", "Jetons", "Token"]),
        ("/admin/bans", "bans", ["Bans", "Bannissements", "Sperren"]),
        (
            "/admin/certs",
            "certificates",
            ["Next order", "Prochaine commande", "Nächste Bestellung"],
        ),
    ] {
        let office = Office::default();
        for (lang, title) in ["en", "fr", "de"].into_iter().zip(title) {
            let joint = if path.contains('?') { '&' } else { '?' };
            let request = get(&format!("{path}{joint}lang={lang}"));
            let page = nadia.console(Some(office.looking()), request).await;
            assert!(page.is_page(), "{path}: {}", page.body());
            assert!(page.body().contains(title), "{path} {lang}");
            assert!(page.body().contains(&format!("<html lang=\"{lang}\">")));
            let csp = page.header("content-security-policy");
            assert!(
                csp.starts_with("default-src 'none'; style-src 'self'"),
                "{csp}"
            );
            assert!(!page.body().contains("<script") && !page.body().contains("<i>zoe"));
        }
        let json = nadia
            .console(Some(office.looking()), asking_json(path))
            .await;
        assert_eq!(
            json.header("content-type"),
            "application/json; charset=utf-8"
        );
        let value: Value = serde_json::from_str(json.body()).unwrap();
        assert!(!value[field].is_null(), "{path}: {value}");
        assert!(!json.body().contains("csrf"), "{path}");
    }
}

#[tokio::test]
async fn an_app_of_another_time_is_shown_with_the_person_and_an_app_of_ours_is_not() {
    let nadia = Fake::nadia();
    for (off, said) in [
        (
            120,
            [
                "about 120 s ahead",
                "environ 120 s d’avance",
                "geht etwa 120 s vor",
            ],
        ),
        (
            -90,
            [
                "about 90 s behind",
                "environ 90 s de retard",
                "geht etwa 90 s nach",
            ],
        ),
    ] {
        for path in ["/admin/people", "/admin/person?user=zoe"] {
            let (off_one, none) = (Office::with_clock(off), Office::default());
            for (lang, said) in ["en", "fr", "de"].into_iter().zip(said) {
                let joint = if path.contains('?') { '&' } else { '?' };
                let asked = || get(&format!("{path}{joint}lang={lang}"));
                let page = nadia.console(Some(off_one.looking()), asked()).await;
                assert_eq!(page.body().matches(said).count(), 1, "{path} {lang}");
                let page = nadia.console(Some(none.looking()), asked()).await;
                assert!(page.is_page() && !page.body().contains("120 s"), "{path}");
            }
            let json = asking_json(path);
            let json = nadia.console(Some(off_one.looking()), json).await;
            assert!(json.body().contains(&format!("\"off_s\":{off}")), "{path}");
        }
    }
}

#[tokio::test]
async fn who_is_not_there_is_not_found() {
    let (office, nadia) = (Office::default(), Fake::nadia());
    for path in [
        "/admin/person?user=nobody",
        "/admin/person",
        "/admin/group?group=none",
        "/admin/none",
    ] {
        let answer = nadia.console(Some(office.looking()), get(path)).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_long_list_is_walked_through_with_its_search_kept() {
    let (office, nadia) = (Office::default(), Fake::nadia());
    let path = "/admin/people?q=a%26b&page=2&done=1";
    let page = nadia.console(Some(office.looking()), get(path)).await;
    let body = page.body();
    assert!(body.contains("51 to 52 of 120"), "{body}");
    assert!(
        body.contains("href=\"?q=a%26b&#38;page=1\" rel=\"prev\""),
        "{body}"
    );
    assert!(
        body.contains("href=\"?q=a%26b&#38;page=3\" rel=\"next\""),
        "{body}"
    );
    assert!(body.contains("value=\"a&#38;b\""));
    assert!(body.contains("role=\"status\""));
    let far = nadia
        .console(
            Some(office.looking()),
            get("/admin/people?page=99999999999999999999"),
        )
        .await;
    assert!(far.is_page());
}

fn line(mark: Mark, text: &str) -> Line {
    let text = text.to_owned();
    Line { mark, text }
}
