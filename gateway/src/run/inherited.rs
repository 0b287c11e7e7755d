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
pub(super) struct Inherited(Vec<Passed>);

struct Passed {
    /// What the manager calls it; several may have one name.
    name: String,
    address: SocketAddr,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
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
        let all: io::Result<Vec<_>> = (FIRST..FIRST + count)
            .zip(names)
            .map(|(fd, name)| taken(fd, name))
            .collect();
        Ok(Self(all?))
    }

    /// Takes the socket that listens on an address.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |one: &Passed| one.address == address && matches!(one.socket, Socket::Tcp(_));
        let at = self.0.iter().position(is_it)?;
        match self.0.swap_remove(at).socket {
            Socket::Tcp(listener) => Some(listener),
            Socket::Udp(_) => None,
        }
    }

    /// Takes the UDP socket of an address.
    pub(super) fn take_udp(&mut self, address: SocketAddr) -> Option<UdpSocket> {
        let is_it = |one: &Passed| one.address == address && matches!(one.socket, Socket::Udp(_));
        let at = self.0.iter().position(is_it)?;
        match self.0.swap_remove(at).socket {
            Socket::Udp(socket) => Some(socket),
            Socket::Tcp(_) => None,
        }
    }

    /// Closes those that were given to keep and that nobody took, and returns their names.
    pub(super) fn kept(&mut self) -> Vec<String> {
        let is_kept = |one: &mut Passed| one.name.starts_with(KEPT);
        self.0.extract_if(.., is_kept).map(|one| one.name).collect()
    }

    /// Returns the address of one that nobody took.
    pub(super) fn left(&self) -> Option<SocketAddr> {
        self.0.first().map(|one| one.address)
    }
}

fn taken(fd: RawFd, name: &str) -> io::Result<Passed> {
    let socket = own(fd).and_then(|own| socket(own, name));
    socket.map_err(|e| io::Error::new(e.kind(), format!("descriptor {fd}: {e}")))
}

/// Takes a descriptor over; children do not inherit it.
fn own(fd: RawFd) -> io::Result<OwnedFd> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    let own = pidfd_getfd(&this, fd, PidfdGetfdFlags::empty())?;
    nix::unistd::close(fd)?;
    Ok(own)
}

fn socket(fd: OwnedFd, name: &str) -> io::Result<Passed> {
    let kind = socket_type(fd.as_fd())?;
    let (address, socket) = if kind == SocketType::STREAM && socket_acceptconn(fd.as_fd())? {
        let listener = TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        (listener.local_addr()?, Socket::Tcp(listener))
    } else if kind == SocketType::DGRAM {
        let socket = UdpSocket::from(fd);
        (socket.local_addr()?, Socket::Udp(socket))
    } else {
        let what = "neither a listening TCP socket nor a UDP socket";
        return Err(io::Error::other(what));
    };
    Ok(Passed {
        name: name.to_owned(),
        address,
        socket,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixDatagram;

    use super::{Inherited, socket};

    #[test]
    fn a_socket_is_taken_once_and_by_its_address_and_kind() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).unwrap();
        let passed = [socket(tcp.into(), ""), socket(udp.into(), "postern.socket")];
        let mut all = Inherited(passed.map(Result::unwrap).into());
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
        let mut all = Inherited(vec![socket(udp.into(), "kept-udp-127.0.0.1_1").unwrap()]);
        assert!(UdpSocket::bind(address).is_err());
        assert_eq!(all.kept(), ["kept-udp-127.0.0.1_1"]);
        assert!(all.left().is_none());
        UdpSocket::bind(address).unwrap();
    }

    #[test]
    fn what_does_not_listen_is_not_taken() {
        let (datagrams, _other) = UnixDatagram::pair().unwrap();
        assert!(socket(datagrams.into(), "").is_err());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(socket(stream.into(), "").is_err());
    }

    #[test]
    fn nothing_is_taken_where_nothing_is_passed_to_this_process() {
        assert!(Inherited::from_environment().unwrap().left().is_none());
    }
}
