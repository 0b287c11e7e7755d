//! Good datagrams and packets with a few things wrong: what passes one check and should fail at
//! the next. Seeds are fixed and named in each failure; the long run takes other ones as well.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::support::*;
use crate::{Event, PeerId, Refusal};

/// Seeds and rounds of each: 10^5 in all, or 10^7 in the long run.
fn seeds() -> (u64, u32) {
    let long = std::env::var_os("POSTERN_LONG").is_some();
    if long { (200, 50_000) } else { (4, 25_000) }
}

/// Numbers on which lengths and counters turn.
const TURNS: [u8; 8] = [0, 1, 0x0f, 0x10, 0x45, 0x7f, 0x80, 0xff];

/// Changes good bytes; the same seed makes the same changes.
struct Mutator(u64);

impl Mutator {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from(self.next() % bound).unwrap()
    }

    /// Takes one of the good ones and spoils it in one to four places.
    fn spoil(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let pick = self.below(corpus.len());
        let mut bytes = corpus[pick].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, corpus);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(bytes.len());
        match self.below(8) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            2 | 3 if !bytes.is_empty() => bytes[at] = TURNS[self.below(8)],
            // headers are where it matters
            4 if !bytes.is_empty() => {
                let near = self.below(bytes.len().min(64));
                bytes[near] = self.next().to_le_bytes()[0];
            }
            5 => bytes.truncate(at),
            6 => {
                let more = self.below(80);
                let byte = self.next().to_le_bytes()[0];
                bytes.resize(bytes.len() + more, byte);
            }
            _ => {
                // the head of this one and the tail of another
                let pick = self.below(corpus.len());
                let from = self.below(corpus[pick].len());
                bytes.truncate(at);
                bytes.extend_from_slice(&corpus[pick][from..]);
            }
        }
    }
}

/// Makes an IPv4 packet's checksum right again, so that what lies behind it is looked at.
fn seal(packet: &mut [u8]) {
    let header = packet
        .first()
        .map_or(0, |first| usize::from(first & 15) * 4);
    if packet.first().is_some_and(|first| first >> 4 == 4) && (20..=packet.len()).contains(&header)
    {
        seal_ip4(packet);
    }
}

/// Everything a device sends in its day, in both families.
fn packets(device: &Device) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (from, to) in [
        (device.at4(4000), "10.0.0.5:80"),
        (device.at6(4000), "[2001:db8::5]:80"),
        (device.at4(4000), "10.8.0.1:53"),
        (device.at6(4000), "[fd08::1]:53"),
    ] {
        let to: SocketAddr = to.parse().unwrap();
        let mss = [2, 4, 5, 180, 1, 3, 3, 7];
        let syn = Segment::new(from, to, SYN, 1000, 0).options(&mss);
        all.push(syn.packet());
        for flags in [ACK, ACK | PSH, ACK | FIN, RST, SYN | ACK] {
            let segment = Segment::new(from, to, flags, 1001, 5001);
            all.push(segment.with(b"some data").packet());
        }
        all.push(udp(from, to, b"a question"));
        let request = if from.is_ipv4() { 8 } else { 128 };
        let ping = [request, 0, 0, 0, 1, 2, 3, 4, 5, 6];
        all.push(icmp(from.ip(), to.ip(), &ping));
    }
    all
}

