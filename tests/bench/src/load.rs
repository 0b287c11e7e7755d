//! wrk for HTTP/1.1, h2load for HTTP/2, and what the server used meanwhile.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use postern_tests::process::find;
use postern_tests::temp::Temp;
use serde_json::Value;

use crate::nginx::TAKE;
use crate::scene::{HOST, Target};
use crate::{cpus, usage};

/// What a load looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// HTTP/1.1, 50 kept connections.
    KeptAlive,
    /// HTTP/2, 10 connections of 10 streams.
    Multiplexed,
    /// HTTP/1.1, as many kept connections that write.
    Writes(u32),
    /// The same that read.
    Reads(u32),
    /// HTTP/1.1, as many kept connections, each after the file of the app at this path.
    Bodies(u32, &'static str),
    /// HTTP/1.1, as many kept connections, each sending bodies of as many bytes.
    Uploads(u32, u64),
}

/// One round against one target.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub requests: f64,
    pub per_second: f64,
    /// Server CPU, user and system.
    pub cpu_us: f64,
    /// The same for each GB (10^9 bytes) that the client got, or sent of bodies, in seconds; 0 where it does not count
    /// them.
    pub cpu_seconds_a_gb: f64,
}

/// Puts a load on a target; every request must be answered with success.
#[must_use]
pub fn run(target: &Target, shape: Shape, seconds: u32) -> Sample {
    let before = usage::cpu_seconds(target.pid);
    let body = match shape {
        Shape::Uploads(_, bytes) => bytes,
        _ => 0,
    };
    let (requests, span, bytes) = match shape {
        Shape::KeptAlive => wrk(target, ("GET", "/"), 50, seconds, &[]),
        Shape::Reads(connections) => wrk(target, ("GET", "/"), connections, seconds, &[]),
        Shape::Writes(connections) => {
            let origin = format!("Origin: https://{HOST}:{}", target.port);
            wrk(
                target,
                ("POST", "/"),
                connections,
                seconds,
                &["-H", &origin],
            )
        }
        Shape::Multiplexed => h2load(target, seconds),
        Shape::Bodies(connections, path) => wrk(target, ("GET", path), connections, seconds, &[]),
        Shape::Uploads(connections, _) => {
            let origin = format!("Origin: https://{HOST}:{}", target.port);
            let (requests, span, _) = sent(
                target,
                ("POST", TAKE),
                body,
                connections,
                seconds,
                &["-H", &origin],
            );
            #[expect(clippy::cast_precision_loss, reason = "lengths far below 2^53")]
            let bytes = requests * body as f64;
            (requests, span, bytes)
        }
    };
    let used = usage::cpu_seconds(target.pid) - before;
    Sample {
        requests,
        per_second: requests / span,
        cpu_us: used * 1e6 / requests,
        cpu_seconds_a_gb: if bytes > 0.0 { used * 1e9 / bytes } else { 0.0 },
    }
}

/// The name is taken to loopback here, as no resolver knows it; TLS still sends it.
const SCRIPT: &str = r#"
wrk.resolve = function(host, service) wrk.addrs = wrk.lookup("127.0.0.1", service) end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('JSON{"requests":%d,"us":%d,"bytes":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, summary.bytes, e.status,
    e.connect + e.read + e.write + e.timeout))
end
"#;

/// Returns requests, seconds and bytes.
fn wrk(
    target: &Target,
    call: (&str, &str),
    connections: u32,
    seconds: u32,
    more: &[&str],
) -> (f64, f64, f64) {
    sent(target, call, 0, connections, seconds, more)
}

/// The same of requests with bodies of as many bytes.
fn sent(
    target: &Target,
    (method, path): (&str, &str),
    body: u64,
    connections: u32,
    seconds: u32,
    more: &[&str],
) -> (f64, f64, f64) {
    let dir = Temp::new();
    let mut text = format!("wrk.method = \"{method}\"\n{SCRIPT}");
    if body > 0 {
        text.insert_str(0, &format!("wrk.body = string.rep(\"0\", {body})\n"));
    }
    let script = dir.write("wrk.lua", text);
    let threads = cpus::load_count().min(2);
    let mut command = pinned("wrk");
    command.args([
        "-t",
        &threads
            .min(usize::try_from(connections).unwrap())
            .to_string(),
        "-c",
        &connections.to_string(),
    ]);
    command.args(["-d", &format!("{seconds}s"), "--timeout", "10s", "-s"]);
    command.arg(script).args(headers(target)).args(more);
    let output = output(command.arg(url(target, path)), seconds);
    let line = output.lines().find_map(|line| line.strip_prefix("JSON"));
    let line = line.unwrap_or_else(|| panic!("wrk says no figures:\n{output}"));
    let line: Value = serde_json::from_str(line).unwrap();
    let figure = |name: &str| line[name].as_f64().unwrap();
    assert!(
        figure("refused") == 0.0 && figure("broken") <= figure("requests") / 1000.0,
        "{} does not answer all requests: {line}",
        target.name
    );
    (figure("requests"), figure("us") / 1e6, figure("bytes"))
}

/// Returns requests and seconds, and no bytes.
fn h2load(target: &Target, seconds: u32) -> (f64, f64, f64) {
    let threads = cpus::load_count().min(2);
    let mut command = pinned("h2load");
    command.args(["-c", "10", "-m", "10", "-t", &threads.to_string()]);
    command.args(["-D", &seconds.to_string()]);
    command.arg(format!("--connect-to=127.0.0.1:{}", target.port));
    command.args(headers(target));
    let output = output(command.arg(url(target, "/")), seconds);
    let line = |start: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("h2load says no {start:?}:\n{output}"))
    };
    assert!(
        line("Application protocol: ") == "h2" && line("TLS Protocol: ") == "TLSv1.3",
        "{output}"
    );
    let codes = line("status codes: ");
    let succeeded = codes.split(' ').next().unwrap().parse().unwrap();
    assert!(
        codes.ends_with(" 2xx, 0 3xx, 0 4xx, 0 5xx"),
        "{} does not answer all requests: {codes}",
        target.name
    );
    (succeeded, f64::from(seconds), 0.0)
}

fn pinned(program: &str) -> Command {
    let words = cpus::load();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(find(&[program]));
    command
}

fn url(target: &Target, path: &str) -> String {
    format!("https://{HOST}:{}{path}", target.port)
}

fn headers(target: &Target) -> Vec<String> {
    let all = target.headers.iter();
    all.flat_map(|header| ["-H".to_owned(), header.clone()])
        .collect()
}

/// Runs a load to its end, or ends it when it hangs.
fn output(command: &mut Command, seconds: u32) -> String {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(u64::from(seconds) + 20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().ok();
            panic!("{command:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}
