//! A node with two devices, the first of them connected.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wg::{Event, Node};

use crate::device::Device;
use crate::node::config;

/// The devices of the node, none of which has a preshared key.
pub(crate) const DEVICES: [u8; 2] = [10, 11];

pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    wall: Duration,
}

impl World {
    /// A node, its connected device and the other one.
    pub(crate) fn connected() -> (Self, [Device; 2]) {
        let now = Instant::now();
        let server = config().private_key.public_key();
        let mut devices = DEVICES.map(|number| Device::new(number, server));
        let mut node = Node::new(config(), now).unwrap();
        node.set_peers(devices.iter().map(Device::config).collect(), now)
            .unwrap();
        let mut world = Self {
            node,
            now,
            wall: Duration::from_secs(4_000_000_000),
        };
        let device = &mut devices[0];
        world.datagram(device.at, &device.initiation().unwrap());
        let answers = world.sent();
        assert_eq!(answers.len(), 1, "{:?}", world.node.counters());
        let (keepalive, _) = device.open(&answers[0].1);
        world.datagram(device.at, &keepalive.unwrap());
        world.events();
        (world, devices)
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
