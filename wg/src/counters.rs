//! Counts of what passed and what was dropped.

use std::fmt;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why something was dropped; the code is the label of the metric and of the audit record.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum DropReason { $($(#[$doc])* $name,)* }

        impl DropReason {
            /// Lists every reason once, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the kebab-case code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

drop_reasons! {
    /// A datagram that is no WireGuard message.
    NotWireGuard = "not-wireguard",
    /// A handshake message with a wrong first MAC.
    BadMac = "bad-mac",
    /// A source used up its handshake budget.
    SourceBudget = "source-budget",
    /// A handshake of an unknown key, or one that failed to authenticate.
    BadHandshake = "bad-handshake",
    /// An initiation whose timestamp is not newer than the stored mark.
    ReplayedHandshake = "replayed-handshake",
    /// A receiver index that names no session.
    UnknownIndex = "unknown-index",
    /// A data counter beyond the limit of the protocol.
    CounterLimit = "counter-limit",
    /// A data message that was replayed or failed to authenticate.
    BadData = "bad-data",
    /// An inner packet with impossible lengths or an unknown version.
    Malformed = "malformed",
    /// An inner source that another peer or nobody owns.
    SpoofedSource = "spoofed-source",
    /// A fragment.
    Fragment = "fragment",
    /// An IPv4 header with options.
    IpOptions = "ip-options",
    /// A protocol other than TCP, UDP and ICMP echo, or an IPv6 extension header.
    Protocol = "protocol",
    /// A packet whose hops were used up before the office.
    HopLimit = "hop-limit",
    /// A destination that is never forwarded to.
    Destination = "destination",
    /// A wrong transport checksum.
    BadChecksum = "bad-checksum",
    /// TCP flags that no stack sends.
    BadFlags = "bad-flags",
    /// Inner IPv6 without a private IPv6 listener.
    NoIpv6 = "no-ipv6",
    /// Too many half-open flows of the peer.
    HalfOpenCap = "half-open-cap",
    /// Too many flows of the peer or in total.
    FlowCap = "flow-cap",
    /// A segment of a flow that is not open.
    UnknownFlow = "unknown-flow",
    /// A queue of the node was full.
    QueueFull = "queue-full",
    /// A packet for a peer without a session.
    NoSession = "no-session",
    /// A packet from the private namespace that belongs to no flow.
    StrayFromInside = "stray-from-inside",
}

/// Counts since the node was made.
#[derive(Clone, Default)]
pub struct Counters {
    dropped: [u64; DropReason::ALL.len()],
    /// Datagrams given to `handle_datagram`.
    pub datagrams_in: u64,
    /// Datagrams returned by `poll_transmit`, each segment counted.
    pub datagrams_out: u64,
    /// Packets returned by `poll_tun`.
    pub tun_writes: u64,
    /// TCP segments inside the packets returned by `poll_tun`.
    pub tun_segments: u64,
    /// Packets given to `handle_tun_packet`.
    pub tun_reads: u64,
    /// Handshakes completed from the device's side.
    pub handshakes: u64,
    /// Initiations sent by the node.
    pub initiations: u64,
    /// Cookie replies sent under load.
    pub cookies: u64,
    /// Times a key was seen in two places.
    pub twins: u64,
    /// Initiations with a timestamp more than a day in the future.
    pub future_stamps: u64,
}

impl Counters {
    /// Returns how much was dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    /// Adds what another node of the same gateway counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.dropped.iter_mut().zip(other.dropped) {
            *count += more;
        }
        self.datagrams_in += other.datagrams_in;
        self.datagrams_out += other.datagrams_out;
        self.tun_writes += other.tun_writes;
        self.tun_segments += other.tun_segments;
        self.tun_reads += other.tun_reads;
        self.handshakes += other.handshakes;
        self.initiations += other.initiations;
        self.cookies += other.cookies;
        self.twins += other.twins;
        self.future_stamps += other.future_stamps;
    }

    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.add_drops(reason, 1);
    }

    pub(crate) fn add_drops(&mut self, reason: DropReason, more: u64) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += more;
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for reason in DropReason::ALL {
            if self.dropped(*reason) > 0 {
                map.entry(&reason.code(), &self.dropped(*reason));
            }
        }
        map.finish()
    }
}
