//! Factors and their life: recovery, change of password and app, resets, imports.

use std::fs;

use postern_tests::chrome::Chrome;
use postern_tests::curl::{Answer, Client, origin};
use postern_tests::gateway::{Gateway, Person};
use postern_tests::html::{self, Form};
use postern_tests::journal;

const NEW_PASSWORD: &str = "nine pears in a bowl";
/// Made with `openssl passwd -apr1`.
const BROUGHT_PASSWORD: &str = "a zebra under the stairs";
const BROUGHT: &str = "$apr1$abcdefgh$nPQESR5Xy6o6pZFOac3oY/";

fn form_to(page: &Answer, action: &str) -> Form {
    let all = html::forms(&page.body);
    let found = all.into_iter().find(|f| f.action == action);
    found.unwrap_or_else(|| panic!("no form to {action} on {}:\n{}", page.url, page.body))
}

fn at(gateway: &Gateway, path: &str) -> String {
    format!("{}{path}", gateway.facts.portal.trim_end_matches('/'))
}

fn is_the_app(answer: &Answer) -> bool {
    answer.status == 200 && answer.url.starts_with("https://app")
}

/// The ten codes a page shows.
fn codes(page: &Answer) -> Vec<String> {
    let list = page.body.split("<ol class=\"codes\"").nth(1);
    let list = list.unwrap_or_else(|| panic!("no codes on {}:\n{}", page.url, page.body));
    let list = list.split("</ol>").next().unwrap();
    let codes = list.split("<code>").skip(1);
    codes
        .map(|c| c.split('<').next().unwrap().to_owned())
        .collect()
}

/// The secret of an enrolment page.
fn secret(page: &Answer) -> String {
    let shown = page.body.split("<p class=\"secret\"><code>").nth(1);
    let shown = shown.unwrap_or_else(|| panic!("no secret on {}:\n{}", page.url, page.body));
    shown.split('<').next().unwrap().replace(' ', "")
}

/// Gives password and code for an act on the account and returns the page of the act.
fn confirm(client: &Client, gateway: &Gateway, person: &Person, path: &str) -> Answer {
    let page = client.follow(&at(gateway, path));
    let mut form = form_to(&page, "/account/confirm");
    form.set("password", &person.password);
    form.set("code", &person.code());
    client.follow_from(client.submit(&page, &form))
}

/// Makes recovery codes for a person by the account page.
fn new_codes(client: &Client, gateway: &Gateway, person: &Person) -> Vec<String> {
    let page = confirm(client, gateway, person, "/account/codes");
    let page = client.submit(&page, &form_to(&page, "/account/codes"));
    let codes = codes(&page);
    assert_eq!(codes.len(), 10, "{page:?}");
    codes
}

fn recover(client: &Client, gateway: &Gateway, person: &Person, code: &str) -> Answer {
    let url = &gateway.facts.portal;
    drop(client.password(url, person, &person.password));
    let page = client.follow(&at(gateway, "/signin/recovery"));
    let mut form = page.form("recovery");
    form.set("recovery", code);
    client.follow_from(client.submit(&page, &form))
}

/// Finishes an enrolment and returns the person as they sign in from then on.
fn finish(client: &Client, page: &Answer, user: &str, password: &str) -> (Person, Vec<String>) {
    let person = Person::new(user, password, &secret(page));
    let mut form = form_to(page, "/enrol");
    form.set("code", &person.code());
    for field in ["password", "again"] {
        if form.value(field).is_some() {
            form.set(field, password);
        }
    }
    let done = client.submit(page, &form);
    assert_eq!(done.status, 200, "{done:?}");
    let codes = codes(&done);
    (person, codes)
}

#[test]
fn who_was_sent_to_sign_in_from_a_page_of_the_account_comes_back_to_it() {
    let gateway = Gateway::demo();
    let asked = at(&gateway, "/account/devices");
    let client = Client::new(&gateway);
    let page = client.sign_in(&asked, &gateway.facts.demo);
    assert_eq!((page.status, &page.url), (200, &asked), "{page:?}");
    // whoever signs in at the form itself is shown the portal
    let other = Client::new(&gateway);
    let page = other.sign_in(&at(&gateway, "/signin"), &gateway.facts.guest);
    assert_eq!((page.status, page.url), (200, at(&gateway, "/")));
}

