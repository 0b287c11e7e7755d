//! Benchmarks of the real binary and of its cores, side by side with what people use today.
//!
//! Every comparison runs both sides in turn within one run; a figure is the median of its rounds.

mod certificates;
mod cpus;
mod decisions;
mod engines;
mod http;
mod load;
mod memory;
mod nginx;
mod passwords;
mod peers;
mod people;
mod report;
mod rounds;
mod scene;
mod sockets;
mod tls;
mod train;
mod tunnel;
mod usage;

use std::panic::catch_unwind;
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::report::{Report, Style};

/// The product's allocator, so that the cores run here as they run there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Bench = fn(&Report);

const BENCHES: [(&str, Bench); 6] = [
    ("http", http::run),
    ("sockets", sockets::run),
    ("tunnel", tunnel::run),
    ("policy", decisions::run),
    ("certs", certificates::run),
    ("identity", passwords::run),
];

/// Parts of a bench that can be chosen alone.
const PARTS: [(&str, Bench); 12] = [
    ("certs-connections", certificates::requests),
    ("http-before", http::run_before),
    ("http-durable", http::run_durable),
    ("http-traces", http::run_traces),
    ("policy-diff", decisions::diffs),
    ("train", train::run),
    ("tunnel-before", tunnel::run_before),
    ("tunnel-cells", tunnel::run_cells),
    ("tunnel-flows", tunnel::run_flows),
    ("tunnel-lossy", tunnel::run_lossy),
    ("tunnel-storm", tunnel::run_storm),
    ("tunnel-waiting", tunnel::run_waiting),
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some(decisions::LOAD_ONCE) => {
            decisions::load_once(words.next().unwrap().parse().unwrap());
            return ExitCode::SUCCESS;
        }
        Some(certificates::LOAD_ONCE) => {
            certificates::load_once();
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let Some((benches, style)) = read(std::env::args().skip(1)) else {
        eprintln!(
            "usage: tests/bench/run [http|http-before|http-durable|http-traces|sockets|train|tunnel|tunnel-before|tunnel-cells|tunnel-flows|tunnel-lossy|tunnel-storm|tunnel-waiting|policy|\
             policy-diff|certs|certs-connections|identity].. [--json]"
        );
        return ExitCode::from(64);
    };
    prepare();
    let report = Report::new(style);
    let mut failed = false;
    for (name, run) in benches {
        eprintln!("== {name}");
        if catch_unwind(|| run(&report)).is_err() {
            eprintln!("FAILED: {name}");
            failed = true;
        }
    }
    ExitCode::from(u8::from(failed))
}

fn read(words: impl Iterator<Item = String>) -> Option<(Vec<(&'static str, Bench)>, Style)> {
    let (mut chosen, mut style) = (Vec::new(), Style::Table);
    for word in words {
        if word == "--json" {
            style = Style::Json;
        } else {
            let mut known = BENCHES.iter().chain(&PARTS);
            chosen.push(*known.find(|(name, _)| *name == word)?);
        }
    }
    if chosen.is_empty() {
        chosen.extend(BENCHES);
    }
    Some((chosen, style))
}

/// Lets this process and its children open as many files as the system allows, and names the
/// crypto provider of the product.
fn prepare() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .unwrap();
}
