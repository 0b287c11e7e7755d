//! Asking a resolver: one connected socket with a fresh port and a fresh id for each query.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};

use super::wire::{self, Map};
use super::{Way, read_framed, write_framed};
use crate::ids;

/// How long a device waits for an answer, over all servers tried.
const PATIENCE: Duration = Duration::from_secs(3);
/// Servers tried for one query.
const TRIES: u32 = 2;
/// The largest datagram a resolver is asked for (what passes unfragmented everywhere).
const PAYLOAD: u16 = 1232;
/// The largest datagram a resolver may answer with.
const ANSWER_MAX: usize = 4096;

/// Asks the first two servers in turn; the answer carries the id of `query`.
pub(super) async fn forward(servers: &[SocketAddr], query: &[u8], way: Way) -> Option<Vec<u8>> {
    let one = servers.len() < 2;
    let patience = if one { PATIENCE } else { PATIENCE / TRIES };
    for server in servers.iter().take(2) {
        let exchange = exchange(*server, query, way);
        if let Ok(Ok(mut answer)) = tokio::time::timeout(patience, exchange).await {
            wire::set_id(&mut answer, wire::id(query));
            return Some(answer);
        }
    }
    None
}

async fn exchange(server: SocketAddr, query: &[u8], way: Way) -> io::Result<Vec<u8>> {
    let mut query = query.to_vec();
    wire::set_id(&mut query, u16::from_be_bytes(ids::random()));
    wire::limit_payload(&mut query, PAYLOAD);
    let answer = by_datagram(server, &query).await?;
    let is_cut = Map::read(&answer).is_some_and(|answer| answer.is_cut);
    // a device that asked by UDP asks again by TCP when it sees the cut
    if is_cut && way == Way::Stream {
        by_stream(server, &query).await
    } else {
        Ok(answer)
    }
}

async fn by_datagram(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?; // the kernel drops what comes from elsewhere
    socket.send(query).await?;
    let mut answer = vec![0; ANSWER_MAX];
    loop {
        let length = socket.recv(&mut answer).await?;
        let answer = answer.get(..length).unwrap_or_default();
        if wire::answers(answer, query) {
            return Ok(answer.to_vec());
        }
    }
}

async fn by_stream(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, query).await?;
    let answer = read_framed(&mut stream).await?;
    if wire::answers(&answer, query) {
        Ok(answer)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}
