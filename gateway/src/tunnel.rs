//! The tunnel door: stock WireGuard apps in, office hosts and the HTTP plane out.
//!
//! Datagrams are decrypted by [`wg`] on a thread or several, each with devices of its own, TCP is
//! terminated by the kernel in a private network namespace, and every flow waits for a recorded
//! decision before its first packet moves.

mod bucket;
pub(crate) mod client;
mod dns;
mod door;
mod flows;
pub(crate) mod gate;
mod icmp;
pub(crate) mod key;
mod ledger;
pub(crate) mod namespace;
pub(crate) mod pace;
mod peers;
mod reach;
mod scratch;
mod shard;
mod silence;
mod sys;
#[cfg(test)]
mod testing;
pub(crate) mod uapi;
mod udp;
pub(crate) mod ula;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::dns::Names;
use self::door::{Door, Settings};
use self::gate::Gate;
use self::namespace::{Helper, Step, TunnelError};
use crate::config::Config;
use crate::door::TunnelGate;
use crate::gateway::Gateway;
use crate::ids::DeviceId;

pub(crate) use self::door::Tally;
pub(crate) use self::key::server_key;
pub(crate) use self::reach::has_route;

/// The pause before a door whose thread ended is opened anew, and the longest one.
const REOPEN: Duration = Duration::from_secs(1);
const REOPEN_MAX: Duration = Duration::from_secs(60);

/// The tunnel door as the gateway holds it: open, or shut with the reason.
pub(crate) struct Handle(Arc<Inner>);

struct Inner {
    door: ArcSwapOption<Door>,
    why_down: Mutex<Option<String>>,
    closing: CancellationToken,
    keeper: Mutex<Option<tokio::task::JoinHandle<()>>>,
    settings: Mutex<Option<Settings>>,
    /// Held while one door is put in the place of another.
    turning: tokio::sync::Mutex<()>,
}

impl Handle {
    /// Opens the door, on the socket that was passed for it or on one of its own; where that fails the handle says
    /// why, and the web door is not concerned.
    pub(crate) async fn start(gw: &Arc<Gateway>, passed: Option<UdpSocket>) -> Self {
        let inner = Arc::new(Inner {
            door: ArcSwapOption::empty(),
            why_down: Mutex::new(None),
            closing: CancellationToken::new(),
            keeper: Mutex::new(None),
            settings: Mutex::new(None),
            turning: tokio::sync::Mutex::default(),
        });
        let gate: Arc<dyn Gate> = Arc::new(TunnelGate(Arc::clone(gw)));
        let outer = shard::outer(passed, gw.config.tunnel.listen);
        let outer = outer.map_err(|why| TunnelError::new(Step::BindUdp, why));
        match outer.and_then(|outer| settings(gw, Arc::new(outer))) {
            Err(why) => inner.shut(&why),
            Ok(settings) => {
                if inner.open(&settings, &gate).await {
                    *inner.settings.lock() = Some(settings);
                    let keep = keep(Arc::clone(&inner), gate);
                    *inner.keeper.lock() = Some(tokio::spawn(keep));
                }
            }
        }
        Self(inner)
    }

    /// Returns the UDP socket of a door that was opened.
    pub(crate) fn socket(&self) -> Option<Arc<UdpSocket>> {
        let settings = self.0.settings.lock();
        settings
            .as_ref()
            .map(|settings| Arc::clone(&settings.outer))
    }

    /// Says why the door is shut; `None` while it is open.
    pub(crate) fn why_down(&self) -> Option<String> {
        self.0.why_down.lock().clone()
    }

    /// Puts the registry's devices in force and returns when they are: an omitted device has no
    /// keys and no flows any more.
    pub(crate) async fn sync_peers(&self) {
        if let Some(door) = self.0.door.load_full() {
            door.sync_peers().await;
        }
    }

    /// Opens the door anew with the key that lies in the state folder; a door that is shut stays so.
    pub(crate) async fn reopen(&self, gw: &Arc<Gateway>) {
        let inner = &self.0;
        let _turning = inner.turning.lock().await;
        let Some((door, outer)) = inner.door.swap(None).zip(self.socket()) else {
            return;
        };
        door.shutdown().await;
        match settings(gw, outer) {
            Err(why) => inner.shut(&why),
            Ok(settings) => {
                *inner.settings.lock() = Some(settings.clone());
                let gate: Arc<dyn Gate> = Arc::new(TunnelGate(Arc::clone(gw)));
                inner.open(&settings, &gate).await;
            }
        }
    }

