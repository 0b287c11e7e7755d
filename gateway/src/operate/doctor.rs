//! Gathering what is known of one device.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use wg::DropReason;

use crate::clock;
use crate::control::acts::device_line;
use crate::control::{Code, Refusal};
use crate::doctor::{Conf, Diagnosis, Facts, Noise, examine};
use crate::gateway::Gateway;
use crate::identity::{Device, Directory};
use crate::reproof::Standing;
use crate::snapshot::Snapshot;
use crate::tunnel;

/// How long a resolver may take.
const DNS_PATIENCE: Duration = Duration::from_secs(2);
/// Resolvers that are asked.
const RESOLVERS_MAX: usize = 4;
/// TAI64 label of the UNIX epoch, with the leap seconds of the tunnel's own marks.
const TAI64_EPOCH: i64 = (1 << 62) + 37;
/// Seconds by which a device's clock may be ahead.
const AHEAD_MAX: i64 = 24 * 60 * 60;

/// Finds the device and looks at everything.
///
/// # Errors
/// [`Code::Data`] if no device, or more than one, is called so.
pub(super) async fn diagnose(gw: &Gateway, which: &str) -> Result<Diagnosis, Refusal> {
    let device = find(&gw.devices.list(), which)?;
    let snap = gw.snapshot.load_full();
    let facts = facts(gw, &snap, &device).await?;
    Ok(examine(&facts))
}

/// Finds a device by id, name, `user/name`, address or public key; of those not revoked first.
fn find(all: &[Arc<Device>], which: &str) -> Result<Arc<Device>, Refusal> {
    let is_it = |d: &&Arc<Device>| {
        let line = device_line(d);
        let both = format!("{}/{}", line.user, line.name);
        let names = [line.id, line.name, both, line.address, line.public_key];
        names.iter().chain(&line.address6).any(|name| name == which)
    };
    let found: Vec<_> = all.iter().filter(is_it).collect();
    let live: Vec<_> = found.iter().filter(|d| d.revoked.is_none()).collect();
    let bad = |text: String| Err(Refusal::new(Code::Data, text));
    match (live.as_slice(), found.as_slice()) {
        ([one], _) => Ok(Arc::clone(one)),
        ([], [.., newest]) => Ok(Arc::clone(newest)),
        ([], []) => bad(format!(
            "no device {}; postern device list names them",
            which.escape_debug()
        )),
        (many, _) => {
            let ids: Vec<String> = many.iter().map(|d| d.id.to_string()).collect();
            let ids = ids.join(", ");
            bad(format!(
                "{} may be {ids}; write which",
                which.escape_debug()
            ))
        }
    }
}

/// Tells whether the handshakes of a device claimed a time more than a day after `now`: with its clock set right they
/// are refused until then.
pub(super) fn is_ahead(device: &Device, now: i64) -> bool {
    let stamp = device.mark.as_ref().and_then(stamp);
    stamp.is_some_and(|at| at > now.saturating_add(AHEAD_MAX))
}

async fn facts(gw: &Gateway, snap: &Snapshot, device: &Arc<Device>) -> Result<Facts, Refusal> {
    let now = clock::unix();
    let tunnel = gw.tunnel.get();
    let peer = match tunnel {
        Some(tunnel) => tunnel.peer_status(device.id).await,
        None => None,
    };
    let outer = peer.as_ref().and_then(|p| p.endpoint).or(device.endpoint);
    let zones = outer.map(|outer| zones(snap, outer)).unwrap_or_default();
    let stamp = device.mark.as_ref().and_then(stamp);
    let standing = gw.standing(device.id);
    let closed = gw.closed_by(device, &standing);
    let session = match standing {
        Standing::Open(session) => Some(session),
        Standing::Held(..) | Standing::Shut => None,
    };
    let others = gw.sessions.of_user(&device.user).into_iter();
    let own = session.as_ref().map(|s| s.id);
    let others = others.filter(|s| Some(s.id) != own && s.is_live(gw.sessions.time()));
    Ok(Facts {
        device: device_line(device),
        tunnel_shut: match tunnel {
            Some(tunnel) => tunnel.why_down(),
            None => Some("[tunnel] enabled = false".to_owned()),
        },
        standing: snap.standing(&device.user),
        enrolled: gw.identity.is_enrolled(&device.user).await?,
        key_opens: gw.devices.psk(device.id).is_ok(),
        peer,
        stamp: stamp.map(time),
        clock_ahead: is_ahead(device, now),
        noise: noise(gw).await,
        zones,
        session: session.map(|s| (s.id.to_string(), time(s.expires()))),
        closed: closed.map(str::to_owned),
        other_sessions: others.count(),
        services: services(snap, &device.user),
        unrouted: unrouted(gw, snap, &device.user),
        resolvers: resolvers(&gw.config.tunnel.dns).await,
        conf: conf(gw, snap, &device.user)?,
    })
}

