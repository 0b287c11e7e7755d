//! The gateway's own pages in a real browser: for people who see badly, who use a keyboard alone,
//! a small phone, or no scripts; and pictures of each for a person to look at.
//!
//! The pictures go to `screens/` in the target folder, with an `index.html`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use data_encoding::BASE64;
use postern_tests::chrome::Chrome;
use postern_tests::curl::{Client, origin};
use postern_tests::gateway::{Gateway, Person};
use postern_tests::process::installed;
use postern_tests::smtp::Sink;
use postern_tests::{routes, wait};
use serde_json::json;

const LANGUAGES: [&str; 3] = ["en", "fr", "de"];
const SCHEMES: [&str; 2] = ["light", "dark"];
/// A name, width and height in CSS pixels.
const SIZES: [(&str, u32, u32); 2] = [("phone", 360, 740), ("desktop", 1280, 800)];
/// How long anything may take on a busy machine.
const LIMIT: Duration = postern_tests::wait::PATIENCE;
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';
const PASSWORD: &str = "nine pears in a bowl";
const BETTER: &str = "ten plums under a tree";

/// What answers GET and is no page: files, and what leads on to a page.
const NO_PAGES: [&str; 14] = [
    "/.postern/devices.js",
    "/.postern/icon.svg",
    "/.postern/pages.js",
    "/.postern/postern.css",
    "/.postern/watch.js",
    "/admin",
    "/admin/decisions/events",
    "/admin/policy/confirm",
    "/ca/root.crt",
    "/ca/root.pem",
    "/enrol/{token}",
    "/postern.css",
    // only for a device in the tunnel that waits for a proof; `reproof.rs` types into it
    "/signin/device",
    "/signin/reset/{token}",
];

/// Finds words that are cut in two, and what does not fit where it stands.
const UNTIDY: &str = "
    const found = [];
    const short = 'header a, header span, nav a, button, .button, h1, h2, label, th, .codes code';
    for (const element of document.querySelectorAll(short)) {
        // a head that is there for screen readers only
        if (element.closest('thead')?.getBoundingClientRect().width <= 1) continue;
        const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
        for (let node = walker.nextNode(); node; node = walker.nextNode()) {
            for (const word of node.data.matchAll(/[^\\s-]+/g)) {
                const range = document.createRange();
                range.setStart(node, word.index);
                range.setEnd(node, word.index + word[0].length);
                // a word of more letters may be hyphenated
                if (word[0].length <= 20 && range.getClientRects().length > 1) found.push('in two: ' + word[0]);
            }
        }
    }
    for (const element of document.querySelectorAll('.bar, nav, .codes, .codes li, td, th, button')) {
        const box = element.getBoundingClientRect();
        for (const inner of element.children) {
            if (inner.getBoundingClientRect().right > box.right + 1) {
                found.push('too wide: ' + inner.outerHTML);
            }
        }
    }
    return found";

/// Finds what reaches past the right edge.
const STICKS_OUT: &str = "
    return [...document.querySelectorAll('body *')]
        .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .map(e => e.outerHTML.slice(0, 200))";

/// The file of axe-core that tests/run has installed.
fn axe() -> String {
    let lib = installed("POSTERN_VENV").join("lib");
    let pythons = fs::read_dir(lib).unwrap().map(|e| e.unwrap().path());
    let mut files = pythons.map(|p| p.join("site-packages/axe_core_python/axe.min.js"));
    let file = files.find(|f| f.exists());
    fs::read_to_string(file.expect("axe-core is missing: run tests/run")).unwrap()
}

/// Where the pictures go.
fn screens() -> PathBuf {
    let target = std::env::current_exe().unwrap();
    let target = target
        .ancestors()
        .find(|dir| dir.ends_with("debug") || dir.ends_with("release"));
    let dir = target.unwrap().parent().unwrap().join("screens");
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn at(gateway: &Gateway, path: &str) -> String {
    format!("{}{path}", gateway.facts.portal.trim_end_matches('/'))
}

/// What was looked at.
#[derive(Default)]
struct Seen {
    /// Pictures of each page.
    pictures: BTreeMap<String, Vec<String>>,
    /// Paths.
    paths: BTreeSet<String>,
}

/// A page as it is looked at.
struct Look<'a> {
    chrome: &'a Chrome,
    axe: &'a str,
    seen: &'a Mutex<Seen>,
    language: &'a str,
}

