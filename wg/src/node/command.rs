//! What the gateway decides about flows.

use std::net::SocketAddr;

use super::{DropReason, Event, FlowId, FlowRecord, Instant, Node, PeerId};
use crate::event::{Refusal, Unreachable};
use crate::flow::State;
use crate::packet::build;
use crate::packet::ip::Ip;
use crate::packet::tcp::Tcp;

impl Node {
    /// Releases a held SYN into the kernel; nothing happens for a flow that is not held.
    pub fn permit(&mut self, flow: FlowId, now: Instant) {
        let inbox = &mut self.inbox;
        let queued = self.flows.with(flow, |flow| {
            let State::Held(syn) = &mut flow.state else {
                return true;
            };
            let syn = std::mem::take(syn);
            flow.enter(State::Opening, now);
            let Ok(ip) = Ip::parse(&syn) else {
                return false;
            };
            Tcp::parse(ip.payload(&syn))
                .is_some_and(|tcp| inbox.push(&mut flow.lane, &syn, &ip, &tcp))
        });
        if queued == Some(false) {
            self.counters.drop(DropReason::QueueFull);
        }
        self.settle();
    }

    /// Turns a held SYN away; nothing happens for a flow that is not held.
    pub fn refuse(&mut self, flow: FlowId, how: Refusal) {
        let held = |flow: &crate::flow::Flow| matches!(flow.state, State::Held(_));
        if !self.flows.flow(flow).is_some_and(held) {
            return;
        }
        match how {
            Refusal::Reset => self.end_flow(flow, true),
            Refusal::Unreachable(why) => {
                self.tell_unreachable(flow, why);
                self.end_flow(flow, true);
            }
            Refusal::Silent => {
                self.flows.with(flow, |flow| {
                    flow.state = State::Denied;
                    flow.closed = true;
                });
            }
        }
        self.settle();
    }

    /// Tells the device of a flow why its SYN leads nowhere.
    fn tell_unreachable(&mut self, flow: FlowId, why: Unreachable) {
        let Some(flow) = self.flows.flow(flow) else {
            return;
        };
        let (owner, record, isn) = (flow.owner, flow.record, flow.isn());
        let mut draft = std::mem::take(&mut self.draft);
        if build::syn_unreachable(&mut draft, record.source, record.destination, isn, why) {
            self.seal(owner, &mut draft);
        }
        self.draft = draft;
    }

    /// Ends a flow at once: both ends see a reset. Unknown and ended flows are ignored.
    pub fn close_flow(&mut self, flow: FlowId) {
        self.flow_over(flow);
        self.end_flow(flow, true);
        self.settle();
    }

    /// Ends each flow of a peer that `keep` does not want.
    pub fn close_flows_of(&mut self, peer: PeerId, mut keep: impl FnMut(&FlowRecord) -> bool) {
        let Some(slot) = self.peers.slot_of(peer) else {
            return;
        };
        let doomed: Vec<FlowId> = self
            .flows
            .of_peer(slot)
            .filter(|flow| !keep(&flow.record))
            .map(|flow| flow.record.id)
            .collect();
        for flow in doomed {
            self.close_flow(flow);
        }
    }

    /// Finds the flow of a connection accepted on the private listener by its remote address.
    ///
    /// `None` means that the connection is not of a permitted flow: close it.
    pub fn flow_of_accepted(&mut self, peer_addr: SocketAddr) -> Option<FlowRecord> {
        let flow = self.flows.flow(self.flows.by_inside(peer_addr)?)?;
        let released = matches!(flow.state, State::Opening | State::Open | State::Lingering);
        let record = flow.record;
        if flow.state == State::Opening {
            // The kernel has seen the whole handshake.
            self.flows.with(record.id, |flow| flow.state = State::Open);
        }
        self.settle();
        released.then_some(record)
    }

    /// Notes that the gateway closed its socket: the flow stays while the kernel sends what is
    /// left, and for as long as TIME-WAIT lasts.
    pub fn flow_finished(&mut self, flow: FlowId, now: Instant) {
        self.flows.with(flow, |flow| {
            if matches!(flow.state, State::Opening | State::Open) {
                flow.enter(State::Lingering, now);
            }
        });
        self.settle();
    }

    /// Reports the end of a flow once.
    pub(super) fn flow_over(&mut self, id: FlowId) {
        let first = self
            .flows
            .with(id, |flow| !std::mem::replace(&mut flow.closed, true));
        if first == Some(true) {
            self.events.push(Event::FlowClosed(id));
        }
    }

    /// Forgets a flow; resets the kernel's end, and the device's if `device` says so.
    pub(super) fn end_flow(&mut self, id: FlowId, device: bool) {
        let Some(flow) = self.flows.remove(id) else {
            return;
        };
        self.backlog.purge_flow(flow.owner, id);
        let mut draft = std::mem::take(&mut self.draft);
        let ends = (flow.inside, flow.listen);
        if let Some(reset) = flow.reset_for_kernel()
            && build::reset(&mut draft, ends.0, ends.1, reset)
            && !self.inbox.push_alone(&draft)
        {
            self.counters.drop(DropReason::QueueFull);
        }
        let record = flow.record;
        let reset = flow.reset_for_device();
        if device && build::reset(&mut draft, record.destination, record.source, reset) {
            self.seal(flow.owner, &mut draft);
        }
        self.draft = draft;
    }
}
