//! The files of `deploy/apps`, as an administrator copies them, before the real thing: Streamlit, FastAPI and Next.js as
//! PyPI and npm have them, and what of Grafana is its own before a proxy.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use postern_tests::chrome::Chrome;
use postern_tests::curl::{Client, host, origin};
use postern_tests::gateway::Gateway;
use postern_tests::journal;
use postern_tests::ports::free_tcp;
use postern_tests::process::{Program, find, installed};
use postern_tests::raw;
use postern_tests::streamlit::Streamlit;
use postern_tests::temp::Temp;
use postern_tests::wait::PATIENCE;
use postern_tests::websocket::KEY;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program on a port of its own.
struct App {
    url: String,
    _program: Program,
    dir: Temp,
}

impl App {
    fn start(program: PathBuf, words: impl FnOnce(u16) -> String, dir: Temp) -> Self {
        let port = free_tcp();
        let mut command = Command::new(program);
        command.args(words(port).split(' '));
        command.current_dir(dir.path()).env("HOME", dir.path());
        command.env("PORT", port.to_string());
        let mut program = Program::start(command, dir.path(), "app");
        program.listens(port);
        Self {
            url: format!("http://127.0.0.1:{port}"),
            _program: program,
            dir,
        }
    }

    fn interface() -> Self {
        let dir = Temp::new();
        dir.write("interface.py", read("apps/interface.py"));
        let uvicorn = installed("POSTERN_VENV").join("bin/uvicorn");
        let words = |port| format!("interface:app --host 127.0.0.1 --port {port}");
        Self::start(uvicorn, words, dir)
    }

    fn graphs() -> Self {
        let dir = Temp::new();
        let program = dir.write("grafana_like.mjs", read("apps/grafana_like.mjs"));
        let modules = installed("POSTERN_NODE_MODULES");
        std::os::unix::fs::symlink(modules, dir.path().join("node_modules")).unwrap();
        let node = PathBuf::from(find(&["node", "nodejs"]));
        Self::start(node, |_| program.display().to_string(), dir)
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(here(path)).unwrap()
}

/// A gateway whose policy folder holds a file of `deploy/apps`, with the test's name and addresses put in.
fn with(file: &str, changes: &[(&str, &str)]) -> Gateway {
    let gateway = Gateway::demo();
    let main = "postern = 1\n[group]\nadmins = [\"demo\"]\n[admin]\nallow.admins = { who = \"@admins\" }\n";
    let mut text = read(&format!("../deploy/apps/{file}.toml"));
    for (own, instead) in changes {
        assert!(text.contains(own), "{own} is not in {file}.toml");
        text = text.replace(own, instead);
    }
    fs::write(gateway.facts.policy.join(format!("{file}.toml")), text).unwrap();
    gateway.open_policy(main);
    gateway
}

const NAME: &str = "app.gate.localhost";

#[test]
fn streamlit_runs_uploads_and_stays_connected() {
    let app = Streamlit::start(
        "import streamlit as st\n\
         name = st.text_input('Name')\n\
         st.write('Good day', name)\n\
         file = st.file_uploader('File')\n\
         if file: st.write('came', len(file.getvalue()), 'bytes')\n",
    );
    let gateway = with(
        "streamlit",
        &[
            ("dash.example.org", NAME),
            ("http://127.0.0.1:8501", &app.url),
        ],
    );
    let chrome = Chrome::start(&gateway.facts.ca_root);
    chrome.sign_in(&gateway.facts.app, &gateway.facts.demo);
    chrome.wait_for_text("Good day");
    chrome.type_into("input[type=text]", "Ada\n");
    chrome.wait_for_text("Good day Ada");
    let dir = Temp::new();
    let file = dir.path().join("big.bin");
    fs::write(&file, vec![7; 3_000_000]).unwrap();
    chrome.type_into("input[type=file]", &file.display().to_string());
    chrome.wait_for_text("came 3000000 bytes");
    let stream = journal::search(&gateway, &["--event", "access-decided"]);
    let stream = stream.iter().filter(|r| r["path"] == "/_stcore/stream");
    assert_eq!(stream.count(), 1, "the page connected more than once");
    let status: serde_json::Value =
        serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap();
    assert_eq!(status["upstreams"][0]["state"], "up", "{status}");
}

#[test]
fn a_grafana_knows_the_person_and_its_live_socket_runs() {
    let app = App::graphs();
    let gateway = with(
        "grafana",
        &[
            ("graphs.example.org", NAME),
            ("http://127.0.0.1:3000", &app.url),
        ],
    );
    let chrome = Chrome::start(&gateway.facts.ca_root);
    chrome.sign_in(&gateway.facts.app, &gateway.facts.demo);
    chrome.wait_for_text("demo of admins");
    chrome.wait_for_text("frames 2");
    chrome.wait_for_text("tick 5");
    // who somebody is cannot be claimed, and another site's page opens no socket
    let client = Client::new(&gateway);
    client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    let me = format!("{}api/user", gateway.facts.app);
    let forged = client.send(
        &me,
        &["-H", "X-WEBAUTH-USER: root", "-H", "x_webauth_user: root"],
    );
    assert_eq!(forged.json()["login"], "demo", "{forged:?}");
    let name = host(&gateway.facts.app);
    let cookie = client.cookie(name, "__Host-postern").unwrap();
    let open = |origin: &str| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.https_port()));
        let mut tls = raw::tls(address, name, &gateway.facts.ca_root, PATIENCE);
        let head = format!(
            "GET /api/live/ws HTTP/1.1\r\nHost: {name}:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Origin: {origin}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
             Cookie: __Host-postern={cookie}\r\n\r\n",
            gateway.https_port()
        );
        tls.write_all(head.as_bytes()).unwrap();
        let mut status = [0; 12];
        tls.read_exact(&mut status).unwrap();
        String::from_utf8(status.to_vec()).unwrap()
    };
    assert_eq!(open(origin(&gateway.facts.app)), "HTTP/1.1 101");
    assert_eq!(open("https://evil.example"), "HTTP/1.1 403");
    // the socket ends with the session
    gateway.must(&["session", "revoke", "--user", "demo"]);
    chrome.wait_for_text("closed");
}

