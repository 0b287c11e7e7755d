//! The thread that owns the WireGuard node, its UDP socket and the TUN device.
//!
//! Packets never leave this thread. What others want of the node is a [`Command`]; what the node
//! reports goes out by bounded queues, and a full queue costs the report, never the thread.

mod arrivals;
mod deal;
mod gather;
mod handshakes;
mod io;
mod pause;
mod post;
mod queues;
mod reached;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeSet, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Sleep;
use wg::{Event, FlowId, Handled, Node, PeerConfig, PeerId, Refusal};

use crate::clock;
use arrivals::Arrivals;
use gather::Gather;
use handshakes::Handshakes;
use io::{Intake, Outer, Tun};
use pause::Pause;
use post::Mail;
use waiting::Waiting;

pub(super) use deal::Deal;
pub(super) use io::outer;
pub(super) use post::Mail as Boxes;
pub(super) use queues::{Command, FlowNews, Inbox, Reports, Shard, reports};

/// The longest pause between two looks at the node's timers.
const TICK: Duration = Duration::from_millis(250);
/// Commands taken in one round before packets get their turn.
const COMMANDS_PER_ROUND: usize = 256;
/// Packets read from the TUN device in one round: as a rule all there are, so that those of a
/// device that sends little wait among the node's, not behind the others' in the driver.
const TUN_READS_PER_ROUND: usize = 128;
/// Bytes sent in one round, about a quarter of a millisecond of encryption.
const BYTES_PER_ROUND: usize = 256 * 1024;
/// Rounds after which the runtime looks at all descriptors, though one has always something.
const ROUNDS_AT_ONCE: u32 = 8;

/// What a shard owns.
#[derive(Debug)]
pub(super) struct Parts {
    /// The bound UDP socket.
    pub(super) outer: std::net::UdpSocket,
    /// Where another thread puts what the socket receives, if this shard does not read it itself.
    pub(super) mail: Option<Mail>,
    /// The TUN device.
    pub(super) tun: std::os::fd::OwnedFd,
    /// The private IPv4 listener.
    pub(super) listen4: TcpListener,
    /// The private IPv6 listener.
    pub(super) listen6: Option<TcpListener>,
}

/// The loop of one shard.
#[derive(Debug)]
pub(super) struct Loop {
    node: Node,
    outer: Outer,
    arrivals: Arrivals,
    waiting: Waiting,
    /// When a batch last had datagrams of several senders.
    shared: Option<Instant>,
    tun: Tun,
    listen4: tokio::net::TcpListener,
    listen6: Option<tokio::net::TcpListener>,
    reports: Reports,
    /// The devices in force.
    peers: BTreeSet<PeerId>,
    /// Ends that the queue had no place for; at most one for each flow of the node.
    closed: VecDeque<FlowId>,
    handshakes: Handshakes,
    gather: Gather,
    /// What failed is left alone for a while, each on its own.
    outer_pause: Pause,
    tun_pause: Pause,
    accept_pause: Pause,
    /// Rounds since the runtime last looked at the descriptors.
    rounds: u32,
}

enum Wake {
    Io,
    Timer,
    Accepted(std::io::Result<(TcpStream, SocketAddr)>),
    Command(Option<Command>),
}

impl Loop {
    /// Registers the descriptors with the runtime of the current thread.
    ///
    /// # Errors
    /// What the system answers.
    pub(super) fn new(node: Node, parts: Parts, reports: Reports) -> std::io::Result<Self> {
        let listen = |listener: TcpListener| {
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        };
        let arrivals = match parts.mail {
            Some(mail) => Arrivals::Mail(mail, VecDeque::new()),
            None => Arrivals::Socket(Box::new(Intake::new(&parts.outer)?)),
        };
        Ok(Self {
            node,
            outer: Outer::new(parts.outer)?,
            arrivals,
            waiting: Waiting::default(),
            shared: None,
            tun: Tun::new(parts.tun)?,
            listen4: listen(parts.listen4)?,
            listen6: parts.listen6.map(listen).transpose()?,
            reports,
            peers: BTreeSet::new(),
            closed: VecDeque::new(),
            handshakes: Handshakes::new(clock::now()),
            gather: Gather::new(clock::now()),
            outer_pause: Pause::default(),
            tun_pause: Pause::default(),
            accept_pause: Pause::default(),
            rounds: 0,
        })
    }

