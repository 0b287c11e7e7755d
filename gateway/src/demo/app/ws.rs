//! A WebSocket that sends back what it gets. Source: [RFC 6455](https://www.rfc-editor.org/rfc/rfc6455).

use std::io;

use data_encoding::BASE64;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::http::Request;

/// RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The largest frame in bytes.
const FRAME_MAX: u64 = 16 << 20;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Shakes hands and echoes frames until one side closes.
///
/// # Errors
/// If the connection breaks or the client breaks the protocol.
pub(super) async fn echo(stream: &mut BufReader<TcpStream>, request: &Request) -> io::Result<()> {
    let key = request.field("sec-websocket-key").unwrap_or_default();
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept(key)
    );
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    loop {
        let frame = read(stream).await?;
        match frame.code {
            // a fragment goes back as the fragment it is
            CONTINUATION | TEXT | BINARY => write(stream, frame.first, &frame.payload).await?,
            PING => write(stream, 0x80 | PONG, &frame.payload).await?,
            PONG => {}
            CLOSE => return write(stream, 0x80 | CLOSE, &frame.payload).await,
            _ => return write(stream, 0x80 | CLOSE, &1002_u16.to_be_bytes()).await,
        }
    }
}

/// Returns the proof of the handshake, RFC 6455 section 4.2.2.
fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID.as_bytes());
    BASE64.encode(&hash.finalize())
}

struct Frame {
    /// The first byte: final bit and code.
    first: u8,
    code: u8,
    payload: Vec<u8>,
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Frame> {
    let first = stream.read_u8().await?;
    let second = stream.read_u8().await?;
    let length = match second & 0x7f {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    // clients mask, section 5.1
    if length > FRAME_MAX || second & 0x80 == 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut mask = [0_u8; 4];
    stream.read_exact(&mut mask).await?;
    let mut payload = vec![0_u8; usize::try_from(length).unwrap_or(0)];
    stream.read_exact(&mut payload).await?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Frame {
        first,
        code: first & 0x0f,
        payload,
    })
}

async fn write<W: AsyncWrite + Unpin>(stream: &mut W, first: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend(u64::try_from(payload.len()).unwrap_or(0).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_proof_is_that_of_rfc_6455_section_1_3() {
        let accept = super::accept("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
