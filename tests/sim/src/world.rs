//! One world: what happens in it is chosen by the seed, what must hold is asserted on the way.
//!
//! - No byte reaches the TUN for a flow without permit, and only bytes of the flow's own device.
//! - No inner source outside the device's allowed IPs shows in an event or on the TUN.
//! - A peer that is not in the set gets no datagram at all.
//! - A recorded datagram gets no answer, over restarts and changes of the set as well.
//! - What a device decrypts was meant for it.
//! - When the network is kind again, every device connects and is served.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mock_instant::MockClock;
use wg::{
    Event, FlowId, FlowRecord, Inside, Node, NodeConfig, PeerConfig, PeerId, PrivateKey, Refusal,
};

use crate::device::{Device, Flow};
use crate::kernel::Kernel;
use crate::packet::{self, ACK, FIN, RST, SYN, Tcp};
use crate::rng::Rng;

const STEPS: usize = 400;
const FIRST: u8 = 10;

/// Lives one world through; panics when something does not hold.
pub fn run(seed: u64) -> Summary {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.kindness();
    world.summary
}

/// What happened, to show that the worlds are not empty.
#[derive(Debug, Default, Clone, Copy)]
pub struct Summary {
    pub handshakes: usize,
    pub permitted: usize,
    pub refused: usize,
    pub tun_bytes: usize,
    pub restarts: usize,
    pub revocations: usize,
    pub replays: usize,
    pub spoofed: usize,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.handshakes += other.handshakes;
        self.permitted += other.permitted;
        self.refused += other.refused;
        self.tun_bytes += other.tun_bytes;
        self.restarts += other.restarts;
        self.revocations += other.revocations;
        self.replays += other.replays;
        self.spoofed += other.spoofed;
    }
}

impl Summary {
    /// Panics when a sweep never did one of the things it is for.
    pub fn must_not_be_empty(&self) {
        let done = [
            self.handshakes,
            self.permitted,
            self.refused,
            self.tun_bytes,
            self.restarts,
            self.revocations,
            self.replays,
            self.spoofed,
        ];
        assert!(done.iter().all(|count| *count > 0), "{self:?}");
    }
}

struct World {
    rng: Rng,
    base: Instant,
    start: Duration,
    elapsed: Duration,
    node: Node,
    devices: Vec<Device>,
    members: BTreeSet<usize>,
    kept: BTreeMap<PeerId, (Option<SocketAddr>, Option<[u8; 12]>)>,
    kernel: Kernel,
    /// Flows by their initial sequence number, which is unique.
    claims: BTreeMap<u32, Claim>,
    inside: BTreeMap<SocketAddr, u32>,
    undecided: Vec<FlowRecord>,
    running: BTreeSet<FlowId>,
    delivered: Vec<Vec<u8>>,
    delayed: Vec<(SocketAddr, Vec<u8>)>,
    answered: BTreeSet<Vec<u8>>,
    isn: u32,
    hostile: bool,
    summary: Summary,
}

