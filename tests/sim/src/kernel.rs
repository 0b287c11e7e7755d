//! The private namespace: a listener that echoes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::packet::{ACK, FIN, RST, SYN, Tcp};

const MSS: usize = 1360;

#[derive(Default)]
pub(crate) struct Kernel {
    sockets: BTreeMap<SocketAddr, Socket>,
}

struct Socket {
    next: u32,
    heard: u32,
    accepted: bool,
}

/// What the kernel writes to the TUN, vnet header first, and what it accepted.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) packets: Vec<Vec<u8>>,
    pub(crate) accepted: Option<SocketAddr>,
}

impl Kernel {
    /// Handles a packet; `repeat` times its payload comes back.
    pub(crate) fn handle(&mut self, tcp: &Tcp, repeat: usize) -> Output {
        let mut output = Output::default();
        if tcp.has(RST) {
            self.sockets.remove(&tcp.from);
            return output;
        }
        if tcp.has(SYN) {
            let socket = self.sockets.entry(tcp.from).or_insert(Socket {
                next: tcp.seq ^ 0x5555_5555,
                heard: 0,
                accepted: false,
            });
            socket.heard = tcp.seq.wrapping_add(1);
            if !socket.accepted {
                output
                    .packets
                    .push(reply(tcp, socket, SYN | ACK, Vec::new()));
            }
            return output;
        }
        let Some(socket) = self.sockets.get_mut(&tcp.from) else {
            return output;
        };
        if !socket.accepted {
            socket.accepted = true;
            socket.next = socket.next.wrapping_add(1);
            output.accepted = Some(tcp.from);
        }
        if tcp.seq != socket.heard {
            return output;
        }
        let len = u32::try_from(tcp.payload.len()).unwrap();
        socket.heard = socket.heard.wrapping_add(len + u32::from(tcp.has(FIN)));
        if tcp.has(FIN) {
            output
                .packets
                .push(reply(tcp, socket, FIN | ACK, Vec::new()));
            self.sockets.remove(&tcp.from);
        } else if len > 0 {
            let echo = tcp.payload.repeat(repeat);
            let echoed = u32::try_from(echo.len()).unwrap();
            output.packets.push(reply(tcp, socket, ACK, echo));
            socket.next = socket.next.wrapping_add(echoed);
        }
        output
    }
}

fn reply(tcp: &Tcp, socket: &Socket, flags: u8, payload: Vec<u8>) -> Vec<u8> {
    let large = payload.len() > MSS;
    let v6 = tcp.from.is_ipv6();
    let reply = Tcp {
        from: tcp.to,
        to: tcp.from,
        seq: socket.next,
        ack: socket.heard,
        flags,
        payload,
    };
    let mut packet = reply.packet();
    let mut bytes = vec![0; 10];
    if large || reply.seq.is_multiple_of(2) {
        bytes[0] = 1;
        let field = if v6 { 56 } else { 36 };
        packet[field] ^= 0x5a;
    }
    if large {
        bytes[1] = if v6 { 4 } else { 1 };
        bytes[4..6].copy_from_slice(&u16::try_from(MSS).unwrap().to_le_bytes());
    }
    bytes.extend_from_slice(&packet);
    bytes
}
