//! Jitter from a seed: the plan draws no randomness of its own.

/// A small generator for jitter; nothing secret is drawn from it.
///
/// Source: `SplitMix64`, Steele, Lea and Flood 2014.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws from `low` to `high`, both included; `low` where there is no room.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let room = high.saturating_sub(low);
        let Ok(room) = u64::try_from(room) else {
            return low;
        };
        let drawn = self.next() % room.saturating_add(1);
        low.saturating_add(i64::try_from(drawn).unwrap_or(0))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn what_is_drawn_lies_between_its_ends_and_differs() {
        let mut dice = Dice::new(7);
        let drawn: Vec<_> = (0..100).map(|_| dice.between(10, 20)).collect();
        assert!(drawn.iter().all(|n| (10..=20).contains(n)));
        assert!(drawn.contains(&10) && drawn.contains(&20));
        assert_eq!(dice.between(5, 5), 5);
        assert_eq!(dice.between(5, 4), 5);
    }
}
