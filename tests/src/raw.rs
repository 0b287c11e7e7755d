//! Bytes over TLS or plain TCP, exactly as written.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A TLS stream to the gateway.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Opens a TLS stream with `sni`, offering HTTP/1.1 only; reads time out after `limit`.
#[must_use]
pub fn tls(addr: SocketAddr, sni: &str, root: &Path, limit: Duration) -> Tls {
    let tcp = TcpStream::connect(addr).unwrap();
    tls_over(tcp, sni, root, limit)
}

/// Connects from an address of one's own in 127.0.0.0/8.
#[must_use]
pub fn tcp_from(source: Ipv4Addr, to: SocketAddrV4) -> TcpStream {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    );
    let socket = socket.unwrap();
    let from = SockaddrIn::from(SocketAddrV4::new(source, 0));
    bind(socket.as_raw_fd(), &from).unwrap();
    connect(socket.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
    socket.into()
}

/// Opens a TLS stream over a connected socket.
#[must_use]
pub fn tls_over(tcp: TcpStream, sni: &str, root: &Path, limit: Duration) -> Tls {
    tcp.set_read_timeout(Some(limit)).unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    let connection = ClientConnection::new(client_config(root, &["http/1.1"]), name).unwrap();
    StreamOwned::new(connection, tcp)
}

/// An answer as far as it came.
#[derive(Debug)]
pub struct RawAnswer {
    pub bytes: Vec<u8>,
    /// Whether the other side closed before the time limit.
    pub closed: bool,
}

impl RawAnswer {
    /// Returns the status of the first answer; `None` when the connection was closed without one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let text = String::from_utf8_lossy(&self.bytes);
        let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?;
        status.parse().ok()
    }

    /// Returns the number of answers, by their status lines.
    #[must_use]
    pub fn count(&self) -> usize {
        String::from_utf8_lossy(&self.bytes)
            .matches("HTTP/1.1 ")
            .count()
    }
}

/// Writes `bytes` and reads until the other side closes or its time is up.
pub fn exchange(stream: &mut (impl Read + Write), bytes: &[u8]) -> RawAnswer {
    // a refused head may be answered before all of it was taken
    let _ = stream.write_all(bytes);
    let _ = stream.flush();
    read_all(stream)
}

/// Reads until the other side closes or its time is up.
pub fn read_all(stream: &mut impl Read) -> RawAnswer {
    let mut answer = RawAnswer {
        bytes: Vec::new(),
        closed: false,
    };
    let mut block = [0; 4096];
    loop {
        match stream.read(&mut block) {
            Ok(0) => answer.closed = true,
            Ok(count) => {
                answer.bytes.extend_from_slice(&block[..count]);
                continue;
            }
            Err(e) if is_timeout(&e) => {}
            Err(_) => answer.closed = true,
        }
        return answer;
    }
}

/// Reads one answer that has a length; returns its head, and whether all of it came.
pub fn one_answer(stream: &mut impl Read) -> (String, bool) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() {
            return (String::from_utf8_lossy(&head).into_owned(), false);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let whole = length.is_some() && stream.read_exact(&mut body).is_ok();
    (head, whole)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Makes the TLS settings of a client that trusts `root` and offers these protocols.
#[must_use]
pub fn client_config(root: &Path, alpn: &[&str]) -> Arc<ClientConfig> {
    config_by(rustls::crypto::aws_lc_rs::default_provider(), root, alpn)
}

/// As [`client_config`], with the groups and ciphers of a provider.
#[must_use]
pub fn config_by(provider: CryptoProvider, root: &Path, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(root).unwrap();
    for der in CertificateDer::pem_slice_iter(&pem) {
        roots.add(der.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}
