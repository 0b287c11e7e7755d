//! The queues into and out of a shard.

use std::net::{IpAddr, SocketAddr};

use tokio::sync::{mpsc, oneshot};
use wg::{Event, FlowId, FlowRecord, PeerConfig, PeerId, PeerStatus, Refusal, Unreachable};

/// Places in the queues.
const COMMAND_QUEUE: usize = 4096;
const REPORT_QUEUE: usize = 1024;

/// What the rest of the tunnel wants of the node.
#[derive(Debug)]
pub(in crate::tunnel) enum Command {
    /// Releases a held SYN.
    Permit(FlowId),
    /// Turns a held SYN away.
    Refuse(FlowId, Refusal),
    /// Ends a flow towards the device.
    Close(FlowId),
    /// Says that the accepted socket of a flow is closed.
    Finished(FlowId),
    /// Sends a datagram to a device.
    SendUdp {
        peer: PeerId,
        from: SocketAddr,
        to: SocketAddr,
        payload: Vec<u8>,
    },
    /// Tells a device that its datagram was not delivered.
    SendUnreachable {
        peer: PeerId,
        from: SocketAddr,
        to: SocketAddr,
        payload: Vec<u8>,
        why: Unreachable,
    },
    /// Answers an echo request.
    SendEchoReply {
        peer: PeerId,
        from: IpAddr,
        to: IpAddr,
        ident: u16,
        seq: u16,
        payload: Vec<u8>,
    },
    /// Puts a whole new set of peers in force.
    SetPeers(Vec<PeerConfig>, oneshot::Sender<Result<(), wg::NodeError>>),
    /// Asks for the state of one peer.
    Status(PeerId, oneshot::Sender<Option<PeerStatus>>),
    /// Forgets the handshake timestamps of a peer and ends its session.
    ForgetMark(PeerId, oneshot::Sender<bool>),
    /// Tells a device that its echo request was not delivered.
    SendEchoUnreachable {
        peer: PeerId,
        from: IpAddr,
        to: IpAddr,
        ident: u16,
        seq: u16,
        payload: Vec<u8>,
        why: Unreachable,
    },
    /// Asks what passed and what was dropped.
    Counters(oneshot::Sender<wg::Counters>),
}

/// A TCP flow's life as the shard reports it.
#[derive(Debug)]
pub(in crate::tunnel) enum FlowNews {
    /// A held SYN waits for an answer.
    Syn(FlowRecord),
    /// The kernel completed the handshake.
    Accepted(FlowRecord, std::net::TcpStream),
    /// The flow is gone.
    Closed(FlowId),
}

/// Where the shard's reports go.
#[derive(Debug)]
pub(in crate::tunnel) struct Reports {
    /// TCP flows.
    pub(in crate::tunnel) flows: mpsc::Sender<FlowNews>,
    /// Datagrams.
    pub(in crate::tunnel) datagrams: mpsc::Sender<Event>,
    /// Echo requests.
    pub(in crate::tunnel) echoes: mpsc::Sender<Event>,
    /// Handshakes, roaming and refused packets.
    pub(in crate::tunnel) notes: mpsc::Sender<Event>,
}

/// The receiving ends of [`Reports`].
#[derive(Debug)]
pub(in crate::tunnel) struct Inbox {
    /// TCP flows.
    pub(in crate::tunnel) flows: mpsc::Receiver<FlowNews>,
    /// Datagrams.
    pub(in crate::tunnel) datagrams: mpsc::Receiver<Event>,
    /// Echo requests.
    pub(in crate::tunnel) echoes: mpsc::Receiver<Event>,
    /// Handshakes, roaming and refused packets.
    pub(in crate::tunnel) notes: mpsc::Receiver<Event>,
}

/// Makes the queues out of a shard.
pub(in crate::tunnel) fn reports() -> (Reports, Inbox) {
    let (flows, flows_in) = mpsc::channel(REPORT_QUEUE);
    let (datagrams, datagrams_in) = mpsc::channel(REPORT_QUEUE);
    let (echoes, echoes_in) = mpsc::channel(REPORT_QUEUE);
    let (notes, notes_in) = mpsc::channel(REPORT_QUEUE);
    let reports = Reports {
        flows,
        datagrams,
        echoes,
        notes,
    };
    let inbox = Inbox {
        flows: flows_in,
        datagrams: datagrams_in,
        echoes: echoes_in,
        notes: notes_in,
    };
    (reports, inbox)
}

/// The way to the shard's thread.
#[derive(Clone, Debug)]
pub(in crate::tunnel) struct Shard {
    commands: mpsc::Sender<Command>,
}

impl Shard {
    /// Makes the queue into a shard.
    pub(in crate::tunnel) fn channel() -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
        (Self { commands }, receiver)
    }

    /// Hands a command over; waits while the queue is full, and is lost with a shard that ended.
    pub(in crate::tunnel) async fn tell(&self, command: Command) {
        drop(self.commands.send(command).await);
    }

    /// Hands a packet over, or drops it while the queue is full.
    pub(in crate::tunnel) fn offer(&self, command: Command) {
        drop(self.commands.try_send(command));
    }

    /// Asks something; `None` when the shard has ended.
    pub(in crate::tunnel) async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Option<T> {
        let (answer, receiver) = oneshot::channel();
        self.commands.send(question(answer)).await.ok()?;
        receiver.await.ok()
    }
}
