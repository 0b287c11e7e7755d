//! The console for those who look: decisions, policy and health; and what an auditor cannot do there.

use std::fs;
use std::time::Duration;

use postern_tests::curl::{Answer, Client};
use postern_tests::gateway::Gateway;
use postern_tests::html::Form;
use postern_tests::policy::{second_app, two_apps};
use postern_tests::upstream::Recorder;
use postern_tests::{journal, wait};
use serde_json::Value;

const PAGES: [&str; 12] = [
    "people",
    "person?user=demo",
    "groups",
    "sessions",
    "bans",
    "decisions",
    "decisions?events=all&outcome=allow",
    "policy",
    "policy/file?name=policy.toml",
    "policy/findings",
    "policy/ask?ask=who-can&resource=admin",
    "health",
];
/// Those of them from which somebody who administers acts.
const ACTING: [&str; 6] = [
    "people",
    "person?user=demo",
    "sessions",
    "bans",
    "policy",
    "policy/file?name=policy.toml",
];
const LIMIT: Duration = postern_tests::wait::PATIENCE;
const JSON: [&str; 2] = ["-H", "Accept: application/json"];

struct Scene {
    gateway: Gateway,
    _recorder: Recorder,
    /// What is in force at the beginning.
    policy: String,
    /// Signed in as demo, who administers.
    admin: Client,
}

impl Scene {
    fn new() -> Self {
        let recorder = Recorder::new();
        let gateway = Gateway::demo_before(&recorder.url());
        let policy = two_apps(&recorder.url(), "").replace(
            "allow.admins = { who = \"@admins\" }",
            "allow.admins = { who = \"@admins\" }\nallow.audit = { who = \"guest\", methods = \"read\" }",
        );
        let policy = policy.replace(
            "host = \"second.gate.localhost\"",
            "host = \"second.gate.localhost\"\nallow.nobody = { who = \"demo\", device = \"managed\" }",
        );
        gateway.set_policy(&policy);
        let admin = Client::new(&gateway);
        let page = admin.sign_in(&gateway.facts.portal, &gateway.facts.demo);
        assert_eq!(page.status, 200, "{}", page.body);
        Self {
            gateway,
            _recorder: recorder,
            policy,
            admin,
        }
    }

    fn auditor(&self) -> Client {
        let auditor = Client::new(&self.gateway);
        let page = auditor.sign_in(&self.gateway.facts.portal, &self.gateway.facts.guest);
        assert_eq!(page.status, 200, "{}", page.body);
        auditor
    }

    fn url(&self, path: &str) -> String {
        format!("{}admin/{path}", self.gateway.facts.portal)
    }

