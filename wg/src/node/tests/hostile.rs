use super::support::*;
use crate::{DropReason, Event, PeerId};
use std::net::SocketAddr;
use std::time::Duration;

/// Datagrams of junk: 10^5, or 10^6 in the long run.
fn many() -> u32 {
    let long = std::env::var_os("POSTERN_LONG").is_some();
    if long { 1_000_000 } else { 100_000 }
}

fn xorshift(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn junk_datagrams_get_no_answer_and_leave_nothing_behind() {
    let (mut world, mut device) = World::connected();
    let honest = device.seal(&udp(device.at4(1), "10.8.0.1:53".parse().unwrap(), b"q"));
    let mut random = xorshift(1);
    for round in 0..many() {
        let lens = [0, 1, 3, 4, 31, 32, 64, 92, 148, 149, 1500];
        let len = lens[usize::try_from(random() % 11).unwrap()];
        let mut junk: Vec<u8> = (0..len).map(|_| random().to_le_bytes()[3]).collect();
        if len >= 4 {
            let kind = random().to_le_bytes()[0] % 6;
            junk[..4].copy_from_slice(&[kind, 0, 0, 0]);
        }
        // half of it knows a live index
        if len >= 8 && round % 4 < 2 {
            junk[4..8].copy_from_slice(&honest[4..8]);
        }
        let from = if round % 2 == 0 {
            SocketAddr::from((round.to_be_bytes(), 4000))
        } else {
            device.address
        };
        world.datagram(from, &junk);
        if round % 1000 == 0 {
            world.later(Duration::from_millis(10));
        }
    }
    assert!(world.sent().is_empty());
    assert!(world.tun().is_empty());
    assert!(world.events().is_empty());
    let node = &world.node;
    assert!(node.budget.len() <= 8192, "{}", node.budget.len());
    assert_eq!((node.peers.live().len(), node.peers.indices.len()), (1, 1));
    assert_eq!((node.flows.len(), node.greetings.len()), (0, 0));
    world.datagram(device.address, &honest);
    assert!(matches!(world.events()[..], [Event::UdpReceived { .. }]));
}

#[test]
fn strangers_in_a_crowd_cost_an_established_tunnel_nothing() {
    let (mut world, mut device) = World::connected();
    let server = config().private_key.public_key();
    let mut stranger = Device::with(77, &device_key(77), server, None);
    let initiation = stranger.initiation();
    let recorded = Device::new(11).initiation();
    let office = "10.0.0.5:80".parse().unwrap();
    for round in 0..3000_u32 {
        let from = SocketAddr::from((round.to_be_bytes(), 9));
        world.datagram(
            from,
            if round % 2 == 0 {
                &initiation
            } else {
                &recorded
            },
        );
        if round % 10 == 0 {
            device.send(&mut world, &udp(device.at4(1), office, b"q"));
            let passed = (world.events().into_iter())
                .filter(|event| matches!(event, Event::UdpReceived { .. }));
            assert_eq!(passed.count(), 1, "round {round}");
            let sent = world
                .node
                .send_udp(PeerId(10), office, device.at4(1), b"a", world.now);
            assert_eq!(sent, Ok(()));
            assert_eq!(device.receive(&mut world).len(), 1, "round {round}");
        }
    }
    assert!(world.node.counters().cookies > 0, "no cookie mode");
}

#[test]
fn who_does_not_know_the_public_key_spends_nobodys_budget() {
    let (mut world, mut device) = World::connected();
    let mut junk = device.initiation();
    junk[120] ^= 1; // within the first MAC
    for _ in 0..1000 {
        world.datagram(device.address, &junk);
    }
    let counters = world.node.counters();
    assert_eq!(counters.dropped(DropReason::BadMac), 1000);
    assert_eq!(counters.dropped(DropReason::SourceBudget), 0);
    world.later(Duration::from_secs(1));
    device.connect(&mut world);
}

#[test]
fn datagrams_out_of_order_pass_once_each_and_very_late_ones_do_not() {
    let (mut world, mut device) = World::connected();
    let office = "10.0.0.5:80".parse().unwrap();
    let sealed: Vec<Vec<u8>> = (0..1500)
        .map(|_| device.seal(&udp(device.at4(1), office, b"q")))
        .collect();
    let mut passes = |at: usize| {
        world.datagram(device.address, &sealed[at]);
        !world.events().is_empty()
    };
    assert!(passes(1499));
    assert!(!passes(0), "older than the window");
    for at in [1000, 700, 1001, 800] {
        assert!(passes(at), "{at} is late, and not too late");
        assert!(!passes(at), "{at} a second time");
    }
}

#[test]
fn no_more_cookies_are_sent_than_a_second_has_room_for() {
    let mut world = World::new();
    let server = config().private_key.public_key();
    let initiation = Device::with(77, &device_key(77), server, None).initiation();
    let storm = |world: &mut World| {
        (0..6000_u32)
            .map(|round| {
                world.datagram(SocketAddr::from((round.to_be_bytes(), 9)), &initiation);
                world.sent().len()
            })
            .sum::<usize>()
    };
    assert_eq!(storm(&mut world), 2000);
    assert_eq!(world.node.counters().cookies, 2000);
    let mut device = Device::new(10);
    let initiation = device.initiation();
    world.datagram(device.address, &initiation);
    assert!(world.sent().is_empty(), "a device without a cookie");
    // its twin: a second later nobody needs one
    world.later(Duration::from_secs(1));
    device.connect(&mut world);
}

#[test]
fn a_few_addresses_do_not_use_up_the_cookies_of_a_device_at_another_one() {
    let mut world = World::new();
    let server = config().private_key.public_key();
    let initiation = Device::with(77, &device_key(77), server, None).initiation();
    let mut pretended = initiation.clone();
    pretended[147] ^= 1; // as if it showed a cookie
    for round in 0..20_000_u32 {
        let from = SocketAddr::from(([198, 51, 100, (round % 96).to_le_bytes()[0]], 9));
        let message = if round < 10_000 {
            &initiation
        } else {
            &pretended
        };
        let now = world.now;
        assert!(!world.node.admit_handshake(from, message, true, now));
    }
    assert_eq!(world.sent().len(), 2 * 96);
    let mut device = Device::new(11);
    let (from, now) = (device.address, world.now);
    let first = device.initiation();
    assert!(!world.node.admit_handshake(from, &first, true, now));
    let cookie = world.sent().remove(0).1;
    assert!(device.take(&cookie).unwrap_err().is_empty());
    assert!(
        world
            .node
            .admit_handshake(from, &device.initiation(), true, now)
    );
}

#[test]
fn a_replayed_initiation_at_full_speed_is_never_answered_twice() {
    let mut world = World::new();
    let mut device = Device::new(10);
    let recorded = device.initiation();
    world.datagram(device.address, &recorded);
    assert_eq!(world.sent().len(), 1);
    for round in 0..900_u32 {
        world.datagram(SocketAddr::from((round.to_be_bytes(), 9)), &recorded);
    }
    assert!(world.sent().is_empty());
    assert_eq!(
        world.node.counters().dropped(DropReason::ReplayedHandshake),
        900
    );
    device.connect(&mut world);
}
