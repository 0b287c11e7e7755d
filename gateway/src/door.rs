//! The tunnel door's side of the gateway: its peers, decisions and records.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use policy::{DnsName, DnsRefusal};

use crate::access::{self, FlowQuestion, Permit};
use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::{Binding, Device, Directory, Session, Standing};
use crate::ids::{DeviceId, Door};
use crate::limits;
use crate::proxy::ConnOrigin;
use crate::streams::{KillSwitch, Kind, Stream, StreamGuard};
use crate::tunnel::gate::{Ask, End, Gate, Portal, Proto, Refusal, RefusalKind, Refused, Ticket};

/// The gateway as the tunnel sees it.
pub(crate) struct TunnelGate(pub(crate) Arc<Gateway>);

/// A permitted flow: its permit, and its place in the table of open streams.
struct FlowTicket {
    gw: Arc<Gateway>,
    permit: Permit,
    kill: KillSwitch,
    record: Record,
    session: Option<Arc<Session>>,
    binding: Option<Arc<Binding>>,
    _open: StreamGuard,
}

#[async_trait]
impl Ticket for FlowTicket {
    async fn revoked(&self) {
        self.kill.wait().await;
    }

    fn used(&self) {
        if let Some(session) = &self.session {
            session.touch(clock::unix());
        }
        if let Some(binding) = &self.binding {
            binding.touch(clock::unix());
        }
    }

    fn ended(&self, end: End) {
        let mut record = self.record.clone();
        record.outcome = if self.kill.killed() { "cut" } else { "ok" };
        record.reason = end.reason;
        record.rule = Some(Arc::clone(self.permit.rule()));
        record.bytes = Some(end.bytes);
        record.ms = u64::try_from(end.lasted.as_millis()).ok();
        self.gw.audit.note(record);
    }
}

#[async_trait]
impl Gate for TunnelGate {
    fn peers(&self) -> Vec<wg::PeerConfig> {
        let gw = &self.0;
        let snap = gw.snapshot.load_full();
        let devices = gw.devices.list().into_iter();
        devices
            .filter(|d| d.revoked.is_none() && snap.standing(&d.user) == Standing::Active)
            .filter_map(|d| peer(gw, &d))
            .collect()
    }

    async fn decide(&self, ask: Ask) -> Result<Box<dyn Ticket>, Refused> {
        let gw = &self.0;
        let device = gw.devices.get(ask.device).ok_or(Refused)?;
        if device.revoked.is_some() {
            return Err(Refused);
        }
        let verdict = access::flow(gw, &device, ask.target, proto(ask.proto));
        let record = verdict.record().sequel(Event::FlowEnded);
        if let Some(rate) = verdict.rate() {
            let key = limits::Key::of(Some(&device.user), ask.source.ip());
            if gw.limits.rate(&key, &rate.into(), clock::now()).is_err() {
                let mut limited = record;
                limited.event = Event::Limited;
                limited.outcome = "limited";
                limited.reason = reason::RATE_LIMITED;
                gw.audit.note(limited);
                return Err(Refused);
            }
        }
        let permit = verdict.commit(&gw.audit).await.map_err(|_| Refused)?;
        let kill = KillSwitch::new();
        let question = FlowQuestion {
            gw: Arc::clone(gw),
            device: ask.device,
            destination: ask.target,
            proto: proto(ask.proto),
        };
        let stream = Stream {
            kind: Kind::Flow,
            session: record.session,
            token: None,
            device: Some(ask.device),
            user: Some(Arc::clone(&device.user)),
            recheck_at: permit.recheck_at(),
            question: Some(Arc::new(question)),
            kill: kill.clone(),
        };
        let open = gw.enter(stream);
        Ok(Box::new(FlowTicket {
            gw: Arc::clone(gw),
            permit,
            kill,
            session: record.session.and_then(|id| gw.sessions.find_by_id(id)),
            binding: gw.sessions.binding(ask.device),
            record,
            _open: open,
        }))
    }