    fn page(&self, path: &str) -> Answer {
        let page = self.admin.open(&self.url(path));
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        page
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.admin.send(&self.url(path), &JSON);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    fn digest(&self) -> String {
        let status: Value =
            serde_json::from_str(&self.gateway.must(&["status", "--json"])).unwrap();
        status["policy"]["digest"].as_str().unwrap().to_owned()
    }

    /// Sends the form of a policy page with another text.
    fn edit(&self, page: &Answer, text: &str, what: &str) -> Answer {
        let mut form = page.form("base");
        form.fields.retain(|(name, _)| name != "do");
        form.fields.push(("text".to_owned(), text.to_owned()));
        form.fields.push(("do".to_owned(), what.to_owned()));
        page_form(&mut form, page);
        self.admin.submit(page, &form)
    }

    /// The code that the second app shows somebody it refuses.
    fn refused(&self, client: &Client) -> String {
        let page = client.follow(&second_app(&self.gateway));
        assert_eq!(page.status, 403, "{}", page.body);
        code_of(&page.body)
    }
}

/// A form without an action goes to its own page.
fn page_form(form: &mut Form, page: &Answer) {
    if form.action.is_empty() {
        page.url.clone_into(&mut form.action);
    }
}

fn code_of(page: &str) -> String {
    let start = page
        .find("D-")
        .unwrap_or_else(|| panic!("no code in {page}"));
    page[start..start + 10].to_owned()
}

/// What stands in the preformatted part of a page.
fn told(page: &str) -> String {
    let (_, rest) = page
        .split_once("<pre class=\"told\" lang=\"en\" tabindex=\"0\">")
        .unwrap();
    let (text, _) = rest.split_once("</pre>").unwrap();
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&quot;", "\""),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ];
    plain
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[test]
fn an_auditor_sees_every_page_and_acts_on_nothing() {
    let scene = Scene::new();
    let auditor = scene.auditor();
    for path in PAGES {
        let (seen, own) = (auditor.open(&scene.url(path)), scene.page(path));
        assert_eq!(seen.status, 200, "{path}: {}", seen.body);
        for (page, may_act) in [(&seen, false), (&own, true)] {
            let marks = ["name=\"do\"", "/policy/rollback?to=", "/admin/do/"];
            let acts = marks.iter().any(|mark| page.body.contains(mark));
            let has_acts = ACTING.contains(&path);
            assert_eq!(acts, may_act && has_acts, "{path} {may_act}: {}", page.body);
        }
    }
    let before = scene.digest();
    let page = auditor.open(&scene.url("policy"));
    for path in [
        "policy/file?name=policy.toml",
        "policy/rollback",
        "policy/folder",
        "policy/confirm",
        "do/end-sessions?user=demo",
    ] {
        let mut form = page.form("csrf");
        form.action = scene.url(path);
        form.fields.push(("do".to_owned(), "apply".to_owned()));
        let refused = auditor.submit(&page, &form);
        assert_eq!(refused.status, 403, "{path}: {}", refused.body);
        let code = code_of(&refused.body);
        let record = journal::wait_for(&scene.gateway, "access-decided.1", |r| {
            journal::is(r, "code", &code)
        });
        assert!(journal::is(&record, "user", "guest"), "{record}");
        assert!(journal::is(&record, "method", "POST"), "{record}");
        let why = scene.gateway.must(&["policy", "explain", &code]);
        assert!(why.contains("asked for POST admin"), "{why}");
        assert!(why.contains("methods: only GET, HEAD"), "{why}");
    }
    assert_eq!(scene.digest(), before);
    // the twin: the same form of somebody who administers is answered by the page
    let page = scene.page("policy/file?name=policy.toml");
    let checked = scene.edit(&page, &scene.policy, "check");
    assert_eq!(checked.status, 200, "{}", checked.body);
}

#[test]
fn a_refused_request_is_found_by_its_code_and_explained_as_the_command_line_does() {
    let scene = Scene::new();
    let closed = scene.policy.replace(
        "[app.second]",
        "[deny.second]\nwho = \"guest\"\non = \"app.second\"\nreason = \"not yours\"\n[app.second]",
    );
    scene.gateway.set_policy(&closed);
    let auditor = scene.auditor();
    let code = scene.refused(&auditor);
    assert_eq!(scene.admin.follow(&scene.gateway.facts.app).status, 200);
    let list = scene.page("decisions?user=guest&outcome=deny");
    assert!(
        list.body.contains(&format!("/admin/decisions/{code}")),
        "{}",
        list.body
    );
    for (filter, found) in [
        (format!("code={code}"), true),
        ("place=app.second".to_owned(), true),
        ("place=second.gate.localhost".to_owned(), true),
        ("place=app.app".to_owned(), false),
        ("user=demo".to_owned(), false),
        ("since=1h".to_owned(), true),
        ("until=1h".to_owned(), false),
    ] {
        let listing = scene.json(&format!("decisions?{filter}"));
        let records = listing["records"].as_array().unwrap();
        let has = records.iter().any(|r| journal::is(r, "code", &code));
        assert_eq!(has, found, "{filter}: {listing}");
    }
    let bad = scene.admin.open(&scene.url("decisions?since=yesterday"));
    assert_eq!(bad.status, 422);
    assert!(bad.body.contains("yesterday"), "{}", bad.body);
    let by_command = scene.gateway.must(&["policy", "explain", &code]);
    let one = scene.page(&format!("decisions/{code}"));
    assert_eq!(told(&one.body), by_command);
    assert!(by_command.contains("deny.second"), "{by_command}");
    let told = scene.json(&format!("decisions/{code}"));
    let by_command: Value =
        serde_json::from_str(&scene.gateway.must(&["policy", "explain", &code, "--json"])).unwrap();
    assert_eq!(told["past"], by_command);
    // a request by its id, with how it ended
    let passed = journal::wait_for(&scene.gateway, "request-ended.1", |r| {
        journal::is(r, "host", "app.gate.localhost")
    });
    let id = passed["request_id"].as_str().unwrap();
    let by_id = scene.json(&format!("decisions/{id}"));
    assert_eq!(by_id["record"]["request_id"], id, "{by_id}");
    assert_eq!(by_id["end"]["outcome"], "ok", "{by_id}");
    let text = by_id["text"].as_str().unwrap();
    assert!(text.contains("nothing went wrong"), "{text}");
    let read = journal::wait_for(&scene.gateway, "audit-read.1", |r| {
        let detail = r["detail"].as_str().unwrap_or_default();
        journal::is(r, "user", "demo") && detail == format!("console: explain the decision {code}")
    });
    assert!(journal::is(&read, "rule", "admin#admins"), "{read}");
    let none = scene.admin.open(&scene.url("decisions/D-AAAAAAAA"));
    assert_eq!(none.status, 422, "{}", none.body);
}

