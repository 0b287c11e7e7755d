//! All flows: slots that are reused first in, first out, each time with another source address.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Flow, Key, State};
use crate::config::{Inside, PeerId};
use crate::counters::DropReason;
use crate::error::NodeError;
use crate::event::{FlowId, FlowRecord};
use crate::peer::PeerSlot;

/// Most flows in total.
const FLOWS: u32 = 65_536;
/// Most flows of one peer, those that linger included.
pub(crate) const FLOWS_PER_PEER: usize = 1024;
/// Most flows of one peer whose handshake is not complete.
pub(crate) const HALF_OPEN_PER_PEER: usize = 128;
/// Free slots rest in a queue at least this long before one is reused.
const RESTING: usize = 4096;
/// The first addresses of a pool belong to the namespace's own interfaces.
const RESERVED: u32 = 256;
/// Source ports of one slot, used one after the other.
const FIRST_PORT: u16 = 1024;
const PORTS: u32 = 64_512;

/// The flow table.
#[derive(Debug)]
pub(crate) struct Table {
    addressing: Addressing,
    slots: Vec<Slot>,
    free: VecDeque<u32>,
    keys: HashMap<Key, u32>,
    peers: BTreeMap<PeerSlot, Load>,
    swept: usize,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    flow: Option<Flow>,
}

/// The flows of one peer.
#[derive(Debug, Default)]
struct Load {
    slots: BTreeSet<u32>,
    half_open: usize,
    /// Flows that were seen to linger, oldest first; may name some that are gone.
    lingering: VecDeque<FlowId>,
}

#[derive(Debug)]
struct Addressing {
    inside: Inside,
    capacity: u32,
}

impl Table {
    pub(crate) fn new(inside: Inside) -> Result<Self, NodeError> {
        Ok(Self {
            addressing: Addressing::new(inside)?,
            slots: Vec::new(),
            free: VecDeque::new(),
            keys: HashMap::new(),
            peers: BTreeMap::new(),
            swept: 0,
        })
    }

    /// Makes room for a new flow of `owner` and enters it as held.
    pub(crate) fn open(
        &mut self,
        key: Key,
        peer: PeerId,
        isn: u32,
        now: Instant,
    ) -> Result<FlowRecord, DropReason> {
        let load = self.peers.entry(key.owner).or_default();
        if load.half_open >= HALF_OPEN_PER_PEER {
            return Err(DropReason::HalfOpenCap);
        }
        if load.slots.len() >= FLOWS_PER_PEER {
            return Err(DropReason::FlowCap);
        }
        let slot = self.take_slot().ok_or(DropReason::FlowCap)?;
        let Some(place) = usize::try_from(slot)
            .ok()
            .and_then(|place| self.slots.get_mut(place))
        else {
            return Err(DropReason::FlowCap);
        };
        let Some(ends) = self
            .addressing
            .ends(slot, place.generation, key.destination.is_ipv6())
        else {
            self.free.push_back(slot);
            return Err(DropReason::NoIpv6);
        };
        let record = FlowRecord {
            id: FlowId {
                slot,
                generation: place.generation,
            },
            peer,
            source: key.source,
            destination: key.destination,
        };
        place.flow = Some(Flow::new(record, key.owner, ends, isn, now));
        self.keys.insert(key, slot);
        let load = self.peers.entry(key.owner).or_default();
        load.slots.insert(slot);
        load.half_open += 1;
        Ok(record)
    }

    pub(crate) fn find(&self, key: &Key) -> Option<FlowId> {
        let slot = *self.keys.get(key)?;
        Some(self.slot(slot)?.flow.as_ref()?.record.id)
    }

    pub(crate) fn flow(&self, id: FlowId) -> Option<&Flow> {
        self.slot(id.slot)?
            .flow
            .as_ref()
            .filter(|flow| flow.record.id == id)
    }

