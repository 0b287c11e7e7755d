//! The set of peers and every way to find one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};

use hashbrown::HashTable;
use ipnet::IpNet;

use crate::allowed_ips::AllowedIps;
use crate::config::{NodeConfig, PeerConfig, PeerId};
use crate::error::NodeError;
use crate::index::{Indices, MAX_TUNNELS};
use crate::keys::PublicKey;
use crate::peer::{Peer, PeerSlot};
use crate::place::Place;

/// The slot of whoever another node has: no peer of this one.
const ELSEWHERE: PeerSlot = PeerSlot(u32::MAX);

/// All peers.
#[derive(Debug)]
pub(crate) struct Peers {
    slots: Vec<Option<Box<Peer>>>,
    free: Vec<u32>,
    by_id: BTreeMap<PeerId, PeerSlot>,
    /// The keys themselves stand in the slots.
    by_key: HashTable<PeerSlot>,
    hasher: RandomState,
    by_endpoint: HashMap<SocketAddr, PeerSlot>,
    /// Peers that have a tunnel.
    live: BTreeSet<PeerSlot>,
    pub(crate) owners: AllowedIps,
    pub(crate) indices: Indices,
    /// The peers of other nodes: who initiates, and whose addresses are taken.
    elsewhere: HashMap<PublicKey, PeerId>,
}

impl Peers {
    pub(crate) fn new(seed: [u8; 32], place: Place) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            by_key: HashTable::new(),
            hasher: RandomState::new(),
            by_endpoint: HashMap::new(),
            live: BTreeSet::new(),
            owners: AllowedIps::default(),
            indices: Indices::new(seed, place),
            elsewhere: HashMap::new(),
        }
    }

    pub(crate) fn get(&self, slot: PeerSlot) -> Option<&Peer> {
        self.slots.get(usize::try_from(slot.0).ok()?)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, slot: PeerSlot) -> Option<&mut Peer> {
        self.slots
            .get_mut(usize::try_from(slot.0).ok()?)?
            .as_deref_mut()
    }

    pub(crate) fn slot_of(&self, id: PeerId) -> Option<PeerSlot> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn by_key(&self, key: &PublicKey) -> Option<PeerSlot> {
        let has = |slot: &PeerSlot| key_of(&self.slots, *slot) == Some(key);
        self.by_key.find(self.hasher.hash_one(key), has).copied()
    }

    /// Finds a peer of another node.
    pub(crate) fn elsewhere(&self, key: &PublicKey) -> Option<PeerId> {
        self.elsewhere.get(key).copied()
    }

    pub(crate) fn by_endpoint(&self, endpoint: SocketAddr) -> Option<PeerSlot> {
        self.by_endpoint.get(&endpoint).copied()
    }

    /// All peers in the order of their ids.
    pub(crate) fn all(&self) -> Vec<(PeerId, PeerSlot)> {
        self.by_id.iter().map(|(id, slot)| (*id, *slot)).collect()
    }

    /// The peers that have a tunnel.
    pub(crate) fn live(&self) -> &BTreeSet<PeerSlot> {
        &self.live
    }

    pub(crate) fn insert(&mut self, config: PeerConfig) -> Option<PeerSlot> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).ok()?
            }
        };
        let slot = PeerSlot(slot);
        let (id, key, endpoint) = (config.id, config.public_key, config.endpoint);
        let place = self.slots.get_mut(usize::try_from(slot.0).ok()?)?;
        *place = Some(Box::new(Peer::new(config)));
        self.by_id.insert(id, slot);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash = |slot: &PeerSlot| key_of(slots, *slot).map_or(0, |key| hasher.hash_one(key));
        self.by_key.insert_unique(hasher.hash_one(key), slot, hash);
        if let Some(endpoint) = endpoint {
            self.by_endpoint.insert(endpoint, slot);
        }
        Some(slot)
    }

    /// Forgets a peer; its keys are gone when this returns.
    pub(crate) fn remove(&mut self, slot: PeerSlot) {
        self.drop_tunnel(slot);
        let Some(place) = usize::try_from(slot.0)
            .ok()
            .and_then(|place| self.slots.get_mut(place))
        else {
            return;
        };
        let Some(peer) = place.take() else { return };
        self.free.push(slot.0);
        self.by_id.remove(&peer.config.id);
        let hash = self.hasher.hash_one(peer.config.public_key);
        if let Ok(entry) = self.by_key.find_entry(hash, |known| *known == slot) {
            entry.remove();
        }
        self.forget_endpoint(peer.endpoint, slot);
    }

    /// Ends a peer's session and every handshake under way.
    pub(crate) fn drop_tunnel(&mut self, slot: PeerSlot) {
        self.live.remove(&slot);
        let tunnel = self.get_mut(slot).and_then(|peer| peer.tunnel.take());
        if let Some(tunnel) = tunnel {
            self.indices.release(tunnel.index);
        }
    }

    /// Notes that a peer got a tunnel.
    pub(crate) fn set_live(&mut self, slot: PeerSlot) {
        self.live.insert(slot);
    }

    /// Moves a peer to another outer address; `false` if it is there already.
    pub(crate) fn set_endpoint(&mut self, slot: PeerSlot, endpoint: SocketAddr) -> bool {
        let Some(peer) = self.get_mut(slot) else {
            return false;
        };
        if peer.endpoint == Some(endpoint) {
            return false;
        }
        let old = peer.endpoint.replace(endpoint);
        self.forget_endpoint(old, slot);
        self.by_endpoint.insert(endpoint, slot);
        true
    }

    fn forget_endpoint(&mut self, endpoint: Option<SocketAddr>, slot: PeerSlot) {
        if let Some(endpoint) = endpoint
            && self.by_endpoint.get(&endpoint) == Some(&slot)
        {
            self.by_endpoint.remove(&endpoint);
        }
    }

    /// Builds the ownership table anew from the configured peers and those of other nodes.
    pub(crate) fn rebuild_owners(&mut self, others: &[PeerConfig]) {
        let mut owners = AllowedIps::default();
        let ids = others.iter().map(|peer| (peer.public_key, peer.id));
        self.elsewhere = ids.collect();
        for net in others.iter().flat_map(|peer| &peer.allowed_ips) {
            owners.insert(*net, ELSEWHERE);
        }
        for slot in self.by_id.values() {
            let nets = self.get(*slot).map(|peer| &peer.config.allowed_ips);
            for net in nets.into_iter().flatten() {
                owners.insert(*net, *slot);
            }
        }
        self.owners = owners;
        self.slots.shrink_to_fit();
    }

    /// Panics when the maps disagree; for tests.
    #[cfg(debug_assertions)]
    pub(crate) fn check_invariants(&self) {
        debug_assert_eq!(self.by_id.len(), self.by_key.len());
        debug_assert_eq!(self.by_id.len() + self.free.len(), self.slots.len());
        debug_assert_eq!(self.indices.len(), self.live.len());
        for (id, slot) in &self.by_id {
            let peer = self.get(*slot);
            debug_assert_eq!(peer.map(|peer| peer.config.id), Some(*id));
            let tunnel = peer.and_then(|peer| peer.tunnel.as_ref());
            debug_assert_eq!(tunnel.is_some(), self.live.contains(slot));
            if let Some(tunnel) = tunnel {
                debug_assert_eq!(self.indices.find(tunnel.index << 8), Some(*slot));
            }
        }
    }
}

