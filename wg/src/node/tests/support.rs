//! A device, packets as a device writes them, and a node to talk to.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};

use crate::packet::{tcp, vnet};
use crate::{
    Event, FlowId, FlowRecord, Inside, Node, NodeConfig, PeerConfig, PeerId, Place, PresharedKey,
    PrivateKey, PublicKey,
};

pub(crate) const WALL: Duration = Duration::from_secs(4_000_000_000);
pub(crate) const SYN: u8 = tcp::SYN;
pub(crate) const ACK: u8 = tcp::ACK;
pub(crate) const FIN: u8 = tcp::FIN;
pub(crate) const RST: u8 = tcp::RST;
pub(crate) const PSH: u8 = tcp::PSH;

/// An instant to count from.
pub(crate) fn epoch() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other source")]
    Instant::now()
}

pub(crate) fn config() -> NodeConfig {
    NodeConfig {
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
    }
}

pub(crate) fn peer_config(number: u8) -> PeerConfig {
    PeerConfig {
        id: PeerId(u32::from(number)),
        public_key: device_key(number).public_key(),
        preshared_key: None,
        allowed_ips: vec![
            format!("10.8.0.{number}/32").parse().unwrap(),
            format!("fd08::{number:x}/128").parse().unwrap(),
        ],
        keepalive: None,
        endpoint: None,
        handshake_mark: None,
    }
}

pub(crate) fn device_key(number: u8) -> PrivateKey {
    PrivateKey::from_bytes([number; 32])
}

pub(crate) fn dalek(key: PublicKey) -> x25519_dalek::PublicKey {
    key.to_dalek()
}

/// A node and the time it is told.
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    pub(crate) wall: Duration,
}

impl World {
    /// A node with the devices 10 and 11.
    pub(crate) fn new() -> Self {
        Self::with(vec![peer_config(10), peer_config(11)])
    }

    pub(crate) fn with(peers: Vec<PeerConfig>) -> Self {
        Self::at(Place::ALONE, peers)
    }

    /// One node of a gateway with these devices.
    pub(crate) fn at(place: Place, peers: Vec<PeerConfig>) -> Self {
        let now = epoch();
        let mut node = Node::new(NodeConfig { place, ..config() }, now).unwrap();
        node.set_peers(peers, now).unwrap();
        Self {
            node,
            now,
            wall: WALL,
        }
    }

    /// A node and a device with a session.
    pub(crate) fn connected() -> (Self, Device) {
        let mut world = Self::new();
        let mut device = Device::new(10);
        device.connect(&mut world);
        world.events();
        (world, device)
    }

    pub(crate) fn later(&mut self, by: Duration) {
        self.now += by;
        self.wall += by;
    }

    pub(crate) fn datagram(&mut self, from: SocketAddr, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        self.node
            .handle_datagram(from, &mut datagram, self.now, self.wall);
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

    /// Every packet that waits for the TUN, with its vnet header.
    pub(crate) fn tun(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(packet) = self.node.poll_tun() {
            all.push(packet.to_vec());
        }
        all
    }

    /// Hands the node a packet of the kernel without offloads.
    pub(crate) fn kernel(&mut self, packet: &[u8]) {
        self.kernel_with([0; vnet::LEN], packet);
    }

    pub(crate) fn kernel_with(&mut self, header: [u8; vnet::LEN], packet: &[u8]) {
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(packet);
        tun_packet(&mut self.node, &bytes, self.now);
    }

    pub(crate) fn only_syn(&mut self) -> FlowRecord {
        let events = self.events();
        match events.as_slice() {
            [Event::SynSeen(record)] => *record,
            other => panic!("not one SYN: {other:?}"),
        }
    }

    pub(crate) fn permit(&mut self, flow: FlowId) {
        self.node.permit(flow, self.now);
    }
}

/// Has `node` read a packet from its TUN.
pub(crate) fn tun_packet(node: &mut Node, packet: &[u8], now: Instant) {
    node.tun_room()[..packet.len()].copy_from_slice(packet);
    node.handle_tun_packet(packet.len(), now);
}

/// A stock client.
pub(crate) struct Device {
    pub(crate) tunn: Tunn,
    pub(crate) address: SocketAddr,
    pub(crate) number: u8,
}

impl Device {
    pub(crate) fn new(number: u8) -> Self {
        Self::with(
            number,
            &device_key(number),
            config().private_key.public_key(),
            None,
        )
    }

    pub(crate) fn with(
        number: u8,
        key: &PrivateKey,
        server: PublicKey,
        psk: Option<PresharedKey>,
    ) -> Self {
        let psk = psk.map(|psk| psk.bytes());
        Self {
            tunn: Tunn::new(
                key.secret().clone(),
                dalek(server),
                psk,
                None,
                u32::from(number),
                None,
            ),
            address: SocketAddr::from(([192, 0, 2, number], 51820)),
            number,
        }
    }

