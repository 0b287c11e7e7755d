//! UDP flows of the devices: one host socket each.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{ip_mtu, ipv6_mtu};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wg::{Event, PeerId, Unreachable};

use super::bucket::Buckets;
use super::dns::Way;
use super::flows::Ground;
use super::gate::{Ask, End, Proto, Refusal, RefusalKind, Ticket};
use super::scratch;
use super::shard::Command;
use super::silence::Silence;
use crate::audit::reason;
use crate::clock;
use crate::descriptors::{self, Claim};
use crate::ids::DeviceId;
use crate::limits::Tally;

/// UDP flows of one device.
const FLOWS_PER_DEVICE: usize = 256;
/// New flows of one device a second, and at once.
const NEW_PER_SECOND: u32 = 100;
const NEW_AT_ONCE: u32 = 300;
/// How long a flow lives without a datagram (RFC 4787 asks for two minutes as a default; names
/// and calls are done sooner, and QUIC keeps itself alive).
const IDLE: Duration = Duration::from_secs(60);
/// How long a refused flow is not decided again.
const REFUSED_FOR: Duration = Duration::from_secs(2);
/// Datagrams of a device that wait for the host socket.
const QUEUE: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    peer: PeerId,
    from: SocketAddr,
    to: SocketAddr,
}

/// The table of UDP flows, and the dispatch of all datagrams of the devices.
pub(super) struct Datagrams {
    ground: Ground,
    flows: HashMap<Key, mpsc::Sender<Vec<u8>>>,
    devices: Tally<PeerId>,
    rate: Buckets,
    tasks: JoinSet<Option<Key>>,
}

impl Datagrams {
    /// Makes an empty table.
    pub(super) fn new(ground: Ground) -> Self {
        Self {
            ground,
            flows: HashMap::new(),
            devices: Tally::default(),
            rate: Buckets::new(NEW_PER_SECOND, NEW_AT_ONCE),
            tasks: JoinSet::new(),
        }
    }

    /// Serves datagrams until the shard ends or the tunnel stops.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let stop = self.ground.stop.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = events.recv() => match event {
                    Some(event) => self.hear(event),
                    None => break,
                },
                Some(ended) = self.tasks.join_next() => if let Ok(Some(key)) = ended {
                    self.forget(&key);
                },
            }
        }
        self.flows.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    fn hear(&mut self, event: Event) {
        if let Event::UdpReceived {
            peer,
            from,
            to,
            payload,
        } = event
        {
            let key = Key { peer, from, to };
            if self.ground.dns.is_gateway(to.ip()) {
                self.ask_gateway(key, payload);
            } else {
                self.pass_on(key, payload);
            }
        }
    }

    fn ask_gateway(&mut self, key: Key, payload: Vec<u8>) {
        if key.to.port() != 53 {
            return self.ground.shard.offer(Command::SendUnreachable {
                peer: key.peer,
                from: key.from,
                to: key.to,
                payload,
                why: Unreachable::Port,
            });
        }
        let ground = self.ground.clone();
        self.tasks.spawn(async move {
            let device = DeviceId(key.peer.0);
            let reply = ground.dns.answer(device, &payload, Way::Datagram).await;
            if let Some(payload) = reply {
                ground.shard.offer(send(key, payload));
            }
            None
        });
    }

    fn pass_on(&mut self, key: Key, payload: Vec<u8>) {
        if let Some(flow) = self.flows.get(&key) {
            // a full or closed queue drops the datagram, as a network does
            drop(flow.try_send(payload));
            return;
        }
        match self.begin(key) {
            Ok(flow) => {
                drop(flow.try_send(payload));
                self.flows.insert(key, flow);
            }
            Err(reason) => self.ground.ledger.refuse(Refusal {
                device: DeviceId(key.peer.0),
                kind: RefusalKind::Flow,
                reason,
                source: Some(key.from.ip()),
                target: format!("udp://{}", key.to),
                more: 0,
            }),
        }
    }

    fn begin(&mut self, key: Key) -> Result<mpsc::Sender<Vec<u8>>, &'static str> {
        if self.devices.of(&key.peer) >= FLOWS_PER_DEVICE {
            return Err(reason::TOO_MANY_CONNECTIONS);
        }
        if !self.rate.take(DeviceId(key.peer.0), clock::now()) {
            return Err(reason::RATE_LIMITED);
        }
        if !self.ground.reach.allows(key.to) {
            return Err(reason::GUARD);
        }
        self.devices.add(key.peer);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let ground = self.ground.clone();
        self.tasks.spawn(async move {
            flow(&ground, key, receiver).await;
            Some(key)
        });
        Ok(sender)
    }

    fn forget(&mut self, key: &Key) {
        self.flows.remove(key);
        self.devices.take(&key.peer);
    }
}

