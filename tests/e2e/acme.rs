//! Certificates ordered from Debian's test directory, and every way in which that can fail.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use postern_tests::pebble::{Pebble, Setup, Site};
use postern_tests::ports::free_tcp;
use postern_tests::process::Program;
use postern_tests::temp::Temp;
use postern_tests::upstream::Recorder;
use postern_tests::{raw, wait};
use serde_json::json;

const GATE: &str = "gate.example.test";
const OPEN: &str = "open.example.test";
const DATA: i32 = 65;
const UNAVAILABLE: i32 = 69;

/// An app that everybody may see.
fn open_app(upstream: &str) -> String {
    format!(
        "[app.open]\nhost = \"{OPEN}\"\nupstream = \"{upstream}\"\n\
         public = \"what a test looks at\"\nallow.all = {{ who = \"anyone\" }}\n"
    )
}

fn acme(more: &str, directories: &[&str]) -> String {
    format!(
        "[acme]\nagree-to-terms = true\n{more}\n{}",
        directories.concat()
    )
}

fn stop(mut program: Program) {
    program.signal(Signal::SIGTERM);
    program.wait(Duration::from_secs(20));
}

fn code(site: &Site, args: &[&str]) -> (Option<i32>, String) {
    let output = site.run(args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        output.status.code(),
        text + &String::from_utf8_lossy(&output.stderr),
    )
}

#[test]
fn http_01_works_though_every_fifth_number_is_refused() {
    let recorder = Recorder::new();
    let site = Site::new(&open_app(&recorder.url()));
    let setup = Setup {
        reuse: 50,
        ..Setup::default()
    };
    let pebble = Pebble::start(&site, &setup);
    site.configure(
        &pebble.resolver(),
        false,
        &acme("contact = \"it@example.test\"", &[&pebble.entry()]),
    );
    let program = site.start();
    for host in [GATE, OPEN] {
        site.wait_for(host);
        assert_eq!(
            site.get(&pebble.root(), host, "/healthz"),
            Ok(200),
            "{host}"
        );
    }
    // port 80 of this machine is not the gateway's, which the self-test before each first order tells
    let tested = || {
        let records = site.json(&["audit", "search", "--reason", "self-test"]);
        let of = |name: &str| {
            let told = records.iter().filter_map(|r| r["detail"].as_str());
            told.filter(|text| text.starts_with(&format!("{name}: ")))
                .count()
        };
        (of(GATE), of(OPEN))
    };
    let before = tested();
    assert!(before.0 >= 1 && before.1 >= 1, "{before:?}");
    let done = site.renew(GATE);
    assert_eq!(done["outcome"], "renewed", "{done}");
    assert_eq!(tested(), before, "a renewal is no first order");
    let records = site.json(&["audit", "search", "--event", "certificate-changed.1"]);
    let named = |name: &str| {
        records
            .iter()
            .any(|r| r["detail"] == name && r["outcome"] == "ok")
    };
    assert!(named(GATE) && named(OPEN), "{records:?}");
    let metrics = format!("http://127.0.0.1:{}/metrics", site.admin);
    let metrics = Command::new("curl")
        .args(["-sS", &metrics])
        .output()
        .unwrap();
    let metrics = String::from_utf8(metrics.stdout).unwrap();
    let line = format!("postern_certificate_days_left{{name=\"{GATE}\",source=\"directory\"}} 89");
    assert!(metrics.contains(&line), "{metrics}");
    stop(program);
    let again = site.start();
    assert_eq!(
        site.get(&pebble.root(), GATE, "/healthz"),
        Ok(200),
        "kept over a restart"
    );
    stop(again);
}

#[test]
fn only_live_tokens_answer_and_the_path_is_exempt_from_nothing() {
    let recorder = Recorder::new();
    let site = Site::new(&open_app(&recorder.url()));
    let pebble = Pebble::start(&site, &Setup::default());
    site.configure(&pebble.resolver(), true, &acme("", &[&pebble.entry()]));
    let program = site.start();
    site.wait_for(GATE);
    let path = "/.well-known/acme-challenge/AAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(site.plain(GATE, path, &[]), site.plain(GATE, "/", &[]));
    assert_eq!(site.plain(GATE, path, &[]), Ok(301));
    assert_eq!(site.plain(GATE, path, &["-X", "POST"]), Ok(405));
    assert_eq!(site.plain("stranger.example.test", path, &[]), Ok(421));
    let root = pebble.root();
    assert_eq!(
        site.get(&root, GATE, path),
        site.get(&root, GATE, "/nowhere")
    );
    stop(program);
}

