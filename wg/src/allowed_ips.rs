//! Which peer owns an inner address.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::peer::PeerSlot;

/// Longest-prefix table over all peers.
#[derive(Debug, Default)]
pub(crate) struct AllowedIps {
    v4: BTreeMap<u8, HashMap<u32, PeerSlot>>,
    /// By bytes, which lie closer together than numbers of their size.
    v6: BTreeMap<u8, HashMap<[u8; 16], PeerSlot>>,
}

impl AllowedIps {
    /// Adds a network; returns the peer that already owns exactly this one.
    pub(crate) fn insert(&mut self, net: IpNet, peer: PeerSlot) -> Option<PeerSlot> {
        match net {
            IpNet::V4(net) => {
                let table = self.v4.entry(net.prefix_len()).or_default();
                table.insert(u32::from(net.network()), peer)
            }
            IpNet::V6(net) => {
                let table = self.v6.entry(net.prefix_len()).or_default();
                table.insert(net.network().octets(), peer)
            }
        }
    }

    /// Returns the owner of the longest network that holds `address`.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<PeerSlot> {
        match address {
            IpAddr::V4(a) => self.v4.iter().rev().find_map(|(len, table)| {
                let mask = u32::MAX.checked_shl(32 - u32::from(*len)).unwrap_or(0);
                table.get(&(u32::from(a) & mask)).copied()
            }),
            IpAddr::V6(a) => self.v6.iter().rev().find_map(|(len, table)| {
                let mask = u128::MAX.checked_shl(128 - u32::from(*len)).unwrap_or(0);
                table.get(&(u128::from(a) & mask).to_be_bytes()).copied()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_over_all_peers_owns_an_address() {
        let mut table = AllowedIps::default();
        let (a, b, c) = (PeerSlot(1), PeerSlot(2), PeerSlot(3));
        assert_eq!(table.insert("10.0.0.0/8".parse().unwrap(), a), None);
        assert_eq!(table.insert("10.1.2.3/32".parse().unwrap(), b), None);
        assert_eq!(table.insert("::/0".parse().unwrap(), c), None);
        assert_eq!(table.owner("10.1.2.4".parse().unwrap()), Some(a));
        assert_eq!(table.owner("10.1.2.3".parse().unwrap()), Some(b));
        assert_eq!(table.owner("11.1.2.3".parse().unwrap()), None);
        assert_eq!(table.owner("fd00::1".parse().unwrap()), Some(c));
        assert_eq!(table.insert("10.0.0.0/8".parse().unwrap(), b), Some(a));
    }
}
