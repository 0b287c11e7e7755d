//! Certificates: handshakes beside nginx, the choice of a chain by name, and loading many.

mod handshakes;
mod many;

use crate::load::Shape;
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use crate::scene::Scene;

pub use many::LOAD_ONCE;
pub use many::load_once;

const SECONDS: u32 = 4;

/// Cores first, then the web door.
pub fn run(report: &Report) {
    many::run(report);
    handshakes::run(report);
    requests(report);
}

/// One request on each new connection: ECDSA P-256 on both sides, chains of the same length, no
/// resumption.
fn requests(report: &Report) {
    let scene = Scene::new();
    let [ours, _, plain] = scene.sign_in();
    let targets = [ours, plain];
    for target in &targets {
        let _warm_up = scene.load(target, Shape::NewConnections, 1);
    }
    let figures = interleaved(&targets, ROUNDS, |target| {
        scene.load(target, Shape::NewConnections, SECONDS)
    });
    let case = "new TLS 1.3 connections";
    let peer = targets[1].name;
    let of = |at: usize| &figures[at];
    let cpu = |at| median(of(at), |s| s.cpu_us);
    let row = Row::new("certs", case, "server CPU us/conn", cpu(0)).beside(peer, cpu(1));
    report.row(&row.goal(Goal::RatioAtMost(0.5)));
    let rate = |at| median(of(at), |s| s.per_second);
    report.row(&Row::new("certs", case, "connections/s", rate(0)).beside(peer, rate(1)));
}
