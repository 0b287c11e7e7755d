//! What an administrator gets wrong: told exactly, with the right exit code, and never at the
//! cost of what is in force.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;
use postern_tests::curl::Client;
use postern_tests::gateway::{Gateway, binary, run_with_config};
use postern_tests::journal;
use postern_tests::process::Program;
use postern_tests::temp::Temp;
use postern_tests::upstream::Recorder;
use postern_tests::{policy, wait};

const OK: i32 = 0;
const UNAVAILABLE: i32 = 69;
const PERMISSION: i32 = 77;
const CONFIG: i32 = 78;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn a_broken_policy_is_refused_with_its_place_and_the_old_one_stays() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    let good = policy::two_apps(&recorder.url(), "");
    gateway.set_policy(&good);
    let client = Client::new(&gateway);
    assert_eq!(
        client
            .sign_in(&gateway.facts.app, &gateway.facts.demo)
            .status,
        200
    );
    let failing_test = concat!(
        "[[test]]\nname = \"guests stay out\"\n",
        "as = { user = \"guest\", from = \"internet\", mfa = \"1m\" }\n",
        "to = \"https://app.gate.localhost/\"\nexpect = \"deny\"\n"
    );
    for (name, bad, line) in [
        ("syntax", format!("{good}\n[app.broken\n"), None),
        (
            "unknown key",
            good.replacen("host =", "hots =", 1),
            Some("hots"),
        ),
        (
            "unknown group",
            good.replace("@admins", "@admin"),
            Some("@admin"),
        ),
        ("a test of its own", format!("{good}\n{failing_test}"), None),
    ] {
        fs::write(gateway.policy_file(), &bad).unwrap();
        let output = gateway.run(&["reload"]);
        assert_eq!(
            output.status.code(),
            Some(CONFIG),
            "{name}: {}",
            said(&output)
        );
        let text = said(&output);
        assert!(text.contains("policy.toml:"), "{name} has no place: {text}");
        if let Some(part) = line {
            let number = bad.lines().position(|l| l.contains(part)).unwrap() + 1;
            let place = format!("policy.toml:{number}:");
            assert!(text.contains(&place), "{name}: no {place} in {text}");
        }
        assert_eq!(client.fetch(&gateway.facts.app).status, 200, "{name}");
    }
    journal::wait_for(&gateway, "policy-rejected.1", |_| true);
    let rejected = journal::search(&gateway, &["--event", "policy-rejected.1"]);
    assert!(rejected.len() >= 4, "{rejected:?}");
    gateway.set_policy(&good.replace("\"demo\", \"guest\"", "\"guest\""));
    assert_eq!(client.fetch(&gateway.facts.app).status, 403);
    journal::wait_for(&gateway, "policy-applied.1", |_| true);
}

#[test]
fn a_policy_saved_or_signalled_is_in_force_without_a_command() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    let good = policy::two_apps(&recorder.url(), "");
    gateway.set_policy(&good);
    let client = Client::new(&gateway);
    assert_eq!(
        client
            .sign_in(&gateway.facts.app, &gateway.facts.demo)
            .status,
        200
    );
    let without = good.replace("\"demo\", \"guest\"", "\"guest\"");
    fs::write(gateway.policy_file(), &without).unwrap();
    let limit = Duration::from_secs(10);
    // a request that is under way when its right ends is cut off without an answer
    let status = || client.try_send(&gateway.facts.app, &[]).map(|a| a.status);
    wait::until_true(limit, "the saved policy is in force", || {
        status() == Ok(403)
    });
    fs::write(gateway.policy_file(), &good).unwrap();
    gateway.signal(Signal::SIGHUP);
    wait::until_true(limit, "the signalled policy is in force", || {
        status() == Ok(200)
    });
}

/// A configuration written by `postern init`, on free ports of loopback.
struct Site {
    dir: Temp,
    https: u16,
}

