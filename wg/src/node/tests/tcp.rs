use super::support::*;
use crate::{DropReason, Event, Node, NodeConfig, PeerId, Refusal, Unreachable};
use std::net::SocketAddr;
use std::time::Duration;

fn office4() -> SocketAddr {
    "10.0.0.5:80".parse().unwrap()
}

fn office6() -> SocketAddr {
    "[2001:db8::5]:80".parse().unwrap()
}

/// Connects, sends both ways and closes from the device's side.
fn whole_life(to: SocketAddr) {
    let (mut world, mut device) = World::connected();
    let open = Open::new(&mut world, &mut device, 40_000, to);
    let record = world.node.flow_of_accepted(open.inside).unwrap();
    assert_eq!(record, open.record);
    assert_eq!((record.peer, record.destination), (PeerId(10), to));

    device.send(
        &mut world,
        &open.segment(ACK | PSH, 1001, 5001).with(b"GET /").packet(),
    );
    let up = world.tun();
    assert_eq!(
        up[0][..10],
        [0; 10],
        "a single packet has an all-zero header"
    );
    let up = Segment::read(&up[0][10..]);
    assert_eq!((up.from, up.to), (open.inside, open.listen));
    assert_eq!(
        (up.seq, up.ack, up.payload.as_slice()),
        (1001, 5001, &b"GET /"[..])
    );

    world.kernel(&open.reply(ACK | PSH, 5001, 1006).with(b"200 OK").packet());
    let down = Segment::read(&device.receive(&mut world)[0]);
    assert_eq!((down.from, down.to), (to, open.record.source));
    assert_eq!(down.payload, b"200 OK");

    device.send(&mut world, &open.segment(ACK | FIN, 1006, 5007).packet());
    world.kernel(&open.reply(ACK | FIN, 5007, 1007).packet());
    device.send(&mut world, &open.segment(ACK, 1007, 5008).packet());
    assert_eq!(world.events(), [Event::FlowClosed(open.record.id)]);
    assert_eq!(world.tun().len(), 2);
    assert_eq!(device.receive(&mut world).len(), 1);
    assert_eq!(device.receive(&mut world).len(), 0);
}

#[test]
fn a_tcp_flow_lives_and_ends_over_ipv4() {
    whole_life(office4());
}

#[test]
fn a_tcp_flow_lives_and_ends_over_ipv6() {
    whole_life(office6());
}

#[test]
fn a_host_that_has_an_address_of_the_private_namespace_is_reached_like_any_other() {
    // shared address space may be in use in the office (RFC 6598), even the listener's own address
    for to in ["100.100.7.7:5432", "100.64.0.1:4000", "[fd64::7]:5432"] {
        whole_life(to.parse().unwrap());
    }
}

#[test]
fn devices_may_have_addresses_of_the_private_namespace() {
    // the very address that the first flow has in there, and a gateway that is called as its listener
    let from: SocketAddr = "100.64.1.0:40000".parse().unwrap();
    let gateway: SocketAddr = "100.64.0.1:443".parse().unwrap();
    let mut world = World::new();
    let own = NodeConfig {
        gateway4: "100.64.0.1".parse().unwrap(),
        ..config()
    };
    let mut peer = peer_config(10);
    peer.allowed_ips = vec!["100.64.1.0/32".parse().unwrap()];
    world.node = Node::new(own, world.now).unwrap();
    world.node.set_peers(vec![peer], world.now).unwrap();
    let mut device = Device::new(10);
    device.connect(&mut world);
    world.events();
    for to in [office4(), gateway, "100.64.9.9:22".parse().unwrap()] {
        device.send(&mut world, &Segment::new(from, to, SYN, 1000, 0).packet());
        let record = world.only_syn();
        assert_eq!((record.source, record.destination), (from, to));
        world.permit(record.id);
        let syn = Segment::read(&world.tun()[0][10..]);
        let accept = Segment::new(syn.to, syn.from, SYN | ACK, 5000, 1001);
        world.kernel(&accept.packet());
        let answer = Segment::read(&device.receive(&mut world)[0]);
        assert_eq!((answer.from, answer.to), (to, from));
    }
}

#[test]
fn two_flows_have_two_sources_inside() {
    let (mut world, mut device) = World::connected();
    let a = Open::new(&mut world, &mut device, 40_000, office4());
    let b = Open::new(&mut world, &mut device, 40_001, office4());
    assert_ne!(a.inside, b.inside);
    assert_eq!(
        world.node.flow_of_accepted(a.inside).unwrap().id,
        a.record.id
    );
    assert_eq!(
        world.node.flow_of_accepted(b.inside).unwrap().id,
        b.record.id
    );
    let stranger: SocketAddr = "100.64.9.9:5".parse().unwrap();
    assert!(world.node.flow_of_accepted(stranger).is_none());
}

