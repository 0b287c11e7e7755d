//! What the node adds to bare boringtun for each packet of a bulk transfer.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use boringtun::noise::{Tunn, TunnResult};

use super::scale::{IS_MEASURED, middle};
use super::support::*;

/// Payload of a full segment at an MTU of 1420.
const FULL: u16 = 1380;
const PACKETS: usize = 4416;
/// Segments in a packet of the kernel.
const MERGED: usize = 46;
const ROUNDS: usize = 7;

fn office() -> SocketAddr {
    "10.0.0.5:80".parse().unwrap()
}

/// Two tunnels with a session.
fn pair() -> (Tunn, Tunn) {
    let (a, b) = (device_key(60), device_key(61));
    let tunn = |own: &crate::PrivateKey, other: &crate::PrivateKey| {
        let secret = own.secret().clone();
        Tunn::new(secret, dalek(other.public_key()), None, None, 1, None)
    };
    let (mut left, mut right) = (tunn(&a, &b), tunn(&b, &a));
    let mut message = vec![0; 2048];
    let mut answer = vec![0; 2048];
    let written = |result: TunnResult<'_>| match result {
        TunnResult::WriteToNetwork(bytes) => bytes.to_vec(),
        other @ (TunnResult::Done
        | TunnResult::Err(_)
        | TunnResult::WriteToTunnelV4(..)
        | TunnResult::WriteToTunnelV6(..)) => panic!("{other:?}"),
    };
    let first = written(left.format_handshake_initiation(&mut message, false));
    let second = written(right.decapsulate(None, &first, &mut answer));
    let third = written(left.decapsulate(None, &second, &mut message));
    right.decapsulate(None, &third, &mut answer);
    (left, right)
}

/// Bulk data of one flow on its way in: datagrams of the device.
fn sealed(device: &mut Device, open: &Open, seq: &mut u32) -> Vec<Vec<u8>> {
    let payload = vec![7; usize::from(FULL)];
    let mut next = || {
        let segment = open.segment(ACK, *seq, 5001).with(&payload);
        *seq = seq.wrapping_add(u32::from(FULL));
        device.seal(&segment.packet())
    };
    (0..PACKETS).map(|_| next()).collect()
}

/// Times of batches of as many packets as the kernel merges.
type Times = Vec<Duration>;

fn time(times: &mut Times, work: impl FnOnce()) {
    let begun = epoch();
    work();
    times.push(epoch().saturating_duration_since(begun));
}

fn node_opens(world: &mut World, from: SocketAddr, datagrams: &mut [Vec<u8>], times: &mut Times) {
    let World { node, now, wall } = world;
    for batch in datagrams.chunks_exact_mut(MERGED) {
        time(times, || {
            for datagram in batch {
                assert!(node.handle_datagram(from, datagram, *now, *wall));
            }
            while let Some(packet) = node.poll_tun() {
                black_box(packet);
            }
        });
    }
}

fn bare_opens(left: &mut Tunn, right: &mut Tunn, packet: &[u8], times: &mut Times) {
    let mut scratch = vec![0; 66_000];
    let seal = |left: &mut Tunn| {
        let mut room = vec![0; packet.len() + 32];
        assert!(matches!(
            left.encapsulate(packet, &mut room),
            TunnResult::WriteToNetwork(_)
        ));
        room
    };
    let datagrams: Vec<Vec<u8>> = (0..PACKETS).map(|_| seal(left)).collect();
    for batch in datagrams.chunks_exact(MERGED) {
        time(times, || {
            for datagram in batch {
                black_box(right.decapsulate(None, datagram, &mut scratch));
            }
        });
    }
}

fn node_seals(world: &mut World, merged: &mut [Vec<u8>], times: &mut Times) {
    for packet in merged {
        time(times, || {
            tun_packet(&mut world.node, packet, world.now);
            while let Some(transmit) = world.node.poll_transmit() {
                black_box(transmit.contents);
            }
        });
    }
}

fn bare_seals(left: &mut Tunn, packet: &[u8], times: &mut Times) {
    let mut room = vec![0; packet.len() + 32];
    for _ in 0..PACKETS / MERGED {
        time(times, || {
            for _ in 0..MERGED {
                black_box(left.encapsulate(packet, &mut room));
            }
        });
    }
}

#[test]
fn a_bulk_transfer_costs_little_more_than_its_encryption() {
    let (mut world, mut device) = World::connected();
    let open = Open::new(&mut world, &mut device, 40_000, office());
    let (mut left, mut right) = pair();
    let (mut seq, mut answered) = (1001, 5001);
    let packet = open.segment(ACK, 1, 1).with(&[7; FULL as usize]).packet();
    let [mut up, mut bare_up, mut down, mut bare_down] = [const { Times::new() }; 4];
    for _ in 0..ROUNDS {
        let mut datagrams = sealed(&mut device, &open, &mut seq);
        node_opens(&mut world, device.address, &mut datagrams, &mut up);
        bare_opens(&mut left, &mut right, &packet, &mut bare_up);
        let mut merged = Vec::new();
        for _ in 0..PACKETS / MERGED {
            let bulk = vec![7; MERGED * usize::from(FULL)];
            let data = open.reply(ACK, answered, 1001).with(&bulk).packet();
            answered = answered.wrapping_add(u32::from(FULL) * 46);
            let mut bytes = super::tun::gso(false, FULL, 40).to_vec();
            bytes.extend_from_slice(&data);
            merged.push(bytes);
        }
        node_seals(&mut world, &mut merged, &mut down);
        bare_seals(&mut left, &packet, &mut bare_down);
    }
    let each = |times: &mut Times| middle(times) / u32::try_from(MERGED).unwrap();
    let ratio = |node: &mut Times, bare: &mut Times| {
        let (node, bare) = (each(node), each(bare));
        (node, bare, node.as_secs_f64() / bare.as_secs_f64())
    };
    let (up, down) = (
        ratio(&mut up, &mut bare_up),
        ratio(&mut down, &mut bare_down),
    );
    eprintln!("a packet up, beside bare decapsulate: {up:?}; down, beside encapsulate: {down:?}");
    assert!(!IS_MEASURED || (up.2 < 4.0 && down.2 < 4.0));
}
