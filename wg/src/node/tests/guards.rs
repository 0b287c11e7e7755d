use super::support::*;
use crate::{DropReason, Event, PeerId};

fn office() -> std::net::SocketAddr {
    "10.0.0.5:80".parse().unwrap()
}

fn refused_for(world: &mut World) -> Vec<DropReason> {
    world
        .events()
        .into_iter()
        .map(|event| {
            let Event::Refused { peer, reason, .. } = event else {
                panic!("{event:?}");
            };
            assert_eq!(peer, PeerId(10));
            reason
        })
        .collect()
}

/// Sends a packet that must be refused for `reason`, then one that must pass.
fn refuses(reason: DropReason, packet: &[u8]) {
    let (mut world, mut device) = World::connected();
    device.send(&mut world, packet);
    assert_eq!(refused_for(&mut world), [reason]);
    assert_eq!(world.node.counters().dropped(reason), 1);
    assert!(world.tun().is_empty());
    assert!(world.sent().is_empty());
    device.send(
        &mut world,
        &Segment::new(device.at4(1), office(), SYN, 1, 0).packet(),
    );
    world.only_syn();
}

#[test]
fn a_60_kb_datagram_at_a_live_index_is_dropped_and_a_real_one_passes() {
    let (mut world, mut device) = World::connected();
    let honest = device.seal(&udp(device.at4(1), office(), b"q"));
    let mut huge = vec![0; 60_000];
    huge[..16].copy_from_slice(&honest[..16]);
    world.datagram(device.address, &huge);
    let mut longest = vec![0xff; 65_535];
    longest[..16].copy_from_slice(&honest[..16]);
    world.datagram(device.address, &longest);
    longest.push(0);
    world.datagram(device.address, &longest);
    assert_eq!(world.node.counters().dropped(DropReason::BadData), 2);
    assert_eq!(world.node.counters().dropped(DropReason::NotWireGuard), 1);
    world.datagram(device.address, &honest);
    assert!(matches!(world.events()[..], [Event::UdpReceived { .. }]));
}

#[test]
fn a_large_inner_datagram_of_a_device_passes() {
    let (mut world, mut device) = World::connected();
    device.send(&mut world, &udp(device.at4(1), office(), &[7; 60_000]));
    let events = world.events();
    assert!(matches!(&events[..], [Event::UdpReceived { payload, .. }] if payload.len() == 60_000));
}

#[test]
fn a_counter_beyond_the_limit_is_dropped_before_boringtun_sees_it() {
    let (mut world, mut device) = World::connected();
    let honest = device.seal(&udp(device.at4(1), office(), b"q"));
    for counter in [u64::MAX, u64::MAX - 1, u64::MAX - (1 << 13)] {
        let mut forged = honest.clone();
        forged[8..16].copy_from_slice(&counter.to_le_bytes());
        world.datagram(device.address, &forged);
    }
    assert_eq!(world.node.counters().dropped(DropReason::CounterLimit), 3);
    let mut below = honest.clone();
    below[8..16].copy_from_slice(&(u64::MAX - (1 << 13) - 1).to_le_bytes());
    world.datagram(device.address, &below);
    assert_eq!(world.node.counters().dropped(DropReason::BadData), 1);
    world.datagram(device.address, &honest);
    assert!(matches!(world.events()[..], [Event::UdpReceived { .. }]));
}

#[test]
fn a_replayed_data_message_is_dropped() {
    let (mut world, mut device) = World::connected();
    let once = device.seal(&udp(device.at4(1), office(), b"q"));
    world.datagram(device.address, &once);
    world.datagram(device.address, &once);
    assert_eq!(world.events().len(), 1);
    assert_eq!(world.node.counters().dropped(DropReason::BadData), 1);
}

