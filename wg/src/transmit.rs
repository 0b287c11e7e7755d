//! Datagrams on their way to a peer, batched for one system call each.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::peer::PeerSlot;

/// Most datagrams in one batch: longer bursts overflow clients with a 208 KiB receive buffer.
const BATCH: usize = 32;
/// Most bytes in one batch, the limit of a UDP payload.
const BATCH_BYTES: usize = 65_000;
/// Most batches waiting; the gateway drains the queue after each input.
const WAITING: usize = 4096;
/// Buffers kept for reuse.
const SPARE: usize = 64;

/// One or more datagrams for one address, to be sent in a single call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit<'a> {
    /// The outer destination.
    pub to: SocketAddr,
    /// The datagrams back to back.
    pub contents: &'a [u8],
    /// The size of each datagram but the last, which may be shorter; `None` for a single one.
    pub segment_size: Option<usize>,
}

/// The number of the batch or packet a peer or flow wrote last; keeps what it sends in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lane(Option<u64>);

impl Lane {
    pub(crate) fn at(number: u64) -> Self {
        Self(Some(number))
    }

    /// The place in a queue whose first element has number `head`.
    pub(crate) fn place(self, head: u64) -> Option<usize> {
        self.0
            .and_then(|number| number.checked_sub(head))
            .and_then(|place| usize::try_from(place).ok())
    }
}

/// The queue behind `poll_transmit`.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Batch>,
    head: u64,
    spare: Vec<Vec<u8>>,
    sending: Option<Batch>,
}

#[derive(Debug)]
struct Batch {
    owner: PeerSlot,
    to: SocketAddr,
    contents: Vec<u8>,
    segment: usize,
    count: usize,
    closed: bool,
}

impl Outbox {
    /// Adds a datagram of exactly `size` bytes that `write` appends; `false` if the queue is full
    /// or `write` failed.
    pub(crate) fn push(
        &mut self,
        (owner, to): (PeerSlot, SocketAddr),
        lane: &mut Lane,
        size: usize,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        if let Some(batch) = lane
            .place(self.head)
            .and_then(|place| self.queue.get_mut(place))
            .filter(|batch| batch.takes(owner, to, size))
        {
            if !write(&mut batch.contents) {
                return false;
            }
            batch.count += 1;
            batch.closed = size < batch.segment;
            return true;
        }
        if self.queue.len() >= WAITING {
            return false;
        }
        let mut contents = self.spare.pop().unwrap_or_default();
        if !write(&mut contents) {
            self.recycle(contents);
            return false;
        }
        *lane = Lane::at(self.head + self.queue.len() as u64);
        self.queue.push_back(Batch {
            owner,
            to,
            contents,
            segment: size,
            count: 1,
            closed: false,
        });
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes the next batch and its number of datagrams.
    pub(crate) fn poll(&mut self) -> Option<(Transmit<'_>, usize)> {
        if let Some(sent) = self.sending.take() {
            self.recycle(sent.contents);
        }
        let batch = loop {
            let batch = self.queue.pop_front()?;
            self.head += 1;
            if batch.count > 0 {
                break batch;
            }
            self.recycle(batch.contents);
        };
        let batch = self.sending.insert(batch);
        let transmit = Transmit {
            to: batch.to,
            contents: &batch.contents,
            segment_size: (batch.count > 1).then_some(batch.segment),
        };
        Some((transmit, batch.count))
    }

    /// Empties what waits for a peer that was removed.
    pub(crate) fn purge(&mut self, owner: PeerSlot) {
        for batch in self.queue.iter_mut().filter(|batch| batch.owner == owner) {
            batch.count = 0;
            batch.closed = true;
        }
    }

    fn recycle(&mut self, mut contents: Vec<u8>) {
        if self.spare.len() < SPARE {
            contents.clear();
            self.spare.push(contents);
        }
    }
}

impl Batch {
    fn takes(&self, owner: PeerSlot, to: SocketAddr, size: usize) -> bool {
        !self.closed
            && self.owner == owner
            && self.to == to
            && self.count < BATCH
            && size <= self.segment
            && self.contents.len() + size <= BATCH_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(outbox: &mut Outbox, lane: &mut Lane, peer: u32, size: usize) -> bool {
        let to = SocketAddr::from(([192, 0, 2, 1], 1000));
        outbox.push((PeerSlot(peer), to), lane, size, |out| {
            out.resize(out.len() + size, 1);
            true
        })
    }

    #[test]
    fn equal_sizes_share_a_batch_and_a_shorter_one_ends_it() {
        let mut outbox = Outbox::default();
        let (mut a, mut b) = (Lane::default(), Lane::default());
        for size in [100, 100] {
            assert!(push(&mut outbox, &mut a, 1, size));
        }
        assert!(push(&mut outbox, &mut b, 2, 100));
        for size in [60, 100, 120] {
            assert!(push(&mut outbox, &mut a, 1, size));
        }
        let mut seen = Vec::new();
        while let Some((t, count)) = outbox.poll() {
            seen.push((t.contents.len(), t.segment_size, count));
        }
        assert_eq!(
            seen,
            [
                (260, Some(100), 3),
                (100, None, 1),
                (100, None, 1),
                (120, None, 1)
            ]
        );
    }

    #[test]
    fn a_batch_holds_32_datagrams_at_most() {
        let mut outbox = Outbox::default();
        let mut lane = Lane::default();
        for _ in 0..70 {
            assert!(push(&mut outbox, &mut lane, 1, 1452));
        }
        let counts: Vec<usize> =
            std::iter::from_fn(|| outbox.poll().map(|(_, count)| count)).collect();
        assert_eq!(counts, [32, 32, 6]);
    }

    #[test]
    fn what_waits_for_a_purged_peer_is_not_sent_and_the_rest_is() {
        let mut outbox = Outbox::default();
        let (mut a, mut b) = (Lane::default(), Lane::default());
        push(&mut outbox, &mut a, 1, 100);
        push(&mut outbox, &mut b, 2, 90);
        outbox.purge(PeerSlot(1));
        assert_eq!(outbox.poll().unwrap().0.contents.len(), 90);
        assert!(outbox.poll().is_none());
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut outbox = Outbox::default();
        let taken = (0..5000)
            .filter(|_| push(&mut outbox, &mut Lane::default(), 1, 50))
            .count();
        assert_eq!(taken, WAITING);
    }
}
