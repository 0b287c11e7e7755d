//! Which addresses a device can never reach through the gateway, whatever the policy says.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;

/// The addresses that are the gateway's own.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// Networks behind which only devices or the gateway stand.
    pub(super) inside: Vec<IpNet>,
    /// Ports on which the gateway itself listens on the addresses of its host.
    pub(super) own_ports: Vec<u16>,
}

impl Reach {
    /// Says whether `target` is an ordinary host outside the gateway.
    pub(super) fn allows(&self, target: SocketAddr) -> bool {
        let ip = target.ip().to_canonical();
        !(is_special(ip)
            || self.inside.iter().any(|net| net.contains(&ip))
            || (self.own_ports.contains(&target.port()) && is_own_host(ip)))
    }
}

/// Addresses that name this host, this link, or nobody in particular.
fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.octets().first() == Some(&0)
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip >= Ipv4Addr::new(240, 0, 0, 0)
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || is_translated(ip)
        }
    }
}

/// Prefixes that stand for IPv4 addresses (RFC 6052, RFC 3056): they would hide one of ours.
fn is_translated(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    a == 0x2002 || (a == 0x64 && b == 0xff9b)
}

/// Says whether the address belongs to this host: then the route to it starts there.
fn is_own_host(ip: IpAddr) -> bool {
    way_to(ip).is_ok_and(|local| local == ip)
}

/// Says whether the system knows a way to an address.
pub(crate) fn has_route(ip: IpAddr) -> bool {
    let no_route = |why: &std::io::Error| {
        let kind = why.kind();
        kind == ErrorKind::NetworkUnreachable || kind == ErrorKind::HostUnreachable
    };
    !way_to(ip).is_err_and(|why| no_route(&why))
}

/// Returns the address of this host from which packets to `ip` leave.
fn way_to(ip: IpAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((ip, 9))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::Reach;

    fn reach() -> Reach {
        Reach {
            inside: vec!["10.200.200.0/24".parse().unwrap()],
            own_ports: vec![443],
        }
    }

    #[test]
    fn office_hosts_are_reachable() {
        for target in [
            "192.168.1.10:22",
            "10.1.2.3:443",
            "[fd00:1::5]:5432",
            // shared address space: the private namespace has it too, and for itself
            "100.64.0.1:443",
            "100.101.102.103:5432",
        ] {
            assert!(reach().allows(target.parse().unwrap()), "{target}");
        }
    }

    #[test]
    fn the_gateway_and_its_surroundings_are_not() {
        for target in [
            "127.0.0.1:22",
            "0.0.0.0:22",
            "169.254.169.254:80",
            "224.0.0.1:5353",
            "255.255.255.255:67",
            "10.200.200.1:22",
            "10.200.200.7:22",
            "[::1]:22",
            "[fe80::1]:22",
            "[::ffff:127.0.0.1]:22",
            "[64:ff9b::7f00:1]:22",
            "[2002:7f00:1::]:22",
        ] {
            assert!(!reach().allows(target.parse().unwrap()), "{target}");
        }
    }
}
