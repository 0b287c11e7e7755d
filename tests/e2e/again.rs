//! A form that is sent when the session has run out: kept for the same person, offered once, and
//! sent only by a press of the button.

use postern_tests::curl::{Answer, Client, origin};
use postern_tests::gateway::Gateway;
use postern_tests::html::{self, Form};
use postern_tests::journal;
use postern_tests::policy;
use postern_tests::upstream::Recorder;

const BODY: &str = "title=A+minute&text=l%C3%A9ger+%26+court&title=again";

struct Scene {
    gateway: Gateway,
    recorder: Recorder,
    browser: Client,
}

impl Scene {
    /// Demo signs in, and the session runs out.
    fn run_out() -> Self {
        let recorder = Recorder::new();
        let gateway = Gateway::demo_before(&recorder.url());
        let browser = Client::new(&gateway);
        let scene = Self {
            gateway,
            recorder,
            browser,
        };
        scene.sign_in();
        scene.say("[default]\nidle = \"1s\"\n");
        journal::wait_for(&scene.gateway, "session-ended.1", |r| r["user"] == "demo");
        scene.say("");
        scene
    }

    fn say(&self, more: &str) {
        let text = policy::two_apps(&self.recorder.url(), more);
        self.gateway.set_policy(&text);
    }

    fn sign_in(&self) {
        let facts = &self.gateway.facts;
        let app = self.browser.sign_in(&facts.app, &facts.demo);
        assert!(app.body.contains("the recorder saw"), "{app:?}");
    }

    /// Sends a form to the app as a browser does, with other words beside it.
    fn send(&self, body: &str, more: &[&str]) -> Answer {
        let to = format!("{}notes?x=1", self.gateway.facts.app);
        let mut args = vec!["-H", "Accept: text/html", "-X", "POST", "--data-raw", body];
        args.extend(more);
        self.browser.send(&to, &args)
    }

    fn origin(&self) -> String {
        format!("Origin: {}", origin(&self.gateway.facts.app))
    }

    /// Sends a form from a page of the app.
    fn send_own(&self, body: &str) -> Answer {
        self.send(
            body,
            &["-H", &self.origin(), "-H", "Sec-Fetch-Site: same-origin"],
        )
    }

    /// Signs somebody in from the form that an answer leads to.
    fn back(&self, answer: Answer, person: &postern_tests::gateway::Person) -> Answer {
        let page = self.browser.follow_from(answer);
        let mut form = page.form("password");
        form.set("username", &person.user);
        form.set("password", &person.password);
        let page = self.browser.follow_from(self.browser.submit(&page, &form));
        self.browser.code(&page, &person.code())
    }

    /// Returns the forms that have reached the app.
    fn arrived(&self) -> Vec<Vec<u8>> {
        let seen = self.recorder.seen().into_iter();
        seen.filter(|s| s.line.starts_with("POST "))
            .map(|s| s.body)
            .collect()
    }
}

fn form_to(page: &Answer, action: &str) -> Option<Form> {
    html::forms(&page.body)
        .into_iter()
        .find(|f| f.action == action)
}

#[test]
fn a_form_after_the_session_is_offered_once_to_its_person_and_sent_by_the_button() {
    let scene = Scene::run_out();
    let left = scene.send_own(BODY);
    assert_eq!(left.status, 303, "{left:?}");
    let page = scene.back(left, &scene.gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.url.contains("/.postern/again?form="), "{}", page.url);
    assert!(
        page.body.contains("/notes?x=1") && page.body.contains("léger"),
        "{page:?}"
    );
    assert!(scene.arrived().is_empty(), "nothing is sent by itself");
    let form = form_to(&page, "/notes?x=1").unwrap();
    let sent = scene.browser.submit(&page, &form);
    assert_eq!(sent.status, 200, "{sent:?}");
    let arrived = scene.arrived();
    assert_eq!(arrived.len(), 1);
    let text = String::from_utf8(arrived[0].clone())
        .unwrap()
        .replace("%20", "+");
    assert_eq!(text, BODY);
    let again = scene.browser.open(&page.url);
    assert_eq!(again.status, 404, "{again:?}");
    assert!(form_to(&again, "/notes?x=1").is_none());
}

#[test]
fn a_form_is_not_offered_to_somebody_else_who_signs_in() {
    let scene = Scene::run_out();
    let left = scene.send_own(BODY);
    assert_eq!(left.status, 303, "{left:?}");
    let page = scene.back(left, &scene.gateway.facts.guest);
    assert_eq!(page.status, 404, "{page:?}");
    assert!(!page.body.contains("minute"), "{page:?}");
    let own = Client::new(&scene.gateway);
    own.sign_in(&scene.gateway.facts.app, &scene.gateway.facts.demo);
    assert_eq!(own.open(&page.url).status, 404, "it is gone");
    assert!(scene.arrived().is_empty());
}

#[test]
fn nothing_is_kept_of_other_sites_other_forms_and_sessions_that_were_ended() {
    let scene = Scene::run_out();
    let own = scene.origin();
    let large = format!("a={}", "x".repeat(64 * 1024));
    let foreign = ["-H", "Origin: https://evil.example"];
    let cross = ["-H", &own, "-H", "Sec-Fetch-Site: cross-site"];
    let script = ["-H", &own, "-H", "Sec-Fetch-Mode: cors"];
    let plain = ["-H", &own, "-H", "Content-Type: text/plain"];
    for (body, more) in [
        (BODY, &foreign[..]),
        (BODY, &cross),
        (BODY, &[]),
        (BODY, &script),
        (BODY, &plain),
        ("no form at all", &["-H", &own]),
        (large.as_str(), &["-H", &own]),
    ] {
        let answer = scene.send(body, more);
        assert_eq!(answer.status, 401, "{more:?}: {answer:?}");
    }
    assert_eq!(scene.send(BODY, &["-H", &own]).status, 303, "the twin");
    scene.sign_in();
    scene.gateway.must(&["session", "revoke", "--user", "demo"]);
    assert_eq!(scene.send_own(BODY).status, 401, "the session was ended");
    assert!(scene.arrived().is_empty());
}
