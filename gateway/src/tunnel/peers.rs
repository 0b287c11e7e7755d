//! What the node hears of the devices, and the list of devices it is given.

use std::sync::Arc;

use tokio::sync::mpsc;
use wg::{Event, NodeError, PeerConfig};

use super::gate::{Gate, Refusal, RefusalKind};
use crate::ids::DeviceId;

/// Passes handshakes, roaming and refused packets on until the shard ends.
///
/// Marks are written at once: until one is on disk, a power cut would let the recorded handshake
/// be answered again.
pub(super) async fn listen(gate: Arc<dyn Gate>, mut notes: mpsc::Receiver<Event>) {
    let (shaken, writing) = mpsc::channel(1);
    let writer = tokio::spawn(write(Arc::clone(&gate), writing));
    while let Some(event) = notes.recv().await {
        if let Event::SeenTwice { peer, here, there } = event {
            gate.seen_twice(DeviceId(peer.0), here, there).await;
        } else {
            hear(gate.as_ref(), &event);
        }
        if matches!(event, Event::Handshake { .. }) {
            // one that waits already will write this one too
            let _ = shaken.try_send(());
        }
    }
    drop(shaken);
    drop(writer.await);
}

/// Writes on a task of its own, since a slow disk must not keep notes waiting.
async fn write(gate: Arc<dyn Gate>, mut shaken: mpsc::Receiver<()>) {
    while shaken.recv().await.is_some() {
        gate.keep_heard().await;
    }
}

fn hear(gate: &dyn Gate, event: &Event) {
    if let Event::Handshake { peer, mark, .. } = event {
        // whoever brings an initiation may have recorded it: only data moves the endpoint
        gate.heard(DeviceId(peer.0), Some(*mark), None);
    } else if let Event::EndpointChanged { peer, endpoint } = event {
        gate.heard(DeviceId(peer.0), None, Some(*endpoint));
    } else if let Event::Refused {
        peer,
        reason,
        from,
        to,
        protocol,
        port,
        count,
    } = event
    {
        let name = match protocol {
            1 | 58 => "icmp".to_owned(),
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            other => format!("ip-{other}"),
        };
        let host = to.map(|to| to.to_string()).unwrap_or_default();
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        gate.refused(Refusal {
            device: DeviceId(peer.0),
            kind: RefusalKind::Flow,
            reason: reason.code(),
            source: *from,
            target: format!("{name}://{host}{port}"),
            more: *count,
        });
    }
}

/// Leaves out the device that a refused list was refused for; nobody if it is not known.
pub(super) fn without_offender(mut list: Vec<PeerConfig>, why: &NodeError) -> Vec<PeerConfig> {
    let offender = match why {
        NodeError::DuplicatePeer(peer)
        | NodeError::DuplicateKey(_, peer)
        | NodeError::OwnKey(peer)
        | NodeError::Overlap { second: peer, .. }
        | NodeError::OwnAddress(peer, _) => Some(*peer),
        NodeError::Mtu(_) | NodeError::Pool(..) | NodeError::TooManyPeers(..) => None,
    };
    let before = list.len();
    list.retain(|peer| Some(peer.id) != offender);
    if list.len() == before {
        list.clear();
    }
    list
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use async_trait::async_trait;
    use policy::{DnsName, DnsRefusal};
    use tokio::sync::mpsc;
    use wg::{Event, NodeError, PeerId, PrivateKey};

    use super::super::gate::{Ask, Gate, Portal, Refusal, Refused, Ticket};
    use super::{DeviceId, PeerConfig, listen, without_offender};

    fn peer(id: u32) -> PeerConfig {
        PeerConfig {
            id: PeerId(id),
            public_key: PrivateKey::from_bytes([7; 32]).public_key(),
            preshared_key: None,
            allowed_ips: Vec::new(),
            keepalive: None,
            endpoint: None,
            handshake_mark: None,
        }
    }

    #[test]
    fn only_the_device_that_offends_is_left_out() {
        let list = vec![peer(1), peer(2), peer(3)];
        let left = without_offender(list, &NodeError::OwnKey(PeerId(2)));
        let ids: Vec<_> = left.iter().map(|peer| peer.id.0).collect();
        assert_eq!(ids, [1, 3]);
    }

    struct Heard(mpsc::Sender<&'static str>);

    #[async_trait]
    impl Gate for Heard {
        fn peers(&self) -> Vec<PeerConfig> {
            Vec::new()
        }
        async fn decide(&self, _: Ask) -> Result<Box<dyn Ticket>, Refused> {
            Err(Refused)
        }
        fn serve(&self, _: std::net::TcpStream, _: Portal) {}
        fn own_name(&self, _: &str) -> Option<DnsName> {
            None
        }
        fn may_look_up(&self, _: DeviceId, _: DnsName, _: &str) -> Result<(), DnsRefusal> {
            Err(DnsRefusal::Policy)
        }
        fn refused(&self, _: Refusal) {
            self.0.try_send("refused").unwrap();
        }
        fn heard(&self, _: DeviceId, mark: Option<[u8; 12]>, endpoint: Option<SocketAddr>) {
            assert_ne!(mark.is_some(), endpoint.is_some());
            self.0.try_send("heard").unwrap();
        }
        async fn keep_heard(&self) {
            self.0.try_send("kept").unwrap();
        }
        async fn seen_twice(&self, _: DeviceId, _: SocketAddr, _: SocketAddr) {
            self.0.try_send("alarm").unwrap();
        }
    }

    async fn outcome(event: Event) -> Vec<&'static str> {
        let (said, mut heard) = mpsc::channel(8);
        let (notes, inbox) = mpsc::channel(8);
        notes.try_send(event).unwrap();
        drop(notes);
        listen(Arc::new(Heard(said)), inbox).await;
        let mut all = Vec::new();
        heard.recv_many(&mut all, 8).await;
        all
    }

    #[tokio::test]
    async fn a_mark_is_written_at_once_and_a_move_with_the_next_sweep() {
        let (peer, endpoint) = (PeerId(1), "192.0.2.1:9".parse().unwrap());
        let handshake = Event::Handshake {
            peer,
            mark: [1; 12],
            endpoint,
        };
        assert_eq!(outcome(handshake).await, ["heard", "kept"]);
        let moved = Event::EndpointChanged { peer, endpoint };
        assert_eq!(outcome(moved).await, ["heard"]);
    }

    #[tokio::test]
    async fn a_key_in_two_places_raises_the_alarm() {
        let [here, there] = ["192.0.2.1:9", "192.0.2.2:9"].map(|a| a.parse().unwrap());
        let twice = Event::SeenTwice {
            peer: PeerId(1),
            here,
            there,
        };
        assert_eq!(outcome(twice).await, ["alarm"]);
    }

    #[test]
    fn an_error_about_nobody_leaves_nobody() {
        assert!(without_offender(vec![peer(1)], &NodeError::Mtu(1)).is_empty());
    }
}