    fn serve(&self, stream: TcpStream, portal: Portal) {
        let origin = ConnOrigin {
            door: Door::Tunnel,
            peer: portal.peer,
            device: Some(portal.device),
            tls: portal.port == 443,
            proxied: false,
        };
        drop(stream.set_nonblocking(true));
        drop(stream.set_nodelay(true));
        if let Some(edges) = self.0.edges.get() {
            edges.give(stream, origin);
        }
    }

    fn own_name(&self, host: &str) -> Option<DnsName> {
        let gw = &self.0;
        if gw.config.http.sign_in.iter().any(|own| own == host) {
            return Some(DnsName::SignIn);
        }
        let host = policy::canon::host(host).ok()?;
        let policy = &gw.snapshot.load().policy;
        policy.app_for(&host).map(|_| DnsName::Own)
    }

    fn may_look_up(&self, device: DeviceId, kind: DnsName, host: &str) -> Result<(), DnsRefusal> {
        let gw = &self.0;
        let open = gw.opened_by(device).is_some() || gw.is_headless(device);
        gw.snapshot
            .load()
            .policy
            .tunnel_dns()
            .decide(kind, host, open)
    }

    fn refused(&self, refusal: Refusal) {
        let event = match refusal.kind {
            RefusalKind::Flow => Event::FlowDecided,
            RefusalKind::Dns => Event::DnsRefused,
        };
        let device = self.0.devices.get(refusal.device);
        let mut record = Record::new(event, "deny", refusal.reason);
        record.device = Some(refusal.device);
        record.user = device.as_ref().map(|d| Arc::clone(&d.user));
        record.source = refusal
            .source
            .or_else(|| device.as_ref().map(|d| IpAddr::V4(d.address4)));
        record.policy = Some(Arc::clone(&self.0.snapshot.load().digest));
        record.path = Some(refusal.target);
        if refusal.more > 0 {
            record.detail = Some(format!("and {} more", refusal.more));
        }
        self.0.audit.note(record);
    }

    fn heard(&self, device: DeviceId, mark: Option<[u8; 12]>, endpoint: Option<SocketAddr>) {
        self.0.heard(device, mark, endpoint);
    }

    async fn keep_heard(&self) {
        if let Err(error) = self.0.devices.flush().await {
            tracing::warn!(%error, "handshake marks are not on disk yet");
        }
    }

    async fn seen_twice(&self, device: DeviceId, here: SocketAddr, there: SocketAddr) {
        if let Some(device) = self.0.devices.get(device) {
            self.0.close_twin(&device, here, there).await;
        }
    }
}

fn proto(proto: Proto) -> policy::Proto {
    match proto {
        Proto::Tcp => policy::Proto::Tcp,
        Proto::Udp => policy::Proto::Udp,
        Proto::Icmp => policy::Proto::Icmp,
    }
}

/// The inner addresses that are the device's own, and no other.
fn addresses(device: &Device) -> Vec<IpNet> {
    let six = device.address6.map(|a| IpNet::V6(Ipv6Net::from(a)));
    let four = IpNet::V4(Ipv4Net::from(device.address4));
    std::iter::once(four).chain(six).collect()
}

fn peer(gw: &Gateway, device: &Device) -> Option<wg::PeerConfig> {
    let public_key = wg::PublicKey::from_bytes(device.public_key).ok()?;
    let preshared_key = gw.devices.psk(device.id).map_err(|error| {
        tracing::error!(%error, "a device is left out of the tunnel");
    });
    let preshared_key = preshared_key.ok()?;
    Some(wg::PeerConfig {
        id: wg::PeerId(device.id.0),
        public_key,
        preshared_key: preshared_key.map(|k| wg::PresharedKey::from_bytes(*k)),
        allowed_ips: addresses(device),
        keepalive: None,
        endpoint: device.endpoint,
        handshake_mark: device.mark,
    })
}
