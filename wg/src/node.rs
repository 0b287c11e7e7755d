//! The whole node behind one door.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::{
    Counters, Event, FlowId, FlowRecord, NodeConfig, NodeError, PeerConfig, PeerId, PeerStatus,
    Refusal, SendError, Transmit, Unreachable,
};

/// A WireGuard node.
#[derive(Debug)]
pub struct Node {
    counters: Counters,
}

#[allow(unused_variables, clippy::all, missing_docs)]
impl Node {
    pub fn new(config: NodeConfig, now: Instant) -> Result<Self, NodeError> {
        Ok(Self {
            counters: Counters::default(),
        })
    }
    pub fn set_peers(&mut self, peers: Vec<PeerConfig>, now: Instant) -> Result<(), NodeError> {
        Ok(())
    }
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        datagram: &mut [u8],
        now: Instant,
        wall: Duration,
    ) {
    }
    pub fn handle_tun_packet(&mut self, packet: &mut [u8], now: Instant) {}
    pub fn handle_timeout(&mut self, now: Instant) {}
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        None
    }
    pub fn poll_tun(&mut self) -> Option<&[u8]> {
        None
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
    pub fn permit(&mut self, flow: FlowId, now: Instant) {}
    pub fn refuse(&mut self, flow: FlowId, how: Refusal) {}
    pub fn close_flow(&mut self, flow: FlowId) {}
    pub fn close_flows_of(&mut self, peer: PeerId, keep: impl FnMut(&FlowRecord) -> bool) {}
    pub fn flow_of_accepted(&mut self, peer_addr: SocketAddr) -> Option<FlowRecord> {
        None
    }
    pub fn flow_finished(&mut self, flow: FlowId, now: Instant) {}
    pub fn send_udp(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), SendError> {
        Ok(())
    }
    /// from = pinged address, to = device
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
        Ok(())
    }
    /// from/to/payload of the undeliverable UDP datagram as UdpReceived gave them
    pub fn send_unreachable(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
        why: Unreachable,
        now: Instant,
    ) -> Result<(), SendError> {
        Ok(())
    }
    pub fn peer_status(&self, peer: PeerId, now: Instant) -> Option<PeerStatus> {
        None
    }
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
