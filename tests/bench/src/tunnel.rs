//! The tunnel: iperf3 from a laptop to the server's own host and to an office host, through the
//! gateway and through a wireguard-go server with the gateway's socket buffers, whose kernel
//! forwards. Both are reached with the same wireguard-go client.

mod before;
mod flows;
mod lossy;
mod shares;
mod side;
mod storm;
mod waiting;

use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use side::{End, Laptop, Sample, Side, Transfer};

const SECONDS: u32 = 4;

#[derive(Clone, Copy, Debug)]
enum Direction {
    Up,
    Down,
}

/// Up and down, one stream and four, to the edge and to the office; then bad weather, a second
/// laptop that waits and one that wants its share.
pub fn run(report: &Report) {
    let sides = both();
    cells(report, &sides);
    waiting::run(report, &sides);
    shares::run(report, &sides, "wireguard-go");
    drop(sides);
    lossy::run(report);
    flows::run(report);
    storm::run(report);
}

/// The rows of throughput and CPU alone.
pub fn run_cells(report: &Report) {
    cells(report, &both());
}

/// The rows of bad weather alone.
pub fn run_lossy(report: &Report) {
    lossy::run(report);
}

/// The rows of many flows alone.
pub fn run_flows(report: &Report) {
    flows::run(report);
}

/// The rows of a restart alone.
pub fn run_storm(report: &Report) {
    storm::run(report);
}

/// The rows of the second laptop alone.
pub fn run_waiting(report: &Report) {
    let sides = both();
    waiting::run(report, &sides);
    shares::run(report, &sides, "wireguard-go");
}

/// The build under test beside the one that `POSTERN_BEFORE` names.
pub fn run_before(report: &Report) {
    before::run(report);
}

/// Streams of all cells through the gateway alone, without figures.
pub fn train() {
    let side = Side::postern(false);
    for (_, _, transfer) in transfers() {
        let _figures = side.transfer(transfer);
    }
}

fn both() -> [Side; 2] {
    [Side::postern(false), Side::wireguard_go(false)]
}

/// What is transferred in the cells: where to, by its name in the rows, with the goal for the CPU there.
fn transfers() -> impl Iterator<Item = (&'static str, f64, Transfer)> {
    let ends = [(End::Edge, "ends", 0.33), (End::Office, "forward", 0.45)];
    ends.into_iter().flat_map(|(end, name, goal)| {
        [Direction::Up, Direction::Down]
            .into_iter()
            .flat_map(move |direction| {
                [1, 4].map(|streams| {
                    let transfer = Transfer {
                        laptop: Laptop::First,
                        end,
                        direction,
                        streams,
                        seconds: SECONDS,
                    };
                    (name, goal, transfer)
                })
            })
    })
}

fn cells(report: &Report, sides: &[Side; 2]) {
    for (name, goal, transfer) in transfers() {
        compare(report, sides, "wireguard-go", (name, transfer), Some(goal));
    }
}

/// Three rows of one cell; with a goal for the CPU comes one for the throughput.
fn compare(
    report: &Report,
    sides: &[Side; 2],
    peer_name: &'static str,
    (name, transfer): (&str, Transfer),
    cpu_goal: Option<f64>,
) {
    for side in sides {
        let _warm_up = side.transfer(Transfer {
            seconds: 1,
            ..transfer
        });
    }
    let figures = interleaved(sides, ROUNDS, |side| side.transfer(transfer));
    let [ours, peer] = figures.as_slice() else {
        return;
    };
    let way = match transfer.direction {
        Direction::Up => "up",
        Direction::Down => "down",
    };
    let streams = transfer.streams;
    let plural = if streams == 1 { "" } else { "s" };
    let row = |unit, figure: fn(&Sample) -> f64, goal| {
        let case = format!("{name}, {way}, {streams} stream{plural}");
        let row = Row::new("tunnel", case, unit, median(ours, figure));
        report.row(&row.beside(peer_name, median(peer, figure)).goal(goal));
    };
    let cpu = cpu_goal.map(Goal::RatioAtMost);
    row("server CPU s/GB", |s| s.cpu_seconds_per_gb, cpu);
    let rate = cpu_goal.map(|_| Goal::RatioAtLeast(1.3));
    row("Mbit/s", |s| s.mbit_per_second, rate);
    row("Mbit/s per core", Sample::mbit_per_core, None);
    if let Direction::Down = transfer.direction {
        row("% lost at the laptop", |s| s.lost_percent, None);
    }
}
