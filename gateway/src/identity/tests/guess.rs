//! How well a threshold tells two samples of times apart.

/// How often a run of this test may fail although no time tells anything.
const FALSE_ALARM: f64 = 0.001;

/// Share of right guesses between two equally many samples, by the threshold that guesses best:
/// half of one plus the greatest distance of both distributions (Kolmogorov and Smirnov).
pub(crate) fn best_guess(one: &[u64], other: &[u64]) -> f64 {
    assert_eq!(one.len(), other.len());
    let mut all: Vec<(u64, bool)> = one.iter().map(|t| (*t, true)).collect();
    all.extend(other.iter().map(|t| (*t, false)));
    all.sort_unstable();
    let (mut ahead, mut most) = (0_i64, 0_i64);
    for (at, (time, is_one)) in all.iter().enumerate() {
        ahead += if *is_one { 1 } else { -1 };
        if all.get(at + 1).is_none_or(|(next, _)| next != time) {
            most = most.max(ahead.abs());
        }
    }
    0.5 + most as f64 / one.len() as f64 / 2.0
}

/// What [`best_guess`] exceeds with less than [`FALSE_ALARM`] in one of `pairs` although both
/// samples are of one distribution: P(D > d) <= 2 exp(-n d^2) for n values each.
pub(crate) fn by_chance(n: usize, pairs: usize) -> f64 {
    let d = ((2.0 * pairs as f64 / FALSE_ALARM).ln() / n as f64).sqrt();
    0.5 + d / 2.0
}

#[cfg(test)]
mod tests {
    use super::{best_guess, by_chance};

    #[test]
    fn the_best_threshold_finds_what_differs_and_nothing_else() {
        let even: Vec<u64> = (0..1000).map(|n| n * 2).collect();
        let odd: Vec<u64> = (0..1000).map(|n| n * 2 + 1).collect();
        assert!(best_guess(&even, &odd) < 0.501);
        assert!((best_guess(&even, &even) - 0.5).abs() < f64::EPSILON);
        let later: Vec<u64> = even.iter().map(|t| t + 600).collect();
        let guess = best_guess(&even, &later);
        assert!((guess - 0.65).abs() < 0.001, "{guess}");
        assert!(guess > by_chance(500, 5) && by_chance(500, 5) > 0.56);
        let far: Vec<u64> = even.iter().map(|t| t + 5000).collect();
        assert!((best_guess(&far, &even) - 1.0).abs() < f64::EPSILON);
    }
}