#[test]
fn a_recovery_code_replaces_the_lost_app_and_opens_nothing_else() {
    let gateway = Gateway::demo();
    let demo = &gateway.facts.demo;
    let client = Client::new(&gateway);
    assert!(is_the_app(&client.sign_in(&gateway.facts.app, demo)));
    let codes = new_codes(&client, &gateway, demo);

    let finder = Client::new(&gateway);
    let wrong = recover(&finder, &gateway, demo, "aaaa-bbbb-cccc-dddd");
    assert_eq!(wrong.status, 401, "{wrong:?}");
    let page = recover(&finder, &gateway, demo, &codes[0]);
    assert!(page.url.ends_with("/enrol"), "{page:?}");
    // Nothing is open before the new app is connected.
    assert_eq!(finder.open(&gateway.facts.app).status, 303);
    let portal = finder.open(&gateway.facts.portal);
    assert_eq!(portal.status, 303, "{portal:?}");
    let account = finder.open(&at(&gateway, "/account"));
    assert_eq!(account.status, 303);
    let used = journal::wait_for(&gateway, "factor-changed.1", |r| {
        journal::is(r, "reason", "recovery-code-used")
    });
    assert_eq!(used["user"], "demo");

    let thief = Client::new(&gateway);
    let again = recover(&thief, &gateway, demo, &codes[0]);
    assert_eq!(again.status, 401, "a used code: {again:?}");

    let (renewed, fresh) = finish(&finder, &page, "demo", &demo.password);
    let renewed = renewed.follows(demo);
    assert_eq!(fresh.len(), 10);
    // What was signed in before is over, and the old app is void.
    assert_eq!(client.open(&gateway.facts.app).status, 303);
    let form = client.password(&gateway.facts.app, demo, &demo.password);
    assert!(!is_the_app(&client.code(&form, &demo.code())));
    let page = finder.sign_in(&gateway.facts.app, &renewed);
    assert!(is_the_app(&page), "{page:?}");
    let portal = finder.follow(&gateway.facts.portal);
    assert!(portal.body.contains("recovery code was used"), "{portal:?}");
    let old = recover(&Client::new(&gateway), &gateway, &renewed, &codes[1]);
    assert_eq!(old.status, 401, "codes of the earlier set: {old:?}");
}

#[test]
fn of_parallel_uses_of_a_recovery_code_one_wins() {
    let gateway = Gateway::demo();
    let demo = &gateway.facts.demo;
    let client = Client::new(&gateway);
    drop(client.sign_in(&gateway.facts.portal, demo));
    let codes = new_codes(&client, &gateway, demo);
    let ready: Vec<(Client, Answer, Form)> = (0..8)
        .map(|_| {
            let client = Client::new(&gateway);
            drop(client.password(&gateway.facts.portal, demo, &demo.password));
            let page = client.follow(&at(&gateway, "/signin/recovery"));
            let mut form = page.form("recovery");
            form.set("recovery", &codes[0]);
            (client, page, form)
        })
        .collect();
    let won = std::thread::scope(|scope| {
        let tries: Vec<_> = ready
            .iter()
            .map(|(client, page, form)| scope.spawn(move || client.submit(page, form)))
            .collect();
        let answers = tries.into_iter().map(|t| t.join().unwrap());
        answers.filter(|a| a.status == 303).count()
    });
    assert_eq!(won, 1);
}

#[test]
fn a_changed_password_ends_the_other_session_and_not_this_one() {
    let gateway = Gateway::demo();
    let demo = &gateway.facts.demo;
    let (client, other) = (Client::new(&gateway), Client::new(&gateway));
    assert!(is_the_app(&other.sign_in(&gateway.facts.app, demo)));
    assert!(is_the_app(&client.sign_in(&gateway.facts.app, demo)));

    // Without password and code there is no form for a new password.
    let page = client.follow(&at(&gateway, "/account/password"));
    assert!(page.body.contains("action=\"/account/confirm\""));
    let page = confirm(&client, &gateway, demo, "/account/password");
    let mut form = form_to(&page, "/account/password");
    form.set("password", "short");
    form.set("again", "short");
    let refused = client.submit(&page, &form);
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.body.contains("too short"));
    form.set("password", NEW_PASSWORD);
    form.set("again", NEW_PASSWORD);
    let done = client.follow_from(client.submit(&page, &form));
    assert!(done.url.ends_with("/account"), "{done:?}");
    assert!(done.body.contains("password was changed"));

    assert_eq!(other.open(&gateway.facts.app).status, 303);
    assert!(is_the_app(&client.follow(&gateway.facts.app)));
    let late = Client::new(&gateway);
    let old = late.password(&gateway.facts.app, demo, &demo.password);
    assert!(!old.body.contains("name=\"code\""), "the old password");
    let page = late.password(&gateway.facts.app, demo, NEW_PASSWORD);
    assert!(is_the_app(&late.code(&page, &demo.code())));
}

