//! UDP headers.

use super::ip::Ip;
use crate::counters::DropReason;

pub(crate) const LEN: usize = 8;

/// A datagram whose length and checksum hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Udp<'a> {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Reads and verifies the datagram inside `packet`.
    /// Source: [RFC 768](https://www.rfc-editor.org/rfc/rfc768); over IPv6 the checksum is
    /// mandatory ([RFC 8200 section 8.1](https://www.rfc-editor.org/rfc/rfc8200)).
    pub(crate) fn parse(ip: &Ip, packet: &'a [u8]) -> Result<Self, DropReason> {
        let datagram = ip.payload(packet);
        let header = datagram.first_chunk::<LEN>().ok_or(DropReason::Malformed)?;
        let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if len != datagram.len() {
            return Err(DropReason::Malformed);
        }
        let unchecked = header[6] == 0 && header[7] == 0;
        if !unchecked || ip.source.is_ipv6() {
            let mut sum = ip.pseudo();
            sum.add(datagram);
            if unchecked || sum.fold() != 0xffff {
                return Err(DropReason::BadChecksum);
            }
        }
        Ok(Self {
            source: u16::from_be_bytes([header[0], header[1]]),
            destination: u16::from_be_bytes([header[2], header[3]]),
            payload: datagram.get(LEN..).unwrap_or_default(),
        })
    }
}
