//! Certificates: new connections with a full handshake, and the choice of a chain by name.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use certs::{Ca, Chain, Root, Selection};

use crate::load::Shape;
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use crate::scene::Scene;

const SECONDS: u32 = 4;
const NAMES: usize = 1000;

/// Cores first, then the web door.
pub fn run(report: &Report) {
    cores(report);
    handshakes(report);
}

/// ECDSA P-256 on both sides, chains of the same length, no resumption.
fn handshakes(report: &Report) {
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

fn cores(report: &Report) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let root = Root::create("bench root", now).unwrap();
    let issuer = root.intermediate("bench intermediate", now).unwrap();
    let names: Vec<String> = (0..NAMES)
        .map(|n| format!("app{n}.office.example"))
        .collect();

    let begin = Instant::now();
    let selection = fill(&issuer, &names, now);
    let each = begin.elapsed().as_secs_f64() * 1e6 / f64_of(NAMES);
    report.row(&Row::new("certs", "issue and read a leaf", "us", each));

    let figures = interleaved(&[()], ROUNDS, |()| look_up(&selection, &names));
    let case = format!("choose among {NAMES} names");
    report.row(&Row::new(
        "certs",
        case,
        "ns",
        median(&figures[0], |ns| *ns),
    ));
}

fn fill(issuer: &Ca, names: &[String], now: i64) -> Selection {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let nameless = certs::nameless(now, certs::DAY).unwrap();
    let (chain, key) = (nameless.chain_pem, nameless.key_pem);
    let nameless = Chain::parse_nameless(chain.as_bytes(), key.as_bytes(), &provider);
    let mut selection = Selection::new(nameless.unwrap());
    for name in names {
        let leaf = issuer.issue(&[name], now, certs::DAY).unwrap();
        let (chain, key) = (leaf.chain_pem, leaf.key_pem);
        let chain = Chain::parse(chain.as_bytes(), key.as_bytes(), now, &provider);
        selection.add(&Arc::new(chain.unwrap()));
    }
    selection
}

fn look_up(selection: &Selection, names: &[String]) -> f64 {
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_millis(200) {
        for name in names {
            black_box(selection.serve(Some(black_box(name))));
        }
        count += names.len();
    }
    begin.elapsed().as_secs_f64() * 1e9 / f64_of(count)
}

#[expect(clippy::cast_precision_loss, reason = "a small count")]
fn f64_of(count: usize) -> f64 {
    count as f64
}