#[test]
fn tls_alpn_01_works_and_its_protocol_is_refused_otherwise() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    let text = acme("challenge = \"tls-alpn-01\"", &[&pebble.entry()]);
    site.configure(&pebble.resolver(), false, &text);
    let program = site.start();
    site.wait_for(GATE);
    assert_eq!(site.get(&pebble.root(), GATE, "/healthz"), Ok(200));
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-alpn",
            "acme-tls/1",
            "-servername",
            GATE,
            "-connect",
        ])
        .arg(format!("127.0.0.1:{}", site.https))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        !text.contains("BEGIN CERTIFICATE"),
        "no certificate without a live order: {text}"
    );
    stop(program);
}

#[test]
fn a_wildcard_with_an_rsa_key_comes_by_dns_01() {
    let recorder = Recorder::new();
    let site = Site::new(&open_app(&recorder.url()));
    let pebble = Pebble::start(&site, &Setup::default());
    let hook = pebble.hook("$3");
    let more = format!(
        "challenge = \"dns-01\"\nkey-type = \"rsa2048\"\nwildcards = [\"*.example.test\"]\n\
         [acme.dns]\nhook = \"{}\"\nwait = \"1s\"\n",
        hook.display()
    );
    site.configure(&pebble.resolver(), false, &acme(&more, &[&pebble.entry()]));
    let program = site.start();
    site.wait_for("*.example.test");
    let root = pebble.root();
    for host in [GATE, OPEN] {
        assert_eq!(site.get(&root, host, "/healthz"), Ok(200), "{host}");
    }
    let line = site.certificate("*.example.test").unwrap();
    assert_eq!(line["names"], json!(["*.example.test"]));
    stop(program);
}

#[test]
fn an_external_account_is_bound_and_a_wrong_key_is_told() {
    let site = Site::new("");
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let setup = Setup {
        external: Some(("kid-1".to_owned(), key.to_owned())),
        ..Setup::default()
    };
    let pebble = Pebble::start(&site, &setup);
    let file = pebble.folder().join("eab");
    let entry = format!(
        "{}eab-kid = \"kid-1\"\neab-key-file = \"{}\"\n",
        pebble.entry(),
        file.display()
    );
    site.configure(&pebble.resolver(), true, &acme("", &[&entry]));
    let write = |key: &str| {
        use std::os::unix::fs::PermissionsExt;
        fs::write(&file, key).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("AAAA");
    let program = site.start();
    let line = site.wait_for_failure(GATE);
    assert_eq!(line["source"], "internal", "{line}");
    write(&format!("{key}\n"));
    let done = site.renew(GATE);
    assert_eq!(done["outcome"], "renewed", "{done}");
    stop(program);
}

#[test]
fn a_renewal_drops_none_of_a_hundred_streams() {
    let recorder = Recorder::new();
    let site = Site::new(&open_app(&recorder.url()));
    let pebble = Pebble::start(&site, &Setup::default());
    site.configure(&pebble.resolver(), false, &acme("", &[&pebble.entry()]));
    let program = site.start();
    site.wait_for(OPEN);
    let (root, before) = (pebble.root(), site.shown(OPEN));
    let addr: SocketAddr = ([127, 0, 0, 1], site.https).into();
    let end = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = raw::tls(addr, OPEN, &root, Duration::from_secs(20));
            let ask = format!(
                "GET /counted HTTP/1.1\r\nHost: {OPEN}:{}\r\n\r\n",
                addr.port()
            );
            stream.write_all(ask.as_bytes()).unwrap();
            let end = Arc::clone(&end);
            std::thread::spawn(move || {
                let mut part = vec![0; 16 * 1024];
                let (mut read, mut after) = (0_usize, 0_usize);
                // it reads on for a while after the end, so that a late cut shows
                while after < 64 * 1024 {
                    let ended = end.load(Ordering::SeqCst);
                    let count = stream.read(&mut part).expect("the stream goes on");
                    assert_ne!(count, 0, "the stream was closed after {read} bytes");
                    read += count;
                    after += if ended { count } else { 0 };
                }
                read
            })
        })
        .collect();
    wait::until_true(Duration::from_secs(30), "all streams are open", || {
        recorder.open_streams() == 100
    });
    let done = site.renew(OPEN);
    assert_eq!(done["outcome"], "renewed", "{done}");
    assert_ne!(
        site.shown(OPEN),
        before,
        "new connections see the new certificate"
    );
    end.store(true, Ordering::SeqCst);
    let read: Vec<_> = readers.into_iter().map(|r| r.join().unwrap()).collect();
    assert_eq!(read.len(), 100);
    stop(program);
}

