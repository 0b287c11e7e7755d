//! The apps of `deploy/identity` behind the gateway: they believe its statement, and nothing else.

use std::fs;

use std::path::{Path, PathBuf};
use std::process::Command;

use postern_tests::chrome::Chrome;
use postern_tests::curl::{Client, origin};
use postern_tests::gateway::Gateway;
use postern_tests::ports::free_tcp;
use postern_tests::process::{Program, find, installed};
use postern_tests::temp::Temp;
use postern_tests::upstream::Recorder;

/// An app of the guide.
struct App {
    url: String,
    _program: Program,
    _dir: Temp,
}

fn snippets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/identity")
}

impl App {
    /// Starts a program on a port of its own, in a copy of the folder, where the gateway's names lead to loopback.
    fn start(gateway: &Gateway, words: impl FnOnce(&Path, u16) -> Vec<String>) -> Self {
        let (dir, port) = (Temp::new(), free_tcp());
        for entry in fs::read_dir(snippets()).unwrap().flatten() {
            fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        let hosts = "127.0.0.1 localhost gate.localhost app.gate.localhost\n";
        let hosts = dir.write("hosts", hosts);
        let words = words(dir.path(), port);
        let facts = &gateway.facts;
        let mut command = Command::new(find(&["unshare"]));
        command.args(["--mount", "sh", "-c"]);
        command.arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"");
        command.arg(hosts).args(&words);
        command.current_dir(dir.path()).env("HOME", dir.path());
        command.env("POSTERN_SIGN_IN", origin(&facts.portal));
        command.env("POSTERN_APP", origin(&facts.app));
        command.env("SSL_CERT_FILE", &facts.ca_root);
        command.env("NODE_EXTRA_CA_CERTS", &facts.ca_root);
        command.env("PORT", port.to_string());
        let mut program = Program::start(command, dir.path(), "app");
        program.listens(port);
        Self {
            url: format!("http://127.0.0.1:{port}"),
            _program: program,
            _dir: dir,
        }
    }

    fn fastapi(gateway: &Gateway) -> Self {
        let uvicorn = installed("POSTERN_VENV").join("bin/uvicorn");
        Self::start(gateway, |_, port| {
            let uvicorn = uvicorn.display();
            let line = format!("{uvicorn} fastapi_app:app --host 127.0.0.1 --port {port}");
            line.split(' ').map(str::to_owned).collect()
        })
    }

    fn express(gateway: &Gateway) -> Self {
        let modules = installed("POSTERN_NODE_MODULES");
        Self::start(gateway, |dir, _| {
            std::os::unix::fs::symlink(&modules, dir.join("node_modules")).unwrap();
            vec![find(&["node", "nodejs"]), "express_app.mjs".to_owned()]
        })
    }

    fn streamlit(gateway: &Gateway) -> Self {
        let streamlit = installed("POSTERN_VENV").join("bin/streamlit");
        Self::start(gateway, |_, port| {
            let streamlit = streamlit.display();
            let line = format!(
                "{streamlit} run streamlit_app.py --server.address=127.0.0.1 --server.port={port} \
                 --server.headless=true --server.fileWatcherType=none --browser.gatherUsageStats=false"
            );
            line.split(' ').map(str::to_owned).collect()
        })
    }
}

/// Puts an app behind the gateway, and beside it a recorder of what another app is told.
fn behind(gateway: &Gateway, app: &App, other: &Recorder) {
    gateway.set_policy(&format!(
        "postern = 1\n[group]\nadmins = [\"demo\"]\n[admin]\nallow.admins = {{ who = \"@admins\" }}\n\
         [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\nupstream = \"{}\"\n\
         allow.people = {{ who = [\"demo\", \"guest\"] }}\n\
         [app.other]\nhost = \"other.gate.localhost\"\nupstream = \"{}\"\n\
         allow.people = {{ who = [\"demo\", \"guest\"] }}\n",
        app.url,
        other.url()
    ));
}

/// Asks the app past the gateway with this statement; returns the status.
fn directly(client: &Client, app: &App, statement: &str) -> u16 {
    let field = format!("X-Postern-Jwt: {statement}");
    client.send(&app.url, &["-H", &field]).status
}

/// Changes one character in the middle of a part of a statement.
fn changed(statement: &str, part: usize) -> String {
    let mut parts: Vec<String> = statement.split('.').map(str::to_owned).collect();
    let middle = parts[part].len() / 2;
    let other = if parts[part][middle..].starts_with('A') {
        "B"
    } else {
        "A"
    };
    parts[part].replace_range(middle..=middle, other);
    parts.join(".")
}

fn believes_the_gateway_only(gateway: &Gateway, app: &App) {
    let other = Recorder::new();
    behind(gateway, app, &other);
    let client = Client::new(gateway);
    let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.json()["user"], "demo");
    assert_eq!(page.json()["groups"], serde_json::json!(["admins"]));
    // what a person claims to be is taken away
    let forged = client.send(&gateway.facts.app, &["-H", "X-Postern-Jwt: forged"]);
    assert_eq!(
        (forged.status, &forged.json()["user"]),
        (200, &"demo".into())
    );

    let own = {
        let recorder = Recorder::new();
        let app = App {
            url: recorder.url(),
            _program: Program::start(Command::new("true"), gateway.dir(), "none"),
            _dir: Temp::new(),
        };
        behind(gateway, &app, &other);
        assert_eq!(client.fetch(&gateway.facts.app).status, 200);
        recorder.last().values("x-postern-jwt")[0].to_owned()
    };
    let plain = Client::new(gateway);
    assert_eq!(directly(&plain, app, &own), 200, "its word to this app");
    let at_other = gateway.facts.app.replace("app.gate", "other.gate");
    assert_eq!(client.follow(&at_other).status, 200);
    let to_other = other.last().values("x-postern-jwt")[0].to_owned();
    assert_eq!(
        directly(&plain, app, &to_other),
        401,
        "its word to another app"
    );
    for part in 0..3 {
        let statement = changed(&own, part);
        assert_eq!(
            directly(&plain, app, &statement),
            401,
            "part {part} changed"
        );
    }
    // {"alg":"none","typ":"JWT"}
    let body = own.split('.').nth(1).unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
    assert_eq!(directly(&plain, app, &unsigned), 401);
    assert_eq!(plain.fetch(&app.url).status, 401);
}

#[test]
fn fastapi_believes_the_gateways_word_to_it_and_no_other() {
    let gateway = Gateway::demo();
    believes_the_gateway_only(&gateway, &App::fastapi(&gateway));
}

#[test]
fn express_believes_the_gateways_word_to_it_and_no_other() {
    let gateway = Gateway::demo();
    believes_the_gateway_only(&gateway, &App::express(&gateway));
}

#[test]
fn streamlit_greets_by_the_gateways_word_and_stops_without_it() {
    let gateway = Gateway::demo();
    let app = App::streamlit(&gateway);
    behind(&gateway, &app, &Recorder::new());
    let chrome = Chrome::start(&gateway.facts.ca_root);
    chrome.open(&app.url);
    chrome.wait_for_text("This did not come through the gateway.");
    let demo = &gateway.facts.demo;
    chrome.sign_in(&gateway.facts.app, demo);
    chrome.wait_for_text("Good day demo");
    chrome.wait_for_text("Groups: admins");
}
