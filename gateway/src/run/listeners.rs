//! The sockets the gateway listens on: passed by a service manager, or opened and left in its keeping.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::inherited::Inherited;
use super::notify::Notify;
use super::{StartError, system};
use crate::config::Config;

/// What the name of a socket in the manager's keeping starts with.
pub(super) const KEPT: &str = "kept-";

/// The sockets of the web door, all of them or none, and the tunnel's if it was passed.
pub(super) struct Listeners {
    pub(super) https: Vec<TcpListener>,
    pub(super) http: Vec<TcpListener>,
    pub(super) admin: Option<TcpListener>,
    pub(super) tunnel: Option<UdpSocket>,
}

impl Listeners {
    /// Takes what is passed and opens the rest, which the manager keeps from then on.
    ///
    /// # Errors
    /// When an address cannot be listened on, or a socket is passed that the configuration does not name.
    pub(super) fn bind(config: &Config, notify: &Notify) -> Result<Self, StartError> {
        let passed = Inherited::from_environment();
        let mut passed = passed.map_err(|source| system("take the sockets passed", source))?;
        let mut open = |address: SocketAddr| match passed.take(address) {
            Some(listener) => Ok(listener),
            None => listen(address).inspect(|new| notify.keep(&name("tcp", address), new)),
        };
        let mut bind = |addresses: &[SocketAddr]| -> Result<Vec<TcpListener>, StartError> {
            addresses.iter().map(|a| open(*a)).collect()
        };
        let https = bind(&config.http.https)?;
        let http = bind(&config.http.http)?;
        let admin = config.admin.listen.map(open).transpose()?;
        let tunnel = config.tunnel.enabled.then_some(config.tunnel.listen);
        let all = Self {
            https,
            http,
            admin,
            tunnel: tunnel.and_then(|address| passed.take_udp(address)),
        };
        // of an address that was configured before
        passed.kept().iter().for_each(|name| notify.forget(name));
        match passed.left() {
            None => Ok(all),
            Some(address) => {
                let text = "a socket is passed for it that the configuration does not name";
                let source = std::io::Error::other(text);
                Err(StartError::Listen { address, source })
            }
        }
    }
}

/// Names a socket in the manager's keeping; its names have no colon.
pub(super) fn name(kind: &str, address: SocketAddr) -> String {
    format!("{KEPT}{kind}-{address}").replace(':', "_")
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let open = || -> std::io::Result<TcpListener> {
        use socket2::{Domain, Protocol, Socket, Type};
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    open().map_err(|source| StartError::Listen { address, source })
}
