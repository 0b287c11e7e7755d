//! What the gateway weighs: memory at rest and with idle connections, the binary, a start.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use postern_tests::gateway::binary;
use postern_tests::nginx::Nginx;
use postern_tests::process::Program;
use postern_tests::temp::Temp;
use postern_tests::wait;

use crate::report::{Goal, Report, Row};
use crate::rounds::{interleaved, median};
use crate::scene::{HOST, Scene};
use crate::tls::{self, Connection};
use crate::usage;

const CONNECTIONS: u16 = 1000;
/// Connections of one address; a source may hold 256.
const PER_SOURCE: u16 = 125;
const MIB: f64 = 1024.0 * 1024.0;
const STARTS: usize = 5;

/// Weighs the gateway and plain nginx before and while they hold idle TLS connections.
pub fn run(report: &Report, scene: &Scene) {
    let size = std::fs::metadata(binary()).unwrap().len();
    #[expect(clippy::cast_precision_loss, reason = "a size in MiB")]
    let row = Row::new("http", "binary", "MiB", size as f64 / MIB);
    report.row(&row.goal(Goal::AtMost(40.0)));

    let pid = scene.gateway.facts.pid;
    let resident = settled(|| usage::resident_mib(pid));
    let row = Row::new("http", "memory at rest", "MiB", resident);
    report.row(&row.goal(Goal::AtMost(64.0)));

    let ours = weigh(scene, pid, scene.gateway.https_port());
    let Nginx { port, .. } = scene.plain;
    let peer = weigh(scene, scene.plain.pid(), port);
    let case = format!("memory, {CONNECTIONS} idle TLS");
    let row = Row::new("http", case, "MiB", ours.full);
    report.row(&row.beside("nginx plain", peer.full));
    let row = Row::new("http", "an idle TLS connection", "KiB", ours.each_kib());
    let row = row.beside("nginx plain", peer.each_kib());
    report.row(&row.goal(Goal::RatioAtMost(1.35)));
}

struct Weight {
    empty: f64,
    full: f64,
}

impl Weight {
    fn each_kib(&self) -> f64 {
        (self.full - self.empty) * 1024.0 / f64::from(CONNECTIONS)
    }
}

/// MiB in proportion, so that what nginx's two processes share counts once.
fn weigh(scene: &Scene, pid: u32, port: u16) -> Weight {
    // what a server sets up for its first connections belongs to none of them
    drop(hold(scene, port, CONNECTIONS / 10));
    let empty = settled(|| usage::proportional_mib(pid));
    let held = hold(scene, port, CONNECTIONS);
    let full = settled(|| usage::proportional_mib(pid));
    drop(held);
    Weight { empty, full }
}

/// What the gateway answers itself on every host.
const ANSWERED: &str = "/.postern/icon.svg";

/// Opens connections that have had one answer each.
fn hold(scene: &Scene, port: u16, count: u16) -> Vec<Connection> {
    let open = |number: u16| {
        let source = u8::try_from(number / PER_SOURCE).unwrap() + 2;
        let connection = scene
            .client
            .connect(HOST, port, Ipv4Addr::new(127, 0, 0, source));
        let mut connection = connection.unwrap();
        let answer = tls::get(&mut connection, &format!("{HOST}:{port}"), ANSWERED, &[]);
        assert_eq!(answer.unwrap().0, 200, "connection {number}");
        connection
    };
    (0..count).map(open).collect()
}

/// Returns the least of the third second: what stays once allocators have given back what a
/// start, a password or the last answers took.
fn settled(mib: impl Fn() -> f64) -> f64 {
    let begin = Instant::now();
    std::thread::sleep(Duration::from_secs(2));
    let mut least = f64::INFINITY;
    while begin.elapsed() < Duration::from_secs(3) {
        least = least.min(mib());
        std::thread::sleep(Duration::from_millis(100));
    }
    least
}

/// Weighs the gateway once a password was verified, which takes 64 MiB for a moment.
pub fn after_sign_in(report: &Report, scene: &Scene) {
    let resident = settled(|| usage::resident_mib(scene.gateway.facts.pid));
    report.row(&Row::new("http", "memory after a sign-in", "MiB", resident));
}

/// Ends the gateway and measures starts of the same state: from the call of the program to the
/// first answer of the gateway.
pub fn starts(report: &Report, scene: &mut Scene) {
    scene.gateway.stop();
    let figures = interleaved(&[()], STARTS, |()| start(scene));
    let row = Row::new("http", "start to answer", "s", median(&figures[0], |s| *s));
    report.row(&row.goal(Goal::AtMost(0.05)));
}

fn start(scene: &Scene) -> f64 {
    let dir = Temp::new();
    let mut command = Command::new(binary());
    command
        .arg("run")
        .arg("--config")
        .arg(&scene.gateway.facts.config);
    let begin = Instant::now();
    let mut program = Program::start(command, dir.path(), "gateway");
    let limit = Duration::from_secs(20);
    wait::until_true(limit, "the gateway answers", || {
        if let Some(status) = program.ended() {
            panic!("postern run ended with {status}:\n{}", program.stderr());
        }
        is_up(scene)
    });
    let took = begin.elapsed().as_secs_f64();
    program.signal(Signal::SIGTERM);
    program.wait(limit);
    took
}

fn is_up(scene: &Scene) -> bool {
    let port = scene.gateway.https_port();
    let connection = scene.client.connect(HOST, port, Ipv4Addr::LOCALHOST);
    let answer =
        connection.and_then(|mut c| tls::get(&mut c, &format!("{HOST}:{port}"), ANSWERED, &[]));
    answer.is_ok_and(|(status, _)| status == 200)
}
