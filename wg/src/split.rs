//! Large TCP packets from the kernel become segments that fit the tunnel.

use crate::packet::ip::{self, Ip};
use crate::packet::tcp::{self, Tcp};

/// Cuts `packet`, whose headers are already rewritten, into segments of `segment` payload bytes
/// and hands each to `emit` in `buffer`. A `segment` of `None` leaves the packet whole and only
/// completes its checksum.
pub(crate) fn split(
    packet: &[u8],
    ip: &Ip,
    tcp: &Tcp,
    segment: Option<u16>,
    buffer: &mut Vec<u8>,
    mut emit: impl FnMut(&mut Vec<u8>),
) {
    let headers = ip.header_len + tcp.header_len;
    let (Some(head), Some(data)) = (packet.get(..headers), packet.get(headers..ip.total_len))
    else {
        return;
    };
    let size = segment.map_or(data.len(), usize::from).max(1);
    let last = data.len().div_ceil(size).max(1) - 1;
    let mut chunks = data.chunks(size);
    for nth in 0..=last {
        let chunk = chunks.next().unwrap_or_default();
        let flags = flags_of(tcp.flags, nth == 0, nth == last);
        let offset = u32::try_from(nth * size).unwrap_or(u32::MAX);
        buffer.clear();
        buffer.extend_from_slice(head);
        buffer.extend_from_slice(chunk);
        if last > 0 {
            let ident = u16::try_from(nth).unwrap_or(u16::MAX);
            ip::set_length(buffer, headers + chunk.len(), ident);
        }
        let part = Ip {
            total_len: buffer.len(),
            ..*ip
        };
        let pseudo = part.pseudo();
        let bytes = part.payload_mut(buffer);
        tcp::set_seq_flags(bytes, tcp.seq.wrapping_add(offset), flags);
        tcp::seal(bytes, pseudo);
        emit(buffer);
    }
}

/// FIN and PSH belong to the last segment, CWR to the first.
fn flags_of(flags: u8, first: bool, last: bool) -> u8 {
    let mut flags = flags;
    if !last {
        flags &= !(tcp::FIN | tcp::PSH);
    }
    if !first {
        flags &= !tcp::CWR;
    }
    flags
}
