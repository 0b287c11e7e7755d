//! A storm after a restart: all live devices ask for a session at once, as stock clients do that
//! have something to send. The clients are boringtun's, each at an address of its own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use data_encoding::{BASE64, HEXLOWER};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use postern_tests::gateway::{Gateway, Setup};
use postern_tests::scale;
use postern_tests::wireguard::Config;

use crate::report::{Report, Row};
use crate::rounds::{ROUNDS, median};
use crate::usage;

const CONFIGURED: u32 = 10_000;
const LIVE: u32 = 1000;
/// When the last one must have a session.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at the timers of the clients.
const TICK: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
struct Sample {
    half: f64,
    most: f64,
    all: f64,
    cpu: f64,
    resident: f64,
    grown: f64,
}

pub(super) fn run(report: &Report) {
    let mut gateway = Gateway::start(Setup::default());
    let config = gateway.facts.wg_config.clone();
    let config = config.unwrap_or_else(|| panic!("no tunnel: {}", gateway.stderr()));
    let server = key(&Config::parse(&config).peer["PublicKey"]);
    gateway.stop();
    gateway.edit_config(|text| {
        let wide = text.replace(
            "network = \"10.200.200.0/24\"",
            "network = \"10.200.0.0/16\"",
        );
        assert_ne!(*text, wide);
        *text = wide;
    });
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.tunnel_port()));
    let mut clients: Vec<Client> = (0..LIVE).map(|n| Client::new(n, server, to)).collect();
    enrol(&gateway, &clients);
    gateway.start_again();
    // a first session each, so that there is something to come back from
    come_back(&mut clients);
    let samples: Vec<Sample> = (0..ROUNDS)
        .map(|_| round(&mut gateway, &mut clients))
        .collect();
    let row = |what, unit, figure: fn(&Sample) -> f64| {
        let case = format!("{LIVE} of {CONFIGURED} back, {what}");
        report.row(&Row::new("tunnel", case, unit, median(&samples, figure)));
    };
    row("half", "s", |s| s.half);
    row("99 %", "s", |s| s.most);
    row("all", "s", |s| s.all);
    row("all", "server CPU s", |s| s.cpu);
    row("after", "MiB", |s| s.resident);
    row("grown by", "MiB", |s| s.grown);
}

fn round(gateway: &mut Gateway, clients: &mut [Client]) -> Sample {
    gateway.stop();
    gateway.start_again();
    let pid = gateway.facts.pid;
    let (cpu, resident) = (usage::cpu_seconds(pid), usage::resident_mib(pid));
    let times = come_back(clients);
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64();
    let after = usage::resident_mib(pid);
    Sample {
        half: at(50),
        most: at(99),
        all: at(100),
        cpu: usage::cpu_seconds(pid) - cpu,
        resident: after,
        grown: after - resident,
    }
}

/// Has all clients ask at once; returns when each had its session.
fn come_back(clients: &mut [Client]) -> Vec<Duration> {
    for client in &mut *clients {
        client.back = None;
    }
    let start = Instant::now();
    for client in &mut *clients {
        client.ask();
    }
    let mut ticked = start;
    loop {
        let away = clients.iter().filter(|client| client.back.is_none());
        let away = away.count();
        if away == 0 {
            break;
        }
        assert!(start.elapsed() < LIMIT, "{away} did not come back");
        for client in &mut *clients {
            client.listen(start);
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            for client in &mut *clients {
                client.tick();
            }
        }
        await_any(clients);
    }
    let mut times: Vec<Duration> = clients.iter().filter_map(|client| client.back).collect();
    times.sort();
    // the last keepalives arrive
    thread::sleep(TICK);
    times
}

fn await_any(clients: &[Client]) {
    let mut sockets: Vec<PollFd<'_>> = (clients.iter())
        .map(|client| PollFd::new(client.socket.as_fd(), PollFlags::POLLIN))
        .collect();
    poll(&mut sockets, PollTimeout::from(20_u8)).unwrap();
}

struct Client {
    socket: UdpSocket,
    tunnel: Tunn,
    public: PublicKey,
    back: Option<Duration>,
}

impl Client {
    fn new(number: u32, server: PublicKey, to: SocketAddr) -> Self {
        let [_, _, c, d] = number.to_be_bytes();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, c, d), 0)).unwrap();
        socket.connect(to).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut bytes = [9; 32];
        bytes[4..8].copy_from_slice(&number.to_le_bytes());
        let secret = StaticSecret::from(bytes);
        Self {
            socket,
            public: PublicKey::from(&secret),
            tunnel: Tunn::new(secret, server, None, None, number, None),
            back: None,
        }
    }

    fn ask(&mut self) {
        let mut room = [0; 2048];
        let asked = self.tunnel.format_handshake_initiation(&mut room, true);
        send(&self.socket, asked);
    }

    /// Reads what came; a session is there with the answer to a handshake or, where the gateway
    /// began one, with its first packet.
    fn listen(&mut self, start: Instant) {
        let (mut datagram, mut room) = ([0; 2048], [0; 2048]);
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let came = &datagram[..length];
            let taken = self.tunnel.decapsulate(None, came, &mut room);
            let is_back = match came.first() {
                Some(2) => matches!(taken, TunnResult::WriteToNetwork(_)),
                Some(4) => !matches!(taken, TunnResult::Err(_)),
                _ => false,
            };
            if is_back {
                self.back.get_or_insert_with(|| start.elapsed());
            }
            send(&self.socket, taken);
        }
    }

    fn tick(&mut self) {
        let mut room = [0; 2048];
        send(&self.socket, self.tunnel.update_timers(&mut room));
    }
}

fn send(socket: &UdpSocket, what: TunnResult<'_>) {
    if let TunnResult::WriteToNetwork(message) = what {
        // refused while the gateway is away
        let _sent = socket.send(message);
    }
}

/// Writes the devices into the store of a gateway that has ended, the live ones where they are.
fn enrol(gateway: &Gateway, clients: &[Client]) {
    let live = clients.iter().map(|client| {
        let hex = HEXLOWER.encode(client.public.as_bytes());
        let at = client.socket.local_addr().unwrap();
        format!("('{hex}', '{at}'), ")
    });
    let live: String = live.collect();
    scale::seeded(
        gateway,
        &format!(
            "live = [{live}]\n\
             for n in range({CONFIGURED}):\n\
             \x20   key, at = live[n] if n < len(live) else (os.urandom(32).hex(), None)\n\
             \x20   db.execute('INSERT INTO devices (id, user, name, public_key, address4, managed, \
             created, endpoint) VALUES (?,?,?,?,?,0,?,?)', (n + 100, 'demo', f'd{{n}}', \
             bytes.fromhex(key), f'10.200.{{1 + n // 250}}.{{1 + n % 250}}', int(time.time()), at))\n"
        ),
    );
}

fn key(base64: &str) -> PublicKey {
    let bytes = BASE64.decode(base64.as_bytes()).unwrap();
    PublicKey::from(<[u8; 32]>::try_from(bytes).unwrap())
}
