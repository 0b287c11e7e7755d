//! One peer and what is known of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::config::{PeerConfig, PeerId};
use crate::keys::{PresharedKey, PublicKey};
use crate::mark::Mark;
use crate::transmit::Lane;
use crate::tunnel::Tunnel;

/// The node's own number of a peer, short-lived and dense.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct PeerSlot(pub(crate) u32);

/// What stands of a peer's configuration; endpoint and mark live on beside it. Kept small: most of
/// ten thousand devices are idle.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) id: PeerId,
    pub(crate) public_key: PublicKey,
    pub(crate) preshared_key: Option<Box<PresharedKey>>,
    pub(crate) allowed_ips: Box<[IpNet]>,
    pub(crate) keepalive: Option<u16>,
}

impl From<PeerConfig> for Standing {
    fn from(config: PeerConfig) -> Self {
        Self {
            id: config.id,
            public_key: config.public_key,
            preshared_key: config.preshared_key.map(Box::new),
            allowed_ips: config.allowed_ips.into_boxed_slice(),
            keepalive: config.keepalive,
        }
    }
}

/// A configured peer; it has a tunnel only around a live or pending session.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) config: Standing,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) mark: Mark,
    pub(crate) tunnel: Option<Box<Tunnel>>,
    pub(crate) lane: Lane,
    pub(crate) reports: Reports,
    /// When the node last sent an initiation of its own accord.
    pub(crate) initiated: Option<Instant>,
    /// When the last handshake was completed or answered.
    pub(crate) established: Option<Instant>,
    /// Initiations that were turned away for their time since the last one that was not.
    pub(crate) stale_handshakes: u32,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
}

impl Peer {
    pub(crate) fn new(config: PeerConfig) -> Self {
        Self {
            endpoint: config.endpoint,
            mark: Mark::new(config.handshake_mark),
            config: config.into(),
            tunnel: None,
            lane: Lane::default(),
            reports: Reports::default(),
            initiated: None,
            established: None,
            stale_handshakes: 0,
            rx_bytes: 0,
            tx_bytes: 0,
        }
    }

    pub(crate) fn has_session(&self) -> bool {
        self.tunnel
            .as_ref()
            .is_some_and(|tunnel| tunnel.has_session)
    }
}

/// Caps the reports of refused packets.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    since: Option<Instant>,
    sent: u32,
    unreported: u32,
}

impl Reports {
    const PER_SECOND: u32 = 10;

    /// Returns how many went unreported if this one may be reported.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u32> {
        let second = Duration::from_secs(1);
        if self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= second)
        {
            self.since = Some(now);
            self.sent = 0;
        }
        if self.sent >= Self::PER_SECOND {
            self.unreported = self.unreported.saturating_add(1);
            return None;
        }
        self.sent += 1;
        Some(std::mem::take(&mut self.unreported))
    }
}
