//! Packets inside the tunnel, from a device that may say anything.

use std::time::Duration;

use wg::{Event, FlowId, PeerId, Refusal};

use crate::packet::words;
use crate::world::{DEVICES, World};

/// Has a device send packets: nothing may come of one that is not from its own addresses, and nothing goes to the kernel
/// before a flow is permitted.
///
/// The bytes are steps of a kind, a length and so many bytes of a packet.
pub fn inner(mut bytes: &[u8]) {
    let (mut world, [mut device, _]) = World::connected();
    let own = device.inner();
    let mut flows: Vec<FlowId> = Vec::new();
    let mut permitted = false;
    while let [kind, length, rest @ ..] = bytes {
        let (given, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = behind;
        match kind & 7 {
            6 => world.later(Duration::from_millis(u64::from(*length) * 100)),
            7 => {
                let flow = flows.get(usize::from(*length)).copied();
                if let Some(flow) = flow {
                    world.node.close_flow(flow);
                }
            }
            how => {
                let mut packet = given.to_vec();
                if how > 0 {
                    mend(&mut packet, own);
                }
                if how > 2 {
                    let body = transport(&packet);
                    mend_transport(&mut packet, body);
                }
                if packet.is_empty() {
                    continue;
                }
                let datagram = device.seal(&packet).unwrap();
                world.datagram(device.at, &datagram);
            }
        }
        for event in world.events() {
            match event {
                Event::SynSeen(flow) => {
                    assert!(own.contains(&flow.source.ip()), "{flow:?}");
                    assert_eq!(flow.peer, PeerId(u32::from(DEVICES[0])));
                    match kind >> 6 {
                        0 => world.node.refuse(flow.id, Refusal::Reset),
                        1 => world.node.refuse(flow.id, Refusal::Silent),
                        _ => {
                            world.node.permit(flow.id, world.now);
                            permitted = true;
                            flows.push(flow.id);
                        }
                    }
                }
                Event::UdpReceived { from, .. } => assert!(own.contains(&from.ip()), "{from}"),
                Event::EchoRequest { from, .. } => assert!(own.contains(&from), "{from}"),
                Event::Refused { .. } | Event::FlowClosed(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let to_kernel = world.to_kernel();
        assert!(permitted || to_kernel == 0);
        world.sent();
        world.node.check_invariants();
    }
}

/// Puts the device's own address and right lengths and checksums into the head of a packet, so that what lies behind is
/// looked at.
fn mend(packet: &mut [u8], own: [std::net::IpAddr; 2]) {
    let length = packet.len();
    match (packet.first().map(|first| first >> 4), own) {
        (Some(6), [_, std::net::IpAddr::V6(own)]) if length >= 40 => {
            let payload = u16::try_from(length - 40).unwrap_or(0);
            packet[4..6].copy_from_slice(&payload.to_be_bytes());
            packet[8..24].copy_from_slice(&own.octets());
        }
        (Some(_), [std::net::IpAddr::V4(own), _]) if length >= 20 => {
            packet[0] = 0x40 | (packet[0] & 15).max(5);
            packet[2..4].copy_from_slice(&u16::try_from(length).unwrap_or(0).to_be_bytes());
            packet[12..16].copy_from_slice(&own.octets());
            packet[10..12].fill(0);
            let head = usize::from(packet[0] & 15) * 4;
            let sum = !words(0, &packet[..head.min(length)]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        _ => {}
    }
}

/// Finds where what a packet carries begins, its protocol and where the addresses stand.
fn transport(packet: &[u8]) -> Option<(usize, u8, std::ops::Range<usize>)> {
    let (at, protocol, addresses) = match packet.first()? >> 4 {
        4 => (usize::from(packet[0] & 15) * 4, *packet.get(9)?, 12..20),
        6 => (40, *packet.get(6)?, 8..40),
        _ => return None,
    };
    (packet.len() > at && packet.len() >= addresses.end).then_some((at, protocol, addresses))
}

fn mend_transport(packet: &mut [u8], body: Option<(usize, u8, std::ops::Range<usize>)>) {
    let Some((at, protocol, addresses)) = body else {
        return;
    };
    let place = at
        + match protocol {
            6 => 16,
            17 => 6,
            1 | 58 => 2,
            _ => return,
        };
    if packet.len() < place + 2 {
        return;
    }
    packet[place..place + 2].fill(0);
    let length = packet.len() - at;
    if protocol == 17 {
        let length = u16::try_from(length).unwrap_or(0);
        packet[at + 4..at + 6].copy_from_slice(&length.to_be_bytes());
    }
    let mut start = 0;
    if protocol != 1 {
        let length = u32::try_from(length).unwrap_or(0).to_be_bytes();
        let pseudo = [&packet[addresses], &length, &[0, 0, 0, protocol]].concat();
        start = u32::from(words(0, &pseudo));
    }
    let sum = !words(start, &packet[at..]);
    packet[place..place + 2].copy_from_slice(&sum.to_be_bytes());
}
