//! The header in front of each packet of a TUN device opened with `IFF_VNET_HDR`.
//!
//! Source: virtio 1.2 section 5.1.6, in the 10-byte form without `num_buffers`; the fields are
//! little endian, which is the native order of a legacy header on the machines we run on.

/// Length of the header in bytes.
pub(crate) const LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_ECN: u8 = 0x80;

/// What the kernel did not do (on read) or shall do (on write).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Vnet {
    /// The transport checksum holds only the pseudo header's sum.
    pub(crate) needs_checksum: bool,
    /// The payload of each segment in bytes; `None` for an ordinary packet.
    pub(crate) segment: Option<u16>,
}

impl Vnet {
    /// Reads the header; `None` for a type of offload that was never switched on.
    pub(crate) fn parse(header: [u8; LEN]) -> Option<Self> {
        let segment = match header[1] & !GSO_ECN {
            0 => None,
            GSO_TCPV4 | GSO_TCPV6 => match u16::from_le_bytes([header[4], header[5]]) {
                0 => return None,
                size => Some(size),
            },
            _ => return None,
        };
        Some(Self {
            needs_checksum: header[0] & NEEDS_CSUM != 0,
            segment,
        })
    }

    /// Writes the header of a merged TCP packet; all lengths in bytes.
    pub(crate) fn merged(v6: bool, segment: u16, ip_len: u16, tcp_len: u16) -> [u8; LEN] {
        let mut header = [0; LEN];
        header[0] = NEEDS_CSUM;
        header[1] = if v6 { GSO_TCPV6 } else { GSO_TCPV4 };
        header[2..4].copy_from_slice(&(ip_len + tcp_len).to_le_bytes());
        header[4..6].copy_from_slice(&segment.to_le_bytes());
        header[6..8].copy_from_slice(&ip_len.to_le_bytes());
        header[8..10].copy_from_slice(&super::tcp::CHECKSUM_AT.to_le_bytes());
        header
    }
}