#[test]
fn fastapi_answers_streams_and_hides_its_description() {
    let app = App::interface();
    let gateway = with(
        "fastapi",
        &[
            ("api.example.org", NAME),
            ("http://127.0.0.1:8000", &app.url),
        ],
    );
    let at = |path: &str| format!("{}{path}", gateway.facts.app);
    let client = Client::new(&gateway);
    client.sign_in(&at("stock"), &gateway.facts.demo);
    assert_eq!(client.fetch(&at("stock")).json()["user"], "demo");
    let json = ["-H", "Content-Type: application/json", "--data-raw"];
    let send = |body: &str| {
        let mut args = json.to_vec();
        args.push(body);
        client.send(&at("items"), &args)
    };
    let made = send(r#"{"name":"ring","count":2}"#);
    assert_eq!(
        (made.status, made.json()["name"].as_str()),
        (201, Some("ring"))
    );
    let bad = send(r#"{"name":"ring","count":"two"}"#);
    assert_eq!(bad.status, 422, "{bad:?}");
    assert_eq!(bad.json()["detail"][0]["loc"][1], "count");

    let (small, large) = (app.dir.path().join("small"), app.dir.path().join("large"));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    fs::write(&small, &bytes).unwrap();
    fs::write(&large, vec![0; (25 << 20) + 1]).unwrap();
    let put = |file: &Path| {
        let file = file.display().to_string();
        client.send(&at("files/a"), &["-T", &file])
    };
    let took = put(&small);
    let sum = digest(&SHA256, &bytes);
    let sum = data_encoding::HEXLOWER.encode(sum.as_ref());
    assert_eq!(took.json()["sha256"], sum, "{took:?}");
    assert_eq!(put(&large).status, 413);

    let guest = Client::new(&gateway);
    guest.sign_in(&at("stock"), &gateway.facts.guest);
    assert_eq!(guest.fetch(&at("stock")).json()["user"], "guest");
    for path in ["docs", "redoc", "openapi.json"] {
        assert_eq!(client.fetch(&at(path)).status, 200, "{path}");
        assert_eq!(guest.fetch(&at(path)).status, 403, "{path}");
    }
    events_come_one_by_one(&gateway, &client);
}

/// Three events, a second apart, must arrive apart.
fn events_come_one_by_one(gateway: &Gateway, client: &Client) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.https_port()));
    let name = host(&gateway.facts.app);
    let mut tls = raw::tls(address, name, &gateway.facts.ca_root, PATIENCE);
    let cookie = client.cookie(name, "__Host-postern").unwrap();
    let head = format!(
        "GET /events HTTP/1.1\r\nHost: {name}:{}\r\nCookie: __Host-postern={cookie}\r\nConnection: close\r\n\r\n",
        gateway.https_port()
    );
    tls.write_all(head.as_bytes()).unwrap();
    let (mut seen, mut part, mut first) = (Vec::new(), [0; 4096], None);
    loop {
        match tls.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(count) => seen.extend_from_slice(&part[..count]),
        }
        if first.is_none() && has(&seen, "data: 0") {
            first = Some(Instant::now());
        }
    }
    assert!(has(&seen, "data: 2"), "{}", String::from_utf8_lossy(&seen));
    let apart = first.unwrap().elapsed();
    assert!(apart > Duration::from_secs(1), "held back: {apart:?}");
}

