//! A UDP relay with bad weather: it delays, loses, reorders, repeats and corrupts datagrams.
//!
//! It runs in a namespace between two others that have no route to each other, so nothing gets
//! past it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::netns::Namespace;

/// How often an idle thread looks whether it is still needed.
const LOOK: Duration = Duration::from_millis(50);
const BUFFER: usize = 8 << 20;
/// Handshake messages that are remembered.
const REMEMBERED: usize = 4096;

/// What happens to datagrams, in both directions; shares are in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// One way.
    pub delay: Duration,
    pub lost: u32,
    pub repeated: u32,
    pub corrupted: u32,
    /// Held back for three milliseconds more than the others.
    pub late: u32,
    /// Nothing passes at all.
    pub cut: bool,
    /// Longer datagrams to a device vanish, and nobody is told.
    pub narrow: Option<usize>,
}

/// How many datagrams met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    pub passed: u64,
    pub lost: u64,
    pub repeated: u64,
    pub corrupted: u64,
    pub late: u64,
}

/// Which way a datagram went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToGateway,
    ToDevice,
}

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    pub port: u16,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    gateway: SocketAddr,
    /// Addresses towards the gateway, one after the other with each move.
    outward: Vec<IpAddr>,
    moves: AtomicUsize,
    stop: AtomicBool,
    weather: Mutex<Weather>,
    fates: [AtomicU64; 5],
    dice: AtomicU64,
    handshakes: Mutex<Vec<(Way, Vec<u8>)>>,
}

