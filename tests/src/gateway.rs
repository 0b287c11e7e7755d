//! The real binary, started as a demo or with a configuration, ended by its own id.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, Once};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::ports::Offset;
use crate::process::Program;
use crate::temp::Temp;
use crate::totp;
use crate::wait;

const START: Duration = crate::wait::PATIENCE;

/// A person with what they know and own.
#[derive(Debug)]
pub struct Person {
    pub user: String,
    pub password: String,
    pub totp_secret: String,
    last_step: Mutex<Option<u64>>,
}

impl Person {
    #[must_use]
    pub fn new(user: &str, password: &str, totp_secret: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            totp_secret: totp_secret.to_owned(),
            last_step: Mutex::new(None),
        }
    }

    /// Returns a code that was not used yet.
    pub fn code(&self) -> String {
        let mut last = self.last_step.lock().unwrap();
        let (code, step) = totp::fresh_code(&self.totp_secret, *last);
        *last = Some(step);
        code
    }

    /// The same account with another app: what counts as used is of the account.
    #[must_use]
    pub fn follows(self, before: &Self) -> Self {
        let used = *before.last_step.lock().unwrap();
        let mut last = self.last_step.lock().unwrap();
        *last = used.max(*last);
        drop(last);
        self
    }

    fn read(value: &Value) -> Self {
        let field = |name: &str| value[name].as_str().unwrap().to_owned();
        Self::new(&field("user"), &field("password"), &field("totp_secret"))
    }
}

/// What the demo prints about itself.
#[derive(Debug)]
pub struct Facts {
    pub portal: String,
    pub app: String,
    pub tunnel_portal: String,
    pub demo: Person,
    pub guest: Person,
    pub ca_root: PathBuf,
    pub config: PathBuf,
    pub policy: PathBuf,
    pub data: PathBuf,
    /// The device config of demo's laptop, as text.
    pub wg_config: Option<String>,
    pub wg_endpoint: Option<String>,
    pub pid: u32,
}

/// How a demo is started.
#[derive(Debug, Default)]
pub struct Setup {
    /// A real app behind the app host.
    pub upstream: Option<String>,
    /// Another address for the tunnel socket.
    pub tunnel_listen: Option<String>,
    /// Words before the program: another namespace, another user.
    pub wrap: Vec<String>,
    /// A copy of the binary that another user can reach.
    pub binary: Option<PathBuf>,
    /// Owner of the demo's folder.
    pub owner: Option<u32>,
}

/// A running demo.
#[derive(Debug)]
pub struct Gateway {
    pub facts: Facts,
    program: Program,
    setup: Setup,
    offset: Offset,
    dir: Temp,
}

impl Gateway {
    /// Starts a demo with its built-in app.
    #[must_use]
    pub fn demo() -> Self {
        Self::start(Setup::default())
    }

