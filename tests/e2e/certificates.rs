//! The internal authority before strict verifiers that are not ours.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use certs::{DAY, Root};
use postern_tests::chrome::Chrome;
use postern_tests::curl::Client;
use postern_tests::gateway::Gateway;
use postern_tests::policy;
use postern_tests::smtp::{Mail, Sink};
use postern_tests::temp::Temp;
use postern_tests::totp::now;
use postern_tests::upstream::Recorder;

fn openssl_accepts(dir: &Temp, host: &str) -> bool {
    let file = |name: &str| dir.path().join(name).display().to_string();
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslserver"])
        .args(["-verify_hostname", host])
        .args([
            "-CAfile",
            &file("root.pem"),
            "-untrusted",
            &file("chain.pem"),
        ])
        .arg(file("chain.pem"))
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn openssl_accepts_a_leaf_strictly_for_its_own_name_only() {
    let now = i64::try_from(now()).unwrap();
    let root = Root::create("Strict root", now).unwrap();
    let ca = root.intermediate("Strict intermediate", now).unwrap();
    let leaf = ca.issue(&["gate.test"], now, 90 * DAY).unwrap();
    let dir = Temp::new();
    dir.write("root.pem", ca.root_pem());
    dir.write("chain.pem", &leaf.chain_pem);
    assert!(openssl_accepts(&dir, "gate.test"));
    assert!(!openssl_accepts(&dir, "app.test"));
    let other = Root::create("Strict root", now).unwrap();
    dir.write("root.pem", other.pem());
    assert!(!openssl_accepts(&dir, "gate.test"));
}

const PYTHON: &str = r"
import socket, ssl, sys
host, port, root = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=root)
context.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection(('127.0.0.1', port)) as tcp:
    with context.wrap_socket(tcp, server_hostname=host) as tls:
        print(tls.version())
";

fn python(gateway: &Gateway, host: &str) -> Result<String, String> {
    let output = Command::new("python3")
        .args(["-c", PYTHON, host, &gateway.https_port().to_string()])
        .arg(&gateway.facts.ca_root)
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn python_verifies_the_demo_strictly_and_refuses_a_name_that_is_not_ours() {
    let gateway = Gateway::demo();
    for host in [
        "gate.localhost",
        "app.gate.localhost",
        "gate.postern.internal",
        "app.gate.postern.internal",
    ] {
        assert_eq!(python(&gateway, host).as_deref(), Ok("TLSv1.3"), "{host}");
    }
    let error = python(&gateway, "other.localhost").unwrap_err();
    assert!(error.contains("CERTIFICATE_VERIFY_FAILED"), "{error}");
}

/// Returns the command that the page of the root gives for Chromium.
fn chromiums_step(gateway: &Gateway) -> String {
    let page = Client::new(gateway).fetch(&format!("{}ca", gateway.facts.portal));
    let from = page
        .body
        .find("mkdir -p $HOME/.pki/nssdb; certutil ")
        .expect("the page has the step");
    let step = page.body[from..].split('<').next().unwrap();
    step.trim().to_owned()
}

#[test]
fn chromium_opens_the_gate_after_the_step_of_the_page_and_refuses_it_before() {
    let (gateway, home) = (Gateway::demo(), Temp::new());
    let portal = &gateway.facts.portal;
    let strange = Chrome::start_at_home(home.path());
    strange.open(portal);
    strange.wait_for_text("NET::ERR_CERT_AUTHORITY_INVALID");
    drop(strange);
    let root = Client::new(&gateway).fetch(&format!("{portal}ca/root.pem"));
    home.write("root.pem", root.body);
    let step = chromiums_step(&gateway);
    let done = Command::new("sh")
        .args(["-c", &step])
        .env("HOME", home.path())
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{step}: {done:?}");
    let knowing = Chrome::start_at_home(home.path());
    knowing.open(portal);
    assert!(knowing.has("input[name=password]"), "{}", knowing.text());
    // another name under the same port is no more trusted than before
    let other = format!("https://other.localhost:{}/", gateway.https_port());
    knowing.open(&other);
    knowing.wait_for_text("NET::ERR_CERT_");
}

#[test]
fn curl_opens_the_gate_under_its_root_and_refuses_it_under_those_of_the_system() {
    let gateway = Gateway::demo();
    let curl = |args: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-q", "-sS", "-o", "/dev/null", "-w", "%{http_code}"]);
        let url = format!("{}healthz", gateway.facts.portal);
        command.args(args).arg(url).output().unwrap()
    };
    let root = gateway.facts.ca_root.to_str().unwrap();
    let trusted = curl(&["--cacert", root]);
    assert_eq!(trusted.stdout, b"200", "{trusted:?}");
    // 60: the peer's certificate cannot be authenticated
    assert_eq!(curl(&[]).status.code(), Some(60));
}