#[test]
fn new_decisions_come_to_a_page_that_waits() {
    let scene = Scene::new();
    let auditor = scene.auditor();
    let live = scene.page("decisions?live=1");
    assert!(
        live.body.contains("http-equiv=\"refresh\""),
        "{}",
        live.body
    );
    let (_, rest) = live.body.split_once("data-live=\"").unwrap();
    let stream = rest
        .split('"')
        .next()
        .unwrap()
        .replace("&#38;", "&")
        .replace("&amp;", "&");
    let csp = live.header("content-security-policy").unwrap();
    assert!(csp.contains("connect-src 'self'"), "{csp}");
    let seen = auditor.follow(&second_app(&scene.gateway));
    assert_eq!(seen.status, 200);
    // an allow is written behind the answer
    journal::wait_for(&scene.gateway, "access-decided.1", |r| {
        journal::is(r, "rule", "app.second#people") && journal::is(r, "outcome", "allow")
    });
    let url = format!(
        "{}{}",
        scene.gateway.facts.portal,
        stream.trim_start_matches('/')
    );
    let events = scene.admin.fetch(&url);
    assert_eq!(events.status, 200, "{}", events.body);
    assert_eq!(
        events.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert!(
        events.body.contains("second.gate.localhost"),
        "{}",
        events.body
    );
    let last = events
        .body
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap();
    let again = format!("Last-Event-ID: {last}");
    let answer = std::thread::scope(|threads| {
        let waiting = threads.spawn(|| scene.admin.send(&url, &["-H", &again]));
        let seen = auditor.follow(&format!("{}later", scene.gateway.facts.app));
        assert_eq!(seen.status, 200);
        waiting.join().unwrap()
    });
    assert!(answer.body.contains("/later"), "{}", answer.body);
    assert!(
        !answer.body.contains("second.gate.localhost"),
        "{}",
        answer.body
    );
}

#[test]
fn a_policy_edited_in_the_browser_goes_in_force_only_when_it_is_right() {
    let scene = Scene::new();
    let auditor = scene.auditor();
    assert_eq!(auditor.follow(&second_app(&scene.gateway)).status, 200);
    let before = scene.digest();
    let page = scene.page("policy/file?name=policy.toml");
    let (head, tail) = scene.policy.split_once("[app.second]").unwrap();
    let mistake = format!(
        "{head}[app.second]{}",
        tail.replace("\"guest\"", "\"gest\"")
    );
    let line = mistake
        .lines()
        .position(|line| line.contains("gest\""))
        .unwrap()
        + 1;
    for what in ["check", "apply"] {
        let wrong = scene.edit(&page, &mistake, what);
        assert_eq!(wrong.status, 422, "{}", wrong.body);
        let place = format!("policy.toml:{line}:");
        assert!(wrong.body.contains(&place), "no {place} in {}", wrong.body);
        assert!(wrong.body.contains("did you mean"), "{}", wrong.body);
        // the text that was sent is still there to be corrected
        assert!(wrong.body.contains("gest"), "{}", wrong.body);
        assert_eq!(scene.digest(), before);
    }
    assert_eq!(
        fs::read_to_string(scene.gateway.policy_file()).unwrap(),
        scene.policy
    );
    let right = format!(
        "{head}[app.second]{}",
        tail.replace("[\"demo\", \"guest\"]", "\"demo\"")
    );
    assert_ne!(right, scene.policy);
    let checked = scene.edit(&page, &right, "check");
    assert_eq!(checked.status, 200, "{}", checked.body);
    for part in ["<del>", "<ins>", "- allow -&#62; deny", "app.second"] {
        let alike = part.replace("&#62;", "&gt;");
        assert!(
            checked.body.contains(part) || checked.body.contains(&alike),
            "no {part} in {}",
            checked.body
        );
    }
    assert_eq!(scene.digest(), before);
    let applied = apply_all(&scene, &checked, &right);
    assert_eq!(
        applied.location(),
        Some(scene.url("policy?done=1")),
        "{}",
        applied.body
    );
    assert_ne!(scene.digest(), before);
    assert_eq!(
        fs::read_to_string(scene.gateway.policy_file()).unwrap(),
        right
    );
    scene.refused(&auditor);
    let record = journal::wait_for(&scene.gateway, "policy-applied.1", |r| {
        journal::is(r, "user", "demo")
    });
    assert!(journal::is(&record, "outcome", "ok"), "{record}");
    // who still has the page from before overwrites nobody
    let stale = scene.edit(&page, &scene.policy, "apply");
    assert_eq!(stale.status, 409, "{}", stale.body);
    assert_eq!(
        fs::read_to_string(scene.gateway.policy_file()).unwrap(),
        right
    );
    // and back by the history
    let back = scene.page("policy/rollback");
    let mut form = back.form("do");
    page_form(&mut form, &back);
    let done = scene.admin.submit(&back, &form);
    assert_eq!(
        done.location(),
        Some(scene.url("policy?done=1")),
        "{}",
        done.body
    );
    assert_eq!(scene.digest(), before);
    assert_eq!(auditor.follow(&second_app(&scene.gateway)).status, 200);
}

/// Applies what was checked, accepting what the page asks for.
fn apply_all(scene: &Scene, checked: &Answer, text: &str) -> Answer {
    scene.edit(checked, text, "apply")
}

#[test]
fn a_text_sent_with_an_old_code_waits_for_a_fresh_one() {
    let scene = Scene::new();
    let strict = scene.policy.replace(
        "allow.admins = { who = \"@admins\" }",
        "allow.look = { who = \"@admins\", methods = \"read\" }\nallow.act = { who = \"@admins\", mfa = \"2s\" }",
    );
    scene.gateway.set_policy(&strict);
    let page = scene.page("policy/file?name=policy.toml");
    assert!(!page.body.contains("typed for long"), "{}", page.body);
    let text = format!("{strict}\n# typed for long\n");
    let away = wait::until(LIMIT, "the code is too old", || {
        let answer = scene.edit(&page, &text, "check");
        answer
            .location()
            .filter(|to| to.contains("/signin/step-up"))
            .map(|_| answer)
    });
    let asked = scene.admin.follow_from(away);
    let back = scene.admin.code(&asked, &scene.gateway.facts.demo.code());
    assert_eq!(back.status, 200, "{}", back.body);
    assert!(
        back.url.contains("policy/file?name=policy.toml"),
        "{}",
        back.url
    );
    assert!(back.body.contains("# typed for long"), "{}", back.body);
    // once: who opens the file anew sees the file
    let anew = scene.page("policy/file?name=policy.toml");
    assert!(!anew.body.contains("# typed for long"), "{}", anew.body);
}

#[test]
fn a_change_that_locks_its_author_out_is_held_and_one_that_waits_is_kept_by_confirming() {
    let scene = Scene::new();
    let before = scene.digest();
    let page = scene.page("policy/file?name=policy.toml");
    let locked = scene
        .policy
        .replace("admins = [\"demo\"]", "admins = [\"guest\"]");
    let held = scene.edit(&page, &locked, "apply");
    assert_eq!(held.status, 409, "{}", held.body);
    assert!(held.body.contains("own-access"), "{}", held.body);
    assert_eq!(scene.digest(), before);
    let wider = scene
        .policy
        .replace("device = \"managed\"", "device = \"known\"");
    let mut form = page.form("base");
    page_form(&mut form, &page);
    form.fields.retain(|(name, _)| name != "do");
    for (name, value) in [("text", wider.as_str()), ("confirm", "5"), ("do", "apply")] {
        form.fields.push((name.to_owned(), value.to_owned()));
    }
    let applied = scene.admin.submit(&page, &form);
    assert_eq!(
        applied.location(),
        Some(scene.url("policy?done=1")),
        "{}",
        applied.body
    );
    let overview = scene.json("policy");
    assert!(overview["pending"]["until"].is_string(), "{overview}");
    let page = scene.page("policy");
    let forms = postern_tests::html::forms(&page.body);
    let form = forms
        .iter()
        .find(|form| form.action == "/admin/policy/confirm")
        .unwrap();
    let kept = scene.admin.submit(&page, form);
    assert_eq!(
        kept.location(),
        Some(scene.url("policy?done=1")),
        "{}",
        kept.body
    );
    assert!(scene.json("policy")["pending"].is_null());
    assert_ne!(scene.digest(), before);
}

#[test]
fn questions_are_answered_as_on_the_command_line() {
    let scene = Scene::new();
    let second = second_app(&scene.gateway);
    for (asked, args) in [
        (
            "ask=who-can&resource=admin".to_owned(),
            vec!["who-can", "admin"],
        ),
        (
            format!("ask=who-can&resource={second}"),
            vec!["who-can", &second],
        ),
        (
            "ask=what-can&user=guest".to_owned(),
            vec!["what-can", "guest"],
        ),
        (
            format!("ask=explain&user=guest&at=tue+10:00&method=POST&to={second}"),
            vec![
                "explain",
                "--user",
                "guest",
                "--at",
                "tue 10:00",
                "--method",
                "POST",
                &second,
            ],
        ),
    ] {
        let path = format!("policy/ask?{asked}");
        let command = |more: &[&str]| {
            let all: Vec<&str> = ["policy"]
                .iter()
                .chain(&args)
                .chain(more)
                .copied()
                .collect();
            scene.gateway.must(&all)
        };
        assert_eq!(told(&scene.page(&path).body), command(&[]), "{path}");
        let by_command: Value = serde_json::from_str(&command(&["--json"])).unwrap();
        assert_eq!(scene.json(&path), by_command, "{path}");
    }
    let wrong = scene
        .admin
        .open(&scene.url("policy/ask?ask=what-can&user=gest"));
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("did you mean"), "{}", wrong.body);
}

