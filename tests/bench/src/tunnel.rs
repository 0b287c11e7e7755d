//! The tunnel: iperf3 from a laptop to an office host, through the gateway and through a
//! wireguard-go server whose kernel forwards. Both are reached with the same wireguard-go client.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use postern_tests::curl;
use postern_tests::gateway::{Gateway, Setup, binary};
use postern_tests::netns::{Namespace, as_nobody, join};
use postern_tests::office::NOBODY;
use postern_tests::policy;
use postern_tests::process::{Program, must};
use postern_tests::temp::Temp;
use postern_tests::wait;
use postern_tests::wireguard;
use serde_json::Value;

use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use crate::usage;

const SECONDS: u32 = 4;
const EDGE: &str = "10.77.0.1";
const OFFICE: &str = "10.78.0.2";
const OFFICE_NETWORK: &str = "10.78.0.0/24";
const IPERF_PORT: &str = "5201";
const SERVICE: &str = r#"
[net.iperf]
to = "10.78.0.2"
port = "5201/tcp"
allow.demo = { who = "demo" }
"#;

#[derive(Clone, Copy, Debug)]
enum Direction {
    Up,
    Down,
}

/// Up and down, one stream and four.
pub fn run(report: &Report) {
    let sides = [Side::postern(), Side::wireguard_go()];
    for direction in [Direction::Up, Direction::Down] {
        for streams in [1, 4] {
            compare(report, &sides, direction, streams);
        }
    }
}

fn compare(report: &Report, sides: &[Side; 2], direction: Direction, streams: u32) {
    for side in sides {
        let _warm_up = side.transfer(direction, streams, 1);
    }
    let figures = interleaved(sides, ROUNDS, |side| {
        side.transfer(direction, streams, SECONDS)
    });
    let [ours, peer] = figures.as_slice() else {
        return;
    };
    let way = match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    };
    let case = format!(
        "{way}, {streams} stream{}",
        if streams == 1 { "" } else { "s" }
    );
    let cpu = |of: &[Sample]| median(of, |s| s.cpu_seconds_per_gb);
    let row = Row::new("tunnel", case.clone(), "server CPU s/GB", cpu(ours));
    let row = row.beside("wireguard-go", cpu(peer));
    report.row(&row.goal(Goal::RatioAtMost(0.5)));
    let rate = |of: &[Sample]| median(of, |s| s.mbit_per_second);
    let row = Row::new("tunnel", case, "Mbit/s", rate(ours));
    report.row(&row.beside("wireguard-go", rate(peer)));
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    cpu_seconds_per_gb: f64,
    mbit_per_second: f64,
}

/// A laptop, a server and an office host, each in a namespace; dropped in the order of fields.
struct Side {
    server_pid: u32,
    _iperf: Program,
    _laptop: wireguard::Client,
    _server: Server,
    outside: Namespace,
    _edge: Namespace,
    _inside: Namespace,
    _dir: Temp,
}

enum Server {
    Postern { _gateway: Box<Gateway> },
    WireguardGo { _client: wireguard::Client },
}

struct Places {
    outside: Namespace,
    edge: Namespace,
    inside: Namespace,
}

impl Places {
    fn new() -> Self {
        let places = Self {
            outside: Namespace::new("out"),
            edge: Namespace::new("edge"),
            inside: Namespace::new("in"),
        };
        join(
            &places.outside,
            "10.77.0.2/24",
            &places.edge,
            "10.77.0.1/24",
        );
        join(&places.edge, "10.78.0.1/24", &places.inside, "10.78.0.2/24");
        places
            .inside
            .ip(&["route", "add", "default", "via", "10.78.0.1"]);
        places
    }
}

