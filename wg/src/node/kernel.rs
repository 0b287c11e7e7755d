//! Packets that the kernel sends through the TUN.

use super::inner::clamp;
use super::{DropReason, FlowId, Instant, Node};
use crate::flow::{Flow, Step};
use crate::packet::ip::{self, Ip};
use crate::packet::tcp::Tcp;
use crate::packet::vnet::{self, Vnet};
use crate::split;

impl Node {
    /// Handles a packet read from the TUN: a 10-byte `virtio_net_hdr` and up to 64 KiB of IP
    /// packet, perhaps to be cut into segments, perhaps without its checksum.
    ///
    /// Anything that belongs to no flow (router solicitations, MLD, stray resets) is dropped.
    pub fn handle_tun_packet(&mut self, packet: &mut [u8], now: Instant) {
        self.counters.tun_reads += 1;
        if let Err(reason) = self.kernel_packet(packet, now) {
            self.counters.drop(reason);
        }
        self.settle();
    }

    fn kernel_packet(&mut self, packet: &mut [u8], now: Instant) -> Result<(), DropReason> {
        const STRAY: DropReason = DropReason::StrayFromInside;
        let (header, packet) = packet
            .split_first_chunk_mut::<{ vnet::LEN }>()
            .ok_or(STRAY)?;
        let vnet = Vnet::parse(*header).ok_or(STRAY)?;
        let ip = Ip::parse(packet).map_err(|_| STRAY)?;
        if ip.obstacle.is_some() || ip.protocol != ip::TCP {
            return Err(STRAY);
        }
        let tcp = Tcp::parse(ip.payload(packet)).ok_or(STRAY)?;
        let id = self.flow_from_kernel(&ip, &tcp).ok_or(STRAY)?;
        let payload = ip.payload_len() - tcp.header_len;
        let step = self
            .flows
            .with(id, |flow| flow.kernel_sent(&tcp, payload, now));
        match step {
            Some(Step::Pass) => {
                self.pass_to_device(id, packet, (&ip, &tcp), vnet, now);
                if self.flows.flow(id).is_some_and(Flow::is_over) {
                    self.flow_over(id);
                }
            }
            Some(Step::PassAndEnd) => {
                self.pass_to_device(id, packet, (&ip, &tcp), vnet, now);
                self.flow_over(id);
                self.flows.remove(id);
            }
            Some(Step::Hold | Step::Swallow | Step::Renew | Step::End) | None => return Err(STRAY),
        }
        Ok(())
    }

    fn flow_from_kernel(&self, ip: &Ip, tcp: &Tcp) -> Option<FlowId> {
        let id = self
            .flows
            .by_inside((ip.destination, tcp.destination).into())?;
        let listen = self.flows.flow(id)?.listen;
        (listen.ip() == ip.source && listen.port() == tcp.source).then_some(id)
    }

    /// Rewrites, cuts and encrypts a packet for its device.
    fn pass_to_device(
        &mut self,
        id: FlowId,
        packet: &mut [u8],
        (ip, tcp): (&Ip, &Tcp),
        vnet: Vnet,
        now: Instant,
    ) {
        let Some(flow) = self.flows.flow(id) else {
            return;
        };
        let slot = flow.owner;
        let limit = self.mss_limit(ip);
        let tcp = clamp(packet, ip, tcp, limit);
        let (ip, tcp) = flow.rewrite_to_device(packet, ip, &tcp);
        self.freshen(slot, now);
        if !self.peers.get(slot).is_some_and(super::peer_is_reachable) {
            self.counters.drop(DropReason::NoSession);
            self.initiate(slot, now);
            return;
        }
        let mut draft = std::mem::take(&mut self.draft);
        if vnet.segment.is_some() || vnet.needs_checksum {
            split::split(packet, &ip, &tcp, vnet.segment, &mut draft, |segment| {
                self.seal(slot, segment);
            });
        } else {
            draft.clear();
            draft.extend_from_slice(packet.get(..ip.total_len).unwrap_or_default());
            self.seal(slot, &mut draft);
        }
        self.draft = draft;
    }
}
