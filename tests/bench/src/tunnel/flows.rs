//! Five thousand flows through the gateway, beside ten: what they weigh and what a packet costs.
//! The clients are boringtun's, each in the place between office and devices, with packets made by
//! hand; each flow is one of UDP to the echo of an office host.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use data_encoding::{BASE64, HEXLOWER};
use postern_tests::scale;
use postern_tests::site::{ECHO, Outer, Site};

use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, median};
use crate::usage;

const DEVICES: u32 = 20;
const FLOWS: u16 = 250;
const FEW: u16 = 10;
/// Packets of one measurement, each way.
const PACKETS: usize = 50_000;
/// Packets under way at once: one of each flow where there are few, so that it is another flow's turn
/// with every packet here as there.
const WINDOW: usize = 10;
const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn run(report: &Report) {
    let mut site = Site::new(Outer::V4);
    let server = key(&site.config().peer["PublicKey"]);
    let mut clients: Vec<Client> = (0..DEVICES)
        .map(|n| Client::new(n, server, &site))
        .collect();
    enrol(&mut site, &clients);
    for client in &mut clients {
        client.shake_hands();
    }
    let pid = site.gateway.facts.pid;
    let (before, descriptors) = (usage::resident_mib(pid), usage::descriptors(pid));
    for client in &mut clients {
        for flow in 0..FLOWS {
            client.echo(flow);
        }
    }
    let many = f64::from(DEVICES) * f64::from(FLOWS);
    let grown = usage::resident_mib(pid) - before;
    let opened = usage::descriptors(pid) - descriptors;
    let row = |what: &str, unit, ours| Row::new("tunnel", what.to_owned(), unit, ours);
    report.row(&row(
        "5000 flows of 20 devices",
        "KiB a flow",
        grown * 1024.0 / many,
    ));
    report.row(&row("5000 flows of 20 devices", "descriptors", opened));
    let rounds: Vec<[f64; 2]> = (0..ROUNDS)
        .map(|_| {
            [
                cost(pid, &mut clients, FLOWS),
                cost(pid, &mut clients, FEW / 2),
            ]
        })
        .collect();
    let ratio = median(&rounds, |[all, few]| all / few);
    let all = median(&rounds, |[all, _]| *all);
    let few = median(&rounds, |[_, few]| *few);
    report.row(
        &row("a packet there and back, 5000 flows", "server CPU us", all)
            .beside("ten flows", few)
            .goal(Goal::RatioAtMost(1.3)),
    );
    eprintln!("the median of the rounds' own ratios: {ratio:.2}");
}

/// Server CPU for one packet there and back, in microseconds, over `flows` of each of the devices:
/// of all of them, or of two where there are few.
fn cost(pid: u32, clients: &mut [Client], flows: u16) -> f64 {
    let used = if flows == FLOWS { clients.len() } else { 2 };
    let clients = &mut clients[..used];
    let all: Vec<(usize, u16)> = (0..flows)
        .flat_map(|flow| (0..used).map(move |c| (c, flow)))
        .collect();
    let start = usage::cpu_seconds(pid);
    let mut next = all.iter().cycle();
    for _ in 0..PACKETS / WINDOW {
        let mut awaited = vec![0; used];
        for _ in 0..WINDOW {
            let (client, flow) = *next.next().unwrap();
            clients[client].send(flow);
            awaited[client] += 1;
        }
        for (client, count) in clients.iter_mut().zip(awaited) {
            client.await_answers(count);
        }
    }
    (usage::cpu_seconds(pid) - start) * 1e6 / PACKETS as f64
}

struct Client {
    number: u32,
    socket: UdpSocket,
    public: PublicKey,
    tunnel: Tunn,
}

