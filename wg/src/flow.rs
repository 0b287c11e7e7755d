//! One TCP flow between a device and the private listener.

pub(crate) mod table;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::event::FlowRecord;
use crate::packet::build::Reset;
use crate::packet::checksum::Delta;
use crate::packet::ip::{self, Ip};
use crate::packet::tcp::{self, Tcp};
use crate::peer::PeerSlot;
use crate::transmit::Lane;

/// A SYN waits this long for `permit` or `refuse`.
const HELD: Duration = Duration::from_secs(30);
/// Repeats of a SYN refused in silence are swallowed this long.
const DENIED: Duration = Duration::from_secs(30);
/// A released SYN waits this long for the handshake to complete.
const OPENING: Duration = Duration::from_secs(60);
/// An open flow may be silent this long; RFC 5382 REQ-5 asks for 2 hours 4 minutes at least.
const IDLE: Duration = Duration::from_secs(7440);
/// A flow with one end closed may be silent this long (RFC 5382 REQ-5, transitory).
const CLOSING: Duration = Duration::from_secs(240);
/// A closed flow stays for late packets as long as the kernel's TIME-WAIT.
const LINGER: Duration = Duration::from_secs(60);

/// What both ends call a flow from the outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    pub(crate) owner: PeerSlot,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
}

/// Where a flow stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The newest copy of the SYN, rewritten, waits for a decision.
    Held(Vec<u8>),
    /// Refused without an answer.
    Denied,
    /// The kernel has the SYN.
    Opening,
    /// Both ends have answered.
    Open,
    /// Both ends have closed, or the gateway has closed its socket.
    Lingering,
}

/// A flow and both of its address pairs.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) record: FlowRecord,
    pub(crate) owner: PeerSlot,
    /// The source the kernel sees; names slot and generation.
    pub(crate) inside: SocketAddr,
    /// The private listener.
    pub(crate) listen: SocketAddr,
    pub(crate) state: State,
    pub(crate) lane: Lane,
    /// `FlowClosed` was sent.
    pub(crate) closed: bool,
    isn: u32,
    device: Progress,
    kernel: Progress,
    to_kernel: Delta,
    to_device: Delta,
    used: Instant,
}

/// What one end has sent so far.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    /// The sequence number after the last byte sent.
    next: Option<u32>,
    /// The greatest acknowledgement sent.
    acked: Option<u32>,
    /// The sequence number after the FIN.
    fin: Option<u32>,
}

/// What to do with a segment of a known flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Rewrite and pass on.
    Pass,
    /// Pass on, then forget the flow.
    PassAndEnd,
    /// Forget the flow, of which the kernel knows nothing.
    End,
    /// Keep as the newest copy of the held SYN.
    Hold,
    /// Drop.
    Swallow,
    /// A new connection on the addresses of one that is over: forget it and look again.
    Renew,
}

