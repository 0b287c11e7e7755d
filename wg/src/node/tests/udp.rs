use super::support::*;
use crate::{DropReason, Event, PeerId, SendError, Unreachable};
use std::net::{IpAddr, SocketAddr};

#[test]
fn udp_travels_both_ways_in_both_families() {
    let (mut world, mut device) = World::connected();
    for (from, to) in [
        (device.at4(5353), "10.0.0.5:53"),
        (device.at4(5353), "10.8.0.1:53"),
        (device.at6(5353), "[2001:db8::5]:53"),
        (device.at6(5353), "[fd08::1]:53"),
    ] {
        let to: SocketAddr = to.parse().unwrap();
        device.send(&mut world, &udp(from, to, b"question"));
        let event = world.events().remove(0);
        let expected = Event::UdpReceived {
            peer: PeerId(10),
            from,
            to,
            payload: b"question".to_vec(),
        };
        assert_eq!(event, expected);
        world
            .node
            .send_udp(PeerId(10), to, from, b"answer", world.now)
            .unwrap();
        let answer = device.receive(&mut world).remove(0);
        let (source, target, protocol, body) = open_ip(&answer);
        assert_eq!((source, target, protocol), (to.ip(), from.ip(), 17));
        assert_eq!(reference_sum(source, target, 17, body), 0xffff);
        assert_eq!(&body[8..], b"answer");
    }
    assert!(world.tun().is_empty());
}

#[test]
fn plaintexts_are_padded_to_16_bytes_but_not_past_the_mtu() {
    let (mut world, device) = World::connected();
    let (from, to) = ("10.0.0.5:53".parse().unwrap(), device.at4(5353));
    for (payload, size) in [(1, 32), (4, 32), (5, 48), (1392, 1420), (1380, 1408)] {
        world
            .node
            .send_udp(PeerId(10), from, to, &vec![0; payload], world.now)
            .unwrap();
        assert_eq!(world.sent()[0].1.len(), size + 32, "payload {payload}");
    }
}