    /// Starts a demo with a real app behind the app host.
    #[must_use]
    pub fn demo_before(upstream: &str) -> Self {
        Self::start(Setup {
            upstream: Some(upstream.to_owned()),
            ..Setup::default()
        })
    }

    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let (dir, offset) = (Temp::new(), Offset::reserve());
        let state = dir.path().join("demo");
        fs::create_dir(&state).unwrap();
        if let Some(owner) = setup.owner {
            std::os::unix::fs::chown(&state, Some(owner), Some(owner)).unwrap();
        }
        let (program, facts) = launch(&setup, &dir, &offset);
        Self {
            facts,
            program,
            setup,
            offset,
            dir,
        }
    }

    /// Starts the same demo again, on its folder and ports; it must have ended.
    pub fn start_again(&mut self) {
        assert!(self.program.ended().is_some(), "the demo still runs");
        let (program, facts) = launch(&self.setup, &self.dir, &self.offset);
        self.program = program;
        // what an authenticator app has shown stays shown
        for (new, old) in [
            (&facts.demo, &self.facts.demo),
            (&facts.guest, &self.facts.guest),
        ] {
            *new.last_step.lock().unwrap() = *old.last_step.lock().unwrap();
        }
        self.facts = facts;
    }

    /// Ends it as an administrator does and returns how long that took.
    pub fn stop(&mut self) -> Duration {
        let start = std::time::Instant::now();
        self.program.signal(Signal::SIGTERM);
        self.program.wait(Duration::from_secs(40));
        start.elapsed()
    }

    /// Changes the configuration; that counts from the next start.
    pub fn edit_config(&self, edit: impl FnOnce(&mut String)) {
        let mut text = fs::read_to_string(&self.facts.config).unwrap();
        edit(&mut text);
        fs::write(&self.facts.config, text).unwrap();
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Returns its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    #[must_use]
    pub fn stderr(&self) -> String {
        self.program.stderr()
    }

    #[must_use]
    pub fn stdout(&self) -> String {
        self.program.stdout()
    }

    #[must_use]
    pub fn https_port(&self) -> u16 {
        8443 + self.offset.value
    }

    #[must_use]
    pub fn http_port(&self) -> u16 {
        8080 + self.offset.value
    }

    #[must_use]
    pub fn admin_port(&self) -> u16 {
        8444 + self.offset.value
    }

    #[must_use]
    pub fn tunnel_port(&self) -> u16 {
        51_820 + self.offset.value
    }

    /// Returns the folder of this test, outside the demo's own.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a command of the program against this gateway.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        run_with_config(&self.facts.config, args)
    }

    /// Runs a command that must succeed and returns its stdout.
    pub fn must(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "postern {args:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the policy file's text.
    #[must_use]
    pub fn policy_text(&self) -> String {
        fs::read_to_string(self.policy_file()).unwrap()
    }

    #[must_use]
    pub fn policy_file(&self) -> PathBuf {
        self.facts.policy.join("policy.toml")
    }

    /// Writes the policy file and reloads; the new set is in force on return.
    pub fn set_policy(&self, text: &str) {
        fs::write(self.policy_file(), text).unwrap();
        self.must(&["reload"]);
    }

    /// Does the same for a policy that may open more; what a guard holds for that is accepted.
    pub fn open_policy(&self, text: &str) {
        fs::write(self.policy_file(), text).unwrap();
        let output = self.run(&["reload"]);
        if output.status.success() {
            return;
        }
        let error = String::from_utf8_lossy(&output.stderr);
        let asked = error.split("policy apply --accept-wider ").nth(1);
        let number = asked.and_then(|rest| rest.split_whitespace().next());
        let number = number.unwrap_or_else(|| panic!("postern reload: {error}"));
        self.must(&["policy", "apply", "--accept-wider", number]);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = self.program.stderr();
            let tail: Vec<_> = text.lines().rev().take(40).collect();
            eprintln!("--- stderr of the gateway (last lines)");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Runs a command of the program with a configuration file.
#[must_use]
pub fn run_with_config(config: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).arg("--config").arg(config);
    command.output().unwrap()
}

/// Returns the binary under test; panics when it is not named, or older than a source.
#[must_use]
pub fn binary() -> PathBuf {
    static CHECKED: Once = Once::new();
    let path = std::env::var_os("POSTERN_BIN")
        .expect("POSTERN_BIN names no binary: run tests/run, or build one and set it");
    let path = PathBuf::from(path);
    CHECKED.call_once(|| {
        let built = modified(&path);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for part in ["gateway", "wg", "policy", "certs"] {
            let newest = newest_source(&root.join(part));
            assert!(
                newest <= built,
                "{} is older than the sources in {part}: build it again",
                path.display()
            );
        }
    });
    path
}

fn launch(setup: &Setup, dir: &Temp, offset: &Offset) -> (Program, Facts) {
    let mut words = setup.wrap.clone();
    let binary = setup.binary.clone().unwrap_or_else(binary);
    words.push(binary.display().to_string());
    let state = dir.path().join("demo").display().to_string();
    words.extend(["demo", "--json", "--dir", &state, "--port-offset"].map(str::to_owned));
    words.push(offset.value.to_string());
    let options = [
        ("--upstream", &setup.upstream),
        ("--tunnel-listen", &setup.tunnel_listen),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            words.extend([name.to_owned(), value.clone()]);
        }
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir("/");
    let mut program = Program::start(command, dir.path(), "gateway");
    let line = wait::until(START, "the demo says that it listens", || {
        if let Some(status) = program.ended() {
            panic!("the demo ended with {status}:\n{}", program.stderr());
        }
        let out = program.stdout();
        out.strip_suffix('\n').map(str::to_owned)
    });
    let facts = facts(&line, dir);
    (program, facts)
}

fn facts(line: &str, dir: &Temp) -> Facts {
    let value: Value = serde_json::from_str(line)
        .unwrap_or_else(|e| panic!("stdout of demo --json is not one JSON line: {e}\n{line}"));
    let text = |name: &str| {
        let text = value[name].as_str();
        let text = text.unwrap_or_else(|| panic!("demo --json has no {name}: {line}"));
        text.to_owned()
    };
    // a config or a certificate may be given as text or as the path of a file
    let ca_root = match text("ca_root") {
        pem if pem.contains("BEGIN CERTIFICATE") => dir.write("root.pem", pem),
        path => PathBuf::from(path),
    };
    let wg_config = value["wg_config"].as_str().map(|config| {
        if config.contains("[Interface]") {
            config.to_owned()
        } else {
            fs::read_to_string(config).unwrap()
        }
    });
    Facts {
        portal: text("portal"),
        app: text("app"),
        tunnel_portal: text("tunnel_portal"),
        demo: Person::read(&value),
        guest: Person::read(&value["guest"]),
        ca_root,
        config: PathBuf::from(text("config")),
        policy: PathBuf::from(text("policy")),
        data: PathBuf::from(text("data")),
        wg_config,
        wg_endpoint: value["wg_endpoint"].as_str().map(str::to_owned),
        pid: u32::try_from(value["pid"].as_u64().unwrap()).unwrap(),
    }
}

fn newest_source(dir: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let is_source = path
            .extension()
            .is_some_and(|e| ["rs", "toml", "html", "css", "js"].iter().any(|s| e == *s));
        if path.is_dir() && !path.ends_with("target") {
            newest = newest.max(newest_source(&path));
        } else if is_source && !is_test_source(&path) {
            newest = newest.max(modified(&path));
        }
    }
    newest
}

fn is_test_source(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
        || path.components().any(|c| c.as_os_str() == "tests")
}

fn modified(path: &Path) -> SystemTime {
    let meta = fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    meta.modified().unwrap()
}