impl Flow {
    pub(crate) fn new(
        record: FlowRecord,
        owner: PeerSlot,
        (inside, listen): (SocketAddr, SocketAddr),
        isn: u32,
        now: Instant,
    ) -> Self {
        let device = words(record.source, record.destination);
        let kernel = words(inside, listen);
        Self {
            to_kernel: Delta::between(&device, &kernel),
            to_device: Delta::between(&kernel, &device),
            record,
            owner,
            inside,
            listen,
            state: State::Held(Vec::new()),
            lane: Lane::default(),
            closed: false,
            isn,
            device: Progress {
                next: Some(isn.wrapping_add(1)),
                ..Progress::default()
            },
            kernel: Progress::default(),
            used: now,
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key {
            owner: self.owner,
            source: self.record.source,
            destination: self.record.destination,
        }
    }

    /// The sequence number of its SYN.
    pub(crate) fn isn(&self) -> u32 {
        self.isn
    }

    /// Whether the flow counts as half open.
    pub(crate) fn is_half_open(&self) -> bool {
        matches!(self.state, State::Held(_) | State::Opening)
    }

    /// Takes note of a segment from the device.
    pub(crate) fn device_sent(&mut self, tcp: &Tcp, payload: usize, now: Instant) -> Step {
        let is_syn = tcp.has(tcp::SYN) && !tcp.has(tcp::ACK);
        let is_new = is_syn && tcp.seq != self.isn;
        match &self.state {
            State::Held(_) if is_syn => {
                self.isn = tcp.seq;
                self.device.next = Some(tcp.seq.wrapping_add(1));
                return Step::Hold;
            }
            State::Held(_) if tcp.has(tcp::RST) => return Step::End,
            State::Held(_) => return Step::Swallow,
            State::Denied | State::Opening | State::Lingering if is_new => return Step::Renew,
            State::Denied => return Step::Swallow,
            State::Open if is_new && self.is_closing() => return Step::Renew,
            State::Opening | State::Open | State::Lingering => {}
        }
        self.used = now;
        if !is_syn {
            self.device.note(tcp, payload);
        }
        if tcp.has(tcp::RST) {
            return Step::PassAndEnd;
        }
        if self.state == State::Opening && tcp.has(tcp::ACK) {
            self.state = State::Open;
        }
        self.settle();
        Step::Pass
    }

    /// Takes note of a segment from the kernel.
    pub(crate) fn kernel_sent(&mut self, tcp: &Tcp, payload: usize, now: Instant) -> Step {
        match &self.state {
            State::Held(_) | State::Denied => return Step::Swallow,
            State::Opening | State::Open | State::Lingering => {}
        }
        self.used = now;
        self.kernel.note(tcp, payload);
        if tcp.has(tcp::RST) {
            return Step::PassAndEnd;
        }
        self.settle();
        Step::Pass
    }

    /// Whether both ends have sent their FIN.
    pub(crate) fn is_over(&self) -> bool {
        self.device.fin.is_some() && self.kernel.fin.is_some()
    }

    /// Whether nothing was heard for longer than the state allows.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        let limit = match &self.state {
            State::Held(_) => HELD,
            State::Denied => DENIED,
            State::Opening => OPENING,
            State::Open if self.is_closing() => CLOSING,
            State::Open => IDLE,
            State::Lingering => LINGER,
        };
        now.saturating_duration_since(self.used) >= limit
    }

    /// Moves to another state and restarts its clock.
    pub(crate) fn enter(&mut self, state: State, now: Instant) {
        self.state = state;
        self.used = now;
    }

    /// Rewrites a segment of the device for the kernel; returns its new headers.
    pub(crate) fn rewrite_to_kernel(&self, packet: &mut [u8], ip: &Ip, tcp: &Tcp) -> (Ip, Tcp) {
        rewrite(packet, ip, tcp, (self.inside, self.listen), self.to_kernel)
    }

    /// Rewrites a segment of the kernel for the device; returns its new headers.
    pub(crate) fn rewrite_to_device(&self, packet: &mut [u8], ip: &Ip, tcp: &Tcp) -> (Ip, Tcp) {
        let ends = (self.record.destination, self.record.source);
        rewrite(packet, ip, tcp, ends, self.to_device)
    }

    /// The reset that makes the device drop the connection.
    pub(crate) fn reset_for_device(&self) -> Reset {
        Reset {
            seq: self.device.acked.or(self.kernel.next).unwrap_or(0),
            ack: self.device.next,
        }
    }

    /// The reset that makes the kernel drop the connection; `None` if it never saw it.
    pub(crate) fn reset_for_kernel(&self) -> Option<Reset> {
        match &self.state {
            State::Held(_) | State::Denied => None,
            State::Opening | State::Open | State::Lingering => Some(Reset {
                seq: self.device.next.unwrap_or(0),
                ack: self.kernel.next,
            }),
        }
    }

    /// Whether either end has sent a FIN.
    fn is_closing(&self) -> bool {
        self.device.fin.is_some() || self.kernel.fin.is_some()
    }

    /// Lingers once both FINs are acknowledged.
    fn settle(&mut self) {
        let heard = |fin: Option<u32>, acked: Option<u32>| {
            fin.zip(acked)
                .is_some_and(|(fin, acked)| !tcp::is_after(fin, acked))
        };
        if self.state == State::Open
            && heard(self.device.fin, self.kernel.acked)
            && heard(self.kernel.fin, self.device.acked)
        {
            self.state = State::Lingering;
        }
    }
}

impl Progress {
    fn note(&mut self, tcp: &Tcp, payload: usize) {
        let end = tcp.seq.wrapping_add(tcp.sequence_len(payload));
        if !tcp.has(tcp::RST) && self.next.is_none_or(|next| tcp::is_after(end, next)) {
            self.next = Some(end);
        }
        if tcp.has(tcp::ACK) && self.acked.is_none_or(|acked| tcp::is_after(tcp.ack, acked)) {
            self.acked = Some(tcp.ack);
        }
        if tcp.has(tcp::FIN) {
            self.fin = Some(end);
        }
    }
}

fn rewrite(
    packet: &mut [u8],
    ip: &Ip,
    tcp: &Tcp,
    (source, destination): (SocketAddr, SocketAddr),
    delta: Delta,
) -> (Ip, Tcp) {
    let checksum = delta.apply(tcp.checksum);
    ip::set_addresses(packet, source.ip(), destination.ip());
    let segment = ip.payload_mut(packet);
    tcp::set_ports(segment, source.port(), destination.port());
    tcp::set_checksum(segment, checksum);
    let ip = Ip {
        source: source.ip(),
        destination: destination.ip(),
        ..*ip
    };
    let tcp = Tcp {
        source: source.port(),
        destination: destination.port(),
        checksum,
        ..*tcp
    };
    (ip, tcp)
}

/// The words of an address pair that the TCP checksum covers.
fn words(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut words = Vec::with_capacity(36);
    for end in [source, destination] {
        match end {
            SocketAddr::V4(a) => words.extend_from_slice(&a.ip().octets()),
            SocketAddr::V6(a) => words.extend_from_slice(&a.ip().octets()),
        }
        words.extend_from_slice(&end.port().to_be_bytes());
    }
    words
}