impl<'a> Look<'a> {
    fn speak(&mut self, language: &'a str) {
        self.language = language;
        let agent = self.chrome.script("return navigator.userAgent");
        let params = json!({ "userAgent": agent, "acceptLanguage": language });
        self.chrome
            .devtools("Network.setUserAgentOverride", &params);
    }

    fn open(&self, name: &str, url: &str) {
        self.chrome.open(url);
        self.at(name);
    }

    /// Looks at the page that is open in each size and scheme.
    fn at(&self, name: &str) {
        let said = self.chrome.script("return document.documentElement.lang");
        let url = self.chrome.url();
        assert_eq!(said, self.language, "{name} at {url}");
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let path = path.strip_prefix(origin(&url)).unwrap().to_owned();
        self.seen.lock().unwrap().paths.insert(path);
        for (size, width, height) in SIZES {
            let params = json!({
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone",
            });
            self.chrome
                .devtools("Emulation.setDeviceMetricsOverride", &params);
            for scheme in SCHEMES {
                let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
                let params = json!({ "features": [feature] });
                self.chrome.devtools("Emulation.setEmulatedMedia", &params);
                let place = format!("{name}, {}, {size}, {scheme}", self.language);
                self.fits(&place, width);
                // colours are the same in each language, words in each scheme and size
                if self.language == "en" || (size, scheme) == ("phone", "dark") {
                    self.is_accessible(&place);
                }
                self.picture(name, size, scheme);
            }
        }
    }

    fn fits(&self, place: &str, width: u32) {
        let wide = self
            .chrome
            .script("return document.documentElement.scrollWidth");
        assert!(
            wide.as_u64().unwrap() <= u64::from(width),
            "{place} is {wide} wide: {}",
            self.chrome.script(STICKS_OUT)
        );
        assert_eq!(self.chrome.script(UNTIDY), json!([]), "{place}");
    }

    fn is_accessible(&self, place: &str) {
        if self.chrome.script("return typeof window.axe") == "undefined" {
            drop(self.chrome.script(self.axe));
        }
        let run = "const done = arguments[arguments.length - 1];
            window.axe.run(document, { resultTypes: ['violations'] }).then(
                found => done({
                    passes: found.passes.length,
                    violations: found.violations.map(v =>
                        v.id + ': ' + v.help + ' ' + v.nodes.map(n => n.html).join(' ')),
                }),
                error => done({ passes: 0, violations: [String(error)] }))";
        let found = self.chrome.script_later(run);
        assert_eq!(found["violations"], json!([]), "{place}");
        assert!(found["passes"].as_u64().unwrap() > 10, "{place}: {found}");
    }

    fn picture(&self, name: &str, size: &str, scheme: &str) {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.chrome.devtools("Page.captureScreenshot", &params);
        let bytes = BASE64
            .decode(picture["data"].as_str().unwrap().as_bytes())
            .unwrap();
        let file = format!("{name}-{}-{size}-{scheme}.png", self.language);
        fs::write(screens().join(&file), bytes).unwrap();
        let mut seen = self.seen.lock().unwrap();
        let pictures = seen.pictures.entry(name.to_owned()).or_default();
        pictures.push(file);
    }

    /// Waits for what a form leads to.
    fn until(&self, css: &str) {
        wait::until_true(LIMIT, css, || self.chrome.has(css));
    }
}

fn sign_in(chrome: &Chrome, gateway: &Gateway, person: &Person) {
    chrome.open(&at(gateway, "/signin"));
    password(chrome, person);
    chrome.type_into("input[name=code]", &format!("{}\n", person.code()));
    wait::until_true(LIMIT, "the portal opens", || {
        chrome.has("form[action='/signout']")
    });
}