fn has(seen: &[u8], text: &str) -> bool {
    seen.windows(text.len()).any(|part| part == text.as_bytes())
}

/// The front of `tests/apps/next`, built and served by Next.js itself; it must lie where its modules are found.
struct Next {
    app: Option<App>,
    folder: PathBuf,
}

impl Next {
    fn start() -> Self {
        let modules = installed("POSTERN_NODE_MODULES");
        let name = format!("next-{}", std::process::id());
        let folder = modules.parent().unwrap().join(name);
        let mut next = Self { app: None, folder };
        copy(&here("apps/next"), &next.folder);
        let program = modules.join("next/dist/bin/next");
        let node = PathBuf::from(find(&["node", "nodejs"]));
        let built = Command::new(&node)
            .arg(&program)
            .args(["build", "--turbopack"])
            .current_dir(&next.folder)
            .env("NEXT_TELEMETRY_DISABLED", "1")
            .output()
            .unwrap();
        assert!(built.status.success(), "{built:?}");
        let folder = next.folder.display().to_string();
        let words = |port| {
            let program = program.display();
            format!("{program} start {folder} --hostname 127.0.0.1 --port {port}")
        };
        next.app = Some(App::start(node, words, Temp::new()));
        next
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        drop(self.app.take());
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

#[test]
fn a_front_of_next_js_and_an_interface_share_one_name() {
    let (front, interface) = (Next::start(), App::interface());
    let gateway = with(
        "nextjs",
        &[
            ("shop.example.org", NAME),
            ("http://127.0.0.1:3000", &front.app.as_ref().unwrap().url),
            ("http://127.0.0.1:8000", &interface.url),
        ],
    );
    let chrome = Chrome::start(&gateway.facts.ca_root);
    chrome.sign_in(&gateway.facts.app, &gateway.facts.demo);
    chrome.wait_for_text("Shop");
    chrome.wait_for_text("3 for demo");
    let who = chrome.script("return document.getElementById('who').textContent");
    assert_eq!(
        who, "demo",
        "the page was made on the server for somebody else"
    );
    // a link is followed by the page's own script, without a new document
    drop(chrome.script("window.same = true"));
    chrome.click("#next");
    chrome.wait_for_text("Item 7");
    assert_eq!(chrome.script("return window.same"), true);
    chrome.open(&gateway.facts.app);
    // a server action: Next.js compares Origin with the host it is told
    chrome.type_into("input[name=item]", "3");
    chrome.click("#order");
    chrome.wait_for_text("Ordered");
    chrome.wait_for_text("Item 123");

    let client = Client::new(&gateway);
    let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    let stock = client.fetch(&format!("{}api/stock", gateway.facts.app));
    assert_eq!(stock.json()["prefix"], "/api", "{stock:?}");
    let file = page
        .body
        .split('"')
        .find(|t| t.starts_with("/_next/static/"));
    let file = format!("{}{}", origin(&gateway.facts.app), file.unwrap());
    let first = client.fetch(&file);
    assert_eq!(first.status, 200, "{first:?}");
    assert!(first.header("cache-control").unwrap().contains("immutable"));
    let second = client.fetch(&file);
    assert!(second.header("age").is_some(), "{second:?}");
    assert_eq!(second.body, first.body);
    let stranger = Client::new(&gateway).send(&file, &["-H", "Accept: */*"]);
    assert_ne!(stranger.status, 200, "{stranger:?}");
}
