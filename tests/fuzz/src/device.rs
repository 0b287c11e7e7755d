//! A node with two devices, and a device as the stock client is one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};
use wg::{Event, Inside, Node, NodeConfig, PeerConfig, PeerId, Place, PrivateKey};
use x25519_dalek::{PublicKey, StaticSecret};

/// The devices of the node; the first of them is connected.
pub(crate) const DEVICES: [u8; 2] = [10, 11];

pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    wall: Duration,
}

impl World {
    /// A node and the connected device.
    pub(crate) fn connected() -> (Self, Device) {
        let now = Instant::now();
        let config = NodeConfig {
            private_key: PrivateKey::from_bytes([1; 32]),
            gateway4: "10.8.0.1".parse().unwrap(),
            gateway6: Some("fd08::1".parse().unwrap()),
            mtu: 1420,
            inside: Inside {
                listen4: "100.64.0.1:4000".parse().unwrap(),
                listen6: Some("[fd64::1]:4000".parse().unwrap()),
                pool4: "100.64.0.0/10".parse().unwrap(),
                pool6: Some("fd64::/64".parse().unwrap()),
            },
            seed: [5; 32],
            place: Place::ALONE,
        };
        let mut node = Node::new(config, now).unwrap();
        let peers = DEVICES.map(|number| PeerConfig {
            id: PeerId(u32::from(number)),
            public_key: PrivateKey::from_bytes([number; 32]).public_key(),
            preshared_key: None,
            allowed_ips: vec![
                format!("10.8.0.{number}/32").parse().unwrap(),
                format!("fd08::{number:x}/128").parse().unwrap(),
            ],
            keepalive: None,
            endpoint: None,
            handshake_mark: None,
        });
        node.set_peers(peers.to_vec(), now).unwrap();
        let mut world = Self {
            node,
            now,
            wall: Duration::from_secs(4_000_000_000),
        };
        let mut device = Device::new(DEVICES[0]);
        device.connect(&mut world);
        world.events();
        (world, device)
    }

    pub(crate) fn later(&mut self, by: Duration) {
        self.now += by;
        self.wall += by;
        self.node.handle_timeout(self.now);
    }

    pub(crate) fn datagram(&mut self, from: SocketAddr, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        self.node
            .handle_datagram(from, &mut datagram, self.now, self.wall);
        self.node.check_invariants();
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.node.poll_event()).collect()
    }

    /// Every datagram that waits, batches taken apart.
    pub(crate) fn sent(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(transmit) = self.node.poll_transmit() {
            let size = transmit.segment_size.unwrap_or(transmit.contents.len());
            for datagram in transmit.contents.chunks(size) {
                all.push((transmit.to, datagram.to_vec()));
            }
        }
        all
    }

    /// Counts the packets for the kernel.
    pub(crate) fn to_kernel(&mut self) -> usize {
        let mut count = 0;
        while self.node.poll_tun().is_some() {
            count += 1;
        }
        count
    }
}

pub(crate) struct Device {
    tunn: Tunn,
    pub(crate) address: SocketAddr,
    number: u8,
}

impl Device {
    pub(crate) fn new(number: u8) -> Self {
        let server = PublicKey::from(&StaticSecret::from([1; 32]));
        let key = StaticSecret::from([number; 32]);
        Self {
            tunn: Tunn::new(key, server, None, None, u32::from(number), None),
            address: SocketAddr::from(([192, 0, 2, number], 51820)),
            number,
        }
    }

    pub(crate) fn initiation(&mut self) -> Vec<u8> {
        let mut buffer = vec![0; 2048];
        match self.tunn.format_handshake_initiation(&mut buffer, true) {
            TunnResult::WriteToNetwork(message) => message.to_vec(),
            _ => panic!("no initiation"),
        }
    }

    fn connect(&mut self, world: &mut World) {
        let initiation = self.initiation();
        world.datagram(self.address, &initiation);
        let answers = world.sent();
        assert_eq!(answers.len(), 1, "{:?}", world.node.counters());
        let mut buffer = vec![0; 2048];
        match self.tunn.decapsulate(None, &answers[0].1, &mut buffer) {
            TunnResult::WriteToNetwork(keepalive) => {
                let keepalive = keepalive.to_vec();
                world.datagram(self.address, &keepalive);
            }
            _ => panic!("no session"),
        }
    }

    pub(crate) fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; packet.len() + 200];
        match self.tunn.encapsulate(packet, &mut buffer) {
            TunnResult::WriteToNetwork(datagram) => datagram.to_vec(),
            _ => panic!("no datagram"),
        }
    }

    /// Its own address in the tunnel, of either family.
    pub(crate) fn own(&self) -> [std::net::IpAddr; 2] {
        [
            std::net::IpAddr::from([10, 8, 0, self.number]),
            format!("fd08::{:x}", self.number).parse().unwrap(),
        ]
    }
}
