//! The whole tunnel door: namespace, shard thread and the tasks around them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use wg::{Inside, Node, NodeConfig, PeerConfig, PeerId, Place};

use super::dns::{Dns, Names};
use super::flows::{Flows, Ground};
use super::gate::Gate;
use super::icmp::Echoes;
use super::ledger::Ledger;
use super::namespace::{Helper, Namespace, POOL4, POOL6, Plan, Step, TunnelError};
use super::peers;
use super::reach::Reach;
use super::shard::{self, Boxes, Command, Deal, Inbox, Loop, Parts, Shard};
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
    /// How many threads carry packets, each with devices of its own.
    pub(crate) shards: u8,
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
    /// The ways to the shards, in their order; none after the end.
    shards: Mutex<Vec<Shard>>,
    place: Place,
    ledger: Ledger,
    syncing: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    /// Ends the thread that reads the socket for several shards.
    closing: CancellationToken,
    ended: CancellationToken,
    threads: Mutex<Vec<JoinHandle<()>>>,
    tasks: Mutex<Vec<Tasks>>,
}

/// The tasks around one shard.
struct Tasks {
    /// They take leave of the shard.
    flows: [tokio::task::JoinHandle<()>; 3],
    /// It ends with the shard.
    notes: tokio::task::JoinHandle<()>,
}

impl Door {
    /// Opens the door; its tasks run on the current runtime, its packets on threads of their own.
    ///
    /// # Errors
    /// The step that failed, with what to grant or correct.
    pub(crate) async fn open(settings: Settings, gate: Arc<dyn Gate>) -> Result<Self, TunnelError> {
        let count = settings.shards;
        let failed = || TunnelError::new(Step::Node, format!("{count} threads"));
        let place = Place::new(0, count).ok_or_else(failed)?;
        let mail = Boxes::of(count).filter(|_| count > 1);
        let ledger = Ledger::new(Arc::clone(&gate));
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let dns = Dns::new(settings.names.clone(), Arc::clone(&gate), ledger.clone());
        let dns = Arc::new(dns);
        let reach = Arc::new(Reach {
            inside: settings.networks.clone(),
            own_ports: settings.own_ports.clone(),
        });
        let mut door = Self {
            gate: Arc::clone(&gate),
            shards: Mutex::default(),
            place,
            ledger: ledger.clone(),
            syncing: tokio::sync::Mutex::default(),
            stop: stop.clone(),
            closing: CancellationToken::new(),
            ended,
            threads: Mutex::default(),
            tasks: Mutex::default(),
        };
        for number in 0..count {
            let place = Place::new(number, count).ok_or_else(failed)?;
            let mail = mail.as_ref();
            let mail = mail.map(|mail| mail.as_shard(usize::from(number)));
            let (shard, inbox) = match door.open_shard(&settings, place, mail).await {
                Ok(opened) => opened,
                Err(why) => {
                    door.shutdown().await;
                    return Err(why);
                }
            };
            let ground = Ground {
                gate: Arc::clone(&gate),
                shard: shard.clone(),
                reach: Arc::clone(&reach),
                dns: Arc::clone(&dns),
                ledger: ledger.clone(),
                stop: stop.clone(),
            };
            door.tasks.get_mut().push(Tasks::start(ground, inbox));
            door.shards.get_mut().push(shard);
        }
        if let Some(mail) = mail
            && let Err(why) = door.read_for_all(&settings, mail)
        {
            door.shutdown().await;
            return Err(why);
        }
        door.sync_peers().await;
        Ok(door)
    }

    /// Opens a namespace and starts the thread of a shard in it.
    async fn open_shard(
        &mut self,
        settings: &Settings,
        place: Place,
        mail: Option<Boxes>,
    ) -> Result<(Shard, Inbox), TunnelError> {
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
        let node = node(settings, &namespace, place)?;
        let parts = Parts {
            outer,
            mail,
            tun: namespace.tun,
            listen4: namespace.listen4,
            listen6: namespace.listen6,
        };
        let (shard, mut commands) = Shard::channel();
        let (reports, inbox) = shard::reports();
        self.spawn("tunnel", async move || {
            match Loop::new(node, parts, reports) {
                Ok(mut shard) => shard.run(&mut commands).await,
                Err(why) => tracing::error!(error = %why, "tunnel descriptors are unusable"),
            }
        })?;
        Ok((shard, inbox))
    }

    /// Starts the thread that reads the socket for several shards.
    fn read_for_all(&mut self, settings: &Settings, mail: Boxes) -> Result<(), TunnelError> {
        let outer = settings.outer.try_clone();
        let outer = outer.map_err(|why| TunnelError::new(Step::BindUdp, why))?;
        let closing = self.closing.clone();
        self.spawn("tunnel-in", async move || match Deal::new(&outer, mail) {
            Ok(mut deal) => deal.run(&closing).await,
            Err(why) => tracing::error!(error = %why, "the tunnel socket is unusable"),
        })
    }

