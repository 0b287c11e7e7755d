//! Packets that the kernel sends through the TUN.

use super::inner::clamp;
use super::{DropReason, FlowId, Instant, Node, PeerSlot};
use crate::backlog::{Buffer, Cut, Waiting};
use crate::flow::{Flow, Step};
use crate::packet::ip::{self, Ip};
use crate::packet::tcp::Tcp;
use crate::packet::vnet::{self, Vnet};
use crate::split;

/// Bytes that are encrypted before they are sent: a batch or two.
const SEAL_AT_ONCE: usize = 32 * 1024;

/// Bytes of a packet, such as an acknowledgement, that does not wait if nothing else does.
const SMALL: usize = 256;

impl Node {
    /// Where the next packet of the TUN is to be read to; longer than any.
    pub fn tun_room(&mut self) -> &mut [u8] {
        self.backlog.room()
    }

    /// Handles a packet read from the TUN, the first `len` bytes of [`Self::tun_room`]: a 10-byte
    /// `virtio_net_hdr` and up to 64 KiB of IP packet, perhaps to be cut into segments, perhaps
    /// without its checksum.
    ///
    /// Anything that belongs to no flow (router solicitations, MLD, stray resets) is dropped.
    pub fn handle_tun_packet(&mut self, len: usize, now: Instant) {
        self.counters.tun_reads += 1;
        let buffer = self.backlog.filled(len);
        if let Err(reason) = self.kernel_packet(buffer, now) {
            self.counters.drop(reason);
        }
        self.settle();
    }

    fn kernel_packet(&mut self, mut buffer: Buffer, now: Instant) -> Result<(), DropReason> {
        match self.judge_kernel_packet(buffer.packet_mut(), now) {
            Err(reason) => {
                self.backlog.recycle(buffer);
                Err(reason)
            }
            Ok((owner, flow, cut)) => {
                buffer.trim(vnet::LEN, cut.ip.total_len);
                let mut waiting = Waiting::new(owner, Some(flow), buffer);
                let is_complete = cut.segment.is_none() && !cut.needs_checksum;
                waiting.cut = (!is_complete).then_some(cut);
                if self.backlog.is_empty() && waiting.packet().len() <= SMALL {
                    self.seal_waiting(&waiting);
                    self.backlog.done(waiting);
                } else {
                    self.wait(waiting);
                }
                Ok(())
            }
        }
    }

    /// Finds the flow of a packet, and rewrites it for the device.
    fn judge_kernel_packet(
        &mut self,
        packet: &mut [u8],
        now: Instant,
    ) -> Result<(PeerSlot, FlowId, Cut), DropReason> {
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
        let rewritten = match step {
            Some(Step::Pass | Step::PassAndEnd) => {
                self.rewrite_for_device(id, packet, (&ip, &tcp), now)
            }
            Some(Step::Hold | Step::Swallow | Step::Renew | Step::End) | None => return Err(STRAY),
        };
        if step == Some(Step::PassAndEnd) {
            self.flow_over(id);
            self.flows.remove(id);
        } else if self.flows.flow(id).is_some_and(Flow::is_over) {
            self.flow_over(id);
        }
        let (owner, ip, tcp) = rewritten?;
        let Vnet {
            needs_checksum,
            segment,
        } = vnet;
        let cut = Cut {
            ip,
            tcp,
            segment,
            needs_checksum,
        };
        Ok((owner, id, cut))
    }

    fn flow_from_kernel(&self, ip: &Ip, tcp: &Tcp) -> Option<FlowId> {
        let id = self
            .flows
            .by_inside((ip.destination, tcp.destination).into())?;
        let listen = self.flows.flow(id)?.listen;
        (listen.ip() == ip.source && listen.port() == tcp.source).then_some(id)
    }

    /// Rewrites a packet for its device, if that can be reached.
    fn rewrite_for_device(
        &mut self,
        id: FlowId,
        packet: &mut [u8],
        (ip, tcp): (&Ip, &Tcp),
        now: Instant,
    ) -> Result<(PeerSlot, Ip, Tcp), DropReason> {
        let flow = self.flows.flow(id).ok_or(DropReason::StrayFromInside)?;
        let slot = flow.owner;
        let limit = self.mss_limit(ip);
        let tcp = clamp(packet, ip, tcp, limit);
        let (ip, tcp) = flow.rewrite_to_device(packet, ip, &tcp);
        self.freshen(slot, now);
        if !self.peers.get(slot).is_some_and(super::peer_is_reachable) {
            self.initiate(slot, now);
            return Err(DropReason::NoSession);
        }
        Ok((slot, ip, tcp))
    }

    /// Puts a packet in its place among those that wait.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        for _ in 0..self.backlog.push(waiting) {
            self.counters.drop(DropReason::QueueFull);
        }
    }

    /// Cuts and encrypts what waits, up to a few batches.
    pub(super) fn seal_backlog(&mut self) {
        let mut sealed = 0;
        while sealed < SEAL_AT_ONCE
            && let Some(waiting) = self.backlog.take()
        {
            sealed += waiting.packet().len();
            self.seal_waiting(&waiting);
            self.backlog.done(waiting);
        }
    }

    fn seal_waiting(&mut self, waiting: &Waiting) {
        let (slot, packet) = (waiting.owner, waiting.packet());
        let mut draft = std::mem::take(&mut self.draft);
        if let Some(Cut {
            ip, tcp, segment, ..
        }) = &waiting.cut
        {
            split::split(packet, ip, tcp, *segment, &mut draft, |segment| {
                self.seal(slot, segment);
            });
        } else {
            draft.clear();
            draft.extend_from_slice(packet);
            self.seal(slot, &mut draft);
        }
        self.draft = draft;
    }
}
