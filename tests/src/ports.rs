//! Port offsets for demos that run beside each other.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};

/// The largest offset the demo takes.
const MAX: u16 = 13_715;
/// Steps of eight keep 8443, 8080 and 8444 plus two offsets apart from each other.
const STEP: u16 = 8;

/// An offset that no other test holds and whose ports were free.
#[derive(Debug)]
pub struct Offset {
    pub value: u16,
    _lock: Flock<File>,
}

impl Offset {
    /// Reserves an offset until drop.
    #[must_use]
    pub fn reserve() -> Self {
        let dir = std::env::temp_dir().join("postern-test-ports");
        std::fs::create_dir_all(&dir).unwrap();
        let count = MAX / STEP;
        let start = seed() % count;
        for step in 0..count {
            let value = (start + step) % count * STEP;
            let file = File::create(dir.join(value.to_string())).unwrap();
            let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
                continue;
            };
            if is_free(value) {
                return Self { value, _lock: lock };
            }
        }
        panic!("no free port offset");
    }
}

/// Where [`free_tcp`] looks: behind the ports of demos, before those that the system gives to clients.
const TOOLS: std::ops::Range<u16> = 23_000..32_000;

/// Returns a free TCP port of loopback for a program that cannot be told to choose one. It is not given to another
/// test while this process lives, and the system gives it to no client.
#[must_use]
pub fn free_tcp() -> u16 {
    static HELD: Mutex<Vec<Flock<File>>> = Mutex::new(Vec::new());
    let dir = std::env::temp_dir().join("postern-test-ports");
    std::fs::create_dir_all(&dir).unwrap();
    let count = TOOLS.end - TOOLS.start;
    let start = seed() % count;
    for step in 0..count {
        let port = TOOLS.start + (start + step) % count;
        let file = File::create(dir.join(format!("tcp-{port}"))).unwrap();
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            HELD.lock().unwrap().push(lock);
            return port;
        }
    }
    panic!("no free port");
}

fn seed() -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mixed = now.subsec_nanos() ^ std::process::id().rotate_left(7);
    u16::try_from(mixed % 65_521).unwrap()
}

fn is_free(offset: u16) -> bool {
    let tcp = [8443, 8080, 8444].map(|port: u16| port + offset);
    tcp.iter()
        .all(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 51_820 + offset)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{TOOLS, free_tcp};

    #[test]
    fn no_port_is_given_twice() {
        let ports: BTreeSet<u16> = (0..50).map(|_| free_tcp()).collect();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|port| TOOLS.contains(port)));
    }
}
