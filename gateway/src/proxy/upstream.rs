//! Step 7: picking the upstream of an app and the terms of the connection to it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora_core::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

use crate::clock;
use crate::snapshot::Snapshot;

const CONNECT: Duration = Duration::from_secs(5);
const HEAD: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_secs(30);
const MOST: usize = 4096;

/// The addresses of a name, and when they were looked up.
type Answer = (Vec<SocketAddr>, Instant);

/// Names of upstreams resolved lately; only names of the policy get in.
pub(crate) struct Resolved {
    names: Mutex<HashMap<(String, u16), Answer>>,
    hasher: RandomState,
}

impl Resolved {
    /// Makes an empty table.
    pub(crate) fn new() -> Self {
        Self {
            names: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Returns an address of the upstream, looking its name up at most every 30 s; a lookup
    /// that fails leaves the last answer in use.
    pub(crate) async fn address(&self, host: &str, port: u16) -> Option<SocketAddr> {
        if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
            return Some(SocketAddr::new(ip, port));
        }
        let now = clock::now();
        let key = (host.to_owned(), port);
        let known = self.names.lock().get(&key).cloned();
        if let Some((addresses, at)) = &known
            && now.saturating_duration_since(*at) < REFRESH
        {
            return addresses.first().copied();
        }
        match tokio::net::lookup_host((host, port)).await {
            Ok(found) => {
                let found: Vec<SocketAddr> = found.collect();
                let first = found.first().copied();
                let mut names = self.names.lock();
                if names.len() >= MOST {
                    names.clear();
                }
                names.insert(key, (found, now));
                first
            }
            Err(_) => known.and_then(|(addresses, _)| addresses.first().copied()),
        }
    }

    /// Describes the connection to an app's upstream. Connections of different apps or policy
    /// generations are never pooled together.
    pub(crate) fn peer(
        &self,
        address: SocketAddr,
        snap: &Arc<Snapshot>,
        app: policy::AppIx,
        upgrade: bool,
    ) -> HttpPeer {
        let upstream = &snap.policy.app(app).upstream;
        let name = if upstream.tls {
            upstream.host.clone()
        } else {
            String::new()
        };
        let mut peer = HttpPeer::new(address, upstream.tls, name);
        peer.group_key = self
            .hasher
            .hash_one((&snap.policy.app(app).id, &snap.digest));
        peer.options.connection_timeout = Some(CONNECT);
        peer.options.total_connection_timeout = Some(CONNECT * 2);
        peer.options.read_timeout = (!upgrade).then_some(HEAD);
        peer.options.write_timeout = Some(HEAD);
        peer.options.idle_timeout = Some(IDLE);
        peer.options.http_upstream_request_policy = if upgrade {
            HttpUpstreamRequestPolicy::default()
        } else {
            HttpUpstreamRequestPolicy::deny_upgrades()
        };
        peer
    }
}
