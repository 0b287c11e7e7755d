//! The whole node behind one door.

mod admission;
mod command;
mod datagram;
mod inner;
mod kernel;
mod membership;
mod send;
#[cfg(test)]
pub(crate) mod tests;
mod timer;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::backlog::Backlog;
use crate::coalesce::Inbox;
use crate::config::{NodeConfig, PeerConfig, PeerId};
use crate::counters::{Counters, DropReason};
use crate::error::{NodeError, SendError};
use crate::event::{Event, Events, FlowId, FlowRecord, PeerStatus};
use crate::flow::table::Table;
use crate::peer::PeerSlot;
use crate::peers::Peers;
use crate::source_budget::SourceBudget;
use crate::transmit::{Outbox, Transmit};
use crate::tunnel::{self, Identity, SCRATCH};

pub use admission::Handled;

/// A WireGuard node that turns the TCP flows of its peers into flows of a private namespace.
///
/// # Contract
/// *Getters*: [`Self::peer_status`], [`Self::counters`], [`Self::public_key`].
///
/// *Inputs*: [`Self::handle_datagram`] for each UDP datagram, [`Self::handle_tun_packet`] for
/// each packet read from the TUN into [`Self::tun_room`], [`Self::handle_timeout`] when the instant of
/// [`Self::poll_timeout`] has come (earlier or later calls are harmless). Handshake messages may
/// be given to [`Self::admit_handshake`] instead and, if admitted, wait for
/// [`Self::handle_admitted`] until there is time for them.
///
/// *Commands*: [`Self::set_peers`]; [`Self::permit`] or [`Self::refuse`] as the answer to each
/// [`Event::SynSeen`]; [`Self::close_flow`], [`Self::close_flows_of`], [`Self::flow_finished`],
/// [`Self::flow_of_accepted`]; [`Self::send_udp`], [`Self::send_echo_reply`],
/// [`Self::send_unreachable`].
///
/// *Polls*: after one or a batch of inputs or commands call [`Self::poll_event`] (and answer),
/// then [`Self::poll_tun`], then [`Self::poll_transmit`], each until `None`, then
/// [`Self::poll_timeout`]. Draining after a batch rather than after each input is what lets
/// segments be merged. All queues are bounded; what does not fit is dropped and counted.
/// [`Self::poll_transmit`] encrypts as it goes and may be left before `None`, for as long as
/// [`Self::wants_to_transmit`]: packets for devices wait unencrypted, and devices and their flows
/// take turns by bytes. Reading the TUN empty before each of its calls is what makes that fair.
///
/// Nothing is allowed by silence: a flow without `permit` never reaches the TUN.
pub struct Node {
    config: NodeConfig,
    identity: Identity,
    peers: Peers,
    flows: Table,
    budget: SourceBudget,
    backlog: Backlog,
    outbox: Outbox,
    inbox: Inbox,
    events: Events,
    counters: Counters,
    /// Peers to initiate to, because the gateway started with their endpoint.
    greetings: VecDeque<PeerSlot>,
    ticked: Instant,
    /// The identification of the last datagram that was sent in fragments.
    fragmented: u32,
    /// Where boringtun writes; taken while a result is borrowed from it.
    scratch: Vec<u8>,
    /// Where packets of the node's own are built.
    draft: Vec<u8>,
    #[cfg(debug_assertions)]
    checks: u64,
}

impl Node {
    /// Makes a node without peers.
    ///
    /// # Errors
    /// [`NodeError::Mtu`] and [`NodeError::Pool`] for a configuration that cannot work.
    pub fn new(config: NodeConfig, now: Instant) -> Result<Self, NodeError> {
        if !(1280..=9000).contains(&config.mtu) {
            return Err(NodeError::Mtu(config.mtu));
        }
        Ok(Self {
            identity: Identity::new(config.private_key.clone(), now),
            peers: Peers::new(config.seed, config.place),
            flows: Table::new(config.inside.clone())?,
            budget: SourceBudget::new(now),
            backlog: Backlog::default(),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            events: Events::default(),
            counters: Counters::default(),
            greetings: VecDeque::new(),
            ticked: now,
            fragmented: 0,
            scratch: vec![0; SCRATCH],
            draft: Vec::new(),
            config,
            #[cfg(debug_assertions)]
            checks: 0,
        })
    }

    /// Returns the gateway's own public key.
    #[must_use]
    pub fn public_key(&self) -> crate::PublicKey {
        self.identity.public
    }

    /// Takes the next datagrams to send; they are valid until the next call.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        if self.outbox.is_empty() {
            self.seal_backlog();
        }
        let (transmit, count) = self.outbox.poll()?;
        self.counters.datagrams_out += count as u64;
        Some(transmit)
    }

    /// Whether [`Self::poll_transmit`] has something.
    #[must_use]
    pub fn wants_to_transmit(&self) -> bool {
        !self.outbox.is_empty() || !self.backlog.is_empty()
    }

    /// Takes the next packet for the TUN, with its 10-byte `virtio_net_hdr`; it is valid until
    /// the next call and must be written in one call.
    pub fn poll_tun(&mut self) -> Option<&[u8]> {
        let (packet, segments) = self.inbox.poll()?;
        self.counters.tun_writes += 1;
        self.counters.tun_segments += segments as u64;
        Some(packet)
    }

    /// Takes the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.poll()
    }

    /// Returns the peer whose session a message names, whoever sent it.
    #[must_use]
    pub fn named_by(&self, message: &[u8]) -> Option<PeerId> {
        let slot = self.peers.indices.find(tunnel::receiver(message)?)?;
        Some(self.peers.get(slot)?.config.id)
    }

    /// Counts datagrams that the caller had no room for.
    pub fn note_lost(&mut self, datagrams: u64) {
        self.counters.datagrams_in += datagrams;
        self.counters.add_drops(DropReason::QueueFull, datagrams);
    }

    /// Returns the counts since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns a peer's state; `None` for an unknown peer.
    #[must_use]
    pub fn peer_status(&self, peer: PeerId, now: Instant) -> Option<PeerStatus> {
        let peer = self.peers.get(self.peers.slot_of(peer)?)?;
        Some(PeerStatus {
            endpoint: peer.endpoint,
            handshake_age: peer
                .established
                .map(|since| now.saturating_duration_since(since)),
            rx_bytes: peer.rx_bytes,
            tx_bytes: peer.tx_bytes,
            has_session: peer.has_session(),
            stale_handshakes: peer.stale_handshakes,
        })
    }

    /// Panics when the tables disagree; compiled into debug builds only.
    #[cfg(debug_assertions)]
    pub fn check_invariants(&self) {
        self.peers.check_invariants();
        self.flows.check_invariants();
        debug_assert_eq!(self.scratch.len(), SCRATCH);
    }

    /// Ends each public mutator; large tables are looked at now and then only.
    fn settle(&mut self) {
        #[cfg(debug_assertions)]
        {
            self.checks += 1;
            if self.flows.len() < 64 || self.checks.is_multiple_of(64) {
                self.check_invariants();
            }
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("identity", &self.identity)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Whether a packet for the peer can leave right away.
fn peer_is_reachable(peer: &crate::peer::Peer) -> bool {
    peer.has_session() && peer.endpoint.is_some()
}
