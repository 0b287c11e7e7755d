//! What the node is told at start and with every new set of peers.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::place::Place;

/// Names a device; the number is chosen by the gateway and never reused for another device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PeerId(pub u32);

/// Describes one WireGuard peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// The gateway's number for the device.
    pub id: PeerId,
    /// The device's static public key.
    pub public_key: PublicKey,
    /// The optional preshared key; a change ends the running session.
    pub preshared_key: Option<PresharedKey>,
    /// The inner addresses the device may use as a source.
    pub allowed_ips: Vec<IpNet>,
    /// Persistent keepalive in seconds, sent by the gateway; 0 and `None` turn it off.
    pub keepalive: Option<u16>,
    /// The last known outer address, used to initiate after a restart.
    pub endpoint: Option<SocketAddr>,
    /// The greatest TAI64N timestamp accepted from this device before the restart.
    pub handshake_mark: Option<[u8; 12]>,
}

/// Describes the node itself.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The gateway's static private key.
    pub private_key: PrivateKey,
    /// The IPv4 address under which devices see the gateway (DNS, portal).
    pub gateway4: Ipv4Addr,
    /// The IPv6 address under which devices see the gateway.
    pub gateway6: Option<Ipv6Addr>,
    /// The MTU of the tunnel in bytes, 1280 to 9000; 1420 unless there is a reason.
    pub mtu: u16,
    /// The addressing of the private namespace.
    pub inside: Inside,
    /// Random bytes for receiver indices; fresh at each start.
    pub seed: [u8; 32],
    /// Which of the gateway's nodes this is.
    pub place: Place,
}

/// Describes the private namespace in which the kernel terminates TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The private IPv4 listener every flow is rewritten to.
    pub listen4: SocketAddrV4,
    /// The private IPv6 listener; without it inner IPv6 TCP is refused.
    pub listen6: Option<SocketAddrV6>,
    /// Source addresses of rewritten IPv4 flows, /22 or shorter.
    pub pool4: Ipv4Net,
    /// Source addresses of rewritten IPv6 flows, /106 or shorter.
    pub pool6: Option<Ipv6Net>,
}
