//! Updates of a zone, signed with a shared key.
//!
//! Source: [RFC 2136](https://www.rfc-editor.org/rfc/rfc2136) and
//! [RFC 8945](https://www.rfc-editor.org/rfc/rfc8945).

use std::net::SocketAddr;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Act;
use crate::clock;
use crate::config::Dns;
use crate::proxy::tls::files::{Readers, read_secret};

const TXT: u16 = 16;
const SOA: u16 = 6;
const TSIG: u16 = 250;
const IN: u16 = 1;
const NONE: u16 = 254;
const ANY: u16 = 255;
/// Opcode 5 in the header's flags.
const UPDATE: u16 = 5 << 11;
/// Seconds that a record may be kept by others.
const TTL: u32 = 30;
/// Seconds by which two clocks may differ. Source: RFC 8945 section 10.
const FUDGE: u16 = 300;
/// Where the count of additional records stands in a header.
const ADDITIONAL: usize = 10;

/// Adds a TXT record to the zone, or takes exactly that one away.
pub(super) async fn send(
    dns: &Dns,
    server: SocketAddr,
    act: Act,
    name: &str,
    value: &str,
) -> Result<(), String> {
    let zone = dns.zone.as_deref().unwrap_or_default();
    if !name.ends_with(&format!(".{zone}")) {
        return Err(format!("{name} does not lie in the zone {zone}"));
    }
    let key_name = dns.key_name.as_deref().unwrap_or_default();
    let file = dns.key_file.as_deref().ok_or("no key for updates")?;
    let text = read_secret(file, Readers::OwnerAndGroup).map_err(|e| e.to_string())?;
    let key = BASE64.decode(text.trim_ascii()).map(Zeroizing::new);
    let key = key.map_err(|_| format!("{} is not base64", file.display()))?;
    let id = u16::from_be_bytes(crate::ids::random::<2>());
    let message = update(id, zone, act, name, value).ok_or("a name does not fit")?;
    let signed = sign(message, key_name, &key, clock::unix()).ok_or("the key does not fit")?;
    let answer = timeout(dns.timeout(), exchange(server, &signed)).await;
    let answer = answer.map_err(|_| format!("{server} does not answer"))?;
    let answer = answer.map_err(|e| format!("{server}: {e}"))?;
    judge(server, id, &answer)
}

/// Reads the code of an answer. Its signature is not: who forges one only has the challenge fail.
fn judge(server: SocketAddr, id: u16, answer: &[u8]) -> Result<(), String> {
    let (Some(head), Some(flags)) = (answer.get(..2), answer.get(2..4)) else {
        return Err(format!("{server} answers nonsense"));
    };
    let is_answer = flags.first().is_some_and(|b| b & 0x80 != 0);
    if head != id.to_be_bytes() || !is_answer {
        return Err(format!("{server} answers something else"));
    }
    match flags.last().map_or(0, |b| b & 0x0f) {
        0 => Ok(()),
        5 => Err(format!("{server} refuses the update")),
        8 => Err(format!(
            "{server} wants the record to be there, and it is not"
        )),
        9 => Err(format!(
            "{server} does not take this key, or its clock differs"
        )),
        10 => Err(format!("{server} does not hold the zone")),
        code => Err(format!("{server} answers with code {code}")),
    }
}

async fn exchange(server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(message).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn update(id: u16, zone: &str, act: Act, name: &str, value: &str) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(256);
    for word in [id, UPDATE, 1, 0, 1, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    put_name(&mut message, zone)?;
    put(&mut message, &[SOA, IN]);
    put_name(&mut message, name)?;
    let (class, ttl) = match act {
        Act::Present => (IN, TTL),
        Act::Cleanup => (NONE, 0),
    };
    put(&mut message, &[TXT, class]);
    message.extend_from_slice(&ttl.to_be_bytes());
    let length = u8::try_from(value.len()).ok()?;
    put(&mut message, &[u16::from(length) + 1]);
    message.push(length);
    message.extend_from_slice(value.as_bytes());
    Some(message)
}

/// Adds the record that signs a message. Source: RFC 8945 sections 4.2 and 4.3.3.
fn sign(mut message: Vec<u8>, key_name: &str, key: &[u8], now: i64) -> Option<Vec<u8>> {
    let time = u64::try_from(now).ok()?.to_be_bytes();
    let time = time.get(2..)?;
    let (mut owner, mut algorithm) = (Vec::new(), Vec::new());
    put_name(&mut owner, key_name)?;
    put_name(&mut algorithm, "hmac-sha256")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(&message);
    mac.update(&owner);
    mac.update(&ANY.to_be_bytes());
    mac.update(&0_u32.to_be_bytes());
    mac.update(&algorithm);
    mac.update(time);
    let mut tail = Vec::new();
    put(&mut tail, &[FUDGE, 0, 0]);
    mac.update(&tail);
    let digest = mac.finalize().into_bytes();
    let id = message.get(..2)?.to_owned();
    let mut data = algorithm;
    data.extend_from_slice(time);
    put(&mut data, &[FUDGE, u16::try_from(digest.len()).ok()?]);
    data.extend_from_slice(&digest);
    data.extend_from_slice(&id);
    put(&mut data, &[0, 0]);
    message.extend_from_slice(&owner);
    put(&mut message, &[TSIG, ANY]);
    message.extend_from_slice(&0_u32.to_be_bytes());
    put(&mut message, &[u16::try_from(data.len()).ok()?]);
    message.extend_from_slice(&data);
    let count = message.get_mut(ADDITIONAL..ADDITIONAL + 2)?;
    count.copy_from_slice(&1_u16.to_be_bytes());
    Some(message)
}

fn put(to: &mut Vec<u8>, words: &[u16]) {
    for word in words {
        to.extend_from_slice(&word.to_be_bytes());
    }
}

/// Writes a name in lower case without compression, as signatures need it.
fn put_name(to: &mut Vec<u8>, name: &str) -> Option<()> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    for label in name.split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|n| (1..64).contains(n))?;
        to.push(length);
        to.extend_from_slice(label.as_bytes());
    }
    to.push(0);
    Some(())
}

#[cfg(test)]
mod tests;
