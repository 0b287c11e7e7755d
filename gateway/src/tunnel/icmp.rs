//! Echo requests to office hosts, by the kernel's ping sockets (icmp(7)).
//!
//! A host that does not allow them to this user (`net.ipv4.ping_group_range`) has no ping through
//! the tunnel; the refusal is on record.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wg::{Event, PeerId, Unreachable};

use super::bucket::Buckets;
use super::flows::Ground;
use super::gate::{Ask, End, Proto, Refusal, RefusalKind};
use super::scratch;
use super::shard::Command;
use super::silence::Silence;
use super::udp::{in_terms_of_icmp, room_for, why_not};
use crate::audit::reason;
use crate::clock;
use crate::ids::DeviceId;

/// Pings of one device that run at the same time.
const FLOWS_PER_DEVICE: usize = 16;
/// New pings of one device a second, and at once.
const NEW_PER_SECOND: u32 = 10;
const NEW_AT_ONCE: u32 = 30;
/// How long a ping lives without a packet.
const IDLE: Duration = Duration::from_secs(10);
/// How long a refused ping is not decided again.
const REFUSED_FOR: Duration = Duration::from_secs(2);
/// Requests that wait for the socket.
const QUEUE: usize = 16;
/// Type, code, checksum, identifier, sequence number (RFC 792, RFC 4443).
const HEADER: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    peer: PeerId,
    from: IpAddr,
    to: IpAddr,
    ident: u16,
}

type Request = (u16, Vec<u8>);

/// The table of pings.
pub(super) struct Echoes {
    ground: Ground,
    open: HashMap<Key, mpsc::Sender<Request>>,
    rate: Buckets,
    tasks: JoinSet<Key>,
}

impl Echoes {
    /// Makes an empty table.
    pub(super) fn new(ground: Ground) -> Self {
        Self {
            ground,
            open: HashMap::new(),
            rate: Buckets::new(NEW_PER_SECOND, NEW_AT_ONCE),
            tasks: JoinSet::new(),
        }
    }

    /// Serves pings until the shard ends or the tunnel stops.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let stop = self.ground.stop.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = events.recv() => match event {
                    Some(event) => self.hear(event),
                    None => break,
                },
                Some(ended) = self.tasks.join_next() => if let Ok(key) = ended {
                    self.open.remove(&key);
                },
            }
        }
        self.open.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    fn hear(&mut self, event: Event) {
        let Event::EchoRequest {
            peer,
            from,
            to,
            ident,
            seq,
            payload,
        } = event
        else {
            return;
        };
        let key = Key {
            peer,
            from,
            to,
            ident,
        };
        if let Some(open) = self.open.get(&key) {
            drop(open.try_send((seq, payload)));
            return;
        }
        match self.begin(key) {
            Ok(open) => {
                drop(open.try_send((seq, payload)));
                self.open.insert(key, open);
            }
            Err(reason) => self.ground.ledger.refuse(Refusal {
                device: DeviceId(peer.0),
                kind: RefusalKind::Flow,
                reason,
                source: Some(from),
                target: format!("icmp://{to}"),
                more: 0,
            }),
        }
    }

    fn begin(&mut self, key: Key) -> Result<mpsc::Sender<Request>, &'static str> {
        let count = self.open.keys().filter(|k| k.peer == key.peer).count();
        if count >= FLOWS_PER_DEVICE {
            return Err(reason::TOO_MANY_CONNECTIONS);
        }
        if !self.rate.take(DeviceId(key.peer.0), clock::now()) {
            return Err(reason::RATE_LIMITED);
        }
        if !self.ground.reach.allows(SocketAddr::new(key.to, 0)) {
            return Err(reason::GUARD);
        }
        let socket = connect(key.to).map_err(|why| match why_not(&why) {
            reason::OVERLOADED => reason::OVERLOADED,
            _ => {
                tracing::debug!(error = %why, "ping socket refused; see net.ipv4.ping_group_range");
                reason::NO_SUCH_SERVICE
            }
        })?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let ground = self.ground.clone();
        self.tasks.spawn(async move {
            ping(&ground, key, &socket, receiver).await;
            key
        });
        Ok(sender)
    }
}

async fn ping(
    ground: &Ground,
    key: Key,
    socket: &UdpSocket,
    mut requests: mpsc::Receiver<Request>,
) {
    let ask = Ask {
        device: DeviceId(key.peer.0),
        source: SocketAddr::new(key.from, 0),
        target: SocketAddr::new(key.to, 0),
        proto: Proto::Icmp,
    };
    let Ok(ticket) = ground.gate.decide(ask).await else {
        if let Ok(request) = requests.try_recv() {
            unreachable(ground, key, request, Unreachable::Prohibited);
        }
        // repeats within this time meet silence, and no other record
        tokio::select! {
            () = ground.stop.cancelled() => {}
            () = tokio::time::sleep(REFUSED_FOR) => {}
        }
        return;
    };
    let started = clock::now();
    let mut bytes = 0;
    let reason = tokio::select! {
        () = ground.stop.cancelled() => reason::STOP,
        () = ticket.revoked() => reason::REVOKED,
        reason = relay(ground, key, socket, &mut requests, &mut bytes) => reason,
    };
    ticket.ended(End {
        reason,
        bytes,
        lasted: clock::now().saturating_duration_since(started),
    });
}

