//! The way of datagrams from the socket, or from the thread that reads it for all shards, to the node.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wg::Node;

use super::handshakes::Handshakes;
use super::io::{Filled, Intake, Outer};
use super::post::Mail;
use super::reached::Came;
use super::waiting::Letter;
use super::{BYTES_PER_ROUND, Loop};
use crate::clock;

/// Bytes of a batch that are decrypted before what came of them is written to the TUN device: as
/// many as one packet of it holds, so that no source of the batch waits for much of another's.
pub(super) const BYTES_PER_DELIVERY: usize = 64 * 1024;
/// Batches read in one round while more comes than is opened.
const BATCHES_PER_ROUND: usize = 16;
/// How long after datagrams of several senders came at once one sender's batch is not taken whole.
const SHARED: Duration = Duration::from_secs(1);

/// Where datagrams come from.
#[derive(Debug)]
pub(super) enum Arrivals {
    /// The socket: this shard is the only one.
    Socket(Box<Intake>),
    /// What another thread reads of it for all shards, and where that is put while it is moved.
    Mail(Mail, VecDeque<Letter>),
}

impl Arrivals {
    /// Waits until something came, or a descriptor failed.
    pub(super) async fn ready(&self) {
        match self {
            Self::Socket(intake) => intake.readable().await,
            Self::Mail(mail, _) => match mail.own() {
                Some(post) => post.rung().await,
                None => std::future::pending().await,
            },
        }
    }
}

impl Loop {
    /// Decrypts what arrived, at most about a round's worth; the segments of a flow in it are
    /// written to the TUN device together, whether the kernel merged their datagrams or not.
    pub(super) fn receive(&mut self, now: Instant) -> std::io::Result<()> {
        let arrived = self.collect(now);
        let wall = clock::wall();
        let (mut undelivered, mut opened) = (0, 0);
        while opened < BYTES_PER_ROUND
            && let Some(mut letter) = self.waiting.next()
        {
            let (bytes, is_admitted) = (letter.len(), letter.is_admitted);
            let (node, handshakes) = (&mut self.node, &mut self.handshakes);
            let filled = letter.filled();
            open(
                node,
                handshakes,
                &mut self.outer,
                filled,
                is_admitted,
                (now, wall),
            );
            letter.recycle(&mut self.waiting.spare);
            opened += bytes;
            undelivered += bytes;
            if undelivered >= BYTES_PER_DELIVERY {
                self.deliver();
                undelivered = 0;
            }
        }
        self.deliver();
        arrived
    }

    /// Takes what arrived. Where a batch is all there is, it is opened where it lies; where more
    /// comes than is opened and several devices send, it waits, for each to have its turn.
    fn collect(&mut self, now: Instant) -> std::io::Result<()> {
        if let Arrivals::Mail(mail, moving) = &mut self.arrivals {
            if let Some(post) = mail.own() {
                let lost = post.take(moving, &mut self.waiting.spare);
                self.node.note_lost(lost);
            }
            for letter in moving.drain(..) {
                let of = self.node.named_by(letter.first());
                let lost = self.waiting.push(of, letter);
                self.node.note_lost(lost);
            }
            return Ok(());
        }
        let mut bytes = 0;
        for _ in 0..BATCHES_PER_ROUND {
            let Arrivals::Socket(intake) = &mut self.arrivals else {
                break;
            };
            let received = intake.receive()?;
            if intake.is_mixed() {
                self.shared = Some(now);
            }
            let is_full = Intake::is_full(received);
            let since = |at| now.saturating_duration_since(at);
            let is_shared = is_full && self.shared.is_some_and(|at| since(at) < SHARED);
            if self.waiting.is_empty() && !is_shared {
                let opened = self.open_batch(received, now);
                self.gather.received(opened, now);
                return Ok(());
            }
            for nth in 0..received {
                if let Some(filled) = intake.buffer(nth) {
                    bytes += filled.bytes.len();
                    let letter = Letter::new(&filled, &mut self.waiting.spare);
                    let of = self.node.named_by(letter.first());
                    let lost = self.waiting.push(of, letter);
                    self.node.note_lost(lost);
                }
            }
            if !is_full {
                break;
            }
        }
        self.gather.received(bytes, now);
        Ok(())
    }

    /// Decrypts a batch in the buffers it was received in; returns how many bytes it had.
    fn open_batch(&mut self, received: usize, now: Instant) -> usize {
        let wall = clock::wall();
        let (mut undelivered, mut bytes) = (0, 0);
        for nth in 0..received {
            let Self {
                arrivals: Arrivals::Socket(intake),
                node,
                handshakes,
                outer,
                ..
            } = self
            else {
                return bytes;
            };
            let Some(filled) = intake.buffer(nth) else {
                break;
            };
            let length = filled.bytes.len();
            open(node, handshakes, outer, filled, false, (now, wall));
            bytes += length;
            undelivered += length;
            if undelivered >= BYTES_PER_DELIVERY {
                self.deliver();
                undelivered = 0;
            }
        }
        bytes
    }
}

/// Hands the datagrams of a buffer to the node; handshakes wait for their time. One that another
/// shard has admitted is not asked for a cookie again.
fn open(
    node: &mut Node,
    handshakes: &mut Handshakes,
    outer: &mut Outer,
    filled: Filled<'_>,
    is_admitted: bool,
    (now, wall): (Instant, Duration),
) {
    let (from, here) = (filled.from, filled.here);
    outer.take_in(filled, |datagram| {
        if Node::is_handshake(datagram) {
            let is_crowded = handshakes.are_crowded();
            if is_admitted || node.admit_handshake(from, datagram, is_crowded, now) {
                let has_cookie = is_crowded && !is_admitted;
                handshakes.put_off((from, here), datagram, has_cookie);
                return Came::Asking;
            }
            // perhaps a cookie
            return match node.wants_to_transmit() {
                true => Came::Asking,
                false => Came::Nothing,
            };
        }
        if node.handle_datagram(from, datagram, now, wall) {
            handshakes.saw_data(now);
            return Came::Believed;
        }
        Came::Nothing
    });
}
