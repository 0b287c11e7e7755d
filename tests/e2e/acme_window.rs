//! When a directory says that a certificate should be renewed, and what it is told of the one that
//! an order replaces (RFC 9773).
//!
//! Debian's test directory does not say so: what stands before it here does, and hands on the rest.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use postern_tests::pebble::{Pebble, Setup, Site};
use postern_tests::ports::free_tcp;
use postern_tests::process::Program;
use postern_tests::temp::Temp;
use postern_tests::wait;

const GATE: &str = "gate.example.test";
const LIMIT: Duration = postern_tests::wait::PATIENCE;

/// Hands everything to the directory; says of the first certificate what its words are, and of
/// each other one a window that is far away.
const FRONT: &str = r#"
import base64, http.client, http.server, json, ssl, sys, threading
port, behind, chain, key, first, asked, takes = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:8]
far = {"start": "2126-01-01T00:00:00Z", "end": "2126-01-02T00:00:00Z"}
seen, lock = [], threading.Lock()
class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, code, fields, text):
        self.send_response(code)
        for name, value in fields: self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(text)
    def window(self):
        name = self.path.rsplit("/", 1)[1]
        with lock:
            if name not in seen:
                seen.append(name)
                with open(asked, "a") as file: file.write(name + "\n")
        window = json.loads(first) if name == seen[0] else far
        fields = [("Content-Type", "application/json"), ("Retry-After", "21600")]
        self.answer(200, fields, json.dumps({"suggestedWindow": window}).encode())
    def order(self, body):
        """Returns whom a new order follows; nothing for what is no new order."""
        try: text = json.loads(body)["payload"]
        except (ValueError, KeyError): return None
        order = json.loads(base64.urlsafe_b64decode(text + "==") or "{}")
        if "identifiers" not in order: return None
        with lock, open(asked + ".orders", "a") as file: file.write(order.get("replaces", "-") + "\n")
        return order.get("replaces")
    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/window/"): return self.window()
        follows = self.order(body)
        if follows and takes == "refused":
            problem = {"type": "urn:ietf:params:acme:error:alreadyReplaced", "detail": "no", "status": 409}
            return self.answer(409, [("Content-Type", "application/problem+json")], json.dumps(problem).encode())
        link = http.client.HTTPSConnection("127.0.0.1", behind, context=ssl._create_unverified_context())
        kept = {n: v for n, v in self.headers.items() if n.lower() not in ("connection", "content-length")}
        link.request(self.command, self.path, body or None, kept)
        came = link.getresponse()
        text = came.read()
        if follows and came.status == 201 and takes == "taken":
            text = json.dumps({**json.loads(text), "replaces": follows}).encode()
        if takes == "old" and "pem-certificate-chain" in came.getheader("Content-Type", ""):
            with lock: seen.append(text)
            text = seen[0]
        if self.path == "/dir" and takes not in ("unknown", "old"):
            directory = json.loads(text)
            directory["renewalInfo"] = f"https://localhost:{port}/window"
            text = json.dumps(directory).encode()
        hop = ("connection", "content-length", "transfer-encoding")
        self.answer(came.status, [(n, v) for n, v in came.getheaders() if n.lower() not in hop], text)
    do_GET = do_HEAD = do_POST = serve
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Front)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

struct Scene {
    site: Site,
    asked: PathBuf,
    pebble: Pebble,
    _dir: Temp,
    _front: Program,
    _program: Program,
}

impl Scene {
    /// `window` is what is said of the first certificate.
    fn new(window: &str) -> Self {
        Self::with(window, "taken")
    }

    /// `takes` is what becomes of an order that names the one it replaces: `taken`, `refused`,
    /// `ignored` (the answer does not name it), or `unknown`: the directory says nothing of windows.
    /// One that is `old` gives the first certificate out again instead of each other one.
    fn with(window: &str, takes: &str) -> Self {
        let (site, dir) = (Site::new(""), Temp::new());
        // what is asked is counted here
        let setup = Setup {
            nonce_reject: 0,
            ..Setup::default()
        };
        let pebble = Pebble::start(&site, &setup);
        let port = free_tcp();
        let asked = dir.path().join("asked");
        let mut command = Command::new("python3");
        command.arg(dir.write("front.py", FRONT));
        command.args([port.to_string(), pebble.port.to_string()]);
        command.arg(pebble.folder().join("ca-chain.pem"));
        command.arg(pebble.folder().join("ca.key"));
        command.arg(window).arg(&asked).arg(takes);
        let mut front = Program::start(command, dir.path(), "front");
        front.listens(port);
        let roots = pebble.folder().join("ca-root.pem");
        let acme = format!(
            "[acme]\nagree-to-terms = true\n[[acme.directory]]\n\
             url = \"https://localhost:{port}/dir\"\nroots = \"{}\"\n",
            roots.display()
        );
        site.configure(&pebble.resolver(), true, &acme);
        let program = site.start();
        site.wait_for(GATE);
        Self {
            site,
            asked,
            pebble,
            _dir: dir,
            _front: front,
            _program: program,
        }
    }

