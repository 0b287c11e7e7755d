//! Packets towards a device.

use std::net::{IpAddr, SocketAddr};

use super::{Instant, Node, PeerId, PeerSlot, SendError};
use crate::backlog::Waiting;
use crate::counters::DropReason;
use crate::event::Unreachable;
use crate::packet::build;
use crate::packet::fragment::fragments;
use crate::packet::{icmp, ip, udp};
use crate::transmit::Lane;
use crate::tunnel::OVERHEAD;

impl Node {
    /// Sends a UDP datagram to a device, in fragments if it is longer than the tunnel's MTU.
    ///
    /// # Errors
    /// See [`SendError`]; the datagram is dropped in each case.
    pub fn send_udp(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), SendError> {
        let mtu = usize::from(self.config.mtu);
        let head = if to.is_ipv4() { ip::V4_LEN } else { ip::V6_LEN };
        let len = udp::LEN + payload.len();
        let fits = head + len <= mtu;
        let checked = if fits { len } else { udp::LEN };
        let slot = self.deliverable(peer, (from.ip(), to), checked, now)?;
        let built = build::udp(&mut self.draft, from, to, payload);
        if fits {
            return self.deliver(slot, built);
        }
        if !built {
            return Err(SendError::TooLarge(len));
        }
        self.deliver_in_fragments(slot, mtu)
    }

    fn deliver_in_fragments(&mut self, slot: PeerSlot, mtu: usize) -> Result<(), SendError> {
        let packet = std::mem::take(&mut self.draft);
        self.fragmented = self.fragmented.wrapping_add(1);
        let (ident, mut sent) = (self.fragmented, true);
        fragments(&packet, mtu, ident, |fragment| {
            sent &= self.wait_as_it_is(slot, &fragment);
        });
        self.draft = packet;
        self.settle();
        if sent { Ok(()) } else { Err(SendError::Full) }
    }

