//! Many people: the page beside passwords that are refused, the weight of sessions, a long folder.

use postern_tests::gateway::Gateway;
use postern_tests::scale;

use crate::report::{Goal, Report, Row};
use crate::rounds::median;

const ROUNDS: usize = 3;
const PAGES: usize = 1000;
const SIGN_INS: u32 = 50;
const SESSIONS: u32 = 10_000;
const FEW: u32 = 100;
const MANY: u32 = 100_000;

pub fn run(report: &Report) {
    beside(report);
    let weights: Vec<f64> = (0..ROUNDS)
        .map(|_| scale::weight_of_sessions(SESSIONS))
        .collect();
    let weight = median(&weights, |w| *w);
    let row = Row::new("identity", "10000 sessions", "MiB", weight);
    report.row(&row.goal(Goal::AtMost(32.0)));
    crowds(report);
}

fn beside(report: &Report) {
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| scale::page_beside_sign_ins(&Gateway::demo(), PAGES, SIGN_INS))
        .collect();
    let case = |what: &str| format!("page beside {SIGN_INS} refused sign-ins/s, {what}");
    let p99 = Row::new("identity", case("p99"), "ms", median(&rounds, |r| r.p99));
    report.row(&p99.goal(Goal::AtMost(20.0)));
    let middle = median(&rounds, |r| r.median);
    report.row(&Row::new("identity", case("median"), "ms", middle));
    let places = std::thread::available_parallelism().map_or(2, usize::from);
    let cap = f64::from(u32::try_from(places.max(2)).unwrap()) * 64.0;
    let grown = median(&rounds, |r| r.grown);
    let row = Row::new("identity", case("memory of hashing"), "MiB", grown);
    report.row(&row.goal(Goal::AtMost(cap)));
}

fn crowds(report: &Report) {
    let mut few = Vec::new();
    let mut many = Vec::new();
    for _ in 0..ROUNDS {
        few.push(scale::crowd(FEW));
        many.push(scale::crowd(MANY));
    }
    let start = median(&many, |c| c.start);
    let row = Row::new("identity", "start with 100000 people", "s", start);
    report.row(&row.goal(Goal::AtMost(3.0)));
    let start = median(&many, |c| c.start_cpu);
    let case = "start with 100000 people";
    report.row(&Row::new("identity", case, "server CPU s", start));
    for (people, rounds) in [(FEW, &few), (MANY, &many)] {
        let case = format!("sign-in refused, {people} people, 19 MiB");
        let refused = median(rounds, |c| c.refused_cpu);
        report.row(&Row::new("identity", case, "server CPU ms", refused));
    }
}
