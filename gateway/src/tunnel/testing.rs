//! For tests: a ground for flow tables that stands on nothing, and the two ends of a connection.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use policy::{DnsName, DnsRefusal};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::dns::{Dns, Names};
use super::flows::Ground;
use super::gate::{Ask, End, Gate, Portal, Refusal, Refused, Ticket};
use super::ledger::Ledger;
use super::reach::Reach;
use super::shard::{Command, Shard};
use crate::ids::DeviceId;

/// A gate that refuses a flow each time it is told to, and lets all others wait for that.
pub(super) struct Waiting {
    /// Flows that were asked for.
    pub(super) asked: AtomicUsize,
    /// A permit lets one of them go.
    pub(super) refuse: Semaphore,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            asked: AtomicUsize::new(0),
            refuse: Semaphore::new(0),
        }
    }
}

#[async_trait]
impl Gate for Waiting {
    fn peers(&self) -> Vec<wg::PeerConfig> {
        Vec::new()
    }
    async fn decide(&self, _: Ask) -> Result<Box<dyn Ticket>, Refused> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Ok(permit) = self.refuse.acquire().await {
            permit.forget();
        }
        Err(Refused)
    }
    fn serve(&self, _: TcpStream, _: Portal) {}
    fn own_name(&self, _: &str) -> Option<DnsName> {
        None
    }
    fn may_look_up(&self, _: DeviceId, _: DnsName, _: &str) -> Result<(), DnsRefusal> {
        Err(DnsRefusal::Policy)
    }
    fn refused(&self, _: Refusal) {}
    fn heard(&self, _: DeviceId, _: Option<[u8; 12]>, _: Option<SocketAddr>) {}
    async fn keep_heard(&self) {}
    async fn seen_twice(&self, _: DeviceId, _: SocketAddr, _: SocketAddr) {}
}

/// A permission that stands, and how often it was used.
#[derive(Default)]
pub(super) struct Standing {
    pub(super) used: AtomicUsize,
}

#[async_trait]
impl Ticket for Standing {
    async fn revoked(&self) {
        std::future::pending().await
    }
    fn used(&self) {
        self.used.fetch_add(1, Ordering::SeqCst);
    }
    fn ended(&self, _: End) {}
}

/// Makes a ground before `gate`, and the end at which its commands arrive.
pub(super) fn ground(gate: Arc<Waiting>) -> (Ground, mpsc::Receiver<Command>) {
    let (shard, commands) = Shard::channel();
    let gate: Arc<dyn Gate> = gate;
    let ledger = Ledger::new(Arc::clone(&gate));
    let names = Names {
        gateway4: [10, 200, 200, 1].into(),
        gateway6: None,
        resolvers: Vec::new(),
        zones: Vec::new(),
        mtu: 1420,
    };
    let ground = Ground {
        reach: Arc::new(Reach::default()),
        dns: Arc::new(Dns::new(names, Arc::clone(&gate), ledger.clone())),
        gate,
        shard,
        ledger,
        stop: CancellationToken::new(),
    };
    (ground, commands)
}

/// Two ends of a TCP connection over loopback.
pub(super) async fn pair() -> (tokio::net::TcpStream, tokio::net::TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}
