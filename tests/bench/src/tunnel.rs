//! The tunnel: iperf3 from a laptop to an office host, through the gateway and through a
//! wireguard-go server whose kernel forwards. Both are reached with the same wireguard-go client.

mod lossy;
mod side;
mod waiting;

use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use side::{Sample, Side};

const SECONDS: u32 = 4;

#[derive(Clone, Copy, Debug)]
enum Direction {
    Up,
    Down,
}

/// Up and down, one stream and four; then bad weather, and a second laptop that waits.
pub fn run(report: &Report) {
    let sides = [Side::postern(false), Side::wireguard_go(false)];
    for direction in [Direction::Up, Direction::Down] {
        for streams in [1, 4] {
            compare(report, &sides, direction, streams);
        }
    }
    waiting::run(report, &sides);
    drop(sides);
    lossy::run(report);
}

/// The rows of bad weather alone.
pub fn run_lossy(report: &Report) {
    lossy::run(report);
}

/// The rows of the second laptop alone.
pub fn run_waiting(report: &Report) {
    waiting::run(report, &[Side::postern(false), Side::wireguard_go(false)]);
}

fn compare(report: &Report, sides: &[Side; 2], direction: Direction, streams: u32) {
    for side in sides {
        let _warm_up = side.transfer(direction, streams, 1);
    }
    let figures = interleaved(sides, ROUNDS, |side| {
        side.transfer(direction, streams, SECONDS)
    });
    let [ours, peer] = figures.as_slice() else {
        return;
    };
    let way = match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    };
    let case = format!(
        "{way}, {streams} stream{}",
        if streams == 1 { "" } else { "s" }
    );
    let cpu = |of: &[Sample]| median(of, |s| s.cpu_seconds_per_gb);
    let row = Row::new("tunnel", case.clone(), "server CPU s/GB", cpu(ours));
    let row = row.beside("wireguard-go", cpu(peer));
    report.row(&row.goal(Goal::RatioAtMost(0.5)));
    let rate = |of: &[Sample]| median(of, |s| s.mbit_per_second);
    let row = Row::new("tunnel", case, "Mbit/s", rate(ours));
    report.row(&row.beside("wireguard-go", rate(peer)));
}
