//! What the node hears of the devices, and the list of devices it is given.

use std::sync::Arc;

use tokio::sync::mpsc;
use wg::{Event, NodeError, PeerConfig};

use super::gate::{Gate, Refusal, RefusalKind};
use crate::ids::DeviceId;

/// Passes handshakes, roaming and refused packets on until the shard ends.
pub(super) async fn listen(gate: Arc<dyn Gate>, mut notes: mpsc::Receiver<Event>) {
    while let Some(event) = notes.recv().await {
        if let Event::SeenTwice { peer, here, there } = event {
            gate.seen_twice(DeviceId(peer.0), here, there).await;
        } else {
            hear(gate.as_ref(), &event);
        }
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
    use super::{PeerConfig, without_offender};
    use wg::{NodeError, PeerId, PrivateKey};

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

    #[test]
    fn an_error_about_nobody_leaves_nobody() {
        assert!(without_offender(vec![peer(1)], &NodeError::Mtu(1)).is_empty());
    }
}