#[test]
fn health_tells_what_the_status_tells_and_more() {
    let scene = Scene::new();
    let health = scene.json("health");
    let status: Value = serde_json::from_str(&scene.gateway.must(&["status", "--json"])).unwrap();
    for field in ["version", "policy", "listeners", "tunnel", "sessions"] {
        assert_eq!(health[field], status[field], "{field}");
    }
    let all = status.as_object().unwrap();
    assert!(all.keys().all(|key| health.get(key).is_some()), "{health}");
    let certificate = &health["certificates"][0];
    assert!(
        certificate["days_left"].as_i64().unwrap() > 0,
        "{certificate}"
    );
    assert!(health["journal"]["bytes"].as_u64().unwrap() > 0, "{health}");
    assert!(health["disk"]["free"].as_u64().unwrap() > 0, "{health}");
    let upstream = health["upstreams"]
        .as_array()
        .unwrap()
        .iter()
        .find(|u| u["apps"][0] == "app.app");
    assert_eq!(upstream.unwrap()["open"], true, "{health}");
    assert!(
        scene
            .page("health")
            .body
            .contains(&*health["version"].as_str().unwrap().to_owned())
    );
    let findings = scene.json("policy/findings");
    assert_eq!(findings["digest"], status["policy"]["digest"]);
}
