//! Packets that the node writes itself.

use std::net::{IpAddr, SocketAddr};

use super::checksum::Sum;
use super::{icmp, ip, tcp, udp};
use crate::event::Unreachable;

const TTL: u8 = 64;
/// How much of a packet an error quotes: what every path takes (RFC 1812 section 4.3.2.3).
const QUOTED: usize = 548;

/// Appends an IP header for `len` bytes of payload; `false` if the families differ or the
/// packet would be too long.
fn header(out: &mut Vec<u8>, from: IpAddr, to: IpAddr, protocol: u8, len: usize) -> bool {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let Ok(total) = u16::try_from(ip::V4_LEN + len) else {
                return false;
            };
            let mut head = [0; ip::V4_LEN];
            head[0] = 0x45;
            head[2..4].copy_from_slice(&total.to_be_bytes());
            head[6] = 0x40;
            head[8] = TTL;
            head[9] = protocol;
            head[12..16].copy_from_slice(&from.octets());
            head[16..20].copy_from_slice(&to.octets());
            ip::seal4(&mut head);
            out.extend_from_slice(&head);
            true
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let Ok(len) = u16::try_from(len) else {
                return false;
            };
            let mut head = [0; ip::V6_LEN];
            head[0] = 0x60;
            head[4..6].copy_from_slice(&len.to_be_bytes());
            head[6] = protocol;
            head[7] = TTL;
            head[8..24].copy_from_slice(&from.octets());
            head[24..40].copy_from_slice(&to.octets());
            out.extend_from_slice(&head);
            true
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Writes a UDP packet into `out`.
pub(crate) fn udp(out: &mut Vec<u8>, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
    out.clear();
    let len = udp::LEN + payload.len();
    if !header(out, from.ip(), to.ip(), ip::UDP, len) {
        return false;
    }
    let Ok(field) = u16::try_from(len) else {
        return false;
    };
    let mut head = [0; udp::LEN];
    head[..2].copy_from_slice(&from.port().to_be_bytes());
    head[2..4].copy_from_slice(&to.port().to_be_bytes());
    head[4..6].copy_from_slice(&field.to_be_bytes());
    let mut sum = Sum::pseudo(from.ip(), to.ip(), ip::UDP, len);
    sum.add(&head);
    sum.add(payload);
    // RFC 768: a computed zero is sent as all ones, zero itself means "no checksum".
    let checksum = match sum.checksum() {
        0 => 0xffff,
        other => other,
    };
    head[6..].copy_from_slice(&checksum.to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    true
}

/// Writes an echo reply into `out`.
pub(crate) fn echo_reply(
    out: &mut Vec<u8>,
    from: IpAddr,
    to: IpAddr,
    (ident, seq): (u16, u16),
    payload: &[u8],
) -> bool {
    let kind = if from.is_ipv4() { 0 } else { 129 };
    echo(out, kind, (from, to), (ident, seq), payload)
}

fn echo(
    out: &mut Vec<u8>,
    kind: u8,
    (from, to): (IpAddr, IpAddr),
    (ident, seq): (u16, u16),
    payload: &[u8],
) -> bool {
    let [i0, i1] = ident.to_be_bytes();
    let [s0, s1] = seq.to_be_bytes();
    icmp_message(out, from, to, [kind, 0, 0, 0, i0, i1, s0, s1], payload)
}

/// Writes the ICMP error for a UDP datagram that `device` sent to `target` into `out`.
pub(crate) fn unreachable(
    out: &mut Vec<u8>,
    device: SocketAddr,
    target: SocketAddr,
    payload: &[u8],
    why: Unreachable,
) -> bool {
    let mut original = Vec::new();
    udp(&mut original, device, target, payload)
        && error_about(out, (device.ip(), target.ip()), original, why)
}

/// Writes the ICMP error for the SYN with `isn` that `device` sent to `target` into `out`.
pub(crate) fn syn_unreachable(
    out: &mut Vec<u8>,
    device: SocketAddr,
    target: SocketAddr,
    isn: u32,
    why: Unreachable,
) -> bool {
    let mut original = Vec::new();
    segment(&mut original, (device, target), (isn, 0), tcp::SYN)
        && error_about(out, (device.ip(), target.ip()), original, why)
}

/// Writes the ICMP error for an echo request that `device` sent to `target` into `out`.
pub(crate) fn echo_unreachable(
    out: &mut Vec<u8>,
    (device, target): (IpAddr, IpAddr),
    ids: (u16, u16),
    payload: &[u8],
    why: Unreachable,
) -> bool {
    let kind = if device.is_ipv4() { 8 } else { 128 };
    let mut original = Vec::new();
    echo(&mut original, kind, (device, target), ids, payload)
        && error_about(out, (device, target), original, why)
}

/// Writes the ICMP error that quotes `original`, from `target` to `device`.
/// Source: [RFC 792](https://www.rfc-editor.org/rfc/rfc792),
/// [RFC 1191 section 4](https://www.rfc-editor.org/rfc/rfc1191),
/// [RFC 4443 sections 3.1 and 3.2](https://www.rfc-editor.org/rfc/rfc4443).
fn error_about(
    out: &mut Vec<u8>,
    (device, target): (IpAddr, IpAddr),
    mut original: Vec<u8>,
    why: Unreachable,
) -> bool {
    original.truncate(QUOTED);
    let (kind, code) = match (device.is_ipv4(), why) {
        (true, Unreachable::Host) => (3, 1),
        (true, Unreachable::Port) => (3, 3),
        (true, Unreachable::TooBig(_)) => (3, 4),
        (true, Unreachable::Prohibited) => (3, 13),
        (false, Unreachable::Prohibited) => (1, 1),
        (false, Unreachable::Host) => (1, 3),
        (false, Unreachable::Port) => (1, 4),
        (false, Unreachable::TooBig(_)) => (2, 0),
    };
    let [high, low] = match why {
        Unreachable::TooBig(most) => most.to_be_bytes(),
        Unreachable::Host | Unreachable::Port | Unreachable::Prohibited => [0, 0],
    };
    let head = [kind, code, 0, 0, 0, 0, high, low];
    icmp_message(out, target, device, head, &original)
}

/// Writes that `packet` of `device` has no hops left, in the name of the router `gateway`.
/// Source: [RFC 792](https://www.rfc-editor.org/rfc/rfc792),
/// [RFC 4443 section 3.3](https://www.rfc-editor.org/rfc/rfc4443).
pub(crate) fn time_exceeded(
    out: &mut Vec<u8>,
    gateway: IpAddr,
    device: IpAddr,
    packet: &[u8],
) -> bool {
    let kind = if device.is_ipv4() { 11 } else { 3 };
    let quote = packet.get(..QUOTED).unwrap_or(packet);
    icmp_message(out, gateway, device, [kind, 0, 0, 0, 0, 0, 0, 0], quote)
}

fn icmp_message(
    out: &mut Vec<u8>,
    from: IpAddr,
    to: IpAddr,
    mut head: [u8; icmp::LEN],
    body: &[u8],
) -> bool {
    out.clear();
    let len = icmp::LEN + body.len();
    let (protocol, mut sum) = if from.is_ipv4() {
        (ip::ICMP, Sum::default())
    } else {
        (ip::ICMP6, Sum::pseudo(from, to, ip::ICMP6, len))
    };
    if !header(out, from, to, protocol, len) {
        return false;
    }
    sum.add(&head);
    sum.add(body);
    head[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(body);
    true
}

/// The numbers of a reset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reset {
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
}

impl Reset {
    /// The answer to a segment of a connection that does not exist.
    /// Source: [RFC 9293 section 3.10.7.1](https://www.rfc-editor.org/rfc/rfc9293).
    pub(crate) fn answering(segment: &tcp::Tcp, payload: usize) -> Self {
        if segment.has(tcp::ACK) {
            Self {
                seq: segment.ack,
                ack: None,
            }
        } else {
            let end = segment.seq.wrapping_add(segment.sequence_len(payload));
            Self {
                seq: 0,
                ack: Some(end),
            }
        }
    }
}

/// Writes a TCP reset into `out`.
pub(crate) fn reset(out: &mut Vec<u8>, from: SocketAddr, to: SocketAddr, reset: Reset) -> bool {
    let flags = if reset.ack.is_some() {
        tcp::RST | tcp::ACK
    } else {
        tcp::RST
    };
    segment(out, (from, to), (reset.seq, reset.ack.unwrap_or(0)), flags)
}

/// Writes a TCP segment without options or payload into `out`.
fn segment(
    out: &mut Vec<u8>,
    (from, to): (SocketAddr, SocketAddr),
    (seq, ack): (u32, u32),
    flags: u8,
) -> bool {
    out.clear();
    if !header(out, from.ip(), to.ip(), ip::TCP, tcp::MIN_LEN) {
        return false;
    }
    let mut segment = [0; tcp::MIN_LEN];
    segment[8..12].copy_from_slice(&ack.to_be_bytes());
    segment[12] = 0x50;
    tcp::set_seq_flags(&mut segment, seq, flags);
    tcp::set_ports(&mut segment, from.port(), to.port());
    tcp::seal(
        &mut segment,
        Sum::pseudo(from.ip(), to.ip(), ip::TCP, tcp::MIN_LEN),
    );
    out.extend_from_slice(&segment);
    true
}
