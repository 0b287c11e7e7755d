//! The only user of boringtun.
//!
//! What it does not do is done here, before each call: destination buffers are never smaller than
//! a datagram, data counters near the limit never reach it, its clock is moved before it
//! decides, and it is never asked to encapsulate without a session.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};

use crate::counters::DropReason;
use crate::initiation::{FirstMac, Reader};
use crate::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::mark::Stamp;
use crate::peer::Standing;
use crate::twin::Sessions;

/// Bytes a data message is longer than its plaintext: header 16, tag 16.
pub(crate) const OVERHEAD: usize = 32;
/// Size of every destination buffer: the longest datagram and the overhead.
pub(crate) const SCRATCH: usize = 65_536 + OVERHEAD;
/// REJECT-AFTER-MESSAGES of the paper, section 6.1.
const COUNTER_LIMIT: u64 = u64::MAX - (1 << 13);
/// Handshakes a second answered without a cookie: about a quarter of a core.
const HANDSHAKES_PER_SECOND: u32 = 2000;
/// Cookies sent in a second: about 2 % of a core with their system calls.
const COOKIES_PER_SECOND: u32 = 2000;
/// boringtun reads the time only in `update_timers`.
pub(crate) const STALE: Duration = Duration::from_millis(250);

/// The gateway's key and what is shared by all tunnels.
pub(crate) struct Identity {
    pub(crate) private: PrivateKey,
    pub(crate) public: PublicKey,
    pub(crate) reader: Reader,
    /// Looked at before anything else of a handshake message.
    pub(crate) first_mac: FirstMac,
    /// Makes and checks cookies.
    front: RateLimiter,
    /// Handed to every tunnel, so that none of them counts a handshake a second time.
    open: Arc<RateLimiter>,
    reset: Instant,
    /// Handshake messages of this second.
    messages: u32,
    /// Cookies sent in this second.
    cookies: u32,
}

impl Identity {
    pub(crate) fn new(private: PrivateKey, now: Instant) -> Self {
        let public = private.public_key();
        let key = public.to_dalek();
        Self {
            reader: Reader::new(&private),
            first_mac: FirstMac::new(&public),
            messages: 0,
            cookies: 0,
            front: RateLimiter::new(&key, 0),
            open: Arc::new(RateLimiter::new(&key, u64::MAX)),
            private,
            public,
            reset: now,
        }
    }

    /// Whether a handshake message without a cookie is not worked on now.
    pub(crate) fn is_under_load(&mut self, is_crowded: bool, now: Instant) -> bool {
        self.reset_limiters(now);
        is_crowded || self.messages >= HANDSHAKES_PER_SECOND
    }

    /// Whether another cookie may be sent in this second.
    pub(crate) fn has_cookies(&self) -> bool {
        self.cookies < COOKIES_PER_SECOND
    }

    /// Decides whether a handshake message whose first MAC is right may be worked on: under load
    /// only with a cookie, which is its second MAC. An error carries the cookie reply to send, if
    /// there is one and `may_reply`.
    pub(crate) fn admit<'a>(
        &mut self,
        from: IpAddr,
        message: &[u8],
        (is_under_load, may_reply): (bool, bool),
        reply: &'a mut [u8],
    ) -> Result<(), Option<&'a [u8]>> {
        self.messages = self.messages.saturating_add(1);
        if !is_under_load {
            return Ok(());
        }
        match self.front.verify_packet(Some(from), message, reply) {
            Ok(_) => Ok(()),
            Err(TunnResult::WriteToNetwork(cookie)) if may_reply => {
                self.cookies += 1;
                Err(Some(cookie))
            }
            Err(_) => Err(None),
        }
    }

    /// Starts a new second of the limiters; harmless when called more often.
    pub(crate) fn reset_limiters(&mut self, now: Instant) {
        if now.saturating_duration_since(self.reset) >= Duration::from_secs(1) {
            self.front.reset_count();
            self.open.reset_count();
            self.messages = 0;
            self.cookies = 0;
            self.reset = now;
        }
    }
}

/// One peer's protocol state.
pub(crate) struct Tunnel {
    tunn: Box<Tunn>,
    /// The 24 bits that name this tunnel in receiver indices.
    pub(crate) index: u32,
    /// Whether `encapsulate` would find a session.
    pub(crate) has_session: bool,
    /// The timestamp boringtun compares the next initiation with.
    pub(crate) stamp: Stamp,
    /// The sessions the device made.
    pub(crate) sessions: Sessions,
    ticked: Instant,
}