struct Claim {
    device: usize,
    from: SocketAddr,
    to: SocketAddr,
    permitted: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        // boringtun's clock starts where the last seed of this thread left it.
        MockClock::advance(Duration::from_secs(1));
        let base = Instant::now();
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let count = 3 + u8::try_from(rng.below(6)).unwrap();
        let server = config().private_key.public_key();
        let mut world = Self {
            rng,
            base,
            start,
            elapsed: Duration::ZERO,
            node: Node::new(config(), base).unwrap(),
            devices: (FIRST..FIRST + count)
                .map(|n| Device::new(n, server))
                .collect(),
            members: (0..usize::from(count)).collect(),
            kept: BTreeMap::new(),
            kernel: Kernel::default(),
            claims: BTreeMap::new(),
            inside: BTreeMap::new(),
            undecided: Vec::new(),
            running: BTreeSet::new(),
            delivered: Vec::new(),
            delayed: Vec::new(),
            answered: BTreeSet::new(),
            isn: 0,
            hostile: true,
            summary: Summary::default(),
        };
        world.apply_members();
        world
    }

    fn now(&self) -> Instant {
        self.base + self.elapsed
    }

    fn step(&mut self) {
        let who = self.rng.below(self.devices.len());
        match self.rng.below(100) {
            0..20 => {
                let millis = 1 + self.rng.below(1500);
                self.pass(Duration::from_millis(millis as u64));
            }
            20..21 => self.pass(Duration::from_secs(190)),
            21..31 => self.connect(who),
            31..45 => self.open_flow(who),
            45..65 => self.send_data(who),
            65..70 => self.send_udp(who),
            70..75 => self.close(who),
            75..80 => self.spoof(who),
            80..87 => self.attack(),
            87..90 => self.devices[who].roam(),
            90..94 => self.decide_late(),
            94..96 => self.gateway_closes(),
            96..98 => self.change_members(),
            98..99 => self.restart(),
            _ => self.deliver_delayed(),
        }
    }

    // What devices do.

    fn connect(&mut self, who: usize) {
        self.pass(Duration::from_millis(1));
        if let Some(message) = self.devices[who].initiation() {
            self.upload(who, message);
        }
    }

    fn open_flow(&mut self, who: usize) {
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

    fn send_data(&mut self, who: usize) {
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

    fn send_udp(&mut self, who: usize) {
        let device = &self.devices[who];
        let from = SocketAddr::new(device.inner()[0], 5353);
        let packet = packet::udp(from, "10.8.0.1:53".parse().unwrap(), &[device.number; 40]);
        self.send(who, &packet);
    }

    fn close(&mut self, who: usize) {
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
    fn spoof(&mut self, who: usize) {
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

    fn send(&mut self, who: usize, packet: &[u8]) {
        if let Some(datagram) = self.devices[who].seal(packet) {
            self.upload(who, datagram);
        }
    }

    // The network.

    fn upload(&mut self, who: usize, datagram: Vec<u8>) {
        let from = self.devices[who].at;
        if self.hostile {
            match self.rng.below(100) {
                0..5 => return,
                5..10 => {
                    self.delayed.push((from, datagram));
                    return;
                }
                10..14 => self.deliver(from, &datagram),
                _ => {}
            }
        }
        self.deliver(from, &datagram);
    }

    fn deliver_delayed(&mut self) {
        for (from, datagram) in std::mem::take(&mut self.delayed) {
            self.deliver(from, &datagram);
        }
    }

    fn deliver(&mut self, from: SocketAddr, datagram: &[u8]) {
        if self.delivered.len() < 4000 {
            self.delivered.push(datagram.to_vec());
        }
        let (now, wall) = (self.now(), self.start + self.elapsed);
        let mut bytes = datagram.to_vec();
        self.node.handle_datagram(from, &mut bytes, now, wall);
        self.drain(Some(datagram));
    }

    /// Somebody else replays, mangles or invents datagrams.
    fn attack(&mut self) {
        let from = SocketAddr::from(([203, 0, 113, self.rng.byte()], 666));
        for _ in 0..10 {
            if self.delivered.is_empty() {
                return;
            }
            self.summary.replays += 1;
            let pick = self.rng.below(self.delivered.len());
            let mut datagram = self.delivered[pick].clone();
            match self.rng.below(6) {
                0 => {
                    let at = self.rng.below(datagram.len());
                    datagram[at] ^= 1 << self.rng.below(8);
                }
                1 => datagram.truncate(self.rng.below(datagram.len())),
                2 => datagram.resize(60_000, 0),
                3 if datagram.len() > 16 => datagram[8..16].fill(0xff),
                4 => {
                    let len = self.rng.below(200);
                    datagram = self.rng.bytes(len);
                }
                _ => {}
            }
            let (now, wall) = (self.now(), self.start + self.elapsed);
            let original = datagram.clone();
            self.node.handle_datagram(from, &mut datagram, now, wall);
            self.drain(Some(&original));
        }
    }

    // Time and the gateway.

    fn pass(&mut self, by: Duration) {
        let until = self.elapsed + by;
        while self.elapsed < until {
            let step = (until - self.elapsed).min(Duration::from_millis(250));
            self.elapsed += step;
            MockClock::advance(step);
            if let Some((due, why)) = self.node.poll_timeout()
                && due <= self.now()
            {
                self.node.handle_timeout(self.now());
                let next = self.node.poll_timeout();
                assert!(next.is_none_or(|(next, _)| next > due), "{why} spins");
                self.drain(None);
            }
            for who in 0..self.devices.len() {
                if let Some(message) = self.devices[who].timers() {
                    self.upload(who, message);
                }
            }
        }
    }

    fn decide_late(&mut self) {
        for record in std::mem::take(&mut self.undecided) {
            self.decide(record);
        }
        self.drain(None);
    }

    fn decide(&mut self, record: FlowRecord) {
        let refuse = self.hostile && self.rng.chance(30);
        if refuse {
            self.summary.refused += 1;
            let how = if self.rng.chance(50) {
                Refusal::Reset
            } else {
                Refusal::Silent
            };
            self.node.refuse(record.id, how);
            return;
        }
        self.summary.permitted += 1;
        for claim in self.claims.values_mut() {
            if (claim.from, claim.to) == (record.source, record.destination) {
                claim.permitted = true;
            }
        }
        self.running.insert(record.id);
        let now = self.now();
        self.node.permit(record.id, now);
    }

    fn gateway_closes(&mut self) {
        let who = self.rng.below(self.devices.len());
        let peer = PeerId(u32::from(self.devices[who].number));
        if self.rng.chance(30) {
            self.node.close_flows_of(peer, |flow| flow.id.ne(&flow.id));
        } else if let Some(id) = self.running.iter().next().copied() {
            if self.rng.chance(50) {
                self.node.close_flow(id);
            } else {
                let now = self.now();
                self.node.flow_finished(id, now);
            }
        }
        self.drain(None);
    }

    fn change_members(&mut self) {
        let before = self.members.len();
        self.members = (0..self.devices.len())
            .filter(|_| self.rng.chance(75))
            .collect();
        self.summary.revocations += before.saturating_sub(self.members.len());
        self.apply_members();
    }

    fn apply_members(&mut self) {
        let peers: Vec<PeerConfig> = self
            .members
            .iter()
            .map(|who| {
                let mut config = self.devices[*who].config();
                if let Some((endpoint, mark)) = self.kept.get(&config.id) {
                    config.endpoint = *endpoint;
                    config.handshake_mark = *mark;
                }
                config
            })
            .collect();
        let now = self.now();
        self.node.set_peers(peers, now).unwrap();
        self.drain(None);
    }

    fn restart(&mut self) {
        self.summary.restarts += 1;
        self.node = Node::new(config(), self.now()).unwrap();
        self.kernel = Kernel::default();
        self.inside.clear();
        self.undecided.clear();
        self.running.clear();
        for claim in self.claims.values_mut() {
            claim.permitted = false;
        }
        self.apply_members();
    }

    // What leaves the node.

    /// Looks at everything that waits; `cause` is the datagram that was just handed in.
    fn drain(&mut self, cause: Option<&[u8]>) {
        let mut cause = cause;
        loop {
            let mut quiet = true;
            while let Some(event) = self.node.poll_event() {
                quiet = false;
                self.event(event);
            }
            while let Some(packet) = self.node.poll_tun().map(<[u8]>::to_vec) {
                quiet = false;
                self.tun(&packet);
            }
            let mut sent = Vec::new();
            while let Some(transmit) = self.node.poll_transmit() {
                let size = transmit.segment_size.unwrap_or(transmit.contents.len());
                for datagram in transmit.contents.chunks(size) {
                    sent.push((transmit.to, datagram.to_vec()));
                }
            }
            for (to, datagram) in sent {
                quiet = false;
                self.download(to, &datagram, cause);
            }
            cause = None;
            if quiet {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::SynSeen(record) => {
                self.must_own(record.peer, record.source.ip());
                if self.hostile && self.rng.chance(20) {
                    self.undecided.push(record);
                } else {
                    self.decide(record);
                }
            }
            Event::FlowClosed(id) => {
                self.undecided.retain(|record| record.id != id);
                self.running.remove(&id);
            }
            Event::UdpReceived {
                peer,
                from,
                to,
                payload,
            } => {
                let who = self.must_own(peer, from.ip());
                assert!(payload.iter().all(|byte| *byte == self.devices[who].number));
                let now = self.now();
                // Without a session there is nobody to answer.
                let _sent = self.node.send_udp(peer, to, from, &payload, now);
            }
            Event::Handshake {
                peer,
                mark,
                endpoint,
            } => {
                self.summary.handshakes += 1;
                self.must_be_member(peer);
                let kept = self.kept.entry(peer).or_default();
                kept.1 = Some(mark);
                kept.0 = kept.0.or(Some(endpoint));
            }
            Event::EndpointChanged { peer, endpoint } => {
                self.must_be_member(peer);
                let who = self.owner_of(endpoint);
                assert_eq!(who, Some(self.who(peer)), "endpoint stolen: {endpoint}");
                self.kept.entry(peer).or_default().0 = Some(endpoint);
            }
            Event::EchoRequest { .. } => panic!("nobody pings"),
            Event::Refused { peer, .. } => self.must_be_member(peer),
        }
    }

    fn tun(&mut self, bytes: &[u8]) {
        self.summary.tun_bytes += bytes.len();
        let merged = bytes[1] != 0;
        let tcp = Tcp::read(&bytes[10..], !merged).expect("only TCP reaches the TUN");
        if tcp.flags & (SYN | ACK) == SYN {
            let claim = self.claims.get(&tcp.seq).expect("a SYN nobody sent");
            assert!(claim.permitted, "a SYN without permit");
            let before = self.inside.insert(tcp.from, tcp.seq);
            assert!(
                before.is_none_or(|isn| isn == tcp.seq),
                "a source used twice"
            );
        }
        let isn = self.inside.get(&tcp.from).expect("bytes of no flow");
        let claim = &self.claims[isn];
        assert!(claim.permitted, "bytes without permit");
        let tag = self.devices[claim.device].number;
        assert!(
            tcp.payload.iter().all(|byte| *byte == tag),
            "bytes of another device"
        );
        assert!(
            self.members.contains(&claim.device) || tcp.has(RST),
            "bytes of a revoked device"
        );
        let repeat = [0, 1, 3, 40][self.rng.below(4)].max(usize::from(!self.hostile));
        let output = self
            .kernel
            .handle(&tcp, repeat.min(60_000 / tcp.payload.len().max(1)));
        if let Some(inside) = output.accepted
            && let Some(record) = self.node.flow_of_accepted(inside)
        {
            let claim = &self.claims[&self.inside[&inside]];
            assert_eq!((record.source, record.destination), (claim.from, claim.to));
            assert_eq!(self.who(record.peer), claim.device);
        }
        for mut packet in output.packets {
            let now = self.now();
            self.node.handle_tun_packet(&mut packet, now);
        }
    }

    fn download(&mut self, to: SocketAddr, datagram: &[u8], cause: Option<&[u8]>) {
        if datagram[0] == 2 {
            let cause = cause.expect("a response without an initiation");
            assert!(self.answered.insert(cause.to_vec()), "answered twice");
        }
        let Some(who) = self.owner_of(to) else {
            assert_eq!(datagram[0], 2, "data for a stranger at {to}");
            return;
        };
        assert!(
            self.members.contains(&who),
            "a revoked device hears from the node"
        );
        if self.devices[who].at != to || (self.hostile && self.rng.chance(5)) {
            return;
        }
        let (reply, packet) = self.devices[who].open(datagram);
        if let Some(reply) = reply {
            self.upload_later(who, reply);
        }
        if let Some(packet) = packet {
            self.inner(who, &packet);
        }
    }

    fn inner(&mut self, who: usize, packet: &[u8]) {
        let (_, to, protocol, body) = packet::open(packet).expect("an IP packet");
        let tag = self.devices[who].number;
        assert!(
            self.devices[who].inner().contains(&to),
            "a packet for another"
        );
        if protocol == 17 {
            assert!(body[8..].iter().all(|byte| *byte == tag));
            self.devices[who].answers += 1;
            return;
        }
        let tcp = Tcp::read(packet, true).expect("TCP or UDP");
        assert!(
            tcp.payload.iter().all(|byte| *byte == tag),
            "bytes of another"
        );
        if let Some(answer) = self.devices[who].segment(&tcp)
            && let Some(datagram) = self.devices[who].seal(&answer.packet())
        {
            self.upload_later(who, datagram);
        }
    }

    /// What a device sends while the node is being drained goes in without another drain.
    fn upload_later(&mut self, who: usize, datagram: Vec<u8>) {
        let from = self.devices[who].at;
        if datagram[0] == 1 || (self.hostile && self.rng.chance(5)) {
            self.delayed.push((from, datagram));
            return;
        }
        if datagram[0] == 2 {
            // A response is no cause of an answer that is checked.
            self.delivered.push(datagram.clone());
        }
        let (now, wall) = (self.now(), self.start + self.elapsed);
        let mut bytes = datagram;
        self.node.handle_datagram(from, &mut bytes, now, wall);
    }

    fn must_own(&self, peer: PeerId, source: IpAddr) -> usize {
        self.must_be_member(peer);
        let who = self.who(peer);
        assert!(
            self.devices[who].inner().contains(&source),
            "{peer:?} used the source {source}"
        );
        who
    }

    fn must_be_member(&self, peer: PeerId) {
        assert!(
            self.members.contains(&self.who(peer)),
            "{peer:?} is revoked"
        );
    }

    fn who(&self, peer: PeerId) -> usize {
        usize::try_from(peer.0).unwrap() - usize::from(FIRST)
    }

    /// The device an outer address belongs or once belonged to.
    fn owner_of(&self, address: SocketAddr) -> Option<usize> {
        match address.ip() {
            IpAddr::V4(a) if a.octets()[..2] == [198, 51] => {
                Some(usize::from(a.octets()[2] - FIRST))
            }
            _ => None,
        }
    }

    // The end.

    /// No loss, no attacks, all devices in the set: everybody must be served.
    fn kindness(&mut self) {
        self.hostile = false;
        self.deliver_delayed();
        self.decide_late();
        self.members = (0..self.devices.len()).collect();
        self.apply_members();
        for who in 0..self.devices.len() {
            self.pass(Duration::from_secs(6));
            self.connect(who);
            self.send_udp(who);
            assert!(
                self.devices[who].has_session(),
                "device {who} has no session"
            );
            let answers = self.devices[who].answers;
            self.send_udp(who);
            assert!(
                self.devices[who].answers > answers,
                "device {who} got no answer"
            );
            self.open_flow(who);
            let device = &mut self.devices[who];
            let tag = device.number;
            let flow = device.flows.last_mut().unwrap();
            assert!(flow.open && !flow.dead, "device {who} could not connect");
            let packet = flow.segment(ACK, vec![tag; 1000]).packet();
            flow.next = flow.next.wrapping_add(1000);
            self.send(who, &packet);
            let received = self.devices[who].flows.last().unwrap().received;
            assert!(received >= 1000, "device {who} got {received} bytes back");
        }
        self.node.check_invariants();
    }
}

fn config() -> NodeConfig {
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
        seed: [9; 32],
    }
}
