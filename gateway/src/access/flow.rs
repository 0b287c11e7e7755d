//! Flows of tunnel devices to office hosts.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policy::{AuditTarget, Decision, Outcome, Proof, Proto};

use super::{Caller, Facts, Verdict, answer, base_record, durability, lapsed, nearest};
use crate::audit::{Event, reason};
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::Device;
use crate::ids::{DeviceId, Door};
use crate::reproof::Standing;
use crate::snapshot::Snapshot;
use crate::streams::{Answer, Question};

/// Decides a flow of a tunnel device to an office host.
pub(crate) fn flow(gw: &Gateway, device: &Arc<Device>, dst: SocketAddr, proto: Proto) -> Verdict {
    let snap = gw.snapshot.load_full();
    let asked = FlowAsked::of(gw, &snap, device, (dst, proto));
    let decision = decide_flow(&snap, &asked.facts, dst, proto);
    let refused = match asked.shut {
        Some(why) => Some(why),
        None => lapsed(&snap, &asked.caller, decision),
    };
    let mut record = base_record(Event::FlowDecided, &snap, &asked.caller, decision, refused);
    let mut inputs = asked.facts.inputs(&snap, decision, refused.is_some());
    inputs.nearest = nearest(&snap, &asked.caller, &asked.facts, decision, || {
        let (port, dst) = (dst.port(), dst.ip());
        AuditTarget::Flow { dst, port, proto }
    });
    record.inputs = Some(inputs);
    record.user = Some(Arc::clone(&device.user));
    record.host = Some(dst.ip().to_string().into());
    record.method = Some(proto_name(proto).into());
    record.path = Some(format!("{}://{dst}", proto_name(proto)));
    let allowed = refused.is_none() && decision.outcome == Outcome::Allow;
    if allowed && asked.headless {
        record.reason = reason::HEADLESS;
    }
    Verdict {
        decision,
        refused,
        class: asked.caller.class(),
        session: asked.caller.session,
        record,
        durability: durability(!allowed && refused.is_none()),
        snap,
    }
}

/// What a flow of a device is decided from.
struct FlowAsked {
    caller: Caller,
    facts: Facts,
    /// The policy needs no sign-in for this net and device.
    headless: bool,
    /// Why the device is closed.
    shut: Option<&'static str>,
}

impl FlowAsked {
    fn of(
        gw: &Gateway,
        snap: &Snapshot,
        device: &Arc<Device>,
        (dst, proto): (SocketAddr, Proto),
    ) -> Self {
        let whose = (&*device.user, &*device.name);
        let exempt = || {
            snap.policy
                .headless_reaches(whose, dst.ip(), dst.port(), proto)
        };
        let headless = gw.may_be_headless(device) && exempt();
        let (session, shut) = match (headless, gw.standing(device.id)) {
            _ if gw.sessions.is_disputed(device.id) => (None, Some(reason::KEY_SEEN_TWICE)),
            (true, _) => (None, None),
            (false, Standing::Open(session)) => (Some(session), None),
            (false, Standing::Held(_, due)) => (None, Some(due.reason())),
            (false, Standing::Shut) => (None, Some(reason::QUARANTINE)),
        };
        let six = device.address6.filter(|_| dst.is_ipv6()).map(IpAddr::V6);
        let caller = Caller {
            session,
            token: None,
            by: Proof::SignIn,
            device: Some(Arc::clone(device)),
            source: six.unwrap_or(IpAddr::V4(device.address4)),
            door: Door::Tunnel,
        };
        let facts = caller.facts(snap, clock::unix());
        let facts = match headless {
            true => facts.with_fresh_proofs(snap, &device.user),
            false => facts,
        };
        Self {
            caller,
            facts,
            headless,
            shut,
        }
    }
}

fn decide_flow(snap: &Snapshot, facts: &Facts, dst: SocketAddr, proto: Proto) -> Decision {
    let (subject, context) = (facts.subject(), facts.context());
    snap.policy
        .decide_flow(&subject, dst.ip(), dst.port(), proto, &context)
}

/// Names a flow's protocol as records and policy targets write it.
pub(crate) fn proto_name(proto: Proto) -> &'static str {
    match proto {
        Proto::Tcp => "tcp",
        Proto::Udp => "udp",
        Proto::Icmp => "icmp",
    }
}

/// The question behind an open flow.
pub(crate) struct FlowQuestion {
    pub(crate) gw: Arc<Gateway>,
    pub(crate) device: DeviceId,
    pub(crate) destination: SocketAddr,
    pub(crate) proto: Proto,
}

impl Question for FlowQuestion {
    fn ask(&self) -> Answer {
        let snap = self.gw.snapshot.load_full();
        let Some(device) = self.gw.devices.get(self.device) else {
            return Answer::Gone(reason::DEVICE_REVOKED);
        };
        if device.revoked.is_some() {
            return Answer::Gone(reason::REVOKED);
        }
        let (to, proto) = (self.destination, self.proto);
        let asked = FlowAsked::of(&self.gw, &snap, &device, (to, proto));
        match asked.shut {
            Some(why) => Answer::Gone(why),
            None => answer(decide_flow(&snap, &asked.facts, to, proto)),
        }
    }
}
