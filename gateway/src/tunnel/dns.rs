//! The name server on the gateway's tunnel address.
//!
//! Stock apps send every query here. Where the policy says nothing else, names of this gateway are
//! answered in every state, office zones only to an open device, and everything else goes to the
//! configured resolver. What comes back is passed on as it is, and kept for as long as it says.

mod answer;
mod cache;
mod forward;
#[cfg(test)]
mod tests;
mod wire;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};

use self::answer::Route;
use self::cache::Cache;
use super::bucket::Buckets;
use super::gate::{Gate, Refusal, RefusalKind};
use super::ledger::Ledger;
use crate::audit::reason;
use crate::clock;
use crate::ids::DeviceId;
use crate::limits::Tally;

/// Queries of one device a second, and at once.
const QUERIES_PER_SECOND: u32 = 50;
const QUERIES_AT_ONCE: u32 = 200;
/// Forwarded queries that wait for an answer, over all devices.
const OUTSTANDING: usize = 512;
/// The same of one device.
const OUTSTANDING_OF_DEVICE: usize = 64;
/// How long a connection may be silent between two queries (RFC 7766 section 6.2.3).
const STREAM_IDLE: Duration = Duration::from_secs(10);
/// Answers on one connection before it is closed.
const STREAM_QUERIES: usize = 1000;

/// What the name server knows besides the gateway's own names.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The IPv4 address every name of ours stands for.
    pub(crate) gateway4: Ipv4Addr,
    /// The IPv6 address every name of ours stands for.
    pub(crate) gateway6: Option<Ipv6Addr>,
    /// The resolvers for names that are not ours.
    pub(crate) resolvers: Vec<SocketAddr>,
    /// Office zones, lower case without a final dot, with the servers that answer them.
    pub(crate) zones: Vec<(String, Vec<SocketAddr>)>,
    /// The MTU of the tunnel, which bounds a datagram.
    pub(crate) mtu: u16,
}

/// No server answered in time, or too many queries wait.
struct Unanswered;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By UDP.
    Datagram,
    /// By TCP.
    Stream,
}

/// The name server.
pub(super) struct Dns {
    names: Names,
    gate: Arc<dyn Gate>,
    ledger: Ledger,
    rate: Mutex<Buckets>,
    outstanding: Semaphore,
    /// Devices with queries that wait, and how many; at most one entry for each place above.
    waiting: Mutex<Tally<DeviceId>>,
    cache: Mutex<Cache>,
}

/// The place of one query of a device among those that wait.
struct Place<'a> {
    dns: &'a Dns,
    device: DeviceId,
    _one_of_all: SemaphorePermit<'a>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.dns.waiting.lock().take(&self.device);
    }
}

impl Dns {
    /// Makes the name server.
    pub(super) fn new(names: Names, gate: Arc<dyn Gate>, ledger: Ledger) -> Self {
        Self {
            names,
            gate,
            ledger,
            rate: Mutex::new(Buckets::new(QUERIES_PER_SECOND, QUERIES_AT_ONCE)),
            outstanding: Semaphore::new(OUTSTANDING),
            waiting: Mutex::default(),
            cache: Mutex::default(),
        }
    }

    /// Says whether devices see the gateway under this address.
    pub(super) fn is_gateway(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => ip == self.names.gateway4,
            IpAddr::V6(ip) => Some(ip) == self.names.gateway6,
        }
    }

    /// Answers one query; `None` for what deserves none.
    pub(super) async fn answer(&self, device: DeviceId, query: &[u8], way: Way) -> Option<Vec<u8>> {
        if !self.rate.lock().take(device, clock::now()) {
            self.refuse(device, reason::RATE_LIMITED, "dns".to_owned());
            return None;
        }
        let ours = |host: &str| self.gate.own_name(host);
        let allowed = |kind, host: &str| self.gate.may_look_up(device, kind, host);
        match answer::route(query, &self.names, ours, allowed)? {
            Route::Answer(reply) => Some(reply),
            Route::Refuse {
                reply,
                name,
                reason,
            } => {
                self.refuse(device, reason, name);
                Some(reply)
            }
            Route::Forward { servers } => {
                let reply = self.look_up(device, servers, query, way).await;
                match reply {
                    Ok(reply) => answer::fit(query, reply, way, self.names.mtu),
                    Err(Unanswered) => answer::failure(query),
                }
            }
        }
    }

    /// Answers from what is kept, else asks the servers.
    async fn look_up(
        &self,
        device: DeviceId,
        servers: &[SocketAddr],
        query: &[u8],
        way: Way,
    ) -> Result<Vec<u8>, Unanswered> {
        if let Some(kept) = self.cache.lock().find(query, clock::now()) {
            return Ok(kept);
        }
        let _place = self.place(device).ok_or(Unanswered)?;
        let asked = forward::forward(servers, query, way).await;
        let reply = asked.ok_or(Unanswered)?;
        self.cache.lock().keep(query, &reply, clock::now());
        Ok(reply)
    }

    /// Takes a place for a query that waits; `None` while all are taken.
    fn place(&self, device: DeviceId) -> Option<Place<'_>> {
        let one_of_all = self.outstanding.try_acquire().ok()?;
        let mut waiting = self.waiting.lock();
        let fits = waiting.add_below(device, OUTSTANDING_OF_DEVICE);
        drop(waiting);
        fits.then(|| Place {
            dns: self,
            device,
            _one_of_all: one_of_all,
        })
    }

    fn refuse(&self, device: DeviceId, reason: &'static str, target: String) {
        self.ledger.refuse(Refusal {
            device,
            kind: RefusalKind::Dns,
            reason,
            source: None,
            target,
            more: 0,
        });
    }

    /// Answers queries on a connection until it falls silent.
    pub(super) async fn serve_stream(&self, device: DeviceId, mut stream: TcpStream) {
        for _ in 0..STREAM_QUERIES {
            let next = tokio::time::timeout(STREAM_IDLE, read_framed(&mut stream)).await;
            let Ok(Ok(query)) = next else { return };
            let Some(reply) = self.answer(device, &query, Way::Stream).await else {
                return;
            };
            let sent = tokio::time::timeout(STREAM_IDLE, write_framed(&mut stream, &reply)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// Reads one message behind its two-byte length (RFC 1035 section 4.2.2).
async fn read_framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes one message behind its two-byte length.
async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    stream.write_all(&framed).await
}