fn conf(gw: &Gateway, snap: &Snapshot, user: &str) -> Result<Conf, Refusal> {
    let key = tunnel::server_key(&gw.config, &gw.keys);
    let key = key.map_err(|e| Refusal::new(Code::Internal, e.to_string()))?;
    let routes = tunnel::client::routes(&gw.config, &snap.policy, user);
    let routes: Vec<String> = routes.iter().map(ToString::to_string).collect();
    Ok(Conf {
        server_public_key: key.public_key().to_string(),
        endpoint: gw.config.endpoint(),
        allowed_ips: routes.join(", "),
        mtu: gw.config.tunnel.mtu,
        sign_in: gw.config.http.public_url(),
    })
}

fn zones(snap: &Snapshot, outer: SocketAddr) -> Vec<String> {
    let policy = &snap.policy;
    let zones = policy.zone_names(policy.zone(outer.ip().to_canonical(), false));
    zones.into_iter().map(str::to_owned).collect()
}

async fn noise(gw: &Gateway) -> Noise {
    let counters = tunnel::tally(gw).await.map(|tally| tally.node);
    counters.map_or_else(Noise::default, |c| Noise {
        datagrams: c.datagrams_in,
        bad_mac: c.dropped(DropReason::BadMac),
        unknown: c.dropped(DropReason::BadHandshake),
    })
}

/// Lists the networks of a person to which the system knows no way.
fn unrouted(gw: &Gateway, snap: &Snapshot, user: &str) -> Vec<String> {
    let own = tunnel::client::own(&gw.config);
    let routes = tunnel::client::routes(&gw.config, &snap.policy, user).into_iter();
    let others = routes.filter(|net| !own.contains(net));
    others
        .filter(|net| !tunnel::has_route(net.addr()))
        .map(|net| net.to_string())
        .collect()
}

/// Lists the services of the policy that a person reaches, with the conditions.
fn services(snap: &Snapshot, user: &str) -> Vec<String> {
    let Ok(all) = snap.policy.what_can(user) else {
        return Vec::new();
    };
    let nets = all.resources.into_iter();
    let nets =
        nets.filter(|place| place.resource.starts_with("net.") || place.resource.contains("/net."));
    nets.map(|place| match place.contexts.as_slice() {
        [] => place.resource,
        contexts => format!("{} ({})", place.resource, contexts.join(" or ")),
    })
    .collect()
}

/// Asks each resolver for the root's name servers, all at once.
async fn resolvers(all: &[SocketAddr]) -> Vec<(String, bool)> {
    let asked = all.iter().take(RESOLVERS_MAX).map(|server| async move {
        let answered = timeout(DNS_PATIENCE, answers(*server)).await;
        (server.to_string(), matches!(answered, Ok(Ok(true))))
    });
    futures_util::future::join_all(asked).await
}

async fn answers(server: SocketAddr) -> std::io::Result<bool> {
    let id: [u8; 2] = crate::ids::random();
    let [a, b] = id;
    // one question: NS of the root, recursion desired (RFC 1035 section 4.1)
    let query = [a, b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let any: std::net::IpAddr = match server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&query).await?;
    let mut answer = [0; 512];
    let count = socket.recv(&mut answer).await?;
    Ok(answer.get(..count).is_some_and(|a| a.starts_with(&id)))
}

/// Reads the seconds out of a handshake's TAI64N timestamp.
fn stamp(mark: &[u8; 12]) -> Option<i64> {
    let label = i64::from_be_bytes(*mark.first_chunk::<8>()?);
    label.checked_sub(TAI64_EPOCH).filter(|unix| *unix >= 0)
}

fn time(unix: i64) -> String {
    // a stamp may claim any time; far ones are shown as the last that can be written
    let most = 253_402_300_799;
    let unix = u64::try_from(unix.min(most)).unwrap_or(0);
    clock::rfc3339(unix.saturating_mul(1000))
}
