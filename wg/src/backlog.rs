//! Packets that wait to be encrypted: devices take turns, and the flows of a device do.
//!
//! What does not fit is taken from the device, and there from the flow, that has most waiting.

use std::collections::VecDeque;

use crate::event::FlowId;
use crate::packet::ip::Ip;
use crate::packet::tcp::Tcp;
use crate::peer::PeerSlot;
use crate::turns::{Queue, Turns};

/// Most packets waiting: as many as the queue of a TUN device has places.
const WAITING: usize = 512;
/// Most bytes waiting, some 50 ms of what one core encrypts.
const BYTES: usize = 4 * 1024 * 1024;
/// A TSO packet of 64 KiB with its 10-byte header, rounded up.
const ROOM: usize = 64 * 1024 + 64;
/// Buffers kept for reuse.
const SPARE: usize = 64;

/// A packet for a device, its headers already rewritten.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) owner: PeerSlot,
    /// Its TCP flow; all else of a device counts as one flow.
    pub(crate) flow: Option<FlowId>,
    /// How it becomes segments; `None` for a packet that is complete.
    pub(crate) cut: Option<Cut>,
    buffer: Buffer,
}

/// What is known of a packet of the kernel that is not complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) ip: Ip,
    pub(crate) tcp: Tcp,
    /// Payload of a segment in bytes; `None` for a packet that fits as it is.
    pub(crate) segment: Option<u16>,
    /// The transport checksum holds only the pseudo header's sum.
    pub(crate) needs_checksum: bool,
}

/// A buffer of [`ROOM`] bytes and which of them are the packet.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The packet.
    pub(crate) fn packet(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The same, to be rewritten.
    pub(crate) fn packet_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Leaves out the first `head` bytes and what is beyond the `len` after them.
    pub(crate) fn trim(&mut self, head: usize, len: usize) {
        self.start += head;
        self.end = self.end.min(self.start + len);
    }
}

impl Waiting {
    pub(crate) fn new(owner: PeerSlot, flow: Option<FlowId>, buffer: Buffer) -> Self {
        Self {
            owner,
            flow,
            cut: None,
            buffer,
        }
    }

    pub(crate) fn packet(&self) -> &[u8] {
        self.buffer.packet()
    }
}

/// The packets of one flow in their order.
#[derive(Debug, Default)]
struct Line {
    packets: VecDeque<Waiting>,
    bytes: usize,
}

impl Line {
    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.packet().len();
        self.packets.push_back(waiting);
    }

    fn taken(&mut self, waiting: Option<Waiting>) -> Option<Waiting> {
        let len = waiting.as_ref().map_or(0, |waiting| waiting.packet().len());
        self.bytes = self.bytes.saturating_sub(len);
        waiting
    }
}

impl Queue for Line {
    type Item = Waiting;

    fn next_cost(&mut self) -> Option<usize> {
        self.packets.front().map(|waiting| waiting.packet().len())
    }

    fn take(&mut self) -> Option<Waiting> {
        let first = self.packets.pop_front();
        self.taken(first)
    }

    fn take_fattest(&mut self) -> Option<Waiting> {
        let last = self.packets.pop_back();
        self.taken(last)
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What waits, by device and flow.
#[derive(Debug)]
pub(crate) struct Backlog {
    turns: Turns<PeerSlot, Turns<Option<FlowId>, Line>>,
    packets: usize,
    bytes: usize,
    /// Where the next packet is read to.
    room: Box<[u8]>,
    spare: Vec<Box<[u8]>>,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            turns: Turns::default(),
            packets: 0,
            bytes: 0,
            room: room(),
            spare: Vec::new(),
        }
    }
}

