//! Handshake messages that wait until the data of a round is through.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// Longest handshake message: an initiation.
const LONGEST: usize = 148;
/// Messages that wait at once; what a storm brings beyond them is lost, and stock clients repeat
/// theirs after five seconds.
const WAITING: usize = 1024;

/// Handshake messages in the order of their coming.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    waiting: VecDeque<(SocketAddr, [u8; LONGEST], usize)>,
}

impl Handshakes {
    /// Keeps a datagram for later; false for one that is no handshake message and is due at once.
    pub(super) fn put_off(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        let is_handshake = matches!(
            (datagram.first(), datagram.len()),
            (Some(1), LONGEST) | (Some(2), 92) | (Some(3), 64)
        );
        let mut message = [0; LONGEST];
        let room = message.get_mut(..datagram.len());
        let Some(room) = room.filter(|_| is_handshake) else {
            return false;
        };
        if self.waiting.len() < WAITING {
            room.copy_from_slice(datagram);
            self.waiting.push_back((from, message, datagram.len()));
        }
        true
    }

    /// Gives the oldest message to `handle`; false when none waits.
    pub(super) fn next(&mut self, handle: impl FnOnce(SocketAddr, &mut [u8])) -> bool {
        let Some((from, mut message, len)) = self.waiting.pop_front() else {
            return false;
        };
        handle(from, message.get_mut(..len).unwrap_or_default());
        true
    }

    /// Says whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Handshakes, LONGEST, WAITING};

    #[test]
    fn handshakes_wait_in_their_order_and_data_does_not() {
        let mut handshakes = Handshakes::default();
        let from = "192.0.2.1:9".parse().unwrap();
        for datagram in [
            &[4; 32][..],
            &[0; 8],
            &[],
            &[1; LONGEST + 1],
            &[1],
            &[2; 64],
        ] {
            assert!(!handshakes.put_off(from, datagram), "{datagram:?}");
        }
        assert!(handshakes.is_empty());
        for datagram in [&[1; LONGEST][..], &[2; 92], &[3; 64]] {
            assert!(handshakes.put_off(from, datagram));
        }
        for expected in [&[1; LONGEST][..], &[2; 92], &[3; 64]] {
            assert!(handshakes.next(|_, message| assert_eq!(message, expected)));
        }
        assert!(!handshakes.next(|_, _| panic!("none is left")));
    }

    #[test]
    fn a_storm_fills_the_queue_and_no_more() {
        let mut handshakes = Handshakes::default();
        let from = "192.0.2.1:9".parse().unwrap();
        for _ in 0..WAITING + 10 {
            assert!(handshakes.put_off(from, &[1; LONGEST]));
        }
        let mut count = 0;
        while handshakes.next(|_, _| count += 1) {}
        assert_eq!(count, WAITING);
    }
}