/// What came out of an authentic message, or why it is not one.
pub(crate) enum Received<'a> {
    /// A keepalive or a cookie.
    Nothing,
    /// A handshake message or keepalive to send back.
    Reply(&'a [u8]),
    /// An inner packet; only its first bytes were looked at.
    Packet(&'a mut [u8]),
    /// Authentic, but no IP packet.
    Malformed,
    /// Not authentic.
    Rejected(DropReason),
}

/// What a look at the timers brought.
pub(crate) enum Tick<'a> {
    Idle,
    Send(&'a [u8]),
    /// The tunnel is of no further use; drop it.
    Expired,
}

impl Tunnel {
    pub(crate) fn new(identity: &Identity, peer: &Standing, index: u32, now: Instant) -> Self {
        let tunn = Tunn::new(
            identity.private.secret().clone(),
            peer.public_key.to_dalek(),
            peer.preshared_key.as_deref().map(PresharedKey::bytes),
            peer.keepalive.filter(|seconds| *seconds > 0),
            index,
            Some(Arc::clone(&identity.open)),
        );
        Self {
            tunn: Box::new(tunn),
            index,
            has_session: false,
            stamp: Stamp::default(),
            sessions: Sessions::default(),
            ticked: now,
        }
    }

    /// Whether the timers must be looked at before the next message.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.ticked) >= STALE
    }

    /// Lets boringtun look at its clock: sessions expire, keepalives and retries fall due.
    pub(crate) fn tick<'a>(&mut self, scratch: &'a mut [u8], now: Instant) -> Tick<'a> {
        if scratch.len() < SCRATCH {
            return Tick::Idle;
        }
        self.ticked = now;
        let tick = match self.tunn.update_timers(scratch) {
            TunnResult::WriteToNetwork(message) => Tick::Send(message),
            TunnResult::Err(WireGuardError::ConnectionExpired) => Tick::Expired,
            TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => Tick::Idle,
        };
        self.refresh();
        tick
    }

    /// Handles a message whose index or key named this tunnel. `scratch` has [`SCRATCH`] bytes.
    pub(crate) fn receive<'a>(
        &mut self,
        from: IpAddr,
        message: &[u8],
        scratch: &'a mut [u8],
    ) -> Received<'a> {
        if scratch.len() < message.len() + OVERHEAD || message.is_empty() {
            return Received::Rejected(DropReason::NotWireGuard);
        }
        let is_data = message.first() == Some(&4);
        if is_data && counter(message).is_none_or(|counter| counter >= COUNTER_LIMIT) {
            return Received::Rejected(DropReason::CounterLimit);
        }
        let received = match self.tunn.decapsulate(Some(from), message, scratch) {
            TunnResult::Done => Received::Nothing,
            TunnResult::WriteToNetwork(reply) => Received::Reply(reply),
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Received::Packet(packet)
            }
            TunnResult::Err(WireGuardError::InvalidPacket) if is_data => Received::Malformed,
            TunnResult::Err(error) => Received::Rejected(reason(&error, is_data)),
        };
        if !(is_data && self.has_session) {
            self.refresh();
        }
        received
    }

    /// Encrypts `plaintext` to the end of `out`; `false` without a session.
    pub(crate) fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> bool {
        if !self.has_session {
            return false;
        }
        let start = out.len();
        // boringtun asks for room for an initiation, whatever it writes.
        out.resize(
            start + (plaintext.len() + OVERHEAD).max(crate::initiation::LEN),
            0,
        );
        let room = out.get_mut(start..).unwrap_or_default();
        let written = match self.tunn.encapsulate(plaintext, room) {
            TunnResult::WriteToNetwork(message) => message.len(),
            TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => 0,
        };
        out.truncate(start + written);
        written > 0
    }

    /// Writes an initiation, unless one is under way.
    pub(crate) fn initiate<'a>(&mut self, scratch: &'a mut [u8]) -> Option<&'a [u8]> {
        if scratch.len() < SCRATCH {
            return None;
        }
        match self.tunn.format_handshake_initiation(scratch, false) {
            TunnResult::WriteToNetwork(message) => Some(message),
            TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => None,
        }
    }

    fn refresh(&mut self) {
        self.has_session = self.tunn.time_since_last_handshake().is_some();
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("index", &self.index)
            .field("has_session", &self.has_session)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// The receiver field of messages 2, 3 and 4.
pub(crate) fn receiver(message: &[u8]) -> Option<u32> {
    let at = match message.first()? {
        2 => 8,
        3 | 4 => 4,
        _ => return None,
    };
    let (_, rest) = message.split_at_checked(at)?;
    rest.first_chunk().copied().map(u32::from_le_bytes)
}

/// The sender field of a response: the receiver of the session's data.
pub(crate) fn responder(message: &[u8]) -> Option<u32> {
    let (head, rest) = message.split_at_checked(4)?;
    let is_response = head.first() == Some(&2);
    let sender = rest.first_chunk().copied().map(u32::from_le_bytes);
    sender.filter(|_| is_response)
}

/// Whether a handshake message has a second MAC: without a cookie it is zero.
pub(crate) fn shows_a_cookie(message: &[u8]) -> bool {
    message
        .last_chunk::<16>()
        .is_some_and(|mac| *mac != [0; 16])
}

fn counter(message: &[u8]) -> Option<u64> {
    let (_, rest) = message.split_at_checked(8)?;
    rest.first_chunk().copied().map(u64::from_le_bytes)
}

fn reason(error: &WireGuardError, is_data: bool) -> DropReason {
    match error {
        WireGuardError::WrongIndex | WireGuardError::NoCurrentSession => DropReason::UnknownIndex,
        WireGuardError::WrongTai64nTimestamp => DropReason::ReplayedHandshake,
        WireGuardError::InvalidMac => DropReason::BadMac,
        WireGuardError::DestinationBufferTooSmall
        | WireGuardError::IncorrectPacketLength
        | WireGuardError::UnexpectedPacket
        | WireGuardError::WrongPacketType
        | WireGuardError::WrongKey
        | WireGuardError::InvalidTai64nTimestamp
        | WireGuardError::InvalidAeadTag
        | WireGuardError::InvalidCounter
        | WireGuardError::DuplicateCounter
        | WireGuardError::InvalidPacket
        | WireGuardError::LockFailed
        | WireGuardError::ConnectionExpired
        | WireGuardError::UnderLoad => {
            if is_data {
                DropReason::BadData
            } else {
                DropReason::BadHandshake
            }
        }
    }
}
