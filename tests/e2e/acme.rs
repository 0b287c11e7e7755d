//! Certificates ordered from Debian's test directory, and every way in which that can fail.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postern_tests::clock::Clock;
use postern_tests::pebble::{Pebble, Setup, Site, acme};
use postern_tests::ports::free_tcp;
use postern_tests::process::Program;
use postern_tests::temp::Temp;
use postern_tests::upstream::Recorder;
use postern_tests::{raw, wait};
use serde_json::json;

const GATE: &str = "gate.example.test";
const LIMIT: Duration = wait::PATIENCE;
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

#[test]
fn http_01_works_though_every_fifth_number_is_refused() {
    let recorder = Recorder::new();
    let site = Site::new(&open_app(&recorder.url()));
    let pebble = Pebble::start(&site, &Setup::default());
    site.configure(
        &pebble.resolver(),
        false,
        &acme("contact = \"it@example.test\"", &[&pebble.entry()]),
    );
    let program = site.start();
    for host in [GATE, OPEN] {
        site.wait_for(host);
        assert_eq!(
            site.get(&pebble.root(), host, "/.postern/icon.svg"),
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
    program.stop();
    let again = site.start();
    assert_eq!(
        site.get(&pebble.root(), GATE, "/healthz"),
        Ok(200),
        "kept over a restart"
    );
    again.stop();
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
    program.stop();
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
    program.stop();
}

#[test]
fn a_wildcard_with_an_rsa_key_comes_by_dns_01() {
    let recorder = Recorder::new();
    let other = open_app(&recorder.url()).replace("[app.open]", "[app.other]");
    let other = other.replace(OPEN, "open.other.test");
    let site = Site::new(&format!("{}{other}", open_app(&recorder.url())));
    let pebble = Pebble::start(&site, &Setup::default());
    let hook = pebble.hook("$3");
    // the wildcard alone goes by the DNS
    let more = format!(
        "key-type = \"rsa2048\"\nwildcards = [\"*.example.test\"]\n\
         [acme.dns]\nhook = \"{}\"\nwait = \"1s\"\n",
        hook.display()
    );
    site.configure(&pebble.resolver(), false, &acme(&more, &[&pebble.entry()]));
    let program = site.start();
    site.wait_for("*.example.test");
    site.wait_for("open.other.test");
    let root = pebble.root();
    for host in [GATE, OPEN, "open.other.test"] {
        assert_eq!(
            site.get(&root, host, "/.postern/icon.svg"),
            Ok(200),
            "{host}"
        );
    }
    let line = site.certificate("*.example.test").unwrap();
    assert_eq!(line["names"], json!(["*.example.test"]));
    program.stop();
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
    program.stop();
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
    program.stop();
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
    program.stop();
}

/// In an office without the internet the internal authority stands for what no directory signs.
#[test]
fn with_the_internet_down_the_internal_authority_serves_the_same_names() {
    let recorder = Recorder::new();
    let site = Site::new(&open_app(&recorder.url()));
    let setup = Setup {
        validity: 2 * 3600,
        ..Setup::default()
    };
    let pebble = Pebble::start(&site, &setup);
    let internal = pebble.folder().join("internal.pem");
    site.configure(&pebble.resolver(), true, &acme("", &[&pebble.entry()]));
    let clock = Clock::new();
    let program = site.start_after(&clock.wrap());
    site.wait_for(GATE);
    site.wait_for(OPEN);
    fs::write(&internal, site.code(&["cert", "ca-root"]).1).unwrap();
    let refused = site.get(&internal, OPEN, "/");
    assert!(refused.is_err(), "a directory's certificate: {refused:?}");
    // the directory and the names of the world are gone
    let folder = Temp::new();
    let resolver = pebble.resolver();
    let entry = pebble.entry();
    let roots = fs::read(pebble.folder().join("ca-root.pem")).unwrap();
    let internal = folder.write("internal.pem", fs::read(&internal).unwrap());
    drop(pebble);
    assert!(site.get(&internal, OPEN, "/").is_err(), "it is valid still");
    clock.set(3 * 3600);
    for host in [GATE, OPEN] {
        wait::until_true(LIMIT, "the internal authority stands in", || {
            site.get_at(&clock, &internal, host, "/.postern/icon.svg") == Ok(200)
        });
    }
    let line = site.certificate(OPEN).unwrap();
    assert_eq!(line["source"], "internal", "{line}");
    // so it does from a start without the internet, for people and programs alike
    program.stop();
    let kept = folder.write("ca-root.pem", roots);
    let (from, _) = entry.split_once("roots").unwrap();
    let entry = format!("{from}roots = \"{}\"\n", kept.display());
    site.configure(&resolver, true, &acme("", &[&entry]));
    let program = site.start_after(&clock.wrap());
    let get = |host: &str| site.get_at(&clock, &internal, host, "/.postern/icon.svg");
    assert_eq!(get(OPEN), Ok(200));
    let line = site.wait_for_failure(GATE);
    assert_eq!(line["cause"], "directory-unreachable", "{line}");
    assert_eq!(line["source"], "internal", "{line}");
    assert_eq!(get(GATE), Ok(200));
    program.stop();
}

#[test]
fn a_kill_in_the_middle_never_leaves_a_key_without_its_certificate() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    site.configure(&pebble.resolver(), false, &acme("", &[&pebble.entry()]));
    let program = site.start();
    site.wait_for(GATE);
    program.stop();
    let root = pebble.root();
    let file = site.path(&format!("data/acme/certificates/{GATE}.pem"));
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
        // the key opens, and is the chain's
        let kept = site.certificate(GATE).unwrap();
        assert_eq!(kept["source"], "directory", "step {step}: {kept}");
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("PRIVATE KEY"), "it lies open");
        // the limits of a week are not what is shown here
        fs::remove_file(site.path("data/acme/orders.json")).ok();
        seen.insert(text);
        let program = site.start();
        assert_eq!(site.get(&root, GATE, "/healthz"), Ok(200), "step {step}");
        program.stop();
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
    program.stop();
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
    // the hook sets nothing: names of tenants do without it
    let more =
        "challenge = \"dns-01\"\ntenant-names.challenge = \"http-01\"\ndns.hook = \"/bin/false\"";
    site.configure(&pebble.resolver(), true, &acme(more, &[&pebble.entry()]));
    let program = site.start();
    let ours = site.wait_for_failure(GATE);
    assert_eq!(ours["cause"], "dns-not-set", "{ours}");
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
    program.stop();
}

