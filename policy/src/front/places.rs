//! Where upstreams may be.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Whether an address is on the gateway's own machine or on what only its own link reaches, such as a cloud's
/// metadata service. No app of a tenant may be there.
pub fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.octets().starts_with(&[0]),
        IpAddr::V6(ip) => {
            let local = ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local();
            local || ip == METADATA6
        }
    }
}

/// Whether an upstream may be at an address: in one of the networks, or where none is named anywhere but on what only
/// the own link reaches, such as a cloud's metadata service. No network makes a place of an address that is none.
pub fn may_be_upstream(ip: IpAddr, networks: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    let (nowhere, on_link) = match ip {
        IpAddr::V4(ip) => (
            ip.octets().starts_with(&[0]) || ip.is_multicast() || ip.is_broadcast(),
            ip.is_link_local(),
        ),
        IpAddr::V6(ip) => (
            ip.is_unspecified() || ip.is_multicast(),
            ip.is_unicast_link_local() || ip == METADATA6,
        ),
    };
    let named = networks.iter().any(|network| network.contains(&ip));
    !nowhere && (named || (networks.is_empty() && !on_link))
}

/// Where Amazon's metadata service is by IPv6.
const METADATA6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

#[cfg(test)]
mod tests {
    use super::{is_near, may_be_upstream};

    #[test]
    fn no_app_of_a_tenant_is_on_the_own_machine_or_link() {
        for ip in [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
        ] {
            assert!(is_near(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["10.0.0.1", "203.0.113.9", "fd00:ec2::253", "2001:db8::1"] {
            assert!(!is_near(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn an_upstream_is_in_its_networks_and_never_on_a_link_unless_that_is_named() {
        let may = |ip: &str, networks: &[&str]| {
            let networks: Vec<_> = networks.iter().map(|n| n.parse().unwrap()).collect();
            may_be_upstream(ip.parse().unwrap(), &networks)
        };
        for ip in ["127.0.0.1", "10.0.0.1", "203.0.113.9", "::1", "fd00::1"] {
            assert!(may(ip, &[]), "{ip}");
        }
        for ip in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(!may(ip, &[]), "{ip}");
        }
        let office = ["10.1.0.0/16", "fd00:1::/32"];
        for (ip, is) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd00:1::9", true),
            ("10.2.0.1", false),
            ("127.0.0.1", false),
            ("fd00:2::9", false),
        ] {
            assert_eq!(may(ip, &office), is, "{ip}");
        }
        assert!(may("169.254.169.254", &["169.254.0.0/16"]));
        assert!(!may("0.0.0.0", &["0.0.0.0/0"]));
        assert!(!may("224.0.0.1", &["0.0.0.0/0"]));
    }
}
