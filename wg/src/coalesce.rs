//! Packets on their way to the TUN: consecutive segments of a flow become one large packet.
//!
//! The kernel does not verify the payload checksum of a merged packet, so the checksum of every
//! segment is verified here before it is merged; a segment that fails travels alone and the
//! kernel drops it.

use std::collections::VecDeque;

use crate::packet::ip::{self, Ip};
use crate::packet::tcp::{self, Tcp};
use crate::packet::vnet::{self, Vnet};
use crate::transmit::Lane;

/// Most segments in one packet.
const SEGMENTS: usize = 64;
/// Most bytes of IP packet in one write.
const PACKET: usize = 65_535;
/// Most packets waiting; the gateway drains the queue after each input.
const WAITING: usize = 4096;
/// Buffers kept for reuse.
const SPARE: usize = 64;

/// The queue behind `poll_tun`.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queue: VecDeque<Packet>,
    head: u64,
    spare: Vec<Vec<u8>>,
    writing: Option<Packet>,
}

/// A packet that may still grow.
#[derive(Debug)]
struct Packet {
    /// The vnet header and the packet.
    contents: Vec<u8>,
    /// Headers of the first segment; `None` if nothing may be merged to it.
    first: Option<(Ip, Tcp)>,
    /// Sequence number of a segment that would follow.
    next: u32,
    segments: usize,
    /// Payload of the first segment in bytes.
    segment: usize,
    verified: bool,
    closed: bool,
}

impl Inbox {
    /// Adds a rewritten segment of the flow that owns `lane`; `false` if the queue is full.
    pub(crate) fn push(&mut self, lane: &mut Lane, packet: &[u8], ip: &Ip, tcp: &Tcp) -> bool {
        let payload = ip.payload_len() - tcp.header_len;
        let place = lane.place(self.head);
        if let Some(last) = place.and_then(|place| self.queue.get_mut(place))
            && last.takes(packet, ip, tcp, payload)
            && last.verify()
            && is_valid(packet, ip)
        {
            last.merge(packet, ip, tcp, payload);
            return true;
        }
        let mergeable = payload > 0 && tcp.flags == tcp::ACK;
        let last = Packet {
            contents: Vec::new(),
            first: mergeable.then_some((*ip, *tcp)),
            next: tcp.seq.wrapping_add(tcp.sequence_len(payload)),
            segments: 1,
            segment: payload,
            verified: false,
            closed: !mergeable,
        };
        let Some(number) = self.append(packet, last) else {
            return false;
        };
        *lane = Lane::at(number);
        true
    }

    /// Adds a packet of the node's own; `false` if the queue is full.
    pub(crate) fn push_alone(&mut self, packet: &[u8]) -> bool {
        let alone = Packet {
            contents: Vec::new(),
            first: None,
            next: 0,
            segments: 1,
            segment: 0,
            verified: false,
            closed: true,
        };
        self.append(packet, alone).is_some()
    }

    /// Takes the next packet and its number of segments.
    pub(crate) fn poll(&mut self) -> Option<(&[u8], usize)> {
        if let Some(mut written) = self.writing.take()
            && self.spare.len() < SPARE
        {
            written.contents.clear();
            self.spare.push(written.contents);
        }
        let packet = self.queue.pop_front()?;
        self.head += 1;
        let packet = self.writing.insert(packet);
        packet.finish();
        Some((&packet.contents, packet.segments))
    }

    fn append(&mut self, bytes: &[u8], mut packet: Packet) -> Option<u64> {
        if self.queue.len() >= WAITING {
            return None;
        }
        let mut contents = self.spare.pop().unwrap_or_default();
        contents.extend_from_slice(&[0; vnet::LEN]);
        contents.extend_from_slice(bytes);
        packet.contents = contents;
        self.queue.push_back(packet);
        Some(self.head + self.queue.len() as u64 - 1)
    }
}

impl Packet {
    /// Says whether a segment continues this packet.
    fn takes(&self, packet: &[u8], ip: &Ip, tcp: &Tcp, payload: usize) -> bool {
        let Some((first_ip, first)) = &self.first else {
            return false;
        };
        let headers = ip.header_len + tcp.header_len;
        !self.closed
            && tcp.flags & !tcp::PSH == tcp::ACK
            && payload > 0
            && payload <= self.segment
            && self.segments < SEGMENTS
            && tcp.seq == self.next
            && tcp.ack == first.ack
            && tcp.window == first.window
            && tcp.header_len == first.header_len
            && ip.header_len == first_ip.header_len
            && self.contents.len() - vnet::LEN + payload <= PACKET
            && same_headers(self.ip(), packet, ip.header_len, headers)
    }

    fn verify(&mut self) -> bool {
        if !self.verified {
            let valid = self.first.is_some_and(|(ip, _)| is_valid(self.ip(), &ip));
            self.closed = !valid;
            self.verified = true;
        }
        !self.closed
    }

    fn merge(&mut self, packet: &[u8], ip: &Ip, tcp: &Tcp, payload: usize) {
        let data = packet
            .get(ip.header_len + tcp.header_len..ip.total_len)
            .unwrap_or_default();
        self.contents.extend_from_slice(data);
        self.next = self.next.wrapping_add(tcp.sequence_len(payload));
        self.segments += 1;
        if tcp.has(tcp::PSH)
            && let Some(flags) = self.contents.get_mut(vnet::LEN + ip.header_len + 13)
        {
            *flags |= tcp::PSH;
        }
        self.closed = tcp.has(tcp::PSH) || payload < self.segment;
    }

    /// Writes lengths, vnet header and pseudo header sum of a merged packet.
    fn finish(&mut self) {
        let (Some((ip, tcp)), true) = (self.first, self.segments > 1) else {
            return;
        };
        let total = self.contents.len() - vnet::LEN;
        let (Some((head, packet)), Ok(ip_len), Ok(tcp_len), Ok(segment)) = (
            self.contents.split_first_chunk_mut::<{ vnet::LEN }>(),
            u16::try_from(ip.header_len),
            u16::try_from(tcp.header_len),
            u16::try_from(self.segment),
        ) else {
            return;
        };
        *head = Vnet::merged(ip.source.is_ipv6(), segment, ip_len, tcp_len);
        ip::set_length(packet, total, 0);
        let merged = Ip {
            total_len: total,
            ..ip
        };
        tcp::set_checksum(merged.payload_mut(packet), merged.pseudo().fold());
    }

    fn ip(&self) -> &[u8] {
        self.contents.get(vnet::LEN..).unwrap_or_default()
    }
}

/// Compares what a merged packet has only once: traffic class, TTL, flags and TCP options.
fn same_headers(a: &[u8], b: &[u8], ip_len: usize, headers: usize) -> bool {
    let fixed = |packet: &[u8]| -> Option<([u8; 4], u8, u8)> {
        let v4 = ip_len == ip::V4_LEN;
        let class = *packet.first_chunk::<4>()?;
        let class = if v4 {
            [class[0], class[1], 0, 0]
        } else {
            class
        };
        let ttl = *packet.get(if v4 { 8 } else { 7 })?;
        let df = if v4 { *packet.get(6)? } else { 0 };
        Some((class, ttl, df))
    };
    let options = ip_len + tcp::MIN_LEN..headers;
    fixed(a).is_some() && fixed(a) == fixed(b) && a.get(options.clone()) == b.get(options)
}

fn is_valid(packet: &[u8], ip: &Ip) -> bool {
    let mut sum = ip.pseudo();
    sum.add(ip.payload(packet));
    sum.fold() == 0xffff
}

#[cfg(test)]
mod tests;