#[test]
fn the_self_test_finds_what_a_first_order_would_stumble_over() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    for (challenge, check, other_check) in [
        ("http-01", "http", "https"),
        ("tls-alpn-01", "https", "http"),
    ] {
        let more = format!("challenge = \"{challenge}\"");
        site.configure(&pebble.resolver(), true, &acme(&more, &[&pebble.entry()]));
        let program = site.start();
        site.wait_for(GATE);
        let (http, https) = (site.http.to_string(), site.https.to_string());
        let good = ["cert", "test", "--http-port", &http, "--https-port", &https];
        let lines = site.json(&good);
        assert!(lines.iter().all(|l| l["ok"] == true), "{lines:?}");
        let seen = |kind: &str| lines.iter().find(|l| l["check"] == kind).unwrap();
        for (kind, needed) in [("dns", true), (check, true), (other_check, false)] {
            assert_eq!(seen(kind)["needed"], needed, "{lines:?}");
            let meaning = seen(kind)["meaning"].as_str().unwrap();
            assert!(meaning.contains(challenge), "{lines:?}");
        }
        assert_eq!(site.code(&good).0, Some(0));
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
        let is_broken = |l: &&serde_json::Value| l["ok"] == false && l["needed"] == true;
        let broken: Vec<_> = lines.iter().filter(is_broken).collect();
        assert_eq!(broken.len(), 1, "{lines:?}");
        assert_eq!(lines.iter().filter(|l| l["ok"] == false).count(), 2);
        assert!(
            broken[0]["advice"].as_str().unwrap().contains("port"),
            "{broken:?}"
        );
        assert_eq!(site.code(&bad).0, Some(UNAVAILABLE));
        // what the challenge does without is told, and is no failure
        let (http, https) = match check {
            "http" => (&*http, &*other),
            _ => (&*other, &*https),
        };
        let half = ["cert", "test", "--http-port", http, "--https-port", https];
        let (exit, said) = site.code(&half);
        assert_eq!(exit, Some(0), "{said}");
        let note = said.lines().find(|line| line.starts_with("note"));
        let note = note.unwrap_or_else(|| panic!("{said}"));
        assert!(note.contains("does not need"), "{note}");
        program.stop();
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
    let (exit, text) = site.code(&["cert", "import", &chain, &wrong]);
    assert_eq!(exit, Some(DATA), "{text}");
    assert!(text.contains("key"), "{text}");
    assert_eq!(site.shown(GATE), before);
    let (exit, text) = site.code(&["cert", "import", &chain, &key]);
    assert_eq!(exit, Some(0), "{text}");
    let root = dir.write("root.pem", root.pem());
    assert_eq!(site.get(&root, GATE, "/healthz"), Ok(200));
    assert_eq!(site.certificate(GATE).unwrap()["source"], "file");
    program.stop();
}

