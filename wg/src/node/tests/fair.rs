//! Devices and their flows take turns on the way out.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::support::*;
use crate::{DropReason, Refusal};

const MSS: u16 = 1380;
const FLOWS: u16 = 50;
/// Payload of a packet of the kernel.
const BULK: usize = 20 * MSS as usize;
/// What one of a turn's packets may make one more than its share.
const SLACK: usize = 2 * BULK;

fn office() -> SocketAddr {
    "10.0.0.5:80".parse().unwrap()
}

/// Two devices, one with many flows and one with one, and what the kernel sent on each.
struct Pair {
    world: World,
    devices: [Device; 2],
    flows: Vec<(Open, u32)>,
}

impl Pair {
    fn new() -> Self {
        let mut world = World::new();
        let mut devices = [10, 11].map(Device::new);
        for device in &mut devices {
            device.connect(&mut world);
        }
        world.events();
        let [hog, single] = &mut devices;
        let mut flows: Vec<_> = (0..FLOWS)
            .map(|n| (Open::new(&mut world, hog, 30_000 + n, office()), 5001))
            .collect();
        flows.push((Open::new(&mut world, single, 40_000, office()), 5001));
        Self {
            world,
            devices,
            flows,
        }
    }

    /// The kernel sends one large packet on a flow.
    fn bulk(&mut self, flow: usize) {
        let (open, seq) = &mut self.flows[flow];
        let packet = open.reply(ACK, *seq, 1001).with(&[7; BULK]).packet();
        *seq += u32::try_from(BULK).unwrap();
        self.world
            .kernel_with(super::tun::gso(false, MSS, 40), &packet);
    }

    fn dropped(&self) -> u64 {
        self.world.node.counters().dropped(DropReason::QueueFull)
    }

    /// Sends up to `most` bytes; counts them by device.
    fn sent(&mut self, most: usize) -> [usize; 2] {
        let (mut all, mut by) = (0, [0; 2]);
        while all < most
            && let Some(transmit) = self.world.node.poll_transmit()
        {
            all += transmit.contents.len();
            let place = self.devices.iter().position(|d| d.address == transmit.to);
            by[place.unwrap()] += transmit.contents.len();
        }
        by
    }
}

#[test]
fn a_device_with_fifty_flows_gets_no_more_than_one_with_a_single_flow() {
    let mut pair = Pair::new();
    for n in 0..usize::from(FLOWS) {
        pair.bulk(n);
    }
    for _ in 0..40 {
        pair.bulk(usize::from(FLOWS));
    }
    let [hog, single] = pair.sent(40 * BULK);
    assert!(hog.abs_diff(single) <= SLACK, "{hog} {single}");
    pair.sent(usize::MAX);
    assert_eq!(pair.dropped(), 0);
}

#[test]
fn alone_a_device_gets_everything_and_its_flows_the_same() {
    let mut pair = Pair::new();
    for n in 0..usize::from(FLOWS) {
        pair.bulk(n);
    }
    let [hog, single] = pair.sent(usize::MAX);
    assert!(hog > usize::from(FLOWS) * BULK && single == 0);
    assert!(!pair.world.node.wants_to_transmit());
    // one flow with much beside one with little, the much first
    for flow in [[0; 30].as_slice(), &[1; 5]].concat() {
        pair.bulk(flow);
    }
    let hog = &mut pair.devices[0];
    let mut by_port = BTreeMap::<u16, usize>::new();
    while by_port.values().sum::<usize>() < 10 * BULK {
        let transmit = pair.world.node.poll_transmit().unwrap();
        for datagram in transmit
            .contents
            .chunks(transmit.segment_size.unwrap_or(2000))
        {
            let segment = Segment::read(&hog.take(datagram).unwrap());
            *by_port.entry(segment.to.port()).or_default() += segment.payload.len();
        }
    }
    let (much, little) = (by_port[&30_000], by_port[&30_001]);
    assert!(much.abs_diff(little) <= SLACK, "{much} {little}");
}

#[test]
fn a_packet_of_another_device_waits_for_one_turn_whatever_waits_before_it() {
    let mut pair = Pair::new();
    for round in 0..10 {
        for n in 0..usize::from(FLOWS) {
            pair.bulk((n + round) % usize::from(FLOWS));
        }
    }
    let lost = pair.dropped();
    assert!(lost > 0, "more than there is room for");
    let (open, seq) = pair.flows.last().unwrap();
    let small = open.reply(ACK | PSH, *seq, 1001).with(b"key").packet();
    pair.world.kernel(&small);
    let first: [usize; 2] = pair.sent(SLACK);
    assert!(first[1] > 0, "{first:?}");
    assert!(pair.dropped() <= lost + 1);
}

#[test]
fn a_datagram_takes_its_turn_beside_a_full_download() {
    let mut pair = Pair::new();
    for _ in 0..100 {
        pair.bulk(0);
    }
    let World { node, now, .. } = &mut pair.world;
    let to = pair.devices[1].at4(9);
    node.send_udp(crate::PeerId(11), office(), to, b"voice", *now)
        .unwrap();
    let first = pair.sent(SLACK);
    assert!(first[1] > 0, "{first:?}");
}

#[test]
fn nothing_is_sent_of_a_flow_that_was_closed_or_of_a_device_that_left() {
    for leaves in [false, true] {
        let mut pair = Pair::new();
        let closed = pair.flows[0].0.record.id;
        for flow in [0, 0, usize::from(FLOWS)] {
            pair.bulk(flow);
        }
        if leaves {
            let World { node, now, .. } = &mut pair.world;
            node.set_peers(vec![peer_config(11)], *now).unwrap();
        } else {
            pair.world.node.close_flow(closed);
            pair.world.node.refuse(closed, Refusal::Silent);
        }
        let sent = pair.world.sent();
        let hog = &mut pair.devices[0];
        let (mut of_hog, at) = (Vec::new(), hog.address);
        for (_, datagram) in sent.iter().filter(|(to, _)| *to == at) {
            of_hog.push(hog.take(datagram).unwrap());
        }
        if leaves {
            assert!(of_hog.is_empty());
        } else {
            let flags: Vec<_> = of_hog.iter().map(|p| Segment::read(p).flags).collect();
            assert_eq!(flags, [RST | ACK], "the reset only");
        }
        assert!(sent.len() > of_hog.len() + 15, "the other's is sent");
    }
}