fn password(chrome: &Chrome, person: &Person) {
    chrome.type_into("input[name=username]", &person.user);
    chrome.type_into("input[name=password]", &format!("{}\n", person.password));
    wait::until_true(LIMIT, "the code is asked for", || {
        chrome.has("input[name=code]")
    });
}

/// The secret that an enrolment page shows.
fn secret(chrome: &Chrome) -> String {
    let text = chrome.script("return document.querySelector('.secret code').textContent");
    text.as_str().unwrap().replace(' ', "")
}

fn of_a_stranger(look: &mut Look<'_>, gateway: &Gateway, sink: &Sink) {
    for language in LANGUAGES {
        look.speak(language);
        look.open("signin", &at(gateway, "/signin"));
        look.chrome.type_into("input[name=username]", "demo");
        look.chrome
            .type_into("input[name=password]", "not the password at all\n");
        look.until("[role=alert]");
        look.at("signin-wrong");
        look.open("link-dead", &at(gateway, "/enrol"));
        look.open("not-found", &at(gateway, "/nothing-here"));
        look.open("ca", &at(gateway, "/ca"));
        look.chrome.open(&at(gateway, "/signin"));
        password(look.chrome, &gateway.facts.demo);
        look.open("code", &at(gateway, "/signin/code"));
        look.open("recovery", &at(gateway, "/signin/recovery"));
        enrols(look, gateway, language);
        forgets(look, gateway, sink, language);
    }
}

/// Each language has a person of its name.
fn enrols(look: &Look<'_>, gateway: &Gateway, user: &str) {
    let link = gateway.must(&["user", "invite", user]);
    look.chrome.open(link.trim());
    look.at("enrol");
    let person = Person::new(user, PASSWORD, &secret(look.chrome));
    look.chrome.type_into("#password", "passwordpassword");
    look.chrome.type_into("#again", "passwordpassword");
    look.chrome.type_into("#code", "000000\n");
    look.until("[role=alert]");
    look.at("enrol-weak");
    look.chrome.type_into("#password", PASSWORD);
    look.chrome.type_into("#again", PASSWORD);
    look.chrome
        .type_into("#code", &format!("{}\n", person.code()));
    look.until("ol.codes");
    look.at("enrol-done");
}

fn forgets(look: &Look<'_>, gateway: &Gateway, sink: &Sink, user: &str) {
    look.open("forgot", &at(gateway, "/signin/forgot"));
    let name = format!("{user}\n");
    look.chrome.type_into("input[name=username]", &name);
    look.until("main:not(:has(input[name=username]))");
    look.at("forgot-sent");
    let to = format!("{user}@example.org");
    let mail = sink.wait_for("the link", |mail| {
        mail.to.contains(&to) && mail.text.contains("/signin/reset/")
    });
    look.chrome.open(&mail.link());
    look.at("reset");
    look.chrome.type_into("#password", BETTER);
    look.chrome.type_into("#again", "something else entirely\n");
    look.until("[role=alert]");
    look.at("reset-wrong");
    look.chrome.type_into("#password", BETTER);
    look.chrome.type_into("#again", &format!("{BETTER}\n"));
    look.until("main:not(:has(#again))");
    look.at("reset-done");
}