/// Returns the leaf that a handshake shows: its end, and its public key.
fn leaf(gateway: &Gateway) -> (u64, String) {
    let show = "openssl s_client -servername gate.localhost -connect 127.0.0.1:$0 </dev/null 2>/dev/null \
        | openssl x509 -noout -enddate -pubkey -dateopt iso_8601";
    let port = gateway.https_port().to_string();
    let output = Command::new("sh")
        .args(["-c", show, &port])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (end, key) = text.split_once('\n').unwrap();
    let end = end.strip_prefix("notAfter=").unwrap();
    let seconds = Command::new("date")
        .args(["-d", end, "+%s"])
        .output()
        .unwrap();
    let seconds = String::from_utf8(seconds.stdout).unwrap();
    (seconds.trim().parse().unwrap(), key.to_owned())
}

/// Nothing revokes a leaf of the internal authority: it ends by itself, and soon.
#[test]
fn a_leaf_lives_two_weeks_at_most_and_its_key_is_in_no_file_and_ends_with_the_process() {
    let mut gateway = Gateway::demo();
    let (end, key) = leaf(&gateway);
    assert!(end > now() && end <= now() + 14 * 86_400, "{end}");
    let folder = gateway.facts.data.join("ca");
    let files: Vec<_> = fs::read_dir(&folder).unwrap().flatten().collect();
    let keys = |word: &str| {
        let text = |file: &&fs::DirEntry| fs::read_to_string(file.path()).unwrap();
        files
            .iter()
            .filter(|file| text(file).contains(word))
            .count()
    };
    let found = (keys("SEALED KEY"), keys("PRIVATE KEY"));
    assert_eq!(found, (2, 0), "root and intermediate, sealed");
    gateway.stop();
    gateway.start_again();
    let (_, other) = leaf(&gateway);
    assert_ne!(key, other, "a restart makes another key");
    assert!(python(&gateway, "gate.localhost").is_ok());
}

