//! Deficit round robin: what waits behind each of many keys goes out in turn, so that in bytes
//! none gets more than another that waits too.
//!
//! Source: [Shreedhar and Varghese, Efficient Fair Queueing Using Deficit Round Robin, 1995](https://doi.org/10.1145/217391.217453).

use std::collections::VecDeque;

/// Bytes that a key may send when its turn comes. What is left of it, or was not enough for a
/// large packet, counts at its next turn.
pub const QUANTUM: usize = 16 * 1024;
/// Empty queues kept for reuse.
const SPARE: usize = 64;

/// What waits behind one key.
pub trait Queue: Default {
    /// What is taken out.
    type Item;

    /// Returns the bytes of the item that is next; `None` if none waits.
    fn next_cost(&mut self) -> Option<usize>;

    /// Takes the item of which [`Self::next_cost`] told.
    fn take(&mut self) -> Option<Self::Item>;

    /// Takes the newest item of what waits longest here.
    fn take_fattest(&mut self) -> Option<Self::Item>;

    /// Counts the bytes that wait.
    fn bytes(&self) -> usize;
}

/// Queues by key, served in turn.
#[derive(Debug)]
pub struct Turns<K, Q> {
    ring: VecDeque<Turn<K, Q>>,
    spare: Vec<Q>,
}

#[derive(Debug)]
struct Turn<K, Q> {
    key: K,
    credit: usize,
    queue: Q,
}

impl<K, Q> Default for Turns<K, Q> {
    fn default() -> Self {
        Self {
            ring: VecDeque::new(),
            spare: Vec::new(),
        }
    }
}

impl<K: Copy + PartialEq, Q: Queue> Turns<K, Q> {
    /// Hands the queue of `key` to `fill`; a key without one takes its place behind all others.
    pub fn with<R>(&mut self, key: K, fill: impl FnOnce(&mut Q) -> R) -> Option<R> {
        let place = self.ring.iter().position(|turn| turn.key == key);
        let place = place.unwrap_or_else(|| {
            self.ring.push_back(Turn {
                key,
                credit: QUANTUM,
                queue: self.spare.pop().unwrap_or_default(),
            });
            self.ring.len() - 1
        });
        self.ring.get_mut(place).map(|turn| fill(&mut turn.queue))
    }

    /// Takes the queue of `key` away; `None` if nothing waits behind it.
    pub fn remove(&mut self, key: K) -> Option<Q> {
        let place = self.ring.iter().position(|turn| turn.key == key)?;
        self.ring.remove(place).map(|turn| turn.queue)
    }

    /// Returns the queue of `key`.
    pub fn get_mut(&mut self, key: K) -> Option<&mut Q> {
        let turn = self.ring.iter_mut().find(|turn| turn.key == key)?;
        Some(&mut turn.queue)
    }

    fn forget(&mut self, turn: Option<Turn<K, Q>>) {
        if let Some(turn) = turn
            && self.spare.len() < SPARE
        {
            self.spare.push(turn.queue);
        }
    }
}

impl<K: Copy + PartialEq, Q: Queue> Queue for Turns<K, Q> {
    type Item = Q::Item;

    fn next_cost(&mut self) -> Option<usize> {
        loop {
            let front = self.ring.front_mut()?;
            match front.queue.next_cost() {
                None => {
                    let empty = self.ring.pop_front();
                    self.forget(empty);
                }
                Some(cost) if cost <= front.credit => return Some(cost),
                Some(_) => {
                    front.credit += QUANTUM;
                    self.ring.rotate_left(1);
                }
            }
        }
    }

    fn take(&mut self) -> Option<Q::Item> {
        let cost = self.next_cost()?;
        let front = self.ring.front_mut()?;
        front.credit = front.credit.saturating_sub(cost);
        front.queue.take()
    }

    fn take_fattest(&mut self) -> Option<Q::Item> {
        let fattest = self.ring.iter_mut().max_by_key(|turn| turn.queue.bytes())?;
        fattest.queue.take_fattest()
    }

    fn bytes(&self) -> usize {
        self.ring.iter().map(|turn| turn.queue.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of packets, in their order.
    #[derive(Debug, Default)]
    struct Sizes(VecDeque<usize>);

    impl Queue for Sizes {
        type Item = usize;

        fn next_cost(&mut self) -> Option<usize> {
            self.0.front().copied()
        }

        fn take(&mut self) -> Option<usize> {
            self.0.pop_front()
        }

        fn take_fattest(&mut self) -> Option<usize> {
            self.0.pop_back()
        }

        fn bytes(&self) -> usize {
            self.0.iter().sum()
        }
    }

    fn push(turns: &mut Turns<char, Sizes>, key: char, size: usize, count: usize) {
        turns.with(key, |sizes| {
            sizes.0.extend(std::iter::repeat_n(size, count));
        });
    }

    /// Takes `most` bytes or a little more; counts those of packets of size `of`.
    fn share(turns: &mut Turns<char, Sizes>, most: usize, of: usize) -> usize {
        let (mut all, mut counted) = (0, 0);
        while all < most
            && let Some(size) = turns.take()
        {
            all += size;
            counted += if size == of { size } else { 0 };
        }
        counted
    }

    #[test]
    fn large_packets_and_small_ones_get_the_same_in_bytes() {
        let mut turns = Turns::default();
        push(&mut turns, 'a', 64_000, 100);
        push(&mut turns, 'b', 1000, 6400);
        let large = share(&mut turns, 2_000_000, 64_000);
        assert!((900_000..=1_100_000).contains(&large), "{large}");
    }

    #[test]
    fn who_is_alone_gets_everything() {
        let mut turns = Turns::default();
        push(&mut turns, 'a', 64_000, 100);
        assert_eq!(share(&mut turns, usize::MAX, 64_000), 6_400_000);
        assert_eq!((turns.take(), turns.bytes()), (None, 0));
    }

    #[test]
    fn who_comes_late_waits_for_one_turn_of_each_other() {
        let mut turns = Turns::default();
        for key in 'a'..'f' {
            push(&mut turns, key, 1500, 1000);
        }
        share(&mut turns, 100_000, 0);
        push(&mut turns, 'z', 77, 1);
        let mut before = 0;
        while let Some(size) = turns.take()
            && size != 77
        {
            before += size;
        }
        assert!(before <= 5 * (QUANTUM + 1500), "{before}");
    }

    #[test]
    fn nothing_is_saved_up_by_who_sends_nothing() {
        let mut turns = Turns::default();
        for _ in 0..50 {
            push(&mut turns, 'a', 100, 1);
            assert_eq!(turns.take(), Some(100));
        }
        push(&mut turns, 'a', 900, 200);
        push(&mut turns, 'b', 1000, 200);
        let late = share(&mut turns, 100_000, 1000);
        assert!((30_000..=70_000).contains(&late), "{late}");
    }

    #[test]
    fn what_has_most_gives_up_its_newest() {
        let mut turns = Turns::default();
        push(&mut turns, 'a', 10, 3);
        push(&mut turns, 'b', 20, 3);
        push(&mut turns, 'b', 21, 1);
        assert_eq!(turns.take_fattest(), Some(21));
        assert_eq!(turns.bytes(), 90);
        assert_eq!(turns.remove('b').map(|sizes| sizes.bytes()), Some(60));
        assert_eq!(turns.remove('b').map(|sizes| sizes.bytes()), None);
    }
}