    /// Answers an echo request: `from` is the pinged address, `to` the device.
    ///
    /// # Errors
    /// See [`SendError`]; the reply is dropped in each case.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of Event::EchoRequest and the time"
    )]
    pub fn send_echo_reply(
        &mut self,
        peer: PeerId,
        from: IpAddr,
        to: IpAddr,
        ident: u16,
        seq: u16,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), SendError> {
        let end = SocketAddr::new(to, 0);
        let slot = self.deliverable(peer, (from, end), icmp::LEN + payload.len(), now)?;
        let built = build::echo_reply(&mut self.draft, from, to, (ident, seq), payload);
        self.deliver(slot, built)
    }

    /// Tells a device that its datagram was not delivered; `from`, `to` and `payload` are those
    /// of [`crate::Event::UdpReceived`].
    ///
    /// # Errors
    /// See [`SendError`]; the message is dropped in each case.
    pub fn send_unreachable(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
        why: Unreachable,
        now: Instant,
    ) -> Result<(), SendError> {
        let slot = self.deliverable(peer, (to.ip(), from), icmp::LEN, now)?;
        let built = build::unreachable(&mut self.draft, from, to, payload, why);
        self.deliver(slot, built)
    }

    /// Tells a device that its echo request was not delivered; the arguments but the last two are
    /// those of [`crate::Event::EchoRequest`].
    ///
    /// # Errors
    /// See [`SendError`]; the message is dropped in each case.
    pub fn send_echo_unreachable(
        &mut self,
        peer: PeerId,
        (from, to): (IpAddr, IpAddr),
        ids: (u16, u16),
        payload: &[u8],
        why: Unreachable,
        now: Instant,
    ) -> Result<(), SendError> {
        let end = SocketAddr::new(from, 0);
        let slot = self.deliverable(peer, (to, end), icmp::LEN, now)?;
        let built = build::echo_unreachable(&mut self.draft, (from, to), ids, payload, why);
        self.deliver(slot, built)
    }

    /// Checks that a packet of the node's own may go to a device, and can.
    fn deliverable(
        &mut self,
        peer: PeerId,
        (from, to): (IpAddr, SocketAddr),
        len: usize,
        now: Instant,
    ) -> Result<PeerSlot, SendError> {
        let slot = self.peers.slot_of(peer).ok_or(SendError::UnknownPeer)?;
        if from.is_ipv4() != to.is_ipv4() {
            return Err(SendError::Family);
        }
        if self.peers.owners.owner(to.ip()) != Some(slot) {
            return Err(SendError::NotOwned(to));
        }
        let header = if to.is_ipv4() { ip::V4_LEN } else { ip::V6_LEN };
        if header + len > usize::from(self.config.mtu) {
            return Err(SendError::TooLarge(len));
        }
        self.freshen(slot, now);
        if !self.peers.get(slot).is_some_and(super::peer_is_reachable) {
            self.counters.drop(DropReason::NoSession);
            self.initiate(slot, now);
            return Err(SendError::NoSession);
        }
        Ok(slot)
    }

    /// Has the packet that was built in `draft` wait for its turn.
    fn deliver(&mut self, slot: PeerSlot, built: bool) -> Result<(), SendError> {
        let draft = std::mem::take(&mut self.draft);
        let waits = built && self.wait_as_it_is(slot, &draft);
        self.draft = draft;
        self.settle();
        if waits { Ok(()) } else { Err(SendError::Full) }
    }

    /// Has a complete packet wait for its turn; `false` for one longer than a buffer.
    fn wait_as_it_is(&mut self, slot: PeerSlot, packet: &[u8]) -> bool {
        let room = self.backlog.room().get_mut(..packet.len());
        let fits = room.map(|room| room.copy_from_slice(packet)).is_some();
        if fits {
            let buffer = self.backlog.filled(packet.len());
            self.wait(Waiting::new(slot, None, buffer));
        }
        fits
    }

    /// Encrypts an inner packet for a peer with a session; pads `packet` in place.
    pub(super) fn seal(&mut self, slot: PeerSlot, packet: &mut Vec<u8>) -> bool {
        let len = packet.len();
        // WireGuard paper section 5.4.6: multiples of 16, but not past the MTU.
        let padded = len
            .next_multiple_of(16)
            .min(len.max(usize::from(self.config.mtu)));
        packet.resize(padded, 0);
        let Some(peer) = self.peers.get_mut(slot) else {
            return false;
        };
        let (Some(tunnel), Some(endpoint)) = (&mut peer.tunnel, peer.endpoint) else {
            self.counters.drop(DropReason::NoSession);
            return false;
        };
        if !tunnel.has_session {
            self.counters.drop(DropReason::NoSession);
            return false;
        }
        let size = padded + OVERHEAD;
        let sent = self
            .outbox
            .push((slot, endpoint), &mut peer.lane, size, |out| {
                tunnel.seal(packet, out)
            });
        if sent {
            peer.tx_bytes += size as u64;
        } else {
            self.counters.drop(DropReason::QueueFull);
        }
        sent
    }

    /// Sends a message that boringtun wrote.
    pub(super) fn transmit(&mut self, slot: PeerSlot, to: SocketAddr, message: &[u8]) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let sent = self
            .outbox
            .push((slot, to), &mut peer.lane, message.len(), |out| {
                out.extend_from_slice(message);
                true
            });
        if sent {
            peer.tx_bytes += message.len() as u64;
        } else {
            self.counters.drop(DropReason::QueueFull);
        }
    }

    /// Sends a message to an address no peer is known at.
    pub(super) fn transmit_stranger(&mut self, to: SocketAddr, message: &[u8]) {
        let nobody = PeerSlot(u32::MAX);
        let mut lane = Lane::default();
        let sent = self
            .outbox
            .push((nobody, to), &mut lane, message.len(), |out| {
                out.extend_from_slice(message);
                true
            });
        if !sent {
            self.counters.drop(DropReason::QueueFull);
        }
    }
}
