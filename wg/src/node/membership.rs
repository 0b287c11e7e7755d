//! The set of peers: authoritative, all or nothing.

use super::{FlowId, Instant, Node, NodeError, PeerConfig, PeerId, PeerSlot};
use crate::flow::Flow;
use crate::ingress;
use crate::mark::Mark;
use crate::peer::Standing;
use crate::peers::validate;
use std::collections::BTreeMap;

impl Node {
    /// Replaces the set of peers: that of the whole gateway, of which this node takes its own.
    ///
    /// Unchanged peers keep session and flows. A peer that is omitted, or whose key changed, is
    /// gone when this returns: its keys are wiped, its flows are closed and nothing more is sent
    /// to it. A changed preshared key ends the session; changed allowed IPs end the flows they no
    /// longer cover. Endpoint and mark of a known peer are not set back.
    ///
    /// # Errors
    /// [`NodeError`] says what is wrong with the set; the old one stays in force.
    pub fn set_peers(&mut self, peers: Vec<PeerConfig>, now: Instant) -> Result<(), NodeError> {
        validate(&peers, &self.config, &self.identity.public)?;
        let place = self.config.place;
        let (own, others): (Vec<PeerConfig>, Vec<PeerConfig>) =
            peers.into_iter().partition(|peer| place.has(peer.id));
        let mut wanted: BTreeMap<PeerId, PeerConfig> =
            own.into_iter().map(|peer| (peer.id, peer)).collect();
        for (id, slot) in self.peers.all() {
            let key = self.peers.get(slot).map(|peer| peer.config.public_key);
            match wanted.remove(&id) {
                Some(config) if Some(config.public_key) == key => self.update(slot, config),
                Some(config) => {
                    self.remove_peer(slot);
                    wanted.insert(id, config);
                }
                None => self.remove_peer(slot),
            }
        }
        for config in wanted.into_values() {
            let greet = config.endpoint.is_some();
            if let Some(slot) = self.peers.insert(config)
                && greet
            {
                self.greetings.push_back(slot);
            }
        }
        self.peers.rebuild_owners(&others);
        self.close_disowned();
        // Old entries may name slots that are free or taken again; both are harmless, many are not.
        let peers = &self.peers;
        self.greetings.retain(|slot| {
            peers
                .get(*slot)
                .is_some_and(|peer| peer.endpoint.is_some() && !peer.has_session())
        });
        self.handle_timeout(now);
        self.settle();
        Ok(())
    }

    /// Forgets the handshake timestamps of a peer and ends its session; `false` for an unknown peer.
    ///
    /// A device whose clock was set back is heard again. Initiations recorded before may be answered
    /// once; without the device's key nothing follows from that.
    pub fn forget_mark(&mut self, peer: PeerId) -> bool {
        let Some(slot) = self.peers.slot_of(peer) else {
            return false;
        };
        // boringtun keeps a timestamp of its own for as long as a tunnel lives
        self.peers.drop_tunnel(slot);
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.mark = Mark::new(None);
        }
        self.settle();
        true
    }

    fn update(&mut self, slot: PeerSlot, config: PeerConfig) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        peer.mark.raise(config.handshake_mark);
        let config = Standing::from(config);
        let rekey = peer.config.preshared_key != config.preshared_key;
        peer.config = config;
        if rekey {
            self.peers.drop_tunnel(slot);
        }
    }

    fn remove_peer(&mut self, slot: PeerSlot) {
        let flows: Vec<FlowId> = self
            .flows
            .of_peer(slot)
            .map(|flow| flow.record.id)
            .collect();
        for flow in flows {
            self.flow_over(flow);
            self.end_flow(flow, false);
        }
        self.peers.remove(slot);
        self.outbox.purge(slot);
        self.backlog.purge(slot);
        self.greetings.retain(|greeted| *greeted != slot);
    }

    /// Ends the flows whose ends the new set no longer allows.
    fn close_disowned(&mut self) {
        let stands = |flow: &Flow| {
            let owners = &self.peers.owners;
            owners.owner(flow.record.source.ip()) == Some(flow.owner)
                && ingress::may_reach(flow.record.destination.ip(), &self.config, owners)
        };
        let doomed: Vec<FlowId> = self
            .peers
            .all()
            .into_iter()
            .flat_map(|(_, slot)| self.flows.of_peer(slot))
            .filter(|flow| !stands(flow))
            .map(|flow| flow.record.id)
            .collect();
        for flow in doomed {
            self.flow_over(flow);
            // The device no longer owns the address a reset would go to.
            self.end_flow(flow, false);
        }
    }
}
