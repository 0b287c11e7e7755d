//! Decrypted packets of a device.

use std::net::IpAddr;

use super::{DropReason, Event, FlowId, Instant, Node, PeerSlot, SocketAddr};
use crate::flow::{Key, Step};
use crate::ingress::{self, Refused};
use crate::packet::build::{self, Reset};
use crate::packet::icmp::Echo;
use crate::packet::ip::{self, Ip};
use crate::packet::tcp::{self, Tcp};
use crate::packet::udp::Udp;

impl Node {
    /// Passes a packet that `slot`'s keys decrypted through the rules.
    pub(super) fn inner_packet(&mut self, slot: PeerSlot, packet: &mut [u8], now: Instant) {
        if let Err(refused) = self.judge(slot, packet, now) {
            self.report(slot, refused, now);
        }
    }

    pub(super) fn refused_unreadable(&mut self, slot: PeerSlot, now: Instant) {
        let refused = Refused {
            reason: DropReason::Malformed,
            from: None,
            to: None,
            protocol: 0,
            port: None,
        };
        self.report(slot, refused, now);
    }

    fn judge(&mut self, slot: PeerSlot, packet: &mut [u8], now: Instant) -> Result<(), Refused> {
        if let Some((id, ip, tcp)) = self.known_flow(slot, packet) {
            return self.segment(slot, id, packet, (&ip, &tcp), now);
        }
        let ip = ingress::check(packet, slot, &self.peers.owners)?;
        let refuse = |reason| Refused::new(reason, &ip, packet);
        if ingress::is_gateway(ip.source, &self.config) {
            return Err(refuse(DropReason::SpoofedSource));
        }
        if !ingress::may_reach(ip.destination, &self.config, &self.peers.owners) {
            return Err(refuse(DropReason::Destination));
        }
        if ip.hops <= 1 && !ingress::is_gateway(ip.destination, &self.config) {
            self.hops_used_up(slot, &ip, packet);
            return Ok(());
        }
        match ip.protocol {
            ip::TCP => self.new_segment(slot, packet, &ip, now),
            ip::UDP => self.datagram_inside(slot, packet, &ip),
            ip::ICMP if ip.source.is_ipv4() => self.echo(slot, packet, &ip),
            ip::ICMP6 if ip.source.is_ipv6() => self.echo(slot, packet, &ip),
            _ => Err(refuse(DropReason::Protocol)),
        }
    }

    /// Drops a packet that ends here, as a router does; traceroute lives on the message.
    fn hops_used_up(&mut self, slot: PeerSlot, ip: &Ip, packet: &[u8]) {
        self.counters.drop(DropReason::HopLimit);
        let gateway = match ip.source {
            IpAddr::V4(_) => Some(self.config.gateway4.into()),
            IpAddr::V6(_) => self.config.gateway6.map(IpAddr::from),
        };
        let packet = packet.get(..ip.total_len).unwrap_or_default();
        let mut draft = std::mem::take(&mut self.draft);
        if gateway.is_some_and(|own| build::time_exceeded(&mut draft, own, ip.source, packet)) {
            self.seal(slot, &mut draft);
        }
        self.draft = draft;
    }

    /// Finds the flow of a segment. That its source is the peer's own was checked when the flow
    /// began, and `set_peers` ends flows for which it is no longer so.
    fn known_flow(&self, slot: PeerSlot, packet: &[u8]) -> Option<(FlowId, Ip, Tcp)> {
        let ip = Ip::parse(packet).ok()?;
        if ip.obstacle.is_some() || ip.protocol != ip::TCP {
            return None;
        }
        let tcp = Tcp::parse(ip.payload(packet)).filter(Tcp::flags_are_sane)?;
        let id = self.flows.find(&key(slot, &ip, &tcp))?;
        Some((id, ip, tcp))
    }

