//! How well a threshold tells two samples of times apart; the same judge as in the program's own
//! tests.

#[path = "../../gateway/src/identity/tests/guess.rs"]
mod judge;

/// Share of right guesses between two equally many samples, by the threshold that guesses best.
#[must_use]
pub fn best_guess(one: &[u64], other: &[u64]) -> f64 {
    judge::best_guess(one, other)
}

/// What [`best_guess`] exceeds in one of `pairs` only by a chance of one in a thousand, of `n`
/// values each.
#[must_use]
pub fn by_chance(n: usize, pairs: usize) -> f64 {
    judge::by_chance(n, pairs)
}
