//! Why an order fails: the old certificate stays in use, and each cause is named wherever one looks.

use std::fs;
use std::process::Command;
use std::sync::Mutex;

use postern_tests::pebble::{Pebble, Setup, Site, acme};
use postern_tests::ports::free_tcp;
use postern_tests::process::Program;
use postern_tests::smtp::{Mail, Sink};
use postern_tests::temp::Temp;
use serde_json::json;

const GATE: &str = "gate.example.test";
const UNAVAILABLE: i32 = 69;

/// Makes a site whose gate has a certificate of a directory, then lets `spoil` break the next order.
fn old_stays(spoil: impl Fn(&Site, &Pebble) -> String, cause: &str) {
    let site = Site::new("");
    let reusing = Setup {
        reuse: 100,
        ..Setup::default()
    };
    let pebble = Pebble::start(&site, &reusing);
    let hook = pebble.hook("$3");
    let dns = |hook: &std::path::Path| {
        let hook = hook.display();
        format!(
            "challenge = \"dns-01\"\n[acme.dns]\nhook = \"{hook}\"\nwait = \"1s\"\ntimeout = \"5s\"\n"
        )
    };
    site.configure(
        &pebble.resolver(),
        false,
        &acme(&dns(&hook), &[&pebble.entry()]),
    );
    let program = site.start();
    site.wait_for(GATE);
    let before = site.shown(GATE);
    program.stop();
    // what one account has proved once, a directory need not ask for again
    site.forget_account();
    let spoiled = spoil(&site, &pebble);
    site.configure(&pebble.resolver(), false, &spoiled);
    let program = site.start();
    let done = site.renew(GATE);
    assert_eq!(done["outcome"], "failed", "{done}");
    assert_eq!(done["cause"], cause, "{done}");
    assert!(
        done["advice"].is_string() && done["detail"].is_string(),
        "{done}"
    );
    assert_eq!(site.shown(GATE), before, "the old certificate stays");
    assert_eq!(site.get(&pebble.root(), GATE, "/healthz"), Ok(200));
    let log = program.stderr();
    assert!(
        log.contains("is not renewed") && log.contains(cause),
        "{log}"
    );
    let status = site.json(&["status"]);
    assert_eq!(status[0]["certificates"][0]["cause"], cause, "{status:?}");
    let records = site.json(&["audit", "search", "--event", "certificate-changed.1"]);
    let told = records.iter().any(|r| {
        r["reason"] == "order-failed" && r["detail"].as_str().is_some_and(|d| d.contains(cause))
    });
    assert!(told, "{records:?}");
    let (exit, _) = site.code(&["cert", "renew", GATE]);
    assert!(matches!(exit, Some(0 | UNAVAILABLE)), "{exit:?}");
    program.stop();
}

fn by_hook(pebble: &Pebble, value: &str) -> String {
    let hook = pebble.hook(value);
    let text = format!(
        "challenge = \"dns-01\"\n[acme.dns]\nhook = \"{}\"\nwait = \"1s\"\ntimeout = \"5s\"\n",
        hook.display()
    );
    acme(&text, &[&pebble.entry()])
}

#[test]
fn a_wrong_answer_keeps_the_old_certificate_and_is_named() {
    old_stays(|_, pebble| by_hook(pebble, "wrong"), "wrong-answer");
}

#[test]
fn a_hook_that_hangs_keeps_the_old_certificate_and_is_named() {
    let spoil = |_: &Site, pebble: &Pebble| {
        let text = by_hook(pebble, "$3");
        fs::write(pebble.folder().join("hook"), "#!/bin/sh\nexec sleep 1000\n").unwrap();
        text
    };
    old_stays(spoil, "dns-not-set");
}

#[test]
fn a_dead_directory_keeps_the_old_certificate_and_is_named() {
    let spoil = |_: &Site, _: &Pebble| {
        let dead = format!(
            "[[acme.directory]]\nurl = \"https://localhost:{}/dir\"\n",
            free_tcp()
        );
        acme("", &[&dead])
    };
    old_stays(spoil, "directory-unreachable");
}

#[test]
fn a_dns_that_fails_keeps_the_old_certificate_and_is_named() {
    let spoil = |_: &Site, pebble: &Pebble| {
        pebble.dns("set-servfail", &json!({ "host": format!("{GATE}.") }));
        acme("", &[&pebble.entry()])
    };
    old_stays(spoil, "dns-failed");
}

#[test]
fn a_port_that_leads_elsewhere_keeps_the_old_certificate_and_is_named() {
    let spoil = |_: &Site, pebble: &Pebble| {
        // nothing listens there
        pebble.dns(
            "add-a",
            &json!({ "host": GATE, "addresses": ["127.0.0.2"] }),
        );
        acme("", &[&pebble.entry()])
    };
    old_stays(spoil, "not-reached");
}