fn key_of(slots: &[Option<Box<Peer>>], slot: PeerSlot) -> Option<&PublicKey> {
    let peer = slots.get(usize::try_from(slot.0).ok()?)?.as_deref()?;
    Some(&peer.config.public_key)
}

/// Checks a whole new set before anything is changed.
pub(crate) fn validate(
    peers: &[PeerConfig],
    node: &NodeConfig,
    own: &PublicKey,
) -> Result<(), NodeError> {
    if peers.len() > MAX_TUNNELS {
        return Err(NodeError::TooManyPeers(peers.len(), MAX_TUNNELS));
    }
    let mut ids = BTreeSet::new();
    let mut keys = BTreeMap::new();
    let mut nets = BTreeMap::new();
    for peer in peers {
        if !ids.insert(peer.id) {
            return Err(NodeError::DuplicatePeer(peer.id));
        }
        if peer.public_key == *own {
            return Err(NodeError::OwnKey(peer.id));
        }
        if let Some(first) = keys.insert(peer.public_key, peer.id) {
            return Err(NodeError::DuplicateKey(first, peer.id));
        }
        for net in &peer.allowed_ips {
            let net = net.trunc();
            if is_own_address(&net, node) {
                return Err(NodeError::OwnAddress(peer.id, net));
            }
            if let Some(first) = nets.insert(net, peer.id)
                && first != peer.id
            {
                return Err(NodeError::Overlap {
                    net,
                    first,
                    second: peer.id,
                });
            }
        }
    }
    Ok(())
}

fn is_own_address(net: &IpNet, node: &NodeConfig) -> bool {
    let single = net.prefix_len() == net.max_prefix_len();
    let own = match net.addr() {
        IpAddr::V4(a) => a == node.gateway4,
        IpAddr::V6(a) => Some(a) == node.gateway6,
    };
    single && own
}
