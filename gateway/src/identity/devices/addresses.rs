//! Which address a new device gets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::Device;

/// The addresses of the tunnel network and who has or had them.
pub(super) struct Addresses {
    network: Ipv4Net,
    gateway4: Ipv4Addr,
    /// When the last device of an address was revoked; `None` while one has it.
    used: BTreeMap<Ipv4Addr, Option<i64>>,
}

impl Addresses {
    pub(super) fn new(network: Ipv4Net, gateway4: Ipv4Addr, devices: &[Arc<Device>]) -> Self {
        let mut used: BTreeMap<Ipv4Addr, Option<i64>> = BTreeMap::new();
        for device in devices {
            used.entry(device.address4)
                .and_modify(|freed| *freed = later(*freed, device.revoked))
                .or_insert(device.revoked);
        }
        Self {
            network,
            gateway4,
            used,
        }
    }

    /// Tells whether a device may have the address: inside, not reserved, nobody else's.
    pub(super) fn is_free(&self, address: Ipv4Addr) -> bool {
        self.network.contains(&address)
            && address != self.network.network()
            && address != self.network.broadcast()
            && address != self.gateway4
            && self.used.get(&address).is_none_or(Option::is_some)
    }

    /// The lowest address nobody ever had; else that of the device revoked the longest ago, so
    /// that what remembers the old owner of an address has the most time to forget.
    pub(super) fn next(&self) -> Option<Ipv4Addr> {
        let fresh = self
            .network
            .hosts()
            .find(|address| self.is_free(*address) && !self.used.contains_key(address));
        fresh.or_else(|| self.oldest_freed())
    }

    fn oldest_freed(&self) -> Option<Ipv4Addr> {
        self.used
            .iter()
            .filter_map(|(address, freed)| Some(((*freed)?, *address)))
            .filter(|(_, address)| self.is_free(*address))
            .min()
            .map(|(_, address)| address)
    }
}

/// In use beats revoked, and the later revocation counts.
fn later(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    Some(a?.max(b?))
}
