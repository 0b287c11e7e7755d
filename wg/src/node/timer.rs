//! What happens because time passes.

use std::time::Duration;

use super::{Event, Instant, Node, PeerSlot};
use crate::tunnel::STALE;

/// Least time between two initiations of our own to one peer.
const INITIATE_AGAIN: Duration = Duration::from_secs(5);
/// Initiations at one tick after a start: 100 a second cost about 3 % of a core.
const GREETINGS: usize = 25;

impl Node {
    /// Lets time pass: sessions expire, keepalives are sent, silent flows are swept.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.identity.reset_limiters(now);
        if now.saturating_duration_since(self.ticked) < STALE {
            return;
        }
        self.ticked = now;
        for slot in self.peers.live().clone() {
            self.tick(slot, now);
        }
        for _ in 0..GREETINGS {
            let Some(slot) = self.greetings.pop_front() else {
                break;
            };
            self.initiate(slot, now);
        }
        for flow in self.flows.sweep(now) {
            self.sweep_flow(flow);
        }
        self.settle();
    }

    /// Returns when to call [`Node::handle_timeout`] next, and why; `None` while there is
    /// nothing to wait for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let due = self.ticked + STALE;
        if !self.greetings.is_empty() {
            return Some((due, "initiations after the start"));
        }
        if !self.peers.live().is_empty() {
            return Some((due, "timers of the tunnels"));
        }
        (!self.flows.is_empty()).then_some((due, "sweep of the flows"))
    }

    /// Starts a handshake with a peer whose endpoint is known and which has no session.
    pub(super) fn initiate(&mut self, slot: PeerSlot, now: Instant) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let lately = peer
            .initiated
            .is_some_and(|then| now.saturating_duration_since(then) < INITIATE_AGAIN);
        let Some(endpoint) = peer.endpoint.filter(|_| !lately && !peer.has_session()) else {
            return;
        };
        peer.initiated = Some(now);
        self.freshen(slot, now);
        if self.ready_tunnel(slot, None, now).is_err() {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let tunnel = self.peers.get_mut(slot).and_then(|p| p.tunnel.as_mut());
        if let Some(message) = tunnel.and_then(|tunnel| tunnel.initiate(&mut scratch)) {
            self.counters.initiations += 1;
            self.transmit(slot, endpoint, message);
        }
        self.scratch = scratch;
    }

    fn sweep_flow(&mut self, id: crate::FlowId) {
        let ends = self.flows.flow(id).is_some_and(|flow| !flow.closed);
        self.end_flow(id, ends);
        if ends {
            self.events.push(Event::FlowClosed(id));
        }
    }
}
