use super::support::*;
use crate::{DropReason, Event, NodeError, PeerId, PresharedKey};
use std::net::SocketAddr;

fn office() -> SocketAddr {
    "10.0.0.5:80".parse().unwrap()
}

fn set(world: &mut World, peers: &[crate::PeerConfig]) {
    world.node.set_peers(peers.to_vec(), world.now).unwrap();
}

#[test]
fn an_omitted_peer_is_silenced_at_once_and_its_twin_keeps_flowing() {
    let (mut world, mut device) = World::connected();
    let mut twin = Device::new(11);
    twin.connect(&mut world);
    world.events();
    let doomed = Open::new(&mut world, &mut device, 40_000, office());
    let kept = Open::new(&mut world, &mut twin, 40_000, office());
    world.kernel(&doomed.reply(ACK, 5001, 1001).with(b"queued").packet());

    set(&mut world, &[peer_config(11)]);
    assert_eq!(world.events(), [Event::FlowClosed(doomed.record.id)]);
    assert!(world.sent().is_empty(), "not even what was queued");
    let tun = world.tun();
    assert_eq!(Segment::read(&tun[0][10..]).flags, RST | ACK);
    assert_eq!(tun.len(), 1);

    device.send(
        &mut world,
        &doomed.segment(ACK, 1001, 5001).with(b"more").packet(),
    );
    let initiation = device.initiation();
    world.datagram(device.address, &initiation);
    world.kernel(&doomed.reply(ACK, 5007, 1001).with(b"late").packet());
    assert!(world.sent().is_empty() && world.tun().is_empty() && world.events().is_empty());
    assert!(world.node.flow_of_accepted(doomed.inside).is_none());
    assert!(world.node.peer_status(PeerId(10), world.now).is_none());

    twin.send(
        &mut world,
        &kept.segment(ACK, 1001, 5001).with(b"on").packet(),
    );
    assert_eq!(world.tun().len(), 1);
    world.kernel(&kept.reply(ACK, 5001, 1003).with(b"back").packet());
    assert_eq!(twin.receive(&mut world).len(), 1);
}

#[test]
fn a_peer_that_comes_back_needs_a_new_handshake() {
    let (mut world, mut device) = World::connected();
    set(&mut world, &[]);
    set(&mut world, &[peer_config(10)]);
    device.send(&mut world, &udp(device.at4(1), office(), b"x"));
    assert!(world.events().is_empty());
    assert_eq!(world.node.counters().dropped(DropReason::UnknownIndex), 1);
    device.connect(&mut world);
    device.send(&mut world, &udp(device.at4(1), office(), b"x"));
    assert!(matches!(
        world.events().last(),
        Some(Event::UdpReceived { .. })
    ));
}

#[test]
fn a_new_preshared_key_ends_the_session_and_an_equal_one_does_not() {
    let mut with_key = peer_config(10);
    with_key.preshared_key = Some(PresharedKey::from_bytes([4; 32]));
    let (mut world, mut device) = World::connected();
    set(&mut world, &[peer_config(10)]);
    device.send(&mut world, &udp(device.at4(1), office(), b"x"));
    assert_eq!(world.events().len(), 1);
    set(&mut world, &[with_key]);
    device.send(&mut world, &udp(device.at4(1), office(), b"x"));
    assert!(world.events().is_empty());
}

#[test]
fn an_address_that_moves_to_another_peer_ends_the_flows_of_the_first() {
    let (mut world, mut device) = World::connected();
    let four = Open::new(&mut world, &mut device, 40_000, office());
    let six = Open::new(
        &mut world,
        &mut device,
        40_001,
        "[2001:db8::5]:80".parse().unwrap(),
    );
    let (mut a, mut b) = (peer_config(10), peer_config(11));
    b.allowed_ips.push(a.allowed_ips.remove(0));
    set(&mut world, &[a, b]);
    assert_eq!(world.events(), [Event::FlowClosed(four.record.id)]);
    world.tun();
    device.send(
        &mut world,
        &four.segment(ACK, 1001, 5001).with(b"x").packet(),
    );
    assert!(world.tun().is_empty());
    assert!(matches!(
        world.events()[..],
        [Event::Refused {
            reason: DropReason::SpoofedSource,
            ..
        }]
    ));
    device.send(
        &mut world,
        &six.segment(ACK, 1001, 5001).with(b"x").packet(),
    );
    assert_eq!(world.tun().len(), 1);
}

#[test]
fn a_bad_set_is_refused_whole() {
    let (mut world, mut device) = World::connected();
    let now = world.now;
    let mut own = peer_config(12);
    own.public_key = world.node.public_key();
    let mut same_id = peer_config(12);
    same_id.id = PeerId(11);
    let mut same_key = peer_config(12);
    same_key.public_key = peer_config(11).public_key;
    let mut overlap = peer_config(12);
    overlap.allowed_ips = vec!["10.8.0.11/32".parse().unwrap()];
    let mut gateway = peer_config(12);
    gateway.allowed_ips = vec!["10.8.0.1/32".parse().unwrap()];
    let mut attempt = |peer| world.node.set_peers(vec![peer_config(11), peer], now);
    assert_eq!(attempt(own), Err(NodeError::OwnKey(PeerId(12))));
    assert_eq!(attempt(same_id), Err(NodeError::DuplicatePeer(PeerId(11))));
    assert_eq!(
        attempt(same_key),
        Err(NodeError::DuplicateKey(PeerId(11), PeerId(12)))
    );
    assert!(matches!(attempt(overlap), Err(NodeError::Overlap { .. })));
    assert!(matches!(attempt(gateway), Err(NodeError::OwnAddress(..))));
    device.send(&mut world, &udp(device.at4(1), office(), b"x"));
    assert_eq!(world.events().len(), 1, "the old set is still in force");
}

#[test]
fn a_longer_prefix_of_one_peer_inside_another_is_allowed() {
    let (mut a, b) = (peer_config(10), peer_config(11));
    a.allowed_ips = vec!["10.8.0.0/24".parse().unwrap()];
    let mut world = World::with(vec![a, b]);
    let mut device = Device::new(10);
    device.connect(&mut world);
    world.events();
    device.send(
        &mut world,
        &udp("10.8.0.77:1".parse().unwrap(), office(), b"x"),
    );
    assert!(matches!(world.events()[..], [Event::UdpReceived { .. }]));
    device.send(
        &mut world,
        &udp("10.8.0.11:1".parse().unwrap(), office(), b"x"),
    );
    assert!(matches!(
        world.events()[..],
        [Event::Refused {
            reason: DropReason::SpoofedSource,
            ..
        }]
    ));
    // Not even an allowed network that holds it makes the gateway's own address a source.
    let gateway = "10.8.0.1:1".parse().unwrap();
    device.send(&mut world, &udp(gateway, office(), b"x"));
    assert!(matches!(
        world.events()[..],
        [Event::Refused {
            reason: DropReason::SpoofedSource,
            ..
        }]
    ));
}