    /// Runs until the last [`Shard`] is dropped.
    pub(super) async fn run(&mut self, commands: &mut mpsc::Receiver<Command>) {
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            match self.wait(commands, timer.as_mut()).await {
                Wake::Io | Wake::Timer => {}
                Wake::Accepted(Ok((stream, peer))) => {
                    self.accept_pause.worked();
                    self.accepted(stream, peer);
                }
                Wake::Accepted(Err(why)) => {
                    self.accept_pause.failed(&why, "accept", clock::now());
                }
                Wake::Command(None) => return,
                Wake::Command(Some(command)) => {
                    self.obey(command);
                    for _ in 1..COMMANDS_PER_ROUND {
                        let Ok(command) = commands.try_recv() else {
                            break;
                        };
                        self.obey(command);
                    }
                }
            }
            self.round();
            self.look_around().await;
            self.gather();
            self.arm(timer.as_mut());
        }
    }

    async fn wait(&self, commands: &mut mpsc::Receiver<Command>, timer: Pin<&mut Sleep>) -> Wake {
        let accept6 = async {
            match &self.listen6 {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let now = clock::now();
        let accepts = self.accept_pause.is_over(now);
        tokio::select! {
            () = self.arrivals.ready(), if self.outer_pause.is_over(now) => Wake::Io,
            () = self.tun.readable(), if self.tun_pause.is_over(now) => Wake::Io,
            accepted = self.listen4.accept(), if accepts => Wake::Accepted(accepted),
            accepted = accept6, if accepts => Wake::Accepted(accepted),
            command = commands.recv() => Wake::Command(command),
            () = std::future::ready(()), if self.has_more() => Wake::Io,
            () = timer => Wake::Timer,
        }
    }

    /// Moves what is there in both directions, then looks at the node's timers.
    fn round(&mut self) {
        let now = clock::now();
        if self.outer_pause.is_over(now) {
            let received = self.receive(now);
            self.outer_pause.note(received, "UDP", now);
        }
        if self.tun_pause.is_over(now) {
            let read = self.read_tun(now);
            self.tun_pause.note(read, "TUN", now);
        }
        self.transmit(BYTES_PER_ROUND);
        self.shake_hands();
        if self.node.poll_timeout().is_none_or(|(at, _)| at <= now) {
            self.node.handle_timeout(now);
        }
        self.deliver();
        self.transmit(BYTES_PER_ROUND);
    }

    /// Whether there is something to do though nothing arrives.
    fn has_more(&self) -> bool {
        self.node.wants_to_transmit() || !self.waiting.is_empty()
    }

    /// Lets the runtime ask the system which descriptors are ready. While one of them always is,
    /// it would not, and what the others have would wait.
    async fn look_around(&mut self) {
        self.rounds += 1;
        if self.rounds >= ROUNDS_AT_ONCE || self.has_more() {
            self.rounds = 0;
            tokio::task::yield_now().await;
        }
    }

    /// Lets datagrams gather where much arrives and nothing is to be sent.
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime's timers count milliseconds, and the thread is this loop's own"
    )]
    fn gather(&self) {
        if let Some(pause) = self.gather.pause()
            && !self.has_more()
        {
            std::thread::sleep(pause);
        }
    }

    /// Works on handshakes that wait, for as long as they may.
    fn shake_hands(&mut self) {
        let wall = clock::wall();
        let start = clock::now();
        self.handshakes.earn(start);
        let mut now = start;
        while self.handshakes.may_go_on(start, now) {
            let (node, arrivals) = (&mut self.node, &self.arrivals);
            let handle = |(from, here), message: &[u8]| {
                let handled = node.handle_admitted(from, message, now, wall);
                if let (Handled::Elsewhere(peer), Arrivals::Mail(mail, _)) = (handled, arrivals) {
                    mail.pass_on(peer, from, here, message);
                }
                handled != Handled::Refused
            };
            let Some(is_known) = self.handshakes.next(handle) else {
                return;
            };
            let done = clock::now();
            let spent = done.saturating_duration_since(now);
            self.handshakes.took(spent, is_known);
            now = done;
        }
    }

    /// Reads what the kernel sends; the node decides what of it is next.
    fn read_tun(&mut self, now: Instant) -> std::io::Result<()> {
        for _ in 0..TUN_READS_PER_ROUND {
            let length = self.tun.read(self.node.tun_room())?;
            if length == 0 {
                break;
            }
            self.handshakes.saw_data(now);
            self.node.handle_tun_packet(length, now);
        }
        Ok(())
    }

    /// Writes packets to the kernel and reports what happened.
    fn deliver(&mut self) {
        while let Some(packet) = self.node.poll_tun() {
            self.tun.write(packet);
        }
        while let Some(event) = self.node.poll_event() {
            self.report(event);
        }
        while let Some(flow) = self.closed.pop_front() {
            if self.reports.flows.try_send(FlowNews::Closed(flow)).is_err() {
                self.closed.push_front(flow);
                break;
            }
        }
    }

    /// Encrypts and sends about `most` bytes of what waits.
    fn transmit(&mut self, most: usize) {
        let mut sent = 0;
        while sent < most
            && let Some(transmit) = self.node.poll_transmit()
        {
            sent += transmit.contents.len();
            self.outer.send(transmit);
        }
    }

    fn arm(&self, timer: Pin<&mut Sleep>) {
        let now = clock::now();
        let tick = self.handshakes.due(now).unwrap_or(now + TICK);
        let pauses = [&self.outer_pause, &self.tun_pause, &self.accept_pause];
        let ends = pauses.into_iter().filter_map(|pause| pause.end(now));
        let latest = ends.fold(tick, Instant::min);
        let due = self.node.poll_timeout().map_or(latest, |(at, _)| at);
        timer.reset(tokio::time::Instant::from_std(due.clamp(now, latest)));
    }

    fn accepted(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Some(flow) = self.node.flow_of_accepted(peer) else {
            tracing::debug!(%peer, "accepted a connection of no flow");
            return;
        };
        let Ok(stream) = stream.into_std() else {
            return self.node.close_flow(flow.id);
        };
        let news = FlowNews::Accepted(flow, stream);
        if self.reports.flows.try_send(news).is_err() {
            self.node.close_flow(flow.id);
        }
    }

    fn report(&mut self, event: Event) {
        match event {
            Event::SynSeen(flow) => {
                let told = self.reports.flows.try_send(FlowNews::Syn(flow));
                told.unwrap_or_else(|_| self.node.refuse(flow.id, Refusal::Reset));
            }
            Event::FlowClosed(flow) => self.closed.push_back(flow),
            Event::UdpReceived { .. } => {
                drop(self.reports.datagrams.try_send(event));
            }
            Event::EchoRequest { .. } => {
                drop(self.reports.echoes.try_send(event));
            }
            Event::Refused { .. }
            | Event::Handshake { .. }
            | Event::SeenTwice { .. }
            | Event::EndpointChanged { .. } => {
                drop(self.reports.notes.try_send(event));
            }
        }
    }

    /// Puts peers in force; a device that leaves is told that its flows are closed while there
    /// still are keys to tell it with.
    fn set_peers(&mut self, peers: Vec<PeerConfig>, now: Instant) -> Result<(), wg::NodeError> {
        let staying: BTreeSet<PeerId> = peers.iter().map(|peer| peer.id).collect();
        for leaving in self.peers.difference(&staying) {
            self.node.close_flows_of(*leaving, |_| false);
        }
        self.transmit(usize::MAX);
        self.node.set_peers(peers, now)?;
        self.peers = staying;
        Ok(())
    }

    fn obey(&mut self, command: Command) {
        let now = clock::now();
        let node = &mut self.node;
        let sent = match command {
            Command::Permit(flow) => {
                node.permit(flow, now);
                Ok(())
            }
            Command::Refuse(flow, how) => {
                node.refuse(flow, how);
                Ok(())
            }
            Command::Close(flow) => {
                node.close_flow(flow);
                Ok(())
            }
            Command::Finished(flow) => {
                node.flow_finished(flow, now);
                Ok(())
            }
            Command::SendUdp {
                peer,
                from,
                to,
                payload,
            } => node.send_udp(peer, from, to, &payload, now),
            Command::SendUnreachable {
                peer,
                from,
                to,
                payload,
                why,
            } => node.send_unreachable(peer, from, to, &payload, why, now),
            Command::SendEchoReply {
                peer,
                from,
                to,
                ident,
                seq,
                payload,
            } => node.send_echo_reply(peer, from, to, ident, seq, &payload, now),
            Command::SetPeers(peers, answer) => {
                // the asker may have gone; the peers are in force all the same
                let _ = answer.send(self.set_peers(peers, now));
                Ok(())
            }
            Command::Status(peer, answer) => {
                let _ = answer.send(node.peer_status(peer, now));
                Ok(())
            }
            Command::ForgetMark(peer, answer) => {
                let _ = answer.send(node.forget_mark(peer));
                Ok(())
            }
            Command::SendEchoUnreachable {
                peer,
                from,
                to,
                ident,
                seq,
                payload,
                why,
            } => node.send_echo_unreachable(peer, (from, to), (ident, seq), &payload, why, now),
            Command::Counters(answer) => {
                let _ = answer.send(node.counters().clone());
                Ok(())
            }
        };
        if let Err(why) = sent {
            tracing::debug!(error = %why, "packet to a device was dropped");
        }
    }
}