    pub(crate) fn initiation(&mut self) -> Vec<u8> {
        let mut buffer = vec![0; 2048];
        match self.tunn.format_handshake_initiation(&mut buffer, true) {
            TunnResult::WriteToNetwork(message) => message.to_vec(),
            TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => panic!("no initiation"),
        }
    }

    /// Completes a handshake that the device starts.
    pub(crate) fn connect(&mut self, world: &mut World) {
        let initiation = self.initiation();
        world.datagram(self.address, &initiation);
        let answers = world.sent();
        assert_eq!(answers.len(), 1, "{:?}", world.node.counters());
        assert_eq!(answers[0].0, self.address);
        let keepalive = self.take(&answers[0].1).unwrap_err();
        world.datagram(self.address, &keepalive);
    }

    /// Opens one datagram: an inner packet, or what the protocol wants to answer.
    pub(crate) fn take(&mut self, datagram: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let mut buffer = vec![0; 66_000];
        match self.tunn.decapsulate(None, datagram, &mut buffer) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Ok(packet.to_vec())
            }
            TunnResult::WriteToNetwork(reply) => Err(reply.to_vec()),
            TunnResult::Done => Err(Vec::new()),
            other @ TunnResult::Err(_) => panic!("{other:?}"),
        }
    }

    pub(crate) fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; packet.len() + 200];
        match self.tunn.encapsulate(packet, &mut buffer) {
            TunnResult::WriteToNetwork(datagram) => datagram.to_vec(),
            TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => panic!("no datagram"),
        }
    }

    pub(crate) fn send(&mut self, world: &mut World, packet: &[u8]) {
        let datagram = self.seal(packet);
        world.datagram(self.address, &datagram);
    }

    /// Everything the node sends this device, opened.
    pub(crate) fn receive(&mut self, world: &mut World) -> Vec<Vec<u8>> {
        let address = self.address;
        world
            .sent()
            .iter()
            .filter(|(to, _)| *to == address)
            .filter_map(|(_, datagram)| self.take(datagram).ok())
            .collect()
    }

    pub(crate) fn at4(&self, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 8, 0, self.number], port))
    }

    pub(crate) fn at6(&self, port: u16) -> SocketAddr {
        let host: IpAddr = format!("fd08::{:x}", self.number).parse().unwrap();
        SocketAddr::new(host, port)
    }
}

/// A segment as tests name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    pub(crate) fn new(from: SocketAddr, to: SocketAddr, flags: u8, seq: u32, ack: u32) -> Self {
        Self {
            from,
            to,
            seq,
            ack,
            flags,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// The packet on the wire.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let mut segment = Vec::new();
        segment.extend_from_slice(&self.from.port().to_be_bytes());
        segment.extend_from_slice(&self.to.port().to_be_bytes());
        segment.extend_from_slice(&self.seq.to_be_bytes());
        segment.extend_from_slice(&self.ack.to_be_bytes());
        segment.push(u8::try_from(header_len / 4).unwrap() << 4);
        segment.push(self.flags);
        segment.extend_from_slice(&[0xff, 0xff, 0, 0, 0, 0]);
        segment.extend_from_slice(&self.options);
        segment.extend_from_slice(&self.payload);
        transport(self.from.ip(), self.to.ip(), 6, 16, segment)
    }

    /// Reads a packet and insists that all its checksums hold.
    pub(crate) fn read(packet: &[u8]) -> Self {
        let (from, to, protocol, body) = open_ip(packet);
        assert_eq!(protocol, 6);
        assert_eq!(reference_sum(from, to, 6, body), 0xffff, "TCP checksum");
        let header_len = usize::from(body[12] >> 4) * 4;
        let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        let port = |at: usize| u16::from_be_bytes(body[at..at + 2].try_into().unwrap());
        Self {
            from: SocketAddr::new(from, port(0)),
            to: SocketAddr::new(to, port(2)),
            seq: word(4),
            ack: word(8),
            flags: body[13],
            options: body[20..header_len].to_vec(),
            payload: body[header_len..].to_vec(),
        }
    }
}

/// A UDP packet as a device writes it.
pub(crate) fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend_from_slice(&from.port().to_be_bytes());
    datagram.extend_from_slice(&to.port().to_be_bytes());
    datagram.extend_from_slice(&u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(payload);
    transport(from.ip(), to.ip(), 17, 6, datagram)
}

