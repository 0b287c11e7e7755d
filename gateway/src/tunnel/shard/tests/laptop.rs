//! A laptop's end of the tunnel: bare boringtun, and TCP segments made by hand.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use ipnet::IpNet;
use wg::{PeerConfig, PeerId, PrivateKey};

use super::node;

pub(super) const SYN: u8 = 0x02;
pub(super) const ACK: u8 = 0x10;
const PORT: u16 = 40_000;
const TO: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 78, 0, 2), 7000);

pub(super) struct Laptop {
    number: u8,
    tunn: Tunn,
    socket: UdpSocket,
}

impl Laptop {
    /// Makes laptop `number`, which has 10.200.200.`number` in the tunnel.
    pub(super) fn new(gateway: SocketAddr, number: u8) -> Self {
        let theirs = PublicKey::from(*node().public_key().as_bytes());
        let key = StaticSecret::from([number; 32]);
        let tunn = Tunn::new(key, theirs, None, None, 1, None);
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.connect(gateway).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            number,
            tunn,
            socket,
        }
    }

    pub(super) fn config(&self) -> PeerConfig {
        PeerConfig {
            id: PeerId(self.number.into()),
            public_key: PrivateKey::from_bytes([self.number; 32]).public_key(),
            preshared_key: None,
            allowed_ips: vec![IpNet::from(IpAddr::V4(self.address()))],
            keepalive: None,
            endpoint: None,
            handshake_mark: None,
        }
    }

    pub(super) const fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 200, 200, self.number)
    }

    /// Makes a session.
    pub(super) async fn shake_hands(&mut self) {
        let (mut message, mut answer) = (vec![0; 2048], vec![0; 2048]);
        let first = self.tunn.format_handshake_initiation(&mut message, false);
        self.socket.send(bytes(first)).unwrap();
        let length = loop {
            match self.socket.recv(&mut answer) {
                Ok(length) => break length,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let keepalive = self.tunn.decapsulate(None, &answer[..length], &mut message);
        self.socket.send(bytes(keepalive)).unwrap();
    }

    /// Sends one segment in a datagram of its own.
    pub(super) fn send(&mut self, flags: u8, seq: u32, payload: &[u8]) {
        let mut message = vec![0; 2048];
        let packet = segment(self.address(), flags, seq, payload);
        let sealed = self.tunn.encapsulate(&packet, &mut message);
        self.socket.send(bytes(sealed)).unwrap();
    }
}

fn bytes(result: TunnResult<'_>) -> &[u8] {
    match result {
        TunnResult::WriteToNetwork(bytes) => bytes,
        other @ (TunnResult::Done
        | TunnResult::Err(_)
        | TunnResult::WriteToTunnelV4(..)
        | TunnResult::WriteToTunnelV6(..)) => panic!("{other:?}"),
    }
}

/// An IPv4 packet with a TCP segment that acknowledges 1.
fn segment(from: Ipv4Addr, flags: u8, seq: u32, payload: &[u8]) -> Vec<u8> {
    let (from, to) = (from.octets(), TO.0.octets());
    let length = u16::try_from(20 + payload.len()).unwrap();
    let mut tcp = [PORT.to_be_bytes(), TO.1.to_be_bytes()].concat();
    tcp.extend(seq.to_be_bytes());
    tcp.extend(u32::from(flags & ACK > 0).to_be_bytes());
    tcp.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend(payload);
    let pseudo = [&from[..], &to[..], &[0, 6], &length.to_be_bytes()].concat();
    let checksum = checksum(&[&pseudo[..], &tcp[..]].concat());
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    let total = (20 + length).to_be_bytes();
    let mut ip = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 6, 0, 0];
    ip.extend(from);
    ip.extend(to);
    let checksum = self::checksum(&ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    ip.extend(tcp);
    ip
}

/// The checksum of RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| match *word {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