#[test]
fn a_held_syn_is_reported_once_and_its_newest_copy_is_released() {
    let (mut world, mut device) = World::connected();
    let syn = Segment::new(device.at4(4), office4(), SYN, 7, 0);
    device.send(
        &mut world,
        &syn.clone()
            .options(&[8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1])
            .packet(),
    );
    device.send(
        &mut world,
        &syn.clone()
            .options(&[8, 10, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1])
            .packet(),
    );
    let record = world.only_syn();
    assert!(world.tun().is_empty());
    world.permit(record.id);
    world.permit(record.id);
    let tun = world.tun();
    assert_eq!(tun.len(), 1);
    assert_eq!(Segment::read(&tun[0][10..]).options[5], 2);
    device.send(&mut world, &syn.packet());
    assert!(world.events().is_empty());
    assert_eq!(world.tun().len(), 1, "a repeat on an opening flow passes");
}

#[test]
fn data_before_the_permit_never_reaches_the_tun() {
    let (mut world, mut device) = World::connected();
    let syn = Segment::new(device.at4(4), office4(), SYN, 7, 0);
    device.send(&mut world, &syn.packet());
    for flags in [ACK, ACK | PSH, ACK | FIN] {
        let early = Segment::new(device.at4(4), office4(), flags, 8, 1).with(b"early");
        device.send(&mut world, &early.packet());
    }
    let record = world.only_syn();
    assert!(world.tun().is_empty());
    assert!(
        world
            .node
            .flow_of_accepted("100.64.1.0:1024".parse().unwrap())
            .is_none()
    );
    device.send(
        &mut world,
        &Segment::new(device.at4(4), office4(), RST, 8, 0).packet(),
    );
    assert!(world.tun().is_empty());
    assert_eq!(world.events(), [Event::FlowClosed(record.id)]);
    world.permit(record.id);
    assert!(world.tun().is_empty());
}

#[test]
fn a_refused_syn_is_reset() {
    let (mut world, mut device) = World::connected();
    device.send(
        &mut world,
        &Segment::new(device.at4(4), office4(), SYN, 7, 0).packet(),
    );
    let record = world.only_syn();
    world.node.refuse(record.id, Refusal::Reset);
    let answer = Segment::read(&device.receive(&mut world)[0]);
    assert_eq!((answer.flags, answer.ack, answer.seq), (RST | ACK, 8, 0));
    assert_eq!((answer.from, answer.to), (office4(), device.at4(4)));
    assert!(world.tun().is_empty());
    world.node.refuse(record.id, Refusal::Reset);
    assert!(world.sent().is_empty());
}

#[test]
fn a_syn_to_a_host_that_does_not_answer_is_told_so_and_then_reset() {
    let (mut world, mut device) = World::connected();
    for (to, host, prohibited, head) in [
        (office4(), (3, 1), (3, 13), 20),
        (office6(), (1, 3), (1, 1), 40),
    ] {
        let from = if to.is_ipv4() {
            device.at4(40_000)
        } else {
            device.at6(40_000)
        };
        for (why, told) in [
            (Unreachable::Host, host),
            (Unreachable::Prohibited, prohibited),
        ] {
            let syn = Segment::new(from, to, SYN, 77, 0);
            device.send(&mut world, &syn.packet());
            let record = world.only_syn();
            world.node.refuse(record.id, Refusal::Unreachable(why));
            let heard = device.receive(&mut world);
            let [message, reset] = heard.as_slice() else {
                panic!("not two packets: {heard:?}");
            };
            let (source, target, protocol, body) = open_ip(message);
            assert_eq!((source, target), (to.ip(), from.ip()));
            assert_eq!((body[0], body[1]), told);
            assert_eq!(reference_sum(source, target, protocol, body), 0xffff);
            let quoted = Segment::read(&body[8..]);
            assert_eq!((quoted.from, quoted.to), (from, to));
            assert_eq!((quoted.seq, quoted.flags), (77, SYN));
            assert_eq!(body.len(), 8 + head + 20);
            let reset = Segment::read(reset);
            assert_eq!((reset.flags, reset.ack), (RST | ACK, 78));
            assert!(world.tun().is_empty() && world.events().is_empty());
        }
    }
}