fn secret(dir: &Temp, name: &str, text: &str) -> PathBuf {
    let path = dir.write(name, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn an_authority_of_the_office_signs_for_every_host_as_soon_as_it_is_imported() {
    let (gateway, dir) = (Gateway::demo(), Temp::new());
    let now = i64::try_from(now()).unwrap();
    let (office, other) = (
        Root::create("Office root", now).unwrap(),
        Root::create("Other root", now).unwrap(),
    );
    let cert = dir.write("root.pem", office.pem());
    let key = secret(&dir, "root.key", office.key_pem());
    let wrong = secret(&dir, "wrong.key", other.key_pem());
    let ports = [gateway.https_port(), gateway.http_port()];
    let resolve = ports.map(|port| format!("*:{port}:127.0.0.1"));
    let trusting = |root: &PathBuf| Client::with(root, &resolve, &[]);
    // the demo names the file itself, which is another one later
    let old = dir.write("old.pem", fs::read(&gateway.facts.ca_root).unwrap());
    let before = trusting(&old);
    assert!(before.try_open(&gateway.facts.app).is_ok());
    assert!(trusting(&cert).try_open(&gateway.facts.app).is_err());

    let import = |cert: &PathBuf, key: &PathBuf| {
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        gateway.run(&["cert", "import", "--ca", cert, key, "--json"])
    };
    let refused = import(&cert, &wrong);
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("the key does not belong to certificate 1"),
        "{said}"
    );
    let leaf = office.intermediate("i", now).unwrap();
    let leaf = leaf.issue(&["gate.localhost"], now, DAY).unwrap();
    let chain = dir.write("leaf.pem", &leaf.chain_pem);
    let refused = import(&chain, &secret(&dir, "leaf.key", &leaf.key_pem));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("is not an authority's"), "{said}");
    assert!(
        before.try_open(&gateway.facts.app).is_ok(),
        "nothing changed"
    );

    let done = import(&cert, &key);
    assert!(done.status.success(), "{done:?}");
    let told: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(told["in_force"], true, "{told}");
    assert!(
        fs::exists(told["kept"].as_str().unwrap()).unwrap(),
        "{told}"
    );
    let client = trusting(&cert);
    for url in [&gateway.facts.app, &gateway.facts.portal] {
        assert!(client.try_open(url).is_ok(), "{url}");
        assert!(trusting(&old).try_open(url).is_err(), "{url}");
    }
    assert_eq!(gateway.must(&["cert", "ca-root"]), office.pem());
    let page = client.open(&format!("{}ca/root.pem", gateway.facts.portal));
    assert_eq!(page.body, office.pem());
}

#[test]
fn administrators_are_told_by_mail_once_that_a_certificate_ends_and_not_again_after_a_restart() {
    let sink = Sink::new();
    let mut gateway = Gateway::demo();
    gateway.stop();
    gateway.edit_config(|text| {
        text.push_str(&sink.section());
        text.push_str("admins = [\"ops@example.org\"]\n");
    });
    let dir = Temp::new();
    let now = i64::try_from(now()).unwrap();
    let begin = now - 35 * DAY;
    let ca = Root::create("Office root", begin).unwrap();
    let ca = ca.intermediate("i", begin).unwrap();
    let leaf = ca.issue(&["app.gate.localhost"], begin, 45 * DAY).unwrap();
    let chain = dir.write("leaf.pem", &leaf.chain_pem);
    let key = secret(&dir, "leaf.key", &leaf.key_pem);
    let files = [chain.to_str().unwrap(), key.to_str().unwrap()];
    gateway.must(&["cert", "import", files[0], files[1]]);
    gateway.start_again();
    let is_told = |mail: &Mail| mail.text.contains("app.gate.localhost has");
    let mail = sink.wait_for("a word about the end", is_told);
    assert_eq!(mail.to, ["ops@example.org"]);
    assert!(mail.header("Subject").contains("end"), "{mail:?}");
    for part in [
        "days left",
        "own-file",
        "put a newer chain and key in the place",
    ] {
        assert!(mail.text.contains(part), "{part}: {}", mail.text);
    }
    // what comes after the warning has been sent and kept as told
    let kept = gateway.facts.data.join("certificate-warnings.json");
    postern_tests::wait::until_true(std::time::Duration::from_secs(20), "it is noted", || {
        kept.exists()
    });
    gateway.stop();
    gateway.start_again();
    gateway.must(&["mail", "test", "--to", "last@example.org"]);
    drop(sink.wait_for("a later mail", |mail| mail.to == ["last@example.org"]));
    let count = sink.mails().iter().filter(|mail| is_told(mail)).count();
    assert_eq!(count, 1);
}