/// An ICMP packet of either family.
pub(crate) fn icmp(from: IpAddr, to: IpAddr, message: &[u8]) -> Vec<u8> {
    let protocol = if from.is_ipv4() { 1 } else { 58 };
    transport(from, to, protocol, 2, message.to_vec())
}

/// Fills in the checksum at `at` and puts an IP header in front.
pub(crate) fn transport(
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    at: usize,
    mut body: Vec<u8>,
) -> Vec<u8> {
    body[at..at + 2].fill(0);
    let sum = !reference_sum(from, to, protocol, &body);
    body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    let len = body.len();
    let mut packet = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut head = vec![0x45, 0];
            head.extend_from_slice(&u16::try_from(20 + len).unwrap().to_be_bytes());
            head.extend_from_slice(&[0x12, 0x34, 0x40, 0, 64, protocol, 0, 0]);
            head.extend_from_slice(&from.octets());
            head.extend_from_slice(&to.octets());
            seal_ip4(&mut head);
            head
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut head = vec![0x60, 0, 0, 0];
            head.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
            head.extend_from_slice(&[protocol, 64]);
            head.extend_from_slice(&from.octets());
            head.extend_from_slice(&to.octets());
            head
        }
        _ => panic!("mixed families"),
    };
    packet.extend_from_slice(&body);
    packet
}

/// Writes the header checksum of an IPv4 packet, options included.
pub(crate) fn seal_ip4(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = !words(0, &packet[..len.min(packet.len())]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Source, destination, protocol and body of a packet whose lengths and header checksum hold.
pub(crate) fn open_ip(packet: &[u8]) -> (IpAddr, IpAddr, u8, &[u8]) {
    if packet[0] >> 4 == 4 {
        assert_eq!(words(0, &packet[..20]), 0xffff, "IPv4 header checksum");
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        assert_eq!(total, packet.len());
        let ip = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
        (ip(12), ip(16), packet[9], &packet[20..])
    } else {
        let len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
        assert_eq!(len + 40, packet.len());
        let ip = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
        (ip(8), ip(24), packet[6], &packet[40..])
    }
}

/// The one's complement sum as RFC 1071 words it, written a second time on purpose.
pub(crate) fn reference_sum(from: IpAddr, to: IpAddr, protocol: u8, body: &[u8]) -> u16 {
    let mut pseudo = Vec::new();
    if protocol != 1 {
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                pseudo.extend_from_slice(&from.octets());
                pseudo.extend_from_slice(&to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                pseudo.extend_from_slice(&from.octets());
                pseudo.extend_from_slice(&to.octets());
            }
            _ => panic!("mixed families"),
        }
        pseudo.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        pseudo.extend_from_slice(&[0, 0, 0, protocol]);
    }
    words(u32::from(words(0, &pseudo)), body)
}

pub(crate) fn words(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        sum += u32::from(word);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// A flow as its device, and the kernel as the tests play it, see it.
pub(crate) struct Open {
    pub(crate) record: FlowRecord,
    /// What the kernel calls the device.
    pub(crate) inside: SocketAddr,
    /// What the kernel calls itself.
    pub(crate) listen: SocketAddr,
}

impl Open {
    /// Lets `device` connect to `to`, with sequence numbers 1000 (device) and 5000 (kernel);
    /// the next bytes are 1001 and 5001.
    pub(crate) fn new(world: &mut World, device: &mut Device, port: u16, to: SocketAddr) -> Self {
        let from = if to.is_ipv4() {
            device.at4(port)
        } else {
            device.at6(port)
        };
        device.send(world, &Segment::new(from, to, SYN, 1000, 0).packet());
        let record = world.only_syn();
        assert_eq!((record.source, record.destination), (from, to));
        assert!(world.tun().is_empty(), "the SYN is held");
        world.permit(record.id);
        let syn = Segment::read(&world.tun()[0][10..]);
        let open = Self {
            record,
            inside: syn.from,
            listen: syn.to,
        };
        world.kernel(&open.reply(SYN | ACK, 5000, 1001).packet());
        let answer = Segment::read(&device.receive(world)[0]);
        assert_eq!((answer.from, answer.to), (to, from));
        device.send(world, &open.segment(ACK, 1001, 5001).packet());
        assert_eq!(world.tun().len(), 1);
        open
    }

    /// A segment of the device.
    pub(crate) fn segment(&self, flags: u8, seq: u32, ack: u32) -> Segment {
        Segment::new(self.record.source, self.record.destination, flags, seq, ack)
    }

    /// A segment of the kernel.
    pub(crate) fn reply(&self, flags: u8, seq: u32, ack: u32) -> Segment {
        Segment::new(self.listen, self.inside, flags, seq, ack)
    }
}