#[test]
fn spoilt_datagrams_bring_nothing_through_and_the_true_one_passes() {
    let (seeds, rounds) = seeds();
    for seed in 1..=seeds {
        let (mut world, mut device) = World::connected();
        let mut other = Device::new(11);
        let mut corpus = vec![other.initiation(), device.initiation()];
        other.connect(&mut world);
        corpus.push(other.initiation());
        for packet in packets(&device) {
            corpus.push(device.seal(&packet));
        }
        for datagram in &corpus {
            world.datagram(device.address, datagram);
        }
        corpus.extend(world.sent().into_iter().map(|(_, datagram)| datagram));
        world.events();
        let mut mutator = Mutator(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for round in 0..rounds {
            let datagram = mutator.spoil(&corpus);
            let number = round.to_be_bytes();
            let from = SocketAddr::from(([198, 51, number[2], number[3]], 9));
            world.datagram(from, &datagram);
            // the MACs are no part of what an initiation proves, but it was seen before
            let event = world.events().into_iter().next();
            assert!(event.is_none(), "seed {seed} round {round}: {event:?}");
            assert!(world.tun().is_empty(), "seed {seed} round {round}");
            world.sent();
            if round % 100 == 0 {
                world.later(Duration::from_millis(3));
            }
        }
        assert!(world.node.budget.len() <= 8192);
        assert_eq!(world.node.peers.live().len(), 2, "seed {seed}");
        let mut again = Device::new(10);
        world.later(Duration::from_secs(2));
        again.connect(&mut world);
    }
}

#[test]
fn spoilt_inner_packets_never_leave_the_devices_own_address_or_pass_without_a_permit() {
    let (seeds, rounds) = seeds();
    for seed in 1..=seeds {
        let (mut world, mut device) = World::connected();
        let corpus = packets(&device);
        let own: [IpAddr; 2] = [device.at4(0).ip(), device.at6(0).ip()];
        let mut mutator = Mutator(seed.wrapping_mul(0xd134_2543_de82_ef95));
        let mut permitted = false;
        for round in 0..rounds {
            let mut packet = mutator.spoil(&corpus);
            if mutator.below(4) > 0 {
                seal(&mut packet);
            }
            device.send(&mut world, &packet);
            let at = || format!("seed {seed} round {round}: {packet:02x?}");
            for event in world.events() {
                match event {
                    Event::SynSeen(flow) => {
                        assert!(own.contains(&flow.source.ip()), "{}", at());
                        assert_eq!(flow.peer, PeerId(10));
                        match mutator.below(3) {
                            0 => {
                                world.permit(flow.id);
                                permitted = true;
                            }
                            1 => world.node.refuse(flow.id, Refusal::Reset),
                            _ => world.node.refuse(flow.id, Refusal::Silent),
                        }
                    }
                    Event::UdpReceived { from, .. } => {
                        assert!(own.contains(&from.ip()), "{}", at());
                    }
                    Event::EchoRequest { from, .. } => {
                        assert!(own.contains(&from), "{}", at());
                    }
                    Event::Refused { .. } | Event::FlowClosed(_) => {}
                    other @ (Event::Handshake { .. }
                    | Event::SeenTwice { .. }
                    | Event::EndpointChanged { .. }) => panic!("{other:?} {}", at()),
                }
            }
            let to_kernel = world.tun();
            assert!(permitted || to_kernel.is_empty(), "{}", at());
            world.sent();
            if round % 200 == 0 {
                world.later(Duration::from_millis(20));
                world.node.handle_timeout(world.now);
            }
        }
        assert!(world.node.flows.len() <= 1024, "{}", world.node.flows.len());
    }
}

#[test]
fn spoilt_packets_of_the_kernel_reach_nobody_but_the_device_of_their_flow() {
    let (seeds, rounds) = seeds();
    for seed in 1..=seeds {
        let (mut world, mut device) = World::connected();
        let ends = ["10.0.0.5:80", "[2001:db8::5]:80"].map(|to| to.parse().unwrap());
        let flows = ends.map(|to| Open::new(&mut world, &mut device, 4000, to));
        let corpus: Vec<Vec<u8>> = flows
            .iter()
            .flat_map(|flow| {
                let data = vec![7; 6000];
                let plain = flow.reply(ACK | PSH, 5001, 1001).with(b"answer").packet();
                let large = flow.reply(ACK, 5001, 1001).with(&data).packet();
                let is_v6 = flow.listen.is_ipv6();
                let gso = [1, if is_v6 { 4 } else { 1 }, 60, 0, 0x40, 5, 0, 0, 16, 0];
                [[&[0; 10][..], &plain].concat(), [&gso, &large[..]].concat()]
            })
            .collect();
        let mut mutator = Mutator(seed.wrapping_mul(0xa24b_aed4_963e_e407));
        for round in 0..rounds / 4 {
            let mut packet = mutator.spoil(&corpus);
            if let Some((_, inner)) = packet.split_at_mut_checked(10)
                && mutator.below(4) > 0
            {
                seal(inner);
            }
            tun_packet(&mut world.node, &packet, world.now);
            for (to, datagram) in world.sent() {
                assert_eq!(to, device.address, "seed {seed} round {round}");
                assert!(datagram.len() <= 65_535, "seed {seed} round {round}");
            }
            world.events();
            world.tun();
        }
    }
}