    /// A segment of a flow in the table.
    fn segment(
        &mut self,
        slot: PeerSlot,
        id: FlowId,
        packet: &mut [u8],
        (ip, tcp): (&Ip, &Tcp),
        now: Instant,
    ) -> Result<(), Refused> {
        let payload = ip.payload_len() - tcp.header_len;
        let step = self
            .flows
            .with(id, |flow| flow.device_sent(tcp, payload, now));
        match step {
            Some(Step::Pass) => self.pass_to_kernel(id, packet, (ip, tcp)),
            Some(step @ (Step::PassAndEnd | Step::End)) => {
                if step == Step::PassAndEnd {
                    self.pass_to_kernel(id, packet, (ip, tcp));
                }
                self.flow_over(id);
                self.flows.remove(id);
            }
            Some(Step::Hold) => self.hold(id, packet, (ip, tcp)),
            Some(Step::Renew) => {
                self.flow_over(id);
                self.end_flow(id, false);
                return self.new_segment(slot, packet, ip, now);
            }
            Some(Step::Swallow) | None => {}
        }
        if self.flows.flow(id).is_some_and(crate::flow::Flow::is_over) {
            self.flow_over(id);
        }
        Ok(())
    }

    /// A segment that belongs to no flow yet.
    fn new_segment(
        &mut self,
        slot: PeerSlot,
        packet: &mut [u8],
        ip: &Ip,
        now: Instant,
    ) -> Result<(), Refused> {
        let tcp = Tcp::parse(ip.payload(packet))
            .ok_or_else(|| Refused::new(DropReason::Malformed, ip, packet))?;
        if !tcp.flags_are_sane() {
            return Err(Refused::new(DropReason::BadFlags, ip, packet));
        }
        if tcp.flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) != tcp::SYN {
            self.counters.drop(DropReason::UnknownFlow);
            self.reset_stray(slot, ip, &tcp);
            return Ok(());
        }
        let id = self
            .open_flow(key(slot, ip, &tcp), tcp.seq, now)
            .map_err(|reason| Refused::new(reason, ip, packet))?;
        self.hold(id, packet, (ip, &tcp));
        Ok(())
    }

    fn open_flow(&mut self, key: Key, isn: u32, now: Instant) -> Result<FlowId, DropReason> {
        let peer = self.peers.get(key.owner).ok_or(DropReason::UnknownFlow)?;
        let peer = peer.config.id;
        if !self.events.has_room() {
            return Err(DropReason::QueueFull);
        }
        let mut opened = self.flows.open(key, peer, isn, now);
        if opened == Err(DropReason::FlowCap)
            && let Some(oldest) = self.flows.oldest_lingering(key.owner)
        {
            self.flow_over(oldest);
            self.end_flow(oldest, false);
            opened = self.flows.open(key, peer, isn, now);
        }
        let record = opened?;
        self.events.push(Event::SynSeen(record));
        Ok(record.id)
    }

    /// Keeps the newest copy of a SYN, ready for the kernel.
    fn hold(&mut self, id: FlowId, packet: &mut [u8], (ip, tcp): (&Ip, &Tcp)) {
        let limit = self.mss_limit(ip);
        self.flows.with(id, |flow| {
            let tcp = clamp(packet, ip, tcp, limit);
            flow.rewrite_to_kernel(packet, ip, &tcp);
            if let crate::flow::State::Held(copy) = &mut flow.state {
                copy.clear();
                copy.extend_from_slice(packet.get(..ip.total_len).unwrap_or_default());
            }
        });
    }

    /// Rewrites a segment and queues it for the TUN.
    fn pass_to_kernel(&mut self, id: FlowId, packet: &mut [u8], (ip, tcp): (&Ip, &Tcp)) {
        let limit = self.mss_limit(ip);
        let inbox = &mut self.inbox;
        let queued = self.flows.with(id, |flow| {
            let tcp = clamp(packet, ip, tcp, limit);
            let (ip, tcp) = flow.rewrite_to_kernel(packet, ip, &tcp);
            let packet = packet.get(..ip.total_len).unwrap_or_default();
            inbox.push(&mut flow.lane, packet, &ip, &tcp)
        });
        if queued != Some(true) {
            self.counters.drop(DropReason::QueueFull);
        }
    }

    /// Makes a device forget a connection that a restart or a sweep ended.
    fn reset_stray(&mut self, slot: PeerSlot, ip: &Ip, tcp: &Tcp) {
        if tcp.has(tcp::RST) {
            return;
        }
        let payload = ip.payload_len() - tcp.header_len;
        let mut draft = std::mem::take(&mut self.draft);
        if build::reset(
            &mut draft,
            SocketAddr::new(ip.destination, tcp.destination),
            SocketAddr::new(ip.source, tcp.source),
            Reset::answering(tcp, payload),
        ) {
            self.seal(slot, &mut draft);
        }
        self.draft = draft;
    }

    fn datagram_inside(&mut self, slot: PeerSlot, packet: &[u8], ip: &Ip) -> Result<(), Refused> {
        let refuse = |reason| Refused::new(reason, ip, packet);
        let udp = Udp::parse(ip, packet).map_err(refuse)?;
        let Some(peer) = self.peers.get(slot) else {
            return Ok(());
        };
        let event = Event::UdpReceived {
            peer: peer.config.id,
            from: SocketAddr::new(ip.source, udp.source),
            to: SocketAddr::new(ip.destination, udp.destination),
            payload: udp.payload.to_vec(),
        };
        if !self.events.push_datagram(event) {
            self.counters.drop(DropReason::QueueFull);
        }
        Ok(())
    }

    fn echo(&mut self, slot: PeerSlot, packet: &[u8], ip: &Ip) -> Result<(), Refused> {
        let refuse = |reason| Refused::new(reason, ip, packet);
        let echo = Echo::parse(ip, packet).map_err(refuse)?;
        if ingress::is_gateway(ip.destination, &self.config) {
            let mut draft = std::mem::take(&mut self.draft);
            let ids = (echo.ident, echo.seq);
            if build::echo_reply(&mut draft, ip.destination, ip.source, ids, echo.payload) {
                self.seal(slot, &mut draft);
            }
            self.draft = draft;
            return Ok(());
        }
        let Some(peer) = self.peers.get(slot) else {
            return Ok(());
        };
        let event = Event::EchoRequest {
            peer: peer.config.id,
            from: ip.source,
            to: ip.destination,
            ident: echo.ident,
            seq: echo.seq,
            payload: echo.payload.to_vec(),
        };
        if !self.events.push_datagram(event) {
            self.counters.drop(DropReason::QueueFull);
        }
        Ok(())
    }

    /// Counts a refused packet and tells the gateway, within the peer's cap.
    fn report(&mut self, slot: PeerSlot, refused: Refused, now: Instant) {
        self.counters.drop(refused.reason);
        if !self.events.has_room() {
            return;
        }
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if let Some(count) = peer.reports.admit(now) {
            self.events.push(Event::Refused {
                peer: peer.config.id,
                reason: refused.reason,
                from: refused.from,
                to: refused.to,
                protocol: refused.protocol,
                port: refused.port,
                count,
            });
        }
    }

    /// The greatest segment that fits the tunnel.
    pub(super) fn mss_limit(&self, ip: &Ip) -> u16 {
        let headers = if ip.source.is_ipv4() { 40 } else { 60 };
        self.config.mtu.saturating_sub(headers)
    }
}

/// Lowers the MSS of a SYN; returns the header with its corrected checksum.
pub(super) fn clamp(packet: &mut [u8], ip: &Ip, tcp: &Tcp, limit: u16) -> Tcp {
    if !tcp.has(tcp::SYN) {
        return *tcp;
    }
    let segment = ip.payload_mut(packet);
    let delta = tcp::clamp_mss(segment, tcp.header_len, limit);
    let checksum = delta.apply(tcp.checksum);
    tcp::set_checksum(segment, checksum);
    Tcp { checksum, ..*tcp }
}

fn key(owner: PeerSlot, ip: &Ip, tcp: &Tcp) -> Key {
    Key {
        owner,
        source: SocketAddr::new(ip.source, tcp.source),
        destination: SocketAddr::new(ip.destination, tcp.destination),
    }
}