impl Backlog {
    /// Where the next packet goes.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.room
    }

    /// Takes the first `len` bytes of the room as a packet; there is no room until
    /// [`Self::recycle`] or [`Self::renew`].
    pub(crate) fn filled(&mut self, len: usize) -> Buffer {
        Buffer {
            bytes: std::mem::take(&mut self.room),
            start: 0,
            end: len.min(ROOM),
        }
    }

    /// Makes room for the next packet if the last one is kept.
    pub(crate) fn renew(&mut self) {
        if self.room.is_empty() {
            self.room = self.spare.pop().unwrap_or_else(room);
        }
    }

    /// Takes a buffer back.
    pub(crate) fn recycle(&mut self, buffer: Buffer) {
        if self.room.is_empty() {
            self.room = buffer.bytes;
        } else if self.spare.len() < SPARE {
            self.spare.push(buffer.bytes);
        }
    }

    /// Adds a packet; returns how many were lost for want of room.
    pub(crate) fn push(&mut self, waiting: Waiting) -> u64 {
        self.renew();
        self.packets += 1;
        self.bytes += waiting.packet().len();
        let (owner, flow) = (waiting.owner, waiting.flow);
        self.turns.with(owner, |flows| {
            flows.with(flow, |line| line.push(waiting));
        });
        let mut lost = 0;
        while (self.packets > WAITING || self.bytes > BYTES)
            && let Some(fattest) = self.turns.take_fattest()
        {
            self.left(&fattest);
            self.recycle(fattest.buffer);
            lost += 1;
        }
        lost
    }

    /// Takes the packet whose turn it is; its buffer is to be given back.
    pub(crate) fn take(&mut self) -> Option<Waiting> {
        let waiting = self.turns.take()?;
        self.left(&waiting);
        Some(waiting)
    }

    /// Takes back the buffer of a packet.
    pub(crate) fn done(&mut self, waiting: Waiting) {
        self.recycle(waiting.buffer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Forgets what waits for a peer.
    pub(crate) fn purge(&mut self, owner: PeerSlot) {
        if let Some(mut flows) = self.turns.remove(owner) {
            while let Some(waiting) = flows.take() {
                self.left(&waiting);
                self.recycle(waiting.buffer);
            }
        }
    }

    /// Forgets what waits of a flow.
    pub(crate) fn purge_flow(&mut self, owner: PeerSlot, flow: FlowId) {
        let flows = self.turns.get_mut(owner);
        if let Some(mut line) = flows.and_then(|flows| flows.remove(Some(flow))) {
            while let Some(waiting) = line.take() {
                self.left(&waiting);
                self.recycle(waiting.buffer);
            }
        }
    }

    fn left(&mut self, waiting: &Waiting) {
        self.packets -= 1;
        self.bytes -= waiting.packet().len();
    }
}

fn room() -> Box<[u8]> {
    vec![0; ROOM].into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(backlog: &mut Backlog, peer: u32, flow: u32, len: usize) -> u64 {
        let flow = FlowId {
            slot: flow,
            generation: 0,
        };
        let buffer = backlog.filled(len);
        backlog.push(Waiting::new(PeerSlot(peer), Some(flow), buffer))
    }

    #[test]
    fn a_full_backlog_loses_what_has_most_waiting_and_takes_the_others() {
        let mut backlog = Backlog::default();
        let lost: u64 = (0..100).map(|_| push(&mut backlog, 1, 1, 60_000)).sum();
        assert_eq!(lost, 100 - (BYTES / 60_000) as u64);
        assert_eq!(push(&mut backlog, 2, 2, 60_000), 1);
        backlog.purge(PeerSlot(1));
        assert_eq!(backlog.take().map(|w| w.owner), Some(PeerSlot(2)));
        assert!(backlog.take().is_none() && backlog.is_empty());
        let lost: u64 = (0..1000).map(|_| push(&mut backlog, 1, 1, 40)).sum();
        assert_eq!(lost, 1000 - WAITING as u64);
    }

    #[test]
    fn what_waits_of_a_purged_flow_is_gone_and_the_rest_is_not() {
        let mut backlog = Backlog::default();
        for flow in [1, 2, 1] {
            push(&mut backlog, 1, flow, 100);
        }
        let flow = FlowId {
            slot: 1,
            generation: 0,
        };
        backlog.purge_flow(PeerSlot(1), flow);
        backlog.purge_flow(PeerSlot(9), flow);
        let left = backlog.take().and_then(|w| w.flow).map(|flow| flow.slot);
        assert_eq!(left, Some(2));
        assert!(backlog.take().is_none() && backlog.is_empty());
    }
}
