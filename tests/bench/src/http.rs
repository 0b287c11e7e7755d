//! The web door: small answers over TLS 1.3 with a signed-in session, limits, decision and audit.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::load::{Sample, Shape};
use crate::memory;
use crate::nginx::FILES;
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use crate::scene::{Scene, Target};

const SECONDS: u32 = 4;
/// Records that are written to the disk by hand after each load.
const SYNCS: usize = 50;

/// Memory of a fresh gateway first, then requests, then starts.
pub fn run(report: &Report) {
    let mut scene = Scene::new();
    memory::run(report, &scene);
    let targets = scene.sign_in();
    memory::after_sign_in(report, &scene);
    // no worse than nginx with auth_request by a fifth; at most a fifth above plain nginx
    let goals = [Some(0.80), Some(1.20)];
    compare(
        report,
        &scene,
        &targets,
        "HTTP/1.1 50 connections",
        Shape::KeptAlive,
        &goals,
    );
    let goals = [Some(0.95), None];
    compare(
        report,
        &scene,
        &targets,
        "HTTP/2 10x10 streams",
        Shape::Multiplexed,
        &goals,
    );
    others(report, &scene, &targets[0]);
    durable(report, &scene, &targets[0]);
    let [(one, one_of), (hundred, hundred_of)] = FILES;
    for (case, shape, goal) in [
        ("bodies of 1 MB", Shape::Bodies(16, one), 1.10),
        ("bodies of 100 MB", Shape::Bodies(2, hundred), 0.90),
        ("sent bodies of 1 MB", Shape::Uploads(16, one_of), 1.10),
        ("sent bodies of 100 MB", Shape::Uploads(2, hundred_of), 0.90),
    ] {
        by_bytes(report, &scene, &targets, case, shape, goal);
    }
    memory::starts(report, &mut scene);
}

/// Small answers of two builds: the one under test and, of `POSTERN_BEFORE`, another.
pub fn run_before(report: &Report) {
    let before = std::env::var_os("POSTERN_BEFORE").expect("POSTERN_BEFORE names no binary");
    let scene = Scene::new();
    let [ours, authreq, _] = scene.sign_in();
    let (_gateway, before) = scene.another("postern before", before.into());
    let targets = [ours, authreq, before];
    for (case, shape) in [
        ("HTTP/1.1 50 connections", Shape::KeptAlive),
        ("HTTP/2 10x10 streams", Shape::Multiplexed),
    ] {
        compare(report, &scene, &targets, case, shape, &[None, None]);
    }
}

/// Small answers with a trace of each request, beside those without.
pub fn run_traces(report: &Report) {
    let scene = Scene::new();
    let [without, ..] = scene.sign_in();
    let (_gateway, traced) = scene.traced("postern with traces");
    let without = Target {
        name: "postern without",
        ..without
    };
    let case = "HTTP/1.1 50 connections, traces";
    compare(
        report,
        &scene,
        &[traced, without],
        case,
        Shape::KeptAlive,
        &[None],
    );
}

/// Small answers beside other servers that guard an app.
fn others(report: &Report, scene: &Scene, ours: &Target) {
    let (_haproxy, _caddy, _passwords, peers) = scene.others(ours);
    let targets: Vec<Target> = [ours.clone()].into_iter().chain(peers).collect();
    let goals = [Some(1.10), Some(1.0 / 7.0), Some(1.0 / 60.0)];
    let case = "HTTP/1.1 50 connections, others";
    compare(report, scene, &targets, case, Shape::KeptAlive, &goals);
}

/// Requests that are answered once their record is on the disk, beside those whose record waits
/// for others up to a tenth of a second.
fn durable(report: &Report, scene: &Scene, ours: &Target) {
    let mut syncs = Vec::new();
    for connections in [64, 256] {
        let shapes = [Shape::Writes(connections), Shape::Reads(connections)];
        for shape in shapes {
            let _warm_up = scene.load(ours, shape, 1);
        }
        let figures = interleaved(&shapes, ROUNDS, |shape| scene.load(ours, *shape, SECONDS));
        syncs.extend((0..SYNCS).map(|_| time_of_a_sync(&scene.gateway.facts.data)));
        let rate = |at: usize| median(&figures[at], |s| s.per_second);
        let case = format!("POST on disk before its answer, {connections} connections");
        let row = Row::new("http", case, "requests/s", rate(0));
        report.row(
            &row.beside("GET of ours", rate(1))
                .goal(Goal::RatioAtLeast(0.70)),
        );
    }
    // no connection has more answers in a second than the disk takes records one after the other
    let sync = median(&syncs, |seconds| seconds * 1000.0);
    report.row(&Row::new("http", "the disk takes a record", "ms", sync));
}

/// How long the disk takes to keep a few records.
fn time_of_a_sync(folder: &Path) -> f64 {
    let path = folder.join("sync");
    let open = OpenOptions::new().create(true).append(true).open(&path);
    let mut file = open.unwrap();
    file.write_all(&[b'r'; 4096]).unwrap();
    let start = Instant::now();
    file.sync_data().unwrap();
    start.elapsed().as_secs_f64()
}

/// Only what waits for the disk.
pub fn run_durable(report: &Report) {
    let scene = Scene::new();
    let [ours, ..] = scene.sign_in();
    durable(report, &scene, &ours);
}

/// Long answers and requests, beside plain nginx.
fn by_bytes(
    report: &Report,
    scene: &Scene,
    targets: &[Target; 3],
    case: &str,
    shape: Shape,
    goal: f64,
) {
    let [ours, _, plain] = targets;
    let figures = interleaved(&[ours, plain], ROUNDS, |target| {
        scene.load(target, shape, SECONDS)
    });
    let [mine, peers] = figures.as_slice() else {
        return;
    };
    let cpu = |of: &[Sample]| median(of, |s| s.cpu_seconds_a_gb);
    let row = Row::new("http", case, "server CPU s/GB", cpu(mine));
    let goal = Some(Goal::RatioAtMost(goal));
    report.row(&row.beside(plain.name, cpu(peers)).goal(goal));
}

fn compare(
    report: &Report,
    scene: &Scene,
    targets: &[Target],
    case: &str,
    shape: Shape,
    goals: &[Option<f64>],
) {
    for target in targets {
        let _warm_up = scene.load(target, shape, 1);
    }
    let figures = interleaved(targets, ROUNDS, |target| scene.load(target, shape, SECONDS));
    let cpu = |of: &[Sample]| median(of, |s| s.cpu_us);
    let rate = |of: &[Sample]| median(of, |s| s.per_second);
    let [ours, peers @ ..] = figures.as_slice() else {
        return;
    };
    for ((target, peer), goal) in targets[1..].iter().zip(peers).zip(goals.iter().copied()) {
        let row = Row::new("http", case, "server CPU us/request", cpu(ours));
        let goal = goal.map(Goal::RatioAtMost);
        report.row(&row.beside(target.name, cpu(peer)).goal(goal));
        let row = Row::new("http", case, "requests/s", rate(ours));
        report.row(&row.beside(target.name, rate(peer)));
    }
}
