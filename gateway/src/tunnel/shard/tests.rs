use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use wg::{Inside, Node, NodeConfig, PrivateKey};

use super::{Command, Loop, Parts, Shard, reports};
use crate::clock;
use crate::tunnel::namespace::{POOL4, POOL6};

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
    };
    Node::new(config, clock::now()).unwrap()
}

/// Runs questions through a loop whose listener is or is not one; returns how long they took.
async fn time_of_questions(listens: bool) -> Duration {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&any.into()).unwrap();
    if listens {
        listener.listen(1).unwrap();
    }
    let (tun, _other) = UnixDatagram::pair().unwrap();
    tun.set_nonblocking(true).unwrap();
    let parts = Parts {
        outer: UdpSocket::bind(any).unwrap(),
        tun: OwnedFd::from(tun),
        listen4: listener.into(),
        listen6: None,
    };
    let (out, _inbox) = reports();
    let (shard, mut commands) = Shard::channel();
    let mut shard_loop = Loop::new(node(), parts, out).unwrap();
    let asking = async move {
        let start: Instant = clock::now();
        for _ in 0..100 {
            assert!(shard.ask(Command::Counters).await.is_some());
        }
        clock::now().saturating_duration_since(start)
    };
    let (took, ()) = tokio::join!(asking, shard_loop.run(&mut commands));
    took
}

#[tokio::test]
async fn a_listener_that_fails_holds_nothing_else_up() {
    for listens in [true, false] {
        let took = time_of_questions(listens).await;
        assert!(took < Duration::from_millis(1500), "{took:?}, {listens}");
    }
}
