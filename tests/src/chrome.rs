//! Headless Chromium over WebDriver (W3C), spoken by hand: a handful of JSON requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::Person;
use crate::netns::{self, Namespace};
use crate::process::{Program, find, must};
use crate::temp::Temp;
use crate::wait;

const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const LIMIT: Duration = crate::wait::PATIENCE;

/// A browser that trusts one root besides those of the system.
#[derive(Debug)]
pub struct Chrome {
    port: u16,
    session: String,
    /// The namespace it runs in, if not that of the test.
    namespace: Option<String>,
    _driver: Program,
    _home: Option<Temp>,
}

impl Chrome {
    /// Starts Chromium; `root` is put into the trust store of its own home folder.
    #[must_use]
    pub fn start(root: &Path) -> Self {
        Self::launch(
            root,
            Command::new(find(&["chromedriver"])),
            None,
            &json!({}),
        )
    }

    /// As [`Chrome::start`], inside a namespace.
    #[must_use]
    pub fn start_in(namespace: &Namespace, root: &Path) -> Self {
        let driver = find(&["chromedriver"]);
        let command = namespace.command(&driver);
        let name = Some(namespace.name().to_owned());
        Self::launch(root, command, name, &json!({}))
    }

    /// Starts Chromium that runs no script of a page.
    #[must_use]
    pub fn start_without_scripts(root: &Path) -> Self {
        let blocked = "profile.managed_default_content_settings.javascript";
        let driver = Command::new(find(&["chromedriver"]));
        Self::launch(root, driver, None, &json!({ blocked: 2 }))
    }

    /// Starts Chromium as somebody with this home folder does: it trusts what that folder says.
    #[must_use]
    pub fn start_at_home(home: &Path) -> Self {
        let driver = Command::new(find(&["chromedriver"]));
        Self::launch_at(home, driver, None, &json!({}))
    }

    fn launch(
        root: &Path,
        command: Command,
        namespace: Option<String>,
        preferences: &Value,
    ) -> Self {
        let home = Temp::new();
        trust(root, home.path());
        let mut chrome = Self::launch_at(home.path(), command, namespace, preferences);
        chrome._home = Some(home);
        chrome
    }

    fn launch_at(
        home: &Path,
        mut command: Command,
        namespace: Option<String>,
        preferences: &Value,
    ) -> Self {
        command.arg("--port=0").env("HOME", home);
        let driver = Program::start(command, home, "chromedriver");
        let port = wait::until(LIMIT, "chromedriver listens", || port(&driver.stdout()));
        let mut chrome = Self {
            port,
            session: String::new(),
            namespace,
            _driver: driver,
            _home: None,
        };
        let answer = chrome.call("POST", "/session", &capabilities(preferences));
        answer["sessionId"]
            .as_str()
            .unwrap()
            .clone_into(&mut chrome.session);
        chrome
    }