    /// Starts a thread; whenever one ends, the door is no longer open.
    fn spawn<F>(&mut self, name: &str, body: F) -> Result<(), TunnelError>
    where
        F: AsyncFnOnce() + Send + 'static,
    {
        let ended = self.ended.clone();
        let thread = spawn(name, body, ended).map_err(|why| TunnelError::new(Step::Node, why))?;
        self.threads.get_mut().push(thread);
        Ok(())
    }

    /// Puts the device list in force; returns when the node has it.
    pub(crate) async fn sync_peers(&self) {
        // the list is read under the lock, so that an older one never follows a newer one
        let _one = self.syncing.lock().await;
        let mut list = self.gate.peers();
        while let Some(why) = self.set_peers(&list).await {
            tracing::error!(error = %why, "a device is left out of the tunnel");
            // one bad device must not keep a revoked one alive
            list = peers::without_offender(list, &why);
        }
    }

    /// Gives every shard the list, of which each takes its own; returns what is wrong with it.
    async fn set_peers(&self, list: &[PeerConfig]) -> Option<wg::NodeError> {
        for shard in self.shards() {
            let offered = list.to_vec();
            let answer = shard.ask(|answer| Command::SetPeers(offered, answer)).await;
            if let Some(Err(why)) = answer {
                return Some(why);
            }
        }
        None
    }

    /// Returns the state of a device's WireGuard session.
    pub(crate) async fn peer_status(&self, device: DeviceId) -> Option<wg::PeerStatus> {
        let peer = PeerId(device.0);
        let shard = self.shard_of(peer)?;
        shard.ask(|answer| Command::Status(peer, answer)).await?
    }

    /// Returns what passed, was dropped and refused since the door was opened.
    pub(crate) async fn tally(&self) -> Option<Tally> {
        let mut shards = self.shards().into_iter();
        let mut node = shards.next()?.ask(Command::Counters).await?;
        for shard in shards {
            node.add(&shard.ask(Command::Counters).await?);
        }
        Some(Tally {
            node,
            refused: self.ledger.counts(),
        })
    }

    /// Forgets the handshake timestamps of a device and ends its WireGuard session; returns when both are gone.
    pub(crate) async fn forget_mark(&self, device: DeviceId) {
        let peer = PeerId(device.0);
        if let Some(shard) = self.shard_of(peer) {
            shard.ask(|answer| Command::ForgetMark(peer, answer)).await;
        }
    }

    /// Waits until a packet thread has ended.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends every flow, the threads and the namespaces.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let mut rest = Vec::new();
        for Tasks { flows, notes } in tasks {
            for task in flows {
                drop(task.await);
            }
            rest.push(notes);
        }
        self.closing.cancel();
        drop(std::mem::take(&mut *self.shards.lock()));
        let threads = std::mem::take(&mut *self.threads.lock());
        let join = || {
            threads
                .into_iter()
                .map(JoinHandle::join)
                .all(|end| end.is_ok())
        };
        let joined = tokio::task::spawn_blocking(join).await;
        if !joined.unwrap_or(false) {
            tracing::debug!("a tunnel thread was not joined");
        }
        for task in rest {
            drop(task.await);
        }
    }

    fn shards(&self) -> Vec<Shard> {
        self.shards.lock().clone()
    }

    fn shard_of(&self, peer: PeerId) -> Option<Shard> {
        let shards = self.shards.lock();
        shards.get(self.place.of_peer(peer)).cloned()
    }
}

impl Tasks {
    fn start(ground: Ground, inbox: Inbox) -> Self {
        let gate = Arc::clone(&ground.gate);
        Self {
            flows: [
                tokio::spawn(Flows::new(ground.clone()).run(inbox.flows)),
                tokio::spawn(Datagrams::new(ground.clone()).run(inbox.datagrams)),
                tokio::spawn(Echoes::new(ground).run(inbox.echoes)),
            ],
            notes: tokio::spawn(peers::listen(gate, inbox.notes)),
        }
    }
}

/// Builds the node for a namespace.
fn node(settings: &Settings, namespace: &Namespace, place: Place) -> Result<Node, TunnelError> {
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
        place,
    };
    Node::new(config, clock::now()).map_err(|why| failed(why.to_string()))
}

fn v6(address: SocketAddr) -> Option<SocketAddrV6> {
    match address {
        SocketAddr::V6(address) => Some(address),
        SocketAddr::V4(_) => None,
    }
}

/// Starts a thread with a runtime of its own.
fn spawn<F>(name: &str, body: F, ended: CancellationToken) -> std::io::Result<JoinHandle<()>>
where
    F: AsyncFnOnce() + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let run = || runtime.block_on(body());
            // a panic ends this thread and its sockets, and the door is opened anew
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                tracing::error!("a tunnel thread panicked");
            }
            ended.cancel();
        })
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::spawn;

    #[test]
    fn a_thread_that_panics_says_that_it_ended_as_one_that_is_done() {
        for panics in [false, true] {
            let ended = CancellationToken::new();
            let body = async move || assert!(!panics, "as a test wants it");
            let thread = spawn("tunnel", body, ended.clone()).unwrap();
            assert!(thread.join().is_ok(), "the panic goes no further");
            assert!(ended.is_cancelled());
        }
    }
}