#[test]
fn a_dead_directory_gives_way_to_the_next() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    let dead = format!(
        "[[acme.directory]]\nurl = \"https://localhost:{}/dir\"\n",
        free_tcp()
    );
    site.configure(
        &pebble.resolver(),
        true,
        &acme("", &[&dead, &pebble.entry()]),
    );
    let program = site.start();
    let before = Instant::now();
    let line = site.wait_for_failure(GATE);
    assert_eq!(line["cause"], "directory-unreachable", "{line}");
    let done = site.renew(GATE);
    assert_eq!(
        done["outcome"],
        "renewed",
        "{done} after {:?}",
        before.elapsed()
    );
    assert_eq!(site.get(&pebble.root(), GATE, "/healthz"), Ok(200));
    stop(program);
}

/// Makes a site whose gate has a certificate of a directory, then lets `spoil` break the next order.
fn old_stays(spoil: impl Fn(&Site, &Pebble) -> String, cause: &str) {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
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
    stop(program);
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
    let (exit, _) = code(&site, &["cert", "renew", GATE]);
    assert!(matches!(exit, Some(0 | UNAVAILABLE)), "{exit:?}");
    stop(program);
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

/// A directory that refuses every account because too much was asked.
const LIMITING: &str = r#"
import http.server, json, ssl, sys
port, chain, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
base = f"https://localhost:{port}"
class Directory(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
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
        kind = "urn:ietf:params:acme:error:rateLimited"
        self.say(429, {"type": kind, "detail": "too many certificates"}, ("Retry-After", "7200"))
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Directory)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

fn limiting(pebble: &Pebble, dir: &Temp) -> (Program, String) {
    let port = free_tcp();
    let script = dir.write("limiting.py", LIMITING);
    let file = |name: &str| pebble.folder().join(name);
    let mut command = Command::new("python3");
    command.arg(script).arg(port.to_string());
    command.arg(file("ca-chain.pem")).arg(file("ca.key"));
    let program = Program::start(command, dir.path(), "limiting");
    wait::until_true(
        Duration::from_secs(20),
        "the limiting directory listens",
        || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(),
    );
    let entry = format!(
        "[[acme.directory]]\nurl = \"https://localhost:{port}/dir\"\nroots = \"{}\"\n",
        file("ca-root.pem").display()
    );
    (program, entry)
}

#[test]
fn a_rate_limit_keeps_the_old_certificate_and_is_left_alone_as_long_as_it_says() {
    let dir = Temp::new();
    let kept = std::sync::Mutex::new(None);
    let spoil = |_: &Site, pebble: &Pebble| {
        let (program, entry) = limiting(pebble, &dir);
        *kept.lock().unwrap() = Some(program);
        acme("", &[&entry])
    };
    old_stays(spoil, "rate-limited");
}

#[test]
fn a_wish_of_the_directory_stands_against_an_operator() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    let dir = Temp::new();
    let (_limiting, entry) = limiting(&pebble, &dir);
    site.configure(&pebble.resolver(), true, &acme("", &[&entry]));
    let program = site.start();
    let line = site.wait_for_failure(GATE);
    assert_eq!(line["cause"], "rate-limited", "{line}");
    let done = site.renew(GATE);
    assert_eq!(done["outcome"], "guarded", "{done}");
    assert_eq!(code(&site, &["cert", "renew", GATE]).0, Some(UNAVAILABLE));
    stop(program);
}

