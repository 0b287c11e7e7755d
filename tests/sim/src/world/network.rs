//! What the network does with datagrams, and what others send.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Delayed, World};
use crate::packet;

/// The longest that packets are under way in an ordinary network.
const USUAL: Duration = Duration::from_secs(4);

/// The kind of a data message.
const DATA: u8 = 4;
/// How long keys may be used, and how late that may be noticed.
/// Source: the WireGuard paper, section 6.1.
const REJECT_AFTER: Duration = Duration::from_secs(180);
const TICK: Duration = Duration::from_millis(250);

impl World {
    pub(super) fn upload(&mut self, who: usize, datagram: Vec<u8>) {
        let from = self.devices[who].at;
        if self.hostile {
            match self.rng.below(100) {
                0..5 => return,
                5..10 => {
                    self.delay(from, datagram);
                    return;
                }
                10..14 => {
                    self.deliver(from, &datagram);
                }
                _ => {}
            }
        }
        self.deliver(from, &datagram);
    }

    pub(super) fn deliver_delayed(&mut self) {
        for late in std::mem::take(&mut self.delayed) {
            if self.elapsed.saturating_sub(late.since) > USUAL {
                self.held_back.extend(self.owner_of(late.from));
            }
            let age = self.elapsed.saturating_sub(late.since);
            let is_believed = self.deliver(late.from, &late.datagram);
            if late.datagram.first() == Some(&DATA) && age > REJECT_AFTER + TICK {
                self.summary.expired += 1;
                assert!(
                    !is_believed,
                    "keys were used {age:?} after they were made, or more"
                );
            }
        }
    }

    pub(super) fn drops(&self) -> u64 {
        let counters = self.node.counters();
        let all = wg::DropReason::ALL.iter();
        all.map(|reason| counters.dropped(*reason)).sum()
    }

    pub(super) fn delay(&mut self, from: SocketAddr, datagram: Vec<u8>) {
        let since = self.elapsed;
        self.delayed.push(Delayed {
            from,
            datagram,
            since,
        });
    }

    /// Sets the gateway's wall clock right or wrong.
    pub(super) fn jump(&mut self) {
        self.summary.clock_jumps += 1;
        let hours = [0, 1, -1, 10, -10, 30, -30, 72, -72, 438_000];
        self.clock_off = hours[self.rng.below(hours.len())] * 3600;
    }

    /// Somebody with a device's key, but without its preshared key, tries to connect and to send.
    pub(super) fn steal(&mut self) {
        let from = self.thief.at;
        let packet = packet::udp(
            SocketAddr::new(self.thief.inner()[0], 5),
            "10.8.0.1:53".parse().unwrap(),
            &[0xee; 9],
        );
        if let Some(datagram) = self.thief.seal(&packet) {
            self.deliver(from, &datagram);
        }
    }

    /// Returns whether the node believed it.
    pub(super) fn deliver(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        if self.delivered.len() < 4000 {
            self.delivered.push(datagram.to_vec());
        }
        let (now, wall) = (self.now(), self.wall());
        let mut bytes = datagram.to_vec();
        let before = self.drops();
        let is_believed = self.node.handle_datagram(from, &mut bytes, now, wall);
        if self.drops() > before {
            self.refused.insert(datagram.to_vec());
        }
        self.drain(Some(datagram));
        is_believed
    }

    /// Somebody else replays, mangles or invents datagrams.
    pub(super) fn attack(&mut self) {
        let from = SocketAddr::from(([203, 0, 113, self.rng.byte()], 666));
        for _ in 0..10 {
            if self.delivered.is_empty() {
                return;
            }
            self.summary.replays += 1;
            let pick = self.rng.below(self.delivered.len());
            let mut datagram = self.delivered[pick].clone();
            match self.rng.below(6) {
                0 => {
                    let at = self.rng.below(datagram.len());
                    datagram[at] ^= 1 << self.rng.below(8);
                }
                1 => datagram.truncate(self.rng.below(datagram.len())),
                2 => datagram.resize(60_000, 0),
                3 if datagram.len() > 16 => datagram[8..16].fill(0xff),
                4 => {
                    let len = self.rng.below(200);
                    datagram = self.rng.bytes(len);
                }
                _ => {}
            }
            let (now, wall) = (self.now(), self.wall());
            let original = datagram.clone();
            self.relayed = self.refused.contains(&original);
            self.node.handle_datagram(from, &mut datagram, now, wall);
            self.drain(Some(&original));
            self.relayed = false;
        }
    }
}
