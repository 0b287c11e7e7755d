//! What listens on this machine for more than this machine: apps that the policy names by loopback, and databases.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use policy::front::Source;
use policy::{At, Policy};

use super::{Finding, Verdict, finding, ok};

const CHECK: &str = "listeners";
/// How the kernel names a socket that listens.
/// Source: Linux, `include/net/tcp_states.h`.
const LISTEN: &str = "0A";

/// Databases that are meant for their own machine, and how each is told so.
const DATABASES: [(u16, &str, &str); 2] = [
    (
        5432,
        "PostgreSQL",
        "listen_addresses = 'localhost'  in postgresql.conf; of a container, publish  127.0.0.1:5432:5432",
    ),
    (
        6379,
        "Redis",
        "bind 127.0.0.1 -::1  in redis.conf; of a container, publish  127.0.0.1:6379:6379",
    ),
];

/// Looks at the kernel's tables of sockets, as `/proc/net/tcp` and `/proc/net/tcp6` have them.
pub(crate) fn examine(policy: &Policy, tables: &[String]) -> Vec<Finding> {
    let listeners: Vec<SocketAddr> = tables.iter().flat_map(|table| read(table)).collect();
    let apps = local(policy);
    let mut found = Vec::new();
    let mut look = |port: u16, what: &str, next: String| {
        let at = open(&listeners, port);
        if !at.is_empty() {
            let text = format!(
                "{what}: {} is open to more than this machine",
                at.join(", ")
            );
            found.push(finding(CHECK, Verdict::Note, text, Some(next)));
        }
    };
    for (port, areas) in &apps {
        let next = format!(
            "people come round the gateway there, without a sign-in: bind 127.0.0.1:{port}; \
             of a container, publish  127.0.0.1:{port}:{port}"
        );
        look(*port, &areas.join(", "), next);
    }
    for (port, name, next) in DATABASES {
        if !apps.contains_key(&port) {
            look(port, name, format!("write  {next}"));
        }
    }
    if found.is_empty() {
        let text = format!(
            "{} upstreams on loopback, PostgreSQL and Redis: none listens for more than this machine",
            apps.len()
        );
        found.push(ok(CHECK, text));
    }
    found
}

/// Says that the tables could not be read.
pub(crate) fn unknown(why: &str) -> Finding {
    let next = "look yourself:  ss -ltn".to_owned();
    finding(CHECK, Verdict::Note, why.to_owned(), Some(next))
}

/// The ports of upstreams that the policy names by loopback, each with the areas that name it.
fn local(policy: &Policy) -> BTreeMap<u16, Vec<String>> {
    let mut ports: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for (_, app) in policy.apps() {
        for front in &app.fronts {
            let Source::Pool(pool) = &front.source else {
                continue;
            };
            for member in &pool.members {
                let At::Net(host, port) = &member.to.at else {
                    continue;
                };
                let area = format!("{}{}", app.id, front.source_at);
                let areas = ports.entry(*port).or_default();
                if is_local(host) && !areas.contains(&area) {
                    areas.push(area);
                }
            }
        }
    }
    ports.retain(|_, areas| !areas.is_empty());
    ports
}

fn is_local(host: &str) -> bool {
    let ip = host.parse::<IpAddr>().map(|ip| ip.to_canonical());
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// The addresses with a port on which more than this machine is listened to.
fn open(listeners: &[SocketAddr], port: u16) -> Vec<String> {
    let of_port = listeners.iter().filter(|at| at.port() == port);
    let open = of_port.filter(|at| !at.ip().to_canonical().is_loopback());
    open.map(ToString::to_string).collect()
}

/// Reads who listens; lines that are none are passed over.
fn read(table: &str) -> impl Iterator<Item = SocketAddr> {
    table.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, _, state) = (words.next()?, words.next()?, words.next()?);
        let (ip, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        (state == LISTEN).then_some(SocketAddr::new(address(ip)?, port))
    })
}

/// Reads an address: words of 32 bits, each as this machine holds it in memory.
/// Source: Linux, `Documentation/networking/proc_net_tcp.rst`.
fn address(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for at in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(at..at.checked_add(8)?)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let four = <[u8; 4]>::try_from(bytes.as_slice()).map(|b| IpAddr::V4(Ipv4Addr::from(b)));
    let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).map(|b| IpAddr::V6(Ipv6Addr::from(b)));
    four.or(sixteen).ok()
}

