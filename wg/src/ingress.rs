//! The rules every decrypted packet passes before anything else looks at it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::allowed_ips::AllowedIps;
use crate::config::NodeConfig;
use crate::counters::DropReason;
use crate::packet::ip::{self, Ip};
use crate::packet::{tcp::Tcp, udp};
use crate::peer::PeerSlot;

/// A packet that was refused, with what could be read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: DropReason,
    pub(crate) from: Option<IpAddr>,
    pub(crate) to: Option<IpAddr>,
    pub(crate) protocol: u8,
    pub(crate) port: Option<u16>,
}

impl Refused {
    /// Names the packet of a parsed header.
    pub(crate) fn new(reason: DropReason, ip: &Ip, packet: &[u8]) -> Self {
        let readable = !matches!(reason, DropReason::Fragment);
        let segment = ip.payload(packet);
        let port = match ip.protocol {
            ip::TCP => Tcp::parse(segment).map(|tcp| tcp.destination),
            ip::UDP if segment.len() >= udp::LEN => segment
                .split_at(2)
                .1
                .first_chunk()
                .copied()
                .map(u16::from_be_bytes),
            _ => None,
        };
        Self {
            reason,
            from: Some(ip.source),
            to: Some(ip.destination),
            protocol: ip.protocol,
            port: port.filter(|_| readable),
        }
    }

    fn unreadable(reason: DropReason) -> Self {
        Self {
            reason,
            from: None,
            to: None,
            protocol: 0,
            port: None,
        }
    }
}

/// Checks lengths, ownership of the source, fragments and options, in this order.
pub(crate) fn check(packet: &[u8], peer: PeerSlot, owners: &AllowedIps) -> Result<Ip, Refused> {
    let ip = Ip::parse(packet).map_err(Refused::unreadable)?;
    if owners.owner(ip.source) != Some(peer) || is_never_an_end(ip.source) {
        return Err(Refused::new(DropReason::SpoofedSource, &ip, packet));
    }
    match ip.obstacle {
        Some(reason) => Err(Refused::new(reason, &ip, packet)),
        None => Ok(ip),
    }
}

/// Says whether a new flow, datagram or echo may name this destination at all.
///
/// The addresses of the private namespace are no exception: a destination is rewritten before the
/// kernel in there sees it, so that these name hosts outside like any other.
pub(crate) fn may_reach(to: IpAddr, config: &NodeConfig, owners: &AllowedIps) -> bool {
    if is_gateway(to, config) {
        return true;
    }
    !is_never_an_end(to) && owners.owner(to).is_none()
}

/// Says whether this is an address under which devices see the gateway.
pub(crate) fn is_gateway(to: IpAddr, config: &NodeConfig) -> bool {
    match to {
        IpAddr::V4(a) => a == config.gateway4,
        IpAddr::V6(a) => Some(a) == config.gateway6,
    }
}

/// Addresses that are neither a device nor an office host: this host, loopback, link-local
/// (cloud metadata with it), multicast, reserved, and IPv6 forms that embed an IPv4 address.
/// Source: IANA special-purpose address registries (RFC 6890).
fn is_never_an_end(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => is_never_an_end4(a),
        IpAddr::V6(a) => is_never_an_end6(a),
    }
}

fn is_never_an_end4(a: Ipv4Addr) -> bool {
    let [first, ..] = a.octets();
    first == 0 || first >= 240 || a.is_loopback() || a.is_link_local() || a.is_multicast()
}

fn is_never_an_end6(a: Ipv6Addr) -> bool {
    let segments = a.segments();
    let embeds_v4 = matches!(
        segments,
        [0, 0, 0, 0, 0, ..] | [0x64, 0xff9b, ..] | [0x2001, 0, ..] | [0x2002, ..]
    );
    let [first, ..] = segments;
    let link_local = first & 0xffc0 == 0xfe80;
    let site_local = first & 0xffc0 == 0xfec0;
    embeds_v4 || link_local || site_local || a.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::config;

    #[test]
    fn special_destinations_are_out_of_reach_and_office_hosts_are_not() {
        let mut owners = AllowedIps::default();
        owners.insert("10.8.0.9/32".parse().unwrap(), PeerSlot(9));
        let config = config();
        for to in [
            "127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.251",
            "255.255.255.255",
            "240.0.0.1",
            "10.8.0.9",
            "::",
            "::1",
            "::ffff:10.0.0.5",
            "::7f00:1",
            "64:ff9b::a00:5",
            "2002:a00:5::1",
            "fe80::1",
            "fec0::1",
            "ff02::fb",
        ] {
            assert!(!may_reach(to.parse().unwrap(), &config, &owners), "{to}");
        }
        for to in [
            "10.0.0.5",
            "192.0.2.7",
            "10.8.0.1",
            "10.8.0.8",
            "fd08::1",
            "2001:db8::5",
            "fd77::5",
            "100.64.0.1",
            "100.100.1.1",
            "fd64::7",
        ] {
            assert!(may_reach(to.parse().unwrap(), &config, &owners), "{to}");
        }
    }
}
