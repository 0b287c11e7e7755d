//! What processes have used, from proc(5).

use std::fs;
use std::path::Path;

/// Ticks a second in proc(5); the kernel's USER_HZ is 100 on every architecture Debian has.
const TICKS: f64 = 100.0;
const MIB: f64 = 1024.0;

/// Returns user and system seconds of a process and its descendants, all threads summed.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    family(pid).into_iter().map(ticks).sum::<f64>() / TICKS
}

/// Returns the resident MiB of a process.
#[must_use]
pub fn resident_mib(pid: u32) -> f64 {
    kib(&format!("/proc/{pid}/status"), "VmRSS:") / MIB
}

/// Returns how many descriptors a process has.
#[must_use]
pub fn descriptors(pid: u32) -> f64 {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as f64
}

/// Returns the MiB of a process and its descendants with every shared page counted once.
#[must_use]
pub fn proportional_mib(pid: u32) -> f64 {
    let pss = |pid: u32| kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:");
    family(pid).into_iter().map(pss).sum::<f64>() / MIB
}

/// Finds the one process whose command line ends with `words`.
#[must_use]
pub fn find(words: &[&str]) -> u32 {
    let wanted = format!("{}\0", words.join("\0"));
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut found = entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        line.ends_with(&wanted).then_some(pid)
    });
    found
        .next()
        .unwrap_or_else(|| panic!("no process {words:?}"))
}

fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(&pid) = all.get(at) {
        at += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            all.extend(children(&task.path()));
        }
    }
    all
}

fn children(task: &Path) -> Vec<u32> {
    let text = fs::read_to_string(task.join("children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Fields 14 and 15 of proc_pid_stat(5); the name in parentheses may hold anything.
fn ticks(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum()
}

fn kib(file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{file}: {e}"));
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("{file} has no {name}"));
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[cfg(test)]
mod tests {
    use super::{cpu_seconds, proportional_mib, resident_mib};

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        let before = cpu_seconds(pid);
        let mut sum = 0_u64;
        while cpu_seconds(pid) < before + 0.05 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(resident_mib(pid) > 1.0);
        assert!(proportional_mib(pid) > 0.0);
    }
}
