use proptest::prelude::*;

use super::Inbox;
use crate::node::tests::support::{ACK, FIN, PSH, Segment};
use crate::packet::ip::Ip;
use crate::packet::tcp::Tcp;
use crate::packet::vnet::{LEN, Vnet};
use crate::split::split;
use crate::transmit::Lane;

fn push(inbox: &mut Inbox, lane: &mut Lane, packet: &[u8]) -> bool {
    let ip = Ip::parse(packet).unwrap();
    let tcp = Tcp::parse(ip.payload(packet)).unwrap();
    inbox.push(lane, packet, &ip, &tcp)
}

/// What the kernel would make of the queue, and the number of writes.
fn drain(inbox: &mut Inbox) -> (Vec<Segment>, usize) {
    let (mut segments, mut writes) = (Vec::new(), 0);
    while let Some((packet, count)) = inbox.poll() {
        writes += 1;
        let (header, packet) = packet.split_first_chunk::<LEN>().unwrap();
        let vnet = Vnet::parse(*header).unwrap();
        assert_eq!(vnet.segment.is_some(), count > 1);
        if vnet.segment.is_none() {
            assert_eq!(*header, [0; LEN]);
            segments.push(Segment::read(packet));
            continue;
        }
        assert!(vnet.needs_checksum);
        let ip = Ip::parse(packet).unwrap();
        assert_eq!(ip.total_len, packet.len());
        let tcp = Tcp::parse(ip.payload(packet)).unwrap();
        let before = segments.len();
        split(
            packet,
            &ip,
            &tcp,
            vnet.segment,
            &mut Vec::new(),
            |segment| {
                segments.push(Segment::read(segment));
            },
        );
        assert_eq!(segments.len() - before, count);
    }
    (segments, writes)
}

fn flow(v6: bool, port: u16) -> Segment {
    let (host, to) = if v6 {
        ("fd64::100", "[fd64::1]:4000")
    } else {
        ("100.64.1.0", "100.64.0.1:4000")
    };
    let from = std::net::SocketAddr::new(host.parse().unwrap(), port);
    Segment::new(from, to.parse().unwrap(), ACK, 1, 9)
        .options(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent coin flips")]
struct Piece {
    second: bool,
    len: usize,
    push: bool,
    fin: bool,
    jump: bool,
    ack: bool,
}

fn piece() -> impl Strategy<Value = Piece> {
    let len = prop_oneof![4 => Just(1360_usize), 2 => 0..1360_usize, 1 => Just(1_usize)];
    let rarely = || prop::bool::weighted(0.08);
    (any::<bool>(), len, rarely(), rarely(), rarely(), rarely()).prop_map(
        |(second, len, push, fin, jump, ack)| Piece {
            second,
            len,
            push,
            fin,
            jump,
            ack,
        },
    )
}

proptest! {
    #[test]
    fn splitting_what_was_merged_gives_back_every_segment_in_order(
        v6 in any::<bool>(), pieces in prop::collection::vec(piece(), 1..120),
    ) {
        let mut inbox = Inbox::default();
        let mut lanes = [Lane::default(), Lane::default()];
        let mut next = [flow(v6, 1024), flow(v6, 1025)];
        let mut sent = [Vec::new(), Vec::new()];
        for (n, piece) in pieces.iter().enumerate() {
            let which = usize::from(piece.second);
            let state = &mut next[which];
            state.seq = state.seq.wrapping_add(if piece.jump { 50_000 } else { 0 });
            state.ack += u32::from(piece.ack);
            let byte = n.to_le_bytes()[0];
            let mut segment = state.clone().with(&vec![byte; piece.len]);
            segment.flags |= if piece.push { PSH } else { 0 } | if piece.fin { FIN } else { 0 };
            state.seq = state.seq.wrapping_add(u32::try_from(piece.len).unwrap() + u32::from(piece.fin));
            prop_assert!(push(&mut inbox, &mut lanes[which], &segment.packet()));
            sent[which].push(segment);
        }
        let (seen, writes) = drain(&mut inbox);
        prop_assert!(writes <= pieces.len());
        for (which, expected) in sent.iter().enumerate() {
            let port = 1024 + u16::try_from(which).unwrap();
            let of_flow: Vec<&Segment> = seen.iter().filter(|s| s.from.port() == port).collect();
            prop_assert_eq!(of_flow, expected.iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn full_segments_fill_a_packet_of_64_kb_at_most() {
    let mut inbox = Inbox::default();
    let mut lane = Lane::default();
    let mut segment = flow(false, 1024).with(&[5; 1368]);
    for _ in 0..100 {
        assert!(push(&mut inbox, &mut lane, &segment.packet()));
        segment.seq += 1368;
    }
    let (packet, count) = inbox.poll().unwrap();
    assert_eq!(count, 47);
    assert!(packet.len() <= 65_545);
    let (seen, writes) = drain(&mut inbox);
    assert_eq!((seen.len(), writes), (53, 2));
}

#[test]
fn segments_that_differ_in_more_than_data_are_not_merged() {
    let base = flow(false, 1024).with(&[5; 100]);
    let follow = Segment {
        seq: 101,
        ..base.clone()
    };
    let merged = |second: &Segment, patch: &dyn Fn(&mut Vec<u8>)| {
        let mut inbox = Inbox::default();
        let mut lane = Lane::default();
        let mut packet = second.packet();
        patch(&mut packet);
        push(&mut inbox, &mut lane, &base.packet());
        push(&mut inbox, &mut lane, &packet);
        let count = inbox.poll().unwrap().1;
        count == 2
    };
    let ecn = |packet: &mut Vec<u8>| {
        packet[1] = 3;
        crate::node::tests::support::seal_ip4(packet);
    };
    let ttl = |packet: &mut Vec<u8>| {
        packet[8] = 9;
        crate::node::tests::support::seal_ip4(packet);
    };
    assert!(merged(&follow, &|_| {}));
    assert!(merged(
        &Segment {
            flags: ACK | PSH,
            ..follow.clone()
        },
        &|_| {}
    ));
    assert!(!merged(&follow, &ecn));
    assert!(!merged(&follow, &ttl));
    assert!(!merged(
        &Segment {
            seq: 102,
            ..follow.clone()
        },
        &|_| {}
    ));
    assert!(!merged(
        &Segment {
            ack: 10,
            ..follow.clone()
        },
        &|_| {}
    ));
    assert!(!merged(
        &Segment {
            flags: ACK | FIN,
            ..follow.clone()
        },
        &|_| {}
    ));
    assert!(!merged(
        &Segment {
            flags: ACK | 0x80,
            ..follow.clone()
        },
        &|_| {}
    ));
    assert!(!merged(
        &follow
            .clone()
            .options(&[1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 2]),
        &|_| {}
    ));
    assert!(!merged(&follow.clone().with(&[5; 101]), &|_| {}));
    assert!(!merged(&follow.with(&[]), &|_| {}));
}

#[test]
fn the_queue_is_bounded() {
    let mut inbox = Inbox::default();
    let pushed = (0..5000).filter(|_| inbox.push_alone(&[0; 40])).count();
    assert_eq!(pushed, super::WAITING);
}
