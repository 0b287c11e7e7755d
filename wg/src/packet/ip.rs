//! IPv4 and IPv6 headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use crate::counters::DropReason;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMP6: u8 = 58;

/// Length of the only IPv4 header that passes, and of the fixed IPv6 header.
pub(crate) const V4_LEN: usize = 20;
pub(crate) const V6_LEN: usize = 40;

/// A parsed header whose lengths fit the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ip {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    /// How many routers the packet may still pass, this one included.
    pub(crate) hops: u8,
    /// Header length in bytes.
    pub(crate) header_len: usize,
    /// Length of header and payload in bytes, at most the buffer's.
    pub(crate) total_len: usize,
    /// What else keeps the packet from being handled.
    pub(crate) obstacle: Option<DropReason>,
}

impl Ip {
    /// Reads the header of a whole packet.
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, DropReason> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => parse4(packet),
            Some(6) => parse6(packet),
            _ => Err(DropReason::Malformed),
        }
    }

    /// Returns the bytes behind the header.
    pub(crate) fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet
            .get(self.header_len..self.total_len)
            .unwrap_or_default()
    }

    /// Returns the bytes behind the header for writing.
    pub(crate) fn payload_mut<'a>(&self, packet: &'a mut [u8]) -> &'a mut [u8] {
        packet
            .get_mut(self.header_len..self.total_len)
            .unwrap_or_default()
    }

    /// Returns the length of the bytes behind the header.
    pub(crate) fn payload_len(&self) -> usize {
        self.total_len - self.header_len
    }

    /// Returns the sum over the pseudo header of this packet.
    pub(crate) fn pseudo(&self) -> Sum {
        Sum::pseudo(
            self.source,
            self.destination,
            self.protocol,
            self.payload_len(),
        )
    }
}

/// Source: [RFC 791 section 3.1](https://www.rfc-editor.org/rfc/rfc791).
fn parse4(packet: &[u8]) -> Result<Ip, DropReason> {
    let header = packet
        .first_chunk::<V4_LEN>()
        .ok_or(DropReason::Malformed)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_len < V4_LEN || total_len < header_len || total_len > packet.len() {
        return Err(DropReason::Malformed);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    let obstacle = if fragment != 0 {
        Some(DropReason::Fragment)
    } else if header_len != V4_LEN {
        Some(DropReason::IpOptions)
    } else {
        let mut sum = Sum::default();
        sum.add(header);
        (sum.fold() != 0xffff).then_some(DropReason::BadChecksum)
    };
    Ok(Ip {
        source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
        destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
        protocol: header[9],
        hops: header[8],
        header_len,
        total_len,
        obstacle,
    })
}

/// Source: [RFC 8200 sections 3 and 4](https://www.rfc-editor.org/rfc/rfc8200).
fn parse6(packet: &[u8]) -> Result<Ip, DropReason> {
    let header = packet
        .first_chunk::<V6_LEN>()
        .ok_or(DropReason::Malformed)?;
    let total_len = V6_LEN + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if total_len > packet.len() {
        return Err(DropReason::Malformed);
    }
    let (_, addresses) = header.split_at(8);
    let (source, destination) = addresses.split_at(16);
    Ok(Ip {
        source: address6(source),
        destination: address6(destination),
        protocol: header[6],
        hops: header[7],
        header_len: V6_LEN,
        total_len,
        obstacle: (header[6] == 44).then_some(DropReason::Fragment),
    })
}

fn address6(bytes: &[u8]) -> IpAddr {
    let octets: [u8; 16] = bytes.try_into().unwrap_or_default();
    Ipv6Addr::from(octets).into()
}

/// Replaces both addresses and, for IPv4, the header checksum; the families must match.
pub(crate) fn set_addresses(packet: &mut [u8], source: IpAddr, destination: IpAddr) {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            if let Some(header) = packet.first_chunk_mut::<V4_LEN>() {
                header[12..16].copy_from_slice(&source.octets());
                header[16..20].copy_from_slice(&destination.octets());
                seal4(header);
            }
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            if let Some(header) = packet.first_chunk_mut::<V6_LEN>() {
                header[8..24].copy_from_slice(&source.octets());
                header[24..40].copy_from_slice(&destination.octets());
            }
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
    }
}

/// Sets the total length (IPv4) or payload length (IPv6) of a packet of `total` bytes and adds
/// `ident` to the identification of an IPv4 header.
pub(crate) fn set_length(packet: &mut [u8], total: usize, ident: u16) {
    match packet.first().map(|first| first >> 4) {
        Some(4) => {
            if let Some(header) = packet.first_chunk_mut::<V4_LEN>() {
                let total = u16::try_from(total).unwrap_or(u16::MAX);
                let ident = u16::from_be_bytes([header[4], header[5]]).wrapping_add(ident);
                header[2..4].copy_from_slice(&total.to_be_bytes());
                header[4..6].copy_from_slice(&ident.to_be_bytes());
                seal4(header);
            }
        }
        Some(6) => {
            if let Some(header) = packet.first_chunk_mut::<V6_LEN>() {
                let len = u16::try_from(total.saturating_sub(V6_LEN)).unwrap_or(u16::MAX);
                header[4..6].copy_from_slice(&len.to_be_bytes());
            }
        }
        _ => {}
    }
}

/// Writes the header checksum of an IPv4 header without options.
pub(crate) fn seal4(header: &mut [u8; V4_LEN]) {
    header[10..12].fill(0);
    let mut sum = Sum::default();
    sum.add(header);
    header[10..12].copy_from_slice(&sum.checksum().to_be_bytes());
}
