use super::support::*;
use crate::{DropReason, Event, Handled, Node, PeerId, PresharedKey, PrivateKey};
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn a_known_device_gets_a_session_and_the_gateway_hears_of_it() {
    let mut world = World::new();
    let mut device = Device::new(10);
    device.connect(&mut world);
    let events = world.events();
    let [
        Event::Handshake { peer, endpoint, .. },
        Event::EndpointChanged { peer: moved, .. },
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!(
        (*peer, *moved, *endpoint),
        (PeerId(10), PeerId(10), device.address)
    );
    let status = world.node.peer_status(PeerId(10), world.now).unwrap();
    assert!(status.has_session);
    assert_eq!(status.endpoint, Some(device.address));
    assert!(status.rx_bytes > 0 && status.tx_bytes > 0);
    assert!(world.node.peer_status(PeerId(99), world.now).is_none());
}

#[test]
fn an_unknown_key_and_a_wrong_server_key_get_no_answer() {
    let mut world = World::new();
    let server = config().private_key.public_key();
    let mut stranger = Device::with(10, &PrivateKey::from_bytes([77; 32]), server, None);
    let initiation = stranger.initiation();
    world.datagram(stranger.address, &initiation);
    let other = PrivateKey::from_bytes([78; 32]).public_key();
    let mut lost = Device::with(10, &device_key(10), other, None);
    let initiation = lost.initiation();
    world.datagram(lost.address, &initiation);
    assert!(world.sent().is_empty());
    assert!(world.events().is_empty());
    assert_eq!(world.node.counters().dropped(DropReason::BadHandshake), 1);
    assert_eq!(world.node.counters().dropped(DropReason::BadMac), 1);
    Device::new(10).connect(&mut world);
}

#[test]
fn a_preshared_key_must_agree() {
    let psk = PresharedKey::from_bytes([4; 32]);
    let mut config10 = peer_config(10);
    config10.preshared_key = Some(psk.clone());
    let mut world = World::with(vec![config10]);
    let server = config().private_key.public_key();
    let mut right = Device::with(10, &device_key(10), server, Some(psk));
    right.connect(&mut world);
    assert!(
        world
            .node
            .peer_status(PeerId(10), world.now)
            .unwrap()
            .has_session
    );

    let mut wrong = Device::new(10);
    let initiation = wrong.initiation();
    world.datagram(wrong.address, &initiation);
    let answer = world.sent().remove(0).1;
    let mut buffer = vec![0; 2048];
    let result = wrong.tunn.decapsulate(None, &answer, &mut buffer);
    assert!(matches!(result, boringtun::noise::TunnResult::Err(_)));
}

#[test]
fn a_replayed_first_handshake_after_a_rebuilt_node_gets_no_answer() {
    let mut world = World::new();
    let mut device = Device::new(10);
    let recorded = device.initiation();
    world.datagram(device.address, &recorded);
    assert_eq!(world.sent().len(), 1);
    let [Event::Handshake { mark, .. }] = world.events()[..] else {
        panic!("no handshake");
    };

    let mut kept = peer_config(10);
    kept.handshake_mark = Some(mark);
    let mut rebuilt = World::with(vec![kept]);
    rebuilt.datagram(device.address, &recorded);
    assert!(rebuilt.sent().is_empty());
    let replayed = DropReason::ReplayedHandshake;
    assert_eq!(rebuilt.node.counters().dropped(replayed), 1);

    let fresh = device.initiation();
    rebuilt.datagram(device.address, &fresh);
    assert_eq!(rebuilt.sent().len(), 1);
    rebuilt.datagram(device.address, &fresh);
    assert!(rebuilt.sent().is_empty(), "answered twice");
}

#[test]
fn a_clock_far_ahead_is_served_and_does_not_lock_the_device_out() {
    let mut world = World::new();
    // To a gateway of 1974 the device's real clock is 50 years ahead.
    world.wall = Duration::from_secs(130_000_000);
    let mut device = Device::new(10);
    let far = device.initiation();
    world.datagram(device.address, &far);
    assert_eq!(world.sent().len(), 1);
    assert_eq!(world.node.counters().future_stamps, 1);
    world.datagram(device.address, &far);
    assert!(world.sent().is_empty());
    world.wall = WALL;
    let right = device.initiation();
    world.datagram(device.address, &right);
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn a_forgotten_mark_lets_a_device_back_whose_clock_was_set_back() {
    let mut world = World::new();
    Device::new(10).connect(&mut world);
    let [Event::Handshake { mut mark, .. }, ..] = world.events()[..] else {
        panic!("no handshake");
    };
    // an hour ahead is within the day that is plausible
    let seconds = u64::from_be_bytes(mark[..8].try_into().unwrap()) + 3600;
    mark[..8].copy_from_slice(&seconds.to_be_bytes());
    let mut ahead = peer_config(10);
    ahead.handshake_mark = Some(mark);
    let mut world = World::with(vec![ahead]);
    let mut device = Device::new(10);
    let refused = device.initiation();
    world.datagram(device.address, &refused);
    assert!(world.sent().is_empty(), "answered below the mark");

    assert!(world.node.forget_mark(PeerId(10)));
    assert!(!world.node.forget_mark(PeerId(99)));
    let mut device = Device::new(10);
    device.connect(&mut world);
    let has_session = |world: &World| {
        let status = world.node.peer_status(PeerId(10), world.now);
        status.unwrap().has_session
    };
    assert!(has_session(&world));
    assert!(world.node.forget_mark(PeerId(10)));
    assert!(!has_session(&world), "boringtun would remember its own");
    Device::new(10).connect(&mut world);
}

#[test]
fn one_loud_source_is_cut_off_and_a_quiet_one_connects() {
    let mut world = World::new();
    let server = config().private_key.public_key();
    let mut stranger = Device::with(10, &PrivateKey::from_bytes([77; 32]), server, None);
    let initiation = stranger.initiation();
    for _ in 0..2000 {
        world.datagram(stranger.address, &initiation);
    }
    assert!(world.sent().is_empty(), "no cookie mode");
    assert_eq!(
        world.node.counters().dropped(DropReason::SourceBudget),
        1800
    );
    let mut device = Device::new(11);
    device.address = "192.0.2.200:1".parse().unwrap();
    device.connect(&mut world);
}

#[test]
fn a_flood_from_many_sources_meets_cookies_and_a_real_device_passes_with_one() {
    let mut world = World::new();
    let server = config().private_key.public_key();
    let mut stranger = Device::with(10, &PrivateKey::from_bytes([77; 32]), server, None);
    let initiation = stranger.initiation();
    for n in 0..2200_u32 {
        world.datagram(SocketAddr::from((n.to_be_bytes(), 9)), &initiation);
    }
    let cookies = world.sent();
    assert_eq!(cookies.len(), 200);
    assert!(cookies.iter().all(|(_, reply)| reply.len() == 64));

    let mut device = Device::new(11);
    let first = device.initiation();
    world.datagram(device.address, &first);
    let cookie = world.sent().remove(0).1;
    assert_eq!(cookie.len(), 64);
    assert!(device.take(&cookie).unwrap_err().is_empty());
    device.connect(&mut world);
}

#[test]
fn who_shows_a_cookie_joins_a_crowd_and_others_are_asked_for_one() {
    let mut world = World::new();
    let mut device = Device::new(11);
    let (from, now, wall) = (device.address, world.now, world.wall);
    let first = device.initiation();
    assert!(Node::is_handshake(&first));
    assert!(!world.node.admit_handshake(from, &first, true, now));
    let cookie = world.sent().remove(0).1;
    assert!(device.take(&cookie).unwrap_err().is_empty());
    let second = device.initiation();
    assert!(world.node.admit_handshake(from, &second, true, now));
    assert!(
        world.sent().is_empty(),
        "nothing is answered before its turn"
    );
    let handled = world.node.handle_admitted(from, &second, now, wall);
    assert_eq!(handled, Handled::Believed);
    let answer = world.sent().remove(0).1;
    assert!(Node::is_handshake(&answer));
    let again = world.node.handle_admitted(from, &second, now, wall);
    assert_eq!(again, Handled::Refused, "a replay");
    let stale = |world: &World| {
        let status = world.node.peer_status(PeerId(11), now).unwrap();
        status.stale_handshakes
    };
    assert_eq!(stale(&world), 1);
    let third = device.initiation();
    let newer = world.node.handle_admitted(from, &third, now, wall);
    assert_eq!((newer, stale(&world)), (Handled::Believed, 0));
    assert!(
        world.node.admit_handshake(from, &first, false, now),
        "no crowd"
    );
}

#[test]
fn a_known_endpoint_is_greeted_after_a_start() {
    let mut kept = peer_config(10);
    let mut device = Device::new(10);
    kept.endpoint = Some(device.address);
    let mut world = World::with(vec![kept, peer_config(11)]);
    assert!(world.node.poll_timeout().is_some());
    world.later(Duration::from_millis(250));
    world.node.handle_timeout(world.now);
    let greeting = world.sent();
    assert_eq!(greeting.len(), 1);
    let answer = device.take(&greeting[0].1).unwrap_err();
    assert_eq!(answer.len(), 92);
    world.datagram(device.address, &answer);
    assert!(
        world
            .node
            .peer_status(PeerId(10), world.now)
            .unwrap()
            .has_session
    );
    let keepalive = world.sent().remove(0).1;
    assert!(device.take(&keepalive).unwrap_err().is_empty());
    device.send(
        &mut world,
        &udp(device.at4(1), "10.8.0.1:53".parse().unwrap(), b"q"),
    );
    assert!(matches!(world.events()[..], [Event::UdpReceived { .. }]));
}

#[test]
fn lost_keys_make_the_node_initiate_to_a_known_endpoint_only_and_not_often() {
    let (_, mut device) = World::connected();
    let stale = device.seal(&udp(device.at4(1), "10.8.0.1:53".parse().unwrap(), b"q"));
    let mut kept = peer_config(10);
    kept.endpoint = Some(device.address);
    let mut world = World::with(vec![kept]);
    world.later(Duration::from_millis(250));
    world.node.handle_timeout(world.now);
    world.sent();
    world.later(Duration::from_secs(100));
    world.datagram("192.0.2.99:1".parse().unwrap(), &stale);
    assert!(world.sent().is_empty());
    // The real clock of boringtun stands still, so the first initiation is still under way;
    // a node that has none starts one.
    let mut kept = peer_config(10);
    kept.endpoint = Some(device.address);
    let mut fresh = World::with(vec![kept]);
    for _ in 0..10 {
        fresh.datagram(device.address, &stale);
    }
    assert_eq!(fresh.sent().len(), 1);
}

#[test]
fn the_endpoint_moves_with_authentic_data_only() {
    let (mut world, mut device) = World::connected();
    let thief: SocketAddr = "203.0.113.66:6".parse().unwrap();
    let replayable = device.seal(&udp(device.at4(1), "10.8.0.1:53".parse().unwrap(), b"q"));
    world.datagram(device.address, &replayable);
    world.events();
    world.datagram(thief, &replayable);
    let initiation = device.initiation();
    world.datagram(thief, &initiation);
    let endpoint = |world: &World| {
        world
            .node
            .peer_status(PeerId(10), world.now)
            .unwrap()
            .endpoint
    };
    assert_eq!(endpoint(&world), Some(device.address));
    world.sent();

    device.address = "198.51.100.7:7".parse().unwrap();
    device.send(
        &mut world,
        &udp(device.at4(1), "10.8.0.1:53".parse().unwrap(), b"q"),
    );
    assert_eq!(endpoint(&world), Some(device.address));
    assert!(world.events().contains(&Event::EndpointChanged {
        peer: PeerId(10),
        endpoint: device.address
    }));
}