/// An app whose host is `*.many...` has a certificate for every label, and one for a name two labels below is nobody's.
#[test]
fn a_host_with_a_wildcard_has_a_certificate_of_the_internal_authority() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    let many = format!(
        "[app.many]\nhost = \"*.many.gate.localhost\"\nupstream = \"{}\"\nallow.people = {{ who = \"demo\" }}\n",
        recorder.url()
    );
    gateway.set_policy(&policy::two_apps(&recorder.url(), &many));
    let at = |name: &str| format!("https://{name}:{}/", gateway.https_port());
    let (port, client) = (gateway.https_port(), Client::new(&gateway));
    let page = client.sign_in(&at("one.many.gate.localhost"), &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("the recorder saw"), "{page:?}");
    assert_eq!(client.follow(&at("two.many.gate.localhost")).status, 200);
    let seen = recorder.seen();
    let hosts: Vec<_> = seen.iter().flat_map(|r| r.values("host")).collect();
    assert_eq!(
        hosts,
        [
            format!("one.many.gate.localhost:{port}"),
            format!("two.many.gate.localhost:{port}")
        ]
    );
    // curl believes the root: the name is not in the certificate, which names nobody
    let other = client.try_open(&at("a.b.many.gate.localhost")).unwrap_err();
    assert!(other.contains("(60)"), "{other}");
    assert!(
        gateway
            .must(&["cert", "list"])
            .contains("*.many.gate.localhost")
    );
}

/// Its leaves look after themselves, the authority's own end is somebody's business: it is told of like any other.
#[test]
fn an_authority_that_ends_is_told_of_and_one_that_goes_on_is_not() {
    let sink = Sink::new();
    let (mut gateway, dir) = (Gateway::demo(), Temp::new());
    gateway.stop();
    let mail = format!("{}admins = [\"ops@example.org\"]\n", sink.section());
    gateway.edit_config(|text| text.push_str(&mail));
    gateway.start_again();
    let told = |gateway: &Gateway| {
        let found = gateway.must(&["audit", "search", "--reason", "ends-soon"]);
        found.matches("internal authority: ").count()
    };
    assert_eq!(told(&gateway), 0);
    let now = i64::try_from(now()).unwrap();
    let office = Root::create("Office root", now - (3650 - 20) * DAY).unwrap();
    let cert = dir.write("root.pem", office.pem());
    let key = secret(&dir, "root.key", office.key_pem());
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    gateway.must(&["cert", "import", "--ca", cert, key]);
    gateway.stop();
    gateway.start_again();
    let mail = sink.wait_for("the end of the authority", |mail: &Mail| {
        mail.text.contains("internal authority")
    });
    assert!(
        mail.header("Subject").starts_with("Certificates of"),
        "{mail:?}"
    );
    assert!(mail.text.contains("cert import --ca"), "{}", mail.text);
    assert_eq!(told(&gateway), 1);
}

