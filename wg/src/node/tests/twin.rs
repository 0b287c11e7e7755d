use super::support::*;
use crate::{Event, PeerId};
use std::net::SocketAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn speak(device: &mut Device, world: &mut World) -> Vec<Event> {
    let packet = udp(device.at4(1), "10.8.0.1:53".parse().unwrap(), b"q");
    device.send(world, &packet);
    world.sent();
    let mut events = world.events();
    events.retain(|event| matches!(event, Event::SeenTwice { .. }));
    events
}

#[test]
fn two_devices_with_one_key_raise_the_alarm() {
    let mut world = World::new();
    let (mut first, mut second) = (Device::new(10), Device::new(10));
    second.address = "198.51.100.7:7".parse().unwrap();
    first.connect(&mut world);
    assert!(speak(&mut first, &mut world).is_empty());
    second.connect(&mut world);
    assert!(speak(&mut second, &mut world).is_empty());
    assert!(speak(&mut first, &mut world).is_empty(), "still under way");
    world.later(6 * SECOND);
    let alarm = Event::SeenTwice {
        peer: PeerId(10),
        here: first.address,
        there: second.address,
    };
    assert_eq!(speak(&mut first, &mut world), [alarm]);
    assert!(speak(&mut second, &mut world).is_empty());
    assert_eq!(world.node.counters().twins, 1);

    world.later(11 * SECOND);
    first.connect(&mut world);
    speak(&mut first, &mut world);
    world.later(6 * SECOND);
    let again = speak(&mut second, &mut world);
    assert!(matches!(again[..], [Event::SeenTwice { here, .. }] if here == second.address));
}

#[test]
fn a_device_that_roams_to_and_fro_with_handshakes_raises_none() {
    let mut world = World::new();
    let mut device = Device::new(10);
    let places: [SocketAddr; 3] =
        ["192.0.2.10:1", "198.51.100.7:7", "198.51.100.7:9"].map(|place| place.parse().unwrap());
    device.connect(&mut world);
    for round in 0..30 {
        device.address = places[round % 3];
        if round % 4 == 3 {
            device.connect(&mut world);
        }
        for _ in 0..3 {
            assert!(speak(&mut device, &mut world).is_empty(), "round {round}");
            world.later(3 * SECOND);
        }
    }
    assert_eq!(world.node.counters().twins, 0);
}
