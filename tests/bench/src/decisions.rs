//! Policy: loading generated rules, decisions under them, and exact answers about them.

pub mod world;

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use arc_swap::ArcSwap;
use nix::time::{ClockId, clock_gettime};
use policy::Policy;

use crate::engines;
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use world::World;

/// Rules of a policy, and the ns a decision under it may take.
const SIZES: [(usize, f64); 4] = [(10, 80.0), (1_000, 90.0), (10_000, 120.0), (100_000, 250.0)];
const LARGEST: usize = 100_000;
/// The word that makes this program load a policy once and say what that took.
pub const LOAD_ONCE: &str = "policy-load";

/// Loading, all sizes in turn, the largest policy, and other engines.
pub fn run(report: &Report) {
    loading(report);
    let worlds: Vec<World> = SIZES.iter().map(|(rules, _)| World::new(*rules)).collect();
    let decide = interleaved(&worlds, ROUNDS, |world| world.time(World::decide));
    let path = interleaved(&worlds, ROUNDS, |world| world.time(World::decide_from_path));
    let whole = interleaved(&worlds, ROUNDS, |world| world.time(World::decide_from_text));
    for (at, (rules, most)) in SIZES.into_iter().enumerate() {
        let case = |what: &str| format!("{what}, {rules} rules");
        let ns = median(&decide[at], |ns| *ns);
        let row = Row::new("policy", case("decide"), "ns", ns);
        report.row(&row.goal(Goal::AtMost(most)));
        let most = (rules == LARGEST).then_some(Goal::AtMost(1000.0));
        let row = Row::new("policy", case("decide, p99"), "ns", p99(&worlds[at]));
        report.row(&row.goal(most));
        let ns = median(&path[at], |ns| *ns);
        report.row(&Row::new("policy", case("path too"), "ns", ns));
        let ns = median(&whole[at], |ns| *ns);
        report.row(&Row::new(
            "policy",
            case("path, host, source too"),
            "ns",
            ns,
        ));
    }
    if let Some(world) = worlds.last() {
        answers(report, &world.policy);
    }
    drop(worlds);
    diffs(report);
    reload(report);
    engines::run(report);
}

/// Nanoseconds this thread has run, so that others on the machine count little.
pub fn cpu_ns() -> u64 {
    let spent = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    spent.tv_sec() as u64 * 1_000_000_000 + spent.tv_nsec() as u64
}

/// Of single decisions by the wall clock, the clock's own cost included.
fn p99(world: &World) -> f64 {
    let mut all = Vec::with_capacity(world.questions.len() * 10);
    for _ in 0..10 {
        for question in &world.questions {
            let begin = Instant::now();
            black_box(world.decide(black_box(question)));
            all.push(begin.elapsed().as_nanos() as f64);
        }
    }
    all.sort_by(f64::total_cmp);
    all[all.len() * 99 / 100]
}

/// Each load in a process of its own, which has nothing in memory that could be used again.
fn loading(report: &Report) {
    for (rules, _) in SIZES {
        let figures = interleaved(&[()], ROUNDS, |()| {
            let own = std::env::current_exe().unwrap();
            let output = Command::new(own)
                .args([LOAD_ONCE, &rules.to_string()])
                .output();
            let text = String::from_utf8(output.unwrap().stdout).unwrap();
            let mut figures = text.split_whitespace().map(|word| word.parse().unwrap());
            [(); 4].map(|()| figures.next().unwrap())
        });
        let case = format!("load, {rules} rules");
        let goal = |most| (rules == LARGEST).then_some(Goal::AtMost(most));
        let ms = median(&figures[0], |[ms, ..]: &[f64; 4]| *ms);
        let row = Row::new("policy", case.clone(), "ms", ms);
        let again = median(&figures[0], |[.., again]| *again);
        report.row(
            &row.beside("again in the same process", again)
                .goal(goal(100.0)),
        );
        let cpu = median(&figures[0], |[_, cpu, ..]| *cpu);
        report.row(&Row::new("policy", case.clone(), "ms of processors", cpu));
        let mib = median(&figures[0], |[_, _, mib, _]| *mib);
        report.row(&Row::new("policy", case, "MiB at most", mib).goal(goal(64.0)));
    }
}

