//! What a laptop with one download gets beside another laptop with fifty.

use std::thread;
use std::time::Duration;

use super::side::{End, Laptop, Side, Transfer};
use super::{Direction, SECONDS};
use crate::report::{Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};

const MANY: u32 = 50;
/// By which the many begin before the one and end after it.
const MARGIN: u32 = 1;

#[derive(Clone, Copy, Debug)]
struct Sample {
    one: f64,
    many: f64,
}

pub(super) fn run(report: &Report, sides: &[Side; 2], peer_name: &'static str) {
    let figures = interleaved(sides, ROUNDS, measure);
    let [ours, peer] = figures.as_slice() else {
        return;
    };
    let row = |case, unit, figure: fn(&Sample) -> f64| {
        let row = Row::new("tunnel", case, unit, median(ours, figure));
        report.row(&row.beside(peer_name, median(peer, figure)));
    };
    row("one download beside 50", "Mbit/s", |s| s.one);
    row("50 downloads beside one", "Mbit/s", |s| s.many);
    row("share of the one", "%", |s| {
        s.one / (s.one + s.many) * 100.0
    });
}

fn measure(side: &Side) -> Sample {
    let transfer = Transfer {
        laptop: Laptop::First,
        end: End::Office,
        direction: Direction::Down,
        streams: MANY,
        seconds: SECONDS + 2 * MARGIN,
    };
    thread::scope(|scope| {
        let many = scope.spawn(|| side.transfer(transfer));
        thread::sleep(Duration::from_secs(u64::from(MARGIN)));
        let one = side.transfer(Transfer {
            laptop: Laptop::Second,
            streams: 1,
            seconds: SECONDS,
            ..transfer
        });
        Sample {
            one: one.mbit_per_second,
            many: many.join().unwrap().mbit_per_second,
        }
    })
}
