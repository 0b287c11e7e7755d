//! TLS 1.3 handshakes and nothing else: no request is sent, the client closes and waits for the
//! other side to do so.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sched::sched_setaffinity;
use nix::unistd::Pid;
use postern_tests::gateway::{Gateway, Setup};
use postern_tests::nginx::Nginx;
use postern_tests::process::must;
use postern_tests::temp::Temp;

use super::visits::{self, Visit};
use crate::cpus;
use crate::nginx::{self, Guard};
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use crate::scene::HOST;

const SECONDS: u64 = 4;

/// The kind of both sides' keys, and what ours may use of the peer's CPU.
type Kind = (&'static str, &'static [&'static str], f64);
const P256: Kind = (
    "P-256",
    &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
    1.0 / 2.0,
);
pub const RSA: Kind = ("RSA 2048", &["rsa:2048"], 1.0 / 1.3);

/// Both kinds of keys, without and with resumption; then a swap in the midst of it.
pub fn run(report: &Report) {
    for (kind, key, goal) in [P256, RSA] {
        let dir = Temp::new();
        certificate(&dir, key);
        let (gateway, peer) = (ours(&dir), theirs(&dir));
        let targets = [
            (gateway.facts.pid, gateway.https_port()),
            (peer.pid(), peer.port),
        ];
        for resumes in [false, true] {
            let visit = Visit {
                resumes,
                asks: None,
            };
            let load = |seconds| {
                let visit = &visit;
                move |(pid, port): &(u32, u16)| visits::load(*pid, *port, visit, seconds)
            };
            for target in &targets {
                let _warm = load(1)(target);
            }
            let figures = interleaved(&targets, ROUNDS, load(SECONDS));
            let case = match resumes {
                false => format!("full handshakes, {kind}"),
                true => format!("resumed handshakes, {kind}"),
            };
            let cpu = |at: usize| median(&figures[at], |s| s.cpu_us);
            let row = Row::new("certs", &case, "server CPU us", cpu(0));
            let row = row.beside("nginx", cpu(1));
            report.row(&row.goal(Goal::RatioAtMost(goal)));
            let rate = |at| 1e6 / cpu(at);
            let row = Row::new("certs", &case, "a second and core", rate(0));
            report.row(&row.beside("nginx", rate(1)));
        }
        if kind == "P-256" {
            swaps(report, &gateway, &dir);
        }
    }
}

/// Makes a certificate that is its own issuer: chain and key for both sides.
pub fn certificate(dir: &Temp, key: &[&str]) {
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (chain, secret) = (file("chain.pem"), file("key.pem"));
    let name = format!("subjectAltName=DNS:{HOST}");
    let mut words = vec![
        "req",
        "-x509",
        "-nodes",
        "-days",
        "60",
        "-subj",
        "/CN=bench",
    ];
    words.extend([
        "-addext",
        &name,
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    words.push("-newkey");
    words.extend(key);
    words.extend(["-keyout", &secret, "-out", &chain]);
    must("openssl", &words);
}

fn ours(dir: &Temp) -> Gateway {
    let mut gateway = Gateway::start(Setup {
        wrap: cpus::server(),
        ..Setup::default()
    });
    import(&gateway, dir.path());
    // the first start makes keys and people, a later one only serves
    gateway.stop();
    gateway.start_again();
    gateway
}

/// Puts a pair in force.
pub fn import(gateway: &Gateway, dir: &Path) {
    let file = |name: &str| dir.join(name).display().to_string();
    let (chain, key) = (file("chain.pem"), file("key.pem"));
    gateway.must(&["cert", "import", &chain, &key]);
}

fn theirs(dir: &Temp) -> Nginx {
    Nginx::start(&cpus::server(), |at, port| {
        for name in ["chain.pem", "key.pem"] {
            std::fs::copy(dir.path().join(name), at.join(name)).unwrap();
        }
        nginx::proxy(at, port, 9, Guard::Plain, HOST)
    })
}

/// The longest handshake while certificates are swapped, beside the longest while none is; both
/// carry the noise of the machine.
fn swaps(report: &Report, gateway: &Gateway, dir: &Temp) {
    let end = AtomicBool::new(false);
    let (pid, port) = (gateway.facts.pid, gateway.https_port());
    let round = |swaps: bool| {
        end.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let swapper = scope.spawn(|| {
                sched_setaffinity(Pid::from_raw(0), &cpus::load_set()).unwrap();
                let mut count = 0;
                while swaps && !end.load(Ordering::Relaxed) {
                    import(gateway, dir.path());
                    count += 1;
                }
                count
            });
            let visit = Visit {
                resumes: false,
                asks: None,
            };
            let sample = visits::load(pid, port, &visit, SECONDS);
            end.store(true, Ordering::Relaxed);
            let count = swapper.join().unwrap();
            assert_eq!(count > 0, swaps);
            sample.longest.as_secs_f64() * 1e3
        })
    };
    let figures = interleaved(&[true, false], ROUNDS, |swaps| round(*swaps));
    let of = |at: usize| median(&figures[at], |ms| *ms);
    let row = Row::new("certs", "longest handshake in swaps", "ms", of(0));
    report.row(&row.beside("no swap", of(1)));
    let more = Row::new(
        "certs",
        "what a swap adds to it",
        "ms",
        (of(0) - of(1)).max(0.0),
    );
    report.row(&more.goal(Goal::AtMost(5.0)));
}
