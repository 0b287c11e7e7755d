//! A gateway between an office and places outside, each in a namespace of its own; all that the
//! places and the gateway say to each other goes through a relay.
//!
//! ```text
//! place 1 ──┐
//! place 2 ──┴─ between (relay) ── edge (gateway, as nobody) ── office
//! ```

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use crate::curl;
use crate::gateway::{Gateway, Setup, binary};
use crate::netns::{Namespace, as_nobody, join};
use crate::office::NOBODY;
use crate::policy;
use crate::process::{copy_program, must};
use crate::relay::Relay;
use crate::temp::Temp;
use crate::wireguard::{Client, Config};

/// The network behind the gateway and the host in it.
pub const OFFICE: &str = "10.78.0.0/24";
pub const HOST: &str = "10.78.0.2";
/// Services of that host that the policy permits to demo: an echo by TCP and by UDP.
pub const ECHO: &str = "10.78.0.2:7000";
/// Bytes that the UDP echo answers to `long`: more than any MTU.
pub const LONG: usize = 4000;
/// Permitted as well, but nobody listens.
pub const CLOSED: &str = "10.78.0.2:7009";

/// Which family the outer datagrams have between the relay and the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    V4,
    V6,
}

/// The scene without its devices; dropped in the order of the fields.
#[derive(Debug)]
pub struct Site {
    pub gateway: Gateway,
    pub relay: Relay,
    pub edge: Namespace,
    pub between: Namespace,
    pub office: Namespace,
    places: u8,
    _binary: Temp,
}

/// A place outside with a stock client in it.
#[derive(Debug)]
pub struct Place {
    pub client: Client,
    pub space: Namespace,
}

impl Site {
    #[must_use]
    pub fn new(outer: Outer) -> Self {
        Self::with(outer, &[])
    }

    /// Builds the scene with these words before the gateway.
    #[must_use]
    pub fn with(outer: Outer, words: &[&str]) -> Self {
        let (edge, between, office) = (
            Namespace::new("edge"),
            Namespace::new("between"),
            Namespace::new("in"),
        );
        forbid_forwarding(&between);
        let (near, far): (&[&str], IpAddr) = match outer {
            Outer::V4 => (&["10.77.0.2", "10.77.0.3"], IpAddr::from([10, 77, 0, 1])),
            Outer::V6 => (&["fd77::2", "fd77::3"], "fd77::1".parse().unwrap()),
        };
        let prefix = if far.is_ipv4() { 24 } else { 64 };
        let with = |address: &str| format!("{address}/{prefix}");
        join(&between, &with(near[0]), &edge, &with(&far.to_string()));
        between.add_beside(near[0], &with(near[1]));
        join(&edge, "10.78.0.1/24", &office, "10.78.0.2/24");
        office.enter(|| {
            serve_tcp(ECHO);
            serve_udp(ECHO);
        });
        let (copy, gateway) = start(&edge, far, words);
        gateway.set_policy(&policy::two_apps("http://127.0.0.1:9", SERVICES));
        let to = SocketAddr::new(far, gateway.tunnel_port());
        let outward: Vec<IpAddr> = near.iter().map(|a| a.parse().unwrap()).collect();
        let relay = Relay::start(&between, to, &outward);
        Self {
            gateway,
            relay,
            edge,
            between,
            office,
            places: 0,
            _binary: copy,
        }
    }

    /// Returns the config of demo's laptop as the gateway prints it.
    #[must_use]
    pub fn config(&self) -> Config {
        let config = self.gateway.facts.wg_config.as_ref();
        Config::parse(config.unwrap_or_else(|| panic!("no tunnel: {}", self.gateway.stderr())))
    }

    /// Starts demo's laptop in a place of its own.
    #[must_use]
    pub fn place(&mut self) -> Place {
        let config = self.config();
        self.place_with(config)
    }

    /// Starts a client with this config in a place of its own.
    #[must_use]
    pub fn place_with(&mut self, mut config: Config) -> Place {
        self.places += 1;
        let (place, number) = (Namespace::new("place"), self.places);
        let relay = format!("10.79.{number}.1");
        join(
            &place,
            &format!("10.79.{number}.2/24"),
            &self.between,
            &format!("{relay}/24"),
        );
        let endpoint = format!("{relay}:{}", self.relay.port);
        config.peer.insert("Endpoint".to_owned(), endpoint);
        let client = Client::start(&place, config, &[OFFICE]);
        Place {
            client,
            space: place,
        }
    }