/// A directory that refuses every order with one problem.
const REFUSING: &str = r#"
import http.server, json, ssl, sys
port, chain, key, kind, status = int(sys.argv[1]), *sys.argv[2:5], int(sys.argv[5])
base = f"https://localhost:{port}"
class Directory(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    refused = 0
    def say(self, code, body, *fields):
        text = json.dumps(body).encode()
        self.send_response(code)
        for name, value in fields: self.send_header(name, value)
        self.send_header("Replay-Nonce", "bm9uY2U")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(text)
    def do_HEAD(self): self.say(200, {})
    def do_GET(self):
        self.say(200, {name: f"{base}/{name}" for name in ["newNonce", "newAccount", "newOrder"]})
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/newAccount":
            # a directory may refuse any number that it gave, as often as it likes
            if Directory.refused < 4:
                Directory.refused += 1
                return self.say(400, {"type": "urn:ietf:params:acme:error:badNonce", "detail": "again"})
            return self.say(201, {"status": "valid"}, ("Location", f"{base}/account/1"))
        problem = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": "told by the directory"}
        self.say(status, problem, *([("Retry-After", "7200")] if status == 429 else []))
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Directory)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// Starts a directory that makes an account when asked for the fifth time, and answers every order with a problem of this kind and status.
fn refusing(pebble: &Pebble, dir: &Temp, kind: &str, status: u16) -> (Program, String) {
    let port = free_tcp();
    let script = dir.write("refusing.py", REFUSING);
    let file = |name: &str| pebble.folder().join(name);
    let mut command = Command::new("python3");
    command.arg(script).arg(port.to_string());
    command.arg(file("ca-chain.pem")).arg(file("ca.key"));
    command.arg(kind).arg(status.to_string());
    let mut program = Program::start(command, dir.path(), "refusing");
    program.listens(port);
    let entry = format!(
        "[[acme.directory]]\nurl = \"https://localhost:{port}/dir\"\nroots = \"{}\"\n",
        file("ca-root.pem").display()
    );
    (program, entry)
}

#[test]
fn what_a_directory_refuses_keeps_the_old_certificate_and_is_named() {
    let problems = [
        ("rateLimited", 429, "rate-limited"),
        ("caa", 403, "caa-forbids"),
        ("rejectedIdentifier", 400, "name-refused"),
        ("serverInternal", 500, "directory-failed"),
        ("userActionRequired", 403, "account-refused"),
    ];
    for (kind, status, cause) in problems {
        let dir = Temp::new();
        let kept = Mutex::new(None);
        let spoil = |_: &Site, pebble: &Pebble| {
            let (program, entry) = refusing(pebble, &dir, kind, status);
            *kept.lock().unwrap() = Some(program);
            acme("", &[&entry])
        };
        old_stays(spoil, cause);
    }
}

#[test]
fn a_wish_of_the_directory_stands_against_an_operator_and_over_a_restart() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    let dir = Temp::new();
    let (_limiting, entry) = refusing(&pebble, &dir, "rateLimited", 429);
    site.configure(&pebble.resolver(), true, &acme("", &[&entry]));
    let program = site.start();
    let first = site.wait_for_failure(GATE);
    assert_eq!(first["cause"], "rate-limited", "{first}");
    let done = site.renew(GATE);
    assert_eq!(done["outcome"], "guarded", "{done}");
    program.stop();
    let program = site.start();
    let line = site.wait_for_failure(GATE);
    for same in ["cause", "detail", "next"] {
        assert_eq!(line[same], first[same], "{line}");
    }
    let done = site.renew(GATE);
    assert_eq!(done["outcome"], "guarded", "{done}");
    assert_eq!(site.code(&["cert", "renew", GATE]).0, Some(UNAVAILABLE));
    program.stop();
    // the twin: another directory wished for nothing
    site.configure(
        &pebble.resolver(),
        true,
        &acme("", &[&pebble.entry(), &entry]),
    );
    let program = site.start();
    site.wait_for(GATE);
    program.stop();
}

#[test]
fn administrators_hear_by_mail_of_a_name_that_gets_no_certificate_once() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    let (dir, sink) = (Temp::new(), Sink::new());
    let (_refusing, entry) = refusing(&pebble, &dir, "caa", 403);
    let mail = format!("{}admins = [\"ops@example.org\"]\n", sink.section());
    site.configure(&pebble.resolver(), true, &(acme("", &[&entry]) + &mail));
    let program = site.start();
    let _first = site.wait_for_failure(GATE);
    let is_told = |mail: &Mail| mail.text.contains(GATE) && mail.text.contains("caa-forbids");
    let done = site.renew(GATE);
    assert_eq!(done["cause"], "caa-forbids", "{done}");
    assert!(!sink.mails().iter().any(is_told), "twice may be a moment's");
    let done = site.renew(GATE);
    assert_eq!(done["cause"], "caa-forbids", "{done}");
    let mail = sink.wait_for("a word about the order", is_told);
    assert_eq!(mail.to, ["ops@example.org"]);
    for part in ["told by the directory", "CAA record"] {
        assert!(mail.text.contains(part), "{part}: {}", mail.text);
    }
    let done = site.renew(GATE);
    assert_eq!(done["cause"], "caa-forbids", "{done}");
    assert_eq!(sink.mails().iter().filter(|mail| is_told(mail)).count(), 1);
    program.stop();
}

#[test]
fn a_certificate_that_cannot_be_written_is_named_and_the_old_one_is_served_on() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    site.configure(&pebble.resolver(), false, &acme("", &[&pebble.entry()]));
    let program = site.start();
    site.wait_for(GATE);
    let before = site.shown(GATE);
    let file = site.path(&format!("data/acme/certificates/{GATE}.pem"));
    let aside = file.with_extension("aside");
    fs::rename(&file, &aside).unwrap();
    fs::create_dir(&file).unwrap();
    let done = site.renew(GATE);
    assert_eq!(done["cause"], "not-written", "{done}");
    assert_eq!(site.shown(GATE), before);
    // the twin: there is room again
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    let done = site.renew(GATE);
    assert_eq!(done["outcome"], "renewed", "{done}");
    assert_ne!(site.shown(GATE), before);
    program.stop();
}
