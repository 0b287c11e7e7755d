//! The socket that `wg show` asks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clock;
use crate::control;
use crate::gateway::Gateway;
use crate::identity::{Directory, Standing};
use crate::tunnel::uapi::{self, MESSAGE_MAX, Operation, Shown};

/// Callers served at once; others wait in the socket's queue.
const CALLERS: usize = 4;
/// How long a caller may take in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause after a failed accept.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Opens the socket if the configuration names one; a failure is told, and the tunnel is not concerned.
pub(crate) fn open(gw: &Arc<Gateway>) {
    let Some(path) = &gw.config.tunnel.wg_socket else {
        return;
    };
    match control::bind(path) {
        Ok(listener) => {
            tokio::spawn(serve(listener, Arc::clone(gw)));
        }
        Err(error) => {
            let path = path.display();
            tracing::error!(%error, %path, "the socket for `wg show` cannot be opened");
        }
    }
}

async fn serve(listener: UnixListener, gw: Arc<Gateway>) {
    let places = Arc::new(Semaphore::new(CALLERS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let gw = Arc::clone(&gw);
                tokio::spawn(async move {
                    let served = timeout(PATIENCE, caller(stream, &gw)).await;
                    if !matches!(served, Ok(Ok(()))) {
                        tracing::debug!("a caller of the WireGuard socket is gone");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the WireGuard socket cannot accept");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// Answers one message; only our own user and root may ask.
async fn caller(mut stream: UnixStream, gw: &Gateway) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid != rustix::process::geteuid().as_raw() && uid != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut message = Vec::new();
    while !uapi::is_whole(&message) && message.len() < MESSAGE_MAX {
        if stream.read_buf(&mut message).await? == 0 {
            break;
        }
    }
    let answer = match uapi::operation(&message) {
        Ok(Operation::Get) => uapi::state(gw.config.tunnel.listen.port(), &peers(gw).await),
        Err(why) => uapi::refusal(why),
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Lists the devices that may speak.
async fn peers(gw: &Gateway) -> Vec<Shown> {
    let Some(tunnel) = gw.tunnel.get() else {
        return Vec::new();
    };
    let snap = gw.snapshot.load_full();
    let mut shown = Vec::new();
    for device in gw.devices.list() {
        if device.revoked.is_some() || snap.standing(&device.user) != Standing::Active {
            continue;
        }
        let status = tunnel.peer_status(device.id).await;
        let age = status.as_ref().and_then(|s| s.handshake_age);
        let six = device
            .address6
            .map(|a| IpNet::from(std::net::IpAddr::V6(a)));
        let four = IpNet::from(std::net::IpAddr::V4(device.address4));
        shown.push(Shown {
            public_key: device.public_key,
            endpoint: status.as_ref().and_then(|s| s.endpoint).or(device.endpoint),
            handshake: age.map(|age| clock::wall().saturating_sub(age)),
            rx: status.as_ref().map_or(0, |s| s.rx_bytes),
            tx: status.as_ref().map_or(0, |s| s.tx_bytes),
            allowed_ips: std::iter::once(four).chain(six).collect(),
        });
    }
    shown
}