    /// Changes a flow; the counts of its peer follow.
    pub(crate) fn with<R>(&mut self, id: FlowId, change: impl FnOnce(&mut Flow) -> R) -> Option<R> {
        let place = usize::try_from(id.slot).ok()?;
        let flow = self.slots.get_mut(place)?.flow.as_mut();
        let flow = flow.filter(|flow| flow.record.id == id)?;
        let before = (flow.is_half_open(), flow.state == State::Lingering);
        let result = change(flow);
        let after = (flow.is_half_open(), flow.state == State::Lingering);
        if before != after
            && let Some(load) = self.peers.get_mut(&flow.owner)
        {
            load.half_open += usize::from(after.0);
            load.half_open -= usize::from(before.0);
            if after.1 && !before.1 {
                load.lingering.push_back(id);
            }
            let owner = flow.owner;
            // Looking for the oldest also forgets those that are gone.
            self.oldest_lingering(owner);
        }
        Some(result)
    }

    /// Finds the flow the kernel knows by this source address.
    pub(crate) fn by_inside(&self, inside: SocketAddr) -> Option<FlowId> {
        let slot = self.addressing.slot(inside.ip())?;
        let flow = self.slot(slot)?.flow.as_ref()?;
        let same = flow.inside.ip() == inside.ip() && flow.inside.port() == inside.port();
        same.then_some(flow.record.id)
    }

    /// The flow of a peer that has lingered longest; it may make room for a new one.
    pub(crate) fn oldest_lingering(&mut self, owner: PeerSlot) -> Option<FlowId> {
        loop {
            let oldest = *self.peers.get(&owner)?.lingering.front()?;
            if self
                .flow(oldest)
                .is_some_and(|flow| flow.state == State::Lingering)
            {
                return Some(oldest);
            }
            self.peers.get_mut(&owner)?.lingering.pop_front();
        }
    }

    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Flow> {
        let place = usize::try_from(id.slot).ok()?;
        let slot = self.slots.get_mut(place)?;
        let flow = slot.flow.take_if(|flow| flow.record.id == id)?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push_back(id.slot);
        self.keys.remove(&flow.key());
        if let Some(load) = self.peers.get_mut(&flow.owner) {
            load.slots.remove(&id.slot);
            load.half_open -= usize::from(flow.is_half_open());
            if load.slots.is_empty() {
                self.peers.remove(&flow.owner);
            }
        }
        Some(flow)
    }

    /// The flows of one peer.
    pub(crate) fn of_peer(&self, owner: PeerSlot) -> impl Iterator<Item = &Flow> {
        self.peers
            .get(&owner)
            .into_iter()
            .flat_map(|load| load.slots.iter())
            .filter_map(|slot| self.slot(*slot)?.flow.as_ref())
    }

