//! Child processes that end with their owner, by their own id.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// Lets this process have as many files open as it may at most: some shells give a thousand.
pub fn open_many() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

/// A running program whose output goes to files.
#[derive(Debug)]
pub struct Program {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Program {
    /// Asks the program to end and waits until it has.
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        self.wait(Duration::from_secs(40));
    }

    /// Starts `command`; stdout and stderr go to `NAME.out` and `NAME.err` in `dir`.
    #[must_use]
    pub fn start(mut command: Command, dir: &Path, name: &str) -> Self {
        let (out, err) = (
            dir.join(format!("{name}.out")),
            dir.join(format!("{name}.err")),
        );
        command.stdin(Stdio::null());
        command.stdout(File::create(&out).unwrap());
        command.stderr(File::create(&err).unwrap());
        let child = command.spawn();
        let child = child.unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        Self { child, out, err }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it wrote to stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_lossy(&self.out)
    }

    /// Returns what it wrote to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_lossy(&self.err)
    }

    /// Returns its exit status once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it takes connections on a port of loopback; panics with what it wrote if it ends before.
    pub fn listens(&mut self, port: u16) {
        wait::until_true(wait::PATIENCE, "the program listens", || {
            if let Some(status) = self.ended() {
                panic!(
                    "it ended with {status}:\n{}{}",
                    self.stdout(),
                    self.stderr()
                );
            }
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        kill(Pid::from_raw(pid), signal).ok();
    }

    /// Waits for the end; panics after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait::until(limit, "the program ends", || self.ended())
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(Signal::SIGTERM);
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts the command of a program after other words, such as those of `taskset`.
#[must_use]
pub fn after(words: &[String], program: impl AsRef<OsStr>) -> Command {
    match words {
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        [] => Command::new(program),
    }
}

/// Runs a command to its end and panics unless it succeeds.
pub fn must(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Copies a program. Another does it, for as long as this process had it open for writing, what a test beside this one
/// starts at that moment would have too, and the copy could not be run.
pub fn copy_program(from: impl AsRef<Path>, to: &Path) {
    let paths = [from.as_ref(), to].map(|path| path.display().to_string());
    must("cp", &["--", &paths[0], &paths[1]]);
}

/// Finds a program on the path; panics when it is missing, as tests are never skipped.
#[must_use]
pub fn find(names: &[&str]) -> String {
    let path = std::env::var("PATH").unwrap() + ":/usr/sbin:/sbin";
    for name in names {
        for dir in path.split(':') {
            let file = Path::new(dir).join(name);
            if file.is_file() {
                return file.display().to_string();
            }
        }
    }
    panic!("none of {names:?} is installed (tests/run installs what the tests need)");
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Returns a folder of what tests/run has installed, by the variable that names it.
#[must_use]
pub fn installed(variable: &str) -> PathBuf {
    let folder = std::env::var_os(variable);
    PathBuf::from(folder.unwrap_or_else(|| panic!("{variable} is not set: run tests/run")))
}
