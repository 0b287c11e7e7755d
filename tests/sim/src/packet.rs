//! Packets as devices and kernels write them; a second implementation on purpose.

use std::net::{IpAddr, SocketAddr};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// A parsed TCP packet.
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) payload: Vec<u8>,
}

impl Tcp {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.from.port().to_be_bytes());
        body.extend_from_slice(&self.to.port().to_be_bytes());
        body.extend_from_slice(&self.seq.to_be_bytes());
        body.extend_from_slice(&self.ack.to_be_bytes());
        body.extend_from_slice(&[0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        body.extend_from_slice(&self.payload);
        with_header(self.from.ip(), self.to.ip(), 6, 16, body)
    }

    /// Reads a TCP packet; its checksum must hold unless it is left to the reader.
    pub(crate) fn read(packet: &[u8], checked: bool) -> Option<Self> {
        let (from, to, protocol, body) = open(packet)?;
        if protocol != 6 {
            return None;
        }
        if checked {
            assert_eq!(sum(from, to, 6, body), 0xffff, "TCP checksum");
        }
        let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        let half = |at: usize| u16::from_be_bytes(body[at..at + 2].try_into().unwrap());
        Some(Self {
            from: SocketAddr::new(from, half(0)),
            to: SocketAddr::new(to, half(2)),
            seq: word(4),
            ack: word(8),
            flags: body[13],
            payload: body[usize::from(body[12] >> 4) * 4..].to_vec(),
        })
    }
}

pub(crate) fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&from.port().to_be_bytes());
    body.extend_from_slice(&to.port().to_be_bytes());
    body.extend_from_slice(&u16::try_from(payload.len() + 8).unwrap().to_be_bytes());
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(payload);
    with_header(from.ip(), to.ip(), 17, 6, body)
}

/// Source, destination, protocol and body of a well-formed packet.
pub(crate) fn open(packet: &[u8]) -> Option<(IpAddr, IpAddr, u8, &[u8])> {
    match packet.first()? >> 4 {
        4 => {
            let ip = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            assert_eq!(total, packet.len());
            assert_eq!(words(0, &packet[..20]), 0xffff, "IPv4 checksum");
            Some((ip(12), ip(16), packet[9], &packet[20..]))
        }
        6 => {
            let ip = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
            let len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            assert_eq!(len + 40, packet.len());
            Some((ip(8), ip(24), packet[6], &packet[40..]))
        }
        _ => None,
    }
}

fn with_header(from: IpAddr, to: IpAddr, protocol: u8, at: usize, mut body: Vec<u8>) -> Vec<u8> {
    let checksum = !sum(from, to, protocol, &body);
    body[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    let mut packet = Vec::new();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = u16::try_from(body.len() + 20).unwrap();
            packet.extend_from_slice(&[0x45, 0]);
            packet.extend_from_slice(&total.to_be_bytes());
            packet.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
            packet.extend_from_slice(&from.octets());
            packet.extend_from_slice(&to.octets());
            let checksum = !words(0, &packet);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet.extend_from_slice(&[0x60, 0, 0, 0]);
            packet.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
            packet.extend_from_slice(&[protocol, 64]);
            packet.extend_from_slice(&from.octets());
            packet.extend_from_slice(&to.octets());
        }
        _ => panic!("mixed families"),
    }
    packet.extend_from_slice(&body);
    packet
}

fn sum(from: IpAddr, to: IpAddr, protocol: u8, body: &[u8]) -> u16 {
    let mut pseudo = Vec::new();
    for address in [from, to] {
        match address {
            IpAddr::V4(a) => pseudo.extend_from_slice(&a.octets()),
            IpAddr::V6(a) => pseudo.extend_from_slice(&a.octets()),
        }
    }
    pseudo.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    pseudo.extend_from_slice(&[0, 0, 0, protocol]);
    words(u32::from(words(0, &pseudo)), body)
}

pub(crate) fn words(start: u32, bytes: &[u8]) -> u16 {
    let mut total = start;
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap()
}