#[test]
fn nothing_is_sent_to_an_address_the_peer_does_not_own() {
    let (mut world, device) = World::connected();
    let from: SocketAddr = "10.0.0.5:53".parse().unwrap();
    let mut send = |peer, from, to, len: usize| {
        world
            .node
            .send_udp(PeerId(peer), from, to, &vec![0; len], world.now)
    };
    let other = "10.8.0.11:1".parse().unwrap();
    assert_eq!(send(10, from, other, 1), Err(SendError::NotOwned(other)));
    assert_eq!(send(9, from, other, 1), Err(SendError::UnknownPeer));
    assert_eq!(send(11, from, other, 1), Err(SendError::NoSession));
    assert_eq!(send(10, from, device.at6(1), 1), Err(SendError::Family));
    assert_eq!(
        send(10, from, device.at4(1), 65_508),
        Err(SendError::TooLarge(65_516))
    );
    assert_eq!(send(10, from, device.at4(1), 1392), Ok(()));
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn a_datagram_longer_than_the_mtu_goes_out_in_fragments() {
    let (mut world, mut device) = World::connected();
    let from = "10.0.0.5:53".parse().unwrap();
    let payload = vec![7; 65_507];
    let sent = world
        .node
        .send_udp(PeerId(10), from, device.at4(1), &payload, world.now);
    assert_eq!(sent, Ok(()));
    let fragments = device.receive(&mut world);
    assert!(fragments.iter().all(|fragment| fragment.len() <= 1420));
    let body: usize = fragments.iter().map(|f| open_ip(f).3.len()).sum();
    assert_eq!(body, 65_515);
}

#[test]
fn an_echo_to_the_gateway_is_answered_and_one_to_a_host_is_reported() {
    let (mut world, mut device) = World::connected();
    let ping = [8, 0, 0, 0, 1, 2, 3, 4, b'h', b'i', b'!'];
    let (me, gateway) = (device.at4(0).ip(), "10.8.0.1".parse().unwrap());
    device.send(&mut world, &icmp(me, gateway, &ping));
    let pong = device.receive(&mut world).remove(0);
    let (from, to, protocol, body) = open_ip(&pong);
    assert_eq!((from, to, protocol), (gateway, me, 1));
    assert_eq!(words(0, body), 0xffff);
    assert_eq!((body[0], &body[4..]), (0, &ping[4..]));
    assert!(world.events().is_empty());

    let host = "2001:db8::5".parse().unwrap();
    let mut ping6 = ping;
    ping6[0] = 128;
    device.send(&mut world, &icmp(device.at6(0).ip(), host, &ping6));
    let Event::EchoRequest {
        from,
        to,
        ident,
        seq,
        payload,
        ..
    } = world.events().remove(0)
    else {
        panic!("no echo");
    };
    assert_eq!((to, ident, seq), (host, 0x0102, 0x0304));
    world
        .node
        .send_echo_reply(PeerId(10), to, from, ident, seq, &payload, world.now)
        .unwrap();
    let pong = device.receive(&mut world).remove(0);
    let (from, to, protocol, body) = open_ip(&pong);
    assert_eq!(
        (from, to, protocol, body[0]),
        (host, device.at6(0).ip(), 58, 129)
    );
    assert_eq!(reference_sum(from, to, 58, body), 0xffff);
    assert_eq!(&body[4..], &ping[4..]);
}

#[test]
fn an_unreachable_quotes_the_datagram() {
    let (mut world, mut device) = World::connected();
    for (from, to, kind, code, head) in [
        (device.at4(9), "10.0.0.5:7", 3, 3, 20),
        (device.at6(9), "[2001:db8::5]:7", 1, 4, 40),
    ] {
        let to: SocketAddr = to.parse().unwrap();
        world
            .node
            .send_unreachable(
                PeerId(10),
                from,
                to,
                b"payload",
                Unreachable::Port,
                world.now,
            )
            .unwrap();
        let message = device.receive(&mut world).remove(0);
        let (source, target, protocol, body) = open_ip(&message);
        assert_eq!((source, target), (to.ip(), from.ip()));
        assert_eq!((body[0], body[1]), (kind, code));
        assert_eq!(reference_sum(source, target, protocol, body), 0xffff);
        assert_eq!(&body[8..], udp_quote(from, to, head));
    }
}

#[test]
fn an_unreachable_quotes_the_echo() {
    let (mut world, mut device) = World::connected();
    for (from, to, (kind, code), request) in [
        (device.at4(0).ip(), "10.0.0.5", (3, 13), 8),
        (device.at6(0).ip(), "2001:db8::5", (1, 1), 128),
    ] {
        let to: IpAddr = to.parse().unwrap();
        let why = Unreachable::Prohibited;
        let ids = (0x0102, 0x0304);
        let node = &mut world.node;
        node.send_echo_unreachable(PeerId(10), (from, to), ids, b"hi", why, world.now)
            .unwrap();
        let message = device.receive(&mut world).remove(0);
        let (source, target, protocol, body) = open_ip(&message);
        assert_eq!((source, target), (to, from));
        assert_eq!((body[0], body[1]), (kind, code));
        assert_eq!(reference_sum(source, target, protocol, body), 0xffff);
        let (source, target, _, quoted) = open_ip(&body[8..]);
        assert_eq!((source, target, quoted[0]), (from, to, request));
        assert_eq!(&quoted[4..], [1, 2, 3, 4, b'h', b'i']);
    }
}

#[test]
fn a_path_that_is_too_narrow_is_told_with_its_width() {
    let (mut world, mut device) = World::connected();
    for (from, to, told) in [
        (device.at4(9), "10.0.0.5:7", [3, 4, 0, 0, 5, 0]),
        (device.at6(9), "[2001:db8::5]:7", [2, 0, 0, 0, 5, 0]),
    ] {
        let to: SocketAddr = to.parse().unwrap();
        let why = Unreachable::TooBig(1280);
        let node = &mut world.node;
        let payload = [7; 1300];
        node.send_unreachable(PeerId(10), from, to, &payload, why, world.now)
            .unwrap();
        let message = device.receive(&mut world).remove(0);
        let (source, target, protocol, body) = open_ip(&message);
        assert_eq!((source, target), (to.ip(), from.ip()));
        assert_eq!([body[0], body[1], body[4], body[5], body[6], body[7]], told);
        assert_eq!(reference_sum(source, target, protocol, body), 0xffff);
        assert_eq!(body.len(), 8 + 548);
    }
}

#[test]
fn a_packet_without_hops_ends_here_and_the_sender_hears_of_it_from_the_gateway() {
    let (mut world, mut device) = World::connected();
    for (from, to, gateway, at, told) in [
        (device.at4(9), "10.0.0.5:7", "10.8.0.1", 8, [11, 0]),
        (device.at6(9), "[2001:db8::5]:7", "fd08::1", 7, [3, 0]),
    ] {
        let to: SocketAddr = to.parse().unwrap();
        let gateway: IpAddr = gateway.parse().unwrap();
        for (hops, passes) in [(0, false), (1, false), (2, true)] {
            let mut packet = udp(from, to, b"probe");
            packet[at] = hops;
            if from.is_ipv4() {
                seal_ip4(&mut packet);
            }
            device.send(&mut world, &packet);
            assert_eq!(world.events().len(), usize::from(passes), "{hops}");
            let heard = device.receive(&mut world);
            assert_eq!(heard.len(), usize::from(!passes), "{hops}");
            for message in heard {
                let (source, target, protocol, body) = open_ip(&message);
                assert_eq!((source, target), (gateway, from.ip()));
                assert_eq!([body[0], body[1]], told);
                assert_eq!(reference_sum(source, target, protocol, body), 0xffff);
                assert_eq!(&body[8..], packet);
            }
        }
    }
    assert_eq!(world.node.counters().dropped(DropReason::HopLimit), 4);
    let mut own = udp(device.at4(9), "10.8.0.1:53".parse().unwrap(), b"query");
    own[8] = 1;
    seal_ip4(&mut own);
    device.send(&mut world, &own);
    assert_eq!(world.events().len(), 1, "the gateway itself is reached");
}

fn udp_quote(from: SocketAddr, to: SocketAddr, head: usize) -> Vec<u8> {
    let mut quote = udp(from, to, b"payload");
    if head == 20 {
        quote[4..6].fill(0);
        seal_ip4(&mut quote);
    }
    quote
}

#[test]
fn waiting_datagrams_are_bounded() {
    let (mut world, mut device) = World::connected();
    for _ in 0..1100 {
        device.send(
            &mut world,
            &udp(device.at4(1), "10.0.0.5:53".parse().unwrap(), b"x"),
        );
    }
    assert_eq!(world.events().len(), 1024);
    device.send(
        &mut world,
        &udp(device.at4(1), "10.0.0.5:53".parse().unwrap(), b"x"),
    );
    assert_eq!(world.events().len(), 1);
}
