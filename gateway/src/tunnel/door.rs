//! The whole tunnel door: namespace, shard thread and the tasks around them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wg::{Inside, Node, NodeConfig, PeerId};

use super::dns::{Dns, Names};
use super::flows::{Flows, Ground};
use super::gate::Gate;
use super::icmp::Echoes;
use super::ledger::Ledger;
use super::namespace::{Helper, Namespace, POOL4, POOL6, Plan, Step, TunnelError};
use super::peers;
use super::reach::Reach;
use super::shard::{self, Command, Loop, Parts, Reports, Shard};
use super::udp::Datagrams;
use crate::clock;
use crate::ids::{self, DeviceId};

/// What the door is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The bound UDP socket; it outlives the door, for the next one.
    pub(crate) outer: Arc<UdpSocket>,
    /// The gateway's WireGuard key.
    pub(crate) private_key: wg::PrivateKey,
    /// The networks of the devices; the gateway has an address in them.
    pub(crate) networks: Vec<IpNet>,
    /// The gateway's addresses, the resolvers and the office zones.
    pub(crate) names: Names,
    /// Ports on which the gateway listens on its host, kept from the devices.
    pub(crate) own_ports: Vec<u16>,
    /// The namespace helper.
    pub(crate) helper: Helper,
}

/// What happened at a door since it was opened.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Datagrams and packets.
    pub(crate) node: wg::Counters,
    /// Flows, pings and names refused before any decision, by the reason in the journal.
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Lists how many were dropped, by reason.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let reasons = wg::DropReason::ALL.iter();
        reasons.map(|reason| (reason.code(), self.node.dropped(*reason)))
    }
}

/// An open door.
pub(crate) struct Door {
    gate: Arc<dyn Gate>,
    shard: Mutex<Option<Shard>>,
    ledger: Ledger,
    syncing: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    ended: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Door {
    /// Opens the door; its tasks run on the current runtime, its packets on a thread of their own.
    ///
    /// # Errors
    /// The step that failed, with what to grant or correct.
    pub(crate) async fn open(settings: Settings, gate: Arc<dyn Gate>) -> Result<Self, TunnelError> {
        let plan = Plan::new(settings.names.mtu);
        let helper = settings.helper.clone();
        let opening = tokio::task::spawn_blocking(move || Namespace::open(&plan, &helper));
        let namespace = opening
            .await
            .map_err(|why| TunnelError::new(Step::StartHelper, why))??;
        tracing::info!(
            congestion = namespace.congestion,
            notes = ?namespace.notes,
            ipv6 = namespace.listen6.is_some(),
            "private network namespace is open"
        );
        let outer = settings.outer.try_clone();
        let outer = outer.map_err(|why| TunnelError::new(Step::BindUdp, why))?;
        let node = node(&settings, &namespace)?;
        let parts = Parts {
            outer,
            tun: namespace.tun,
            listen4: namespace.listen4,
            listen6: namespace.listen6,
        };
        let (shard, commands) = Shard::channel();
        let (reports, inbox) = shard::reports();
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let thread = spawn(node, parts, reports, commands, ended.clone())
            .map_err(|why| TunnelError::new(Step::Node, why))?;
        let ledger = Ledger::new(Arc::clone(&gate));
        let ground = Ground {
            gate: Arc::clone(&gate),
            shard: shard.clone(),
            reach: Arc::new(Reach {
                inside: settings.networks,
                own_ports: settings.own_ports,
            }),
            dns: Arc::new(Dns::new(settings.names, Arc::clone(&gate), ledger.clone())),
            ledger: ledger.clone(),
            stop: stop.clone(),
        };
        let tasks = vec![
            tokio::spawn(Flows::new(ground.clone()).run(inbox.flows)),
            tokio::spawn(Datagrams::new(ground.clone()).run(inbox.datagrams)),
            tokio::spawn(Echoes::new(ground).run(inbox.echoes)),
            tokio::spawn(peers::listen(Arc::clone(&gate), inbox.notes)),
        ];
        let door = Self {
            gate,
            shard: Mutex::new(Some(shard)),
            ledger,
            syncing: tokio::sync::Mutex::default(),
            stop,
            ended,
            thread: Mutex::new(Some(thread)),
            tasks: Mutex::new(tasks),
        };
        door.sync_peers().await;
        Ok(door)
    }

    /// Puts the device list in force; returns when the node has it.
    pub(crate) async fn sync_peers(&self) {
        // the list is read under the lock, so that an older one never follows a newer one
        let _one = self.syncing.lock().await;
        let Some(shard) = self.shard() else { return };
        let mut list = self.gate.peers();
        loop {
            let offered = list.clone();
            let answer = shard.ask(|answer| Command::SetPeers(offered, answer)).await;
            let Some(Err(why)) = answer else { return };
            tracing::error!(error = %why, "a device is left out of the tunnel");
            // one bad device must not keep a revoked one alive
            list = peers::without_offender(list, &why);
        }
    }

    /// Returns the state of a device's WireGuard session.
    pub(crate) async fn peer_status(&self, device: DeviceId) -> Option<wg::PeerStatus> {
        let shard = self.shard()?;
        let peer = PeerId(device.0);
        shard.ask(|answer| Command::Status(peer, answer)).await?
    }

    /// Returns what passed, was dropped and refused since the door was opened.
    pub(crate) async fn tally(&self) -> Option<Tally> {
        Some(Tally {
            node: self.shard()?.ask(Command::Counters).await?,
            refused: self.ledger.counts(),
        })
    }

    /// Forgets the handshake timestamps of a device and ends its WireGuard session; returns when both are gone.
    pub(crate) async fn forget_mark(&self, device: DeviceId) {
        if let Some(shard) = self.shard() {
            let peer = PeerId(device.0);
            shard.ask(|answer| Command::ForgetMark(peer, answer)).await;
        }
    }

    /// Waits until the packet thread has ended.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends every flow, the thread and the namespace.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let mut tasks = tasks.into_iter();
        // flows of all kinds take leave of the shard; the last task ends with it
        for task in tasks.by_ref().take(3) {
            drop(task.await);
        }
        drop(self.shard.lock().take());
        let thread = self.thread.lock().take();
        let joined = tokio::task::spawn_blocking(move || thread.map(JoinHandle::join)).await;
        if joined.is_err() {
            tracing::debug!("the tunnel thread was not joined");
        }
        for task in tasks {
            drop(task.await);
        }
    }

