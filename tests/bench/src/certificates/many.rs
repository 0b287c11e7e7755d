//! Ten thousand certificates: reading and checking them, and choosing one by its name.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use certs::{Chain, Root, Selection};
use serde_json::{Value, json};

use crate::decisions::cpu_ns;
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use crate::usage;

/// The word by which this program is called for one load in a process of its own.
pub const LOAD_ONCE: &str = "--load-certificates";

const NAMES: usize = 10_000;

/// Loads in processes of their own; each prints its figures.
pub fn run(report: &Report) {
    let own = std::env::current_exe().unwrap();
    let figures = interleaved(&[()], ROUNDS, |()| {
        let output = Command::new(&own).arg(LOAD_ONCE).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    });
    let figure = |name: &str| median(&figures[0], |v| v[name].as_f64().unwrap());
    let row = |case: &str, unit, name, goal: Option<Goal>| {
        let case = format!("{case} {NAMES} certificates");
        report.row(&Row::new("certs", case, unit, figure(name)).goal(goal));
    };
    row("make", "us each", "make_us", None);
    row("load", "ms", "load_ms", Some(Goal::AtMost(300.0)));
    row("load", "MiB", "load_mib", Some(Goal::AtMost(64.0)));
    row("choose among", "ns", "choose_ns", Some(Goal::AtMost(200.0)));
}

/// Makes the files of ten thousand hosts, reads them as the gateway does, and prints the figures.
pub fn load_once() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let root = Root::create("bench root", now).unwrap();
    let issuer = root.intermediate("bench intermediate", now).unwrap();
    let names: Vec<String> = (0..NAMES)
        .map(|n| format!("app{n}.office.example"))
        .collect();
    let begin = spent();
    let leaves: Vec<_> = names
        .iter()
        .map(|name| issuer.issue(&[name], now, certs::DAY).unwrap())
        .collect();
    let make_us = (spent() - begin) * 1e6 / f64_of(NAMES);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let nameless = certs::nameless(now, certs::DAY).unwrap();
    let (chain, key) = (nameless.chain_pem, nameless.key_pem);
    let nameless = Chain::parse_nameless(chain.as_bytes(), key.as_bytes(), &provider);
    let mut selection = Selection::new(nameless.unwrap());

    let before = usage::resident_mib(std::process::id());
    let begin = spent();
    for leaf in &leaves {
        let (chain, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
        let chain = Chain::parse(chain, key, now, &provider);
        selection.add(&Arc::new(chain.unwrap()));
    }
    let load_ms = (spent() - begin) * 1e3;
    let load_mib = usage::resident_mib(std::process::id()) - before;
    let figures = json!({
        "make_us": make_us,
        "load_ms": load_ms,
        "load_mib": load_mib,
        "choose_ns": look_up(&selection, &names),
    });
    println!("{figures}");
}

fn look_up(selection: &Selection, names: &[String]) -> f64 {
    let (begin, mut count) = (spent(), 0);
    while spent() - begin < 0.5 {
        for name in names {
            black_box(selection.serve(Some(black_box(name))));
        }
        count += names.len();
    }
    (spent() - begin) * 1e9 / f64_of(count)
}

/// Seconds that this thread has run: other work on the machine counts little.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53 nanoseconds")]
fn spent() -> f64 {
    cpu_ns() as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "a small count")]
fn f64_of(count: usize) -> f64 {
    count as f64
}