#[test]
fn a_kill_in_the_middle_never_leaves_a_key_without_its_certificate() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    site.configure(&pebble.resolver(), false, &acme("", &[&pebble.entry()]));
    let program = site.start();
    site.wait_for(GATE);
    stop(program);
    let root = pebble.root();
    let file = site.path(&format!("data/acme/certificates/{GATE}.pem"));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut seen = std::collections::BTreeSet::new();
    // the order takes some hundred milliseconds: the kills fall before, into and after it
    for step in 0..8_u64 {
        let mut program = site.start();
        let mut order = Command::new(postern_tests::gateway::binary());
        order
            .args(["cert", "renew", "--force", GATE, "--config"])
            .arg(site.config());
        let order = Program::start(order, pebble.folder(), "order");
        let before = fs::read(&file).unwrap();
        // the last falls upon the swap, however slow the machine is
        let pause = match step {
            7 => Duration::from_secs(60),
            step => Duration::from_millis(step * 120),
        };
        let end = Instant::now() + pause;
        let changed = || fs::read(&file).unwrap() != before;
        wait::until_true(Duration::from_secs(70), "the moment of the kill", || {
            Instant::now() >= end || changed()
        });
        program.kill();
        drop(order);
        let bytes = fs::read(&file).unwrap();
        let now = i64::try_from(postern_tests::totp::now()).unwrap();
        let read = certs::Chain::parse(&bytes, &bytes, now, &provider);
        assert!(read.is_ok(), "step {step}: {read:?}");
        seen.insert(bytes);
        let program = site.start();
        assert_eq!(site.get(&root, GATE, "/healthz"), Ok(200), "step {step}");
        stop(program);
    }
    assert!(seen.len() > 1, "one was swapped at least");
}

#[test]
fn a_trial_is_ordered_and_never_served() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    let url = format!("https://localhost:{}/dir", pebble.port);
    let entry = format!("{}staging-url = \"{url}\"\n", pebble.entry());
    site.configure(&pebble.resolver(), true, &acme("staging = true", &[&entry]));
    let program = site.start();
    let file = site.path(&format!("data/acme/trial/{GATE}.pem"));
    wait::until_true(Duration::from_secs(60), "the trial is issued", || {
        file.exists()
    });
    assert_eq!(site.certificate(GATE).unwrap()["source"], "internal");
    assert!(site.get(&pebble.root(), GATE, "/healthz").is_err());
    stop(program);
}

const TENANT: &str = "[tenant.acme]\ndir = \"acme\"\ndomains = [\"*.acme.example\"]\n";

#[test]
fn a_tenants_name_is_ordered_only_after_it_points_here() {
    let site = Site::new(TENANT);
    fs::create_dir(site.path("policy/acme")).unwrap();
    let app = |name: &str| {
        format!(
            "[app.{name}]\nhost = \"{name}.acme.example\"\nupstream = \"http://192.0.2.1\"\n\
             public = \"a test\"\nallow.all = {{ who = \"anyone\" }}\n"
        )
    };
    let text = format!("postern = 1\n{}{}", app("one"), app("two"));
    fs::write(site.path("policy/acme/policy.toml"), text).unwrap();
    let pebble = Pebble::start(&site, &Setup::default());
    site.configure(&pebble.resolver(), true, &acme("", &[&pebble.entry()]));
    let program = site.start();
    let line = site.wait_for_failure("one.acme.example");
    assert_eq!(line["cause"], "dns-failed", "{line}");
    let verify = line["verify"].as_str().unwrap().to_owned();
    let (host, value) = verify.split_once(" TXT ").unwrap();
    pebble.dns(
        "set-txt",
        &json!({ "host": format!("{host}."), "value": value }),
    );
    let done = site.renew("one.acme.example");
    assert_eq!(done["outcome"], "renewed", "{done}");
    let two = site.renew("two.acme.example");
    assert_eq!(
        two["cause"], "dns-failed",
        "the record of one name opens no other: {two}"
    );
    let alias = json!({ "host": "two.acme.example.", "target": format!("{GATE}.") });
    pebble.dns("set-cname", &alias);
    let two = site.renew("two.acme.example");
    assert_eq!(two["outcome"], "renewed", "{two}");
    let stranger = site.renew("three.acme.example");
    assert_eq!(stranger["outcome"], "unknown", "{stranger}");
    stop(program);
}

