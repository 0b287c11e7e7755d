//! The thread that reads the socket for the shards of a gateway that has several, and deals out
//! what came: a message of a session to the shard that has it, anything else by its source.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::UdpSocket;

use tokio_util::sync::CancellationToken;

use super::gather::Gather;
use super::io::{Filled, Intake};
use super::pause::Pause;
use super::post::Mail;
use crate::clock;

/// Batches read before the runtime looks whether the thread is to end.
const BATCHES_AT_ONCE: usize = 16;

/// The loop of the thread.
#[derive(Debug)]
pub(in crate::tunnel) struct Deal {
    intake: Intake,
    mail: Mail,
    keyed: RandomState,
    gather: Gather,
    pause: Pause,
}

impl Deal {
    /// Registers the socket with the runtime of the current thread.
    ///
    /// # Errors
    /// What the system answers.
    pub(in crate::tunnel) fn new(socket: &UdpSocket, mail: Mail) -> io::Result<Self> {
        Ok(Self {
            intake: Intake::new(socket)?,
            mail,
            keyed: RandomState::new(),
            gather: Gather::new(clock::now()),
            pause: Pause::default(),
        })
    }

    /// Deals until `closing` is cancelled.
    pub(in crate::tunnel) async fn run(&mut self, closing: &CancellationToken) {
        loop {
            let until = self.pause.end(clock::now());
            let ready = async {
                if let Some(until) = until {
                    tokio::time::sleep_until(until.into()).await;
                }
                self.intake.readable().await;
            };
            tokio::select! {
                () = closing.cancelled() => return,
                () = ready => {}
            }
            let now = clock::now();
            let received = self.receive();
            self.pause.note(received, "UDP", now);
            self.gather();
        }
    }

    /// Lets datagrams gather where much arrives.
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime's timers count milliseconds, and the thread is this loop's own"
    )]
    fn gather(&self) {
        if let Some(pause) = self.gather.pause() {
            std::thread::sleep(pause);
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut bytes = 0;
        for _ in 0..BATCHES_AT_ONCE {
            let received = self.intake.receive()?;
            let mut touched = vec![false; self.mail.len()];
            for nth in 0..received {
                if let Some(filled) = self.intake.buffer(nth) {
                    bytes += filled.bytes.len();
                    deal(&self.mail, &self.keyed, filled, &mut touched);
                }
            }
            let posts = (0..).map_while(|at| self.mail.post(at));
            for (post, touched) in posts.zip(touched) {
                if touched {
                    post.ring();
                }
            }
            if !Intake::is_full(received) {
                break;
            }
        }
        self.gather.received(bytes, clock::now());
        Ok(())
    }
}

/// Puts the datagrams of a buffer into the boxes they are for, as few letters as can be.
fn deal(mail: &Mail, keyed: &RandomState, filled: Filled<'_>, touched: &mut [bool]) {
    let Filled {
        from,
        here,
        stride,
        bytes,
    } = filled;
    // all of a source to one shard: it counts them, and its cookies are good there
    let by_source = keyed.hash_one(from.ip()) % mail.len().max(1) as u64;
    let by_source = usize::try_from(by_source).unwrap_or_default();
    let target = |datagram: &[u8]| mail.named_by(datagram).unwrap_or(by_source);
    let mut rest = bytes;
    while let Some(first) = rest.chunks(stride).next() {
        let at = target(first);
        let same = rest.chunks(stride).take_while(|next| target(next) == at);
        let length = same.map(<[u8]>::len).sum::<usize>().min(rest.len());
        let (part, others) = rest.split_at_mut(length);
        rest = others;
        let part = Filled {
            from,
            here,
            stride,
            bytes: part,
        };
        if let (Some(post), Some(touched)) = (mail.post(at), touched.get_mut(at)) {
            post.put(&part, false);
            *touched = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::hash::RandomState;
    use std::net::SocketAddr;

    use super::{Filled, Mail, deal};

    /// A message of a session whose index ends in `index`.
    fn data(index: u8) -> Vec<u8> {
        let mut message = vec![index; 100];
        message[..8].copy_from_slice(&[4, 0, 0, 0, 0xff, index, 0, 0]);
        message
    }

    /// What each of four shards gets of the datagrams of one source.
    fn dealt(datagrams: &[Vec<u8>], from: SocketAddr) -> Vec<Vec<Vec<u8>>> {
        let (mail, keyed) = (Mail::of(4).unwrap(), RandomState::new());
        let filled = Filled {
            from,
            here: None,
            stride: 100,
            bytes: &mut datagrams.concat(),
        };
        deal(&mail, &keyed, filled, &mut [false; 4]);
        let boxes = (0..4).map(|at| {
            let mut out = VecDeque::new();
            mail.post(at).unwrap().take(&mut out, &mut Vec::new());
            let parts = out.iter_mut().map(|letter| letter.filled().bytes.to_vec());
            parts.collect()
        });
        boxes.collect()
    }

    #[test]
    fn a_message_of_a_session_goes_to_its_shard_whoever_sends_it() {
        for port in 1..20 {
            let from = SocketAddr::from(([192, 0, 2, 1], port));
            let boxes = dealt(&[data(2), data(2), data(7), data(2)], from);
            let two = vec![[data(2), data(2)].concat(), data(2)];
            assert_eq!(boxes, [vec![], vec![], two, vec![data(7)]]);
        }
    }

    #[test]
    fn what_names_no_session_goes_to_one_shard_for_each_source() {
        let junk = vec![vec![1; 100], vec![9; 100], vec![1; 30]];
        let mut used = [0; 4];
        for host in 0..100 {
            let from = SocketAddr::from(([192, 0, 2, host], 9));
            let boxes = dealt(&junk, from);
            let full: Vec<usize> = (0..4).filter(|at| !boxes[*at].is_empty()).collect();
            assert_eq!(boxes[full[0]], [junk.concat()]);
            assert_eq!(full.len(), 1);
            used[full[0]] += 1;
        }
        assert!(used.iter().all(|count| *count > 0), "{used:?}");
    }
}