#[cfg(test)]
mod tests {
    use policy::{Policy, Sources};

    use super::{examine, unknown};
    use crate::doctor::Verdict;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn policy(upstream: &str) -> Policy {
        let mut sources = Sources::new();
        sources.add("users.toml", "postern = 1\n[user.ana]\n".to_owned());
        let text = format!(
            "postern = 1\n[group]\nadmins = [\"ana\"]\n[app.kpi]\nhost = \"kpi.example\"\n\
             upstream = \"{upstream}\"\nallow.admins = {{ who = \"@admins\" }}\n"
        );
        sources.add("policy.toml", text);
        policy::load(&sources).unwrap().policy
    }

    fn word(text: &str) -> String {
        let ip: std::net::IpAddr = text.parse().unwrap();
        let bytes = match ip {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let words = bytes
            .chunks(4)
            .map(|b| u32::from_ne_bytes(b.try_into().unwrap()));
        words.map(|word| format!("{word:08X}")).collect()
    }

    /// A table with a socket of this state.
    fn table(ip: &str, port: u16, state: &str) -> String {
        let ip = word(ip);
        format!(
            "{HEAD}   0: {ip}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 12345 1\n"
        )
    }

    fn look(upstream: &str, table: String) -> (Verdict, String) {
        let found = examine(&policy(upstream), &[table]);
        let [one] = &found[..] else {
            panic!("not one finding: {found:?}");
        };
        let next = one.next.clone().unwrap_or_default();
        (one.verdict, format!("{} -> {next}", one.found))
    }

    const LOCAL: &str = "http://127.0.0.1:8501";

    #[test]
    fn an_app_on_loopback_that_others_reach_is_told_with_the_address_to_bind() {
        for at in [
            "0.0.0.0",
            "::",
            "192.0.2.7",
            "2001:db8::7",
            "::ffff:192.0.2.7",
        ] {
            let (verdict, text) = look(LOCAL, table(at, 8501, "0A"));
            assert_eq!(verdict, Verdict::Note, "{at}: {text}");
            assert!(text.contains("app.kpi/: "), "{text}");
            assert!(text.contains("bind 127.0.0.1:8501"), "{text}");
        }
        for named in ["http://localhost:8501", "http://[::1]:8501"] {
            assert_eq!(
                look(named, table("0.0.0.0", 8501, "0A")).0,
                Verdict::Note,
                "{named}"
            );
        }
    }

    #[test]
    fn what_listens_on_loopback_or_is_no_upstream_of_this_machine_is_well() {
        for (upstream, table) in [
            (LOCAL, table("127.0.0.1", 8501, "0A")),
            (LOCAL, table("127.0.0.53", 8501, "0A")),
            (LOCAL, table("::1", 8501, "0A")),
            (LOCAL, table("::ffff:127.0.0.1", 8501, "0A")),
            (LOCAL, table("0.0.0.0", 8502, "0A")),
            // a connection, not a listener
            (LOCAL, table("192.0.2.7", 8501, "01")),
            ("http://192.0.2.8:8501", table("0.0.0.0", 8501, "0A")),
            (
                LOCAL,
                "no table\nat all 1 2 3\n 0: x:y z 0A\n 0: 00:1F40 z 0A".to_owned(),
            ),
        ] {
            let (verdict, text) = look(upstream, table);
            assert_eq!(verdict, Verdict::Ok, "{text}");
        }
    }

    #[test]
    fn a_database_that_others_reach_is_told_with_what_to_write() {
        for (port, what) in [
            (5432, "listen_addresses = 'localhost'"),
            (6379, "bind 127.0.0.1 -::1"),
        ] {
            let (verdict, text) = look(LOCAL, table("0.0.0.0", port, "0A"));
            assert_eq!(verdict, Verdict::Note, "{text}");
            assert!(
                text.contains(&format!("0.0.0.0:{port}")) && text.contains(what),
                "{text}"
            );
            assert_eq!(look(LOCAL, table("127.0.0.1", port, "0A")).0, Verdict::Ok);
        }
    }

    #[test]
    fn tables_that_cannot_be_read_are_a_note_and_no_fault() {
        let note = unknown("/proc/net/tcp: permission denied");
        assert_eq!(note.verdict, Verdict::Note);
        assert!(note.next.unwrap().contains("ss -ltn"));
    }
}
