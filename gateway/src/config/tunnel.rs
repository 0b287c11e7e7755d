//! What follows from the section `[tunnel]`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZero;

use super::Tunnel;

/// Most threads that are started without being asked for.
const WORKERS: usize = 8;

impl Tunnel {
    /// Returns how many threads carry packets: as a rule one, and another for every two cores
    /// beyond two, since streams are carried on beside them.
    pub(crate) fn shards(&self) -> u8 {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let usual = (cores / 2).clamp(1, WORKERS);
        self.workers
            .unwrap_or_else(|| u8::try_from(usual).unwrap_or(1))
    }

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
