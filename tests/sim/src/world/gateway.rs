//! Time, and what the gateway decides.

use std::time::Duration;

use mock_instant::MockClock;
use wg::{FlowRecord, Node, PeerConfig, PeerId, Refusal};

use super::{World, config};
use crate::kernel::Kernel;

impl World {
    pub(super) fn pass(&mut self, by: Duration) {
        let until = self.elapsed + by;
        while self.elapsed < until {
            let step = (until - self.elapsed).min(Duration::from_millis(250));
            self.elapsed += step;
            MockClock::advance(step);
            if let Some((due, why)) = self.node.poll_timeout()
                && due <= self.now()
            {
                self.node.handle_timeout(self.now());
                let next = self.node.poll_timeout();
                assert!(next.is_none_or(|(next, _)| next > due), "{why} spins");
                self.drain(None);
            }
            for who in 0..self.devices.len() {
                if let Some(message) = self.devices[who].timers() {
                    self.upload(who, message);
                }
            }
        }
    }

    pub(super) fn decide_late(&mut self) {
        for record in std::mem::take(&mut self.undecided) {
            self.decide(record);
        }
        self.drain(None);
    }

    pub(super) fn decide(&mut self, record: FlowRecord) {
        let refuse = self.hostile && self.rng.chance(30);
        if refuse {
            self.summary.refused += 1;
            let how = if self.rng.chance(50) {
                Refusal::Reset
            } else {
                Refusal::Silent
            };
            self.node.refuse(record.id, how);
            return;
        }
        self.summary.permitted += 1;
        for claim in self.claims.values_mut() {
            if (claim.from, claim.to) == (record.source, record.destination) {
                claim.permitted = true;
            }
        }
        self.running.insert(record.id);
        let now = self.now();
        self.node.permit(record.id, now);
    }

    pub(super) fn gateway_closes(&mut self) {
        let who = self.rng.below(self.devices.len());
        let peer = PeerId(u32::from(self.devices[who].number));
        if self.rng.chance(30) {
            self.node.close_flows_of(peer, |flow| flow.id.ne(&flow.id));
        } else if let Some(id) = self.running.iter().next().copied() {
            if self.rng.chance(50) {
                self.node.close_flow(id);
            } else {
                let now = self.now();
                self.node.flow_finished(id, now);
            }
        }
        self.drain(None);
    }

    pub(super) fn change_members(&mut self) {
        let before = self.members.len();
        self.members = (0..self.devices.len())
            .filter(|_| self.rng.chance(75))
            .collect();
        self.summary.revocations += before.saturating_sub(self.members.len());
        self.apply_members();
    }

    pub(super) fn apply_members(&mut self) {
        let peers: Vec<PeerConfig> = self
            .members
            .iter()
            .map(|who| {
                let mut config = self.devices[*who].config();
                if let Some((endpoint, mark)) = self.kept.get(&config.id) {
                    config.endpoint = *endpoint;
                    config.handshake_mark = *mark;
                }
                config
            })
            .collect();
        let now = self.now();
        self.node.set_peers(peers, now).unwrap();
        self.drain(None);
    }

    pub(super) fn restart(&mut self) {
        self.summary.restarts += 1;
        self.node = Node::new(config(), self.now()).unwrap();
        self.kernel = Kernel::default();
        self.inside.clear();
        self.undecided.clear();
        self.running.clear();
        for claim in self.claims.values_mut() {
            claim.permitted = false;
        }
        self.apply_members();
    }
}
