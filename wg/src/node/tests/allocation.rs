//! A packet of an open flow is carried without asking the allocator for anything.

use std::hint::black_box;
use std::net::SocketAddr;

use allocation_counter::measure;

use super::support::*;

/// Payload of a full segment at an MTU of 1420.
const FULL: u16 = 1380;
const BATCH: u32 = 64;
/// Batches before buffers have their size.
const WARM: u32 = 4;

/// Carries batches up and down; returns the allocations of all but the first.
fn carried(to: &str) -> u64 {
    let to: SocketAddr = to.parse().unwrap();
    let (mut world, mut device) = World::connected();
    let open = Open::new(&mut world, &mut device, 40_000, to);
    let headers = if to.is_ipv4() { 40 } else { 60 };
    let full = FULL - (headers - 40);
    let payload = vec![7; usize::from(full)];
    let (mut seq, mut answered, mut asked) = (1001_u32, 5001_u32, 0);
    for round in 0..WARM * 4 {
        let mut up: Vec<Vec<u8>> = (0..BATCH)
            .map(|_| {
                let segment = open.segment(ACK, seq, answered).with(&payload);
                seq = seq.wrapping_add(u32::from(full));
                device.seal(&segment.packet())
            })
            .collect();
        let bulk = vec![7; usize::from(full) * 32];
        let mut down = super::tun::gso(to.is_ipv6(), full, headers).to_vec();
        down.extend(open.reply(ACK, answered, seq).with(&bulk).packet());
        answered = answered.wrapping_add(u32::from(full) * 32);
        let mut sent = 0;
        let World { node, now, wall } = &mut world;
        let used = measure(|| {
            for datagram in &mut up {
                assert!(node.handle_datagram(device.address, datagram, *now, *wall));
            }
            while let Some(packet) = node.poll_tun() {
                sent += packet.len();
            }
            tun_packet(node, &down, *now);
            while let Some(transmit) = node.poll_transmit() {
                sent += black_box(transmit.contents).len();
            }
        });
        let least = usize::from(full) * (BATCH as usize + 32);
        assert!(sent > least, "{sent} of {least} bytes came through");
        if round >= WARM {
            asked += used.count_total;
        }
    }
    asked
}

#[test]
fn packets_of_an_open_flow_cost_no_allocation_in_either_family() {
    for to in ["10.0.0.5:80", "[2001:db8::5]:80"] {
        let asked = carried(to);
        assert_eq!(asked, 0, "allocations on the way to {to}");
    }
}
