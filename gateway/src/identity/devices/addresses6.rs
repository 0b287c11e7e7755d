//! Which IPv6 address a device has inside the tunnel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Device, DeviceError, Devices};
use crate::ids::DeviceId;

/// Rounds in which another address is tried when an imported device has the usual one.
const ROUNDS: u128 = 64;

/// The IPv6 network of the tunnel beside its IPv4 network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inside6 {
    network: Ipv6Net,
    network4: Ipv4Net,
}

impl Inside6 {
    pub(super) fn new(network: Ipv6Net, network4: Ipv4Net) -> Self {
        Self { network, network4 }
    }

    /// Tells whether a device may have an address that its configuration brings.
    pub(super) fn holds(&self, address: Ipv6Addr) -> bool {
        self.network.contains(&address) && self.number(address) > 1
    }

    /// Returns the address with the host number of the IPv4 address, so that both read alike; the
    /// next one 2^32 further where that is taken.
    pub(super) fn beside(
        &self,
        address4: Ipv4Addr,
        taken: impl Fn(Ipv6Addr) -> bool,
    ) -> Option<Ipv6Addr> {
        let first = u32::from(self.network4.network());
        let host = u128::from(u32::from(address4).checked_sub(first)?);
        let base = u128::from(self.network.network());
        (0..ROUNDS)
            .map(|round| Ipv6Addr::from(base | (round << 32) | host))
            .find(|address| self.holds(*address) && !taken(*address))
    }

    fn number(&self, address: Ipv6Addr) -> u128 {
        u128::from(address) - u128::from(self.network.network())
    }
}

impl Devices {
    /// Chooses the IPv6 address of a new device.
    pub(super) fn address6(
        &self,
        wanted: Option<Ipv6Addr>,
        address4: Ipv4Addr,
        all: &[Arc<Device>],
    ) -> Result<Option<Ipv6Addr>, DeviceError> {
        let live = || all.iter().filter(|d| d.revoked.is_none());
        let taken = |address| live().any(|d| d.address6 == Some(address));
        match (self.inside6, wanted) {
            (Some(inside), Some(wanted)) if inside.holds(wanted) && !taken(wanted) => {
                Ok(Some(wanted))
            }
            (_, Some(wanted)) => Err(DeviceError::BadAddress6(wanted)),
            (inside, None) => Ok(inside.and_then(|inside| inside.beside(address4, taken))),
        }
    }
}

/// Keeps the IPv6 addresses that lie in the network and gives one to each device without.
pub(super) fn give_addresses6(all: &mut BTreeMap<DeviceId, Arc<Device>>, inside: Option<Inside6>) {
    let mut taken = BTreeSet::new();
    for device in all.values_mut().map(Arc::make_mut) {
        let holds = |a: &Ipv6Addr| inside.is_some_and(|inside| inside.holds(*a));
        device.address6 = device.address6.filter(holds);
        let live = device.revoked.is_none();
        taken.extend(device.address6.filter(|_| live));
    }
    for device in all.values_mut().map(Arc::make_mut) {
        if device.address6.is_none() && device.revoked.is_none() {
            let free = inside.and_then(|i| i.beside(device.address4, |a| taken.contains(&a)));
            device.address6 = free;
            taken.extend(free);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Inside6;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn inside() -> Inside6 {
        let network = "fd12:3456:789a:1::/64".parse().unwrap();
        Inside6::new(network, "10.200.200.0/24".parse().unwrap())
    }

    fn six(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn both_addresses_of_a_device_have_one_host_number() {
        let laptop = Ipv4Addr::new(10, 200, 200, 7);
        let free = inside().beside(laptop, |_| false);
        assert_eq!(free, Some(six("fd12:3456:789a:1::7")));
        let usual = six("fd12:3456:789a:1::7");
        let other = inside().beside(laptop, |a| a == usual);
        assert_eq!(other, Some(six("fd12:3456:789a:1:0:1:0:7")));
        assert_eq!(inside().beside(laptop, |_| true), None);
    }

    #[test]
    fn the_gateways_addresses_and_those_outside_are_no_devices() {
        for bad in [
            "fd12:3456:789a:1::",
            "fd12:3456:789a:1::1",
            "fd12:3456:789a:2::9",
        ] {
            assert!(!inside().holds(six(bad)), "{bad}");
        }
        assert!(inside().holds(six("fd12:3456:789a:1::2")));
        assert_eq!(inside().beside(Ipv4Addr::new(10, 0, 0, 7), |_| false), None);
    }
}
