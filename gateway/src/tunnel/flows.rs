//! TCP flows of the devices: decide, dial, release the held SYN, copy.

mod copy;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wg::{FlowId, FlowRecord, Refusal as How, Unreachable};

use super::bucket::Buckets;
use super::dns::Dns;
use super::gate::{Ask, End, Gate, Portal, Proto, Refusal, RefusalKind, Refused, Ticket};
use super::ledger::Ledger;
use super::reach::Reach;
use super::shard::{Command, FlowNews, Shard};
use super::udp::why_not;
use crate::audit::reason;
use crate::clock;
use crate::descriptors::{self, Claim};
use crate::ids::DeviceId;

/// Open flows of one device; a browser opens about 100.
const FLOWS_PER_DEVICE: usize = 256;
/// Dials of one device that wait for an office host.
const DIALS_PER_DEVICE: usize = 32;
/// New flows of one device a second, and at once.
const NEW_PER_SECOND: u32 = 200;
const NEW_AT_ONCE: u32 = 400;
/// How long an office host may take to answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the device may take to complete a handshake that was released.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(30);
/// When an office host that says nothing is asked whether it lives, and when it is given up.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// How often it is looked whether the device used the flow; sessions idle out after minutes.
const USE_ROUND: Duration = Duration::from_secs(20);

/// What every flow task needs.
#[derive(Clone)]
pub(super) struct Ground {
    /// The rest of the gateway.
    pub(super) gate: Arc<dyn Gate>,
    /// The way to the node.
    pub(super) shard: Shard,
    /// What no device may reach.
    pub(super) reach: Arc<Reach>,
    /// The names, for queries by TCP.
    pub(super) dns: Arc<Dns>,
    /// Where refusals are recorded.
    pub(super) ledger: Ledger,
    /// Ends everything.
    pub(super) stop: CancellationToken,
}

/// The flow table of the tunnel.
pub(super) struct Flows {
    ground: Ground,
    open: HashMap<FlowId, Open>,
    devices: HashMap<DeviceId, Load>,
    rate: Buckets,
    tasks: JoinSet<FlowId>,
}

struct Open {
    device: DeviceId,
    end: Far,
}

/// Who waits for the accepted connection.
enum Far {
    /// The HTTP plane; the flow is over when the node says so.
    Portal(Portal),
    /// A task of ours, which says itself when the flow is over.
    Task(Option<oneshot::Sender<std::net::TcpStream>>),
}

struct Load {
    flows: usize,
    /// Places for dials; a flow waits for one with its SYN held.
    dials: Arc<Semaphore>,
}

impl Flows {
    /// Makes an empty table.
    pub(super) fn new(ground: Ground) -> Self {
        Self {
            ground,
            open: HashMap::new(),
            devices: HashMap::new(),
            rate: Buckets::new(NEW_PER_SECOND, NEW_AT_ONCE),
            tasks: JoinSet::new(),
        }
    }

