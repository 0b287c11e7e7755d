//! Asking a resolver: one connected socket with a fresh port and a fresh id for each query.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType};
use tokio::net::{TcpStream, UdpSocket};

use super::{Way, read_framed, write_framed};
use crate::ids;

/// How long a device waits for an answer, over all servers tried.
const PATIENCE: Duration = Duration::from_secs(3);
/// Servers tried for one query.
const TRIES: u32 = 2;
/// The largest datagram a resolver may answer with.
const ANSWER_MAX: usize = 4096;

/// Asks the first two servers in turn; the answer carries the id of `query`.
pub(super) async fn forward(servers: &[SocketAddr], query: &[u8], way: Way) -> Option<Vec<u8>> {
    let asked = Message::from_vec(query).ok()?;
    let one = servers.len() < 2;
    let patience = if one { PATIENCE } else { PATIENCE / TRIES };
    for server in servers.iter().take(2) {
        let exchange = exchange(*server, query, &asked, way);
        if let Ok(Ok(answer)) = tokio::time::timeout(patience, exchange).await {
            return Some(with_id(&answer, asked.metadata.id));
        }
    }
    None
}

async fn exchange(
    server: SocketAddr,
    query: &[u8],
    asked: &Message,
    way: Way,
) -> io::Result<Vec<u8>> {
    let id = u16::from_be_bytes(ids::random());
    let query = with_id(query, id);
    let answer = by_datagram(server, &query, id, asked).await?;
    let cut = Message::from_vec(&answer).is_ok_and(|answer| answer.metadata.truncation);
    // a device that asked by UDP asks again by TCP when it sees the cut
    if cut && way == Way::Stream {
        by_stream(server, &query, id, asked).await
    } else {
        Ok(answer)
    }
}

async fn by_datagram(
    server: SocketAddr,
    query: &[u8],
    id: u16,
    asked: &Message,
) -> io::Result<Vec<u8>> {
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
        if belongs(answer, id, asked) {
            return Ok(answer.to_vec());
        }
    }
}

async fn by_stream(
    server: SocketAddr,
    query: &[u8],
    id: u16,
    asked: &Message,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, query).await?;
    let answer = read_framed(&mut stream).await?;
    if belongs(&answer, id, asked) {
        Ok(answer)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Says whether `answer` answers the question that was sent under `id`.
fn belongs(answer: &[u8], id: u16, asked: &Message) -> bool {
    Message::from_vec(answer).is_ok_and(|answer| {
        answer.metadata.id == id
            && answer.metadata.message_type == MessageType::Response
            && answer.queries == asked.queries
    })
}

/// Copies a message under another id.
fn with_id(message: &[u8], id: u16) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(field) = message.first_chunk_mut() {
        *field = id.to_be_bytes();
    }
    message
}
