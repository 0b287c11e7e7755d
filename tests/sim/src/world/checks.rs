//! What leaves the node, and what must hold of it.

use std::net::{IpAddr, SocketAddr};

use wg::{Event, PeerId};

use super::{FIRST, World};
use crate::packet::{self, ACK, RST, SYN, Tcp};

impl World {
    /// Looks at everything that waits; `cause` is the datagram that was just handed in.
    pub(super) fn drain(&mut self, cause: Option<&[u8]>) {
        let mut cause = cause;
        loop {
            let mut quiet = true;
            while let Some(event) = self.node.poll_event() {
                quiet = false;
                self.event(event);
            }
            while let Some(packet) = self.node.poll_tun().map(<[u8]>::to_vec) {
                quiet = false;
                self.tun(&packet);
            }
            let mut sent = Vec::new();
            while let Some(transmit) = self.node.poll_transmit() {
                let size = transmit.segment_size.unwrap_or(transmit.contents.len());
                for datagram in transmit.contents.chunks(size) {
                    sent.push((transmit.to, datagram.to_vec()));
                }
            }
            for (to, datagram) in sent {
                quiet = false;
                self.download(to, &datagram, cause);
            }
            cause = None;
            if quiet {
                return;
            }
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::SynSeen(record) => {
                self.must_own(record.peer, record.source.ip());
                if self.hostile && self.rng.chance(20) {
                    self.undecided.push(record);
                } else {
                    self.decide(record);
                }
            }
            Event::FlowClosed(id) => {
                self.undecided.retain(|record| record.id != id);
                self.running.remove(&id);
            }
            Event::UdpReceived {
                peer,
                from,
                to,
                payload,
            } => {
                let who = self.must_own(peer, from.ip());
                assert!(payload.iter().all(|byte| *byte == self.devices[who].number));
                let now = self.now();
                // Without a session there is nobody to answer.
                let _sent = self.node.send_udp(peer, to, from, &payload, now);
            }
            Event::Handshake { peer, mark, .. } => {
                self.summary.handshakes += 1;
                self.must_be_member(peer);
                let who = self.who(peer);
                *self.shaken.entry(who).or_default() += 1;
                self.kept.entry(peer).or_default().1 = Some(mark);
            }
            Event::EndpointChanged { peer, endpoint } => {
                self.must_be_member(peer);
                let who = self.owner_of(endpoint);
                let own = who == Some(self.who(peer));
                assert!(own || self.relayed, "endpoint stolen: {endpoint}");
                if !own {
                    // what comes back is for the device's keys alone
                    self.relays.insert(endpoint);
                }
                self.kept.entry(peer).or_default().0 = Some(endpoint);
            }
            Event::SeenTwice { peer, here, there } => {
                self.must_be_member(peer);
                let who = self.who(peer);
                let doubled = who == 0 && self.doubled;
                let late = self.relayed || self.held_back.contains(&who);
                assert!(
                    here != there && (doubled || late),
                    "device {who} is in one place, not in {here} and {there}"
                );
                self.seen_twice.insert(who);
            }
            Event::EchoRequest { .. } => panic!("nobody pings"),
            Event::Refused { peer, .. } => self.must_be_member(peer),
        }
    }

    pub(super) fn tun(&mut self, bytes: &[u8]) {
        self.summary.tun_bytes += bytes.len();
        let merged = bytes[1] != 0;
        let tcp = Tcp::read(&bytes[10..], !merged).expect("only TCP reaches the TUN");
        if tcp.flags & (SYN | ACK) == SYN {
            let claim = self.claims.get(&tcp.seq).expect("a SYN nobody sent");
            assert!(claim.permitted, "a SYN without permit");
            let before = self.inside.insert(tcp.from, tcp.seq);
            assert!(
                before.is_none_or(|isn| isn == tcp.seq),
                "a source used twice"
            );
        }
        let isn = self.inside.get(&tcp.from).expect("bytes of no flow");
        let claim = &self.claims[isn];
        assert!(claim.permitted, "bytes without permit");
        let tag = self.devices[claim.device].number;
        assert!(
            tcp.payload.iter().all(|byte| *byte == tag),
            "bytes of another device"
        );
        assert!(
            self.members.contains(&claim.device) || tcp.has(RST),
            "bytes of a revoked device"
        );
        let repeat = [0, 1, 3, 40][self.rng.below(4)].max(usize::from(!self.hostile));
        let output = self
            .kernel
            .handle(&tcp, repeat.min(60_000 / tcp.payload.len().max(1)));
        if let Some(inside) = output.accepted
            && let Some(record) = self.node.flow_of_accepted(inside)
        {
            let claim = &self.claims[&self.inside[&inside]];
            assert_eq!((record.source, record.destination), (claim.from, claim.to));
            assert_eq!(self.who(record.peer), claim.device);
        }
        for packet in output.packets {
            let now = self.now();
            self.node.tun_room()[..packet.len()].copy_from_slice(&packet);
            self.node.handle_tun_packet(packet.len(), now);
        }
    }