    /// Serves flows until the shard ends or the tunnel stops.
    pub(super) async fn run(mut self, mut news: mpsc::Receiver<FlowNews>) {
        let stop = self.ground.stop.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                heard = news.recv() => match heard {
                    Some(heard) => self.hear(heard).await,
                    None => break,
                },
                Some(ended) = self.tasks.join_next() => if let Ok(flow) = ended {
                    self.forget(flow);
                },
            }
        }
        // every task watches the same token and says goodbye to its device
        while self.tasks.join_next().await.is_some() {}
    }

    async fn hear(&mut self, news: FlowNews) {
        match news {
            FlowNews::Syn(flow) => match self.begin(&flow) {
                Ok(true) => self.ground.shard.tell(Command::Permit(flow.id)).await,
                Ok(false) => {}
                Err((how, reason)) => {
                    self.ground.ledger.refuse(refusal_of(&flow, reason));
                    self.ground.shard.tell(Command::Refuse(flow.id, how)).await;
                }
            },
            FlowNews::Accepted(flow, stream) => {
                if !self.hand_over(&flow, stream) {
                    self.ground.shard.tell(Command::Close(flow.id)).await;
                }
            }
            FlowNews::Closed(flow) => {
                // the task of a flow that was accepted ends by its sockets
                let open = self.open.get_mut(&flow);
                if open.is_some_and(|open| match &mut open.end {
                    Far::Portal(_) => true,
                    Far::Task(accepted) => {
                        *accepted = None;
                        false
                    }
                }) {
                    self.forget(flow);
                }
            }
        }
    }

    /// Gives an accepted connection to whom it was released for.
    fn hand_over(&mut self, flow: &FlowRecord, stream: std::net::TcpStream) -> bool {
        let Some(open) = self.open.get_mut(&flow.id) else {
            return false;
        };
        match &mut open.end {
            Far::Portal(portal) => {
                self.ground.gate.serve(stream, *portal);
                true
            }
            Far::Task(accepted) => accepted
                .take()
                .is_some_and(|waiting| waiting.send(stream).is_ok()),
        }
    }

    /// Enters a flow and starts its task, or says why not; true if its SYN may go on at once.
    fn begin(&mut self, flow: &FlowRecord) -> Result<bool, (How, &'static str)> {
        let device = DeviceId(flow.peer.0);
        let load = self.devices.entry(device).or_default();
        if load.flows >= FLOWS_PER_DEVICE {
            return Err((How::Reset, reason::TOO_MANY_CONNECTIONS));
        }
        if !self.rate.take(device, clock::now()) {
            return Err((How::Reset, reason::RATE_LIMITED));
        }
        let service = Service::of(flow, &self.ground)?;
        load.flows += 1;
        let dials = Arc::clone(&load.dials);
        let end = match service {
            Service::Portal(portal) => Far::Portal(portal),
            Service::Dns | Service::Host => Far::Task(Some(self.spawn(service, *flow, dials))),
        };
        self.open.insert(flow.id, Open { device, end });
        Ok(matches!(service, Service::Portal(_)))
    }

    fn spawn(
        &mut self,
        service: Service,
        flow: FlowRecord,
        dials: Arc<Semaphore>,
    ) -> oneshot::Sender<std::net::TcpStream> {
        let (accepted, stream) = oneshot::channel();
        let ground = self.ground.clone();
        self.tasks.spawn(async move {
            if matches!(service, Service::Dns) {
                names(&ground, &flow, stream).await;
            } else {
                forward(&ground, &flow, stream, &dials).await;
            }
            ground.shard.tell(Command::Finished(flow.id)).await;
            flow.id
        });
        accepted
    }

    fn forget(&mut self, flow: FlowId) {
        let Some(open) = self.open.remove(&flow) else {
            return;
        };
        if let Some(load) = self.devices.get_mut(&open.device) {
            load.flows = load.flows.saturating_sub(1);
            if load.flows == 0 {
                self.devices.remove(&open.device);
            }
        }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self {
            flows: 0,
            dials: Arc::new(Semaphore::new(DIALS_PER_DEVICE)),
        }
    }
}

/// What stands at the other end of a flow.
#[derive(Clone, Copy, Debug)]
enum Service {
    /// The gateway's own pages and apps.
    Portal(Portal),
    /// The gateway's name server.
    Dns,
    /// An office host.
    Host,
}

impl Service {
    fn of(flow: &FlowRecord, ground: &Ground) -> Result<Self, (How, &'static str)> {
        let to = flow.destination;
        if ground.dns.is_gateway(to.ip()) {
            return match to.port() {
                port @ (443 | 80) => Ok(Self::Portal(Portal {
                    device: DeviceId(flow.peer.0),
                    peer: flow.source,
                    port,
                })),
                53 => Ok(Self::Dns),
                _ => Err((How::Reset, reason::NO_SUCH_SERVICE)),
            };
        }
        if ground.reach.allows(to) {
            Ok(Self::Host)
        } else {
            Err((How::Reset, reason::GUARD))
        }
    }
}

/// Carries one connection to the name server.
async fn names(
    ground: &Ground,
    flow: &FlowRecord,
    accepted: oneshot::Receiver<std::net::TcpStream>,
) {
    if let Some(stream) = release(ground, flow, accepted).await {
        tokio::select! {
            () = ground.stop.cancelled() => {}
            () = ground.dns.serve_stream(DeviceId(flow.peer.0), stream) => {}
        }
    }
}

/// Lets the held SYN into the kernel and waits for the connection that comes of it.
async fn release(
    ground: &Ground,
    flow: &FlowRecord,
    accepted: oneshot::Receiver<std::net::TcpStream>,
) -> Option<TcpStream> {
    ground.shard.tell(Command::Permit(flow.id)).await;
    let stream = tokio::select! {
        () = ground.stop.cancelled() => None,
        stream = tokio::time::timeout(ACCEPT_TIMEOUT, accepted) => stream.ok()?.ok(),
    };
    let stream = stream.and_then(|stream| TcpStream::from_std(stream).ok());
    if stream.is_none() {
        ground.shard.tell(Command::Close(flow.id)).await;
    }
    stream
}

