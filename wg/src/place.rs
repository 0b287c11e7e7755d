//! Which of several nodes of one gateway has a peer.
//!
//! A gateway with many cores runs several nodes behind one socket. Each has its own peers, by the
//! number of the device, and says which node it is in the receiver indices of its sessions, so
//! that a message of a session finds its node without any key. Only an initiation does not say
//! whom it is for: whichever node opens it knows the one that has its sender.

use crate::config::PeerId;
use crate::tunnel;

/// One of several nodes that share a gateway's peers; [`Place::ALONE`] has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    number: u8,
    of: u8,
}

impl Place {
    /// The only node of a gateway.
    pub const ALONE: Self = Self { number: 0, of: 1 };
    /// Most nodes of a gateway.
    pub const MOST: u8 = 16;

    /// Makes the place of node `number`, counted from 0, `of` so many; `None` where there is no
    /// such place.
    #[must_use]
    pub const fn new(number: u8, of: u8) -> Option<Self> {
        if number < of && of <= Self::MOST {
            Some(Self { number, of })
        } else {
            None
        }
    }

    /// Returns the number of the node that has a peer.
    #[must_use]
    pub fn of_peer(self, peer: PeerId) -> usize {
        usize::try_from(peer.0 % u32::from(self.of)).unwrap_or_default()
    }

    /// Whether a peer is this node's.
    pub(crate) fn has(self, peer: PeerId) -> bool {
        self.of_peer(peer) == usize::from(self.number)
    }

    /// Returns the number of the node whose session a message names; `None` for an initiation and
    /// for what names no node.
    #[must_use]
    pub fn of_message(self, message: &[u8]) -> Option<usize> {
        let index = tunnel::receiver(message)? >> 8;
        let number = index & self.mask();
        (number < u32::from(self.of)).then(|| usize::try_from(number).unwrap_or_default())
    }

    /// Puts the number of this node into 24 random bits.
    pub(crate) fn sign(self, random: u32) -> u32 {
        random & !self.mask() | u32::from(self.number)
    }

    /// Returns how many times fewer indices than all of them this node has.
    pub(crate) fn share(self) -> usize {
        usize::from(self.of.next_power_of_two())
    }

    /// The bits of an index that name the node.
    fn mask(self) -> u32 {
        u32::from(self.of.next_power_of_two()) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(index: u32) -> Vec<u8> {
        [&[4, 0, 0, 0], &(index << 8).to_le_bytes()[..], &[0; 24]].concat()
    }

    #[test]
    fn each_index_names_the_node_that_drew_it() {
        for of in 1..=Place::MOST {
            for number in 0..of {
                let place = Place::new(number, of).unwrap();
                for random in [0, 0xff_ffff, 0x12_3456, 0xab_cde7] {
                    let message = data(place.sign(random));
                    assert_eq!(place.of_message(&message), Some(usize::from(number)));
                }
            }
            assert_eq!(Place::new(of, of), None);
        }
        assert_eq!(Place::new(0, Place::MOST + 1), None);
        assert_eq!(Place::ALONE.sign(0x12_3456), 0x12_3456);
    }

    #[test]
    fn what_names_no_node_belongs_to_none() {
        let place = Place::new(1, 3).unwrap();
        assert_eq!(place.of_message(&data(3)), None);
        assert_eq!(place.of_message(&[1; 148]), None);
        assert_eq!(place.of_message(&[4, 0, 0, 0]), None);
        assert_eq!(place.of_message(&[]), None);
        // a response names it elsewhere
        let mut response = vec![0; 92];
        response[0] = 2;
        response[9] = 2;
        assert_eq!(place.of_message(&response), Some(2));
    }

    #[test]
    fn each_peer_has_one_node() {
        let places: Vec<Place> = (0..5).filter_map(|number| Place::new(number, 5)).collect();
        for peer in 0..100 {
            let holders = places.iter().filter(|place| place.has(PeerId(peer)));
            assert_eq!(holders.count(), 1);
        }
        assert!(Place::ALONE.has(PeerId(u32::MAX)));
    }
}
