//! Several nodes of one gateway.

use super::support::*;
use crate::{DropReason, Event, Handled, PeerConfig, PeerId, Place};

/// The nodes of a gateway with these devices, and the place of any of them.
fn nodes(peers: &[PeerConfig]) -> (Vec<World>, Place) {
    let places = (0..3).filter_map(|number| Place::new(number, 3));
    let worlds = places.map(|place| World::at(place, peers.to_vec()));
    (worlds.collect(), Place::new(0, 3).unwrap())
}

fn dropped(world: &World, reason: DropReason) -> u64 {
    world.node.counters().dropped(reason)
}

#[test]
fn a_device_is_known_to_one_node_and_every_other_says_to_which() {
    let (mut worlds, place) = nodes(&[peer_config(10), peer_config(11)]);
    for number in [10, 11] {
        let mut device = Device::new(number);
        let (id, from) = (PeerId(number.into()), device.address);
        let home = place.of_peer(id);
        let initiation = device.initiation();
        assert_eq!(place.of_message(&initiation), None);
        for (at, world) in worlds.iter_mut().enumerate().filter(|(at, _)| *at != home) {
            let (now, wall) = (world.now, world.wall);
            assert!(world.node.admit_handshake(from, &initiation, false, now));
            let handled = world.node.handle_admitted(from, &initiation, now, wall);
            assert_eq!(handled, Handled::Elsewhere(id), "{at}");
            assert!(world.sent().is_empty() && world.events().is_empty());
            assert_eq!(dropped(world, DropReason::BadHandshake), 0);
        }
        let world = &mut worlds[home];
        let handled = world
            .node
            .handle_admitted(from, &initiation, world.now, world.wall);
        assert_eq!(handled, Handled::Believed);
        let response = world.sent().remove(0).1;
        let keepalive = device.take(&response).unwrap_err();
        assert_eq!(place.of_message(&keepalive), Some(home));
        for (at, world) in worlds.iter_mut().enumerate() {
            world.datagram(from, &keepalive);
            let moved = world.events().iter().any(|event| {
                matches!(event, Event::EndpointChanged { peer, endpoint } if *peer == id && *endpoint == from)
            });
            assert_eq!(moved, at == home);
        }
    }
}

#[test]
fn a_stranger_is_a_stranger_everywhere() {
    let (mut worlds, _) = nodes(&[peer_config(10), peer_config(11)]);
    let mut stranger = Device::new(12);
    let initiation = stranger.initiation();
    for world in &mut worlds {
        let (from, now, wall) = (stranger.address, world.now, world.wall);
        let handled = world.node.handle_admitted(from, &initiation, now, wall);
        assert_eq!(handled, Handled::Refused);
        assert_eq!(dropped(world, DropReason::BadHandshake), 1);
        assert!(world.sent().is_empty());
    }
}

#[test]
fn what_belongs_to_a_device_of_another_node_is_no_source_and_no_destination() {
    let site = || {
        let mut site = peer_config(12);
        site.allowed_ips = vec!["10.0.0.0/8".parse().unwrap()];
        site
    };
    let mut laptop = peer_config(10);
    laptop.allowed_ips = vec!["10.1.2.3/32".parse().unwrap()];
    let (mut worlds, place) = nodes(&[site(), laptop]);
    assert_ne!(place.of_peer(PeerId(10)), place.of_peer(PeerId(12)));
    let world = &mut worlds[place.of_peer(PeerId(12))];
    let mut device = Device::new(12);
    device.connect(world);
    world.events();
    let from = |host: &str| format!("{host}:4000").parse().unwrap();
    let to = |host: &str| format!("{host}:80").parse().unwrap();
    let mut seen = |source: &str, target: &str| {
        let syn = Segment::new(from(source), to(target), SYN, 1, 0);
        device.send(world, &syn.packet());
        let events = world.events();
        events
            .iter()
            .any(|event| matches!(event, Event::SynSeen(_)))
    };
    assert!(seen("10.1.2.4", "192.0.2.9"));
    assert!(!seen("10.1.2.3", "192.0.2.9"), "the other's address");
    assert!(!seen("10.1.2.4", "10.1.2.3"), "the other itself");
    assert_eq!(dropped(world, DropReason::SpoofedSource), 1);
    // its twin: when the other leaves, the address is the site's
    let now = world.now;
    world.node.set_peers(vec![site()], now).unwrap();
    let syn = Segment::new(from("10.1.2.3"), to("192.0.2.9"), SYN, 1, 0);
    device.send(world, &syn.packet());
    assert!(matches!(world.events().as_slice(), [Event::SynSeen(_)]));
}

#[test]
fn a_set_that_is_wrong_for_one_node_is_wrong_for_all() {
    let mut double = peer_config(11);
    double.allowed_ips = peer_config(10).allowed_ips;
    let (mut worlds, _) = nodes(&[peer_config(10)]);
    for world in &mut worlds {
        let peers = vec![peer_config(10), double.clone()];
        assert!(world.node.set_peers(peers, world.now).is_err());
    }
}
