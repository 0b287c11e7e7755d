//! Cuts a packet of the node's own that is longer than the tunnel's MTU.
//!
//! Only towards devices: their fragments are refused.

use super::ip;

const FRAGMENT6: u8 = 44;
/// Length of the IPv6 fragment header.
const LEN6: usize = 8;
const MORE4: u16 = 1 << 13;

/// Hands out the fragments of an IPv4 or IPv6 packet without options or extension headers; a
/// packet that fits is handed out as it is.
/// Source: [RFC 791 section 3.2](https://www.rfc-editor.org/rfc/rfc791#section-3.2),
/// [RFC 8200 section 4.5](https://www.rfc-editor.org/rfc/rfc8200#section-4.5).
pub(crate) fn fragments(packet: &[u8], mtu: usize, ident: u32, mut each: impl FnMut(Vec<u8>)) {
    if packet.len() <= mtu {
        return each(packet.to_vec());
    }
    let v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let head_len = if v4 { ip::V4_LEN } else { ip::V6_LEN };
    let Some((head, body)) = packet.split_at_checked(head_len) else {
        return;
    };
    let room = mtu.saturating_sub(head_len + if v4 { 0 } else { LEN6 }) & !7;
    let count = body.len().div_ceil(room.max(8));
    for (number, part) in body.chunks(room.max(8)).enumerate() {
        let (at, more) = (number * room.max(8), number + 1 < count);
        let mut fragment = head.to_vec();
        let written = if v4 {
            finish4(&mut fragment, part.len(), at, more, ident)
        } else {
            finish6(&mut fragment, part.len(), at, more, ident)
        };
        if written.is_some() {
            fragment.extend_from_slice(part);
            each(fragment);
        }
    }
}

fn finish4(head: &mut [u8], len: usize, at: usize, more: bool, ident: u32) -> Option<()> {
    let total = u16::try_from(head.len() + len).ok()?;
    let offset = u16::try_from(at / 8).ok()? | if more { MORE4 } else { 0 };
    let [_, _, i0, i1] = ident.to_be_bytes();
    head.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
    head.get_mut(4..6)?.copy_from_slice(&[i0, i1]);
    head.get_mut(6..8)?.copy_from_slice(&offset.to_be_bytes());
    ip::seal4(head.first_chunk_mut::<{ ip::V4_LEN }>()?);
    Some(())
}

fn finish6(head: &mut Vec<u8>, len: usize, at: usize, more: bool, ident: u32) -> Option<()> {
    let total = u16::try_from(LEN6 + len).ok()?;
    let offset = u16::try_from(at).ok()? | u16::from(more);
    let next = std::mem::replace(head.get_mut(6)?, FRAGMENT6);
    head.get_mut(4..6)?.copy_from_slice(&total.to_be_bytes());
    head.extend_from_slice(&[next, 0]);
    head.extend_from_slice(&offset.to_be_bytes());
    head.extend_from_slice(&ident.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::node::tests::support::{open_ip, udp};

    fn packet(v4: bool, len: usize) -> Vec<u8> {
        let ends: [SocketAddr; 2] = if v4 {
            ["10.0.0.5:53", "10.8.0.10:9"].map(|a| a.parse().unwrap())
        } else {
            ["[2001:db8::5]:53", "[fd08::a]:9"].map(|a| a.parse().unwrap())
        };
        let payload: Vec<u8> = (0..len).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
        udp(ends[0], ends[1], &payload)
    }

    #[test]
    fn fragments_fit_the_mtu_and_make_up_the_packet_again() {
        for (v4, len, mtu) in [
            (true, 4000, 1420),
            (true, 60_000, 1280),
            (false, 4000, 1420),
            (false, 1400, 1280),
        ] {
            let whole = packet(v4, len);
            let (head, ext) = if v4 { (20, 0) } else { (40, 8) };
            let (mut body, mut last) = (Vec::new(), false);
            fragments(&whole, mtu, 0x1234_5678, |fragment| {
                assert!(fragment.len() <= mtu && !last);
                let (from, to, protocol, rest) = open_ip(&fragment);
                assert_eq!((from, to), (open_ip(&whole).0, open_ip(&whole).1));
                let (offset, more) = if v4 {
                    assert_eq!((protocol, &fragment[4..6]), (17, &[0x56, 0x78][..]));
                    let field = u16::from_be_bytes([fragment[6], fragment[7]]);
                    (usize::from(field & 0x1fff) * 8, field & 0x2000 != 0)
                } else {
                    assert_eq!((protocol, rest[0]), (44, 17));
                    assert_eq!(rest[4..8], [0x12, 0x34, 0x56, 0x78]);
                    let field = u16::from_be_bytes([rest[2], rest[3]]);
                    (usize::from(field & !7), field & 1 != 0)
                };
                assert_eq!(offset, body.len());
                body.extend_from_slice(&rest[ext..]);
                last = !more;
            });
            assert!(last && body == whole[head..], "{len} of {mtu}");
        }
    }

    #[test]
    fn what_fits_is_left_alone() {
        let whole = packet(true, 1392);
        let mut got = Vec::new();
        fragments(&whole, 1420, 1, |fragment| got.push(fragment));
        assert_eq!(got, [whole]);
    }
}