/// Prints the milliseconds of one load by the wall clock, those of all processors together, for a large policy is
/// loaded on several, by how many MiB memory grew at most, and the milliseconds of a second load.
pub fn load_once(rules: usize) {
    let text = world::text(rules, "");
    let before = peak_mib();
    let (begin, spent) = (Instant::now(), process_ms());
    let policy = world::load(&text);
    let ms = begin.elapsed().as_secs_f64() * 1e3;
    let (cpu, mib) = (process_ms() - spent, peak_mib() - before);
    drop(policy);
    // as a reload does: what the allocator has kept is used again
    let begin = Instant::now();
    let policy = world::load(&text);
    let again = begin.elapsed().as_secs_f64() * 1e3;
    println!("{ms} {cpu} {mib} {again}");
    drop(policy);
}

fn process_ms() -> f64 {
    let spent = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap();
    spent.tv_sec() as f64 * 1e3 + spent.tv_nsec() as f64 / 1e6
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.unwrap().parse::<f64>().unwrap() / 1024.0
}

fn answers(report: &Report, policy: &Policy) {
    let case = |what: &str| format!("{what}, {LARGEST} rules");
    let s = timed(&|| policy.who_can("app.a0/admin").unwrap().users.len());
    let row = Row::new("policy", case("who-can"), "s", s);
    report.row(&row.goal(Goal::AtMost(1.0)));
}

/// Exact differences of two versions of the largest policy, for each kind of thing that can change in one place:
/// a rule, a member of a group, a network of a zone that 10,000 rules name, a guard, and an hour of a schedule that
/// 10,000 rules name.
pub fn diffs(report: &Report) {
    let plain = world::text(LARGEST, "");
    let one_rule = world::text(LARGEST, ", from = \"office\"");
    let other = |from: &str, to: &str| {
        assert_eq!(plain.matches(from).count(), 1, "{from}");
        plain.replace(from, to)
    };
    let [early, late] = ["18:00", "19:00"].map(|end| world::with_hours(&plain, end));
    let cases = [
        ("one rule", &plain, one_rule),
        ("a member", &plain, other("\ng0 = [", "\ng0 = [\"u5000\", ")),
        (
            "a network of 10000",
            &plain,
            other("plant = [", "plant = [\"10.40.0.0/16\", "),
        ),
        (
            "a guard on all",
            &plain,
            other(
                "\n[group]\n",
                "\n[deny.away]\nwho = \"@g5\"\nfrom = \"internet\"\nreason = \"r\"\n\n[group]\n",
            ),
        ),
        ("an hour of 10000", &early, late),
    ];
    for (what, before, after) in cases {
        let [before, after] = [before, &after].map(|text| world::load(text));
        let s = timed(&|| policy::diff(&before, &after).changes.len());
        let case = format!("diff of {what}, {LARGEST} rules");
        let row = Row::new("policy", case, "s", s);
        report.row(&row.goal(Goal::AtMost(2.0)));
    }
}

/// Seconds of processor that an answer takes, which is not empty.
fn timed(what: &dyn Fn() -> usize) -> f64 {
    let figures = interleaved(&[()], ROUNDS, |()| {
        let begin = cpu_ns();
        assert!(black_box(what()) > 0);
        (cpu_ns() - begin) as f64 / 1e9
    });
    median(&figures[0], |s| *s)
}

/// The longest any decision took while another thread loaded policies and put them in force.
fn reload(report: &Report) {
    let world = World::new(LARGEST);
    let text = world::text(LARGEST, ", from = \"office\"");
    let current = ArcSwap::from_pointee(world::load(&text));
    let done = AtomicBool::new(false);
    let longest = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                let before = current.swap(Arc::new(world::load(&text)));
                // as the gateway does: no request is ever the last to hold a policy
                while Arc::strong_count(&before) > 1 {
                    thread::yield_now();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut longest = 0.0_f64;
        while !done.load(Ordering::Relaxed) {
            for question in &world.questions {
                let begin = Instant::now();
                let policy = current.load_full();
                black_box(question.ask(&policy));
                drop(policy);
                longest = longest.max(begin.elapsed().as_secs_f64() * 1e3);
            }
        }
        longest
    });
    let row = Row::new(
        "policy",
        format!("longest decision in a reload, {LARGEST} rules"),
        "ms",
        longest,
    );
    report.row(&row.goal(Goal::AtMost(20.0)));
}