fn of_a_person(look: &mut Look<'_>, gateway: &Gateway) {
    sign_in(look.chrome, gateway, &gateway.facts.demo);
    let asks = "[app.app.\"/why\"]\njustify = \"1h\"\nallow.demo = { who = \"demo\" }\n";
    gateway.set_policy(&format!("{}\n{asks}", gateway.policy_text()));
    for language in LANGUAGES {
        look.speak(language);
        look.open("portal", &gateway.facts.portal);
        look.open("account", &at(gateway, "/account"));
        look.open("devices", &at(gateway, "/account/devices"));
        look.open("tokens", &at(gateway, "/account/tokens"));
        look.open("confirm", &at(gateway, "/account/password"));
        look.open("confirm-devices", &at(gateway, "/account/devices/change"));
        look.open("step-up", &at(gateway, "/signin/step-up"));
        look.chrome.open(&format!("{}why", gateway.facts.app));
        look.at("why");
        let leave = format!("{}.postern/signout", gateway.facts.app);
        look.chrome.open(&gateway.facts.app);
        look.open("leave", &leave);
        let again = format!("{}.postern/again", gateway.facts.app);
        look.open("again-gone", &again);
    }
    let text = gateway.policy_text();
    gateway.set_policy(&text.replace("[app.app]", "[app.app]\ntokens = \"90d\""));
    look.speak("en");
    look.chrome.open(&at(gateway, "/account/password"));
    look.chrome
        .type_into("input[name=password]", &gateway.facts.demo.password);
    let code = format!("{}\n", gateway.facts.demo.code());
    look.chrome.type_into("input[name=code]", &code);
    look.until("input[name=again]");
    for language in LANGUAGES {
        look.speak(language);
        look.open("password", &at(gateway, "/account/password"));
        look.open("app", &at(gateway, "/account/app"));
        look.open("codes", &at(gateway, "/account/codes"));
        look.chrome.click("main form button");
        look.until("ol.codes");
        look.at("codes-new");
        look.open("device-add", &at(gateway, "/account/devices/add"));
        look.chrome.type_into("#name", &format!("{language}\n"));
        look.until("#done:not([hidden])");
        look.at("device-added");
        look.open("devices-confirmed", &at(gateway, "/account/devices"));
        look.open("token-make", &at(gateway, "/account/tokens/make"));
        look.chrome.type_into("#name", &format!("{language}\n"));
        look.until("#example");
        look.at("token-made");
        look.open("tokens-some", &at(gateway, "/account/tokens"));
    }
}

/// Pages of the console that are looked at as they are.
const CONSOLE: [(&str, &str); 23] = [
    ("people", "/admin/people"),
    ("person", "/admin/person?user=demo"),
    ("groups", "/admin/groups"),
    ("group", "/admin/group?group=admins"),
    ("devices", "/admin/devices"),
    ("sessions", "/admin/sessions"),
    ("tokens", "/admin/tokens"),
    (
        "revoke-token",
        "/admin/do/revoke-token?token=taaaaaaaaaaaaa",
    ),
    ("bans", "/admin/bans"),
    ("decisions", "/admin/decisions"),
    ("policy", "/admin/policy"),
    ("ask", "/admin/policy/ask"),
    (
        "answer",
        "/admin/policy/ask?ask=who-can&resource=app.app%2F",
    ),
    ("findings", "/admin/policy/findings"),
    ("file", "/admin/policy/file?name=policy.toml"),
    ("rollback", "/admin/policy/rollback"),
    ("folder", "/admin/policy/folder"),
    ("certificates", "/admin/certs"),
    ("health", "/admin/health"),
    ("end", "/admin/do/end-sessions?user=guest"),
    ("edit", "/admin/do/add?user=zoe&group=readers"),
    ("refused", "/admin/do/join?user=guest&group=admins"),
    ("nothing", "/admin/nothing-here"),
];

/// Looks with a browser that is signed in already.
fn of_an_administrator(look: &mut Look<'_>, gateway: &Gateway) {
    gateway.must(&["ban", "add", "192.0.2.7", "--reason", "for the picture"]);
    let readers = "admins = [\"demo\"]\nreaders = [\"demo\"]";
    let text = gateway.policy_text();
    gateway.set_policy(&text.replace("admins = [\"demo\"]", readers));
    for language in LANGUAGES {
        look.speak(language);
        for (name, path) in CONSOLE {
            look.open(&format!("console-{name}"), &at(gateway, path));
        }
        look.chrome.open(&at(gateway, "/admin/decisions"));
        look.chrome.click("td.do a");
        look.at("console-decision");
        look.chrome
            .open(&at(gateway, "/admin/policy/file?name=policy.toml"));
        look.chrome.type_into("#text", "nonsense = 1\n");
        look.chrome.click("button[value=check]");
        look.until("[role=alert]");
        look.at("console-wrong");
        look.chrome
            .open(&at(gateway, "/admin/do/invite?user=guest"));
        look.chrome.click("main form button[type=submit]");
        look.until("main code");
        look.at("console-link");
    }
}