impl Site {
    fn new() -> Self {
        let dir = Temp::new();
        let path = dir.path().join("site");
        let output = Command::new(binary())
            .args(["init", "--domain", "example.test", "--yes", "--dir"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let site = Self {
            dir,
            https: postern_tests::ports::free_tcp(),
        };
        site.edit_listeners();
        site
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("site/postern.toml")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("site").join(name)
    }

    /// Keeps only what the tests need of the file that `init` wrote.
    fn edit_listeners(&self) {
        let written = fs::read_to_string(self.config()).unwrap();
        let keep = |key: &str| {
            let line = written.lines().find(|l| l.trim_start().starts_with(key));
            line.unwrap_or_default().to_owned()
        };
        let text = format!(
            "{}\n{}\n{}\n[http]\nhttps = [\"127.0.0.1:{}\"]\nhttp = []\n{}\n[tunnel]\nenabled = false\n",
            keep("data "),
            keep("policy "),
            keep("master-key "),
            self.https,
            keep("sign-in "),
        );
        fs::write(self.config(), text).unwrap();
    }

    fn append(&self, text: &str) {
        let mut config = fs::read_to_string(self.config()).unwrap();
        config.push_str(text);
        fs::write(self.config(), config).unwrap();
    }

    fn start(&self, name: &str) -> Program {
        let mut command = Command::new(binary());
        command.arg("run").arg("--config").arg(self.config());
        Program::start(command, self.dir.path(), name)
    }

    /// Asserts that a start ends with this exit code and says these words.
    fn fails(&self, code: i32, words: &[&str]) {
        let mut program = self.start("failing");
        let status = program.wait(Duration::from_secs(20));
        let text = program.stderr();
        assert_eq!(status.code(), Some(code), "{text}");
        for word in words {
            assert!(text.contains(word), "no {word} in: {text}");
        }
    }

    /// Asserts that it starts, serves, and ends when told to.
    fn serves(&self) -> Program {
        let program = self.start("serving");
        let addr = (Ipv4Addr::LOCALHOST, self.https);
        wait::until_true(Duration::from_secs(20), "it listens", || {
            std::net::TcpStream::connect(addr).is_ok()
        });
        program
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn master_key(site: &Site) -> PathBuf {
    let text = fs::read_to_string(site.config()).unwrap();
    let line = text.lines().find(|l| l.starts_with("master-key ")).unwrap();
    let value = line.split('"').nth(1).unwrap();
    site.path(value)
}

#[test]
fn what_init_wrote_is_checked_and_served() {
    let site = Site::new();
    let output = run_with_config(&site.config(), &["check"]);
    assert_eq!(output.status.code(), Some(OK), "{}", said(&output));
    // the root can be handed out before anything runs, and stays the one that signs
    let root = || {
        let output = run_with_config(&site.config(), &["cert", "ca-root"]);
        assert_eq!(output.status.code(), Some(OK), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let made = root();
    let mut program = site.serves();
    let kept = site.path("root.pem");
    fs::write(&kept, &made).unwrap();
    let resolve = [format!("example.test:{}:127.0.0.1", site.https)];
    let client = Client::with(&kept, &resolve, &[]);
    let page = client.open(&format!("https://example.test:{}/", site.https));
    assert!(page.status < 400, "{page:?}");
    assert_eq!(root(), made);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.wait(Duration::from_secs(20)).code(), Some(OK));
}

#[test]
fn a_master_key_that_others_can_read_stops_the_start() {
    let site = Site::new();
    let key = master_key(&site);
    set_mode(&key, 0o644);
    site.fails(PERMISSION, &[key.file_name().unwrap().to_str().unwrap()]);
    set_mode(&key, 0o600);
    drop(site.serves());
}

#[test]
fn a_state_folder_that_others_can_enter_stops_the_start() {
    let site = Site::new();
    drop(site.serves());
    set_mode(&site.path("data"), 0o755);
    site.fails(PERMISSION, &["data"]);
    set_mode(&site.path("data"), 0o700);
    drop(site.serves());
}

#[test]
fn a_missing_or_exposed_certificate_stops_the_start() {
    let site = Site::new();
    let now = i64::try_from(postern_tests::totp::now()).unwrap();
    let ca = certs::Root::create("Own", now).unwrap();
    let ca = ca.intermediate("Own", now).unwrap();
    let leaf = ca.issue(&["*.example.test", "example.test"], now, 90 * certs::DAY);
    let leaf = leaf.unwrap();
    site.append(
        "[tls]\ninternal-ca = true\ncertificates = [{ chain = \"own.pem\", key = \"own.key\" }]\n",
    );
    let (chain, key) = (site.path("own.pem"), site.path("own.key"));
    site.fails(CONFIG, &["own.pem"]);
    fs::write(&chain, &leaf.chain_pem).unwrap();
    site.fails(CONFIG, &["own.key"]);
    fs::write(&key, leaf.key_pem.as_str()).unwrap();
    set_mode(&key, 0o644);
    site.fails(PERMISSION, &["own.key"]);
    set_mode(&key, 0o600);
    drop(site.serves());
    fs::write(&key, ca.key_pem().as_str()).unwrap();
    site.fails(CONFIG, &["own.pem"]);
}

#[test]
fn an_occupied_port_and_a_second_instance_are_told_apart() {
    let site = Site::new();
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, site.https)).unwrap();
    site.fails(UNAVAILABLE, &[&site.https.to_string()]);
    drop(holder);
    let running = site.serves();
    let mut second = site.start("second");
    let status = second.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(UNAVAILABLE), "{}", second.stderr());
    assert!(second.stderr().contains("data"), "{}", second.stderr());
    drop(running);
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused_at_its_place() {
    let site = Site::new();
    site.append("listne = \"127.0.0.1:1\"\n");
    let text = fs::read_to_string(site.config()).unwrap();
    let line = text.lines().position(|l| l.starts_with("listne")).unwrap() + 1;
    let place = format!("postern.toml:{line}:");
    site.fails(CONFIG, &[&place]);
    let output = run_with_config(&site.config(), &["check"]);
    assert_eq!(output.status.code(), Some(CONFIG));
    assert!(said(&output).contains(&place), "{}", said(&output));
}

#[test]
fn a_command_without_a_gateway_says_that_there_is_none() {
    let site = Site::new();
    let output = run_with_config(&site.config(), &["reload"]);
    assert_eq!(output.status.code(), Some(UNAVAILABLE), "{}", said(&output));
    let wrong = Command::new(binary())
        .arg("no-such-command")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(64), "{}", said(&wrong));
}

#[test]
fn an_end_on_request_is_quick_and_leaves_a_folder_that_starts_again() {
    let mut gateway = Gateway::demo();
    let client = Client::new(&gateway);
    let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(gateway.stop() < Duration::from_secs(20));
    let before = (
        gateway.facts.demo.password.clone(),
        fs::read(&gateway.facts.ca_root).unwrap(),
    );
    gateway.start_again();
    let after = (
        gateway.facts.demo.password.clone(),
        fs::read(&gateway.facts.ca_root).unwrap(),
    );
    assert_eq!(before, after, "users and root are kept");
    assert_eq!(
        client.fetch(&gateway.facts.app).status,
        200,
        "the session too"
    );
}

#[test]
fn the_state_folder_and_its_secrets_are_for_the_owner_only() {
    let gateway = Gateway::demo();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&gateway.facts.data), 0o700);
    for file in files_below(&gateway.facts.data) {
        let text = fs::read(&file).unwrap_or_default();
        let is_key = String::from_utf8_lossy(&text).contains("PRIVATE KEY");
        if is_key {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
    }
    let socket = gateway.facts.data.join("control.sock");
    assert_eq!(mode(&socket), 0o600);
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}

fn office() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/office")
}

