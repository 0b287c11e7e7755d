//! Datagrams from outside: raw ones, and true ones with bytes changed, cut, or heard twice.

use std::net::SocketAddr;
use std::time::Duration;

use wg::Event;

use crate::world::World;

/// A ping of the device to the gateway, for datagrams that are true.
const PING: [u8; 28] = [
    0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 1, 0x26, 0xce, 10, 8, 0, 10, 10, 8, 0, 1, 8, 0, 0xf7, 0xfd,
    0, 1, 0, 1,
];

/// Has a node take datagrams: none that is not the device's own, whole and new may bring anything through.
///
/// The bytes are steps of a kind, a length and so many bytes.
pub fn datagrams(mut bytes: &[u8]) {
    let (mut world, [mut device, mut other]) = World::connected();
    let heard = [device.initiation(), other.initiation(), device.seal(&PING)];
    let mut heard: Vec<Vec<u8>> = heard.map(Option::unwrap).to_vec();
    for datagram in &heard {
        world.datagram(device.at, datagram);
    }
    heard.extend(world.sent().into_iter().map(|(_, datagram)| datagram));
    world.events();
    world.to_kernel();
    let stranger = SocketAddr::from(([198, 51, 100, 7], 9));
    while let [kind, length, rest @ ..] = bytes {
        let (given, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = behind;
        let known = &heard[usize::from(kind >> 3) % heard.len()];
        let datagram = match kind & 7 {
            0 | 1 => given.to_vec(),
            2 => known.clone(),
            3 => known[..known.len().min(usize::from(*length))].to_vec(),
            4 => [known, given].concat(),
            5 => {
                world.later(Duration::from_millis(u64::from(*length) * 4));
                continue;
            }
            // pairs of a place and what is changed there
            _ => {
                let mut changed = known.clone();
                for pair in given.chunks_exact(2) {
                    let at = usize::from(pair[0]) % changed.len();
                    changed[at] ^= pair[1];
                }
                changed
            }
        };
        let from = match kind & 1 {
            0 => stranger,
            _ => device.at,
        };
        world.datagram(from, &datagram);
        let passed: Vec<Event> = world.events();
        assert!(passed.is_empty(), "{passed:?} of {datagram:02x?}");
        assert_eq!(world.to_kernel(), 0, "{datagram:02x?}");
        world.sent();
    }
}
