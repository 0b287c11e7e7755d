//! The two sides of the comparison: a laptop, a server and an office host in namespaces.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use postern_tests::curl;
use postern_tests::gateway::{Gateway, Setup, binary};
use postern_tests::netns::{Namespace, as_nobody, join};
use postern_tests::office::NOBODY;
use postern_tests::policy;
use postern_tests::process::{Program, must};
use postern_tests::relay::Relay;
use postern_tests::temp::Temp;
use postern_tests::wait;
use postern_tests::wireguard;
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::Value;
use socket2::SockRef;

use super::Direction;
use crate::usage;

pub(super) const EDGE: &str = "10.77.0.1";
pub(super) const OFFICE: &str = "10.78.0.2";
const OFFICE_NETWORK: &str = "10.78.0.0/24";
/// The edge as the office sees it, and the wireguard-go server's address in the tunnel.
const EDGE_INSIDE: &str = "10.78.0.1";
const EDGE_TUNNEL: &str = "10.200.200.1";
/// An iperf3 serves one client at a time: the first laptop's and the second's.
const IPERF_PORTS: [&str; 2] = ["5201", "5202"];
/// Socket buffers of the wireguard-go server in bytes, as much as the gateway asks for.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// Where the office host sends back what it gets.
pub(super) const ECHO_PORT: u16 = 7000;
const SERVER_PORT: u16 = 51820;
const SERVICE: &str = r#"
[net.iperf]
to = ["10.78.0.1", "10.78.0.2"]
port = ["5201/tcp", "5202/tcp", "7000/tcp"]
allow.demo = { who = "demo" }
"#;

/// Where a transfer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At a program of the server's own host.
    Edge,
    /// At an office host behind it.
    Office,
}

/// Which laptop transfers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Laptop {
    First,
    Second,
}

/// One transfer by iperf3.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) laptop: Laptop,
    pub(super) end: End,
    pub(super) direction: Direction,
    pub(super) streams: u32,
    pub(super) seconds: u32,
}

impl Transfer {
    /// From or to the office by the first laptop.
    pub(super) fn office(direction: Direction, streams: u32, seconds: u32) -> Self {
        Self {
            laptop: Laptop::First,
            end: End::Office,
            direction,
            streams,
            seconds,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) cpu_seconds_per_gb: f64,
    pub(super) mbit_per_second: f64,
    /// Datagrams that found the laptop's socket full, in per cent.
    pub(super) lost_percent: f64,
}

impl Sample {
    /// Throughput by the share of a core that the server used for it.
    pub(super) fn mbit_per_core(&self) -> f64 {
        8000.0 / self.cpu_seconds_per_gb
    }
}

/// A laptop, a server and an office host, each in a namespace, perhaps with a relay before the
/// server and a second laptop beside it; dropped in the order of fields.
pub(super) struct Side {
    pub(super) relay: Option<Relay>,
    server_pid: u32,
    _iperf: Vec<Program>,
    _laptops: Vec<wireguard::Client>,
    server: Server,
    places: Places,
    _dir: Temp,
}

enum Server {
    Postern { _gateway: Box<Gateway> },
    WireguardGo { _client: wireguard::Client },
}

struct Places {
    outside: Namespace,
    beside: Namespace,
    between: Option<Namespace>,
    edge: Namespace,
    inside: Namespace,
}

impl Places {
    /// With a relay the laptop reaches nothing but that.
    fn new(is_relayed: bool) -> Self {
        let [outside, beside, edge, inside] = ["out", "beside", "edge", "in"].map(Namespace::new);
        let between = is_relayed.then(|| Namespace::new("between"));
        if let Some(between) = &between {
            join(&outside, "10.79.0.2/24", between, "10.79.0.1/24");
            join(between, "10.77.0.2/24", &edge, "10.77.0.1/24");
        } else {
            join(&outside, "10.77.0.2/24", &edge, "10.77.0.1/24");
        }
        join(&beside, "10.76.0.2/24", &edge, "10.76.0.1/24");
        beside.ip(&["route", "add", EDGE, "via", "10.76.0.1"]);
        join(&edge, "10.78.0.1/24", &inside, "10.78.0.2/24");
        inside.ip(&["route", "add", "default", "via", "10.78.0.1"]);
        Self {
            outside,
            beside,
            between,
            edge,
            inside,
        }
    }

    /// Starts the relay that sends on to the server's `port`.
    fn relay(&self, port: u16) -> Option<Relay> {
        let between = self.between.as_ref()?;
        let server = format!("{EDGE}:{port}").parse().unwrap();
        let outward = "10.77.0.2".parse().unwrap();
        Some(Relay::start(between, server, &[outward]))
    }

    fn laptop(&self, mut config: wireguard::Config, relay: Option<&Relay>) -> wireguard::Client {
        if let Some(relay) = relay {
            let endpoint = format!("10.79.0.1:{}", relay.port);
            config.peer.insert("Endpoint".to_owned(), endpoint);
        }
        wireguard::Client::start(&self.outside, config, &[OFFICE_NETWORK])
    }
}

impl Side {
    /// The gateway as user `nobody`, the laptops' devices opened by a sign-in through the tunnel.
    pub(super) fn postern(is_relayed: bool) -> Self {
        Self::postern_of(&binary(), is_relayed)
    }