fn of_a_guest(look: &mut Look<'_>, gateway: &Gateway) {
    sign_in(look.chrome, gateway, &gateway.facts.guest);
    for language in LANGUAGES {
        look.speak(language);
        look.open("denied", &gateway.facts.app);
        look.open("portal-empty", &gateway.facts.portal);
    }
}

#[test]
fn every_page_passes_axe_in_each_language_size_and_scheme() {
    let sink = Sink::new();
    let gateway = with_mail(&sink);
    let (axe, seen) = (axe(), Mutex::new(Seen::default()));
    let look_by = |chrome: &Chrome, round: &dyn Fn(&mut Look<'_>)| {
        round(&mut Look {
            chrome,
            axe: &axe,
            seen: &seen,
            language: "en",
        });
    };
    let looks = |round: &dyn Fn(&mut Look<'_>)| {
        look_by(&Chrome::start(&gateway.facts.ca_root), round);
    };
    // two browsers at a time, of which one signs in only: of two passwords at once on a busy
    // machine the later one is asked to wait
    let console = Chrome::start(&gateway.facts.ca_root);
    sign_in(&console, &gateway, &gateway.facts.demo);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            looks(&|look| of_a_guest(look, &gateway));
            looks(&|look| of_a_person(look, &gateway));
            looks(&|look| of_a_stranger(look, &gateway, &sink));
        });
        look_by(&console, &|look| of_an_administrator(look, &gateway));
    });
    let seen = seen.into_inner().unwrap();
    let variants = LANGUAGES.len() * SIZES.len() * SCHEMES.len();
    let pictures = &seen.pictures;
    assert!(
        pictures.values().all(|files| files.len() == variants),
        "{pictures:?}"
    );
    fs::write(screens().join("index.html"), index(pictures)).unwrap();
    println!("{} pages in {}", pictures.len(), screens().display());
    covers_every_route(&seen.paths);
}

/// Fails when a route that answers GET was neither looked at nor is known to be no page.
fn covers_every_route(paths: &BTreeSet<String>) {
    let routes: Vec<_> = routes::all().into_iter().filter(|r| r.get).collect();
    let is_no_page = |path: &str| NO_PAGES.contains(&path);
    let missed: Vec<_> = routes
        .iter()
        .filter(|route| !is_no_page(&route.path) && !paths.iter().any(|path| route.is(path)))
        .collect();
    assert!(missed.is_empty(), "nobody looks at {missed:?}");
}

#[test]
fn what_is_listed_as_no_page_is_none() {
    let gateway = Gateway::demo();
    let routes = routes::all();
    let client = Client::new(&gateway);
    drop(client.sign_in(&gateway.facts.portal, &gateway.facts.demo));
    for path in NO_PAGES {
        assert!(routes.iter().any(|r| r.path == path), "{path} is no route");
        let events = path.ends_with("/events");
        if !events {
            let answer = client.open(&at(&gateway, path));
            let kind = answer.header("content-type").unwrap_or_default();
            let is_page = answer.status == 200 && kind.starts_with("text/html");
            assert!(!is_page, "{path} is a page: {answer:?}");
        }
    }
}

/// A demo whose mails go to a server of the tests, with a person for each language.
fn with_mail(sink: &Sink) -> Gateway {
    let mut gateway = Gateway::demo();
    gateway.stop();
    gateway.edit_config(|text| text.push_str(&sink.section()));
    let users = gateway.facts.policy.join("users.toml");
    let mut text = fs::read_to_string(&users).unwrap();
    for user in LANGUAGES {
        write!(text, "\n[user.{user}]\nmail = \"{user}@example.org\"\n").unwrap();
    }
    fs::write(&users, text).unwrap();
    gateway.start_again();
    gateway
}

fn index(seen: &BTreeMap<String, Vec<String>>) -> String {
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Pages</title>\n\
         <style>body{font:1rem system-ui}img{height:24rem;border:1px solid #888;margin:4px}</style>\n",
    );
    for (name, files) in seen {
        writeln!(page, "<h2>{name}</h2>").unwrap();
        for file in files {
            writeln!(
                page,
                "<a href=\"{file}\"><img loading=\"lazy\" src=\"{file}\" alt=\"{file}\"></a>"
            )
            .unwrap();
        }
    }
    page
}

