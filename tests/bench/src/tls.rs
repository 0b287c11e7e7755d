//! A TLS client for single requests and for connections that stay idle.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

/// An open connection; dropped, it closes.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// What a client trusts.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    /// Makes a client that trusts these roots and resumes nothing.
    #[must_use]
    pub fn new(roots: &[String]) -> Self {
        let mut store = RootCertStore::empty();
        for pem in roots {
            let root = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            store.add(root).unwrap();
        }
        let mut config = ClientConfig::builder()
            .with_root_certificates(store)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Self {
            config: Arc::new(config),
        }
    }

    /// Connects to a port of loopback from an address of loopback.
    ///
    /// # Errors
    /// When nothing listens there.
    pub fn connect(&self, host: &str, port: u16, from: Ipv4Addr) -> std::io::Result<Connection> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        let limit = Duration::from_secs(5);
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        socket.connect_timeout(&to.into(), limit)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(limit))?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let session = ClientConnection::new(self.config.clone(), name).unwrap();
        Ok(StreamOwned::new(session, stream))
    }
}

/// Asks for a path on a kept connection and returns status and body.
///
/// # Errors
/// When the connection breaks.
pub fn get(
    connection: &mut Connection,
    authority: &str,
    path: &str,
    headers: &[String],
) -> std::io::Result<(u16, String)> {
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    connection.write_all(format!("{head}\r\n").as_bytes())?;
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with("\r\n\r\n") {
        connection.read_exact(&mut byte)?;
        text.push(char::from(byte[0]));
    }
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    connection.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok((status.unwrap_or(0), body))
}
