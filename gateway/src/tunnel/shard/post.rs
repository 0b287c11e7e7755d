//! What one thread receives for the shards of a gateway that has several.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use wg::{PeerId, Place};

use super::io::Filled;
use super::waiting::Letter;

/// Most that lies in one box, in bytes.
const MOST: usize = 8 * 1024 * 1024;

/// The letters of one shard.
#[derive(Debug, Default)]
pub(super) struct Post {
    inside: Mutex<Inside>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    letters: VecDeque<Letter>,
    cost: usize,
    /// Datagrams there was no room for.
    lost: u64,
    /// Emptied buffers that the shard gave back.
    spare: Vec<Vec<u8>>,
}

impl Post {
    /// Puts in what came from a source, unless there is no room; [`Self::ring`] says so.
    pub(super) fn put(&self, filled: &Filled<'_>, is_admitted: bool) {
        let mut inside = self.inside.lock();
        let mut letter = Letter::new(filled, &mut inside.spare);
        letter.is_admitted = is_admitted;
        if inside.cost + letter.cost() > MOST {
            inside.lost += letter.count();
            letter.recycle(&mut inside.spare);
            return;
        }
        inside.cost += letter.cost();
        inside.letters.push_back(letter);
    }

    /// Wakes the shard.
    pub(super) fn ring(&self) {
        self.arrived.notify_one();
    }

    /// Waits for [`Self::ring`].
    pub(super) async fn rung(&self) {
        self.arrived.notified().await;
    }

    /// Takes everything out in exchange for emptied buffers; returns how many datagrams were lost
    /// since the last time.
    pub(super) fn take(&self, into: &mut VecDeque<Letter>, spare: &mut Vec<Vec<u8>>) -> u64 {
        let mut inside = self.inside.lock();
        std::mem::swap(&mut inside.letters, into);
        inside.cost = 0;
        if inside.spare.len() < spare.len() {
            std::mem::swap(&mut inside.spare, spare);
        }
        std::mem::take(&mut inside.lost)
    }
}

/// All boxes of a gateway with several shards, as one of them sees them.
#[derive(Clone, Debug)]
pub(in crate::tunnel) struct Mail {
    posts: Arc<[Post]>,
    place: Place,
    own: usize,
}

impl Mail {
    /// Makes a box for each shard, as shard number 0 sees them.
    pub(in crate::tunnel) fn of(shards: u8) -> Option<Self> {
        Some(Self {
            posts: (0..shards).map(|_| Post::default()).collect(),
            place: Place::new(0, shards)?,
            own: 0,
        })
    }

    /// Returns the boxes as another shard sees them.
    pub(in crate::tunnel) fn as_shard(&self, own: usize) -> Self {
        Self {
            own,
            ..self.clone()
        }
    }

    /// Returns the shard's own box.
    pub(super) fn own(&self) -> Option<&Post> {
        self.posts.get(self.own)
    }

    /// Returns the box of shard number `at`.
    pub(super) fn post(&self, at: usize) -> Option<&Post> {
        self.posts.get(at)
    }

    /// Counts the shards.
    pub(super) fn len(&self) -> usize {
        self.posts.len()
    }

    /// Returns which shard a message of a session is for.
    pub(super) fn named_by(&self, message: &[u8]) -> Option<usize> {
        self.place.of_message(message)
    }

    /// Passes a handshake that was admitted on to the shard that has the device.
    pub(super) fn pass_on(
        &self,
        peer: PeerId,
        from: SocketAddr,
        here: Option<IpAddr>,
        message: &[u8],
    ) {
        let filled = Filled {
            from,
            here,
            stride: message.len().max(1),
            bytes: &mut message.to_vec(),
        };
        if let Some(post) = self.post(self.place.of_peer(peer)) {
            post.put(&filled, true);
            post.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::net::SocketAddr;

    use wg::PeerId;

    use super::{Filled, MOST, Mail, Post};

    fn put(post: &Post, bytes: &mut [u8]) {
        let filled = Filled {
            from: SocketAddr::from(([192, 0, 2, 1], 9)),
            here: None,
            stride: 1000,
            bytes,
        };
        post.put(&filled, false);
    }

    #[tokio::test]
    async fn a_box_gives_out_all_it_was_given_in_order() {
        let (post, mut out, mut spare) = (Post::default(), VecDeque::new(), Vec::new());
        for number in 0..10 {
            put(&post, &mut [number; 10]);
        }
        post.ring();
        post.rung().await;
        assert_eq!(post.take(&mut out, &mut spare), 0);
        let order: Vec<u8> = out.iter().map(|letter| letter.first()[0]).collect();
        assert_eq!(order, (0..10).collect::<Vec<_>>());
        for letter in out.drain(..) {
            letter.recycle(&mut spare);
        }
        assert_eq!(post.take(&mut out, &mut spare), 0);
        assert!(out.is_empty() && spare.is_empty(), "buffers went back");
        put(&post, &mut [1; 10]);
        assert_eq!(post.inside.lock().spare.len(), 9);
    }

    #[test]
    fn a_box_that_nobody_empties_does_not_grow_and_counts_what_it_lost() {
        let (post, mut out, mut spare) = (Post::default(), VecDeque::new(), Vec::new());
        let many = 2 * MOST / 10_000;
        for _ in 0..many {
            put(&post, &mut [7; 10_000]);
        }
        assert!(post.inside.lock().cost <= MOST);
        let lost = post.take(&mut out, &mut spare);
        let kept: u64 = out.iter().map(super::Letter::count).sum();
        assert_eq!(
            (lost + kept, post.inside.lock().cost),
            (many as u64 * 10, 0)
        );
        out.clear();
        put(&post, &mut [7; 10_000]);
        assert_eq!(post.take(&mut out, &mut spare), 0);
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn a_handshake_reaches_the_shard_of_its_device_and_says_that_it_was_admitted() {
        let mail = Mail::of(3).unwrap();
        let from = SocketAddr::from(([192, 0, 2, 1], 9));
        mail.pass_on(PeerId(5), from, None, &[1; 148]);
        for at in 0..mail.len() {
            let (mut out, mut spare) = (VecDeque::new(), Vec::new());
            mail.as_shard(at).own().unwrap().take(&mut out, &mut spare);
            let admitted: Vec<bool> = out.iter().map(|letter| letter.is_admitted).collect();
            assert_eq!(admitted, if at == 2 { vec![true] } else { Vec::new() });
        }
        assert!(Mail::of(0).is_none() && Mail::of(17).is_none());
    }
}
