use super::support::*;
use crate::DropReason;
use std::net::SocketAddr;

fn ends() -> [SocketAddr; 2] {
    [
        "10.0.0.5:80".parse().unwrap(),
        "[2001:db8::5]:80".parse().unwrap(),
    ]
}

pub(super) fn gso(v6: bool, size: u16, headers: u16) -> [u8; 10] {
    let mut header = [0; 10];
    header[0] = 1;
    header[1] = if v6 { 4 } else { 1 };
    header[2..4].copy_from_slice(&headers.to_le_bytes());
    header[4..6].copy_from_slice(&size.to_le_bytes());
    header[8] = 16;
    header
}

#[test]
fn a_large_packet_of_the_kernel_is_cut_into_segments_that_fit() {
    for to in ends() {
        let (mut world, mut device) = World::connected();
        let open = Open::new(&mut world, &mut device, 40_000, to);
        let mss: u16 = if to.is_ipv4() { 1380 } else { 1360 };
        let data: Vec<u8> = (0..60_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let packet = open.reply(ACK | PSH, 5001, 1001).with(&data).packet();
        world.kernel_with(gso(to.is_ipv6(), mss, 40), &packet);
        let mut batches = Vec::new();
        let mut inner = Vec::new();
        while let Some(transmit) = world.node.poll_transmit() {
            let size = transmit.segment_size.unwrap_or(transmit.contents.len());
            batches.push(transmit.contents.len().div_ceil(size));
            for datagram in transmit.contents.chunks(size) {
                inner.push(device.take(datagram).unwrap());
            }
        }
        assert_eq!(batches[0], 32);
        assert!(batches.iter().all(|count| *count <= 32));
        let segments: Vec<Segment> = inner.iter().map(|p| Segment::read(p)).collect();
        assert!(inner.iter().all(|packet| packet.len() <= 1420));
        let mut seq = 5001;
        for (n, segment) in segments.iter().enumerate() {
            assert_eq!(segment.seq, seq);
            assert_eq!((segment.from, segment.to), (to, open.record.source));
            let last = n + 1 == segments.len();
            assert_eq!(segment.flags, if last { ACK | PSH } else { ACK });
            seq += u32::try_from(segment.payload.len()).unwrap();
        }
        let whole: Vec<u8> = segments.into_iter().flat_map(|s| s.payload).collect();
        assert_eq!(whole, data);
    }
}

#[test]
fn a_partial_checksum_is_completed() {
    for to in ends() {
        let (mut world, mut device) = World::connected();
        let open = Open::new(&mut world, &mut device, 40_000, to);
        let mut packet = open.reply(ACK, 5001, 1001).with(b"partial").packet();
        let at = if to.is_ipv4() { 36 } else { 56 };
        packet[at..at + 2].copy_from_slice(&[0x12, 0x34]);
        let mut header = [0; 10];
        header[0] = 1;
        world.kernel_with(header, &packet);
        assert_eq!(
            Segment::read(&device.receive(&mut world)[0]).payload,
            b"partial"
        );
    }
}

#[test]
fn what_belongs_to_no_flow_is_dropped() {
    let (mut world, mut device) = World::connected();
    let open = Open::new(&mut world, &mut device, 40_000, ends()[0]);
    let neighbour: SocketAddr = "100.64.9.9:1024".parse().unwrap();
    let mut wrong_port = open.inside;
    wrong_port.set_port(open.inside.port() + 1);
    let strays = [
        Segment::new(open.listen, neighbour, ACK, 1, 1).packet(),
        Segment::new(open.listen, wrong_port, ACK, 1, 1).packet(),
        Segment::new("100.64.0.1:9".parse().unwrap(), open.inside, ACK, 1, 1).packet(),
        Segment::new(
            "10.0.0.5:80".parse().unwrap(),
            open.record.source,
            ACK,
            1,
            1,
        )
        .packet(),
        udp(open.listen, open.inside, b"x"),
        icmp(
            "fe80::1".parse().unwrap(),
            "ff02::2".parse().unwrap(),
            &[133, 0, 0, 0, 0, 0, 0, 0],
        ),
        icmp(
            "::".parse().unwrap(),
            "ff02::16".parse().unwrap(),
            &[143, 0, 0, 0, 0, 0, 0, 0],
        ),
        vec![0x45; 10],
        Vec::new(),
    ];
    for stray in &strays {
        world.kernel(stray);
    }
    tun_packet(&mut world.node, &[0; 5], world.now);
    assert!(world.sent().is_empty());
    let dropped = world.node.counters().dropped(DropReason::StrayFromInside);
    assert_eq!(dropped, strays.len() as u64 + 1);
    world.kernel(&open.reply(ACK, 5001, 1001).with(b"own").packet());
    assert_eq!(device.receive(&mut world).len(), 1);
}

#[test]
fn consecutive_segments_become_one_write() {
    for to in ends() {
        let (mut world, mut device) = World::connected();
        let open = Open::new(&mut world, &mut device, 40_000, to);
        let mut seq = 1001;
        for _ in 0..10 {
            device.send(
                &mut world,
                &open.segment(ACK, seq, 5001).with(&[7; 1000]).packet(),
            );
            seq += 1000;
        }
        device.send(
            &mut world,
            &open.segment(ACK | PSH, seq, 5001).with(&[8; 10]).packet(),
        );
        device.send(
            &mut world,
            &open.segment(ACK | FIN, seq + 10, 5001).packet(),
        );
        let tun = world.tun();
        assert_eq!(tun.len(), 2);
        let (ip_len, v6) = if to.is_ipv4() {
            (20, false)
        } else {
            (40, true)
        };
        assert_eq!(tun[0].len(), 10 + ip_len + 20 + 10_010);
        let mut expected = gso(v6, 1000, u16::try_from(ip_len).unwrap() + 20);
        expected[6] = u8::try_from(ip_len).unwrap();
        assert_eq!(tun[0][..10], expected);
        // The field holds the sum of the pseudo header, not its complement.
        let (from, target, _, body) = open_ip(&tun[0][10..]);
        let empty = reference_sum(from, target, 6, &[]);
        let len = u32::try_from(body.len()).unwrap();
        let pseudo = words(u32::from(empty), &len.to_be_bytes());
        assert_eq!(body[16..18], pseudo.to_be_bytes());
        assert_eq!(body[13], ACK | PSH);
        assert_eq!(Segment::read(&tun[1][10..]).flags, ACK | FIN);
    }
}

#[test]
fn segments_of_two_flows_are_merged_each_with_its_own() {
    let (mut world, mut device) = World::connected();
    let a = Open::new(&mut world, &mut device, 40_000, ends()[0]);
    let b = Open::new(&mut world, &mut device, 40_001, ends()[0]);
    for n in 0..4 {
        for open in [&a, &b] {
            let segment = open.segment(ACK, 1001 + n * 100, 5001).with(&[1; 100]);
            device.send(&mut world, &segment.packet());
        }
    }
    let tun = world.tun();
    assert_eq!(tun.len(), 2);
    assert!(tun.iter().all(|packet| packet.len() == 10 + 40 + 400));
}

#[test]
fn a_corrupt_segment_is_not_merged() {
    let (mut world, mut device) = World::connected();
    let open = Open::new(&mut world, &mut device, 40_000, ends()[0]);
    let mut corrupt = open.segment(ACK, 1101, 5001).with(&[1; 100]).packet();
    *corrupt.last_mut().unwrap() ^= 1;
    device.send(
        &mut world,
        &open.segment(ACK, 1001, 5001).with(&[1; 100]).packet(),
    );
    device.send(&mut world, &corrupt);
    device.send(
        &mut world,
        &open.segment(ACK, 1201, 5001).with(&[1; 100]).packet(),
    );
    let tun = world.tun();
    assert_eq!(tun.len(), 3);
    let (from, to, _, body) = open_ip(&tun[1][10..]);
    assert_ne!(
        reference_sum(from, to, 6, body),
        0xffff,
        "left for the kernel to drop"
    );
}
