mod laptop;

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use wg::{Inside, Node, NodeConfig, Place, PrivateKey};

use super::arrivals::BYTES_PER_DELIVERY;
use super::{Command, FlowNews, Inbox, Loop, Parts, Shard, reports};
use crate::clock;
use crate::tunnel::namespace::{POOL4, POOL6};
use laptop::Laptop;

fn node() -> Node {
    let inside = Inside {
        listen4: "100.64.0.1:4000".parse().unwrap(),
        listen6: None,
        pool4: POOL4,
        pool6: Some(POOL6),
    };
    let config = NodeConfig {
        private_key: PrivateKey::from_bytes([1; 32]),
        gateway4: [10, 200, 200, 1].into(),
        gateway6: None,
        mtu: 1420,
        inside,
        seed: [0; 32],
        place: Place::ALONE,
    };
    Node::new(config, clock::now()).unwrap()
}

/// What a loop runs on, each part in good order.
fn parts() -> (Parts, UnixDatagram) {
    let listener = tcp();
    listener.listen(1).unwrap();
    let (tun, other) = UnixDatagram::pair().unwrap();
    tun.set_nonblocking(true).unwrap();
    let parts = Parts {
        outer: UdpSocket::bind(("127.0.0.1", 0)).unwrap(),
        mail: None,
        tun: OwnedFd::from(tun),
        listen4: listener.into(),
        listen6: None,
    };
    (parts, other)
}

/// A TCP socket that is neither connected nor listens: to read from it and to accept on it fails
/// at once, each time.
fn tcp() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Runs questions through a loop, `each` before every one; returns how long they took.
async fn time_of_questions(parts: Parts, mut each: impl FnMut()) -> Duration {
    let (out, _inbox) = reports();
    let (shard, mut commands) = Shard::channel();
    let mut shard_loop = Loop::new(node(), parts, out).unwrap();
    let asking = async move {
        let start: Instant = clock::now();
        for _ in 0..100 {
            each();
            // lets the runtime look at the descriptors before the next one
            tokio::task::yield_now().await;
            assert!(shard.ask(Command::Counters).await.is_some());
        }
        clock::now().saturating_duration_since(start)
    };
    let (took, ()) = tokio::join!(asking, shard_loop.run(&mut commands));
    took
}

/// A pause of 50 ms before each answer would make five seconds of them.
const MOST: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_descriptor_that_fails_holds_nothing_else_up() {
    for broken in ["none", "listener", "TUN", "UDP"] {
        let (mut parts, _other) = parts();
        match broken {
            "listener" => parts.listen4 = tcp().into(),
            "TUN" => parts.tun = tcp().into(),
            "UDP" => parts.outer = OwnedFd::from(tcp()).into(),
            _ => {}
        }
        let took = time_of_questions(parts, || {}).await;
        assert!(took < MOST, "{took:?}, broken: {broken}");
    }
}

#[tokio::test]
async fn what_another_host_refuses_holds_nothing_up() {
    let (parts, _other) = parts();
    let gateway = parts.outer.local_addr().unwrap();
    let host = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let at = host.local_addr().unwrap();
    drop(host);
    parts.outer.connect(at).unwrap();
    let sender = parts.outer.try_clone().unwrap();
    let each = || {
        let host = UdpSocket::bind(at).unwrap();
        host.send_to(b"junk", gateway).unwrap();
        drop(host);
        // loopback refuses it before the call returns, and the next read says so
        drop(sender.send(b"to a closed port"));
    };
    let took = time_of_questions(parts, each).await;
    assert!(took < MOST, "{took:?}");
}

#[tokio::test]
async fn data_passes_beside_a_tun_that_fails() {
    let (mut parts, _other) = parts();
    parts.tun = tcp().into();
    let gateway = parts.outer.local_addr().unwrap();
    let sender = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let (out, _inbox) = reports();
    let (shard, mut commands) = Shard::channel();
    let mut shard_loop = Loop::new(node(), parts, out).unwrap();
    let asking = async move {
        let start: Instant = clock::now();
        for sent in 1..=100 {
            sender.send_to(b"junk", gateway).unwrap();
            let seen = async || shard.ask(Command::Counters).await.unwrap().datagrams_in;
            while seen().await < sent {}
        }
        clock::now().saturating_duration_since(start)
    };
    let (took, ()) = tokio::join!(asking, shard_loop.run(&mut commands));
    assert!(took < MOST, "{took:?}");
}