#[test]
fn another_app_counts_after_its_first_code() {
    let gateway = Gateway::demo();
    let demo = &gateway.facts.demo;
    let client = Client::new(&gateway);
    drop(client.sign_in(&gateway.facts.portal, demo));
    let page = confirm(&client, &gateway, demo, "/account/app");
    let new = Person::new("demo", &demo.password, &secret(&page));
    let mut form = form_to(&page, "/account/app");
    form.set("code", &demo.code());
    let refused = client.submit(&page, &form);
    assert_eq!(refused.status, 422, "the code of the old app: {refused:?}");
    form.set("code", &new.code());
    let done = client.follow_from(client.submit(&page, &form));
    assert!(done.url.ends_with("/account"), "{done:?}");
    let late = Client::new(&gateway);
    let page = late.password(&gateway.facts.app, demo, &demo.password);
    assert!(!is_the_app(&late.code(&page, &demo.code())));
    assert!(is_the_app(&late.code(&page, &new.code())));
}

#[test]
fn a_reset_by_an_admin_keeps_the_password_and_tells_the_person_why() {
    let gateway = Gateway::demo();
    let demo = &gateway.facts.demo;
    let client = Client::new(&gateway);
    assert!(is_the_app(&client.sign_in(&gateway.facts.app, demo)));
    assert!(!gateway.run(&["user", "reset", "demo"]).status.success());
    assert!(is_the_app(&client.follow(&gateway.facts.app)));
    let out = gateway.must(&[
        "user",
        "reset",
        "demo",
        "--reason",
        "phone fell into the sea",
    ]);
    let link = out.trim();
    assert_eq!(client.open(&gateway.facts.app).status, 303);
    let refused = client.password(&gateway.facts.app, demo, &demo.password);
    assert!(!refused.body.contains("name=\"code\""), "{refused:?}");

    let finder = Client::new(&gateway);
    let page = finder.follow(link);
    let app = Person::new("demo", "", &secret(&page));
    let mut form = form_to(&page, "/enrol");
    form.set("password", "not the password at all");
    form.set("code", &app.code());
    let refused = finder.submit(&page, &form);
    assert_eq!(refused.status, 422, "the link alone: {refused:?}");
    let (renewed, _) = finish(&finder, &page, "demo", &demo.password);
    let renewed = renewed.follows(demo);
    assert!(is_the_app(&finder.sign_in(&gateway.facts.app, &renewed)));
    let portal = finder.follow(&gateway.facts.portal);
    assert!(
        portal.body.contains("phone fell into the sea"),
        "{portal:?}"
    );
    let record = journal::wait_for(&gateway, "factor-changed.1", |r| {
        journal::is(r, "reason", "totp-reset")
    });
    assert_eq!(record["detail"], "phone fell into the sea");
}

#[test]
fn an_imported_person_signs_in_once_with_the_old_password_and_enrols() {
    let gateway = Gateway::demo();
    gateway.must(&["user", "add", "zoe", "--group", "admins", "--no-link"]);
    let file = gateway.dir().join("htpasswd");
    let dear = "$2y$14$abcdefghijklmnopqrstuu8HGcnEyVkGAUO2Nu40wB3qdsQ2CDtgC";
    let wrong = format!("zoe:{BROUGHT}\nnobody:secret\nguest:{dear}\n");
    fs::write(&file, wrong).unwrap();
    let path = file.to_str().unwrap();
    let refused = gateway.run(&["user", "import", path]);
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("htpasswd:2: no user nobody"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    let costly = "htpasswd:3: guest: a bcrypt verifier that costs too much";
    assert!(text.contains(costly) && !text.contains(dear), "{text}");
    fs::write(&file, format!("zoe:{BROUGHT}\ndemo:{BROUGHT}\n")).unwrap();
    let out = gateway.must(&["user", "import", path, "--json"]);
    assert!(
        out.contains("\"imported\":[\"zoe\"],\"skipped\":[\"demo\"]"),
        "{out}"
    );

    let zoe = Person::new("zoe", BROUGHT_PASSWORD, "GEZDGNBVGY3TQOJQ");
    let client = Client::new(&gateway);
    let wrong = client.password(&gateway.facts.app, &zoe, "not the password at all");
    assert!(!wrong.url.ends_with("/enrol"));
    let page = client.password(&gateway.facts.app, &zoe, BROUGHT_PASSWORD);
    assert!(page.url.ends_with("/enrol"), "{page:?}");
    assert_eq!(client.open(&gateway.facts.app).status, 303);
    assert_eq!(client.open(&gateway.facts.portal).status, 303);
    let (zoe, codes) = finish(&client, &page, "zoe", BROUGHT_PASSWORD);
    assert_eq!(codes.len(), 10);
    let page = client.sign_in(&gateway.facts.app, &zoe);
    assert!(is_the_app(&page), "{page:?}");
    let record = journal::wait_for(&gateway, "factor-changed.1", |r| {
        journal::is(r, "reason", "imported")
    });
    assert_eq!(record["user"], "zoe");
}

#[test]
fn of_an_imported_des_crypt_eight_characters_count_once_and_all_of_them_from_then_on() {
    let gateway = Gateway::demo();
    gateway.must(&["user", "add", "zoe", "--group", "admins", "--no-link"]);
    let file = gateway.dir().join("htpasswd");
    // of crypt(3), with the salt xO
    fs::write(&file, "zoe:xOhvVxyEf74yk\n").unwrap();
    let path = file.to_str().unwrap();
    let refused = gateway.run(&["user", "import", path]);
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        text.contains("--des-crypt") && !text.contains("xOhv"),
        "{text}"
    );
    gateway.must(&["user", "import", path, "--des-crypt"]);

    let zoe = Person::new("zoe", "a zebra by the door", "GEZDGNBVGY3TQOJQ");
    let client = Client::new(&gateway);
    let wrong = client.password(&gateway.facts.app, &zoe, "a zebr");
    assert!(!wrong.url.ends_with("/enrol"), "{wrong:?}");
    let page = client.password(&gateway.facts.app, &zoe, &zoe.password);
    assert!(page.url.ends_with("/enrol"), "{page:?}");
    let (zoe, _) = finish(&client, &page, "zoe", &zoe.password);
    let other = Client::new(&gateway);
    let wrong = other.password(&gateway.facts.app, &zoe, BROUGHT_PASSWORD);
    assert_eq!(wrong.status, 401, "the same first eight: {wrong:?}");
    assert!(is_the_app(&client.sign_in(&gateway.facts.app, &zoe)));
}

