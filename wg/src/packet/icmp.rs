//! ICMP echo messages of both families.

use super::checksum::Sum;
use super::ip::Ip;
use crate::counters::DropReason;

pub(crate) const LEN: usize = 8;

/// An echo request whose checksum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Echo<'a> {
    pub(crate) ident: u16,
    pub(crate) seq: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Echo<'a> {
    /// Reads and verifies an echo request; any other message is [`DropReason::Protocol`].
    /// Source: [RFC 792](https://www.rfc-editor.org/rfc/rfc792) and
    /// [RFC 4443 section 4.1](https://www.rfc-editor.org/rfc/rfc4443).
    pub(crate) fn parse(ip: &Ip, packet: &'a [u8]) -> Result<Self, DropReason> {
        let message = ip.payload(packet);
        let header = message.first_chunk::<LEN>().ok_or(DropReason::Malformed)?;
        let request = if ip.source.is_ipv4() { 8 } else { 128 };
        if header[0] != request || header[1] != 0 {
            return Err(DropReason::Protocol);
        }
        let mut sum = if ip.source.is_ipv4() {
            Sum::default()
        } else {
            ip.pseudo()
        };
        sum.add(message);
        if sum.fold() != 0xffff {
            return Err(DropReason::BadChecksum);
        }
        Ok(Self {
            ident: u16::from_be_bytes([header[4], header[5]]),
            seq: u16::from_be_bytes([header[6], header[7]]),
            payload: message.get(LEN..).unwrap_or_default(),
        })
    }
}