/// Runs one flow from its decision to its end.
async fn flow(ground: &Ground, key: Key, mut datagrams: mpsc::Receiver<Vec<u8>>) {
    let ask = Ask {
        device: DeviceId(key.peer.0),
        source: key.from,
        target: key.to,
        proto: Proto::Udp,
    };
    let Ok(ticket) = ground.gate.decide(ask).await else {
        if let Ok(payload) = datagrams.try_recv() {
            ground.shard.offer(Command::SendUnreachable {
                peer: key.peer,
                from: key.from,
                to: key.to,
                payload,
                why: Unreachable::Prohibited,
            });
        }
        // repeats within this time meet the same answer without another record
        tokio::select! {
            () = ground.stop.cancelled() => {}
            () = tokio::time::sleep(REFUSED_FOR) => {}
        }
        return;
    };
    let started = clock::now();
    let mut bytes = 0;
    let reason = match connect(key.to).await {
        Ok(socket) => {
            tokio::select! {
                () = ground.stop.cancelled() => reason::STOP,
                () = ticket.revoked() => reason::REVOKED,
                reason = relay(ground, key, &socket, &mut datagrams, Uses { ticket: &*ticket, bytes: &mut bytes }) => reason,
            }
        }
        Err(why) => {
            if let Ok(payload) = datagrams.try_recv() {
                unreachable(ground, key, payload, &why);
            }
            why_not(&why)
        }
    };
    ticket.ended(End {
        reason,
        bytes,
        lasted: clock::now().saturating_duration_since(started),
    });
}

async fn connect(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = room_for(UdpSocket::bind(any).await?)?;
    socket.connect(to).await?;
    Ok(socket)
}

/// Keeps a new socket of a device if it leaves the descriptors that others need.
///
/// # Errors
/// As the system's own where there is none left.
pub(super) fn room_for(socket: UdpSocket) -> io::Result<UdpSocket> {
    if descriptors::fits(socket.as_raw_fd(), Claim::Known) {
        Ok(socket)
    } else {
        Err(Errno::MFILE.into())
    }
}

/// Names why a socket was not to be had.
pub(super) fn why_not(why: &io::Error) -> &'static str {
    let full = [Errno::MFILE, Errno::NFILE].map(|full| Some(full.raw_os_error()));
    if full.contains(&why.raw_os_error()) {
        reason::OVERLOADED
    } else {
        reason::UNREACHABLE
    }
}

/// Where the use of a flow is noted.
struct Uses<'a> {
    ticket: &'a dyn Ticket,
    bytes: &'a mut u64,
}

/// Passes datagrams both ways until the flow falls silent.
async fn relay(
    ground: &Ground,
    key: Key,
    socket: &UdpSocket,
    datagrams: &mut mpsc::Receiver<Vec<u8>>,
    Uses { ticket, bytes }: Uses<'_>,
) -> &'static str {
    let mut last: Option<Vec<u8>> = None;
    let mut silence = Silence::new(IDLE);
    loop {
        tokio::select! {
            payload = datagrams.recv() => {
                let Some(payload) = payload else { return reason::STOP };
                silence.heard();
                *bytes += u64::try_from(payload.len()).unwrap_or(0);
                ticket.used();
                // an ICMP error of an earlier datagram shows here; this one is lost with it
                match socket.send(&payload).await {
                    Ok(_) => last = Some(payload),
                    Err(why) => refused(ground, key, socket, payload, &why),
                }
            }
            ready = socket.ready(Interest::READABLE | Interest::ERROR) => {
                let broken = ready.is_ok_and(|ready| ready.is_error());
                if let Some(why) = broken.then(|| failure(socket)).flatten()
                    && let Some(payload) = last.take()
                {
                    refused(ground, key, socket, payload, &why);
                }
                if let Ok(payload) = scratch::try_receive(socket) {
                    silence.heard();
                    *bytes += u64::try_from(payload.len()).unwrap_or(0);
                    ground.shard.offer(send(key, payload));
                }
            }
            () = silence.over() => return reason::IDLE,
        }
    }
}

/// Takes the pending error of the socket, if there is one.
fn failure(socket: &UdpSocket) -> Option<io::Error> {
    let taken = socket.try_io(Interest::ERROR, || match socket.take_error()? {
        Some(why) => Ok(why),
        None => Err(io::ErrorKind::WouldBlock.into()),
    });
    taken.ok()
}

/// Tells the device what became of its datagram. One that a narrow path refused is sent again: the
/// kernel knows the width of the path from then on and cuts it.
fn refused(ground: &Ground, key: Key, socket: &UdpSocket, payload: Vec<u8>, why: &io::Error) {
    if why.raw_os_error() != Some(Errno::MSGSIZE.raw_os_error()) {
        return unreachable(ground, key, payload, why);
    }
    drop(socket.try_send(&payload));
    if let Some(width) = width_of_path(socket) {
        let why = Unreachable::TooBig(width);
        tell(ground, key, payload, why);
    }
}

/// Reads what the kernel has learnt of the path to the host, in bytes.
fn width_of_path(socket: &UdpSocket) -> Option<u16> {
    let width = match socket.peer_addr().ok()? {
        SocketAddr::V4(_) => ip_mtu(socket),
        SocketAddr::V6(_) => ipv6_mtu(socket),
    };
    u16::try_from(width.ok()?).ok()
}

