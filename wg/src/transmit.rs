//! Datagrams on their way to a peer.

use std::net::SocketAddr;

/// One or more datagrams for one address, to be sent in a single call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit<'a> {
    /// The outer destination.
    pub to: SocketAddr,
    /// The datagrams back to back.
    pub contents: &'a [u8],
    /// The size of each datagram but the last, which may be shorter; `None` for a single one.
    pub segment_size: Option<usize>,
}