#[test]
fn a_new_browser_is_told_at_the_next_visit_and_can_be_ended_from_there() {
    let gateway = Gateway::demo();
    let demo = &gateway.facts.demo;
    let client = Client::new(&gateway);
    let first = client.sign_in(&gateway.facts.portal, demo);
    assert!(!first.body.contains("new place"), "{first:?}");
    // The same browser on the same network is no news.
    let again = Client::new(&gateway);
    let second = again.sign_in(&gateway.facts.portal, demo);
    assert!(!second.body.contains("new place"), "{second:?}");

    let thief = Client::new(&gateway);
    let page = thief.password(&gateway.facts.portal, demo, &demo.password);
    let form = page.form("code");
    let origin = format!("Origin: {}", origin(&gateway.facts.portal));
    let (csrf, code) = (form.value("csrf").unwrap(), demo.code());
    let body = format!("csrf={csrf}&code={code}");
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";
    let args = ["-A", agent, "-H", &origin, "-X", "POST", "-d", &body];
    let entered = thief.send(&at(&gateway, "/signin/code"), &args);
    assert_eq!(entered.status, 303, "{entered:?}");
    assert!(is_the_app(&thief.follow(&gateway.facts.app)));

    let portal = client.follow(&gateway.facts.portal);
    assert!(portal.body.contains("new place"), "{portal:?}");
    assert!(portal.body.contains("Firefox, Linux"));
    let done = client.submit(&portal, &form_to(&portal, "/account/end"));
    assert_eq!(done.status, 303, "{done:?}");
    assert_eq!(thief.open(&gateway.facts.app).status, 303);
    let account = client.follow(&at(&gateway, "/account"));
    assert!(account.body.contains("new place"), "told until seen");
    let done = client.follow_from(client.submit(&account, &form_to(&account, "/account/notice")));
    assert!(!done.body.contains("new place"), "{done:?}");
    assert!(is_the_app(&client.follow(&gateway.facts.app)));
}

#[test]
fn a_browser_judges_the_password_while_it_is_typed_and_offers_to_print_the_codes() {
    let gateway = Gateway::demo();
    let link = gateway.must(&["user", "invite", "guest"]);
    let chrome = Chrome::start(&gateway.facts.ca_root);
    chrome.open(link.trim());
    assert!(!chrome.text().contains("more characters are needed"));
    chrome.type_into("#password", "nine");
    chrome.wait_for_text("11 more characters are needed");
    chrome.type_into("#password", " pears in a bowl");
    chrome.wait_for_text("Long and varied");
    chrome.type_into("#again", NEW_PASSWORD);
    let text = chrome.text();
    let lines = text.lines().map(|line| line.replace(' ', ""));
    let mut secrets =
        lines.filter(|l| l.len() == 32 && l.chars().all(|c| c.is_ascii_alphanumeric()));
    let app = Person::new("guest", NEW_PASSWORD, &secrets.next().unwrap());
    chrome.type_into("#code", &format!("{}\n", app.code()));
    chrome.wait_for_text("Your account is ready");
    let text = chrome.text();
    for button in ["Save as text", "Print", "Copy"] {
        assert!(text.contains(button), "{text}");
    }
    // Without a script the same page has the codes and the file, and no button that does nothing.
    let link = gateway.must(&["user", "invite", "guest"]);
    let client = Client::new(&gateway);
    let page = client.follow(link.trim());
    let (_, codes) = finish(&client, &page, "guest", NEW_PASSWORD);
    assert_eq!(codes.len(), 10);
}
