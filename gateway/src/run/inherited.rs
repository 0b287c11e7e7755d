//! Sockets that a service manager keeps open over the restarts of the gateway, so that whoever connects in between
//! waits instead of being refused: those it opened itself, and those the gateway gave it to keep.
//!
//! Source: `sd_listen_fds(3)`, `sd_pid_notify_with_fds(3)`.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::net::SocketType;
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use super::listeners::KEPT;

/// The first descriptor that is passed.
const FIRST: RawFd = 3;
/// The most that are taken.
const MOST: RawFd = 64;

/// Sockets that were passed and not yet taken.
#[derive(Default)]
pub(super) struct Inherited {
    tcp: Vec<Passed<TcpListener>>,
    udp: Vec<Passed<UdpSocket>>,
}

struct Passed<T> {
    /// What the manager calls it; several may have one name.
    name: String,
    address: SocketAddr,
    socket: T,
}

impl Inherited {
    /// Takes what `LISTEN_FDS` passes to this very process; nothing where it passes nothing.
    ///
    /// # Errors
    /// When one of them is neither a listening TCP socket nor a UDP socket, or cannot be taken.
    pub(super) fn from_environment() -> io::Result<Self> {
        let number = |name: &str| std::env::var(name).ok()?.parse::<RawFd>().ok();
        let ours = number("LISTEN_PID") == Some(getpid().as_raw_nonzero().get());
        let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
        if !(0..=MOST).contains(&count) {
            return Err(io::Error::other(format!("{count} sockets are passed")));
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').chain(std::iter::repeat(""));
        let mut all = Self::default();
        for (fd, name) in (FIRST..FIRST + count).zip(names) {
            let put = own(fd).and_then(|own| all.put(own, name));
            put.map_err(|e| io::Error::new(e.kind(), format!("descriptor {fd}: {e}")))?;
        }
        Ok(all)
    }

    fn put(&mut self, fd: OwnedFd, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        let kind = socket_type(fd.as_fd())?;
        if kind == SocketType::STREAM && socket_acceptconn(fd.as_fd())? {
            let socket = TcpListener::from(fd);
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            self.tcp.push(Passed {
                name,
                address,
                socket,
            });
        } else if kind == SocketType::DGRAM {
            let socket = UdpSocket::from(fd);
            let address = socket.local_addr()?;
            self.udp.push(Passed {
                name,
                address,
                socket,
            });
        } else {
            let what = "neither a listening TCP socket nor a UDP socket";
            return Err(io::Error::other(what));
        }
        Ok(())
    }

    /// Takes the socket that listens on an address.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        taken(&mut self.tcp, address)
    }

    /// Takes the UDP socket of an address.
    pub(super) fn take_udp(&mut self, address: SocketAddr) -> Option<UdpSocket> {
        taken(&mut self.udp, address)
    }

    /// Closes those that were given to keep and that nobody took, and returns their names.
    pub(super) fn kept(&mut self) -> Vec<String> {
        let mut names = kept(&mut self.tcp);
        names.append(&mut kept(&mut self.udp));
        names
    }

    /// Returns the address of one that nobody took.
    pub(super) fn left(&self) -> Option<SocketAddr> {
        let tcp = self.tcp.iter().map(|one| one.address);
        let udp = self.udp.iter().map(|one| one.address);
        tcp.chain(udp).next()
    }
}

fn taken<T>(all: &mut Vec<Passed<T>>, address: SocketAddr) -> Option<T> {
    let at = all.iter().position(|one| one.address == address)?;
    Some(all.swap_remove(at).socket)
}

fn kept<T>(all: &mut Vec<Passed<T>>) -> Vec<String> {
    let is_kept = |one: &mut Passed<T>| one.name.starts_with(KEPT);
    all.extract_if(.., is_kept).map(|one| one.name).collect()
}

/// Takes a descriptor over; children do not inherit it.
fn own(fd: RawFd) -> io::Result<OwnedFd> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    let own = pidfd_getfd(&this, fd, PidfdGetfdFlags::empty())?;
    nix::unistd::close(fd)?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixDatagram;

    use super::Inherited;

    #[test]
    fn a_socket_is_taken_once_and_by_its_address_and_kind() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).unwrap();
        let mut all = Inherited::default();
        all.put(tcp.into(), "").unwrap();
        all.put(udp.into(), "postern.socket").unwrap();
        assert_eq!(all.left(), Some(address));
        let other = "127.0.0.1:1".parse().unwrap();
        assert!(all.take(other).is_none() && all.take_udp(other).is_none());
        assert_eq!(all.take(address).unwrap().local_addr().unwrap(), address);
        assert!(all.take(address).is_none());
        assert_eq!(all.left(), Some(address), "the other of the two");
        assert!(all.kept().is_empty(), "nobody gave it to keep");
        let taken = all.take_udp(address).unwrap();
        assert_eq!(taken.local_addr().unwrap(), address);
        assert!(all.take_udp(address).is_none() && all.left().is_none());
    }

    #[test]
    fn what_was_given_to_keep_and_is_not_wanted_any_more_is_closed() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let mut all = Inherited::default();
        all.put(udp.into(), "kept-udp-127.0.0.1_1").unwrap();
        assert!(UdpSocket::bind(address).is_err());
        assert_eq!(all.kept(), ["kept-udp-127.0.0.1_1"]);
        assert!(all.left().is_none());
        UdpSocket::bind(address).unwrap();
    }

    #[test]
    fn what_does_not_listen_is_not_taken() {
        let (datagrams, _other) = UnixDatagram::pair().unwrap();
        let mut all = Inherited::default();
        assert!(all.put(datagrams.into(), "").is_err());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(all.put(stream.into(), "").is_err());
        assert!(all.left().is_none());
    }

    #[test]
    fn nothing_is_taken_where_nothing_is_passed_to_this_process() {
        assert!(Inherited::from_environment().unwrap().left().is_none());
    }
}