    pub(super) fn download(&mut self, to: SocketAddr, datagram: &[u8], cause: Option<&[u8]>) {
        if datagram[0] == 2 {
            let cause = cause.expect("a response without an initiation");
            assert!(self.answered.insert(cause.to_vec()), "answered twice");
        }
        if to == self.thief.at || to == self.twin.at {
            return self.download_elsewhere(to, datagram);
        }
        let Some(who) = self.owner_of(to) else {
            let own = datagram[0] == 2 || self.relays.contains(&to);
            assert!(own, "data for a stranger at {to}");
            return;
        };
        assert!(
            self.members.contains(&who),
            "a revoked device hears from the node"
        );
        if self.devices[who].at != to || (self.hostile && self.rng.chance(5)) {
            return;
        }
        let (reply, packet) = self.devices[who].open(datagram);
        if let Some(reply) = reply {
            self.upload_later(who, reply);
        }
        if let Some(packet) = packet {
            self.inner(who, &packet);
        }
    }

    /// What the second place of a key hears, and who lacks the preshared key.
    fn download_elsewhere(&mut self, to: SocketAddr, datagram: &[u8]) {
        if to == self.thief.at {
            let heard = self.thief.open(datagram);
            assert_eq!(heard, (None, None), "no session without the preshared key");
            assert!(!self.thief.has_session());
        } else if let (Some(mut reply), _) = self.twin.open(datagram) {
            let (now, wall) = (self.now(), self.wall());
            self.node.handle_datagram(to, &mut reply, now, wall);
        }
    }

    pub(super) fn inner(&mut self, who: usize, packet: &[u8]) {
        let (_, to, protocol, body) = packet::open(packet).expect("an IP packet");
        let tag = self.devices[who].number;
        assert!(
            self.devices[who].inner().contains(&to),
            "a packet for another"
        );
        if protocol == 17 {
            assert!(body[8..].iter().all(|byte| *byte == tag));
            self.devices[who].answers += 1;
            return;
        }
        let tcp = Tcp::read(packet, true).expect("TCP or UDP");
        assert!(
            tcp.payload.iter().all(|byte| *byte == tag),
            "bytes of another"
        );
        if let Some(answer) = self.devices[who].segment(&tcp)
            && let Some(datagram) = self.devices[who].seal(&answer.packet())
        {
            self.upload_later(who, datagram);
        }
    }

    /// What a device sends while the node is being drained goes in without another drain.
    pub(super) fn upload_later(&mut self, who: usize, datagram: Vec<u8>) {
        let from = self.devices[who].at;
        if datagram[0] == 1 || (self.hostile && self.rng.chance(5)) {
            self.delay(from, datagram);
            return;
        }
        if datagram[0] == 2 {
            // A response is no cause of an answer that is checked.
            self.delivered.push(datagram.clone());
        }
        let (now, wall) = (self.now(), self.wall());
        let mut bytes = datagram.clone();
        let before = self.drops();
        self.node.handle_datagram(from, &mut bytes, now, wall);
        if self.drops() > before {
            self.refused.insert(datagram);
        }
    }

    pub(super) fn must_own(&self, peer: PeerId, source: IpAddr) -> usize {
        self.must_be_member(peer);
        let who = self.who(peer);
        assert!(
            self.devices[who].inner().contains(&source),
            "{peer:?} used the source {source}"
        );
        who
    }

    pub(super) fn must_be_member(&self, peer: PeerId) {
        assert!(
            self.members.contains(&self.who(peer)),
            "{peer:?} is revoked"
        );
    }

    pub(super) fn who(&self, peer: PeerId) -> usize {
        usize::try_from(peer.0).unwrap() - usize::from(FIRST)
    }

    /// The device an outer address belongs or once belonged to.
    pub(super) fn owner_of(&self, address: SocketAddr) -> Option<usize> {
        if address == self.twin.at && self.doubled {
            return Some(0);
        }
        match address.ip() {
            IpAddr::V4(a) if a.octets()[..2] == [198, 51] => {
                Some(usize::from(a.octets()[2] - FIRST))
            }
            _ => None,
        }
    }
}
