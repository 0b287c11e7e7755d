//! Accepting connections of the web door.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

use super::conn::ConnOrigin;
use super::proxied;
use crate::gateway::Gateway;
use crate::ids::Door;

/// Accepts on a listener until the task is aborted. It never waits for a client; when descriptors
/// run out it pauses instead of spinning.
pub(super) async fn accept(gw: Arc<Gateway>, listener: TcpListener, tls: bool, at: usize) {
    // what is accepted inherits it
    if let Err(error) = sockopt::set_tcp_nodelay(&listener, true) {
        tracing::warn!(%error, "short answers may wait for those before them");
    }
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "listener cannot be watched");
            return;
        }
    };
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                take(&gw, stream, peer, tls, at);
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "accept failed");
                }
                failing = true;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn take(gw: &Gateway, stream: TcpStream, peer: SocketAddr, tls: bool, at: usize) {
    let proxied = proxied::is_listed(&gw.config.http.proxy_protocol_from, peer.ip());
    if !proxied && gw.bans.refuses(peer.ip()) {
        return;
    }
    let origin = ConnOrigin {
        door: Door::Web,
        peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
        device: None,
        tls,
        proxied,
    };
    if let Some(edges) = gw.edges.get() {
        edges.keep(stream, origin, at);
    }
}
