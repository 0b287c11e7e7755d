//! Downloads over a long way that loses datagrams: what our end of TCP makes of it, beside the
//! office host's own kernel over wireguard-go, both by the same congestion control.

use std::time::Duration;

use postern_tests::relay::Weather;

use super::Direction;
use super::side::{Side, Transfer};
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};

const SECONDS: u32 = 5;
/// One way, so that the way there and back takes 20 ms.
const DELAY: Duration = Duration::from_millis(10);
/// Datagrams lost of a thousand, each way.
const LOST: [u32; 3] = [0, 1, 10];

pub(super) fn run(report: &Report) {
    let sides = [Side::postern(true), Side::wireguard_go(true)];
    for lost in LOST {
        let weather = Weather {
            delay: DELAY,
            lost,
            ..Weather::default()
        };
        for side in &sides {
            side.relay.as_ref().unwrap().set(weather);
            let _warm_up = download(side, 2);
        }
        let rates = interleaved(&sides, ROUNDS, |side| download(side, SECONDS));
        let rate = |of: &[f64]| median(of, |rate| *rate);
        let [ours, peer] = rates.as_slice() else {
            return;
        };
        let case = format!("down, 20 ms, {} % lost", f64::from(lost) / 10.0);
        let row = Row::new("tunnel", case, "Mbit/s", rate(ours));
        let row = row.beside("wireguard-go, bbr", rate(peer));
        report.row(&row.goal(Goal::RatioAtLeast(0.9)));
    }
}

fn download(side: &Side, seconds: u32) -> f64 {
    // the first second, in which the sender feels its way, does not count
    let also = ["-C", "bbr", "-O", "1"];
    let sample = side.transfer_with(Transfer::office(Direction::Down, 1, seconds), &also);
    sample.mbit_per_second
}