/// A leaf whose key may have leaked is replaced at a word, and so are all.
#[test]
fn internal_leaves_are_renewed_by_command_with_another_key_and_it_says_what_it_did() {
    let gateway = Gateway::demo();
    let (_, first) = leaf(&gateway);
    // nothing is due, which is said
    let said = gateway.must(&["cert", "renew"]);
    assert!(said.contains("gate.localhost: not due before"), "{said}");
    assert_eq!(leaf(&gateway).1, first);
    let said = gateway.must(&["cert", "renew", "--force", "gate.localhost"]);
    assert!(
        said.starts_with("gate.localhost: renewed, good until"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    let (_, second) = leaf(&gateway);
    assert_ne!(second, first);
    assert!(python(&gateway, "gate.localhost").is_ok());
    let said = gateway.must(&["cert", "renew", "--force"]);
    let renewed = said.lines().filter(|line| line.contains(": renewed"));
    assert!(renewed.count() >= 2, "{said}");
    assert_ne!(leaf(&gateway).1, second);
    let records = gateway.must(&["audit", "search", "--reason", "renewed"]);
    assert!(records.contains("gate.localhost"), "{records}");
    let refused = gateway.run(&["cert", "renew", "--force", "nobody.localhost"]);
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
}

/// A certificate is kept under the name that it names first, which is not always a host.
#[test]
fn a_certificate_whose_name_is_a_path_is_imported_nowhere_and_one_for_a_host_is() {
    let (gateway, dir) = (Gateway::demo(), Temp::new());
    let make = |name: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        let key = rcgen::KeyPair::generate().unwrap();
        let chain = dir.write("leaf.pem", params.self_signed(&key).unwrap().pem());
        let key = secret(&dir, "leaf.key", &key.serialize_pem());
        let files = [chain.to_str().unwrap(), key.to_str().unwrap()];
        gateway.run(&["cert", "import", files[0], files[1]])
    };
    let root = gateway.facts.data.join("ca/root.pem");
    let before = fs::read(&root).unwrap();
    for name in [
        "../ca/root",
        "*.../ca/root",
        "/tmp/x",
        "under_score.localhost",
    ] {
        let refused = make(name);
        assert_eq!(refused.status.code(), Some(65), "{name}: {refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("is no host name"), "{name}: {said}");
    }
    assert_eq!(fs::read(&root).unwrap(), before);
    assert!(!gateway.facts.data.join("imported").exists());
    let taken = make("app.gate.localhost");
    assert!(taken.status.success(), "{taken:?}");
    assert!(
        gateway
            .facts
            .data
            .join("imported/app.gate.localhost.pem")
            .exists()
    );
    assert_eq!(fs::read(&root).unwrap(), before);
}

/// The key is taken offline, the gateway goes on, and the key is good for the root when it is back.
#[test]
fn the_roots_key_lies_sealed_is_written_out_at_a_word_and_is_sealed_when_it_comes_back() {
    let (mut gateway, dir) = (Gateway::demo(), Temp::new());
    let shown: serde_json::Value =
        serde_json::from_str(&gateway.must(&["cert", "ca-root", "--json"])).unwrap();
    let pem = gateway.must(&["cert", "ca-root"]);
    assert_eq!(shown["pem"], pem);
    let subject = shown["subject"].as_str().unwrap();
    assert!(
        subject.starts_with("CN=") && subject.ends_with("root"),
        "{shown}"
    );
    let kept = dir.write("root.pem", &pem);
    let print = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(&kept)
        .output()
        .unwrap();
    let print = String::from_utf8(print.stdout).unwrap();
    let print = print.trim().rsplit('=').next().unwrap().to_owned();
    assert_eq!(shown["sha256"], print);
    assert!(
        shown["not_after"].as_str().unwrap().ends_with('Z'),
        "{shown}"
    );

    let away = dir.path().join("root.key");
    let out = away.to_str().unwrap();
    let output = gateway.run(&["cert", "ca-root", "--key", out]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, pem.as_bytes());
    let mode = fs::metadata(&away).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = gateway.run(&["cert", "ca-root", "--key", out]);
    assert_eq!(again.status.code(), Some(73), "{again:?}");
    let key = fs::read_to_string(&away).unwrap();
    let now = i64::try_from(now()).unwrap();
    assert!(Root::from_pem(&pem, &key, now).is_ok());

    let held = gateway.facts.data.join("ca/root.key");
    fs::remove_file(&held).unwrap();
    gateway.stop();
    gateway.start_again();
    assert!(python(&gateway, "gate.localhost").is_ok());
    let none = gateway.run(&["cert", "ca-root", "--key", "/nowhere"]);
    assert_eq!(none.status.code(), Some(69), "{none:?}");
    // in clear as it was, until the next start
    fs::write(&held, &key).unwrap();
    fs::set_permissions(&held, fs::Permissions::from_mode(0o600)).unwrap();
    gateway.stop();
    gateway.start_again();
    let text = fs::read_to_string(&held).unwrap();
    assert!(
        text.contains("SEALED KEY") && !text.contains("PRIVATE"),
        "{text}"
    );
    let other = dir.path().join("other.key");
    gateway.must(&["cert", "ca-root", "--key", other.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(other).unwrap(), key);
    assert_eq!(gateway.must(&["cert", "ca-root"]), pem);
}
