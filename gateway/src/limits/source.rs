//! Where a request comes from, as far as limits tell sources apart.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How much more a site of IPv6 may have than one source of it. Source: security.md R-RL-04.
pub(crate) const SITE_FACTOR: u32 = 4;

/// The /56 of an IPv6 address, which is what one customer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Site(u64);

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = Ipv6Addr::from_bits(u128::from(self.0) << 72);
        write!(f, "{first}/56")
    }
}

/// A source of requests: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Source {
    V4(Ipv4Addr),
    /// The upper 64 bits.
    V6(u64),
}

impl Source {
    /// Names the source of an address; an IPv4 address mapped into IPv6 is that IPv4 address.
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
        }
    }

    /// Names the site that a source of IPv6 belongs to; an IPv4 address has none.
    pub(crate) fn site(self) -> Option<Site> {
        match self {
            Self::V4(_) => None,
            Self::V6(upper) => Some(Site(upper >> 8)),
        }
    }

    /// Returns the first address of the source.
    pub(crate) fn network(self) -> IpAddr {
        match self {
            Self::V4(ip) => IpAddr::V4(ip),
            Self::V6(upper) => IpAddr::V6(Ipv6Addr::from_bits(u128::from(upper) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Source;

    fn of(ip: &str) -> Source {
        Source::of(ip.parse().unwrap())
    }

    #[test]
    fn a_v6_source_is_its_64() {
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("2001:db8::1").network().to_string(), "2001:db8::");
    }

    #[test]
    fn sources_of_one_56_are_of_one_site() {
        assert_eq!(of("2001:db8::1").site(), of("2001:db8:0:ff::1").site());
        assert_ne!(of("2001:db8::1").site(), of("2001:db8:0:100::1").site());
        assert_eq!(of("192.0.2.1").site(), None);
        let site = of("2001:db8:0:ff::1").site().unwrap();
        assert_eq!(site.to_string(), "2001:db8::/56");
    }

    #[test]
    fn a_v4_source_is_its_address_in_both_forms() {
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
