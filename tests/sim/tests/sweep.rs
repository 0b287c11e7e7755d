//! Sweeps seeds. `SIM_SEED=n` runs one, `SIM_SEEDS=n` that many from 0.

use std::panic::{AssertUnwindSafe, catch_unwind};

fn count() -> u64 {
    std::env::var("SIM_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(if std::env::var_os("POSTERN_LONG").is_some() {
            4096
        } else {
            256
        })
}

/// Runs every second seed, so that two tests share the work.
fn sweep(seeds: impl Iterator<Item = u64>) {
    let mut total = postern_sim::Summary::default();
    for seed in seeds {
        let run = AssertUnwindSafe(|| postern_sim::run(seed));
        match catch_unwind(run) {
            Ok(summary) => total += summary,
            Err(cause) => {
                eprintln!("the failing seed: SIM_SEED={seed}");
                std::panic::resume_unwind(cause);
            }
        }
    }
    eprintln!("{total:?}");
    total.must_not_be_empty();
}

#[test]
fn every_even_world_holds() {
    match std::env::var("SIM_SEED") {
        Ok(seed) => {
            postern_sim::run(seed.parse().unwrap());
        }
        Err(_) => sweep((0..count()).filter(|seed| seed % 2 == 0)),
    }
}

#[test]
fn every_odd_world_holds() {
    if std::env::var("SIM_SEED").is_err() {
        sweep((0..count()).filter(|seed| seed % 2 == 1));
    }
}
