//! Two builds of the gateway in turn: what a change did to throughput, CPU and shares.

use std::path::Path;

use super::side::{End, Laptop, Side, Transfer};
use super::{Direction, SECONDS, compare, shares};
use crate::report::Report;

const NAME: &str = "before";

pub(super) fn run(report: &Report) {
    let before = std::env::var_os("POSTERN_BEFORE").expect("POSTERN_BEFORE names no binary");
    let sides = [
        Side::postern(false),
        Side::postern_of(Path::new(&before), false),
    ];
    for direction in [Direction::Up, Direction::Down] {
        for streams in [1, 4, 50] {
            let transfer = Transfer {
                laptop: Laptop::First,
                end: End::Office,
                direction,
                streams,
                seconds: SECONDS,
            };
            compare(report, &sides, NAME, ("forward", transfer), None);
        }
    }
    super::waiting::run_beside(report, &sides, NAME);
    shares::run(report, &sides, NAME);
}
