//! The gateway's own pages in a real browser: for people who see badly, who use a keyboard alone,
//! a small phone, or no scripts; and pictures of each for a person to look at.
//!
//! The pictures go to `screens/` in the target folder, with an `index.html`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use data_encoding::BASE64;
use postern_tests::chrome::Chrome;
use postern_tests::curl::Client;
use postern_tests::gateway::{Gateway, Person};
use postern_tests::wait;
use serde_json::json;

const LANGUAGES: [&str; 3] = ["en", "fr", "de"];
const SCHEMES: [&str; 2] = ["light", "dark"];
/// A name, width and height in CSS pixels.
const SIZES: [(&str, u32, u32); 2] = [("phone", 360, 740), ("desktop", 1280, 800)];
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';
const PASSWORD: &str = "nine pears in a bowl";

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

/// The file of axe-core that tests/run has installed.
fn axe() -> String {
    let venv = std::env::var_os("POSTERN_VENV");
    let venv = venv.expect("POSTERN_VENV names no Python environment: run tests/run");
    let lib = PathBuf::from(venv).join("lib");
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

/// A page as it is looked at.
struct Look<'a> {
    chrome: &'a Chrome,
    axe: &'a str,
    seen: &'a Mutex<BTreeMap<String, Vec<String>>>,
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
        assert_eq!(said, self.language, "{name} at {}", self.chrome.url());
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
            "{place} is {wide} wide"
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
        seen.entry(name.to_owned()).or_default().push(file);
    }
}

fn sign_in(chrome: &Chrome, gateway: &Gateway, person: &Person) {
    chrome.open(&at(gateway, "/signin"));
    password(chrome, person);
    chrome.type_into("input[name=code]", &format!("{}\n", person.code()));
    wait::until_true(Duration::from_secs(20), "the portal opens", || {
        chrome.has("form[action='/signout']")
    });
}

fn password(chrome: &Chrome, person: &Person) {
    chrome.type_into("input[name=username]", &person.user);
    chrome.type_into("input[name=password]", &format!("{}\n", person.password));
    wait::until_true(Duration::from_secs(20), "the code is asked for", || {
        chrome.has("input[name=code]")
    });
}

/// The secret that an enrolment page shows.
fn secret(chrome: &Chrome) -> String {
    let text = chrome.script("return document.querySelector('.secret code').textContent");
    text.as_str().unwrap().replace(' ', "")
}

fn of_a_stranger(look: &mut Look<'_>, gateway: &Gateway) {
    for language in LANGUAGES {
        look.speak(language);
        look.open("signin", &at(gateway, "/signin"));
        look.chrome.type_into("input[name=username]", "demo");
        look.chrome
            .type_into("input[name=password]", "not the password at all\n");
        wait::until_true(Duration::from_secs(20), "the page says so", || {
            look.chrome.has("[role=alert]")
        });
        look.at("signin-wrong");
        look.open("link-dead", &at(gateway, "/enrol"));
        look.open("not-found", &at(gateway, "/nothing-here"));
        look.chrome.open(&at(gateway, "/signin"));
        password(look.chrome, &gateway.facts.demo);
        look.at("code");
        look.open("recovery", &at(gateway, "/signin/recovery"));
        let link = gateway.must(&["user", "invite", "guest"]);
        look.chrome.open(link.trim());
        look.at("enrol");
        let guest = Person::new("guest", PASSWORD, &secret(look.chrome));
        look.chrome.type_into("#password", "passwordpassword");
        look.chrome.type_into("#again", "passwordpassword");
        look.chrome.type_into("#code", "000000\n");
        wait::until_true(Duration::from_secs(20), "the page says so", || {
            look.chrome.has("[role=alert]")
        });
        look.at("enrol-weak");
        look.chrome.type_into("#password", PASSWORD);
        look.chrome.type_into("#again", PASSWORD);
        look.chrome
            .type_into("#code", &format!("{}\n", guest.code()));
        wait::until_true(Duration::from_secs(20), "the codes are shown", || {
            look.chrome.has("ol.codes")
        });
        look.at("enrol-done");
    }
}

fn of_a_person(look: &mut Look<'_>, gateway: &Gateway) {
    sign_in(look.chrome, gateway, &gateway.facts.demo);
    for language in LANGUAGES {
        look.speak(language);
        look.open("portal", &gateway.facts.portal);
        look.open("account", &at(gateway, "/account"));
        look.open("confirm", &at(gateway, "/account/password"));
        look.open("step-up", &at(gateway, "/signin/step-up"));
        let leave = format!("{}.postern/signout", gateway.facts.app);
        look.chrome.open(&gateway.facts.app);
        look.open("leave", &leave);
    }
    look.speak("en");
    look.chrome.open(&at(gateway, "/account/password"));
    look.chrome
        .type_into("input[name=password]", &gateway.facts.demo.password);
    let code = format!("{}\n", gateway.facts.demo.code());
    look.chrome.type_into("input[name=code]", &code);
    wait::until_true(Duration::from_secs(20), "the form opens", || {
        look.chrome.has("input[name=again]")
    });
    for language in LANGUAGES {
        look.speak(language);
        look.open("password", &at(gateway, "/account/password"));
        look.open("app", &at(gateway, "/account/app"));
        look.open("codes", &at(gateway, "/account/codes"));
        look.chrome.click("main form button");
        wait::until_true(Duration::from_secs(20), "the codes are shown", || {
            look.chrome.has("ol.codes")
        });
        look.at("codes-new");
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
    let gateway = Gateway::demo();
    let (axe, seen) = (axe(), Mutex::new(BTreeMap::new()));
    let looks = |round: &dyn Fn(&mut Look<'_>)| {
        let chrome = Chrome::start(&gateway.facts.ca_root);
        round(&mut Look {
            chrome: &chrome,
            axe: &axe,
            seen: &seen,
            language: "en",
        });
    };
    looks(&|look| of_a_guest(look, &gateway));
    looks(&|look| of_a_person(look, &gateway));
    looks(&|look| of_a_stranger(look, &gateway));
    let seen = seen.into_inner().unwrap();
    let variants = LANGUAGES.len() * SIZES.len() * SCHEMES.len();
    assert!(
        seen.values().all(|files| files.len() == variants),
        "{seen:?}"
    );
    let index = index(&seen);
    fs::write(screens().join("index.html"), index).unwrap();
    println!("{} pages in {}", seen.len(), screens().display());
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
    wait::until_true(Duration::from_secs(20), "the code is asked for", || {
        chrome.has("input[name=code]")
    });
    tab_to(&chrome, "input[name=code]");
    chrome.press(&format!("{}{ENTER}", demo.code()));
    wait::until_true(Duration::from_secs(20), "the portal opens", || {
        chrome.has("form[action='/signout']")
    });
    let shown = "const style = getComputedStyle(document.activeElement);
        return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2";
    tab_to(&chrome, "ul.apps a");
    assert_eq!(chrome.script(shown), true, "the focus is not seen");
    chrome.press(&ENTER.to_string());
    wait::until_true(Duration::from_secs(20), "the app opens", || {
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
    wait::until_true(Duration::from_secs(20), "the session ends", || {
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
    wait::until_true(Duration::from_secs(20), "the codes are shown", || {
        chrome.has("ol.codes")
    });
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
    wait::until_true(Duration::from_secs(20), "the session ends", || {
        !chrome.has("form[action='/signout']")
    });
}