impl Client {
    fn new(number: u32, server: PublicKey, site: &Site) -> Self {
        let to = SocketAddr::from((Ipv4Addr::new(10, 77, 0, 1), site.gateway.tunnel_port()));
        let socket = site.between.enter(|| {
            let socket = UdpSocket::bind((Ipv4Addr::new(10, 77, 0, 2), 0)).unwrap();
            socket.connect(to).unwrap();
            socket
        });
        let pause = Some(Duration::from_millis(500));
        socket.set_read_timeout(pause).unwrap();
        let mut bytes = [7; 32];
        bytes[4..8].copy_from_slice(&number.to_le_bytes());
        let secret = StaticSecret::from(bytes);
        Self {
            number,
            socket,
            public: PublicKey::from(&secret),
            tunnel: Tunn::new(secret, server, None, None, number, None),
        }
    }

    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 200, 10)) + self.number)
    }

    fn shake_hands(&mut self) {
        let start = Instant::now();
        let mut room = [0; 2048];
        loop {
            assert!(start.elapsed() < LIMIT, "no session");
            if let TunnResult::WriteToNetwork(message) =
                self.tunnel.format_handshake_initiation(&mut room, true)
            {
                self.socket.send(message).unwrap();
            }
            if self.receive() == Some(Took::Session) {
                return;
            }
        }
    }

    /// Sends one packet of a flow and waits for its echo, the first time until the flow is decided.
    fn echo(&mut self, flow: u16) {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < LIMIT, "no echo of flow {flow}");
            self.send(flow);
            if self.receive() == Some(Took::Packet) {
                return;
            }
        }
    }

    fn send(&mut self, flow: u16) {
        let packet = datagram(self.address(), 20_000 + flow);
        let mut room = [0; 2048];
        if let TunnResult::WriteToNetwork(message) = self.tunnel.encapsulate(&packet, &mut room) {
            self.socket.send(message).unwrap();
        }
    }

    fn await_answers(&mut self, count: usize) {
        let mut came = 0;
        while came < count {
            let took = self.receive().expect("an answer of an echo was lost");
            came += usize::from(took == Took::Packet);
        }
    }

    fn receive(&mut self) -> Option<Took> {
        let (mut datagram, mut room) = ([0; 2048], [0; 2048]);
        let length = self.socket.recv(&mut datagram).ok()?;
        match self
            .tunnel
            .decapsulate(None, &datagram[..length], &mut room)
        {
            TunnResult::WriteToNetwork(message) => {
                self.socket.send(message).unwrap();
                Some(Took::Session)
            }
            TunnResult::WriteToTunnelV4(..) => Some(Took::Packet),
            TunnResult::Done | TunnResult::Err(_) | TunnResult::WriteToTunnelV6(..) => {
                Some(Took::Other)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Took {
    Session,
    Packet,
    Other,
}

/// A UDP datagram of one word to the echo of the office.
fn datagram(from: Ipv4Addr, port: u16) -> Vec<u8> {
    let to: SocketAddr = ECHO.parse().unwrap();
    let SocketAddr::V4(to) = to else {
        panic!("not IPv4: {to}");
    };
    let body = b"one of many";
    let length = u16::try_from(8 + body.len()).unwrap();
    let udp = [
        &port.to_be_bytes()[..],
        &to.port().to_be_bytes(),
        &length.to_be_bytes(),
        &[0, 0],
        body,
    ]
    .concat();
    let pseudo = [
        &from.octets()[..],
        &to.ip().octets(),
        &[0, 17],
        &length.to_be_bytes(),
        &udp,
    ]
    .concat();
    let mut udp = udp;
    udp[6..8].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let total = (20 + length).to_be_bytes();
    let mut packet = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 17, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.ip().octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(udp);
    packet
}

/// The checksum of RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| {
        u32::from(u16::from_be_bytes([
            word[0],
            word.get(1).copied().unwrap_or(0),
        ]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// Writes the devices into the store of the gateway, as such that need no sign-in.
fn enrol(site: &mut Site, clients: &[Client]) {
    let policy = site.gateway.policy_text();
    let names = (0..DEVICES).map(|n| format!("\"demo/f{n}\" = \"net.echo\"\n"));
    let names: String = names.collect();
    site.gateway.stop();
    let keys = clients
        .iter()
        .map(|c| format!("'{}', ", HEXLOWER.encode(c.public.as_bytes())));
    let keys: String = keys.collect();
    scale::seeded(
        &site.gateway,
        &format!(
            "for n, key in enumerate([{keys}]):\n\
             \x20   db.execute('INSERT INTO devices (id, user, name, public_key, address4, managed, \
             created) VALUES (?,?,?,?,?,1,?)', (n + 100, 'demo', f'f{{n}}', bytes.fromhex(key), \
             f'10.200.200.{{10 + n}}', int(time.time())))\n"
        ),
    );
    site.gateway.start_again();
    site.gateway
        .open_policy(&format!("{policy}\n[tunnel.headless]\n{names}"));
}

fn key(base64: &str) -> PublicKey {
    let bytes = BASE64.decode(base64.as_bytes()).unwrap();
    PublicKey::from(<[u8; 32]>::try_from(bytes).unwrap())
}
