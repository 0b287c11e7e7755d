//! What the node tells the gateway.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::PeerId;
use crate::counters::DropReason;

/// Names one TCP flow; a later flow in the same slot has another generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FlowId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl FlowId {
    /// Makes a name out of its numbers; a node ignores one that it did not give.
    #[must_use]
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }
}

/// Describes a TCP flow as the device sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowRecord {
    /// The flow.
    pub id: FlowId,
    /// The device whose keys decrypted the first segment.
    pub peer: PeerId,
    /// The device's inner address and port.
    pub source: SocketAddr,
    /// Where the device wanted to connect to.
    pub destination: SocketAddr,
}

/// How a held SYN is turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The device sees "connection refused".
    Reset,
    /// The device sees nothing; repeats of the same SYN are swallowed.
    Silent,
    /// The device is told why by ICMP; the reset that follows is for systems that do not listen to it.
    Unreachable(Unreachable),
}

/// Why something that a device sent could not be delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreachable {
    /// No process listens on the port.
    Port,
    /// The policy forbids it.
    Prohibited,
    /// The host does not answer.
    Host,
    /// The way to the host takes packets of at most this many bytes, IP header included.
    TooBig(u16),
}

/// One observation; poll until `None` after each input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A new TCP flow is held until `permit` or `refuse`.
    SynSeen(FlowRecord),
    /// A flow ended, was reset, or was swept; no further packet of it passes a closed socket.
    FlowClosed(FlowId),
    /// A UDP datagram of a device, the gateway's own addresses included.
    UdpReceived {
        /// The sending device.
        peer: PeerId,
        /// The device's inner address and port.
        from: SocketAddr,
        /// The destination the device named.
        to: SocketAddr,
        /// The UDP payload.
        payload: Vec<u8>,
    },
    /// An echo request to an address that is not the gateway's.
    EchoRequest {
        /// The sending device.
        peer: PeerId,
        /// The device's inner address.
        from: IpAddr,
        /// The pinged address.
        to: IpAddr,
        /// The identifier of the echo.
        ident: u16,
        /// The sequence number of the echo.
        seq: u16,
        /// The data to send back.
        payload: Vec<u8>,
    },
    /// A decrypted packet was refused; at most 10 a second and peer are reported.
    Refused {
        /// The sending device.
        peer: PeerId,
        /// Why.
        reason: DropReason,
        /// The inner source, where it could be read.
        from: Option<IpAddr>,
        /// The inner destination, where it could be read.
        to: Option<IpAddr>,
        /// The IP protocol number; 0 where it could not be read.
        protocol: u8,
        /// The destination port, where there is one.
        port: Option<u16>,
        /// How many refusals of this peer went unreported since the last report.
        count: u32,
    },
    /// An initiation of a device was authenticated and answered; keep the mark durably.
    Handshake {
        /// The device.
        peer: PeerId,
        /// The value for [`crate::PeerConfig::handshake_mark`] of the next start.
        mark: [u8; 12],
        /// Where the initiation came from; no data has shown yet that the device is there.
        endpoint: SocketAddr,
    },
    /// The key of a device is used in two places; at most one event in 10 seconds.
    SeenTwice {
        /// The device.
        peer: PeerId,
        /// Where the packet came from that shows it.
        here: SocketAddr,
        /// Where the key was used before.
        there: SocketAddr,
    },
    /// An authenticated packet came from another outer address than before.
    EndpointChanged {
        /// The device.
        peer: PeerId,
        /// The address packets go to from here on.
        endpoint: SocketAddr,
    },
}

/// A peer's state for status pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// The outer address packets go to.
    pub endpoint: Option<SocketAddr>,
    /// The age of the session in use, or of the last one.
    pub handshake_age: Option<Duration>,
    /// Bytes of outer datagrams that were authenticated.
    pub rx_bytes: u64,
    /// Bytes of outer datagrams queued for sending.
    pub tx_bytes: u64,
    /// Whether data can be sent right away.
    pub has_session: bool,
    /// Handshakes in the peer's name that were turned away since the last one it made, as they
    /// were no later than one before: its clock was set back, or they were recorded.
    pub stale_handshakes: u32,
}

/// Datagrams and echoes waiting; the gateway drains the queue after each input.
const DATAGRAMS: usize = 1024;
/// Other events waiting before new flows and reports are turned away.
const WAITING: usize = 16_384;

/// The queue behind `poll_event`.
#[derive(Debug, Default)]
pub(crate) struct Events {
    queue: VecDeque<Event>,
    datagrams: usize,
}

impl Events {
    /// Adds an event that must not be lost; their number is bounded by peers and flows.
    pub(crate) fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    /// Whether an event that an outsider can cause at will still finds room.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < WAITING
    }

    /// Adds a datagram or an echo; `false` if too many wait.
    pub(crate) fn push_datagram(&mut self, event: Event) -> bool {
        if self.datagrams >= DATAGRAMS {
            return false;
        }
        self.datagrams += 1;
        self.queue.push_back(event);
        true
    }

    pub(crate) fn poll(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        if matches!(event, Event::UdpReceived { .. } | Event::EchoRequest { .. }) {
            self.datagrams -= 1;
        }
        Some(event)
    }
}