    /// The same of another build.
    pub(super) fn postern_of(program: &Path, is_relayed: bool) -> Self {
        let (places, dir) = (Places::new(is_relayed), Temp::new());
        let copy = dir.path().join("postern");
        std::fs::copy(program, &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
        let gateway = Gateway::start(Setup {
            tunnel_listen: Some(EDGE.to_owned()),
            wrap: as_nobody(&places.edge),
            binary: Some(copy),
            owner: Some(NOBODY),
            ..Setup::default()
        });
        gateway.set_policy(&policy::two_apps("http://127.0.0.1:9", SERVICE));
        let config = gateway.facts.wg_config.clone();
        let config = config.unwrap_or_else(|| panic!("no tunnel: {}", gateway.stderr()));
        let config = wireguard::Config::parse(&config);
        let relay = places.relay(gateway.tunnel_port());
        let laptop = places.laptop(config, relay.as_ref());
        sign_in(&gateway, &laptop, &places.outside);
        let second = gateway.must(&["device", "add", "demo", "second", "--generate"]);
        let second = wireguard::Config::parse(&second);
        let second = wireguard::Client::start(&places.beside, second, &[OFFICE_NETWORK]);
        sign_in(&gateway, &second, &places.beside);
        let pid = gateway.facts.pid;
        let server = Server::Postern {
            _gateway: Box::new(gateway),
        };
        Self::complete(places, relay, dir, server, pid, vec![laptop, second])
    }

    /// Debian's wireguard-go on both ends.
    pub(super) fn wireguard_go(is_relayed: bool) -> Self {
        let (places, dir) = (Places::new(is_relayed), Temp::new());
        let relay = places.relay(SERVER_PORT);
        let (server_key, server_public) = keys();
        let (laptop_key, laptop_public) = keys();
        let (second_key, second_public) = keys();
        let config = config(
            &[
                ("PrivateKey", &server_key),
                ("ListenPort", &SERVER_PORT.to_string()),
                ("Address", "10.200.200.1/24"),
            ],
            &[
                ("PublicKey", &laptop_public),
                ("AllowedIPs", "10.200.200.2/32"),
            ],
        );
        let server = wireguard::Client::start(&places.edge, config, &[]);
        let also = ["peer", &second_public, "allowed-ips", "10.200.200.3/32"];
        must("wg", &[&["set", &server.link], &also[..]].concat());
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let done = places.edge.command("sh").args(["-c", forward]).status();
        assert!(done.unwrap().success(), "forwarding cannot be switched on");
        let endpoint = format!("{EDGE}:{SERVER_PORT}");
        let own = |key, address| config_of_laptop(key, address, &server_public, &endpoint);
        let laptop = places.laptop(own(&laptop_key, "10.200.200.2/32"), relay.as_ref());
        let second = own(&second_key, "10.200.200.3/32");
        let second = wireguard::Client::start(&places.beside, second, &[OFFICE_NETWORK]);
        let pid = usage::find(&["wireguard-go", "-f", &server.link]);
        give_buffers(pid);
        let server = Server::WireguardGo { _client: server };
        Self::complete(places, relay, dir, server, pid, vec![laptop, second])
    }

    fn complete(
        places: Places,
        relay: Option<Relay>,
        dir: Temp,
        server: Server,
        server_pid: u32,
        laptops: Vec<wireguard::Client>,
    ) -> Self {
        let mut iperf = Vec::new();
        for (place, name) in [(&places.edge, "edge"), (&places.inside, "office")] {
            for port in IPERF_PORTS {
                let mut command = place.command("iperf3");
                command.args(["-s", "-p", port, "--forceflush"]);
                let name = format!("iperf3-{name}-{port}");
                let program = Program::start(command, dir.path(), &name);
                wait::until_true(Duration::from_secs(10), "iperf3 listens", || {
                    program.stdout().contains("Server listening")
                });
                iperf.push(program);
            }
        }
        places.inside.enter(echo);
        Self {
            relay,
            server_pid,
            _iperf: iperf,
            _laptops: laptops,
            server,
            places,
            _dir: dir,
        }
    }

    /// Connects the second laptop to the echo of the office host.
    pub(super) fn second_to_echo(&self) -> TcpStream {
        let connect = || TcpStream::connect((OFFICE, ECHO_PORT)).unwrap();
        let stream = self.places.beside.enter(connect);
        stream.set_nodelay(true).unwrap();
        stream
    }

    pub(super) fn transfer(&self, transfer: Transfer) -> Sample {
        self.transfer_with(transfer, &[])
    }

    pub(super) fn transfer_with(&self, transfer: Transfer, also: &[&str]) -> Sample {
        let Transfer {
            laptop,
            end,
            direction,
            streams,
            seconds,
        } = transfer;
        let (place, port) = match laptop {
            Laptop::First => (&self.places.outside, IPERF_PORTS[0]),
            Laptop::Second => (&self.places.beside, IPERF_PORTS[1]),
        };
        let to = match (end, &self.server) {
            (End::Office, _) => OFFICE,
            (End::Edge, Server::Postern { .. }) => EDGE_INSIDE,
            (End::Edge, Server::WireguardGo { .. }) => EDGE_TUNNEL,
        };
        let mut command = place.command("timeout");
        command.args([&(seconds + 20).to_string(), "iperf3", "-J", "-c", to]);
        command.args(["-p", port, "--connect-timeout", "5000"]);
        command.args(["-t", &seconds.to_string(), "-P", &streams.to_string()]);
        command.args(also);
        if let Direction::Down = direction {
            command.arg("-R");
        }
        let [had, missed] = datagrams(place);
        let before = usage::cpu_seconds(self.server_pid);
        let output = command.output().unwrap();
        let used = usage::cpu_seconds(self.server_pid) - before;
        let after = datagrams(place);
        let (had, missed) = (after[0] - had, after[1] - missed);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let received = &said["end"]["sum_received"];
        let (Some(bytes), Some(bits)) = (
            received["bytes"].as_f64(),
            received["bits_per_second"].as_f64(),
        ) else {
            panic!("iperf3 {transfer:?}: {}{text}", output.status);
        };
        assert!(bytes > 0.0, "nothing was transferred: {text}");
        Sample {
            cpu_seconds_per_gb: used * 1e9 / bytes,
            mbit_per_second: bits / 1e6,
            lost_percent: 100.0 * missed / (had + missed).max(1.0),
        }
    }
}

/// Counts datagrams received in a namespace, and those for which a socket had no room.
fn datagrams(place: &Namespace) -> [f64; 2] {
    let shown = place.command("cat").arg("/proc/net/snmp").output().unwrap();
    let shown = text(&shown.stdout);
    let mut lines = shown.lines().filter(|line| line.starts_with("Udp:"));
    let [names, values] = [(); 2].map(|()| lines.next().unwrap().split_whitespace());
    let counts: BTreeMap<_, _> = names.zip(values).collect();
    ["InDatagrams", "RcvbufErrors"].map(|name| counts[name].parse().unwrap())
}

/// Sends back what comes, a thread for each connection.
fn echo() {
    let listener = TcpListener::bind((OFFICE, ECHO_PORT)).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// Gives the UDP sockets of a program buffers as large as the gateway's: wireguard-go leaves them
/// as they are.
fn give_buffers(pid: u32) {
    let number = i32::try_from(pid).unwrap();
    let process = pidfd_open(Pid::from_raw(number).unwrap(), PidfdFlags::empty()).unwrap();
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut given = 0;
    for number in numbers {
        let Ok(socket) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else {
            continue;
        };
        let is_udp = matches!(sockopt::socket_type(&socket), Ok(SocketType::DGRAM));
        let family = sockopt::socket_domain(&socket);
        if is_udp && matches!(family, Ok(AddressFamily::INET | AddressFamily::INET6)) {
            sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER).unwrap();
            SockRef::from(&socket)
                .set_send_buffer_size(SOCKET_BUFFER)
                .unwrap();
            let granted = SockRef::from(&socket).send_buffer_size().unwrap();
            // the kernel reports twice what it grants
            if granted < 2 * SOCKET_BUFFER {
                eprintln!(
                    "wireguard-go sends from {} bytes: net.core.wmem_max",
                    granted / 2
                );
            }
            given += 1;
        }
    }
    assert!(given > 0, "wireguard-go has no UDP socket");
}

fn sign_in(gateway: &Gateway, laptop: &wireguard::Client, outside: &Namespace) {
    let address = laptop.config.gateway();
    let resolve = [format!("*:443:{address}")];
    let facts = &gateway.facts;
    let browser = curl::Client::with(&facts.ca_root, &resolve, &outside.wrap());
    let portal = browser.sign_in(&facts.tunnel_portal, &facts.demo);
    assert_eq!(portal.status, 200, "{portal:?}");
}

fn keys() -> (String, String) {
    let private = text(&must("wg", &["genkey"]).stdout);
    let script = "printf %s \"$1\" | wg pubkey";
    let public = Command::new("sh")
        .args(["-c", script, "sh", &private])
        .output();
    (private, text(&public.unwrap().stdout))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn config_of_laptop(key: &str, address: &str, server: &str, endpoint: &str) -> wireguard::Config {
    config(
        &[("PrivateKey", key), ("Address", address)],
        &[
            ("PublicKey", server),
            ("AllowedIPs", "10.200.200.0/24"),
            ("Endpoint", endpoint),
        ],
    )
}

fn config(interface: &[(&str, &str)], peer: &[(&str, &str)]) -> wireguard::Config {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    wireguard::Config {
        interface: map(interface),
        peer: map(peer),
    }
}
