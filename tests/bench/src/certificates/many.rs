//! Ten thousand certificates: reading and checking them, and choosing one by its name.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use certs::{Chain, Checked, Leaf, Root, Selection};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};

use crate::decisions::cpu_ns;
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use crate::usage;

/// The word by which this program is called for one load in a process of its own.
pub const LOAD_ONCE: &str = "--load-certificates";

const NAMES: usize = 10_000;
/// Under which the checks are recorded.
const KEY: [u8; 32] = [7; 32];

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
    let load = Row::new(
        "certs",
        format!("load {NAMES} certificates"),
        "ms",
        figure("load_ms"),
    );
    let load = load.beside("never checked", figure("first_ms"));
    report.row(&load.goal(Goal::AtMost(300.0)));
    row("load", "MiB", "load_mib", Some(Goal::AtMost(64.0)));
    row(
        "make the key of the first handshake, of",
        "us each",
        "key_us",
        None,
    );
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
    let nameless = Chain::parse_nameless(chain.as_bytes(), key.as_bytes(), &provider).unwrap();

    let load = |checked: &Checked| load(checked, &leaves, &nameless, now);
    // resident before the record is: what the allocator keeps of the first load would hide the second
    let before = usage::resident_mib(std::process::id());
    let mut checked = Checked::new(&KEY);
    let (_, chains, first_ms) = load(&checked);
    let load_mib = usage::resident_mib(std::process::id()) - before;
    checked.keep(&chains);
    drop(chains);
    let record = checked.bytes();

    let begin = spent();
    let mut checked = Checked::new(&KEY);
    checked.read(&record);
    let read_ms = (spent() - begin) * 1e3;
    let (selection, chains, load_ms) = load(&checked);
    assert!(chains.iter().all(|chain| !chain.has_key_ready()));
    // a key is made once, by the first handshake that needs it; a choice is what each handshake makes
    let begin = spent();
    for name in &names {
        assert!(selection.serve(Some(name)).is_ok());
    }
    let key_us = (spent() - begin) * 1e6 / f64_of(NAMES);
    let figures = json!({
        "make_us": make_us,
        "first_ms": first_ms,
        "load_ms": read_ms + load_ms,
        "load_mib": load_mib,
        "key_us": key_us,
        "choose_ns": look_up(&selection, &names),
    });
    println!("{figures}");
}

/// Reads them as the gateway does, with the record of its checks; in milliseconds.
fn load(
    checked: &Checked,
    leaves: &[Leaf],
    nameless: &Arc<CertifiedKey>,
    now: i64,
) -> (Selection, Vec<Arc<Chain>>, f64) {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let begin = spent();
    let mut selection = Selection::new(Arc::clone(nameless));
    let mut chains = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        let (chain, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
        let chain = Arc::new(checked.parse(chain, key, now, &provider).unwrap());
        selection.add(&chain);
        chains.push(chain);
    }
    (selection, chains, (spent() - begin) * 1e3)
}

fn look_up(selection: &Selection, names: &[String]) -> f64 {
    let (begin, mut count) = (spent(), 0);
    while spent() - begin < 0.5 {
        for name in names {
            drop(black_box(selection.serve(Some(black_box(name)))));
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
