//! Receiver indices: 24 random bits name a tunnel, the low 8 bits one of its sessions.

use std::collections::HashMap;

use blake2::{Blake2s256, Digest};

use crate::peer::PeerSlot;
use crate::place::Place;

/// Most tunnels at once; keeps the 24 bits sparse, so that a free index is found at once.
pub(crate) const MAX_TUNNELS: usize = 1 << 20;

/// Hands out indices and finds the peer of one.
#[derive(Debug)]
pub(crate) struct Indices {
    taken: HashMap<u32, PeerSlot>,
    seed: [u8; 32],
    place: Place,
    drawn: u64,
}

impl Indices {
    pub(crate) fn new(seed: [u8; 32], place: Place) -> Self {
        Self {
            taken: HashMap::new(),
            seed,
            place,
            drawn: 0,
        }
    }

    /// Takes an index that no living tunnel has; `None` when there are too many tunnels.
    pub(crate) fn assign(&mut self, peer: PeerSlot) -> Option<u32> {
        if self.taken.len() >= MAX_TUNNELS / self.place.share() {
            return None;
        }
        (0..64).find_map(|_| {
            let index = self.draw();
            (!self.taken.contains_key(&index)).then(|| {
                self.taken.insert(index, peer);
                index
            })
        })
    }

    /// Gives an index back when its tunnel is gone.
    pub(crate) fn release(&mut self, index: u32) {
        self.taken.remove(&index);
    }

    /// Finds the peer a message's receiver field names.
    pub(crate) fn find(&self, receiver: u32) -> Option<PeerSlot> {
        self.taken.get(&(receiver >> 8)).copied()
    }

    #[cfg(any(test, debug_assertions))]
    pub(crate) fn len(&self) -> usize {
        self.taken.len()
    }

    fn draw(&mut self) -> u32 {
        self.drawn += 1;
        let mut hash = Blake2s256::new();
        hash.update(self.seed);
        hash.update(self.drawn.to_le_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let random = u32::from_le_bytes([digest[0], digest[1], digest[2], 0]);
        self.place.sign(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_unique_and_found_until_released() {
        let mut indices = Indices::new([1; 32], Place::ALONE);
        let all: Vec<u32> = (0..1000)
            .map(|n| indices.assign(PeerSlot(n)).unwrap())
            .collect();
        assert_eq!(indices.len(), 1000);
        assert_eq!(indices.find(all[7] << 8 | 0xff), Some(PeerSlot(7)));
        indices.release(all[7]);
        assert_eq!(indices.find(all[7] << 8), None);
        assert_eq!(indices.find(all[8] << 8), Some(PeerSlot(8)));
    }

    #[test]
    fn indices_are_spread_and_other_after_each_start() {
        let drawn = |seed: u8| -> Vec<u32> {
            let mut indices = Indices::new([seed; 32], Place::ALONE);
            (0..1000)
                .map(|n| indices.assign(PeerSlot(n)).unwrap())
                .collect()
        };
        let (one, other) = (drawn(1), drawn(2));
        let same = one.iter().filter(|index| other.contains(index)).count();
        assert!(same < 5, "{same} of two starts");
        let high = one.iter().filter(|index| **index >= 1 << 23).count();
        assert!((400..600).contains(&high), "{high} in the upper half");
    }
}
