use super::support::*;
use crate::Event;
use std::net::SocketAddr;
use std::time::Duration;

fn office() -> SocketAddr {
    "10.0.0.5:80".parse().unwrap()
}

/// Lets `by` pass, with a tick each quarter of a second of the last three.
fn pass(world: &mut World, by: Duration) {
    world.later(by);
    for _ in 0..12 {
        world.later(Duration::from_millis(250));
        world.node.handle_timeout(world.now);
    }
}

#[test]
fn a_node_without_work_wants_no_timeout() {
    let world = World::new();
    assert_eq!(world.node.poll_timeout(), None);
    let (world, _) = World::connected();
    let (due, _) = world.node.poll_timeout().unwrap();
    assert!(due <= world.now + Duration::from_millis(250));
}

#[test]
fn a_held_syn_is_forgotten_after_30_seconds_and_not_before() {
    let (mut world, mut device) = World::connected();
    device.send(
        &mut world,
        &Segment::new(device.at4(4), office(), SYN, 7, 0).packet(),
    );
    let record = world.only_syn();
    pass(&mut world, Duration::from_secs(20));
    assert!(world.events().is_empty());
    pass(&mut world, Duration::from_secs(10));
    assert_eq!(world.events(), [Event::FlowClosed(record.id)]);
    world.permit(record.id);
    assert!(world.tun().is_empty());
}

#[test]
fn an_idle_open_flow_lives_two_hours_and_is_reset_after() {
    let (mut world, mut device) = World::connected();
    let open = Open::new(&mut world, &mut device, 40_000, office());
    pass(&mut world, Duration::from_secs(7200));
    assert!(world.events().is_empty());
    pass(&mut world, Duration::from_secs(300));
    assert_eq!(world.events(), [Event::FlowClosed(open.record.id)]);
    assert_eq!(Segment::read(&world.tun()[0][10..]).flags, RST | ACK);
}

#[test]
fn a_closed_flow_lingers_a_minute_and_its_slot_is_used_with_another_port() {
    let (mut world, mut device) = World::connected();
    let open = Open::new(&mut world, &mut device, 40_000, office());
    device.send(&mut world, &open.segment(ACK | FIN, 1001, 5001).packet());
    world.kernel(&open.reply(ACK | FIN, 5001, 1002).packet());
    device.send(&mut world, &open.segment(ACK, 1002, 5002).packet());
    assert_eq!(world.events().len(), 1);
    world.tun();
    device.send(&mut world, &open.segment(ACK, 1002, 5002).packet());
    assert_eq!(world.tun().len(), 1, "a late packet still passes");
    pass(&mut world, Duration::from_secs(61));
    assert!(world.events().is_empty());
    world.tun();
    world.sent();
    device.send(&mut world, &open.segment(ACK, 1002, 5002).packet());
    assert!(world.tun().is_empty());
    let again = Open::new(&mut world, &mut device, 40_000, office());
    assert_ne!(again.inside, open.inside);
}