/// Passes requests and answers until the ping falls silent.
async fn relay(
    ground: &Ground,
    key: Key,
    socket: &UdpSocket,
    requests: &mut mpsc::Receiver<Request>,
    bytes: &mut u64,
) -> &'static str {
    let mut last: Option<Request> = None;
    let mut silence = Silence::new(IDLE);
    loop {
        tokio::select! {
            request = requests.recv() => {
                let Some((seq, payload)) = request else { return reason::STOP };
                silence.heard();
                *bytes += u64::try_from(payload.len()).unwrap_or(0);
                // an error of an earlier request may show here; this one is lost with it
                match socket.send(&request_of(key.to, seq, &payload)).await {
                    Ok(_) => last = Some((seq, payload)),
                    Err(why) => unreachable(ground, key, (seq, payload), in_terms_of_icmp(why.kind())),
                }
            }
            received = scratch::receive(socket) => {
                if let Err(why) = &received
                    && let Some(request) = last.take()
                {
                    unreachable(ground, key, request, in_terms_of_icmp(why.kind()));
                }
                let answer = received.unwrap_or_default();
                let Some((seq, payload)) = answer_of(key.to, &answer) else {
                    continue;
                };
                silence.heard();
                *bytes += u64::try_from(payload.len()).unwrap_or(0);
                ground.shard.offer(Command::SendEchoReply {
                    peer: key.peer,
                    from: key.to,
                    to: key.from,
                    ident: key.ident,
                    seq,
                    payload: payload.to_vec(),
                });
            }
            () = silence.over() => return reason::IDLE,
        }
    }
}

/// Tells the device what became of its request.
fn unreachable(ground: &Ground, key: Key, (seq, payload): Request, why: Unreachable) {
    ground.shard.offer(Command::SendEchoUnreachable {
        peer: key.peer,
        from: key.from,
        to: key.to,
        ident: key.ident,
        seq,
        payload,
        why,
    });
}

/// Builds an echo request; the kernel fills in identifier and checksum.
fn request_of(to: IpAddr, seq: u16, payload: &[u8]) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let [high, low] = seq.to_be_bytes();
    let mut packet = Vec::with_capacity(HEADER + payload.len());
    packet.extend([kind, 0, 0, 0, 0, 0, high, low]);
    packet.extend(payload);
    packet
}

/// Reads an echo reply: sequence number and data.
fn answer_of(to: IpAddr, packet: &[u8]) -> Option<(u16, &[u8])> {
    let kind = if to.is_ipv4() { 0 } else { 129 };
    let (header, payload) = packet.split_first_chunk::<HEADER>()?;
    let [found, 0, _, _, _, _, high, low] = *header else {
        return None;
    };
    (found == kind).then_some((u16::from_be_bytes([high, low]), payload))
}

/// Opens a ping socket towards one host.
fn connect(to: IpAddr) -> io::Result<UdpSocket> {
    let (any, protocol): (IpAddr, _) = match to {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Protocol::ICMPV4),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Protocol::ICMPV6),
    };
    let domain = Domain::for_address(SocketAddr::new(any, 0));
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(protocol))?;
    socket.connect(&SocketAddr::new(to, 0).into())?;
    room_for(UdpSocket::from_std(socket.into())?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::UdpSocket;
    use tokio::sync::mpsc;
    use tokio::time::Instant;
    use wg::PeerId;

    use super::super::testing::{Waiting, ground};
    use super::{IDLE, Key, answer_of, relay, request_of};
    use crate::audit::reason;

    #[tokio::test(start_paused = true)]
    async fn a_ping_that_nobody_repeats_is_over() {
        let (ground, _commands) = ground(Arc::new(Waiting::default()));
        let host = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(host.local_addr().unwrap()).await.unwrap();
        let key = Key {
            peer: PeerId(1),
            from: [10, 200, 200, 2].into(),
            to: [127, 0, 0, 1].into(),
            ident: 7,
        };
        let (device, mut requests) = mpsc::channel(4);
        let begun = Instant::now();
        let mut bytes = 0;
        let talk = async {
            tokio::time::sleep(IDLE / 2).await;
            device.send((1, b"ping".to_vec())).await.unwrap();
        };
        let ping = relay(&ground, key, &socket, &mut requests, &mut bytes);
        let (ended, ()) = tokio::join!(ping, talk);
        assert_eq!((ended, bytes), (reason::IDLE, 4));
        assert!(begun.elapsed() >= IDLE + IDLE / 2);
        assert!(begun.elapsed() < 3 * IDLE);
    }

    #[test]
    fn an_answer_is_read_and_anything_else_is_not() {
        let to = "192.0.2.1".parse().unwrap();
        let mut packet = request_of(to, 0x0102, b"data");
        assert_eq!(answer_of(to, &packet), None);
        packet[0] = 0;
        assert_eq!(answer_of(to, &packet), Some((0x0102, &b"data"[..])));
        assert_eq!(answer_of(to, &packet[..7]), None);
        assert_eq!(answer_of("2001:db8::1".parse().unwrap(), &packet), None);
    }
}
