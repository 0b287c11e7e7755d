//! One world: what happens in it is chosen by the seed, what must hold is asserted on the way.
//!
//! - No byte reaches the TUN for a flow without permit, and only bytes of the flow's own device.
//! - No inner source outside the device's allowed IPs shows in an event or on the TUN.
//! - A peer that is not in the set gets no datagram at all.
//! - A recorded datagram gets no answer, over restarts and changes of the set as well.
//! - What a device decrypts was meant for it.
//! - A key counts as used in two places only where it is, or where packets were held back.
//! - When the network is kind again, every device connects, is served and stays served through
//!   two changes of keys; who has a key without its preshared key gets nothing.

mod checks;
mod devices;
mod gateway;
mod kindness;
mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mock_instant::MockClock;
use wg::{FlowId, FlowRecord, Node, PeerId};

use crate::config::config;
use crate::device::Device;
use crate::kernel::Kernel;
use crate::rng::Rng;
use crate::summary::Summary;

const STEPS: usize = 400;
const FIRST: u8 = 10;
/// The number of a device that is in every world and has a preshared key.
const THIEF: u8 = 12;

/// Lives one world through; panics when something does not hold.
pub fn run(seed: u64) -> Summary {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.kindness();
    world.summary
}

struct World {
    rng: Rng,
    base: Instant,
    start: Duration,
    elapsed: Duration,
    node: Node,
    devices: Vec<Device>,
    /// The key of device 0 in a second place; silent until the end.
    twin: Device,
    /// The key of a device with a preshared key, without that.
    thief: Device,
    members: BTreeSet<usize>,
    kept: BTreeMap<PeerId, (Option<SocketAddr>, Option<[u8; 12]>)>,
    kernel: Kernel,
    /// Flows by their initial sequence number, which is unique.
    claims: BTreeMap<u32, Claim>,
    inside: BTreeMap<SocketAddr, u32>,
    undecided: Vec<FlowRecord>,
    running: BTreeSet<FlowId>,
    delivered: Vec<Vec<u8>>,
    /// Datagrams that the node had no use for when they came: whoever brings one again later
    /// may be the first to bring it.
    refused: BTreeSet<Vec<u8>>,
    /// Whether such a one is being brought by a stranger.
    relayed: bool,
    /// Where strangers are who did so.
    relays: BTreeSet<SocketAddr>,
    delayed: Vec<Delayed>,
    /// Devices of whom packets were held back for longer than a network does.
    held_back: BTreeSet<usize>,
    /// Devices whose key was seen in two places.
    seen_twice: BTreeSet<usize>,
    /// Whether the twin has begun to speak.
    doubled: bool,
    /// Handshakes of each device.
    shaken: BTreeMap<usize, usize>,
    /// How far the gateway's wall clock is off, in seconds.
    clock_off: i64,
    answered: BTreeSet<Vec<u8>>,
    isn: u32,
    hostile: bool,
    summary: Summary,
}

struct Delayed {
    from: SocketAddr,
    datagram: Vec<u8>,
    since: Duration,
}

struct Claim {
    device: usize,
    from: SocketAddr,
    to: SocketAddr,
    permitted: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        // boringtun's clock starts where the last seed of this thread left it.
        MockClock::advance(Duration::from_secs(1));
        let base = Instant::now();
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let most = if rng.chance(15) { 48 } else { 6 };
        let count = 3 + u8::try_from(rng.below(most)).unwrap();
        let server = config().private_key.public_key();
        let mut world = Self {
            rng,
            base,
            start,
            elapsed: Duration::ZERO,
            node: Node::new(config(), base).unwrap(),
            devices: (FIRST..FIRST + count)
                .map(|n| Device::new(n, server))
                .collect(),
            twin: {
                let mut twin = Device::new(FIRST, server);
                twin.at = "203.0.114.1:51820".parse().unwrap();
                twin
            },
            thief: {
                let mut thief = Device::thief(THIEF, server);
                thief.at = "203.0.114.2:51820".parse().unwrap();
                thief
            },
            members: (0..usize::from(count)).collect(),
            kept: BTreeMap::new(),
            kernel: Kernel::default(),
            claims: BTreeMap::new(),
            inside: BTreeMap::new(),
            undecided: Vec::new(),
            running: BTreeSet::new(),
            delivered: Vec::new(),
            refused: BTreeSet::new(),
            relayed: false,
            relays: BTreeSet::new(),
            delayed: Vec::new(),
            held_back: BTreeSet::new(),
            seen_twice: BTreeSet::new(),
            doubled: false,
            shaken: BTreeMap::new(),
            clock_off: 0,
            answered: BTreeSet::new(),
            isn: 0,
            hostile: true,
            summary: Summary::default(),
        };
        world.apply_members();
        world
    }

    fn now(&self) -> Instant {
        self.base + self.elapsed
    }

    /// What the gateway takes for the time since the Unix epoch.
    fn wall(&self) -> Duration {
        let real = self.start + self.elapsed;
        let off = Duration::from_secs(self.clock_off.unsigned_abs());
        if self.clock_off < 0 {
            real.saturating_sub(off)
        } else {
            real + off
        }
    }

    fn step(&mut self) {
        let who = self.rng.below(self.devices.len());
        match self.rng.below(100) {
            0..20 => {
                let millis = 1 + self.rng.below(1500);
                self.pass(Duration::from_millis(millis as u64));
            }
            20..21 => self.pass(Duration::from_secs(190)),
            21..31 => self.connect(who),
            31..45 => self.open_flow(who),
            45..65 => self.send_data(who),
            65..70 => self.send_udp(who),
            70..75 => self.close(who),
            75..80 => self.spoof(who),
            80..86 => self.attack(),
            86..87 => self.steal(),
            87..90 => self.devices[who].roam(),
            90..94 => self.decide_late(),
            94..96 => self.gateway_closes(),
            96..98 => self.change_members(),
            98..99 if self.rng.chance(50) => self.restart(),
            98..99 => self.jump(),
            _ => self.deliver_delayed(),
        }
    }
}