#[test]
fn a_syn_refused_in_silence_is_not_reported_again_but_a_new_one_is() {
    let (mut world, mut device) = World::connected();
    let syn = Segment::new(device.at4(4), office4(), SYN, 7, 0);
    device.send(&mut world, &syn.packet());
    let record = world.only_syn();
    world.node.refuse(record.id, Refusal::Silent);
    device.send(&mut world, &syn.packet());
    assert!(world.events().is_empty());
    assert!(world.sent().is_empty() && world.tun().is_empty());
    device.send(
        &mut world,
        &Segment::new(device.at4(4), office4(), SYN, 99, 0).packet(),
    );
    assert_ne!(world.only_syn().id, record.id);
}

#[test]
fn an_unknown_segment_is_reset_and_a_reset_is_not() {
    let (mut world, mut device) = World::connected();
    let stray = Segment::new(device.at4(4), office4(), ACK, 7, 900).with(b"late");
    device.send(&mut world, &stray.packet());
    let answer = Segment::read(&device.receive(&mut world)[0]);
    assert_eq!((answer.flags, answer.seq), (RST, 900));
    device.send(
        &mut world,
        &Segment::new(device.at4(4), office4(), RST, 7, 0).packet(),
    );
    device.send(
        &mut world,
        &Segment::new(device.at4(4), office4(), FIN, 7, 0).packet(),
    );
    let answer = Segment::read(&device.receive(&mut world)[0]);
    assert_eq!((answer.flags, answer.ack), (RST | ACK, 8));
    assert!(world.events().is_empty() && world.tun().is_empty());
}

#[test]
fn the_mss_is_clamped_in_both_directions_and_a_small_one_is_kept() {
    let (mut world, mut device) = World::connected();
    for (to, offered, seen) in [
        (office4(), 9000_u16, 1380_u16),
        (office4(), 1000, 1000),
        (office6(), 9000, 1360),
    ] {
        let port = 5000 + offered;
        let from = if to.is_ipv4() {
            device.at4(port)
        } else {
            device.at6(port)
        };
        let [high, low] = offered.to_be_bytes();
        // Once aligned, once behind a no-op.
        for options in [[2, 4, high, low, 1, 1, 1, 0], [1, 2, 4, high, low, 1, 1, 0]] {
            let seq = u32::from(options[0]);
            let syn = Segment::new(from, to, SYN, seq, 0).options(&options);
            device.send(&mut world, &syn.packet());
            let record = world.only_syn();
            world.permit(record.id);
            let inner = Segment::read(&world.tun()[0][10..]);
            let at = usize::from(options[0] == 1) + 2;
            assert_eq!(inner.options[at..at + 2], seen.to_be_bytes());
            let reply = Segment::new(inner.to, inner.from, SYN | ACK, 1, seq + 1).options(&options);
            world.kernel(&reply.packet());
            let outer = Segment::read(&device.receive(&mut world)[0]);
            assert_eq!(outer.options[at..at + 2], seen.to_be_bytes());
            world.node.close_flow(record.id);
            world.events();
            world.tun();
            device.receive(&mut world);
        }
    }
}

#[test]
fn closing_a_flow_resets_both_ends_once() {
    let (mut world, mut device) = World::connected();
    let open = Open::new(&mut world, &mut device, 40_000, office4());
    world.kernel(&open.reply(ACK, 5001, 1001).with(b"bytes").packet());
    device.receive(&mut world);
    world.node.close_flow(open.record.id);
    let reset = Segment::read(&device.receive(&mut world)[0]);
    assert_eq!((reset.flags, reset.seq, reset.ack), (RST | ACK, 5001, 1001));
    let tun = world.tun();
    let inner = Segment::read(&tun[0][10..]);
    assert_eq!((inner.flags, inner.seq), (RST | ACK, 1001));
    assert_eq!((inner.from, inner.to), (open.inside, open.listen));
    assert_eq!(world.events(), [Event::FlowClosed(open.record.id)]);

    world.node.close_flow(open.record.id);
    assert!(world.sent().is_empty() && world.tun().is_empty() && world.events().is_empty());
    world.kernel(&open.reply(ACK, 5006, 1001).with(b"late").packet());
    assert!(world.sent().is_empty());
    device.send(&mut world, &open.segment(ACK, 1001, 5006).packet());
    let reset = Segment::read(&device.receive(&mut world)[0]);
    assert_eq!((reset.flags, reset.seq), (RST, 5006));
}

#[test]
fn close_flows_of_keeps_what_it_is_told_to() {
    let (mut world, mut device) = World::connected();
    let a = Open::new(&mut world, &mut device, 40_000, office4());
    let b = Open::new(&mut world, &mut device, 40_001, office6());
    world
        .node
        .close_flows_of(PeerId(10), |flow| flow.destination == office6());
    assert_eq!(world.events(), [Event::FlowClosed(a.record.id)]);
    world.tun();
    device.receive(&mut world);
    device.send(&mut world, &b.segment(ACK, 1001, 5001).with(b"on").packet());
    assert_eq!(world.tun().len(), 1);
}