/// Runs Debian's testssl.sh and returns its findings of a severity above LOW.
fn testssl(site: &Site, root: &Path) -> Vec<serde_json::Value> {
    let dir = Temp::new();
    let findings = dir.path().join("findings.json");
    let output = Command::new(postern_tests::process::find(&["testssl", "testssl.sh"]))
        .args(["--quiet", "-p", "-s", "-P", "-S", "-f", "-U"])
        .args(["--warnings", "off", "--color", "0", "--ip", "127.0.0.1"])
        .args(["--openssl", "/usr/bin/openssl", "--severity", "LOW"])
        .arg("--add-ca")
        .arg(root)
        .arg("--jsonfile")
        .arg(&findings)
        .arg(format!("{GATE}:{}", site.https))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let text = fs::read_to_string(&findings).unwrap_or_else(|e| panic!("{e}: {said}"));
    let found: Vec<serde_json::Value> =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert!(!found.is_empty(), "it looked at nothing: {said}");
    let is_above = |f: &serde_json::Value| {
        let above = ["MEDIUM", "HIGH", "CRITICAL"];
        above.iter().any(|severity| f["severity"] == *severity)
    };
    found.into_iter().filter(is_above).collect()
}

#[test]
fn testssl_finds_nothing_above_low() {
    let site = Site::new("");
    site.configure("127.0.0.1:53", true, "");
    let program = site.start();
    let found = testssl(&site, &site.path("data/ca/root.pem")).into_iter();
    let above: Vec<_> = found
        .filter(|f| !is_explained(f["id"].as_str().unwrap_or_default()))
        .collect();
    assert!(above.is_empty(), "{above:#?}");
    program.stop();
}

/// What testssl says of every internal authority whose leaves live for two weeks: that they end
/// soon, and that no list of revoked certificates is named, since nobody waits for one.
fn is_explained(id: &str) -> bool {
    ["cert_revocation", "cert_expirationStatus", "cert_notAfter"].contains(&id)
}

/// A certificate as an office's authority makes it: for ninety days, with the place of its list.
const NINETY_DAYS: &str = r#"
set -e
kind="$1"
openssl req -x509 -newkey $kind -nodes -days 3650 -subj "/CN=Office root" -keyout root.key -out root.pem
openssl req -new -newkey $kind -nodes -subj "/CN=gate.example.test" -keyout leaf.key -out leaf.csr
cat > leaf.ext <<END
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:gate.example.test
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
crlDistributionPoints = URI:http://crl.example.test/office.crl
END
openssl x509 -req -in leaf.csr -CA root.pem -CAkey root.key -CAcreateserial -days 90 -sha256 \
    -extfile leaf.ext -out leaf.pem
chmod 600 leaf.key
"#;

/// Nothing is explained here: these certificates live as long as those of a directory.
#[test]
fn testssl_finds_nothing_above_low_in_certificates_of_ninety_days_of_both_kinds() {
    for kind in ["ec -pkeyopt ec_paramgen_curve:P-256", "rsa:2048"] {
        let (site, dir) = (Site::new(""), Temp::new());
        let made = Command::new("sh")
            .args(["-c", NINETY_DAYS, "sh", kind])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let file = |name: &str| dir.path().join(name);
        let (chain, key) = (file("leaf.pem"), file("leaf.key"));
        let own = format!(
            "certificates = [{{ chain = \"{}\", key = \"{}\" }}]",
            chain.display(),
            key.display()
        );
        site.configure("127.0.0.1:53", false, &own);
        let program = site.start();
        let found = testssl(&site, &file("root.pem"));
        assert!(found.is_empty(), "{kind}: {found:#?}");
        program.stop();
    }
}