/// A datagram on its way.
struct Parcel {
    due: Instant,
    order: u64,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Relay {
    /// Starts one in `between`; it forwards to `gateway` from the first of `outward`.
    #[must_use]
    pub fn start(between: &Namespace, gateway: SocketAddr, outward: &[IpAddr]) -> Self {
        let shared = Arc::new(Shared {
            gateway,
            outward: outward.to_vec(),
            moves: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            weather: Mutex::default(),
            fates: Default::default(),
            dice: AtomicU64::new(0x9e37_79b9_7f4a_7c15),
            handshakes: Mutex::default(),
        });
        // threads that are started inside stay inside
        between.enter(|| {
            let front = UdpSocket::bind("[::]:0").unwrap();
            let port = front.local_addr().unwrap().port();
            let (parcels, arriving) = channel();
            let (mine, theirs) = (shared.clone(), shared.clone());
            let threads = vec![
                thread::spawn(move || receive(&mine, front, &parcels)),
                thread::spawn(move || deliver(&theirs, &arriving)),
            ];
            Self {
                port,
                shared: shared.clone(),
                threads,
            }
        })
    }

    pub fn set(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap() = weather;
    }

    /// Sends on from the next outward address and another port, as a device that roamed.
    pub fn move_on(&self) {
        self.shared.moves.fetch_add(1, Ordering::SeqCst);
    }

    #[must_use]
    pub fn fates(&self) -> Fates {
        let [passed, lost, repeated, corrupted, late] = &self.shared.fates;
        Fates {
            passed: passed.load(Ordering::SeqCst),
            lost: lost.load(Ordering::SeqCst),
            repeated: repeated.load(Ordering::SeqCst),
            corrupted: corrupted.load(Ordering::SeqCst),
            late: late.load(Ordering::SeqCst),
        }
    }

    /// Returns the handshake messages that came by, lost ones too.
    #[must_use]
    pub fn handshakes(&self, way: Way) -> Vec<Vec<u8>> {
        let seen = self.shared.handshakes.lock().unwrap();
        let seen = seen.iter().filter(|(went, _)| *went == way);
        seen.map(|(_, bytes)| bytes.clone()).collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// A device's way to the gateway.
struct Path {
    socket: Arc<UdpSocket>,
    moves: usize,
    open: Arc<AtomicBool>,
}

fn receive(shared: &Arc<Shared>, front: UdpSocket, parcels: &Sender<Parcel>) {
    prepare(&front);
    let front = Arc::new(front);
    let mut paths: HashMap<SocketAddr, Path> = HashMap::new();
    let mut buffer = vec![0; 65_536];
    while !shared.stop.load(Ordering::SeqCst) {
        let Some((count, device)) = take(&front, &mut buffer) else {
            continue;
        };
        let moves = shared.moves.load(Ordering::SeqCst);
        let path = paths.entry(device).and_modify(|path| {
            if path.moves != moves {
                path.open.store(false, Ordering::SeqCst);
            }
        });
        let path = path.or_insert_with(|| open(shared, &front, device, moves, parcels));
        if path.moves != moves {
            *path = open(shared, &front, device, moves, parcels);
        }
        let to = shared.gateway;
        shared.send(Way::ToGateway, &path.socket, to, &buffer[..count], parcels);
    }
    for path in paths.values() {
        path.open.store(false, Ordering::SeqCst);
    }
}

/// Opens a path and starts the thread of its way back.
fn open(
    shared: &Arc<Shared>,
    front: &Arc<UdpSocket>,
    device: SocketAddr,
    moves: usize,
    parcels: &Sender<Parcel>,
) -> Path {
    let from = shared.outward[moves % shared.outward.len()];
    let socket = UdpSocket::bind((from, 0)).unwrap();
    prepare(&socket);
    let (socket, open) = (Arc::new(socket), Arc::new(AtomicBool::new(true)));
    let (inner, front, parcels) = (shared.clone(), front.clone(), parcels.clone());
    let (back, alive) = (socket.clone(), open.clone());
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while alive.load(Ordering::SeqCst) && !inner.stop.load(Ordering::SeqCst) {
            if let Some((count, from)) = take(&back, &mut buffer)
                && from == inner.gateway
            {
                inner.send(Way::ToDevice, &front, device, &buffer[..count], &parcels);
            }
        }
    });
    Path {
        socket,
        moves,
        open,
    }
}

fn prepare(socket: &UdpSocket) {
    socket.set_read_timeout(Some(LOOK)).unwrap();
    setsockopt(socket, sockopt::RcvBufForce, &BUFFER).unwrap();
}

fn take(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    match socket.recv_from(buffer) {
        Ok(taken) => Some(taken),
        Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        // a wait with a time limit is not resumed after a signal
        Err(why) if why.kind() == ErrorKind::Interrupted => None,
        // a port that is shut for a while is told here
        Err(why) if why.kind() == ErrorKind::ConnectionRefused => None,
        Err(why) => panic!("the relay cannot receive: {why}"),
    }
}

impl Shared {
    fn send(
        &self,
        way: Way,
        socket: &Arc<UdpSocket>,
        to: SocketAddr,
        bytes: &[u8],
        parcels: &Sender<Parcel>,
    ) {
        if bytes.first().is_some_and(|kind| (1..4).contains(kind)) {
            let mut seen = self.handshakes.lock().unwrap();
            if seen.len() < REMEMBERED {
                seen.push((way, bytes.to_vec()));
            }
        }
        let weather = *self.weather.lock().unwrap();
        if weather == Weather::default() {
            self.count(0);
            drop(socket.send_to(bytes, to));
            return;
        }
        let too_long = weather.narrow.is_some_and(|most| bytes.len() > most);
        if weather.cut || (too_long && way == Way::ToDevice) || self.falls(weather.lost) {
            return self.count(1);
        }
        let mut due = Instant::now() + weather.delay;
        let mut bytes = bytes.to_vec();
        if self.falls(weather.corrupted) {
            self.count(3);
            let at = usize::try_from(self.roll()).unwrap_or(0) % bytes.len();
            bytes[at] ^= 1 << (self.roll() % 8);
        }
        if self.falls(weather.late) {
            self.count(4);
            due += Duration::from_millis(3);
        }
        let copies = 1 + usize::from(self.falls(weather.repeated));
        if copies > 1 {
            self.count(2);
        }
        for _ in 0..copies {
            self.count(0);
            let parcel = Parcel {
                due,
                order: 0,
                socket: socket.clone(),
                to,
                bytes: bytes.clone(),
            };
            drop(parcels.send(parcel));
        }
    }

    fn count(&self, fate: usize) {
        self.fates[fate].fetch_add(1, Ordering::SeqCst);
    }

    fn falls(&self, thousandths: u32) -> bool {
        thousandths > 0 && self.roll() % 1000 < u64::from(thousandths)
    }

    /// The next number of splitmix64.
    fn roll(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.dice.fetch_add(step, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Hands over each parcel when it is due; those due at once keep their order.
fn deliver(shared: &Shared, arriving: &Receiver<Parcel>) {
    let mut waiting: BinaryHeap<Reverse<Parcel>> = BinaryHeap::new();
    let mut order = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        let pause = waiting.peek().map_or(LOOK, |Reverse(first)| {
            first.due.saturating_duration_since(Instant::now())
        });
        match arriving.recv_timeout(pause.min(LOOK)) {
            Ok(mut parcel) => {
                order += 1;
                parcel.order = order;
                waiting.push(Reverse(parcel));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while waiting
            .peek()
            .is_some_and(|Reverse(first)| first.due <= now)
        {
            if let Some(Reverse(parcel)) = waiting.pop() {
                drop(parcel.socket.send_to(&parcel.bytes, parcel.to));
            }
        }
    }
}

impl PartialEq for Parcel {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Parcel {}

impl PartialOrd for Parcel {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Parcel {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}