#[test]
fn a_reset_of_either_end_ends_the_flow() {
    for from_device in [true, false] {
        let (mut world, mut device) = World::connected();
        let open = Open::new(&mut world, &mut device, 40_000, office4());
        if from_device {
            device.send(&mut world, &open.segment(RST, 1001, 0).packet());
            assert_eq!(Segment::read(&world.tun()[0][10..]).flags, RST);
        } else {
            world.kernel(&open.reply(RST, 5001, 0).packet());
            assert_eq!(Segment::read(&device.receive(&mut world)[0]).flags, RST);
        }
        assert_eq!(world.events(), [Event::FlowClosed(open.record.id)]);
        assert!(world.node.flow_of_accepted(open.inside).is_none());
    }
}

#[test]
fn a_new_syn_on_a_closing_flow_gets_a_new_source_and_one_on_a_live_flow_passes() {
    let (mut world, mut device) = World::connected();
    let open = Open::new(&mut world, &mut device, 40_000, office4());
    let fresh = open.segment(SYN, 70_000, 0);
    device.send(&mut world, &fresh.packet());
    assert!(world.events().is_empty());
    assert_eq!(Segment::read(&world.tun()[0][10..]).from, open.inside);

    world.node.flow_finished(open.record.id, world.now);
    device.send(&mut world, &fresh.packet());
    let events = world.events();
    let [Event::FlowClosed(old), Event::SynSeen(record)] = events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(old, open.record.id);
    world.tun();
    world.permit(record.id);
    assert_ne!(Segment::read(&world.tun()[0][10..]).from, open.inside);
}

#[test]
fn a_finished_flow_still_delivers_what_the_kernel_has_left() {
    let (mut world, mut device) = World::connected();
    let open = Open::new(&mut world, &mut device, 40_000, office4());
    world.node.flow_finished(open.record.id, world.now);
    world.kernel(&open.reply(ACK | FIN, 5001, 1001).with(b"last").packet());
    assert_eq!(
        Segment::read(&device.receive(&mut world)[0]).payload,
        b"last"
    );
    device.send(&mut world, &open.segment(ACK | FIN, 1001, 5006).packet());
    assert_eq!(world.tun().len(), 1);
    assert_eq!(world.events(), [Event::FlowClosed(open.record.id)]);
}

#[test]
fn half_open_flows_are_capped_per_peer_and_the_neighbour_is_served() {
    let (mut world, mut device) = World::connected();
    let mut other = Device::new(11);
    other.connect(&mut world);
    world.events();
    for port in 1..=200 {
        device.send(
            &mut world,
            &Segment::new(device.at4(port), office4(), SYN, 7, 0).packet(),
        );
    }
    let seen = world.events();
    let syns = seen
        .iter()
        .filter(|e| matches!(e, Event::SynSeen(_)))
        .count();
    assert_eq!(syns, 128);
    assert_eq!(world.node.counters().dropped(DropReason::HalfOpenCap), 72);
    other.send(
        &mut world,
        &Segment::new(other.at4(1), office4(), SYN, 7, 0).packet(),
    );
    world.only_syn();

    let Event::SynSeen(first) = seen[0] else {
        panic!()
    };
    world.node.refuse(first.id, Refusal::Reset);
    world.later(Duration::from_secs(1));
    device.send(
        &mut world,
        &Segment::new(device.at4(900), office4(), SYN, 7, 0).packet(),
    );
    world.only_syn();
}

#[test]
fn flows_are_capped_per_peer_and_the_oldest_that_lingers_makes_room() {
    let (mut world, mut device) = World::connected();
    let mut flows = Vec::new();
    for port in 1..=1024 {
        device.send(
            &mut world,
            &Segment::new(device.at4(port), office4(), SYN, 7, 0).packet(),
        );
        let record = world.only_syn();
        world.permit(record.id);
        device.send(
            &mut world,
            &Segment::new(device.at4(port), office4(), ACK, 8, 1).packet(),
        );
        flows.push(record);
    }
    world.tun();
    let more = Segment::new(device.at4(3000), office4(), SYN, 7, 0).packet();
    device.send(&mut world, &more);
    assert!(matches!(
        world.events()[..],
        [Event::Refused {
            reason: DropReason::FlowCap,
            ..
        }]
    ));
    world.node.flow_finished(flows[500].id, world.now);
    device.send(&mut world, &more);
    let events = world.events();
    assert!(
        matches!(events[..], [Event::FlowClosed(id), Event::SynSeen(_)] if id == flows[500].id),
        "{events:?}"
    );
}