    /// Returns the state of a device's WireGuard session; `None` for one that is not in force.
    pub(crate) async fn peer_status(&self, device: DeviceId) -> Option<wg::PeerStatus> {
        self.0.door.load_full()?.peer_status(device).await
    }

    /// Returns what passed, was dropped and refused since the door was opened; `None` while it is shut.
    async fn tally(&self) -> Option<Tally> {
        self.0.door.load_full()?.tally().await
    }

    /// Forgets the handshake timestamps of a device and ends its WireGuard session.
    pub(crate) async fn forget_mark(&self, device: DeviceId) {
        if let Some(door) = self.0.door.load_full() {
            door.forget_mark(device).await;
        }
    }

    /// Ends every flow, the packet threads and their namespaces.
    pub(crate) async fn shutdown(&self) {
        self.0.closing.cancel();
        let keeper = self.0.keeper.lock().take();
        if let Some(keeper) = keeper {
            drop(keeper.await);
        }
        if let Some(door) = self.0.door.swap(None) {
            door.shutdown().await;
        }
    }
}

impl Inner {
    async fn open(&self, settings: &Settings, gate: &Arc<dyn Gate>) -> bool {
        match Box::pin(Door::open(settings.clone(), Arc::clone(gate))).await {
            Ok(door) => {
                self.door.store(Some(Arc::new(door)));
                *self.why_down.lock() = None;
                true
            }
            Err(why) => {
                self.shut(&why);
                false
            }
        }
    }

    fn shut(&self, why: &TunnelError) {
        *self.why_down.lock() = Some(why.to_string());
    }
}

/// Returns what passed the gateway's tunnel, was dropped and refused; `None` while its door is shut or where it has none.
pub(crate) async fn tally(gw: &Gateway) -> Option<Tally> {
    gw.tunnel.get()?.tally().await
}

/// Opens the door anew whenever its thread has ended, until the gateway stops.
async fn keep(inner: Arc<Inner>, gate: Arc<dyn Gate>) {
    let mut pause = REOPEN;
    loop {
        let door = inner.door.load_full();
        if let Some(door) = door {
            tokio::select! {
                () = inner.closing.cancelled() => return,
                () = door.ended() => {}
            }
            let _turning = inner.turning.lock().await;
            let current = inner.door.load_full();
            if current.is_some_and(|current| !Arc::ptr_eq(&current, &door)) {
                continue;
            }
            tracing::error!("the tunnel door fell shut and is opened anew");
            *inner.why_down.lock() = Some("a packet thread ended unexpectedly".to_owned());
            inner.door.store(None);
            door.shutdown().await;
        }
        tokio::select! {
            () = inner.closing.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(REOPEN_MAX);
        let _turning = inner.turning.lock().await;
        let settings = inner.settings.lock().clone();
        if let Some(settings) = settings.filter(|_| inner.door.load().is_none()) {
            inner.open(&settings, &gate).await;
        }
    }
}

/// Reads from the configuration what the door needs.
fn settings(gw: &Gateway, outer: Arc<UdpSocket>) -> Result<Settings, TunnelError> {
    let config = &gw.config;
    let private_key =
        server_key(config, &gw.keys).map_err(|why| TunnelError::new(Step::Key, why))?;
    let zones = config.tunnel.zones.iter();
    Ok(Settings {
        outer,
        private_key,
        networks: client::own(config),
        names: Names {
            gateway4: config.tunnel.gateway4(),
            gateway6: config.tunnel.gateway6(),
            resolvers: config.tunnel.dns.clone(),
            zones: zones
                .map(|(zone, servers)| (zone.to_lowercase(), servers.clone()))
                .collect(),
            mtu: config.tunnel.mtu,
        },
        own_ports: own_ports(config),
        helper: Helper::default(),
        shards: config.tunnel.shards(),
    })
}

/// Lists the TCP ports on which the gateway listens on its host.
fn own_ports(config: &Config) -> Vec<u16> {
    let web = config.http.https.iter().chain(&config.http.http);
    web.chain(&config.admin.listen)
        .map(std::net::SocketAddr::port)
        .collect()
}
