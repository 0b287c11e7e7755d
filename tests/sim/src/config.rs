//! The node of every world.

use wg::{Inside, NodeConfig, Place, PrivateKey};

pub(crate) fn config() -> NodeConfig {
    NodeConfig {
        private_key: PrivateKey::from_bytes([1; 32]),
        gateway4: "10.8.0.1".parse().unwrap(),
        gateway6: Some("fd08::1".parse().unwrap()),
        mtu: 1420,
        inside: Inside {
            listen4: "100.64.0.1:4000".parse().unwrap(),
            listen6: Some("[fd64::1]:4000".parse().unwrap()),
            pool4: "100.64.0.0/10".parse().unwrap(),
            pool6: Some("fd64::/64".parse().unwrap()),
        },
        seed: [9; 32],
        place: Place::ALONE,
    }
}
