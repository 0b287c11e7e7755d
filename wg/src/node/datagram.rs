//! Outer datagrams: which peer sent one, and whether it may be believed.

use super::{Duration, Event, Instant, Node, PeerId, PeerSlot, SocketAddr};
use crate::counters::DropReason;
use crate::initiation;
use crate::mark::{Clock, Stamp};
use crate::tunnel::{self, Received, Tick, Tunnel};

/// Longest payload of a UDP datagram.
const LONGEST: usize = 65_535;
/// Length of a handshake response in bytes.
pub(super) const RESPONSE: usize = 92;

impl Node {
    /// Handles a UDP datagram; `wall` is the time since the Unix epoch. Returns whether it was
    /// believed.
    ///
    /// Without a valid MAC and a known key there is no answer of any kind.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        datagram: &mut [u8],
        now: Instant,
        wall: Duration,
    ) -> bool {
        self.counters.datagrams_in += 1;
        let handled = self.dispatch(from, datagram, now, wall);
        self.conclude(handled)
    }

    pub(super) fn conclude(&mut self, handled: Result<(), DropReason>) -> bool {
        if let Err(reason) = handled {
            self.counters.drop(reason);
        }
        self.settle();
        handled.is_ok()
    }

    fn dispatch(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        wall: Duration,
    ) -> Result<(), DropReason> {
        if datagram.len() > LONGEST {
            return Err(DropReason::NotWireGuard);
        }
        let kind = datagram.first_chunk::<4>().copied();
        match (kind.map(u32::from_le_bytes), datagram.len()) {
            (Some(1), initiation::LEN) | (Some(2), RESPONSE) => {
                self.admit(from, datagram, false, now)?;
                match self.handshake(from, datagram, now, wall)? {
                    None => Ok(()),
                    Some(_elsewhere) => Err(DropReason::BadHandshake),
                }
            }
            (Some(3), 64) => self.cookie(from, datagram, now),
            (Some(4), 32..) => self.data(from, datagram, now),
            _ => Err(DropReason::NotWireGuard),
        }
    }

    /// A peer wants a session; returns it where another node has it.
    pub(super) fn initiation(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        wall: Duration,
    ) -> Result<Option<PeerId>, DropReason> {
        let message = datagram.first_chunk().ok_or(DropReason::NotWireGuard)?;
        let reader = &self.identity.reader;
        let opened = reader.open(message).ok_or(DropReason::BadHandshake)?;
        let Some(slot) = self.peers.by_key(&opened.peer) else {
            let elsewhere = self.peers.elsewhere(&opened.peer);
            return elsewhere.map(Some).ok_or(DropReason::BadHandshake);
        };
        let stamp = reader.stamp(&opened).ok_or(DropReason::BadHandshake)?;
        let peer = self.peers.get_mut(slot).ok_or(DropReason::BadHandshake)?;
        let clock = peer.mark.check(stamp, wall);
        let Some(clock) = clock else {
            peer.stale_handshakes = peer.stale_handshakes.saturating_add(1);
            return Err(DropReason::ReplayedHandshake);
        };
        self.freshen(slot, now);
        self.ready_tunnel(slot, Some(stamp), now)?;
        self.answer(slot, from, datagram)?;
        self.note_handshake(slot, from, (stamp, clock), now, wall);
        Ok(None)
    }

    /// Has boringtun answer an initiation that was checked.
    fn answer(
        &mut self,
        slot: PeerSlot,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let tunnel = self.peers.get_mut(slot).and_then(|p| p.tunnel.as_mut());
        let result = match tunnel.map(|t| t.receive(from.ip(), datagram, &mut scratch)) {
            Some(Received::Reply(reply)) => {
                self.note_session(slot, reply);
                self.transmit(slot, from, reply);
                Ok(())
            }
            Some(Received::Rejected(reason)) => Err(reason),
            Some(Received::Nothing | Received::Packet(_) | Received::Malformed) | None => {
                Err(DropReason::BadHandshake)
            }
        };
        self.scratch = scratch;
        result
    }

    /// Remembers the session that a response makes.
    fn note_session(&mut self, slot: PeerSlot, reply: &[u8]) {
        let tunnel = self.peers.get_mut(slot).and_then(|p| p.tunnel.as_mut());
        if let (Some(tunnel), Some(index)) = (tunnel, tunnel::responder(reply)) {
            tunnel.sessions.made(index);
        }
    }

    fn note_handshake(
        &mut self,
        slot: PeerSlot,
        from: SocketAddr,
        (stamp, clock): (Stamp, Clock),
        now: Instant,
        wall: Duration,
    ) {
        self.counters.handshakes += 1;
        self.counters.future_stamps += u64::from(clock == Clock::Future);
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        peer.mark.accept(stamp, wall);
        peer.established = Some(now);
        peer.stale_handshakes = 0;
        if let Some(tunnel) = &mut peer.tunnel {
            tunnel.stamp = stamp;
        }
        let event = Event::Handshake {
            peer: peer.config.id,
            mark: peer.mark.greatest(),
            endpoint: from,
        };
        self.events.push(event);
    }

    /// A peer answers our initiation.
    pub(super) fn response(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), DropReason> {
        let slot = self.named_peer(datagram)?;
        self.freshen(slot, now);
        self.answer(slot, from, datagram)?;
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.established = Some(now);
        }
        self.moved_to(slot, from);
        Ok(())
    }

    /// A peer under load wants our next initiation to carry a cookie.
    fn cookie(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), DropReason> {
        if !self.budget.spend(from.ip(), now) {
            return Err(DropReason::SourceBudget);
        }
        let slot = self.named_peer(datagram)?;
        self.freshen(slot, now);
        let tunnel = self.peers.get_mut(slot).and_then(|p| p.tunnel.as_mut());
        let tunnel = tunnel.ok_or(DropReason::UnknownIndex)?;
        match tunnel.receive(from.ip(), datagram, &mut self.scratch) {
            Received::Nothing => Ok(()),
            Received::Rejected(reason) => Err(reason),
            Received::Reply(_) | Received::Packet(_) | Received::Malformed => {
                Err(DropReason::BadHandshake)
            }
        }
    }

    /// A data message: the only kind that may move a peer's endpoint on its own.
    fn data(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> Result<(), DropReason> {
        let Ok(slot) = self.named_peer(datagram) else {
            self.stranded(from, now);
            return Err(DropReason::UnknownIndex);
        };
        self.freshen(slot, now);
        let mut scratch = std::mem::take(&mut self.scratch);
        let peer = self.peers.get_mut(slot);
        let tunnel = peer.and_then(|peer| peer.tunnel.as_mut());
        let received = tunnel.map_or(Received::Rejected(DropReason::UnknownIndex), |tunnel| {
            tunnel.receive(from.ip(), datagram, &mut scratch)
        });
        if !matches!(received, Received::Rejected(_)) {
            self.look_for_a_twin(slot, from, datagram, now);
            self.heard(slot, from, datagram.len());
        }
        let mut result = Ok(());
        match received {
            Received::Rejected(reason) => result = Err(reason),
            Received::Packet(packet) => self.inner_packet(slot, packet, now),
            Received::Malformed => self.refused_unreadable(slot, now),
            Received::Reply(reply) => self.transmit(slot, from, reply),
            Received::Nothing => {}
        }
        self.scratch = scratch;
        if matches!(result, Err(DropReason::UnknownIndex)) {
            self.stranded(from, now);
        }
        result
    }

    fn named_peer(&self, datagram: &[u8]) -> Result<PeerSlot, DropReason> {
        tunnel::receiver(datagram)
            .and_then(|receiver| self.peers.indices.find(receiver))
            .ok_or(DropReason::UnknownIndex)
    }

    fn look_for_a_twin(&mut self, slot: PeerSlot, from: SocketAddr, datagram: &[u8], now: Instant) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let (Some(tunnel), Some(index)) = (&mut peer.tunnel, tunnel::receiver(datagram)) else {
            return;
        };
        if let Some(there) = tunnel.sessions.used(index, from, now) {
            self.counters.twins += 1;
            self.events.push(Event::SeenTwice {
                peer: peer.config.id,
                here: from,
                there,
            });
        }
    }

    fn heard(&mut self, slot: PeerSlot, from: SocketAddr, len: usize) {
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.rx_bytes += len as u64;
            if peer.endpoint == Some(from) {
                return;
            }
        }
        self.moved_to(slot, from);
    }

    fn moved_to(&mut self, slot: PeerSlot, endpoint: SocketAddr) {
        if !self.peers.set_endpoint(slot, endpoint) {
            return;
        }
        if let Some(peer) = self.peers.get(slot) {
            let peer = peer.config.id;
            self.events.push(Event::EndpointChanged { peer, endpoint });
        }
    }

    /// A device still uses keys we lost: a new handshake heals it sooner than its timers.
    fn stranded(&mut self, from: SocketAddr, now: Instant) {
        if let Some(slot) = self.peers.by_endpoint(from) {
            self.initiate(slot, now);
        }
    }

    /// Moves boringtun's clock if it was not moved lately.
    pub(super) fn freshen(&mut self, slot: PeerSlot, now: Instant) {
        let tunnel = self.peers.get(slot).and_then(|peer| peer.tunnel.as_ref());
        if tunnel.is_some_and(|tunnel| tunnel.is_stale(now)) {
            self.tick(slot, now);
        }
    }

    /// Lets one tunnel look at its timers.
    pub(super) fn tick(&mut self, slot: PeerSlot, now: Instant) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let peer = self.peers.get_mut(slot);
        let endpoint = peer.as_ref().and_then(|peer| peer.endpoint);
        let tick = peer
            .and_then(|peer| peer.tunnel.as_mut())
            .map(|tunnel| tunnel.tick(&mut scratch, now));
        match tick {
            Some(Tick::Send(message)) => {
                if let Some(endpoint) = endpoint {
                    self.transmit(slot, endpoint, message);
                }
            }
            Some(Tick::Expired) => self.peers.drop_tunnel(slot),
            Some(Tick::Idle) | None => {}
        }
        self.scratch = scratch;
    }

    /// Makes sure the peer has a tunnel, one that would accept `stamp`.
    pub(super) fn ready_tunnel(
        &mut self,
        slot: PeerSlot,
        stamp: Option<Stamp>,
        now: Instant,
    ) -> Result<(), DropReason> {
        let tunnel = self.peers.get(slot).and_then(|peer| peer.tunnel.as_ref());
        let usable = tunnel.map(|tunnel| stamp.is_none_or(|stamp| stamp > tunnel.stamp));
        match usable {
            Some(true) => return Ok(()),
            // A clock that was ahead and is right again: boringtun would refuse what our mark accepts.
            Some(false) => self.peers.drop_tunnel(slot),
            None => {}
        }
        let index = self.peers.indices.assign(slot);
        let index = index.ok_or(DropReason::QueueFull)?;
        let Some(peer) = self.peers.get_mut(slot) else {
            self.peers.indices.release(index);
            return Err(DropReason::BadHandshake);
        };
        let tunnel = Tunnel::new(&self.identity, &peer.config, index, now);
        peer.tunnel = Some(Box::new(tunnel));
        self.peers.set_live(slot);
        Ok(())
    }
}
