//! Errors, grouped by whose fault they are.

use std::net::SocketAddr;

use ipnet::IpNet;

use crate::config::PeerId;

/// A key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not 32 bytes of padded base64.
    #[error("key is not 32 bytes of base64")]
    Encoding,
    /// The bytes are not the one canonical encoding of a point.
    #[error("public key is not canonical")]
    NotCanonical,
    /// The point has a low order, so that every shared secret is zero.
    #[error("public key has low order")]
    LowOrder,
}

/// A configuration that the node refuses as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The MTU is outside 1280 to 9000 bytes.
    #[error("tunnel MTU {0} is outside 1280 to 9000")]
    Mtu(u16),
    /// The private address pool is too small or does not hold what it must.
    #[error("private pool {0} is unusable: {1}")]
    Pool(IpNet, &'static str),
    /// More peers than receiver indices can name.
    #[error("{0} peers are more than the limit of {1}")]
    TooManyPeers(usize, usize),
    /// Two peers carry the same device number.
    #[error("peer {0:?} is listed twice")]
    DuplicatePeer(PeerId),
    /// Two peers carry the same public key.
    #[error("peers {0:?} and {1:?} have the same public key")]
    DuplicateKey(PeerId, PeerId),
    /// A peer carries the gateway's own public key.
    #[error("peer {0:?} has the gateway's own public key")]
    OwnKey(PeerId),
    /// Two peers own exactly the same network.
    #[error("allowed IPs {net} of peer {second:?} overlap peer {first:?}")]
    Overlap {
        /// The network both list.
        net: IpNet,
        /// The peer that has it.
        first: PeerId,
        /// The peer that asks for it too.
        second: PeerId,
    },
    /// A peer's allowed IPs hold one of the gateway's own addresses as a network of its own.
    #[error("allowed IPs {1} of peer {0:?} are the gateway's own address")]
    OwnAddress(PeerId, IpNet),
}

/// A packet that was not sent to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No such peer is configured.
    #[error("no such peer")]
    UnknownPeer,
    /// The peer has no session; an initiation may have been sent, the packet was not kept.
    #[error("peer has no session")]
    NoSession,
    /// The destination is outside the peer's allowed IPs.
    #[error("destination {0} is not an address of the peer")]
    NotOwned(SocketAddr),
    /// Source and destination are of different families.
    #[error("source and destination are of different address families")]
    Family,
    /// The packet would exceed the tunnel's MTU.
    #[error("payload of {0} bytes exceeds the tunnel's MTU")]
    TooLarge(usize),
    /// The send queue is full; drop the packet.
    #[error("send queue is full")]
    Full,
}
