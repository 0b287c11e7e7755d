//! Ten thousand devices, a thousand of them live, five thousand flows: what they weigh and cost.
//! Weights are exact; times are printed, and their bounds leave room for a busy machine. The long
//! run in release mode is where the figures of the goals come from.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};

use super::support::*;
use crate::{FlowId, PeerConfig, PeerId, PresharedKey, PrivateKey};

const CONFIGURED: u32 = 10_000;
const LIVE: u32 = live_count();
/// Below what is answered without a cookie in a second.
const STORM: u32 = 900;
/// Bytes that a device may weigh.
const IDLE_MOST: i64 = 400;
const LIVE_MOST: i64 = 16 * 1024;
const BATCH: usize = 32;

/// Time this thread was on a core; other programs of the machine do not count.
#[expect(
    clippy::disallowed_methods,
    reason = "a measurement reads what the kernel counted"
)]
pub(super) fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = text.split_whitespace().next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

/// The median; of many short times it is one that nothing interrupted.
pub(super) fn middle(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Checks of a debug build cost more than what is measured.
pub(super) const IS_MEASURED: bool = !cfg!(debug_assertions);

/// How many devices are live: 1,000, and fewer where each step is checked.
const fn live_count() -> u32 {
    if IS_MEASURED { 1000 } else { 200 }
}

fn key(number: u32) -> PrivateKey {
    let mut bytes = [9; 32];
    bytes[4..8].copy_from_slice(&number.to_le_bytes()); // clear of the bits that are clamped
    PrivateKey::from_bytes(bytes)
}

fn inner(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 16, 0, 1)) + number)
}

/// Each device has one, as those that the gateway registers.
fn psk(number: u32) -> PresharedKey {
    PresharedKey::from_bytes(*key(number).public_key().as_bytes())
}

fn peer(number: u32, key: &PrivateKey) -> PeerConfig {
    PeerConfig {
        id: PeerId(number),
        public_key: key.public_key(),
        preshared_key: Some(psk(number)),
        allowed_ips: vec![
            format!("{}/32", inner(number)).parse().unwrap(),
            format!("fd16::{number:x}/128").parse().unwrap(),
        ],
        keepalive: None,
        endpoint: None,
        handshake_mark: None,
    }
}

fn device(number: u32, key: &PrivateKey) -> Device {
    let server = config().private_key.public_key();
    let mut device = Device::with(0, key, server, Some(psk(number)));
    let outer = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 1)) + number);
    device.address = (outer, 51_820).into();
    device
}

/// Bytes that stay allocated after `work`.
fn kept(work: impl FnOnce()) -> i64 {
    measure(work).bytes_current
}

fn each(bytes: i64, count: u32) -> i64 {
    bytes / i64::from(count)
}

#[test]
fn idle_and_live_devices_weigh_little_and_their_timers_cost_little() {
    let keys: Vec<PrivateKey> = (0..CONFIGURED).map(key).collect();
    let mut world = World::with(Vec::new());
    let idle = kept(|| {
        let peers = (0..).zip(&keys).map(|(n, key)| peer(n, key)).collect();
        world.node.set_peers(peers, world.now).unwrap();
    });
    let idle = each(idle, CONFIGURED);
    let mut devices: Vec<Device> = (0..LIVE).map(|n| device(n, &keys[n as usize])).collect();
    let mut live = 0;
    let start = epoch();
    for (n, device) in devices.iter_mut().enumerate() {
        let initiation = device.initiation();
        live += kept(|| world.datagram(device.address, &initiation));
        let answer = world.sent().remove(0).1;
        let keepalive = device.take(&answer).unwrap_err();
        live += kept(|| world.datagram(device.address, &keepalive));
        world.events();
        // no more in a second than are answered without a cookie
        if n % 500 == 499 {
            while epoch().saturating_duration_since(start) < Duration::from_millis(1100) {
                std::thread::yield_now();
            }
            world.later(Duration::from_secs(2));
        }
    }
    let live = each(live, LIVE);
    assert_eq!(world.node.peers.live().len(), LIVE as usize);
    let begun = cpu();
    for _ in 0..40 {
        world.later(Duration::from_millis(250));
        world.node.handle_timeout(world.now);
        world.sent();
    }
    let timers = cpu().saturating_sub(begun) / 10;
    eprintln!(
        "an idle device weighs {idle} B, a live one {live} B; \
         the timers of {LIVE} live of {CONFIGURED} cost {timers:?} a second"
    );
    assert!(idle <= IDLE_MOST, "{idle} B");
    assert!(live <= LIVE_MOST, "{live} B");
    assert!(
        !IS_MEASURED || timers < Duration::from_millis(50),
        "{timers:?}"
    );
}

