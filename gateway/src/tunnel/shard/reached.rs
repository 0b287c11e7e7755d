//! Where each source reached the gateway, for a socket that listens on every address of its host: an answer that left
//! from another address would be dropped by what stands between.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};

/// Sources of believed datagrams that are remembered at once; all are forgotten where there are more, and remembered
/// again as they are heard. Only holders of a key can fill it.
const BELIEVED: usize = 65_536;
/// Places for sources of handshakes; anybody can push another one out of its place.
const ASKING: usize = 4_096;
/// The types of the messages that answer a handshake: a response and a cookie.
const ANSWERS: [u8; 2] = [2, 3];

/// The local address that each source sent to last. Where it is not remembered, answers leave from the address that the
/// kernel picks.
#[derive(Debug)]
pub(super) struct Reached {
    believed: HashMap<SocketAddr, IpAddr>,
    asking: Box<[Option<Place>]>,
    keyed: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    source: SocketAddr,
    here: IpAddr,
}

/// What came from a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// What nobody answers.
    Nothing,
    /// A handshake that may be answered; anybody may have sent it in the source's name.
    Asking,
    /// A datagram of a session.
    Believed,
}

impl Reached {
    /// Remembers nothing yet.
    pub(super) fn new() -> Self {
        Self {
            believed: HashMap::new(),
            asking: vec![None; ASKING].into_boxed_slice(),
            keyed: RandomState::new(),
        }
    }

    /// Notes that `source` sent to `here`.
    pub(super) fn note(&mut self, source: SocketAddr, here: IpAddr, came: Came) {
        match came {
            Came::Nothing => {}
            Came::Asking => self.put(source, Some(Place { source, here })),
            Came::Believed => {
                if self.believed.len() >= BELIEVED && !self.believed.contains_key(&source) {
                    self.believed.clear();
                }
                self.believed.insert(source, here);
            }
        }
    }

    /// Returns from where `message` is to leave: what answers a handshake from where that was sent to, everything else
    /// from where the last believed datagram was, if there was one.
    pub(super) fn from(&self, to: SocketAddr, message: &[u8]) -> Option<IpAddr> {
        let believed = || self.believed.get(&to).copied();
        if message.first().is_some_and(|kind| ANSWERS.contains(kind)) {
            self.asked(to).or_else(believed)
        } else {
            believed().or_else(|| self.asked(to))
        }
    }

    fn asked(&self, source: SocketAddr) -> Option<IpAddr> {
        let place = (*self.asking.get(self.at(source))?)?;
        (place.source == source).then_some(place.here)
    }

    /// Forgets where `source` sent to: the address has left the host.
    pub(super) fn forget(&mut self, source: SocketAddr) {
        self.put(source, None);
        self.believed.remove(&source);
    }

    fn put(&mut self, source: SocketAddr, what: Option<Place>) {
        let at = self.at(source);
        if let Some(place) = self.asking.get_mut(at) {
            *place = what;
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "any bits of the hash will do"
    )]
    fn at(&self, source: SocketAddr) -> usize {
        self.keyed.hash_one(source) as usize % ASKING
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::{ASKING, BELIEVED, Came, Reached};

    const RESPONSE: &[u8] = &[2, 0, 0, 0];
    const DATA: &[u8] = &[4, 0, 0, 0];

    fn source(number: u32) -> SocketAddr {
        let [_, b, c, d] = number.to_be_bytes();
        SocketAddr::from(([198, b, c, d], 51_820))
    }

    fn here(number: u32) -> IpAddr {
        IpAddr::from([10, 0, 0, number.to_be_bytes()[3]])
    }

    #[test]
    fn each_source_is_answered_from_where_it_sent_to_last() {
        let mut reached = Reached::new();
        for came in [Came::Asking, Came::Believed] {
            assert_eq!(reached.from(source(1), DATA), None);
            reached.note(source(1), here(1), Came::Nothing);
            assert_eq!(reached.from(source(1), DATA), None);
            for number in [1, 2] {
                reached.note(source(1), here(number), came);
                assert_eq!(reached.from(source(1), RESPONSE), Some(here(number)));
                assert_eq!(reached.from(source(1), DATA), Some(here(number)));
            }
            reached.forget(source(1));
        }
    }

    #[test]
    fn who_asks_in_another_s_name_moves_nothing_of_its_session() {
        let mut reached = Reached::new();
        reached.note(source(1), here(1), Came::Believed);
        for number in 0..100_000 {
            reached.note(source(number), here(9), Came::Asking);
        }
        assert_eq!(reached.from(source(1), DATA), Some(here(1)));
        // its own handshake at another address is answered from there
        reached.note(source(1), here(2), Came::Asking);
        assert_eq!(reached.from(source(1), RESPONSE), Some(here(2)));
        assert_eq!(reached.from(source(1), DATA), Some(here(1)));
    }

    #[test]
    fn ten_thousand_sessions_are_remembered_and_many_more_take_no_more_room() {
        let mut reached = Reached::new();
        for number in 0..10_000 {
            reached.note(source(number), here(number), Came::Believed);
        }
        for number in 0..10_000 {
            assert_eq!(reached.from(source(number), DATA), Some(here(number)));
        }
        for number in 0..200_000 {
            reached.note(source(number), here(number), Came::Believed);
            reached.note(source(number), here(number), Came::Asking);
            assert_eq!(reached.from(source(number), DATA), Some(here(number)));
        }
        assert!(reached.believed.len() <= BELIEVED);
        assert_eq!(reached.asking.len(), ASKING);
    }
}