    /// Whom each order was to follow; `-` for nobody.
    fn orders(&self) -> Vec<String> {
        let text = fs::read_to_string(self.asked.with_extension("orders"));
        text.unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// The first certificate that was asked about.
    fn first(&self) -> String {
        let text = fs::read_to_string(&self.asked).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// How many certificates were asked about.
    fn count(&self) -> usize {
        let text = fs::read_to_string(&self.asked).unwrap_or_default();
        text.lines().count()
    }

    fn next(&self) -> String {
        let line = self.site.certificate(GATE).unwrap();
        line["next"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_certificate_whose_window_is_past_is_renewed_by_itself_and_once() {
    let scene = Scene::new(PAST);
    // the directory was asked about a second certificate, which nobody ordered but the plan
    wait::until_true(LIMIT, "it is renewed", || scene.count() == 2);
    let root = scene.pebble.root();
    assert_eq!(scene.site.get(&root, GATE, "/healthz"), Ok(200));
    let records = ["audit", "search", "--event", "certificate-changed.1"];
    wait::until_true(LIMIT, "both are in the journal", || {
        let records = scene.site.json(&records);
        let done = |r: &&serde_json::Value| r["detail"] == GATE && r["outcome"] == "ok";
        records.iter().filter(done).count() == 2
    });
    // of that one a window in a hundred years was told: it is renewed before its end all the same
    let (next, line) = (scene.next(), scene.site.certificate(GATE).unwrap());
    assert!(
        next.as_str() < line["not_after"].as_str().unwrap(),
        "{line}"
    );
    assert_eq!(scene.count(), 2);
}

#[test]
fn a_certificate_is_renewed_in_the_window_of_its_directory_and_not_before() {
    let day = |days: u64| rfc3339(postern_tests::totp::now() + days * 86_400);
    // a third left would be after sixty days
    let (start, end) = (day(20), day(21));
    let scene = Scene::new(&format!(r#"{{"start":"{start}","end":"{end}"}}"#));
    let within = || (start.as_str()..end.as_str()).contains(&scene.next().as_str());
    wait::until_true(LIMIT, "the plan follows the window", within);
    let before = scene.site.shown(GATE);
    let lines = scene.site.json(&["cert", "renew", GATE]);
    assert_eq!(lines[0]["outcome"], "not-due", "{lines:?}");
    assert_eq!((scene.site.shown(GATE), scene.count()), (before, 1));
}

const PAST: &str = r#"{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"}"#;

#[test]
fn an_order_names_the_certificate_that_it_replaces() {
    let scene = Scene::new(PAST);
    wait::until_true(LIMIT, "it is renewed", || scene.count() == 2);
    assert_eq!(scene.orders(), ["-", scene.first().as_str()]);
}

#[test]
fn a_directory_that_refuses_or_ignores_what_is_replaced_gets_the_order_without_it() {
    for takes in ["refused", "ignored"] {
        let scene = Scene::with(PAST, takes);
        wait::until_true(LIMIT, "it is renewed", || scene.count() == 2);
        assert_eq!(
            scene.orders(),
            ["-", scene.first().as_str(), "-"],
            "{takes}"
        );
    }
}

#[test]
fn a_directory_that_knows_nothing_of_windows_is_told_of_no_replacement() {
    let scene = Scene::with(PAST, "unknown");
    let lines = scene.site.json(&["cert", "renew", GATE, "--force"]);
    assert_eq!(lines[0]["outcome"], "renewed", "{lines:?}");
    assert_eq!(scene.orders(), ["-", "-"]);
    assert_eq!(scene.count(), 0);
}

/// Writes a time as RFC 3339 does, in UTC.
#[test]
fn a_certificate_that_is_not_what_was_ordered_is_named_and_not_used() {
    let scene = Scene::with("{}", "old");
    let before = scene.site.shown(GATE);
    let done = scene.site.renew(GATE);
    assert_eq!(done["cause"], "certificate-unusable", "{done}");
    assert!(done["detail"].as_str().unwrap().contains("key"), "{done}");
    assert_eq!(scene.site.shown(GATE), before);
    assert_eq!(
        scene.site.get(&scene.pebble.root(), GATE, "/healthz"),
        Ok(200)
    );
}

fn rfc3339(seconds: u64) -> String {
    let output = Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
