//! What the network says of packets: echoes and datagrams of both families, narrow paths, packets
//! without hops. The laptop's kernel hears it as it would on any network.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use postern_tests::netns::{Namespace, join_both};
use postern_tests::office::Office;
use postern_tests::policy;
use postern_tests::process::must;
use postern_tests::wait;
use serde_json::Value;

const LIMIT: Duration = postern_tests::wait::PATIENCE;
const HOSTS: [&str; 2] = ["10.78.0.2", "fd78::2"];
/// Hosts behind a router whose far link takes packets of [`NARROW`] bytes.
const FAR: [&str; 2] = ["10.78.0.130", "fd78::1:2"];
const NARROW: u16 = 1300;
const MESSAGE_TOO_LONG: i32 = 90;
/// Permitted, and nobody is there; in the same networks.
const AWAY: [&str; 2] = ["10.78.0.99", "fd78::99"];
/// Permitted to nobody.
const FORBIDDEN: [&str; 2] = ["10.78.0.50", "fd78::50"];
const HOST_UNREACHABLE: i32 = 113;
const CONNECTION_REFUSED: i32 = 111;
const PROHIBITED: i32 = 13;

const SERVICES: &str = r#"[net.hosts]
to = ["10.78.0.2", "fd78::2", "10.78.0.130", "fd78::1:2", "10.78.0.99", "fd78::99"]
port = ["7000/udp", "7000/tcp", "7999/tcp", "icmp"]
allow.demo = { who = "demo" }
"#;

/// An office with a far network, and a laptop whose person is signed in.
struct Net {
    office: Office,
    _far: Namespace,
}

impl Net {
    fn new() -> Self {
        let office = Office::new();
        let far = far(&office);
        let url = office.recorder.url();
        office.gateway.set_policy(&policy::two_apps(&url, SERVICES));
        let facts = &office.gateway.facts;
        let page = office.browser().sign_in(&facts.tunnel_portal, &facts.demo);
        assert_eq!(page.status, 200, "{page:?}");
        Self { office, _far: far }
    }

    /// Opens a connected datagram socket on the laptop.
    fn udp(&self, to: &str) -> UdpSocket {
        let to: SocketAddr = to.parse().unwrap();
        self.office.outside.enter(|| {
            let any: SocketAddr = match to {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any).unwrap();
            socket.connect(to).unwrap();
            patient(socket)
        })
    }

    /// Opens a ping socket on the laptop.
    fn ping(&self, to: &str) -> UdpSocket {
        let to: SocketAddr = SocketAddr::new(to.parse().unwrap(), 0);
        self.office.outside.enter(|| {
            let (family, protocol) = match to {
                SocketAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
                SocketAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
            };
            let made = socket(family, SockType::Datagram, SockFlag::empty(), protocol);
            let socket = UdpSocket::from(made.unwrap());
            socket.connect(to).unwrap();
            patient(socket)
        })
    }
}

fn patient(socket: UdpSocket) -> UdpSocket {
    let pause = Some(Duration::from_millis(500));
    socket.set_read_timeout(pause).unwrap();
    socket
}

/// Puts a network behind the office, with a narrow link, and hosts that echo.
fn far(office: &Office) -> Namespace {
    let far = Namespace::new("far");
    let (edge, inside) = (&office.edge, &office.inside);
    let near = ["10.78.0.129/25", "fd78::1:1/112"];
    join_both(inside, near, &far, ["10.78.0.130/25", "fd78::1:2/112"]);
    let narrow = NARROW.to_string();
    for (space, address) in [(inside, "10.78.0.129"), (&far, "10.78.0.130")] {
        let link = space.link_of(address);
        space.ip(&["link", "set", &link, "mtu", &narrow]);
    }
    far.ip(&["route", "add", "10.78.0.0/25", "via", "10.78.0.129"]);
    far.ip(&["-6", "route", "add", "fd78::/64", "via", "fd78::1:1"]);
    edge.ip(&["route", "add", "10.78.0.128/25", "via", HOSTS[0]]);
    edge.ip(&["-6", "route", "add", "fd78::1:0/112", "via", HOSTS[1]]);
    for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        sysctl(inside, setting);
    }
    for space in [&office.outside, edge] {
        sysctl(space, "net.ipv4.ping_group_range=0 65534");
    }
    for (space, hosts) in [(inside, HOSTS), (&far, FAR)] {
        for host in hosts {
            space.enter(|| echo(host));
        }
    }
    far
}

fn sysctl(space: &Namespace, setting: &str) {
    let wrap = space.wrap();
    let mut words: Vec<&str> = wrap[1..].iter().map(String::as_str).collect();
    words.extend(["sysctl", "-q", "-w", setting]);
    must(&wrap[0], &words);
}

fn echo(host: &str) {
    let address = SocketAddr::new(host.parse().unwrap(), 7000);
    let socket = UdpSocket::bind(address).unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            drop(socket.send_to(&buffer[..count], from));
        }
    });
}

fn on(host: &str) -> String {
    SocketAddr::new(host.parse().unwrap(), 7000).to_string()
}

/// Sends until the same comes back.
fn until_echo(socket: &UdpSocket, payload: &[u8]) {
    let mut heard = vec![0; 65_536];
    wait::until_true(LIMIT, "an echo", || {
        drop(socket.send(payload));
        socket
            .recv(&mut heard)
            .is_ok_and(|n| heard[..n] == *payload)
    });
}