    fn shard(&self) -> Option<Shard> {
        self.shard.lock().clone()
    }
}

/// Builds the node for a namespace.
fn node(settings: &Settings, namespace: &Namespace) -> Result<Node, TunnelError> {
    let failed = |why: String| TunnelError::new(Step::Node, why);
    let local = |listener: &std::net::TcpListener| {
        listener.local_addr().map_err(|why| failed(why.to_string()))
    };
    let listen4 = match local(&namespace.listen4)? {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => return Err(failed(format!("unexpected {address}"))),
    };
    let listen6 = match &namespace.listen6 {
        Some(listener) => v6(local(listener)?),
        None => None,
    };
    let config = NodeConfig {
        private_key: settings.private_key.clone(),
        gateway4: settings.names.gateway4,
        gateway6: settings.names.gateway6,
        mtu: settings.names.mtu,
        inside: Inside {
            listen4,
            listen6,
            pool4: POOL4,
            pool6: listen6.map(|_| POOL6),
        },
        seed: ids::random(),
    };
    Node::new(config, clock::now()).map_err(|why| failed(why.to_string()))
}

fn v6(address: SocketAddr) -> Option<SocketAddrV6> {
    match address {
        SocketAddr::V6(address) => Some(address),
        SocketAddr::V4(_) => None,
    }
}

/// Starts the packet thread.
fn spawn(
    node: Node,
    parts: Parts,
    reports: Reports,
    mut commands: mpsc::Receiver<Command>,
    ended: CancellationToken,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let body = move || {
        runtime.block_on(async {
            match Loop::new(node, parts, reports) {
                Ok(mut shard) => shard.run(&mut commands).await,
                Err(why) => tracing::error!(error = %why, "tunnel descriptors are unusable"),
            }
        });
    };
    std::thread::Builder::new()
        .name("tunnel".to_owned())
        .spawn(move || {
            // a panic ends this thread and its sockets, and the door is opened anew
            if catch_unwind(AssertUnwindSafe(body)).is_err() {
                tracing::error!("the tunnel thread panicked");
            }
            ended.cancel();
        })
}