#[test]
fn the_self_test_finds_what_a_first_order_would_stumble_over() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    for (challenge, check) in [("http-01", "http"), ("tls-alpn-01", "https")] {
        let more = format!("challenge = \"{challenge}\"");
        site.configure(&pebble.resolver(), true, &acme(&more, &[&pebble.entry()]));
        let program = site.start();
        site.wait_for(GATE);
        let (http, https) = (site.http.to_string(), site.https.to_string());
        let good = ["cert", "test", "--http-port", &http, "--https-port", &https];
        let lines = site.json(&good);
        assert!(lines.iter().all(|l| l["ok"] == true), "{lines:?}");
        assert!(lines.iter().any(|l| l["check"] == check), "{lines:?}");
        assert_eq!(code(&site, &good).0, Some(0));
        let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let other = other.local_addr().unwrap().port().to_string();
        let bad = [
            "cert",
            "test",
            "--http-port",
            &other,
            "--https-port",
            &other,
        ];
        let lines = site.json(&bad);
        let broken: Vec<_> = lines.iter().filter(|l| l["ok"] == false).collect();
        assert_eq!(broken.len(), 1, "{lines:?}");
        assert!(
            broken[0]["advice"].as_str().unwrap().contains("port"),
            "{broken:?}"
        );
        assert_eq!(code(&site, &bad).0, Some(UNAVAILABLE));
        stop(program);
    }
}

#[test]
fn an_import_is_checked_and_goes_before_the_others() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    site.configure(&pebble.resolver(), true, "");
    let program = site.start();
    let now = i64::try_from(postern_tests::totp::now()).unwrap();
    let root = certs::Root::create("Import root", now).unwrap();
    let ca = root.intermediate("Import", now).unwrap();
    let dir = Temp::new();
    let file = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let leaf = ca.issue(&[GATE], now, 30 * certs::DAY).unwrap();
    let other = ca.issue(&[GATE], now, 30 * certs::DAY).unwrap();
    let (chain, key) = (
        file("chain.pem", &leaf.chain_pem),
        file("key.pem", &leaf.key_pem),
    );
    let wrong = file("wrong.pem", &other.key_pem);
    let before = site.shown(GATE);
    let (exit, text) = code(&site, &["cert", "import", &chain, &wrong]);
    assert_eq!(exit, Some(DATA), "{text}");
    assert!(text.contains("key"), "{text}");
    assert_eq!(site.shown(GATE), before);
    let (exit, text) = code(&site, &["cert", "import", &chain, &key]);
    assert_eq!(exit, Some(0), "{text}");
    let root = dir.write("root.pem", root.pem());
    assert_eq!(site.get(&root, GATE, "/healthz"), Ok(200));
    assert_eq!(site.certificate(GATE).unwrap()["source"], "file");
    stop(program);
}

/// Runs Debian's testssl.sh and returns its findings of a severity above LOW.
#[test]
fn testssl_finds_nothing_above_low() {
    let site = Site::new("");
    site.configure("127.0.0.1:53", true, "");
    let program = site.start();
    let dir = Temp::new();
    let (findings, root) = (
        dir.path().join("findings.json"),
        site.path("data/ca/root.pem"),
    );
    let output = Command::new(postern_tests::process::find(&["testssl", "testssl.sh"]))
        .args([
            "--quiet",
            "-p",
            "-s",
            "-P",
            "-S",
            "-f",
            "-U",
            "--warnings",
            "off",
            "--color",
            "0",
            "--ip",
            "127.0.0.1",
        ])
        .args([
            "--openssl",
            "/usr/bin/openssl",
            "--severity",
            "LOW",
            "--add-ca",
        ])
        .arg(&root)
        .arg("--jsonfile")
        .arg(&findings)
        .arg(format!("{GATE}:{}", site.https))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let text = fs::read_to_string(&findings).unwrap_or_else(|e| panic!("{e}: {said}"));
    let found: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let above: Vec<_> = found
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| {
            ["MEDIUM", "HIGH", "CRITICAL"]
                .iter()
                .any(|s| f["severity"] == *s)
        })
        .filter(|f| !is_explained(f["id"].as_str().unwrap_or_default()))
        .collect();
    assert!(above.is_empty(), "{above:#?}");
    stop(program);
}

/// What testssl says of every internal authority whose leaves live for two weeks: that they end
/// soon, and that no list of revoked certificates is named, since nobody waits for one.
fn is_explained(id: &str) -> bool {
    ["cert_revocation", "cert_expirationStatus", "cert_notAfter"].contains(&id)
}