    /// Signs demo in from a place, which opens its device.
    pub fn sign_in(&self, place: &Place) {
        let facts = &self.gateway.facts;
        let portal = place
            .browser(self)
            .sign_in(&facts.tunnel_portal, &facts.demo);
        assert_eq!(portal.status, 200, "{portal:?}");
    }

    /// Returns the state of the first device as `status` tells it.
    #[must_use]
    pub fn device(&self) -> serde_json::Value {
        let status = self.gateway.must(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        status["devices"][0].clone()
    }
}

impl Place {
    #[must_use]
    pub fn browser(&self, site: &Site) -> curl::Client {
        let address = self.client.config.gateway();
        let resolve = [443, 80].map(|port| format!("*:{port}:{address}"));
        curl::Client::with(&site.gateway.facts.ca_root, &resolve, &self.space.wrap())
    }

    /// Connects through the tunnel.
    ///
    /// # Errors
    /// When the connection is refused or not answered in time.
    pub fn connect(&self, to: &str, limit: Duration) -> std::io::Result<TcpStream> {
        let to: SocketAddr = to.parse().unwrap();
        let stream = self
            .space
            .enter(|| TcpStream::connect_timeout(&to, limit))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Returns a UDP socket of the place that is connected to `to`.
    #[must_use]
    pub fn udp(&self, to: &str) -> UdpSocket {
        self.space.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect(to).unwrap();
            socket
        })
    }
}

impl Namespace {
    /// Gives the link that has `known` another address.
    pub fn add_beside(&self, known: &str, address: &str) {
        let output = self.command("ip").args(["-o", "addr"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains(known)).unwrap();
        let link = line.split_whitespace().nth(1).unwrap();
        self.ip(&["addr", "add", address, "dev", link, "nodad"]);
    }
}

/// Sends `amount` bytes that depend on `seed` and checks that exactly they come back.
///
/// # Panics
/// When another byte comes back, or the stream ends.
pub fn exchange(stream: &TcpStream, amount: usize, seed: u64) {
    let limit = Some(Duration::from_secs(60));
    stream.set_read_timeout(limit).unwrap();
    stream.set_write_timeout(limit).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut noise, mut left) = (Noise(seed), amount);
            let mut stream = stream;
            while left > 0 {
                let block = noise.block();
                let part = &block[..left.min(block.len())];
                stream.write_all(part).unwrap();
                left -= part.len();
            }
        });
        let (mut noise, mut left) = (Noise(seed), amount);
        let mut stream = stream;
        let mut got = [0; BLOCK];
        while left > 0 {
            let want = left.min(BLOCK);
            stream.read_exact(&mut got[..want]).unwrap();
            assert!(
                got[..want] == noise.block()[..want],
                "other bytes came back, {left} before the end"
            );
            left -= want;
        }
    });
}

const BLOCK: usize = 4096;

/// Bytes that do not repeat.
struct Noise(u64);

impl Noise {
    fn block(&mut self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        for eight in block.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            eight.copy_from_slice(&self.0.to_le_bytes());
        }
        block
    }
}

const SERVICES: &str = r#"[net.echo]
to = "10.78.0.2"
port = ["7000/tcp", "7000/udp", "7009/tcp", "7009/udp", "icmp"]
allow.demo = { who = "demo" }
"#;

fn start(edge: &Namespace, listen: IpAddr, words: &[&str]) -> (Temp, Gateway) {
    let copy = Temp::new();
    let path = copy.path().join("postern");
    copy_program(binary(), &path);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut wrap = as_nobody(edge);
    wrap.extend(words.iter().map(|&word| word.to_owned()));
    let gateway = Gateway::start(Setup {
        tunnel_listen: Some(listen.to_string()),
        wrap,
        binary: Some(path),
        owner: Some(NOBODY),
        ..Setup::default()
    });
    (copy, gateway)
}

fn forbid_forwarding(namespace: &Namespace) {
    let wrap = namespace.wrap();
    for family in ["ipv4.ip_forward", "ipv6.conf.all.forwarding"] {
        let setting = format!("net.{family}=0");
        let mut words: Vec<&str> = wrap[1..].iter().map(String::as_str).collect();
        words.extend(["sysctl", "-q", "-w", &setting]);
        must(&wrap[0], &words);
    }
}

fn serve_tcp(address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                let mut buffer = vec![0; 65_536];
                while let Ok(count @ 1..) = from.read(&mut buffer) {
                    if to.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
                drop(to.shutdown(std::net::Shutdown::Write));
            });
        }
    });
}

fn serve_udp(address: &str) {
    let socket = UdpSocket::bind(address).unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            let answer = match &buffer[..count] {
                b"long" => &[7; LONG],
                same => same,
            };
            drop(socket.send_to(answer, from));
        }
    });
}
