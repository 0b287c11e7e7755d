//! Datagrams that wait to be opened, devices in turn: who sends much does not keep the others
//! waiting, and loses first where there is no more room.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use wg::PeerId;
use wg::turns::{Queue, Turns};

use super::io::Filled;

/// Most that waits at once, in bytes: twice what the socket itself may hold.
const MOST: usize = 8 * 1024 * 1024;
/// What a letter costs besides its bytes, so that many small ones are bounded too.
const OVERHEAD: usize = 128;
/// Emptied buffers that are kept for the next letters.
const SPARE: usize = 64;

/// What came from one source at once, taken out of the buffer it was received in.
#[derive(Debug)]
pub(super) struct Letter {
    from: SocketAddr,
    here: Option<IpAddr>,
    stride: usize,
    bytes: Vec<u8>,
    /// Whether another shard has admitted it: a handshake for this one.
    pub(super) is_admitted: bool,
}

impl Letter {
    /// Copies `filled` into a buffer that is spare, or into a new one.
    pub(super) fn new(filled: &Filled<'_>, spare: &mut Vec<Vec<u8>>) -> Self {
        let mut bytes = spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(filled.bytes);
        Self {
            from: filled.from,
            here: filled.here,
            stride: filled.stride,
            bytes,
            is_admitted: false,
        }
    }

    /// Returns the datagrams in it.
    pub(super) fn filled(&mut self) -> Filled<'_> {
        Filled {
            from: self.from,
            here: self.here,
            stride: self.stride,
            bytes: &mut self.bytes,
        }
    }

    /// Returns the first datagram.
    pub(super) fn first(&self) -> &[u8] {
        self.bytes.chunks(self.stride).next().unwrap_or_default()
    }

    /// Counts its datagrams.
    pub(super) fn count(&self) -> u64 {
        self.bytes.len().div_ceil(self.stride) as u64
    }

    /// Counts its bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns what it takes of a queue's room.
    pub(super) fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }

    /// Keeps its buffer for another.
    pub(super) fn recycle(self, spare: &mut Vec<Vec<u8>>) {
        if spare.len() < SPARE {
            spare.push(self.bytes);
        }
    }
}

/// Letters of one sender in their order.
#[derive(Debug, Default)]
struct Line {
    letters: VecDeque<Letter>,
    cost: usize,
}

impl Line {
    fn left(&mut self, letter: Option<Letter>) -> Option<Letter> {
        self.cost -= letter.as_ref().map_or(0, Letter::cost);
        letter
    }
}

impl Queue for Line {
    type Item = Letter;

    fn next_cost(&mut self) -> Option<usize> {
        self.letters.front().map(Letter::cost)
    }

    fn take(&mut self) -> Option<Letter> {
        let first = self.letters.pop_front();
        self.left(first)
    }

    fn take_fattest(&mut self) -> Option<Letter> {
        let last = self.letters.pop_back();
        self.left(last)
    }

    fn bytes(&self) -> usize {
        self.cost
    }
}

/// What waits, by the device whose session it names. All that names none has one turn together.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    turns: Turns<Option<PeerId>, Line>,
    cost: usize,
    /// Emptied buffers.
    pub(super) spare: Vec<Vec<u8>>,
}

impl Waiting {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.cost == 0
    }

    /// Adds a letter of a device; returns how many datagrams were lost for want of room.
    pub(super) fn push(&mut self, of: Option<PeerId>, letter: Letter) -> u64 {
        let cost = letter.cost();
        self.turns.with(of, |line| {
            line.cost += cost;
            line.letters.push_back(letter);
        });
        self.cost += cost;
        let mut lost = 0;
        while self.cost > MOST
            && let Some(fattest) = self.turns.take_fattest()
        {
            self.cost -= fattest.cost();
            lost += fattest.count();
            fattest.recycle(&mut self.spare);
        }
        lost
    }

    /// Takes the letter whose turn it is.
    pub(super) fn next(&mut self) -> Option<Letter> {
        let letter = self.turns.take()?;
        self.cost -= letter.cost();
        Some(letter)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::SocketAddr;

    use wg::PeerId;

    use super::{Filled, Letter, MOST, Waiting};

    pub(in super::super) fn letter(from: u16, count: usize) -> Letter {
        let filled = Filled {
            from: SocketAddr::from(([192, 0, 2, 1], from)),
            here: None,
            stride: 1000,
            bytes: &mut vec![7; 1000 * count],
        };
        Letter::new(&filled, &mut Vec::new())
    }

    fn push(waiting: &mut Waiting, of: u32, count: usize) -> u64 {
        let port = u16::try_from(of).unwrap();
        waiting.push(Some(PeerId(of)), letter(port, count))
    }

    #[test]
    fn who_sends_little_does_not_wait_behind_who_sends_much() {
        let mut waiting = Waiting::default();
        for _ in 0..200 {
            assert_eq!(push(&mut waiting, 1, 10), 0);
        }
        push(&mut waiting, 2, 1);
        let ahead = std::iter::from_fn(|| waiting.next()).take_while(|l| l.from.port() == 1);
        assert!(ahead.count() <= 2);
        let mut left = 0;
        while let Some(letter) = waiting.next() {
            assert_eq!(letter.from.port(), 1, "and each sender's stay in order");
            left += 1;
        }
        assert!(left >= 198 && waiting.is_empty());
    }

    #[test]
    fn two_who_send_much_get_the_same() {
        let mut waiting = Waiting::default();
        for _ in 0..100 {
            push(&mut waiting, 1, 40);
        }
        for _ in 0..1000 {
            push(&mut waiting, 2, 1);
        }
        let mut bytes = [0, 0];
        while bytes.iter().sum::<usize>() < 1_000_000 {
            let letter = waiting.next().unwrap();
            bytes[usize::from(letter.from.port()) - 1] += letter.len();
        }
        assert!((400_000..600_000).contains(&bytes[0]), "{bytes:?}");
    }

    #[test]
    fn who_sends_most_loses_first_and_nothing_grows() {
        let mut waiting = Waiting::default();
        push(&mut waiting, 2, 5);
        let pushed = 3 * MOST / 50_000;
        let lost: u64 = (0..pushed).map(|_| push(&mut waiting, 1, 50)).sum();
        assert!(waiting.cost <= MOST);
        let mut kept = [0, 0];
        while let Some(letter) = waiting.next() {
            kept[usize::from(letter.from.port()) - 1] += letter.count();
        }
        assert_eq!(kept, [pushed as u64 * 50 - lost, 5]);
        for _ in 0..MOST {
            let nothing = letter(3, 0);
            if waiting.push(None, nothing) == 0 && waiting.cost + 200 > MOST {
                break;
            }
        }
        assert!(waiting.cost <= MOST, "of the smallest too");
    }
}