#[test]
fn a_source_of_another_peer_or_of_nobody_is_refused() {
    let device = Device::new(10);
    for source in [
        "10.8.0.11:5",
        "10.8.0.12:5",
        "10.8.0.1:5",
        "127.0.0.1:5",
        "100.64.1.1:5",
    ] {
        refuses(
            DropReason::SpoofedSource,
            &Segment::new(source.parse().unwrap(), office(), SYN, 1, 0).packet(),
        );
    }
    assert_eq!(device.at4(5).to_string(), "10.8.0.10:5");
}

#[test]
fn a_spoofed_segment_of_another_peers_flow_is_refused() {
    let (mut world, mut device) = World::connected();
    let mut other = Device::new(11);
    other.connect(&mut world);
    world.events();
    let open = Open::new(&mut world, &mut device, 40_000, office());
    other.send(
        &mut world,
        &open.segment(ACK, 1001, 5001).with(b"stolen").packet(),
    );
    assert!(world.tun().is_empty());
    let events = world.events();
    assert!(matches!(
        events[..],
        [Event::Refused {
            peer: PeerId(11),
            reason: DropReason::SpoofedSource,
            ..
        }]
    ));
    device.send(
        &mut world,
        &open.segment(ACK, 1001, 5001).with(b"own").packet(),
    );
    assert_eq!(world.tun().len(), 1);
}

#[test]
fn a_short_or_long_total_length_is_refused() {
    let device = Device::new(10);
    let honest = Segment::new(device.at4(5), office(), SYN, 1, 0).packet();
    for total in [0_u16, 10, 19] {
        let mut packet = honest.clone();
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        seal_ip4(&mut packet);
        refuses(DropReason::Malformed, &packet);
    }
    let mut packet = honest.clone();
    packet[2..4].copy_from_slice(&41_u16.to_be_bytes());
    seal_ip4(&mut packet);
    refuses(DropReason::Malformed, &packet);
    let mut packet = honest;
    packet[2..4].copy_from_slice(&30_u16.to_be_bytes());
    seal_ip4(&mut packet);
    refuses(DropReason::Malformed, &packet);
    let mut six = Segment::new(
        device.at6(5),
        "[2001:db8::5]:80".parse().unwrap(),
        SYN,
        1,
        0,
    )
    .packet();
    six[5] = 200;
    refuses(DropReason::Malformed, &six);
    refuses(DropReason::Malformed, &[0x45; 19]);
    refuses(DropReason::Malformed, &[0x55; 40]);
}

#[test]
fn impossible_and_optional_header_lengths_are_refused() {
    let device = Device::new(10);
    let honest = Segment::new(device.at4(5), office(), SYN, 1, 0).packet();
    let mut short = honest.clone();
    short[0] = 0x44;
    refuses(DropReason::Malformed, &short);
    let mut options = honest.clone();
    options.splice(20..20, [1, 1, 1, 1]);
    options[0] = 0x46;
    options[3] += 4;
    seal_ip4(&mut options);
    refuses(DropReason::IpOptions, &options);
    let mut corrupt = honest;
    corrupt[8] ^= 1;
    refuses(DropReason::BadChecksum, &corrupt);
}

#[test]
fn fragments_are_refused() {
    let device = Device::new(10);
    for bits in [0x2000_u16, 0x0001, 0x2010] {
        let mut packet = Segment::new(device.at4(5), office(), SYN, 1, 0).packet();
        packet[6..8].copy_from_slice(&bits.to_be_bytes());
        seal_ip4(&mut packet);
        refuses(DropReason::Fragment, &packet);
    }
    let mut six = Segment::new(
        device.at6(5),
        "[2001:db8::5]:80".parse().unwrap(),
        SYN,
        1,
        0,
    )
    .packet();
    six[6] = 44;
    refuses(DropReason::Fragment, &six);
    six[6] = 60;
    refuses(DropReason::Protocol, &six);
}

