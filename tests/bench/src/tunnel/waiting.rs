//! How long a second laptop waits for an answer while the first one downloads: at full speed,
//! where the clients of the same machine are in each other's way, and at a speed that leaves room.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Direction;
use super::side::{Side, Transfer};
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};

const SECONDS: u32 = 4;
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(2);

/// What the first laptop takes where it leaves room.
const LIMIT: &str = "100M";

#[derive(Clone, Copy, Debug)]
struct Sample {
    calm_ms: f64,
    limited_ms: f64,
    loaded_ms: f64,
}

pub(super) fn run(report: &Report, sides: &[Side; 2]) {
    run_beside(report, sides, "wireguard-go");
}

pub(super) fn run_beside(report: &Report, sides: &[Side; 2], peer_name: &'static str) {
    let figures = interleaved(sides, ROUNDS, measure);
    let [ours, peer] = figures.as_slice() else {
        return;
    };
    let row = |case, figure: fn(&Sample) -> f64| {
        let row = Row::new("tunnel", case, "p99 ms", median(ours, figure));
        row.beside(peer_name, median(peer, figure))
    };
    report.row(&row("a second laptop waits", |s| s.calm_ms));
    report.row(&row("beside 100 Mbit/s", |s| s.limited_ms));
    report.row(&row("beside a full download", |s| s.loaded_ms));
    let added = row("added by 100 Mbit/s", |s| s.limited_ms - s.calm_ms);
    report.row(&added.goal(Goal::AtMost(2.0)));
    let added = row("added by a full download", |s| s.loaded_ms - s.calm_ms);
    report.row(&added.goal(Goal::AtMost(2.0)));
}

fn measure(side: &Side) -> Sample {
    let download = |also: &[&str]| {
        let _sample = side.transfer_with(Transfer::office(Direction::Down, 1, SECONDS), also);
    };
    Sample {
        calm_ms: waits(side, || thread::sleep(Duration::from_secs(2))),
        limited_ms: waits(side, || download(&["-b", LIMIT])),
        loaded_ms: waits(side, || download(&[])),
    }
}

/// The p99 of the times to an answer, in milliseconds, while `work` runs.
fn waits(side: &Side, work: impl FnOnce()) -> f64 {
    let stop = AtomicBool::new(false);
    let mut times = thread::scope(|scope| {
        let asking = scope.spawn(|| ask_until(side, &stop));
        work();
        stop.store(true, Ordering::SeqCst);
        asking.join().unwrap()
    });
    times.sort();
    let at = times.len() * 99 / 100;
    times[at.min(times.len() - 1)].as_secs_f64() * 1000.0
}

fn ask_until(side: &Side, stop: &AtomicBool) -> Vec<Duration> {
    let mut stream = side.second_to_echo();
    let mut times = Vec::new();
    let mut answer = [0; 64];
    while !stop.load(Ordering::SeqCst) {
        let start = Instant::now();
        stream.write_all(&[7; 64]).unwrap();
        stream.read_exact(&mut answer).unwrap();
        times.push(start.elapsed());
        thread::sleep(PAUSE);
    }
    times
}
