//! What the tunnel asks of the rest of the gateway.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use async_trait::async_trait;
use policy::{DnsName, DnsRefusal};

use crate::ids::DeviceId;

/// The gateway as the tunnel sees it.
#[async_trait]
pub(crate) trait Gate: Send + Sync + 'static {
    /// Lists every device that may hold a session, revoked ones left out.
    fn peers(&self) -> Vec<wg::PeerConfig>;

    /// Decides on one flow and records the decision; only a recorded allow is a ticket.
    async fn decide(&self, ask: Ask) -> Result<Box<dyn Ticket>, Refused>;

    /// Takes over one connection to the gateway's own tunnel address, and returns at once.
    fn serve(&self, stream: TcpStream, portal: Portal);

    /// Says which of the gateway's own names a lower-case host name is; `None` for any other.
    fn own_name(&self, host: &str) -> Option<DnsName>;

    /// Says whether the name server answers a device that asks for a name.
    fn may_look_up(&self, device: DeviceId, kind: DnsName, host: &str) -> Result<(), DnsRefusal>;

    /// Records a refusal that no policy decision stands behind.
    fn refused(&self, refusal: Refusal);

    /// Keeps the newest handshake mark or outer address of a device.
    fn heard(&self, device: DeviceId, mark: Option<[u8; 12]>, endpoint: Option<SocketAddr>);

    /// Writes what was heard; what cannot be written is tried again within a second.
    async fn keep_heard(&self);

    /// Closes a device whose key is used at both outer addresses, and raises the alarm.
    async fn seen_twice(&self, device: DeviceId, here: SocketAddr, there: SocketAddr);
}

/// Asks for one flow from a device to an office host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The device whose keys decrypted the first packet.
    pub(crate) device: DeviceId,
    /// The device's inner address.
    pub(crate) source: SocketAddr,
    /// Where it wants to go; port 0 for ICMP.
    pub(crate) target: SocketAddr,
    /// By which protocol.
    pub(crate) proto: Proto,
}

/// A transport protocol that the policy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP echo.
    Icmp,
}

/// A flow that was refused by decision, or could not be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// A permitted and recorded flow; dropping it without [`Ticket::ended`] leaves it unrecorded.
#[async_trait]
pub(crate) trait Ticket: Send + Sync {
    /// Resolves when the permission no longer stands.
    async fn revoked(&self);

    /// Says that the device sent data on the flow, which counts as use of its session.
    fn used(&self);

    /// Records the end of the flow.
    fn ended(&self, end: End);
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Closed reason code, kebab-case.
    pub(crate) reason: &'static str,
    /// Payload bytes in both directions.
    pub(crate) bytes: u64,
    /// How long the flow lasted.
    pub(crate) lasted: Duration,
}

/// A connection to the gateway itself through the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portal {
    /// The device it came from.
    pub(crate) device: DeviceId,
    /// The device's inner address.
    pub(crate) peer: SocketAddr,
    /// 443 (TLS) or 80 (plain).
    pub(crate) port: u16,
}

/// A refusal outside the policy: a malformed packet, a full table, a name of an office zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The device.
    pub(crate) device: DeviceId,
    /// Whether it concerns a flow or a name.
    pub(crate) kind: RefusalKind,
    /// Closed reason code, kebab-case.
    pub(crate) reason: &'static str,
    /// The inner source, where it could be read.
    pub(crate) source: Option<IpAddr>,
    /// What was asked for: `tcp 192.0.2.1:22`, or a name.
    pub(crate) target: String,
    /// How many alike went unreported before this one.
    pub(crate) more: u32,
}

/// What a [`Refusal`] is about; it selects the event of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// A packet or a flow.
    Flow,
    /// A name.
    Dns,
}
