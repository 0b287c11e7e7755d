use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::checksum::{Delta, Sum};
use super::icmp::Echo;
use super::ip::{self, Ip};
use super::tcp::{self, Tcp};
use super::udp::Udp;
use super::vnet::Vnet;
use crate::node::tests::support::{Segment, open_ip, reference_sum, udp, words};

fn address() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (a.into(), b.into())),
        any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (a.into(), b.into())),
    ]
}

fn ends() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    (address(), any::<(u16, u16)>())
        .prop_map(|((a, b), (p, q))| (SocketAddr::new(a, p), SocketAddr::new(b, q)))
}

fn segment() -> impl Strategy<Value = Segment> {
    let options = prop::collection::vec(any::<[u8; 4]>(), 0..10);
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    (ends(), any::<(u8, u32, u32)>(), options, payload).prop_map(
        |((from, to), (flags, seq, ack), options, payload)| {
            Segment::new(from, to, flags, seq, ack)
                .options(&options.concat())
                .with(&payload)
        },
    )
}

fn bytes_of(ends: (SocketAddr, SocketAddr)) -> Vec<u8> {
    let mut bytes = Vec::new();
    for end in [ends.0, ends.1] {
        match end.ip() {
            IpAddr::V4(a) => bytes.extend_from_slice(&a.octets()),
            IpAddr::V6(a) => bytes.extend_from_slice(&a.octets()),
        }
        bytes.extend_from_slice(&end.port().to_be_bytes());
    }
    bytes
}

proptest! {
    #[test]
    fn the_sum_is_that_of_rfc_1071(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let mut sum = Sum::default();
        sum.add(&bytes);
        prop_assert_eq!(sum.fold(), words(0, &bytes));
    }

    #[test]
    fn an_incremental_checksum_equals_a_full_one(
        segment in segment(),
        (other4, other6) in (any::<([u8; 4], [u8; 4])>(), any::<([u8; 16], [u8; 16])>()),
        (p, q) in any::<(u16, u16)>(),
    ) {
        let mut packet = segment.packet();
        let new: (IpAddr, IpAddr) = if segment.from.is_ipv4() {
            (other4.0.into(), other4.1.into())
        } else {
            (other6.0.into(), other6.1.into())
        };
        let new = (SocketAddr::new(new.0, p), SocketAddr::new(new.1, q));
        let ip = Ip::parse(&packet).unwrap();
        let old = Tcp::parse(ip.payload(&packet)).unwrap();
        let delta = Delta::between(&bytes_of((segment.from, segment.to)), &bytes_of(new));
        ip::set_addresses(&mut packet, new.0.ip(), new.1.ip());
        tcp::set_ports(ip.payload_mut(&mut packet), p, q);
        let moved = Ip { source: new.0.ip(), destination: new.1.ip(), ..ip };
        tcp::seal(ip.payload_mut(&mut packet), moved.pseudo());
        let full = Tcp::parse(ip.payload(&packet)).unwrap().checksum;
        prop_assert_eq!(delta.apply(old.checksum), full);
        let expected = Segment { from: new.0, to: new.1, ..segment };
        prop_assert_eq!(Segment::read(&packet), expected);
    }

    #[test]
    fn views_read_what_was_written(segment in segment()) {
        let packet = segment.packet();
        let ip = Ip::parse(&packet).unwrap();
        prop_assert_eq!((ip.source, ip.destination), (segment.from.ip(), segment.to.ip()));
        prop_assert_eq!((ip.total_len, ip.obstacle), (packet.len(), None));
        let tcp = Tcp::parse(ip.payload(&packet)).unwrap();
        prop_assert_eq!((tcp.seq, tcp.ack, tcp.flags), (segment.seq, segment.ack, segment.flags));
        prop_assert_eq!(tcp.header_len, 20 + segment.options.len());
        let mut sum = ip.pseudo();
        sum.add(ip.payload(&packet));
        prop_assert_eq!(sum.fold(), 0xffff);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in prop_oneof![Just(0x45_u8), Just(0x60), any::<u8>()],
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        if let Some(header) = bytes.first_chunk() {
            let _parsed = Vnet::parse(*header);
        }
        let Ok(ip) = Ip::parse(&bytes) else { return Ok(()) };
        prop_assert!(ip.header_len <= ip.total_len && ip.total_len <= bytes.len());
        prop_assert_eq!(ip.payload(&bytes).len(), ip.payload_len());
        if let Some(tcp) = Tcp::parse(ip.payload(&bytes)) {
            prop_assert!(tcp.header_len <= ip.payload_len());
        }
        if let Ok(udp) = Udp::parse(&ip, &bytes) {
            prop_assert_eq!(udp.payload.len() + 8, ip.payload_len());
        }
        let _echo = Echo::parse(&ip, &bytes);
    }

    #[test]
    fn clamping_the_mss_keeps_the_checksum_and_the_other_options(
        segment in segment(), limit in any::<u16>(),
    ) {
        let mut packet = segment.packet();
        let ip = Ip::parse(&packet).unwrap();
        let tcp = Tcp::parse(ip.payload(&packet)).unwrap();
        let body = ip.payload_mut(&mut packet);
        let delta = tcp::clamp_mss(body, tcp.header_len, limit);
        tcp::set_checksum(body, delta.apply(tcp.checksum));
        let clamped = Segment::read(&packet);
        let changed = clamped.options.iter().zip(&segment.options).filter(|(a, b)| a != b);
        prop_assert!(changed.count() <= 2);
        let same = Segment { options: segment.options.clone(), ..clamped };
        prop_assert_eq!(same, segment);
    }

    #[test]
    fn udp_that_was_written_is_read_and_a_flipped_bit_is_noticed(
        (from, to) in ends(),
        payload in prop::collection::vec(any::<u8>(), 1..200),
        bit in any::<prop::sample::Index>(),
    ) {
        let mut built = Vec::new();
        prop_assert!(super::build::udp(&mut built, from, to, &payload));
        let ip = Ip::parse(&built).unwrap();
        prop_assert_eq!(Udp::parse(&ip, &built).unwrap().payload, &payload[..]);
        let (a, b, protocol, body) = open_ip(&built);
        prop_assert_eq!(reference_sum(a, b, protocol, body), 0xffff);

        let mut packet = udp(from, to, &payload);
        let head = ip.header_len + 8;
        let at = head * 8 + bit.index(payload.len() * 8);
        packet[at / 8] ^= 1 << (at % 8);
        let ip = Ip::parse(&packet).unwrap();
        let unchecked = from.is_ipv4() && packet[ip.header_len + 6..head] == [0, 0];
        prop_assert!(unchecked || Udp::parse(&ip, &packet).is_err());
    }
}
