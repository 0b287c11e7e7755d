//! Where each source reached the gateway, for a socket that listens on every address of its host: an answer that left
//! from another address would be dropped by what stands between.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};

/// Sources that are remembered at once; 0.9 MB.
const PLACES: usize = 16_384;

/// The local address that each source sent to last. A source may push another one out; answers to that one leave from
/// the address that the kernel picks until it is heard again.
#[derive(Debug)]
pub(super) struct Reached {
    places: Box<[Option<Place>]>,
    keyed: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    source: SocketAddr,
    here: IpAddr,
}

impl Reached {
    /// Remembers nothing yet.
    pub(super) fn new() -> Self {
        Self {
            places: vec![None; PLACES].into_boxed_slice(),
            keyed: RandomState::new(),
        }
    }

    /// Notes that `source` sent to `here`.
    pub(super) fn note(&mut self, source: SocketAddr, here: IpAddr) {
        *self.place(source) = Some(Place { source, here });
    }

    /// Returns where `source` sent to.
    pub(super) fn of(&mut self, source: SocketAddr) -> Option<IpAddr> {
        let place = self.place(source).filter(|place| place.source == source)?;
        Some(place.here)
    }

    /// Forgets where `source` sent to; the address may have left the host.
    pub(super) fn forget(&mut self, source: SocketAddr) {
        *self.place(source) = None;
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "a remainder of the length, and any bits of the hash will do"
    )]
    fn place(&mut self, source: SocketAddr) -> &mut Option<Place> {
        let at = self.keyed.hash_one(source) as usize % PLACES;
        &mut self.places[at]
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::{PLACES, Reached};

    fn source(number: u32) -> SocketAddr {
        let [_, b, c, d] = number.to_be_bytes();
        SocketAddr::from(([198, b, c, d], 51_820))
    }

    #[test]
    fn each_source_is_answered_from_where_it_sent_to_last() {
        let mut reached = Reached::new();
        let (first, second) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!(reached.of(source(1)), None);
        reached.note(source(1), first);
        assert_eq!(reached.of(source(1)), Some(first));
        reached.note(source(1), second);
        assert_eq!(reached.of(source(1)), Some(second));
        reached.forget(source(1));
        assert_eq!(reached.of(source(1)), None);
    }

    #[test]
    fn many_sources_take_no_more_room_and_no_one_else_s_address() {
        let mut reached = Reached::new();
        let here = |number: u32| IpAddr::from([10, 0, 0, number.to_be_bytes()[3]]);
        for number in 0..100_000 {
            reached.note(source(number), here(number));
        }
        assert_eq!(reached.places.len(), PLACES);
        let known: Vec<u32> = (0..100_000)
            .filter(|number| reached.of(source(*number)).is_some())
            .collect();
        assert!((1_000..=PLACES).contains(&known.len()), "{}", known.len());
        for number in known {
            assert_eq!(reached.of(source(number)), Some(here(number)));
        }
    }
}
