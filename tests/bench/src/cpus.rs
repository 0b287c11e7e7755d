//! One core for the server, the others for the load.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// Returns the words that start a server on the first core this process may use.
#[must_use]
pub fn server() -> Vec<String> {
    pinned(&allowed()[..1])
}

/// Returns the words that start a load generator or an upstream on the other cores; on a machine
/// with one core they share it.
#[must_use]
pub fn load() -> Vec<String> {
    let all = allowed();
    pinned(if all.len() > 1 { &all[1..] } else { &all })
}

/// Returns the cores of the load, for threads of this process.
#[must_use]
pub fn load_set() -> CpuSet {
    let all = allowed();
    let mut set = CpuSet::new();
    let cores = if all.len() > 1 { &all[1..] } else { &all[..] };
    cores.iter().for_each(|cpu| set.set(*cpu).unwrap());
    set
}

/// Returns how many cores the load has.
#[must_use]
pub fn load_count() -> usize {
    (allowed().len() - 1).max(1)
}

fn pinned(cpus: &[usize]) -> Vec<String> {
    let list: Vec<String> = cpus.iter().map(usize::to_string).collect();
    vec!["taskset".to_owned(), "-c".to_owned(), list.join(",")]
}

fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .collect()
}