impl Side {
    /// The gateway as user `nobody`, the laptop's device opened by a sign-in through the tunnel.
    fn postern() -> Self {
        let (places, dir) = (Places::new(), Temp::new());
        let copy = dir.path().join("postern");
        std::fs::copy(binary(), &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
        let gateway = Gateway::start(Setup {
            tunnel_listen: Some(EDGE.to_owned()),
            wrap: as_nobody(&places.edge),
            binary: Some(copy),
            owner: Some(NOBODY),
            ..Setup::default()
        });
        gateway.set_policy(&policy::two_apps("http://127.0.0.1:9", SERVICE));
        let config = gateway.facts.wg_config.as_ref();
        let config = config.unwrap_or_else(|| panic!("no tunnel: {}", gateway.stderr()));
        let config = wireguard::Config::parse(config);
        let laptop = wireguard::Client::start(&places.outside, config, &[OFFICE_NETWORK]);
        sign_in(&gateway, &laptop, &places.outside);
        let pid = gateway.facts.pid;
        let server = Server::Postern {
            _gateway: Box::new(gateway),
        };
        Self::complete(places, dir, server, pid, laptop)
    }

    /// Debian's wireguard-go on both ends.
    fn wireguard_go() -> Self {
        let (places, dir) = (Places::new(), Temp::new());
        let (server_key, server_public) = keys();
        let (laptop_key, laptop_public) = keys();
        let config = config(
            &[
                ("PrivateKey", &server_key),
                ("ListenPort", "51820"),
                ("Address", "10.200.200.1/24"),
            ],
            &[
                ("PublicKey", &laptop_public),
                ("AllowedIPs", "10.200.200.2/32"),
            ],
        );
        let server = wireguard::Client::start(&places.edge, config, &[]);
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let done = places.edge.command("sh").args(["-c", forward]).status();
        assert!(done.unwrap().success(), "forwarding cannot be switched on");
        let endpoint = format!("{EDGE}:51820");
        let config = config_of_laptop(&laptop_key, &server_public, &endpoint);
        let laptop = wireguard::Client::start(&places.outside, config, &[OFFICE_NETWORK]);
        let pid = usage::find(&["wireguard-go", "-f", &server.link]);
        let server = Server::WireguardGo { _client: server };
        Self::complete(places, dir, server, pid, laptop)
    }

    fn complete(
        places: Places,
        dir: Temp,
        server: Server,
        server_pid: u32,
        laptop: wireguard::Client,
    ) -> Self {
        let mut iperf = places.inside.command("iperf3");
        iperf.args(["-s", "-p", IPERF_PORT, "--forceflush"]);
        let iperf = Program::start(iperf, dir.path(), "iperf3");
        wait::until_true(Duration::from_secs(10), "iperf3 listens", || {
            iperf.stdout().contains("Server listening")
        });
        Self {
            server_pid,
            _iperf: iperf,
            _laptop: laptop,
            _server: server,
            outside: places.outside,
            _edge: places.edge,
            _inside: places.inside,
            _dir: dir,
        }
    }

    fn transfer(&self, direction: Direction, streams: u32, seconds: u32) -> Sample {
        let mut command = self.outside.command("timeout");
        command.args([&(seconds + 20).to_string(), "iperf3", "-J", "-c", OFFICE]);
        command.args(["-p", IPERF_PORT, "--connect-timeout", "5000"]);
        command.args(["-t", &seconds.to_string(), "-P", &streams.to_string()]);
        if let Direction::Down = direction {
            command.arg("-R");
        }
        let before = usage::cpu_seconds(self.server_pid);
        let output = command.output().unwrap();
        let used = usage::cpu_seconds(self.server_pid) - before;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let received = &said["end"]["sum_received"];
        let (Some(bytes), Some(bits)) = (
            received["bytes"].as_f64(),
            received["bits_per_second"].as_f64(),
        ) else {
            panic!("iperf3 {direction:?} x{streams}: {}{text}", output.status);
        };
        assert!(bytes > 0.0, "nothing was transferred: {text}");
        Sample {
            cpu_seconds_per_gb: used * 1e9 / bytes,
            mbit_per_second: bits / 1e6,
        }
    }
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

fn config_of_laptop(key: &str, server: &str, endpoint: &str) -> wireguard::Config {
    config(
        &[("PrivateKey", key), ("Address", "10.200.200.2/32")],
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
