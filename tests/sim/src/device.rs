//! A stock client with TCP flows of its own.

use std::net::{IpAddr, SocketAddr};

use boringtun::noise::{Tunn, TunnResult};
use wg::{PeerConfig, PeerId, PresharedKey, PrivateKey, PublicKey};
use x25519_dalek::{PublicKey as DalekPublic, StaticSecret};

use crate::packet::{ACK, FIN, RST, SYN, Tcp};

pub(crate) struct Device {
    pub(crate) number: u8,
    pub(crate) at: SocketAddr,
    pub(crate) flows: Vec<Flow>,
    /// Tagged UDP answers that came back.
    pub(crate) answers: usize,
    tunn: Tunn,
    roamed: u8,
}

pub(crate) struct Flow {
    pub(crate) isn: u32,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) next: u32,
    pub(crate) heard: u32,
    pub(crate) open: bool,
    pub(crate) dead: bool,
    /// Bytes received in order.
    pub(crate) received: usize,
}

impl Flow {
    pub(crate) fn segment(&self, flags: u8, payload: Vec<u8>) -> Tcp {
        Tcp {
            from: self.from,
            to: self.to,
            seq: self.next,
            ack: if flags & ACK != 0 { self.heard } else { 0 },
            flags,
            payload,
        }
    }
}

/// Every third device has a preshared key.
fn preshared(number: u8) -> Option<[u8; 32]> {
    number.is_multiple_of(3).then_some([number ^ 0x5a; 32])
}

impl Device {
    /// One who has a device's key, but not its preshared key.
    pub(crate) fn thief(number: u8, server: PublicKey) -> Self {
        let tunn = Tunn::new(
            StaticSecret::from([number; 32]),
            DalekPublic::from(*server.as_bytes()),
            Some([0xee; 32]),
            None,
            u32::from(number),
            None,
        );
        Self {
            tunn,
            ..Self::new(number, server)
        }
    }

    pub(crate) fn new(number: u8, server: PublicKey) -> Self {
        let tunn = Tunn::new(
            StaticSecret::from([number; 32]),
            DalekPublic::from(*server.as_bytes()),
            preshared(number),
            number.is_multiple_of(2).then_some(25),
            u32::from(number),
            None,
        );
        Self {
            number,
            at: SocketAddr::from(([198, 51, number, 1], 51820)),
            flows: Vec::new(),
            answers: 0,
            tunn,
            roamed: 1,
        }
    }

    pub(crate) fn config(&self) -> PeerConfig {
        PeerConfig {
            id: PeerId(u32::from(self.number)),
            public_key: PrivateKey::from_bytes([self.number; 32]).public_key(),
            preshared_key: preshared(self.number).map(PresharedKey::from_bytes),
            allowed_ips: self.inner().map(ipnet::IpNet::from).to_vec(),
            keepalive: None,
            endpoint: None,
            handshake_mark: None,
        }
    }

    pub(crate) fn inner(&self) -> [IpAddr; 2] {
        let v6 = format!("fd08::{:x}", self.number);
        [IpAddr::from([10, 8, 0, self.number]), v6.parse().unwrap()]
    }

    pub(crate) fn roam(&mut self) {
        self.roamed = self.roamed.wrapping_add(1);
        self.at = SocketAddr::from(([198, 51, self.number, self.roamed], 51820));
    }

    pub(crate) fn initiation(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 2048];
        match self.tunn.format_handshake_initiation(&mut buffer, true) {
            TunnResult::WriteToNetwork(message) => Some(message.to_vec()),
            _ => None,
        }
    }

    pub(crate) fn timers(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 2048];
        match self.tunn.update_timers(&mut buffer) {
            TunnResult::WriteToNetwork(message) => Some(message.to_vec()),
            _ => None,
        }
    }

    pub(crate) fn has_session(&self) -> bool {
        self.tunn.time_since_last_handshake().is_some()
    }

    /// Encrypts, or asks for a session.
    pub(crate) fn seal(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        if !self.has_session() {
            return self.initiation();
        }
        let mut buffer = vec![0; packet.len() + 200];
        match self.tunn.encapsulate(packet, &mut buffer) {
            TunnResult::WriteToNetwork(message) => Some(message.to_vec()),
            _ => None,
        }
    }

    /// Opens a datagram: (what the protocol answers, the inner packet).
    pub(crate) fn open(&mut self, datagram: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let mut buffer = vec![0; 66_000];
        match self.tunn.decapsulate(None, datagram, &mut buffer) {
            TunnResult::WriteToNetwork(reply) => (Some(reply.to_vec()), None),
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                (None, Some(packet.to_vec()))
            }
            _ => (None, None),
        }
    }

    /// Plays TCP; returns the packet to send back.
    pub(crate) fn segment(&mut self, tcp: &Tcp) -> Option<Tcp> {
        let flow = self
            .flows
            .iter_mut()
            .rev()
            .find(|flow| (flow.from, flow.to) == (tcp.to, tcp.from))?;
        if tcp.has(RST) {
            flow.dead = true;
            return None;
        }
        if tcp.has(SYN) {
            flow.open = true;
            flow.next = flow.isn.wrapping_add(1);
            flow.heard = tcp.seq.wrapping_add(1);
            return Some(flow.segment(ACK, Vec::new()));
        }
        if tcp.seq != flow.heard || (tcp.payload.is_empty() && !tcp.has(FIN)) {
            return None;
        }
        flow.received += tcp.payload.len();
        let len = u32::try_from(tcp.payload.len()).unwrap() + u32::from(tcp.has(FIN));
        flow.heard = flow.heard.wrapping_add(len);
        Some(flow.segment(ACK, Vec::new()))
    }
}
