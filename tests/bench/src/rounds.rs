//! Turns and medians.

/// Rounds of every comparison.
pub const ROUNDS: usize = 3;

/// Measures each target in turn, A B A B, and returns the figures of each in order.
pub fn interleaved<T, S>(
    targets: &[T],
    rounds: usize,
    mut measure: impl FnMut(&T) -> S,
) -> Vec<Vec<S>> {
    let mut figures: Vec<Vec<S>> = targets.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (target, figures) in targets.iter().zip(&mut figures) {
            figures.push(measure(target));
        }
    }
    figures
}

/// Returns the median of one figure over samples; of an even number the mean of the middle two.
pub fn median<S>(samples: &[S], figure: impl Fn(&S) -> f64) -> f64 {
    let mut figures: Vec<f64> = samples.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 {
        figures[middle]
    } else {
        f64::midpoint(figures[middle - 1], figures[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::{interleaved, median};

    #[test]
    fn targets_take_turns() {
        let mut order = Vec::new();
        let figures = interleaved(&['a', 'b'], 2, |target| {
            order.push(*target);
            order.len()
        });
        assert_eq!(order, ['a', 'b', 'a', 'b']);
        assert_eq!(figures, [[1, 3], [2, 4]]);
    }

    #[test]
    fn one_odd_round_does_not_move_the_median() {
        assert_eq!(median(&[3.0, 1.0, 900.0], |x| *x), 3.0);
        assert_eq!(median(&[3.0, 1.0, 900.0, 5.0], |x| *x), 4.0);
    }
}
