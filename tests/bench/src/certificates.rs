//! Certificates: handshakes beside nginx, the choice of a chain by name, and loading many.

mod handshakes;
mod many;
mod visits;

use postern_tests::temp::Temp;

use self::visits::Visit;
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use crate::scene::{Scene, Target, prove};
use crate::tls::Client;

pub use many::LOAD_ONCE;
pub use many::load_once;

const SECONDS: u64 = 4;

/// Cores first, then the web door.
pub fn run(report: &Report) {
    many::run(report);
    handshakes::run(report);
    requests(report);
}

/// One request on each new connection, the last of it: ECDSA P-256, chains of the same length, then RSA 2048, one
/// certificate that is its own issuer.
pub fn requests(report: &Report) {
    let scene = Scene::new();
    let [ours, _, plain] = scene.sign_in();
    compare(report, &scene, "P-256", [&ours, &plain], 1.0 / 2.0);
    let (kind, key, goal) = handshakes::RSA;
    let dir = Temp::new();
    handshakes::certificate(&dir, key);
    handshakes::import(&scene.gateway, dir.path());
    let peer = scene.plain_with(dir.path());
    let plain = Target {
        pid: peer.pid(),
        port: peer.port,
        ..plain
    };
    // nothing else is trusted
    let chain = std::fs::read_to_string(dir.path().join("chain.pem")).unwrap();
    let client = Client::new(&[chain]);
    for target in [&ours, &plain] {
        prove(&client, target);
    }
    compare(report, &scene, kind, [&ours, &plain], goal);
}

/// The goal is for full handshakes; who comes back resumes.
fn compare(report: &Report, scene: &Scene, kind: &str, targets: [&Target; 2], goal: f64) {
    for (how, resumes) in [("full", false), ("resumed", true)] {
        let load = |target: &&Target, seconds| {
            let visit = Visit::asking(target, resumes);
            scene.arrived(|| {
                let sample = visits::load(target.pid, target.port, &visit, seconds);
                (f64::from(sample.count), sample)
            })
        };
        for target in &targets {
            let _warm_up = load(target, 1);
        }
        let figures = interleaved(&targets, ROUNDS, |target| load(target, SECONDS));
        let peer = targets[1].name;
        let cpu = |at: usize| median(&figures[at], |s| s.cpu_us);
        let case = format!("a connection and a request, {how}, {kind}");
        let row = Row::new("certs", &case, "server CPU us", cpu(0)).beside(peer, cpu(1));
        report.row(&match resumes {
            false => row.goal(Goal::RatioAtMost(goal)),
            true => row,
        });
    }
}

/// Makes new connections to a gateway for so long, with figures for nobody.
pub fn train(target: &Target, seconds: u64) {
    for resumes in [false, true] {
        let visit = Visit::asking(target, resumes);
        let _figures = visits::load(target.pid, target.port, &visit, seconds);
    }
}
