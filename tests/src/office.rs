//! A small office: a laptop outside, the gateway at the edge, and services behind it, each in a
//! namespace of its own; the gateway runs as `nobody`.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use crate::curl;
use crate::gateway::{Gateway, Setup, binary};
use crate::netns::{Namespace, as_nobody, join_both};
use crate::policy;
use crate::process::copy_program;
use crate::temp::Temp;
use crate::upstream::Recorder;
use crate::wireguard;

/// The user id of `nobody`.
pub const NOBODY: u32 = 65_534;
/// Networks behind the gateway.
pub const OFFICE_NETWORK: &str = "10.78.0.0/24";
/// A service that the policy permits to demo, and one that it permits to nobody.
pub const PERMITTED: &str = "10.78.0.2:7000";
pub const FORBIDDEN: &str = "10.78.0.2:7001";
/// The same over IPv6.
pub const OFFICE_NETWORK6: &str = "fd78::/64";
pub const PERMITTED6: &str = "[fd78::2]:7000";
pub const FORBIDDEN6: &str = "[fd78::2]:7001";

/// The tunnel's address at the edge, in both families.
pub const EDGE: &str = "10.77.0.1";
pub const EDGE6: &str = "fd77::1";

/// The whole scene; dropped in the order of the fields.
#[derive(Debug)]
pub struct Office {
    pub laptop: wireguard::Client,
    pub gateway: Gateway,
    pub recorder: Recorder,
    pub outside: Namespace,
    pub edge: Namespace,
    pub inside: Namespace,
    _binary: Temp,
}

impl Office {
    /// Builds the scene and connects the laptop; nobody is signed in.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts programs")]
    pub fn new() -> Self {
        Self::at(EDGE)
    }

    /// Builds the scene with the tunnel on one of the edge's addresses.
    #[must_use]
    pub fn at(listen: &str) -> Self {
        Self::build(listen, None)
    }

    /// Builds the scene with the tunnel on every address of the edge. The laptop knows a second one, `address`, and
    /// what stands before it lets in only what comes from there.
    #[must_use]
    pub fn everywhere(address: &str) -> Self {
        Self::build("0.0.0.0", Some(address))
    }

    fn build(listen: &str, second: Option<&str>) -> Self {
        let (outside, edge, inside) = (
            Namespace::new("out"),
            Namespace::new("edge"),
            Namespace::new("in"),
        );
        join_both(
            &outside,
            ["10.77.0.2/24", "fd77::2/64"],
            &edge,
            ["10.77.0.1/24", "fd77::1/64"],
        );
        join_both(
            &edge,
            ["10.78.0.1/24", "fd78::1/64"],
            &inside,
            ["10.78.0.2/24", "fd78::2/64"],
        );
        if let Some(second) = second {
            let link = edge.link_of(EDGE);
            edge.ip(&["addr", "add", &format!("{second}/24"), "dev", &link]);
            let rules = format!(
                "add table ip door; \
                 add chain ip door arrive {{ type filter hook input priority 0; }}; \
                 add rule ip door arrive ip protocol udp ip saddr != {second} drop"
            );
            let set = outside.command("nft").arg(rules).status();
            assert!(set.unwrap().success(), "nft refused the rules");
        }
        inside.enter(|| {
            for address in [PERMITTED, FORBIDDEN, PERMITTED6, FORBIDDEN6] {
                serve_echo(address);
            }
        });
        let recorder = edge.enter(Recorder::new);
        let (copy, gateway) = start_as_nobody(&edge, &recorder, listen);
        gateway.set_policy(&policy::two_apps(&recorder.url(), SERVICE));
        let config = gateway.facts.wg_config.as_ref();
        let config = config.unwrap_or_else(|| panic!("no tunnel: {}", gateway.stderr()));
        let mut config = wireguard::Config::parse(config);
        if let Some(second) = second {
            let endpoint = format!("{second}:{}", gateway.tunnel_port());
            config.peer.insert("Endpoint".to_owned(), endpoint);
        } else {
            assert!(
                config.peer["Endpoint"].contains(listen),
                "the device config names {}, not the tunnel's address",
                config.peer["Endpoint"]
            );
        }
        let office = [OFFICE_NETWORK, OFFICE_NETWORK6];
        let laptop = wireguard::Client::start(&outside, config, &office);
        Self {
            laptop,
            gateway,
            recorder,
            outside,
            edge,
            inside,
            _binary: copy,
        }
    }

    /// Returns the gateway's address in the tunnel.
    #[must_use]
    pub fn tunnel_address(&self) -> IpAddr {
        self.laptop.config.gateway().parse().unwrap()
    }

    /// Returns a client on the laptop that asks through the tunnel.
    #[must_use]
    pub fn browser(&self) -> curl::Client {
        let address = self.tunnel_address();
        let resolve = [443, 80].map(|port| format!("*:{port}:{address}"));
        curl::Client::with(&self.gateway.facts.ca_root, &resolve, &self.outside.wrap())
    }

    /// Returns a client on the laptop that asks over IPv6 inside the tunnel.
    #[must_use]
    pub fn browser6(&self) -> curl::Client {
        let address = self.laptop.config.gateway6().unwrap();
        let resolve = [443, 80].map(|port| format!("*:{port}:[{address}]"));
        curl::Client::with(&self.gateway.facts.ca_root, &resolve, &self.outside.wrap())
    }

    /// Returns a client beside the gateway that asks at the web door.
    #[must_use]
    pub fn web_browser(&self) -> curl::Client {
        let resolve = [format!("*:{}:127.0.0.1", self.gateway.https_port())];
        curl::Client::with(&self.gateway.facts.ca_root, &resolve, &self.edge.wrap())
    }

    /// Returns the address of the app as the laptop knows it.
    #[must_use]
    pub fn tunnel_app(&self) -> String {
        let portal = &self.gateway.facts.tunnel_portal;
        portal.replace("://gate.", "://app.gate.")
    }

    /// Connects from the laptop.
    ///
    /// # Errors
    /// When the connection is refused or not answered within two seconds.
    pub fn connect(&self, to: &str) -> std::io::Result<TcpStream> {
        let to: SocketAddr = to.parse().unwrap();
        let limit = Duration::from_secs(2);
        self.outside
            .enter(|| TcpStream::connect_timeout(&to, limit))
    }
}

/// Says whether a connected stream echoes.
///
/// # Errors
/// When the stream has ended.
pub fn echoes(stream: &mut TcpStream, text: &str) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(text.as_bytes())?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back)?;
    Ok(back == text.as_bytes())
}

const SERVICE: &str = r#"[net.echo]
to = ["10.78.0.2", "fd78::2"]
port = "7000/tcp"
allow.demo = { who = "demo" }
"#;

fn start_as_nobody(edge: &Namespace, recorder: &Recorder, listen: &str) -> (Temp, Gateway) {
    let copy = Temp::new();
    let path = copy.path().join("postern");
    copy_program(binary(), &path);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let gateway = Gateway::start(Setup {
        upstream: Some(recorder.url()),
        tunnel_listen: Some(listen.to_owned()),
        wrap: as_nobody(edge),
        binary: Some(path),
        owner: Some(NOBODY),
    });
    (copy, gateway)
}

fn serve_echo(address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut back = stream.try_clone().unwrap();
                let mut stream = stream;
                drop(std::io::copy(&mut stream, &mut back));
            });
        }
    });
}