    /// Looks at an eighth of the slots and names the flows whose time is over.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<FlowId> {
        let count = self.slots.len().div_ceil(8);
        let start = if self.swept < self.slots.len() {
            self.swept
        } else {
            0
        };
        self.swept = start + count;
        self.slots
            .iter()
            .skip(start)
            .take(count)
            .filter_map(|slot| slot.flow.as_ref())
            .filter(|flow| flow.is_expired(now))
            .map(|flow| flow.record.id)
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(slot).ok()?)
    }

    fn take_slot(&mut self) -> Option<u32> {
        let next = u32::try_from(self.slots.len()).ok()?;
        if self.free.len() < RESTING && next < self.addressing.capacity {
            self.slots.push(Slot::default());
            return Some(next);
        }
        self.free.pop_front()
    }

    /// Panics when the maps disagree; for tests.
    #[cfg(debug_assertions)]
    pub(crate) fn check_invariants(&self) {
        let mut used = 0;
        for (number, slot) in self.slots.iter().enumerate() {
            let Some(flow) = &slot.flow else { continue };
            used += 1;
            debug_assert_eq!(usize::try_from(flow.record.id.slot), Ok(number));
            debug_assert_eq!(flow.record.id.generation, slot.generation);
            debug_assert_eq!(self.find(&flow.key()), Some(flow.record.id));
            debug_assert_eq!(self.by_inside(flow.inside), Some(flow.record.id));
        }
        debug_assert_eq!(used, self.keys.len());
        debug_assert_eq!(used + self.free.len(), self.slots.len());
        let mut owned = 0;
        for (owner, load) in &self.peers {
            owned += load.slots.len();
            let half_open = self.of_peer(*owner).filter(|f| f.is_half_open()).count();
            debug_assert_eq!(half_open, load.half_open);
            debug_assert!(load.half_open <= HALF_OPEN_PER_PEER);
            debug_assert!(load.slots.len() <= FLOWS_PER_PEER);
            debug_assert!(self.of_peer(*owner).all(|f| f.owner == *owner));
        }
        debug_assert_eq!(used, owned);
    }

    #[cfg(any(test, debug_assertions))]
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl Addressing {
    fn new(inside: Inside) -> Result<Self, NodeError> {
        let pool4 = inside.pool4;
        let hosts = 1_u64 << (32 - u32::from(pool4.prefix_len()));
        let capacity = u32::try_from(hosts.saturating_sub(2 * u64::from(RESERVED)))
            .unwrap_or(FLOWS)
            .min(FLOWS);
        if capacity == 0 {
            return Err(NodeError::Pool(IpNet::V4(pool4), "shorter than /22 needed"));
        }
        let fits6 = |pool: Ipv6Net| pool.prefix_len() <= 106;
        if let Some(pool) = inside.pool6.filter(|pool| !fits6(*pool)) {
            return Err(NodeError::Pool(IpNet::V6(pool), "/106 or shorter needed"));
        }
        if inside.listen6.is_some() && inside.pool6.is_none() {
            return Err(NodeError::Pool(
                IpNet::V4(pool4),
                "IPv6 listener without an IPv6 pool",
            ));
        }
        let addressing = Self { inside, capacity };
        let taken = [
            Some(IpAddr::V4(*addressing.inside.listen4.ip())),
            addressing.inside.listen6.map(|l| IpAddr::V6(*l.ip())),
        ];
        if taken
            .into_iter()
            .flatten()
            .any(|a| addressing.slot(a).is_some())
        {
            return Err(NodeError::Pool(
                IpNet::V4(pool4),
                "listener stands among flow addresses",
            ));
        }
        Ok(addressing)
    }

    /// The source and the listener of a flow; `None` without an IPv6 listener.
    fn ends(&self, slot: u32, generation: u32, v6: bool) -> Option<(SocketAddr, SocketAddr)> {
        let number = RESERVED + slot;
        let port = FIRST_PORT + u16::try_from(generation % PORTS).unwrap_or(0);
        if v6 {
            let network = u128::from(self.inside.pool6?.network());
            let address = Ipv6Addr::from(network + u128::from(number));
            Some((
                SocketAddr::from((address, port)),
                SocketAddr::V6(self.inside.listen6?),
            ))
        } else {
            let network = u32::from(self.inside.pool4.network());
            let address = Ipv4Addr::from(network.wrapping_add(number));
            Some((
                SocketAddr::from((address, port)),
                SocketAddr::V4(self.inside.listen4),
            ))
        }
    }

    /// The slot an address of the pools names.
    fn slot(&self, inside: IpAddr) -> Option<u32> {
        let number = match inside {
            IpAddr::V4(a) => offset4(self.inside.pool4, a)?,
            IpAddr::V6(a) => offset6(self.inside.pool6?, a)?,
        };
        number
            .checked_sub(RESERVED)
            .filter(|slot| *slot < self.capacity)
    }
}

fn offset4(pool: Ipv4Net, address: Ipv4Addr) -> Option<u32> {
    u32::from(address).checked_sub(u32::from(pool.network()))
}

fn offset6(pool: Ipv6Net, address: Ipv6Addr) -> Option<u32> {
    let offset = u128::from(address).checked_sub(u128::from(pool.network()))?;
    u32::try_from(offset).ok()
}
