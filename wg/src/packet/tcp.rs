//! TCP headers.

use super::checksum::{Delta, Sum};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const CWR: u8 = 0x80;

/// Length of a header without options.
pub(crate) const MIN_LEN: usize = 20;
/// Offset of the checksum field in the header.
pub(crate) const CHECKSUM_AT: u16 = 16;

/// A parsed header whose data offset fits the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) checksum: u16,
    /// Header length in bytes, options included.
    pub(crate) header_len: usize,
}

impl Tcp {
    /// Reads the header of a segment.
    /// Source: [RFC 9293 section 3.1](https://www.rfc-editor.org/rfc/rfc9293).
    pub(crate) fn parse(segment: &[u8]) -> Option<Self> {
        let header = segment.first_chunk::<MIN_LEN>()?;
        let header_len = usize::from(header[12] >> 4) * 4;
        if header_len < MIN_LEN || header_len > segment.len() {
            return None;
        }
        Some(Self {
            source: u16::from_be_bytes([header[0], header[1]]),
            destination: u16::from_be_bytes([header[2], header[3]]),
            seq: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ack: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            flags: header[13],
            window: u16::from_be_bytes([header[14], header[15]]),
            checksum: u16::from_be_bytes([header[16], header[17]]),
            header_len,
        })
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Says whether the flags are a combination that a stack sends.
    pub(crate) fn flags_are_sane(&self) -> bool {
        let control = self.flags & (SYN | FIN | RST);
        control.count_ones() <= 1 && self.flags & (SYN | FIN | RST | ACK) != 0
    }

    /// How far the segment moves the sequence number.
    pub(crate) fn sequence_len(&self, payload: usize) -> u32 {
        let flags = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        u32::try_from(payload)
            .unwrap_or(u32::MAX)
            .wrapping_add(flags)
    }
}

/// Says whether `a` is after `b` in sequence space.
pub(crate) fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

/// Replaces both ports.
pub(crate) fn set_ports(segment: &mut [u8], source: u16, destination: u16) {
    if let Some(header) = segment.first_chunk_mut::<4>() {
        header[..2].copy_from_slice(&source.to_be_bytes());
        header[2..].copy_from_slice(&destination.to_be_bytes());
    }
}

/// Replaces the checksum field.
pub(crate) fn set_checksum(segment: &mut [u8], checksum: u16) {
    if let Some(header) = segment.first_chunk_mut::<MIN_LEN>() {
        header[16..18].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Computes and writes the checksum; `pseudo` is the sum over the pseudo header.
pub(crate) fn seal(segment: &mut [u8], pseudo: Sum) {
    set_checksum(segment, 0);
    let mut sum = pseudo;
    sum.add(segment);
    set_checksum(segment, sum.checksum());
}

/// Replaces the sequence number and the flags.
pub(crate) fn set_seq_flags(segment: &mut [u8], seq: u32, flags: u8) {
    if let Some(header) = segment.first_chunk_mut::<MIN_LEN>() {
        header[4..8].copy_from_slice(&seq.to_be_bytes());
        header[13] = flags;
    }
}

/// Lowers the maximum segment size option to `limit`; returns what that does to the checksum.
/// Source: [RFC 9293 section 3.7.1](https://www.rfc-editor.org/rfc/rfc9293).
pub(crate) fn clamp_mss(segment: &mut [u8], header_len: usize, limit: u16) -> Delta {
    let Some(options) = segment.get_mut(MIN_LEN..header_len) else {
        return Delta::default();
    };
    let mut at = 0;
    while let Some(kind) = options.get(at).copied() {
        let len = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(options.get(at + 1).copied().unwrap_or_default()),
        };
        if kind == 2 && len == 4 {
            return lower_mss(options, at + 2, limit);
        }
        if len == 0 || (kind != 1 && len < 2) {
            break;
        }
        at += len;
    }
    Delta::default()
}

fn lower_mss(options: &mut [u8], at: usize, limit: u16) -> Delta {
    let odd = at % 2 == 1;
    let Some(field) = options.get_mut(at..at + 2) else {
        return Delta::default();
    };
    let old = <[u8; 2]>::try_from(&*field).unwrap_or_default();
    if u16::from_be_bytes(old) <= limit {
        return Delta::default();
    }
    let new = limit.to_be_bytes();
    field.copy_from_slice(&new);
    if odd {
        let swap = |[high, low]: [u8; 2]| [0, high, low, 0];
        Delta::between(&swap(old), &swap(new))
    } else {
        Delta::between(&old, &new)
    }
}