#[test]
fn datagrams_and_pings_reach_hosts_of_both_families() {
    let net = Net::new();
    for host in HOSTS {
        until_echo(&net.udp(&on(host)), b"hello");
        let (request, reply) = if host.contains(':') {
            (128, 129)
        } else {
            (8, 0)
        };
        let socket = net.ping(host);
        let mut heard = [0; 256];
        wait::until_true(LIMIT, "an answer to a ping", || {
            drop(socket.send(&[request, 0, 0, 0, 0, 0, 0, 7, b'a', b'b']));
            let count = socket.recv(&mut heard).unwrap_or(0);
            count == 10 && heard[0] == reply && heard[6..10] == [0, 7, b'a', b'b']
        });
    }
    let closed = net.udp("10.78.0.2:7999");
    let refused = wait::until(LIMIT, "an error", || {
        drop(closed.send(b"anybody?"));
        let heard = closed.recv(&mut [0; 16]).err()?;
        (heard.kind() != io::ErrorKind::WouldBlock).then_some(heard)
    });
    assert!(refused.raw_os_error().is_some(), "{refused}");
}

#[test]
fn the_laptop_learns_how_wide_the_path_is_and_loses_nothing_by_it() {
    let net = Net::new();
    for host in FAR {
        until_echo(&net.udp(&on(host)), b"small");
        let socket = net.udp(&on(host));
        let wide = [7; 1340];
        let mut heard = vec![0; 65_536];
        let (mut told, mut whole) = (false, false);
        wait::until_true(LIMIT, "the width of the path and the datagram", || {
            drop(socket.send(&wide));
            match socket.recv(&mut heard) {
                Ok(count) => whole |= heard[..count] == wide,
                Err(why) => told |= why.raw_os_error() == Some(MESSAGE_TOO_LONG),
            }
            told && whole
        });
        let route = net
            .office
            .outside
            .command("ip")
            .args(["route", "get", host])
            .output();
        let route = String::from_utf8(route.unwrap().stdout).unwrap();
        assert!(route.contains(&format!("mtu {NARROW}")), "{route}");
    }
}

#[test]
fn a_packet_without_hops_is_answered_by_the_gateway_as_the_first_router() {
    let net = Net::new();
    let gateway = net.office.tunnel_address().to_string();
    let listener = net.office.outside.enter(|| {
        let made = socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::empty(),
            SockProtocol::Icmp,
        );
        patient(UdpSocket::from(made.unwrap()))
    });
    let probe = net.udp(&on(HOSTS[0]));
    until_echo(&probe, b"far enough");
    probe.set_ttl(1).unwrap();
    let mut heard = [0; 1024];
    wait::until_true(LIMIT, "time exceeded", || {
        drop(probe.send(b"probe"));
        let Ok((count, from)) = listener.recv_from(&mut heard) else {
            return false;
        };
        // behind the IP header: time exceeded in transit, with the probe
        from.ip().to_string() == gateway && count > 48 && heard[20..22] == [11, 0]
    });
    probe.set_ttl(2).unwrap();
    until_echo(&probe, b"far enough again");
}

/// Connects from the laptop; returns the number of the error.
fn refused(net: &Net, to: &str, port: u16) -> Option<i32> {
    let to = SocketAddr::new(to.parse().unwrap(), port);
    let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(20));
    let refused = net.office.outside.enter(connect).err();
    refused
        .unwrap_or_else(|| panic!("{to} is reached"))
        .raw_os_error()
}

#[test]
fn a_host_that_is_not_there_is_told_from_one_that_refuses() {
    let net = Net::new();
    for (host, away) in HOSTS.iter().zip(AWAY) {
        assert_eq!(refused(&net, host, 7999), Some(CONNECTION_REFUSED));
        assert_eq!(refused(&net, away, 7000), Some(HOST_UNREACHABLE));
    }
    // what the policy forbids is refused at once, and says nothing of the host
    for host in FORBIDDEN {
        assert_eq!(refused(&net, host, 7000), Some(CONNECTION_REFUSED));
    }
}

#[test]
fn a_ping_that_the_policy_forbids_is_told_so() {
    let net = Net::new();
    for (host, request, told) in [
        (FORBIDDEN[0], 8, HOST_UNREACHABLE),
        (FORBIDDEN[1], 128, PROHIBITED),
    ] {
        let socket = net.ping(host);
        let heard = wait::until(LIMIT, "an answer to a ping", || {
            drop(socket.send(&[request, 0, 0, 0, 0, 0, 0, 7]));
            let why = socket.recv(&mut [0; 64]).err()?;
            (why.kind() != io::ErrorKind::WouldBlock).then_some(why)
        });
        assert_eq!(heard.raw_os_error(), Some(told), "{heard}");
    }
}

/// Reads how many packets were dropped as fragments: what the metrics say and what `status` says.
fn fragments(office: &Office) -> (u64, u64) {
    let url = format!("http://127.0.0.1:{}/metrics", office.gateway.admin_port());
    let metrics = office.web_browser().fetch(&url).body;
    let name = "postern_tunnel_dropped{reason=\"fragment\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no line of fragments: {metrics}"));
    let status = office.gateway.must(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    let told = status["tunnel"]["dropped"]["fragment"].as_u64();
    (line.parse().unwrap(), told.unwrap_or(0))
}

#[test]
fn what_the_tunnel_drops_is_counted_where_an_operator_looks() {
    let net = Net::new();
    let socket = net.udp(&on(HOSTS[0]));
    until_echo(&socket, b"in one piece");
    assert_eq!(fragments(&net.office), (0, 0));
    // longer than the tunnel's MTU: the laptop sends it in pieces
    socket.send(&[7; 3000]).unwrap();
    wait::until_true(LIMIT, "the pieces are counted", || {
        fragments(&net.office) == (3, 3)
    });
    until_echo(&socket, b"in one piece again");
}