/// Tells the device in its own terms what the host's network said.
fn unreachable(ground: &Ground, key: Key, payload: Vec<u8>, why: &io::Error) {
    tell(ground, key, payload, in_terms_of_icmp(why.kind()));
}

fn tell(ground: &Ground, key: Key, payload: Vec<u8>, why: Unreachable) {
    ground.shard.offer(Command::SendUnreachable {
        peer: key.peer,
        from: key.from,
        to: key.to,
        payload,
        why,
    });
}

/// Puts an error of a socket into what ICMP can say.
pub(super) fn in_terms_of_icmp(why: io::ErrorKind) -> Unreachable {
    if why == io::ErrorKind::ConnectionRefused {
        Unreachable::Port
    } else if why == io::ErrorKind::PermissionDenied {
        Unreachable::Prohibited
    } else {
        Unreachable::Host
    }
}

/// The command that carries an answer back to the device.
fn send(key: Key, payload: Vec<u8>) -> Command {
    Command::SendUdp {
        peer: key.peer,
        from: key.to,
        to: key.from,
        payload,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Standing, Waiting, ground};
    use super::{
        Command, Datagrams, Errno, FLOWS_PER_DEVICE, IDLE, Key, UdpSocket, Unreachable, Uses,
        in_terms_of_icmp, relay, why_not,
    };
    use crate::audit::reason;
    use std::io::ErrorKind;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;
    use tokio::sync::mpsc;
    use tokio::time::Instant;
    use wg::PeerId;

    fn key(peer: u32, port: usize) -> Key {
        let port = u16::try_from(port).unwrap();
        Key {
            peer: PeerId(peer),
            from: ([10, 200, 200, 2], port).into(),
            to: ([192, 0, 2, 7], 53).into(),
        }
    }

    #[tokio::test]
    async fn a_device_has_so_many_flows_and_the_next_one_when_one_is_over() {
        let (ground, _commands) = ground(Arc::new(Waiting::default()));
        let mut table = Datagrams::new(ground);
        let mut open: Vec<_> = (0..FLOWS_PER_DEVICE)
            .map(|n| table.begin(key(1, n)).unwrap())
            .collect();
        let full = table.begin(key(1, FLOWS_PER_DEVICE)).err();
        assert_eq!(full, Some(reason::TOO_MANY_CONNECTIONS));
        assert!(table.begin(key(2, 0)).is_ok(), "another device has its own");
        open.pop();
        table.forget(&key(1, FLOWS_PER_DEVICE - 1));
        assert!(table.begin(key(1, FLOWS_PER_DEVICE)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flow_ends_when_it_was_silent_for_so_long_and_not_before() {
        let (ground, mut commands) = ground(Arc::new(Waiting::default()));
        let host = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(host.local_addr().unwrap()).await.unwrap();
        let (device, mut datagrams) = mpsc::channel(4);
        let (ticket, mut bytes) = (Standing::default(), 0);
        let uses = Uses {
            ticket: &ticket,
            bytes: &mut bytes,
        };
        let begun = Instant::now();
        let almost = IDLE.checked_sub(Duration::from_secs(1)).unwrap();
        let talk = async {
            // each side keeps it open
            tokio::time::sleep(almost).await;
            device.send(b"question".to_vec()).await.unwrap();
            let mut room = [0; 20];
            let (length, from) = host.recv_from(&mut room).await.unwrap();
            assert_eq!(&room[..length], b"question");
            tokio::time::sleep(almost).await;
            host.send_to(b"answer", from).await.unwrap();
            let Some(Command::SendUdp { payload, .. }) = commands.recv().await else {
                panic!("no answer");
            };
            assert_eq!(payload, b"answer");
        };
        let flow = relay(&ground, key(1, 9), &socket, &mut datagrams, uses);
        let (ended, ()) = tokio::join!(flow, talk);
        assert_eq!(ended, reason::IDLE);
        let lasted = begun.elapsed();
        assert!(lasted >= 2 * almost + IDLE, "{lasted:?}");
        assert!(lasted < 2 * almost + 2 * IDLE, "{lasted:?}");
        assert_eq!((bytes, ticket.used.load(Ordering::SeqCst)), (14, 1));
        drop(device);
    }

    #[test]
    fn a_full_table_of_descriptors_is_no_fault_of_the_host() {
        for (errno, told) in [
            (Errno::MFILE, reason::OVERLOADED),
            (Errno::NFILE, reason::OVERLOADED),
            (Errno::HOSTUNREACH, reason::UNREACHABLE),
        ] {
            assert_eq!(why_not(&errno.into()), told);
        }
    }

    #[test]
    fn errors_of_the_network_reach_the_device_as_what_they_are() {
        for (kind, told) in [
            (ErrorKind::ConnectionRefused, Unreachable::Port),
            (ErrorKind::HostUnreachable, Unreachable::Host),
            (ErrorKind::NetworkUnreachable, Unreachable::Host),
            (ErrorKind::PermissionDenied, Unreachable::Prohibited),
        ] {
            assert_eq!(in_terms_of_icmp(kind), told, "{kind:?}");
        }
    }
}
