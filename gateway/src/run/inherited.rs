//! Sockets that a service manager opened for the gateway and keeps open over its restarts, so that whoever connects in
//! between waits instead of being refused.
//!
//! Source: `sd_listen_fds(3)`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::net::SocketType;
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// The first descriptor that is passed.
const FIRST: RawFd = 3;
/// The most that are taken.
const MOST: RawFd = 64;

/// Listening sockets that were passed and not yet taken.
pub(super) struct Inherited(Vec<(SocketAddr, TcpListener)>);

impl Inherited {
    /// Takes what `LISTEN_FDS` passes to this very process; nothing where it passes nothing.
    ///
    /// # Errors
    /// When one of them is no listening TCP socket, or cannot be taken.
    pub(super) fn from_environment() -> io::Result<Self> {
        let number = |name: &str| std::env::var(name).ok()?.parse::<RawFd>().ok();
        let ours = number("LISTEN_PID") == Some(getpid().as_raw_nonzero().get());
        let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
        if !(0..=MOST).contains(&count) {
            return Err(io::Error::other(format!("{count} sockets are passed")));
        }
        let all: io::Result<Vec<_>> = (FIRST..FIRST + count).map(taken).collect();
        Ok(Self(all?))
    }

    /// Takes the socket that listens on an address.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.0.iter().position(|(known, _)| *known == address)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Returns the address of one that nobody took.
    pub(super) fn left(&self) -> Option<SocketAddr> {
        self.0.first().map(|(address, _)| *address)
    }
}

fn taken(fd: RawFd) -> io::Result<(SocketAddr, TcpListener)> {
    listening(own(fd)?).map_err(|e| io::Error::new(e.kind(), format!("descriptor {fd}: {e}")))
}

/// Takes a descriptor over; children do not inherit it.
fn own(fd: RawFd) -> io::Result<OwnedFd> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    let own = pidfd_getfd(&this, fd, PidfdGetfdFlags::empty())?;
    nix::unistd::close(fd)?;
    Ok(own)
}

fn listening(fd: OwnedFd) -> io::Result<(SocketAddr, TcpListener)> {
    let is_stream = socket_type(fd.as_fd())? == SocketType::STREAM;
    if !is_stream || !socket_acceptconn(fd.as_fd())? {
        return Err(io::Error::other("not a listening TCP socket"));
    }
    let listener = TcpListener::from(fd);
    listener.set_nonblocking(true)?;
    Ok((listener.local_addr()?, listener))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::{Inherited, listening};

    #[test]
    fn a_socket_is_taken_once_and_by_its_address() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut all = Inherited(vec![listening(socket.into()).unwrap()]);
        assert_eq!(all.left(), Some(address));
        assert!(all.take("127.0.0.1:1".parse().unwrap()).is_none());
        let taken = all.take(address).unwrap();
        assert_eq!(taken.local_addr().unwrap(), address);
        assert!(all.take(address).is_none() && all.left().is_none());
    }

    #[test]
    fn what_does_not_listen_is_not_taken() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(listening(udp.into()).is_err());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listening(stream.into()).is_err());
    }

    #[test]
    fn nothing_is_taken_where_nothing_is_passed_to_this_process() {
        assert!(Inherited::from_environment().unwrap().left().is_none());
    }
}