    /// Opens an address and waits until it is loaded. Chromium gives up what it loads while addresses of the machine
    /// come and go, as they do in a namespace that was just made; it is asked again then.
    pub fn open(&self, url: &str) {
        for _ in 0..5 {
            self.post("/url", &json!({ "url": url }));
            if !self.gave_up() {
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Tells whether what was to be loaded was given up for addresses that came or went.
    fn gave_up(&self) -> bool {
        self.text().contains("ERR_NETWORK_CHANGED")
    }

    /// Opens an address of an app and signs somebody in on the way. What Chromium gives up because addresses of the
    /// machine came and went, as in [`Chrome::open`], is filled in again.
    pub fn sign_in(&self, url: &str, person: &Person) {
        for _ in 0..5 {
            self.open(url);
            self.type_into("input[name=username]", &person.user);
            self.type_into("input[name=password]", &format!("{}\n", person.password));
            wait::until_true(LIMIT, "the password has its answer", || {
                !self.has("input[name=password]")
            });
            if !self.gave_up() {
                break;
            }
        }
        self.type_into("input[name=code]", &format!("{}\n", person.code()));
    }

    #[must_use]
    pub fn url(&self) -> String {
        let url = self.call("GET", &self.path("/url"), &Value::Null);
        url.as_str().unwrap().to_owned()
    }

    /// Types into the first element that a CSS selector finds.
    pub fn type_into(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.post(
            &format!("/element/{element}/value"),
            &json!({ "text": text }),
        );
    }

    /// Clicks the first element that a CSS selector finds.
    pub fn click(&self, css: &str) {
        let element = self.element(css);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Says whether the page has an element that a CSS selector finds.
    #[must_use]
    pub fn has(&self, css: &str) -> bool {
        let query = json!({ "using": "css selector", "value": css });
        self.try_call("POST", &self.path("/element"), &query)
            .is_ok()
    }

    /// Returns the visible text of the page.
    #[must_use]
    pub fn text(&self) -> String {
        let text = self.run("return document.body.innerText", &[]);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page, with arguments, and returns what it returns.
    pub fn run(&self, script: &str, args: &[Value]) -> Value {
        let script = json!({ "script": script, "args": args });
        self.post("/execute/sync", &script)
    }

    /// Runs a script in every page to come, before its own.
    pub fn run_before_pages(&self, script: &str) {
        let source = json!({ "source": script });
        self.devtools("Page.addScriptToEvaluateOnNewDocument", &source);
    }

    /// Lets pages save files, into a folder.
    pub fn save_into(&self, dir: &Path) {
        let allow = json!({ "behavior": "allow", "downloadPath": dir });
        self.devtools("Browser.setDownloadBehavior", &allow);
    }

    /// Waits until the page shows a text.
    pub fn wait_for_text(&self, wanted: &str) {
        let what = format!("the page shows {wanted:?}");
        let mut last = String::new();
        let end = std::time::Instant::now() + LIMIT;
        while std::time::Instant::now() < end {
            last = self.text();
            if last.contains(wanted) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "not within {LIMIT:?}: {what}; at {} it shows:\n{last}",
            self.url()
        );
    }

    /// Presses keys one after the other, wherever the focus is.
    pub fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            let key = key.to_string();
            [
                json!({ "type": "keyDown", "value": key }),
                json!({ "type": "keyUp", "value": key }),
            ]
        });
        let strokes: Vec<_> = strokes.collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.post("/actions", &json!({ "actions": [keyboard] }));
    }

    /// Runs a script in the page, past its policy, and returns what it returns.
    #[must_use]
    pub fn script(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a script that gives its result to its last argument, a function.
    #[must_use]
    pub fn script_later(&self, script: &str) -> Value {
        self.post("/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Sends a command of the DevTools protocol.
    pub fn devtools(&self, command: &str, params: &Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({ "cmd": command, "params": params }),
        )
    }

    fn element(&self, css: &str) -> String {
        let query = json!({ "using": "css selector", "value": css });
        let end = std::time::Instant::now() + LIMIT;
        while std::time::Instant::now() < end {
            let found = self.try_call("POST", &self.path("/element"), &query);
            if let Ok(found) = found
                && let Some(element) = found[ELEMENT].as_str()
            {
                return element.to_owned();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "not within {LIMIT:?}: an element {css}; at {} there is:\n{}",
            self.url(),
            self.text()
        );
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &self.path(path), body)
    }

    fn path(&self, path: &str) -> String {
        format!("/session/{}{path}", self.session)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.try_call(method, path, body);
        answer.unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let mut stream = match &self.namespace {
            Some(name) => netns::enter(name, connect),
            None => connect(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut value: Value = serde_json::from_str(&read_body(stream)).unwrap();
        let value = value["value"].take();
        if value["error"].is_string() {
            return Err(value);
        }
        Ok(value)
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        // chromedriver ends the browser with its session
        if !self.session.is_empty() {
            let end = || self.try_call("DELETE", &self.path(""), &Value::Null);
            // also after a failure, which may be chromedriver's own
            drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(end)));
        }
    }
}

fn capabilities(preferences: &Value) -> Value {
    let flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ];
    let options = json!({
        "binary": find(&["chromium", "chromium-browser"]),
        "args": flags,
        "prefs": preferences,
    });
    let patience = LIMIT.as_secs() * 1000;
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "timeouts": { "script": patience, "pageLoad": patience },
        "goog:chromeOptions": options,
    } } })
}

/// Puts a root into the NSS database below a home folder, where Chromium looks.
fn trust(root: &Path, home: &Path) {
    let dir = home.join(".pki/nssdb");
    std::fs::create_dir_all(&dir).unwrap();
    let database = format!("sql:{}", dir.display());
    let certutil = find(&["certutil"]);
    must(&certutil, &["-d", &database, "-N", "--empty-password"]);
    let root = root.to_str().unwrap();
    let add = [
        "-d", &database, "-A", "-t", "C,,", "-n", "postern", "-i", root,
    ];
    must(&certutil, &add);
}

fn port(output: &str) -> Option<u16> {
    let (_, rest) = output.split_once("started successfully on port ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn read_body(stream: TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut length = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
    }
    let mut body = Vec::new();
    match length {
        Some(length) => {
            body.resize(length, 0);
            reader.read_exact(&mut body).unwrap();
        }
        None => {
            reader.read_to_end(&mut body).unwrap();
        }
    }
    String::from_utf8(body).unwrap()
}