#[test]
fn other_protocols_and_messages_are_refused() {
    let device = Device::new(10);
    let (from, to) = (device.at4(0).ip(), office().ip());
    refuses(
        DropReason::Protocol,
        &transport(from, to, 47, 0, vec![0; 40]),
    );
    refuses(
        DropReason::Protocol,
        &icmp(from, to, &[3, 3, 0, 0, 0, 0, 0, 0]),
    );
    refuses(
        DropReason::Malformed,
        &transport(from, to, 17, 6, vec![0; 8]),
    );
    let mut wrong = udp(device.at4(5), office(), b"hello");
    *wrong.last_mut().unwrap() ^= 1;
    refuses(DropReason::BadChecksum, &wrong);
}

#[test]
fn forbidden_destinations_never_become_flows_and_the_gateway_does() {
    let device = Device::new(10);
    for to in [
        "127.0.0.1:22",
        "169.254.169.254:80",
        "10.8.0.11:22",
        "10.8.0.10:22",
        "224.0.0.251:5353",
    ] {
        let to = to.parse().unwrap();
        refuses(
            DropReason::Destination,
            &Segment::new(device.at4(5), to, SYN, 1, 0).packet(),
        );
        refuses(DropReason::Destination, &udp(device.at4(5), to, b"x"));
    }
    let (mut world, mut device) = World::connected();
    let portal = "10.8.0.1:443".parse().unwrap();
    device.send(
        &mut world,
        &Segment::new(device.at4(5), portal, SYN, 1, 0).packet(),
    );
    assert_eq!(world.only_syn().destination, portal);
}

#[test]
fn senseless_tcp_flags_are_refused() {
    let device = Device::new(10);
    for flags in [0, SYN | FIN, SYN | RST, FIN | RST, PSH] {
        refuses(
            DropReason::BadFlags,
            &Segment::new(device.at4(5), office(), flags, 1, 0).packet(),
        );
    }
}

#[test]
fn reports_are_capped_and_the_next_one_carries_the_count() {
    let (mut world, mut device) = World::connected();
    let spoofed = Segment::new("10.9.9.9:1".parse().unwrap(), office(), SYN, 1, 0).packet();
    for _ in 0..25 {
        device.send(&mut world, &spoofed);
    }
    assert_eq!(refused_for(&mut world).len(), 10);
    world.later(std::time::Duration::from_secs(1));
    device.send(&mut world, &spoofed);
    assert!(matches!(
        world.events()[..],
        [Event::Refused { count: 15, .. }]
    ));
    assert_eq!(world.node.counters().dropped(DropReason::SpoofedSource), 26);
}

#[test]
fn mangled_packets_of_an_authentic_device_never_panic_the_node() {
    let (mut world, mut device) = World::connected();
    let open = Open::new(&mut world, &mut device, 40_000, office());
    let seeds = [
        open.segment(ACK, 1001, 5001).with(b"data").packet(),
        Segment::new(
            device.at6(5),
            "[2001:db8::5]:80".parse().unwrap(),
            SYN,
            1,
            0,
        )
        .packet(),
        Segment::new(device.at4(6), office(), SYN, 1, 0)
            .options(&[2, 4, 5, 0xb4])
            .packet(),
        udp(device.at4(5), office(), b"question"),
        icmp(
            device.at4(0).ip(),
            office().ip(),
            &[8, 0, 0, 0, 0, 1, 0, 2, 3],
        ),
    ];
    let mut state = 7_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..4000 {
        let mut packet = seeds[random(seeds.len())].clone();
        for _ in 0..=random(3) {
            let at = random(packet.len());
            packet[at] = random(256).to_le_bytes()[0];
        }
        if random(4) == 0 {
            packet.truncate(random(packet.len()) + 1);
        }
        if packet[0] >> 4 == 4 && packet.len() >= 20 && random(2) == 0 {
            packet[0] = 0x45;
            seal_ip4(&mut packet);
        }
        device.send(&mut world, &packet);
        for written in world.tun() {
            world.kernel(&written[10..]);
        }
        world.events();
        world.sent();
    }
    #[cfg(debug_assertions)]
    world.node.check_invariants();
}
