//! What devices do.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Claim, World};
use crate::device::Flow;
use crate::packet::{self, ACK, FIN, RST, SYN, Tcp};

impl World {
    pub(super) fn connect(&mut self, who: usize) {
        self.pass(Duration::from_millis(1));
        if let Some(message) = self.devices[who].initiation() {
            self.upload(who, message);
        }
    }

    pub(super) fn open_flow(&mut self, who: usize) {
        self.isn = self.isn.wrapping_add(1_000_003);
        let device = &mut self.devices[who];
        let v6 = self.rng.chance(30);
        let port = 1024 + u16::try_from(device.flows.len()).unwrap();
        let from = SocketAddr::new(device.inner()[usize::from(v6)], port);
        let to: SocketAddr = if v6 {
            "[2001:db8::5]:443".parse().unwrap()
        } else {
            SocketAddr::from(([10, 0, 0, self.rng.byte()], 443))
        };
        let flow = Flow {
            isn: self.isn,
            from,
            to,
            next: self.isn,
            heard: 0,
            open: false,
            dead: false,
            received: 0,
        };
        let syn = flow.segment(SYN, Vec::new()).packet();
        device.flows.push(flow);
        let claim = Claim {
            device: who,
            from,
            to,
            permitted: false,
        };
        self.claims.insert(self.isn, claim);
        let repeats = 1 + usize::from(self.rng.chance(20));
        for _ in 0..repeats {
            self.send(who, &syn);
        }
    }

    pub(super) fn send_data(&mut self, who: usize) {
        let device = &mut self.devices[who];
        if device.flows.is_empty() {
            return;
        }
        let pick = self.rng.below(device.flows.len());
        let tag = device.number;
        let flow = &mut device.flows[pick];
        // Flows that were never opened send too: their bytes must not get through.
        let burst = 1 + self.rng.below(4);
        let mut packets = Vec::new();
        for _ in 0..burst {
            let len = [1, 500, 1360][self.rng.below(3)];
            packets.push(flow.segment(ACK, vec![tag; len]).packet());
            flow.next = flow.next.wrapping_add(u32::try_from(len).unwrap());
        }
        for packet in packets {
            self.send(who, &packet);
        }
    }

    pub(super) fn send_udp(&mut self, who: usize) {
        let device = &self.devices[who];
        let from = SocketAddr::new(device.inner()[0], 5353);
        let packet = packet::udp(from, "10.8.0.1:53".parse().unwrap(), &[device.number; 40]);
        self.send(who, &packet);
    }

    pub(super) fn close(&mut self, who: usize) {
        let device = &mut self.devices[who];
        if device.flows.is_empty() {
            return;
        }
        let pick = self.rng.below(device.flows.len());
        let flags = if self.rng.chance(50) { FIN | ACK } else { RST };
        let flow = &mut device.flows[pick];
        let packet = flow.segment(flags, Vec::new()).packet();
        flow.dead = true;
        self.send(who, &packet);
    }

    /// A device writes packets in the name of another, or of nobody.
    pub(super) fn spoof(&mut self, who: usize) {
        self.summary.spoofed += 1;
        let victim = self.rng.below(self.devices.len());
        let source = if victim == who || self.rng.chance(30) {
            IpAddr::from([10, 8, 9, self.rng.byte()])
        } else {
            self.devices[victim].inner()[0]
        };
        let tag = self.devices[who].number;
        let port = 1024 + u16::try_from(self.rng.below(20)).unwrap();
        let from = SocketAddr::new(source, port);
        let stolen = self.devices[victim].flows.last().map(|flow| flow.to);
        let to = stolen.unwrap_or_else(|| "10.0.0.9:443".parse().unwrap());
        if to.is_ipv6() {
            return;
        }
        let flags = [SYN, ACK, RST][self.rng.below(3)];
        let forged = Tcp {
            from,
            to,
            seq: 7,
            ack: 0,
            flags,
            payload: vec![tag; 9],
        };
        self.send(who, &forged.packet());
        self.send(who, &packet::udp(from, to, &[tag; 9]));
    }

    pub(super) fn send(&mut self, who: usize, packet: &[u8]) {
        if let Some(datagram) = self.devices[who].seal(packet) {
            self.upload(who, datagram);
        }
    }
}
