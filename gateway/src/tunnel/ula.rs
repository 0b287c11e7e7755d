//! A unique local IPv6 network, drawn once for an installation.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use crate::ids;

/// Draws a /64 out of `fd00::/8`: forty random bits and subnet 1.
///
/// Source: RFC 4193 section 3.2; the bits are those of the system's generator.
pub(crate) fn draw() -> Ipv6Net {
    let [a, b, c, d, e] = ids::random::<5>();
    let words = [
        u16::from_be_bytes([0xfd, a]),
        u16::from_be_bytes([b, c]),
        u16::from_be_bytes([d, e]),
        1,
        0,
        0,
        0,
        0,
    ];
    let address = Ipv6Addr::from(words);
    Ipv6Net::new_assert(address, 64)
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn a_drawn_network_is_unique_local_and_another_each_time() {
        let network = draw();
        assert!(network.addr().is_unique_local());
        assert_eq!(network.addr().octets()[0], 0xfd);
        assert_eq!(network.prefix_len(), 64);
        assert_eq!(network, network.trunc());
        assert_ne!(network, draw());
    }
}