/// Reads what the loop wrote to the TUN device: the payload of a segment, perhaps of several.
fn written(tun: &UnixDatagram) -> Vec<u8> {
    let mut packet = vec![0; 70_000];
    let length = tun.recv(&mut packet).unwrap();
    // virtio_net_hdr, IPv4, TCP without options
    packet.truncate(length);
    packet.split_off(10 + 20 + 20)
}

#[tokio::test]
async fn segments_that_come_one_by_one_are_written_as_one() {
    let (parts, tun) = parts();
    let mut laptop = Laptop::new(parts.outer.local_addr().unwrap(), 2);
    let (out, mut inbox) = reports();
    let (shard, mut commands) = Shard::channel();
    let mut shard_loop = Loop::new(node(), parts, out).unwrap();
    let talk = async move {
        let peers = vec![laptop.config()];
        let set = shard.ask(|answer| Command::SetPeers(peers, answer)).await;
        set.unwrap().unwrap();
        laptop.shake_hands().await;
        laptop.send(laptop::SYN, 1000, b"");
        let Some(FlowNews::Syn(flow)) = inbox.flows.recv().await else {
            panic!("no SYN");
        };
        shard.tell(Command::Permit(flow.id)).await;
        assert!(shard.ask(Command::Counters).await.is_some());
        assert_eq!(written(&tun), b"");
        // the loop does not run before all of them are there
        let sent: Vec<u8> = (0..20).flat_map(|part| [part; 1000]).collect();
        for (part, seq) in sent.chunks(1000).zip((1001..).step_by(1000)) {
            laptop.send(laptop::ACK, seq, part);
        }
        let passed = async || shard.ask(Command::Counters).await.unwrap().tun_segments;
        while passed().await < 21 {
            tokio::task::yield_now().await;
        }
        assert!(written(&tun) == sent, "twenty segments in one packet");
    };
    tokio::join!(talk, shard_loop.run(&mut commands));
}

/// Payload bytes of one segment that nearly fills a datagram, and how many of them one laptop sends:
/// more than one look at the socket takes, and less than the smallest socket holds.
const LARGE: usize = 1300;
const MANY: u32 = 80;

/// Two laptops with a flow each, whose datagrams came at once.
async fn two_flows(shard: &Shard, inbox: &mut Inbox, laptops: &mut [Laptop; 2]) {
    let peers = laptops.iter().map(Laptop::config).collect();
    let set = shard.ask(|answer| Command::SetPeers(peers, answer)).await;
    set.unwrap().unwrap();
    for laptop in laptops.iter_mut() {
        laptop.shake_hands().await;
    }
    for laptop in laptops {
        laptop.send(laptop::SYN, 1000, b"");
    }
    for _ in 0..2 {
        let Some(FlowNews::Syn(flow)) = inbox.flows.recv().await else {
            panic!("no SYN");
        };
        shard.tell(Command::Permit(flow.id)).await;
    }
    assert!(shard.ask(Command::Counters).await.is_some());
}

#[tokio::test]
async fn who_sends_little_is_heard_before_all_that_another_sent_before_it() {
    let (parts, tun) = parts();
    let to = parts.outer.local_addr().unwrap();
    let (out, mut inbox) = reports();
    let (shard, mut commands) = Shard::channel();
    let mut shard_loop = Loop::new(node(), parts, out).unwrap();
    let talk = async move {
        let mut laptops = [Laptop::new(to, 2), Laptop::new(to, 3)];
        two_flows(&shard, &mut inbox, &mut laptops).await;
        for _ in 0..2 {
            assert_eq!(written(&tun), b"");
        }
        let [much, little] = &mut laptops;
        for part in 0..MANY {
            let seq = 1001 + part * u32::try_from(LARGE).unwrap();
            much.send(laptop::ACK, seq, &[7; LARGE]);
        }
        little.send(laptop::ACK, 1001, b"little");
        // with the two that opened the flows
        let passed = async || shard.ask(Command::Counters).await.unwrap().tun_segments;
        while passed().await < u64::from(MANY) + 3 {
            tokio::task::yield_now().await;
        }
        let mut ahead = 0;
        loop {
            let payload = written(&tun);
            if payload == b"little" {
                break ahead;
            }
            ahead += payload.len();
        }
    };
    let (ahead, ()) = tokio::join!(talk, shard_loop.run(&mut commands));
    // what one write to the TUN device holds may have been under way
    assert!(ahead < BYTES_PER_DELIVERY + 2 * LARGE, "{ahead}");
    assert!(ahead + LARGE < LARGE * usize::try_from(MANY).unwrap());
}