/// Carries one flow to an office host.
async fn forward(
    ground: &Ground,
    flow: &FlowRecord,
    accepted: oneshot::Receiver<std::net::TcpStream>,
    dials: &Semaphore,
) {
    let place = tokio::select! {
        () = ground.stop.cancelled() => None,
        place = tokio::time::timeout(ACCEPT_TIMEOUT, dials.acquire()) => place.ok().and_then(Result::ok),
    };
    let ask = Ask {
        device: DeviceId(flow.peer.0),
        source: flow.source,
        target: flow.destination,
        proto: Proto::Tcp,
    };
    let decided = match &place {
        Some(_) => ground.gate.decide(ask).await,
        None => Err(Refused),
    };
    let Ok(ticket) = decided else {
        let refuse = Command::Refuse(flow.id, How::Reset);
        return ground.shard.tell(refuse).await;
    };
    let started = clock::now();
    let mut bytes = 0;
    let under = Under {
        ticket: ticket.as_ref(),
        place,
    };
    let reason = carry(ground, flow, accepted, under, &mut bytes).await;
    ticket.ended(End {
        reason,
        bytes,
        lasted: clock::now().saturating_duration_since(started),
    });
}

/// What a flow is dialled under: its permit, and its place among the dials of its device.
struct Under<'a> {
    ticket: &'a dyn Ticket,
    place: Option<SemaphorePermit<'a>>,
}

/// Dials and copies under a permit; returns the reason of the end.
async fn carry(
    ground: &Ground,
    flow: &FlowRecord,
    accepted: oneshot::Receiver<std::net::TcpStream>,
    under: Under<'_>,
    bytes: &mut u64,
) -> &'static str {
    let Under { ticket, place } = under;
    let dialled = tokio::select! {
        () = ground.stop.cancelled() => Err(reason::STOP),
        () = ticket.revoked() => Err(reason::REVOKED),
        dialled = dial(flow.destination) => dialled,
    };
    drop(place);
    let host = match dialled {
        Ok(host) => host,
        Err(reason) => {
            let refuse = Command::Refuse(flow.id, how_to_say(reason));
            ground.shard.tell(refuse).await;
            return reason;
        }
    };
    let Some(device) = release(ground, flow, accepted).await else {
        return reason::CLIENT_GONE;
    };
    let meter = copy::Meter::default();
    let ended = tokio::select! {
        () = ground.stop.cancelled() => Err(reason::STOP),
        () = ticket.revoked() => Err(reason::REVOKED),
        copied = copy::both_ways(&device, &host, &meter) => copied.map_err(|_| reason::RESET),
        never = notice_use(ticket, &meter) => match never {},
    };
    *bytes = meter.total();
    match ended {
        Ok(()) => reason::COMPLETE,
        Err(reason) => {
            ground.shard.tell(Command::Close(flow.id)).await;
            reset(&device);
            reset(&host);
            reason
        }
    }
}

/// Says in what way a device hears of a dial that failed: a host that refuses is heard as such, one that is not there
/// is not mistaken for it.
fn how_to_say(reason: &'static str) -> How {
    match reason {
        reason::TIMEOUT | reason::UNREACHABLE => How::Unreachable(Unreachable::Host),
        _ => How::Reset,
    }
}

/// Connects to an office host.
async fn dial(target: SocketAddr) -> Result<TcpStream, &'static str> {
    let connected = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(target)).await;
    let stream = match connected {
        Err(_) => return Err(reason::TIMEOUT),
        Ok(Err(why)) if why.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(reason::UPSTREAM_DOWN);
        }
        Ok(Err(why)) => return Err(why_not(&why)),
        Ok(Ok(stream)) if !descriptors::fits(stream.as_raw_fd(), Claim::Known) => {
            return Err(reason::OVERLOADED);
        }
        Ok(Ok(stream)) => stream,
    };
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL);
    let socket = SockRef::from(&stream);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)));
    set.map(|()| stream).map_err(|_| reason::UNREACHABLE)
}

/// Makes the coming close of the socket a reset, which the other end sees at once.
fn reset(stream: &TcpStream) {
    // a socket that refuses is closed in order instead
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}

/// Describes a flow that no decision stands behind.
fn refusal_of(flow: &FlowRecord, reason: &'static str) -> Refusal {
    Refusal {
        device: DeviceId(flow.peer.0),
        kind: RefusalKind::Flow,
        reason,
        source: Some(flow.source.ip()),
        target: format!("tcp://{}", flow.destination),
        more: 0,
    }
}

/// Tells the ticket from time to time that the device sent data; what the host sends is no use.
async fn notice_use(ticket: &dyn Ticket, meter: &copy::Meter) -> Infallible {
    let mut seen = 0;
    loop {
        tokio::time::sleep(USE_ROUND).await;
        let now = meter.sent_by_device();
        if now != seen {
            seen = now;
            ticket.used();
        }
    }
}
