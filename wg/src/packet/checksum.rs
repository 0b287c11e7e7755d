//! The Internet checksum, in full and by difference.
//!
//! Source: [RFC 1071](https://www.rfc-editor.org/rfc/rfc1071) (words may be summed in either byte
//! order) and [RFC 1624 section 3](https://www.rfc-editor.org/rfc/rfc1624).

use std::net::IpAddr;

/// A running one's complement sum over 16-bit words, kept in the machine's byte order.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Starts with the pseudo header of TCP, UDP or `ICMPv6`.
    pub(crate) fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Self {
        let mut sum = Self::default();
        sum.add_ip(source);
        sum.add_ip(destination);
        sum.add_u16(u16::from(protocol));
        sum.add_u32(u32::try_from(len).unwrap_or(u32::MAX));
        sum
    }

    /// Adds bytes; an odd length is padded with one zero, so only the last slice may be odd.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks::<4>();
        // 32 bits of each of 2^32 chunks would fit; checked additions would be one at a time
        let words = chunks
            .iter()
            .map(|chunk| u64::from(u32::from_ne_bytes(*chunk)));
        let mut total = words.fold(0, u64::wrapping_add);
        let mut last = [0; 4];
        if let Some(place) = last.get_mut(..rest.len()) {
            place.copy_from_slice(rest);
        }
        total += u64::from(u32::from_ne_bytes(last));
        self.0 += (total >> 32) + (total & 0xffff_ffff);
    }

    pub(crate) fn add_u16(&mut self, value: u16) {
        self.0 += u64::from(u16::from_ne_bytes(value.to_be_bytes()));
    }

    pub(crate) fn add_u32(&mut self, value: u32) {
        self.0 += u64::from(u32::from_ne_bytes(value.to_be_bytes()));
    }

    fn add_ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(a) => self.add(&a.octets()),
            IpAddr::V6(a) => self.add(&a.octets()),
        }
    }

    /// Returns the folded sum as a big-endian number.
    pub(crate) fn fold(self) -> u16 {
        u16::from_be_bytes(fold(self.0).to_ne_bytes())
    }

    /// Returns the value of a checksum field: the complement of the folded sum.
    pub(crate) fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// What has to be added to a checksum's complement when some words of a packet change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Delta(u16);

impl Delta {
    /// The difference between two byte strings of the same even length.
    pub(crate) fn between(old: &[u8], new: &[u8]) -> Self {
        let (mut from, mut to) = (Sum::default(), Sum::default());
        from.add(old);
        to.add(new);
        Self(fold(u64::from(!from.fold()) + u64::from(to.fold())))
    }

    /// Corrects a checksum field.
    pub(crate) fn apply(self, checksum: u16) -> u16 {
        !fold(u64::from(!checksum) + u64::from(self.0))
    }
}

/// Adds the carries back until 16 bits are left.
fn fold(mut value: u64) -> u16 {
    while value > 0xffff {
        value = (value & 0xffff) + (value >> 16);
    }
    u16::try_from(value).unwrap_or(u16::MAX)
}
