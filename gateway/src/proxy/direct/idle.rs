//! Connections to upstreams that wait for their next request.

use std::collections::VecDeque;
use std::time::Instant;

use futures_util::FutureExt as _;
use tokio::io::AsyncReadExt as _;

use super::judged::Judged;

/// A list of connections, the one that was used last at its end.
pub(super) struct Idle {
    kept: VecDeque<Kept>,
    most: usize,
}

struct Kept {
    /// What it may be used for.
    key: u64,
    stream: Box<Judged>,
    until: Instant,
}

impl Idle {
    /// Keeps at most `most`.
    pub(super) fn new(most: usize) -> Self {
        Self {
            kept: VecDeque::new(),
            most,
        }
    }

    /// Takes the connection of a key that was used last and is still good.
    pub(super) fn take(&mut self, key: u64, now: Instant) -> Option<Box<Judged>> {
        loop {
            let at = self.kept.iter().rposition(|kept| kept.key == key)?;
            let mut kept = self.kept.remove(at)?;
            if kept.until > now && is_quiet(&mut kept.stream) {
                return Some(kept.stream);
            }
        }
    }

    /// Keeps a connection; where there are as many as may be, the one that has waited longest is closed.
    pub(super) fn put(&mut self, key: u64, mut stream: Box<Judged>, until: Instant) {
        if !is_quiet(&mut stream) {
            return;
        }
        while self.kept.len() >= self.most {
            if self.kept.pop_front().is_none() {
                return;
            }
        }
        self.kept.push_back(Kept { key, stream, until });
    }

    /// Closes what waited too long, and what its upstream has closed.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.kept
            .retain_mut(|kept| kept.until > now && is_quiet(&mut kept.stream));
    }
}

/// Tells whether nothing has come on a connection: neither its end nor an answer that nobody asked for.
fn is_quiet(stream: &mut Judged) -> bool {
    let mut byte = [0; 1];
    tokio::task::unconstrained(stream.read(&mut byte))
        .now_or_never()
        .is_none()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::AsyncWriteExt as _;

    use super::{Idle, Judged};
    use crate::clock;

    /// A connection, its far end, and until when it may be kept.
    fn connection() -> (Box<Judged>, tokio::io::DuplexStream, Instant) {
        let (near, far) = tokio::io::duplex(64);
        let until = clock::now() + Duration::from_secs(60);
        (Box::new(Judged::new(Box::new(near))), far, until)
    }

    #[tokio::test]
    async fn a_connection_is_used_again_for_its_key_alone() {
        let mut idle = Idle::new(4);
        let (stream, _far, until) = connection();
        idle.put(1, stream, until);
        assert!(idle.take(2, clock::now()).is_none());
        assert!(idle.take(1, clock::now()).is_some());
        assert!(idle.take(1, clock::now()).is_none());
    }

    #[tokio::test]
    async fn what_ended_or_spoke_unasked_is_not_used_again() {
        let mut idle = Idle::new(4);
        let (closed, far, until) = connection();
        idle.put(1, closed, until);
        drop(far);
        assert!(idle.take(1, clock::now()).is_none());
        let (talks, mut far, until) = connection();
        idle.put(1, talks, until);
        far.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        assert!(idle.take(1, clock::now()).is_none());
        let (stream, mut far, until) = connection();
        far.write_all(b"x").await.unwrap();
        idle.put(1, stream, until);
        assert!(idle.take(1, clock::now()).is_none());
    }

    #[tokio::test]
    async fn what_waited_too_long_is_not_used_again_and_swept() {
        let mut idle = Idle::new(4);
        let (stream, _far, until) = connection();
        idle.put(1, stream, until);
        assert!(idle.take(1, until).is_none());
        let (stream, _far, until) = connection();
        idle.put(1, stream, until);
        idle.sweep(clock::now());
        assert_eq!(idle.kept.len(), 1);
        idle.sweep(until);
        assert_eq!(idle.kept.len(), 0);
    }

    #[tokio::test]
    async fn there_are_never_more_than_may_be_and_the_newest_stay() {
        let mut idle = Idle::new(2);
        let mut far_ends = Vec::new();
        for key in 0..3 {
            let (stream, far, until) = connection();
            idle.put(key, stream, until);
            far_ends.push(far);
        }
        assert!(idle.take(0, clock::now()).is_none());
        assert!(idle.take(1, clock::now()).is_some());
        assert!(idle.take(2, clock::now()).is_some());
    }
}
