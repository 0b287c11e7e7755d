//! What follows from the section `[tunnel]`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Tunnel;

impl Tunnel {
    /// Returns the gateway's own address inside the tunnel: the first host of the network.
    pub(crate) fn gateway4(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network.network()).saturating_add(1))
    }

    /// Returns the gateway's own IPv6 address inside the tunnel: the first of the network.
    pub(crate) fn gateway6(&self) -> Option<Ipv6Addr> {
        let network = u128::from(self.network6?.network());
        Some(Ipv6Addr::from(network.saturating_add(1)))
    }
}