#[test]
fn a_storm_of_handshakes_is_answered_at_a_rate() {
    let keys: Vec<PrivateKey> = (0..STORM).map(key).collect();
    let peers = (0..).zip(&keys).map(|(n, key)| peer(n, key)).collect();
    let mut world = World::with(peers);
    let mut devices: Vec<Device> = (0..).zip(&keys).map(|(n, key)| device(n, key)).collect();
    let storm: Vec<(SocketAddr, Vec<u8>)> = devices
        .iter_mut()
        .map(|device| (device.address, device.initiation()))
        .collect();
    let begun = cpu();
    for (from, initiation) in &storm {
        world.datagram(*from, initiation);
    }
    let took = cpu().saturating_sub(begun);
    let answers = world.sent();
    assert_eq!(answers.len(), STORM as usize);
    assert!(answers.iter().all(|(_, answer)| answer.len() == 92));
    let rate = f64::from(STORM) / took.as_secs_f64();
    let bare = bare_handshakes(&keys, &storm);
    eprintln!("{rate:.0} handshakes a second on one core, {bare:.0} of bare boringtun");
    assert!(!IS_MEASURED || rate > 1000.0, "{rate}");
}

/// Handshakes a second that boringtun answers when it is told the peer of each.
fn bare_handshakes(keys: &[PrivateKey], storm: &[(SocketAddr, Vec<u8>)]) -> f64 {
    let open = Arc::new(RateLimiter::new(
        &dalek(config().private_key.public_key()),
        u64::MAX,
    ));
    let (mut room, own) = (vec![0; 2048], config().private_key);
    let peers: Vec<_> = keys.iter().map(|key| dalek(key.public_key())).collect();
    let begun = cpu();
    for (peer, (_, initiation)) in peers.into_iter().zip(storm) {
        let secret = own.secret().clone();
        let mut tunn = Tunn::new(secret, peer, None, None, 1, Some(open.clone()));
        let answer = tunn.decapsulate(None, initiation, &mut room);
        assert!(matches!(answer, TunnResult::WriteToNetwork(_)));
    }
    f64::from(STORM) / cpu().saturating_sub(begun).as_secs_f64()
}

/// A node with flows of ten devices, evenly, each with sequence numbers that go on.
struct Busy {
    world: World,
    devices: Vec<Device>,
    flows: Vec<(usize, Segment)>,
    next: usize,
}

impl Busy {
    const DEVICES: usize = 10;

    fn new(flows: usize) -> Self {
        let keys: Vec<PrivateKey> = (0..10).map(key).collect();
        let peers = (0..).zip(&keys).map(|(n, key)| peer(n, key)).collect();
        let mut world = World::with(peers);
        let mut devices: Vec<Device> = (0..).zip(&keys).map(|(n, key)| device(n, key)).collect();
        for device in &mut devices {
            device.connect(&mut world);
        }
        world.events();
        let to: SocketAddr = "10.0.0.5:80".parse().unwrap();
        let mut open = Vec::new();
        for number in 0..flows {
            let (at, port) = (number % Self::DEVICES, 1024 + number / Self::DEVICES);
            let owner = inner(u32::try_from(at).unwrap());
            let from = SocketAddr::new(owner.into(), u16::try_from(port).unwrap());
            let syn = Segment::new(from, to, SYN, 1000, 0);
            devices[at].send(&mut world, &syn.packet());
            let flow: FlowId = world.only_syn().id;
            world.permit(flow);
            let inside = Segment::read(&world.tun()[0][10..]).from;
            assert!(world.node.flow_of_accepted(inside).is_some());
            open.push((at, Segment::new(from, to, ACK, 1001, 5001).with(&[7; 1300])));
        }
        Self {
            world,
            devices,
            flows: open,
            next: 0,
        }
    }

    /// Times for batches of segments of one flow after the other, `count` in all, decrypted and
    /// ready for the kernel.
    fn costs(&mut self, count: usize) -> Vec<Duration> {
        let mut sealed = Vec::with_capacity(count);
        for _ in 0..count {
            let at = self.next % self.flows.len();
            self.next += 1;
            let (device, segment) = &mut self.flows[at];
            let device = &mut self.devices[*device];
            sealed.push((device.address, device.seal(&segment.packet())));
            segment.seq = segment.seq.wrapping_add(1300);
        }
        let World { node, now, wall } = &mut self.world;
        let mut times = Vec::new();
        for batch in sealed.chunks_exact_mut(BATCH) {
            let begun = epoch();
            for (from, datagram) in batch {
                node.handle_datagram(*from, datagram, *now, *wall);
            }
            while let Some(packet) = node.poll_tun() {
                black_box(packet);
            }
            times.push(epoch().saturating_duration_since(begun));
        }
        let counted = node.counters().tun_segments;
        assert!(
            counted >= (times.len() * BATCH) as u64,
            "segments were lost"
        );
        times
    }
}

#[test]
fn a_packet_among_five_thousand_flows_costs_little_more_than_among_ten() {
    let (mut few, mut many) = (Busy::new(10), Busy::new(5000));
    let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        of_few.extend(few.costs(5000));
        of_many.extend(many.costs(5000));
    }
    let each = |times: &mut [Duration]| middle(times) / u32::try_from(BATCH).unwrap();
    let (of_few, of_many) = (each(&mut of_few), each(&mut of_many));
    let ratio = of_many.as_secs_f64() / of_few.as_secs_f64();
    eprintln!("a segment costs {of_few:?} among 10 flows and {of_many:?} among 5,000: {ratio:.2}");
    assert!(!IS_MEASURED || ratio < 4.0, "{ratio}");
}
