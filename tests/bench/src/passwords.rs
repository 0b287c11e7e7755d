//! Passwords: argon2id with the product's settings (64 MiB, three passes, one lane).

use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

use crate::people;
use crate::report::{Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};

const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const SPAN: Duration = Duration::from_secs(3);
/// The product hashes an HMAC of the password, which has this length.
const PASSWORD: [u8; 32] = [7; 32];

/// Verifications on one thread and on all.
pub fn run(report: &Report) {
    let made = hasher()
        .hash_password_with_salt(&PASSWORD, b"sixteen bytes of")
        .unwrap();
    let phc = made.to_string();
    let all = available_parallelism().map_or(1, usize::from);
    let figures = interleaved(&[1, all], ROUNDS, |threads| rate(&phc, *threads));
    let [one, many] = figures.as_slice() else {
        return;
    };
    let one = median(one, |rate| *rate);
    report.row(&Row::new(
        "identity",
        "argon2id, 1 thread",
        "verifications/s",
        one,
    ));
    report.row(&Row::new("identity", "argon2id, 1 thread", "ms", 1e3 / one));
    let case = format!("argon2id, {all} threads");
    let many = median(many, |rate| *rate);
    report.row(&Row::new("identity", case, "verifications/s", many));
    people::run(report);
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).unwrap();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Verifications a second over `threads` threads; each counts its own whole runs and their time.
fn rate(phc: &str, threads: usize) -> f64 {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(phc))).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    })
}

fn work(phc: &str) -> f64 {
    let hash = PasswordHash::new(phc).unwrap();
    let (begin, mut count) = (Instant::now(), 0_u32);
    while begin.elapsed() < SPAN {
        hasher().verify_password(&PASSWORD, &hash).unwrap();
        count += 1;
    }
    f64::from(count) / begin.elapsed().as_secs_f64()
}
