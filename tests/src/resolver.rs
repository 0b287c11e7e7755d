//! A resolver with a few made-up names, by UDP and TCP, that remembers what it was asked.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// Seconds for which its answers may be kept.
pub const LIFETIME: u32 = 60;
/// The address of every name.
pub const ADDRESS: [u8; 4] = [192, 0, 2, 77];
/// Bytes of the text of a name that begins with `large`.
pub const LARGE: usize = 3000;

const A: u16 = 1;
const TXT: u16 = 16;
const OPT: u16 = 41;
const RRSIG: u16 = 46;
const NO_SUCH_NAME: u8 = 3;

/// A running resolver; `large.*` has a text for TCP, `signed.*` a signature for who wants it, and
/// `absent.*` does not exist.
#[derive(Clone, Debug)]
pub struct Resolver {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Resolver {
    /// Listens on the address of the current namespace.
    #[must_use]
    pub fn start(address: &str) -> Self {
        let datagrams = UdpSocket::bind(address).unwrap();
        let streams = TcpListener::bind(address).unwrap();
        let own = Self {
            asked: Arc::default(),
        };
        let by_datagram = own.clone();
        thread::spawn(move || {
            let mut query = [0; 4096];
            while let Ok((count, from)) = datagrams.recv_from(&mut query) {
                let answer = by_datagram.answer(&query[..count], false);
                drop(datagrams.send_to(&answer, from));
            }
        });
        let by_stream = own.clone();
        thread::spawn(move || {
            for mut stream in streams.incoming().flatten() {
                let mut length = [0; 2];
                let mut query = Vec::new();
                if stream.read_exact(&mut length).is_ok() {
                    query.resize(usize::from(u16::from_be_bytes(length)), 0);
                }
                if !query.is_empty() && stream.read_exact(&mut query).is_ok() {
                    let answer = by_stream.answer(&query, true);
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    drop(stream.write_all(&[&length, &answer[..]].concat()));
                }
            }
        });
        own
    }

    /// Counts the queries for a name, `by` is `udp` or `tcp`.
    #[must_use]
    pub fn asked(&self, by: &str, name: &str) -> usize {
        let wanted = format!("{by} {name}");
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| **asked == wanted).count()
    }

    fn answer(&self, query: &[u8], by_stream: bool) -> Vec<u8> {
        let (name, end) = name_of(query);
        let kind = u16::from_be_bytes([query[end], query[end + 1]]);
        let extra = &query[end + 4..];
        let by = if by_stream { "tcp" } else { "udp" };
        self.asked.lock().unwrap().push(format!("{by} {name}"));
        let mut records = Vec::new();
        let mut flags = [0x81, 0x80];
        if name.starts_with("absent.") {
            flags[1] |= NO_SUCH_NAME;
        } else if kind == TXT && name.starts_with("large.") {
            if by_stream {
                records.push((TXT, text()));
            } else {
                flags[0] |= 2; // the datagram has no room for it
            }
        } else if kind == A {
            records.push((A, ADDRESS.to_vec()));
            if name.starts_with("signed.") && wants_signatures(extra) {
                records.push((RRSIG, signature()));
            }
        }
        let count = u8::try_from(records.len()).unwrap();
        let has_extra = u8::from(!extra.is_empty());
        let mut answer = [&query[..2], &flags, &[0, 1, 0, count, 0, 0, 0, has_extra]].concat();
        answer.extend(&query[12..end + 4]);
        for (kind, data) in records {
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(LIFETIME.to_be_bytes());
            answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend(data);
        }
        if has_extra == 1 {
            let wish = u8::from(wants_signatures(extra)) << 7;
            answer.extend([0, 0, 41, 4, 208, 0, 0, wish, 0, 0, 0]);
        }
        answer
    }
}

/// Reads the name of the question and where it ends.
fn name_of(query: &[u8]) -> (String, usize) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    (labels.join("."), at + 1)
}

/// Says whether the record behind the question is EDNS with the DO bit.
fn wants_signatures(extra: &[u8]) -> bool {
    extra.len() >= 11 && u16::from_be_bytes([extra[1], extra[2]]) == OPT && extra[7] & 0x80 != 0
}

fn text() -> Vec<u8> {
    let mut data = Vec::new();
    for part in vec![b'x'; LARGE].chunks(250) {
        data.push(u8::try_from(part.len()).unwrap());
        data.extend(part);
    }
    data
}

/// A signature over an address record, with made-up bits (RFC 4034 section 3.1).
fn signature() -> Vec<u8> {
    let mut data = vec![0, 1, 13, 3];
    data.extend(LIFETIME.to_be_bytes());
    data.extend([0x7f, 0, 0, 0, 0x60, 0, 0, 0, 0, 42, 0]);
    data.extend([0xab; 64]);
    data
}
