//! The end: when the network is kind again, everybody is served.

use std::net::SocketAddr;
use std::time::Duration;

use super::{FIRST, World};
use crate::packet::{self, ACK};

impl World {
    /// No loss, no attacks, all devices in the set: everybody must be served.
    pub(super) fn kindness(&mut self) {
        self.hostile = false;
        self.clock_off = 0;
        self.deliver_delayed();
        self.decide_late();
        self.members = (0..self.devices.len()).collect();
        self.apply_members();
        for who in 0..self.devices.len() {
            self.pass(Duration::from_secs(6));
            self.connect(who);
            self.send_udp(who);
            assert!(
                self.devices[who].has_session(),
                "device {who} has no session"
            );
            let answers = self.devices[who].answers;
            self.send_udp(who);
            assert!(
                self.devices[who].answers > answers,
                "device {who} got no answer"
            );
            self.open_flow(who);
            let device = &mut self.devices[who];
            let tag = device.number;
            let flow = device.flows.last_mut().unwrap();
            assert!(flow.open && !flow.dead, "device {who} could not connect");
            let packet = flow.segment(ACK, vec![tag; 1000]).packet();
            flow.next = flow.next.wrapping_add(1000);
            self.send(who, &packet);
            let received = self.devices[who].flows.last().unwrap().received;
            assert!(received >= 1000, "device {who} got {received} bytes back");
        }
        let talker = 1 + self.rng.below(self.devices.len() - 1);
        self.talk_through_new_keys(talker);
        self.steal();
        self.speak_twice();
        self.node.check_invariants();
    }

    /// Talks for five minutes: keys change every 120 s, and nothing is lost meanwhile.
    fn talk_through_new_keys(&mut self, who: usize) {
        self.connect(who);
        self.send_udp(who);
        let before = self.shaken.get(&who).copied();
        for round in 0..50 {
            self.pass(Duration::from_secs(6));
            let answers = self.devices[who].answers;
            self.send_udp(who);
            let device = &mut self.devices[who];
            assert_eq!(device.answers, answers + 1, "device {who}, round {round}");
            let tag = device.number;
            let flow = device.flows.last_mut().unwrap();
            let received = flow.received;
            let packet = flow.segment(ACK, vec![tag; 700]).packet();
            flow.next = flow.next.wrapping_add(700);
            self.send(who, &packet);
            let flow = self.devices[who].flows.last().unwrap();
            assert!(flow.received >= received + 700, "device {who}, {round}");
        }
        let rekeys = self.shaken.get(&who).copied().unwrap_or(0) - before.unwrap_or(0);
        assert!((2..=4).contains(&rekeys), "{rekeys} handshakes in 300 s");
        self.summary.rekeys += rekeys;
    }

    /// The key of device 0 speaks from a second place as well: that is noticed.
    fn speak_twice(&mut self) {
        self.seen_twice.remove(&0);
        self.pass(Duration::from_secs(6));
        self.connect(0);
        self.send_udp(0);
        self.doubled = true;
        let at = self.twin.at;
        for _ in 0..8 {
            let from = SocketAddr::new(self.twin.inner()[0], 5353);
            let packet = packet::udp(from, "10.8.0.1:53".parse().unwrap(), &[FIRST; 40]);
            if let Some(datagram) = self.twin.seal(&packet) {
                self.deliver(at, &datagram);
            }
            self.send_udp(0);
            self.pass(Duration::from_secs(3));
        }
        assert!(self.seen_twice.contains(&0), "the twin went unnoticed");
        self.summary.twins += 1;
    }
}