fn ask(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary()).arg("policy").args(args).output();
    let output = output.unwrap();
    (output.status.code(), said(&output))
}

#[test]
fn a_policy_tells_who_can_reach_what_without_a_gateway() {
    let folder = office();
    let folder = folder.to_str().unwrap();
    let url = "https://paie.cabinet.example/admin";
    let (code, text) = ask(&["who-can", "--json", "--policy", folder, url]);
    assert_eq!(code, Some(OK), "{text}");
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let users = answer["users"].as_array().unwrap();
    let names: Vec<_> = users.iter().map(|u| u["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["nadia", "olivier"]);
    let (code, text) = ask(&["what-can", "--json", "--policy", folder, "ines"]);
    assert_eq!(code, Some(OK), "{text}");
    assert!(text.contains("app.paie#paie") && !text.contains("app.paie/admin"));
    assert_eq!(ask(&["what-can", "--policy", folder, "nobody"]).0, Some(65));
}

#[test]
fn a_change_that_widens_access_is_told_by_its_exit_code() {
    let (before, after) = (office(), Temp::new());
    for name in ["policy.toml", "users.toml"] {
        fs::copy(before.join(name), after.path().join(name)).unwrap();
    }
    let (old, new) = (before.to_str().unwrap(), after.path().to_str().unwrap());
    assert_eq!(ask(&["diff", old, new]).0, Some(OK));
    let path = after.path().join("policy.toml");
    let text = fs::read_to_string(&path).unwrap();
    let rule = "allow.it = { who = \"@it\", from = [\"office\", \"tunnel\"], mfa = \"15m\" }";
    assert!(text.contains(rule));
    fs::write(
        &path,
        text.replace(rule, "allow.it = { who = \"@it\", mfa = \"15m\" }"),
    )
    .unwrap();
    let (code, text) = ask(&["diff", "--json", old, new]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("\"widens\":true"), "{text}");
    assert_eq!(ask(&["diff", new, old]).0, Some(OK));
}