/// Presses Tab until a field or link has the focus.
fn tab_to(chrome: &Chrome, css: &str) {
    for _ in 0..20 {
        let script = format!("return document.activeElement.matches({})", json!(css));
        if chrome.script(&script) == true {
            return;
        }
        chrome.press(&TAB.to_string());
    }
    panic!(
        "Tab does not lead to {css} at {}:\n{}",
        chrome.url(),
        chrome.text()
    );
}

#[test]
fn the_keyboard_alone_signs_in() {
    let gateway = Gateway::demo();
    let demo = &gateway.facts.demo;
    let chrome = Chrome::start(&gateway.facts.ca_root);
    chrome.open(&gateway.facts.portal);
    tab_to(&chrome, "input[name=username]");
    chrome.press(&demo.user);
    chrome.press(&TAB.to_string());
    // what comes next is what is typed next
    tab_to(&chrome, "input[name=password]");
    chrome.press(&format!("{}{ENTER}", demo.password));
    wait::until_true(LIMIT, "the code is asked for", || {
        chrome.has("input[name=code]")
    });
    tab_to(&chrome, "input[name=code]");
    chrome.press(&format!("{}{ENTER}", demo.code()));
    wait::until_true(LIMIT, "the portal opens", || {
        chrome.has("form[action='/signout']")
    });
    let shown = "const style = getComputedStyle(document.activeElement);
        return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2";
    tab_to(&chrome, "ul.apps a");
    assert_eq!(chrome.script(shown), true, "the focus is not seen");
    chrome.press(&ENTER.to_string());
    wait::until_true(LIMIT, "the app opens", || {
        chrome.url().starts_with(&gateway.facts.app)
    });
    chrome.open(&gateway.facts.portal);
    chrome.press(&TAB.to_string());
    assert_eq!(
        chrome.script("return document.activeElement.className"),
        "skip"
    );
    tab_to(&chrome, "form[action='/signout'] button");
    chrome.press(&ENTER.to_string());
    wait::until_true(LIMIT, "the session ends", || {
        !chrome.has("form[action='/signout']")
    });
    assert_eq!(Client::new(&gateway).open(&gateway.facts.app).status, 303);
}

#[test]
fn every_page_works_without_scripts_and_loads_nothing_foreign() {
    let gateway = Gateway::demo();
    let link = gateway.must(&["user", "invite", "guest"]);
    let chrome = Chrome::start_without_scripts(&gateway.facts.ca_root);
    chrome.open("data:text/html,<p id=p>without</p><script>p.textContent='with'</script>");
    assert_eq!(chrome.text(), "without", "scripts are not off");
    chrome.open(link.trim());
    let guest = Person::new("guest", PASSWORD, &secret(&chrome));
    chrome.type_into("#password", PASSWORD);
    chrome.type_into("#again", PASSWORD);
    chrome.type_into("#code", &format!("{}\n", guest.code()));
    wait::until_true(LIMIT, "the codes are shown", || chrome.has("ol.codes"));
    sign_in(&chrome, &gateway, &gateway.facts.demo);
    for path in [
        "/",
        "/account",
        "/account/password",
        "/signin/step-up",
        "/nothing-here",
    ] {
        chrome.open(&at(&gateway, path));
        assert!(chrome.has("main h1"), "{path}");
        let foreign = "return performance.getEntriesByType('resource').map(e => e.name)
            .filter(name => new URL(name).origin !== location.origin)";
        assert_eq!(chrome.script(foreign), json!([]), "{path}");
        let buttons = "return [...document.querySelectorAll('main button')]
            .filter(b => b.offsetParent && b.type !== 'submit').length";
        assert_eq!(
            chrome.script(buttons),
            0,
            "{path}: a button that does nothing"
        );
    }
    chrome.open(&gateway.facts.portal);
    chrome.click("form[action='/signout'] button");
    wait::until_true(LIMIT, "the session ends", || {
        !chrome.has("form[action='/signout']")
    });
}
